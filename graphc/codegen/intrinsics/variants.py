"""Functions that name their own vector variants, so that LLVM's loop vectoriser widens calls of them.

In: what builds the body of one lane, or of a vector of so many.  Out: the function of one lane, with the attribute
`vector-function-abi-variant`; the vectoriser takes its variants where it makes vectors of the loop around a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

_PURE = ("nounwind", "willreturn", "memory(none)")
Body = Callable[[ir.IRBuilder, int, Sequence[ir.Value]], None]  # the lanes of a vector, 0 of one lane


def variant_of(name: str, width: int) -> str:
    """The name of the variant of so many lanes."""
    return f"{name}.v{width}"


def name_variants(function: ir.Function, widths: Sequence[int]) -> None:
    """Tell the vectoriser of the variants of these widths."""
    name, operands = function.name, "v" * len(function.args)
    names = ",".join(f"_ZGV_LLVM_N{width}{operands}_{name}({variant_of(name, width)})" for width in widths)
    _add(function, *_PURE, f'"vector-function-abi-variant"="{names}"')


def define(
    module: ir.Module,
    name: str,
    result: ir.Type,
    operands: Sequence[ir.Type],
    widths: Sequence[int],
    body: Body,
    late: ir.Module | None = None,
) -> ir.Function:
    """The function of one lane and its variants, which are inlined; what `body` builds ends with a return.

    It has to stay a call until the vectoriser has looked: for good, or its body is in a `late` module, linked in then.
    """
    kind = ir.FunctionType(result, operands)
    function = one = ir.Function(module, kind, name)
    name_variants(function, widths)
    if late is None:
        _add(one, "noinline")
    else:
        one = ir.Function(late, kind, name)
        _add(one, *_PURE, "alwaysinline")
    one.linkage = "linkonce_odr"
    body(ir.IRBuilder(one.append_basic_block()), 0, one.args)
    for width in widths:
        kind, *vectors = (ir.VectorType(lane, width) for lane in (result, *operands))
        variant = ir.Function(module, ir.FunctionType(kind, vectors), variant_of(name, width))
        variant.linkage = "weak_odr"  # only the attribute refers to it, and it has to live until then
        _add(variant, *_PURE, "alwaysinline")
        body(ir.IRBuilder(variant.append_basic_block()), width, variant.args)
    return function


def _add(function: ir.Function, *attributes: str) -> None:
    for attribute in attributes:
        set.add(function.attributes, attribute)  # llvmlite's own add knows a fixed list only
