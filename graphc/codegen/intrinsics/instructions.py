"""Instructions of AVX-512 that take floats apart and put them together, or begin an inverse, for which LLVM has no name
of all machines, and tables that are one or two of its registers.

In: one lane.  Out: a call of a function that names its vector variants (`variants.py`), so that the loop around it is
vectorised.  Each variant is the instruction on a register of its width, one lane the same on the lowest of 128 bits:
so the bits do not depend on the width.  When the vectoriser is through, all of them are put in place
(`graphc.runtime.backend`).  Who asks for one, but for a table, must have looked at `there`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from llvmlite import ir
from numba.core import cgutils

from graphc.codegen.intrinsics.constants import positions, undefined
from graphc.codegen.intrinsics.target import host_features
from graphc.codegen.intrinsics.variants import define

I8, I32 = ir.IntType(8), ir.IntType(32)
PREFIX = "graphc_instruction_"
AS_SET = I32(4)  # round as the control register says
ROUGH = ("rcp14", "rsqrt14")  # nothing to round
# getmant: from 3/4 to 3/2, NaN of negative numbers; range: the smaller size, with the sign of the first
IMMEDIATE = {"getmant": I32(0b1011), "range": I32(0b0010)}


def there() -> bool:
    """Whether the machine has them, on registers of every width."""
    return {"avx512f", "avx512vl", "avx512dq"} <= host_features()


def instruction(builder: ir.IRBuilder, name: str, *lanes: ir.Value) -> ir.Value:
    """`scalef`, `getexp`, `getmant`, `range` (x up to a size, which NaN becomes), or 1/x and 1/sqrt(x) within 2^-14,
    `rcp14` and `rsqrt14`, of one lane, or of whole registers."""
    return _use(builder, name, lanes[0].type, lanes, partial(_emit, name))


def lookup(builder: ir.IRBuilder, name: str, table: Sequence[float], kind: ir.Type, place: ir.Value) -> ir.Value:
    """The number of a table at a place, of which the lowest bits count: 16 float64 or 32 float32, or half as many.

    `name` must stand for the table all over the process.  Without AVX-512 lanes are loaded one by one.
    """
    look_up = _look_up if there() else partial(_load, name)
    return _use(builder, f"lookup_{name}", kind, (place,), partial(look_up, table, kind))


def _use(
    builder: ir.IRBuilder, name: str, kind: ir.Type, operands: Sequence[ir.Value], emit: Callable[..., ir.Value]
) -> ir.Value:
    """What `emit` makes of vectors, of one lane or of whole registers; its results are of this kind."""
    if isinstance(kind, ir.VectorType):
        return emit(builder, *operands)
    module = builder.module
    if getattr(module, "alone", False):
        return _of_one(builder, emit, operands)
    full_name = f"{PREFIX}{name}_{_suffix(kind)}"
    function = module.globals.get(full_name)
    if function is None:

        def body(builder: ir.IRBuilder, count: int, operands: Sequence[ir.Value]) -> None:
            builder.ret(emit(builder, *operands) if count else _of_one(builder, emit, operands))

        narrow = 128 // _bits(kind)
        widths = (narrow, 2 * narrow, 4 * narrow, 8 * narrow)
        late = getattr(module, "late", None)
        function = define(module, full_name, kind, [x.type for x in operands], widths, body, late)
    return builder.call(function, operands)


def _bits(lane: ir.Type) -> int:
    return 64 if isinstance(lane, ir.DoubleType) or lane == ir.IntType(64) else 32


def _suffix(lane: ir.Type) -> str:
    return "pd" if isinstance(lane, ir.DoubleType) else "ps"


def _emit(name: str, builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
    """The instruction on registers: its operands, what lanes that are masked out would be, and the mask of all."""
    kind = operands[0].type
    bits = kind.count * _bits(kind.element)
    if bits > 512:
        return _by_halves(builder, partial(_emit, name), operands)
    mask = ir.Constant(ir.IntType(max(kind.count, 8)), -1)
    masked, immediate = "" if name in ROUGH else "mask.", [IMMEDIATE[name]] if name in IMMEDIATE else []
    rounding = [AS_SET] if masked and bits == 512 else []
    arguments = [*operands, *immediate, undefined(kind), mask, *rounding]
    signature = ir.FunctionType(kind, [a.type for a in arguments])
    full_name = f"llvm.x86.avx512.{masked}{name}.{_suffix(kind.element)}.{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full_name), arguments)


def _look_up(table: Sequence[float], kind: ir.Type, builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    """The numbers of a table at places; always by whole registers of 512 bits."""
    lane = kind.element if isinstance(kind, ir.VectorType) else kind
    count, most = place.type.count, 512 // _bits(lane)
    if count > most:
        return _by_halves(builder, partial(_look_up, table, kind), (place,))
    whole = ir.VectorType(lane, most)
    places = _lanes_of(builder, place, range(most))
    low, *high = (ir.Constant(whole, list(table[k : k + most])) for k in range(0, len(table), most))
    operands = [low, places, *high]
    signature = ir.FunctionType(whole, [x.type for x in operands])
    name = f"vpermi2var.{_suffix(lane)}" if high else {"ps": "permvar.sf", "pd": "permvar.df"}[_suffix(lane)]
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.avx512.{name}.512")
    found = builder.call(function, operands)
    return _lanes_of(builder, found, range(count))


def _load(name: str, table: Sequence[float], kind: ir.Type, builder: ir.IRBuilder, places: ir.Value) -> ir.Value:
    """The numbers of a table at places, from memory."""
    lane = kind.element if isinstance(kind, ir.VectorType) else kind
    full_name = f"{PREFIX}{name}_{_suffix(lane)}"
    numbers = builder.module.globals.get(full_name)
    if numbers is None:
        numbers = ir.GlobalVariable(builder.module, ir.ArrayType(lane, len(table)), full_name)
        numbers.linkage, numbers.global_constant = "internal", True
        numbers.initializer = ir.Constant(numbers.value_type, list(table))
    element, kind = places.type.element, ir.VectorType(lane, places.type.count)
    found = undefined(kind)
    for k in map(I32, range(kind.count)):
        place = builder.and_(builder.extract_element(places, k), element(len(table) - 1))
        found = builder.insert_element(found, builder.load(builder.gep(numbers, [element(0), place])), k)
    return found


def _lanes_of(builder: ir.IRBuilder, vector: ir.Value, lanes: range) -> ir.Value:
    """These lanes of a vector, if they are not all; those beyond its end are anything."""
    if len(lanes) == vector.type.count:
        return vector
    chosen = tuple(min(lane, vector.type.count) for lane in lanes)
    return builder.shuffle_vector(vector, undefined(vector.type), positions(chosen))


def _of_one(builder: ir.IRBuilder, emit: Callable[..., ir.Value], operands: Sequence[ir.Value]) -> ir.Value:
    """The instruction on the lowest lane of 128 bits."""
    lane = operands[0].type
    vector = undefined(ir.VectorType(lane, 128 // _bits(lane)))
    lowest = [builder.insert_element(vector, x, I32(0)) for x in operands]
    return builder.extract_element(emit(builder, *lowest), I32(0))


def _by_halves(builder: ir.IRBuilder, emit: Callable[..., ir.Value], operands: Sequence[ir.Value]) -> ir.Value:
    """The instruction on vectors of two registers: float64 beside as many float32."""
    count = operands[0].type.count
    parts = (range(count // 2), range(count // 2, count))
    halves = [emit(builder, *(_lanes_of(builder, x, part) for x in operands)) for part in parts]
    return builder.shuffle_vector(*halves, positions(range(count)))
