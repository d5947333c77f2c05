"""CompiledFunction: what gc.compile returns.

In: a Program, its code, the parameters and the structure of the outputs.  Out: a callable.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from graphc.codegen.program import Program
from graphc.errors import InputError
from graphc.runtime import steps
from graphc.runtime.arguments import Array, call_signature, signature
from graphc.runtime.call import Caller
from graphc.runtime.machine import Machine
from graphc.runtime.native import Native
from graphc.runtime.workspace import saved
from graphc.state import State
from graphc.tree import Skeleton, unflatten

if TYPE_CHECKING:
    from graphc.inspect.profile import Profile


class _Callable:
    """What is called finds here, without a line of Python, the builtin of its own."""

    __slots__ = ("__call__",)
    __call__: Callable[..., Any]


class CompiledFunction(_Callable):
    """A compiled graph, called by position or by input name, `f(*inputs, out=None)`; made by `gc.compile`.

    Inputs are arrays of the declared dtypes, or what casts safely to them; Python numbers and lists of them take the
    declared dtype.  Outputs come in the structure that was compiled; a scalar is a 0-d array.  `out`, arrays in that
    structure, is written and returned.  A pickle holds the graph and the parameters' values, never code.

    A call raises InputError for inputs that are missing or do not fit, DTypeError for a cast that may change values; no
    parameter has changed then.

    >>> import numpy as np
    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> f = gc.compile([x], {"double": 2.0 * x, "total": gc.sum(x)})
    >>> f([1.0, 2.0])
    {'double': array([2., 4.]), 'total': array(3.)}
    >>> f(x=[1.0])["total"]
    array(1.)
    >>> f, y = gc.compile([x], 2.0 * x), np.empty(2)
    >>> f([1.0, 2.0], out=y) is y, y
    (True, array([2., 4.]))
    """

    def __init__(
        self,
        program: Program,
        native: Native,
        states: Sequence[State],
        structure: Skeleton,
        *,
        rebuild: tuple[Callable[..., Any], tuple[Any, ...]],
        stats: Mapping[str, Any],
        threads: int = 0,
    ) -> None:
        self._program, self._structure, self._rebuild, self._stats = program, structure, rebuild, dict(stats)
        self._native, self._states = native, states
        self._threads = threads
        self._machine = self._made(program, native, states)
        self._caller = Caller(self._machine, structure)
        self.__call__ = self._machine.entry(self._caller)

    def _made(self, program: Program, native: Native, states: Sequence[State]) -> Machine:
        """What runs the program."""
        return Machine(program, native, states, self._threads)

    def _attempt(self, *args: Any) -> Any:
        """The outputs for arrays exactly as declared, of shapes that were there before; else NotImplemented."""
        result = self._machine.attempt(*args)
        if result is NotImplemented or type(result) is bytes:
            return NotImplemented
        return result if self._caller.is_plain else self._caller.structured(result)

    def _fits(self, arrays: Sequence[Array]) -> bool:
        """Whether arrays of the declared ranks have sizes that a call may have."""
        try:
            self._machine.shape(tuple(a.shape for a in arrays))
        except InputError:
            return False
        return True

    def run(self, /, *args: Any, batch_size: int = 32, order: Any = None, **arrays: Any) -> Any:
        """Many steps in one call, over slices of the inputs that begin with the one leading symbol.

        Step k sees rows k * batch_size and following of those inputs, or the rows that the int array `order` names
        there; the last step may see fewer.  The other `arrays`, all given by name, are passed whole.  Every output is a
        scalar; it comes back as an array of one value a step, as if the function had been called step by step.

        Raises InputError if an input does not fit (before the first step), or if a step fails: the steps before it
        are done, and the error says how many.

        >>> import graphc as gc
        >>> x = gc.input("x", ("n",))
        >>> gc.compile([x], gc.sum(x)).run(x=[1.0, 2.0, 3.0], batch_size=2)
        array([3., 3.])
        """
        with self.runs(*args, batch_size=batch_size, **arrays) as run:
            return run(order)

    @contextmanager
    def runs(self, /, *args: Any, batch_size: int = 32, **arrays: Any) -> Iterator[Callable[..., Any]]:
        """`run` made ready to be called again and again, `run(order=None)`, as for the epochs of a training.

        Raises what `run` raises, for the order not before the call; and InputError where a run is called after the
        `with` block, or while another is under way.  Arrays of the declared dtypes are read at each run, others are as
        they were at the beginning.

        >>> import graphc as gc
        >>> x = gc.input("x", ("n",))
        >>> with gc.compile([x], gc.sum(x)).runs(x=[1.0, 2.0, 3.0], batch_size=2) as run:
        ...     run(), run([2, 1, 0])
        (array([3., 3.]), array([5., 1.]))
        """
        if args:
            names = ", ".join(f"{slot.name}=..." for slot in self._program.inputs)
            raise InputError(f"{self.name}.run takes its inputs by name: run({names})")
        with self._runs(self._caller.inputs((), arrays), batch_size) as run:
            yield lambda order=None: unflatten(self._structure, run(order))

    def _runs(self, inputs: Sequence[Array], batch_size: int) -> AbstractContextManager[Callable[..., Any]]:
        """The outputs of each step, as a function of the order."""
        return steps.Runs(self._machine, inputs, batch_size)

    def without_updates(self) -> CompiledFunction | None:
        """The same function with all parameters left as they are, by the same machine code.

        None where an output is computed in one sweep with the new value of a parameter: then compile it anew.

        >>> import graphc as gc
        >>> w = gc.parameter("w", 1.0)
        >>> look = gc.compile([], w * 2.0, updates={w: w + 1.0}).without_updates()
        >>> look(), w.value
        (array(2.), array(1.))
        """
        program = self._program.without_updates()
        if program is None:
            return None
        again = (CompiledFunction.without_updates, (self,))
        parts = (program, self._native, self._states, self._structure)
        return type(self)(*parts, rebuild=again, stats=self._stats, threads=self._threads)

    @property
    def __signature__(self) -> inspect.Signature:
        """What `inspect.signature` and those who ask it see."""
        return call_signature(self._program.inputs)

    @property
    def name(self) -> str:
        """The name that `gc.compile` was given, which stands in errors."""
        return self._program.name

    @property
    def source(self) -> str:
        """The text that runs."""
        return self._program.text

    @property
    def program(self) -> Program:
        """The program as data."""
        return self._program

    @property
    def stats(self) -> dict[str, Any]:
        """Times of compiling, bytes of the workspaces, how many threads may share a call; of the last call the flops
        and the bytes moved (None before it).

        With `Options(remat="memory")` also, of the last call, the bytes of its workspace with and without what is
        computed again, how many that saves, and the flops that it takes.
        """
        shape = self._machine.last_shape
        return {
            **self._stats,
            "flops": shape and shape.flops,
            "bytes": shape and shape.moved,
            "workspace": self._machine.nbytes,
            "threads": self._machine.threads,
            "remat": shape and saved(self._program, shape),
        }

    def explain(self) -> str:
        """What each pass and the scheduler did, and where the program's data lie, as text.

        >>> import graphc as gc
        >>> x = gc.input("x", ("n",))
        >>> gc.compile([x], x + 1.0).explain().splitlines()[-5:-2]
        ['forward', '  0 add', '      max(((n + 16390) // 16384), 1) chunks; n flops, 16*n bytes']
        """
        from graphc.inspect.explain import explain

        return explain(self)

    def profile(self, /, *args: Any, repeat: int = 100, **kwargs: Any) -> Profile:
        """Time each kernel over `repeat` runs on these inputs, and tell how near to the machine's limit it is.

        The result is a sequence of records, times in microseconds, and a table when printed; `to_json` and `to_html`
        write it.  The times are those of runs of the whole program; beside them stand whole calls.  No parameter
        changes.  Raises InputError where a call would, and if `repeat` is no int >= 1.

        >>> import graphc as gc
        >>> x = gc.input("x", ("n",))
        >>> [kernel.title for kernel in gc.compile([x], x + 1.0).profile([1.0, 2.0])]
        ['add']
        """
        from graphc.inspect.names import outputs_of
        from graphc.inspect.timing import measure

        return measure(self._machine, self._caller.inputs(args, kwargs), outputs_of(self), repeat)

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Write a drawing of the graph and its phases: SVG or, for .dot and .gv, Graphviz's text.

        Raises DeclarationError for a path of another ending, OSError if the file can't be written.

        >>> import pathlib, tempfile
        >>> import graphc as gc
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "f.svg"
        ...     gc.compile([x := gc.input("x", ("n",))], x + 1.0).draw(path)
        ...     path.exists()
        True
        """
        from graphc.inspect.draw import draw

        draw(self, path)

    def _repr_html_(self) -> str:
        from graphc.inspect.draw import page

        return page(self)

    def release(self) -> None:
        """Free the workspaces; the next call makes one.

        >>> import graphc as gc
        >>> f = gc.compile([x := gc.input("x", ("n",))], gc.sum(x))
        >>> _ = f([1.0])
        >>> f.release()
        >>> f.stats["workspace"]
        0
        """
        self._machine.release()

    def __repr__(self) -> str:
        return f"<compiled {self.name}({signature(self._program.inputs)}) -> {self._caller.outputs_text()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._rebuild
