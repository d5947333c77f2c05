"""Threads that share the phases of a call: the same bits for every number, whatever happens beside them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DeclarationError, InputError
from graphc.runtime import layout as at
from graphc.runtime import threads, workspace

N = 200_000
needs_threads = pytest.mark.skipif(not threads.supported(), reason="threads can't wait for one another here")


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    before = gc.get_num_threads()
    yield
    gc.set_num_threads(before)


@pytest.fixture
def everything_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each phase of two chunks is shared out, however little there is to do."""
    monkeypatch.setattr(workspace, "_SHARE_WORK", -1)


def likelihood() -> Any:
    x, m = gc.input("x", ("n",)), gc.input("m", ("k", "l"))
    value = gc.sum(gc.exp(x) * gc.tanh(x)) + gc.max(x) + gc.argmax(x) + gc.sum(gc.tanh(m @ gc.transpose(m)))
    return gc.compile([x, m], (value, *gc.grad(value, [x, m]), gc.sum(m, axis=0), gc.logsumexp(m, axis=1)))


def arguments(n: int = N) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=n), rng.normal(size=(300, 200))


@needs_threads
def test_a_call_shares_its_long_phases_and_only_those() -> None:
    f = likelihood()
    f(*arguments())
    assert f._machine.last_shape.shares
    f(np.ones(3), np.ones((2, 2)))
    assert not f._machine.last_shape.shares


@needs_threads
@pytest.mark.skipif(threads.processors() < 2, reason="there is one processor")
def test_a_worker_that_would_wake_up_where_the_caller_runs_goes_elsewhere() -> None:
    """While it sleeps it is kept from the caller's processor; awake, it may use all again."""
    f, x, mine = likelihood(), arguments(), os.sched_getaffinity(0)
    gc.set_num_threads(2)
    f(*x)
    region, masks = threads.region(), []
    worker, part = region._workers[0].native_id, at.PARTS + at.PART_WORDS
    ran_at, kept_from = part + at.RAN_AT, part + at.KEPT_FROM
    assert worker is not None

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.POINTER(ctypes.c_uint64))
    def set_affinity(thread: int, size: int, mask: Any) -> int:
        masks.append((thread, {k for k in range(8 * size) if mask[k // 64] >> k % 64 & 1}))
        os.sched_setaffinity(*masks[-1])
        return 0

    before = region.words[at.SET_AFFINITY]
    region.words[at.SET_AFFINITY] = ctypes.cast(set_affinity, ctypes.c_void_p).value
    try:
        until(lambda: bool(region.words[ran_at] and not region.words[kept_from]))  # asleep, and not called
        place = int(region.words[ran_at]) - 1
        masks.clear()
        os.sched_setaffinity(0, {place})
        f(*x)
        assert masks[0] == (worker, mine - {place})
        until(lambda: os.sched_getaffinity(worker) == mine)
    finally:
        region.words[at.SET_AFFINITY] = before
        os.sched_setaffinity(0, mine)


@needs_threads
def test_a_worker_stays_where_there_is_one_processor() -> None:
    run = subprocess.run([sys.executable, "-c", ON_ONE], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]


ON_ONE = """
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["NUMBA_NUM_THREADS"] = "3"
import numpy as np
import graphc as gc
from graphc.runtime import threads
x = gc.input("x", ("n",))
f = gc.compile([x], gc.sum(gc.exp(x)))
values = []
for _ in range(30):
    values.append(f(np.linspace(0, 1, 200_000, dtype=np.float32)))
    time.sleep(0.002)
print(len(set(map(float, values))) == 1)
print(all(os.sched_getaffinity(w.native_id) == os.sched_getaffinity(0) for w in threads.region()._workers))
"""


@needs_threads
def test_workers_that_may_not_share_a_phase_are_not_woken() -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "4"}
    run = subprocess.run([sys.executable, "-c", FEWER], capture_output=True, text=True, check=True, env=environment)
    woken = [int(count) for count in run.stdout.split()]
    assert woken[0] >= 20
    assert max(woken[1:]) <= 2


FEWER = """
import re, time
import numpy as np
import graphc as gc
from graphc.runtime import threads
x = gc.input("x", ("n",))
many, two = (gc.compile([x], gc.sum(gc.exp(x)), options=gc.Options(threads=n)) for n in (4, 2))
a = np.linspace(0, 1, 400_000, dtype=np.float32)
def sleeps():
    names = [f"/proc/self/task/{w.native_id}/status" for w in threads.region()._workers]
    return [int(re.search("voluntary_ctxt_switches:\\s*(\\d+)", open(name).read())[1]) for name in names]
many(a), two(a)
time.sleep(0.2)
before = sleeps()
for _ in range(50):
    two(a)
    time.sleep(0.005)
print(*(after - begin for begin, after in zip(before, sleeps())))
"""


def until(holds: Callable[[], bool]) -> None:
    """Wait for it, ten seconds at most."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


MANY = """
import sys
import numpy as np
import graphc as gc
sys.path.insert(0, {folder!r})
from test_threads import arguments, likelihood
f = likelihood()
results = []
for count in (1, 2, 3, 8):
    gc.set_num_threads(count)
    for _ in range(5):
        results.append(f(*arguments()))
    assert f.stats["threads"] == count
for result in results:
    for one, other in zip(result, results[0]):
        assert np.array_equal(one, other)
gc.set_num_threads(8)
import threading
assert len([t for t in threading.enumerate() if t.name == "graphc worker"]) == 7
print("same")
"""


def run(text: str, **environment: str) -> str:
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), **environment)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=env, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_threads
def test_results_are_the_same_bits_for_every_number() -> None:
    assert run(MANY.format(folder=str(Path(__file__).parent)), NUMBA_NUM_THREADS="8") == "same"


OWN_MEMORY = """
import numpy as np
import graphc as gc
rng = np.random.default_rng(0)
x, y = rng.integers(-4, 5, (1030, 1700)).astype(float), rng.integers(-4, 5, (1700, 530)).astype(float)
a, b = gc.input("a", x.shape), gc.input("b", y.shape)
f = gc.compile([a, b], [a @ b, gc.sort(a, axis=0), gc.softmax(gc.tanh(a), axis=1)])
wanted = [x @ y, np.sort(x, axis=0), np.exp(np.tanh(x)) / np.exp(np.tanh(x)).sum(axis=1, keepdims=True)]
for count in (8, 3, 1, 8):
    gc.set_num_threads(count)
    for _ in range(10):
        product, in_order, rows = f(x, y)
        assert np.array_equal(product, wanted[0]) and np.array_equal(in_order, wanted[1])
        assert np.allclose(rows, wanted[2], rtol=1e-14, atol=0)
print(f.source.count("float64[%workers"), "right")
"""


@needs_threads
@pytest.mark.long
@pytest.mark.parametrize("name", ["bits", "callers", "forks", "spawned"])
def test_at_length(name: str) -> None:
    """Every workload, 10,000 calls at the same time, 100 children of forks and 20 spawned."""
    program = str(Path(__file__).with_name("shared_programs.py"))
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), NUMBA_NUM_THREADS="8")
    done = subprocess.run(
        [sys.executable, program, name], capture_output=True, text=True, env=env, check=False, timeout=1200
    )
    print(f"{name}: {done.stdout}")  # shown by `pytest -s`
    assert done.stdout.strip().endswith(" good"), f"{done.stdout}\n{done.stderr[-4000:]}"


@needs_threads
def test_each_thread_has_memory_of_its_own() -> None:
    """Copies of operands, rows being sorted and turned, what a row wants again: as many as there may be threads."""
    assert run(OWN_MEMORY, NUMBA_NUM_THREADS="8") == "6 right"


@needs_threads
def test_the_first_chunk_that_fails_is_told(everything_shared: None) -> None:
    x, k = gc.input("x", ("n",)), gc.input("k", ("m",), "int64")
    f = gc.compile([x, k], 3.0 * x[k])
    positions = np.zeros(N, np.int64)
    for wrong in ([17_000, 180_000], [40_000, 40_001, 190_000], [199_999], [0, 100_000]):
        positions[:] = 0
        positions[wrong] = [10 + j for j in range(len(wrong))]
        for _ in range(20):
            with pytest.raises(InputError, match="position 10 does not lie"):
                f(np.ones(5), positions)
    positions[:] = 4
    assert np.array_equal(f(np.ones(5), positions), np.full(N, 3.0))


@needs_threads
def test_threads_of_python_call_at_the_same_time() -> None:
    f = likelihood()
    x, m = arguments()
    wanted = f(x, m)
    wrong: list[Any] = []

    def calls() -> None:
        wrong.extend(k for k in range(30) if not all(map(np.array_equal, f(x, m), wanted)))

    callers = [threading.Thread(target=calls) for _ in range(8)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong


FORKS = """
import os
import sys
import threading
import numpy as np
import graphc as gc
sys.path.insert(0, {folder!r})
from test_threads import arguments, likelihood
f = likelihood()
x, m = arguments()
wanted = f(x, m)
stop = []
def calls():
    while not stop:
        f(x, m)
beside = threading.Thread(target=calls)
beside.start()
for k in range(20):
    child = os.fork()
    if not child:
        good = all(all(map(np.array_equal, f(x, m), wanted)) for _ in range(3))
        workers = [t for t in threading.enumerate() if t.name == "graphc worker"]
        os._exit(0 if good and len(workers) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0, k
stop.append(1)
beside.join()
assert all(map(np.array_equal, f(x, m), wanted))
print("right")
"""


@needs_threads
def test_forked_children_start_workers_of_their_own() -> None:
    assert run(FORKS.format(folder=str(Path(__file__).parent)), NUMBA_NUM_THREADS="3") == "right"


@needs_threads
def test_no_thread_is_left_at_the_end() -> None:
    text = MANY.format(folder=str(Path(__file__).parent)) + (
        "import atexit\n"
        "def look():\n"
        "    alive = [t for t in threading.enumerate() if t.name == 'graphc worker']\n"
        "    print('left', len(alive), f(*arguments())[0] == results[0][0])\n"
    )
    text = "import atexit\natexit.register(lambda: look())\n" + text  # runs last
    assert run(text, NUMBA_NUM_THREADS="8").split("\n") == ["same", "left 0 True"]


def test_numbers_of_threads_are_checked() -> None:
    most = gc.get_num_threads()
    for wrong in (0, -1, most + 1000, "2", 1.0, True, None):
        with pytest.raises(InputError, match=r"is an int from 1 to \d+, got"):
            gc.set_num_threads(wrong)  # type: ignore[arg-type]
    for wrong in (0, "2", True, 1.5):
        with pytest.raises(DeclarationError, match=r"threads=\) is an int >= 1 .*\n  at .*test_threads\.py:"):
            gc.Options(threads=wrong)  # type: ignore[arg-type]
    assert gc.get_num_threads() == most
    x = gc.input("x", ("n",))
    assert gc.compile([x], gc.sum(x), options=gc.Options(threads=1)).stats["threads"] == 1


@needs_threads
def test_the_environment_says_how_many() -> None:
    text = "import graphc as gc\nprint(gc.get_num_threads())"
    assert run(text, NUMBA_NUM_THREADS="5", OMP_NUM_THREADS="3") == "5"
    assert run(text, NUMBA_NUM_THREADS="", OMP_NUM_THREADS="3,2") == "3"
    pinned = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + text
    assert run(pinned, NUMBA_NUM_THREADS="", OMP_NUM_THREADS="") == "1"
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        told = "import graphc as gc\ntry: gc.get_num_threads()\nexcept gc.InputError as error: print(error)"
        others = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"), "") | {name: "many"}
        assert run(told, **others) == f"{name} is a number of threads, at least 1; it is 'many'"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"cpu.max": "max 100000"}, float("inf")),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "400000 100000", "a/b/cpu.max": "20000 100000"}, 1),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ({"cpu.max": "nonsense"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_quotas_of_control_groups(tmp_path: Path, files: dict[str, str], wanted: float) -> None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    mine = tmp_path / "mine"
    mine.write_text("0::/a/b\n")
    assert threads._quota(root, mine) == wanted
