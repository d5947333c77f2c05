"""The benchmark harness: who is measured, who is refused, and what is shown of it."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from benchmarks import first_workloads, machine, reference, report
from benchmarks.__main__ import main
from benchmarks.limits import derivatives, line, loops, memory, sharing
from benchmarks.peers import PEERS, Peer, Program
from benchmarks.runner import QUICK, Row, Runner
from benchmarks.worker import Running
from benchmarks.workloads import WORKLOADS, Derivative, Tolerance, Workload

STORED = [
    (name, size) for name in ("mlp", "mlp_deep") for size in WORKLOADS[name].sizes if size[-3:] not in ("_b1", "256")
]

FAKE = textwrap.dedent("""
    import os
    from benchmarks import reference
    from benchmarks.peers import Program, batches_of

    def configure(threads):
        print("chatter on stdout must not reach the protocol")

    def training(arrays, variant):
        weights = reference.weights_of(arrays)
        adam = reference.Adam({name: value.copy() for name, value in weights.items()})

        def step(x, t):
            if variant == "dies":
                print("no memory left", flush=True)
                os._exit(3)
            if variant == "raises":
                raise ValueError("not today")
            loss, grads = reference.loss_and_gradients(adam.params, x, t)
            before = {name: value.copy() for name, value in adam.params.items()}
            adam.step(grads)
            if variant == "wrong":
                for name, value in adam.params.items():
                    value += 0.004 * (value - before[name])
            return loss

        def reset():
            adam.__init__({name: value.copy() for name, value in weights.items()})

        return Program(lambda: step, batches_of(arrays), lambda: adam.params, reset)
""")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer that is the reference itself, and variants of it that go wrong."""
    (tmp_path / "fake_peer.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Peer("fake", "fake_peer", "numpy", ("numpy",), {"training": ("wrong", "dies", "raises", "right")})


def row(peer: str, samples: list[float], threads: int = 1, variant: str = "", problem: str = "") -> Row:
    return Row("mlp", "784_10_10_b32", "call", peer, variant, threads, samples, problem)


@pytest.mark.parametrize(("name", "size"), STORED)
def test_reference_agrees_with_stored_results(name: str, size: str) -> None:
    arrays = WORKLOADS[name].inputs(size)
    results = next(WORKLOADS[name].expected(size, arrays))
    assert reference.disagreements(name, size, arrays, results) == []
    results["b1"][0] += 1e-6
    arrays["W2"][0, 0] += 1e-3
    assert sorted(reference.disagreements(name, size, arrays, results)) == ["in/W2", "out/b1_after_3_steps"]


def test_a_tolerance_refuses_what_is_beyond_it() -> None:
    bound = Tolerance(absolute=0.5, relative=0.1)
    assert bound.excess([10.0, 1.0], [10.0, 2.0]) == pytest.approx(1 / 1.5)
    assert bound.excess([np.nan, 1.0], [10.0, 1.0]) == np.inf
    assert bound.excess([10.0], [10.0, 1.0]) == np.inf


def test_either_derivative_of_a_relu_at_rounding_distance_is_right() -> None:
    workload = WORKLOADS["mlp"]
    arrays = workload.inputs("test")
    first = next(workload.expected("test", arrays))
    arrays["b1"] = arrays["b1"].astype(np.float64)
    arrays["b1"][0] -= arrays["x"][0].astype(np.float64) @ arrays["W1"][:, 0] + arrays["b1"][0] - 1e-7
    above, below, *_ = workload.expected("test", arrays)
    assert np.max(np.abs(above["W1"][:, 0] - below["W1"][:, 0])) > 5e-6
    assert workload.disagreement("test", below, workload.expected("test", arrays)) == ""
    assert "W1 is off by" in workload.disagreement(
        "test", {**below, "W1": first["W1"] + 1e-4}, workload.expected("test", arrays)
    )
    assert "no result for W1" in workload.disagreement("test", {"losses": 0.0}, iter([first]))


def test_a_peer_that_is_wrong_or_fails_is_reported_and_not_timed(fake: Peer) -> None:
    runner = Runner([fake], [1], QUICK, report=lambda text: None)
    try:
        rows = {(r.variant, r.measure): r for r in runner.measure(WORKLOADS["mlp"], "test")}
    finally:
        runner.close()
    assert rows["wrong", "call"].problem.startswith("disagrees, not timed: ")
    assert "W1 is off by" in rows["wrong", "call"].problem
    assert "the process ended: no memory left" in rows["dies", "call"].problem
    assert rows["raises", "call"].problem == "ValueError: not today"
    for variant in ("wrong", "dies", "raises"):
        assert rows[variant, "call"].samples == rows[variant, "first call"].samples == []
    assert rows["right", "call"].problem == ""
    assert len(rows["right", "call"].samples) >= QUICK.turns
    assert len(rows["right", "first call"].samples) == 1


def test_cold_and_warm_starts_are_processes_of_their_own(fake: Peer) -> None:
    runner = Runner([fake], [1], QUICK, report=lambda text: None)
    try:
        rows = {(r.variant, r.measure): r for r in runner.measure(WORKLOADS["compile"], "test")}
    finally:
        runner.close()
    assert [len(rows["right", measure].samples) for measure in ("cold", "warm")] == [1, 1]
    assert rows["wrong", "cold"].problem.startswith("disagrees")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--only", "mpl"], ["no workload is called 'mpl'", "mlp_deep", "call/tanh_n3"]),
        (["--only", "mlp/b7"], ["no workload is called 'mlp/b7'", "mlp/784_10_10_b32"]),
        (["--peers", "theano"], ["no peer is called 'theano'", "pytensor"]),
    ],
)
def test_unknown_names_are_refused_with_the_names_there_are(
    argv: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    shown = capsys.readouterr().err
    assert all(words in shown for words in said)


def test_quick_run_shows_a_table_and_writes_every_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow")
    out = tmp_path / "deep" / "run.json"
    argv = ["--only", "mlp/test", "call", "--peers", "graphc", "tensorflow", "--quick", "--out", str(out)]
    assert main(argv) == 0
    about = json.loads(out.read_text())
    assert {r["peer"] for r in about["rows"]} == {"graphc", "tensorflow"}
    assert [r["problem"] for r in about["rows"] if r["problem"]] == []
    assert all(min(r["samples"]) > 0 for r in about["rows"])
    assert about["versions"]["tensorflow"]
    assert about["machine"]["cores"] >= 1
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("mlp/test", "tensorflow listing", "tensorflow jit_compile", "× graphc"))


def test_a_run_that_ends_early_keeps_what_was_finished(
    fake: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Runner):
        def measure(self, workload: Workload | Derivative, size: str) -> list[Row]:
            if workload.name == "call":
                raise SystemExit("killed")
            return [row("fake", [2e-5])]

    monkeypatch.setattr("benchmarks.__main__.Runner", Dies)
    with pytest.raises(SystemExit, match="killed"):
        main(["--only", "mlp/test", "call", "--out", str(tmp_path / "run.json")], [fake])
    rows, _ = report.load(tmp_path / "run.json")
    assert rows == [row("fake", [2e-5])]


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    fake: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.__main__.Runner", None)
    (tmp_path / "file").write_text("")
    assert main(["--only", "mlp/test", "--out", str(tmp_path / "file" / "run.json")], [fake]) == 2
    assert "run.json can't be written: " in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "steps"), [(1e-6, 300), (1.05e-3, 19), (0.01, 3), (0.2, 1), (40.0, 1)])
def test_a_sample_is_long_enough_and_of_one_step_where_that_is_long(
    seconds: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def run() -> None:
        clock[0] += seconds

    monkeypatch.setattr("benchmarks.worker.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    program = Program(lambda: run, [()], dict, lambda: None)
    running = Running(program, run)
    running.choose_steps(0.3)
    assert running.steps == steps
    assert running.sample() == pytest.approx(seconds)


def test_imports_are_timed_in_processes_of_their_own(tmp_path: Path) -> None:
    assert main(["--only", "import", "--peers", "graphc", "--quick", "--out", str(tmp_path / "run.json")]) == 0
    (row,) = json.loads((tmp_path / "run.json").read_text())["rows"]
    assert row["problem"] == ""
    assert min(row["samples"]) > 0


def test_a_missing_peer_is_said_to_be_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = Peer("absent", "benchmarks.peers.absent_", "absent_package", ("absent",), {"training": ("",)})
    out = tmp_path / "run.json"
    assert main(["--only", "mlp/test", "--out", str(out)], [absent]) == 0
    assert "not installed: absent" in capsys.readouterr().err
    assert json.loads(out.read_text())["not installed"] == ["absent"]


def test_ratios_are_of_the_best_thread_counts_of_both() -> None:
    rows = [
        row("graphc", [3e-5], threads=1),
        row("graphc", [2e-5, 2e-5, 2e-5], threads=2),
        row("jax", [8e-5], threads=1),
        row("jax", [4e-5, 6e-5, 5e-5], threads=2),
        row("torch", [1e-5], variant="eager"),
        row("pytensor", [], problem="disagrees, not timed: W1 is off by 3 times the tolerance"),
    ]
    graphc, jax, torch, pytensor = report.lines(rows)
    assert (graphc.row.threads, graphc.median, graphc.ratio) == (2, 2e-5, None)
    assert (jax.row.threads, jax.median) == (2, 5e-5)
    assert jax.spread == pytest.approx(1e-5)
    assert jax.ratio == pytest.approx(2.5)
    assert not jax.slower_than_peer
    assert torch.slower_than_peer
    assert pytensor.ratio is None


def test_the_fastest_form_is_compared_and_gradients_with_their_forward_passes() -> None:
    def timed(peer: str, variant: str, forward: float, gradient: float) -> list[Row]:
        return [
            Row("llsq", "n512_m128", measure, peer, variant, 1, [seconds])
            for measure, seconds in (("forward", forward), ("gradient", gradient))
        ]

    rows = (
        timed("graphc", "powers", 2e-5, 6e-5)
        + timed("graphc", "horner", 1e-5, 2e-5)
        + timed("jax", "horner", 1e-5, 8e-5)
    )
    found = {(line.row.measure, line.name): line for line in report.lines(rows)}
    assert found["gradient", "jax horner"].ratio == pytest.approx(4)
    assert found["forward", "jax horner"].ratio == pytest.approx(1)
    assert found["gradient", "graphc powers"].forwards == pytest.approx(3)
    assert found["gradient", "jax horner"].forwards == pytest.approx(8)
    assert found["forward", "jax horner"].forwards is None


def test_readme_table_and_plot_are_made_from_the_file_and_show_losses(tmp_path: Path) -> None:
    rows = [
        row("graphc", [2e-5]),
        row("jax", [5e-5]),
        row("torch", [1e-5], variant="eager"),
        row("pytensor", [], problem="x"),
        row("tensorflow", [], variant="function", problem="ValueError: forward disagrees: y is off by 2"),
    ]
    for peer, variant, seconds in (("graphc", "one", 4e-5), ("graphc", "two", 2e-5), ("torch", "two eager", 6e-5)):
        rows.append(Row("cnn", "lenet", "gradient", peer, variant, 1, [seconds]))
    run, readme = tmp_path / "run.json", tmp_path / "README.md"
    machine_ = {"cpu": "a CPU", "cores": 2, "python": "3.11"}
    report.save(run, rows, {"machine": machine_, "versions": {"jax": "1.0"}})
    readme.write_text(f"before\n{report.BEGIN}\nstale numbers\n{report.END}\nafter\n")
    assert main(["--markdown", str(run), "--into", str(readme)]) == 0
    text = readme.read_text()
    head = "| | graphc | tensorflow function | jax | torch eager | pytensor |"
    assert text.startswith(f"before\n{report.BEGIN}\n{head}\n")
    assert "| mlp 784_10_10_b32 | 20 µs | disagrees | 50 µs (2.5×) | 10 µs (**0.5×**) | fails |" in text
    assert "| cnn lenet, gradient | 20 µs |  |  | 60 µs (3×) |  |" in text
    assert "a CPU, 2 cores, Python 3.11; jax 1.0." in text
    assert f"]({report.PLOT})\n{report.END}" in text
    plot = (tmp_path / report.PLOT).read_text()
    assert all(f">{words}<" in plot for words in ("cnn lenet, gradient", "torch eager", "jax", "pytensor"))
    assert plot.count('id="line2d_') >= 4
    assert "stale" not in text
    assert text.endswith(f"{report.END}\nafter\n")
    readme.write_text("nothing marked")
    with pytest.raises(SystemExit, match=r"README\.md has no part between <!-- speed: begin"):
        main(["--markdown", str(run), "--into", str(readme)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(19.24e-6, "19.2 µs"), (0.46, "460 ms"), (14.2, "14.2 s"), (0.9996, "1 s"), (0.0, "0 ns"), (1234.0, "1234 s")],
)
def test_seconds_have_three_digits_and_a_unit(value: float, text: str) -> None:
    assert report.seconds(value) == text


def test_workers_get_their_threads_their_caches_and_no_misleading_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    env = machine.environment(2, tmp_path)
    assert "OPENBLAS_CORETYPE" not in env
    assert {env[f"{pool}_NUM_THREADS"] for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA")} == {"2"}
    assert env["XDG_CACHE_HOME"].startswith(str(tmp_path))
    assert "OPENBLAS_CORETYPE" in machine.describe()["removed from the environment"]


SMALL = ("cnn", "test", "shifted")


@pytest.mark.parametrize(
    "lines",
    [
        lambda: loops.gauss_seidel(6, 2),
        lambda: loops.slice_updates((5, 50), 2),
        lambda: loops.series(3, 7),
        lambda: loops.scalar_step(10),
        lambda: loops.kalman_filter(5),
        derivatives.second_derivatives,
        derivatives.tangent,
        derivatives.whole_jacobian,
        lambda: sharing.squares((8, 512)),
        lambda: sharing.two_threads([SMALL, ("mlp_deep", "test", "")]),
        sharing.small_phases,
        sharing.too_small,
        lambda: sharing.crowd(SMALL, 3),
        lambda: memory.memory([SMALL, ("mlp", "test", "")]),
    ],
)
def test_limits_are_measured_of_results_that_agree(lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "SECONDS", 0.01)
    threads = gc.get_num_threads()
    try:
        found = list(lines())
    finally:
        gc.set_num_threads(threads)
    has_jax = importlib.util.find_spec("jax") is not None
    assert all(one.what and len(one.cells()) == 4 and (np.isfinite(one.measured) or not has_jax) for one in found)
    if lines is derivatives.tangent:
        monkeypatch.setattr(derivatives, "drawn", lambda *shapes, **_: [np.full(shape, np.nan) for shape in shapes])
        with pytest.raises(SystemExit, match="results disagree"):
            list(lines())


def test_a_limit_is_kept_or_not() -> None:
    assert line.Line("a", 1.0, 1.2, "×", "").holds
    assert not line.Line("a", 1.3, 1.2, "×", "").holds
    assert not line.Line("a", 1.0, 1.2, "×", "", at_least=True).holds
    assert line.Line("a", float("nan"), 1.2, "×", "").cells()[1] == "not installed"


def test_modules_have_byte_code_as_installed_ones() -> None:
    machine.compile_modules()
    assert gc.__file__ is not None
    assert Path(importlib.util.cache_from_source(gc.__file__)).exists()


def test_first_calls_of_workloads_are_timed_in_processes(tmp_path: Path) -> None:
    assert dict(first_workloads.chosen([]))["lstm"] == ["l2_c1024"]
    assert first_workloads.chosen(["lse/test"]) == [("lse", ["test"])]
    declaring, compiling = first_workloads.in_a_process("graphc", "lse", ["test"], tmp_path)
    assert 0 < declaring < compiling
    with pytest.raises(SystemExit, match="KeyError"):
        first_workloads.in_a_process("graphc", "lse", ["none"], tmp_path)


def test_every_peer_writes_the_training_step() -> None:
    assert all(peer.variants["training"] for peer in PEERS)
    assert len({peer.name for peer in PEERS}) == len(PEERS)
