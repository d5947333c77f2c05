"""The kernels' families: every line can be declared and agrees with its peers, and what is shown of them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import graphc as gc
from benchmarks.__main__ import main
from benchmarks.kernels import FAMILIES, report
from benchmarks.kernels.case import Case, Subject, compiled, empty, normal
from benchmarks.kernels.copy import copies
from benchmarks.kernels.measure import Effort, Line, disagreement, measured

LITTLE = Effort(turns=2, seconds=1e-5)
SMALL = ("×8", "[1000]", "7×5×3", "cbrt", "pow", "logit", "isnan", "atan2")


def small_cases() -> list[tuple[str, Case]]:
    return [(f, c) for f, cases in FAMILIES.items() for c in cases() if c.name.endswith(SMALL) or SMALL[1] in c.name]


@pytest.mark.parametrize(("family", "case"), small_cases(), ids=lambda x: getattr(x, "name", x))
def test_small_lines_agree_and_have_figures(family: str, case: Case) -> None:
    line = measured(family, case, 1, LITTLE)
    assert line.problem == ""
    assert line.seconds > 0
    assert line.nbytes > 0
    assert line.ratios
    assert 0 < line.limit < 1


def test_lists_are_as_long_as_they_are() -> None:
    count = {family: len(list(cases())) for family, cases in FAMILIES.items()}
    assert count == {"products": 79, "vector_math": 132, "chains": 28, "reductions": 374, "rows": 6}
    for cases in FAMILIES.values():
        names = [(case.name, case.dtype) for case in cases()]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("reads", "writes"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_copies_read_all_and_write_all(reads: int, writes: int, threads: int) -> None:
    arrays = [normal((4, 400), "float32", k) for k in range(reads)]
    for call in copies(arrays, targets := [empty((4, 400), "float32") for _ in range(writes)], threads):
        for target in targets:
            target[...] = 0
        call()
        wanted = np.bitwise_xor.reduce([a.view(np.int32) for a in arrays])
        assert all(np.array_equal(target.view(np.int32), wanted) for target in targets)


def test_an_array_twice_as_long_is_read_as_two() -> None:
    array, target = normal((256,), "float64"), empty((128,), "float64")
    for call in copies([array], [target], 1):
        call()
        assert np.array_equal(target.view(np.int64), np.bitwise_xor(*array.view(np.int64).reshape(2, 128)))


def subject(theirs: Any, make: Any = lambda x: x + 1.0, dtype: str = "float64", **options: Any) -> Subject:
    x = np.array([1.0, np.inf, 0.0], dtype) if dtype.startswith("f") else np.arange(3)
    function, out = compiled((x,), make)
    return Subject(function, (x,), out, {"numpy": [lambda: theirs]}, options.pop("relative", 1e-12), **options)


def test_disagreement_is_told() -> None:
    right = np.array([2.0, np.inf, 1.0])
    assert disagreement(subject(right)) == ""
    assert disagreement(subject(right + 1e-9)).startswith("disagrees with numpy by ")
    assert disagreement(subject(right[:2])) == "disagrees with numpy by inf times what is allowed"
    assert disagreement(subject(np.array([2.0, 5.0, 1.0]))) == "disagrees with numpy by inf times what is allowed"
    assert disagreement(subject(np.array([1, 2, 4]), lambda x: x + 1, "int64")) != ""
    assert disagreement(subject(np.array([1, 2, 3]), lambda x: x + 1, "int64")) == ""
    assert disagreement(replace(subject(right), wanted=lambda: right + 1.0)).startswith("disagrees with the formula")


def test_a_line_that_fails_says_so_and_the_others_are_measured() -> None:
    def broken() -> Subject:
        raise ValueError("no such thing")

    line = measured("products", Case("x", "float32", broken), 1, LITTLE)
    assert line.problem == "ValueError: no such thing"
    lines = [line, Line("products", "y", "float32", 1, 2e-6, {"numpy": 1e-6, "jax": 4e-6}, 10, 100, 1e-6, "L1")]
    console = Console(record=True, width=150)
    console.print(report.table("products", lines))
    console.print(report.means(lines))
    text = console.export_text()
    assert all(word in text for word in ("no such thing", "2 µs", "50%", "0.50", "2.00", "× numpy", "geometric mean"))
    assert report.worst(lines, 1) == [line]


def test_readme_tells_the_means_of_families(tmp_path: Path) -> None:
    line = Line("vector_math", "sin", "float32", 1, 2e-6, {"numpy": 4e-6}, 1, 8, 1e-6, "memory")
    lines = [line, replace(line, name="exp", peers={"numpy": 1e-6}), replace(line, name="erf", peers={"scipy": 2e-5})]
    lines += [replace(line, dtype="float64", threads=2), Line("vector_math", "no", "float64", 1, problem="disagrees")]
    report.save(run := tmp_path / "run.json", lines, {"machine": {"cpu": "a CPU", "python": "3.11"}})
    assert repr(report.load(run)[0]) == repr(lines)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n")
    assert main(["kernels", "--markdown", str(run), "--into", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n| kernels | | numpy | scipy |\n|---|---|---:|---:|\n")
    assert "\n| vector math | float32 | 1.00 (0.50) of 2 | 10.00 (10.00) of 1 |\n" in text
    assert "\n| vector math | float64 | 2.00 (2.00) of 1 |  |\n" in text
    assert "threads: 1, 2." in text
    assert text.endswith(f"\na CPU, Python 3.11, one run.\n{report.END}\nafter\n")


def test_the_command_measures_in_a_process_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "kernels.json"
    start = time.perf_counter()
    assert main(["kernels", "products", "--quick", "--only", "8×8×8", "--out", str(out)]) == 0
    assert time.perf_counter() - start < 300
    told = json.loads(out.read_text())
    assert {line["dtype"] for line in told["lines"]} == {"float32", "float64"}
    assert all(line["ratios"]["numpy"] > 0 and line["of_limit"] > 0 for line in told["lines"])
    assert "the 10 worst" in capfd.readouterr().out
    assert main(["kernels", "--markdown", str(out)]) == 0
    assert "| products | float32 | " in capfd.readouterr().out
    assert main(["kernels", "nothing"]) == 2
    assert gc.get_num_threads() >= 1
