"""Fusion: which nodes are computed together in one loop nest.

In: a lowered graph, the nodes that must be stored, and the updates.  Out: groups in order of creation.  A kernel and a
scatter are groups of their own; every other group loops over one domain, whose axes its reductions split.
Nodes that are cheap and read at most one stored array, beside a value for each row or column, are computed again
wherever they are read.
Every question about a node or a group is answered in bounded time, so that fusion takes as long as the graph is large.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache

from graphc.graph import Graph, Node, describe
from graphc.op import HOLDERS, Family
from graphc.schedule.access import (
    Index,
    Read,
    loop_axes,
    operand_indices,
    reads_through,
    through_movement,
    view,
)
from graphc.schedule.again import Again
from graphc.schedule.group import SINGLE, Group, begins_with, is_result, may_fail, reads_of
from graphc.schedule.ranks import Ranks
from graphc.schedule.split import (
    Split,
    domain_of,
    in_loops_of,
    is_outer,
    is_row_shape,
    member_index,
    split_for,
)
from graphc.schedule.values import without_values
from graphc.types import Shape

_FOLDS = 8  # reductions of a nest, each of which takes a block of 8 kB on the stack
_MEMBERS = 1_024  # of a group: past it the time of compilers grows faster than the text
_BESIDE = 4  # groups that read the same, with which it is tried to make one
_LATEST = 32  # groups that are looked at for one that reads the same
_IN_PLACE = (Family.ELEMENTWISE, Family.ITEM, Family.MOVEMENT)  # computed element by element in a nest


def fused(graph: Graph, roots: Collection[Node], updates: Collection[tuple[Node, Node]], keeps: bool = True) -> Fusion:
    """The fusion of a graph: what stands better apart is known after a first one.

    `keeps`: a check that fails leaves all parameters as they were.
    """
    found = Fusion(graph, roots, updates, keeps)
    apart = without_values(found.groups, found.sources)
    return Fusion(graph, roots, updates, keeps, apart) if apart else found


class Fusion:
    """The fusion of one graph; `groups` in order of creation, `group_of` for their members.

    No value of a row joins the group of a reduction in `apart`.
    """

    def __init__(
        self,
        graph: Graph,
        roots: Collection[Node],
        updates: Collection[tuple[Node, Node]] = (),
        keeps: bool = True,
        apart: Iterable[Node] = (),
    ) -> None:
        self.graph = graph
        self._reads_of = cache(lambda node: tuple(reads_of(node)))
        self._keeps = keeps
        self._apart = set(apart)
        self.groups: list[Group] = []
        self.group_of: dict[Node, Group] = {}
        self.must_store = set(roots) | self._bases()
        self._updated: dict[Node, dict[Node, None]] = {}
        self.chains: dict[Node, list[Node]] = {}
        wanted = set(roots)
        for parameter, value in updates:
            self.chains[parameter] = self._chain(parameter, value, wanted)
            self._updated.setdefault(self.chains[parameter][0], {})[parameter] = None
        self._ranks = Ranks()
        self._again = Again(graph, self._reads_of, self.group_of)
        self._readers: dict[Node, list[Group]] = {}  # of each array, in the order in which they began to
        self._awaited: dict[Node, dict[Group, None]] = {}
        self._awaits = any(node.op.awaits for node in graph.nodes)
        for node in graph.nodes:
            if self._awaits:
                self._awaited[node] = self._awaited_by(node)
            if self._is_computed(node):
                self._place(node)
        self._number()

    def _number(self) -> None:
        """Leave out the groups that others hold, and number those that are left."""
        self.groups = list(filter(self._ranks.stands, self.groups))
        for number, group in enumerate(self.groups):
            group.index = number
            group.needs = self._ranks.needs(group)

    def _chain(self, parameter: Node, value: Node, roots: Collection[Node]) -> list[Node]:
        """The updates that lead from a parameter to its new value, each read by the next alone; else the value."""
        found = [value]
        while (base := begins_with(found[-1])) is not None:
            if base is parameter:
                return found[::-1]
            if base in roots or len(self.graph.users[base]) > 1:
                break
            found.append(base)
        return [value]

    def _bases(self) -> set[Node]:
        """What must lie in memory: what kernels and gathers read, and what an update reads of the array it changes."""
        found = set()
        for node in self.graph.nodes:
            if node.op.family in HOLDERS:
                found |= set(node.operands)
            elif node.op.family is Family.KERNEL:
                found |= {view(o).base for o in node.operands}
            elif node.op.family is Family.SCATTER:
                found |= {o for o in node.operands[1:] if reads_through(o, node.operands[0])}
            elif node.op.family is Family.GATHER:
                base = view(node.operands[0]).base
                found |= {base} if base.op.family is not Family.INDEX else set()
            elif node.op.awaits:
                found.add(view(node.operands[0]).base)
        return found

    def _is_computed(self, node: Node) -> bool:
        """Whether the node gets a place in a group, rather than being evaluated where it is read."""
        family = node.op.family
        if family is Family.LEAF:
            return False
        if node in self.must_store or family in (Family.REDUCTION, *SINGLE):
            return True
        if len(node.types) > 1:
            return False
        if is_result(node):
            return True
        if family not in (Family.ELEMENTWISE, Family.GATHER, Family.ITEM):
            return False
        return not self._again.is_cheap(node) and not self._again.is_shifted(node)

    def sources(self, node: Node) -> list[Read]:
        """The reads of stored or grouped nodes, with whatever is evaluated in between looked through."""
        found: list[Read] = []
        stack = list(self._reads_of(node))
        seen = set()
        while stack:
            read = stack.pop()
            if read in seen:
                continue
            seen.add(read)
            n = read.node
            if n in self.group_of or n.op.family is Family.LEAF:
                found.append(read)
            elif n.op.family in (Family.ITEM, Family.ELEMENTWISE):
                for operand, at in zip(n.operands, _operand_reads(n, read.index), strict=True):
                    stack += through_movement(operand, at, read.guarded)
        return found

    def _awaited_by(self, node: Node) -> dict[Group, None]:
        """The groups that come before what computes the node, which need not read them."""
        found: dict[Group, None] = {}
        for operand in node.operands:
            if operand not in self.group_of:
                found |= self._awaited[operand]
        if node.op.awaits:
            last = node.operands[-1]
            makers = [self.group_of.get(n) for n in (last, *(r.node for r in self.sources(last)))]
            found |= {group: None for group in makers if group is not None}
        return found

    def _place(self, node: Node) -> None:
        if is_result(node):
            holder = self.group_of[node] = self.group_of[node.operands[0]]
            holder.members.append(node)
            self._note_updates(holder, node)
            return
        sources = self.sources(node)
        producers = {self.group_of[r.node]: None for r in sources if r.node in self.group_of}
        awaited = {g: None for g in self._awaited.get(node, ()) if g not in producers}
        producers |= awaited
        group = None
        if node.op.family not in SINGLE:
            candidates = (g for g in self._candidates(node, sources, producers) if g not in awaited)
            group = next((g for g in candidates if self._joins(g, node, sources, producers)), None)
        if group is None:
            group = self._new_group(node)
        elif node not in self._updated:
            for other in (*producers, *self._beside(group, node, sources)):
                group = self._together(group, self._ranks.now(other), node, sources, producers)
            producers = {self._ranks.now(g): None for g in producers}
        self._join(group, node, sources, producers)

    def _new_group(self, node: Node) -> Group:
        domain = domain_of(node) if node.op.family not in HOLDERS else ()
        group = Group(len(self.groups), len(self.groups), domain, Split(tuple(range(len(domain)))))
        self.groups.append(group)
        self._ranks.add(group)
        return group

    def _join(self, group: Group, node: Node, sources: list[Read], producers: Mapping[Group, None]) -> None:
        """Make the node a member, and move what it reads before the group."""
        group.members.append(node)
        self.group_of[node] = group
        group.may_fail |= may_fail(node)
        self._fold(group, [node] if node.op.family is Family.REDUCTION else [])
        for read in sources:
            if self.group_of.get(read.node) is not group:
                self._note_reads(group, read.node, [read])
        group.needs |= {p: None for p in producers if p is not group}
        self._ranks.move_before(group, self._ranks.between(group, producers))
        self._note_updates(group, node)

    def _fold(self, group: Group, reductions: list[Node]) -> None:
        """Let the loops of the group fold these as well."""
        if reductions:
            group.reductions += reductions
            split = split_for(group.domain, group.reductions)
            assert split is not None, f"{describe(reductions[0])} joins where no split serves it"
            group.split = split

    def _note_reads(self, group: Group, node: Node, reads: list[Read]) -> None:
        if node not in group.reads:
            group.reads[node] = []
            self._readers.setdefault(node, []).append(group)
        group.reads[node] += reads

    def _note_updates(self, group: Group, node: Node) -> None:
        if node in self._updated and self._may_update(group, node):
            group.updated |= self._updated[node]

    # which group

    def _candidates(self, node: Node, sources: list[Read], producers: Mapping[Group, None]) -> Iterator[Group]:
        """Groups that the node might join: those that make what it reads, then those that read the same array."""
        yield from sorted(producers, key=lambda g: -g.index)
        yield from (g for g in self._readers_of(node, sources) if g not in producers)

    def _readers_of(self, node: Node, sources: list[Read]) -> list[Group]:
        """Groups that read an array as the node does, the latest first; a single value is made wherever it fits."""
        axes = sum(d != 1 for d in domain_of(node))
        arrays = [r.node for r in sources if r.node.ndim and (r.whole or len(_axes_of(r.index)) == axes)]
        found = {self._ranks.now(g) for a in arrays for g in self._readers.get(a, ())[-_LATEST:]}
        if not domain_of(node):
            found.update(map(self._ranks.now, self.groups[-_LATEST:]))
        return sorted(found, key=lambda g: -g.index)

    def _joins(self, group: Group, node: Node, sources: list[Read], producers: Mapping[Group, None]) -> bool:
        if not group.is_nest or len(group.members) == _MEMBERS:
            return False
        full = domain_of(node) == group.domain
        if not full and not (group.split.inner and is_row_shape(domain_of(node), group.domain, group.split)):
            return False
        if not full and self._apart.intersection(group.reductions):
            return False
        for read in sources:
            if self.group_of.get(read.node) is group and not _at_hand(group.domain, group.split, node, read):
                return False
        if node.op.family is Family.REDUCTION and not _folds(group, node):
            return False
        return self._leaves_updates(group, node, sources) and self._ranks.between(group, producers) is not None

    def _leaves_updates(self, group: Group, node: Node, sources: list[Read]) -> bool:
        """Whether parameters can be written in place as they could if the node stood in a group of its own."""
        own = self._updated.get(node, {}) if node.op.family in _IN_PLACE else {}
        if not own and not group.updated:
            return True
        at = member_index(node, group.domain, group.split)
        here = {r.node for r in sources}
        elsewhere = {r.node for r in sources if r.guarded or r.index != at}
        apart = all(self.group_of.get(n) is not group for n in here)
        updated = group.updated.keys()
        if updated and node.op.family is Family.GATHER:
            return False
        if node.op.family is Family.REDUCTION and (updated & here or updated & group.reads.keys()):
            return False
        if apart and (updated & elsewhere or (group.reductions and updated & here)):
            return False
        if own.keys() & elsewhere:
            return True
        read = [p for p in own if p in here or p in group.reads]
        return not read or (not group.reductions and (not apart or all(map(group.sweeps, read))))

    def _may_update(self, group: Group, value: Node) -> bool:
        """Whether the group may write the new value where the old one lies, if it comes after all other readers."""
        if group.may_fail and self._keeps:
            return False
        if group.members[0].op.family in HOLDERS:
            return all(p not in group.reads or begins_with(value) is p for p in self._updated[value])
        is_update = value.op.family is Family.SCATTER
        if not (is_update or (group.is_nest and value.op.family in _IN_PLACE)) or value.shape != group.domain:
            return False
        return all(map(group.may_write, self._updated[value]))

    # two groups as one

    def _beside(self, group: Group, node: Node, sources: list[Read]) -> list[Group]:
        """The latest groups that read the same as the node; one that reads a product may follow it, alone."""
        if group.reads_product or not domain_of(node):
            return []
        return [g for g in self._readers_of(node, sources)[:_BESIDE] if not g.reads_product]

    def _together(
        self, group: Group, other: Group, node: Node, sources: list[Read], producers: Mapping[Group, None]
    ) -> Group:
        """What the node joins: the group, with all of the other one too if its values are then at hand."""
        first, second = sorted((group, other), key=lambda g: g.rank)
        if other is group or not self._may_be_one(first, second, node, sources):
            return group
        moved = self._ranks.between(first, [second])
        if moved is None or self._ranks.between(other, producers) is None:  # one comes after the other, or a third does
            return group
        self._ranks.move_before(first, moved)
        self._take_in(first, second)
        return first

    def _may_be_one(self, group: Group, other: Group, node: Node, sources: list[Read]) -> bool:
        """Whether the loops of groups can be the same, as far as they themselves and what the node reads go."""
        if self._awaits or not (group.is_nest and other.is_nest) or group.domain != other.domain:
            return False
        if group.updated or other.updated:
            return False
        reductions = [*group.reductions, *other.reductions, *([node] if node.op.family is Family.REDUCTION else [])]
        if len(group.members) + len(other.members) > _MEMBERS or len(reductions) > _FOLDS:
            return False
        split = split_for(group.domain, reductions) if reductions else group.split
        if split is None or self._apart.intersection(reductions):
            return False
        return all(
            _at_hand(group.domain, split, node, r) for r in sources if self.group_of.get(r.node) in (group, other)
        )

    def _take_in(self, group: Group, other: Group) -> None:
        """Make all of another group a part of this one."""
        self._ranks.take_in(group, other)
        group.members += other.members
        group.may_fail |= other.may_fail
        self.group_of |= dict.fromkeys(other.members, group)
        self._fold(group, other.reductions)
        for node, reads in other.reads.items():
            self._note_reads(group, node, reads)


def _operand_reads(node: Node, index: Index) -> list[Index]:
    return [index] if node.op.family is Family.ITEM else operand_indices(node, index)


def _at_hand(domain: Shape, split: Split, node: Node, read: Read) -> bool:
    """Whether loops have the value that is read at the place where the node would be computed."""
    if read.guarded or is_outer(read.node, domain, split):
        return False
    return in_loops_of(read.index, node, domain, split) == member_index(read.node, domain, split)


def _axes_of(index: Index) -> set[str]:
    """The axes on which it depends which element is read."""
    return set().union(*map(loop_axes, index))


def _folds(group: Group, node: Node) -> bool:
    """Whether the group's loops can fold the node's operand as well."""
    if len(group.reductions) == _FOLDS:
        return False
    return split_for(group.domain, [*group.reductions, node]) is not None
