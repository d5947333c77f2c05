"""Seeded random programs over the registry: what each test of a whole stage runs on.

A program grows node by node on concrete values.  An operand is squashed into an op's sample domain where its values
leave it, and a node whose values are not finite or not small is dropped, so that results can be compared closely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from support import Values

import graphc as gc
from graphc.declare import FUNCTIONS
from graphc.dims import evaluate
from graphc.errors import GraphcError
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.op import REGISTRY, Array, Family, Op
from graphc.types import DType, float32, float64, int64

SIZES = {"n": 3, "m": 2}
_SHAPES: tuple[tuple[Any, ...], ...] = (
    (), (3,), ("n",), ("n", 4), (2, 3), ("m", 1, 3), (4,), ("n", "m"), (1, 4), (0, 4), (1,), (2, 1, 4),
)  # fmt: skip
_LARGEST = 50.0
# Rounding to integers makes a step out of the last bit; a gradient stops at stop_gradient.
_LEFT_OUT = {"floor", "ceil", "trunc", "round", "floor_divide", "remainder", "stop_gradient", "isnan", "isinf"}


@dataclass(frozen=True)
class Program:
    """Inputs with values that fit them, outputs, and a float64 scalar that depends on the float outputs."""

    inputs: tuple[Node, ...]
    values: tuple[Values, ...]
    outputs: tuple[Node, ...]
    loss: Node

    @property
    def floats(self) -> list[Node]:
        return [n for n in self.inputs if n.dtype.is_float]

    def graph(self) -> Graph:
        return Graph((*self.outputs, self.loss), self.inputs)

    def gradients(self) -> Graph:
        """The loss and its gradients: unused inputs have one as well."""
        return Graph((self.loss, *gc.grad(self.loss, self.floats)), self.inputs)


def random_program(seed: int, length: int = 14) -> Program:
    """Program number `seed`: every fourth is in float32."""
    return _Grower(np.random.default_rng(seed), float32 if seed % 4 == 3 else float64).program(length)


def _plain_elementwise() -> list[Op]:
    """Elementwise ops whose first sample is nothing but arrays, composites such as softplus among them."""
    found = [op for op in REGISTRY.values() if op.define is not None and op.samples and op.name not in _LEFT_OUT]
    return [op for op in found if not op.name.startswith("_") and _is_elementwise(op)]


def _is_elementwise(op: Op) -> bool:
    sample = op.samples[0]
    arrays = all(isinstance(a, Array) and a.shape == (3, 4) for a in sample.args) and not sample.kwargs
    composite = {"relu", "softplus", "gelu", "silu", "square", "reciprocal", "positive"}
    return arrays and (op.family is Family.ELEMENTWISE or op.name in composite)


class _Grower:
    def __init__(self, rng: np.random.Generator, dtype: DType) -> None:
        self.rng, self.dtype = rng, dtype
        self.elementwise = _plain_elementwise()
        self.pool: list[Node] = []
        self.known: dict[Node, Values] = {}
        self.inputs: list[Node] = []
        for k in range(4):
            shape = self.choose(_SHAPES)
            self.add_input(f"x{k}", shape, dtype, lambda s: rng.uniform(-2, 2, s))
        self.add_input("k", self.choose(_SHAPES), int64, lambda s: rng.integers(0, 4, s))
        self.add_input("c", self.choose(_SHAPES), gc.bool, lambda s: rng.random(s) < 0.5)

    def choose(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def add_input(self, name: str, shape: Any, dtype: Any, draw: Callable[[Any], Any]) -> None:
        node = gc.input(name, shape, dtype)
        sizes = tuple(SIZES.get(d, d) for d in shape)
        self.inputs.append(node)
        self.pool.append(node)
        self.known[node] = np.asarray(draw(sizes)).astype(dtype.numpy)

    def program(self, length: int) -> Program:
        steps = (*[self.elementwise_step] * 3, self.reduction, self.movement, self.product)
        grown = 0
        for _ in range(20 * length):
            try:
                node = self.choose(steps)()
            except GraphcError:
                continue
            grown += self.accept(node)
            if grown == length:
                break
        outputs = tuple(self.pool[k] for k in self.rng.choice(len(self.pool), 3))
        floats = [n for n in (*outputs, self.pool[-1], self.pool[-2]) if n.dtype.is_float] or self.pool[:1]
        loss = gc.constant(0.0)
        for weight, node in enumerate(floats, start=1):
            loss = loss + gc.sum(gc.tanh(node.astype(float64) / weight))
        return Program(tuple(self.inputs), tuple(self.known[n] for n in self.inputs), outputs, loss)

    def accept(self, node: Node) -> bool:
        """Whether the node fits the sizes and has small finite values; it then joins the pool."""
        graph = Graph((node,), tuple(self.inputs))
        if any(not _holds(c) for n in graph.nodes for c in n.constraints):
            return False
        (value,) = interpret(graph, [self.known[n] for n in self.inputs])
        small = value.dtype == bool or bool(np.all(np.isfinite(value)) and np.all(np.abs(value) <= _LARGEST))
        if small and node not in self.known:
            self.pool.append(node)
            self.known[node] = value
        return small

    def operand(self, kinds: str = "f") -> Node:
        """A node of the pool, the latest most often, so that graphs are deep."""
        fitting = [n for n in self.pool if n.dtype.kind in kinds]
        return fitting[-1] if self.rng.random() < 0.4 else self.choose(fitting)

    def elementwise_step(self) -> Node:
        if self.rng.random() < 0.1:
            return gc.where(self.operand("b"), self.operand(), self.operand())
        op = self.choose(self.elementwise)
        kinds = "b" if all(d.kind == "b" for d in op.dtypes) else "f" if self.rng.random() < 0.9 else "fi"
        operands = [self.operand(kinds) for _ in op.samples[0].args]
        if len(operands) == 2 and self.rng.random() < 0.2:
            operands[1] = operands[0]
        inside = [self.within(n, a) for n, a in zip(operands, op.samples[0].args, strict=True)]
        result: Node = FUNCTIONS[op.name](*inside)
        return result

    def within(self, node: Node, domain: Array) -> Node:
        """The node, squashed into the domain where its values leave it."""
        value = self.known[node]
        if not node.dtype.is_float or np.all((domain.low <= value) & (value <= domain.high)):
            return node
        middle, half = (domain.low + domain.high) / 2, (domain.high - domain.low) / 2
        return middle + half * gc.tanh(node)

    def reduction(self) -> Node:
        name = self.choose(
            ("sum", "prod", "max", "min", "mean", "var", "logsumexp", "softmax", "log_softmax", "argmax")
        )
        x = self.operand("f" if name != "sum" else "fib")
        if name in ("softmax", "log_softmax", "argmax"):
            return FUNCTIONS[name](x, axis=int(self.rng.integers(max(x.ndim, 1))))  # type: ignore[no-any-return]
        axes = [k for k in range(x.ndim) if self.rng.random() < 0.6]
        return FUNCTIONS[name](x, axis=tuple(axes), keepdims=bool(self.rng.random() < 0.5))  # type: ignore[no-any-return]

    def movement(self) -> Node:
        x = self.operand("fib")
        order = tuple(int(k) for k in self.rng.permutation(x.ndim))
        k = int(self.rng.integers(max(x.ndim, 1)))
        moves: list[Callable[[], Node]] = [
            lambda: gc.reshape(x, -1),
            lambda: gc.permute_dims(x, order),
            lambda: gc.expand_dims(x, k),
            lambda: gc.squeeze(x),
            lambda: gc.broadcast_to(x, (2, *x.shape)),
            lambda: gc.broadcast_to(x, tuple(3 if d == 1 else d for d in x.shape)),
            lambda: gc.concat([x, x * x], axis=k),
            lambda: gc.stack([x, x], axis=k),
            lambda: gc.flip(x, axis=k),
            lambda: gc.pad(x, 1),
            lambda: x[..., ::-1],
            lambda: x[1:],
            lambda: x[..., 0],
            lambda: gc.take(x, [0, 0, 1], axis=k),
            lambda: gc.take_along_axis(x, gc.constant([[0, -1]]), axis=-1),
            lambda: gc.one_hot(self.operand("i"), 3),
        ]
        return self.choose(moves)()  # type: ignore[no-any-return]

    def product(self) -> Node:
        x, y = self.operand(), self.operand()
        products: list[Callable[[], Node]] = [
            lambda: gc.matmul(x, y),
            lambda: gc.matmul(x, gc.permute_dims(x)),
            lambda: gc.matmul(gc.permute_dims(x), y),
            lambda: gc.tensordot(x, y, 1),
            lambda: gc.outer(x, y),
            lambda: gc.vecdot(x, y),
        ]
        return self.choose(products)()  # type: ignore[no-any-return]


def _holds(constraint: Any) -> bool:
    left, right = (evaluate(p, SIZES) for p in (constraint.left, constraint.right))
    return left == right if constraint.relation == "==" else left >= right
