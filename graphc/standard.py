"""What the array API standard asks of a namespace beside functions of arrays: facts about dtypes, and itself.

In: dtypes as a user writes them, or nodes.  Out: numbers of Python, DTypes and truth values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.graph import Node
from graphc.types import DTYPES, FLOATS, INTEGERS, SIGNED, DType, as_dtype, bool_, float64, int64

VERSION = "2024.12"
UNSIGNED = tuple(d for d in INTEGERS if d not in SIGNED)
_KINDS: dict[str, tuple[DType, ...]] = {
    "bool": (bool_,),
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": INTEGERS,
    "real floating": FLOATS,
    "complex floating": (),
    "numeric": (*FLOATS, *INTEGERS),
}


def _dtype_of(value: Any) -> DType:
    return value.dtype if isinstance(value, Node) else as_dtype(value)


@dataclass(frozen=True)
class finfo:
    """Limits of a float dtype, of which a node may be given too: floats of Python.

    Raises DTypeError for another dtype.

    >>> finfo("float32").bits, finfo("float64").eps
    (32, 2.220446049250313e-16)
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType

    def __init__(self, type: Any, /) -> None:
        dtype = _dtype_of(type)
        if not dtype.is_float:
            raise DTypeError(f"finfo is about float dtypes, got {dtype}; see iinfo")
        known = np.finfo(dtype.numpy)
        for name in ("eps", "max", "min", "smallest_normal"):
            object.__setattr__(self, name, float(getattr(known, name)))
        object.__setattr__(self, "bits", int(known.bits))
        object.__setattr__(self, "dtype", dtype)


@dataclass(frozen=True)
class iinfo:
    """Limits of an integer dtype, of which a node may be given too: ints of Python.

    Raises DTypeError for another dtype.

    >>> iinfo("int8").min, iinfo("uint16").max
    (-128, 65535)
    """

    bits: int
    max: int
    min: int
    dtype: DType

    def __init__(self, type: Any, /) -> None:
        dtype = _dtype_of(type)
        if not dtype.is_integer:
            raise DTypeError(f"iinfo is about integer dtypes, got {dtype}; see finfo")
        known = np.iinfo(dtype.numpy)
        for name in ("bits", "max", "min"):
            object.__setattr__(self, name, int(getattr(known, name)))
        object.__setattr__(self, "dtype", dtype)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether a dtype, or that of a node, can become another without loss, as NumPy's safe casts have it.

    Raises DTypeError for an unknown dtype.

    >>> can_cast("int32", "float64"), can_cast("float64", "float32")
    (True, False)
    """
    return bool(np.can_cast(_dtype_of(from_).numpy, as_dtype(to).numpy, "safe"))


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is another one, is of a kind, or is among several of those.

    Kinds are "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating" (which none
    is) and "numeric".  Raises DTypeError for what is neither a dtype nor a kind.

    >>> isdtype("float32", "real floating"), isdtype("int8", ("bool", "unsigned integer"))
    (True, False)
    """
    known = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(known, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise DTypeError(f"a kind of dtype is one of {', '.join(_KINDS)}, got {kind!r}")
        return known in _KINDS[kind]
    return known == as_dtype(kind)


class Info:
    """What `__array_namespace_info__` tells of this namespace.

    >>> Info().default_dtypes()["real floating"]
    graphc.float64
    """

    def capabilities(self) -> dict[str, Any]:
        """Shapes that depend on values, and masks as subscripts, do not exist.

        >>> Info().capabilities()["data-dependent shapes"]
        False
        """
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": None}

    def default_device(self) -> str:
        """The only device.

        >>> Info().default_device()
        'cpu'
        """
        return "cpu"

    def devices(self) -> list[str]:
        """The only device, in a list.

        >>> Info().devices()
        ['cpu']
        """
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of Python's numbers and of positions; there is no complex one.

        >>> Info().default_dtypes()["indexing"]
        graphc.int64
        """
        return {"real floating": float64, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes by name, all or those of a kind, as `isdtype` has it.

        >>> Info().dtypes(kind="real floating")
        {'float32': graphc.float32, 'float64': graphc.float64}
        """
        return {name: d for name, d in DTYPES.items() if kind is None or isdtype(d, kind)}


def namespace_info() -> Info:
    """What this namespace can: dtypes, devices, capabilities.

    >>> namespace_info().devices()
    ['cpu']
    """
    return Info()
