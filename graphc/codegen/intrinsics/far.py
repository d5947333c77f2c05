"""Vector math as routines, for kernels that call so much of it that bodies of their own would take LLVM seconds.

In: what builds one lane of a function.  Out: a call of a routine, a function that names its own vector variants, as
those of `variants.py` do; so the loop around it is vectorised all the same.  A call costs some nanoseconds a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from graphc.codegen.intrinsics.lanes import I64, Lanes
from graphc.codegen.intrinsics.routine import PREFIX, KernelModule, LaneBuilder, Routine
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.intrinsics.variants import name_variants, variant_of

MOST = 12  # calls of vector math for which a kernel has bodies of its own
Emit = Callable[..., ir.Value]


def call_far(builder: ir.IRBuilder, emit: Emit, double: bool, operands: Sequence[ir.Value]) -> ir.Value:
    """Call the routine for one lane of `emit`, a function of vector math on float32 or float64."""
    module: KernelModule = builder.module
    name = f"{emit.__name__}_f{8 if double else 4}"
    function = module.globals.get(PREFIX + name)
    if function is None:
        lane = operands[0].type
        kind = ir.FunctionType(lane, [lane] * len(operands))
        module.routines[name] = Routine(name, kind, lambda b, *x: emit(Lanes(b, double), *x), _variants(name, double))
        function = ir.Function(module, kind, PREFIX + name)
        _declare_variants(module, function, _widths(double))
    return builder.call(function, operands)


def _widths(double: bool) -> tuple[int, ...]:
    """Lanes of the widest vector, and of half of it, which float32 takes where it stands beside float64."""
    widest = host_vector_bytes() // (8 if double else 4)
    return (widest, widest // 2) if widest > 2 else (widest,)


def _declare_variants(module: KernelModule, function: ir.Function, widths: Sequence[int]) -> None:
    """Tell the vectoriser of the variants; they are declared, and must not be dropped before it looks."""
    lane, arity = function.args[0].type, len(function.args)
    name_variants(function, widths)
    for width in widths:
        vector = ir.VectorType(lane, width)
        kind = ir.FunctionType(vector, [vector] * arity)
        module.kept.append(ir.Function(module, kind, variant_of(function.name, width)))


def _variants(name: str, double: bool) -> Callable[[ir.Module, ir.Function], None]:
    def define(module: ir.Module, lane: ir.Function) -> None:
        for width in _widths(double):
            _define_variant(module, lane, width)

    return define


def _define_variant(module: ir.Module, lane: ir.Function, width: int) -> None:
    """The function of a whole vector: a loop over its lanes, in each of which LLVM inlines one and vectorises them."""
    scalar = lane.args[0].type
    vector = ir.VectorType(scalar, width)
    function = ir.Function(module, ir.FunctionType(vector, [vector] * len(lane.args)), variant_of(lane.name, width))
    set.add(function.attributes, '"prefer-vector-width"="512"')
    b = LaneBuilder(function.append_basic_block("entry"))
    arrays = [b.alloca(ir.ArrayType(scalar, width)) for _ in (*function.args, None)]
    for array in arrays:
        array.align = host_vector_bytes()
    for argument, array in zip(function.args, arrays, strict=False):
        b.store(argument, b.bitcast(array, vector.as_pointer()))
    entry, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(I64)
    i.add_incoming(I64(0), entry)
    *operands, result = (b.gep(array, [I64(0), i]) for array in arrays)
    value = b.call(lane, [b.load(o) for o in operands])
    value.attributes.add("alwaysinline")  # or the loop would stay one of calls
    b.store(value, result)
    following = b.add(i, I64(1))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, I64(width)), loop, end)
    b.position_at_end(end)
    b.ret(b.load(b.bitcast(arrays[-1], vector.as_pointer())))
