"""A model that is a stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphc.declare import input as declare_input
from graphc.errors import DeclarationError
from graphc.graph import Node
from graphc.nn.layers import Layer
from graphc.nn.model import Model
from graphc.nn.part import Part
from graphc.types import float32


class Sequential(Model):
    """Layers one after the other; the first call makes their parameters.

    `seed` decides the initial values and the order of samples in `fit`; each layer draws from a generator of its own.
    Raises DeclarationError for `layers` that are no list of layers, or none, or two of one name.

    >>> import graphc as gc
    >>> model = gc.nn.Sequential([gc.nn.Dense(3, activation="relu"), gc.nn.Dense(2)], seed=0)
    >>> model(gc.input("x", ("batch", 4), "float32")).shape
    (batch, 2)
    >>> [w.name for w in model.parameters()]
    ['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias']
    """

    __slots__ = ("_layers", "_seeds")

    def __init__(self, layers: Sequence[Layer], seed: int | None = None) -> None:
        if isinstance(layers, Part) or not isinstance(layers, Iterable):
            raise DeclarationError(f"Sequential takes a list of layers: Sequential([...]); got {layers!r}")
        self._layers = tuple(layers)
        for layer in self._layers:
            if not isinstance(layer, Layer):
                raise DeclarationError(f"Sequential takes a list of layers, got {layer!r} in it")
        if not self._layers:
            raise DeclarationError("Sequential takes at least one layer")
        _name(self._layers)
        shuffle, *self._seeds = np.random.SeedSequence(seed).spawn(1 + len(self._layers))
        super().__init__(shuffle)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order; the stack is made once, by the constructor.

        >>> import graphc as gc
        >>> [layer.name for layer in gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(2)]).layers]
        ['dense', 'dense_1']
        """
        return self._layers

    def held(self) -> Iterator[Part]:
        yield from self._layers
        yield from super().held()

    def __call__(self, x: Node) -> Node:
        with self._all_or_nothing():
            for layer, seed in zip(self._layers, self._seeds, strict=True):
                x = layer(x, np.random.default_rng(seed))
        return x

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        fresh = [layer for layer in self._layers if layer.weights is None]
        try:
            yield
        except BaseException:
            for layer in fresh:
                layer.weights = None
            raise

    def build(self, shape: Sequence[int | None], dtype: Any = float32) -> None:
        """Make the parameters for inputs of this shape and dtype; the first dimension, the batch, may be None.

        Raises DeclarationError for what is no shape of a batch, ShapeError if the layers do not take it.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(2)])
        >>> model.build((None, 784))
        >>> model.summary()
        dense                Dense             1,570  kernel [784, 2], bias [2]
        total                                  1,570
        """
        if not isinstance(shape, (tuple, list)) or not shape:
            raise DeclarationError(f"build takes the shape of a batch, such as (None, 784), got {shape!r}")
        self(declare_input("x", ("batch", *shape[1:]), dtype))

    def parameters(self) -> list[Node]:
        """The layers' parameters in order, each once; DeclarationError before the first call.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(2)])
        >>> model.build((None, 3))
        >>> [w.name for w in model.parameters()]
        ['dense/kernel', 'dense/bias']
        """
        if any(layer.weights is None for layer in self._layers):
            advice = "write model.build((None, 784)), where 784 stands for the shape of a sample, or fit it first"
            raise DeclarationError(f"the model has no parameters yet; {advice}")
        return list(dict.fromkeys(w for layer in self._layers for w in layer.parameters()))


def _name(layers: Sequence[Layer]) -> None:
    """Give a name to each layer that has none, by kind and number as Keras does; refuse a name given twice."""
    named = [layer for layer in dict.fromkeys(layers) if layer.name is not None]
    taken = {str(layer.name) for layer in named}
    if len(taken) < len(named):
        raise DeclarationError(f"two layers have the same name among {', '.join(str(layer.name) for layer in named)}")
    for layer in layers:
        k = 0
        while layer.name is None:
            name = f"{layer.kind}_{k}" if k else layer.kind
            if name not in taken:
                layer.name = name
                taken.add(name)
            k += 1
