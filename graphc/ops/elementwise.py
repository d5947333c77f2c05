"""Elementwise ops: one scalar expression each; operands broadcast."""

from __future__ import annotations

import numpy as np

from graphc.op import Array, Family, Op, Sample, register
from graphc.ops.rules import elementwise
from graphc.types import FLOATS, INTEGERS

register(
    Op(
        name="multiply",
        doc="x * y.",
        family=Family.ELEMENTWISE,
        infer=elementwise((*FLOATS, *INTEGERS)),
        define=lambda b, x, y, /: b.primitive("multiply", b.promoted(x, y)),
        reference=np.multiply,
        body="x * y",
        adjoint=lambda b, g, out, x, y: (g * y, g * x),
        dtypes=(*FLOATS, *INTEGERS),
        samples=(Sample((Array((3, 4)), Array((3, 4)))), Sample((Array((3, 1)), Array((4,))))),
        tf=lambda tf, x, y: tf.multiply(x, y),
    )
)

register(
    Op(
        name="exp",
        doc="The exponential function, e**x.",
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, /: b.primitive("exp", b.floating(x)),
        reference=np.exp,
        body="exp(x)",
        adjoint=lambda b, g, y, x: (g * y,),
        dtypes=FLOATS,
        samples=(Sample((Array((3, 4)),)),),
        tf=lambda tf, x: tf.exp(x),
    )
)
