"""Whether this thread takes numbers below the smallest normal one for 0, where a multiply-add with one is slow.

That takes 150 cycles on x86-64; other processors need no help, and keep them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from graphc.codegen.intrinsics.target import has_control_word
from graphc.codegen.intrinsics.vectors import I32, I64, POINTER, integer

_FLUSH = 0x8040  # of MXCSR: results below the smallest normal number are 0, and so are such operands


@intrinsic
def flush(typingctx: Any) -> Any:
    """From here on they count as 0.  Out: what `restore` takes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if not has_control_word():
            return integer(0)
        place = _moved(builder, "stmxcsr")
        word = builder.load(place, typ=I32)
        _moved(builder, "ldmxcsr", builder.or_(word, ir.Constant(I32, _FLUSH)))
        return builder.zext(word, I64)

    return types.int64(), codegen


@intrinsic
def restore(typingctx: Any, word: Any) -> Any:
    """As it was before `flush`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if has_control_word():
            _moved(builder, "ldmxcsr", builder.trunc(arguments[0], I32))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _moved(builder: ir.IRBuilder, instruction: str, value: ir.Value | None = None) -> ir.Value:
    """Move the control word of SSE to or from memory; where it is."""
    with builder.goto_entry_block():
        place = builder.alloca(I32)
    if value is not None:
        builder.store(value, place)
    kind = ir.FunctionType(ir.VoidType(), [POINTER])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{instruction}"), [place])
    return place
