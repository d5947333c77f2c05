"""What rows that go abreast have one by one: labels, truths, and elements at positions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from support import assert_close

import graphc as gc
from graphc.codegen.few_elements import MOST_BYTES, ROWS
from graphc.codegen.intrinsics.target import host_vector_bytes

_assert_close = partial(assert_close, near_zero=400)  # sums that are near it
Arrays = dict[str, Any]
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS = (0, 1, ROWS - 1, ROWS, ROWS + 1, 1000)  # of rows


def _shifted(f: Any, x: Any) -> Any:
    return x - f.max(x, axis=1, keepdims=True)


def _classes(f: Any, x: Any) -> Any:
    return f.arange(x.shape[1])


# What rows make, in terms that gc and NumPy share: k has a label for each row, m a truth, w a weight for each class.
PROGRAMS: dict[str, Callable[..., Any]] = {
    "labels": lambda f, x, k, m, w: (
        f.log(f.sum(f.exp(_shifted(f, x)), axis=1)) - f.take_along_axis(_shifted(f, x), k[:, None], axis=1)[:, 0],
    ),
    "one-hot": lambda f, x, k, m, w: (
        _shifted(f, x) - f.where(k[:, None] == _classes(f, x), w, 0),
        f.sum(f.where(k[:, None] < _classes(f, x), x, w), axis=1),
    ),
    "masks": lambda f, x, k, m, w: (f.where(m[:, None], _shifted(f, x), w), f.sum(f.where(m[:, None], x, 0), axis=1)),
    "weights": lambda f, x, k, m, w: (f.take(w, k, axis=0) * f.sum(x * w, axis=1), _shifted(f, x)),
    "counts": lambda f, x, k, m, w: (f.sum(x, axis=1) * (k + 1).astype(x.dtype), _shifted(f, x)),
    "choices": lambda f, x, k, m, w: (f.where((k > 1) & m, f.sum(x, axis=1), f.max(x, axis=1)), _shifted(f, x)),
    "positions": lambda f, x, k, m, w: (
        f.take_along_axis(x, k[:, None], axis=1)[:, 0], (k + 1).astype(x.dtype) * 2, f.sum(x, axis=1),
    ),
    "rolled": lambda f, x, k, m, w: (f.where(f.roll(k % 3, 1)[:, None] == _classes(f, x), _shifted(f, x), w),),
    "totals": lambda f, x, k, m, w: (
        f.sum(f.where(m, f.sum(x, axis=1), 0)), f.sum(f.where(k[:, None] == _classes(f, x), _shifted(f, x), 0), axis=0),
    ),
}  # fmt: skip


def _arrays(rows: int, length: int, dtype: str = "float32", labels: str = "int64") -> Arrays:
    rng = np.random.default_rng(rows + 100 * length)
    x, k, m = rng.normal(size=(rows, length)), rng.integers(0, length, rows), rng.random(rows) < 0.5
    return {"x": x.astype(dtype), "k": k.astype(labels), "m": m, "w": rng.normal(size=length).astype(dtype)}


def _compiled(name: str, length: int, dtype: str = "float32", labels: str = "int64", **options: Any) -> Any:
    given = [
        gc.input("x", ("n", length), dtype), gc.input("k", ("n",), labels), gc.input("m", ("n",), bool),
        gc.input("w", (length,), dtype),
    ]  # fmt: skip
    return gc.compile(given, PROGRAMS[name](gc, *given), options=gc.Options(**options))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [2, 5, 10, 16])
@pytest.mark.parametrize("name", PROGRAMS)
def test_rows_are_those_of_numpy(name: str, length: int, dtype: str) -> None:
    made = _compiled(name, length, dtype)
    for rows in NUMBERS:
        given = _arrays(rows, length, dtype)
        _assert_close(made(**given), PROGRAMS[name](np, *given.values()), dtype)


@pytest.mark.parametrize("labels", WHOLE)
@pytest.mark.parametrize("name", ["labels", "one-hot", "weights", "choices"])
def test_labels_of_every_dtype(name: str, labels: str) -> None:
    given = _arrays(37, 5, labels=labels)
    found, wanted = _compiled(name, 5, labels=labels)(**given), PROGRAMS[name](np, *given.values())
    _assert_close(found, wanted, "float32")


@pytest.mark.parametrize("name", PROGRAMS)
def test_they_are_abreast(name: str) -> None:
    """But for what is read under a condition, which lanes would share."""
    source = str(_compiled(name, 5).source)
    assert (f"deal_f4_5x{ROWS}(" in source) == (name != "rolled")
    assert ("for e in range(16):" in source) == (name != "rolled")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_interpreter_does_the_same(name: str) -> None:
    for rows in (1, ROWS + 1):
        given = _arrays(rows, 5)
        _assert_close(_compiled(name, 5, debug=True)(**given), PROGRAMS[name](np, *given.values()), "float32")


@pytest.mark.parametrize("labels", ["int8", "int64", "uint64"])
def test_large_labels_are_no_small_ones(labels: str) -> None:
    """Whole numbers are compared as such: what a float or a shorter one would take for a class is none."""
    largest = np.iinfo(labels).max
    given = _arrays(20, 5, labels=labels) | {"k": np.array([largest, largest - 3, 4, 0] * 5, labels)}
    _assert_close(_compiled("one-hot", 5, labels=labels)(**given), PROGRAMS["one-hot"](np, *given.values()), "float32")


@pytest.mark.parametrize(("rows", "wrong"), [(1, 0), (ROWS, 3), (ROWS + 5, ROWS + 4), (1000, 999), (1000, 500)])
def test_a_label_that_is_none_is_told(rows: int, wrong: int) -> None:
    """Of every row, in the last band as well; and afterwards all is as before."""
    made, given = _compiled("labels", 5), _arrays(rows, 5)
    before = made(**given)
    bad = given | {"k": given["k"].copy()}
    bad["k"][wrong] = 5
    with pytest.raises(gc.InputError, match="position 5 does not lie on axis 1, which has length 5"):
        made(**bad)
    assert np.array_equal(made(**given)[0], before[0])


def test_what_is_not() -> None:
    """Positions that rows come to, whole numbers along rows, and what takes long for each row."""
    x, k, r = gc.input("x", ("n", 5), gc.float32), gc.input("k", ("n", 5), gc.int64), gc.input("r", ("n",), gc.float64)
    values = np.abs(_arrays(21, 5)["x"]) / 9
    given = {"x": values, "k": np.arange(105).reshape(21, 5), "r": np.linspace(0, 1, 21)}
    programs = {
        "at": lambda f, x, k, r: f.take(x[0], f.floor(f.sum(x, axis=1)).astype("int64"), axis=0) * f.max(x, axis=1),
        "along": lambda f, x, k, r: f.sum(f.where(k > 3, x, 0), axis=1),
        "long": lambda f, x, k, r: f.sum(x, axis=1) * f.exp(r).astype("float32"),
    }
    for program in programs.values():
        made = gc.compile([x, k, r], program(gc, x, k, r))
        assert "for e in range(16):" not in str(made.source)
        np.testing.assert_allclose(made(**given), program(np, *given.values()), rtol=1e-5)


def test_gradients_of_labels() -> None:
    """The loss of labels and its slope, row by row as the one with their one-hot rows."""
    x, t = (gc.input(name, ("n", 10), gc.float32) for name in "xt")
    k = gc.input("k", ("n",), gc.int32)
    of_labels = gc.sum(gc.losses.sparse_categorical_crossentropy(k, x, from_logits=True))
    of_rows = gc.sum(gc.losses.categorical_crossentropy(t, x, from_logits=True))
    given = _arrays(77, 10, labels="int32")
    one_hot = np.eye(10, dtype="float32")[given["k"]]
    found = gc.compile([x, k], (of_labels, gc.grad(of_labels, x)))
    assert (f"deal_f4_10x{ROWS}(" in str(found.source)) == (MOST_BYTES[host_vector_bytes()][0] >= 10 * 4)
    wanted = gc.compile([x, t], (of_rows, gc.grad(of_rows, x)))(given["x"], one_hot)
    _assert_close(found(given["x"], given["k"]), wanted, "float32")
