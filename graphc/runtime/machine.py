"""One program made ready to run: its descriptor, known shapes and workspaces, and the builtins that enter it.

In: a Program, its code, the parameters' storage.  Out: `enter(arrays)`, which returns the outputs, and the entry of
calls.  Arrays are of exactly the declared dtypes; shapes are checked here when they are seen first.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.codegen.program import HEADER_WORDS, Program, Slot
from graphc.errors import InputError
from graphc.runtime import entry, fork, threads
from graphc.runtime import layout as at
from graphc.runtime.arguments import Array, symbol_sizes
from graphc.runtime.arrays import recycler
from graphc.runtime.entry import Words
from graphc.runtime.native import Native, kernel_name
from graphc.runtime.pool import Pool, Shapes
from graphc.runtime.workspace import (
    Dims,
    Shape,
    first_output,
    frame_words,
    make_shape,
    prepared_range,
)
from graphc.state import ALIGNMENT, Claim, State, address, aligned_copy

if TYPE_CHECKING:
    from graphc.runtime.call import Caller

fork.watch()  # from the import on, so before the first compilation


class Machine:
    def __init__(self, program: Program, native: Native, states: Sequence[State], most_threads: int = 0) -> None:
        self.program, self.native, self.states = program, native, tuple(states)
        self.most_threads = most_threads
        self.single = len(program.outputs) == 1
        entry.check_gil()
        entry.driver()  # if there is none, nothing has been made that it would have to let go
        self._constants = tuple(c if address(c) % ALIGNMENT == 0 else aligned_copy(c) for c in program.constants)
        names = [native[kernel_name(text)] for text in program.kernels]
        rows = zip(program.phases, program.rows, strict=True)
        kernels = [(names[p.kernel] if p.kernel >= 0 else p.kernel, 8 * row) for p, row in rows]
        self._kernels = np.array(kernels, np.int64)
        fixed = [*(s.address for s in states), *(address(c) for c in self._constants)]
        self._pool = Pool(program, fixed)
        self._shapes = Shapes()
        self.descriptor = self._describe({})
        self.attempt = self.attempt_given = self._enter_plainly
        if entry.supported():
            self.attempt = entry.make_builtin(self.descriptor)
            self.attempt_given = entry.make_builtin(self._describe({at.GIVEN: 1}))

    def entry(self, caller: Caller) -> Callable[..., Any]:
        """What a call of a user's comes to: a builtin, which leaves to the caller what is not as it should be."""
        if not entry.supported():
            return caller
        finish = caller.finish
        more = {at.CALLER: id(caller), at.FINISH: id(finish), at.KEYS: id(caller.keys)}
        if caller.container is int:
            more[at.CONTAINER] = at.ALONE
        elif caller.container:
            more |= {at.CONTAINER: id(caller.container), at.SINGLE: 0}
        return entry.make_builtin(self._describe(more, keeps=(caller, finish)))

    def _describe(self, more: Mapping[int, int], keeps: tuple[Any, ...] = ()) -> Words:
        p = self.program
        first, count = prepared_range(p)
        head = {
            at.API: address(entry.api_table()),
            at.KERNELS: address(self._kernels),
            at.INPUTS: len(p.inputs),
            at.OUTPUTS: len(p.outputs),
            at.PARAMETERS: len(p.parameters),
            at.PHASES: len(p.phases),
            at.SINGLE: int(self.single),
            **dict.fromkeys((at.GIVEN, at.CALLER, at.FINISH, at.CONTAINER, at.KEYS), 0),
            at.REGION: threads.region().address,
            at.THREADS: self.most_threads,
            at.HANDLER: id(recycler()[0]) if entry.supported() else 0,
            at.POOL: self._pool.address,
            at.SHAPES: self._shapes.address,
            at.KEY_DIMS: sum(len(s.shape) for s in p.inputs),
            at.PREPARED_AT: first,
            at.PREPARED: count,
            at.BUFFERS: len(p.buffers),
            at.CHUNKS_AT: p.word("phase", 0),
            **dict.fromkeys((at.CYCLED, at.TIME_APART, at.TIME_TOGETHER), 0),
            at.CYCLE: at.SHORT_CYCLE,
            at.CHOSEN: at.APART,
            **more,
        }
        slots = [(s.dtype.numpy, len(s.shape)) for s in (*p.inputs, *p.outputs)]
        arrays = [[id(dtype), rank, dtype.num, dtype.itemsize] for dtype, rank in slots]
        guards = [[address(s.guard), int(k in p.writes), 0, 0] for k, s in enumerate(self.states)]
        words = np.array([*(head[k] for k in range(at.TABLE)), *itertools.chain(*arrays, *guards)], np.int64)
        return entry.Descriptor.of(words, keeps)

    def enter(self, inputs: Sequence[Array], given: Sequence[Array] = ()) -> Any:
        """The outputs for these inputs: one array or a tuple; written into `given` if there are any."""
        way = self.attempt_given if given else self.attempt
        self.make_ready(inputs)
        result = way(*inputs, *given)
        if result is NotImplemented:  # other calls hold a parameter or the workspace: wait for our turn
            result = self._enter_plainly(*inputs, *given)
        if type(result) is bytes:
            raise self.failure(result)
        return result

    def make_ready(self, inputs: Sequence[Array]) -> None:
        """Know the shape of the inputs, and have a free workspace for it."""
        key = tuple(a.shape for a in inputs)
        shape = self.shape(key)
        if shape.shares:
            threads.region().open()
        self._shapes.add(key, shape)  # again, lest an interrupt left it unknown to the driver
        self._pool.give(self._pool.take(shape.nbytes))

    def shape(self, key: tuple[Dims, ...]) -> Shape:
        """What these shapes of the inputs fix.  Raises InputError if they do not fit the program."""
        found = self._shapes.get(key)
        if found is None:
            found = make_shape(self.program, key, symbol_sizes(self.program.name, self.program.inputs, key))
            self._shapes.add(key, found)
        return found

    @contextlib.contextmanager
    def workspace(self, shape: Shape) -> Iterator[Words]:
        """The words of a frame for this shape that nobody else uses meanwhile."""
        if shape.shares:
            threads.region().open()
        memory = self._pool.take(shape.nbytes)
        words = frame_words(self.program, memory)
        first, count = prepared_range(self.program)
        words[at.LOADED] = 0  # no shape, until all words are there
        words[first:] = shape.words[len(shape.words) - count :]
        words[first : first + len(self.program.buffers)] += address(memory)
        words[at.LOADED] = shape.words[at.IDENTITY]
        yield words
        self._pool.give(memory)

    def failure(self, told: bytes) -> InputError:
        """The error that the first words of a frame tell of, at the user's line.  Raises KeyboardInterrupt for one."""
        words = struct.unpack(f"={at.FAILURE_WORDS}q", told)
        if words[at.STATUS] == at.INTERRUPTED:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)  # the driver took the user's; the handler is due
            raise KeyboardInterrupt(f"{self.program.name}: interrupted in a while loop; no parameter has changed")
        return self.program.failed(words)

    def explain(self, words: Words) -> InputError:
        """The error that a frame tells of."""
        return self.failure(words[: at.FAILURE_WORDS].tobytes())

    def release(self) -> None:
        """Free every workspace that no call uses."""
        self._pool.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of all workspaces."""
        return self._pool.nbytes

    @property
    def threads(self) -> int:
        """How many threads may share a phase."""
        allowed = threads.get_num_threads()
        return min(self.most_threads or allowed, allowed)

    @property
    def last_shape(self) -> Shape | None:
        """The shape of the last call."""
        return self._shapes.latest

    def in_turn(self, function: str, first: int, second: int) -> int:
        """The status of a function of the driver that uses the parameters, when no other call and no copy does."""
        run, claim = entry.native_function(function), Claim()
        while (status := int(run(first, second, claim.address))) < 0:
            claim.wait()
        return status

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
        with self.workspace(shape) as words:
            words[HEADER_WORDS : first_output(p) + len(outputs)] = [address(a) for a in (*inputs, *outputs)]
            if self.in_turn("execute_in_turn", address(self.descriptor), address(words)):
                return words[: at.FAILURE_WORDS].tobytes()
        return outputs[0] if self.single else outputs


def _is_exact(array: Any, slot: Slot) -> bool:
    return type(array) is np.ndarray and array.dtype is slot.dtype.numpy and array.ndim == len(slot.shape)
