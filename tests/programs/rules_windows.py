"""Rules of windows: convolutions and pools of images in any layout, and what networks make of them."""

from __future__ import annotations

import math

from .draw import Grower, Reject
from .rules import rule, some_axes
from .rules_layouts import laid
from .rules_products import partner


def _image(g: Grower) -> str:
    """x [batch, *spatial, channels]: a value, another value with an axis more, or a new input."""
    if g.chance(0.3):
        return g.named("f", 3, 5)
    if g.chance(0.2):
        return f"gc.expand_dims({g.named('f', 2, 3)}, axis=-1)"
    axes = g.choose((1, 1, 2, 2, 2, 3))
    lengths = [g.choose((*g.palette, 1, 2, 3, 4, 5, 6, 7, 9)) for _ in range(axes)]
    dims = [g.choose((*g.palette, 1, 2)), *lengths, g.choose((*g.palette, 1, 2, 3, 4))]
    if math.prod(map(g.sized, dims)) > g.profile.elements:
        raise Reject
    x = g.leaf(dims, g.dtype if g.chance(0.93) else g.choose(("int64", "int16", "uint8")))
    return laid(g, x) if g.chance(0.3) else x


def _each(g: Grower, axes: int, most: int) -> int | tuple[int, ...]:
    """An int for all of the axes, or one for each."""
    return 1 + g.below(most) if g.chance(0.5) else tuple(1 + g.below(most) for _ in range(axes))


def _padding(g: Grower, axes: int, most: int) -> str:
    pairs = tuple((g.below(most + 1), g.below(most + 1)) for _ in range(axes))
    return g.choose(("'valid'", "'valid'", "'same'", "'same'", str(g.below(most + 1)), str(pairs)))


@rule
def convolution(g: Grower) -> None:
    """With a kernel that is an input, a parameter, filled or turned over; then what a layer does with it."""
    x = g.add(_image(g))
    axes, channels = g.ndim(x) - 2, g.dims(x)[-1]
    groups = 1
    if isinstance(channels, int) and channels > 1 and g.chance(0.35):
        groups = g.choose([d for d in range(1, channels + 1) if channels % d == 0])
    places = [g.choose((1, 2, 3, 3, 4)) for _ in range(axes)]
    each = channels if groups == 1 else channels // groups
    filters = groups * (1 + g.below(3)) if groups > 1 else g.choose((*g.palette, 1, 2, 3, 5))
    shape = [*places, each, filters]
    known = all(isinstance(d, int) for d in shape)
    w = g.leaf(shape, g.dtype, parameter=True) if known and g.chance(0.3) else partner(g, shape)
    w = g.choose((w, w, w, f"({w})[{'::-1, ' * axes}]", f"({w} * 0.5)", f"gc.tanh({w})"))
    options = [f"padding={_padding(g, axes, 3)}"] if g.chance(0.7) else []
    options += [f"strides={_each(g, axes, 3)}"] if g.chance(0.5) else []
    options += [f"dilation={_each(g, axes, 3)}"] if g.chance(0.3) else []
    options += [f"groups={groups}"] if groups > 1 else []
    y = g.add(f"gc.convolution({', '.join([x, w, *options])})", large=True)
    if g.chance(0.6):
        _layer(g, y, x, axes)


def _layer(g: Grower, y: str, x: str, axes: int) -> None:
    """An activation, a norm, a sum over positions, or the same array beside it."""
    b = g.leaf(g.dims(y)[-1:], g.dtype)
    places = tuple(range(1, axes + 1))
    texts = [f"gc.relu({y} + {b})", f"gc.tanh({y}) * {b}", f"gc.mean({y}, axis={places})", f"gc.softmax({y}, axis=-1)"]
    texts += [f"gc.sum({y}, axis={tuple(some_axes(g, axes + 2))})", f"{y} - gc.mean({y}, axis={places}, keepdims=True)"]
    texts += [f"{y} + {x}", f"gc.flip({y}, axis=1) * {y}", f"gc.moveaxis({y}, -1, 1)", f"gc.maximum({y}, {b})"]
    g.wanted.append(g.add(g.choose(texts), large=True))


@rule
def pooling(g: Grower) -> None:
    """The largest of each window, with ties, or the mean; of few places and of many."""
    x = g.add(_image(g))
    axes = g.ndim(x) - 2
    window = _each(g, axes, g.choose((2, 3, 5)))
    least = window if isinstance(window, int) else min(window)
    options = [f"padding={_padding(g, axes, least - 1)}"] if g.chance(0.6) else []
    options += [f"strides={_each(g, axes, 3)}"] if g.chance(0.5) else []
    name = g.choose(("max_pool", "max_pool", "avg_pool"))
    source = g.choose((x, x, f"gc.maximum({x}, 0)", f"gc.round({x})")) if name == "max_pool" else x
    y = g.add(f"gc.{name}({', '.join([source, str(window), *options])})", large=True)
    if g.chance(0.4) and g.dtype_of(y)[:5] == "float":
        _layer(g, y, x, axes)
