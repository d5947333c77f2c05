"""Rules of gradients and guards."""

from __future__ import annotations

from .draw import Grower, Reject
from .rules import fitting, rule
from .rules_movement import moved, same_shape
from .rules_products import partner


@rule
def gradient(g: Grower) -> None:
    """A scalar of some values, and its gradients along leaves or values."""
    terms = []
    again = g.chance(0.5)  # the same value in every term
    x = g.named("f")
    for _ in range(1 + g.below(3)):
        x = x if again else g.named("f")
        y = fitting(g, x)
        options = [
            f"gc.sum({x})",
            f"gc.sum({x})",
            f"gc.sum({x} * {x})",
            f"gc.sum({x} * {y})",
            f"gc.mean({x})",
            f"gc.sum(gc.tanh({x}))",
        ]
        options += (
            [f"gc.sum({x}[1:])", f"gc.sum({x}[1:] * {g.choose(('2.0', '0.5'))})", f"gc.sum({x}[..., ::-1] * {x})"]
            if g.ndim(x)
            else []
        )
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


# guards


@rule
def guard(g: Grower) -> None:
    """`where` around a function that has no value, or no slope, on the other side."""
    x = g.named("f", fits=lambda n: n[0] in "xp" or g.chance(0.2))
    terms = []
    functions = (
        "gc.log({v})",
        "gc.sqrt({v})",
        "1 / {v}",
        "gc.rsqrt({v})",
        "gc.sqrt({v}) * {x}",
        "gc.log({v}) * {v}",
        "{v} ** 0.5",
    )
    borders = sorted(g.choose(("0.0", "0.0", "1.0", "0.5")) for _ in range(1 + (g.below(4) > 0)))
    alike = g.choose(functions) if g.chance(0.6) else ""  # the same function under two guards is one node
    for border in borders:
        start = borders[0] if alike else border
        inside = x if start == "0.0" else f"({x} - {start})"
        function = alike or g.choose(functions)
        terms.append(
            f"gc.where({x} > {border}, {function.format(v=inside, x=x)}, {g.choose(('0.0', '0.0', '1.0', x))})"
        )
    g.rng.shuffle(terms)
    whole = g.choose((" + ", " + ", " * ", " - ")).join(terms)
    shape = g.choose(("{w}", "({w}) ** 2", "gc.sin({w})", "gc.square({w})", "({w}) * {x}"))
    w = g.add(shape.format(w=whole, x=x), large=True)
    if g.chance(0.8) and any(leaf.name == x for leaf in g.leaves):
        s = g.add(f"gc.sum({w})", large=True)
        g.add(f"gc.grad({s}, [{x}])", sure=True, of=s, wrt=[x])
