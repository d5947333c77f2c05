"""Rules of products, einsum, and reads at positions."""

from __future__ import annotations

from collections.abc import Sequence

from .draw import Grower, Reject
from .rules import rule


def partner(g: Grower, shape: Sequence[int | str]) -> str:
    """An operand of this shape: a fresh input, or a constant filled by broadcasting."""
    text = (
        g.shape_text(shape)
        if all(isinstance(d, int) or any(d in leaf.shape for leaf in g.leaves) for d in shape)
        else ""
    )
    if text and g.chance(0.12):
        filler = g.choose(("gc.ones({s})", "gc.zeros({s})", "gc.broadcast_to({x}, {s})"))
        scalars = [n for n in g.pool if not g.ndim(n) and g.dtype_of(n)[:5] == "float"]
        filler = filler if scalars else "gc.ones({s})"
        return str(filler.format(s=text, x=g.choose(scalars or ["0"])))
    return g.leaf(shape, g.dtype)


@rule
def product(g: Grower) -> None:
    x = g.named("f", 1) if g.chance(0.9) else g.named("i", 1)
    dims = g.dims(x)
    width = g.choose((*g.palette, 1, 2, 3))
    right = partner(g, (dims[-1], width))
    batched = partner(g, (*dims[:-2], dims[-1], width))
    texts = [f"{x} @ {right}", f"gc.matmul({x}, {batched})", f"gc.vecdot({x}, {x})", f"{x} @ {partner(g, (dims[-1],))}"]
    texts += [
        f"gc.tensordot({x}, {right}, 1)",
        f"gc.outer({x}, {g.named('f', 1, 1)})" if len(dims) == 1 else f"{x} @ {right}",
    ]
    texts += (
        [f"gc.matrix_transpose({right}) @ gc.matrix_transpose({x})", f"gc.matrix_transpose({x}) @ {x}"]
        if len(dims) >= 2
        else []
    )
    texts += [f"{x} @ gc.matrix_transpose({x})"] if len(dims) >= 2 else []
    g.add(g.choose(texts))


@rule
def einsum(g: Grower) -> None:
    """Products of two operands with any labels, each label of one length."""
    fresh = [g.choose((*g.palette, *g.palette, 0, 1, 2, 3)) for _ in range(1 + g.below(4))]
    x = g.named("f", 1, 4) if g.chance(0.4) else g.leaf(fresh, g.dtype)
    lengths = {"ijklm"[k]: d for k, d in enumerate(g.dims(x))}
    first = "".join(lengths)
    for label in "abc"[: 1 + g.below(2)]:
        lengths[label] = g.choose((*g.palette, 0, 1, 2, 3))
    second = [label for label in lengths if g.chance(0.55)]
    g.rng.shuffle(second)
    used = [*dict.fromkeys([*first, *second])]
    out = [label for label in used if g.chance(0.5)]
    g.rng.shuffle(out)
    y = partner(g, [lengths[label] for label in second])
    pair = [(first, x), ("".join(second), y)]
    pair = pair[::-1] if g.chance(0.3) else pair
    g.add(
        f'gc.einsum("{",".join(labels for labels, _ in pair)}->{"".join(out)}", {", ".join(n for _, n in pair)})',
        sure=True,
    )


@rule
def contraction(g: Grower) -> None:
    """A product of matrices whose rows, columns and sums are of a few axes, many of them of length 1 or 0."""
    rows, columns, sums, batch = "ij"[g.below(2) :], "mn"[g.below(2) :], "abc"[g.below(3) :], "z"[g.below(2) :]
    lengths = {c: g.choose((1, 1, 2, 3, 5, 0) if g.chance(0.5) else (2, 3, 5)) for c in rows + columns + sums + batch}
    lengths |= {c: g.choose((*g.sizes, 3)) for c in sums if g.chance(0.3)}  # a sum of unknown length may be cut
    first, second, out = list(rows + sums + batch), list(columns + sums + batch), list(rows + columns + batch)
    for labels in (first, second, out):
        g.rng.shuffle(labels)
    x, y = (g.leaf([lengths[c] for c in labels], g.dtype) for labels in (first, second))
    g.add(f'gc.einsum("{"".join(first)},{"".join(second)}->{"".join(out)}", {x}, {y})', sure=True)


@rule
def tiny_pairs(g: Grower) -> None:
    """Products of pairs of tiny matrices, in any layout, about as many as a vector has lanes."""
    lengths = {"z": g.choose((*g.sizes, 7, 8, 9, 16, 17, 33)), "y": g.choose((1, 2, 3))}
    lengths |= {c: g.choose((1, 2, 3, 4)) for c in "ijk"}
    batch = g.choose(("z", "z", "yz", "zy"))
    first, second = (batch + g.choose(pair) for pair in (("ij", "ji"), ("jk", "kj", "j")))
    out = batch + ("ik" if "k" in second else "i")
    if g.chance(0.2):
        out = out[::-1]
    x, y = (g.leaf([lengths[c] for c in labels], g.dtype) for labels in (first, second))
    x = g.choose((x, x, f"{x}[::-1]", f"gc.tanh({x})", f"gc.permute_dims(gc.permute_dims({x}) * 2.0)"))
    z = g.add(f'gc.einsum("{first},{second}->{out}", {x}, {y})', sure=True)
    g.add(g.choose((f"gc.sin({z})", f"gc.sum({z} * {z}, axis=-1)", f"{z} * 2.0 + {z}")))


@rule
def points(g: Grower) -> None:
    """Folds of pairs of points that have few coordinates, of values that are computed of smaller arrays."""
    n, m = (g.choose((*g.sizes, 8, 31, 32, 33, 70)) for _ in range(2))
    few = g.choose((1, 2, 3, 3, 7, 8))
    x, y, w, c = (g.leaf(shape, g.dtype) for shape in ([n, few], [m, few], [n, m], [few]))
    apart = f"({x}[:, None] - {g.choose((y, y, f'gc.tanh({y})', f'{y}[::-1]'))})"
    of_pair = g.choose((w, f"(gc.tanh({w}) * 0.5 + 1.0)", f"({w} * 2.0)", f"gc.sum({apart} * {apart}, axis=-1)"))
    value = g.choose((
        f"{of_pair}[..., None] * {apart}", f"gc.where({of_pair}[..., None] > 0.5, {apart}, {c})", f"{apart} * {c}",
        f"{of_pair}[..., None] * {apart} + gc.abs({apart})", f"gc.maximum({apart}, {of_pair}[..., None])",
    ))  # fmt: skip
    name, axis = g.choose(("sum", "sum", "mean", "max", "min")), g.choose((0, 1))
    z = g.add(f"gc.{name}({value}, axis={axis}, keepdims={g.chance(0.2)})", large=True)
    g.add(g.choose((f"gc.sum({value}, axis={1 - axis})", f"{z} * 2.0", f"gc.sum({z})")), large=True)


@rule
def vectors(g: Grower) -> None:
    """A matrix that lies in memory times vectors along its rows and across them, few of them as rows or columns."""
    n, k, few = (g.choose(options) for options in ((*g.sizes, 1, 5, 9), (*g.sizes, 3, 7, 20, 40), (1, 2, 3)))
    x, along, across, rows = (g.leaf(shape, g.dtype) for shape in ([n, k], [k], [n], [few, k]))
    texts = [
        f"{x} @ {along}", f"gc.tanh({x} @ {along} - {across}) * {across}", f"gc.transpose({x}) @ ({x} @ {along})",
        f"({x} @ {along}) * ({x} @ ({along} * 0.5))", f"{x}[::-1] @ {along}", f"{x}[:, 1:] @ {along}[:-1]",
        f"{x} @ {along}[::-1]", f"{x} @ {rows}[0]", f"{x} @ gc.transpose({rows})[:, 0]", f"{across} @ {x}",
        f"{rows} @ gc.transpose({x})", f"{x} @ gc.transpose({rows})", f"gc.tanh({x} @ gc.reshape({along}, (-1, 1)))",
        f"gc.sum({x} @ {along} * {across})", f"gc.einsum('ij,lj->li', {x}, {rows})",
    ]  # fmt: skip
    g.add(g.choose(texts), large=True)


# positions


@rule
def gather(g: Grower) -> None:
    """take, take_along_axis and keys, on what is stored and on what is moved, padded or put together."""
    x = g.named("fib", 1)
    source, moved_dims = x, g.dims(x)
    axis = g.below(len(moved_dims))
    if g.chance(0.5):
        options = [(f"gc.flip({x}, axis={axis})", 0), (f"gc.concat([{x}, {x}], axis={axis})", 0), (f"({x} * 2)", 0)]
        options += [(f"gc.pad({x}, 1)", 1), (f"gc.permute_dims({x}, {tuple(reversed(range(len(moved_dims))))})", 2)]
        source, change = g.choose([o for o in options if g.dtype_of(x) != "bool" or "2" not in o[0]])
        moved_dims = moved_dims[::-1] if change == 2 else moved_dims
    length = moved_dims[axis]
    if g.sized(length) == 0:
        raise Reject
    dtype = g.choose(("int64", "int32", "uint8", "int64"))
    draws = f"position {length}"
    if g.chance(0.2):
        places = f"gc.constant([0, {g.choose((0, -1, g.sized(length) - 1))}])"
    elif dtype == "uint8":
        places = g.leaf([g.choose(g.palette)], "uint8", "position 1") if g.sized(length) else ""
    else:
        places = g.leaf([g.choose(g.palette) for _ in range(1 + (g.below(3) == 0))], dtype, draws)
    texts = [f"gc.take({source}, {places}, axis={axis})"] * 2
    texts += [f"{source}[{places}]"] if axis == 0 else []
    padded = source.startswith("gc.pad")
    shape = [g.choose(g.palette) if k == axis else 1 if padded else g.choose((d, 1)) for k, d in enumerate(moved_dims)]
    along = g.leaf(shape, "int64", draws)
    texts += [f"gc.take_along_axis({source}, {along}, axis={axis})"] * 2
    g.add(g.choose(texts))


@rule
def one_hot(g: Grower) -> None:
    places = g.leaf(g.shape()[:2], "int64", "position 3")
    g.add(f"gc.one_hot({places}, 3)")


def _filler(g: Grower, shape: Sequence[int | str]) -> str:
    """One number, or one value of the call, at every element."""
    scalars = [n for n in g.pool if not g.ndim(n) and g.dtype_of(n) == g.dtype]
    scalar = g.choose((*scalars, g.leaf((), g.dtype)))
    text = g.shape_text(shape)
    options = (f"gc.ones({text})", f"gc.zeros({text})", f"gc.broadcast_to(gc.constant(1.5), {text})")
    spread = (f"gc.broadcast_to({scalar}, {text})", f"(gc.broadcast_to({scalar}, {text}) * 0.5)")
    return str(g.choose(options + spread + spread))


@rule
def filled_operands(g: Grower) -> None:
    """Products, gathers and scatters of what is one value at every element."""
    n, d, e = (g.choose((*g.sizes, 1, 2, 3)) for _ in range(3))
    x, y = g.leaf([n, d], g.dtype), g.leaf([d, e], g.dtype)
    k = g.leaf([g.choose((*g.sizes, 2, 3))], "int64", f"position {n}")
    one, other, along = _filler(g, [n, d]), _filler(g, [d, e]), _filler(g, [n])
    last = g.dims(k)[0]
    texts = [
        f"{one} @ {y}", f"{x} @ {other}", f"{one} @ {other}", f'gc.einsum("ij,jk->k", {one}, {other})',
        f"gc.take({one}, {k}, axis=0)", f"gc.take({x} * {one}, {k}, axis=0)", f"gc.take({along}, {k}) * 2.0",
        f"gc.take({x}, gc.broadcast_to(gc.constant(0), {g.shape_text([last])}), axis=0)", f"gc.vecdot({x}, {one})",
        f"{one} @ {other} + {x} @ {y}", f"gc.take_along_axis({one}, gc.argmax({x}, axis=0, keepdims=True), axis=0)",
    ]  # fmt: skip
    draw = g.rng.random()
    if draw < 0.6:
        g.add(g.choose(texts), large=True)
        return
    z = g.add(g.choose((f"gc.take({x}, {k}, axis=0)", f"{x} @ {y}", f"gc.take({x}, {k}, axis=0) @ {y}")), large=True)
    c = _filler(g, g.dims(z))
    s = g.add(f"gc.sum({z} * {c})", large=True)
    g.add(f"gc.vjp({z}, [{x}], {c})", sure=True, of=s, wrt=[x])
