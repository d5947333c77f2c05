"""The function that `gc.compile` returns with `Options(debug=True)`: its calls go through the interpreter of loops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from graphc.codegen.program import Program
from graphc.debug.interpreter import Interpreter
from graphc.errors import GraphcError
from graphc.runtime import steps
from graphc.runtime.arguments import Array, symbol_sizes
from graphc.runtime.function import CompiledFunction
from graphc.runtime.native import Native
from graphc.runtime.workspace import Dims, Shape, make_shape
from graphc.state import State


class Interpreted:
    """What stands in the place of a Machine."""

    nbytes = 0  # of workspaces, of which there are none
    threads = 1

    def __init__(self, program: Program, states: Sequence[State]) -> None:
        assert program.loops is not None
        self.program, self.states = program, tuple(states)
        self.single = len(program.outputs) == 1
        self.last_shape: Shape | None = None
        self._interpreter = Interpreter(program, program.loops)
        self._alone = threading.Lock()  # the interpreter has one memory

    def attempt(self, *arrays: Any) -> Any:
        """Always the slow way."""
        return NotImplemented

    def entry(self, caller: Callable[..., Any]) -> Callable[..., Any]:
        """What a call comes to: the caller, which converts and looks at shapes."""
        return caller

    def enter(self, inputs: Sequence[Array], given: Sequence[Array] = ()) -> Any:
        """The outputs; written into `given` if there are any.  Parameters change when all has gone well."""
        self.last_shape = self.shape(tuple(a.shape for a in inputs))
        with self._alone:
            values = [s.read().copy() for s in self.states]
            outputs = self._interpreter.run(inputs, values)
            for k in self.program.writes:
                self.states[k].write(values[k])
        for array, value in zip(given, outputs, strict=False):
            np.copyto(array, value)
        results = tuple(given) or outputs
        return results[0] if self.single else results

    def shape(self, key: tuple[Dims, ...]) -> Shape:
        """What these shapes of the inputs fix.  Raises InputError if they do not fit the program."""
        return make_shape(self.program, key, symbol_sizes(self.program.name, self.program.inputs, key))

    def release(self) -> None:
        """There is nothing to free."""


class DebuggedFunction(CompiledFunction):
    """A compiled function whose calls are interpreted, one after the other."""

    def _made(self, program: Program, native: Native, states: Sequence[State]) -> Any:
        return Interpreted(program, states)

    def _runs(self, inputs: Sequence[Array], batch_size: int) -> AbstractContextManager[Callable[..., Any]]:
        """The same, step by step."""
        steps.sizes(self.program, inputs, batch_size)  # what does not fit shows before the first run
        return nullcontext(lambda order=None: self._one_by_one(steps.plan(self.program, inputs, batch_size, order)))

    def _one_by_one(self, plan: Sequence[Sequence[Array]]) -> list[Array]:
        results = [np.empty(len(plan), s.dtype.numpy) for s in self.program.outputs]
        for k, inputs in enumerate(plan):
            outputs = self._machine.enter(inputs)
            for result, value in zip(results, (outputs,) if self._machine.single else outputs, strict=True):
                result[k] = value
        return results

    def profile(self, /, *args: Any, repeat: int = 100, **kwargs: Any) -> Any:
        """Raises GraphcError: the interpreter's times tell nothing."""
        raise GraphcError(f"{self.name} is interpreted, so its times tell nothing; compile it without debug=True")
