"""Calls of the user's scalar functions, by symbols, which are bound when a kernel is loaded."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.callconv import RETCODE_NONE, RETCODE_OK
from numba.extending import intrinsic

from graphc.codegen.intrinsics.memory import note
from graphc.own_scalar import OWN
from graphc.types import as_dtype

I32, I64 = ir.IntType(32), ir.IntType(64)


def own(number: int) -> Any:
    """The function of this number; where it raises the frame's status is set and 0 comes back."""
    function = OWN[number]

    @intrinsic
    def call(typingctx: Any, frame: Any, chunk: Any, failure: Any, iteration: Any, *kinds: Any) -> Any:
        dtypes = tuple(as_dtype("bool" if k == types.boolean else str(k)) for k in kinds)
        given = function.compiled(dtypes).signature.return_type

        def codegen(context: Any, b: ir.IRBuilder, signature: Any, args: Any) -> Any:
            frame, chunk, failure, iteration, *operands = args
            convention = context.call_conv
            kind = convention.get_function_type(given, kinds)
            with b.goto_entry_block():
                result, told = b.alloca(kind.args[0].pointee), b.alloca(kind.args[1].pointee)
            b.store(ir.Constant(kind.args[0].pointee, None), result)
            packed = convention._get_arg_packer(kinds).as_arguments(b, operands)
            callee = cgutils.get_or_insert_function(b.module, kind, function.symbol(dtypes))
            status = b.call(callee, [result, told, *packed])
            fine = b.or_(b.icmp_signed("==", status, RETCODE_OK), b.icmp_signed("==", status, RETCODE_NONE))
            with b.if_then(b.not_(fine), likely=False):
                where = b.ptrtoint(b.load(told), I64)
                note(b, frame, chunk, (failure, where, I64(0), iteration))
            return context.get_returned_value(b, given, b.load(result))

        return given(*[types.int64] * 4, *kinds), codegen

    return call
