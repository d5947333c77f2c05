"""Comparisons, logic, tests for special values, choice between values, and conversion of dtypes."""

from __future__ import annotations

import numpy as np

from graphc.errors import DTypeError
from graphc.op import Array, Attrs, Family, Op, Reject, Sample, register
from graphc.ops.elementwise import ALL, NUMBERS, promoting
from graphc.ops.rules import elementwise, no_cotangents, require
from graphc.ops.samples import MISFIT, example, pair, single
from graphc.types import Constraint, TensorType, bool_, broadcast


def _comparison(name: str, relation: str, gives: str) -> Op:
    nan = "true" if relation == "!=" else "false"
    return Op(
        name=name,
        doc=f"Whether x {relation} y; {nan} where either is NaN."
        + example(f"gc.{name}([1, 2, 3], 2)", f"array([{gives}])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL, bool_),
        define=promoting(name),
        reference=getattr(np, name),
        body=f"x {relation} y",
        dtypes=ALL,
        samples=pair(),
        rejects=(MISFIT,),
        tf=lambda tf, x, y: getattr(tf.math, name)(x, y),
    )


for _name, _relation, _gives in (
    ("equal", "==", "False,  True, False"),
    ("not_equal", "!=", " True, False,  True"),
    ("less", "<", " True, False, False"),
    ("less_equal", "<=", " True,  True, False"),
    ("greater", ">", "False, False,  True"),
    ("greater_equal", ">=", "False,  True,  True"),
):
    register(_comparison(_name, _relation, _gives))


def _logical(name: str, doc: str, body: str, gives: str) -> Op:
    return Op(
        name=name,
        doc=f"{doc}; takes bool only: write `x != 0` for numbers."
        + example(f"gc.{name}([False, True, True], [False, False, True])", f"array([{gives}])"),
        family=Family.ELEMENTWISE,
        infer=_truth_values,
        define=promoting(name),
        reference=getattr(np, name),
        body=body,
        dtypes=(bool_,),
        samples=pair(),
        rejects=(MISFIT_BOOL, Reject((Array((3,), kind="index"), Array((3,), kind="index")), DTypeError, "x != 0")),
        tf=lambda tf, x, y: getattr(tf.math, name)(x, y),
    )


def _truth_values(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    for k, t in enumerate(types):
        if t.dtype != bool_:
            raise DTypeError(f"operand {k} is {t.dtype}, but it takes bool; write `x != 0`")
    return (TensorType(bool_, broadcast([t.shape for t in types], found)),)


MISFIT_BOOL = Reject((Array((3,), kind="bool"), Array((4,), kind="bool")), MISFIT.error, MISFIT.says)

register(_logical("logical_and", "Whether x and y are true", "x & y", "False, False,  True"))
register(_logical("logical_or", "Whether x or y is true", "x | y", "False,  True,  True"))
register(_logical("logical_xor", "Whether just one of x and y is true", "x != y", "False,  True, False"))

register(
    Op(
        name="logical_not",
        doc="Whether x is false; takes bool only: write `x == 0` for numbers."
        + example("gc.logical_not([True, False])", "array([False,  True])"),
        family=Family.ELEMENTWISE,
        infer=_truth_values,
        define=lambda b, x, /: b.primitive("logical_not", (b.convert(x),)),
        reference=np.logical_not,
        body="not x",
        dtypes=(bool_,),
        samples=single(),
        rejects=(Reject((Array((3,)),), DTypeError, "x != 0"),),
        tf=lambda tf, x: tf.logical_not(x),
    )
)


def _test(name: str, doc: str, gives: str) -> Op:
    return Op(
        name=name,
        doc=doc + example(f"gc.{name}([0.0, gc.inf, gc.nan])", f"array([{gives}])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(NUMBERS, bool_),
        define=lambda b, x, /: b.primitive(name, (b.convert(x),)),
        reference=getattr(np, name),
        body=f"{name}(x)",
        dtypes=NUMBERS,
        samples=single(),
        tf=lambda tf, x: getattr(tf.math, f"is_{name[2:]}")(x),
    )


register(_test("isnan", "Whether x is not a number.", "False, False,  True"))
register(_test("isinf", "Whether x is infinite.", "False,  True, False"))
register(_test("isfinite", "Whether x is neither infinite nor NaN.", " True, False, False"))


def _infer_where(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    condition, *choices = types
    if condition.dtype != bool_:
        raise DTypeError(f"the condition is {condition.dtype}, but it must be bool; write `condition != 0`")
    require(choices, ALL)
    return (TensorType(choices[0].dtype, broadcast([t.shape for t in types], found)),)


register(
    Op(
        name="where",
        doc="x where the condition is true, else y; the condition is bool, all three broadcast."
        + example("gc.where([True, False], [1, 2], 0.5)", "array([1. , 0.5])"),
        family=Family.ELEMENTWISE,
        infer=_infer_where,
        define=lambda b, condition, x, y, /: b.primitive("where", (b.convert(condition), *b.promoted(x, y))),
        reference=np.where,
        body="select(x, y, z)",
        adjoint=lambda b, g, out, condition, x, y: (None, b.where(condition, g, 0), b.where(condition, 0, g)),
        dtypes=ALL,
        samples=(
            Sample((Array((3, 4), kind="bool"), Array((3, 4)), Array((3, 4)))),
            Sample((Array((3, 1), kind="bool"), Array((4,)), Array(()))),
            Sample((Array((2,), kind="bool"), Array((0, 2)), Array((2,)))),
        ),
        rejects=(
            Reject((Array((3,)), Array((3,)), Array((3,))), DTypeError, "condition != 0"),
            Reject((Array((3,), kind="bool"), Array((4,)), 0.0), MISFIT.error, MISFIT.says),
        ),
        tf=lambda tf, condition, x, y: tf.where(condition, x, y),
    )
)


def _infer_astype(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
    return (TensorType(attrs["dtype"], types[0].shape),)


register(
    Op(
        name="astype",
        doc="x converted to a dtype: float to integer drops the fraction, anything to bool is `x != 0`.\n\n"
        "Nodes never change, so that `copy` changes nothing."
        + example('gc.astype([-1.5, 2.7], "int32")', "array([-1,  2], dtype=int32)"),
        family=Family.ELEMENTWISE,
        infer=_infer_astype,
        define=lambda b, x, dtype, /, *, copy=True: b.astype(x, dtype),
        reference=lambda x, dtype, copy=True: np.asarray(x).astype(str(dtype)),
        body="x",  # the code generator converts every result to its dtype
        adjoint=lambda b, g, out, x, dtype: (b.astype(g, x.dtype) if x.dtype.is_float else None,),
        dtypes=ALL,
        samples=tuple(Sample((Array((3, 4), 0.0, 4.0), str(d))) for d in ALL),
        rejects=(Reject((Array((3,)), "complex128"), DTypeError, "not supported"),),
        tf=lambda tf, x, dtype: tf.cast(x, dtype),
    )
)

register(
    Op(
        name="stop_gradient",
        doc="x itself, taken as a constant by gradients."
        + example("gc.stop_gradient([1.0, 2.0])", "array([1., 2.])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(ALL),
        define=lambda b, x, /: b.primitive("stop_gradient", (b.convert(x),)),
        reference=lambda x: np.array(x),
        body="x",
        adjoint=no_cotangents,
        dtypes=ALL,
        samples=single(),
        tf=lambda tf, x: tf.stop_gradient(x),
    )
)
