"""The rules by which programs grow: each writes one expression, or a few, over the pool of a Grower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.op import REGISTRY, Array, Family, Op

from .draw import Grower, Reject
from .evaluate import UNKNOWN

RULES: dict[str, Callable[[Grower], Any]] = {}


def rule(function: Callable[[Grower], Any]) -> Callable[[Grower], Any]:
    RULES[function.__name__] = function
    return function


# Rounding to integers makes a step out of the last bit: such ops are drawn by `exact` alone, on what is exact.
_STEPS = {"floor", "ceil", "trunc", "round", "floor_divide", "remainder", "sign", "isnan", "isinf", "isfinite", "equal"}
_COMPOSITES = {"relu", "softplus", "gelu", "silu", "square", "reciprocal", "positive"}
_EXACT = (
    "abs negative sign maximum minimum add subtract relu clip square floor ceil trunc round positive multiply equal less greater "
    "less_equal greater_equal not_equal isnan isfinite where"
).split()


def _plain(op: Op) -> bool:
    """Elementwise with a first sample that is nothing but arrays."""
    if op.define is None or not op.samples or op.name.startswith("_") or op.name in _STEPS | {"stop_gradient"}:
        return False
    sample = op.samples[0]
    arrays = all(isinstance(a, Array) and a.shape == (3, 4) for a in sample.args) and not sample.kwargs
    return arrays and (op.family is Family.ELEMENTWISE or op.name in _COMPOSITES)


_PLAIN = sorted((op for op in REGISTRY.values() if _plain(op)), key=lambda op: op.name)


def within(g: Grower, name: str, low: float, high: float) -> str:
    """The value, squashed into an interval where it leaves it."""
    if g.dtype_of(name)[:5] != "float":
        return name
    value = g.known[name]
    if value is not UNKNOWN and np.all((low <= value) & (value <= high)):
        return name
    return f"({(low + high) / 2!r} + {(high - low) / 2!r} * gc.tanh({name}))"


def fitting(g: Grower, name: str, kinds: str = "f") -> str:
    """A second operand: of the same shape, of one that broadcasts, or fresh."""
    draw = g.rng.random()
    if draw < 0.15:
        return name
    if draw < 0.6:
        return g.named(kinds)
    dims = g.dims(name)
    if draw < 0.8:  # an axis less, or of length 1
        dims = [1 if g.chance(0.3) else d for d in dims][g.below(2) :]
    elif draw < 0.9 and g.sizes:  # the same sizes by other symbols
        dims = [g.choose([s for s, n in g.sizes.items() if n == g.sized(d)] or [d]) for d in dims]
    return g.leaf(dims, g.dtype_of(name), g.profile.draws)


@rule
def elementwise(g: Grower) -> None:
    op = g.choose(_PLAIN)
    kinds = "b" if all(d.kind == "b" for d in op.dtypes) else "f" if g.chance(0.85) else "fi"
    first = g.named(kinds)
    names = [first] + [fitting(g, first, kinds) for _ in op.samples[0].args[1:]]
    operands = [within(g, n, a.low, a.high) for n, a in zip(names, op.samples[0].args, strict=True)]
    if len(operands) == 2 and g.chance(0.5):
        operands.reverse() if op.name in ("add", "multiply", "maximum", "minimum", "subtract", "hypot") else None
    g.add(f"gc.{op.name}({', '.join(operands)})")


@rule
def arithmetic(g: Grower) -> None:
    """Operators, with Python numbers on either side."""
    x = g.named("fi")
    number = g.choose(("2", "0.5", "-1.0", "3", "1", "0", "0.0", "1.5"))
    if g.dtype_of(x)[0] in "iu":
        number = g.choose(("2", "1", "3", "0"))
    operator = g.choose(("+", "-", "*", "+", "*"))
    draw = g.rng.random()
    if draw < 0.15:
        g.add(f"-{x}")
    elif draw < 0.4:
        g.add(f"{number} {operator} {x}" if g.chance(0.5) else f"{x} {operator} {number}")
    else:
        y = fitting(g, x, "fi")
        head = g.choose(("", "", "-", f"{number} * " if g.dtype_of(x)[:5] == "float" else ""))
        g.add(f"{head}{x} {operator} {y}")


@rule
def exact(g: Grower) -> None:
    """Ops whose results are exact, nested: signs of zero, infinities and integers of all dtypes can be compared."""
    g.add(_exact(g, 3, g.named("fiub" if g.chance(0.2) else "fiu")), large=True)


def _exact(g: Grower, depth: int, x: str) -> str:
    """An expression on x and its like."""
    kind = g.dtype_of(x)[0]
    if depth == 0 or g.chance(0.1):
        same = [n for n in g.pool if g.dtype_of(n) == g.dtype_of(x) and g.dims(n) == g.dims(x) and n[0] in "xk"]
        return str(g.choose(same or [x]))
    number = g.choose(("0.0", "-0.0", "1.0", "-1.0", "2.0", "0", "1")) if kind == "f" else g.choose(("0", "1", "2", "3"))
    a = _exact(g, depth - 1, x)
    b = number if g.chance(0.3) else _exact(g, depth - 1, x)
    if kind == "b":
        return g.choose((f"gc.logical_not({a})", f"gc.logical_or({a}, {x})", f"gc.logical_xor({x}, {a})", f"({a} & {x})"))
    first, second = (a, b) if g.chance(0.5) else (b, a)
    unary = ["gc.abs({a})", "(-{a})", "gc.relu({a})", "gc.square({a})", "gc.sign({a})", "gc.positive({a})"]
    unary += ["gc.floor({a})", "gc.round({a})", "gc.trunc({a})"] if kind == "f" else []
    two = ["gc.maximum({p}, {q})", "gc.minimum({p}, {q})", "({p} + {q})", "({p} - {q})", "({p} * {q})"]
    if kind != "f":
        two += ["gc.floor_divide({p}, {q})", "gc.remainder({p}, {q})"]
    chosen = g.choose(unary if g.chance(0.4) else two * 2 + ["gc.where({p} " + g.choose(("<", ">", "<=", ">=", "==", "!=")) + " {q}, {a}, {x})", "gc.clip({a}, 0, 2)", "gc.clip({a}, {b}, 3)"])
    if chosen == "gc.clip({a}, {b}, 3)" and b[:1].isalpha():
        chosen = "gc.clip({a}, 1, 3)"
    return chosen.format(a=a, b=b, p=first, q=second, x=x)


@rule
def choice(g: Grower) -> None:
    x = g.named("f")
    y = fitting(g, x)
    c = g.choose([g.named("b")] if g.chance(0.4) else [f"{x} > {y}", f"{x} <= 0.5", f"gc.logical_not({x} < 0.0)"])
    g.add(f"gc.where({c}, {x}, {g.choose((y, '0.0', '1.0'))})")


@rule
def cast(g: Grower) -> None:
    x = g.named("fib")
    kind = g.dtype_of(x)[0]
    g.add(f'{x}.astype("{g.choose(("float64", "float32") if kind == "f" else ("float64", "int64", "int32", "int8"))}")')


def some_axes(g: Grower, ndim: int) -> list[int]:
    return [k for k in range(ndim) if g.chance(0.5)]


@rule
def reduction(g: Grower) -> None:
    name = g.choose("sum sum sum sum sum prod max min mean var std logsumexp softmax log_softmax argmax argmin".split())
    x = g.named("f" if name not in ("sum", "max", "min", "argmax") else "fib")
    if name in ("softmax", "log_softmax", "argmax", "argmin"):
        g.add(f"gc.{name}({x}, axis={g.below(g.ndim(x))})")
        return
    axes = some_axes(g, g.ndim(x))
    axis = f"({', '.join(map(str, axes))},)" if axes else "None"
    operand = within(g, x, 0.5, 2.0) if name in ("prod", "std") else x
    if name == "std" and (not axes or all(d in (0, 1) for k, d in enumerate(g.dims(x)) if k in axes)):
        raise Reject  # the slope of sqrt at 0
    if name == "sum" and g.chance(0.3) and g.dtype_of(x) != "bool":
        operand = f"{x} * {fitting(g, x)}"
    g.add(f"gc.{name}({operand}, axis={axis}, keepdims={g.chance(0.3)})")


@rule
def truth(g: Grower) -> None:
    axes = some_axes(g, g.ndim(c := g.named("b")))
    g.add(f"gc.{g.choose(('any', 'all'))}({c}, axis=({', '.join(map(str, axes))}{',' if axes else ''}))")


@rule
def separated(g: Grower) -> None:
    """A sum over axes that do not lie side by side, of rank 3 to 5."""
    x = g.named("fi", 3) if g.chance(0.4) else g.leaf([g.choose(g.palette) for _ in range(3 + g.below(3))], g.dtype)
    ndim = g.ndim(x)
    first = g.below(ndim - 2)
    axes = sorted({first, first + 2 + g.below(ndim - first - 2), *([0] if g.chance(0.3) else [])})
    g.add(f"gc.{g.choose(('sum', 'sum', 'sum', 'max', 'mean'))}({x}, axis={tuple(axes)})")


@rule
def totals(g: Grower) -> None:
    """Many sums in one sweep."""
    x = g.named("f", 1)
    like = [n for n in g.pool if g.dims(n) == g.dims(x) and g.dtype_of(n) == g.dtype_of(x)] if g.chance(0.8) else [x]
    for k in range(4 + g.below(20)):
        y = g.choose(like)
        g.add(f"gc.sum({g.choose((f'{x} * {k}.5', f'{x} * {y} + {k}.0', f'gc.abs({x} - {k}.0)', f'{y} * {x} * {k}.0'))})", large=True)


# movement


def moved(g: Grower, x: str) -> str:
    """An expression that moves the elements of x."""
    ndim = g.ndim(x)
    k = g.below(ndim)
    order = tuple(int(a) for a in g.rng.permutation(ndim))
    keys = ", ".join(g.choose((":", "::-1", "1:", ":-1", "::2", "1::2", ":2", "-2:")) for _ in range(g.below(ndim + 1)))
    cuts = [
        f"gc.permute_dims({x}, {order})", f"gc.expand_dims({x}, axis={k})", f"gc.reshape({x}, -1)", f"gc.reshape({x}, (-1, 1))",
        f"gc.flip({x}, axis={k})", f"{x}[{keys or '...'}]", f"{x}[..., 0]", f"{x}[None]", f"gc.moveaxis({x}, {k}, 0)",
        f"gc.pad({x}, {_widths(g, ndim)})", f"gc.pad({x}, 1, constant_values=1)", f"gc.stack([{x}, {x}], axis={k})",
        f"gc.concat([{x}, {x}], axis={k})", f"gc.concat([{x}[1:], {x}[:1]], axis=0)", f"gc.squeeze({x}[:1], axis=0)",
        f"gc.concat([{x}, gc.flip({x}, axis={k})], axis={k})", f"gc.broadcast_to({x}, (2, *{x}.shape))",
        f"gc.broadcast_to({x}, (1, 3, *{x}.shape))", f"gc.matrix_transpose({x})",
    ]  # fmt: skip
    return str(g.choose(cuts))


def _widths(g: Grower, ndim: int) -> str:
    return repr([(g.below(3), g.below(3)) for _ in range(ndim)])


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
    return str(
        g.choose(
            [
                f"gc.pad({x}[{whole}{n}:], {other})", f"gc.pad({x}[{whole}:-{n}], {one})", f"gc.flip({x}, axis={k})",
                f"gc.concat([{x}[{whole}{n}:], {x}[{whole}:{n}]], axis={k})", f"gc.pad({x}[{whole}{n}:], {one})", x,
                f"gc.where({x} > 0.5, {x}, 0.0)", f"gc.pad({x}, 1)[{', '.join(['1:-1'] * ndim)}]", f"{x} * {scalar}", scalar,
                f"gc.pad(gc.broadcast_to({scalar}, {x}[{whole}{n}:].shape), {one})",
            ]
        )
    )  # fmt: skip


@rule
def overlap(g: Grower) -> None:
    """One value read at several places, under conditions and without, put together again."""
    x = g.named("f", 1) if g.chance(0.7) else g.leaf(g.shape(), g.dtype)
    terms = [same_shape(g, x) for _ in range(2 + g.below(2))]
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
    texts += [f"gc.arange({g.length(dims[0])})"] if dims else []
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
        f"0.5 * {d} * {x}", f"{x} / {d}", f"{d} - {x}", f"({d} + 0.5) * {x}", f"{x} * (1 / {d})", f"{x} + {d}", f"{d} * {x}",
        f"gc.maximum({x}, {d})", f"gc.where({x} > {d}, {x}, {d} * 0.25)", f"{x} - 2 * {d}", f"gc.sum({x}) / {x}.size",
        f"-0.5 * {d} * gc.log({within(g, x, 0.5, 2.0)})", f"({d} + 1) * {x}", f"{d} ** 2 * {x}", f"{x} * ({d} // 2)",
    ]  # fmt: skip
    g.add(g.choose(texts), sure=True)


# products


def partner(g: Grower, shape: Sequence[int | str]) -> str:
    """An operand of this shape: a fresh input, or a constant filled by broadcasting."""
    text = g.shape_text(shape) if all(isinstance(d, int) or any(d in leaf.shape for leaf in g.leaves) for d in shape) else ""
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
    texts += [f"gc.tensordot({x}, {right}, 1)", f"gc.outer({x}, {g.named('f', 1, 1)})" if len(dims) == 1 else f"{x} @ {right}"]
    texts += [f"gc.matrix_transpose({right}) @ gc.matrix_transpose({x})", f"gc.matrix_transpose({x}) @ {x}"] if len(dims) >= 2 else []
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
    g.add(f'gc.einsum("{",".join(labels for labels, _ in pair)}->{"".join(out)}", {", ".join(n for _, n in pair)})', sure=True)


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
    shape = [g.choose(g.palette) if k == axis else g.choose((d, 1)) for k, d in enumerate(moved_dims)]
    if source == x or "pad" not in source:
        along = g.leaf(shape, "int64", draws)
        texts += [f"gc.take_along_axis({source}, {along}, axis={axis})"] * 2
    g.add(g.choose(texts))


@rule
def one_hot(g: Grower) -> None:
    places = g.leaf(g.shape()[:2], "int64", "position 3")
    g.add(f"gc.one_hot({places}, 3)")


# gradients


@rule
def gradient(g: Grower) -> None:
    """A scalar of some values, and its gradients along leaves or values."""
    terms = []
    for _ in range(1 + g.below(3)):
        x = g.named("f")
        y = fitting(g, x)
        options = [f"gc.sum({x})", f"gc.sum({x})", f"gc.sum({x} * {x})", f"gc.sum({x} * {y})", f"gc.mean({x})", f"gc.sum(gc.tanh({x}))"]
        options += [f"gc.sum({x}[1:])", f"gc.sum({x}[1:] * {g.choose(('2.0', '0.5'))})", f"gc.sum({x}[..., ::-1] * {x})"] if g.ndim(x) else []
        options += [f"gc.sum({x} @ {partner(g, (g.dims(x)[-1], g.choose(g.palette)))})"] if g.ndim(x) else []
        terms.append(g.choose(options))
    s = g.add(" + ".join(terms), large=True)
    floats = [leaf.name for leaf in g.leaves if leaf.dtype.startswith("float")]
    values = [n for n in g.pool if g.dtype_of(n)[:5] == "float" and n != s]
    values = [n for n in values if sum(g.nodes[n] is g.nodes[o] for o in g.pool) == 1]
    wrt = list(dict.fromkeys([g.choose(floats if g.chance(0.7) else values) for _ in range(1 + g.below(2))]))
    g.add(f"gc.grad({s}, [{', '.join(wrt)}])", sure=True, of=s, wrt=wrt)


@rule
def pullback(g: Grower) -> None:
    """A vector-Jacobian product with a cotangent that may be filled by broadcasting, and its sum with another value."""
    floats = [leaf.name for leaf in g.leaves if leaf.dtype == g.dtype]
    x = g.choose(floats)
    y = same_shape(g, x) if g.chance(0.5) else moved(g, x)
    y = g.add(y)
    if g.dtype_of(y) != g.dtype_of(x):
        raise Reject
    dims = g.dims(y)
    scalars = [n for n in floats if not g.ndim(n) and n != x]  # it must not depend on x
    scalar = g.choose(scalars) if scalars else g.leaf((), g.dtype)
    c = g.choose((f"gc.broadcast_to({scalar}, {g.shape_text(dims)})", g.leaf(dims, g.dtype)))
    s = g.add(f"gc.sum({y} * {c})", large=True)
    made = g.add(f"gc.vjp({y}, [{x}], {c})", sure=True, of=s, wrt=[x])
    if g.chance(0.5):
        g.add(f"{made} + {g.choose((scalar, x, same_shape(g, x)))}")


# guards and chains


@rule
def guard(g: Grower) -> None:
    """`where` around a function that has no value, or no slope, on the other side."""
    x = g.named("f", fits=lambda n: n[0] in "xp" or g.chance(0.2))
    terms = []
    functions = ("gc.log({v})", "gc.sqrt({v})", "1 / {v}", "gc.rsqrt({v})", "gc.sqrt({v}) * {x}", "gc.log({v}) * {v}", "{v} ** 0.5")
    borders = sorted(g.choose(("0.0", "0.0", "1.0", "0.5")) for _ in range(1 + (g.below(4) > 0)))
    alike = g.choose(functions) if g.chance(0.6) else ""  # the same function under two guards is one node
    for border in borders:
        start = borders[0] if alike else border
        inside = x if start == "0.0" else f"({x} - {start})"
        function = alike or g.choose(functions)
        terms.append(f"gc.where({x} > {border}, {function.format(v=inside, x=x)}, {g.choose(('0.0', '0.0', '1.0', x))})")
    g.rng.shuffle(terms)
    whole = g.choose((" + ", " + ", " * ", " - ")).join(terms)
    shape = g.choose(("{w}", "({w}) ** 2", "gc.sin({w})", "gc.square({w})", "({w}) * {x}"))
    w = g.add(shape.format(w=whole, x=x), large=True)
    if g.chance(0.8) and any(leaf.name == x for leaf in g.leaves):
        s = g.add(f"gc.sum({w})", large=True)
        g.add(f"gc.grad({s}, [{x}])", sure=True, of=s, wrt=[x])


@rule
def chain(g: Grower) -> None:
    """One step again and again."""
    x = within(g, g.named("f", 0, 2), -0.9, 0.9)
    step = g.choose(("gc.sin(z) + 0.1", "3.7 * z * (1 - z)", "z + z", "gc.tanh(z) * 0.9 + z", "z * 0.5 + gc.cos(z)", "gc.maximum(z, -z)"))
    times = g.choose((5, 8, 8, 12, 20, 40, 200) if g.profile.name == "chain" else (3, 5))
    if step == "z + z" or "z * (1" in step:
        times = min(times, 25)
    g.add(f'repeat(lambda z: {step}, {x.replace("z", "z")}, {times})', large=True)
