"""Rules of movement, overlapping reads, constants filled by broadcasting, and dimensions in arithmetic."""

from __future__ import annotations

import numpy as np

from .draw import Grower
from .rules import rule, within


def moved(g: Grower, x: str) -> str:
    """An expression that moves the elements of x."""
    ndim = g.ndim(x)
    k = g.below(ndim)
    order = tuple(int(a) for a in g.rng.permutation(ndim))
    keys = ", ".join(g.choose((":", "::-1", "1:", ":-1", "::2", "1::2", ":2", "-2:")) for _ in range(g.below(ndim + 1)))
    cuts = [
        f"gc.permute_dims({x}, {order})", f"gc.expand_dims({x}, axis={k})", f"gc.reshape({x}, -1)",
        f"gc.reshape({x}, (-1, 1))",
        f"gc.flip({x}, axis={k})", f"{x}[{keys or '...'}]", f"{x}[..., 0]", f"{x}[None]", f"gc.moveaxis({x}, {k}, 0)",
        f"gc.pad({x}, {_widths(g, ndim)})", f"gc.pad({x}, 1, constant_values=1)", f"gc.stack([{x}, {x}], axis={k})",
        f"gc.concat([{x}, {x}], axis={k})", f"gc.concat([{x}[1:], {x}[:1]], axis=0)", f"gc.squeeze({x}[:1], axis=0)",
        f"gc.concat([{x}, gc.flip({x}, axis={k})], axis={k})", f"gc.broadcast_to({x}, (2, *{x}.shape))",
        f"gc.broadcast_to({x}, (1, 3, *{x}.shape))", f"gc.matrix_transpose({x})",
        f"gc.roll({x}, {g.choose((1, -1, 2, 7))}, axis={k})", f"gc.roll({x}, 3)", f"gc.tile({x}, 2)",
        f"gc.roll({x}, {x}.shape[{k}] - 1, axis={k})", f"gc.repeat({x}, 2, axis={k})", f"gc.swapaxes({x}, {k}, -1)",
        f"gc.diff({x}, axis={k})", f"gc.diagonal({x}, {g.choose((0, 1, -1))})", f"gc.tril({x}, {g.choose((0, 1, -1))})",
        f"gc.trace({x})", f"gc.triu({x})",
    ]  # fmt: skip
    return str(g.choose(cuts if ndim else [cut for cut in cuts if ".shape[" not in cut]))


def _widths(g: Grower, ndim: int) -> str:
    return repr([(g.below(3), g.below(3)) for _ in range(ndim)])


@rule
def repeated(g: Grower) -> None:
    """Elementwise operations and folds of repeated arrays, and powers of whole numbers and halves."""
    x, n = g.named("f", 1), g.choose((0, 1, 2, 3, 4, 5, -1, -2, -3))
    k, times = g.below(g.ndim(x)), g.choose((1, 2, 3))
    again = g.choose((f"gc.repeat({{}}, {times}, axis={k})", f"gc.tile({{}}, {times})"))
    y, z = again.format(x), again.format(f"gc.tanh({x})")
    texts = [f"gc.tanh({y}) + 2.0", f"{y} * {z} + 0.5 * {y}", f"gc.where({y} > 0, {z}, 1.0)", f"({z} + 1.5) ** {n}"]
    w = g.add(g.choose((*texts, f"({z} + 1.5) ** {n - 0.5}")))
    g.add(g.choose((f"gc.sum({w}, axis={k})", f"gc.reshape({w}, -1)", f"({w} + 3.0) ** {n}", f"gc.max({w}, axis=-1)")))


@rule
def movement(g: Grower) -> None:
    x = g.named("fib")
    g.add(moved(g, x))


def same_shape(g: Grower, x: str) -> str:
    """The elements of x in another place of an array of the same shape, some of them under a condition."""
    ndim = g.ndim(x)
    if not ndim:
        return x
    k, n = g.below(ndim), 1 + g.below(2)
    whole = ", ".join(":" for _ in range(k)) + (", " if k else "")
    one = [(n, 0) if a == k else (0, 0) for a in range(ndim)]
    other = [(0, n) if a == k else (0, 0) for a in range(ndim)]
    scalar = g.choose([n for n in g.pool if not g.ndim(n) and g.dtype_of(n) == g.dtype_of(x)] or [x])
    front, back = f"{x}[{whole}{n}:]", f"{x}[{whole}:-{n}]"
    masked = [f"gc.pad({front}, {one})", f"gc.pad({back}, {other})", f"gc.pad({front} * 2, {one})"]
    masked += [f"gc.pad(gc.broadcast_to({scalar}, {front}.shape), {one})"]
    plain = [
        x,
        x,
        f"{x} * {scalar}",
        scalar,
        f"gc.where({x} > 0.5, {x}, 0.0)",
        f"gc.pad({x}, 1)[{', '.join(['1:-1'] * ndim)}]",
    ]
    shifted = [f"gc.pad({front}, {other})", f"gc.pad({back}, {one})", f"gc.flip({x}, axis={k})"]
    shifted += [f"gc.concat([{front}, {x}[{whole}:{n}]], axis={k})", f"gc.roll({x}, {n}, axis={k})"]
    return str(g.choose(g.choose((masked, plain, shifted))))


@rule
def overlap(g: Grower) -> None:
    """One value read at several places, under conditions and without, put together again."""
    x = g.named("f", g.choose((1, 2, 2))) if g.chance(0.7) else g.leaf(g.shape(), g.dtype)
    terms = [same_shape(g, x) for _ in range(2 + (g.below(3) == 0))]
    g.add(g.choose((" + ", " + ", " - ", " * ")).join(terms))


# leaves


@rule
def filled(g: Grower) -> None:
    """Constants, most of them filled by broadcasting."""
    x = g.named("fi")
    dims = g.dims(x) if g.chance(0.6) else list(g.shape())
    shape = g.shape_text(dims)
    texts = [f"gc.zeros({shape})", f"gc.ones({shape})", f"gc.broadcast_to(gc.constant(1.5), {shape})"]
    static = tuple(d if isinstance(d, int) else g.sizes[d] for d in dims)
    texts += [f"gc.constant(np.arange({int(np.prod(static))}.0).reshape({static}) / 8)"]
    texts += [f"gc.arange({g.length(dims[0])})", f"gc.linspace(-1.0, 2.0, {g.length(dims[0])})"] if dims else []
    texts += [f"gc.arange(1, 2 * {g.length(dims[0])}, 3)", f"gc.eye({g.length(dims[0])}, k=1)"] if dims else []
    scalars = [n for n in g.pool if not g.ndim(n)]
    texts += [f"gc.broadcast_to({g.choose(scalars)}, {shape})"] if scalars else []
    g.add(g.choose(texts))


@rule
def dimension(g: Grower) -> None:
    """A dimension in arithmetic with numbers and nodes."""
    x = g.named("f")
    symbols = list(g.sizes)
    d = g.length(g.choose(symbols))
    texts = [
        f"0.5 * {d} * {x}", f"{x} / ({d} + 1)", f"{d} - {x}", f"({d} + 0.5) * {x}", f"{x} * (1 / ({d} + 1))",
        f"{x} + {d}", f"{d} * {x}",
        f"gc.maximum({x}, {d})", f"gc.where({x} > {d}, {x}, {d} * 0.25)", f"{x} - 2 * {d}", f"gc.sum({x}) / {x}.size",
        f"-0.5 * {d} * gc.log({within(g, x, 0.5, 2.0)})", f"({d} + 1) * {x}", f"{d} ** 2 * {x}", f"{x} * ({d} // 2)",
    ]  # fmt: skip
    g.add(g.choose(texts), sure=True)


@rule
def compound(g: Grower) -> None:
    """Axes whose lengths are sums, products and quotients of others, and what reads them back."""
    x = g.named("f", 1, 3)
    dims = g.dims(x)
    d, e = (g.length(g.choose(dims)) for _ in range(2))
    first, rest = g.length(dims[0]), "".join(f", {g.length(n)}" for n in dims[1:])
    whole = " * ".join(map(g.length, dims))
    texts = [
        f"gc.reshape({x}, ({whole},))", f"gc.reshape(gc.broadcast_to({x}, ({d}, *{x}.shape)), ({d} * {first}{rest}))",
        f"{x}[: {first} // 2]", f"{x}[{first} // 2 :]", f"gc.concat([{x}, {x}], axis=0)[{first} :] - {x}",
        f"gc.concat([{x}[{first} // 2 :], {x}[: {first} // 2]], axis=0) + {x}", f"gc.zeros(({d} + 1, {e})) + 0.5",
        f"gc.reshape(gc.arange({d} * {e}), ({d}, {e})) * 0.25", f"gc.arange(2 * {d} + 1) * 0.5 - {e}",
        f"gc.sum(gc.concat([{x}, {x}], axis=0)) / ({d} + {e})", f"gc.ones(({d} * {e},)) * 0.5",
        f"gc.reshape(gc.concat([{x}, {x}], axis=0), (2, {first}{rest}))[1] * 2.0",
        f"gc.sum(gc.reshape(gc.stack([{x}, {x} * 2], axis=0), (2 * {first}{rest})), axis=0)",
        f"gc.pad({x}, 1)[1 : {first} + 1]", f"gc.mean(gc.pad({x}, 1)) * ({d} * {e} + 2) / ({d} + 2)",
    ]  # fmt: skip
    g.add(g.choose(texts))
