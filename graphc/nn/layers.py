"""Layers: functions of a node that own parameters, with Keras's names, arguments and defaults.

In: a node whose first dimension is the batch.  Out: a node.  Parameters are made at the first call, when the shape of
the input is known: float64 if the input is float64, else float32.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.declare import BUILDER as ops
from graphc.declare import parameter
from graphc.errors import DeclarationError, ShapeError
from graphc.graph import Node, describe
from graphc.line import inside, users_line
from graphc.nn.initializers import check, initial
from graphc.nn.part import Part
from graphc.types import float32, float64, is_int

ACTIVATIONS = {
    **{name: name for name in ("relu", "sigmoid", "tanh", "softmax", "log_softmax", "softplus", "gelu", "silu")},
    "linear": "positive",
    "exponential": "exp",
    "swish": "silu",
}


def activation_function(activation: Any) -> Callable[[Node], Node]:
    """The function that `activation` (a name, a function of a node, or None for none) stands for.

    >>> activation_function("swish").__name__
    'silu'
    """
    if activation is None:
        return lambda x: x
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return getattr(ops, ACTIVATIONS[activation])  # type: ignore[no-any-return]
    if not callable(activation) or isinstance(activation, type):
        raise DeclarationError(f"an activation is one of {', '.join(ACTIVATIONS)}, or a function, got {activation!r}")
    return activation  # type: ignore[no-any-return]


class Layer(Part):
    """Base of the layers: `build` makes the parameters for an input, `apply` declares the result.

    `name` begins the names of its parameters; DeclarationError for one that is no text.

    >>> import graphc as gc
    >>> class Scale(gc.nn.Layer):
    ...     def build(self, x, rng):
    ...         return {"factor": gc.parameter("factor", rng.uniform(size=x.shape[-1]))}
    ...     def apply(self, x):
    ...         return x * self.weights["factor"]
    >>> Scale()(gc.input("x", ("batch", 3))).shape
    (batch, 3)
    """

    __slots__ = ("name", "weights")

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise DeclarationError(f"the name of a layer is a non-empty string, got {name!r}")
        self.name = name
        self.weights: dict[str, Node] | None = None

    @property
    def kind(self) -> str:
        """The class's name in lower case, from which a layer without a name gets one."""
        return type(self).__name__.lower()

    def build(self, x: Node, rng: np.random.Generator) -> dict[str, Node]:
        """The parameters, by name, for inputs such as `x`, with initial values that `rng` draws.

        Raises ShapeError for an input that does not fit the layer.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.nn.Dense(2).build(gc.input("x", ("batch", 3)), np.random.default_rng(0))["kernel"].shape
        (3, 2)
        """
        return {}

    def apply(self, x: Node) -> Node:
        """The result for `x`, once the parameters exist.

        Raises ShapeError for an input that does not fit the layer.

        >>> import graphc as gc
        >>> gc.nn.Flatten().apply(gc.input("x", ("batch", 2, 3))).shape
        (batch, 6)
        """
        raise NotImplementedError(f"{type(self).__name__} has no method apply, which gives a layer's result")

    def __call__(self, x: Node, rng: np.random.Generator | None = None) -> Node:
        """The layer's result for a node `x`; the first call draws the parameters from `rng`.

        Raises DeclarationError for what is no node, ShapeError for an input that does not fit the layer.

        >>> import graphc as gc
        >>> gc.nn.Dense(2)(gc.input("x", ("batch", 3))).shape
        (batch, 2)
        """
        if not isinstance(x, Node):
            raise DeclarationError(f"a layer takes a node, got {type(x).__name__}; for values use model.predict(x)")
        if self.weights is None:
            self.weights = self.build(x, np.random.default_rng() if rng is None else rng)
        with inside(self.name or self.kind):
            return self.apply(x)

    def parameters(self) -> list[Node]:
        """The parameters; DeclarationError before the first call.

        >>> import graphc as gc
        >>> layer = gc.nn.Dense(2)
        >>> _ = layer(gc.input("x", ("batch", 3)))
        >>> [w.name for w in layer.parameters()]
        ['dense/kernel', 'dense/bias']
        """
        if self.weights is None:
            raise DeclarationError(f"the layer {self.name or self.kind!r} has no parameters yet; call it on a node")
        return self.made()

    def made(self) -> list[Node]:
        return list((self.weights or {}).values())

    def __repr__(self) -> str:
        return call_text(self)


def as_number(value: Any, what: str) -> int:
    """An int of at least 1."""
    if not is_int(value) or value < 1:
        raise DeclarationError(f"{what} is an int of at least 1, got {value!r}")
    return int(value)


class Affine(Layer):
    """Base of the layers that multiply by a kernel, add a bias and apply an activation.

    >>> import graphc as gc
    >>> isinstance(gc.nn.Dense(2), gc.nn.layers.Affine)
    True
    """

    __slots__ = ("activation", "bias_initializer", "use_bias")

    def __init__(self, activation: Any, use_bias: bool, bias_initializer: Any, name: str | None) -> None:
        super().__init__(name=name)
        activation_function(activation)  # a wrong one is refused here, where it is written
        check(bias_initializer)
        self.activation, self.use_bias, self.bias_initializer = activation, use_bias, bias_initializer

    def _made(
        self, x: Node, shape: tuple[int, ...], units: int, initializer: Any, rng: np.random.Generator
    ) -> dict[str, Node]:
        """A kernel of this shape, and a bias for each unit."""
        dtype = float64 if x.dtype == float64 else float32
        wanted: dict[str, tuple[tuple[int, ...], Any]] = {"kernel": (shape, initializer)}
        if self.use_bias:
            wanted["bias"] = ((units,), self.bias_initializer)
        values = {key: initial(how, size, dtype, rng) for key, (size, how) in wanted.items()}
        return {key: parameter(f"{self.name or self.kind}/{key}", value) for key, value in values.items()}

    def _activated(self, y: Node) -> Node:
        """What comes of the product."""
        assert self.weights is not None
        return activation_function(self.activation)(y + self.weights["bias"] if self.use_bias else y)


class Dense(Affine):
    """activation(x @ kernel + bias): x [*batch, inputs] to [*batch, units].

    Activations: relu, sigmoid, tanh, softmax, log_softmax, softplus, gelu, silu, swish, exponential, linear, or any
    function of a node; None is linear.  kernel [inputs, units] and, with `use_bias`, bias [units] are initialised by
    `kernel_initializer` and `bias_initializer`: an array, a function of (shape, dtype) or a name: zeros, ones,
    random_normal, random_uniform, truncated_normal, glorot_uniform, glorot_normal, he_uniform, he_normal,
    lecun_uniform, lecun_normal.

    Raises DeclarationError for units that are no int >= 1 or an unknown name; at the first call ShapeError for an
    input whose last dimension is no number.

    >>> import graphc as gc
    >>> layer = gc.nn.Dense(2, activation="relu", kernel_initializer=[[1.0, -1.0]])
    >>> x = gc.input("x", ("batch", 1), "float32")
    >>> gc.compile([x], layer(x))([[3.0]])
    array([[3., 0.]], dtype=float32)
    """

    __slots__ = ("kernel_initializer", "units")

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(activation, use_bias, bias_initializer, name)
        check(kernel_initializer)
        self.units, self.kernel_initializer = as_number(units, "units"), kernel_initializer

    def build(self, x: Node, rng: np.random.Generator) -> dict[str, Node]:
        inputs = x.shape[-1] if x.ndim >= 2 else None
        if not isinstance(inputs, int):
            raise misfit("Dense takes [*batch, inputs] with inputs a number", x)
        return self._made(x, (inputs, self.units), self.units, self.kernel_initializer, rng)

    def apply(self, x: Node) -> Node:
        assert self.weights is not None
        if x.ndim < 2:
            raise misfit("Dense takes [*batch, inputs]", x)
        kernel = self.weights["kernel"]
        return self._activated(ops.matmul(x if x.dtype.is_float else ops.astype(x, kernel.dtype), kernel))


class Activation(Layer):
    """A function of the input: `activation` is one of the names that `Dense` lists, or any function of a node.

    Raises DeclarationError for an unknown name.

    >>> import graphc as gc
    >>> x = gc.input("x", ("batch", 2))
    >>> gc.compile([x], gc.nn.Activation("relu")(x))([[-1.0, 1.0]])
    array([[0., 1.]])
    """

    __slots__ = ("activation",)

    def __init__(self, activation: Any, *, name: str | None = None) -> None:
        super().__init__(name=name)
        activation_function(activation)
        self.activation = activation

    def apply(self, x: Node) -> Node:
        return activation_function(self.activation)(x)


class Flatten(Layer):
    """x [batch, ...] as [batch, number of values of a sample]; ShapeError for an input without dimensions.

    >>> import graphc as gc
    >>> gc.nn.Flatten()(gc.input("x", ("batch", 28, 28))).shape
    (batch, 784)
    """

    __slots__ = ()

    def apply(self, x: Node) -> Node:
        if x.ndim < 1:
            raise misfit("Flatten takes [batch, ...]", x)
        flat: Node = ops.reshape(x, (x.shape[0], dims.product(x.shape[1:])))
        return flat


def call_text(what: Any) -> str:
    """The call that makes a layer like `what`: what has no default, and what differs from it."""
    options = inspect.signature(type(what).__init__).parameters
    texts = []
    for name, option in list(options.items())[1:]:
        value = getattr(what, name, option.default)
        if option.default is option.empty:
            texts.append(_shown(value))
        elif value is not option.default and not (isinstance(value, (bool, str)) and value == option.default):
            texts.append(f"{name}={_shown(value)}")
    return f"{type(what).__name__}({', '.join(texts)})"


def _shown(value: Any) -> str:
    if isinstance(value, (str, int, float, tuple, np.number)):
        return repr(value)
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    return f"<{type(value).__name__}>"


def misfit(wanted: str, x: Node) -> ShapeError:
    return ShapeError(f"{wanted}\n  x: {describe(x)}\n  at {users_line()}")
