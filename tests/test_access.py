"""Access maps of movement ops: the pieces, evaluated at every index, read what the reference computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from support import evaluate, seeded

import graphc as gc
from graphc.declare import BUILDER
from graphc.dims import Dim, symbol
from graphc.dims import evaluate as size_of
from graphc.graph import Node
from graphc.op import REGISTRY, Family, Piece
from graphc.ops.barrier import barrier

A = gc.input("a", (2, 3, 4))
B = gc.input("b", ("n", 4))
C = gc.input("c", ("m",))
SIZES = {"n": 3, "m": 5}


def primitive(name: str, x: Node, **attrs: Any) -> Node:
    node: Node = BUILDER.primitive(name, (x,), **attrs)
    return node


NODES = {
    "reshape merges": gc.reshape(A, (6, 4)),
    "reshape splits": gc.reshape(A, (2, 3, 2, 2)),
    "reshape regroups": gc.reshape(A, (3, 8)),
    "reshape of unit axes": gc.reshape(gc.input("u", (1, 6, 1, 4)), (2, 1, 3, 4, 1)),
    "reshape to a scalar": gc.reshape(gc.input("u", (1, 1)), ()),
    "reshape from a scalar": gc.reshape(gc.input("u", ()), (1, 1)),
    "reshape of nothing": gc.reshape(gc.input("u", (0, 3)), (3, 0)),
    "reshape keeps n": gc.reshape(B, ("n", 2, 2)),
    "reshape merges n": gc.reshape(B, (-1,)),
    "reshape splits n": gc.reshape(B, (2, -1)),
    "reshape by constraint": gc.reshape(B, ("k", 3)),
    "permute_dims": gc.permute_dims(A, (2, 0, 1)),
    "permute_dims reverses": gc.permute_dims(B),
    "broadcast_to": gc.broadcast_to(gc.input("u", (3, 1)), (2, 3, "m")),
    "broadcast_to from a scalar": gc.broadcast_to(gc.input("u", ()), ("n", 2)),
    "diagonal": gc.diagonal(A, offset=1),
    "diagonal below": gc.diagonal(B, offset=-1),
    "on a diagonal": gc.diag(C[:5], 1),
    "roll": gc.roll(A, 2, axis=1),
    "roll backwards": gc.roll(B, -1, axis=0),
    "slice": A[1:, ::2, 3:0:-2],
    "slice of nothing": A[:, 3:],
    "slice backwards": B[::-1, 1:3],
    "slice of the end": C[-3:],
    "slice of every third": C[1::3],
    "pad": gc.pad(B, ((1, 2), (0, 3)), constant_values=0.5),
    "pad of one side": gc.pad(A, ((0, 0), (2, 0), (0, 0))),
    "pad between": primitive("_pad", A, start=(0, 1, 2), step=(1, 2, 3), shape=(2, 6, 14), fill=0.0),
    "pad backwards": primitive("_pad", A, start=(1, 4, 3), step=(-1, -2, -1), shape=(2, 6, 4), fill=7.0),
    "pad of nothing": gc.pad(gc.input("u", (0, 2)), ((1, 2), (0, 1)), constant_values=3.0),
    "pad between symbols": primitive(
        "_pad", B, start=(symbol("m"), 0), step=(2, 1), shape=(symbol("m") * 3, 4), fill=1.5
    ),
    "concat": gc.concat([A, A[:, :1], A], axis=1),
    "windows": primitive(
        "_windows", A, start=(1, 0, 3), step=(0, 1, -1), shape=(1, 2, 3, 2, 2), axis=(1, 2), dilation=(1, -1)
    ),
    "windows of symbols": primitive(
        "_windows", B, start=(0, 0), step=(1, 2), shape=(symbol("n"), 2, 2), axis=(1,), dilation=(1,)
    ),
    "fitted": primitive("_fitted", B, room=symbol("n"), says="n is at least 0"),
    "barrier": barrier(A, C),
    "concat of symbols": gc.concat([B, B[:0], gc.input("u", (2, 4)), B]),
}


def read(node: Node, operands: list[Any], sizes: Mapping[str, int]) -> Any:
    """The node's value, element by element, through its access map; every read lies inside its operand."""
    assert node.op.access is not None
    loops = [f"i{k}" for k in range(node.ndim)]
    shapes = [o.shape for o in node.operands]
    pieces = node.op.access(tuple(symbol(i) for i in loops), shapes, node.attrs)
    out = np.empty([size_of(d, sizes) for d in node.shape])
    for index in np.ndindex(out.shape):
        at = {**sizes, **dict(zip(loops, index, strict=True))}
        chosen = next((p for p in pieces if applies(p, at)), None)
        if chosen is None:
            out[index] = node.attrs["fill"]
            continue
        source = tuple(size_of(d, at) for d in chosen.index)
        assert all(0 <= i < d for i, d in zip(source, operands[chosen.operand].shape, strict=True)), (
            f"{index}: {source}"
        )
        out[index] = operands[chosen.operand][source]
    return out


def applies(piece: Piece, at: Mapping[str, int]) -> bool:
    inside = all(size_of(low, at) <= size_of(e, at) < size_of(high, at) for e, low, high in piece.inside)
    return inside and all(size_of(e, at) % k == 0 for e, k in piece.multiples)


def checked(node: Node, sizes: Mapping[str, int]) -> None:
    rng = seeded("access")
    operands = [rng.normal(size=tuple(size_of(d, sizes) for d in o.shape)) for o in node.operands]
    stand_ins = [gc.input(f"x{k}", o.shape) for k, o in enumerate(node.operands)]
    sized = [gc.input(f"size_{name}", (name,)) for name in sizes]
    again: Node = BUILDER.primitive(node.op.name, stand_ins, **node.attrs)
    arrays = [*(np.zeros(n) for n in sizes.values()), *operands]
    np.testing.assert_array_equal(read(node, operands, sizes), evaluate([again], [*sized, *stand_ins], arrays)[0])


@pytest.mark.parametrize("name", NODES)
def test_pieces_read_what_the_reference_computes(name: str) -> None:
    assert NODES[name].op.family is Family.MOVEMENT
    checked(NODES[name], {**SIZES, "k": 4})


def test_every_movement_is_checked() -> None:
    movements = {op.name for op in REGISTRY.values() if op.family is Family.MOVEMENT}
    assert movements == {node.op.name for node in NODES.values()}


@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_pieces_hold_at_every_size(n: int) -> None:
    for name, node in NODES.items():
        if name != "reshape by constraint":
            checked(node, {"n": n, "m": n + 1})


def test_random_reshapes() -> None:
    rng = seeded("reshapes")
    for _ in range(100):
        factors = rng.choice([1, 2, 2, 3], rng.integers(2, 6)).tolist()
        before, after = (grouped(rng.permutation(factors).tolist(), rng) for _ in range(2))
        assert math.prod(before) == math.prod(after)
        node = gc.reshape(gc.input("x", before), after)
        if node.op.name == "reshape":
            checked(node, {})


def grouped(factors: list[int], rng: np.random.Generator) -> tuple[int, ...]:
    """A shape whose dimensions are products of neighbouring factors."""
    cuts = sorted(rng.choice(len(factors) + 1, rng.integers(0, 4)).tolist())
    return tuple(math.prod(factors[a:b]) for a, b in zip([0, *cuts], [*cuts, len(factors)], strict=True))


def index_of(node: Node) -> tuple[Dim, ...]:
    assert node.op.access is not None
    (piece,) = node.op.access(tuple(symbol(f"i{k}") for k in range(node.ndim)), [node.operands[0].shape], node.attrs)
    assert isinstance(piece, Piece)
    return piece.index


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (("n", 3, "m", 2, 2), ["i0", "i1", "i2", "2*i3 + i4"]),
        ((1, "n", 1, 3, "m", 4), ["i1", "i3", "i4", "i5"]),
        (("n", 3, 4 * symbol("m")), ["i0", "i1", "(i2 // 4)", "-4*(i2 // 4) + i2"]),
        ((3 * symbol("n"), "m", 4), ["(i0 // 3)", "-3*(i0 // 3) + i0", "i1", "i2"]),
        (("n", "m", 3, 4), ["i0", "(3*i1 + i2) // m", "3*i1 + i2 - m*((3*i1 + i2) // m)", "i3"]),
    ],
)
def test_reshape_divides_only_where_an_axis_is_split(after: Any, expected: list[str]) -> None:
    shown = index_of(gc.reshape(gc.input("x", ("n", 3, "m", 4)), after))
    scope = {"n": 5, "m": 7, "i0": 2, "i1": 1, "i2": 2, "i3": 1, "i4": 1, "i5": 1}
    assert [size_of(e, scope) for e in shown] == [eval(text, dict(scope)) for text in expected]
    assert [str(e).count("//") for e in shown] == [text.count("//") for text in expected]


def test_pads_ask_only_what_is_not_known() -> None:
    padded = primitive("_pad", A, start=(0, 0, 1), step=(1, 1, 2), shape=(2, 5, 8), fill=0.0)
    assert padded.op.access is not None
    (piece,) = padded.op.access((symbol("i"), symbol("j"), symbol("k")), [A.shape], padded.attrs)
    assert [str(e) for e, _, _ in piece.inside] == ["j", "k - 1"]
    assert [(str(e), k) for e, k in piece.multiples] == [("k - 1", 2)]


@pytest.mark.parametrize("name", NODES)
def test_adjoint_is_the_transpose(name: str) -> None:
    """<g, move(x)> = <x, adjoint(g)>, for the part of the movement that is linear."""
    node, sizes = NODES[name], {**SIZES, "k": 4}
    rng = seeded("transpose", name)
    xs = [gc.input(f"x{k}", o.shape) for k, o in enumerate(node.operands)]
    g = gc.input("g", node.shape)
    attrs = {**node.attrs, "fill": 0.0} if "fill" in node.attrs else node.attrs
    moved: Node = BUILDER.primitive(node.op.name, xs, **attrs)
    sized = [gc.input(f"size_{s}", (s,)) for s in sizes]
    leaves = [*sized, *xs, g]
    arrays = [rng.normal(size=tuple(size_of(d, sizes) for d in leaf.shape)) for leaf in leaves]
    y, *cotangents = evaluate([moved, *gc.vjp(moved, xs, g)], leaves, arrays)
    forward = np.sum(y * arrays[-1])
    backward = sum(np.sum(c * x) for c, x in zip(cotangents, arrays[len(sized) : -1], strict=True))
    np.testing.assert_allclose(forward, backward, rtol=1e-12, atol=1e-12)
    assert all(c.shape == x.shape for c, x in zip(cotangents, arrays[len(sized) : -1], strict=True))


def test_slices_and_pads_outside_are_refused() -> None:
    for end, attrs in ((4, {"start": (2,), "shape": (3,)}), (-1, {"start": (-1,), "shape": (3,)})):
        with pytest.raises(gc.ShapeError, match=f"index {end} must lie on axis 0, which has length 4"):
            primitive("_slice", gc.input("x", (4,)), step=(1,), **attrs)
        with pytest.raises(gc.ShapeError, match=f"index {end} must lie on axis 0, which has length 4"):
            primitive("_pad", gc.input("x", attrs["shape"]), step=(1,), fill=0.0, start=attrs["start"], shape=(4,))
    with pytest.raises(gc.DTypeError, match="can't be padded with 0"):
        primitive("_pad", A, start=(0, 0, 0), step=(1, 1, 1), shape=(2, 3, 5), fill=0)
