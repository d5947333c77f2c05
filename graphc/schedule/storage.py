"""Storage: where every stored node lies, which updates are written in place, which memory is written over.

In: a lowered graph, its outputs and updates.  Out: a Schedule: tasks in order.
All reads of a call see the values at entry: a parameter is written in place only by a task that comes after every
other reader and reads the parameter at the same element alone; otherwise the new value waits and is committed at the
end.  No write to a parameter comes before a check that may fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from graphc.dims import Dim, product
from graphc.graph import Graph, Node
from graphc.op import HOLDERS, Family
from graphc.ops.save import bytes_of, most_at_once
from graphc.schedule.access import job_of, keeps_places, view
from graphc.schedule.fuse import Fusion, fused
from graphc.schedule.group import Group, begins_with
from graphc.schedule.hold import Holding, Memory
from graphc.schedule.order import Entry, nearest_first, ordered
from graphc.schedule.split import folds_itself, reduced
from graphc.schedule.task import Copy, Kernel, Nest, Place, Placed, Scatter, Task, View, before, needs, reads
from graphc.schedule.verify import verify_schedule
from graphc.types import DType, Shape

_CACHED = 1 << 18  # bytes that matter less than what a product leaves in cache


@dataclass(frozen=True, eq=False)
class Schedule:
    """Tasks in order, and the memory that they work on."""

    tasks: tuple[Task, ...]
    place: dict[Node, Place]  # where a stored node is read from
    memory: Memory
    updates: tuple[tuple[Node, Node], ...]  # parameters with their new values

    @property
    def buffers(self) -> list[tuple[DType, Shape]]:
        return self.memory.buffers

    @property
    def constants(self) -> list[Node]:
        return list(self.memory.constants)

    @cached_property
    def read(self) -> frozenset[Place]:
        """The places that some task reads."""
        return frozenset().union(*map(reads, self.tasks))

    @cached_property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """For each task the earlier ones that it conflicts with."""
        return before(self.tasks)

    @cached_property
    def needs(self) -> tuple[tuple[int, ...], ...]:
        """For each task the earlier ones whose results it reads."""
        return needs(self.tasks)

    def buffer_bytes(self, number: int) -> Dim:
        """The size of a buffer."""
        dtype, shape = self.memory.buffers[number]
        return product(shape) * dtype.size


def schedule(
    graph: Graph,
    outputs: Sequence[Node],
    updates: Sequence[tuple[Node, Node]],
    parameters: Sequence[Node],
    keeps: bool = True,
) -> Schedule:
    """Fuse the graph (all of whose roots are `outputs` and the new values in `updates`), place and order its groups.

    `keeps`: a check that fails leaves all parameters as they were.  The carries of a body need not be kept.
    """
    outputs = [_same_memory(node) for node in outputs]
    graph = nearest_first(Graph((*outputs, *(value for _, value in updates)), graph.inputs))
    roots = [*outputs, *(value for _, value in updates)]
    changed = [(p, v) for p, v in updates if p is not v]
    placing = _Placing(graph, fused(graph, roots, changed, keeps), outputs, changed, parameters, keeps)
    found = Schedule(tuple(placing.tasks()), placing.place, placing.memory, tuple(updates))
    verify_schedule(found, graph.inputs, parameters, outputs, updates, keeps)
    return found


def _same_memory(node: Node) -> Node:
    """What lies in memory as the node does, where that is no leaf: what it is a reshape of."""
    operand = node.operands[0] if keeps_places(node) else None
    return node if operand is None or not operand.operands else _same_memory(operand)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """A leaf that an output is, or the new value of a parameter."""

    node: Node
    target: Place
    update: int | None = None


class _Placing:
    def __init__(
        self,
        graph: Graph,
        fusion: Fusion,
        outputs: Sequence[Node],
        updates: Sequence[tuple[Node, Node]],
        parameters: Sequence[Node],
        keeps: bool,
    ) -> None:
        self.graph, self.fusion, self.updates, self.keeps = graph, fusion, updates, keeps
        self.group_of = fusion.group_of
        self.place: dict[Node, Place] = {}
        self.stores: dict[Group, list[tuple[Node, Place]]] = {g: [] for g in fusion.groups}
        self.copies: list[_Wanted] = []  # of leaves
        self.held: dict[int, Place] = {}  # where the new value of an update that is a leaf waits
        self.commits: list[tuple[int, Node, Place]] = []
        in_memory = fusion.must_store  # a single value is printed where it is read, unless a kernel takes its address
        self.memory = Memory()
        self.place |= {n: self.memory.constant(n) for n in graph.leaves("constant") if n.ndim or n in in_memory}
        for kind, nodes in (("input", graph.inputs), ("parameter", parameters)):
            self.place |= {n: Place(kind, k) for k, n in enumerate(nodes)}
        self.wanted = set(Graph(tuple(outputs)).nodes)
        self._place_outputs(outputs)
        for k, (parameter, value) in enumerate(updates):
            if value not in self.group_of:
                self.copies.append(_Wanted(value, self.place[parameter], k))
        self.order, self.waiting = self._ordered()
        for k, (parameter, value) in enumerate(updates):
            self._place_update(k, self.place[parameter], value)
        for node in self._stored_nodes():
            if node not in self.place:
                self._store(node, self._new_buffer(node))
        self._write_over()

    # the order

    def _ordered(self) -> tuple[list[Group | _Wanted], set[int]]:
        """Groups and copies of leaves in order, and the updates that wait for the end."""
        groups, copies = self.fusion.groups, self.copies
        new = {p: k for k, (p, _) in enumerate(self.updates)}
        entries = [self._entry(g, new) for g in groups]
        entries += [Entry((), frozenset([c.node]), False, () if c.update is None else (c.update,)) for c in copies]
        order, waiting = ordered(entries, [p for p, _ in self.updates], self._most_live)
        waiting |= {k for k, (_, v) in enumerate(self.updates) if v in self.group_of} - {
            u for e in entries for u in e.updates
        }
        every: list[Group | _Wanted] = [*groups, *copies]
        return [every[k] for k in order], waiting

    def _most_live(self, order: Sequence[int]) -> int:
        """The most bytes of buffers at once if groups have this order, in steps of what does not matter."""
        at = {group: k for k, group in enumerate(self.fusion.groups[n] for n in order if n < len(self.fusion.groups))}
        last: dict[Node, int] = {}
        for group, k in at.items():
            last |= {n: k for n in group.reads if n in self.group_of and n not in self.place}
        return most_at_once((at[self.group_of[n]], k, bytes_of(n)) for n, k in last.items()) // _CACHED

    def _entry(self, group: Group, new: dict[Node, int]) -> Entry:
        updates = () if self._stays_apart(group) else tuple(new[p] for p in group.updated if group.may_write(p))
        may_fail = group.may_fail and self.keeps
        products = (g.index for g in group.needs if group.is_nest and g.makes_product and g.members[0] in group.reads)
        needs = tuple(g.index for g in group.needs)
        return Entry(needs, frozenset(group.reads), may_fail, updates, tuple(products))

    def _stays_apart(self, group: Group) -> bool:
        """Whether a new value is one number beside outputs: a call without updates leaves its commit out."""
        return not group.domain and any(m in self.wanted for m in group.members)

    # places

    def _place_outputs(self, outputs: Sequence[Node]) -> None:
        for k, node in enumerate(outputs):
            if node in self.group_of:
                self._store(node, Place("output", k))
            else:
                self.copies.append(_Wanted(node, Place("output", k)))

    def _place_update(self, number: int, target: Place, value: Node) -> None:
        if number not in self.waiting:
            for made in self.fusion.chains[self.updates[number][0]] if value in self.group_of else ():
                self._store(made, target)
            return
        if value not in self.group_of:
            self.held[number] = self._new_buffer(value)
        elif value not in self.place:
            self._store(value, self._new_buffer(value))
        self.commits.append((number, value, target))

    def _stored_nodes(self) -> list[Node]:
        """Members that are read outside their group, or that must lie in memory."""
        found = {n: None for n in self.graph.nodes if n in self.fusion.must_store and n in self.group_of}
        for group in self.fusion.groups:
            found |= {n: None for n in group.reads if n in self.group_of}
        found |= {n: None for n, g in self.group_of.items() if not g.is_nest and len(n.types) == 1}
        return list(found)

    def _new_buffer(self, node: Node) -> Place:
        return self.memory.buffer(node.dtype, node.shape)

    def _store(self, node: Node, place: Place) -> None:
        """Have the node's group write it to `place`; the first place is where others read it."""
        self.place.setdefault(node, place)
        self.stores[self.group_of[node]].append((node, place))

    # memory that is written over

    def _write_over(self) -> None:
        """Have nests that sweep once and scatters write over a buffer of which they are the last readers.

        They read it element by element, a scatter before its first value, a loop what its carries begin as.
        """
        last: dict[Node, int] = {n: len(self.order) for _, n, _ in self.commits}
        for k, entry in enumerate(self.order):
            for node in entry.reads if isinstance(entry, Group) else (entry.node,):
                last.setdefault(node, k)
                last[node] = max(last[node], k)
        for k, entry in enumerate(self.order):
            if isinstance(entry, Group) and (_sweeps_once(entry) or _is_update(entry)):
                dying = [n for n in entry.reads if last[n] == k and self._is_swept(entry, n)]
                self._write_over_dying(entry, dying)
                if _is_update(entry) and any(n is entry.members[0].operands[0] for n in dying):
                    self._begin_in_output(entry.members[0])
            elif isinstance(entry, Group) and entry.members[0].op.family in HOLDERS:
                self._carry_over(entry, lambda n, k=k: last[n] == k)  # type: ignore[misc]

    def _carry_over(self, group: Group, dies: Callable[[Node], bool]) -> None:
        """Have carries change the buffers that they begin as."""
        for k, (node, place) in enumerate(self.stores[group]):
            base = begins_with(node)
            if base is None or not dies(base) or self.place[base].kind != "buffer" or place != self.place[node]:
                continue
            if place.kind == "buffer":
                self.stores[group][k] = node, self.place[base]
                self.place[node] = self.place[base]
            else:
                self._begin_in_output(node)

    def _is_swept(self, group: Group, node: Node) -> bool:
        """Whether the group reads a buffer of its domain's shape at the element that it computes, and nowhere else.

        A reduction folds what it reads as it lies later than that.
        """
        place = self.place.get(node)
        if place is None or place.kind != "buffer" or node.shape != group.domain:
            return False
        if node.op.family is Family.MOVEMENT or any(folds_itself(r, node) for r in group.reductions):
            return False
        return group.sweeps(node)

    def _write_over_dying(self, group: Group, dying: list[Node]) -> None:
        by_size: dict[int, list[Node]] = {}
        for old in reversed(dying):
            by_size.setdefault(old.dtype.size, []).append(old)
        for n, (node, place) in enumerate(self.stores[group]):
            if place.kind != "buffer" or node.shape != group.domain:
                continue
            if by_size.get(node.dtype.size):
                new = self.place[by_size[node.dtype.size].pop()]
                self.stores[group][n] = node, new
                self.place[node] = new

    def _begin_in_output(self, update: Node) -> None:
        """Have what an update begins with made in the output that the result goes to, which is then not copied."""
        base = begins_with(update)
        assert base is not None
        old, new = self.place[base], self.place[update]
        held = [n for n, place in self.place.items() if place == old]
        if new.kind != "output" or any(n.dtype != update.dtype for n in held):
            return
        self.place |= dict.fromkeys(held, new)
        for group in {self.group_of[n]: None for n in held}:
            self.stores[group] = [(n, new if place == old else place) for n, place in self.stores[group]]

    # tasks

    def tasks(self) -> list[Task]:
        """The groups as tasks, the copies, and at the end the commits."""
        found: list[Task] = []
        for entry in self.order:
            if isinstance(entry, Group):
                found += self._tasks_of(entry)
            else:
                target = self.held.get(entry.update, entry.target) if entry.update is not None else entry.target
                found.append(self._copy(entry.node, self.place[entry.node], target))
        commits = ((value, self.held.get(k, self.place[value]), target) for k, value, target in self.commits)
        return found + [self._copy(*commit) for commit in commits]

    def _tasks_of(self, group: Group) -> list[Task]:
        loads = tuple((n, self.place[n]) for n in group.reads if n in self.place)
        stores = tuple(self.stores[group])
        if group.is_nest:
            return [Nest(group.domain, group.split, tuple(group.members), loads, stores)]
        node, made = group.members[0], {n: self.place[n] for n, _ in stores}
        begun = ((n, p, begins_with(n)) for n, p in stores)  # made where the array lies, if that is among its places
        made |= {n: p for n, p, base in begun if base is not None and p == self.place.get(base)}
        more = (self._copy(n, made[n], p) for n, p in stores if p != made[n])
        return [self._single(node, loads, tuple(made.items())), *more]

    def _single(self, node: Node, loads: Placed, made: Placed) -> Task:
        if node.op.family in HOLDERS:
            return Holding(self.memory, self.place, partial(schedule, keeps=False)).task(node, loads, made)
        if node.op.family is Family.SCATTER:
            return Scatter(node, loads, made)
        found = zip(node.operands, map(view, node.operands), strict=True)
        views = (View(self.place[v.base], o.dtype, o.shape, v.steps, v.offset) for o, v in found)
        return Kernel(node, loads, made, job_of(node), tuple(views))

    def _copy(self, node: Node, source: Place, target: Place) -> Copy:
        return Copy(source, target, node.dtype, node.shape)


def _is_update(group: Group) -> bool:
    """Whether it is a scatter, which reads an array element by element before its first value."""
    return group.members[0].op.family is Family.SCATTER


def _sweeps_once(group: Group) -> bool:
    """Whether it is a nest in which every element is read before anything is stored in its place."""
    if not group.reductions:
        return group.is_nest
    return not group.split.deep and not any(reduced(r) == group.split.inner for r in group.reductions)
