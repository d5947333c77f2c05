"""Rules of what Python unrolls: long chains, wide fans, recurrences of several values, factorisations by scalars."""

from __future__ import annotations

from .draw import Grower, Reject
from .rules import fitting, rule, within

_STEPS = (
    "gc.sin(z) + 0.1", "3.7 * z * (1 - z)", "z + z", "gc.tanh(z) * 0.9 + z", "z * 0.5 + gc.cos(z)",
    "gc.maximum(z, -z)", "z * 0.9 + 0.01", "gc.where(z > 0.5, z * 0.5, z + 0.25)", "(z + {y}) * 0.5",
)  # fmt: skip
_BOUNDED = (0, 4, 5, 6, 7, 8)  # steps that may go on for hundreds of times


def _little(g: Grower, most: int = 1) -> str:
    """A float of few elements, as there are hundreds of nodes on it."""
    x = g.named("f", 0, most, fits=lambda n: g.known[n] is not None and _count(g, n) <= 8)
    return within(g, x, -0.9, 0.9)


def _count(g: Grower, name: str) -> int:
    count = 1
    for d in g.dims(name):
        count *= g.sized(d)
    return count


def _row(g: Grower) -> tuple[str, int]:
    """A float array of one or two axes and its length, which is known."""
    known = [n for n in g.pool if g.dtype_of(n) == g.dtype and g.ndim(n) == 1 and isinstance(g.nodes[n].shape[0], int)]
    x = g.choose(known) if known and g.chance(0.4) else g.leaf([g.choose((2, 3, 5, 9))], g.dtype)
    n = g.dims(x)[0]
    if not isinstance(n, int) or not 2 <= n <= 40:
        raise Reject
    return str(x), n


def _sloped(g: Grower, made: str, x: str) -> None:
    """The gradient through all of it, now and then."""
    if g.chance(0.4) and any(leaf.name == x for leaf in g.leaves):
        s = g.add(f"gc.sum({made})", large=True)
        g.wanted.append(g.add(f"gc.grad({s}, [{x}])", sure=True, of=s, wrt=[x]))


def _times(g: Grower) -> int:
    """How often: hundreds of times in programs of that kind."""
    return int(g.choose((60, 100, 150, 300) if g.profile.name in ("chain", "unrolled") else (3, 5, 8)))


@rule
def chain(g: Grower) -> None:
    """One step again and again."""
    k = g.below(len(_STEPS))
    x = _little(g)
    y = _little(g, 0)
    times = _times(g) if k in _BOUNDED else g.choose((3, 8, 12, 25))
    _sloped(g, g.add(f"repeat(lambda z: {_STEPS[k].format(y=y)}, {x}, {times})", large=True), x)


@rule
def wide_fan(g: Grower) -> None:
    """A sum of many terms, or one value that many others read."""
    x, y = _little(g), _little(g, 0)
    term = g.choose((
        f"{x} * (k + 0.5)", f"gc.sin({x} * (k + 1))", f"{x} * k", f"gc.sum({x} * (k + 0.25))", f"{y} / (k + 1.5)",
        f"gc.where({x} > k * 0.1, {x}, {y})", f"gc.maximum({x} - k * 0.1, 0.0)", f"{x} ** (k % 5)", f"{x} + {y}",
    ))  # fmt: skip
    _sloped(g, g.add(f"{g.choose(('fan', 'tree'))}(lambda k: {term}, {_times(g)})", large=True), x)


@rule
def many_reads(g: Grower) -> None:
    """Elements of one array, each by itself, put together again."""
    x, n = _row(g)
    step = g.choose((f"{x}[k]", f"{x}[k] * {x}[-1 - k]", f"gc.tanh({x}[k] - {x}[0])", f"{x}[k] * (k + 1)"))
    whole = g.choose(
        (f"fan(lambda k: {step}, {n})", f"gc.stack([{step} for k in range({n})])", f"tree(lambda k: {step}, {n})")
    )
    g.add(whole)


@rule
def recurrence(g: Grower) -> None:
    """Several carried values, scalars or small arrays."""
    x = _little(g)
    y = fitting(g, x) if "(" not in x else x
    times = _times(g) // 4 + 1
    steps = (
        "(a + 0.1 * b, b - 0.1 * a)", "(b, a)", "(b, 0.5 * a + 0.25 * b)", "(gc.tanh(a + b), a)",
        "(0.9 * a + 0.01 * t, gc.where(a > b, a, 0.5 * b))", "(gc.maximum(a, b), gc.minimum(a, b) * 0.5)",
    )  # fmt: skip
    _sloped(g, g.add(f"unroll(lambda t, a, b: {g.choose(steps)}, ({x}, {y}), {times})", count=2, large=True), x)


@rule
def recurrence_of_three(g: Grower) -> None:
    """Mean and variance as they are updated by each value, a filter, a counter of what passed."""
    x, n = _row(g)
    steps = (
        f"(a + ({x}[t] - a) / (t + 1), b + ({x}[t] - a) ** 2, c + gc.where({x}[t] > a, 1.0, 0.0))",
        f"(0.9 * a + 0.1 * ({x}[t] - a), 0.81 * b + 0.01, a * b + c)",
        f"(gc.maximum(a, {x}[t]), a, gc.exp(-a * a) * c)",
    )
    start = f"({x}[0] * 0.5, {x}[-1] * 0.25, {_little(g, 0)})"
    g.add(f"unroll(lambda t, a, b, c: {g.choose(steps)}, {start}, {n})", count=3, large=True)


@rule
def cells(g: Grower) -> None:
    """A small recurrent net over the leading axis of x: plain, gated, or with two states."""
    steps, width = g.choose((2, 3, 5, 8)), g.choose((1, 2, 3, 4))
    batch, depth = g.choose((*g.sizes, 2, 1)), g.choose((1, 2, 3))
    x = g.leaf([steps, batch, depth], g.dtype)
    w, u, b = (g.leaf(s, g.dtype, parameter=g.chance(0.5)) for s in ([depth, width], [width, width], [width]))
    h = g.leaf([batch, width], g.dtype)
    sums = f"{x}[t] @ {w} + h @ {u} + {b}"
    if g.chance(0.5):
        g.add(f"unroll(lambda t, h: (gc.tanh({sums}),), ({h},), {steps})[0]")
        return
    v = g.leaf([width, width], g.dtype)
    gate = f"gc.sigmoid({sums})"
    two = f"(gc.tanh(c) * {gate}, c * {gate} + gc.tanh({x}[t] @ {w} + h @ {v}))"
    g.add(f"unroll(lambda t, h, c: {two}, ({h}, {h} * 0.5), {steps})", count=2)


@rule
def factorisation(g: Grower) -> None:
    """Cholesky by scalars of x @ x.T + c, and perhaps a triangular solve."""
    n = g.choose((2, 3, 4, 6) if g.profile.name == "unrolled" else (2, 3))
    x = g.leaf([n, n], "float64")
    a = g.add(f"{x} @ gc.matrix_transpose({x}) + gc.constant(np.eye({n}) * {n + 1}.0)", large=True)
    rows = f"cholesky(gc.sqrt, {a}, {n})"
    if g.chance(0.5):
        g.add(f"gc.stack({rows})")
        return
    b = g.leaf([n], "float64")
    g.add(f"gc.stack(solved({rows}, {b}, {n}))")
