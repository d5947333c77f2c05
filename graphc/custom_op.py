"""custom_op: elementwise ops of the user's own, made of a Python function of scalars.

In: the function, and one of nodes for its adjoint.  Out: a public function of arrays, and its record.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from graphc.declare import WEAK, astype, convert, result_type
from graphc.errors import DeclarationError, GraphcError, ShapeError
from graphc.graph import Node, describe, make
from graphc.op import REGISTRY, Attrs, Family, Infer, Op, register
from graphc.own_scalar import OwnScalar, same_operands
from graphc.trace import as_nodes, at_line, shown
from graphc.types import Constraint, TensorType, as_dtype, broadcast, float64


def custom_op(
    function: Callable[..., Any], adjoint: Callable[..., Any] | None = None, *, dtype: Any = None
) -> Callable[..., Node]:
    """An elementwise op: `function`, of scalars, for each element of its operands, which broadcast.

    Numba compiles the function (one that `numba.njit` has compiled already is taken as it is), so it may hold loops,
    branches and what else Numba takes; a quotient by 0 is infinite or NaN.  Operands are arrays or nodes of any dtypes,
    at most 26; Python floats take the dtype that they meet.  The result is bool, integer or float, as the function
    gives, in the dtype in which the operands of that kind meet; or it is `dtype`.

    `adjoint(cotangent, result, *operands)`, of nodes, gives a tuple with the cotangent of each operand, or None; where
    an operand was broadcast they are added up.  Without `adjoint`, gradients through the op raise GradientError.  For a
    function of nodes instead of scalars there is `gc.custom_vjp`.

    Where the function raises, the call raises InputError at the line of the op, and no parameter has changed.  It
    should depend on its operands alone.  Numba compiles it in each process; the cache keeps what calls it.

    Raises DeclarationError for what is no such function, if Numba can't compile it for the operands, or if it gives no
    number; DTypeError if `dtype` does not hold what it gives.

    >>> import graphc as gc
    >>> def collatz(n):
    ...     steps = 0
    ...     while n != 1:
    ...         n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
    ...     return steps
    >>> n = gc.input("n", ("size",), "int64")
    >>> gc.compile([n], gc.custom_op(collatz)(n))([1, 6, 27])
    array([  0,   8, 111])
    >>> cube = gc.custom_op(lambda x: x * x * x, lambda g, y, x: (3.0 * g * x * x,))
    >>> x = gc.input("x", ())
    >>> gc.compile([x], gc.grad(cube(x), x))(2.0)
    array(12.)
    """
    if not callable(function):
        raise DeclarationError(f"custom_op takes a Python function of scalars, got {shown(function)}{at_line()}")
    if adjoint is not None and not callable(adjoint):
        raise DeclarationError(f"custom_op: an adjoint is a function of nodes, got {shown(adjoint)}{at_line()}")
    name = _free_name(getattr(function, "__name__", "custom_op").strip("<>_"))
    try:
        own = OwnScalar(name, function, None if dtype is None else as_dtype(dtype))
        count = own.parameters()
    except GraphcError as error:
        raise type(error)(f"{error}{at_line()}") from None
    op = _record(name, own, count, adjoint)

    def call(*operands: Any) -> Node:
        try:
            same_operands(count, operands, name)
        except GraphcError as error:
            raise type(error)(f"{error}{at_line()}") from None
        return make(op, _typed(operands, name))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = inspect.getdoc(function)
    return call


def _record(name: str, own: OwnScalar, operands: int, adjoint: Callable[..., Any] | None) -> Op:
    return register(
        Op(
            name=name,
            doc=inspect.getdoc(own.plain) or "An op of the user's own.",
            family=Family.ELEMENTWISE,
            infer=_infer(own),
            reference=own,
            body=own.body(operands),
            scalar=own,
            adjoint=None if adjoint is None else _rule(name, adjoint),
        )
    )


def _free_name(name: str) -> str:
    """The name, with a number where there is such an op."""
    number, free = 1, name
    while free in REGISTRY:
        number += 1
        free = f"{name}_{number}"
    return free


def _typed(operands: Sequence[Any], name: str) -> list[Node]:
    """A node for each operand; Python floats take the float dtype of the others."""
    strong = {k: v for k, v in enumerate(operands) if type(v) not in WEAK}
    nodes = dict(zip(strong, as_nodes([*strong.values()], [f"operand {k}" for k in strong], name), strict=True))
    floats = [n for n in nodes.values() if n.dtype.is_float]
    met = result_type(*floats) if floats else float64
    weak = {k: convert(v, met if WEAK[type(v)] is float else None) for k, v in enumerate(operands) if k not in nodes}
    return [nodes[k] if k in nodes else weak[k] for k in range(len(operands))]


def _infer(own: OwnScalar) -> Infer:
    def infer(types: tuple[TensorType, ...], attrs: Attrs, found: list[Constraint]) -> tuple[TensorType, ...]:
        shape = broadcast([t.shape for t in types], found)
        return (TensorType(own.result(tuple(t.dtype for t in types)), shape),)

    return infer


def _rule(name: str, adjoint: Callable[..., Any]) -> Callable[..., Any]:
    def rule(b: Any, g: Any, y: Any, *operands: Any) -> Sequence[Node | None]:
        found = adjoint(g, y, *operands)
        if not isinstance(found, tuple) or len(found) != len(operands):
            says = f"its adjoint gives a tuple of {len(operands)}, a cotangent or None for each operand"
            raise DeclarationError(f"{name}: {says}, got {shown(found)}{at_line()}")
        pairs = zip(found, operands, strict=True)
        return [_cotangent(b, c, o, y, name) if c is not None and o.dtype.is_float else None for c, o in pairs]

    return rule


def _cotangent(b: Any, cotangent: Any, operand: Node, y: Node, name: str) -> Node:
    node = astype(cotangent, operand.dtype)
    try:
        full: Node = b.broadcast_to(node, y.shape)
    except ShapeError:
        says = f"a cotangent has the shape of the result, {describe(y)}, got {describe(node)}"
        raise ShapeError(f"{name}: {says}{at_line()}") from None
    return full
