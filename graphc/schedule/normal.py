"""Loops in normal form: axes along which every array steps evenly are one loop, axes of size 1 are none.

In: a shape, and the positions at which arrays are read and written, in the variables of loops over it.
Out: the sizes of fewer loops, and the element of the shape at which they are, in their own variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphc.dims import Dim, floor_div, is_nonnegative, is_positive, product, substitute, symbol, symbols
from graphc.schedule.access import Index, linear, loop_axes, loop_symbol
from graphc.types import Shape

Steps = Mapping[str, Dim]  # of an array, by the names of the loops


def normalised(
    shape: Shape,
    memory: Iterable[Dim],
    others: Iterable[Dim] = (),
    classes: Sequence[object] = (),
    sort: bool = False,
    keep: Iterable[int] = (),
) -> tuple[Shape, Index]:
    """The sizes of loops in normal form, and the index in the shape that they are at.

    `memory` has positions in arrays; `others` what else depends on loops: conditions, positions that are values.
    Axes merge if they are of one class, and if both step evenly in all of these.  With `sort` the loops of small steps
    are put inside; else they keep their order.  Axes in `keep` have a loop even if their size is 1.
    """
    axes = [k for k, d in enumerate(shape) if d != 1 or k in tuple(keep)]
    memory, others = list(memory), list(others)
    pinned = set().union(*(loop_axes(e) for e in (*memory, *others) if linear(e) is None))
    steps = [s for e in (*memory, *others) if (s := linear(e)) is not None]
    if sort:
        axes = _by_step(axes, [s for e in memory if (s := linear(e)) is not None])
    groups: list[list[int]] = []
    for k in axes:
        if groups and _merge(groups[-1][-1], k, shape, steps, pinned) and _alike(classes, groups[-1][-1], k):
            groups[-1].append(k)
        else:
            groups.append([k])
    return tuple(product(shape[k] for k in group) for group in groups), _index(shape, groups)


def _alike(classes: Sequence[object], first: int, second: int) -> bool:
    return not classes or classes[first] == classes[second]


def _merge(outer: int, inner: int, shape: Shape, steps: Iterable[Steps], pinned: set[str]) -> bool:
    """Whether a loop and the one inside it are one loop to every array."""
    a, b = f"%{outer}", f"%{inner}"
    return not {a, b} & pinned and all(s.get(a, 0) == s.get(b, 0) * shape[inner] for s in steps)


def _index(shape: Shape, groups: Sequence[Sequence[int]]) -> Index:
    """The element at which loops over merged axes are; what divides the variable cancels in every position."""
    at: list[Dim] = [0] * len(shape)
    for number, group in enumerate(groups):
        rest = loop_symbol(number)
        for k in reversed(group[1:]):
            quotient = floor_div(rest, shape[k])
            at[k] = rest - quotient * shape[k]
            rest = quotient
        at[group[0]] = rest
    return tuple(at)


def _by_step(axes: Iterable[int], steps: Sequence[Steps]) -> list[int]:
    """The axes, those along which most arrays take small steps last; they keep their order where arrays disagree."""
    order: list[int] = []
    for k in axes:
        place = len(order)
        while place and _prefers(f"%{k}", f"%{order[place - 1]}", steps):
            place -= 1
        order.insert(place, k)
    return order


def _prefers(first: str, second: str, steps: Sequence[Steps]) -> bool:
    """Whether more arrays want the first loop around the second than the other way round."""
    pairs = [(_size(s[first]), _size(s[second])) for s in steps if s.get(first, 0) != 0 and s.get(second, 0) != 0]
    return sum(is_positive(a - b) for a, b in pairs) > sum(is_positive(b - a) for a, b in pairs)


def _size(step: Dim) -> Dim:
    """A step without its sign, where every dimension is at least 2; smaller ones do not matter."""
    found = substitute(step, {name: symbol(name) + 2 for name in symbols(step)})
    return found if is_nonnegative(found) else -found
