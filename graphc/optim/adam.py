"""Adam."""

from __future__ import annotations

from graphc.declare import BUILDER as ops
from graphc.graph import Node
from graphc.optim.optimizer import Optimizer, Updates, finite, fraction, normal_or_zero
from graphc.types import float64


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient (m) and of its square (v).

    m += (1 - beta_1) (g - m);  v += (1 - beta_2) (g**2 - v);
    w -= lr sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + epsilon), with t = 1 in the first step.

    Source: Kingma, Ba, "Adam: a method for stochastic optimization", 2015, end of section 2 (epsilon is their "hat"
    epsilon).  The scalar factor, in which lr is `learning_rate`, is computed in float64 and rounded once.

    Raises DeclarationError for a number that is not finite, or a beta outside [0, 1).

    >>> import graphc as gc
    >>> w = gc.parameter("w", 1.0)
    >>> step = gc.compile([], w * w, updates=gc.optim.Adam(0.5).updates(w * w, [w]))
    >>> step(), f"{w.value:.4f}"
    (array(1.), '0.5000')
    """

    __slots__ = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1, self.beta_2 = fraction("beta_1", beta_1), fraction("beta_2", beta_2)
        self.epsilon = finite("epsilon", epsilon)

    def update(self, w: Node, gradient: Node) -> Updates:
        m, v = self.slot(w, "momentum"), self.slot(w, "velocity")
        new_m = normal_or_zero(m + (1.0 - self.beta_1) * (gradient - m))
        new_v = normal_or_zero(v + (1.0 - self.beta_2) * (ops.square(gradient) - v))
        step = ops.astype(self._corrected_rate(), w.dtype)
        return {m: new_m, v: new_v, w: w - step * new_m / (ops.sqrt(new_v) + self.epsilon)}

    def _corrected_rate(self) -> Node:
        """The learning rate with the correction for means that began at zero, in float64."""
        t = ops.astype(self.iterations + 1, float64)
        rate: Node = self.learning_rate * ops.sqrt(1.0 - ops.pow(self.beta_2, t)) / (1.0 - ops.pow(self.beta_1, t))
        return rate
