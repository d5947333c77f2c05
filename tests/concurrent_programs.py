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
import traceback
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
            traceback.print_exception(error)
            sys.stderr.flush()
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


def import_all():
    """Import what a compilation needs, so that it takes no seconds of each start."""
    from numba.core.registry import cpu_target

    import graphc.compile  # noqa: F401

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def first_uses(starts):
    """Four threads compile and call at once in a process that has done neither; most find a cache."""
    import_all()
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as warm:
        for k in range(starts):
            with tempfile.TemporaryDirectory() as cold:
                os.environ["XDG_CACHE_HOME"] = warm if k % 4 else cold
                work = lambda: in_threads(*(lambda k=k: _compile_and_call(k) for k in range(4)))  # noqa: E731
                if k == 1:
                    child(work)  # fills the cache
                counts[child(work)] += 1
    report(counts)


# Interrupts and handlers


class Interrupt(Exception):
    """What a signal handler raises."""


def _raise(number, frame):
    raise Interrupt


def soon():
    """A signal within the next 150 microseconds."""
    signal.setitimer(signal.ITIMER_REAL, random.choice((2e-6, 10e-6, 30e-6, 70e-6, 150e-6)))


def _uses():
    """What threads and handlers do to a parameter: calls of 40 and of 1 microseconds, a run, a read, a write."""
    w, step = learner()
    v = gc.parameter("v", np.zeros(4))
    x = gc.input("x", ("n",))
    small = gc.compile([x], gc.sum(v) + gc.sum(x), updates={v: v + 1.0})
    checked = gc.compile([x], gc.sum(gc.take(x, gc.astype(gc.sum(v) * 0.0, "int64") + gc.sum(gc.astype(x, "int64")))))

    def fail():
        with contextlib.suppress(gc.InputError):
            checked(np.full(3, 9.0))

    step(np.ones(2)), small(np.ones(2)), fail()
    return (
        lambda: check_whole(w.value),
        lambda: check_whole(v.value),
        lambda: w.assign(np.full(SIZE, 3.0)),
        lambda: step(np.ones(2)),
        lambda: small(np.ones(2)),
        lambda: step.run(x=np.ones(20), batch_size=2),
        lambda: small([1.0] * random.randrange(200)),
        fail,
    ), (step, small, checked)


def _all_is_free(uses, functions, owned):
    """Whether another thread can do everything, and no workspace is lost."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    thread = threading.Thread(target=lambda: [use() for use in uses])
    thread.start()
    thread.join()
    signal.alarm(0)
    for f, before in zip(functions, owned, strict=True):
        assert f.stats["workspace"] <= 8 * before, f"{f.stats['workspace']} bytes of workspaces, where {before} were"


def interrupts(count):
    """A signal handler raises at random moments of everything that a parameter takes part in."""
    uses, functions = _uses()
    owned = [f.stats["workspace"] for f in functions]
    signal.signal(signal.SIGALRM, _raise)
    interrupted = tries = 0
    while interrupted < count:
        tries += 1
        try:
            soon()
            uses[tries % len(uses)]()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            interrupted += 1
    _all_is_free(uses, functions, owned)
    print(f"{interrupted} of {tries} interrupted,", end=" ")
    report({"good": 1})


def handler_uses(count):
    """A signal handler does all that its thread may be about to do, while another thread does it too."""
    uses, functions = _uses()
    owned = [f.stats["workspace"] for f in functions]
    handled, stop = collections.Counter(), threading.Event()

    def handle(number, frame):
        handled["handled"] += 1
        uses[handled["handled"] % len(uses)]()

    def other():
        while not stop.is_set():
            for use in uses:
                use()

    thread = threading.Thread(target=other)
    thread.start()
    signal.signal(signal.SIGALRM, handle)
    while handled["handled"] < count:
        for use in uses:
            soon()
            use()
            signal.setitimer(signal.ITIMER_REAL, 0)
    stop.set()
    thread.join()
    _all_is_free(uses, functions, owned)
    print(f"{handled['handled']} handled,", end=" ")
    report({"good": 1})


def finalizers(count):
    """Objects in cycles read, write and call when they are collected, which may be at any moment."""
    uses, functions = _uses()
    owned = [f.stats["workspace"] for f in functions]
    ended = collections.Counter()

    class Cycle:
        def __init__(self):
            self.self = self

        def __del__(self):
            ended["ended"] += 1
            uses[ended["ended"] % len(uses)]()

    garbage.set_threshold(7)

    def work():
        while ended["ended"] < count:
            for use in uses:
                Cycle()
                use()

    in_threads(work, work)
    garbage.set_threshold(700)
    _all_is_free(uses, functions, owned)
    print(f"{ended['ended']} ended,", end=" ")
    report({"good": 1})


# Forks


def _triple(factor):
    x = gc.input("x", ("n",))
    return gc.compile([x], gc.sum(x) * factor)(np.ones(3))


def _check_child(w, step, fresh):
    before = w.value
    check_whole(before)
    assert step(np.ones(2)) == before.sum()
    check_whole(w.value)
    assert w.value[0] == before[0] + 1
    if fresh:
        assert _triple(3.0) == 9  # from the cache, whoever compiles
        _compile_or_say_why()


def forks(count):
    """Forks at random moments of calls, of runs, of updates from Python, and of compilations, all by other threads."""
    (w, step), (v, other) = learner(), learner("v")
    step(np.ones(2)), other(np.ones(2))
    _triple(3.0)
    stop = threading.Event()
    x = np.ones(40)

    def again(work):
        while not stop.is_set():
            work()

    def compile_more():
        y = gc.input("y", ("n",))
        gc.compile([y], gc.sum(y * random.random()), options=gc.Options(cache=False))(np.ones(3))
        time.sleep(0.05)

    works = (
        lambda: step(np.ones(2)),
        lambda: step.run(x=x, batch_size=2),
        lambda: w.assign(np.full(SIZE, float(random.randrange(1000)))),
        lambda: v.assign(w.value),
        lambda: other.run(x=x, batch_size=2),
        compile_more,
    )
    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    for t in threads:
        t.start()
    counts = collections.Counter()
    for k in range(count):
        time.sleep(random.random() * 2e-3)
        counts[child(lambda k=k: (_check_child(w, step, k % 4 == 0), _check_child(v, other, False)))] += 1
    stop.set()
    for t in threads:
        t.join()
    check_whole(w.value)
    report(counts)


def forks_at_first(count):
    """A fork while another thread compiles or loads the first program of the process, or makes what there is once."""
    import_all()

    def start():
        thread = threading.Thread(target=lambda: _triple(random.random()))
        thread.start()
        time.sleep(random.random() * (0.02 if random.random() < 0.3 else 0.4))
        assert child(_compile_or_say_why) == "good"
        thread.join()
        assert child(lambda: _triple(random.random())) == "good"

    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as warm:
        for k in range(count):
            with tempfile.TemporaryDirectory() as cold:
                os.environ["XDG_CACHE_HOME"] = warm if k % 2 else cold
                counts[child(start)] += 1
                random.random()  # another moment next time
    report(counts)


def _compile_or_say_why():
    try:
        value = _triple(factor := random.random())
    except gc.GraphcError as error:
        assert "forked while another thread compiled" in str(error), error  # noqa: PT017
    else:
        assert value == 3 * factor


def forks_in_handlers(count):
    """A signal handler forks while its thread is in a run, and the child goes on with the run as the parent does."""
    w, step = learner()
    step(np.ones(2))
    counts, parent, steps = collections.Counter(), os.getpid(), 1_500  # which take longer than the timer
    x = np.ones(2 * steps)
    w.assign(np.zeros(SIZE))
    children, seen = [], [0]

    def handle(number, frame):
        if os.getpid() == parent and seen[0] < count:
            seen[0] += 1
            pid = os.fork()
            if pid:
                children.append(pid)
            else:
                signal.setitimer(signal.ITIMER_REAL, 0)

    signal.signal(signal.SIGALRM, handle)
    while seen[0] < count:
        signal.setitimer(signal.ITIMER_REAL, random.random() * 4e-3 + 1e-4)
        before = w.value[0]
        sums = step.run(x=x, batch_size=2)

        def check(before=before, sums=sums):
            assert sums.tolist() == [SIZE * (before + k) for k in range(steps)]
            check_whole(w.value)
            assert w.value[0] == before + steps
            assert step([1.0, 2.0, 3.0]) == SIZE * (before + steps)

        if os.getpid() != parent:
            finish(check)
        check()
        signal.setitimer(signal.ITIMER_REAL, 0)
        w.assign(w.value - 1.0)
        while children:
            counts[outcome(children.pop())] += 1
    report(counts)


# Exits


def exits(count):
    """The interpreter ends while daemon threads are in calls, runs, reads, writes and compilations."""
    counts = collections.Counter()
    (w, step), x = learner(), np.ones(40)
    step(np.ones(2))
    for _ in range(count):
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            _end_with_threads(w, step, x)
        counts[outcome(pid)] += 1
    report(counts)


class _Last:
    """Reads a parameter when the interpreter is nearly gone."""

    def __init__(self, w):
        self.w, self.error, self.suppress = w, RuntimeError, contextlib.suppress

    def __del__(self):
        with self.suppress(self.error):
            self.w.value  # noqa: B018


def _end_with_threads(w, step, x):
    def again(work):
        while True:
            work()

    def compile_more():
        y = gc.input("y", ("n",))
        gc.compile([y], gc.sum(y * random.random()), options=gc.Options(cache=False))(np.ones(3))

    works = (
        lambda: step(np.ones(2)),
        lambda: step.run(x=x, batch_size=2),
        lambda: w.assign(np.full(SIZE, float(random.randrange(1000)))),
        lambda: w.value,
        compile_more,
    )
    for work in works:
        threading.Thread(target=again, args=(work,), daemon=True).start()
    sys.last = _Last(w)
    time.sleep(random.random() * 0.02)
    sys.exit(0)


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
