"""Random programs of nested loops and choices, as nodes or unrolled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from support_loops import unrolled

import graphc as gc
from graphc.graph import Node

WIDTH = 3
Carry = tuple[Node, ...]


class Loops:
    """Loops and choices as nodes."""

    def scan(self, step: Any, carry: Carry, xs: Any, count: int, reverse: bool, checkpoint: int | None) -> Any:
        return gc.scan(step, carry, xs, reverse=reverse, checkpoint=checkpoint)

    def fori(self, low: int, high: int, step: Any, carry: Carry) -> Any:
        return gc.fori_loop(low, high, step, carry)

    def while_(self, most: int, step: Any, carry: Carry) -> Any:
        """At most so many steps, as long as the first carry is less than 0.4."""
        return gc.while_loop(lambda c: c[0] < 0.4, step, carry, bound=most)

    def cond(self, condition: Node, yes: Callable[[], Carry], no: Callable[[], Carry]) -> Any:
        return gc.cond(condition, yes, no)


    def vmap(self, function: Callable[..., Carry], *rows: Node) -> Any:
        """The function of each row, side by side."""
        return gc.vmap(function)(*rows)


class Unrolled(Loops):
    """The same, unrolled; choices compute both sides."""

    def scan(self, step: Any, carry: Carry, xs: Any, count: int, reverse: bool, checkpoint: int | None) -> Any:
        rows = [tuple(x[k] for x in xs) for k in range(count)]
        carry, ys = unrolled(step, carry, rows, reverse)
        return carry, tuple(gc.stack(list(column)) for column in zip(*ys, strict=True))

    def fori(self, low: int, high: int, step: Any, carry: Carry) -> Any:
        for i in range(low, high):
            carry = step(gc.constant(i), carry)
        return carry

    def while_(self, most: int, step: Any, carry: Carry) -> Any:
        going: Node = gc.constant(True)
        for _ in range(most):
            going = going & (carry[0] < 0.4)
            carry = tuple(gc.where(going, b, a) for a, b in zip(carry, step(carry), strict=True))
        return carry

    def cond(self, condition: Node, yes: Callable[[], Carry], no: Callable[[], Carry]) -> Any:
        return tuple(gc.where(condition, a, b) for a, b in zip(yes(), no(), strict=True))

    def vmap(self, function: Callable[..., Carry], *rows: Node) -> Any:
        results = [function(*(r[k] for r in rows)) for k in range(WIDTH)]
        return tuple(gc.stack(list(column)) for column in zip(*results, strict=True))


def program(seed: int, loops: Loops, outside: Sequence[Node]) -> Node:
    """A scalar made of a scalar, a vector and a matrix of the outside; draws depend on the seed alone."""
    a, v, m = outside

    def step_of(depth: int, key: tuple[int, ...]) -> Callable[[Carry, Sequence[Node]], Carry]:
        """A step (scalar, vector) -> (scalar, vector), which also uses what lies around it."""

        def step(carry: Carry, around: Sequence[Node]) -> Carry:
            rng = np.random.default_rng((seed, *key))
            s, w = carry
            scalars = [s, a, *(n for n in around if not n.ndim)]
            vectors = [w, v, *(n for n in around if n.ndim)]
            for k in range(int(rng.integers(1, 4))):
                p, q = (scalars[int(i)] for i in rng.integers(len(scalars), size=2))
                r, t = (vectors[int(i)] for i in rng.integers(len(vectors), size=2))
                kind = int(rng.integers(13 if depth else 7))
                inner = step_of(depth - 1, (*key, k))
                if kind == 0:
                    scalars.append(gc.sin(p * q + 0.3))
                elif kind == 1:
                    vectors.append(gc.tanh(r * p + m @ t))
                elif kind == 2:
                    scalars.append(gc.tanh(gc.sum(r * t) - gc.max(r)))
                elif kind == 3:
                    vectors.append(gc.where(r > q, gc.sin(t), r * 0.5))
                elif kind == 4:
                    vectors.append(gc.exp(-r * r) + gc.flip(t) * p)
                elif kind == 5:
                    vectors.append(_gathered(rng, r, t, p > q))
                elif kind == 6:
                    vectors.append(_updated(rng, r, t, p, p > q))
                elif kind == 7:
                    found, ys = loops.scan(
                        lambda c, x, inner=inner, p=p: ((new := inner(c, (x[0], p))), (new[0], c[1] * new[0])),
                        (q, r),
                        (t,),
                        WIDTH,
                        bool(rng.integers(2)),
                        [None, 1, 2][int(rng.integers(3))],
                    )
                    scalars += [found[0], gc.sum(ys[1])]
                    vectors += [found[1], ys[0]]
                elif kind == 8:
                    low = int(rng.integers(2))
                    found = loops.fori(
                        low,
                        3,
                        lambda i, c, inner=inner, r=r: inner(c, (gc.take(r, i), gc.take(v, i) * c[1])),
                        (p, t),
                    )
                    scalars.append(found[0])
                    vectors.append(found[1])
                elif kind == 9:
                    found = loops.cond(
                        p > q,
                        lambda inner=inner, p=p, q=q, r=r: inner((p, r), (q,)),
                        lambda q=q, t=t: (gc.sin(q), t * 2),
                    )
                    scalars.append(found[0])
                    vectors.append(found[1])
                elif kind == 10:
                    rows = gc.stack([r, t * p, gc.sin(t)])
                    found = loops.vmap(lambda x, y, inner=inner, q=q: inner((x, y), (q,)), t, rows)
                    scalars.append(gc.sum(found[0] * r))
                    vectors.append(gc.sum(found[1], axis=0) + found[1][1])
                elif kind == 11:
                    found = loops.fori(1, WIDTH, lambda i, c, t=t: _swept(i, c, t), (q, r))
                    scalars.append(found[0])
                    vectors.append(found[1])
                else:
                    found = loops.while_(3, lambda c, inner=inner, t=t: inner(c, (t,)), (q, r))
                    scalars.append(found[0])
                    vectors.append(found[1])
            return gc.sin(scalars[-1] + s * 0.1), gc.tanh(vectors[-1] + w * 0.1)

        return step

    step = step_of(2, ())
    (s, w), ys = loops.scan(
        lambda c, x: ((new := step(c, x)), new), (a * 0.5, v), (m, m[:, 0]), WIDTH, seed % 2 == 0, None
    )
    return s + gc.sum(w * w) + gc.sum(ys[0]) + gc.sum(gc.sin(ys[1]))


def _gathered(rng: np.random.Generator, r: Node, t: Node, condition: Node) -> Node:
    """Elements of r: at known positions, some of them twice, or at one that depends on values."""
    known = rng.integers(WIDTH, size=WIDTH)
    if rng.integers(2):
        return r[known] * t
    return gc.take(r, gc.astype(condition, "int64") + int(rng.integers(WIDTH - 1))) + t[::-1]


def _updated(rng: np.random.Generator, r: Node, t: Node, p: Node, condition: Node) -> Node:
    """r, changed at known positions, some of them twice, or at one that depends on values."""
    known = rng.integers(WIDTH, size=WIDTH)
    at = gc.astype(condition, "int64") + int(rng.integers(WIDTH - 1))
    changes = [
        lambda: r.at[known].add(t),
        lambda: r.at[at].set(p),
        lambda: r.at[at].multiply(p) + t.at[known].add(r),
        lambda: r.at[1:].set(t[:-1] * p),
    ]
    return changes[int(rng.integers(len(changes)))]()


def _swept(i: Node, carry: Carry, t: Node) -> Carry:
    """A step of a sweep that makes each element from the one before, in place."""
    s, w = carry
    return s * 0.9 + w[i - 1] * 0.1, w.at[i].set(gc.sin(w[i - 1] * s) + t[i] * w[i])
