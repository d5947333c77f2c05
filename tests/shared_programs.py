"""Programs whose phases threads share, at length: the same bits for each number of threads, callers, forks, spawned.

`python shared_programs.py bits` runs one, in a process that may have eight threads; the last word of its line is
"right" if all went well.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

import numpy as np
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
    wrong, count = [], 0
    for count, (title, call) in enumerate(_measures(), 1):  # noqa: B007
        wanted = _results(call, 1)
        wrong += [f"{title} on {n}" for n in NUMBERS for _ in range(3) if _results(call, n) != wanted]
    print(count, "measures", *wrong, "wrong" if wrong else "right")


def _check(f, given, wanted, times):
    assert all(all(map(np.array_equal, f(*given), wanted)) for _ in range(times))


def callers():
    """Eight threads of Python call at the same time, 10,000 times in all."""
    f, given = likelihood(), arguments()
    wanted, right = f(*given), []

    def calls():
        _check(f, given, wanted, 1_250)
        right.append(1)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(right), "callers", "right" if len(right) == 8 else "wrong")


def forks():
    """A hundred children before, during and after calls that threads share."""
    f, given = likelihood(), arguments()
    wanted, stop, right = f(*given), threading.Event(), 0

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
        child = os.fork()
        if not child:
            try:
                _check(f, given, wanted, 3)
                os._exit(0)
            finally:
                os._exit(1)
        right += os.waitpid(child, 0)[1] == 0
    print(right, "children", "right" if right == 100 else "wrong")


def _spawned(f, given, wanted):
    _check(f, given, wanted, 3)


def spawned():
    """Twenty processes that get the function by its pickle, while it is called here."""
    f, given = likelihood(), arguments()
    wanted, right = f(*given), 0
    context = multiprocessing.get_context("spawn")
    for _ in range(5):
        processes = [context.Process(target=_spawned, args=(f, given, wanted)) for _ in range(4)]
        for process in processes:
            process.start()
        _check(f, given, wanted, 10)
        for process in processes:
            process.join()
            right += process.exitcode == 0
    print(right, "spawned", "right" if right == 20 else "wrong")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
