"""What optimisers share: the updates of a step, and state that belongs to the optimiser.

In: a scalar loss and parameters.  Out: a mapping from each parameter that a step changes, the optimiser's own included,
to the node of its new value; `compile(..., updates=...)` applies all of them at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.adjoint import grad
from graphc.declare import BUILDER as ops
from graphc.declare import parameter
from graphc.errors import DeclarationError
from graphc.graph import Node, describe
from graphc.line import updating

Updates = dict[Node, Node]


class Optimizer:
    """Base of the optimisers: a learning rate, a count of steps, and slots kept for each parameter.

    The learning rate is a parameter node: functions that are compiled already follow `opt.learning_rate = 0.01`.
    A child gives `update`; DeclarationError for a learning rate that is no finite number.

    >>> import graphc as gc
    >>> class SignDescent(gc.optim.Optimizer):
    ...     def update(self, w, gradient):
    ...         return {w: w - self.rate(w) * gc.sign(gradient)}
    >>> w = gc.parameter("w", [1.0, -2.0])
    >>> loss = gc.sum(w * w)
    >>> step = gc.compile([], loss, updates=SignDescent(0.5).updates(loss, [w]))
    >>> step(), w.value
    (array(5.), array([ 0.5, -1.5]))
    """

    __slots__ = ("__weakref__", "_learning_rate", "_slots", "iterations")  # so that `opt.lr = 0.1` is refused

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = parameter("learning_rate", finite("learning_rate", learning_rate))
        self.iterations = parameter("iterations", np.int64(0))
        self._slots: dict[tuple[Node, str], Node] = {}

    @property
    def learning_rate(self) -> Node:
        """The learning rate, a float64 parameter; a number that is set takes effect in functions compiled before.

        >>> import graphc as gc
        >>> opt = gc.optim.SGD(0.1)
        >>> opt.learning_rate = 0.01
        >>> opt.learning_rate.value
        array(0.01)
        """
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate.assign(finite("learning_rate", value))

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        options = {name: getattr(self, name) for name in names if hasattr(self, name)}
        if "learning_rate" in options:
            options["learning_rate"] = float(self._learning_rate.value)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"

    def updates(self, loss: Node, parameters: Sequence[Node]) -> Updates:
        """New values of the parameters, their slots and the step count after a step down the gradient of `loss`.

        Raises DeclarationError if there are no parameters, or one of them is not a parameter or stands twice;
        GradientError if `loss` is not a float scalar or a parameter is not float.

        >>> import graphc as gc
        >>> w = gc.parameter("w", 1.0)
        >>> sorted(p.name for p in gc.optim.SGD(0.1).updates(w * w, [w]))
        ['iterations', 'w']
        """
        parameters = list(parameters)
        _check(parameters)
        gradients = grad(loss, parameters)
        with updating():
            new = {self.iterations: self.iterations + 1}
            for w, gradient in zip(parameters, gradients, strict=True):
                new |= self.update(w, gradient)
        return new

    def update(self, w: Node, gradient: Node) -> Updates:
        """New values of one parameter and of its slots, given its gradient, a node of its shape and dtype.

        >>> import graphc as gc
        >>> w = gc.parameter("w", 1.0)
        >>> new = gc.optim.SGD(0.5).update(w, 2.0 * w)
        >>> gc.compile([], new[w])()
        array(0.)
        """
        raise NotImplementedError(f"{type(self).__name__} has no method update, which gives new values")

    def slot(self, w: Node, name: str) -> Node:
        """The state called `name` that this optimiser keeps for `w`: of its shape and dtype, zeros at first.

        >>> import graphc as gc
        >>> w = gc.parameter("w", [1.0, 2.0])
        >>> gc.optim.SGD(0.5).slot(w, "velocity").value
        array([0., 0.])
        """
        key = (w, name)
        if key not in self._slots:
            self._slots[key] = parameter(f"{w.name}/{name}", np.zeros(w.shape, w.dtype.numpy))
        return self._slots[key]

    def rate(self, w: Node) -> Node:
        """The learning rate in the dtype of `w`.

        >>> import graphc as gc
        >>> gc.optim.SGD(0.5).rate(gc.parameter("w", 1.0, "float32")).dtype
        graphc.float32
        """
        rate: Node = ops.astype(self._learning_rate, w.dtype)
        return rate


def _check(parameters: Sequence[Any]) -> None:
    if not parameters:
        raise DeclarationError("there are no parameters to update; a model has them once it was called: model(x)")
    for w in parameters:
        if not isinstance(w, Node) or w.op.name != "parameter":
            got = describe(w) if isinstance(w, Node) else repr(w)
            raise DeclarationError(f"only parameters can be updated, got {got}")
    if len(set(parameters)) != len(parameters):
        raise DeclarationError(f"a parameter stands twice among {', '.join(str(w.name) for w in parameters)}")


def normal_or_zero(x: Node) -> Node:
    """x, but 0 where it is below the smallest normal number.

    What decays where no gradient comes ends there, in float arithmetic for good, and slows every step down.
    """
    smallest = float(np.finfo(x.dtype.numpy).smallest_normal)
    settled: Node = ops.where(ops.abs(x) < smallest, 0, x)
    return settled


def finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        raise DeclarationError(f"{name} is a finite number, got {value!r}")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """`value` as a float in [0, 1), for rates of decay."""
    if not 0.0 <= finite(name, value) < 1.0:
        raise DeclarationError(f"{name} lies in [0, 1), got {value!r}")
    return float(value)
