"""Values inside a loop nest: the text that computes an element of a node, in the outermost scope that may hold it.

In: a node, the index of an element, the scope that wants it.  Out: the name of a scalar.  Movement ops change the index
and compute nothing; equal elements are computed once a scope.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any

from graphc.codegen.text import Scope, Text, code_of
from graphc.dims import Dim, is_positive, symbol
from graphc.graph import Node, describe
from graphc.op import Family, Piece
from graphc.schedule.access import Index, Strided, aligned, loop_axes, offset, pieces, strided
from graphc.schedule.task import Place
from graphc.types import DType, int64, uint64

_WORD = re.compile(r"\b[a-z_][a-z_0-9]*\b")
_NUMBERS = {"zero": 0, "one": 1, "half": 0.5, "two": 2}
_EXACT = ("f4", "f8", "i8", "u8", "b1")  # dtypes in which Numba's arithmetic stays


class _Result:
    """Key of one result of a node that has several; not a tuple, since `==` of nodes builds a node."""

    def __init__(self, node: Node, result: int) -> None:
        self.node, self.result = node, result

    def __hash__(self) -> int:
        return hash((id(self.node), self.result))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Result) and self.node is other.node and self.result == other.result


Key = Node | _Result  # what an element belongs to
Steps = Generator[tuple[Node, Index, Scope], Any, str]  # an evaluation: asks for other elements, returns a name


def loaded_from(text: Text, node: Node) -> Place | None:
    """The place of a node that kernels load; movement is looked through even if its result is stored for others."""
    computed = node.op.family is Family.MOVEMENT or (node.op.name == "constant" and not node.ndim)
    return None if computed else text.schedule.place.get(node)


class Evaluator:
    """Evaluates nodes for one nest; `stored(node)` is the place to load it from, or None if the nest computes it."""

    def __init__(self, text: Text, stored: Callable[[Node], tuple[Place, Index | None] | None]) -> None:
        self.text = text
        self.stored = stored
        self.homes: dict[str, Scope] = {}

    def define(self, scope: Scope, key: Key, index: Index, name: str) -> None:
        """Say that `name`, made in `scope`, holds the element."""
        scope.memo[key, index] = name
        self.homes[name] = scope

    def value(self, node: Node, index: Index, scope: Scope) -> str:
        """The name of the element of `node` at `index`, in the scope or around it."""
        return self._finished(self._value(node, index, scope))

    def _finished(self, first: Steps) -> str:
        """What an evaluation comes to.  The stack is a list: a graph may be deeper than Python's."""
        stack: list[Steps] = [first]
        answer: str | None = None
        while stack:
            try:
                wanted = stack[-1].send(answer)
            except StopIteration as done:
                stack.pop()
                answer = str(done.value)
            else:
                stack.append(self._value(*wanted))
                answer = None
        assert answer is not None
        return answer

    def _value(self, node: Node, index: Index, scope: Scope) -> Steps:
        known = scope.find((node, index))
        if known is not None:
            return known
        place = self.stored(node)
        if place is not None:
            return self._load(node, place[0], place[1], index, scope)
        family = node.op.family
        if family is Family.LEAF:
            return self.text.constant(node.attrs["value"].array, node.dtype)
        if family is Family.MOVEMENT:
            return (yield from self._moved(node, index, scope))
        if family is Family.ITEM:
            source = node.operands[0]
            return (yield from self._expression(source, index, scope, int(node.attrs["index"])))
        if family is Family.ELEMENTWISE:
            return (yield from self._expression(node, index, scope, 0))
        if family is Family.INDEX:
            position = f"to_{code_of(node.dtype)}({self.text.dim(index[0] + node.attrs['start'])})"
            return self._emit(node, index, scope, position, loop_axes(index[0]), ())
        if family is Family.GATHER:
            return (yield from self._gathered(node, index, scope))
        raise AssertionError(f"{describe(node)} is read where it is not at hand")

    def _emit(
        self, key: Key, index: Index, scope: Scope, expression: str, axes: set[str], names: tuple[str, ...]
    ) -> str:
        """Print `t = expression` in the outermost scope where its loop variables and operands exist."""
        return self._emit_in(self._home(scope, axes, names), key, index, expression)

    def _emit_in(self, home: Scope, key: Key, index: Index, expression: str) -> str:
        name = self.text.fresh()
        home.lines.append(f"{name} = {expression}")
        self.define(home, key, index, name)
        return name

    def _home(self, scope: Scope, axes: set[str], names: tuple[str, ...] = ()) -> Scope:
        """The outermost scope, from `scope` to the next guard, where these loop variables and names exist."""
        home = scope
        while home.parent is not None and not home.guard:
            if axes & home.variables or any(self.homes.get(n) is home for n in names):
                break
            home = home.parent
        return home

    def _load(self, node: Node, place: Place, scratch: Index | None, index: Index, scope: Scope) -> str:
        """The element in the node's place, or the one at an index of its own in a row of scratch."""
        if scratch is None:
            at, shape = index, node.shape
        else:
            at, shape = scratch, self.text.schedule.buffers[place.number][1]
        position = offset(at, shape)
        axes = set().union(*(loop_axes(i) for i in at))
        text = self.text.load(place, node.dtype, self.text.position(position))
        if any(not loop_axes(i) and not is_positive(d) for i, d in zip(at, shape, strict=True)):
            return self._emit_in(scope, node, index, text)  # where no loop runs, there may be nothing to load
        return self._emit(node, index, scope, text, axes, tuple(f"i{a[1:]}" for a in axes))

    def _expression(self, node: Node, index: Index, scope: Scope, result: int) -> Steps:
        operands: tuple[str, ...] = ()
        for o in node.operands:
            operands += ((yield o, aligned(index, o.shape), scope),)
        body: Any = node.op.body
        if isinstance(body, tuple):
            body = body[result]
        if not isinstance(body, str):
            body = body[node.operands[0].dtype.kind]
        dtype = node.types[result].dtype
        taken = node.operands[0].dtype if node.operands else dtype
        text = self.fill(body, dict(zip("xyz", operands, strict=False)), taken)
        if dtype.kind == "b":
            convert = body == "x"
        else:
            convert = code_of(dtype) not in _EXACT or (taken != dtype and "to_" not in text)
        if convert:
            text = f"to_{code_of(dtype)}({text})"
        key: Key = node if len(node.types) == 1 else _Result(node, result)
        known = scope.find((key, index))
        return known if known is not None else self._emit(key, index, scope, text, set(), operands)

    def fill(self, body: str, names: dict[str, str], dtype: DType) -> str:
        """A body with names for its operands and typed constants for its numbers."""

        def word(match: re.Match[str]) -> str:
            w = match[0]
            return names[w] if w in names else self.text.constant(_NUMBERS[w], dtype) if w in _NUMBERS else w

        return _WORD.sub(word, body)

    # movement

    def _moved(self, node: Node, index: Index, scope: Scope) -> Steps:
        found = pieces(node, index)
        if len(found) == 1 and not found[0].inside and not found[0].multiples:
            return str((yield node.operands[found[0].operand], found[0].index, scope))
        name = self.text.fresh()
        home = self._home(scope, set().union(*(loop_axes(i) for i in index)))
        fill = self.text.constant(node.attrs.get("fill", 0), node.dtype)
        yield from self._choose(node, found, name, fill, home)
        self.define(home, node, index, name)
        return name

    def _choose(self, node: Node, found: list[Piece], name: str, fill: str, scope: Scope) -> Steps:
        """`name = ` the first piece whose conditions hold, else the fill."""
        for n, piece in enumerate(found):
            condition = self._condition(piece)
            if condition is None:
                if n == 0:
                    value = yield node.operands[piece.operand], piece.index, scope
                    scope.lines.append(f"{name} = {value}")
                    return name
                yield from self._branch(node, piece, name, "else:", scope)
                return name
            yield from self._branch(node, piece, name, f"{'if' if n == 0 else 'elif'} {condition}:", scope)
        scope.lines += ["else:", f"    {name} = {fill}"]
        return name

    def _branch(self, node: Node, piece: Piece, name: str, header: str, scope: Scope) -> Steps:
        branch = Scope(scope, header, guard=True)
        value = yield node.operands[piece.operand], piece.index, branch
        branch.lines.append(f"{name} = {value}")
        branch.close()
        return name

    def _condition(self, piece: Piece) -> str | None:
        tests = []
        for expression, low, high in piece.inside:
            e = self.text.dim(expression)
            tests += [f"{e} >= {self.text.dim(low)}", f"{e} < {self.text.dim(high)}"]
        for expression, k in piece.multiples:
            e = self.text.dim(expression)
            tests.append(f"multiple({e}, {k})")
        return " and ".join(tests) or None

    # reads at positions

    def _gathered(self, node: Node, index: Index, scope: Scope) -> Steps:
        source, positions = node.operands
        axis = node.attrs["axis"]
        at = yield from self._position(node, positions, source.shape[axis], index, scope)
        where = list(aligned(index, source.shape))
        where[axis] = symbol(f"%{at}")
        view = strided(source)
        if view is None:
            base, position = source, offset(tuple(where), source.shape)
        else:
            base, position = view.base, _of_view(view, where)
        axes = set().union(*(loop_axes(i) for i in where)) - {f"%{at}"}
        place, at_most = self.text.schedule.place[base], source.shape[axis]
        text = self.text.load(place, node.dtype, self.text.position(position), at_most)
        return self._emit(node, index, scope, text, axes, (at,))

    def position(self, node: Node, positions: Node, size: Dim, index: Index, scope: Scope) -> str:
        """The checked position that an index operand holds, as int64."""
        return self._finished(self._position(node, positions, size, index, scope))

    def _position(self, node: Node, positions: Node, size: Dim, index: Index, scope: Scope) -> Steps:
        raw = yield positions, aligned(index, positions.shape), scope
        if positions.dtype == uint64:  # what int64 does not hold must not come back as a position from the end
            raw = f"fmin({raw}, {self.text.constant(2**63 - 1, uint64)})"
        if positions.dtype != int64:
            raw = f"to_i8({raw})"
        axis = node.attrs["axis"]
        text = f"{node.op.name}: position {{position}} does not lie on axis {axis}, which has length {{value}}"
        status = self.text.failure(text, str(node.line))
        name = self.text.fresh()
        scope.lines.append(f"{name} = checked(T, {status}, {raw}, {self.text.dim(size)})")
        self.homes[name] = scope
        return name


def _of_view(view: Strided, where: list[Dim]) -> Dim:
    total: Dim = view.offset
    for i, step in zip(where, view.steps, strict=True):
        total = total + i * step
    return total
