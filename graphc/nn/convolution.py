"""Layers that convolve: Keras's names, arguments and defaults, on [batch, *spatial, channels].

In: a node with channels last.  Out: a node with filters last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.declare import BUILDER as ops
from graphc.errors import DeclarationError
from graphc.graph import Node
from graphc.nn.initializers import check
from graphc.nn.layers import Affine, as_number, misfit
from graphc.ops.convolution import as_counts

SPATIAL = {1: "[batch, steps, channels]", 2: "[batch, height, width, channels]"}


def as_padding(value: Any) -> str:
    """The name of a padding."""
    if not isinstance(value, str) or value.lower() not in ("valid", "same"):
        raise DeclarationError(f"padding is 'valid' or 'same', got {value!r}")
    return value.lower()


class Convolution(Affine):
    """Base of the layers that convolve over `axes` spatial axes, with a bias and an activation.

    >>> import graphc as gc
    >>> isinstance(gc.nn.Conv2D(4, 3), gc.nn.convolution.Convolution)
    True
    """

    __slots__ = ("dilation_rate", "kernel_size", "padding", "strides")

    axes: int

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        name: str | None,
    ) -> None:
        """Check the arguments that all have, where they are written, and keep them."""
        super().__init__(activation, use_bias, bias_initializer, name)
        for what, size in (("kernel_size", kernel_size), ("strides", strides), ("dilation_rate", dilation_rate)):
            as_counts(size, self.axes, what)
        self.kernel_size, self.strides, self.dilation_rate = kernel_size, strides, dilation_rate
        self.padding = as_padding(padding)

    def _channels(self, x: Node) -> int:
        channels = x.shape[-1] if x.ndim == self.axes + 2 else None
        if not isinstance(channels, int):
            raise misfit(f"{type(self).__name__} takes {SPATIAL[self.axes]} with channels a number", x)
        return channels

    def _convolved(self, x: Node, kernel: Node, groups: int) -> Node:
        self._channels(x)
        y = ops.convolution(
            x if x.dtype.is_float else ops.astype(x, kernel.dtype),
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=groups,
        )
        return self._activated(y)


class _Filters(Convolution):
    """A kernel with filters of its own, over all channels or groups of them."""

    __slots__ = ("filters", "groups", "kernel_initializer")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        *,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer, name)
        check(kernel_initializer)
        self.filters, self.groups = as_number(filters, "filters"), as_number(groups, "groups")
        if self.filters % self.groups:
            raise DeclarationError(f"{self.groups} groups must divide the {self.filters} filters")
        self.kernel_initializer = kernel_initializer

    def build(self, x: Node, rng: np.random.Generator) -> dict[str, Node]:
        channels = self._channels(x)
        if channels % self.groups:
            raise misfit(f"{self.groups} groups must divide the {channels} channels", x)
        size = as_counts(self.kernel_size, self.axes, "kernel_size")
        shape = (*size, channels // self.groups, self.filters)
        return self._made(x, shape, self.filters, self.kernel_initializer, rng)

    def apply(self, x: Node) -> Node:
        assert self.weights is not None
        return self._convolved(x, self.weights["kernel"], self.groups)


class Conv1D(_Filters):
    """activation(convolution(x, kernel) + bias): x [batch, steps, channels] to [batch, steps, filters].

    `strides`, `padding` ('valid' or 'same'), `dilation_rate` and `groups` are as in `gc.convolution`; activations and
    initialisers as in `Dense`.  kernel is [kernel_size, channels / groups, filters], bias, with `use_bias`, [filters].

    Raises DeclarationError or ShapeError for what is no size, padding, activation or initialiser; at the first call
    ShapeError for an input whose channels are no number or do not fit the groups.

    >>> import graphc as gc
    >>> layer = gc.nn.Conv1D(1, 2, kernel_initializer=[[[-1.0]], [[1.0]]])
    >>> x = gc.input("x", ("batch", "steps", 1), "float32")
    >>> gc.compile([x], layer(x))([[[1.0], [3.0], [7.0]]])
    array([[[2.],
            [4.]]], dtype=float32)
    """

    __slots__ = ()
    axes = 1


class Conv2D(_Filters):
    """activation(convolution(x, kernel) + bias): x [batch, height, width, channels] to [batch, height, width, filters].

    `kernel_size`, `strides` and `dilation_rate` are an int or a pair; `padding` ('valid' or 'same') and `groups` are as
    in `gc.convolution`; activations and initialisers as in `Dense`.  kernel is [height, width, channels / groups,
    filters], bias, with `use_bias`, [filters].

    Raises DeclarationError or ShapeError for what is no size, padding, activation or initialiser; at the first call
    ShapeError for an input whose channels are no number or do not fit the groups.

    >>> import graphc as gc
    >>> gc.nn.Conv2D(8, 3, padding="same", activation="relu")(gc.input("x", ("batch", 28, 28, 1))).shape
    (batch, 28, 28, 8)
    """

    __slots__ = ()
    axes = 2


class DepthwiseConv2D(Convolution):
    """Each channel convolved by itself: x [batch, height, width, channels] to [..., channels * depth_multiplier].

    kernel is [height, width, channels, depth_multiplier]; the filters of a channel stand side by side.  The other
    arguments are as in `Conv2D`.

    Raises DeclarationError or ShapeError for what is no size, padding, activation or initialiser; at the first call
    ShapeError for an input whose channels are no number.

    >>> import graphc as gc
    >>> gc.nn.DepthwiseConv2D(3, depth_multiplier=2)(gc.input("x", ("batch", 8, 8, 4))).shape
    (batch, 6, 6, 8)
    """

    __slots__ = ("depth_multiplier", "depthwise_initializer")
    axes = 2

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        *,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer, name)
        check(depthwise_initializer)
        self.depth_multiplier = as_number(depth_multiplier, "depth_multiplier")
        self.depthwise_initializer = depthwise_initializer

    def build(self, x: Node, rng: np.random.Generator) -> dict[str, Node]:
        channels = self._channels(x)
        shape = (*as_counts(self.kernel_size, self.axes, "kernel_size"), channels, self.depth_multiplier)
        return self._made(x, shape, channels * self.depth_multiplier, self.depthwise_initializer, rng)

    def apply(self, x: Node) -> Node:
        assert self.weights is not None
        kernel = self.weights["kernel"]
        *size, channels, multiplier = kernel.shape
        return self._convolved(x, ops.reshape(kernel, (*size, 1, channels * multiplier)), self._channels(x))
