"""Frames and the memory behind them: the plan of the buffers, what a shape fixes, and the pool of workspaces.

In: a Program and the shapes of a call's inputs.  Out: blocks of words that the compiled driver reads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from graphc.codegen.program import HEADER_WORDS, WORKERS, Buffer, Phase, Program
from graphc.codegen.remat import without_remat
from graphc.dims import evaluate
from graphc.errors import InputError
from graphc.ops.save import most_at_once
from graphc.runtime import layout as at
from graphc.runtime.entry import Words, native_function
from graphc.runtime.threads import most_threads
from graphc.state import ALIGNMENT, address, aligned
from graphc.types import Constraint, sizes_text

Memory = np.ndarray[Any, np.dtype[np.uint8]]
Dims = tuple[int, ...]

_RELEASE_WORK = 200_000  # operations and bytes, some 20 microseconds: what is shorter keeps the GIL
_SHARE_WORK = 2_000_000  # the same of one phase, which threads then share: a sleeper takes some 40 microseconds to wake
_BESIDE = 5  # so many times less is shared beside such a phase, for which threads are awake
_BRIEF_FLOPS = 400_000  # operations of one that is shared where that proves faster, unless it rather moves bytes
_A_TRY, _LARGE = 1 << 10, 16  # bytes for which buffers take other turns once; how many of the largest may
_MOST_BYTES = 1 << 46  # more than a process can address
_identities = itertools.count(1)


def plan(sizes: Sequence[int], lifetimes: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Offsets for buffers of these sizes that live from phase to phase (both included), and the bytes they need.

    The largest is placed first, each into the smallest gap that it fits between those alive at the same time.  Where
    that wastes much, a large one takes another turn, at random but always alike, as long as it gets no worse.
    """
    if max(sizes, default=0) > _MOST_BYTES:
        return [0] * len(sizes), max(sizes)
    order = sorted((k for k in range(len(sizes)) if sizes[k]), key=lambda k: (-sizes[k], k))
    rows = np.zeros((len(order), at.BUFFER // 8), np.int64)
    for row, k in zip(rows, order, strict=True):
        row[: at.OFFSET] = _rounded(sizes[k]), *lifetimes[k]
    turns = np.arange(len(order))
    total, found = _arranged(rows, turns)
    least, chosen = most_at_once(rows[:, [at.FIRST, at.LAST, at.SIZE]].tolist()), Random(0)
    for _ in range(_tries(len(order), total, least)):
        late = chosen.randrange(1, min(len(order), _LARGE))
        tried = turns.copy()
        tried[: late + 1] = np.insert(turns[:late], chosen.randrange(late), turns[late])
        again, placed = _arranged(rows, tried)
        if again <= total:
            total, found, turns = again, placed, tried
        if total == least:
            break
    offsets = np.zeros(len(sizes), np.int64)
    offsets[order] = found
    return offsets.tolist(), total


def _arranged(rows: Words, turns: Words) -> tuple[int, Words]:
    """The bytes that buffers need if they are placed in these turns, and their offsets."""
    placed = rows[turns]
    total: int = native_function("arrange")(address(placed), len(placed), 0)
    offsets = np.empty(len(rows), np.int64)
    offsets[turns] = placed[:, at.OFFSET]
    return total, offsets


def _tries(buffers: int, total: int, least: int) -> int:
    """How often it is worth trying: less where less is to be gained; each time takes as there are pairs of buffers."""
    return min(500, total // _A_TRY, 500_000 // buffers**2) if total > 1.01 * least else 0


def _placed(buffers: Sequence[Buffer], sizes: Mapping[str, int]) -> tuple[list[int], int]:
    return plan([evaluate(b.nbytes, sizes) for b in buffers], [(b.first, b.last) for b in buffers])


def saved(program: Program, shape: Shape) -> dict[str, int] | None:
    """What computing again brings at these sizes, and what it costs; None for a program that was not asked to."""
    found = without_remat(program)
    if found is None:
        return None
    words, flops, buffers = found
    without = _rounded(8 * words) + _placed(buffers, shape.sizes)[1]
    return {
        "workspace": shape.nbytes,
        "workspace_without": without,
        "saved": without - shape.nbytes,
        "flops": shape.flops - evaluate(flops, shape.sizes),
    }


def _rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Shape:
    """All that the shapes of the inputs fix; `words` is what the driver reads."""

    sizes: Mapping[str, int]
    outputs: tuple[Dims, ...]
    nbytes: int
    flops: int
    moved: int
    words: Words

    @property
    def shares(self) -> bool:
        """Whether threads share a phase of it."""
        return bool(self.words[at.SHARES])

    @property
    def address(self) -> int:
        return address(self.words)


def make_shape(program: Program, inputs: Sequence[Dims], sizes: Mapping[str, int]) -> Shape:
    """The shape of a call whose symbols have these sizes.

    Raises InputError where a constraint does not hold, MemoryError where no memory could hold the results.
    """
    check_constraints(program.name, program.constraints, sizes)
    chunks = _shared_out(program, sizes)
    shares = min(chunks, default=0) < 0
    said, sizes = sizes_text(sizes), {**sizes, str(WORKERS): most_threads() if shares else 1}
    frame = _rounded(8 * program.words)
    offsets, buffers = _placed(program.buffers, sizes)
    outputs = tuple(tuple(evaluate(d, sizes) for d in slot.shape) for slot in program.outputs)
    flops = sum(evaluate(p.flops, sizes) for p in program.phases)
    moved = sum(evaluate(p.nbytes, sizes) for p in program.phases)
    prepared = [
        *(frame + offset for offset in offsets),  # from the frame, which the driver adds
        *(evaluate(v, sizes) for v in program.values),
        *chunks,
        *[0] * (program.moving + program.counters + len(program.listed)),
    ]
    endless = any(p.kernel == at.TEST for p in program.phases)  # nobody knows how long a while loop takes
    releases = endless or flops + moved > _RELEASE_WORK
    items = [s.dtype.numpy.itemsize for s in program.outputs]
    largest = max((math.prod(dims) * n for dims, n in zip(outputs, items, strict=True)), default=0)
    needed = max(frame + buffers, largest)
    large = largest >= at.LARGE_BYTES
    head = [next(_identities), frame + buffers, int(releases), int(shares), int(large), 0]
    every = [*head, *itertools.chain(*inputs, *outputs), *prepared]
    spans = (math.prod(d or 1 for d in dims) * n for dims, n in zip(outputs, items, strict=True))  # as NumPy has them
    if needed > _MOST_BYTES or max([*every, *spans]) >= 1 << 63:
        raise MemoryError(f"{program.name}: with {said}, a call would need {needed:.1e} bytes or more at once")
    words = np.array(every, np.int64)
    words[at.SHAPE_OWNER] = id(words)
    return Shape(sizes, outputs, frame + buffers, flops, moved, words)


def _shared_out(program: Program, sizes: Mapping[str, int]) -> list[int]:
    """The numbers of chunks, negative where threads share them out: where each has more to do than that costs.

    Who writes an array alone has in his cache what others then read from there, and they what he writes next: in a
    program whose long phases are shared, the short ones are too.
    """
    works = [_work(p, sizes) for p in program.phases]
    least = _SHARE_WORK
    if any(flops + nbytes > least for chunks, flops, nbytes in works if chunks > 1):
        least //= _BESIDE
    return [_shared(*work, least) for work in works]


def _work(phase: Phase, sizes: Mapping[str, int]) -> tuple[int, int, int]:
    """Of a run of a phase: chunks, operations and bytes; 0 where one chunk, as a control phase is, can't be shared."""
    chunks, runs = evaluate(phase.chunks, sizes), max(evaluate(phase.runs, sizes), 1)
    if chunks < 2:
        return chunks, 0, 0
    return chunks, evaluate(phase.flops, sizes) // runs, evaluate(phase.nbytes, sizes) // runs


def _shared(chunks: int, flops: int, nbytes: int, least: int) -> int:
    """The number of chunks of a phase, negative where it has so much work, or is brief."""
    if chunks < 2:
        return chunks
    if flops + nbytes > least:
        return -chunks
    return -chunks - at.BRIEF if flops > max(_BRIEF_FLOPS, nbytes) else chunks


def check_constraints(name: str, constraints: Iterable[tuple[Constraint, str]], sizes: Mapping[str, int]) -> None:
    for constraint, line in constraints:
        if broken := constraint.broken(sizes):
            raise InputError(f"{name}: {broken}\n  declared at {line}")


def make_workspace(program: Program, nbytes: int, fixed: Sequence[int]) -> Memory:
    """Memory for a frame and its buffers; `fixed` are the addresses of parameters and constants."""
    memory = aligned(nbytes)
    words = frame_words(program, memory)
    words[at.CAPACITY], words[at.FRAME_OWNER] = nbytes, id(memory)
    first = program.word("parameter", 0)
    words[first : first + len(fixed)] = fixed
    return memory


def frame_words(program: Program, memory: Memory) -> Words:
    """The words of the frame at the start of a workspace."""
    return memory[: 8 * program.words].view(np.int64)


def prepared_range(program: Program) -> tuple[int, int]:
    """First word that depends on the shape, and how many do."""
    first = program.word("buffer", 0)
    return first, program.words - first


def first_output(program: Program) -> int:
    return HEADER_WORDS + len(program.inputs)
