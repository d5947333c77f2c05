"""Updates: an array with values put or combined at the places that a key names, x.at[key].set(values) and its like.

Where a key names an element more than once, values are taken in their order: of those that are set the last stays, the
others are combined one after the other.  A mask of x's leading axes may be a node: it is where(mask, new, x).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dims import same
from graphc.errors import DeclarationError, DTypeError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.index import updated
from graphc.ops.keys import as_items, as_node, located
from graphc.ops.movement import ALL
from graphc.ops.samples import example
from graphc.ops.subscript import as_numpy, get_reference
from graphc.types import FLOATS, INTEGERS, Shape, shape_text

ELEMENTWISE: dict[str, Callable[..., Any]] = {  # what an update makes of an element and a value
    "set": lambda b, x, v: v,
    "add": lambda b, x, v: x + v,
    "multiply": lambda b, x, v: x * v,
    "minimum": lambda b, x, v: b.minimum(x, v),
    "maximum": lambda b, x, v: b.maximum(x, v),
}


def _define(combine: str) -> Callable[..., Any]:
    def define(b: Any, x: Any, key: Any, values: Any, /, *, mode: str | None = None) -> Any:
        node = b.convert(x)
        if combine != "set" and node.dtype.kind == "b":
            raise DTypeError(f"operand 0 is bool, and only set takes bool, not {combine}; convert it with gc.astype")
        v = values_for(b, node, values)
        mask = _mask(b, key)
        if mask is not None and v.ndim <= node.ndim - mask.ndim:
            return _under(b, node, mask, v, combine)
        at = located(b, node, as_items(b, key, node.shape), mode)
        v = _spread(b, v, at.shape)
        if not at.positions:
            return b.reshape(ELEMENTWISE[combine](b, b.reshape(node, at.shape), v), node.shape)
        return updated(b, node, v, at.positions, at.along, at.modes, combine, at.distinct)

    return define


def _spread(b: Any, v: Any, shape: Shape) -> Any:
    try:
        return b.broadcast_to(v, shape)
    except ShapeError:
        raise ShapeError(
            f"values of shape {shape_text(v.shape)} do not broadcast to {shape_text(shape)}, the shape of x[key]"
        ) from None


def values_for(b: Any, x: Any, values: Any) -> Any:
    """The values in x's dtype: those with a dtype must be cast safely, Python numbers are taken if it holds them."""
    if not hasattr(values, "dtype"):
        return b.constant(values, x.dtype) if isinstance(values, (list, tuple)) else b.convert(values, x.dtype)
    v = b.convert(values)
    if not np.can_cast(v.dtype.numpy, x.dtype.numpy, "safe"):
        raise DTypeError(f"values of {v.dtype} do not fit an array of {x.dtype}; convert them with gc.astype")
    return b.astype(v, x.dtype)


def _mask(b: Any, key: Any) -> Any:
    """The mask that a key is, or None."""
    (item,) = key if isinstance(key, tuple) and len(key) == 1 else (key,)
    if isinstance(item, (list, np.ndarray)) or hasattr(item, "op"):
        node = as_node(b, item)
        return node if node is not None and node.dtype.kind == "b" and node.ndim else None
    return None


def _under(b: Any, x: Any, mask: Any, v: Any, combine: str) -> Any:
    """The update where the mask holds."""
    sizes = x.shape[: mask.ndim]
    pairs = list(zip(mask.shape, sizes, strict=False))
    if mask.ndim > x.ndim or any(same(d, e) is False or (d == 1) != (e == 1) for d, e in pairs):
        raise ShapeError(f"the mask has shape {shape_text(mask.shape)}, the axes from 0 on {shape_text(sizes)}")
    spread = b.reshape(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim)))
    new = ELEMENTWISE[combine](b, x, b.broadcast_to(v, x.shape))
    return b.where(spread, new, x)


# What the tests compare with.


def _places(x: Any, key: Any, mode: str | None) -> Any:
    """The position in the flattened x of every element that the key names, -1 for what is left out."""
    return get_reference(np.arange(np.prod(x.shape, dtype=int)).reshape(x.shape), as_numpy(key), mode, -1)


_UFUNCS = {"add": np.add, "multiply": np.multiply, "minimum": np.minimum, "maximum": np.maximum}


def _reference(combine: str) -> Callable[..., Any]:
    def call(x: Any, key: Any, values: Any, mode: str | None = None) -> Any:
        places, out = _places(x, key, mode), x.flatten()
        values = np.broadcast_to(np.asarray(values, x.dtype), places.shape)[places >= 0]
        places = places[places >= 0]
        if combine == "set":
            for place, value in zip(places, values, strict=True):
                out[place] = value
        else:
            _UFUNCS[combine].at(out, places, values)
        return out.reshape(x.shape)

    return call


def _tf(combine: str) -> Callable[..., Any]:
    def call(tf: Any, x: Any, key: Any, values: Any, mode: str | None = None) -> Any:
        places = _places(x, key, mode)
        values = tf.reshape(tf.broadcast_to(tf.cast(values, x.dtype), places.shape), [-1])
        places = places.ravel()
        last = {place: k for k, place in enumerate(places)}
        kept = np.flatnonzero([p >= 0 and (combine != "set" or last[p] == k) for k, p in enumerate(places)])
        name = {"set": "update", "minimum": "min", "maximum": "max"}.get(combine, combine)
        update = getattr(tf, f"tensor_scatter_nd_{name}")
        flat = update(tf.reshape(x, [-1]), places[kept][:, None], tf.gather(values, kept))
        return tf.reshape(flat, x.shape)

    return call


_X = Array((4, 5, 6), distinct=True, high=3.0)
_SAMPLES = (
    Sample((_X, [0, 3, 0], Array((5, 6)))),
    Sample((_X, (slice(1, None), Array((3,), -5, 5, "index"), 2), Array((3, 1)))),
    Sample((_X, (Array((2,), -4, 4, "index"), slice(None), Array((3, 1), 0, 6, "index")), Array((5,)))),
    Sample((_X, ([0, 1], None, [-1, 2]), Array((2, 1, 6)))),
    Sample((_X, (1, slice(None, None, -2)), Array(()))),
    Sample((_X, Ellipsis, Array((5, 1)))),
    Sample((_X, Array((4, 5), kind="bool"), Array((6,)))),
    Sample((_X, [True, False, False, True], Array((2, 5, 6)))),
    Sample((_X, Array((3,), -9, 9, "index"), Array((5, 6))), {"mode": "drop"}),
    Sample((_X, (Array((7,), -9, 9, "index"), Array((7,), -9, 9, "index")), Array((6,))), {"mode": "clip"}),
    Sample((Array((3,)), Array((2, 2), -9, 9, "index"), 1), {"mode": "wrap"}),
    Sample((Array((0, 3)), [], Array((0, 3)))),
)
_REJECTS = (
    Reject((_X, [4], 1.0), ShapeError, "position 4 does not lie on axis 0, which has length 4"),
    Reject((_X, [0], Array((7,))), ShapeError, "values of shape [7] do not broadcast to [1, 5, 6]"),
    Reject((_X, Array((4,)), 1.0), DTypeError, "positions are integers, got input"),
    Reject((_X, Array((5,), kind="bool"), 1.0), ShapeError, "the mask has shape [5], the axes from 0 on [4]"),
    Reject((_X, Array((4,), kind="bool"), Array((4, 5, 6))), DeclarationError, "which only the call knows"),
    Reject((Array((3,), kind="index"), [0], Array((1,))), DTypeError, "values of float64 do not fit"),
    Reject((Array((3,), kind="index"), [0], 1.5), DTypeError, "does not hold 1.5"),
    Reject((_X, [0], 1.0), DeclarationError, "mode is None", {"mode": "raise"}),
)
_RULES = (
    "\n\n`key` is what x[key] takes, or a mask that is a node; the values broadcast to the shape of x[key].  A "
    "position beyond its axis is an error; with `mode` 'clip' it is the nearest end, with 'wrap' the rest by the "
    "length, with 'drop' its value is left out."
)


def _register(name: str, combine: str, says: str, call: str, gives: str) -> None:
    allowed = combine == "set"
    rejects = _REJECTS if allowed else (*_REJECTS, Reject((Array((3,), kind="bool"), 0, True), DTypeError, "is bool"))
    register(
        Op(
            name=name,
            doc=says + _RULES + example(call, gives),
            define=_define(combine),
            reference=_reference(combine),
            dtypes=ALL if allowed else (*FLOATS, *INTEGERS),
            samples=_SAMPLES,
            rejects=rejects,
            tf=None if combine == "multiply" else _tf(combine),
        )
    )


_register(
    "set_at",
    "set",
    "x with x[key] set to values, x.at[key].set(values); of several values of an element the last stays.",
    "gc.set_at([1, 2, 3], [0, -1], 9)",
    "array([9, 2, 9])",
)
_register(
    "add_at",
    "add",
    "x with values added at x[key], x.at[key].add(values); all values of an element are added.",
    "gc.add_at([1, 2, 3], [0, 0], [10, 20])",
    "array([31,  2,  3])",
)
_register(
    "multiply_at",
    "multiply",
    "x with x[key] multiplied by values, x.at[key].multiply(values), by all values of an element.",
    "gc.multiply_at([1, 2, 3], [1, 1], [2, 5])",
    "array([ 1, 20,  3])",
)
_register(
    "min_at",
    "minimum",
    "x with x[key] or the least of its values, x.at[key].min(values); all that are equal share the gradient.",
    "gc.min_at([1, 2, 3], [1, 2], 0)",
    "array([1, 0, 0])",
)
_register(
    "max_at",
    "maximum",
    "x with x[key] or the greatest of its values, x.at[key].max(values); all that are equal share the gradient.",
    "gc.max_at([1, 2, 3], [0, 2], 2)",
    "array([2, 2, 3])",
)
