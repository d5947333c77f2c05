"""Programs whose phases threads share, at length: the same bits for each number of threads, callers, forks, spawned.

`python shared_programs.py bits` runs one, in a process that may have eight threads; the last word of its line is
"good" if all went well.
"""

from __future__ import annotations

import collections
import multiprocessing
import sys
import threading
from functools import partial

import numpy as np
from concurrent_programs import child, in_threads, report
from test_threads import arguments, likelihood

import graphc as gc
from benchmarks.peers.graphc_ import declared, training
from benchmarks.workloads import WORKLOADS, Derivative
from graphc.runtime import workspace
from graphc.tree import flatten

NUMBERS = (1, 2, 3, 8)


def _results(call, threads):
    gc.set_num_threads(threads)
    return [np.asarray(leaf).tobytes() for leaf in flatten(call())[0]]


def _measures():
    """Every form and measure of every workload, three steps of those that train."""
    for record in WORKLOADS.values():
        for size in record.sizes:
            arrays = record.inputs(size)
            if isinstance(record, Derivative):
                for form in record.forms:
                    for measure in record.timed:
                        nodes, results = declared(record, size, form, measure, arrays)
                        function = gc.compile(nodes, results)
                        given = [arrays[str(node.name)] for node in nodes]
                        yield f"{record.name} {size} {form} {measure}", lambda f=function, a=given: f(*a)
            elif record.builder == "training":
                program = training(arrays, "")
                step = program.compile()
                yield f"{record.name} {size}", lambda p=program, s=step: _trained(p, s)


def _trained(program, step):
    program.reset()
    return [step(*batch) for batch in program.batches], program.state()


def bits():
    """Every phase of more than one chunk is shared out, however little there is to do."""
    workspace._SHARE_WORK = -1
    counts = collections.Counter()
    for title, call in _measures():
        wanted = _results(call, 1)
        others = [n for n in NUMBERS for _ in range(3) if _results(call, n) != wanted]
        counts[f"other bits of {title} on {others}" if others else "good"] += 1
    report(counts)


def _check(f, given, wanted, times):
    assert all(all(map(np.array_equal, f(*given), wanted)) for _ in range(times))


def callers():
    """Eight threads of Python call at the same time, 10,000 times in all."""
    f, given = likelihood(), arguments()
    in_threads(*[partial(_check, f, given, f(*given), 1_250)] * 8)
    report({"good": 8})


def forks():
    """A hundred children before, during and after calls that threads share."""
    f, given, stop, counts = likelihood(), arguments(), threading.Event(), collections.Counter()
    wanted = f(*given)

    def beside():
        while not stop.is_set():
            f(*given)

    caller = threading.Thread(target=beside)
    for k in range(100):
        if k == 30:
            caller.start()
        if k == 70:
            stop.set()
            caller.join()
        counts[child(partial(_check, f, given, wanted, 3))] += 1
    report(counts)


def spawned():
    """Twenty processes that get the function by its pickle, while it is called here."""
    f, given, counts = likelihood(), arguments(), collections.Counter()
    wanted = f(*given)
    context = multiprocessing.get_context("spawn")
    for _ in range(5):
        processes = [context.Process(target=_check, args=(f, given, wanted, 3)) for _ in range(4)]
        for process in processes:
            process.start()
        _check(f, given, wanted, 10)
        for process in processes:
            process.join()
            counts["bad" if process.exitcode else "good"] += 1
    report(counts)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
