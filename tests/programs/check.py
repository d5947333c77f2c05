"""What must hold of a program: it compiles, runs within bounds, and gives what the interpreter and NumPy give.

In: a Program.  Out: findings, each with one kind; none if all is well.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import DeclarationError, InputError
from graphc.graph import Graph, Node
from graphc.interpret import interpret

from . import draw
from .evaluate import STEP, UNKNOWN, evaluate, moved, repeat, slopes
from .memory import Fault
from .program import Line, Program, Sizes, Values
from .simulate import Simulation, small_borders

_compile = importlib.import_module("graphc.compile")
SECONDS = 3  # for one stage of one program


_FIXED_SLICE = re.compile(r"\[[^\]]*:-?[12]\b|\[[^\]]*-?[12]:")


@dataclass(frozen=True)
class Finding:
    """`kind` groups findings; `text` says what differs."""

    kind: str
    text: str


class Late(Exception):
    """A stage took too long."""


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def declared(program: Program) -> dict[str, Any]:
    """The nodes by name."""
    names: dict[str, Any] = {"gc": gc, "np": np, "repeat": repeat}
    exec(compile(program.declaration(), f"program {program.seed}", "exec"), names)
    return names


def check(program: Program, machine: bool | None = None) -> list[Finding]:
    """All findings of one program; `machine` says whether it is compiled to machine code, whatever was drawn."""
    if program.stray:
        return _refused(program)
    try:
        with limited():
            names = declared(program)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return [_broken("declare", error)]
    if not program.outputs:
        return []
    checked = _Checked(program, names)
    checked.text()
    if program.machine if machine is None else machine:
        checked.machine()
    return checked.findings


def _refused(program: Program) -> list[Finding]:
    """A dimension that no input has is refused, at the user's line."""
    try:
        with limited():
            _printed(program, _unit(program, declared(program)))
    except DeclarationError as error:
        named = f"program {program.seed}:" in str(error) and "stray" in str(error)
        return [] if named else [Finding("stray: line", str(error))]
    except Exception as error:
        return [_broken("stray", error)]
    return [Finding("stray: compiles", "a dimension that no input has")]


def text_of(program: Program) -> str:
    """The text of its kernels."""
    return _printed(program, _unit(program, declared(program))).text


def _unit(program: Program, names: Mapping[str, Any]) -> Any:
    inputs = [names[leaf.name] for leaf in program.inputs]
    outputs = tuple(names[n] for n in program.outputs)
    updates = {names[p]: names[v] for p, v in program.updates}
    return _compile._unit(inputs, outputs, updates, gc.Options(cache=False), "random")


def _printed(program: Program, unit: Any) -> Any:
    with ExitStack() as stack:
        if program.small:
            stack.enter_context(small_borders())
        return _compile._printed(unit)


def _broken(stage: str, error: BaseException) -> Finding:
    """An error where none is due, with the place in graphc that it comes from."""
    if isinstance(error, Fault):
        return Finding(f"{stage}: {error.kind}", str(error))
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f"{Path(f.filename).name}:{f.name}" for f in frames if "/graphc/" in f.filename]
    where = inside[-1] if inside else ""
    if isinstance(error, RecursionError | Late):
        where = inside[0] if inside else ""
    return Finding(f"{stage}: {type(error).__name__} {where}", f"{type(error).__name__}: {str(error)[:600]}")


class _Checked:
    def __init__(self, program: Program, names: Mapping[str, Any]) -> None:
        self.program, self.names = program, names
        self.findings: list[Finding] = []
        self.sure = self._apart_from_gradients()

    def _apart_from_gradients(self) -> Program:
        """What is needed for values, not for gradients: the lines whose errors must show."""
        needed = draw.needed(self.program, through_gradients=False)
        gradients = {t for line in self.program.lines if line.wrt for t in line.targets}
        lines = []
        for line in self.program.lines:
            if line.wrt or gradients & set(draw.words_of(line.expression)):
                gradients |= set(line.targets)
            elif needed & set(line.targets):
                lines.append(line)
        return replace(self.program, lines=tuple(lines))

    # stages

    def text(self) -> None:
        """The text, run as Python at every choice of sizes."""
        try:
            with limited():
                unit = _unit(self.program, self.names)
                simulation = Simulation(_printed(self.program, unit))
        except Exception as error:
            self.findings.append(_broken("compile", error))
            return
        for k, sizes in enumerate((self.program.sizes, *self.program.other_sizes)):
            self._run("text", sizes, lambda i, p, k=k: simulation.run(i, p, backwards=k % 2 == 1), first=k == 0)
            if self.findings:
                return
        if any(leaf.draws.startswith("position") for leaf in self.program.leaves):
            self._run("text", self.program.sizes, simulation.run, astray=True)

    def machine(self) -> None:
        """Machine code."""
        unit = _unit(self.program, self.names)
        try:
            with limited(5 * SECONDS):
                function = _compile._compile(unit)
        except Exception as error:
            self.findings.append(_broken("machine", error))
            return
        states = {p.name: p.attrs["state"] for p in unit.parameters}

        def run(inputs: Sequence[Values], parameters: Sequence[Values]) -> tuple[Values, ...]:
            for state, array in zip(states.values(), parameters, strict=True):
                state.array[...] = array
            result = function(*inputs)
            for state, array in zip(states.values(), parameters, strict=True):
                array[...] = state.array
            return result

        for sizes in (self.program.sizes, *self.program.other_sizes):
            self._run("machine", sizes, run)

    # one choice of sizes

    def _run(self, stage: str, sizes: Sizes, run: Any, first: bool = False, astray: bool = False) -> None:
        values = self.program.values(sizes, astray)
        unit = _unit(self.program, self.names)
        must, may = self._raises(sizes, astray)
        inputs = [values[leaf.name] for leaf in self.program.inputs]
        parameters = {str(n.name): values[str(n.name)] for n in unit.parameters}
        after = [a.copy() for a in parameters.values()]
        where = f"at {sizes}" + (", a position beyond its axis" if astray else "")
        oracle: Mapping[str, Values] = {}
        try:
            oracle = self._interpreted([*self.program.outputs, *(v for _, v in self.program.updates)], values)
        except Exception as error:  # where a constraint does not hold
            must = must or f"the interpreter: {type(error).__name__}: {error}"
        try:
            with limited(), np.errstate(all="ignore"):
                outputs = run(inputs, after)
        except InputError as error:
            if not may and not must:
                self.findings.append(Finding(f"{stage}: raises", f"{where}: {error}"))
            elif f"program {self.program.seed}:" not in str(error):
                self.findings.append(Finding(f"{stage}: line", f"the user's line is lost: {error}"))
            return
        except Exception as error:
            self.findings.append(_broken(stage, error))
            return
        if must:
            self.findings.append(Finding(f"{stage}: runs", f"{where} an error is due: {must}"))
            return
        actual = dict(zip(self.program.outputs, outputs, strict=True))
        updated = dict(self.program.updates)
        for (name, before), array in zip(parameters.items(), after, strict=True):
            if name not in updated and before.tobytes() != array.tobytes():
                self.findings.append(Finding(f"{stage}: parameter", f"{name} changed"))
            if name in updated:
                actual[f"{updated[name]} in {name}"] = array
        self._compare(stage, where, sizes, oracle, actual, first, astray)

    def _raises(self, sizes: Sizes, astray: bool) -> tuple[str, bool]:
        """Why a call must raise ("" if it need not), and whether it may."""

        def error(program: Program, sizes: Sizes) -> str:
            try:
                evaluate(program, sizes, astray)
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            return ""

        # a symbol never broadcasts as 1: where NumPy complains of 11 in its place, graphc must complain of 1
        apart = {s: 11 if n == 1 else n for s, n in sizes.items()}
        must = error(self.sure, sizes)
        may = must or error(self.sure, apart) or error(self.program, sizes) or error(self.program, apart)
        if min(sizes.values(), default=9) < 3 and any(
            _FIXED_SLICE.search(line.expression) for line in self.program.lines
        ):
            may = "a slice of fixed length"  # graphc wants it whole where NumPy cuts it
        if not must and 0 not in sizes.values():
            must = error(self.sure, apart)
        if any(v is UNKNOWN for v in evaluate(self.program, self.program.sizes).values()):
            may = "what is made from gradients may ask for more"
        return must, bool(may)

    def _compare(
        self,
        stage: str,
        where: str,
        sizes: Sizes,
        oracle: Mapping[str, Values],
        actual: Mapping[str, Values],
        first: bool,
        astray: bool,
    ) -> None:
        try:
            known = evaluate(self.program, sizes, astray)
        except Exception:  # of a line that only gradients need; the interpreter must do
            known, first = dict.fromkeys(oracle, UNKNOWN), False
        for name, array in actual.items():
            target = name.split()[0]
            expected = oracle[target]
            text = self._differs(array, expected, target)
            if text:
                self.findings.append(Finding(f"{stage}: differs", f"{where} {name}: {text}"))
                return
            if stage == "machine" and self.program_kind == "exact":
                self._signs(where, name, array, expected)
            plain = known[target]
            if plain is UNKNOWN:
                continue
            text = self._differs(expected, plain, target)
            if text:
                self.findings.append(Finding("interpreter: differs", f"{where} {name}, from NumPy: {text}"))
                return
        if first:
            gradients = [t for line in self.program.lines if line.wrt for t in line.targets]
            self._slopes(self._interpreted(gradients, self.program.values(sizes)), known)

    def _interpreted(self, names: Sequence[str], values: Mapping[str, Values]) -> dict[str, Values]:
        nodes: list[Node] = [self.names[n] for n in names]
        graph = Graph(tuple(nodes), tuple(self.names[leaf.name] for leaf in self.program.inputs))
        for node in graph.leaves("parameter"):
            node.attrs["state"].array[...] = values[str(node.name)]
        results = interpret(graph, [values[leaf.name] for leaf in self.program.inputs])
        return dict(zip(names, results, strict=True))

    def _differs(self, actual: Values, expected: Any, name: str) -> str:
        """What differs, or nothing."""
        expected = np.asarray(expected)
        if actual.dtype != expected.dtype or actual.shape != expected.shape:
            return f"{actual.dtype}{list(actual.shape)}, should be {expected.dtype}{list(expected.shape)}"
        if expected.dtype.kind != "f":
            return _first(actual != expected, actual, expected)
        exact = self.program_kind == "exact"
        finite = np.isfinite(expected)
        bad = finite & ~np.isfinite(actual)
        if exact:
            bad |= (np.isnan(actual) != np.isnan(expected)) | (
                np.isinf(expected) & (actual != expected) & ~np.isnan(actual)
            )
        single = any(n.dtype == gc.float32 for n in Graph((self.names[name],)).nodes)
        largest = max(np.max(np.abs(expected[finite]), initial=0.0), 1e-3)
        with np.errstate(all="ignore"):
            bad |= finite & (np.abs(actual - expected) > (3e-4 if single else 1e-8) * largest)
        text = _first(bad, actual, expected)
        return "" if text and not exact and self._is_unstable(name) else text

    def _signs(self, where: str, name: str, actual: Values, expected: Values) -> None:
        """Zeros have the interpreter's signs, where every step is exact."""
        if expected.dtype.kind == "f" and not any(f.kind == "machine: sign" for f in self.findings):
            zeros = (expected == 0) & (actual == 0)
            text = _first(zeros & (np.signbit(actual) != np.signbit(expected)), actual, expected)
            if text:
                self.findings.append(Finding("machine: sign", f"{where} {name}: {text}"))

    @property
    def program_kind(self) -> str:
        from .profiles import profile_of

        return profile_of(self.program.seed)

    def _is_unstable(self, name: str) -> bool:
        """Whether the last bits of the inputs decide the value, so that rounding may."""
        values = self.program.values(self.program.sizes)
        rng = np.random.default_rng(0)
        base = self._interpreted([name], values)[name]
        for _ in range(3):
            moved = {
                n: v * (1 + rng.choice([-1, 1], v.shape).astype(v.dtype) * np.finfo(v.dtype).eps * 4)
                if v.dtype.kind == "f"
                else v
                for n, v in values.items()
            }
            other = self._interpreted([name], moved)[name]
            finite = np.isfinite(base) & np.isfinite(other)
            largest = max(np.max(np.abs(base[finite]), initial=0.0), 1e-3)
            if np.any(np.abs(base - other)[finite] > 1e-9 * largest) or np.any(np.isfinite(base) != np.isfinite(other)):
                return True
        return False

    def _slopes(self, oracle: Mapping[str, Values], known: Mapping[str, Any]) -> None:
        """Gradients against differences, in float64."""
        if any("stop_gradient" in line.expression for line in self.program.lines):
            return
        for line in self.program.lines:
            if not line.wrt or known[line.of] is UNKNOWN:
                continue
            targets = dict(zip(line.wrt, line.targets, strict=True))
            if self.program_kind == "guards":
                self._guarded(line, {wrt: oracle[t] for wrt, t in targets.items()}, known)
            if known[line.of].dtype != np.float64:
                continue
            for wrt, at, slope in slopes(self.program, line, known):
                gradient = float(oracle[targets[wrt]][at])
                scale = max(1.0, abs(slope), float(np.max(np.abs(oracle[targets[wrt]]), initial=0)))
                if not abs(gradient - slope) <= 2e-4 * scale + 1e-9 * abs(float(known[line.of])) / 1e-6:
                    text = f"{targets[wrt]}{list(at)} is {gradient}, by differences {slope}"
                    self.findings.append(Finding("gradient", text))
                    return

    def _guarded(self, line: Line, gradients: Mapping[str, Values], known: Mapping[str, Any]) -> None:
        """No gradient is NaN at a border on both sides of which the scalar is finite."""
        for name, gradient in gradients.items():
            if name not in self.program.leaf_names:
                continue
            for at in map(tuple, np.argwhere(np.isnan(gradient)).tolist()):
                around = [moved(self.program, line, known, name, at, by) for by in (-STEP, 0.0, STEP)]
                if np.all(np.isfinite(around)):
                    self.findings.append(
                        Finding("guard", f"the gradient along {name}{list(at)} is NaN, the values around {around}")
                    )
                    return


def _first(bad: Values, actual: Values, expected: Values) -> str:
    if not np.any(bad):
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"{int(np.sum(bad))} of {bad.size} elements, the first at {list(at)}"
    return f"{where}: {actual[at]!r}, should be {expected[at]!r}"


def digest(program: Program) -> str:
    """A few letters for the text of its kernels, which must not depend on the process."""
    try:
        with limited():
            return hashlib.sha256(text_of(program).encode()).hexdigest()[:16]
    except Exception as error:
        return type(error).__name__
