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

from graphc.dims import product
from graphc.graph import Graph, Node, describe
from graphc.op import HOLDERS, Family
from graphc.ops.save import bytes_of
from graphc.scalar import effort
from graphc.schedule.access import (
    Index,
    Read,
    atoms,
    operand_indices,
    reads_through,
    through_movement,
    view,
)
from graphc.schedule.beside import shifts
from graphc.schedule.group import SINGLE, Group, begins_with, is_expensive, is_result, may_fail, reads_of
from graphc.schedule.settle import ATOMS, PIECES
from graphc.schedule.split import (
    Split,
    domain_of,
    in_loops_of,
    is_outer,
    is_row_shape,
    member_index,
    split_around,
    split_for,
)

_FOLDS = 8  # reductions of a nest, each of which takes a block of 8 kB on the stack
_CHEAP = 12  # nodes that may be computed again wherever their value is read
_AGAIN = 16  # instructions of a value that is computed again at elements beside
_STREAMS = 3  # arrays that they load
_FEW = 8  # an array of so many times fewer elements stays in cache
_MEMBERS = 1_024  # of a group: past it the time of compilers grows faster than the text
_LATEST = 32  # groups that are looked at for one that reads the same
_PIECE = 1_024  # elements that lie side by side, from which it does not matter where the next ones lie
_BETWEEN = 256  # groups between two, past which none is moved before the other
_IN_PLACE = (Family.ELEMENTWISE, Family.ITEM, Family.MOVEMENT)  # computed element by element in a nest


def fused(graph: Graph, roots: Collection[Node], updates: Collection[tuple[Node, Node]], keeps: bool = True) -> Fusion:
    """The fusion of a graph: what stands better apart is known after a first one.

    `keeps`: a check that fails leaves all parameters as they were.
    """
    found = Fusion(graph, roots, updates, keeps)
    apart = found.in_pieces()
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
        self._order: list[Group] = []
        self._shifts = shifts(graph, self._reads_of)
        self._work: dict[Node, tuple[int, frozenset[Node]]] = {}
        self._awaited: dict[Node, dict[Group, None]] = {}
        awaits = any(node.op.awaits for node in graph.nodes)
        for node in graph.nodes:
            if awaits:
                self._awaited[node] = self._awaited_by(node)
            if self._is_computed(node):
                self._place(node)

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

    def in_pieces(self) -> list[Node]:
        """The reductions of groups whose rows are many short pieces of memory, and wanted by nothing along a row.

        All rows of such a group are rather read side by side, if it holds nothing else.
        """
        found = []
        for group in self.groups:
            if group.reductions and _is_in_pieces(group) and any(domain_of(m) != group.domain for m in group.members):
                full = [m for m in group.members if domain_of(m) == group.domain]
                if all(self.group_of.get(r.node) is not group for m in full for r in self._sources(m)):
                    found += group.reductions
        return found

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
        return not self._is_cheap(node) and not self._is_shifted(node)

    def _is_cheap(self, node: Node) -> bool:
        stack, seen, reads, size = [node], {node}, 0, 0
        stored, few = set[Node](), set[Node]()  # arrays that it loads; those of a value for each row or column
        while stack:
            n = stack.pop()
            if is_expensive(n) or len(seen) > _CHEAP:
                return False
            for read in self._reads_of(n):
                m = read.node
                if m.op.name == "constant" and not m.ndim:
                    continue
                reads, size = reads + 1, size + atoms(read.index)
                if reads > PIECES or size > ATOMS:
                    return False
                if m in self.group_of or m.op.family is Family.LEAF:
                    (few if bytes_of(m) * _FEW <= bytes_of(node) else stored).add(m)
                elif read.guarded:  # each branch computes it anew, and so would every branch around it
                    return False
                elif m not in seen:
                    seen.add(m)
                    stack.append(m)
        return len(stored) <= 1 and len(stored) + len(few) <= _STREAMS

    def _is_shifted(self, node: Node) -> bool:
        """Whether a value that is wanted at elements beside is rather computed there once more.

        So stages that read each other one element further are one nest, which reads few arrays, instead of many that
        write and read as many.
        """
        if node.op.family is not Family.ELEMENTWISE or is_expensive(node) or self._shifts[node] != 1:
            return False
        work, stored = self._again(node)
        return work <= _AGAIN and len(stored) <= _STREAMS

    def _again(self, node: Node) -> tuple[int, frozenset[Node]]:
        """What computing an element once more costs, of each node as often as it is read, and the arrays it loads."""
        found = self._work.get(node)
        if found is None:
            work, stored = max(effort(node.op.body), 1), set()
            for m in (read.node for read in self._reads_of(node)):
                if m in self.group_of or m.op.family is Family.LEAF:
                    stored |= {m} if m.ndim else set()
                elif work <= _AGAIN:
                    more, loaded = self._again(m)
                    work, stored = work + more, stored | loaded
            found = self._work[node] = work, frozenset(stored)
        return found

    def _sources(self, node: Node) -> list[Read]:
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
            makers = [self.group_of.get(n) for n in (last, *(r.node for r in self._sources(last)))]
            found |= {group: None for group in makers if group is not None}
        return found

    def _place(self, node: Node) -> None:
        if is_result(node):
            holder = self.group_of[node] = self.group_of[node.operands[0]]
            holder.members.append(node)
            self._note_updates(holder, node)
            return
        sources = self._sources(node)
        producers = {self.group_of[r.node]: None for r in sources if r.node in self.group_of}
        awaited = {g: None for g in self._awaited.get(node, ()) if g not in producers}
        producers |= awaited
        group = None
        if node.op.family not in SINGLE:
            candidates = (g for g in self._candidates(node, sources, producers) if g not in awaited)
            group = next((g for g in candidates if self._joins(g, node, sources, producers)), None)
        if group is None:
            group = self._new_group(node)
        self._join(group, node, sources, producers)

    def _new_group(self, node: Node) -> Group:
        domain = domain_of(node) if node.op.family not in HOLDERS else ()
        group = Group(len(self.groups), len(self.groups), domain, Split(tuple(range(len(domain)))))
        self.groups.append(group)
        self._order.append(group)
        return group

    def _join(self, group: Group, node: Node, sources: list[Read], producers: Mapping[Group, None]) -> None:
        """Make the node a member, and move what it reads before the group."""
        group.members.append(node)
        self.group_of[node] = group
        group.may_fail |= may_fail(node)
        if node.op.family is Family.REDUCTION:
            group.reductions.append(node)
            split = split_for(group.domain, group.reductions)
            assert split is not None, f"{describe(node)} joins where no split serves it"
            group.split = split
        for read in sources:
            if self.group_of.get(read.node) is not group:
                group.reads.setdefault(read.node, []).append(read)
        group.needs |= {p: None for p in producers if p is not group}
        self._move_before(group, self._between(group, producers))
        self._note_updates(group, node)

    def _note_updates(self, group: Group, node: Node) -> None:
        if node in self._updated and self._may_update(group, node):
            group.updated |= self._updated[node]

    # which group

    def _candidates(self, node: Node, sources: list[Read], producers: Mapping[Group, None]) -> Iterator[Group]:
        """Groups that the node might join: those that make what it reads, then those that read the same array."""
        yield from sorted(producers, key=lambda g: -g.index)
        arrays = [r.node for r in sources if r.node.ndim]
        for group in reversed(self.groups[-_LATEST:]):
            if group not in producers and (not domain_of(node) or any(a in group.reads for a in arrays)):
                yield group

    def _joins(self, group: Group, node: Node, sources: list[Read], producers: Mapping[Group, None]) -> bool:
        if not group.is_nest or len(group.members) == _MEMBERS:
            return False
        full = domain_of(node) == group.domain
        if not full and not (group.split.inner and is_row_shape(domain_of(node), group.domain, group.split)):
            return False
        if not full and self._apart.intersection(group.reductions):
            return False
        for read in sources:
            if self.group_of.get(read.node) is group and not _at_hand(group, node, read):
                return False
        if node.op.family is Family.REDUCTION and not _folds(group, node):
            return False
        return self._leaves_updates(group, node, sources) and self._between(group, producers) is not None

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

    # order

    def _between(self, group: Group, producers: Iterable[Group]) -> list[Group] | None:
        """What the producers need of the groups that stand after this one, themselves included, in order.

        None if that is the group itself, or if it stands too far before them to be sure.
        """
        late = [p for p in producers if p.rank > group.rank]
        if any(p.rank - group.rank > _BETWEEN for p in late):
            return None
        seen = dict.fromkeys(late)
        while late:
            for need in late.pop().needs:
                if need is group:
                    return None
                if need.rank > group.rank and need not in seen:
                    seen[need] = None
                    late.append(need)
        return sorted(seen, key=lambda g: g.rank)

    def _move_before(self, group: Group, moved: list[Group] | None) -> None:
        assert moved is not None, "a group would need itself"
        if not moved:
            return
        first, end = group.rank, moved[-1].rank + 1
        rest = [g for g in self._order[first:end] if g not in set(moved)]
        self._order[first:end] = [*moved, *rest]
        for rank in range(first, end):
            self._order[rank].rank = rank


def _operand_reads(node: Node, index: Index) -> list[Index]:
    return [index] if node.op.family is Family.ITEM else operand_indices(node, index)


def _at_hand(group: Group, node: Node, read: Read) -> bool:
    """Whether the group has the value that is read at the place where the node would be computed."""
    domain, split = group.domain, group.split
    if read.guarded or is_outer(read.node, domain, split):
        return False
    return in_loops_of(read.index, node, domain, split) == member_index(read.node, domain, split)


def _is_in_pieces(group: Group) -> bool:
    """Whether a row is many short pieces of memory."""
    split = split_around(group.split.inner, len(group.domain))
    piece = product(group.domain[k] for k in split.deep) if split is not None else _PIECE
    return isinstance(piece, int) and piece < _PIECE


def _folds(group: Group, node: Node) -> bool:
    """Whether the group's loops can fold the node's operand as well."""
    if len(group.reductions) == _FOLDS:
        return False
    return split_for(group.domain, [*group.reductions, node]) is not None
