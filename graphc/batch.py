"""Batching: what nodes give for every example of a batch at once, by one rule for each family of ops.

In: nodes, and which of those below them stand for one example of a batch.  Out: the same with a leading axis for the
batch.  What does not depend on an example keeps its axes, and an op repeats it only where it can't do without: a
carry that begins alike for all, the parts of a concatenation.

A choice whose number differs from example to example computes all branches and selects; a while loop goes on as long
as any example does, and those that are done stand still.  Examples that a branch or step is not for are idle there:
their positions are taken to be 0, so that none is out of range, and their while loops take no step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters
from typing import Any, NamedTuple

from graphc.declare import BUILDER
from graphc.dims import Dim
from graphc.errors import DeclarationError
from graphc.graph import Graph, Node, describe, make
from graphc.line import standing_at
from graphc.op import REGISTRY, Family
from graphc.ops.bodies import below, depending, rebuilt, results, slot
from graphc.ops.choice import branches, choose
from graphc.ops.loop_parts import POSITION, Loop
from graphc.ops.while_loop import While
from graphc.types import TensorType


class Value(NamedTuple):
    """A node, and whether its leading axis is that of the batch."""

    node: Node
    batched: bool = False


@dataclass(frozen=True)
class Batch:
    """A batch of `size` examples, of which those are at work where the bools `active` hold; all if it is None."""

    size: Dim
    active: Node | None = None

    def __call__(self, roots: Sequence[Node], known: Mapping[Node, Value]) -> list[Value]:
        """The values of the roots where these are the values of some nodes below them."""
        order = below(roots, known)
        variant = depending(order, known)
        found: dict[Node, Sequence[Value]] = {n: [v] for n, v in known.items()}
        for n in order:
            if n in known:
                continue
            if n not in variant:
                found[n] = [Value(r) for r in results(n)]
            elif n.op.family is Family.ITEM:
                found[n] = [found[n.operands[0]][n.attrs["index"]]]
            else:
                with standing_at(n.line):
                    found[n] = self._of(n, [found[o][0] for o in n.operands])
        return [found[n][0] for n in roots]

    def _of(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        """The results of a node on these operands."""
        family = node.op.family
        if not any(v.batched for v in values) and self._needs_no_guard(family):
            return [Value(r) for r in results(rebuilt(node, [v.node for v in values]))]
        if family not in _RULES or (family is Family.REGION and node.attrs.keys().isdisjoint(("adjoint", "residual"))):
            raise DeclarationError(f"vmap has no rule for {describe(node)}, an op of the family {family}")
        return _RULES[family](self, node, values)

    def _needs_no_guard(self, family: Family | None) -> bool:
        return self.active is None or family not in _GUARDED

    # what the rules share

    def full(self, value: Value) -> Node:
        """The node with the batch axis, repeated along it if it has none."""
        node = value.node
        return node if value.batched else _node(BUILDER.broadcast_to(node, (self.size, *node.shape)))

    def stand_in(self, old: Node, name: str) -> Node:
        """A slot for the values that the slot `old` has for all examples."""
        return slot(name, TensorType(old.dtype, (self.size, *old.shape)), old.line)

    def select(self, condition: Node, first: Value, second: Value) -> Value:
        """The first value for the examples for which the condition holds, the second for the others."""
        condition, a, b = _aligned([Value(condition, True), first, second])
        return Value(make(REGISTRY["where"], (condition, a, b)), True)

    def working(self, condition: Value) -> Value:
        """Where the condition holds for examples at work; for any of them, if it is the same for all."""
        if self.active is None:
            return condition
        others = self.active if condition.batched else BUILDER.any(self.active)
        return condition._replace(node=BUILDER.logical_and(condition.node, others))

    def moved_at_work(self, value: Value) -> Value:
        """The value, which idle examples do not move: their slopes, of values that nobody wants, may be infinite."""
        node, batched = value
        if not batched or not node.dtype.is_float or self.active is None:
            return value
        return self.select(self.active, value, Value(BUILDER.stop_gradient(node), True))

    def entering(self, body: Graph, givens: Sequence[Value]) -> dict[Node, Value]:
        """The values of a branch's inputs, which move it where an example takes it.

        Where more than single elements of values meet what all examples share (x @ w), idle examples have the values of
        the first one at work: an infinite value of theirs, times a cotangent of 0, would make that of w NaN.
        """
        assert self.active is not None
        shared = any(v.node.dtype.is_float and not v.batched for v in givens)
        meeting = shared and any(n.op.family not in _SINGLE for n in body.nodes)
        known = {}
        for old, value in zip(body.inputs, givens, strict=True):
            if not value.node.dtype.is_float:
                known[old] = value
            elif not value.batched:
                stopped = BUILDER.stop_gradient(value.node)
                known[old] = Value(BUILDER.where(BUILDER.any(self.active), value.node, stopped))
            elif meeting:
                known[old] = self._as_at_work(value)
            else:
                known[old] = self.moved_at_work(value)
        return known

    def _as_at_work(self, value: Value) -> Value:
        """The value, where idle examples have that of the first one at work."""
        assert self.active is not None
        return self.select(self.active, value, Value(BUILDER.stop_gradient(self._first_at_work(value.node))))

    def _first_at_work(self, node: Node) -> Node:
        """What the first example at work has; zeros if none is."""
        counts = BUILDER.cumulative_sum(self.active, axis=0)
        first = Value(BUILDER.logical_and(self.active, BUILDER.equal(counts, 1)), True)
        alone = self.select(first.node, Value(node, True), Value(BUILDER.constant(0, node.dtype)))
        return _node(BUILDER.sum(alone.node, axis=0))

    # the rules

    def elementwise(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        if node.op.scalar is not None and self.active is not None:  # a function of the user's may raise
            values = [self._as_at_work(v) if v.batched and v.node.dtype.kind != "b" else v for v in values]
        return _all_batched(make(node.op, _aligned(values), node.attrs))

    def along_axes(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        """Reductions, movement, and kernels along an axis: the attributes tell of axes, which are one further on."""
        operands = [self.full(v) for v in values]
        if node.op.name == "broadcast_to":  # its own new axes stand behind the batch
            operands = _aligned([Value(operands[0], True)], node.ndim)
        attrs = {k: _MOVED[k](v, self.size) if k in _MOVED else v for k, v in node.attrs.items()}
        return _all_batched(make(node.op, operands, attrs))

    def kernel(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        if "axis" in node.attrs:
            return self.along_axes(node, values)
        if "out_labels" not in node.attrs:
            return self._search(node, values)
        label = next(c for c in ascii_letters if not any(c in v for v in node.attrs.values() if isinstance(v, str)))
        sides = zip(("a_labels", "b_labels"), values, strict=True)
        attrs = {**node.attrs, **{k: label * v.batched + node.attrs[k] for k, v in sides}}
        attrs["out_labels"] = label + node.attrs["out_labels"]
        return _all_batched(make(node.op, [v.node for v in values], attrs))

    def _search(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        """One search in what all examples share; in rows of their own, one example after the other."""
        if not values[0].batched:
            return _all_batched(make(node.op, [v.node for v in values], node.attrs))
        arrays = [self.full(v) for v in values]
        elements = [slot("element", o.type) for o in node.operands]
        found = make(node.op, elements, node.attrs)
        return [Value(r, True) for r in Loop(_position(), (), (), (), elements, arrays, [found], self.size).declare()]

    def gather(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        return self._at_positions(node, values[0], [self._inside(p) for p in values[1:]])

    def scatter(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        positions = [self._inside(p) for p in values[2:]]
        if any(v.batched for v in (*values[:2], *positions)):
            values = [Value(self.full(v), True) for v in values[:2]]
        return self._at_positions(node, values[0], [values[1], *positions])

    def _inside(self, positions: Value) -> Value:
        """The positions; 0 for idle examples, and where all are idle."""
        if self.active is None:
            return positions
        zero = BUILDER.constant(0, positions.node.dtype)
        if positions.batched:
            return self.select(self.active, positions, Value(zero))
        return Value(BUILDER.where(BUILDER.any(self.active), positions.node, zero))

    def _at_positions(self, node: Node, source: Value, others: Sequence[Value]) -> Sequence[Value]:
        """The read or update, whose source has the batch for an axis of its own, or the same elements for all."""
        if not any(v.batched for v in (source, *others)):
            return [Value(rebuilt(node, [v.node for v in (source, *others)]))]
        operands = [v.node if v.batched else _node(BUILDER.expand_dims(v.node, 0)) for v in others]
        along = tuple(k + (k >= 0) for k in node.attrs["along"])
        attrs = {**node.attrs, "along": (0, *along) if source.batched else along}
        return _all_batched(make(node.op, [source.node, *operands], attrs))

    def loop(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        loop = Loop.of(node)
        count = len(loop.carries)
        end = count + len(loop.arrays)
        inits, arrays = values[:count], [_swapped(v) for v in values[count:end]]
        elements, stacks = self._slots(loop.elements, [v.batched for v in arrays])
        inner, given = self._given(list(loop.given), values[end:])
        carried = [v.batched for v in inits]
        while True:
            carries, states = self._slots(loop.carries, carried)
            known = {**dict(zip(loop.carries, states, strict=True)), **dict(zip(loop.elements, stacks, strict=True))}
            found = inner([*loop.new, *loop.ys], {**known, **_within(loop.given, given)})
            now = [was or v.batched for was, v in zip(carried, found[:count], strict=True)]
            if now == carried:
                break
            carried = now
        whole = replace(
            loop,
            carries=carries,
            inits=self._as_carried(inits, carried),
            new=self._as_carried(found[:count], carried),
            elements=elements,
            arrays=[v.node for v in arrays],
            ys=[v.node for v in found[count:]],
            given=given,
        )
        made = whole.declare(line=node.line)
        flags = [*carried, *(v.batched for v in found[count:])]
        every = [Value(r, f) for r, f in zip(made, flags, strict=True)]
        return [*every[:count], *map(_swapped, every[count:])]

    def _slots(self, old: Sequence[Node], batched: Sequence[bool]) -> tuple[list[Node], list[Value]]:
        """Slots in the place of old ones, and their values; those of what is not batched are the old ones."""
        new = [self.stand_in(n, n.attrs["name"]) if f else n for n, f in zip(old, batched, strict=True)]
        return new, [Value(n, f) for n, f in zip(new, batched, strict=True)]

    def _given(self, slots: Sequence[Node], values: Sequence[Value]) -> tuple[Batch, dict[Node, Node]]:
        """The batch inside of a body, and what stands there for these values, and for who is at work -> those nodes."""
        new, _ = self._slots(slots, [v.batched for v in values])
        given = dict(zip(new, (v.node for v in values), strict=True))
        if self.active is None:
            return self, given
        active = slot("active", self.active.type, self.active.line)
        return replace(self, active=active), {**given, active: self.active}

    def _as_carried(self, values: Sequence[Value], carried: Sequence[bool]) -> list[Node]:
        return [self.full(v) if f else v.node for v, f in zip(values, carried, strict=True)]

    def while_loop(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        loop = While.of(node)
        count = len(loop.carries)
        inits = values[:count]
        inner, given = self._given(list(loop.given), values[count:])
        carried = [v.batched for v in inits]
        while True:
            carries, states = self._slots(loop.carries, carried)
            known = {**dict(zip(loop.carries, states, strict=True)), **_within(loop.given, given)}
            holds, apart = inner.working(*inner([loop.condition], known))
            stepping = replace(inner, active=holds) if apart else inner
            found = stepping(loop.new, {n: stepping.moved_at_work(v) if apart else v for n, v in known.items()})
            now = [apart or was or v.batched for was, v in zip(carried, found, strict=True)]
            if now == carried:
                break
            carried = now
        if apart:
            found = [self.select(holds, v, s) for v, s in zip(found, states, strict=True)]
            holds = _node(BUILDER.any(holds))
        whole = replace(
            loop,
            carries=carries,
            inits=self._as_carried(inits, carried),
            condition=holds,
            new=self._as_carried(found, carried),
            given=given,
        )
        return [Value(r, f) for r, f in zip(whole.declare(line=node.line), carried, strict=True)]

    def choice(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        which, givens = values[0], values[1:]
        bodies = branches(node)
        if which.batched:
            return self._select_branch(which.node, bodies, givens)
        found, given = [], dict[Node, Node]()
        for body in bodies:
            inner, own = self._given(body.inputs, givens)
            given |= own
            found.append(inner(body.outputs, _within(body.inputs, own)))
        flags = [any(v.batched for v in column) for column in zip(*found, strict=True)]
        outcomes = [self._as_carried(outcome, flags) for outcome in found]
        return [Value(r, f) for r, f in zip(choose(which.node, outcomes, given, line=node.line), flags, strict=True)]

    def root(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        """A root for each example: all of its bodies give, and take before the arguments, one for each."""
        inner, given = self._given(node.attrs["body"].inputs, values)
        known = list(_within(node.attrs["body"].inputs, given).values())
        attrs = {}
        for name, body in node.attrs.items():
            before = len(body.inputs) - len(known)
            slots, states = inner._slots(body.inputs[:before], [True] * before)
            found = inner(body.outputs, dict(zip(body.inputs, [*states, *known], strict=True)))
            attrs[name] = Graph(tuple(map(inner.full, found)), (*slots, *given))
        return _all_batched(make(node.op, tuple(given.values()), attrs))

    def own_adjoint(self, node: Node, values: Sequence[Value]) -> Sequence[Value]:
        """A function with an adjoint of its own: of what all examples share the cotangents are added."""
        body, adjoint = node.attrs["body"], node.attrs["adjoint"]
        inner, given = self._given(body.inputs, values)
        known = _within(body.inputs, given)
        outputs = [inner.full(v) for v in inner(body.outputs, known)]
        count = len(body.inputs)
        rest, stand = inner._slots(adjoint.inputs[count:], [True] * (len(adjoint.inputs) - count))
        seen = dict(zip(adjoint.inputs, [*known.values(), *stand], strict=True))
        found = inner(adjoint.outputs, seen)
        moved = node.attrs["moved"]
        totals = [inner.full(v) for v in found]
        totals = [t if values[k].batched else BUILDER.sum(t, axis=0) for k, t in zip(moved, totals, strict=True)]
        attrs = {"body": Graph(tuple(outputs), tuple(given)), "adjoint": Graph(tuple(totals), (*given, *rest))}
        return _all_batched(make(node.op, tuple(given.values()), {**attrs, "moved": moved}))

    def _select_branch(self, which: Node, bodies: Sequence[Graph], givens: Sequence[Value]) -> Sequence[Value]:
        """All branches, each for the examples that it is for; a number out of range takes the nearest branch."""
        last = len(bodies) - 1
        nearest = BUILDER.clip(which, 0, last)
        taken = [BUILDER.equal(nearest, k) for k in range(last + 1)]
        outcomes = []
        for body, mine in zip(bodies, taken, strict=True):
            inner = replace(self, active=self.working(Value(mine, True)).node)
            outcomes.append(inner(body.outputs, inner.entering(body, givens)))
        found = outcomes[-1]
        for mine, outcome in zip(taken[-2::-1], outcomes[-2::-1], strict=True):
            found = [self.select(mine, a, b) for a, b in zip(outcome, found, strict=True)]
        return found


_RULES: Mapping[Family | None, Callable[[Batch, Node, Sequence[Value]], Sequence[Value]]] = {
    Family.ELEMENTWISE: Batch.elementwise,
    Family.REDUCTION: Batch.along_axes,
    Family.MOVEMENT: Batch.along_axes,
    Family.KERNEL: Batch.kernel,
    Family.GATHER: Batch.gather,
    Family.SCATTER: Batch.scatter,
    Family.LOOP: Batch.loop,
    Family.WHILE: Batch.while_loop,
    Family.CHOICE: Batch.choice,
    Family.REGION: lambda b, n, values: (b.root if "residual" in n.attrs else b.own_adjoint)(n, values),
}
# what takes each element by itself
_SINGLE = (Family.LEAF, Family.INDEX, Family.ELEMENTWISE)
# what idle examples must be kept from, and what may hold such
_GUARDED = (Family.GATHER, Family.SCATTER, Family.LOOP, Family.WHILE, Family.CHOICE, Family.REGION)


def _further(axes: Any, size: Dim) -> Any:
    return tuple(k + 1 for k in axes) if isinstance(axes, tuple) else axes + 1


# all attributes that tell of axes, in every op with a rule for these, and what they are behind one more of this size
_MOVED: Mapping[str, Callable[[Any, Dim], Any]] = {
    "axis": _further,
    "axes": lambda axes, size: (0, *_further(axes, size)),
    "shape": lambda shape, size: (size, *shape),
    "start": lambda start, size: (0, *start),
    "step": lambda step, size: (1, *step),
}


def _position() -> Node:
    return slot("position", POSITION)


def _node(value: Any) -> Node:
    found: Node = value
    return found


def _all_batched(node: Node) -> Sequence[Value]:
    return [Value(r, True) for r in results(node)]


def _aligned(values: Sequence[Value], rank: int = 0) -> list[Node]:
    """Nodes that broadcast: each batch axis before the axes of an example, of which there are as many for all."""
    rank = max(rank, *(v.node.ndim - v.batched for v in values))
    out = []
    for node, batched in values:
        missing = rank - node.ndim + 1 if batched else 0
        shape = (*node.shape[:1], *(1,) * missing, *node.shape[1:])
        out.append(_node(BUILDER.reshape(node, shape)) if missing else node)
    return out


def _swapped(value: Value) -> Value:
    """The value with the axis of the batch and the one that a loop goes along in each other's place."""
    node, batched = value
    return Value(BUILDER.permute_dims(node, (1, 0, *range(2, node.ndim))), True) if batched else value


def _within(slots: Sequence[Node] | Mapping[Node, Node], given: Mapping[Node, Node]) -> dict[Node, Value]:
    """The values of old slots: those in the same place, with the batch axis where they have one more."""
    pairs = zip(slots, given, strict=False)
    return {old: Value(new, new is not old) for old, new in pairs}
