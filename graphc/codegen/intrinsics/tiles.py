"""What register tiles have in common: an intrinsic of integers, which calls a routine for a dtype."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from numba.extending import intrinsic
from numpy.typing import DTypeLike

from graphc.codegen.intrinsics.listed import with_list
from graphc.codegen.intrinsics.vectors import call_body

_MORE = {
    **dict.fromkeys(("", "asking_ahead", "asking_rows", "asking_lines", "rows_in_turn", "columns_in_turn"), ()),
    "nested": ("outer", "a_outer", "b_outer"),
    **dict.fromkeys(("rows_listed", "sum_listed", "rows_in_turn_rows_listed"), ("list", "first")),
}


def tile_intrinsic(name: str, dtype: DTypeLike, parameters: str, more: str, emit: Callable[..., None]) -> Any:
    """The intrinsic of these parameters, by which Numba knows it."""
    words = ["typingctx", *parameters.split(), *_MORE[more]]
    typed = call_body(dtype, "_".join(filter(None, [name, more])), with_list(more, emit))

    def product(typingctx: Any, *arguments: Any) -> Any:
        return typed(*arguments)

    vars(product)["__signature__"] = Signature([Parameter(w, Parameter.POSITIONAL_OR_KEYWORD) for w in words])
    return intrinsic(product)
