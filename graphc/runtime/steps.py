"""Many steps in one call: a compiled loop over minibatches, which comes back at least every 0.2 s to honour signals.

In: a machine, whole arrays, the batch size and perhaps an order of rows.  Out: every output, stacked over the steps.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from graphc.codegen.program import HEADER_WORDS, Program
from graphc.errors import InputError
from graphc.runtime import layout as at
from graphc.runtime import threads
from graphc.runtime.arguments import Array, counted, describe
from graphc.runtime.entry import Words, driver
from graphc.runtime.machine import Machine
from graphc.runtime.workspace import first_output
from graphc.state import address, aligned
from graphc.types import is_int

_SECONDS = 0.1  # how long the compiled loop is meant to run at a time
_BEHIND = 64  # words behind a list
_IN_USE = ".runs: a run that it gave is under way, or its `with` block has ended; each thread needs one of its own"


class Runs:
    """Runs over the rows of the same inputs, in one order or another; what they have in common is found once.

    Frames are held from the first run that needs them to the end of the `with` block that this is used in, and are
    those of one run at a time.
    """

    def __init__(self, machine: Machine, inputs: Sequence[Array], batch_size: Any) -> None:
        self._machine, self._program = machine, machine.program
        self._sliced, self._rows, self._batch = sizes(self._program, inputs, batch_size)
        self._whole = [np.ascontiguousarray(a).reshape(a.shape) for a in inputs]
        self._places = [address(a) for a in self._whole]
        self._held = contextlib.ExitStack()
        self._free = Lock()
        self._known: dict[tuple[int, int, bool], _Run] = {}
        self._rooms: dict[int, dict[int, Array]] = {}
        self._frames: dict[tuple[int, int, bool], Words] = {}

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._free.acquire(blocking=False):  # for good: there are no runs any more
            self._held.__exit__(*error)
        elif error[0] is None:
            raise InputError(self._program.name + _IN_USE)

    def __call__(self, order: Any = None) -> tuple[Array, ...]:
        """The outputs of each step.  Raises InputError before the first step if the order does not fit."""
        if not self._free.acquire(blocking=False):
            raise InputError(self._program.name + _IN_USE)
        try:
            return self._outputs(order)
        finally:
            self._free.release()

    def _outputs(self, order: Any) -> tuple[Array, ...]:
        chosen = _order(self._program, order, self._rows)
        count = self._rows if chosen is None else len(chosen)
        steps = -(-count // self._batch)
        results = tuple(np.empty(steps, s.dtype.numpy) for s in self._program.outputs)
        if steps:
            rest = count - (steps - 1) * self._batch
            run = self._run(self._batch if steps > 1 else rest, rest, chosen is not None)
            if run.shares:
                threads.region().open()  # since the last run there may have been a fork, or more threads allowed
            run.begin(steps, 0 if chosen is None else address(chosen), results)
            _drive(self._machine, run, steps)
        return results

    def _run(self, batch: int, rest: int, ordered: bool) -> _Run:
        """What describes runs whose steps have so many rows, and so many the last."""
        key = batch, rest, ordered
        if key not in self._known:
            self._known[key] = self._described(*key)
        return self._known[key]

    def _described(self, batch: int, rest: int, ordered: bool) -> _Run:
        program, sliced, room = self._program, self._sliced, self._room(batch) if ordered else {}
        counts = sorted({batch, rest}, reverse=True)
        frames = tuple(self._frame(n, batch, ordered) for n in counts)
        shares = any(self._machine.shape(_key(self._whole, sliced, n)).shares for n in counts)
        head = _head(self._machine, frames, len(sliced), batch, rest)
        inputs = [_row(program, k, self._whole[k], self._places[k], _address_of(room, k)) for k in sliced]
        outputs = [_row_of_output(program, k) for k in range(len(program.outputs))]
        return _Run(np.array([*head, *itertools.chain(*inputs, *outputs)], np.int64), frames, shares)

    def _room(self, batch: int) -> dict[int, Array]:
        """Memory for what steps of at most so many rows gather of each input, or list."""
        if batch not in self._rooms:
            self._rooms[batch] = {k: _memory(self._program, self._whole[k], k, batch) for k in self._sliced}
        return self._rooms[batch]

    def _frame(self, rows: int, batch: int, ordered: bool) -> Words:
        """The frame of steps that see so many rows, of at most `batch` in a run."""
        key = rows, batch, ordered
        if key not in self._frames:
            room = self._room(batch) if ordered else {}
            lists = [_address_of(room, k) for k in self._program.listed]
            frame = _prepared(self._machine, _key(self._whole, self._sliced, rows), self._places, lists)
            self._frames[key] = self._held.enter_context(frame)
        return self._frames[key]


@dataclass
class _Run:
    """The words that describe a run to the compiled loop, and its frames."""

    block: Words
    frames: tuple[Words, ...]
    shares: bool  # whether threads share a phase of a step
    budget: int = 1  # how many steps may be done before the loop comes back

    def begin(self, steps: int, order: int, results: Sequence[Array]) -> None:
        """Describe a run of so many steps, in the order at this address."""
        block = self.block
        block[at.STEP], block[at.TAIL_STEP], block[at.ORDER] = 0, steps - 1, order
        first = len(block) - at.RUN_ROW * len(results)
        block[first + at.BASE :: at.RUN_ROW] = [address(r) for r in results]


def sizes(program: Program, inputs: Sequence[Array], batch_size: Any) -> tuple[tuple[int, ...], int, int]:
    """The inputs that are sliced, how many rows they have, and how many a step takes.  Raises InputError for others."""
    sliced = _sliced(program)
    return sliced, _rows(program, inputs, sliced), _batch_size(program, batch_size)


def plan(program: Program, inputs: Sequence[Array], batch_size: int, order: Any) -> list[list[Array]]:
    """The inputs of every step, for who takes them one by one.  Raises InputError if anything does not fit."""
    sliced, rows, batch = sizes(program, inputs, batch_size)
    chosen = _order(program, order, rows)
    every = np.arange(rows) if chosen is None else chosen
    parts = [every[k : k + batch] for k in range(0, len(every), batch)]
    return [[a[part] if k in sliced else a for k, a in enumerate(inputs)] for part in parts]


def _batch_size(program: Program, value: Any) -> int:
    if not is_int(value) or value < 1:
        raise InputError(f"{program.name}.run: batch_size must be an int >= 1, got {value!r}")
    return int(value)


def _sliced(program: Program) -> tuple[int, ...]:
    """The inputs that begin with the one leading symbol."""
    for slot in program.outputs:
        if slot.shape:
            raise InputError(
                f"{program.name}.run: every output must be a scalar, but one is {slot.dtype}{list(slot.shape)}"
            )
    names = sorted(program.leading)
    if len(names) != 1:
        what = f"several do: {', '.join(names)}" if names else "none does"
        raise InputError(f"{program.name}.run: the inputs to be sliced begin with one symbolic dimension; here {what}")
    return program.leading[names[0]]


def _rows(program: Program, whole: Sequence[Array], sliced: Sequence[int]) -> int:
    """How many rows the sliced inputs have, all the same."""
    counts: dict[int, str] = {}
    for k in sliced:
        slot, array = program.inputs[k], whole[k]
        if array.ndim != len(slot.shape):
            has = counted(len(slot.shape), "dimension")
            raise InputError(f"{program.name}.run: {describe(slot)} has {has}, got shape {list(array.shape)}")
        counts.setdefault(len(array), slot.name)
    if len(counts) > 1:
        text = ", ".join(f"{name!r} has {n}" for n, name in counts.items())
        raise InputError(f"{program.name}.run: the sliced inputs must have the same number of rows, but input {text}")
    return next(iter(counts))


def _order(program: Program, order: Any, rows: int) -> Array | None:
    """`order` as int64 positions that exist, in memory of our own: the caller may write theirs while steps run."""
    if order is None:
        return None
    try:
        array = np.array(order)
    except ValueError as error:
        raise InputError(f"{program.name}.run: order must be a 1-d array of ints ({error})") from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{program.name}.run: order must be a 1-d array of ints, got {array.dtype}{list(array.shape)}")
    chosen = np.ascontiguousarray(array, np.int64)
    wrong = chosen.view(np.uint64) >= rows  # a number below 0 is large
    if wrong.any():
        k = int(wrong.argmax())
        raise InputError(f"{program.name}.run: order[{k}] is {array[k]}, but there are rows 0 to {rows - 1}")
    return chosen


def _memory(program: Program, whole: Array, number: int, batch: int) -> Array:
    """Memory for the rows of a step that lie apart from one another, or for the list of where they are.

    It begins a line of cache, as halves of rows do, lest two threads write one line.  Of a list, which is asked for
    rows that come next, something lies behind the last.
    """
    return aligned(8 * (batch + _BEHIND) if number in program.listed else batch * (whole.nbytes // len(whole)))


def _address_of(room: Mapping[int, Array], number: int) -> int:
    return address(room[number]) if number in room else 0


def _key(whole: Sequence[Array], sliced: Sequence[int], rows: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of the inputs of steps that see so many rows."""
    return tuple((rows, *a.shape[1:]) if k in sliced else a.shape for k, a in enumerate(whole))


@contextlib.contextmanager
def _prepared(
    machine: Machine, key: tuple[tuple[int, ...], ...], places: Sequence[int], lists: Sequence[int]
) -> Iterator[Words]:
    """A frame for inputs of these shapes, with the addresses of those that are passed whole, and of lists."""
    first = machine.program.word("list", 0)
    with machine.workspace(machine.shape(key)) as words:
        words[HEADER_WORDS : HEADER_WORDS + len(places)] = places
        words[first : first + len(lists)] = lists
        try:
            yield words
        finally:
            words[first : first + len(lists)] = 0


def _head(machine: Machine, frames: Sequence[Words], sliced: int, batch: int, rest: int) -> list[int]:
    """The first words that describe a run to the compiled loop; `batch`, `rest`: rows of a step and of the last."""
    head = [0] * at.RUN_HEAD
    head[at.DESCRIPTOR], head[at.SLICED] = address(machine.descriptor), sliced
    head[at.IS_BRIEF], head[at.GATHER] = _is_brief(machine.program, frames[0]), driver()["gather"]
    head[at.FULL], head[at.TAIL] = address(frames[0]), address(frames[-1])
    head[at.BATCH], head[at.REST] = batch, rest
    return head


def _row(program: Program, number: int, whole: Array, place: int, room: int) -> list[int]:
    """The words that describe a sliced input."""
    stride = whole.nbytes // len(whole)
    return [HEADER_WORDS + number, place, stride, room, number in program.listed, 0, 0]


def _row_of_output(program: Program, number: int) -> list[int]:
    """The words that describe an output; the address of the results is another in each run."""
    return [first_output(program) + number, 0, program.outputs[number].dtype.numpy.itemsize, 0, 0, 0, 0]


def _is_brief(program: Program, frame: Words) -> bool:
    """Whether a step has phases that are shared where that proves faster."""
    first = program.word("phase", 0)
    return bool(frame[first : first + len(program.phases)].min(initial=0) <= -at.BRIEF)


def _drive(machine: Machine, run: _Run, steps: int) -> None:
    """Run the compiled loop a tenth of a second at a time, alone with the parameters meanwhile."""
    block = run.block
    try:
        while (begin := int(block[at.STEP])) < steps:
            block[at.END] = end = min(begin + run.budget, steps)
            start = time.perf_counter()
            status = machine.in_turn("steps_in_turn", address(block), 0)
            if status:
                raise _failed(machine, run.frames, int(block[at.STEP]), steps)
            seconds = max(time.perf_counter() - start, 1e-9)
            run.budget = max(1, min(8 * run.budget, int((end - begin) * _SECONDS / seconds)))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{machine.program.name}.run: interrupted after {int(block[at.STEP])} of {steps} steps, which are kept"
        ) from None


def _failed(machine: Machine, frames: Sequence[Words], done: int, steps: int) -> InputError:
    error = machine.explain(next(f for f in frames if f[at.STATUS]))
    return InputError(f"{error}\n  in step {done} of {steps}; the {done} steps before it are kept")
