"""One program made ready to run: its descriptor, known shapes and workspaces, and the builtins that enter it.

In: a Program, its code, the parameters' storage.  Out: `enter(arrays)`, which returns the outputs.  Arrays are of
exactly the declared dtypes; shapes are checked here when they are seen first.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphc.codegen.program import HEADER_WORDS, Program, Slot
from graphc.errors import InputError
from graphc.runtime import entry
from graphc.runtime import layout as at
from graphc.runtime.arguments import Array, symbol_sizes
from graphc.runtime.native import Native
from graphc.runtime.workspace import (
    Dims,
    Shape,
    Words,
    address,
    first_output,
    frame_words,
    make_shape,
    make_workspace,
    prepared_range,
)
from graphc.state import State

_MOST_SHAPES = 64
_MOST_WORKSPACES = 64


class Machine:
    def __init__(self, program: Program, native: Native, states: Sequence[State]) -> None:
        self.program, self.native, self.states = program, native, tuple(states)
        self.single = len(program.outputs) == 1
        self._constants = tuple(np.ascontiguousarray(c) for c in program.constants)
        self._fixed = [*(s.address for s in states), *(address(c) for c in self._constants)]
        self._lock = threading.RLock()
        self._known: dict[tuple[Dims, ...], Shape] = {}
        self._memory: dict[int, Array] = {}
        self._most = 0
        self._pool = np.zeros(1 + _MOST_WORKSPACES, np.int64)
        self._shapes = np.zeros(1 + _MOST_SHAPES, np.int64)
        self.descriptor = self._describe(given=0)
        self._given = self._describe(given=1)
        self.enter_new: Callable[..., Any]
        self.enter_given: Callable[..., Any]
        if entry.supported():
            self.enter_new, self.enter_given = entry.make_builtin(self.descriptor), entry.make_builtin(self._given)
        else:
            self.enter_new = self.enter_given = self._enter_plainly

    def _describe(self, given: int) -> Words:
        p = self.program
        first, count = prepared_range(p)
        head = {
            at.API: address(entry.api_table()) if entry.supported() else 0,
            at.PROGRAM: self.native["program"],
            at.INPUTS: len(p.inputs),
            at.OUTPUTS: len(p.outputs),
            at.PARAMETERS: len(p.parameters),
            at.PHASES: len(p.phases),
            at.SINGLE: int(self.single),
            at.GIVEN: given,
            at.POOL: address(self._pool),
            at.SHAPES: address(self._shapes),
            at.KEY_DIMS: sum(len(s.shape) for s in p.inputs),
            at.PREPARED_AT: first,
            at.PREPARED: count,
            at.CHUNKS_AT: p.word("phase", 0),
        }
        arrays = [[id(s.dtype.numpy), len(s.shape), s.dtype.numpy.num] for s in (*p.inputs, *p.outputs)]
        guards = [[address(s.lock.words), int(k in p.writes), 0] for k, s in enumerate(self.states)]
        return np.array([*(head[k] for k in range(at.TABLE)), *itertools.chain(*arrays, *guards)], np.int64)

    def enter(self, inputs: Sequence[Array], given: Sequence[Array] = ()) -> Any:
        """The outputs for these inputs: one array or a tuple; written into `given` if there are any."""
        way = self.enter_given if given else self.enter_new
        self.make_ready(inputs)
        result = way(*inputs, *given)
        if result is NotImplemented:  # other calls hold a parameter or the workspace: wait for our turn
            result = self._enter_plainly(*inputs, *given)
        if type(result) is int:
            raise self.failure(result)
        return result

    def make_ready(self, inputs: Sequence[Array]) -> None:
        """Know the shape of the inputs, and have a free workspace for it."""
        shape = self.shape(tuple(a.shape for a in inputs))
        with self._lock:
            frame = self._roomy(shape)
            if frame:
                self._give(frame)

    def shape(self, key: tuple[Dims, ...]) -> Shape:
        """What these shapes of the inputs fix.  Raises InputError if they do not fit the program."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                found = make_shape(self.program, key, symbol_sizes(self.program.name, self.program.inputs, key))
                self._known[key] = found  # first, so that nothing can leave the driver with a shape that is gone
                remember = entry.native_function("remember", holds_gil=True)
                gone = remember(address(self._shapes), found.address, _MOST_SHAPES)
                self._known = {k: s for k, s in self._known.items() if s.address != gone}
            return found

    @contextlib.contextmanager
    def workspace(self, shape: Shape) -> Iterator[Words]:
        """The words of a frame for this shape that nobody else uses meanwhile."""
        with self._lock:
            frame = self._roomy(shape)
            memory = self._memory[frame] if frame else make_workspace(self.program, shape.nbytes, self._fixed)
        words = frame_words(self.program, memory)
        first, count = prepared_range(self.program)
        words[at.LOADED] = 0  # no shape, until all words are there
        words[first:] = shape.words[len(shape.words) - count :]
        words[at.LOADED] = shape.words[at.IDENTITY]
        try:
            yield words
        finally:
            with self._lock:
                if frame:
                    self._give(frame)

    def _roomy(self, shape: Shape) -> int:
        """A workspace from the pool that is large enough, or a new one; 0 if there are too many already."""
        frame = self._take()
        while frame and self._memory[frame].nbytes < shape.nbytes:
            del self._memory[frame]
            frame = self._take()
        if frame or len(self._memory) == _MOST_WORKSPACES:
            return frame
        memory = make_workspace(self.program, max(self._most, shape.nbytes), self._fixed)
        self._most = memory.nbytes
        self._memory[address(memory)] = memory
        return address(memory)

    def _take(self) -> int:
        return entry.native_function("take", holds_gil=True)(address(self._pool), 0, 0)

    def _give(self, frame: int) -> None:
        entry.native_function("give", holds_gil=True)(address(self._pool), frame, 0)

    def failure(self, frame: int) -> InputError:
        """The error that a frame tells of; its workspace goes back into the pool."""
        with self._lock:
            error = self.explain(frame_words(self.program, self._memory[frame]))
            self._give(frame)
            return error

    def explain(self, words: Words) -> InputError:
        """The failure that the words of a frame tell of, at the user's line."""
        failure = self.program.failures[int(words[at.STATUS]) - 1]
        text = failure.text.format(position=int(words[at.POSITION]), value=int(words[at.VALUE]))
        return InputError(f"{self.program.name}: {text}\n  at {failure.line}")

    def release(self) -> None:
        """Free every workspace that no call uses."""
        with self._lock:
            while frame := self._take():
                del self._memory[frame]
            self._most = 0

    def forget_others(self) -> None:
        """In a forked child: workspaces that other threads used are nobody's now."""
        self._lock = threading.RLock()
        free = set(self._pool[1 : 1 + self._pool[0]].tolist())
        self._memory = {k: m for k, m in self._memory.items() if k in free}

    @property
    def nbytes(self) -> int:
        """Bytes of all workspaces."""
        return sum(m.nbytes for m in list(self._memory.values()))

    @property
    def last_shape(self) -> Shape | None:
        """The shape of the last call."""
        latest = int(self._shapes[1])
        return next((s for s in list(self._known.values()) if s.address == latest), None)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else uses the parameters meanwhile."""
        with contextlib.ExitStack() as stack:
            for state in sorted(set(self.states), key=id):  # one order for all, so that no two wait for each other
                stack.enter_context(state.lock)
            yield

    def _enter_plainly(self, *arrays: Array) -> Any:
        """What the driver's `entry` does, but waiting for its turn, and for objects that the driver does not know."""
        p = self.program
        slots = (*p.inputs, *p.outputs)[: len(arrays)]
        if len(arrays) not in (len(p.inputs), len(p.inputs) + len(p.outputs)) or not all(map(_is_exact, arrays, slots)):
            return NotImplemented
        shape = self.shape(tuple(a.shape for a in arrays[: len(p.inputs)]))
        inputs = [np.require(a, requirements=("C", "A")) for a in arrays[: len(p.inputs)]]
        outputs = arrays[len(p.inputs) :] or tuple(
            np.empty(dims, s.dtype.numpy) for dims, s in zip(shape.outputs, p.outputs, strict=True)
        )
        with self.workspace(shape) as words, self.alone():
            words[HEADER_WORDS : first_output(p) + len(outputs)] = [address(a) for a in (*inputs, *outputs)]
            if entry.native_function("execute", holds_gil=False)(address(self.descriptor), address(words), 0):
                raise self.explain(words)
        return outputs[0] if self.single else outputs


def _is_exact(array: Any, slot: Slot) -> bool:
    return type(array) is np.ndarray and array.dtype is slot.dtype.numpy and array.ndim == len(slot.shape)
