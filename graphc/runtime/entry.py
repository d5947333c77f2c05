"""The compiled way in: builtins made of the driver's machine code, and the C functions that it calls.

In: descriptors (see graphc.runtime.layout).  Out: CPython builtins that take arrays and return arrays.  `supported()`
tells whether this interpreter and this NumPy are laid out as the driver assumes; if not, Python takes its place.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache as cache_forever
from types import ModuleType
from typing import Any

import numpy as np

from graphc import state
from graphc.errors import GraphcError
from graphc.runtime import cache
from graphc.runtime import layout as at
from graphc.runtime.native import Native, check_compiler, compiling
from graphc.runtime.once import once
from graphc.state import address

Words = np.ndarray[Any, np.dtype[np.int64]]

_CALLS = ("entry", "execute", "execute_in_turn", "steps_in_turn", "gather", "move", "arrange", "work", "close")
_KEEPING = ("take", "offer", "disown", "remember", "forget")
_RECYCLING = ("allocate", "allocate_zeros", "reallocate", "free", "release")
_FASTCALL = 0x0082  # METH_FASTCALL | METH_KEYWORDS
_PYARRAY_TYPE, _PYARRAY_NEWCOPY, _PYARRAY_NEW = 2, 85, 93  # places in NumPy's table of C functions
_SET_HANDLER, _DEFAULT_HANDLER = 304, 306
_INT64 = ctypes.c_int64
_OUT = sys.intern("out")
_begun: Any = None  # the driver's code, or its promise


class _Method(ctypes.Structure):  # PyMethodDef
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@once
def driver() -> Native:
    """The driver of this process; builtins hold addresses in it, so it stays."""
    native = load_driver()
    state.install(_function(native, "move", ctypes.PYFUNCTYPE, _INT64))
    return native


@contextmanager
def driver_beside() -> Iterator[None]:
    """A thread compiles the driver, if it is not there, beside what the caller does: who compiles soon wants it."""
    global _begun
    if _begun is not None or cache.load(cache.make_key("driver")) is not None:
        yield
        return
    from concurrent.futures import ThreadPoolExecutor

    from graphc.runtime.backend import object_file, words_of

    with ThreadPoolExecutor(1) as thread:
        _begun = thread.submit(object_file, *words_of(_modules()))
        yield


def load_driver() -> Native:
    """The driver in memory, from the cache or compiled."""
    key = cache.make_key("driver")
    entry = cache.load(key)
    if entry is None:
        check_compiler()
        with compiling:
            from graphc.runtime.backend import compile_modules

            code = _begun.result() if _begun else compile_modules(*_modules())
            entry = cache.Entry("", (code,))
        cache.store(key, entry)
    return Native(entry.parts, (*_CALLS, *_KEEPING, *_RECYCLING))


def _modules() -> tuple[ModuleType, ...]:
    from graphc.runtime import arrange, driver, execution, phases, recycling, region, sharing

    return driver, execution, phases, region, sharing, arrange, recycling


def check_gil() -> None:
    """Raises GraphcError where no GIL keeps threads apart that look at guards, pools and shapes."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise GraphcError("graphc needs the GIL; start Python with PYTHON_GIL=1 or -X gil=1")


@cache_forever
def native_function(name: str, *, holds_gil: bool = True, makes_object: bool = False) -> Callable[[int, int, int], Any]:
    """A function of the driver that Python can call; `makes_object`: it returns a new reference."""
    kind = ctypes.PYFUNCTYPE if holds_gil else ctypes.CFUNCTYPE
    return _function(driver(), name, kind, ctypes.py_object if makes_object else _INT64)


def _function(native: Native, name: str, kind: Any, result: Any) -> Callable[[int, int, int], Any]:
    function: Callable[[int, int, int], Any] = kind(result, _INT64, _INT64, _INT64)(native[name])
    return function


class Descriptor(np.ndarray[Any, np.dtype[np.int64]]):
    """The words of a descriptor, which keeps the objects whose addresses they are."""

    _keeps: tuple[Any, ...] = ()

    @classmethod
    def of(cls, words: Words, keeps: tuple[Any, ...]) -> Descriptor:
        descriptor = words.view(cls)
        descriptor._keeps = keeps
        return descriptor


def make_builtin(descriptor: Words) -> Callable[..., Any]:
    """The builtin that runs the driver's `entry` for a descriptor, which it keeps alive."""
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes, new.restype = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p), ctypes.py_object
    builtin: Callable[..., Any] = new(ctypes.addressof(_method()), descriptor, None)
    return builtin


@once
def _method() -> _Method:
    return _Method(b"graphc", driver()["entry"], _FASTCALL, None)


@once
def api_table() -> Words:
    """The addresses of the C functions and objects that the driver uses; NumPy's are there where it is supported."""
    python = ctypes.pythonapi
    table = np.zeros(at.API_WORDS, np.int64)
    table[at.REFUSAL], table[at.BYTES], table[at.TUPLE] = id(NotImplemented), id(bytes), id(tuple)
    table[at.TUPLE_ITEMS], table[at.OUT] = tuple.__basicsize__, id(_OUT)
    table[at.LIST], table[at.DICT] = id(list), id(dict)
    for word, function in (
        (at.INCREF, python.Py_IncRef),
        (at.DECREF, python.Py_DecRef),
        (at.NEW_TUPLE, python.PyTuple_New),
        (at.SET_ITEM, python.PyTuple_SetItem),
        (at.NEW_LIST, python.PyList_New),
        (at.SET_LIST_ITEM, python.PyList_SetItem),
        (at.NEW_DICT, python.PyDict_New),
        (at.DICT_SIZE, python.PyDict_Size),
        (at.GET_BY_KEY, python.PyDict_GetItem),
        (at.SET_BY_KEY, python.PyDict_SetItem),
        (at.NEW_BYTES, python.PyBytes_FromStringAndSize),
        (at.SAVE_THREAD, python.PyEval_SaveThread),
        (at.RESTORE_THREAD, python.PyEval_RestoreThread),
        (at.VECTORCALL, python.PyObject_Vectorcall),
        (at.CALL_ONE, python.PyObject_CallOneArg),
        (at.TAKE_GIL, python.PyGILState_Ensure),
        (at.LEAVE_GIL, python.PyGILState_Release),
        (at.INTERRUPT, python.PyOS_InterruptOccurred),
        (at.CLOCK, ctypes.CDLL(None).clock_gettime),
    ):
        table[word] = ctypes.cast(function, ctypes.c_void_p).value or 0
    if supported():
        numpy = _numpy_table()
        table[at.NDARRAY] = id(np.ndarray)
        table[at.NEW_ARRAY] = numpy[_PYARRAY_NEW]
        table[at.NEW_COPY] = numpy[_PYARRAY_NEWCOPY]
        table[at.SET_HANDLER] = numpy[_SET_HANDLER]
    return table


def _numpy_table() -> Any:
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    return ctypes.cast(capsule_pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))


def default_handler() -> Any:
    """The capsule of NumPy's own memory handler."""
    return ctypes.py_object.from_address(_numpy_table()[_DEFAULT_HANDLER]).value


def capsule_pointer(capsule: Any, name: bytes | None) -> int:
    """What a capsule of this name holds."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
    found: int = pointer(capsule, name)
    return found


@once
def supported() -> bool:
    """Whether CPython's and NumPy's objects look as the driver assumes."""
    if sys.implementation.name != "cpython" or struct.calcsize("P") != 8 or sys.byteorder != "little":
        return False
    probe, pair = np.zeros((5, 7), np.float32)[:, 1:3], (_OUT, None)
    items = list(pair)
    return (
        _field(pair, at.TUPLE_SIZE) == _field(items, at.TUPLE_SIZE) == 2
        and _field(pair, tuple.__basicsize__) == _INT64.from_address(_field(items, at.LIST_ITEMS)).value == id(_OUT)
        and _field(probe, at.ARRAY_DATA) == address(probe)
        and _field(probe, at.ARRAY_NDIM, ctypes.c_int32) == 2
        and tuple((_INT64 * 2).from_address(_field(probe, at.ARRAY_DIMS))) == probe.shape
        and _field(probe, at.ARRAY_DTYPE) == id(probe.dtype)
        and _field(probe, at.ARRAY_FLAGS, ctypes.c_int32) & (at.IN_PLACE | at.WRITEABLE) == at.ALIGNED | at.WRITEABLE
        and _field(probe, at.OBJECT_TYPE) == id(np.ndarray) == _numpy_table()[_PYARRAY_TYPE]
    )


def _field(thing: Any, offset: int, kind: Any = _INT64) -> int:
    """What the driver would read of an object."""
    value: int = kind.from_address(id(thing) + offset).value
    return value
