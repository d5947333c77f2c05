"""Activations: functions over the elementwise primitives, with Keras's names, arguments and defaults."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.op import Array, Op, Sample, register
from graphc.ops.elementwise import NUMBERS
from graphc.ops.samples import example, single
from graphc.ops.transcendental import scipy_special
from graphc.types import FLOATS

register(
    Op(
        name="relu",
        doc="maximum(0, x), NaN of NaN; the derivative at 0 is 0."
        + example("gc.relu([-1.0, 2.0])", "array([0., 2.])"),
        define=lambda b, x, /: b.maximum(0, x),  # zero stands first, so that it takes the cotangent of a tie
        reference=lambda x: np.maximum(x, 0),
        dtypes=NUMBERS,
        samples=single(),
        tf=lambda tf, x: tf.nn.relu(x),
    )
)


def _softplus(b: Any, x: Any, /) -> Any:
    (x,) = b.floating(x)
    # Not |x|: its derivative at 0 is 0, and that of softplus there is 1/2.
    magnitude = b.where(x > 0, x, -x)
    return b.maximum(0, x) + b.log1p(b.exp(-magnitude))


register(
    Op(
        name="softplus",
        doc="log(1 + exp(x)) = maximum(0, x) + log1p(exp(-|x|)), which neither overflows nor cancels."
        + example("gc.softplus([-1000.0, 0.0, 1000.0])", "array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])"),
        define=_softplus,
        reference=lambda x: np.logaddexp(x, 0),
        dtypes=FLOATS,
        samples=single(),
        tf=lambda tf, x: tf.math.softplus(x),
    )
)


def _gelu(b: Any, x: Any, /, approximate: bool = False) -> Any:
    (x,) = b.floating(x)
    if approximate:
        return 0.5 * x * (1 + b.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    return 0.5 * x * b.erfc(-math.sqrt(0.5) * x)  # erfc(-t) = 1 + erf(t), but does not cancel where t < 0


def _gelu_reference(x: Any, approximate: bool = False) -> Any:
    if approximate:
        return x * scipy_special("expit")(x * (1 + 0.044715 * x**2) * (2 * math.sqrt(2 / math.pi)))
    return x * scipy_special("ndtr")(x)


register(
    Op(
        name="gelu",
        doc="x times the normal distribution function of x, or with `approximate` the form by tanh.  "
        "Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, section 2."
        + example("gc.gelu([-1.0, 0.0, 1.0])", "array([-0.15865525,  0.        ,  0.84134475])"),
        define=_gelu,
        reference=_gelu_reference,
        dtypes=FLOATS,
        samples=(*single(), Sample((Array((3, 4)),), {"approximate": True})),
        tf=lambda tf, x, approximate=False: tf.nn.gelu(x, approximate=approximate),
    )
)

register(
    Op(
        name="silu",
        doc="x * sigmoid(x)."
        + example("gc.silu([-1.0, 0.0, 1.0])", "array([-0.26894142,  0.        ,  0.73105858])"),
        define=lambda b, x, /: b.multiply(x, b.sigmoid(x)),
        reference=lambda x: x * scipy_special("expit")(x),
        dtypes=FLOATS,
        samples=single(),
        tf=lambda tf, x: tf.nn.silu(x),
    )
)
