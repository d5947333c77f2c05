"""What the compiler knows of the machine: the features of Numba's code generator, vectors and the register tile."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache, partial
from math import ceil

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import DTypeLike

SHORT = 16  # vectors: so many are folded where they are, for a call takes as long
SEVERAL = 1 << 16  # bytes of a block, from which on extremes are taken of several parts of it at the same time
BLOCK = 1_024  # elements that a reduction may add in any order; they fit a block of the stack
LINE = 64  # bytes of a line of cache
_SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX")
# Processors that start two multiply-adds of 64 bytes in a cycle, by LLVM's names; of others one is certain.
_TWICE = {
    "skylake-avx512", "cascadelake", "cooperlake", "icelake-server", "sapphirerapids", "emeraldrapids",
    "graniterapids", "graniterapids-d", "diamondrapids", "znver5",
}  # fmt: skip
_FIRST_WITH_TILES = "sapphirerapids"


def compiled_for() -> tuple[str, str]:
    """The processor, by LLVM's name, and the features that kernels are compiled for: Numba's settings are respected.

    Where nothing is set, they are the host's, and Numba need not be imported to tell.
    """
    if os.path.exists(".numba_config.yaml") or any(name in os.environ for name in _SETTINGS):
        from numba.core import config
        from numba.core.registry import cpu_target

        _, name, features = cpu_target.target_context.codegen().magic_tuple()
        if vars(config)["CPU_NAME"]:
            return name, features
    else:
        name, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    return _by_features(name, features), features


def _by_features(name: str, features: str) -> str:
    """The processor that LLVM names by its model, of which a virtual machine may say another, unlike its features."""
    return _FIRST_WITH_TILES if "+amx-tile" in features.split(",") and name not in _TWICE else name


@cache
def host_features() -> frozenset[str]:
    """The target features that Numba compiles with, without their plus signs."""
    _, features = compiled_for()
    return frozenset(feature[1:] for feature in features.split(",") if feature.startswith("+"))


@cache
def has_two_multiply_adds() -> bool:
    """Whether a cycle has two multiply-adds of wide vectors, so that all else of a tile has half as much time."""
    name, _ = compiled_for()
    return host_vector_bytes() == 64 and name in _TWICE


def one_line_a_cycle() -> bool:
    """Whether vectors are lines, and one multiply-add of them starts in a cycle: less waits for memory at a time."""
    return host_vector_bytes() == LINE and not has_two_multiply_adds()


@cache
def underflows_slowly() -> bool:
    """Whether the processor may take 150 cycles to find a product too small, as Intel's do, and AMD's don't."""
    return not compiled_for()[0].startswith("znver")


def host_vector_bytes() -> int:
    """The widest vector register, in bytes."""
    if {"avx512f", "avx512vl", "avx512dq"} <= host_features():
        return 64
    return 32 if "avx2" in host_features() else 16


def has_control_word() -> bool:
    """Whether the processor has MXCSR, which says what becomes of subnormal numbers: each x86-64 has."""
    return platform.machine() in ("x86_64", "AMD64")


def host_vector_registers() -> int:
    """How many vector registers there are: 32 with AVX-512 and on AArch64 (which has neon), else 16."""
    return 32 if host_vector_bytes() == 64 or "neon" in host_features() else 16


def has_many_registers() -> bool:
    """Whether tiles are so large that they read operands half as often as those of 16 registers."""
    return host_vector_registers() == 32


def tile(dtype: DTypeLike, columns: int | None, rows: int | None = None) -> tuple[int, ...]:
    """The register tile (MR rows, NV vectors) for `micro`, for a product of this many rows and columns (None: many).

    Where columns are few, with its tail: how many halves of vectors are left of the columns, 0 if none are.  So where
    they are more and other tiles have idle halves.  What is left of many columns matters little, and products of many
    sizes share their kernel.
    """
    vectors = _in_vectors(columns, dtype)
    broad = vectors or _FEW
    if rows is None or rows > 2:  # for which tiles of 8 vectors read B too often
        broad = min(broad, 4)
    shapes = [(m, n) for m, n in _shapes(rows) if n <= broad]
    one, best = _of_wide_vectors, _BEST
    if has_two_multiply_adds():
        one, best = _of_two_multiply_adds, 0
    elif not has_many_registers():
        one, best = partial(_of_few_registers, size=np.dtype(dtype).itemsize), 0
    shared = _cheapest(shapes, rows, vectors, one, best)
    if columns is None or vectors is None or (vectors > _FEW and not _has_idle(dtype, columns, shared[1])):
        return shared
    if tail_of(dtype, columns, _SOME) == 1:
        shapes = [(m, n) for m, n in shapes if m <= _OF_HALVES]
    height, width = _cheapest(shapes, rows, vectors, one, best, partial(tail_of, dtype, columns))
    return height, width, tail_of(dtype, columns, width)


def _has_idle(dtype: DTypeLike, columns: int, width: int) -> bool:
    """Whether tiles so wide, of which the last one takes all vectors or half of them, have idle halves of wide vectors.

    They take time where one multiply-add starts in a cycle.
    """
    if host_vector_bytes() < LINE or has_two_multiply_adds() or columns * np.dtype(dtype).itemsize > _SOME * LINE:
        return False
    half, rest = -(-width // 2), tail_of(dtype, columns, width)
    return rest not in (0, 2 * half, 2 * width)


def transposed_tile(dtype: DTypeLike, columns: int | None, rows: int | None) -> tuple[int, int]:
    """The register tile (columns of C, vectors of rows) for `micro_transposed`."""
    return _cheapest(_shapes(columns), columns, _in_vectors(rows, dtype))


def _in_vectors(count: int | None, dtype: DTypeLike) -> int | None:
    """How many vectors hold so many elements."""
    return None if count is None else max(1, -(-count * np.dtype(dtype).itemsize // host_vector_bytes()))


def tail_of(dtype: DTypeLike, columns: int, vectors: int) -> int:
    """How many halves of vectors tiles of so many leave of the columns; half of a wide one takes half the time."""
    wide = host_vector_bytes()
    rest = columns * np.dtype(dtype).itemsize % (vectors * wide)
    return -(-rest * 2 // wide) if wide == 64 else -(-rest // wide) * 2


def _shapes(rows: int | None) -> list[tuple[int, int]]:
    """Heights that are good for many rows, and those that cut these rows evenly, with each width.

    Those with two vectors come first: B may come from L2, and the more rows, the less often it is read.
    """
    fewest = -(-rows // 16) if rows else 0
    even = {-(-rows // count) for count in range(fewest, 2 * fewest + 1)} if rows else set()
    heights = {16, 12, 8, 6, 4, 3, 2, 1} | even
    return [(m, n) for n in (2, 3, 4, 1, 8) for m in sorted(heights, reverse=True)]


def dots_tile(columns: int | None, rows: int | None = None) -> tuple[int, int]:
    """The register tile (MR rows, NR columns) for `dots`."""
    shapes = [(2, 8), (4, 4), (3, 4), (3, 3), (4, 6), (2, 4), (2, 5), (1, 4), (1, 5), (1, 8)]
    if columns is not None and columns <= 16:  # with more columns, A comes from L2 and a wider tile reads it less often
        shapes.append((4, 5))
    if columns == 1:  # of more rows the lines meet in L1
        shapes += [(1, 1), (2, 1), (4, 1), (6, 1), (8, 1)]
    return _cheapest(shapes, rows, columns, spare=0)  # (2, 5) needs all 16 registers, and has them


_FEW, _SOME = 16, 64  # vectors of columns
_OF_HALVES = 8  # rows of a tile of half a vector, which waits for the addresses of more
_BEST = 16  # accumulators, where there are registers for more
_MANY = 3 * 4 * 5 * 16 * 64  # rows or columns of a product whose tails do not matter: a multiple of every tile


def _of_a_k(height: int, width: float) -> float:
    """Eighths of a multiply-add for one k of a tile: the machine starts two multiply-adds and two loads in a cycle."""
    # Fewer than 8 accumulators wait for one another; 2 stands for what a tile costs besides.
    return 8 * (max(height * width, height + width, 8) + 2)


def _of_few_registers(height: int, width: float, size: int) -> float:
    """The same for `micro`, where each row of A is a load and an address that moves, measured with AVX2.

    The machine starts six instructions in a cycle; registers hold the addresses of nine rows; accumulators wait now and
    then where they are fewer than twelve; and a vector of B and elements of A, of so many bytes, may come from L2.
    """
    products = height * width
    instructions = products + 2 * height + width + 4
    busy = max(8 * max(products, 8), 8 * instructions // 3 + 8 * max(height - 9, 0))
    return busy + (4 if products < 12 else 0) + 16 * width + size * height + 16


def _of_wide_vectors(height: int, width: float) -> float:
    """The same where vectors are so wide that multiply-adds are all there is to wait for, but for B from L2.

    Each row is one of A, whose lines and those of C may share sets of L1 with the others'.  Halves of vectors wait for
    elements of A, too, and for the addresses of rows that find no register.
    """
    loads = width + height / 2 + max(height - 8, 0) / 2
    return 8 * max(height * width, 2 * width + height // 2, loads, 8 * min(width, 1)) + height


def _of_two_multiply_adds(height: int, width: float) -> float:
    """The same where the machine starts two of them in a cycle, and three instructions for a thread that has company.

    Rows of A come from L2 with those of B; the wider a tile, the more columns are left.
    """
    return 8 * max(height * width / 2, 4, (height * width + height + width + 1) / 3) + height + 3 * width


def _cheapest(
    shapes: list[tuple[int, int]],
    rows: int | None,
    columns: int | None,
    one: Callable[[int, float], float] = _of_a_k,
    best: int = 0,
    tail: Callable[[int], int] | None = None,
    spare: int = 1,
) -> tuple[int, int]:
    """The shape whose tiles cover rows x columns (None: many) in the fewest cycles, `one` for a k of a tile.

    Of equals that with about `best` accumulators, or if that is 0 and rows are known the smallest, then the first.
    `tail`: the halves of what columns are counted in that are left by tiles so wide, if a tile takes only these;
    `spare`: registers that are left free.
    """
    tall, broad = (_MANY if n is None else n for n in (rows, columns))

    def cost(shape: tuple[int, int]) -> tuple[float, int]:
        height, width = shape
        rest = tail(width) / 2 if tail else broad % width
        whole = (broad - ceil(rest)) // width
        row = whole * one(height, width)
        if rest:
            row += one(height, rest if tail else width) + (16 if tail and whole and rest < width else 0)
        return -(-tall // height) * row, (abs(height * width - best) if best or rows is not None else 0)

    # Beside the accumulators stand a row of B, unless it is used at once, and one value of A.
    registers = host_vector_registers() - spare
    fits = [(m, n) for m, n in shapes if m * n + (n if m > 1 else 0) + 1 <= registers]
    return min(fits, key=cost)
