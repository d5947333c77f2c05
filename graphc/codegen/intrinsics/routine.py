"""Routines: functions of their own that kernels call, register tiles, folds and packing among them.

In: a name that stands for what the routine does, all over the world, and what builds its body.  Out: a call of it.  The
module of a kernel declares its routines and notes them, for they are compiled apart, once a machine; any other module
(that of a function compiled by Numba alone) defines its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

PREFIX = "graphc_"  # no function of ours may meet a name of the C library
Body = Callable[..., Any]  # (builder, *arguments) -> the result, or None


@dataclass(frozen=True)
class Routine:
    """A function: its name, its LLVM type, and what builds its body."""

    name: str
    kind: ir.FunctionType
    body: Body

    def declare(self, module: ir.Module) -> ir.Function:
        return ir.Function(module, self.kind, PREFIX + self.name)

    def define(self, module: ir.Module) -> ir.Function:
        """The function with its body: loops as they are written, neither unrolled nor vectorised any further."""
        function = self.declare(module)
        for attribute in ("noinline", "nounwind", "optsize"):
            function.attributes.add(attribute)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        result = self.body(builder, *function.args)
        if result is None:
            builder.ret_void()
        else:
            builder.ret(result)
        return function


class KernelModule(ir.Module):  # type: ignore[misc]
    """The module of a kernel; `routines` are those that it calls."""

    def __init__(self) -> None:
        super().__init__("kernel")
        self.routines: dict[str, Routine] = {}


def call_routine(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[Any], body: Body) -> Any:
    """Call a routine; the types of the arguments are those of its parameters."""
    module = builder.module
    function = module.globals.get(PREFIX + name)
    if function is None:
        routine = Routine(name, ir.FunctionType(result, [a.type for a in arguments]), body)
        if isinstance(module, KernelModule):
            module.routines[name] = routine
            function = routine.declare(module)
        else:
            function = routine.define(module)
            function.linkage = "linkonce_odr"  # Numba links a callee's module into its caller's: one copy survives
    return builder.call(function, arguments)
