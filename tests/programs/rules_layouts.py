"""Rules of layouts: reductions along any axes of what lies in any order, dense layers over three axes, and borders."""

from __future__ import annotations

import math

from .draw import Grower, Reject
from .rules import rule, some_axes

_BORDERS = (1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 16383, 16384, 16385)


def laid(g: Grower, x: str) -> str:
    """The array with its axes in another order, reversed, cut, spread or put beside itself."""
    ndim = g.ndim(x)
    for _ in range(1 + g.below(2)):
        order = tuple(int(a) for a in g.rng.permutation(ndim))
        keys = [g.choose((":", ":", ":", "::-1", "1:", ":-1", "::2")) for _ in range(ndim)]
        x = g.choose((
            f"gc.permute_dims({x}, {order})", f"gc.permute_dims({x}, {order})", f"({x})[{', '.join(keys)}]",
            f"gc.flip({x}, axis={g.below(ndim)})", f"({x} * 0.5)", f"gc.moveaxis({x}, 0, -1)", x,
        ))  # fmt: skip
    return x


@rule
def along_axes(g: Grower) -> None:
    """A reduction of rank 3 to 5 along any subset of axes, its result met by the operand at the same or other axes."""
    lengths = [g.choose((*g.palette, 1, 2, 3, 4)) for _ in range(3 + g.below(3))]
    if g.profile.leading:
        lengths[0] = "n"
    while math.prod(map(g.sized, lengths)) > g.profile.elements:
        lengths.pop()
    x = g.named("f", 3, 5) if g.chance(0.35) else g.leaf(lengths, g.dtype)
    operand = laid(g, x)
    name = g.choose(("sum", "sum", "sum", "prod", "max", "min", "mean", "var", "std", "logsumexp", "any", "all"))
    if name in ("any", "all"):
        operand = f"({operand} > {g.choose(('0.0', '1.0', '-1.5', '1.9'))})"
    elif name in ("prod", "std"):
        operand = f"(1.25 + 0.5 * gc.tanh({operand}))"
    axes = tuple(some_axes(g, g.ndim(x)))
    if name == "std" and 0 in map(g.sized, g.dims(x)):
        raise Reject
    keep = g.chance(0.5)
    r = g.add(f"gc.{name}({operand}, axis={axes}, keepdims={keep})", large=name in ("sum", "max", "min"))
    if g.chance(0.5):
        _met(g, r)


def _met(g: Grower, r: str) -> None:
    """The result consumed at other axes: broadcast beside a reduction of its own, or against another array."""
    ndim = g.ndim(r)
    if not ndim or g.dtype_of(r) == "bool":
        return
    k = g.below(ndim)
    other = g.leaf([g.choose((2, 3)), *g.dims(r)], g.dtype)
    order = tuple(int(a) for a in g.rng.permutation(ndim))
    texts = [f"{r} - gc.sum({r}, axis={k}, keepdims=True)", f"{r} * {other}", f"gc.sum({other} * {r}, axis=0)"]
    texts += [f"gc.permute_dims({r}, {order}) * 2.0", f"gc.max({r}, axis={k})", f"gc.sum({other} - {r}, axis={ndim})"]
    texts += [f"gc.expand_dims({r}, axis={k}) * {r}"] if len(set(g.dims(r))) == 1 else []
    g.add(g.choose(texts), large=True)


@rule
def position_of(g: Grower) -> None:
    """argmax and argmin along one axis or all of any layout, with ties, beside the extreme itself."""
    x = g.named("f", 1, 4)
    source = laid(g, x)
    axis = g.choose((None, *range(-g.ndim(x), g.ndim(x))))
    ties = g.choose((source, source, f"gc.maximum({source}, 0.0)", f"gc.minimum({source}, -0.5)", f"({source} > 0.5)"))
    if ties.endswith("> 0.5)"):
        ties = f"{ties}.astype('float64')"
    which = g.choose(("max", "min"))
    g.add(f"gc.arg{which}({ties}, axis={axis}, keepdims={g.chance(0.3)})")
    if g.chance(0.5):
        g.add(f"gc.{which}({ties}, axis={axis})")
    if g.chance(0.3):  # of one value a row
        g.add(f"gc.arg{which}(gc.max({ties}, axis={g.below(g.ndim(x))}))")


@rule
def dense(g: Grower) -> None:
    """[b, t, d] @ [d, e] + bias with an activation, and what follows: a norm, a second product, a sum over two axes."""
    dims = [g.choose((*g.sizes, 1, 2, 3)) for _ in range(1 + g.below(3))]
    d, e = g.choose((1, 2, 3, 4, 7)), g.choose((1, 2, 3, 5, 8))
    x, w, b = g.leaf([*dims, d], g.dtype), g.leaf([d, e], g.dtype), g.leaf([e], g.dtype)
    if g.chance(0.3) and len(dims) > 1:  # another order of its axes
        x = f"gc.permute_dims({x}, {(*reversed(range(len(dims))), len(dims))})"
    z = g.choose((f"{x} @ {w} + {b}", f"gc.einsum('...d,de->...e', {x}, {w}) + {b}", f"{x} @ {w}"))
    act = g.choose(("gc.tanh({z})", "gc.relu({z})", "gc.gelu({z})", "gc.softmax({z}, axis=-1)", "{z}", "gc.silu({z})"))
    h = g.add(act.format(z=z))
    ndim = len(dims) + 1
    v = g.leaf([e, g.choose((1, 2, 3))], g.dtype)
    axes = tuple(some_axes(g, ndim))
    follow = [f"{h} @ {v}", f"gc.sum({h}, axis={axes})", f"{h} - gc.mean({h}, axis=-1, keepdims=True)"]
    follow += [f"gc.moveaxis({h}, 0, 1) * 1.5"]
    g.add(g.choose(follow), large=True)


# borders


def _bordered(g: Grower, rank: int) -> list[int | str]:
    """A shape with lengths at borders along some axes, of affordable size."""
    dims: list[int | str] = [g.choose((*g.sizes, 1, 2, 3, 7)) for _ in range(rank)]
    for k in g.rng.permutation(rank)[: 1 + g.below(2)].tolist():
        dims[k] = g.choose(_BORDERS)
    for k in range(rank):
        if math.prod(map(g.sized, dims)) > g.profile.elements:
            dims[k] = 1 + g.below(2)
    return dims


@rule
def border(g: Grower) -> None:
    """Sums, extremes, positions, moments and softmax of arrays whose lengths are at borders."""
    x = g.leaf(_bordered(g, 1 + g.below(4)), g.dtype)
    g.wanted.append(x := g.add(f"gc.sin({x}) + {x}")) if g.chance(0.3) else None
    axes = tuple(some_axes(g, g.ndim(x)))
    source = laid(g, x) if g.chance(0.4) else x
    along = ("argmax", "argmin", "softmax", "cumulative_sum", "sort")
    name = g.choose(("sum", "sum", "max", "min", "mean", "var", "logsumexp", "prod", "top_k", *along))
    if name == "top_k":
        axis = g.below(g.ndim(x))
        k = min(g.sized(g.dims(x)[axis]), g.choose((1, 2, 9)))
        g.wanted.append(g.add(f"gc.top_k({source}, {k}, axis={axis}, largest={g.chance(0.5)})[0]"))
        return
    if name in along:
        whole = [None] * name.startswith("arg")
        g.wanted.append(g.add(f"gc.{name}({source}, axis={g.choose((*range(g.ndim(x)), *whole))})"))
        return
    if name == "prod":
        source = f"(1.0 + 0.001 * {source})"
    r = g.add(f"gc.{name}({source}, axis={axes}, keepdims=True)", large=True)
    g.wanted.append(g.add(f"{x} - {r}", large=True) if source == x else r)


@rule
def across(g: Grower) -> None:
    """Folds of one array, and another one that lies across its rows, in whole rows and at borders of what is copied."""
    rows, columns = (g.choose((*g.palette, *_BORDERS[4:14])) for _ in range(2))
    batch = [g.choose((2, 3))] if g.chance(0.3) else []
    if math.prod(map(g.sized, (*batch, rows, columns))) > g.profile.elements:
        raise Reject
    x, y = g.leaf([*batch, rows, columns], g.dtype), g.leaf([*batch, columns, rows], g.dtype)
    turned = f"gc.matrix_transpose({y}{g.choose(('', '', '[..., ::-1, :]'))})"
    both = g.choose((f"{x} + {turned}", f"{x} * {turned}", f"gc.tanh({x} - {turned})", turned))
    axis = g.choose((-1, -1, -2, tuple(range(g.ndim(x)))))
    g.wanted.append(g.add(f"gc.{g.choose(('sum', 'sum', 'max', 'mean', 'logsumexp', 'var'))}({both}, axis={axis})"))
    if g.chance(0.4):
        g.wanted.append(g.add(f"gc.{g.choose(('softmax', 'log_softmax'))}({both}, axis=-1)"))


@rule
def tiled(g: Grower) -> None:
    """Arrays that lie across the rows of results whose rows are whole lines, or are not."""
    rows, columns = g.choose((3, 9, 16, 23, 40)), g.choose((16, 32, 48, 24, 35))
    batch = [g.choose((1, 2, 3))] if g.chance(0.3) else []
    x, y = g.leaf([*batch, rows, columns], g.dtype), g.leaf([*batch, columns, rows], g.dtype)
    w, z = g.leaf([columns], g.dtype), g.leaf([*batch, columns + 1, 2 * rows], g.dtype)
    across = g.choose((y, f"{y}[..., ::-1, :]", f"{z}[..., 1:, ::2]", f"{z}[..., :-1, {rows}:]"))
    forms = ("{t}", "{x} + {t}", "{x} * {t} - {w}", "gc.where({x} > {t}, {x}, {w})", "{x} > {t}")
    for form in forms[:: 1 + g.below(3)]:
        g.wanted.append(g.add(form.format(t=f"gc.matrix_transpose({across})", x=x, w=w), large=True))


@rule
def turned_rows(g: Grower) -> None:
    """Folds of few elements, and vector math of these, whose axis is not the last one in what is made."""
    width, rows = 2 + g.below(9), g.choose((*g.sizes, 4, 17, 20))
    dims = [rows, width, *(g.choose((1, 1, 2)) for _ in range(g.below(2)))]
    order = tuple(int(a) for a in g.rng.permutation(len(dims)))
    x, y = (f"gc.permute_dims({g.leaf(dims, g.dtype)}, {order})" for _ in range(2))
    axis = order.index(1)
    made = [g.add(g.choose((f"gc.tanh({x})", f"gc.exp(-gc.abs({x}))", f"gc.sigmoid({x} * {y})", x)))]
    for _ in range(1 + g.below(3)):
        v = g.choose(made)
        over = f"axis={axis}, keepdims={g.choose((True, True, False))}"
        made.append(g.add(g.choose((
            f"gc.prod(1.25 + 0.5 * gc.tanh({v}), {over})", f"gc.sum({v} * gc.tanh({y}), {over})",
            f"{v} - gc.logsumexp({y} * 0.5, axis={axis}, keepdims=True)", f"gc.softmax({y}, axis={axis}) * {v}",
            f"gc.sum(gc.exp(-gc.abs({v})), {over})", f"gc.tanh({v}) + gc.max({y}, axis={axis}, keepdims=True)",
            f"gc.flip({v}, axis={g.below(len(dims))}) * gc.exp(-gc.abs({y}))",
        ))))  # fmt: skip
    g.wanted.append(made[-1])


@rule
def marked_rows(g: Grower) -> None:
    """Rows of few elements, chosen by whole numbers of rows, of columns and of both, often as many of each."""
    width = 2 + g.below(9)
    dims = [*(g.choose((2, 3, width)) for _ in range(g.below(2))), g.choose((width, width, 5, 20)), width]
    x = g.leaf(dims, g.dtype)
    marks = []
    for _ in range(1 + g.below(2)):
        shape = [1 if g.chance(0.4) else d for d in dims]
        while shape and shape[0] == 1 and g.chance(0.5):
            shape = shape[1:]
        marks.append(g.leaf(shape, g.choose(("int64", "int32", "uint8", "bool")), "whole") if shape else "2")
    marks += [f"gc.arange({dims[-2]})[:, None]", f"gc.arange({width})"]
    a, b = g.choose(marks[:-2] or marks), g.choose(marks)
    test = g.choose((f"({a} > {b})", f"({a} == 1)", f"(({a} != 0) & ({b} > 1))"))
    y = g.choose((f"gc.tanh({x})", f"{x} * {x}", f"gc.exp(-gc.abs({x}))", x))
    chosen = f"gc.where({test}, {y}, {g.choose(('0.0', '-1.5', x))})"
    fold = g.choose(("sum", "max", "softmax", "logsumexp"))
    g.wanted.append(g.add(f"gc.{fold}({chosen}, axis=-1)"))
    g.add(f"gc.sum({g.wanted[-1]} * 0.5)") if g.chance(0.5) else None


@rule
def bordered_product(g: Grower) -> None:
    """Products whose rows, columns and sums are at borders of tiles, panels and packing."""
    small = (1, 2, 3, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 65)
    rows, depth, columns = (g.choose(small) for _ in range(3))
    draw = g.rng.random()
    if draw < 0.3:
        depth = g.choose((127, 128, 129, 255, 1023, 1024, 1025))
    elif draw < 0.5:
        rows = g.choose((*g.sizes, 255, 257, 1025))
    elif draw < 0.6:
        columns = g.choose((255, 257, 1025))
    batch = [g.choose((*g.sizes, 1, 2, 3))] if g.chance(0.3) else []
    cut = max(1, g.profile.elements // max(1, math.prod(map(g.sized, batch))))
    if g.sized(rows) * depth > cut or depth * columns > cut or g.sized(rows) * columns > cut:
        raise Reject
    flip, turn = g.chance(0.3), g.chance(0.3)
    x = g.leaf([*batch, *((depth, rows) if flip else (rows, depth))], g.dtype)
    y = g.leaf([columns, depth] if turn else [depth, columns], g.dtype)
    left = f"gc.matrix_transpose({x})" if flip else x
    right = f"gc.matrix_transpose({y})" if turn else y
    z = g.add(f"{left} @ {right}", large=True)
    b = g.leaf([columns], g.dtype)
    after = (z, z, f"gc.tanh({z} + {b})", f"gc.sum({z}, axis=0)", f"{z} * {z}", f"gc.sum({z}, axis=-1)")
    chosen = g.choose(after)
    g.wanted.append(z if chosen == z else g.add(chosen, large=True))


@rule
def bordered_positions(g: Grower) -> None:
    """Reads at positions of long arrays, and the sums back into them."""
    n, count = g.choose(_BORDERS[:18]), g.choose(_BORDERS[:18])
    x = g.leaf([n, g.choose((1, 2, 3))], g.dtype)
    k = g.leaf([count], "int64", f"position {n}")
    y = g.add(f"gc.take({x}, {k}, axis=0)")
    s = g.add(f"gc.sum({y} * {y})", large=True)
    g.wanted += [y, g.add(f"gc.grad({s}, [{x}])", sure=True, of=s, wrt=[x])]
