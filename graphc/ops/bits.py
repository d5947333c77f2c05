"""Bits: logic and shifts of integers, signs of floats, and the next float.

Of bool the bitwise functions are the logical ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.op import Array, Family, Op, Reject, register
from graphc.ops.elementwise import promoting
from graphc.ops.logic import MISFIT_BOOL
from graphc.ops.rules import elementwise
from graphc.ops.samples import BOTH_BOOL, MISFIT, ONE_BOOL, example, pair, single
from graphc.types import FLOATS, INTEGERS, bool_

_NUMBERS = (*INTEGERS, *FLOATS)
_WHOLE = (bool_, *INTEGERS)
_INDEX = Array((3,), kind="index")
_FLOAT = Reject((Array((3,)), _INDEX), DTypeError, "is float64")


def _bitwise(name: str, logical: str) -> Any:
    def define(b: Any, x: Any, y: Any, /) -> Any:
        nodes = b.promoted(x, y)
        return getattr(b, logical)(*nodes) if nodes[0].dtype == bool_ else b.primitive(name, nodes)

    return define


def _invert(b: Any, x: Any, /) -> Any:
    node = b.convert(x)
    return b.logical_not(node) if node.dtype == bool_ else b.primitive("bitwise_invert", (node,))


for _name, _word, _logical, _gives in (
    ("bitwise_and", "both x and y", "logical_and", "4, 4"),
    ("bitwise_or", "x or y", "logical_or", " 7, 15"),
    ("bitwise_xor", "just one of x and y", "logical_xor", " 3, 11"),
):
    register(
        Op(
            name=_name,
            doc=f"The bits that {_word} have; of bool `{_logical}`."
            + example(f"gc.{_name}([5, 13], 6)", f"array([{_gives}])"),
            family=Family.ELEMENTWISE,
            infer=elementwise(_WHOLE),
            define=_bitwise(_name, _logical),
            reference=getattr(np, _name),
            body=f"bit_{_name[8:]}(x, y)",
            dtypes=_WHOLE,
            samples=pair(),
            rejects=(MISFIT_BOOL, _FLOAT),
        )
    )

register(
    Op(
        name="bitwise_invert",
        doc="The bits that x does not have; of bool `logical_not`."
        + example("gc.bitwise_invert([0, 5])", "array([-1, -6])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(_WHOLE),
        define=_invert,
        reference=np.invert,
        body="bit_not(x)",
        dtypes=_WHOLE,
        samples=single(),
        rejects=(Reject((Array((3,)),), DTypeError, "is float64"),),
    )
)


def _shifted(shift: Any) -> Any:
    """NumPy's shift, by places that are read as unsigned: beyond all bits there is nothing left, or the sign."""
    return lambda x, y: shift(x, np.asarray(y, np.result_type(x, y)))


for _name, _what in (
    ("bitwise_left_shift", "x times 2**y, modulo 2**bits"),
    ("bitwise_right_shift", "The greatest integer <= x / 2**y"),
):
    _right = _name == "bitwise_right_shift"
    register(
        Op(
            name=_name,
            doc=f"{_what}; a y that is negative, or not less than the number of bits, leaves "
            + ("0, or -1 where x < 0." if _right else "0.")
            + example(
                f"gc.{_name}({'[9, -9]' if _right else '[1, 3]'}, 2)", f"array([{' 2, -3' if _right else ' 4, 12'}])"
            ),
            family=Family.ELEMENTWISE,
            infer=elementwise(INTEGERS),
            define=promoting(_name),
            reference=_shifted(getattr(np, _name)),
            body=f"shift_{'right' if _right else 'left'}(x, y)",
            dtypes=INTEGERS,
            samples=pair(0.0, 8.0),
            rejects=(BOTH_BOOL, _FLOAT, Reject((_INDEX, Array((4,), kind="index")), MISFIT.error, MISFIT.says)),
        )
    )


register(
    Op(
        name="copysign",
        doc="|x| with the sign of y, which -0.0 and NaN have too; of integers in float64."
        + example("gc.copysign([1.0, -2.0], -0.0)", "array([-1., -2.])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, y, /: b.primitive("copysign", b.floating(x, y)),
        reference=np.copysign,
        body="copysign(x, y)",
        adjoint=lambda b, g, out, x, y: (b.where(b.equal(b.signbit(x), b.signbit(y)), g, -g), None),
        dtypes=FLOATS,
        samples=pair(),
        rejects=(MISFIT,),
    )
)

register(
    Op(
        name="signbit",
        doc="Whether the sign of x is minus, which -0.0 and NaN may have too."
        + example("gc.signbit([1.0, -0.0])", "array([False,  True])"),
        family=Family.ELEMENTWISE,
        infer=elementwise(_NUMBERS, bool_),
        define=lambda b, x, /: b.primitive("signbit", (b.convert(x),)),
        reference=np.signbit,
        body={"f": "copysign(one, x) < zero", "i": "x < zero", "u": "x < zero"},
        dtypes=_NUMBERS,
        samples=single(),
        rejects=(ONE_BOOL,),
    )
)

register(
    Op(
        name="nextafter",
        doc="The float next to x in the direction of y; y where both are equal; of integers in float64."
        + example("gc.nextafter(1.0, 2.0) - 1.0", "array(2.22044605e-16)"),
        family=Family.ELEMENTWISE,
        infer=elementwise(FLOATS),
        define=lambda b, x, y, /: b.primitive("nextafter", b.floating(x, y)),
        reference=np.nextafter,
        body="next_after(x, y)",
        adjoint=lambda b, g, out, x, y: (g, None),
        dtypes=FLOATS,
        samples=pair(),
        rejects=(MISFIT,),
    )
)
