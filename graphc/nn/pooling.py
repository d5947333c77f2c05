"""Layers that pool: Keras's names, arguments and defaults, on [batch, *spatial, channels]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.declare import BUILDER as ops
from graphc.graph import Node
from graphc.nn.convolution import SPATIAL, as_padding
from graphc.nn.layers import Layer, misfit
from graphc.ops.convolution import as_counts


class _Pooling(Layer):
    """A function of each window over `axes` spatial axes."""

    __slots__ = ("padding", "pool_size", "strides")

    axes: int
    pooled: Callable[..., Node]

    def __init__(
        self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        as_counts(pool_size, self.axes, "pool_size")
        if strides is not None:
            as_counts(strides, self.axes, "strides")
        self.pool_size, self.strides, self.padding = pool_size, strides, as_padding(padding)

    def apply(self, x: Node) -> Node:
        if x.ndim != self.axes + 2:
            raise misfit(f"{type(self).__name__} takes {SPATIAL[self.axes]}", x)
        return type(self).pooled(x, self.pool_size, self.strides, self.padding)


class MaxPooling1D(_Pooling):
    """The largest value of each window of x [batch, steps, channels], as in `gc.max_pool`.

    Raises ShapeError or DeclarationError for what is no size or padding, ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.MaxPooling1D()(gc.input("x", ("batch", 9, 3))).shape
    (batch, 4, 3)
    """

    __slots__ = ()
    axes, pooled = 1, ops.max_pool


class MaxPooling2D(_Pooling):
    """The largest value of each window of x [batch, height, width, channels], as in `gc.max_pool`.

    `pool_size` and `strides`, which are the pool's size where they are None, are an int or a pair.

    Raises ShapeError or DeclarationError for what is no size or padding, ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.MaxPooling2D()(gc.input("x", ("batch", 28, 28, 3))).shape
    (batch, 14, 14, 3)
    """

    __slots__ = ()
    axes, pooled = 2, ops.max_pool


class AveragePooling1D(_Pooling):
    """The mean of each window of x [batch, steps, channels], as in `gc.avg_pool`.

    Raises ShapeError or DeclarationError for what is no size or padding, ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.AveragePooling1D(3, padding="same")(gc.input("x", ("batch", 9, 3))).shape
    (batch, 3, 3)
    """

    __slots__ = ()
    axes, pooled = 1, ops.avg_pool


class AveragePooling2D(_Pooling):
    """The mean of each window of x [batch, height, width, channels], as in `gc.avg_pool`.

    `pool_size` and `strides`, which are the pool's size where they are None, are an int or a pair.

    Raises ShapeError or DeclarationError for what is no size or padding, ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.AveragePooling2D(2)(gc.input("x", ("batch", 8, 8, 3))).shape
    (batch, 4, 4, 3)
    """

    __slots__ = ()
    axes, pooled = 2, ops.avg_pool


class _GlobalPooling(Layer):
    """A fold over `axes` spatial axes, which stay, with length 1, where `keepdims` says so."""

    __slots__ = ("keepdims",)

    axes: int
    folded: Callable[..., Node]

    def __init__(self, keepdims: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.keepdims = keepdims

    def apply(self, x: Node) -> Node:
        if x.ndim != self.axes + 2:
            raise misfit(f"{type(self).__name__} takes {SPATIAL[self.axes]}", x)
        return type(self).folded(x, axis=tuple(range(1, self.axes + 1)), keepdims=self.keepdims)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean over the steps of x [batch, steps, channels]; ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.GlobalAveragePooling1D()(gc.input("x", ("batch", 9, 3))).shape
    (batch, 3)
    """

    __slots__ = ()
    axes, folded = 1, ops.mean


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean over height and width of x [batch, height, width, channels]; ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.GlobalAveragePooling2D(keepdims=True)(gc.input("x", ("batch", 8, 8, 3))).shape
    (batch, 1, 1, 3)
    """

    __slots__ = ()
    axes, folded = 2, ops.mean


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest value over the steps of x [batch, steps, channels]; ShapeError for an input of other axes.

    >>> import graphc as gc
    >>> gc.nn.GlobalMaxPooling1D()(gc.input("x", ("batch", 9, 3))).shape
    (batch, 3)
    """

    __slots__ = ()
    axes, folded = 1, ops.max


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest value over height and width of x [batch, height, width, channels]; ShapeError for other axes.

    >>> import graphc as gc
    >>> gc.nn.GlobalMaxPooling2D()(gc.input("x", ("batch", 8, 8, 3))).shape
    (batch, 3)
    """

    __slots__ = ()
    axes, folded = 2, ops.max
