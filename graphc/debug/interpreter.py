"""The interpreter of loops: a program's phases over watched memory, the oracle of schedule and code generator.

In: a Program with its loops, inputs and parameters.  Out: the outputs; parameters are changed as a call would change
them.  Statements are turned into functions of an environment once, then run; chunks of a phase run in either order.
Raises DebugError, which names the access, the kernel and the user's lines, and InputError as machine code does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphc.codegen.footprint import places
from graphc.codegen.intrinsics.target import BLOCK
from graphc.codegen.loop_ir import (
    CHECKED,
    OWN,
    Address,
    Call,
    Code,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    LoopProgram,
    Position,
    Set,
    Stmt,
    Store,
    Use,
    Var,
)
from graphc.codegen.printer import print_statement
from graphc.codegen.program import WORKERS, Program
from graphc.codegen.ranges import symbol_of
from graphc.codegen.verify import verify
from graphc.debug.control import Controls
from graphc.debug.functions import function
from graphc.debug.kernels import KERNELS
from graphc.debug.memory import Fault, Memory, Region
from graphc.dims import Dim, evaluate, is_positive
from graphc.errors import DebugError
from graphc.own_scalar import OWN as OWN_SCALARS
from graphc.runtime.arguments import symbol_sizes
from graphc.runtime.workspace import check_constraints
from graphc.schedule.task import Place

Values = np.ndarray[Any, Any]
Env = dict[str, Any]  # by symbol: sizes, integers, scalars, addresses
Run = Callable[[Env], Any]
UNTOLD = 64  # storages of a nest from this number on are no promise to LLVM
STACK = 16  # blocks that one thread's stack bears


class Interpreter:
    """A program ready to be interpreted; its loops are verified."""

    def __init__(self, program: Program, loops: LoopProgram) -> None:
        self.program, self.loops = program, loops
        for number, code in enumerate(loops.phases):
            try:
                if isinstance(code, Code):
                    verify(code, loops.places)
            except AssertionError as error:
                raise DebugError("verify", f"{program.name}: {error}\n{self._where(number)}") from error
        self.memory = Memory()
        self.status: list[Any] = []
        self.phases = [_Phase(self, code) if isinstance(code, Code) else code for code in loops.phases]

    def run(
        self, inputs: Sequence[Values], parameters: Sequence[Values], backwards: bool = False
    ) -> tuple[Values, ...]:
        """The outputs; the arrays of written parameters change in place."""
        p = self.program
        sizes = symbol_sizes(p.name, p.inputs, [a.shape for a in inputs])
        check_constraints(p.name, p.constraints, sizes)
        shapes = [tuple(evaluate(d, sizes) for d in slot.shape) for slot in p.outputs]
        given = {"input": inputs, "parameter": parameters, "constant": [np.asarray(c) for c in p.constants]}
        regions = {Place(kind, k): filled(f"{kind} {k}", a) for kind, all_ in given.items() for k, a in enumerate(all_)}
        for k, (shape, slot) in enumerate(zip(shapes, p.outputs, strict=True)):
            regions[Place("output", k)] = Region(f"output {k}", int(np.prod(shape)) * slot.dtype.size)
        sizes[str(WORKERS)] = max((evaluate(phase.chunks, sizes) for phase in p.phases), default=1)
        for k, b in enumerate(p.buffers):
            regions[Place("buffer", k)] = Region(f"buffer {k}", evaluate(b.nbytes, sizes), (b.first, b.last))
        self.memory.clear()
        self.status.clear()
        addresses = {place: self.memory.add(region, _begins(place)) for place, region in regions.items()}
        addresses |= {Place("list", k): 0 for k in range(len(p.listed))}
        control = Controls(self.memory, sizes, addresses, p.buffers)
        number = 0
        with np.errstate(all="ignore"):
            while number < len(self.phases):
                phase = self.phases[number]
                self.memory.begin_phase(number)
                if isinstance(phase, _Phase):
                    self._phase(number, phase, sizes, addresses, backwards)
                    number += 1
                else:
                    number = control.after(number, phase)
        for k, array in enumerate(parameters):
            array[...] = regions[Place("parameter", k)].array(array.shape, array.dtype)
        return tuple(
            self._output(regions[Place("output", k)], shape, slot.dtype.numpy)
            for k, (shape, slot) in enumerate(zip(shapes, p.outputs, strict=True))
        )

    def _output(self, region: Region, shape: tuple[int, ...], dtype: Any) -> Values:
        try:
            return region.array(shape, dtype)
        except Fault as fault:
            raise DebugError(fault.kind, f"{self.program.name}: {fault}, at the end of the call") from fault

    def _phase(
        self, number: int, phase: _Phase, sizes: dict[str, int], addresses: dict[Place, int], backwards: bool
    ) -> None:
        row = phase.row(sizes, addresses)
        chunks = range(evaluate(self.program.phases[number].chunks, sizes))
        for chunk in reversed(chunks) if backwards else chunks:
            self.memory.begin(chunk)
            try:
                phase.run({**row, "%chunk": chunk, "%worker": chunk})
            except Fault as fault:
                raise self._error(number, phase, chunk, fault) from fault
            if self.status:
                self._fail(number)

    def _error(self, number: int, phase: _Phase, chunk: int, fault: Fault) -> DebugError:
        text = f"{self.program.name}: {fault}, in chunk {chunk}, at\n    {phase.told()}\n{self._where(number)}"
        return DebugError(fault.kind, text)

    def _where(self, number: int) -> str:
        """A phase, and the user's lines of what it computes."""
        lines = self.loops.lines[number]
        more = ["  ..."] if len(lines) > 8 else []
        return "\n".join([f"in phase {number} ({self.program.phases[number].title})", *lines[:8], *more])

    def _fail(self, number: int) -> None:
        """Raise as a call does; no parameter may have been written."""
        for region in self.memory.regions.values():
            if region.name.startswith("parameter") and any(w > 0 for w in region.writers):
                text = f"{region.name} was written before a check failed in phase {number}"
                raise DebugError("failure", f"{self.program.name}: {text}")
        raise self.program.failed(self.status)


class _Phase:
    """The loops of a phase as functions of an environment."""

    def __init__(self, owner: Interpreter, code: Code) -> None:
        self.code, self.status = code, owner.status
        self.memory = owner.memory
        self.addresses: dict[Place, int] = {}
        self.at: Stmt = code.loop
        self.run = self.block(code.loop.body)
        if (blocks := sum(place.kind == "stack" for place in places(code))) > STACK:
            raise DebugError("stack", f"{owner.program.name}: a kernel has {blocks} blocks of 8 kB on the stack")

    def row(self, sizes: dict[str, int], addresses: dict[Place, int]) -> Env:
        """What is known before the loops run."""
        self.addresses = addresses
        words = {symbol_of(name): what for name, what in self.code.words if not isinstance(what, Place)}
        return {**sizes, **{name: evaluate(what, sizes) for name, what in words.items()}}

    def told(self) -> str:
        """The statement that runs."""
        return print_statement(self.code, self.at).split("\n")[0]

    # statements

    def block(self, body: tuple[Stmt, ...]) -> Callable[[Env], None]:
        steps = [(s, self.statement(s)) for s in body]

        def run(env: Env) -> None:
            for s, step in steps:
                self.at = s
                step(env)

        return run

    def statement(self, s: Stmt) -> Callable[[Env], None]:
        match s:
            case Let(var, value) | Set(var, value):
                return self.assigned(symbol_of(var.name), self.expr(value))
            case Store():
                return self.store(s)
            case Use():
                return self.use(s)
            case If():
                return self.choice(s)
            case For():
                return self.loop(s)

    @staticmethod
    def assigned(name: str, value: Run) -> Callable[[Env], None]:
        def run(env: Env) -> None:
            env[name] = value(env)

        return run

    def choice(self, s: If) -> Callable[[Env], None]:
        test, yes, no = self.expr(s.test), self.block(s.yes), self.block(s.no)
        return lambda env: yes(env) if test(env) else no(env)

    def loop(self, s: For) -> Callable[[Env], None]:
        name, lo, hi, step, body = symbol_of(s.var), self.expr(s.lo), self.expr(s.hi), s.step, self.block(s.body)

        def run(env: Env) -> None:
            for i in range(lo(env), hi(env), step):
                env[name] = i
                body(env)

        return run

    def store(self, s: Store) -> Callable[[Env], None]:
        at, value, dtype = index(s.at), self.expr(s.value), s.value.dtype.numpy
        address, told, made, size = self.place(s.place), s.storage < UNTOLD, dtype.type, dtype.itemsize
        memory, nest, storage = self.memory, s.nest, s.storage

        def run(env: Env) -> None:
            start = address()
            if told:
                memory.declare(nest, storage, start, True)
            memory.store(start + at(env) * size, dtype, made(value(env)))

        return run

    def use(self, s: Use) -> Callable[[Env], None]:
        args = [self.expr(a) for a in s.args]
        kernel = {OWN: self.own}.get(s.kernel) or (
            partial(self.checked, s.kernel) if s.kernel in CHECKED else KERNELS[s.kernel]
        )
        dtype = None if s.dtype is None else s.dtype.numpy

        def run(env: Env) -> Any:
            return kernel(self.memory, dtype, s.tile, *(a(env) for a in args))

        return run if s.result is None else self.assigned(symbol_of(s.result.name), run)

    def checked(
        self, kernel: str, memory: Memory, dtype: Any, tile: Any, failure: int, at: int, size: int, iteration: int
    ) -> int:
        """A position from the start; the first that is out of range leaves its traces."""
        wrapped = int(at) + size if at < 0 and kernel == "checked" else int(at)
        if 0 <= wrapped < size:
            return wrapped
        if not self.status:
            self.status[:] = [failure, int(at), size, iteration]
        return 0

    def own(self, memory: Memory, dtype: Any, tile: Any, failure: int, iteration: int, *operands: Any) -> Any:
        """What a function of the user's gives; the first error that it raises leaves its traces."""
        try:
            return np.asarray(OWN_SCALARS[tile[0]].plain(*operands)).astype(dtype)[()]
        except Exception as error:
            if not self.status:
                self.status[:] = [failure, error, 0, iteration]
            return dtype.type(0)

    # expressions

    def expr(self, e: Expr) -> Run:
        match e:
            case Const(value, dtype):
                constant = bool(value) if dtype.kind == "b" else value
                return lambda env: constant
            case Var(name):
                return self.named(symbol_of(name))
            case Position(at):
                return index(at)
            case Load():
                return self.load(e)
            case Address():
                return self.address(e)
            case Call():
                return self.call(e)

    @staticmethod
    def named(name: str) -> Run:
        return lambda env: env[name]

    def call(self, e: Call) -> Run:
        args = [self.expr(a) for a in e.args]
        if e.function in ("and", "or"):
            join = all if e.function == "and" else any
            return lambda env: join(a(env) for a in args)
        f = function(e.function, len(args))
        if len(args) == 1:
            (x,) = args
            return lambda env: f(x(env))
        if len(args) == 2:
            x, y = args
            return lambda env: f(x(env), y(env))
        return lambda env: f(*(a(env) for a in args))

    def load(self, e: Load) -> Run:
        at, some, dtype = index(e.at), index(e.some), e.dtype.numpy
        address, told, size, always = self.place(e.place), e.storage < UNTOLD, dtype.itemsize, is_positive(e.some)
        memory, nest, storage = self.memory, e.nest, e.storage

        def run(env: Env) -> Any:
            if not always and some(env) <= 0:
                return dtype.type(0)
            start = address()
            if told:
                memory.declare(nest, storage, start, False)
            return memory.load(start + at(env) * size, dtype)

        return run

    def address(self, e: Address) -> Run:
        terms = [index(t) for t in e.terms]
        if isinstance(e.base, str):
            name = symbol_of(e.base)
            return lambda env: env[name] + sum(t(env) for t in terms)
        place = self.place(e.base)
        return lambda env: place() + sum(t(env) for t in terms)

    def place(self, place: Place) -> Callable[[], int]:
        if place.kind == "stack":
            return lambda: self.memory.stack(place.number, BLOCK)
        return lambda: self.addresses[place]


def index(p: Dim) -> Callable[[Env], int]:
    """A dimension as a function of the environment."""
    if isinstance(p, int):
        return lambda env: p
    if any(a.kind != "symbol" for monomial, _ in p.terms for a, _ in monomial):
        return lambda env: evaluate(p, env)
    terms = [(c, [a.operands[0] for a, power in monomial for _ in range(power)]) for monomial, c in p.terms]

    def run(env: Env) -> int:
        total = 0
        for value, names in terms:
            for name in names:
                value *= env[name]
            total += value
        return total

    return run


def _begins(place: Place) -> int:
    """How many bytes after a line of cache an array begins: one of the caller's wherever it may."""
    return 8 * (3 * place.number + 1) % 64 if place.kind in ("input", "output") else 0


def filled(name: str, array: Values) -> Region:
    """A region that holds the values of an array that is given."""
    region = Region(name, array.nbytes)
    region.fill(array)
    return region
