"""The text of the kernels, as it is kept in tests/golden; and that alias scopes never change a bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_programs import PROGRAMS

from graphc.codegen.intrinsics import memory
from graphc.codegen.intrinsics.routine import LaneBuilder
from graphc.codegen.intrinsics.target import has_two_multiply_adds, host_vector_bytes
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.tree import flatten

FOLDER = Path(__file__).parent / "golden"
KIND = f"{host_vector_bytes()}{'x2' if has_two_multiply_adds() else ''}"  # of vectors, and two multiply-adds a cycle
over_programs = pytest.mark.parametrize("name", PROGRAMS)


@over_programs
def test_text_is_the_golden_one(name: str, update_golden: bool) -> None:
    """Tiles, and so the texts of products, belong to a kind of processor; a file without one is for all the others."""
    text = PROGRAMS[name]().compile().source
    common, own = FOLDER / f"{name}.py.txt", FOLDER / f"{name}.{KIND}.py.txt"
    path = own if own.exists() else common
    if update_golden:
        path = common if KIND == "64" or text == common.read_text() else own
        path.write_text(text)
    assert text == path.read_text(), "a kernel's text has changed; look at the difference, then pytest --update-golden"


def _run(name: str, **options: Any) -> list[Any]:
    """Results of three calls, and the parameters after them."""
    golden = PROGRAMS[name]()
    function = golden.compile(**options)
    results = [flatten(function(*golden.values))[0] for _ in range(3)]
    return [*(r for result in results for r in result), *(p.value for p in golden.updates)]


@over_programs
def test_same_bits_without_alias_scopes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is contracted: which product joins a sum depends on how often LLVM finds each used."""
    monkeypatch.setattr(LaneBuilder, "flags", ())
    scoped = _run(name, cache=False)
    monkeypatch.setattr(memory, "MAX_STORAGES", 0)
    plain = _run(name, cache=False)
    for a, b in zip(scoped, plain, strict=True):
        assert a.tobytes() == b.tobytes()


@over_programs
def test_agrees_with_the_interpreter(name: str) -> None:
    golden = PROGRAMS[name]()
    outputs, _ = flatten(golden.outputs)
    wanted = interpret(Graph((*outputs, *golden.updates.values()), tuple(golden.inputs)), golden.values)
    results, _ = flatten(golden.compile()(*golden.values))
    for actual, expected in zip([*results, *(p.value for p in golden.updates)], wanted, strict=True):
        tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        assert np.max(np.abs(actual - expected), initial=0) <= tolerance * np.max(np.abs(expected), initial=1e-30)
