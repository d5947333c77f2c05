"""profile measures without a trace, counts what runs, and tells how near to the machine's limit it is."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_programs import PROGRAMS

import graphc as gc
from graphc.inspect.profile import Kernel, Profile
from graphc.runtime import roofline as measuring
from graphc.runtime.roofline import Roofline, roofline

LINE = Roofline(1, (1 << 14, 1 << 24), (400.0, 40.0), {"float32": 200.0, "float64": 100.0}, ((1 << 15, "L1"),))


@pytest.fixture(scope="module")
def training() -> Any:
    """The golden training step and its values."""
    golden = PROGRAMS["training_step"]()
    return golden.compile(), golden


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads, whatever the machine has."""
    if not gc.runtime.threads.supported():
        pytest.skip("threads can't wait for one another here")
    region = gc.runtime.threads.region()
    before = gc.get_num_threads()
    region.set_most(2)
    yield
    region.set_most(before)


# times and counts


def test_a_profile_has_a_row_a_phase_with_its_work(training: Any) -> None:
    function, golden = training
    function(*golden.values)
    profile = function.profile(*golden.values, repeat=3)
    assert [k.title for k in profile] == [p.title for p in function.program.phases]
    assert [k.phase for k in profile] == list(range(len(profile)))
    assert sum(k.flops for k in profile) == function.stats["flops"]
    assert sum(k.nbytes for k in profile) == function.stats["bytes"]
    assert all(k.chunks >= 1 and k.microseconds >= 0 and k.runs == 1 for k in profile)


def test_a_profile_changes_neither_parameters_nor_results(training: Any) -> None:
    function, golden = training
    parameters = list(golden.updates)
    before = [p.value for p in parameters]
    function.profile(*golden.values, repeat=5)
    assert all(a.tobytes() == p.value.tobytes() for a, p in zip(before, parameters, strict=True))
    first = function(*golden.values)
    kept = first.copy()
    after = [p.value for p in parameters]
    for p, value in zip(parameters, before, strict=True):
        p.assign(value)
    function.profile(*golden.values, repeat=5)
    assert function(*golden.values).tobytes() == kept.tobytes() == first.tobytes()
    assert all(a.tobytes() == p.value.tobytes() for a, p in zip(after, parameters, strict=True))


def test_every_run_of_a_profile_starts_from_the_same_values() -> None:
    """An update that would overflow the positions it is read at, were it made twice."""
    at = gc.parameter("at", np.array([0]))
    table = gc.input("table", (2,))
    f = gc.compile([table], gc.sum(gc.take(table, at, axis=0)), updates={at: at + 1})
    assert len(f.profile(np.zeros(2), repeat=10)) == len(f.program.phases)
    assert at.value == [0]


def test_times_follow_the_work_and_make_up_the_call() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.tanh(x))
    profiles = [f.profile(np.ones(n), repeat=20) for n in (10_000, 1_000_000)]
    assert 10 < profiles[1].microseconds / profiles[0].microseconds < 1000
    for profile in profiles:
        assert profile.microseconds / 3 < profile.call < 3 * profile.microseconds
        assert profile.call / 3 < profile.call_making_outputs
    values = np.ones(1_000_000)
    start = time.perf_counter()
    for _ in range(20):
        f(values)
    assert profiles[1].microseconds < (time.perf_counter() - start) / 20 * 1e6 * 3


def test_phases_of_a_loop_count_their_runs_and_work() -> None:
    x, n = gc.input("x", (40, 40)), gc.input("n", ("n",))
    f = gc.compile([x, n], gc.scan(lambda c, e: (c @ c + e, None), x, n)[0])
    steps = [k for k in f.profile(np.eye(40), np.ones(7), repeat=3) if k.runs == 7]
    assert sum(k.flops for k in steps) == 7 * (2 * 40**3 + 40**2)
    assert all(k.nbytes % 7 == 0 for k in steps)


def test_phases_of_a_branch_that_is_not_taken_do_not_run() -> None:
    which, x = gc.input("which", (), gc.bool_), gc.input("x", (40, 40))
    f = gc.compile([which, x], gc.cond(which, lambda: gc.tanh(x @ x), lambda: x @ x @ x))
    for taken, count in ((True, 1), (False, 2)):
        products = [k for k in f.profile(taken, np.eye(40), repeat=2) if "product" in k.title and k.runs]
        assert len(products) == count
    assert all(k.flops == 0 and k.bound == "" for k in f.profile(True, np.eye(40), repeat=2) if not k.runs)


@pytest.mark.usefixtures("two_threads")
def test_shared_phases_are_compared_with_the_limits_of_their_threads() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.tanh(x))
    assert [(k.threads, p.roofline.threads) for p in [f.profile(np.ones(10**6), repeat=2)] for k in p] == [(2, 2)]
    assert [k.threads for k in f.profile(np.ones(100), repeat=2)] == [1]
    alone = gc.compile([x], gc.tanh(x), options=gc.Options(threads=1))
    assert [k.threads for k in alone.profile(np.ones(10**6), repeat=2)] == [1]


def test_functions_of_arrays_have_profiles() -> None:
    @gc.function
    def loss(w: Any, *, scale: Any = 2.0) -> Any:
        return gc.sum(w["a"] @ w["b"]) * scale

    given = {"a": np.ones((5, 6)), "b": np.ones((6, 7), np.float64)}
    titles = [k.title for k in loss.profile(given, repeat=2)]
    assert titles == [p.title for p in loss.compiled(given).program.phases]
    assert len(loss.grad().profile(given, scale=3.0, repeat=2)) >= 1


@pytest.mark.parametrize("repeat", [0, -1, 2.0, True, None])
def test_repeat_must_be_a_count(training: Any, repeat: Any) -> None:
    function, golden = training
    with pytest.raises(gc.InputError, match="repeat must be an int >= 1"):
        function.profile(*golden.values, repeat=repeat)


def test_a_profile_refuses_what_a_call_refuses() -> None:
    table, at = gc.input("table", (3,)), gc.input("at", ("n",), gc.int64)
    f = gc.compile([table, at], gc.take(table, at, axis=0))
    with pytest.raises(gc.InputError):
        f.profile(np.zeros(4), np.zeros(2, np.int64))
    with pytest.raises(gc.InputError, match="7"):
        f.profile(np.zeros(3), np.array([0, 7]))
    assert np.array_equal(f(table=np.arange(3.0), at=[2, 0]), [2.0, 0.0])
    assert len(f.profile(at=[0, 1], table=np.zeros(6)[::2], repeat=1)) == len(f.program.phases)


def test_nothing_to_do_is_no_error() -> None:
    x = gc.input("x", ("n",))
    assert str(gc.compile([x], gc.exp(x)).profile(np.ones(0), repeat=2))
    w = gc.parameter("w", 1.0)
    assert len(gc.compile([], (), updates={w: w + 1.0}).profile(repeat=2)) >= 1
    assert gc.compile([], ()).profile(repeat=2).microseconds == 0.0


# the model


@pytest.mark.parametrize(
    ("make", "flops", "nbytes"),
    [
        (lambda x, y: x + y, 6, 3 * 48),
        (lambda x, y: gc.exp(x), 6 * 20, 2 * 48),
        (lambda x, y: gc.transpose(x) * 1.0, 0, 2 * 48),
        (lambda x, y: gc.sum(x, axis=1), 6, 48 + 16),
        (lambda x, y: x @ gc.transpose(y), 2 * 2 * 2 * 3, 2 * 48 + 32),
        (lambda x, y: gc.broadcast_to(x, (4, 2, 3)) @ gc.transpose(y), 4 * 2 * 2 * 2 * 3, 2 * 48 + 4 * 32),
        (lambda x, y: gc.matmul(gc.stack([x, y]), gc.stack([x.T, y.T])), None, None),
    ],
)
def test_work_is_what_the_loops_have_to_do(make: Any, flops: int | None, nbytes: int | None) -> None:
    x, y = gc.input("x", (2, 3)), gc.input("y", (2, 3))
    f = gc.compile([x, y], make(x, y))
    profile = f.profile(np.ones((2, 3)), np.ones((2, 3)), repeat=2)
    if flops is None:
        (product,) = (k for k in profile if "product" in k.title)
        assert (product.flops, product.nbytes) == (2 * 2 * 2 * 2 * 3, 2 * 2 * 48 + 2 * 32)
    else:
        assert (sum(k.flops for k in profile), sum(k.nbytes for k in profile)) == (flops, nbytes)


# limits


def test_limits_are_measured_once_for_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    line = roofline(1)
    assert line.threads == 1
    assert all(a >= b > 0 for a, b in zip(line.bandwidths, line.bandwidths[1:], strict=False))
    assert line.peaks["float32"] > line.peaks["float64"] > 0.5
    sizes = [size for size, _ in line.levels]
    assert sizes == sorted(sizes)
    roofline.cache_clear()
    monkeypatch.setattr(measuring, "_Measuring", None)
    assert roofline(1) == line


@pytest.mark.usefixtures("two_threads")
def test_threads_have_limits_of_their_own() -> None:
    one, two = roofline(1), roofline(2)
    assert two.threads == 2
    assert two.levels[0][0] == 2 * one.levels[0][0]
    assert two.levels[-1] == one.levels[-1]


def test_the_limit_is_the_slower_of_moving_and_computing() -> None:
    assert LINE.least(0, 0, 0, "float32") == (0.0, "DRAM" if not LINE.levels else "L1")
    assert LINE.least(10**6, 4000, 4000, "float64") == (1e-5, "FMA")
    seconds, bound = LINE.least(1, 10**9, 10**9, "float32")
    assert (seconds, bound) == (0.025, "DRAM")
    assert LINE.bandwidth(1 << 19) == pytest.approx(400**0.5 * 40**0.5)
    grown = [LINE.bandwidth(1 << k) for k in range(40)]
    assert grown == sorted(grown, reverse=True)


def test_caches_are_found_where_the_system_tells(tmp_path: Path) -> None:
    for k, row in enumerate([(1, "Data", "48K"), (1, "Instruction", "64K"), (2, "Unified", "2048K"), (3, "?", "x")]):
        folder = tmp_path / f"index{k}"
        folder.mkdir()
        for name, value in zip(("level", "type", "size"), row, strict=True):
            (folder / name).write_text(f"{value}\n")
    assert measuring._caches(tmp_path) == ((48 << 10, "L1"), (2 << 20, "L2"))
    assert measuring._caches(tmp_path / "none") == measuring._CACHES


# what is shown


def test_a_profile_is_an_aligned_table() -> None:
    kernels = Kernel(0, "add", 2.0, 1, 4_000, 8_000, 0.5, "L1"), Kernel(1, "sum, exp", 0.0, 12, 10, 20)
    lines = str(Profile(kernels, 2.5, 3.0, LINE)).split("\n")
    headings = ["phase", "µs", "share", "runs", "chunks", "flops", "bytes", "GFLOP/s", "GB/s", "bound", "by"]
    assert lines[0].split() == [*headings, "of", "limit", "kernel"]
    assert lines[1].split() == ["0", "2.00", "100%", "1", "1", "4,000", "8,000", "2.00", "4.00", "L1", "25%", "add"]
    assert lines[2].split() == ["1", "0.00", "0%", "1", "12", "10", "20", "0.00", "0.00", "sum,", "exp"]
    assert [line.split() for line in lines[3:6]] == [
        ["2.00", "all", "kernels"], ["2.50", "a", "call,", "out=", "given"], ["3.00", "a", "call"],
    ]  # fmt: skip
    assert "model" in lines[6]
    assert "model" in lines[7]
    assert "DRAM 40 GB/s" in lines[8]
    for heading, cell in zip(re.finditer(r"\S+", lines[0][:60]), re.finditer(r"\S+", lines[1][:60]), strict=False):
        assert heading.end() == cell.end() or heading.start() == cell.start()


def test_a_profile_is_data(training: Any) -> None:
    function, golden = training
    profile = function.profile(*golden.values, repeat=2)
    told = json.loads(profile.to_json())
    assert told == json.loads(json.dumps(profile.to_dict()))
    assert [k["title"] for k in told["kernels"]] == [k.title for k in profile]
    assert [k["of_limit"] for k in told["kernels"]] == [k.of_limit for k in profile]
    assert told["limits"]["threads"] == profile.roofline.threads


def test_a_page_stands_by_itself(training: Any, tmp_path: Path) -> None:
    function, golden = training
    profile = function.profile(*golden.values, repeat=2)
    profile.to_html(tmp_path / "profile.html")
    page = (tmp_path / "profile.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://\S+?(?=[\"'<])", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(script|link|style|img)|src=|url\(", page)
    for kernel in range(len(function.program.kernels)):
        assert f"def kernel_{kernel}" in page
    fills = re.findall(r'<g data-kind="(?:forward|adjoint|update)">.*?fill:(#\w+)', page, re.DOTALL)
    assert len(set(fills)) >= 2
