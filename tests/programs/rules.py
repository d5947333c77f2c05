"""The rules by which programs grow: each writes one expression, or a few, over the pool of a Grower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.op import REGISTRY, Array, Family, Op

from .draw import INTEGERS, Grower, Reject
from .evaluate import UNKNOWN

RULES: dict[str, Callable[[Grower], Any]] = {}


def rule(function: Callable[[Grower], Any]) -> Callable[[Grower], Any]:
    RULES[function.__name__] = function
    return function


# Rounding to integers makes a step out of the last bit: such ops are drawn by `exact` alone, on what is exact.
_STEPS = {"floor", "ceil", "trunc", "round", "floor_divide", "remainder", "sign", "isnan", "isinf", "isfinite", "equal"}
_STEPS |= {"copysign", "signbit", "nextafter"}
_COMPOSITES = {"relu", "softplus", "gelu", "silu", "square", "reciprocal", "positive"}


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
    if draw < 0.12:
        return name
    if draw < 0.5:
        return g.named(kinds)
    dims = g.dims(name)
    if draw < 0.68:  # an axis less, or of length 1
        dims = [1 if g.chance(0.3) else d for d in dims][g.below(2) :]
    elif draw < 0.9 and g.sizes:  # the same sizes by other symbols
        dims = [g.choose([s for s, n in g.sizes.items() if n == g.sized(d)] or [d]) for d in dims]
    return g.leaf(dims, g.dtype_of(name), g.profile.draws)


@rule
def elementwise(g: Grower) -> None:
    op = g.choose(_PLAIN)
    has = {d.kind for d in op.dtypes}
    kinds = "f" if "f" in has and g.chance(0.85) else "fi" if "f" in has else "i" if "i" in has else "b"
    first = g.named(kinds)
    names = [first] + [fitting(g, first, kinds) for _ in op.samples[0].args[1:]]
    operands = [within(g, n, a.low, a.high) for n, a in zip(names, op.samples[0].args, strict=True)]
    if len(operands) == 2 and g.chance(0.5):
        operands.reverse() if op.name in ("add", "multiply", "maximum", "minimum", "subtract", "hypot") else None
    g.add(f"gc.{op.name}({', '.join(operands)})")


@rule
def polygamma(g: Grower) -> None:
    """Derivatives of digamma, by themselves and as the slopes of what is made of gammaln."""
    x = within(g, g.named("f"), 0.5, 4.0)
    g.add(g.choose((f"gc.polygamma({g.below(4)}, {x})", f"gc.multigammaln(1.0 + {x}, {1 + g.below(3)})")))


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
    x = g.named("fiub" if g.chance(0.2) else "fiu")
    text = _exact(g, 3, x)
    if g.dtype_of(x)[0] in "iu" and g.chance(0.2):
        text = f'{text}.astype("{g.choose((*INTEGERS, "float64", "bool"))}")'
    g.add(text, large=True)


def _exact(g: Grower, depth: int, x: str) -> str:
    """An expression on x and its like."""
    kind = g.dtype_of(x)[0]
    if depth == 0 or g.chance(0.1):
        same = [n for n in g.pool if g.dtype_of(n) == g.dtype_of(x) and g.dims(n) == g.dims(x) and n[0] in "xk"]
        return str(g.choose(same or [x]))
    number = (
        g.choose(("0.0", "-0.0", "1.0", "-1.0", "2.0", "0", "1")) if kind == "f" else g.choose(("0", "1", "2", "3"))
    )
    a = _exact(g, depth - 1, x)
    b = number if g.chance(0.3) else _exact(g, depth - 1, x)
    if kind == "b":
        return g.choose(
            (f"gc.logical_not({a})", f"gc.logical_or({a}, {x})", f"gc.logical_xor({x}, {a})", f"({a} & {x})")
        )
    first, second = (a, b) if g.chance(0.5) else (b, a)
    unary = ["gc.abs({a})", "(-{a})", "gc.relu({a})", "gc.square({a})", "gc.sign({a})", "gc.positive({a})"]
    unary += ["gc.floor({a})", "gc.round({a})", "gc.trunc({a})"] if kind == "f" else ["(~{a})"]
    two = ["gc.maximum({p}, {q})", "gc.minimum({p}, {q})", "({p} + {q})", "({p} - {q})", "({p} * {q})"]
    if kind == "f":  # the sign of a NaN is told of leaves alone
        two += ["gc.nextafter({p}, {q})"]
        two += ["gc.copysign({a}, {x})", "gc.where(gc.signbit({x}), {a}, {b})"] if x[0] in "xk" else []
    else:
        two += ["gc.floor_divide({p}, {q})", "gc.remainder({p}, {q})", "({p} & {q})", "({p} | {q})", "({p} ^ {q})"]
        two += ["gc.bitwise_left_shift({p}, {q})", "gc.bitwise_right_shift({p}, {q})"]
    chosen = g.choose(
        unary
        if g.chance(0.4)
        else two * 2
        + [
            "gc.where({p} " + g.choose(("<", ">", "<=", ">=", "==", "!=")) + " {q}, {a}, {x})",
            "gc.clip({a}, 0, 2)",
            "gc.clip({a}, {b}, 3)",
        ]
    )
    if chosen == "gc.clip({a}, {b}, 3)" and b[:1].isalpha():
        chosen = "gc.clip({a}, 1, 3)"
    return chosen.format(a=a, b=b, p=first, q=second, x=x)


@rule
def choice(g: Grower) -> None:
    x = g.named("f")
    y = fitting(g, x)
    conditions = [f"{x} > {y}", f"{x} <= 0.5", f"gc.logical_not({x} < 0.0)", f"gc.logical_not({y} < {x})"]
    c = g.choose([g.named("b")] if g.chance(0.4) else conditions)
    g.add(f"gc.where({c}, {x}, {g.choose((y, y, '0.0', '1.0'))})")


@rule
def cast(g: Grower) -> None:
    x = g.named("fib")
    kind = g.dtype_of(x)[0]
    g.add(f'{x}.astype("{g.choose(("float64", "float32") if kind == "f" else ("float64", "int64", "int32", "int8"))}")')


def some_axes(g: Grower, ndim: int) -> list[int]:
    return [k for k in range(ndim) if g.chance(0.5)]


@rule
def reduction(g: Grower) -> None:
    name = g.choose(
        [
            "sum",
            "sum",
            "sum",
            "sum",
            "sum",
            "prod",
            "max",
            "min",
            "mean",
            "var",
            "var",
            "std",
            "logsumexp",
            "softmax",
            "log_softmax",
            "argmax",
            "argmin",
        ]
    )
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
    if name == "var" and g.chance(0.5):
        mean, var = (f"gc.{fold}({x}, axis={axis}, keepdims=True)" for fold in ("mean", "var"))
        g.add(f"({x} - {mean}) / gc.sqrt({var} + 0.5)")
        return
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
def beside(g: Grower) -> None:
    """A fold of what lies in memory, and in loops of the same shape an array that is moved, joined or spread."""
    x = g.leaf([g.choose((*g.palette, 3, 5, 7)) for _ in range(1 + g.below(3))], g.dtype)
    axis = g.choose((-1, -1, tuple(range(g.ndim(x)))))
    g.wanted.append(g.add(f"gc.{g.choose(('sum', 'max', 'min', 'mean'))}({x}, axis={axis})"))
    after = [(0, 1), *[(0, 0)] * (g.ndim(x) - 1)]
    moved = f"gc.flip({x}, axis=0)", f"gc.concat([{x}[1:], {x}[:1] * 2.0], axis=0)", f"gc.pad({x}[1:], {after})"
    g.wanted.append(g.add(g.choose(moved), large=True))


@rule
def totals(g: Grower) -> None:
    """Many sums in one sweep."""
    x = g.named("f", 1)
    like = [n for n in g.pool if g.dims(n) == g.dims(x) and g.dtype_of(n) == g.dtype_of(x)] if g.chance(0.8) else [x]
    for k in range(4 + g.below(20)):
        y = g.choose(like)
        g.add(
            f"gc.sum({g.choose((f'{x} * {k}.5', f'{x} * {y} + {k}.0', f'gc.abs({x} - {k}.0)', f'{y} * {x} * {k}.0'))})",
            large=True,
        )


@rule
def scaled(g: Grower) -> None:
    """A fold of what another one over the same axes scales, as layers have it that normalise, or a constant."""
    x = g.named("f", 1)
    axes = some_axes(g, g.ndim(x)) or [g.below(g.ndim(x))]
    axis, y = f"axis={tuple(axes)}", g.choose((x, g.leaf(g.dims(x), g.dtype_of(x))))
    s = g.add(f"1.5 + gc.tanh(gc.{g.choose(('sum', 'sum', 'var', 'max'))}({x} * {y}, {axis}, keepdims=True))")
    t = s if g.chance(0.5) else f"gc.sqrt({s} + gc.sum({y} / {s}, {axis}, keepdims=True) ** 2)"
    c = g.choose((f"({x} - gc.mean({x}, {axis}, keepdims=True))", f"gc.sin({x})", x))
    terms = f"{y} / {s} - {c} * {t}", f"-({c} + {y}) / {t} * 0.5", f"{y} / {s} - ({t} * {c} + {c} * {s})", f"{y} - {s}"
    folded = g.choose((*terms, f"{c} * {g.choose(('0.3', '-1.5', s))}", f"{c} / {g.choose(('-3.0', '0.25', t))}"))
    g.add(f"gc.{g.choose(('sum', 'sum', 'max', 'min'))}({folded}, {axis}, keepdims={g.chance(0.5)})", large=True)


@rule
def shares(g: Grower) -> None:
    """A softmax over some axes, along which an operand may be the same, and what its adjoint makes of it: both seen."""
    dims = [g.choose((*g.palette, 2, 2, 3, 5)) for _ in range(2 + g.below(3))]
    axes = some_axes(g, len(dims)) or [len(dims) - 1]
    x, w, m = (g.leaf(d, g.dtype) for d in (dims, dims, [1 if g.chance(0.4) else d for d in dims]))
    axis, z = f"axis={tuple(axes)}, keepdims=True", f"{x} * {m}"
    e = g.add(f"gc.exp({z} - gc.max({z}, {axis}))", large=True)
    y = g.add(f"{e} / gc.sum({e}, {axis})", large=True)
    g.wanted += [y, g.add(f"{y} * ({w} - gc.sum({w} * {y}, {axis}))", large=True)]
