"""Derivatives of the benchmarks: every program gives the stored values and gradients, compiled and checked."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from benchmarks.peers import by_name
from benchmarks.peers.graphc_ import declared
from benchmarks.workloads import WORKLOADS, Derivative

DERIVATIVES = {name: record for name, record in WORKLOADS.items() if isinstance(record, Derivative)}
FORMS = [
    (name, size, form)
    for name, record in DERIVATIVES.items()
    for size in record.sizes
    for form in record.forms
    if size.startswith("test")
]
LARGE = [(name, size) for name, record in DERIVATIVES.items() for size in record.sizes if size[:4] != "test"]


def disagreements(name: str, size: str, form: str, options: gc.Options) -> dict[str, str]:
    """By measure, what a program gives that is not as stored; empty if all is right."""
    record, arrays = DERIVATIVES[name], DERIVATIVES[name].inputs(size)
    assert record.unlike_stored(size, arrays) == []
    found = {}
    for measure in record.timed:
        inputs, outputs = declared(record, size, form, measure, arrays)
        got = by_name(gc.compile(inputs, outputs, options=options)(*(arrays[str(node.name)] for node in inputs)))
        found[measure] = record.disagreement(size, got, record.expected(size, arrays), measure)
    return {measure: text for measure, text in found.items() if text}


@pytest.mark.parametrize(("name", "size", "form"), FORMS)
def test_values_and_gradients_are_as_stored(name: str, size: str, form: str) -> None:
    assert disagreements(name, size, form, gc.Options()) == {}


@pytest.mark.parametrize(("name", "size", "form"), FORMS)
def test_every_access_lies_inside(name: str, size: str, form: str) -> None:
    assert disagreements(name, size, form, gc.Options(debug=True)) == {}


@pytest.mark.long
@pytest.mark.parametrize(("name", "size"), LARGE)
def test_fingerprints_of_large_sizes_are_as_stored(name: str, size: str) -> None:
    for form in DERIVATIVES[name].forms:
        assert disagreements(name, size, form, gc.Options()) == {}


@pytest.mark.parametrize("name", [name for name, record in DERIVATIVES.items() if record.exact])
def test_closed_forms_are_as_stored(name: str) -> None:
    record = DERIVATIVES[name]
    found = record.exact(record.inputs("test"), **record.sizes["test"]) if record.exact else {}
    assert found.keys() >= next(record.expected("test", {})).keys()
    assert record.disagreement("test", found, record.expected("test", {})) == ""


@pytest.mark.parametrize("name", [name for name, record in DERIVATIVES.items() if record.exact])
def test_rows_of_rounded_inputs(name: str) -> None:
    record = DERIVATIVES[name]
    size = next(size for size in record.sizes if size.startswith("f32"))
    arrays = record.inputs(size)
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    assert disagreements(name, size, "", gc.Options()) == {}
    moving = f"grad/{record.wrt[0]}"
    wrong = {**next(record.expected(size, arrays))}
    wrong[moving] = wrong[moving] + 2e-5 * np.max(np.abs(wrong[moving]))
    assert f"{moving} is off by" in record.disagreement(size, wrong, record.expected(size, arrays))


@pytest.mark.parametrize("name", DERIVATIVES)
def test_what_is_stored_tells_wrong_inputs_and_gradients(name: str) -> None:
    record, size = DERIVATIVES[name], "test"
    arrays, want = record.inputs(size), next(record.expected(size, {}))
    assert {f"grad/{moving}" for moving in record.wrt} == {key for key in want if key.startswith("grad/")}
    assert record.disagreement(size, want, iter([want])) == ""
    for moving in record.wrt:
        gradient = want[f"grad/{moving}"]
        off = gradient + 2 * record.tolerance * (np.max(np.abs(gradient)) or 1)
        assert f"grad/{moving} is off by" in record.disagreement(size, {**want, f"grad/{moving}": off}, iter([want]))
        left = {key: array for key, array in want.items() if key != f"grad/{moving}"}
        assert f"no result for grad/{moving}" in record.disagreement(size, left, iter([want]))
        assert record.disagreement(size, left, iter([want]), "forward") == ""
    for output in record.outputs if len(record.outputs) > 1 else ():
        left = {key: array for key, array in want.items() if key != f"out/{output}"}
        assert f"no result for out/{output}" in record.disagreement(size, left, iter([want]), "forward")
        assert record.unlike_stored(size, {**arrays, moving: arrays[moving] + 1e-6}) == [f"in/{moving}"]


@pytest.mark.parametrize("size", ["n4096", "d2_k5"])
def test_fingerprints_tell_a_wrong_element(size: str) -> None:
    record = next(record for record in DERIVATIVES.values() if size in record.sizes)
    arrays = record.inputs(size)
    arrays[record.wrt[0]].flat[3] += 1e-3
    assert record.unlike_stored(size, arrays) == [f"in/{record.wrt[0]}"]


def test_nothing_is_right_where_nothing_is_stored() -> None:
    record = DERIVATIVES["lse"]
    with pytest.raises(LookupError, match="no results of lse/n17 are stored"):
        next(record.expected("n17", {}))
