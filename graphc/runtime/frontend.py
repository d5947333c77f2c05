"""From the text of a kernel, a Python function of int64 values, to LLVM: one walk over its syntax tree.

In: constants of NumPy's, and a function that calls intrinsics and `range` with a constant step, and assigns every name
before it is used (above or in a scope around), never another type of value than before.  Out: a C function in an LLVM
module.  For programs of any kind Numba reads byte code, infers types by fixed point, counts references and looks
implementations up in registries; here the walk finds the type of every name and the instructions for every statement.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types
from numba.core.extending import _Intrinsic
from numba.core.registry import cpu_target

from graphc.codegen.intrinsics.far import MOST, call_far
from graphc.codegen.intrinsics.lanes import VECTOR_MATH, count_of
from graphc.codegen.intrinsics.memory import NUMBA_TYPES, load_lanes, store_lanes
from graphc.codegen.intrinsics.routine import KernelModule, LaneBuilder
from graphc.codegen.intrinsics.vectors import splat
from graphc.codegen.namespace import meaning
from graphc.runtime.short import Access, access, begin_of_vectors, lanes_of, steps
from graphc.runtime.turns import calls, is_long, length_of_part, statements, variable, vectors_at_a_time

Typed = tuple[Any, Any]  # a Numba type, and the LLVM value that has it

_I64, _I1 = ir.IntType(64), ir.IntType(1)
_TYPES = {bool: types.boolean, int: types.int64, float: types.float64}
_NUMBERS = {"float32": types.float32, "float64": types.float64} | {
    f"{kind}{bits}": getattr(types, f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
_FLOAT = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_INDEX = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}  # of int64 alone, which never overflows
_BITS = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor"}
_ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_signatures: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def lower(text: str, symbol: str, module: KernelModule) -> None:
    """Add the function of a text, which returns nothing, to an LLVM module as a C function."""
    *constants, function = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    arguments = [a.arg for a in function.args.args]
    target = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * len(arguments)), symbol)
    known = dict(zip(arguments, ((types.int64, value) for value in target.args), strict=True))
    _Lowering(target, known | dict(map(_constant, constants))).function(function.body)
    module.finish()


def _constant(s: ast.stmt) -> tuple[str, Typed]:
    """`c0_f4 = float32(0.0)`."""
    match s:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=dtype), args=[value])):
            return name, _number(_NUMBERS[dtype], meaning(dtype)(ast.literal_eval(value)).item())
    raise _unknown(s)


def _number(kind: Any, value: Any) -> Typed:
    if isinstance(kind, types.Float):
        return kind, ir.Constant(ir.FloatType() if kind.bitwidth == 32 else ir.DoubleType(), value)
    return kind, ir.Constant(_I1 if kind == types.boolean else ir.IntType(kind.bitwidth), value)


def _unknown(part: ast.AST) -> NotImplementedError:
    return NotImplementedError(f"{ast.unparse(part)} in the text of a kernel")


def _assigned(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that a block assigns, as often as it does."""
    for s in statements(body):
        match s:
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name


def _stacks(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names to which a block binds blocks on the stack, but not what is inside."""
    for s in body:
        match s:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=function))):
                if function.startswith("stack_"):
                    yield name


class _Lanes(NamedTuple):
    """A vector of a loop: the loop's variable, the lanes, and of how many there are elements."""

    variable: str
    width: int
    filled: int


class _Lowering:
    """The walk; a name that is assigned once is a value, another is a place on the stack."""

    def __init__(self, target: ir.Function, known: dict[str, Typed]) -> None:
        self.target, self.values = target, known
        self.places: dict[str, Typed] = {}
        self.once: set[str] = set()
        self.stacks: set[str] = set()  # names of blocks on the stack, which are bound at the top of a kernel
        self.lanes: _Lanes | None = None  # of the vectors as which a short loop is done
        self.loops = 0  # that LLVM sees
        self.indices: dict[tuple[Any, ...], Any] = {}  # what a block has computed of them
        self.entry = target.append_basic_block("entry")
        self.b = LaneBuilder(target.append_basic_block("body"))

    def function(self, body: list[ast.stmt]) -> None:
        assigned = Counter(_assigned(body))
        self.once = {name for name, times in assigned.items() if times == 1}
        self.stacks = set(_stacks(body))
        vector_math = sum(VECTOR_MATH.get(meaning(name), 0) for name, _ in calls(body))
        self.target.module.far = call_far if vector_math > MOST else None
        first = self.b.block
        self.block(body)
        self.b.ret_void()
        ir.IRBuilder(self.entry).branch(first)

    # statements

    def block(self, body: list[ast.stmt]) -> None:
        for s in body:
            self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.assign(name, self.value(value))
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.If():
                self.choice(s)
            case ast.For(target=ast.Name(), iter=ast.Call(func=ast.Name(id="range"), args=bounds), orelse=[]):
                self.loop(s, [self.value(bound)[1] for bound in bounds])
            case ast.Pass():
                pass
            case _:
                raise _unknown(s)

    def choice(self, s: ast.If) -> None:
        after = self.target.append_basic_block("after")
        body: list[ast.stmt] = [s]
        while len(body) == 1 and isinstance(body[0], ast.If):  # `elif`, of which there may be many
            yes, no = (self.target.append_basic_block(name) for name in ("then", "else"))
            self.b.cbranch(self.value(body[0].test)[1], yes, no)
            self.b.position_at_end(yes)
            self.block(body[0].body)
            self.b.branch(after)
            self.b.position_at_end(no)
            body = body[0].orelse
        self.block(body)
        self.b.branch(after)
        self.b.position_at_end(after)

    def loop(self, s: ast.For, bounds: list[Any]) -> None:
        name, body = variable(s), s.body
        start = bounds[0] if len(bounds) > 1 else ir.Constant(_I64, 0)
        step = bounds[2] if len(bounds) == 3 else ir.Constant(_I64, 1)
        if not isinstance(step, ir.Constant) or step.constant <= 0:
            raise NotImplementedError("a loop of a kernel has a constant positive step")
        stop = bounds[len(bounds) > 1]
        vectors = self.vectors(name, start, stop, step, body)
        if not vectors or vectors.start > start.constant:
            self.step_by_step(s, start, ir.Constant(_I64, vectors.start) if vectors else stop, step)
        for first in vectors:
            self.values[name] = types.int64, ir.Constant(_I64, first)
            self.lanes = _Lanes(name, vectors.step, min(vectors.step, vectors.stop - first))
            self.block(body)
        self.lanes = None

    def step_by_step(self, s: ast.For, start: Any, stop: Any, step: Any) -> None:
        """A loop as it stands, of which LLVM may make vectors."""
        test, inside, after = (self.target.append_basic_block(n) for n in ("test", "loop", "after"))
        before = self.b.block
        self.b.branch(test)
        self.b.position_at_end(test)
        now = self.b.phi(_I64)
        following = self.b.add(now, step, flags=["nsw"])
        self.b.cbranch(self.b.icmp_signed("<", now, stop), inside, after)
        self.b.position_at_end(inside)
        self.values[variable(s)] = types.int64, now
        module = self.target.module
        around, module.alone = module.alone, any(isinstance(inner, ast.For) for inner in statements(s.body))
        self.loops += 1
        loops = self.loops
        self.block(s.body)
        module.alone = around
        now.add_incoming(start, before)
        now.add_incoming(following, self.b.block)
        again = self.b.branch(test)
        count = 0 if module.far else vectors_at_a_time(s)
        whole = length_of_part(s) > 0 or (self.loops > loops and is_long(s))
        if count or whole:
            module.hint(again, count, whole)
        self.b.position_at_end(after)

    def vectors(self, name: str, start: Any, stop: Any, step: Any, body: list[ast.stmt]) -> range:
        """Where the vectors begin as which a loop, or what whole ones leave of it, is done; none if all is LLVM's."""
        if self.target.module.far or not all(isinstance(b, ir.Constant) for b in (start, stop, step)):
            return range(0)
        first, end = start.constant, stop.constant
        lanes = lanes_of(name, end - first, body) if step.constant == 1 else 0
        if not lanes or not self.once.issuperset(_assigned(body)):
            return range(0)
        return range(first + begin_of_vectors(end - first, lanes, body), end, lanes)

    def touch(self, e: ast.Call, touched: Access) -> Typed:
        """Load or store the lanes of a vector, or the one element that all of them read."""
        assert self.lanes is not None
        name, width, filled = self.lanes
        code, scope = touched.code, (touched.nest, touched.storage)
        place = self.value(touched.base)[1], self.value(touched.at)[1]
        if self.is_row_on_stack(touched):
            filled = width
        if touched.value is not None:
            value = splat(self.b, self.value(touched.value)[1], width)
            store_lanes(self.b, code, scope, place, value, filled)
            return types.none, None
        if steps(touched.at, name):
            return NUMBA_TYPES[code], load_lanes(self.b, code, scope, place, filled, width)
        return self.apply(e)

    def is_row_on_stack(self, touched: Access) -> bool:
        """Whether a block on the stack holds what the loop runs over and no more: then there is room behind it."""
        base, at = touched.base, touched.at
        return isinstance(base, ast.Name) and base.id in self.stacks and isinstance(at, ast.Name)

    def alike(self, *values: Any) -> list[Any]:
        """The values, all as vectors if one is."""
        width = max(map(count_of, values), default=0)
        return [splat(self.b, v, width) for v in values] if width else list(values)

    # names

    def assign(self, name: str, typed: Typed) -> None:
        if name in self.once:
            self.values[name] = typed
            return
        if name in self.values:
            raise NotImplementedError(f"{name}, the variable of a loop, is assigned more than once")
        kind, value = typed
        if name not in self.places:
            self.places[name] = kind, ir.IRBuilder(self.entry).alloca(value.type)
        known, place = self.places[name]
        if known != kind:
            raise TypeError(f"{name} is {known} and {kind}")
        self.b.store(value, place)

    def named(self, name: str) -> Typed:
        if name in self.values:
            return self.values[name]
        kind, place = self.places[name]
        return kind, self.b.load(place)

    # values

    def value(self, e: ast.expr) -> Typed:
        match e:
            case ast.Name():
                return self.named(e.id)
            case ast.Constant():
                return _number(_TYPES[type(e.value)], e.value)
            case ast.Call():
                return self.call(e)
            case ast.BinOp():
                return self.binary(e)
            case ast.Compare(ops=[_]):
                return self.compared(e)
            case ast.UnaryOp():
                return self.unary(e)
            case ast.BoolOp():
                return types.boolean, self.decided(e)
        raise _unknown(e)

    def call(self, e: ast.Call) -> Typed:
        touched = access(e) if self.lanes else None
        return self.touch(e, touched) if touched else self.apply(e)

    def apply(self, e: ast.Call) -> Typed:
        """Call an intrinsic."""
        function = meaning(e.func.id) if isinstance(e.func, ast.Name) else None
        if not isinstance(function, _Intrinsic):
            raise _unknown(e)
        operands = [self.value(a) for a in e.args]
        signature, emit = _resolved(function, tuple(kind for kind, _ in operands))
        result = emit(cpu_target.target_context, self.b, signature, self.alike(*(value for _, value in operands)))
        return signature.return_type, result

    def pair(self, operator: ast.operator | ast.cmpop, x: ast.expr, y: ast.expr) -> tuple[Any, Any, Any]:
        """Two operands of one type."""
        (kind, left), (other, right) = self.value(x), self.value(y)
        if kind != other:
            raise TypeError(f"{type(operator).__name__} of {kind} and {other}")
        return kind, *self.alike(left, right)

    def binary(self, e: ast.BinOp) -> Typed:
        kind, x, y = self.pair(e.op, e.left, e.right)
        operator = type(e.op)
        if operator in _BITS and not isinstance(kind, types.Float):
            return kind, getattr(self.b, _BITS[operator])(x, y)
        if operator in _INDEX and kind == types.int64:
            key = self.b.block, operator, x, y
            if key not in self.indices:
                self.indices[key] = getattr(self.b, _INDEX[operator])(x, y, flags=["nsw"])
            return kind, self.indices[key]
        if operator in _FLOAT and isinstance(kind, types.Float):
            return kind, getattr(self.b, _FLOAT[operator])(x, y)
        raise TypeError(f"{operator.__name__} of {kind}")

    def compared(self, e: ast.Compare) -> Typed:
        kind, x, y = self.pair(e.ops[0], e.left, e.comparators[0])
        relation = _ORDER[type(e.ops[0])]
        if isinstance(kind, types.Float):
            return types.boolean, (self.b.fcmp_unordered if relation == "!=" else self.b.fcmp_ordered)(relation, x, y)
        signed = isinstance(kind, types.Integer) and kind in types.signed_domain
        return types.boolean, (self.b.icmp_signed if signed else self.b.icmp_unsigned)(relation, x, y)

    def decided(self, e: ast.BoolOp) -> Any:
        """`and` and `or`, each part of which is evaluated only if it decides."""
        after, incoming = self.target.append_basic_block("decided"), []
        for part in e.values:
            bit = self.value(part)[1]
            incoming.append((bit, self.b.block))
            if part is e.values[-1]:
                self.b.branch(after)
            else:
                further = self.target.append_basic_block("further")
                self.b.cbranch(bit, *((further, after) if isinstance(e.op, ast.And) else (after, further)))
                self.b.position_at_end(further)
        self.b.position_at_end(after)
        phi = self.b.phi(_I1)
        for bit, block in incoming:
            phi.add_incoming(bit, block)
        return phi

    def unary(self, e: ast.UnaryOp) -> Typed:
        kind, x = self.value(e.operand)
        if isinstance(e.op, ast.USub) and isinstance(kind, types.Float):
            return kind, self.b.fneg(x)
        if isinstance(e.op, ast.USub) and kind == types.int64:
            return kind, ir.Constant(_I64, -x.constant) if isinstance(x, ir.Constant) else self.b.neg(x)
        if isinstance(e.op, ast.Not) and kind == types.boolean:
            return kind, self.b.not_(x)
        raise TypeError(f"{type(e.op).__name__} of {kind}")


def _resolved(function: Any, operands: tuple[Any, ...]) -> tuple[Any, Any]:
    """The signature of an intrinsic for operands of these types, and what makes its instructions."""
    key = function, operands
    if key not in _signatures:
        found = function._defn(cpu_target.typing_context, *operands)
        if found is None or found[0].args != operands:
            raise TypeError(f"{function} does not take {', '.join(map(str, operands))}")
        _signatures[key] = found
    return _signatures[key]
