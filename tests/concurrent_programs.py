"""Programs that tests run in a process of their own: first uses from threads, interrupts, handlers, forks, exits.

Each function tries something a number of times, and prints how many tries went which way; the last word of the line is
"good" if all went well.  `python concurrent_programs.py first_uses 20` runs one.
"""

from __future__ import annotations

import collections
import contextlib
import gc as garbage
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

import graphc as gc

SIZE = 40_000  # elements of a parameter: a call that updates it takes longer than the GIL is kept
SECONDS = 20  # a child that takes longer hangs
EXPECTED = {0: "good", -signal.SIGALRM: "hung", -signal.SIGSEGV: "crashed", -signal.SIGABRT: "aborted"}
warnings.simplefilter("ignore", DeprecationWarning)  # that forking a process with threads is a risk is the point here


def child(work):
    """What became of `work()` in a forked child: "good" if it returned."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        finish(work)
    return outcome(pid)


def finish(work):
    """End the process with `work()`, within the time that a child has."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    code = 3
    with contextlib.suppress(BaseException):
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(code)


def outcome(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return EXPECTED.get(status, f"exit {status}")


def report(counts):
    print(*(f"{n} {what}" for what, n in sorted(counts.items())), "good" if set(counts) == {"good"} else "bad")


def in_threads(*works):
    """Run all at once; the first error of any is raised here."""
    errors, gate = [], threading.Barrier(len(works))

    def guarded(work):
        try:
            gate.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(w,)) for w in works]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def learner(name="w"):
    """w, all elements the same, and a step that adds 1 to each; it returns their sum before."""
    w = gc.parameter(name, np.zeros(SIZE))
    x = gc.input("x", ("n",))
    return w, gc.compile([x], gc.sum(w) + 0.0 * gc.sum(x), updates={w: w + 1.0})


def check_whole(value):
    assert value.min() == value.max(), f"a parameter in pieces: {value.min()} to {value.max()}"


# First use


def _compile_and_call(k):
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.sum(x * float(k)))
    for n in (3, 50):
        assert f(np.ones(n)) == k * n


def first_uses(starts):
    """Four threads compile and call at once in a process that has done neither; half of the starts find a cache."""
    import numba.core.registry  # noqa: F401  (so that it takes no second of each start)

    import graphc.compile  # noqa: F401

    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as warm:
        for k in range(starts):
            with tempfile.TemporaryDirectory() as cold:
                os.environ["XDG_CACHE_HOME"] = warm if k % 2 else cold
                work = lambda: in_threads(*(lambda k=k: _compile_and_call(k) for k in range(4)))  # noqa: E731
                if k == 1:
                    child(work)  # fills the cache
                counts[child(work)] += 1
    report(counts)


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
