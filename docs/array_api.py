"""The names of the array API standard, 2024.12, and what the page docs/array-api.md says of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import graphc as gc
from graphc.declare import FUNCTIONS
from graphc.operators import OTHER_NAMES

_FUNCTIONS = {
    "Constants": "e inf nan newaxis pi",
    "Creation": "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril "
    "triu zeros zeros_like",
    "Dtypes": "astype can_cast finfo iinfo isdtype result_type bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float32 float64 complex64 complex128",
    "Elementwise": "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift "
    "bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor "
    "floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp "
    "logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow "
    "real reciprocal remainder round sign signbit sin sinh sqrt square subtract tan tanh trunc",
    "Indexing": "take take_along_axis",
    "Linear algebra": "matmul matrix_transpose tensordot vecdot",
    "Manipulation": "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll "
    "squeeze stack tile unstack",
    "Searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "Sets": "unique_all unique_counts unique_inverse unique_values",
    "Sorting": "argsort sort",
    "Statistics": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "Utilities": "all any diff",
    "The namespace": "__array_api_version__ __array_namespace_info__",
}
_ATTRIBUTES = {
    "Attributes": "T device dtype mT ndim shape size",
    "Methods": "__array_namespace__ __dlpack__ __dlpack_device__ to_device",
    "Conversions": "__bool__ __complex__ __float__ __index__ __int__",
    "Operators": "__abs__ __add__ __and__ __eq__ __floordiv__ __ge__ __getitem__ __gt__ __invert__ __le__ __lshift__ "
    "__lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __rshift__ __setitem__ __sub__ "
    "__truediv__ __xor__",
}
_BY_VALUES = "the shape of the result depends on values"
_NO_COMPLEX = "there are no complex dtypes"
_NO_VALUE = "a node has no value while the graph is declared: an error says what to write"
_NO_DEVICE = "there is one device, the CPU"
REASONS = {
    **dict.fromkeys(("nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"), _BY_VALUES),
    **dict.fromkeys(("complex64", "complex128", "__complex__"), _NO_COMPLEX),
    **dict.fromkeys(("device", "to_device"), _NO_DEVICE),
    **dict.fromkeys(("__bool__", "__float__", "__index__", "__int__"), _NO_VALUE),
    "from_dlpack": "a constant is a copy of NumPy's array: `gc.asarray(np.from_dlpack(x))`",
    "__dlpack__": "a node has no memory; results are NumPy's arrays, which have it",
    "__dlpack_device__": "as `__dlpack__`",
    "__setitem__": "nodes never change",
}
NOTES = {
    "empty": "zeros",
    "empty_like": "zeros",
    "conj": "`positive`",
    "real": "`positive`",
    "imag": "zeros",
    "asarray": "lists may hold nodes",
    "arange": "bounds may be dimensions",
    "unstack": "the axis has a known length",
    "logical_and": "bool only",
    "logical_or": "bool only",
    "logical_xor": "bool only",
    "logical_not": "bool only",
    "max": "an axis without elements is an error",
    "min": "an axis without elements is an error",
    "pow": "of integers, modulo 2**bits",
    "__array_api_version__": f"`{gc.__array_api_version__!r}`",
    "__getitem__": "a mask whose count of elements is open is an error",
}


def functions_table() -> str:
    """Each name of the main namespace: how it is called, or why it is not there."""
    return "\n".join(_rows(_FUNCTIONS, gc))


def attributes_table() -> str:
    """Each attribute of the standard's array: whether nodes have it, or why not."""
    return "\n".join(_rows(_ATTRIBUTES, gc.Node))


def others_table() -> str:
    """Names beyond the standard's: aliases, and what they stand for."""
    rows = [f"| `gc.{name}` | `gc.{standard}` |" for name, standard in sorted(OTHER_NAMES.items())]
    return "\n".join(["| Name | Function |", "| --- | --- |", *rows])


def _rows(groups: dict[str, str], owner: object) -> Iterator[str]:
    yield from ("| Group | Name | There | Note |", "| --- | --- | --- | --- |")
    for group, names in groups.items():
        for name in names.split():
            there = hasattr(owner, name) and name not in REASONS
            note = (NOTES.get(name) or _signature(name)) if there else REASONS.get(name, "not there yet")
            yield f"| {group} | `{name}` | {'yes' if there else 'no'} | {note} |"


def _signature(name: str) -> str:
    function = FUNCTIONS.get(name)
    return f"`{name}{inspect.signature(function)}`" if function else ""


def stale() -> list[str]:
    """Names that have a reason not to be there, and are."""
    return [name for name in REASONS if hasattr(gc, name)]
