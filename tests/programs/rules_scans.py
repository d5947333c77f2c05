"""Rules of what runs along one axis of any layout: cumulative sums and products, sorts."""

from __future__ import annotations

from .draw import Grower
from .rules import rule
from .rules_layouts import laid


@rule
def cumulative(g: Grower) -> None:
    """Along any axis, then met by its operand's like, the last of it, another scan or a reduction."""
    if g.chance(0.6):
        x = g.named("fi", 1)
    else:
        x = g.leaf([g.choose((*g.palette, 1, 2, 3, 5)) for _ in range(1 + g.below(5))], g.dtype)
    axis, whole = g.below(g.ndim(x)), g.dtype_of(x)[0] in "iu"
    operand = laid(g, x) if g.chance(0.6) and not whole else x
    name = g.choose(("sum", "sum", "prod")) if not whole else "sum"
    if name == "prod":
        operand = g.choose((f"(1.0 + 0.5 * gc.tanh({operand}))", f"gc.minimum(gc.maximum({operand}, 0.0), 1.5)"))
    more = g.choose(("", "", ", include_initial=True", ', dtype="float64"'))
    y = g.add(f"gc.cumulative_{name}({operand}, axis={axis}{more})")
    after = [f"gc.max({y}, axis={axis})" if g.sized(g.dims(y)[axis]) else y, f"gc.cumulative_sum({y}, axis=0)"]
    after += [f"gc.sum({y}, axis={g.below(g.ndim(y))})", f"({y})[::-1] * 2", f"{y} - gc.flip({y}, axis={axis})"]
    if g.chance(0.5):
        g.add(g.choose(after), large=True)


@rule
def ordered(g: Grower) -> None:
    """Sorts along any axis, of ties too; positions of what is exact alone, which are then used to read at."""
    dims = [g.choose((*g.palette, 1, 2, 3, 5)) for _ in range(1 + g.below(4))]
    x = g.leaf(dims, g.dtype) if g.chance(0.6) else g.leaf(dims, g.choose(("int64", "int8", "uint8", "bool")))
    operand = laid(g, x) if g.dtype_of(x)[:5] == "float" and g.chance(0.6) else x
    if g.dtype_of(x)[:5] == "float" and g.chance(0.3):
        operand = f"gc.maximum({operand}, 0.5)"
    axis, order = g.below(g.ndim(x)), g.choose(("", "", ", descending=True"))
    if g.chance(0.4):
        k = g.add(f"gc.argsort({operand}, axis={axis}{order})")
        g.add(f"gc.take_along_axis({operand}, {k}, axis={axis})") if g.chance(0.5) else None
        return
    y = g.add(f"gc.sort({operand if g.chance(0.6) else g.named('f', 1)}, axis=-1{order})")
    after = [f"gc.sum({y}, axis=-1)", f"gc.cumulative_sum({y}, axis=-1)", f"({y})[..., :1]", f"gc.sort({y}, axis=0)"]
    g.add(g.choose(after)) if g.chance(0.5) and g.dtype_of(y) != "bool" else None


@rule
def selected(g: Grower) -> None:
    """The largest or smallest along any axis; positions of what is exact alone, which are then used to read at."""
    dims = [g.choose((*g.palette, 1, 2, 5, 200, 300)) for _ in range(1 + g.below(3))]
    x = g.leaf(dims, g.dtype) if g.chance(0.6) else g.leaf(dims, g.choose(("int64", "int8", "uint8", "bool")))
    is_float, axis = g.dtype_of(x)[:5] == "float", g.below(g.ndim(x))
    operand = laid(g, x) if is_float and g.chance(0.5) else x
    k = g.length(dims[axis]) if g.chance(0.1) else min(g.sized(dims[axis]), g.choose((0, 1, 1, 2, 3, 20)))
    order = g.choose(("", "", ", largest=False"))
    if is_float and g.chance(0.4):
        y = g.add(f"gc.top_k(gc.tanh({operand}) * 2.0, {k}, axis={axis}{order})[0]")
    else:
        y = g.add(f"gc.top_k({operand}, {k}, axis={axis}{order})", count=2)
    after = [f"gc.sum({y}, axis={axis})", f"gc.take({y}, 0, axis={axis})", f"gc.cumulative_sum({y}, axis={axis})"]
    g.add(g.choose(after)) if g.chance(0.5) and is_float else None
