"""The order in which groups stand while they grow: each after all that it needs.

A group that has taken in another stands for it from then on.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.schedule.group import Group

_BETWEEN = 256  # groups between two, past which none is moved before the other


class Ranks:
    """The order; `rank` of a group is its place in it."""

    def __init__(self) -> None:
        self._order: list[Group] = []
        self._within: dict[Group, Group] = {}  # the group that has taken in all of another

    def add(self, group: Group) -> None:
        """Put a new group at the end."""
        self._order.append(group)

    def take_in(self, group: Group, other: Group) -> None:
        """From now on the group is meant where the other one is named."""
        self._within[other] = group
        group.needs |= other.needs

    def stands(self, group: Group) -> bool:
        """Whether no other group has taken it in."""
        return group not in self._within

    def now(self, group: Group) -> Group:
        """The group that holds what this one held."""
        while group in self._within:
            group = self._within[group]
        return group

    def needs(self, group: Group) -> dict[Group, None]:
        """The groups that come before it."""
        return {self.now(need): None for need in group.needs}

    def between(self, group: Group, producers: Iterable[Group]) -> list[Group] | None:
        """What the producers need of the groups that stand after this one, themselves included, in order.

        None if that is the group itself, or if it stands too far before them to be sure.
        """
        late = [p for p in map(self.now, producers) if p.rank > group.rank]
        if any(p.rank - group.rank > _BETWEEN for p in late):
            return None
        seen = dict.fromkeys(late)
        while late:
            for need in self.needs(late.pop()):
                if need is group:
                    return None
                if need.rank > group.rank and need not in seen:
                    seen[need] = None
                    late.append(need)
        return sorted(seen, key=lambda g: g.rank)

    def move_before(self, group: Group, moved: list[Group] | None) -> None:
        """Let the groups that `between` found stand before this one."""
        assert moved is not None, "a group would need itself"
        if not moved:
            return
        first, end = group.rank, moved[-1].rank + 1
        rest = [g for g in self._order[first:end] if g not in set(moved)]
        self._order[first:end] = [*moved, *rest]
        for rank in range(first, end):
            self._order[rank].rank = rank
