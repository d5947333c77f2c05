"""Scalar functions of the user's own, which Numba compiles.

In: a Python function of scalars.  Out: what the stages ask of it: the dtype that it gives for those it takes, the
address of its machine code, its values by Python, and what an error of it was.  Machine code refers to a function by
its number in OWN, so it belongs to this process.
"""

from __future__ import annotations

import ctypes
import inspect
import pickle
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from graphc.errors import DeclarationError, DTypeError, InputError
from graphc.scalar import FUNCTIONS, Function
from graphc.types import DTYPES, DType, as_dtype, bool_, float64, int64

LETTERS = "abcdefghijklmnopqrstuvwxyz"  # of operands in a body
_COST = 100  # instructions: what it does is not known, and a call is never cheap
_TOLD = 8  # lines of what Numba says

Dtypes = tuple[DType, ...]


class OwnScalar:
    """One function: `name` as errors call it, and the dtype of its results, if it is given."""

    def __init__(self, name: str, function: Callable[..., Any], dtype: DType | None) -> None:
        self.name, self.function, self.dtype = name, function, dtype
        self.plain: Callable[..., Any] = getattr(function, "py_func", function)
        self.number = len(OWN)
        self._found: dict[Dtypes, Any] = {}
        OWN.append(self)

    def body(self, operands: int) -> str:
        """The scalar body that stands for a call: what it costs is known, and nothing else."""
        name = f"own_{self.number}"
        FUNCTIONS[name] = Function("a" * operands, "", _COST)
        return f"{name}({', '.join(LETTERS[:operands])})"

    def parameters(self) -> int:
        """How many operands it takes."""
        try:
            every = inspect.signature(self.plain).parameters.values()
        except (TypeError, ValueError):
            raise DeclarationError(f"custom_op takes a Python function of scalars, got {self.plain!r}") from None
        plain = [p for p in every if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(plain) < len(every) or not 0 < len(plain) <= len(LETTERS):
            raise DeclarationError(f"custom_op takes a function of 1 to {len(LETTERS)} scalars, each a parameter")
        return len(plain)

    # by Numba

    @cached_property
    def _dispatcher(self) -> Any:
        import numba

        return self.function if self.plain is not self.function else numba.njit(self.function, error_model="numpy")

    def compiled(self, dtypes: Dtypes) -> Any:
        """What Numba makes of the function for operands of these dtypes.  Raises DeclarationError if it can't."""
        if dtypes not in self._found:
            from numba import from_dtype

            kinds = tuple(from_dtype(d.numpy) for d in dtypes)
            try:
                self._dispatcher.compile(kinds)
            except Exception as error:  # Numba's errors have no base that all of them share
                told = "\n  ".join(line for line in str(error).splitlines() if line.strip()).split("\n")[:_TOLD]
                taken = ", ".join(map(str, dtypes))
                raise DeclarationError(f"Numba can't compile it for {taken}\n  " + "\n".join(told)) from None
            self._found[dtypes] = self._dispatcher.overloads[kinds]
        return self._found[dtypes]

    def given(self, dtypes: Dtypes) -> DType:
        """The dtype that the compiled function gives.  Raises DeclarationError for what is no number."""
        kind = self.compiled(dtypes).signature.return_type
        name = {"boolean": "bool"}.get(str(kind), str(kind))
        if name not in DTYPES:
            says = f"it gives a number for each element, got {kind} of {', '.join(map(str, dtypes))}"
            raise DeclarationError(says)
        return DTYPES[name]

    def result(self, dtypes: Dtypes) -> DType:
        """The dtype of the op's result: the one asked for, else of the given kind, as the operands have it."""
        given = self.given(dtypes)
        if self.dtype is not None:
            if "biuf".index(given.kind) > "biuf".index(self.dtype.kind):
                raise DTypeError(f"it gives {given}, which dtype={str(self.dtype)!r} does not hold; convert it inside")
            return self.dtype
        if given.kind == "b":
            return bool_
        alike = [d.numpy for d in dtypes if (d.is_float if given.is_float else d.is_integer)]
        return as_dtype(np.result_type(*alike)) if alike else float64 if given.is_float else int64

    def symbol(self, dtypes: Dtypes) -> str:
        """The name by which kernels call its machine code: another function may have it in the next process."""
        return "_".join(("graphc_own", str(self.number), *map(str, dtypes)))

    def signature(self, dtypes: Dtypes) -> str:
        """All that a kernel's machine code depends on: what the function does is in code that Numba makes."""
        return f"{self.symbol(dtypes)} -> {self.compiled(dtypes).signature.return_type}"

    def address(self, dtypes: Dtypes) -> int:
        """Where its machine code lies."""
        found = self.compiled(dtypes)
        place: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
        return place

    # by Python

    def __call__(self, *operands: Any) -> Any:
        """Its values, element by element.  Raises InputError if the function raises."""
        arrays = np.broadcast_arrays(*operands)
        try:
            values = [self.plain(*row) for row in zip(*(a.flat for a in arrays), strict=True)]
        except Exception as error:
            raise InputError(f"it raised {error!r}") from None
        dtype = self.result(tuple(as_dtype(a.dtype) for a in arrays)).numpy
        return np.array(values, dtype).reshape(arrays[0].shape)


OWN: list[OwnScalar] = []


class _Raised(ctypes.Structure):
    """How Numba describes an exception; with `dynamic` arguments, `unwrap` makes them of what lies at `more`."""

    _fields_ = (
        ("pickled", ctypes.c_void_p),
        ("size", ctypes.c_int32),
        ("more", ctypes.c_void_p),
        ("unwrap", ctypes.c_void_p),
        ("dynamic", ctypes.c_int32),
    )


def raised(address: int) -> BaseException:
    """The exception that compiled code left at an address."""
    from llvmlite.ir import Value

    found = _Raised.from_address(address)
    kind, arguments, _ = pickle.loads(ctypes.string_at(found.pickled, found.size))
    if found.dynamic > 0:
        known = iter(ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(found.unwrap)(found.more))
        arguments = [next(known) if isinstance(a, Value) else a for a in arguments]
    error: BaseException = kind(*arguments or ())
    return error


def same_operands(count: int, operands: Sequence[Any], name: str) -> None:
    """Raise DeclarationError for another number of operands."""
    if len(operands) != count:
        raise DeclarationError(f"{name} takes {count} operands, got {len(operands)}")
