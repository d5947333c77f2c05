"""Speed of graphc beside TensorFlow, JAX, PyTorch and PyTensor: `python -m benchmarks`.

workloads.py   what is measured: names, sizes, inputs, reference, tolerance
reference.py   the same programs in NumPy and float64, against which every peer is checked before it is timed
peers/         one module a peer: how it writes each program
worker.py      the process of one peer, which prepares, checks and times
runner.py      starts the workers, lets them take turns, collects samples
report.py      the table, the JSON file and README's table
plot.py        README's plot
limits/        what loops, derivatives, threads and memory cost, beside limits: `python -m benchmarks.limits`
first_calls.py, first_workloads.py   seconds to the first result in a fresh process
machine.py     what the numbers depend on, and the environment that workers get
"""
