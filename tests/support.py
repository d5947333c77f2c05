"""What tests of ops share: arguments made from samples, declaring them, evaluating graphs, checking adjoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.declare import FUNCTIONS
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import REGISTRY, Array, Op, Sample
from graphc.types import DType, bool_, float64, int64

Values = np.ndarray[Any, Any]


def public_ops() -> list[Op]:
    """The records that users call, by name."""
    found = [op for op in REGISTRY.values() if op.define is not None and not op.name.startswith("_")]
    return sorted(found, key=lambda op: op.name)


def seeded(*key: Any) -> np.random.Generator:
    """Random numbers that depend on the key alone."""
    return np.random.default_rng(list(repr(key).encode()))


def kind_of(array: Array, dtype: DType) -> DType:
    """The dtype of an array argument where `dtype` is under test."""
    return {"same": dtype, "index": int64, "bool": bool_, "float": float64}[array.kind]


def draw(array: Array, dtype: DType, rng: np.random.Generator) -> Values:
    """Values for an array argument."""
    dtype, size = kind_of(array, dtype), math.prod(array.shape)
    if dtype.kind == "b":
        return rng.random(array.shape) < 0.5
    if dtype.is_float:
        values = rng.uniform(array.low, array.high, array.shape)
        if array.distinct:
            step = (array.high - array.low) / max(size, 1)
            assert step >= 0.02, "too many distinct values for the interval"
            values = array.low + step * (rng.permutation(size) + rng.uniform(0, 0.5, size)).reshape(array.shape)
        return values.astype(dtype.numpy)
    low = math.ceil(array.low if dtype.kind == "i" else max(array.low, 0))
    if array.distinct:
        return (low + rng.permutation(size)).reshape(array.shape).astype(dtype.numpy)
    return rng.integers(low, max(math.ceil(array.high), low + 1), array.shape).astype(dtype.numpy)


def mapped(value: Any, change: Callable[[Any], Any], kinds: type | tuple[type, ...]) -> Any:
    """`value`, a plain value or nested sequences and dicts, with every instance of `kinds` changed."""
    if isinstance(value, kinds):
        return change(value)
    if isinstance(value, dict):
        return {k: mapped(v, change, kinds) for k, v in value.items()}
    return type(value)(mapped(v, change, kinds) for v in value) if isinstance(value, (list, tuple)) else value


class Call:
    """One call of a public op: `args` and `kwargs` with values, `node` on inputs that stand for them.

    Names of inputs begin with `prefix`, so that several calls can share a program.  Of `parts` results, `node` is the
    one numbered `part`.
    """

    def __init__(self, op: Op, args: Sequence[Any], kwargs: Any, prefix: str = "x", part: int = 0) -> None:
        self.op, self.args, self.kwargs, self.prefix, self.part = op, tuple(args), dict(kwargs), prefix, part
        self.values: list[Values] = []
        self.inputs: list[Node] = []
        arguments, keywords = mapped((self.args, self.kwargs), self._input, np.ndarray)
        made = FUNCTIONS[op.name](*arguments, **keywords)
        self.parts = len(made) if isinstance(made, tuple) else 1
        self.node: Node = made[part] if isinstance(made, tuple) else made

    def _input(self, value: Values) -> Node:
        self.values.append(value)
        self.inputs.append(gc.input(f"{self.prefix}{len(self.inputs)}", value.shape, value.dtype))
        return self.inputs[-1]

    def reference(self) -> Values:
        with np.errstate(all="ignore"):
            value = self.op.reference(*self.args, **self.kwargs)
        assert (len(value) if isinstance(value, tuple) else 1) == self.parts
        return np.asarray(value[self.part] if isinstance(value, tuple) else value)

    @property
    def floats(self) -> list[int]:
        """Positions of the float inputs."""
        return [k for k, n in enumerate(self.inputs) if n.dtype.is_float]


def call(op: Op, sample: Sample, dtype: DType, number: int, part: int = 0) -> Call:
    """The call that sample `number` of an op describes, in this dtype, for its result number `part`."""
    rng = seeded(op.name, str(dtype), number)
    args, kwargs = mapped((sample.args, dict(sample.kwargs)), lambda a: draw(a, dtype, rng), Array)
    return Call(op, args, kwargs, f"s{number}_{part}_", part)


def calls(op: Op, dtype: DType) -> list[Call]:
    """The calls of all samples, one for each result."""
    first = [call(op, sample, dtype, k) for k, sample in enumerate(op.samples)]
    others = [(k, part) for k, c in enumerate(first) for part in range(1, c.parts)]
    return first + [call(op, op.samples[k], dtype, k, part) for k, part in others]


def evaluate(outputs: Sequence[Node], inputs: Sequence[Node], values: Sequence[Values]) -> tuple[Values, ...]:
    return interpret(Graph(tuple(outputs), tuple(inputs)), values)


def assert_close(found: Sequence[Any], wanted: Sequence[Any], dtype: str, near_zero: int = 50) -> None:
    """Arrays agree within 200 units of the dtype's epsilon, those near 0 within so many."""
    eps = float(np.finfo(dtype).eps)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=200 * eps, atol=near_zero * eps)


def check_adjoint(c: Call, rng: np.random.Generator) -> None:
    """The first and second adjoint of a call against central differences along random directions.

    With a random r, f = sum(r * node); its gradient g against the slope of f along v, then the gradient of
    h = sum(u * g) against the slope of h along w.
    """
    wrt = [c.inputs[k] for k in c.floats]
    f = _projected([c.node], rng)
    first = gc.grad(f, wrt)
    _check_slope(f, first, c, rng)
    h = _projected(first, rng)
    _check_slope(h, gc.grad(h, wrt), c, rng)


def _projected(nodes: Sequence[Node], rng: np.random.Generator) -> Node:
    """The sum of all elements with random weights."""
    total = gc.constant(0.0)
    for node in nodes:
        total = total + gc.sum(node * rng.uniform(0.5, 1.5, node.shape))
    return total


def _check_slope(f: Node, gradient: Sequence[Node], c: Call, rng: np.random.Generator, step: float = 1e-5) -> None:
    direction = {k: rng.uniform(0.5, 1.5, v.shape) * rng.choice([-1, 1], v.shape) for k, v in enumerate(c.values)}

    def along(t: float) -> Values:
        moved = [v + t * direction[k] if k in c.floats else v for k, v in enumerate(c.values)]
        return evaluate([f], c.inputs, moved)[0]

    parts = evaluate(gradient, c.inputs, c.values)
    terms = [(g * direction[k]).ravel() for g, k in zip(parts, c.floats, strict=True)]
    slope = sum(float(t.sum()) for t in terms)
    scale = max(1e-3, *(float(np.abs(t).sum()) for t in terms))
    numeric = float(along(step) - along(-step)) / (2 * step)
    assert abs(slope - numeric) <= 1e-6 * scale, f"{c.op.name}: the adjoint gives {slope}, differences {numeric}"
