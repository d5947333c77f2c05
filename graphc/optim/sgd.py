"""Gradient descent, with momentum if asked."""

from __future__ import annotations

from graphc.graph import Node
from graphc.optim.optimizer import Optimizer, Updates, fraction, normal_or_zero


class SGD(Optimizer):
    """Stochastic gradient descent: w - lr g; with momentum, v = momentum v - lr g and w + v; lr is `learning_rate`.

    Nesterov's form (`nesterov`) takes the step from where the momentum leads: w + momentum v - lr g, with the new v.
    Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", 2013,
    equations 1 to 4, in the form of Keras, which keeps the shifted weights.

    Raises DeclarationError for a number that is not finite, or a momentum outside [0, 1).

    >>> import graphc as gc
    >>> w = gc.parameter("w", 1.0)
    >>> step = gc.compile([], w * w, updates=gc.optim.SGD(0.25).updates(w * w, [w]))
    >>> step(), w.value
    (array(1.), array(0.5))
    """

    __slots__ = ("momentum", "nesterov")

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum = fraction("momentum", momentum)
        self.nesterov = nesterov

    def update(self, w: Node, gradient: Node) -> Updates:
        step = self.rate(w) * gradient
        if not self.momentum:
            return {w: w - step}
        velocity = self.slot(w, "velocity")
        new = normal_or_zero(self.momentum * velocity - step)
        return {velocity: new, w: w + self.momentum * new - step if self.nesterov else w + new}
