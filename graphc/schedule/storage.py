"""Storage and order: where every stored node lies, which updates may be written in place, in which order groups run.

In: a lowered graph, its outputs and updates.  Out: a Schedule: steps in order, each a group with its stores.
All reads of a call see the values at entry: a parameter is written in place only by a group that comes after every
other reader and reads the parameter at the same element alone; otherwise the new value waits in a buffer and is
committed at the end.  No write to a parameter comes before a check that may fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.dims import Dim, product
from graphc.graph import Graph, Node
from graphc.op import Family
from graphc.schedule.fuse import Fusion, Group, member_index
from graphc.types import DType, Shape


@dataclass(frozen=True)
class Place:
    """Memory: element of a section of the frame (input, output, parameter, constant or buffer)."""

    kind: str
    number: int


@dataclass
class Step:
    """A group to run, and where its results go."""

    group: Group
    stores: list[tuple[Node, Place]] = field(default_factory=list)


@dataclass
class Schedule:
    steps: list[Step]
    place: dict[Node, Place]  # where a stored node is read from
    buffers: list[tuple[DType, Shape]]
    constants: list[Node]

    def buffer_bytes(self, number: int) -> Dim:
        dtype, shape = self.buffers[number]
        return product(shape) * dtype.size


def schedule(
    graph: Graph,
    outputs: Sequence[Node],
    updates: Sequence[tuple[Node, Node]],
    parameters: Sequence[Node],
) -> Schedule:
    """Fuse the graph (all of whose roots are `outputs` and the new values in `updates`), place and order its groups."""
    roots = [*outputs, *(value for _, value in updates)]
    fusion = Fusion(graph, roots)
    return _Placing(graph, fusion, outputs, updates, parameters).schedule


class _Placing:
    def __init__(
        self,
        graph: Graph,
        fusion: Fusion,
        outputs: Sequence[Node],
        updates: Sequence[tuple[Node, Node]],
        parameters: Sequence[Node],
    ) -> None:
        self.graph, self.fusion = graph, fusion
        self.groups = list(fusion.groups)
        self.place: dict[Node, Place] = {}
        self.stores: dict[Group, list[tuple[Node, Place]]] = {g: [] for g in self.groups}
        self.buffers: list[tuple[DType, Shape]] = []
        in_memory = fusion.must_store  # a single value is printed where it is read, unless a kernel takes its address
        self.constants = [n for n in graph.leaves("constant") if n.ndim or n in in_memory]
        self.commits: list[Group] = []
        self.copies: set[Group] = set()
        self.wanted = set(Graph(tuple(outputs)).nodes)
        self._place_leaves(parameters)
        stored = self._stored_nodes()
        self._place_outputs(outputs)
        for parameter, value in updates:
            self._place_update(parameter, value)
        for node in stored:
            if node not in self.place:
                self._store(node, self._new_buffer(node))
        order = self._order()
        self._reuse(order)
        self.schedule = Schedule([Step(g, self.stores[g]) for g in order], self.place, self.buffers, self.constants)

    def _place_leaves(self, parameters: Sequence[Node]) -> None:
        for kind, nodes in (("input", self.graph.inputs), ("parameter", parameters), ("constant", self.constants)):
            self.place |= {n: Place(kind, k) for k, n in enumerate(nodes)}

    def _stored_nodes(self) -> list[Node]:
        """Members that are read outside their group, or that must lie in memory."""
        found = {n: None for n in self.graph.nodes if n in self.fusion.must_store and n in self.fusion.group_of}
        for group in self.groups:
            for node in group.reads:
                if node in self.fusion.group_of:
                    found[node] = None
        for node, group in self.fusion.group_of.items():
            if group.kind != "nest":
                found[node] = None
        return list(found)

    def _new_buffer(self, node: Node) -> Place:
        self.buffers.append((node.dtype, node.shape))
        return Place("buffer", len(self.buffers) - 1)

    def _store(self, node: Node, place: Place) -> None:
        """Have the node's group write it to `place`; the first place is where others read it."""
        self.place.setdefault(node, place)
        self.stores[self.fusion.group_of[node]].append((node, place))

    def _copy(self, node: Node, place: Place, needs: Sequence[Group]) -> Group:
        """A group that copies a stored node."""
        group = Group("nest", node.shape, [node], needs=set(needs), reads={node: None})
        self.groups.append(group)
        self.copies.add(group)
        self.stores[group] = [(node, place)]
        return group

    def _place_outputs(self, outputs: Sequence[Node]) -> None:
        for k, node in enumerate(outputs):
            if node in self.fusion.group_of:
                self._store(node, Place("output", k))
            else:
                self._copy(node, Place("output", k), ())

    def _place_update(self, parameter: Node, value: Node) -> None:
        target = self.place[parameter]
        group = self.fusion.group_of.get(value)
        if group is not None and self._may_write(group, parameter, value):
            group.needs |= self._before_write(group, parameter)
            self._store(value, target)
            return
        if group is None:
            waiting = self._new_buffer(value)
            before = [self._copy(value, waiting, ())]
            self._commit(value, waiting, target, before)
        else:
            if value not in self.place or self.place[value].kind != "buffer":
                self._store(value, self._new_buffer(value))
            waiting = next(p for n, p in self.stores[group] if n is value and p.kind == "buffer")
            self._commit(value, waiting, target, [group])

    def _commit(self, value: Node, waiting: Place, target: Place, needs: Sequence[Group]) -> None:
        group = Group("commit", value.shape, [value], needs=set(needs), reads={value: None})
        self.stores[group] = [(value, waiting), (value, target)]
        self.commits.append(group)

    def _before_write(self, group: Group, parameter: Node) -> set[Group]:
        """The groups that must run before `group` may write the parameter: its readers, and all that may fail."""
        return {g for g in self.groups if g is not group and (parameter in g.reads or self._may_fail(g))}

    def _may_write(self, group: Group, parameter: Node, value: Node) -> bool:
        if group.kind != "nest" or value.shape != group.domain:
            return False
        if not group.domain and any(m in self.wanted for m in group.members):
            return False  # a copy of one value, for phases that a call without updates can leave out
        if value.op.family not in (Family.ELEMENTWISE, Family.ITEM) or group.reduces or self._may_fail(group):
            return False
        for member in group.members:
            for read in self.fusion.sources(member):
                if read.node is parameter and (read.guarded or read.index != member_index(group, parameter)):
                    return False
        return not any(g.reaches(group) for g in self._before_write(group, parameter))

    def _may_fail(self, group: Group) -> bool:
        """Whether the group checks positions that it is given."""
        return group.kind == "scatter" or any(self._reads_positions(m) for m in group.members)

    def _reads_positions(self, member: Node) -> bool:
        stack, seen = [member], {member}
        while stack:
            node = stack.pop()
            if node.op.family is Family.GATHER:
                return True
            for operand in node.operands:
                if operand not in seen and operand not in self.fusion.group_of:
                    seen.add(operand)
                    stack.append(operand)
        return False

    def _reuse(self, order: Sequence[Group]) -> None:
        """Have a group write over a buffer that it is the last to read, element by element."""
        last = {n: k for k, g in enumerate(order) for n in g.reads}
        for k, group in enumerate(order):
            if not self._is_single_sweep(group):
                continue
            dying = [n for n in group.reads if last[n] == k and self._is_swept(group, n)]
            for node, place in list(self.stores[group]):
                if place.kind != "buffer" or self.place[node] != place or node.shape != group.domain:
                    continue
                old = next((n for n in dying if n.dtype.size == node.dtype.size), None)
                if old is not None and node.op.family is not Family.REDUCTION:
                    dying = [n for n in dying if n is not old]
                    self._replace(node, place, self.place[old])

    def _is_single_sweep(self, group: Group) -> bool:
        """Whether each element is read and written once, at the same time."""
        return group.kind == "nest" and group not in self.copies and not group.reduces

    def _is_swept(self, group: Group, node: Node) -> bool:
        """Whether the group reads a buffer of its domain's shape at the element that it computes, and nowhere else."""
        place = self.place.get(node)
        if place is None or place.kind != "buffer" or node.shape != group.domain or node.op.family is Family.MOVEMENT:
            return False
        if sum(p == place for stores in self.stores.values() for _, p in stores) != 1:
            return False
        reads = [r for m in group.members for r in self.fusion.sources(m) if r.node is node]
        return all(not r.guarded and r.index == member_index(group, node) for r in reads)

    def _replace(self, node: Node, place: Place, other: Place) -> None:
        """Move a stored node; the group that commits it looks for it there too."""
        self.place[node] = other
        for group, stores in self.stores.items():
            self.stores[group] = [(n, other if n is node and p == place else p) for n, p in stores]

    def _order(self) -> list[Group]:
        """Groups after what they need; those that write parameters as late as may be, so that they stand together."""
        writing = {g for g, stores in self.stores.items() if any(p.kind == "parameter" for _, p in stores)}
        waiting = sorted(self.groups, key=lambda g: g in writing)
        order: list[Group] = []
        done: set[Group] = set()
        while waiting:
            ready = next(g for g in waiting if g.needs <= done)
            waiting.remove(ready)
            done.add(ready)
            order.append(ready)
        return order + self.commits
