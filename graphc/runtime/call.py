"""Calls of a compiled function that its builtin leaves: arguments that need care, results that need a structure.

In: what the user passed.  Out: the outputs in the structure that was compiled, or an error that says what was wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import InputError
from graphc.runtime.arguments import Array, bind, convert
from graphc.runtime.machine import Machine
from graphc.tree import Skeleton, leaves_like, unflatten
from graphc.types import shape_text


class Caller:
    """What stands behind the builtin of a compiled function.

    It knows nothing of the function, which therefore goes as soon as nobody holds it.
    """

    def __init__(self, machine: Machine, structure: Skeleton) -> None:
        self.machine, self.program, self.structure = machine, machine.program, structure
        self.container, self.keys = _container(structure)
        self.is_plain = self.container is (int if machine.single else tuple)  # so the machine gives the outputs

    def __call__(self, /, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        inputs = self.inputs(args, kwargs)
        return self.structured(self.machine.enter(inputs)) if out is None else self._into(out, inputs)

    def inputs(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Array]:
        """The inputs as arrays of exactly the declared dtypes."""
        name, slots = self.program.name, self.program.inputs
        values = bind(name, slots, args, kwargs)
        return [convert(name, slot, value) for slot, value in zip(slots, values, strict=True)]

    def finish(self, result: Any) -> Any:
        """What the user gets for the builtin's result; raises the error that it may be."""
        if type(result) is bytes:
            raise self.machine.failure(result)
        return self.structured(result)

    def structured(self, result: Any) -> Any:
        return unflatten(self.structure, (result,) if self.machine.single else result)

    def _into(self, out: Any, inputs: Sequence[Array]) -> Any:
        """Write the outputs into `out`, by way of fresh arrays where it is not safe to write at once."""
        arrays = leaves_like(self.structure, out)
        if arrays is None:
            text = f"out= must have the structure of the outputs, {self.outputs_text()}"
            raise InputError(f"{self.program.name}: {text}")
        shapes = self.machine.shape(tuple(a.shape for a in inputs)).outputs
        for k, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
            self._check_out(k, array, shape)
        if _written_at_once(arrays, inputs):
            self.machine.enter(inputs, arrays)
        else:
            result = self.machine.enter(inputs)
            for array, value in zip(arrays, (result,) if self.machine.single else result, strict=True):
                np.copyto(array, value)
        return out

    def _check_out(self, k: int, array: Any, shape: tuple[int, ...]) -> None:
        dtype = self.program.outputs[k].dtype
        wanted = f"{self.program.name}: out= for output {k} must be a writable array {dtype}{list(shape)}"
        if not isinstance(array, np.ndarray):
            raise InputError(f"{wanted}, got {type(array).__name__}")
        if array.dtype != dtype.numpy or array.shape != shape:
            raise InputError(f"{wanted}, got {array.dtype}{list(array.shape)}")
        if not array.flags.writeable:
            raise InputError(f"{wanted}, got one that is read-only")

    def outputs_text(self) -> str:
        """Dtypes and shapes of the outputs, in their structure."""
        leaves = [f"{s.dtype}{shape_text(s.shape)}" for s in self.program.outputs]
        return str(unflatten(self.structure, leaves))


def _container(structure: Skeleton) -> tuple[type | None, tuple[str, ...]]:
    """In what the builtin gives the outputs back, and the keys of a dict: None if they are nested, int if it is one."""
    kind = type(structure)  # a named tuple is equal to a tuple
    if kind is int:
        return int, ()
    if kind not in (tuple, list, dict):
        return None, ()
    keys, parts = (tuple(structure), list(structure.values())) if kind is dict else ((), list(structure))
    flat = parts == list(range(len(parts))) and all(type(k) is str for k in keys)
    return (kind, keys) if flat else (None, ())


def _written_at_once(arrays: Sequence[Array], inputs: Sequence[Array]) -> bool:
    """Whether the outputs lie in place and overlap neither an input nor one another."""
    for k, array in enumerate(arrays):
        if type(array) is not np.ndarray or not array.flags.c_contiguous or not array.flags.aligned:
            return False
        if array.dtype is not np.dtype(array.dtype.name):
            return False
        if any(np.may_share_memory(array, other) for other in (*inputs, *arrays[:k])):
            return False
    return True
