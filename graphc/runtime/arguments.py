"""The arguments of a call, looked at with care: by position or name, converted where that is safe, shapes checked.

In: what the user passed.  Out: arrays of exactly the declared dtypes, and the sizes of the symbols; or an error that
names the input, what was declared and what came.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import Any

import numpy as np

from graphc.codegen.program import Slot
from graphc.declare import refuse_masked
from graphc.dims import Poly, evaluate, symbols
from graphc.errors import DTypeError, GraphcError, InputError
from graphc.types import shape_text

Array = np.ndarray[Any, Any]


def describe(slot: Slot) -> str:
    return f"input {slot.name!r}: {slot.dtype}{shape_text(slot.shape)}"


def counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def signature(slots: Sequence[Slot]) -> str:
    return ", ".join(f"{s.name}: {s.dtype}{shape_text(s.shape)}" for s in slots) or "no inputs"


def call_signature(slots: Sequence[Slot]) -> inspect.Signature:
    """The signature of a call: the inputs by position or name, where their names can be those of parameters."""
    kinds, out = inspect.Parameter, inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    if all(s.name.isidentifier() and not iskeyword(s.name) for s in slots):
        return inspect.Signature([*(kinds(s.name, kinds.POSITIONAL_OR_KEYWORD) for s in slots), out])
    return inspect.Signature([kinds("args", kinds.VAR_POSITIONAL), out, kinds("kwargs", kinds.VAR_KEYWORD)])


def bind(function: str, slots: Sequence[Slot], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The values of the inputs in order, from positions and names."""
    names = [s.name for s in slots]
    values = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(args) + len(kwargs) == len(names) and values.keys() == set(names):
        return [values[name] for name in names]
    raise InputError(f"{function} takes ({signature(slots)}){_unbound(names, args, kwargs)}")


def _unbound(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What is wrong with such arguments, where something is."""
    if len(args) > len(names):
        return f": {len(names)} inputs, got {len(args)} by position"
    for name in kwargs:
        if name not in names:
            return f"; there is no input {name!r}"
        if name in names[: len(args)]:
            return f"; input {name!r} is given twice, by position and by name"
    return f"; missing: {', '.join(name for name in names[len(args) :] if name not in kwargs)}"


def convert(function: str, slot: Slot, value: Any) -> Array:
    """`value` as an array of exactly the slot's dtype, if NumPy calls the cast safe; Python scalars are weak."""
    dtype = slot.dtype.numpy
    array = _as_array(function, slot, value)
    if array.dtype is dtype and type(array) is np.ndarray:
        return array
    if not np.can_cast(array.dtype, dtype, "safe"):
        array = _weak(function, slot, value, array)
    array = np.asarray(array).astype(dtype, copy=False)
    return array if array.dtype is dtype else array.view(dtype)  # an alias of the dtype, such as longlong


def _as_array(function: str, slot: Slot, value: Any) -> Array:
    try:
        refuse_masked(value)
        array = np.asarray(value)
    except DTypeError as error:
        raise DTypeError(f"{function}: {describe(slot)}: {error}") from None
    except GraphcError as error:  # a node
        raise InputError(f"{function}: {describe(slot)}: a value is wanted here: {error}") from None
    except ValueError as error:
        text = f"the value is not an array: its rows differ in length ({error})"
        raise InputError(f"{function}: {describe(slot)}: {text}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{function}: {describe(slot)}: got values of dtype {array.dtype} ({type(value).__name__})")
    return array


def _weak(function: str, slot: Slot, value: Any, array: Array) -> Array:
    """Python scalars in the dtype of what they meet; everything else that needs an unsafe cast is an error."""
    kind = slot.dtype.kind
    takes = "iubf" if kind == "f" else "iub" if kind in "iu" else "b"
    if not made_of_scalars(value) or array.dtype.kind not in takes:
        raise DTypeError(
            f"{function}: {describe(slot)}: got {array.dtype}{list(array.shape)}, and that cast may change values; "
            f"write np.asarray({slot.name}).astype({slot.dtype.name!r}) if that is meant"
        )
    try:
        return np.array(value, slot.dtype.numpy)
    except OverflowError as error:
        raise DTypeError(f"{function}: {describe(slot)}: {error}") from None


def made_of_scalars(value: Any) -> bool:
    """Whether a value is a Python number, or lists and tuples of them, which take the dtype they meet."""
    if isinstance(value, (tuple, list)):
        return all(map(made_of_scalars, value))
    return type(value) in (bool, int, float)


def symbol_sizes(function: str, slots: Sequence[Slot], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The size of each symbol, found where it stands alone as a dimension of an input; every dimension is checked."""
    sizes: dict[str, int] = {}
    fixed_by: dict[str, str] = {}
    for slot, shape in zip(slots, shapes, strict=True):
        if len(shape) != len(slot.shape):
            has = counted(len(slot.shape), "dimension")
            raise InputError(f"{function}: {describe(slot)} has {has}, got shape {list(shape)}")
        for declared, size in zip(slot.shape, shape, strict=True):
            name = str(declared)
            if isinstance(declared, Poly) and name.isidentifier() and name not in sizes:
                sizes[name], fixed_by[name] = size, slot.name
    for slot, shape in zip(slots, shapes, strict=True):
        _check_dims(function, slot, shape, sizes, fixed_by)
    return sizes


def _check_dims(
    function: str, slot: Slot, shape: tuple[int, ...], sizes: Mapping[str, int], fixed_by: Mapping[str, str]
) -> None:
    for axis, (declared, size) in enumerate(zip(slot.shape, shape, strict=True)):
        names = sorted(symbols(declared))
        unknown = [s for s in names if s not in sizes]
        if unknown:
            raise InputError(f"{function}: the size of {', '.join(unknown)} is not a dimension of any input")
        expected = evaluate(declared, sizes)
        if expected != size:
            why = "".join(f"; {s} is {sizes[s]} by input {fixed_by[s]!r}" for s in names)
            raise InputError(
                f"{function}: {describe(slot)}: got shape {list(shape)}, where dimension {axis} must be {expected}{why}"
            )
