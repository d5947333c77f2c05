"""The oracle: values of a graph by NumPy, node by node, from the records' references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.dims import Poly, evaluate
from graphc.errors import InputError
from graphc.graph import Graph, Node, describe
from graphc.op import Family
from graphc.types import Shape


def interpret(graph: Graph, values: Sequence[Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """Values of the graph's outputs where its inputs, in order, have these values."""
    known: dict[Node, Any] = {n: np.asarray(v) for n, v in zip(graph.inputs, values, strict=True)}
    sizes: dict[str, int] = {}
    for node, value in known.items():
        _bind(node.shape, value.shape, sizes, describe(node))
    with np.errstate(all="ignore"):
        return _values(graph, known, sizes)


def _values(graph: Graph, known: dict[Node, Any], sizes: Mapping[str, int]) -> tuple[Any, ...]:
    for node in graph.nodes:
        if node not in known:
            known[node] = _value(node, [known[o] for o in node.operands], sizes)
    return tuple(known[o] for o in graph.outputs)


class _Body:
    """A graph that a node holds, as a function of arrays; `types` are the dtypes and shapes of its results."""

    def __init__(self, graph: Graph, sizes: Mapping[str, int]) -> None:
        self.graph, self.sizes = graph, sizes
        self.types = [(o.dtype.numpy, _concrete(o.shape, sizes)) for o in graph.outputs]

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        return _values(self.graph, dict(zip(self.graph.inputs, values, strict=True)), self.sizes)


def _bind(shape: Shape, actual: tuple[int, ...], sizes: dict[str, int], what: str) -> None:
    if len(shape) != len(actual):
        raise InputError(f"{what}: got an array of shape {actual}")
    for declared, size in zip(shape, actual, strict=True):
        if isinstance(declared, Poly) and str(declared).isidentifier():
            declared = sizes.setdefault(str(declared), size)
        if evaluate(declared, sizes) != size:
            raise InputError(f"{what}: got an array of shape {actual}")


def _value(node: Node, operands: list[Any], sizes: Mapping[str, int]) -> Any:
    if node.op.name == "parameter":
        return node.attrs["state"].read()
    if node.op.family is Family.ITEM:
        return operands[0][node.attrs["index"]]
    attrs = {k: _concrete(v, sizes) for k, v in node.attrs.items()}
    try:
        if broken := next(filter(None, (c.broken(sizes) for c in node.constraints)), ""):
            raise InputError(broken)
        result = (node.op.evaluate or node.op.reference)(*operands, **attrs)
    except InputError as error:
        raise error if "\n  at " in str(error) else _failed(node, error) from None
    if len(node.types) > 1:
        return tuple(_as_typed(r, t.dtype.numpy) for r, t in zip(result, node.types, strict=True))
    return _as_typed(result, node.dtype.numpy)


def _failed(node: Node, error: InputError) -> InputError:
    """The error of a check, as compiled code tells it."""
    name, _ = node.attrs.get("told", (node.op.name.strip("_"), None))
    return InputError(f"{name}: {error}\n  at {node.line}")


def _as_typed(value: Any, dtype: np.dtype[Any]) -> Any:
    return np.asarray(value).astype(dtype, copy=False)


def _concrete(value: Any, sizes: Mapping[str, int]) -> Any:
    """Attributes with numbers for symbolic dimensions, and functions for graphs."""
    if isinstance(value, Poly):
        return evaluate(value, sizes)
    if isinstance(value, Graph):
        return _Body(value, sizes)
    return tuple(_concrete(v, sizes) for v in value) if isinstance(value, tuple) else value
