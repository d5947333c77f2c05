"""Sums and products of few elements in bodies are operations of these elements, with the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from support_loops import close

import graphc as gc
from graphc.codegen.loop_ir import Code, For, If, Stmt, Use
from graphc.graph import Graph, Node
from graphc.interpret import interpret

Fold = Callable[[Any], Any]
STEPS = 4


def kernels(body: Iterable[Stmt]) -> Iterator[str]:
    for s in body:
        match s:
            case Use(kernel):
                yield kernel
            case For():
                yield from kernels(s.body)
            case If():
                yield from kernels((*s.yes, *s.no))


def of_steps(inputs: list[Node], outputs: tuple[Node, ...]) -> set[str]:
    """The kernels that the steps of loops use."""
    program = gc.compile(inputs, outputs, options=gc.Options(debug=True)).program
    assert program.loops is not None
    codes = [c for c, p in zip(program.loops.phases, program.phases, strict=True) if "times" in p.title]
    assert codes
    return {name for code in codes if isinstance(code, Code) for name in kernels(code.loop.body)}


FOLDS: dict[str, Fold] = {
    "sum": gc.sum,
    "sum of a product": lambda m: gc.sum(m * m.T * gc.exp(m)),
    "rows": lambda m: gc.sum(m, axis=1)[0],
    "columns": lambda m: gc.sum(m * 2, axis=0)[1],
    "prod": lambda m: gc.prod(m, axis=0)[1],
    "max": gc.max,
    "min of rows": lambda m: gc.sum(gc.min(m, axis=1)),
}


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32])
@pytest.mark.parametrize("name", FOLDS)
def test_folds_of_few(name: str, dtype: Any) -> None:
    m, x = gc.input("m", (3, 3), dtype), gc.input("x", (STEPS,), dtype)
    fold = FOLDS[name]
    last, ys = gc.scan(lambda c, e: (c * 0.5 + e, fold(c) * 0.25), m, x)
    outputs = (last, ys, *gc.grad(gc.sum(ys) + gc.sum(last), [m, x]))
    assert of_steps([m, x], outputs) == set()
    draw = np.random.default_rng(0).normal
    arrays: list[Any] = [draw(size=(3, 3)).astype(dtype.numpy), draw(size=STEPS).astype(dtype.numpy)]
    wanted = interpret(Graph(outputs, (m, x)), arrays)
    close(gc.compile([m, x], outputs)(*arrays), wanted, 1e-12 if dtype == gc.float64 else 1e-5)


@pytest.mark.parametrize("dtype", [gc.int64, gc.uint8])
def test_integers_wrap(dtype: Any) -> None:
    m = gc.input("m", (3, 3), dtype)

    def step(c: Any, _: None) -> tuple[Any, Any]:
        return c * 3 + 1, (gc.sum(c, dtype=dtype), gc.max(c, axis=0), gc.prod(c, dtype=dtype))

    last, ys = gc.scan(step, m, length=5)
    outputs = (last, *ys)
    array = np.arange(9).reshape(3, 3).astype(dtype.numpy)
    for found, wanted in zip(gc.compile([m], outputs)(array), interpret(Graph(outputs, (m,)), [array]), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("text", ["ij,jk->ik", "ij,j->i", "i,i->", "ij,ij->", "bij,bjk->bik", "ij,kj->ik", "i,j->ij"])
def test_products_of_few(text: str) -> None:
    sizes = dict(zip("bijk", (2, 3, 2, 3), strict=True))
    a_labels, b_labels = text.split("->")[0].split(",")
    a, b = (gc.input(name, tuple(sizes[c] for c in ls)) for name, ls in (("a", a_labels), ("b", b_labels)))
    x = gc.input("x", (STEPS,))
    last, ys = gc.scan(lambda c, e: (c * 0.5 + e, gc.einsum(text, c, b)), a, x)
    outputs = (last, ys, *gc.grad(gc.sum(gc.sin(ys)), [a, b, x]))
    assert of_steps([a, b, x], outputs) == set()
    draw = np.random.default_rng(1).normal
    arrays: list[Any] = [draw(size=tuple(sizes[c] for c in a_labels)), draw(size=tuple(sizes[c] for c in b_labels))]
    arrays.append(draw(size=STEPS))
    close(gc.compile([a, b, x], outputs)(*arrays), interpret(Graph(outputs, (a, b, x)), arrays), 1e-12)


@pytest.mark.parametrize("n", [40, "n"])
def test_batches_of_small_matrices(n: Any) -> None:
    a, b, x = gc.input("a", (n, 3, 3)), gc.input("b", (n, 3, 3)), gc.input("x", (STEPS,))
    last, ys = gc.scan(lambda c, e: (c * 0.5 + e, gc.sum(c @ b, axis=2)), a, x)
    assert of_steps([a, b, x], (last, ys)) == set()
    outputs = (last, ys, *gc.grad(gc.sum(gc.sin(ys)), [a, b]))
    draw = np.random.default_rng(2).normal
    arrays: list[Any] = [draw(size=(40, 3, 3)), draw(size=(40, 3, 3)), draw(size=STEPS)]
    close(gc.compile([a, b, x], outputs)(*arrays), interpret(Graph(outputs, (a, b, x)), arrays), 1e-12)


def test_products_of_many_keep_their_kernels() -> None:
    a, b = gc.input("a", (8, 8)), gc.input("b", (8, 8))
    last, _ = gc.scan(lambda c, _: (c @ b, None), a, length=3)
    assert of_steps([a, b], (last,)) == {"flush", "micro", "restore"}
