"""Comparing what a program gives: with the interpreter, with NumPy, and gradients with differences.

In: a Program, its nodes, and the values of a run.  Out: findings, at most one of a kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.graph import Graph
from graphc.interpret import interpret

from .evaluate import STEP, UNKNOWN, moved, slopes
from .program import Line, Program, Values


@dataclass(frozen=True)
class Finding:
    """`kind` groups findings; `text` says what differs."""

    kind: str
    text: str


class Comparison:
    """One program, whose `names` are nodes."""

    def __init__(self, program: Program, names: Mapping[str, Any]) -> None:
        self.program, self.names = program, names

    def interpreted(self, names: Sequence[str], values: Mapping[str, Values]) -> dict[str, Values]:
        """The interpreter's values."""
        graph = Graph(tuple(self.names[n] for n in names), tuple(self.names[leaf.name] for leaf in self.program.inputs))
        for node in graph.leaves("parameter"):
            node.attrs["state"].array[...] = values[str(node.name)]
        results = interpret(graph, [values[leaf.name] for leaf in self.program.inputs])
        return dict(zip(names, results, strict=True))

    def findings(
        self,
        stage: str,
        values: Mapping[str, Values],
        oracle: Mapping[str, Values],
        known: Mapping[str, Any],
        actual: Mapping[str, Values],
    ) -> Iterator[Finding]:
        """Of each value of a run, what differs from the interpreter's; of each of those, what differs from NumPy's."""
        signs = stage == "machine" and self.program.kind == "exact"
        for name, array in actual.items():
            target = name.split()[0]
            text = self.differs(array, oracle[target], target, values)
            if text:
                yield Finding(f"{stage}: differs", f"{name}: {text}")
                return
            if signs and (text := _signs(array, oracle[target])):
                yield Finding(f"{stage}: sign", f"{name}: {text}")
                signs = False
            if known[target] is not UNKNOWN and (text := self.differs(oracle[target], known[target], target, values)):
                yield Finding("interpreter: differs", f"{name}, from NumPy: {text}")
                return

    def differs(self, actual: Values, expected: Any, name: str, values: Mapping[str, Values]) -> str:
        """What differs, or nothing."""
        expected = np.asarray(expected)
        if actual.dtype != expected.dtype or actual.shape != expected.shape:
            return f"{actual.dtype}{list(actual.shape)}, should be {expected.dtype}{list(expected.shape)}"
        exact = self.program.kind == "exact"
        bad = self._apart(actual, expected, name, exact)
        text = _first(bad, actual, expected)
        return "" if text and not exact and self._is_unstable(name, values) else text

    def _apart(self, actual: Values, expected: Values, name: str, exact: bool) -> Values:
        """Where values differ by more than rounding; only finite ones have to be met, unless all steps are exact."""
        if expected.dtype.kind != "f":
            return np.asarray(actual != expected)
        single = any(n.dtype == gc.float32 for n in Graph((self.names[name],)).nodes)
        finite = np.isfinite(expected)
        largest = max(np.max(np.abs(expected[finite]), initial=0.0), 1e-3)
        with np.errstate(all="ignore"):
            far = np.abs(actual - expected) > (3e-4 if single else 1e-8) * largest
        bad = finite & (far | ~np.isfinite(actual))
        if exact:
            bad |= np.isnan(actual) != np.isnan(expected)
            bad |= np.isinf(expected) & ~np.isnan(actual) & (actual != expected)
        return np.asarray(bad)

    def _is_unstable(self, name: str, values: Mapping[str, Values]) -> bool:
        """Whether the last bits of the inputs decide the value, so that rounding may."""
        rng = np.random.default_rng(0)
        base = self.interpreted([name], values)[name]
        for _ in range(3):
            other = self.interpreted([name], {n: _jittered(v, rng) for n, v in values.items()})[name]
            if base.dtype.kind != "f":
                if np.any(base != other):
                    return True
                continue
            finite = np.isfinite(base) & np.isfinite(other)
            largest = max(np.max(np.abs(base[finite]), initial=0.0), 1e-3)
            if np.any(np.abs(base - other)[finite] > 1e-9 * largest) or np.any(np.isfinite(base) != np.isfinite(other)):
                return True
        return False

    # gradients

    def gradients(self, values: Mapping[str, Values], known: Mapping[str, Any]) -> Iterator[Finding]:
        """Gradients of the interpreter against differences of NumPy's values."""
        lines = [line for line in self.program.lines if line.wrt and known[line.of] is not UNKNOWN]
        hidden = ("stop_gradient", "float32")  # no cotangent goes on there, or no small difference
        if any(word in line.expression for line in self.program.lines for word in hidden):
            return
        oracle = self.interpreted([t for line in lines for t in line.targets], values)
        for line in lines:
            targets = {wrt: oracle[t] for wrt, t in zip(line.wrt, line.targets, strict=True)}
            text = self._guarded(line, targets, known) if self.program.kind == "guards" else ""
            if text:
                yield Finding("guard", text)
                return
            text = self._sloped(line, targets, known) if known[line.of].dtype == np.float64 else ""
            if text:
                yield Finding("gradient", text)
                return

    def _sloped(self, line: Line, gradients: Mapping[str, Values], known: Mapping[str, Any]) -> str:
        noise = 1e-9 * abs(float(known[line.of])) / STEP
        for wrt, at, slope in slopes(self.program, line, known):
            gradient = float(gradients[wrt][at])
            scale = max(1.0, abs(slope), float(np.max(np.abs(gradients[wrt]), initial=0)))
            if not abs(gradient - slope) <= 2e-4 * scale + noise:
                return f"{line.text}: along {wrt}{list(at)} it is {gradient}, by differences {slope}"
        return ""

    def _guarded(self, line: Line, gradients: Mapping[str, Values], known: Mapping[str, Any]) -> str:
        """No gradient is NaN at a border on both sides of which the scalar is finite."""
        for name in self.program.leaf_names & set(gradients):
            for at in map(tuple, np.argwhere(np.isnan(gradients[name])).tolist()):
                around = [moved(self.program, line, known, name, at, by) for by in (-STEP, 0.0, STEP)]
                if np.all(np.isfinite(around)):
                    return f"{line.text}: along {name}{list(at)} it is NaN, the values around are {around}"
        return ""


def _signs(actual: Values, expected: Values) -> str:
    """Zeros of another sign."""
    if expected.dtype.kind != "f":
        return ""
    zeros = (expected == 0) & (actual == 0)
    return _first(zeros & (np.signbit(actual) != np.signbit(expected)), actual, expected)


def _jittered(value: Values, rng: np.random.Generator) -> Values:
    """Floats with other last bits."""
    if value.dtype.kind != "f":
        return value
    signs = rng.choice([-1, 1], value.shape).astype(value.dtype)
    return np.asarray(value * (1 + signs * np.finfo(value.dtype).eps * 4))


def _first(bad: Values, actual: Values, expected: Values) -> str:
    if not np.any(bad):
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{int(np.sum(bad))} of {bad.size} elements, the first at {list(at)}"
    return f"{where}: {actual[at]!r}, should be {expected[at]!r}"
