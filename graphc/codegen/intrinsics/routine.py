"""Routines: functions of their own that kernels call, register tiles, folds and packing among them.

In: a name that stands for what the routine does, all over the world, and what builds its body.  Out: a call of it.  The
module of a kernel declares its routines and notes them, for they are compiled apart, once a machine; any other module
(that of a function compiled by Numba alone) defines its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from llvmlite import ir

from graphc.codegen.intrinsics.target import host_vector_bytes

PREFIX = "graphc_"  # no function of ours may meet a name of the C library
_OWN = ("noinline", "nounwind", "optsize")  # loops as they are written, neither unrolled nor vectorised any further
Body = Callable[..., Any]  # (builder, *arguments) -> the result, or None


class Effort(Enum):
    """How much LLVM makes of a module."""

    LOOPS = auto()  # all that it can: it has loops to vectorise
    LINES = auto()  # good code of what is there: loops are as they should be
    CALLS = auto()  # some code: its time is that of the routines which it calls


class LaneBuilder(ir.IRBuilder):  # type: ignore[misc]
    """Puts `contract` on sums, differences and products, and on nothing else.

    (Numba's own setting would have comparisons carry it too, from where LLVM hands it on to choices, and takes
    max(0, |x|) for max(0, x).)
    """

    flags: Sequence[str] = ("contract",)

    def fadd(self, a: Any, b: Any, name: str = "") -> Any:
        return super().fadd(a, b, name, self.flags)

    def fsub(self, a: Any, b: Any, name: str = "") -> Any:
        return super().fsub(a, b, name, self.flags)

    def fmul(self, a: Any, b: Any, name: str = "") -> Any:
        return super().fmul(a, b, name, self.flags)


def align_stack(function: ir.Function) -> None:
    """Have vectors that find no register lie in one line of cache; LLVM lets them begin at any 16 bytes."""
    set.add(function.attributes, f"alignstack({host_vector_bytes()})")  # llvmlite's own add knows a fixed list only


@dataclass(frozen=True)
class Routine:
    """A function: its name, its LLVM type, what builds its body, and what defines variants of it, if it has any."""

    name: str
    kind: ir.FunctionType
    body: Body
    variants: Callable[[ir.Module, ir.Function], None] | None = None

    @property
    def effort(self) -> Effort:
        """Loops have variants; without these, vectors are explicit."""
        return Effort.LINES if self.variants is None else Effort.LOOPS

    def define(self, module: ir.Module) -> ir.Function:
        """The function with its body."""
        function = ir.Function(module, self.kind, PREFIX + self.name)
        for attribute in _OWN if self.variants is None else ("nounwind",):
            function.attributes.add(attribute)
        align_stack(function)
        builder = LaneBuilder(function.append_basic_block("entry"))
        result = self.body(builder, *function.args)
        if result is None:
            builder.ret_void()
        else:
            builder.ret(result)
        if self.variants is not None:
            self.variants(module, function)
        return function


class KernelModule(ir.Module):  # type: ignore[misc]
    """The module of a kernel: the routines that it calls, and declarations to be kept until LLVM has looked at them.

    `accesses` are the instructions that touch each storage of each nest.  `pointers` has the addresses that are
    pointers in a block already.  `far`: what calls vector math, where it is not built in.  `alone`: what is emitted now
    stands in no loop that LLVM might vectorise.  `late` is linked with it when LLVM has vectorised its loops.
    `is_light`: what is beside its routines takes no time.
    """

    alone, is_light = True, False

    def __init__(self) -> None:
        super().__init__("kernel")
        self.routines: dict[str, Routine] = {}
        self.kept: list[ir.Function] = []
        self.accesses: dict[int, dict[int, list[Any]]] = {}
        self.pointers: dict[tuple[ir.Block, ir.Value], ir.Value] = {}
        self.far: Callable[..., Any] | None = None
        self.late = ir.Module("late")

    @property
    def effort(self) -> Effort:
        """All, if LLVM has more to do than to pass routines their arguments, though there are loops around them."""
        if not self.routines or self.accesses or self.kept:
            return Effort.LOOPS
        return Effort.CALLS if self.is_light else Effort.LINES

    def hint(self, branch: Any, count: int, whole: bool) -> None:
        """Have the loop of this backward branch do so many vectors at a time, if not 0, and not be unrolled before."""
        hints = []
        if count:
            word = ir.MetaDataString(self, "llvm.loop.interleave.count")
            hints.append(self.add_metadata([word, ir.Constant(ir.IntType(32), count)]))
        if whole:
            hints.append(self.add_metadata([ir.MetaDataString(self, "llvm.loop.unroll.disable")]))
        loop = ir.MDValue(self, hints, name=str(len(self.metadata)))
        loop.operands = loop, *hints  # which makes it this loop's own
        branch.set_metadata("llvm.loop", loop)

    def finish(self) -> None:
        """Note what is to be kept, and which accesses are apart, where LLVM looks for it."""
        for nest, storages in self.accesses.items():
            self._tell_apart(f"nest{nest}", storages)
        if self.kept:
            pointers = ir.ArrayType(ir.PointerType(), len(self.kept))
            used = ir.GlobalVariable(self, pointers, "llvm.compiler.used")
            used.linkage, used.section = "appending", "llvm.metadata"
            used.initializer = ir.Constant(pointers, self.kept)

    def _tell_apart(self, nest: str, storages: Mapping[int, Sequence[Any]]) -> None:
        """Say that no access to one storage touches what one to another does."""
        domain = self.add_metadata([ir.MetaDataString(self, nest)])
        scopes = {k: self.add_metadata([ir.MetaDataString(self, f"{nest}.{k}"), domain]) for k in storages}
        for k, instructions in storages.items():
            mine = self.add_metadata([scopes[k]])
            others = self.add_metadata([scope for other, scope in scopes.items() if other != k])
            for instruction in instructions:
                instruction.set_metadata("alias.scope", mine)
                instruction.set_metadata("noalias", others)


def call_routine(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[Any], body: Body) -> Any:
    """Call a routine; the types of the arguments are those of its parameters."""
    module = builder.module
    function = module.globals.get(PREFIX + name)
    if function is None:
        routine = Routine(name, ir.FunctionType(result, [a.type for a in arguments]), body)
        if isinstance(module, KernelModule):
            module.routines[name] = routine
            function = ir.Function(module, routine.kind, PREFIX + name)
        else:
            function = routine.define(module)
            function.linkage = "linkonce_odr"  # Numba links a callee's module into its caller's: one copy survives
    return builder.call(function, arguments)
