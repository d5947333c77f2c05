"""Absolute value and sign, rounding to integers, extremes of two operands and clipping."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Poly, dim_max, dim_min
from graphc.errors import ShapeError
from graphc.op import Array, Family, Op, Reject, Sample, register
from graphc.ops.elementwise import ALL, NUMBERS, promoting
from graphc.ops.rules import elementwise, no_cotangents
from graphc.ops.samples import MISFIT, ONE_BOOL, example, pair, single
from graphc.types import FLOATS, DType, bool_


def greater(x: Any, y: Any) -> Any:
    """The greater of two arrays: NaN if either is, and of two zeros the positive one (IEEE 754-2019, maximum)."""
    found = np.maximum(x, y)
    return np.where((x == 0) & (y == 0), x + y, found) if found.dtype.kind == "f" else found


def smaller(x: Any, y: Any) -> Any:
    """The smaller of two arrays: NaN if either is, and of two zeros the negative one (IEEE 754-2019, minimum)."""
    found = np.minimum(x, y)
    return np.where((x == 0) & (y == 0), -(-x + -y), found) if found.dtype.kind == "f" else found


def _abs(b: Any, x: Any, /) -> Any:
    x = b.convert(x)
    return x if x.dtype == bool_ else b.primitive("abs", (x,))


register(
    Op(
        name="abs",
        doc="|x|; the derivative at 0 is 0."
        + example("gc.abs([-1.5, 2.0])", "array([1.5, 2. ])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=_abs,
        reference=np.abs,
        body="fabs(x)",
        adjoint=lambda b, g, out, x: (g * b.sign(x),),
        dtypes=ALL,
        samples=single(),
        tf=lambda tf, x: tf.abs(x),
    )
)

register(
    Op(
        name="sign",
        doc="1 where x > 0, -1 where x < 0, 0 where x = 0, NaN where x is NaN."
        + example("gc.sign([-3, 0, 5])", "array([-1,  0,  1])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS),
        define=lambda b, x, /: b.primitive("sign", (b.convert(x),)),
        reference=np.sign,
        body="sign(x)",
        adjoint=no_cotangents,
        dtypes=NUMBERS,
        samples=single(),
        rejects=(ONE_BOOL,),
        tf=lambda tf, x: tf.sign(x),
    )
)


def _rounding(
    name: str, doc: str, gives: str, reference: Any, body: str, tf: Any, dtypes: tuple[DType, ...] = ALL
) -> Op:
    def define(b: Any, x: Any, /) -> Any:
        x = b.convert(x)
        return b.primitive(name, (x,)) if x.dtype.is_float else x

    return Op(
        name=name,
        doc=f"{doc}; integers and bool stay as they are; the derivative is 0."
        + example(f"gc.{name}([-1.5, 0.5, 1.5, 2.7])", f"array([{gives}])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=define,
        reference=reference,
        body=body,
        adjoint=no_cotangents,
        dtypes=dtypes,
        samples=single(-5.0, 5.0),
        tf=tf,
    )


for _op in (
    _rounding(
        "floor", "The greatest integer <= x", "-2.,  0.,  1.,  2.", np.floor, "floor(x)", lambda tf, x: tf.floor(x)
    ),
    _rounding(
        "ceil", "The least integer >= x", "-1.,  1.,  2.,  3.", np.ceil, "ceil(x)", lambda tf, x: tf.math.ceil(x)
    ),
    _rounding("trunc", "The nearest integer towards zero", "-1.,  0.,  1.,  2.", np.trunc, "trunc(x)", None),
    _rounding(
        "round",
        "The nearest integer, the even one of two",
        "-2.,  0.,  2.,  3.",
        np.round,
        "rint(x)",
        lambda tf, x: tf.round(x),
        NUMBERS,  # NumPy alone rounds bool to float16
    ),
):
    register(_op)


def _maximum_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    first = x >= _beside(x, y, out)
    return b.where(first, g, 0), b.where(first, 0, g)


def _minimum_adjoint(b: Any, g: Any, out: Any, x: Any, y: Any) -> tuple[Any, Any]:
    first = x <= _beside(x, y, out)
    return b.where(first, g, 0), b.where(first, 0, g)


def _beside(x: Any, y: Any, out: Any) -> Any:
    """What x is compared with: the result tells as much as y, and beside a constant y need not be kept for it."""
    return out if x.op.name == "constant" else y


def _extreme(name: str, of_dimensions: Any) -> Any:
    """The public call; of a dimension and an int or another one it is a dimension again."""
    nodes = promoting(name)

    def define(b: Any, x: Any, y: Any, /) -> Any:
        whole = all(type(v) in (Poly, int) for v in (x, y)) and Poly in (type(x), type(y))
        return of_dimensions(x, y) if whole else nodes(b, x, y)

    return define


register(
    Op(
        name="maximum",
        doc="The greater of x and y, NaN if either is NaN; where they are equal the whole cotangent goes to x.\n\n"
        "Of two zeros the positive one is greater (IEEE 754-2019, maximum)."
        + example("gc.maximum([-1.0, 2.0], 0.0)", "array([0., 2.])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL),
        define=_extreme("maximum", dim_max),
        reference=greater,
        body={"f": "fmax(x, y)", "i": "fmax(x, y)", "u": "fmax(x, y)", "b": "x | y"},
        adjoint=_maximum_adjoint,
        dtypes=ALL,
        samples=pair(distinct=True),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: tf.maximum(x, y),
    )
)

register(
    Op(
        name="minimum",
        doc="The smaller of x and y, NaN if either is NaN; where they are equal the whole cotangent goes to x.\n\n"
        "Of two zeros the negative one is smaller (IEEE 754-2019, minimum)."
        + example("gc.minimum([-1.0, 2.0], 0.0)", "array([-1.,  0.])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL),
        define=_extreme("minimum", dim_min),
        reference=smaller,
        body={"f": "fmin(x, y)", "i": "fmin(x, y)", "u": "fmin(x, y)", "b": "x & y"},
        adjoint=_minimum_adjoint,
        dtypes=ALL,
        samples=pair(distinct=True),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: tf.minimum(x, y),
    )
)


def _clip(b: Any, x: Any, /, min: Any = None, max: Any = None) -> Any:
    x = b.convert(x)
    if min is not None:
        x = b.maximum(x, min)
    return x if max is None else b.minimum(x, max)


def _clip_reference(x: Any, min: Any = None, max: Any = None) -> Any:
    x = x if min is None else greater(x, np.asarray(min, np.result_type(x, min)))
    return x if max is None else smaller(x, np.asarray(max, np.result_type(x, max)))


def _clip_in_tensorflow(tf: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    return tf.clip_by_value(x, x.dtype.min if min is None else min, x.dtype.max if max is None else max)


register(
    Op(
        name="clip",
        doc="minimum(maximum(x, min), max), where a bound that is None is left out; at a bound the derivative is 1."
        + example("gc.clip([-5, 0, 5], -1, 1)", "array([-1,  0,  1])"),
        define=_clip,
        reference=_clip_reference,
        dtypes=NUMBERS,
        samples=(
            Sample((Array((3, 4)), 0, 1)),
            Sample((Array((3, 4)),), {"min": 1}),
            Sample((Array((3, 4)),), {"max": 1}),
            Sample((Array((2,)),)),
            Sample((Array((3, 4)), Array((4,), 0.0, 1.0), Array((3, 1), 1.0, 2.0))),
        ),
        rejects=(Reject((Array((3,)), Array((4,)), 1.0), ShapeError, "do not broadcast"),),
        tf=_clip_in_tensorflow,
    )
)
