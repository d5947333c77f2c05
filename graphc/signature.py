"""How a function is called: its arguments by position, what in them are arrays, and what tells two calls apart.

In: the arguments of a call, trees of arrays, Python numbers and nodes.  Out: the arrays in order, and a key that is
equal for calls which one compiled function serves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc.declare import is_declared, refuse_masked
from graphc.errors import DeclarationError, DTypeError, GraphcError
from graphc.trace import Tree, at_line, shown

SCALARS = {float: np.dtype(np.float64), int: np.dtype(np.int64), bool: np.dtype(np.bool_)}
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Signature:
    """The parameters of a function: names by position, the name of `*rest`, which are static, and further ones behind.

    `last` are arguments that a derived function takes beside those of the first one, by position, behind all others.
    """

    names: tuple[str, ...]
    rest: str | None
    static: frozenset[str]
    last: tuple[str, ...] = ()

    @staticmethod
    def of(function: Callable[..., Any], static: Any) -> Signature:
        """The signature of a function.  Raises DeclarationError for a static parameter that it does not have."""
        listed = (static,) if isinstance(static, str) else static
        if not isinstance(listed, Iterable) or not all(isinstance(name, str) for name in listed):
            raise DeclarationError(f"static is a name of a parameter, or a list of names, got {static!r}{at_line()}")
        try:
            found = inspect.signature(function).parameters
        except (TypeError, ValueError):  # a function in C
            return Signature((), "args", frozenset(listed))
        names = tuple(name for name, p in found.items() if p.kind in _BY_POSITION)
        rest = next((name for name, p in found.items() if p.kind is p.VAR_POSITIONAL), None)
        unknown = [name for name in listed if name not in found]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in found.values()):
            says = f"static names {unknown[0]!r}, and the parameters are {', '.join(found) or 'none'}"
            raise DeclarationError(f"{says}{at_line()}")
        return Signature(names, rest, frozenset(listed))

    def without_first(self) -> Signature:
        """That of the method, which has its object."""
        return replace(self, names=self.names[1:])

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments with as many of them by position as can be; what does not fit Python refuses at the call."""
        if not kwargs:
            return args, kwargs
        end = max(len(args) - len(self.last), 0)
        first, last, left = list(args[:end]), args[end:], dict(kwargs)
        for name in self.names[end:]:
            if name not in left:
                break
            first.append(left.pop(name))
        return (*first, *last), left

    def names_of(self, count: int) -> list[str]:
        """What arguments by position are called where there are so many."""
        before = max(count - len(self.last), 0)
        more = [f"{self.rest or 'argument'}[{k}]" for k in range(before - len(self.names))]
        return [*[*self.names, *more][:before], *self.last][:count]


class Call:
    """A call: its arguments, by position as far as can be, the arrays in them, and the key.

    With `symbolic` sizes the key knows of a size whether it is 1.
    """

    def __init__(
        self, signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], symbolic: bool = True
    ) -> None:
        self.args, self.kwargs = signature.bind(args, kwargs)
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.declared = False
        self.symbolic = symbolic
        self._signature = signature
        self._key: list[Any] = [len(self.args), *self.kwargs]
        names = self._names if signature.static else ()
        for k, value in enumerate(self._values):
            if names and names[k] in signature.static:
                self._key.append(_static_key(value, names[k]))
            else:
                self._take(value, k)
        self.key = tuple(self._key)

    @property
    def _values(self) -> tuple[Any, ...]:
        return (*self.args, *self.kwargs.values()) if self.kwargs else self.args

    @property
    def _names(self) -> list[str]:
        return [*self._signature.names_of(len(self.args)), *self.kwargs]

    def _take(self, value: Any, k: int) -> None:
        try:
            self._walk(value)
        except RecursionError:
            raise DeclarationError(f"argument {self._names[k]} holds itself{at_line()}") from None
        except _NoLeaf as error:
            raise self._refusal(error, value, self._names[k]) from None

    def _walk(self, value: Any) -> None:
        kind = type(value)
        if kind is np.ndarray:
            self._note(value)
        elif kind in SCALARS:
            self._key.append(kind)
            self.arrays.append(_scalar(value, SCALARS[kind]))
        elif value is None:
            self._key.append(None)
        elif isinstance(value, dict):
            self._key += (kind, *value, len(value))
            for part in value.values():
                self._walk(part)
        elif isinstance(value, (tuple, list)):
            self._key += (kind, len(value))
            for part in value:
                self._walk(part)
        elif is_declared(value):
            self.declared = True
        else:
            self._note(_as_array(value))

    def _note(self, array: np.ndarray[Any, Any]) -> None:
        shape = array.shape
        sizes = (array.ndim if 1 not in shape else tuple([d == 1 for d in shape])) if self.symbolic else shape
        self._key += (array.dtype, sizes)
        self.arrays.append(array)

    def _refusal(self, error: _NoLeaf, value: Any, name: str) -> GraphcError:
        """The error about a leaf, by what a user would write for it."""
        tree, leaves = Tree.of(value, name)
        path = next((p for leaf, p in zip(leaves, tree.names(), strict=True) if leaf is error.value), name)
        if error.why:
            return DTypeError(f"argument {path}: {error.why}{at_line()}")
        says = f"argument {path} is a {type(error.value).__name__}: neither an array, nor a number, nor a tree of them"
        advice = f"a value that the function looks at while it is traced is static: gc.function(static={name!r})"
        return DeclarationError(f"{says}; {advice}{at_line()}")

    def trees(self) -> Iterator[tuple[Tree, list[Any]] | None]:
        """The structure and leaves of each argument; None for one that is static."""
        for name, value in zip(self._names, self._values, strict=True):
            yield None if name in self._signature.static else Tree.of(value, name)

    def filled(self, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments by position and by name, with other values for the leaves of all trees."""
        left, found = iter(values), []
        for value, taken in zip(self._values, self.trees(), strict=True):
            found.append(value if taken is None else taken[0].filled([next(left) for _ in taken[1]]))
        return found[: len(self.args)], dict(zip(self.kwargs, found[len(self.args) :], strict=True))

    @property
    def keeps_values(self) -> bool:
        """Whether the key knows more than the types of arguments by position."""
        return bool(self.kwargs or self._signature.static)

    @property
    def paths(self) -> list[str]:
        """What a user would write for each leaf."""
        return [path for taken in self.trees() if taken for path in taken[0].names()]

    @property
    def leaves(self) -> list[Any]:
        """The leaves of all trees as they came."""
        return [leaf for taken in self.trees() if taken for leaf in taken[1]]


class _NoLeaf(Exception):
    """A leaf that is no array; `why` says what is wrong with one that nearly is."""

    def __init__(self, value: Any, why: str = "") -> None:
        super().__init__(why)
        self.value, self.why = value, why


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):  # a child of int, such as an enumeration
        return _scalar(value, SCALARS[int if isinstance(value, int) else float])
    if not hasattr(value, "__array__") or isinstance(value, type):
        raise _NoLeaf(value)
    try:
        refuse_masked(value)
        return np.asarray(value)
    except (GraphcError, TypeError, ValueError) as error:
        raise _NoLeaf(value, str(error)) from None


def _scalar(value: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    try:
        return np.array(value, dtype)
    except OverflowError:
        raise _NoLeaf(value, f"the Python int {value} does not fit {dtype}") from None


def _static_key(value: Any, name: str) -> Any:
    """What tells a static value from others, types and signs of zeros included."""
    if isinstance(value, tuple):
        return (type(value), *(_static_key(v, name) for v in value))
    if isinstance(value, float):
        return type(value), float(value).hex()
    try:
        hash(value)
    except TypeError:
        advice = "a tuple or a number can be one; an array is no static argument"
        raise DeclarationError(f"static argument {name} has no hash: {shown(value)}; {advice}{at_line()}") from None
    return type(value), value
