"""A small compiler for functions of int64 words, in which the driver is written.

In: modules of plain Python functions whose values are all int64: assignments, `if`, `while`, `for ... in range(...)`,
arithmetic (division of what is not negative), comparisons, calls of one another and of the operations below.  Out: the
text of an LLVM module in which each is a C function.  Numba would take a hundred times as long, and a second of every
first start; llvmlite's objects, of which the text would be made, twice as long.
"""

from __future__ import annotations

import ast
import inspect
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

Value = str  # as LLVM's text writes it: a number, or the name of what an instruction has made

_X86 = "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
_ARM = "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
_PAUSE = {"x86_64": _X86, "AMD64": _X86, "aarch64": _ARM, "arm64": _ARM}.get(platform.machine())
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.FloorDiv: "udiv",
    ast.BitAnd: "and",
    ast.BitOr: "or",
}
_COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge"}


class Operation:
    """What a word function can call beside its like: `emit(body, *values)` writes the instructions."""

    def __init__(self, emit: Callable[..., Value]) -> None:
        self.emit = emit
        self.__doc__ = emit.__doc__

    def __call__(self, *args: int) -> int:
        raise TypeError("word functions are compiled, never called as Python")


@Operation
def load(body: Body, base: Value, index: Value) -> Value:
    """The word `index` of the block at `base`."""
    return body.new(f"load i64, ptr {_word(body, base, index)}")


@Operation
def store(body: Body, base: Value, index: Value, value: Value) -> Value:
    """Set the word `index` of the block at `base`."""
    body.do(f"store i64 {value}, ptr {_word(body, base, index)}")
    return value


@Operation
def load32(body: Body, address: Value) -> Value:
    """The C int at an address."""
    return body.new(f"sext i32 {body.new(f'load i32, ptr {_pointer(body, address)}')} to i64")


@Operation
def load8(body: Body, address: Value) -> Value:
    """The byte at an address, at least 0."""
    return body.new(f"zext i8 {body.new(f'load i8, ptr {_pointer(body, address)}')} to i64")


@Operation
def stack(body: Body, n: Value) -> Value:
    """The address of n words that live until the function returns."""
    return body.new(f"ptrtoint ptr {body.new(f'alloca i64, i64 {n}')} to i64")


@Operation
def copy(body: Body, to: Value, source: Value, nbytes: Value) -> Value:
    """Copy bytes between places that do not overlap."""
    pointers = f"ptr {_pointer(body, to)}, ptr {_pointer(body, source)}"
    body.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    body.do(f"call void @llvm.memcpy.p0.p0.i64({pointers}, i64 {nbytes}, i1 0)")
    return nbytes


@Operation
def load_at(body: Body, address: Value) -> Value:
    """The word at an address that other threads write."""
    return body.new(f"load atomic i64, ptr {_pointer(body, address)} seq_cst, align 8")


@Operation
def store_at(body: Body, address: Value, value: Value) -> Value:
    """Set the word at an address that other threads read."""
    body.do(f"store atomic i64 {value}, ptr {_pointer(body, address)} seq_cst, align 8")
    return value


@Operation
def add_at(body: Body, address: Value, value: Value) -> Value:
    """Add to a word that other threads change; returns what it was."""
    return body.new(f"atomicrmw add ptr {_pointer(body, address)}, i64 {value} seq_cst")


@Operation
def exchange(body: Body, address: Value, value: Value) -> Value:
    """Set a word that other threads change; returns what it was."""
    return body.new(f"atomicrmw xchg ptr {_pointer(body, address)}, i64 {value} seq_cst")


@Operation
def exchange_if(body: Body, address: Value, old: Value, new: Value) -> Value:
    """Set a word that other threads change if it is `old`; returns whether it was."""
    pair = body.new(f"cmpxchg ptr {_pointer(body, address)}, i64 {old}, i64 {new} seq_cst seq_cst")
    return body.new(f"zext i1 {body.new(f'extractvalue {{ i64, i1 }} {pair}, 1')} to i64")


@Operation
def pause(body: Body) -> Value:
    """Let a moment pass, for who waits for another thread."""
    if _PAUSE:
        declaration, instruction = _PAUSE
        body.declared.add(declaration)
        body.do(instruction)
    return "0"


@Operation
def call(body: Body, function: Value, *args: Value) -> Value:
    """Call the C function at an address."""
    return body.new(f"call i64 {_pointer(body, function)}({_words(args)})")


def _pointer(body: Body, address: Value) -> Value:
    return body.new(f"inttoptr i64 {address} to ptr")


def _word(body: Body, base: Value, index: Value) -> Value:
    return body.new(f"getelementptr i64, ptr {_pointer(body, base)}, i64 {index}")


def _words(values: Iterable[Value]) -> str:
    return ", ".join([f"i64 {value}" for value in values])


def compile_words(modules: Sequence[ModuleType], prefix: str) -> str:
    """The text of an LLVM module with the functions of modules; the names of the C functions begin with `prefix`."""
    definitions = [
        (node, vars(module))
        for module in modules
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.FunctionDef)
    ]
    symbols = {definition.name: prefix + definition.name for definition, _ in definitions}
    bodies = [Body(definition, symbols, scope) for definition, scope in definitions]
    return "\n".join([*(body.text for body in bodies), *sorted(set().union(*(body.declared for body in bodies))), ""])


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


class Body:
    """The walk over one function; an argument that keeps its value is a value, any other variable a place on the stack.

    LLVM turns places into registers.
    """

    def __init__(self, definition: ast.FunctionDef, symbols: Mapping[str, str], scope: Mapping[str, Any]) -> None:
        self.symbols, self.scope = symbols, scope
        self.lines: list[str] = []
        self.declared: set[str] = set()  # what LLVM has, as it has to be told
        self.ended = False  # whether nothing may follow in this block
        self.reached: set[str] = set()  # the blocks that others go to
        self.count = 0  # of names
        arguments = [argument.arg for argument in definition.args.args]
        places = dict.fromkeys(_assigned(definition.body))
        self.values = {name: f"%{name}" for name in arguments if name not in places}
        self.places = {name: f"%{name}.place" for name in places}
        for name, place in self.places.items():
            self.do(f"{place} = alloca i64")
            if name in arguments:
                self.do(f"store i64 %{name}, ptr {place}")
        self.statements(definition.body)
        if not self.ended:
            self.do("ret i64 0")
        head = f"define i64 @{symbols[definition.name]}({_words(f'%{name}' for name in arguments)})"
        self.text = "\n".join([f"{head} {{", *self.lines, "}"])

    # what is written

    def do(self, instruction: str) -> None:
        self.lines.append(instruction)

    def new(self, instruction: str) -> Value:
        """The name of what an instruction makes."""
        self.count += 1
        self.lines.append(f"%.{self.count} = {instruction}")
        return f"%.{self.count}"

    def label(self, what: str) -> str:
        self.count += 1
        return f"{what}.{self.count}"

    def begin(self, block: str) -> None:
        self.lines.append(f"{block}:")
        self.ended = False

    def go(self, block: str) -> None:
        self.end(f"br label %{block}", block)

    def end(self, instruction: str, *blocks: str) -> None:
        self.do(instruction)
        self.reached.update(blocks)
        self.ended = True

    # statements

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.assign(name, self.value(value))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                old = self.named(name)
                self.assign(name, self.new(f"{_ARITHMETIC[type(op)]} i64 {old}, {self.value(value)}"))
            case ast.Return(value=ast.expr() as value):
                self.end(f"ret i64 {self.value(value)}")
            case ast.Expr(value=ast.Call() as value):
                self.value(value)
            case ast.Expr(value=ast.Constant(value=str())):
                pass  # a docstring
            case ast.If():
                self.choice(s)
            case ast.While(test=test, body=body, orelse=[]):
                self.loop(lambda yes, no: self.decide(test, yes, no), body, lambda: None)
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=bounds), body=body, orelse=[]
            ):
                self.counted(name, bounds, body)
            case _:
                raise NotImplementedError(f"line {s.lineno}: {ast.unparse(s)}")

    def assign(self, name: str, value: Value) -> None:
        self.do(f"store i64 {value}, ptr {self.places[name]}")

    def choice(self, s: ast.If) -> None:
        yes, no, after = self.label("then"), self.label("else"), self.label("after")
        self.decide(s.test, yes, no)
        for block, part in ((yes, s.body), (no, s.orelse)):
            self.begin(block)
            self.statements(part)
            if not self.ended:
                self.go(after)
        if after in self.reached:
            self.begin(after)

    def loop(self, decide: Callable[[str, str], None], body: list[ast.stmt], step: Callable[[], None]) -> None:
        test, inside, after = self.label("test"), self.label("loop"), self.label("after")
        self.go(test)
        self.begin(test)
        decide(inside, after)
        self.begin(inside)
        self.statements(body)
        if not self.ended:
            step()
            self.go(test)
        self.begin(after)

    def counted(self, name: str, bounds: list[ast.expr], body: list[ast.stmt]) -> None:
        values = [self.value(v) for v in bounds]
        start, stop = values[:2] if len(values) > 1 else ("0", values[0])
        stride = values[2] if len(values) == 3 else "1"
        relation = "sgt" if len(bounds) == 3 and isinstance(bounds[2], ast.UnaryOp) else "slt"
        self.assign(name, start)
        self.loop(
            lambda yes, no: self.compare(relation, self.named(name), stop, yes, no),
            body,
            lambda: self.assign(name, self.new(f"add i64 {self.named(name)}, {stride}")),
        )

    def decide(self, e: ast.expr, yes: str, no: str) -> None:
        """Go to one of two blocks; each part of `and` and `or` is evaluated only if it decides."""
        match e:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                self.compare(_COMPARISONS[type(op)], self.value(left), self.value(right), yes, no)
            case ast.BoolOp(op=op, values=[*parts, last]):
                for part in parts:
                    further = self.label("further")
                    self.decide(part, *((further, no) if isinstance(op, ast.And) else (yes, further)))
                    self.begin(further)
                self.decide(last, yes, no)
            case _:
                self.compare("ne", self.value(e), "0", yes, no)

    def compare(self, relation: str, left: Value, right: Value, yes: str, no: str) -> None:
        bit = self.new(f"icmp {relation} i64 {left}, {right}")
        self.end(f"br i1 {bit}, label %{yes}, label %{no}", yes, no)

    # values

    def named(self, name: str) -> Value:
        if name in self.values:
            return self.values[name]
        return self.new(f"load i64, ptr {self.places[name]}") if name in self.places else str(self.scope[name])

    def value(self, e: ast.expr) -> Value:
        match e:
            case ast.Constant(value=int(number)):
                return str(number)
            case ast.Name(id=name):
                return self.named(name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                return str(getattr(self.scope[name], attribute))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.new(f"sub i64 0, {self.value(operand)}")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self.new(f"{_ARITHMETIC[type(op)]} i64 {self.value(left)}, {self.value(right)}")
            case ast.Compare() | ast.BoolOp():
                return self.truth(e)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                values = [self.value(a) for a in arguments]
                if name in self.symbols:
                    return self.new(f"call i64 @{self.symbols[name]}({_words(values)})")
                emitted: Value = self.scope[name].emit(self, *values)
                return emitted
            case _:
                raise NotImplementedError(f"line {e.lineno}: {ast.unparse(e)}")

    def truth(self, e: ast.expr) -> Value:
        """A condition as 1 or 0."""
        yes, no, after = self.label("true"), self.label("false"), self.label("after")
        self.decide(e, yes, no)
        for block in (yes, no):
            self.begin(block)
            self.go(after)
        self.begin(after)
        return self.new(f"phi i64 [1, %{yes}], [0, %{no}]")
