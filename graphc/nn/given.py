"""What a user gives to `fit`, `evaluate` and `predict`, looked at with care.

In: values.  Out: arrays of samples and counts, or an InputError that says what to write.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.declare import as_array
from graphc.errors import InputError
from graphc.runtime.arguments import made_of_scalars
from graphc.types import DType, is_int

Array = np.ndarray[Any, Any]

_INSTEAD = {
    "validation_split": "keep a part of the samples back and give it: validation_data=(x[k:], y[k:])",
    "callbacks": "call fit once for each epoch, in a loop; each goes on where the last ended",
    "sample_weight": "give the weights as a column of y, and compile a loss of (y_true, y_pred) that uses it",
    "class_weight": "compile a loss of (y_true, y_pred) that weighs each class",
}


def as_samples(name: str, value: Any, dtype: DType) -> Array:
    """`value` as an array; lists of Python floats are weak, and take `dtype`."""
    if value is None:
        raise InputError(f"{name} is missing: an array is wanted whose first dimension counts the samples")
    array = as_array(value)
    if array.ndim == 0 or len(array) == 0:
        raise InputError(f"{name} holds no samples: its shape is {array.shape}, whose first dimension counts them")
    return array.astype(dtype.numpy) if array.dtype.kind == "f" and made_of_scalars(value) else array


def pair(validation_data: Any) -> tuple[Any, Any]:
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise InputError("validation_data is a pair (x, y)")
    return validation_data[0], validation_data[1]


def not_taken(name: str) -> str:
    """What to do in the place of an argument of Keras's `fit` that is not there."""
    if name not in _INSTEAD:
        return f"fit takes no argument {name!r}"
    return f"fit takes no {name}; {_INSTEAD[name]}"


def count(name: str, value: Any) -> int:
    if not is_int(value) or value < 1:
        raise InputError(f"{name} is an int of at least 1, got {value!r}")
    return int(value)
