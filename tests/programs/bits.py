"""What must be the same to the bit: a call and its repetition, whatever was called between, however it is driven.

In: a Program and its compiled function.  Out: findings, at most one of a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from graphc import InputError
from graphc.codegen.intrinsics import memory
from graphc.codegen.intrinsics.routine import LaneBuilder
from graphc.runtime import workspace

from .compare import Finding
from .program import Leaf, Program, Sizes, Values

Call = Callable[[Sequence[Values], Sequence[Values]], tuple[Values, ...]]
REPEATS = 3  # of calls that threads share
BATCHES = 3  # whole ones of a run; a shorter one follows, if the program takes it


@dataclass(frozen=True)
class Driven:
    """A compiled function with the states of its parameters."""

    function: Any
    states: Mapping[str, Any]

    def call(self, inputs: Sequence[Values], parameters: Sequence[Values]) -> tuple[Values, ...]:
        """The outputs of a call that finds these values in the parameters, which take the new ones."""
        self.set(parameters)
        result: tuple[Values, ...] = self.function(*inputs)
        for array, new in zip(parameters, self.get(), strict=True):
            array[...] = new
        return result

    def set(self, parameters: Sequence[Values]) -> None:
        for state, array in zip(self.states.values(), parameters, strict=True):
            state.array[...] = array

    def get(self) -> list[Values]:
        return [state.array.copy() for state in self.states.values()]


class Bits:
    """The checks of one program; `compiled` makes its machine code once more."""

    def __init__(self, program: Program, driven: Driven, compiled: Callable[[], Driven]) -> None:
        self.program, self.driven, self.compiled = program, driven, compiled

    def findings(self, sizes: Sequence[Sizes]) -> Iterator[Finding]:
        """`sizes` are those at which a call succeeds."""
        first = {k: self._result(self.driven.call, s) for k, s in enumerate(sizes)}
        for k in reversed(first):
            text = _apart(first[k], self._result(self.driven.call, sizes[k]))
            if text:
                yield Finding("machine: again", f"at {sizes[k]}, called again after other sizes: {text}")
                break
        yield from self._continued(sizes[:1])
        yield from self._alone(sizes)
        yield from self._run()
        if self.program.seed % 3 == 0:
            yield from self._unscoped(sizes)
        if self.program.seed % 3 == 1:
            yield from self._shared(sizes, first)

    def _result(self, call: Call, sizes: Sizes) -> list[Values]:
        """Outputs and parameters after a call."""
        values = self.program.values(sizes)
        parameters = [values[name].copy() for name in self.driven.states]
        outputs = call([values[leaf.name] for leaf in self.program.inputs], parameters)
        return [*outputs, *parameters]

    def _continued(self, sizes: Sequence[Sizes]) -> Iterator[Finding]:
        """A second call finds what the first one left."""
        for s in sizes if self.program.updates else ():
            inputs = self._inputs(s)
            self._result(self.driven.call, s)
            between = self.driven.get()
            following = [*self.driven.function(*inputs), *self.driven.get()]
            expected = [*self.driven.call(inputs, between), *between]
            text = _apart(expected, following)
            if text:
                yield Finding("machine: continued", f"at {s}, the second of two calls in a row: {text}")

    def _inputs(self, sizes: Sizes) -> list[Values]:
        values = self.program.values(sizes)
        return [values[leaf.name] for leaf in self.program.inputs]

    def _alone(self, sizes: Sequence[Sizes]) -> Iterator[Finding]:
        """Without updates the same outputs come, and parameters stay as they are."""
        function = self.driven.function.without_updates() if self.program.updates else None
        if function is None:
            return
        for s in sizes:
            values = self.program.values(s)
            parameters = [values[name] for name in self.driven.states]
            expected = self._result(self.driven.call, s)[: len(self.program.outputs)]
            self.driven.set(parameters)
            text = _apart([*expected, *parameters], [*function(*self._inputs(s)), *self.driven.get()])
            if text:
                yield Finding("machine: without updates", f"at {s}: {text}")
                return

    def _unscoped(self, sizes: Sequence[Sizes]) -> Iterator[Finding]:
        """Alias scopes change no bit, where LLVM has no choice of what it contracts."""
        with mock.patch.object(LaneBuilder, "flags", ()):
            scoped = self.compiled()
            with mock.patch.object(memory, "MAX_STORAGES", 0):
                plain = self.compiled()
        for s in sizes:
            text = _apart(self._result(scoped.call, s), self._result(plain.call, s))
            if text:
                yield Finding("machine: scopes", f"at {s}, with alias scopes and without: {text}")
                return

    def _shared(self, sizes: Sequence[Sizes], first: Mapping[int, list[Values]]) -> Iterator[Finding]:
        """Threads that share every phase of two chunks change no bit."""
        with mock.patch.object(workspace, "_SHARE_WORK", -1):
            shared = self.compiled()
            for k, s in enumerate(sizes):
                for _ in range(REPEATS):
                    text = _apart(first[k], self._result(shared.call, s))
                    if text:
                        yield Finding("machine: threads", f"at {s}, by several threads and by one: {text}")
                        return

    # run

    def _run(self) -> Iterator[Finding]:
        """`run` over batches, in order and shuffled, gives what calls one after the other give."""
        symbol = self._leading()
        if symbol is None:
            return
        batch = self.program.sizes[symbol]
        rest = max(1, batch - 1)
        lengths = [batch] * BATCHES + [rest] * self._takes({**self.program.sizes, symbol: rest})
        names = [leaf.name for leaf in self.program.inputs if symbol in leaf.shape]
        parts = [self._part(symbol, k, n) for k, n in enumerate(lengths)]
        whole = {n: np.concatenate([p[n] for p in parts]) if n in names else parts[0][n] for n in parts[0]}
        rows = sum(lengths)
        shuffled = np.random.default_rng(self.program.seed).permutation(rows)
        relative = any(leaf.draws == f"position {symbol}" for leaf in self.program.inputs)
        for order in (None,) if relative else (None, shuffled):
            chosen = np.arange(rows) if order is None else order
            text = self._stepped(whole, names, chosen, order, batch)
            if text:
                yield Finding("machine: run", f"batches of {batch} of {rows}, order {order}: {text}")
                return

    def _takes(self, sizes: Sizes) -> bool:
        """Whether all that the program demands of sizes holds for these."""
        try:
            workspace.check_constraints("", self.driven.function.program.constraints, sizes)
        except InputError:
            return False
        return True

    def _stepped(
        self, whole: Mapping[str, Values], names: Sequence[str], chosen: Values, order: Values | None, batch: int
    ) -> str:
        """What differs between `run` and stepping."""
        start = [self.program.values(self.program.sizes)[name] for name in self.driven.states]
        self.driven.set(start)
        results = self.driven.function.run(**whole, batch_size=batch, **({} if order is None else {"order": order}))
        actual = [*results, *self.driven.get()]
        self.driven.set(start)
        steps = []
        for at in range(0, len(chosen), batch):
            rows = chosen[at : at + batch]
            steps.append(self.driven.function(**{n: v[rows] if n in names else v for n, v in whole.items()}))
        expected = [np.array(column) for column in zip(*steps, strict=True)]
        return _apart([*expected, *self.driven.get()], actual)

    def _part(self, symbol: str, number: int, rows: int) -> dict[str, Values]:
        """Inputs of one batch; what has no such axis is the same in all of them."""
        seed, sizes = self.program.seed, self.program.sizes
        return {
            leaf.name: leaf.values(seed + 1_000 * number, {**sizes, symbol: rows})
            if symbol in leaf.shape
            else leaf.values(seed, sizes)
            for leaf in self.program.inputs
        }

    def _leading(self) -> str | None:
        """The one symbol that inputs begin with, if `run` may slice them."""
        inputs = self.program.inputs
        found = {leaf.shape[0] for leaf in inputs if leaf.shape and isinstance(leaf.shape[0], str)}
        inner = {d for leaf in inputs for d in leaf.shape[1:]}
        scalars = all(not slot.shape for slot in self.driven.function.program.outputs)
        symbol = next(iter(found), None)
        if len(found) != 1 or found & inner or not scalars or self.program.sizes[str(symbol)] < 2:
            return None
        return None if any(_tied(leaf, str(symbol)) for leaf in inputs) else str(symbol)


def _tied(leaf: Leaf, symbol: str) -> bool:
    """Whether its values belong to a length that it does not have."""
    return leaf.draws == f"position {symbol}" and symbol not in leaf.shape


def _apart(expected: Sequence[Values], actual: Sequence[Values]) -> str:
    """The first value whose bits differ."""
    for k, (a, b) in enumerate(zip(expected, actual, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"value {k}: {b.dtype}{list(b.shape)}, should be {a.dtype}{list(a.shape)}"
        if a.tobytes() != b.tobytes() and not _same_but_nan(a, b):
            at = next(i for i in np.ndindex(a.shape) if a[i].tobytes() != b[i].tobytes())
            return f"value {k} at {list(at)}: {b[at]!r}, should be {a[at]!r}"
    return ""


def _same_but_nan(a: Values, b: Values) -> bool:
    """Whether only bits of NaNs differ, which nothing promises."""
    return a.dtype.kind == "f" and bool(
        np.all((np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b))))
    )
