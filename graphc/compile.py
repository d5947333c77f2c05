"""The whole pipeline on one screen: declared graph -> passes -> schedule -> text -> machine code -> function."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from graphc.codegen.program import Program
from graphc.declare import OWN_OPS, WEAK, Number, as_name, convert, result_type
from graphc.dims import Poly, symbols
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.graph import Graph, Node, describe
from graphc.line import declared_adjoint, users_line
from graphc.ops.bodies import is_slot
from graphc.own_scalar import Dtypes, OwnScalar
from graphc.runtime import cache
from graphc.runtime.entry import driver_beside
from graphc.runtime.function import CompiledFunction
from graphc.runtime.native import Native, check_compiler, compiling, kernel_name, uncollected
from graphc.runtime.places import constraints, every_node, numbered, placed
from graphc.tree import Skeleton, flatten
from graphc.types import shape_text

KEYWORDS = ("out", "batch_size", "order")  # of a call and of `run`, which take inputs by name beside them


@dataclass(frozen=True)
class Options:
    """How to compile: with `cache`, machine code is looked for in the user's cache folder and kept there.

    A folder that can't be used is one warning, never an error.  With `debug` there is no machine code: calls are
    interpreted, thousands of times slower, and every access to memory is checked.  The results are the same but for
    rounding.  Raises DebugError where the loops are wrong, which is a fault of graphc worth reporting.

    At most `threads` share the phases of a call, as many as `gc.set_num_threads` allows where it is None; the results
    are the same bits.

    With `remat="memory"` adjoints compute again what takes less memory so: all but products, loops, gathers, sorts and
    what would take long.  With "speed" they compute again what costs less than storing and loading it.  The results are
    the same but for rounding; `fn.stats["remat"]` tells what it brings.

    Raises DeclarationError if `threads` is no int >= 1, or `remat` is neither.

    >>> import graphc as gc
    >>> x = gc.input("x", ())
    >>> gc.compile([x], x + 1.0, options=gc.Options(cache=False)).stats["from_cache"]
    False
    >>> gc.compile([x], x + 1.0, options=gc.Options(debug=True))(2.0)
    array(3.)
    """

    cache: bool = True
    debug: bool = False
    threads: int | None = None
    remat: str = "speed"

    def __post_init__(self) -> None:
        if self.remat not in ("speed", "memory"):
            what = f'Options(remat=) is "speed" or "memory", got {self.remat!r}'
            raise DeclarationError(f"{what}\n  at {users_line()}")
        threads = self.threads
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise DeclarationError(f"Options(threads=) is an int >= 1 or None, got {threads!r}\n  at {users_line()}")


@dataclass(frozen=True)
class _Unit:
    """What is compiled: a graph whose outputs are results, then new values of parameters."""

    name: str
    graph: Graph
    every: Sequence[Node]  # of the graph, and of those that its nodes hold
    structure: Skeleton
    updated: tuple[Node, ...]
    options: Options

    @property
    def results(self) -> int:
        return len(self.graph.outputs) - len(self.updated)

    @property
    def parameters(self) -> tuple[Node, ...]:
        """Every parameter that the unit reads or writes, in an order that the graph alone decides."""
        return tuple(dict.fromkeys((*self.graph.leaves("parameter"), *self.updated)))

    @property
    def is_kept(self) -> bool:
        """Whether the cache may hold it: not if an op is the user's own, as nothing tells when its functions change.

        That does not matter of a function of scalars, which Numba compiles in each process, apart from the kernels.
        """
        return all(node.op in OWN_OPS or node.op.scalar is not None for node in self.every)

    @cached_property
    def calls(self) -> list[tuple[OwnScalar, Dtypes]]:
        """The user's functions of scalars that kernels call, with the dtypes of what they are given."""
        return [(n.op.scalar, tuple(o.dtype for o in n.operands)) for n in self.every if n.op.scalar is not None]

    @property
    def text(self) -> str:
        """What the machine code depends on: the graph, its inputs, and which parameters the last outputs go to.

        What is computed again depends on what was declared as an adjoint.
        """
        order = {p: k for k, p in enumerate(self.parameters)}
        names = [str(n.name) for n in (*self.graph.inputs, *self.parameters)]
        unreached = [str(n.type) for n in self.graph.inputs]
        remat = self.options.remat == "memory"
        adjoint = declared_adjoint(self.graph.nodes) if remat else ()
        late = [k for k, n in enumerate(self.graph.nodes) if n in adjoint]
        called = [function.signature(dtypes) for function, dtypes in self.calls]
        whole = f"{self.graph.text}\n{[order[p] for p in self.updated]}\n{names}\n{unreached}\n{late}\n{called}"
        return f"{self.name}\n{whole}"


def compile(
    inputs: Sequence[Node],
    outputs: Any,
    *,
    updates: Mapping[Node, Any] | None = None,
    options: Options | None = None,
    name: str | None = None,
) -> CompiledFunction:
    """Compile a graph to a function of `inputs` that returns `outputs`, and sets parameters to their new values.

    `inputs` is a list of nodes made by `gc.input`, each with a name of its own; the function takes their values in this
    order, or by name.  `outputs` is a node or a tuple, list or dict of nodes, nested at will, and the function returns
    the same structure.  `updates` maps parameters to nodes; all updates of a call are simultaneous, and every output
    sees the values at entry.  `options` say whether the cache is used.  `name` stands in errors and drawings.

    Raises DeclarationError if an input is none or its name is taken, if `name` can't be one, if an output is no node or
    needs an input that is not listed, or if an update is not of a parameter; ShapeError or DTypeError if an update does
    not fit its parameter.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> gc.compile([x], gc.sum(x * x))([3.0, 4.0])
    array(25.)
    """
    updates = {} if updates is None else updates
    name = "function" if name is None else as_name(name)
    return _compile(_unit(inputs, outputs, updates, options or Options(), name))


def _unit(inputs: Sequence[Node], outputs: Any, updates: Mapping[Node, Any], options: Options, name: str) -> _Unit:
    """What the arguments of `compile` ask for, checked."""
    try:
        leaves, structure = flatten(outputs)
    except RecursionError:
        raise DeclarationError("the outputs hold themselves; give a node, or a tuple, list or dict of nodes") from None
    leaves = [convert(leaf) if isinstance(leaf, (Poly, Number)) else leaf for leaf in leaves]
    for leaf in leaves:
        if not isinstance(leaf, Node):
            raise DeclarationError(f"an output is a node, got {leaf!r}")
    listed = _checked_inputs(inputs)
    _check_updates(updates)
    new_values = [_new_value(p, v) for p, v in updates.items()]
    graph = Graph((*leaves, *new_values), listed)
    _check_reached(graph)
    every = every_node(graph)
    _check_dimensions(listed, every)
    return _Unit(name, graph, every, structure, tuple(updates), options)


def _compile(unit: _Unit) -> CompiledFunction:
    with contextlib.nullcontext() if unit.options.cache else cache.untouched():
        return _compiled(unit)


def _compiled(unit: _Unit) -> CompiledFunction:
    start = time.perf_counter()
    if unit.options.debug:
        return _debugged(unit, start)
    key = cache.make_key(unit.text, repr(replace(unit.options, threads=None)))
    found = _kept(unit, key)
    program, parts = found or _translated(unit, key)
    return CompiledFunction(
        program,
        Native(parts, map(kernel_name, program.kernels), {f.symbol(d): f.address(d) for f, d in unit.calls}),
        [p.attrs["state"] for p in unit.parameters],
        unit.structure,
        rebuild=(_rebuild, _plain(unit)),
        stats={"compile_seconds": time.perf_counter() - start, "from_cache": found is not None},
        threads=unit.options.threads or 0,
    )


def _debugged(unit: _Unit, start: float) -> CompiledFunction:
    from graphc.debug.function import DebuggedFunction

    program = _printed(unit)
    return DebuggedFunction(
        program,
        Native((), ()),
        [p.attrs["state"] for p in unit.parameters],
        unit.structure,
        rebuild=(_rebuild, _plain(unit)),
        stats={"compile_seconds": time.perf_counter() - start, "from_cache": False},
    )


def _kept(unit: _Unit, key: str) -> tuple[Program, tuple[bytes, ...]] | None:
    """What the cache has, with the user's lines of now."""
    entry = cache.load(key) if unit.is_kept else None
    if entry is None:
        return None
    program = placed(Program.from_json(entry.text), unit.graph, unit.every, str(users_line()))
    return None if program is None else (program, entry.parts)


def _translated(unit: _Unit, key: str) -> tuple[Program, tuple[bytes, ...]]:
    check_compiler()
    # before the first import, for which a child that is forked meanwhile must not wait
    with compiling, uncollected(), driver_beside():
        from graphc.runtime.parts import parts

        program = _printed(unit, loops=False)
        # A text says which function it calls, and not what that gives: its kernels are kept by this program alone.
        code = parts(program.kernels, unit.is_kept and not unit.calls)
    if unit.is_kept:
        cache.store(key, cache.Entry(numbered(program, unit.every).to_json(), code))
        if key.startswith("0"):  # for one program of 16: a look at 20,000 files takes 0.13 s
            cache.trim()
    return program, code


def _printed(unit: _Unit, loops: bool = True) -> Program:
    """From a declared graph to its kernels, as text, and to loops if asked for.

    What prints is imported here, so that a warm start never does.
    """
    from graphc.codegen.remat import smaller
    from graphc.passes import REMAT, run_pipeline

    unit.graph.verify()
    graph, records = run_pipeline(unit.graph)
    program = _emitted(unit, graph, records, loops)
    if unit.options.remat == "speed":
        return program
    graph, more = run_pipeline(graph, steps=[REMAT])
    return smaller(_emitted(unit, graph, records + more, loops), program)


def _emitted(unit: _Unit, graph: Graph, records: list[dict[str, Any]], loops: bool) -> Program:
    """The kernels of the optimised graph."""
    from graphc.codegen.emit import emit
    from graphc.schedule.lower import lower
    from graphc.schedule.storage import schedule

    graph = lower(graph)
    results, values = graph.outputs[: unit.results], graph.outputs[unit.results :]
    plan = schedule(graph, results, list(zip(unit.updated, values, strict=True)), unit.parameters)
    return emit(
        plan,
        name=unit.name,
        symbols=_symbols(unit.graph),
        inputs=unit.graph.inputs,
        outputs=results,
        parameters=unit.parameters,
        written=unit.updated,
        constraints=constraints(unit.graph),
        records={"passes": records},
        loops=loops,
    )


def _checked_inputs(inputs: Sequence[Node]) -> tuple[Node, ...]:
    if isinstance(inputs, Node) or not isinstance(inputs, Iterable):
        raise DeclarationError(f"inputs are a list, gc.compile([x], ...); got {inputs!r}")
    seen: dict[str, Node] = {}
    for node in inputs:
        if not isinstance(node, Node) or node.op.name != "input":
            what = describe(node) if isinstance(node, Node) else repr(node)
            raise DeclarationError(f"{what} is listed as an input, but inputs are made by gc.input")
        name = str(node.name)
        if name in KEYWORDS:
            raise DeclarationError(f"an input can't be called {name!r}, a keyword of the call; rename {describe(node)}")
        if name in seen:
            raise DeclarationError(f"two inputs are called {name!r}: {describe(seen[name])} and {describe(node)}")
        seen[name] = node
    return tuple(inputs)


def _check_updates(updates: Any) -> None:
    if not isinstance(updates, Mapping):
        text = f"updates map parameters to their new values: {{w: w - 0.1 * g}}; got {updates!r}"
        raise DeclarationError(text + _at())


def _new_value(parameter: Any, value: Any) -> Node:
    if not isinstance(parameter, Node) or parameter.op.name != "parameter":
        what = describe(parameter) if isinstance(parameter, Node) else repr(parameter)
        raise DeclarationError(f"updates are for parameters, made by gc.parameter; got {what}{_at()}")
    if type(value) in WEAK:
        value = convert(value, result_type(parameter, value))
    if not isinstance(value, Node):
        advice = f"write gc.constant(value, {str(parameter.dtype)!r})"
        raise DeclarationError(f"the new value of {parameter.name!r} is a node, got {value!r}; {advice}{_at()}")
    if value.dtype != parameter.dtype:
        wanted = f"gc.astype(value, {str(parameter.dtype)!r})"
        raise DTypeError(f"the new value of {describe(parameter)} is {value.dtype}; write {wanted}{_at()}")
    if value.shape != parameter.shape:
        has = f"has shape {shape_text(value.shape)}"
        raise ShapeError(f"the new value of {describe(parameter)} {has}:\n  {describe(value)}{_at()}")
    return value


def _at() -> str:
    return f"\n  at {users_line()}"


def _check_reached(graph: Graph) -> None:
    listed = set(graph.inputs)
    for node in graph.leaves("input"):
        if node not in listed:
            if is_slot(node):
                raise DeclarationError(_left(node) + _at())
            missing = f"{describe(node)}, which is not listed among the inputs"
            raise DeclarationError(f"the outputs need {missing}{_at()}")


def _left(node: Node) -> str:
    what = f"the outputs need {node.name!r}, which stands for a value inside of a loop or a branch"
    return f"{what}, and was used outside of it:\n  {describe(node)}\n  a step gives back what is used outside"


def _check_dimensions(inputs: Sequence[Node], every: Sequence[Node]) -> None:
    """Every dimension must be known from the shapes of the inputs, where it stands alone: no call solves 2*n for n."""
    known = {str(d) for node in inputs for d in node.shape}
    if _needed((*inputs, *every)) <= known:
        return
    node, names = next((n, left) for n in (*inputs, *every) if (left := _needed((n,)) - known))
    text = f"no input has the dimension {min(names)!r} by itself, which this needs: {describe(node)}"
    advice = "list an input whose shape has it, or give a dimension of many terms a name of its own"
    raise DeclarationError(f"{text}\n  {advice}{_at()}")


def _needed(nodes: Sequence[Node]) -> set[str]:
    """Names of the dimensions in the shapes and attributes of nodes, most of which are those of another."""
    shapes = {t.shape for n in nodes for t in n.types}
    attributes = {v for n in nodes if n.attrs for v in n.attrs.values() if isinstance(v, (tuple, Poly))}
    return set().union(*map(_named, shapes), *map(_named, attributes))


def _named(value: Any) -> set[str]:
    """Names of the dimensions in nested tuples."""
    if isinstance(value, tuple):
        return set().union(*map(_named, value))
    return symbols(value) if isinstance(value, Poly) else set()


def _symbols(graph: Graph) -> list[str]:
    """Names of the dimensions that a call decides, in order of appearance."""
    return list(dict.fromkeys(s for node in graph.inputs for d in node.shape for s in sorted(symbols(d))))


def _plain(unit: _Unit) -> tuple[Any, ...]:
    """What a pickle holds: one graph with the updated parameters among its outputs, so that all leaves stay shared."""
    whole = Graph((*unit.graph.outputs, *unit.updated), unit.graph.inputs)
    return unit.name, whole, unit.structure, len(unit.updated), unit.options


def _rebuild(name: str, whole: Graph, structure: Skeleton, updates: int, options: Options) -> CompiledFunction:
    end = len(whole.outputs) - updates
    graph = Graph(whole.outputs[:end], whole.inputs)
    return _compile(_Unit(name, graph, every_node(graph), structure, whole.outputs[end:], options))
