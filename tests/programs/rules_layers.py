"""Rules of what is alike again and again: layers with weights of their own, and one that differs from the rest."""

from __future__ import annotations

from collections.abc import Sequence

from .draw import Grower
from .rules import rule

_ACTIVATIONS = ("gc.tanh({z})", "gc.relu({z})", "gc.sigmoid({z})", "gc.gelu({z})", "{z}", "gc.softmax({z}, axis=-1)")


def _weights(g: Grower, shape: Sequence[int | str], parameter: bool) -> str:
    return g.leaf(shape, g.dtype, parameter=parameter and all(isinstance(d, int) for d in shape))


@rule
def layers(g: Grower) -> None:
    """h = f(h @ w + b) with new weights each time; one layer may have another constant, size, or operand."""
    count, width = 2 + g.below(5), g.choose((1, 2, 3, 4, 5))
    dims = [g.choose((*g.sizes, 2, 3)) for _ in range(g.below(3))]
    h = g.leaf([*dims, width], g.dtype)
    activation = g.choose(_ACTIVATIONS)
    form = g.choose(("{h} @ {w}", "{h} @ {w} + {b}", "{h} @ {w} + {b}", "({h} + {b}) * 0.5", "{h} * {b} + {h}"))
    odd, shared, parameter = g.below(2 * count), g.chance(0.2), g.chance(0.5)
    made = []
    w = b = ""
    for k in range(count):
        wider = width + 1 if k == odd and g.chance(0.4) and "{w}" in form else width
        if not shared or not w or wider != width:
            w = _weights(g, [width, wider], parameter) if "{w}" in form else ""
            b = _weights(g, [wider], parameter) if "{b}" in form else ""
        z = form.format(h=h, w=w, b=b)
        if k == odd:
            z = g.choose((f"{z} * 1.5", f"{z} + {h}" if wider == width else z, f"{z} - 0.25"))
        h = g.add(activation.format(z=f"({z})" if " " in z else z))
        shared, width = shared and wider == width, wider
        made.append(h)
    _seen(g, made)


@rule
def long_rows(g: Grower) -> None:
    """Rows that are swept several times, some of which are made beside the next one."""
    rows, width = g.choose((*g.sizes, 3, 17)), g.choose((576, 640, 1024))
    dtype = g.choose(("float32", "float32", g.dtype))
    x, y, k = g.leaf([rows, width], dtype), g.leaf([rows, width], dtype), g.leaf([rows], "int64", "whole")
    w, k = g.leaf([width], dtype), g.add(f"gc.remainder({k}, {width})")
    made = [g.add(g.choose(("gc.softmax({x})", "gc.log_softmax({x})", "gc.tanh({x})", "{x}")).format(x=x))]
    made += [g.add(f"gc.exp({x} - gc.max({x}, axis=-1, keepdims=True))")]
    for _ in range(1 + g.below(3)):
        v, u = g.choose(made), g.choose((x, y))
        made.append(g.add(g.choose((
            f"{v} / (1.5 + gc.sum({v} * {v}, axis=-1, keepdims=True)) * {w}",
            f"{v} - gc.mean({v}, axis=-1, keepdims=True)", f"{v} * {u}[..., ::-1]", f"{v} + gc.flip({u}, 0)",
            f"gc.where(gc.equal({k}[..., None], gc.arange({width}, dtype={k}.dtype)), {v} - 1, {v})",
            f"{v} * ({u} - gc.sum({v} * {u}, axis=-1, keepdims=True))",
            f"gc.take({v}, gc.flip(gc.arange({v}.shape[0]), 0), axis=0)",
            f"gc.vjp({v}, [{x}], {u})[0]", f"gc.sum({v}, axis=0) + {v}",
        ))))  # fmt: skip
    _seen(g, made[-2:])


@rule
def twins(g: Grower) -> None:
    """Phases that are alike but for their operands, none of which needs another: f(x, x) beside f(x, y)."""
    dims = [d or 2 for d in g.shape()] or [3]
    names = [g.leaf(dims, g.dtype) for _ in range(2 + g.below(3))]
    form = g.choose((
        "gc.tanh({a}) * {b}", "{a} - 0.1 * {b}", "gc.sum({a} * {b}, axis=0)", "gc.sum({a} * {b})", "{a} * {b} + {c}",
        "{a} * {b} - {c}", "gc.sum({a} * {b} - {c}, axis=0)",
        "gc.max({a}, axis=-1) - gc.min({b}, axis=-1)", "{a} - gc.mean({b}, axis=0)", "gc.softmax({a}, axis=-1) * {b}",
        "gc.where({a} > {b}, {a}, {b})", "gc.flip({a}, axis=0) * {b}", "{a} - gc.flip({b}, axis=0)",
        "gc.vecdot({a}, {b})", "gc.logsumexp({a} + {b}, axis=0)", "{a} / (1.5 + gc.sum({b} * {b}))",
    ))  # fmt: skip
    made = []
    apart, numbered = g.chance(0.6), g.chance(0.6)  # each on arrays of its own; each with a number
    for _ in range(2 + g.below(4)):
        a = g.leaf(dims, g.dtype) if apart else g.choose(names)
        b = g.choose((a, g.leaf(dims, g.dtype))) if apart else g.choose(names)
        text = form.format(a=a, b=b, c=g.choose((a, b)))
        text = f"({text}) * {g.choose((1.5, 1.5, 2.5))}" if numbered else text
        made.append(g.add(text, large=True))
        if g.chance(0.25) and g.dims(made[-1]) == dims:
            names.append(made[-1])  # an operand of the next that is an output as well
    _seen(g, made, all_of_them=apart)


@rule
def towers(g: Grower) -> None:
    """Chains of alike layers side by side, each on what the layer before it made: a layer needs its own chain alone."""
    dims = [d or 2 for d in g.shape()][:2] or [3]
    heads = [g.leaf(dims, g.dtype) for _ in range(2 + g.below(2))]
    form = g.choose((
        "gc.tanh(gc.flip({h}, axis=0)) * {w}", "{h} * {w} - gc.sum({h})", "gc.flip({h}, axis=-1) + {w}",
        "gc.exp(-gc.abs({h} - gc.max({h}, axis=0))) * {w}",
    ))  # fmt: skip
    for _ in range(2 + g.below(5)):
        heads = [g.add(form.format(h=h, w=g.leaf(dims, g.dtype)), large=True) for h in heads]
        _seen(g, heads, all_of_them=True)


@rule
def twin_updates(g: Grower) -> None:
    """One optimiser's steps for parameters of alike and of other shapes, each read by its own loss."""
    dims = [d for d in g.shape() if isinstance(d, int)][:2]
    shapes = [dims if g.chance(0.7) else [*dims, 2] for _ in range(2 + g.below(4))]
    names = [g.leaf(s, g.dtype, parameter=True) for s in shapes]
    rates = (0.1, 0.1, 0.1, 0.25) if g.chance(0.5) else (0.1,)
    form = g.choose(("{p} - {r} * {d}", "{r} * {p} + {d} * {d}", "{p} - {r} * gc.tanh({d})", "gc.maximum({p}, {d})"))
    for k, p in enumerate(names):
        like = [q for q, s in zip(names, shapes, strict=True) if s == shapes[k]]
        d = g.choose((p, g.choose(like), g.leaf(shapes[k], g.dtype)))
        g.updates[p] = g.add(form.format(p=p, d=d, r=g.choose(rates)))
    if g.chance(0.6):
        g.wanted.append(g.choose((g.choose(names), g.updates[names[0]], g.add(f"gc.sum({g.choose(names)})"))))


@rule
def twin_products(g: Grower) -> None:
    """Products of one form with other operands, some of them one array twice."""
    n = g.choose((1, 2, 3, 5))
    names = [g.leaf([n, n], g.dtype) for _ in range(2 + g.below(2))]
    form = g.choose(("{a} @ {b}", "gc.matrix_transpose({a}) @ {b}", "{a} @ gc.matrix_transpose({b})"))
    after = g.choose(("{z}", "gc.tanh({z})", "{z} + {a}", "gc.sum({z}, axis=0)", "gc.sum({z} * {b}, axis=-1)"))
    pairs = [(g.choose(names), g.choose(names)) for _ in range(2 + g.below(4))]
    _seen(g, [g.add(after.format(z=form.format(a=a, b=b), a=a, b=b), large=True) for a, b in pairs])


def _seen(g: Grower, made: Sequence[str], all_of_them: bool = False) -> None:
    """The last as an output, and some of the others, or all."""
    g.wanted += [name for name in made[:-1] if all_of_them or g.chance(0.35)] + list(made[-1:])
