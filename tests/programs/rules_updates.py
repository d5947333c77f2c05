"""Rules of parameters and their new values: what is written in place, what waits, and who else reads it."""

from __future__ import annotations

from .draw import Grower, Reject
from .rules import rule


def state(g: Grower) -> str:
    """A float parameter, often one that is there already."""
    known = [p.name for p in g.leaves if p.is_parameter and g.dtype_of(p.name)[:5] == "float"]
    if known and g.chance(0.6):
        return str(g.choose(known))
    dims = [g.sized(d) or 2 for d in g.shape()]
    return g.leaf(dims or [2, 3, 4][: g.below(3)], g.dtype, parameter=True)


def _like(g: Grower, p: str) -> str:
    """Another parameter of its shape."""
    known = [q.name for q in g.leaves if q.is_parameter and q.name != p and g.nodes[q.name].type == g.nodes[p].type]
    if known and g.chance(0.7):
        return str(g.choose(known))
    return g.leaf(g.dims(p), g.dtype_of(p), parameter=True)


def _operand(g: Grower, p: str) -> str:
    """What has its shape or broadcasts to it: an input, a sum over inputs, a scalar."""
    dims = g.dims(p)
    fits = [n for n in g.pool if g.dtype_of(n) == g.dtype_of(p) and g.dims(n) == dims and n != p]
    if fits and g.chance(0.4):
        return str(g.choose(fits))
    if g.chance(0.5):
        return g.leaf(dims, g.dtype_of(p))
    extra = g.choose(["n"] if "n" in g.sizes else [2, 3])
    first = g.chance(0.5)
    more = g.leaf([extra, *dims] if first else [*dims, extra], g.dtype_of(p))
    return f"gc.{g.choose(('sum', 'max', 'mean'))}({more}, axis={0 if first else -1})"


def _new_value(g: Grower, p: str) -> str:
    """An expression of the parameter's type: element by element, from other elements, from all, or without it."""
    ndim, x = g.ndim(p), _operand(g, p)
    along = [f"{p} * 0.5 + {x}", f"{p} - 0.1 * {x}", f"gc.tanh({p}) * {x}", f"gc.maximum({p}, {x})", f"{p} * {p}"]
    across = [f"{p} - gc.mean({p})", f"{p} / (1.5 + gc.max(gc.abs({p})))", f"{p} * gc.sum({p} * {x})"]
    moved = [f"gc.tanh({p})"]
    without = [f"{x} * 1.0", f"gc.zeros({tuple(g.dims(p))})", f"gc.broadcast_to(gc.sum({x}), {tuple(g.dims(p))})"]
    if ndim:
        k = g.below(ndim)
        across += [f"{p} - gc.sum({p}, axis={k}, keepdims=True)", f"gc.softmax({p}, axis={k})"]
        across += [f"gc.cumulative_sum({p}, axis={k}) * 0.5", f"gc.cumulative_sum({p}, axis={k})"]
        moved = [f"gc.flip({p}, axis={k})", f"{p} + gc.flip({p}, axis={k})", f"{p}[::-1] * {x}"]
        moved += [f"gc.concat([{p}[1:], {p}[:1]], axis=0) * 0.5", f"gc.broadcast_to({p}[:1], {p}.shape) * {x} + {p}"]
        moved += [f"gc.pad({p}[1:], {[(0, 1), *[(0, 0)] * (ndim - 1)]}) + {p} * 0.5"]
    if ndim >= 2 and g.dims(p)[-1] == g.dims(p)[-2]:
        across += [f"{p} @ {p}"]
        moved += [f"gc.matrix_transpose({p})", f"{p} + gc.matrix_transpose({p})"]
    text = str(g.choose(g.choose((along, moved, moved, across, without))))
    return text if g.dtype_of(p) == "float64" else f'({text}).astype("float32")'


def _reader(g: Grower, name: str) -> str:
    """An output that reads the old or the new value, at its elements or at others."""
    texts = [f"{name} * 2.0", f"gc.sum({name})", f"gc.exp(-{name} * {name})", f"{name} + 1.0"]
    texts += [f"gc.flip({name}, axis=0) + {name}", f"{name}[0]", f"gc.max({name}, axis=-1)"] if g.ndim(name) else []
    return g.add(g.choose(texts), large=True)


def watched(g: Grower, p: str, v: str) -> None:
    """Who else sees the old or the new value: an output of it, or of what is made from it."""
    for name in (p, v):
        if g.chance(0.2):
            g.wanted.append(name)
        if g.chance(0.25):
            g.wanted.append(_reader(g, name))
    if g.chance(0.25):  # the old value read after what the new one leads to
        g.wanted.append(g.add(f"{p} - gc.sum(gc.exp(-gc.abs({v} - gc.max({v}))))", large=True))


@rule
def update(g: Grower) -> None:
    """A new value of one parameter, perhaps of two, or the parameter with one more value beside it."""
    p = state(g)
    v = g.add(_new_value(g, p))
    g.updates[p] = v
    if g.chance(0.2):  # one value for two parameters
        g.updates[_like(g, p)] = v
    if g.chance(0.3):  # what follows from the new value
        q = _like(g, p)
        g.updates[q] = g.add(g.choose((f"{q} + {v}", f"{v} * {p}", f"{q} * {v} - {p}")))
    watched(g, p, v)


@rule
def swap(g: Grower) -> None:
    """Parameters that take each other's values, plain or changed on the way."""
    p = state(g)
    names = list(dict.fromkeys([p, _like(g, p), *([_like(g, p)] if g.chance(0.4) else [])]))
    if len(names) < 2:
        raise Reject
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        changed = g.choose((other, other, f"{other} * 0.5 + {name}", f"{other} * 1.5"))
        g.updates[name] = changed if changed == other else g.add(changed)
    watched(g, p, g.updates[p])


@rule
def counter(g: Grower) -> None:
    """A scalar that counts, and what is computed with it."""
    t = g.leaf((), g.choose(("int64", "int32", "float64", g.dtype)), "whole", parameter=True)
    g.updates[t] = g.add(f"{t} + 1")
    x = g.named("f")
    g.wanted.append(g.add(g.choose((f"{x} * 0.5 ** {t}", f"gc.where({t} > 1, {x}, 0.0)", f"{x} + {g.updates[t]}"))))


@rule
def reduced(g: Grower) -> None:
    """A parameter of any rank takes the sum or the extreme of something, alone or added to what it holds."""
    p = state(g)
    dims = g.dims(p)
    places = sorted({g.below(len(dims) + 1) for _ in range(1 + g.below(2))})
    whole, axes = list(dims), []
    for k in reversed(places):
        whole.insert(k, g.choose([*g.sizes, 2, 3]))
    axes = [k + n for n, k in enumerate(places)]
    x = g.leaf(whole, g.dtype_of(p))
    name = g.choose(("sum", "sum", "max", "mean", "prod", "logsumexp", "var"))
    y = g.choose((x, f"{x} * {x}", f"gc.tanh({x})"))
    r = g.add(f"gc.{name}({y}, axis={tuple(axes)})")
    g.updates[p] = g.add(f"{p} * 0.5 + {r}") if g.chance(0.6) else r
    watched(g, p, r)


@rule
def descent(g: Grower) -> None:
    """Steps along the gradient of one scalar for several parameters, with momentum now and then."""
    names = list(dict.fromkeys(state(g) for _ in range(1 + g.below(3))))
    terms = [f"gc.sum({g.choose(('gc.tanh({p})', '{p} * {p}', 'gc.sin({p})')).format(p=p)})" for p in names]
    x = g.named("f")
    s = g.add(" + ".join([*terms, f"gc.mean({x})"]) + (f" * {names[0]}.sum()" if g.chance(0.4) else ""), large=True)
    made = g.add(f"gc.grad({s}, [{', '.join(names)}])", sure=True, of=s, wrt=names)
    for k, p in enumerate(names):
        slope = made + (chr(97 + k) if k else "")
        if g.chance(0.3):
            m = _like(g, p)
            slope = g.updates[m] = g.add(f"0.9 * {m} + {slope}")
        g.updates[p] = g.add(f"{p} - 0.1 * {slope}")
        watched(g, p, slope)
    g.wanted.append(s)
