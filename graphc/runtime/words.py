"""A small compiler for functions of int64 words, in which the driver is written.

In: modules of plain Python functions whose values are all int64: assignments, `if`, `while`, `for ... in range(...)`,
arithmetic (division of what is not negative), comparisons, calls of one another and of the operations below.  Out: an
LLVM module in which each is a C function.  Numba would take a hundred times as long, and a second of every first start.
"""

from __future__ import annotations

import ast
import inspect
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from llvmlite import ir

_I64, _I32, _I8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_WORD = _I64.as_pointer()
_ONE = ir.Constant(_I64, 1)
_X86, _ARM = ("llvm.x86.sse2.pause", ()), ("llvm.aarch64.hint", (1,))
_PAUSE = {"x86_64": _X86, "AMD64": _X86, "aarch64": _ARM, "arm64": _ARM}.get(platform.machine())
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.FloorDiv: "udiv",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
}
_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class Operation:
    """What a word function can call beside its like: `emit(builder, *values)` makes the instructions."""

    def __init__(self, emit: Callable[..., Any]) -> None:
        self.emit = emit
        self.__doc__ = emit.__doc__

    def __call__(self, *args: int) -> int:
        raise TypeError("word functions are compiled, never called as Python")


@Operation
def load(b: Any, base: Any, index: Any) -> Any:
    """The word `index` of the block at `base`."""
    return b.load(_word(b, base, index))


@Operation
def store(b: Any, base: Any, index: Any, value: Any) -> Any:
    """Set the word `index` of the block at `base`."""
    b.store(value, _word(b, base, index))
    return value


@Operation
def load32(b: Any, address: Any) -> Any:
    """The C int at an address."""
    return b.sext(b.load(b.inttoptr(address, _I32.as_pointer())), _I64)


@Operation
def load8(b: Any, address: Any) -> Any:
    """The byte at an address, at least 0."""
    return b.zext(b.load(b.inttoptr(address, _I8.as_pointer())), _I64)


@Operation
def stack(b: Any, n: Any) -> Any:
    """The address of n words that live until the function returns."""
    return b.ptrtoint(b.alloca(_I64, size=n), _I64)


@Operation
def copy(b: Any, to: Any, source: Any, nbytes: Any) -> Any:
    """Copy bytes between places that do not overlap."""
    pointer = _I8.as_pointer()
    memcpy = b.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, _I64])
    b.call(memcpy, [b.inttoptr(to, pointer), b.inttoptr(source, pointer), nbytes, ir.Constant(ir.IntType(1), 0)])
    return nbytes


@Operation
def load_at(b: Any, address: Any) -> Any:
    """The word at an address that other threads write."""
    return b.load_atomic(_shared(b, address), "seq_cst", 8)


@Operation
def store_at(b: Any, address: Any, value: Any) -> Any:
    """Set the word at an address that other threads read."""
    b.store_atomic(value, _shared(b, address), "seq_cst", 8)
    return value


@Operation
def add_at(b: Any, address: Any, value: Any) -> Any:
    """Add to a word that other threads change; returns what it was."""
    return b.atomic_rmw("add", _shared(b, address), value, "seq_cst")


@Operation
def exchange(b: Any, address: Any, value: Any) -> Any:
    """Set a word that other threads change; returns what it was."""
    return b.atomic_rmw("xchg", _shared(b, address), value, "seq_cst")


@Operation
def exchange_if(b: Any, address: Any, old: Any, new: Any) -> Any:
    """Set a word that other threads change if it is `old`; returns whether it was."""
    return b.zext(b.extract_value(b.cmpxchg(_shared(b, address), old, new, "seq_cst", "seq_cst"), 1), _I64)


@Operation
def pause(b: Any) -> Any:
    """Let a moment pass, for who waits for another thread."""
    if _PAUSE:
        name, arguments = _PAUSE
        kind = ir.FunctionType(ir.VoidType(), [_I32] * len(arguments))
        known = b.module.globals.get(name) or ir.Function(b.module, kind, name)
        b.call(known, [ir.Constant(_I32, a) for a in arguments])
    return ir.Constant(_I64, 0)


def _shared(b: Any, address: Any) -> Any:
    return b.inttoptr(address, _WORD)


@Operation
def call(b: Any, function: Any, *args: Any) -> Any:
    """Call the C function at an address."""
    kind = ir.FunctionType(_I64, [_I64] * len(args))
    return b.call(b.inttoptr(function, kind.as_pointer()), args)


def _word(b: Any, base: Any, index: Any) -> Any:
    return b.gep(b.inttoptr(base, _WORD), [index])


def decided(b: ir.IRBuilder, e: ast.BoolOp, truth: Callable[[ast.expr], Any]) -> Any:
    """`and` and `or` as one bit, by the bit of every part, which is evaluated only if it decides."""
    after = b.append_basic_block("decided")
    incoming = []
    for part in e.values:
        bit = truth(part)
        incoming.append((bit, b.block))
        if part is e.values[-1]:
            b.branch(after)
        else:
            further = b.append_basic_block("further")
            b.cbranch(bit, *((further, after) if isinstance(e.op, ast.And) else (after, further)))
            b.position_at_end(further)
    b.position_at_end(after)
    phi = b.phi(ir.IntType(1))
    for bit, block in incoming:
        phi.add_incoming(bit, block)
    return phi


def compile_words(modules: Sequence[ModuleType], prefix: str) -> ir.Module:
    """An LLVM module with the functions of modules; the names of the C functions begin with `prefix`."""
    target = ir.Module(modules[0].__name__)
    definitions = [
        (node, vars(module))
        for module in modules
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.FunctionDef)
    ]
    functions = {
        d.name: ir.Function(target, ir.FunctionType(_I64, [_I64] * len(d.args.args)), prefix + d.name)
        for d, _ in definitions
    }
    for d, scope in definitions:
        _Body(functions[d.name], functions, scope).function(d)
    return target


def _assigned(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements assign."""
    for s in body:
        match s:
            case (
                ast.Assign(targets=[ast.Name(id=name)])
                | ast.AugAssign(target=ast.Name(id=name))
                | ast.For(target=ast.Name(id=name))
            ):
                yield name
        if isinstance(s, ast.If | ast.While | ast.For):
            yield from _assigned((*s.body, *s.orelse))


class _Body:
    """The walk over one function; an argument that keeps its value is a value, any other variable a place on the stack.

    LLVM turns places into registers.
    """

    def __init__(self, target: Any, functions: Mapping[str, Any], scope: Mapping[str, Any]) -> None:
        self.functions, self.scope = functions, scope
        self.target = target
        self.entry = ir.IRBuilder(target.append_basic_block("entry"))
        self.b = ir.IRBuilder(target.append_basic_block("body"))
        self.values: dict[str, Any] = {}
        self.places: dict[str, Any] = {}

    def function(self, definition: ast.FunctionDef) -> None:
        assigned = set(_assigned(definition.body))
        for argument, value in zip(definition.args.args, self.target.args, strict=True):
            if argument.arg in assigned:
                self.b.store(value, self.place(argument.arg))
            else:
                self.values[argument.arg] = value
        self.statements(definition.body)
        if not self.b.block.is_terminated:
            self.b.ret(ir.Constant(_I64, 0))
        self.entry.branch(self.target.blocks[1])

    def place(self, name: str) -> Any:
        if name not in self.places:
            self.places[name] = self.entry.alloca(_I64, name=name)
        return self.places[name]

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.b.store(self.value(value), self.place(name))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                old = self.b.load(self.place(name))
                self.b.store(getattr(self.b, _ARITHMETIC[type(op)])(old, self.value(value)), self.place(name))
            case ast.Return(value=ast.expr() as value):
                self.b.ret(self.value(value))
            case ast.Expr(value=ast.Call() as value):
                self.value(value)
            case ast.Expr(value=ast.Constant(value=str())):
                pass  # a docstring
            case ast.If(test=test, body=body, orelse=orelse):
                self.branch(test, body, orelse)
            case ast.While(test=test, body=body, orelse=[]):
                self.loop(lambda: self.truth(test), body, lambda: None)
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=bounds), body=body, orelse=[]
            ):
                self.count(name, bounds, body)
            case _:
                raise NotImplementedError(f"line {s.lineno}: {ast.unparse(s)}")

    def branch(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        yes, no, after = (self.target.append_basic_block(n) for n in ("then", "else", "after"))
        self.b.cbranch(self.truth(test), yes, no)
        for block, part in ((yes, body), (no, orelse)):
            self.b.position_at_end(block)
            self.statements(part)
            if not self.b.block.is_terminated:
                self.b.branch(after)
        self.b.position_at_end(after)
        if not any(
            block.is_terminated and after in block.terminator.operands
            for block in self.target.blocks
            if block is not after
        ):
            self.b.unreachable()

    def loop(self, condition: Callable[[], Any], body: list[ast.stmt], step: Callable[[], None]) -> None:
        test, inside, after = (self.target.append_basic_block(n) for n in ("test", "loop", "after"))
        self.b.branch(test)
        self.b.position_at_end(test)
        self.b.cbranch(condition(), inside, after)
        self.b.position_at_end(inside)
        self.statements(body)
        step()
        self.b.branch(test)
        self.b.position_at_end(after)

    def count(self, name: str, bounds: list[ast.expr], body: list[ast.stmt]) -> None:
        values = [self.value(v) for v in bounds]
        start, stop = values[:2] if len(values) > 1 else (ir.Constant(_I64, 0), values[0])
        stride = values[2] if len(values) == 3 else _ONE
        relation = ">" if len(bounds) == 3 and isinstance(bounds[2], ast.UnaryOp) else "<"
        place = self.place(name)
        self.b.store(start, place)
        self.loop(
            lambda: self.b.icmp_signed(relation, self.b.load(place), stop),
            body,
            lambda: self.b.store(self.b.add(self.b.load(place), stride), place),
        )

    def truth(self, e: ast.expr) -> Any:
        """A condition as one bit; every part of `and` and `or` is evaluated only if it decides."""
        match e:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.b.icmp_signed(_COMPARISONS[type(op)], self.value(left), self.value(right))
            case ast.BoolOp():
                return decided(self.b, e, self.truth)
            case _:
                return self.b.icmp_signed("!=", self.value(e), ir.Constant(_I64, 0))

    def named(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        return self.b.load(self.places[name]) if name in self.places else ir.Constant(_I64, self.scope[name])

    def value(self, e: ast.expr) -> Any:
        match e:
            case ast.Constant(value=int(number)):
                return ir.Constant(_I64, number)
            case ast.Name(id=name):
                return self.named(name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                return ir.Constant(_I64, getattr(self.scope[name], attribute))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.b.neg(self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return getattr(self.b, _ARITHMETIC[type(op)])(self.value(left), self.value(right))
            case ast.Compare() | ast.BoolOp():
                return self.b.zext(self.truth(e), _I64)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                args = [self.value(a) for a in arguments]
                return (
                    self.b.call(self.functions[name], args)
                    if name in self.functions
                    else self.scope[name].emit(self.b, *args)
                )
            case _:
                raise NotImplementedError(f"line {e.lineno}: {ast.unparse(e)}")
