"""Rules of reads and updates at positions: several arrays of them, slices beside them, masks, parameters in place."""

from __future__ import annotations

from .draw import Grower, Reject
from .evaluate import UNKNOWN
from .rules import rule
from .rules_updates import state, watched

_DTYPES = ("int64", "int64", "int32", "uint8", "int8")


def _positions(g: Grower, length: int | str, shape: list[int | str]) -> str:
    if g.chance(0.15):
        return str(g.choose(("0", "-1", "[0, -1, 0]", "[[-1], [0]]")))
    dtype = g.choose(_DTYPES)
    return g.leaf(shape, dtype, f"position {1 if dtype == 'uint8' else length}")


def _is_known(g: Grower, x: str) -> bool:
    """Whether NumPy has evaluated it, and with it the keys that are taken of it."""
    return g.known[x] is not UNKNOWN


def key_of(g: Grower, x: str, first: bool = False) -> str:
    """A key with at least one array; with `first` its arrays are of the first axes."""
    dims = g.dims(x)
    if not dims or any(g.sized(d) == 0 for d in dims):
        raise Reject
    d, e = g.choose(g.palette), g.choose((1, 2, 3))
    count = 1 + g.below(min(len(dims), 3))
    axes = list(range(count)) if first else sorted(int(a) for a in g.rng.permutation(len(dims))[:count])
    items = []
    for k, length in enumerate(dims[: max(axes) + 1 + g.below(2)]):
        if k in axes:
            items.append(_positions(g, length, g.choose(([d], [d], [], [e, 1], [e, d]))))
        else:
            items.append(g.choose((":", ":", "::-1", "1:", ":-1", "::2", "0", "-1")))
        if g.chance(0.1) and not first:
            items.append("None")
    return ", ".join(items)


def as_argument(key: str) -> str:
    """A key as an argument of a function."""
    parts, depth, found = [""], 0, ""
    for c in key + ",":
        depth += (c == "[") - (c == "]")
        if c == "," and not depth:
            found = parts[-1].strip()
            if ":" in found:
                ends = [end or "None" for end in found.split(":")]
                found = f"slice({', '.join(ends)})"
            parts[-1] = found
            parts.append("")
        else:
            parts[-1] += c
    return f"({', '.join(parts[:-1])},)"


def _values(g: Grower, x: str, key: str) -> str:
    """What goes there: one number, an array that broadcasts, or what is read of the same array."""
    number = g.choose(("0", "1", "2", "-1" if g.dtype_of(x)[0] != "u" else "3"))
    if g.dtype_of(x) == "bool" or g.chance(0.2):
        return "True" if g.dtype_of(x) == "bool" else str(number)
    y = g.add(f"{x}[{key}]", sure=_is_known(g, x))
    if g.chance(0.35):
        return str(g.choose((y, f"{y} * 2", f"{y} + {y}")))
    dims = g.dims(y)
    draws = "plain" if g.dtype_of(x)[0] == "f" else "whole"
    return g.leaf(dims[g.below(2) if g.chance(0.3) else 0 :], g.dtype_of(x), draws)


def changed(g: Grower, x: str) -> str:
    """The array with an update."""
    name = g.choose(("set_at", "set_at", "add_at", "add_at", "multiply_at", "min_at", "max_at"))
    if g.dtype_of(x) == "bool":
        name = "set_at"
    if g.chance(0.12):
        mask = g.leaf(g.dims(x)[: 1 + g.below(g.ndim(x))], "bool")
        return f"gc.{name}({x}, {mask}, {'True' if g.dtype_of(x) == 'bool' else 1})"
    if g.chance(0.15):
        key = ", ".join(g.choose((":", "::-1", "1:", ":-1", "::2", "0", "-1")) for _ in range(1 + g.below(g.ndim(x))))
        return f"gc.{name}({x}, {as_argument(key)}, {_values(g, x, key)})"
    key = key_of(g, x)
    return f"gc.{name}({x}, {as_argument(key)}, {_values(g, x, key)})"


@rule
def pairs(g: Grower) -> None:
    """One element a pair of positions, with slices and new axes between them."""
    x = g.named("fib", 1)
    g.add(f"{x}[{key_of(g, x)}]", sure=_is_known(g, x))


@rule
def changed_at(g: Grower) -> None:
    """An update, now and then of what another has updated."""
    x = g.named("fffib", 1)
    for _ in range(1 + (g.below(3) == 0)):
        x = g.add(changed(g, x), sure=_is_known(g, x))


@rule
def beyond(g: Grower) -> None:
    """Positions beyond their axis, with what is wanted of them."""
    x = g.named("fi", 1)
    dims = g.dims(x)
    if not dims or any(g.sized(d) == 0 for d in dims):
        raise Reject
    shape = [g.choose(g.palette)]
    items = [f"{g.leaf(shape, 'int64', f'position {d}')} * 2" for d in dims[: 1 + g.below(2)]]
    key = f"({', '.join(items)},)"
    if g.chance(0.5):
        mode = g.choose(("'clip'", "'wrap'", "'fill', fill_value=1"))
        g.add(f"gc.get_at({x}, {key}, mode={mode})", sure=_is_known(g, x))
        return
    name = g.choose(("set_at", "add_at", "max_at"))
    mode = g.choose(("clip", "wrap", "drop"))
    g.add(f"gc.{name}({x}, {key}, {g.choose(('0', '2'))}, mode='{mode}')", sure=_is_known(g, x))


@rule
def one_position(g: Grower) -> None:
    """What a row has at one position alone, which may be none of it; also of a parameter, which is written over."""
    updates = g.chance(0.3)
    x = state(g) if updates else g.named("f", 1)
    if not g.ndim(x) or g.dtype_of(x)[0] != "f":
        raise Reject
    dims = g.dims(x)
    k, length = g.leaf(dims[:-1], g.choose(("int64", "int32", "int8")), "whole"), g.length(dims[-1])
    there = f"gc.equal({k}[..., None], gc.arange({length}, dtype={k}.dtype))"
    other = g.choose((x, f"{x} * 3", f"gc.exp({x})", "0.5"))
    y = g.add(f"gc.where({there}, {x} * 2, {other})", sure=_is_known(g, x))
    if updates:
        g.updates[x] = y
        watched(g, x, y)


@rule
def classes(g: Grower) -> None:
    """Rows of few elements that each have a label, a truth, or a weight of another type."""
    width, dims = 2 + g.below(9), [g.choose((*g.sizes, 2, 3)) for _ in range(g.below(2))]
    dims.append(g.choose((*g.sizes, 4, 17, 20)))
    x, c = g.leaf([*dims, width], g.dtype), g.leaf(dims, "bool")
    k, w = g.leaf(dims, g.choose(("int64", "int32", "uint8")), "whole"), g.leaf(dims, g.choose(("float32", "float64")))
    k = g.add(f"gc.remainder({k}, {width})")
    k = g.add(g.choose((f"gc.roll({k}, 1, -1)", f"gc.flip({k}, -1)"))) if g.chance(0.3) else k
    shifted = f"({x} - gc.max({x}, axis=-1, keepdims=True))"
    there = f"gc.{g.choose(('equal', 'less'))}({k}[..., None], gc.arange({width}, dtype={k}.dtype))"
    one = f"gc.take_along_axis({x}, {k}[..., None].astype('int64'), axis=-1)[..., 0]"
    for _ in range(1 + g.below(3)):
        g.add(g.choose((
            f"gc.where({there}, {shifted}, 0.5)",
            f"gc.sum(gc.where({there}, {x}, 0), axis=-1) - gc.logsumexp({x}, axis=-1)",
            f"{one} - gc.logsumexp({x}, axis=-1)", f"{one} * gc.sum({shifted}, axis=-1)",
            f"gc.where({c}[..., None], gc.softmax({x}, axis=-1), 0)", f"gc.where({c}, gc.sum({x}, axis=-1), {one})",
            f"gc.softmax({x}, axis=-1) * {w}.astype({x}.dtype)[..., None]",
        )))  # fmt: skip


@rule
def labelled(g: Grower) -> None:
    """Segments, bins, searches among sorted elements, and slices that begin where the call says."""
    x = g.named("f", 1)
    dims = g.dims(x)
    groups, k = g.choose((1, 2, 3)), g.below(len(dims))
    if not all(map(g.sized, dims)):
        raise Reject
    name, labels = g.choose(("sum", "sum", "prod", "max")), g.leaf(dims[: 1 + g.below(2)], "int64", "whole")
    inside = f"gc.remainder({labels}, {groups})"
    texts = [f"gc.segment_{name}({x}, {inside}, {groups})", f"gc.segment_sum({x}, {labels}, 3, mode='drop')"]
    texts += [f"gc.bincount(gc.reshape({inside}, -1), length={groups})"]
    side = g.choose(("left", "right"))
    texts += [f"gc.searchsorted(gc.sort(gc.reshape({x}, -1)), {g.named('f')}, side='{side}')"] * 2
    starts = [g.leaf((), g.choose(("int64", "int8")), "whole") for _ in dims]
    sizes = ", ".join("1" if n == k else g.length(d) for n, d in enumerate(dims))
    texts += [f"gc.dynamic_slice({x}, [{', '.join(starts)}], ({sizes},))"]
    texts += [f"gc.dynamic_update_slice({x}, gc.zeros(({sizes},)).astype({x}.dtype), [{', '.join(starts)}])"]
    g.add(g.choose(texts))


@rule
def update_at(g: Grower) -> None:
    """A parameter that is updated at some of its elements, and who else reads it."""
    p = state(g)
    if not g.ndim(p):
        raise Reject
    v = p
    for _ in range(1 + (g.below(3) == 0)):
        v = g.add(changed(g, v))
    if g.chance(0.2):
        v = g.add(f"{v} * 0.5")
    g.updates[p] = v
    watched(g, p, v)
