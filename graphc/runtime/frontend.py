"""From a kernel, a Python function of int64 values, to LLVM: Numba reads its byte code and has its intrinsics made.

In: a function that calls intrinsics and `range` with a constant step, and assigns every name before it is used (above
or in a scope around), never another type of value than before.  Out: a C function in an LLVM module.  For programs of
any kind Numba infers types by fixed point, counts references and looks implementations up in registries; here one walk
from top to bottom finds the type of every name and the instructions for every statement.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.core import bytecode, types
from numba.core import ir as numba_ir
from numba.core.extending import _Intrinsic
from numba.core.interpreter import Interpreter
from numba.core.registry import cpu_target
from numba.core.typed_passes import PreLowerStripPhis

from graphc.codegen.intrinsics.far import MOST, call_far
from graphc.codegen.intrinsics.lanes import VECTOR_MATH
from graphc.codegen.intrinsics.routine import KernelModule, LaneBuilder
from graphc.runtime.native import dissolve

Typed = tuple[Any, Any]  # a Numba type and what has it: an LLVM value, or what only the front end knows

_I64, _I1 = ir.IntType(64), ir.IntType(1)
_TYPES = {bool: types.boolean, int: types.int64, float: types.float64}
_NUMBERS = {"float32": types.float32, "float64": types.float64} | {
    f"{kind}{bits}": getattr(types, f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
_FLOAT = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
_INDEX = {operator.add: "add", operator.sub: "sub", operator.mul: "mul"}  # of int64 alone, which never overflows
_BITS = {operator.and_: "and_", operator.or_: "or_", operator.xor: "xor"}
_ORDER = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}
_signatures: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def lower_function(function: FunctionType, symbol: str, module: KernelModule) -> None:
    """Add a Python function of int64 values, which returns nothing, to an LLVM module as a C function."""
    identity = bytecode.FunctionIdentity.from_function(function)
    code = _Reader(identity).interpret(bytecode.ByteCode(identity))
    kind = ir.FunctionType(ir.VoidType(), [_I64] * code.arg_count)
    _Lowering(PreLowerStripPhis()._strip_phi_nodes(code), ir.Function(module, kind, symbol)).emit()
    module.finish()
    dissolve(*{id(block.scope): block.scope for block in code.blocks.values()}.values())


class _Reader(Interpreter):
    """Numba's reader of byte code, without its passes over what no kernel has: `with`, lists and dictionaries."""

    def post_process(self, peepholes: Any, func_ir: Any) -> Any:
        return func_ir


class _Lowering:
    """The walk over Numba's IR; a name that is assigned once is a value, another is a place on the stack."""

    def __init__(self, code: Any, target: ir.Function) -> None:
        self.code, self.target = code, target
        entry = ir.IRBuilder(target.append_basic_block("entry"))
        self.blocks = {label: target.append_basic_block(f"b{label}") for label in sorted(code.blocks)}
        entry.branch(self.blocks[min(self.blocks)])
        self.b = LaneBuilder()
        assignments = [s for b in code.blocks.values() for s in b.body if isinstance(s, numba_ir.Assign)]
        called = [s.value.value for s in assignments if isinstance(s.value, numba_ir.Global)]
        target.module.far = call_far if sum(VECTOR_MATH.get(f, 0) for f in called) > MOST else None
        assigned = Counter(s.target.name for s in assignments)
        self.once = {name for name, times in assigned.items() if times == 1}
        self.values: dict[str, Typed] = {}
        self.places: dict[str, Typed] = {}

    def emit(self) -> None:
        for label, block in sorted(self.code.blocks.items()):
            self.b.position_at_end(self.blocks[label])
            for statement in block.body:
                self.statement(statement)

    def statement(self, s: Any) -> None:
        match s:
            case numba_ir.Assign():
                self.assign(s.target.name, self.value(s.value))
            case numba_ir.Jump():
                self.b.branch(self.blocks[s.target])
            case numba_ir.Branch():
                self.b.cbranch(self.named(s.cond)[1], self.blocks[s.truebr], self.blocks[s.falsebr])
            case numba_ir.Return():
                self.b.ret_void()
            case _:
                raise NotImplementedError(f"{s} in the text of a kernel")

    # names

    def assign(self, name: str, typed: Typed) -> None:
        if name in self.once:
            self.values[name] = typed
            return
        kind, value = typed
        if name not in self.places:
            self.places[name] = kind, self.alloca(value.type)
        known, place = self.places[name]
        if known != kind:
            raise TypeError(f"{name} is {known} and {kind}")
        self.b.store(value, place)

    def named(self, variable: Any) -> Typed:
        name = variable.name
        if name in self.values:
            return self.values[name]
        kind, place = self.places[name]
        return kind, self.b.load(place)

    def alloca(self, kind: ir.Type) -> ir.Value:
        with self.b.goto_entry_block():
            return self.b.alloca(kind)

    # values

    def value(self, v: Any) -> Typed:
        match v:
            case numba_ir.Arg():
                return types.int64, self.target.args[v.index]
            case numba_ir.Const() if v.value is None:
                return types.none, None
            case numba_ir.Const():
                return self.constant(_TYPES[type(v.value)], v.value)
            case numba_ir.Global() | numba_ir.FreeVar():
                return self.known(v.value)
            case numba_ir.Var():
                return self.named(v)
            case numba_ir.Expr():
                operation: Callable[[Any], Typed] | None = getattr(self, f"_{v.op}", None)
                if operation is not None:
                    return operation(v)
        raise NotImplementedError(f"{v} in the text of a kernel")

    def known(self, value: Any) -> Typed:
        """A global: a constant of NumPy's, an intrinsic, range or bool."""
        kind = _NUMBERS.get(type(value).__name__)
        return ("function", value) if kind is None else self.constant(kind, value.item())

    def constant(self, kind: Any, value: Any) -> Typed:
        if isinstance(kind, types.Float):
            return kind, ir.Constant(ir.FloatType() if kind.bitwidth == 32 else ir.DoubleType(), value)
        return kind, ir.Constant(_I1 if kind == types.boolean else ir.IntType(kind.bitwidth), value)

    def _call(self, e: Any) -> Typed:
        _, function = self.named(e.func)
        operands = [self.named(a) for a in e.args]
        if function is bool:
            return operands[0]
        if function is range:
            return self.range(operands)
        if not isinstance(function, _Intrinsic):
            raise NotImplementedError(f"{function} is called in the text of a kernel")
        signature, emit = _resolved(function, tuple(kind for kind, _ in operands))
        result = emit(cpu_target.target_context, self.b, signature, [value for _, value in operands])
        return signature.return_type, result

    def _binop(self, e: Any) -> Typed:
        (kind, x), (other, y) = self.named(e.lhs), self.named(e.rhs)
        if kind != other:
            raise TypeError(f"{e.fn.__name__} of {kind} and {other}")
        if e.fn in _ORDER:
            return types.boolean, self.compared(kind, _ORDER[e.fn], x, y)
        if e.fn in _BITS and not isinstance(kind, types.Float):
            return kind, getattr(self.b, _BITS[e.fn])(x, y)
        if e.fn in _INDEX and kind == types.int64:
            return kind, getattr(self.b, _INDEX[e.fn])(x, y, flags=["nsw"])
        if e.fn in _FLOAT and isinstance(kind, types.Float):
            return kind, getattr(self.b, _FLOAT[e.fn])(x, y)
        raise TypeError(f"{e.fn.__name__} of {kind}")

    def compared(self, kind: Any, relation: str, x: Any, y: Any) -> Any:
        if isinstance(kind, types.Float):
            return (self.b.fcmp_unordered if relation == "!=" else self.b.fcmp_ordered)(relation, x, y)
        signed = isinstance(kind, types.Integer) and kind in types.signed_domain
        return (self.b.icmp_signed if signed else self.b.icmp_unsigned)(relation, x, y)

    def _unary(self, e: Any) -> Typed:
        kind, x = self.named(e.value)
        if e.fn is operator.neg and isinstance(kind, types.Float):
            return kind, self.b.fneg(x)
        if e.fn is operator.neg and kind == types.int64:
            return kind, self.b.neg(x)
        if e.fn is operator.not_ and kind == types.boolean:
            return kind, self.b.not_(x)
        raise TypeError(f"{e.fn.__name__} of {kind}")

    def _cast(self, e: Any) -> Typed:
        return self.named(e.value)

    # loops

    def range(self, operands: list[Typed]) -> Typed:
        values = [value for _, value in operands]
        start = values[0] if len(values) > 1 else ir.Constant(_I64, 0)
        step = values[2] if len(values) == 3 else ir.Constant(_I64, 1)
        if not isinstance(step, ir.Constant) or step.constant <= 0:
            raise NotImplementedError("a loop of a kernel has a constant positive step")
        return "range", (start, values[len(values) > 1], step)

    def _getiter(self, e: Any) -> Typed:
        """The place that holds what comes next, where it ends, and the step."""
        start, stop, step = self.named(e.value)[1]
        place = self.alloca(_I64)
        self.b.store(start, place)
        return "iterator", (place, stop, step)

    def _iternext(self, e: Any) -> Typed:
        place, stop, step = self.named(e.value)[1]
        now = self.b.load(place)
        self.b.store(self.b.add(now, step, flags=["nsw"]), place)
        return "pair", (now, self.b.icmp_signed("<", now, stop))

    def _pair_first(self, e: Any) -> Typed:
        return types.int64, self.named(e.value)[1][0]

    def _pair_second(self, e: Any) -> Typed:
        return types.boolean, self.named(e.value)[1][1]


def _resolved(function: Any, operands: tuple[Any, ...]) -> tuple[Any, Any]:
    """The signature of an intrinsic for operands of these types, and what makes its instructions."""
    key = function, operands
    if key not in _signatures:
        found = function._defn(cpu_target.typing_context, *operands)
        if found is None or found[0].args != operands:
            raise TypeError(f"{function} does not take {', '.join(map(str, operands))}")
        _signatures[key] = found
    return _signatures[key]
