"""The runtime on programs written by hand: the way in, workspaces, parameters, threads, processes, many steps."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import small_programs as small

import graphc as gc
from graphc.dims import symbol
from graphc.errors import DTypeError, GraphcError, InputError
from graphc.runtime import entry, steps, workspace
from graphc.runtime.arguments import convert
from graphc.state import address
from graphc.tree import flatten, leaves_like, unflatten
from graphc.types import DTYPES, float32

LONG = 10**9  # pretended flops: the call lets other threads run


@pytest.fixture(scope="module", autouse=True)
def _private_cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def total():
    return small.total()


@pytest.fixture(scope="module")
def doubled():
    return small.doubled()


# The way in


@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_any_size_through_one_function(total, size):
    x = np.random.default_rng(size).integers(-9, 9, size).astype(float)
    result = total(x)
    assert type(result) is np.ndarray
    assert result.shape == ()
    assert result == x.sum()


@pytest.mark.parametrize(
    "x",
    [
        np.arange(10.0)[::2],
        np.arange(10.0)[::-2],
        np.arange(5.0).astype(">f8"),
        np.arange(5, dtype=np.float32),
        np.arange(5, dtype=np.int8),
        np.frombuffer(b"\0" + np.arange(5.0).tobytes(), np.uint8)[1:].view(np.float64),
        [0, 1, 2.0, 3, 4],
        (0, True, 2, 3, np.float32(4)),
    ],
    ids=["strided", "reversed", "swapped", "float32", "int8", "unaligned", "list", "tuple"],
)
def test_arrays_of_every_kind(total, x):
    before = np.array(x)
    assert total(x) == np.sum(np.asarray(x, float))
    assert np.array_equal(np.asarray(x), before)


def test_read_only_input_is_used_where_it_lies(total):
    x = np.arange(5.0)
    x.flags.writeable = False
    assert total(x) == 10
    x = np.broadcast_to(3.0, (4,))
    assert total(x) == 12


def test_by_position_by_name_and_mixed():
    learner = small.learner(small.weights())
    x = np.ones((2, 2))
    assert learner(x, 2.0) == 8
    assert learner(x, scale=0) == 16
    assert learner(scale=1, x=x) == 32 + 4


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: f(), "missing: x"),
        (lambda f: f([1.0], [2.0]), r"1 inputs, got 2 by position"),
        (lambda f: f([1.0], x=[2.0]), "'x' is given twice"),
        (lambda f: f([1.0], z=1), "there is no input 'z'"),
        (lambda f: f(3.0), r"input 'x': float64\[n\] has 1 dimension, got shape \[\]"),
        (lambda f: f(np.zeros((2, 2))), r"got shape \[2, 2\]"),
        (lambda f: f([[1.0], [2.0, 3.0]]), "not an array"),
    ],
)
def test_wrong_calls(total, call, says):
    with pytest.raises(InputError, match=says):
        call(total)


@pytest.mark.parametrize("value", [[1j], ["a"], None, np.array([1], "M8[s]"), [10**400]])
def test_values_of_no_number_type(total, value):
    with pytest.raises(DTypeError, match="input 'x'"):
        total(value)


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("float32", [0.1], True),
        ("float32", 0.1, True),
        ("float32", np.array([0.1]), False),
        ("float32", [np.float64(0.1)], False),
        ("float32", np.array([1], np.int16), True),
        ("float32", np.array([1], np.int32), False),
        ("int8", [127], True),
        ("int8", [128], False),
        ("int8", [1.0], False),
        ("uint8", [-1], False),
        ("int64", np.array([1], np.longlong), True),
        ("bool", [True], True),
        ("bool", [1], False),
        ("int32", True, True),
    ],
)
def test_only_safe_casts_and_weak_scalars(dtype, value, fits):
    slot = small.Slot("x", DTYPES[dtype], (symbol("n"),))
    if fits:
        array = convert("f", slot, value)
        assert array.dtype is np.dtype(dtype)
        assert array == np.asarray(value).astype(dtype)
    else:
        with pytest.raises(DTypeError, match="input 'x'"):
            convert("f", slot, value)


def test_unsafe_cast_names_the_input_and_the_cast_to_write():
    slot = small.Slot("x", float32, (3,))
    with pytest.raises(DTypeError, match=r"f: input 'x': float32\[3\]: got float64\[3\].*x\)\.astype\('float32'\)"):
        convert("f", slot, np.zeros(3))


def test_symbols_and_constraints():
    pair = small.pair()
    a, b = pair(np.full((2, 2), 5.0), np.full(2, 6.0))
    assert (a, b) == (5, 6)
    with pytest.raises(
        InputError, match=r"input 'y': float64\[m\]: got shape \[3\], where dimension 0 must be 2; m is 2 by input 'x'"
    ):
        pair(np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(
        InputError, match=r"two values: n >= 2 must hold, but with m = 1, n = 1 that is 1 >= 2(.|\n)*model.py:3"
    ):
        pair(np.zeros((1, 1)), np.zeros(1))
    with pytest.raises(InputError, match=r"n == m must hold, but with m = 3, n = 2 that is 2 == 3(.|\n)*model.py:4"):
        pair(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(InputError, match=r"got shape \[2, 4\], where dimension 1 must be 3"):
        small.doubled()(np.zeros((2, 4)))


# Results


def test_structure_and_buffers(doubled):
    for rows in (1, 4, 0, 100, 4):
        x = np.random.default_rng(rows).normal(size=(rows, 3))
        result = doubled(x)
        assert list(result) == ["twice", "rest"]
        assert np.array_equal(result["twice"], 2 * x)
        assert result["rest"] == (rows + 1,)
    assert isinstance(small.pair()(np.zeros((2, 2)), np.zeros(2)), list)


def test_results_are_nobody_elses(doubled):
    x = np.ones((2, 3))
    first, second = doubled(x)["twice"], doubled(x)["twice"]
    first[:] = 7
    assert np.all(second == 2)
    assert np.all(x == 1)
    assert first.flags.owndata


@pytest.mark.parametrize("shape", [(), (0,), (7,), (64, 100)])
def test_constants_begin_with_a_line_of_cache(shape):
    """As parameters and results do: vectors of theirs lie in one line each."""
    value, x = np.arange(np.prod(shape, dtype=int), dtype="float32").reshape(shape), gc.input("x", shape, "float32")
    for function in (gc.compile([x], x + gc.constant(value)) for _ in range(2)):  # made, and then from the cache
        assert not any(address(c) % 64 for c in function._machine._constants)
        np.testing.assert_array_equal(function(value), 2 * value)


def test_no_reference_is_lost(doubled):
    strided = np.ones((4, 3))[::2]
    x = np.ones((2, 3))
    counts = [sys.getrefcount(o) for o in (strided, x, np.dtype(float), NotImplemented)]
    for _ in range(100):
        doubled(x)
        doubled(strided)
        doubled([[1, 2, 3]])
    after = [sys.getrefcount(o) for o in (strided, x, np.dtype(float), NotImplemented)]
    assert all(abs(a - b) < 20 for a, b in zip(counts, after, strict=True))


def test_memory_does_not_grow(doubled):
    resource = pytest.importorskip("resource")
    x = np.ones((20_000, 6))[:, ::2]

    def peak():
        for _ in range(100):
            doubled(x)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    peak()
    first = peak()
    assert peak() - first < 20_000  # kilobytes; a hundred leaked results would be 48,000


# out=


def test_out(doubled):
    x = np.arange(6.0).reshape(2, 3)
    out = {"rest": [np.zeros(())], "twice": np.zeros((2, 3))}
    assert doubled(x, out=out) is out
    assert np.array_equal(out["twice"], 2 * x)
    assert out["rest"][0] == 3


@pytest.mark.parametrize(
    "given", [lambda x: x, lambda x: x[::-1], lambda x: x.T.copy().T], ids=["same", "reversed", "F"]
)
def test_out_that_overlaps_or_is_strided(doubled, given):
    x = np.arange(6.0).reshape(2, 3)
    expected, out = 2 * x, given(x)
    doubled(x, out={"twice": out, "rest": (np.zeros(()),)})
    assert np.array_equal(out, expected)


def test_outs_that_overlap_each_other():
    pair, both = small.pair(), np.zeros(2)
    pair(np.full((2, 2), 5.0), np.full(2, 6.0), out=[both[:1].reshape(()), both[1:].reshape(())])
    assert both.tolist() == [5, 6]
    one = np.zeros(())
    pair(np.full((2, 2), 5.0), np.full(2, 6.0), out=[one, one])
    assert one == 6


@pytest.mark.parametrize(
    ("out", "says"),
    [
        (np.zeros((2, 3)), "structure of the outputs"),
        ({"twice": np.zeros((2, 3)), "rest": ()}, "structure of the outputs"),
        ({"twice": [0.0], "rest": (np.zeros(()),)}, "structure"),
        ({"twice": 1.0, "rest": (np.zeros(()),)}, "got float"),
        ({"twice": np.zeros((3, 3)), "rest": (np.zeros(()),)}, r"writable array float64\[2, 3\], got float64\[3, 3\]"),
        ({"twice": np.zeros((2, 3), np.float32), "rest": (np.zeros(()),)}, r"got float32\[2, 3\]"),
        ({"twice": np.broadcast_to(0.0, (2, 3)), "rest": (np.zeros(()),)}, "read-only"),
    ],
)
def test_wrong_out(doubled, out, says):
    with pytest.raises(InputError, match=says):
        doubled(np.zeros((2, 3)), out=out)


# Failures and state


def test_a_failing_check_changes_nothing_and_names_the_line():
    state = small.weights()
    learner = small.learner(state)
    with pytest.raises(InputError, match=r"learner: x must not be negative, x\[0, 0\] is -3\n  at model.py:7"):
        learner(np.full((2, 2), -3.0), 1.0)
    assert not state.array.any()
    assert learner(np.ones((2, 2)), 1.0) == 4
    assert learner.stats["workspace"] < 1000  # the workspace came back


def test_functions_share_parameters():
    state = small.weights()
    first, second = small.learner(state), small.learner(state)
    first(np.ones((1, 2)), 0.0)
    assert second(np.ones((1, 2)), 0.0) == 8
    assert state.array.tolist() == [4] * 4


# Workspaces and shapes


def test_more_shapes_than_are_remembered(total):
    for _ in range(2):
        for size in range(100):
            assert total(np.ones(size)) == size


def test_release_frees_and_the_next_call_works(doubled):
    x = np.ones((1000, 3))
    doubled(x)
    assert doubled.stats["workspace"] >= 24_000
    doubled.release()
    assert doubled.stats["workspace"] == 0
    assert np.array_equal(doubled(x)["twice"], 2 * x)


def test_stats_and_text(doubled):
    doubled(np.ones((10, 3)))
    assert doubled.stats["flops"] == 60
    assert doubled.stats["bytes"] == 960
    assert doubled.source == doubled.program.text
    assert repr(doubled) == "<compiled doubled(x: float64[n, 3]) -> {'twice': 'float64[n, 3]', 'rest': ('float64[]',)}>"


def test_explain_shows_the_records():
    merge = {"pass": "merge", "says": "", "rules": {"power": 2}, "nodes_before": 5, "nodes_after": 4}
    records = {"passes": [merge]}
    p = small.program("empty", ("\n\ndef kernel(T, s, chunk, worker):\n    wide()\n",), [], [], records=records)
    empty = small.function(p, ())
    assert empty() == ()
    assert empty.explain().startswith("passes\n  merge: 5 -> 4 nodes\n    2 x power\n\nphases\n")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_go_through(total, value):
    assert np.array_equal(total([1.0, value]), value, equal_nan=True)


def test_too_large_a_workspace_is_a_memory_error_and_no_lasting_harm():
    p = small.program(
        "vast",
        ("one = float64(1.0)\n\n\ndef kernel(T, s, chunk, worker):\n    wide()\n    st_f8_1_0(word(T, 9), 0, one)\n",),
        [("x", (symbol("n"),))],
        [("y", ())],
        buffers=(small.Buffer(symbol("n") * 2**44, 0, 0),),
    )
    vast = small.function(p)
    assert vast(np.zeros(0)) == 1
    with pytest.raises(MemoryError):
        vast(np.zeros(1000))
    assert vast(np.zeros(0)) == 1


def test_plan_never_overlaps_what_lives_together():
    rng = np.random.default_rng(0)
    for _ in range(200):
        count = int(rng.integers(0, 12))
        sizes = rng.integers(0, 1000, count).tolist()
        starts = rng.integers(0, 8, count)
        lives = [(int(s), int(s + d)) for s, d in zip(starts, rng.integers(0, 4, count), strict=True)]
        offsets, total = workspace.plan(sizes, lives)
        assert all(o % 64 == 0 and o + s <= total for o, s in zip(offsets, sizes, strict=True))
        for j in range(count):
            for k in range(j):
                together = lives[j][0] <= lives[k][1] and lives[k][0] <= lives[j][1]
                apart = offsets[j] + sizes[j] <= offsets[k] or offsets[k] + sizes[k] <= offsets[j]
                assert apart or not together or not sizes[j] or not sizes[k]


def test_plan_of_many_buffers_is_quick():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 3000, 5000)
    lives = [(int(s), int(s + d)) for s, d in zip(starts, rng.integers(0, 300, 5000), strict=True)]
    sizes = (64 * rng.integers(0, 50, 5000)).tolist()
    began = time.perf_counter()
    _, total = workspace.plan(sizes, lives)
    assert time.perf_counter() - began < 1.0  # 12 million pairs
    steps = np.zeros(3302, np.int64)
    np.add.at(steps, [first for first, _ in lives], sizes)
    np.subtract.at(steps, [last + 1 for _, last in lives], sizes)
    assert total <= 1.1 * np.cumsum(steps).max()  # of what lives at once


def test_plan_of_what_no_memory_holds():
    assert workspace.plan([64, 1 << 70], [(0, 1), (1, 2)]) == ([0, 0], 1 << 70)


def test_plan_reuses_storage():
    assert workspace.plan([64, 64, 64], [(0, 1), (1, 2), (2, 3)]) == ([0, 64, 0], 128)
    assert workspace.plan([128, 64, 64], [(0, 0), (1, 1), (1, 1)]) == ([0, 0, 64], 128)


# Threads, processes, pickles


def in_threads(count, work):
    errors = []

    def guarded(k):
        try:
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads)
    assert not errors, errors


def test_many_threads_and_shapes_at_once():
    total = small.total(flops=LONG)
    sys.setswitchinterval(1e-5)
    try:
        in_threads(8, lambda k: [check(total, k, i) for i in range(300)])
    finally:
        sys.setswitchinterval(0.005)


def check(total, k, i):
    x = np.full(1 + (k * 31 + i) % 150, 2.0)
    assert total(x) == 2 * x.size


def test_readers_see_a_parameter_before_or_after_a_call():
    state = small.weights(20_000)
    learner = small.learner(state, flops=LONG)
    done = threading.Event()

    def work(k):
        if k == 0:
            for _ in range(200):
                learner(np.ones((1, 2)), 0.0)
            done.set()
        elif k == 1:
            while not done.is_set():
                loss = learner(np.zeros((1, 2)), 0.0)
                assert loss % (2 * 20_000) == 0
        else:
            while not done.is_set():
                value = state.read()
                assert value.min() == value.max()

    in_threads(3, work)
    assert state.array[0] == 400


def test_a_read_waits_for_a_call_and_not_for_many():
    """Threads that call again and again, in calls of half a millisecond, leave room for one that waits."""
    state = small.weights(200_000)
    learner = small.learner(state, flops=LONG)
    done, waits = threading.Event(), []

    def work(k):
        if k:
            while not done.is_set():
                learner.run(x=np.ones((40, 2)), scale=0.0, batch_size=1) if k == 1 else learner(np.ones((1, 2)), 0.0)
            return
        for value in range(100):
            start = time.perf_counter()
            state.write(np.full(200_000, float(value))) if value % 2 else state.read()
            waits.append(time.perf_counter() - start)
        done.set()

    in_threads(4, work)
    assert sorted(waits)[90] < 0.5
    assert max(waits) < 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_works():
    state = small.weights()
    learner = small.learner(state, flops=LONG)
    learner(np.ones((1, 2)), 0.0)
    state.guard[0] = 1  # as if another thread were in a call that reads
    try:
        child = os.fork()
        if not child:
            os._exit(0 if learner(np.ones((1, 2)), 0.0) == 8 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        state.guard[0] = 0
    assert learner(np.ones((1, 2)), 0.0) == 8


def _spawned(pickled, queue):
    queue.put(float(pickle.loads(pickled)(np.ones((1, 2)), 0.0)))


def test_pickle_and_spawn():
    state = small.weights()
    learner = small.learner(state)
    learner(np.ones((1, 2)), 0.0)
    pickled = pickle.dumps(learner)
    assert b"ELF" not in pickled
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_spawned, args=(pickled, queue))
    process.start()
    assert queue.get(timeout=60) == 8
    process.join()
    assert state.array.tolist() == [2] * 4


def test_functions_pickled_together_keep_sharing():
    state = small.weights()
    first, second = pickle.loads(pickle.dumps((small.learner(state), small.learner(state))))
    first(np.ones((1, 2)), 0.0)
    assert second(np.ones((1, 2)), 0.0) == 8
    assert not state.array.any()


# Many steps in one call


@pytest.mark.parametrize("order", [None, [5, 0, 5, 9, 1], np.arange(10)[::-1].astype(np.int32), []])
@pytest.mark.parametrize("batch", [1, 3, 5, 100])
def test_run_equals_stepping_by_hand(order, batch):
    x = np.random.default_rng(0).uniform(size=(10, 2))
    state, other = small.weights(), small.weights()
    result = small.learner(state).run(x=x, scale=0.1, batch_size=batch, order=order)
    step = small.learner(other)
    rows = x if order is None else x[np.asarray(order, int)]
    by_hand = [float(step(rows[k : k + batch], 0.1)) for k in range(0, len(rows), batch)]
    assert result.tolist() == by_hand
    assert state.array.tobytes() == other.array.tobytes()


def test_run_takes_the_order_that_it_has_checked():
    """As if another thread wrote the array between the check and the first step."""
    order, total = np.zeros(100, np.int64), small.total()
    drive = steps._drive

    def changed(*arguments):
        order[:] = 10**12  # far beyond all memory
        drive(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_drive", changed)
        assert total.run(x=np.arange(5.0) + 1, batch_size=10, order=order).tolist() == [10.0] * 10
        assert order[0] == 10**12


def test_run_keeps_the_structure_and_takes_strided_arrays():
    x = np.arange(20.0)[::2]
    result = small.total().run(x=x, batch_size=4)
    assert result.tolist() == [12, 44, 34]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"order": [0, 10]}, r"order\[1\] is 10, but there are rows 0 to 9"),
        ({"order": [-1]}, r"order\[0\] is -1"),
        ({"order": [0.5]}, "1-d array of ints"),
        ({"order": [[0]]}, "1-d array of ints"),
        ({"batch_size": 0}, "batch_size must be an int >= 1, got 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"x": np.zeros(3)}, "has 2 dimensions"),
        ({"x": np.zeros((3, 3))}, r"where dimension 1 must be 2"),
        ({"extra": 1}, "no input 'extra'"),
    ],
)
def test_wrong_runs_change_nothing(arguments, says):
    state = small.weights()
    with pytest.raises(InputError, match=says):
        small.learner(state).run(**({"x": np.ones((10, 2)), "scale": 1.0} | arguments))
    assert not state.array.any()


def test_run_needs_one_leading_symbol_and_scalars(doubled):
    with pytest.raises(InputError, match="several do: m, n"):
        small.pair().run(x=np.zeros((4, 4)), y=np.zeros(4))
    with pytest.raises(InputError, match="every output must be a scalar"):
        doubled.run(x=np.zeros((4, 3)))


def test_a_failing_step_keeps_those_before_it():
    state = small.weights()
    x = np.ones((10, 2))
    x[6] = -1
    with pytest.raises(
        InputError, match=r"is -1(.|\n)*model.py:7(.|\n)*in step 3 of 5; the 3 steps before it are kept"
    ):
        small.learner(state).run(x=x, scale=0.0, batch_size=2)
    assert state.array.tolist() == [12] * 4


INTERRUPTED = """
import os, signal, threading, time
import numpy as np, small_programs as small
state = small.weights(200_000)
learner = small.learner(state)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
sent = []

def interrupt():
    while not state.array[0]:  # however long the start takes
        time.sleep(0.01)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    learner.run(x=np.ones((10, 2)), scale=0.0, batch_size=1, order=np.zeros(500_000, int))
except KeyboardInterrupt as error:
    assert time.perf_counter() - sent[0] < 1
    steps = int(str(error).split("after ")[1].split()[0])
    assert 0 < steps < 500_000 and (state.array == 2 * steps).all(), error
    print("kept", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_finished_steps():
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.stdout == "kept\n", done.stderr


# Speed, and interpreters that the driver does not know


def test_a_trivial_call_takes_at_most_a_microsecond(total):
    x = np.arange(3.0)

    def per_call():
        start = time.perf_counter()
        for _ in range(10_000):
            total(x)
        return (time.perf_counter() - start) / 10_000

    assert min(per_call() for _ in range(20)) < 1e-6


def test_without_a_gil_nothing_is_made(monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(GraphcError, match="needs the GIL"):
        small.total()


def test_the_plain_way_in_gives_the_same(monkeypatch):
    assert entry.supported()
    monkeypatch.setattr(entry, "supported", lambda: False)
    state = small.weights()
    doubled, learner = small.doubled(), small.learner(state)
    for x in (np.ones((2, 3)), np.ones((4, 6))[:, ::2], [[1, 2, 3]]):
        assert np.array_equal(doubled(x)["twice"], 2 * np.asarray(x))
    out = {"twice": np.zeros((2, 3)), "rest": (np.zeros(()),)}
    doubled(np.ones((2, 3)), out=out)
    assert out["twice"].sum() == 12
    assert learner(np.ones((2, 2)), scale=1) == 4
    with pytest.raises(InputError, match="x must not be negative"):
        learner(-np.ones((2, 2)), 1.0)
    assert learner.run(x=np.ones((4, 2)), scale=0.0, batch_size=2).tolist() == [16, 32]
    with pytest.raises(InputError, match="has 2 dimensions"):
        doubled(3.0)


def test_structures():
    value = {"y": 1, "g": [2, (3, 4)]}
    leaves, skeleton = flatten(value)
    assert leaves == [1, 2, 3, 4]
    assert unflatten(skeleton, leaves) == value
    assert leaves_like(skeleton, {"g": (2, [3, 4]), "y": 1}) == leaves
    assert leaves_like(skeleton, {"g": (2, [3]), "y": 1}) is None
    assert leaves_like(0, [1]) is None
