"""Values inside a loop nest: what computes an element of a node, in the outermost scope that may hold it.

In: a node, the index of an element, the scope that wants it.  Out: the name of a scalar, or a constant.  Movement ops
change the index and compute nothing; equal elements are computed once a scope.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from graphc.codegen.loop_ir import OWN, Call, Const, Expr, If, Let, Position, Set, Stmt, Var
from graphc.codegen.printer import CODES, code_of, variable
from graphc.codegen.scope import Loop, Scope
from graphc.codegen.text import ZERO, Text, test
from graphc.dims import Dim, is_nonnegative, is_positive, product, symbol
from graphc.graph import Node, describe
from graphc.op import Family, Piece
from graphc.ops.index import CHECKS
from graphc.scalar import NUMBERS, Apply, Body, function, is_dear, parse
from graphc.schedule.access import Index, aligned, at_positions, loop_axes, offset, pieces, positions_of, view
from graphc.schedule.task import Place
from graphc.stabilise import is_softmax
from graphc.types import DType, Shape, bool_, float64, int64, uint64

_SHORT = 16  # steps of a loop: one or two vectors are divided as soon as one number is
_EXACT = ("f4", "f8", "i8", "u8", "b1")  # dtypes in which Numba's arithmetic stays


class _Result:
    """Key of one result of a node that has several; not a tuple, since `==` of nodes builds a node."""

    def __init__(self, node: Node, result: int) -> None:
        self.node, self.result = node, result

    def __hash__(self) -> int:
        return hash((id(self.node), self.result))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Result) and self.node is other.node and self.result == other.result


Key = Node | _Result | Place  # what an element belongs to
Atomic = Var | Const
Wanted = tuple[Node, Index, Scope]
Steps = Generator[Wanted, Any, Atomic]  # an evaluation: asks for other elements


def loaded_from(text: Text, node: Node) -> Place | None:
    """The place of a node that kernels load; movement is looked through even if its result is stored for others."""
    computed = node.op.family is Family.MOVEMENT or (node.op.name == "constant" and not node.ndim)
    return None if computed else text.place.get(node)


def _divisors(members: Iterable[Node]) -> set[Node]:
    """What several float64 are divided by: its reciprocal and products take less time than two divisions."""
    quotients = [n for n in members if n.types[0].dtype == float64 and _is_quotient(n)]
    counted = Counter((n.operands[-1], n.shape) for n in quotients)
    return {divisor for (divisor, _), count in counted.items() if count > 1 and divisor.op.name != "constant"}


def _is_quotient(node: Node) -> bool:
    """Whether a node is something divided by its last operand."""
    if node.op.body is None or not node.operands:
        return False
    match parse(body_of(node)):
        case Apply("/", (_, by)):
            return by == "xyz"[len(node.operands) - 1]
    return False


def body_of(node: Node, result: int = 0) -> str:
    """What computes an element of a result, for the kind of the first operand."""
    body: Any = node.op.body
    if isinstance(body, tuple):
        body = body[result]
    return body if isinstance(body, str) else str(body[node.operands[0].dtype.kind])


class Evaluator:
    """Evaluates nodes for one nest; `stored(node, index)` is where to load an element, or None if it is computed."""

    def __init__(
        self, text: Text, stored: Callable[[Node, Index], tuple[Place, Dim | None] | None], members: Iterable[Node] = ()
    ) -> None:
        self.text = text
        self.stored = stored
        members = list(members)
        self.divisors, self.is_busy = _divisors(members), any(is_dear(n.op.body) for n in members)
        self.homes: dict[str, Scope] = {}

    def define(self, scope: Scope, key: Key, index: Index, var: Var) -> None:
        """Say that `var`, bound in `scope`, holds the element."""
        scope.memo[key, index] = var
        self.homes[var.name] = scope

    def value(self, node: Node, index: Index, scope: Scope) -> Atomic:
        """The element of `node` at `index`, known in the scope or around it."""
        return self._finished(self._value(node, index, scope))

    def _finished(self, first: Steps) -> Atomic:
        """What an evaluation comes to.  The stack is a list: a graph may be deeper than Python's."""
        stack: list[Steps] = [first]
        answer: Atomic | None = None
        while stack:
            try:
                wanted = stack[-1].send(answer)
            except StopIteration as done:
                stack.pop()
                answer = done.value
            else:
                stack.append(self._value(*wanted))
                answer = None
        assert answer is not None
        return answer

    def _value(self, node: Node, index: Index, scope: Scope) -> Steps:
        known = scope.find((node, index))
        if known is not None:
            return known
        place = self.stored(node, index)
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
            position = converted(self.text.at(index[0] + node.attrs["start"]), node.dtype)
            return self._emit(node, index, scope, position, loop_axes(index[0]), ())
        if family is Family.GATHER:
            return (yield from self._gathered(node, index, scope))
        raise AssertionError(f"{describe(node)} is read where it is not at hand")

    def _emit(
        self, key: Key, index: Index, scope: Scope, value: Expr, axes: set[str], operands: tuple[Expr, ...]
    ) -> Var:
        """Bind the value in the outermost scope where its loop variables and operands exist."""
        names = tuple(o.name for o in operands if isinstance(o, Var))
        return self._emit_in(self._home(scope, axes, names), key, index, value)

    def _emit_in(self, home: Scope, key: Key, index: Index, value: Expr) -> Var:
        var = home.let(self.text.fresh(), value)
        self.define(home, key, index, var)
        return var

    def _home(self, scope: Scope, axes: set[str], names: tuple[str, ...] = ()) -> Scope:
        """The outermost scope, from `scope` to the next guard, where these loop variables and names exist."""
        home = scope
        while home.parent is not None and not home.guard:
            if axes & home.variables or any(self.homes.get(n) is home for n in names):
                break
            home = home.parent
        return home

    def _load(self, node: Node, place: Place, scratch: Dim | None, index: Index, scope: Scope) -> Var:
        """The element in the node's place, or the one at a position of its own in a row of scratch."""
        position = offset(index, node.shape) if scratch is None else scratch
        axes = set().union(*map(loop_axes, index)) if scratch is None else loop_axes(scratch)
        load = self.text.load(place, node.dtype, position)
        is_there = all(loop_axes(i) or _lies_in(i, d) for i, d in zip(index, node.shape, strict=True))
        if scratch is None and not is_there:
            return self._emit_in(scope, node, index, load)  # where no loop runs, there may be nothing to load
        return self._emit(node, index, scope, load, axes, tuple(Var(variable(a), int64) for a in axes))

    def _expression(self, node: Node, index: Index, scope: Scope, result: int) -> Steps:
        operands: tuple[Atomic, ...] = ()
        for o in node.operands:
            operands += ((yield o, aligned(index, o.shape), scope),)
        if node.op.scalar is not None:
            return self._own(node, operands, index, scope)
        dtype = node.types[result].dtype
        taken = node.operands[0].dtype if node.operands else dtype
        value = fill(self.text, parse(body_of(node, result)), dict(zip("xyz", operands, strict=False)), taken)
        convert = code_of(dtype) not in _EXACT or value.dtype != dtype
        if dtype.kind == "b":
            convert = value is operands[0]
        if convert:
            value = converted(value, dtype)
        elif isinstance(value, Call) and value.function == "/":
            again = value.args[-1] is operands[-1] and node.operands[-1] in self.divisors
            if again or self._is_settled(operands, scope):
                value = Call("share" if is_softmax(node) else "over", value.args, dtype)
        key: Key = node if len(node.types) == 1 else _Result(node, result)
        known = scope.find((key, index))
        return known if known is not None else self._emit(key, index, scope, value, set(), operands)

    def _is_settled(self, operands: tuple[Atomic, ...], scope: Scope) -> bool:
        """Whether the last operand is known before the loop begins that computes with it, unless that is short."""
        *_, last = operands
        home = self._home(scope, set(), tuple(o.name for o in operands if isinstance(o, Var)))
        if not isinstance(home, Loop) or (isinstance(last, Var) and self.homes.get(last.name) is home):
            return False
        if isinstance(last, Const) and (self.is_busy or last.dtype != float64):
            return False  # divisions go beside vector math, and those of float32 take little more than products
        return not (home.lo == ZERO and isinstance(home.hi, Position) and home.hi.at in range(_SHORT + 1))

    def _own(self, node: Node, operands: tuple[Atomic, ...], index: Index, scope: Scope) -> Atomic:
        """What a function of the user's gives for an element."""
        known = scope.find((node, index))
        if known is not None:
            return known
        function = node.op.scalar
        assert function is not None
        names = tuple(o.name for o in operands if isinstance(o, Var))
        home = self._home(scope, _over_maybe_none(index, node.shape), names)
        given = function.given(tuple(o.dtype for o in node.operands))
        status = self.text.failure(f"{node.op.name}: it raised {{raised}}", str(node.line))
        var = Var(self.text.fresh(), given)
        args = (status, self._iteration(home), *operands)
        home.use(OWN, *args, dtype=given, tile=(function.number,), result=var)
        self._bound(home, var)
        if given == node.dtype:
            self.define(home, node, index, var)
            return var
        return self._emit_in(home, node, index, converted(var, node.dtype))

    # movement

    def _moved(self, node: Node, index: Index, scope: Scope) -> Steps:
        found = pieces(node, index)
        if len(found) == 1 and not found[0].inside and not found[0].multiples:
            alone: Atomic = yield node.operands[found[0].operand], found[0].index, scope
            return alone
        var = Var(self.text.fresh(), node.dtype)
        home = self._home(scope, set().union(*(loop_axes(i) for i in index)))
        fill = self.text.constant(node.attrs.get("fill", 0), node.dtype)
        home.add(*(yield from self._choose(node, found, var, fill, home)))
        self.define(home, node, index, var)
        return var

    def _choose(
        self, node: Node, found: list[Piece], var: Var, fill: Const, scope: Scope
    ) -> Generator[Wanted, Any, tuple[Stmt, ...]]:
        """Set `var` to the first piece whose conditions hold, else to the fill."""
        branches: list[tuple[Expr, Scope]] = []
        last: tuple[Stmt, ...] = (Set(var, fill),)
        for piece in found:
            condition = self._condition(piece)
            if condition is None and not branches:
                value = yield node.operands[piece.operand], piece.index, scope
                return (Let(var, value),)
            branch = Scope(scope, guard=True)
            value = yield node.operands[piece.operand], piece.index, branch
            branch.add(Set(var, value))
            if condition is None:
                last = tuple(branch.body)
                break
            branches.append((condition, branch))
        for condition, branch in reversed(branches):
            last = (If(condition, tuple(branch.body), last),)
        return last

    def _condition(self, piece: Piece) -> Expr | None:
        tests: list[Expr] = []
        for expression, low, high in piece.inside:
            e = self.text.at(expression)
            tests += [test(">=", e, self.text.at(low)), test("<", e, self.text.at(high))]
        tests += [test("multiple", self.text.at(e), Position(k)) for e, k in piece.multiples]
        if len(tests) < 2:
            return tests[0] if tests else None
        return test("and", *tests)

    # reads at positions

    def _gathered(self, node: Node, index: Index, scope: Scope) -> Steps:
        source = node.operands[0]
        found: tuple[Var, ...] = ()
        for number in range(len(positions_of(node))):
            found += ((yield from self._position(node, number, index, scope)),)
        where = at_positions(node, index, [symbol(f"%{at.name}") for at in found])
        memory = view(source)
        axes = set().union(*(loop_axes(i) for i in where)) - {f"%{at.name}" for at in found}
        if memory.base.op.family is Family.INDEX:
            value: Expr = converted(self.text.at(memory.at(where) + memory.base.attrs["start"]), node.dtype)
        else:
            some = product(d for d, k in zip(source.shape, node.attrs["along"], strict=True) if k < 0)
            value = self.text.load(self.text.place[memory.base], node.dtype, memory.at(where), some)
        return self._emit(node, index, scope, value, axes, found)

    def position(self, node: Node, number: int, index: Index, scope: Scope) -> Var:
        """The position that one of a node's operands of positions holds, as int64, checked if that is its mode."""
        var = self._finished(self._position(node, number, index, scope))
        assert isinstance(var, Var)
        return var

    def _position(self, node: Node, number: int, index: Index, scope: Scope) -> Generator[Wanted, Any, Var]:
        positions, axis = positions_of(node)[number], node.attrs["along"].index(-1 - number)
        at = aligned(index, positions.shape)
        raw: Expr = yield positions, at, scope
        home = self._home(scope, _over_maybe_none(at, positions.shape), (raw.name,) if isinstance(raw, Var) else ())
        mode = node.attrs["modes"][number]
        if mode not in CHECKS:
            return raw if isinstance(raw, Var) else self._bound(home, home.let(self.text.fresh(), raw))
        if positions.dtype == uint64:  # what int64 does not hold must not come back as a position from the end
            raw = Call("fmin", (raw, self.text.constant(2**63 - 1, uint64)), uint64)
        if positions.dtype != int64:
            raw = converted(raw, int64)
        size = node.operands[0].shape[axis]
        name, axis = node.attrs.get("told", (node.op.name.strip("_"), axis))
        text = f"{name}: position {{position}} does not lie on axis {axis}, which has length {{value}}"
        status = self.text.failure(text, str(node.line))
        var = Var(self.text.fresh(), int64)
        size, kernel = self.text.at(size), {"check": "checked", "label": "labelled"}[mode]
        home.use(kernel, status, raw, size, self._iteration(home), result=var)
        return self._bound(home, var)

    def _iteration(self, scope: Scope) -> Expr:
        """Which iteration of the innermost loop it is; 0 outside of loops."""
        if self.text.counted is None:
            return Position(0)
        while scope.parent is not None:
            scope = scope.parent
        place, _ = self.text.counted
        known = scope.find((place, ()))
        return known or self._emit_in(scope, place, (), self.text.load(place, int64, 0))

    def _bound(self, home: Scope, var: Var) -> Var:
        self.homes[var.name] = home
        return var


def converted(value: Expr, dtype: DType) -> Call:
    """The value as another dtype."""
    return Call(f"to_{code_of(dtype)}", (value,), dtype)


def fill(text: Text, body: Body, operands: Mapping[str, Expr], dtype: DType) -> Expr:
    """A body with expressions for its operands and typed constants for its numbers."""
    if isinstance(body, str):
        return operands[body] if body in operands else text.constant(NUMBERS[body], dtype)
    args = tuple(fill(text, o, operands, dtype) for o in body.operands)
    if body.function.startswith("to_"):
        return Call(body.function, args, CODES[body.function.removeprefix("to_")])
    known = function(body.function, len(args))
    assert known is not None
    return Call(body.function, args, bool_ if known.gives == "b" else args[known.takes.index("x")].dtype)


def _over_maybe_none(index: Index, shape: Shape) -> set[str]:
    """The loops over axes that may have no element: what may find an error is not done before them, though it gives the
    same for all elements."""
    return set().union(*(loop_axes(i) for i, d in zip(index, shape, strict=True) if not is_positive(d)))


def _lies_in(position: Dim, length: Dim) -> bool:
    """Whether an axis of this length surely has the position."""
    return is_nonnegative(position) and is_positive(length - position)
