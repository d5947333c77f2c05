"""What must hold of a program: it compiles, runs within bounds, and gives what the interpreter and NumPy give.

In: a Program.  Out: findings, each with one kind; none if all is well.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.codegen import remat
from graphc.debug.interpreter import Interpreter
from graphc.dims import evaluate as evaluate_dim
from graphc.errors import DebugError, DeclarationError, InputError
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.runtime.places import every_node

from . import draw
from .bits import Bits, Driven
from .compare import Comparison, Finding
from .evaluate import UNKNOWN, evaluate
from .examples import Examples
from .program import Program, Sizes, Values
from .simulate import small_borders
from .unrolled import HELPERS

_compile = importlib.import_module("graphc.compile")
LARGEST = 300_000  # elements of a value that machine code is tried on
SECONDS = 5  # of the processor, for one stage of one program


_FIXED_SLICE = re.compile(r"\[[^\]]*:-?[12]\b|\[[^\]]*-?[12]:")


class Late(Exception):
    """A stage took too long."""


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise Late

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def declared(program: Program) -> dict[str, Any]:
    """The nodes by name."""
    names: dict[str, Any] = {"gc": gc, "np": np, **HELPERS}
    exec(compile(program.declaration(), f"program {program.seed}", "exec"), names)
    return names


def graph_of(program: Program) -> tuple[Graph, list[Values]]:
    """Outputs and new values as a graph, with values of its inputs; its parameters have theirs."""
    names, values = declared(program), program.values(program.sizes)
    roots = (*program.outputs, *(v for _, v in program.updates))
    graph = Graph(tuple(names[n] for n in roots), tuple(names[leaf.name] for leaf in program.inputs))
    for node in graph.leaves("parameter"):
        node.attrs["state"].array[...] = values[str(node.name)]
    return graph, [values[leaf.name] for leaf in program.inputs]


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
    checked.loops()
    if program.leaves and not checked.findings:
        checked.batched()
    if program.machine if machine is None else machine:
        checked.machine()
    return checked.findings


def _refused(program: Program) -> list[Finding]:
    """A dimension that no input has is refused, at the user's line."""
    try:
        with limited():
            printed_of(program, unit_of(program, declared(program)))
    except DeclarationError as error:
        named = f"program {program.seed}:" in str(error) and "stray" in str(error)
        return [] if named else [Finding("stray: line", str(error))]
    except Exception as error:
        return [_broken("stray", error)]
    return [Finding("stray: compiles", "a dimension that no input has")]


def text_of(program: Program) -> str:
    """The text of its kernels."""
    return printed_of(program, unit_of(program, declared(program))).text


def unit_of(program: Program, names: Mapping[str, Any]) -> Any:
    inputs = [names[leaf.name] for leaf in program.inputs]
    outputs = tuple(names[n] for n in program.outputs)
    updates = {names[p]: names[v] for p, v in program.updates}
    return _compile._unit(inputs, outputs, updates, gc.Options(cache=False, remat=program.remat), "random")


def printed_of(program: Program, unit: Any) -> Any:
    with ExitStack() as stack:
        if program.small:
            stack.enter_context(small_borders())
        stack.enter_context(_again_at_any_price())
        return _compile._printed(unit)


def _again_at_any_price() -> AbstractContextManager[Any]:
    """In here the program that computes values again is taken even if it saves nothing."""
    return mock.patch.object(remat, "smaller", lambda again, plain: again)


def _broken(stage: str, error: BaseException) -> Finding:
    """An error where none is due, with the place in graphc that it comes from."""
    if isinstance(error, DebugError):
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
        self.comparison = Comparison(program, names)

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

    def loops(self) -> None:
        """The loops, interpreted at every choice of sizes."""
        try:
            with limited():
                unit = unit_of(self.program, self.names)
                printed = printed_of(self.program, unit)
                interpreter = Interpreter(printed, printed.loops) if self.program.simulate else None
        except Exception as error:
            self.findings.append(_broken("compile", error))
            return
        if interpreter is None:
            return
        for k, sizes in enumerate((self.program.sizes, *self.program.other_sizes)):
            self._run("loops", sizes, lambda i, p, k=k: interpreter.run(i, p, backwards=k % 2 == 1), first=k == 0)
            if self.findings:
                return
        if any(leaf.draws.startswith("position") for leaf in self.program.leaves):
            self._run("loops", self.program.sizes, interpreter.run, astray=True)

    def batched(self) -> None:
        """Examples at once, of every fourth program by its loops: each has what the interpreter gives for it alone."""
        program = self.program
        names = list(dict.fromkeys((*program.outputs, *(v for _, v in program.updates))))
        batch = Examples(program)
        try:
            rows = [self.comparison.interpreted(names, values) for values in batch.each]
        except Exception:  # of other values the interpreter may refuse some
            return
        try:
            with limited(), np.errstate(all="ignore"):
                graph = batch.graph(names)
                by_loops = program.simulate and program.seed % 4 == 0
                found = self._by_loops(graph, batch.together) if by_loops else interpret(graph, batch.together)
        except Exception as error:
            if not isinstance(error, InputError) or not any(self._raises(program.sizes, False)):
                self.findings.append(_broken("batch", error))
            return
        for name, array in zip(names, found, strict=True):
            for k, (values, row) in enumerate(zip(batch.each, rows, strict=True)):
                if text := self.comparison.differs(np.asarray(array[k]), row[name], name, values):
                    self.findings.append(Finding("batch: differs", f"{batch}, example {k}, {name}: {text}"))
                    return

    def _by_loops(self, graph: Graph, values: list[Values]) -> Sequence[Values]:
        options = gc.Options(cache=False, remat=self.program.remat)
        printed = printed_of(self.program, _compile._unit(graph.inputs, graph.outputs, {}, options, "random"))
        return Interpreter(printed, printed.loops).run(values, [])

    def machine(self) -> None:
        """Machine code."""
        try:
            with limited(5 * SECONDS):
                driven = self._compiled()
        except Exception as error:
            self.findings.append(_broken("machine", error))
            return
        sizes = (self.program.sizes, *self.program.other_sizes, *self._large_sizes())
        succeeded = [s for s in sizes if self._run("machine", s, driven.call)]
        if succeeded and not self.findings:
            self.findings += Bits(self.program, driven, self._compiled).findings(succeeded)

    def _compiled(self) -> Driven:
        unit = unit_of(self.program, self.names)
        with _again_at_any_price():
            function = _compile._compile(unit)
        return Driven(function, {p.name: p.attrs["state"] for p in unit.parameters})

    def _large_sizes(self) -> Iterator[Sizes]:
        """Sizes at the borders of whole blocks and chunks, for one symbol or for all."""
        rng = np.random.default_rng(self.program.seed)
        sizes = self.program.sizes
        named = (value for value in self.names.values() if isinstance(value, Node))
        nodes = {*every_node(unit_of(self.program, self.names).graph), *named}
        shapes = [t.shape for node in nodes for t in node.types]
        for border in rng.permutation([1023, 1024, 1025, 2049, 16383, 16384, 16385, 32769, 33])[:4].tolist():
            for one in (*sizes, None) if sizes else ():
                large = {s: border if s == one or one is None else n for s, n in sizes.items()}
                if max(math.prod(evaluate_dim(d, large) for d in shape) for shape in shapes) <= LARGEST:
                    yield large
                    break

    # one choice of sizes

    def _run(self, stage: str, sizes: Sizes, run: Any, first: bool = False, astray: bool = False) -> bool:
        """Whether the call gave values; what is wrong with it is added to the findings."""
        values = self.program.values(sizes, astray)
        unit = unit_of(self.program, self.names)
        must, may = self._raises(sizes, astray)
        inputs = [values[leaf.name] for leaf in self.program.inputs]
        parameters = {str(n.name): values[str(n.name)] for n in unit.parameters}
        after = [a.copy() for a in parameters.values()]
        where = f"at {sizes}" + (", a position beyond its axis" if astray else "")
        oracle: Mapping[str, Values] = {}
        try:
            oracle = self.comparison.interpreted([*self.program.outputs, *(v for _, v in self.program.updates)], values)
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
            return False
        except Exception as error:
            self.findings.append(_broken(stage, error))
            return False
        if must:
            self.findings.append(Finding(f"{stage}: runs", f"{where} an error is due: {must}"))
            return False
        actual = dict(zip(self.program.outputs, outputs, strict=True))
        updated = dict(self.program.updates)
        for (name, before), array in zip(parameters.items(), after, strict=True):
            if name not in updated and before.tobytes() != array.tobytes():
                self.findings.append(Finding(f"{stage}: parameter", f"{name} changed"))
            if name in updated:
                actual[f"{updated[name]} in {name}"] = array
        try:
            known = evaluate(self.program, sizes, astray)
        except Exception:  # of a line that only gradients need; the interpreter must do
            known, first = dict.fromkeys(oracle, UNKNOWN), False
        found = list(self.comparison.findings(stage, values, oracle, known, actual))
        if first and not found:
            found = list(self.comparison.gradients(values, known))
        self.findings += [replace(f, text=f"{where} {f.text}") for f in found]
        return True

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
        wanted = draw.needed(self.sure)  # of what a line makes together some may be left out, with what it needs
        is_sure = all(line.wrt or wanted.issuperset(line.targets) for line in self.sure.lines)
        must = error(self.sure, sizes) if is_sure else ""
        may = must or error(self.sure, apart) or error(self.program, sizes) or error(self.program, apart)
        if min(sizes.values(), default=9) < 3 and any(
            _FIXED_SLICE.search(line.expression) for line in self.program.lines
        ):
            may = "a slice of fixed length"  # graphc wants it whole where NumPy cuts it
        if is_sure and not must and 0 not in sizes.values():
            must = error(self.sure, apart)
        if any(v is UNKNOWN for v in evaluate(self.program, self.program.sizes).values()):
            may = "what is made from gradients may ask for more"
        return must, bool(may)


def digest(program: Program) -> str:
    """A few letters for the text of its kernels, which must not depend on the process."""
    try:
        with limited():
            return hashlib.sha256(text_of(program).encode()).hexdigest()[:16]
    except Exception as error:
        return type(error).__name__
