"""Which loops of a kernel are done as vectors, by the front end: short ones, and ends of others, each step apart.

In: the syntax tree of a loop with constant bounds.  Out: how many lanes a vector has, and from where on.  LLVM's own
vectors would leave some elements for single steps, and of as many as one has it makes none; and a block on the stack
that is written in parts has to be waited for when it is read as a whole.  Here short blocks are whole vectors, and stay
in registers.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.codegen.intrinsics.memory import MAX_STORAGES
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.scalar import FUNCTIONS, WHOLE

_MOST, _MOST_EFFORT = 8, 512  # vectors of a loop; instructions of functions in all of them
_FLOATS = ("f4", "f8")
_OPERATORS = ast.Add | ast.Sub | ast.Mult | ast.Div | ast.BitAnd | ast.BitOr


class Access(NamedTuple):
    """What `ld_f4_3_1(p0, i)` or `st_f4_3_1(p0, i, x)` touches: the dtype's code, nest and storage, base and place."""

    value: ast.expr | None  # that is stored
    code: str
    nest: int
    storage: int
    base: ast.expr
    at: ast.expr


def access(call: ast.Call) -> Access | None:
    """What a call touches; None if it is of something else."""
    match call:
        case ast.Call(func=ast.Name(id=name), args=[base, index, *value]) if name[:3] in ("ld_", "st_"):
            _, code, nest, storage = name.split("_")
            return Access(value[0] if value else None, code, int(nest), int(storage), base, index)
    return None


def lanes_of(variable: str, count: int, body: Sequence[ast.stmt]) -> int:
    """The lanes of the vectors as which a loop, or the end of one, is done; 0 if all of it is left to LLVM."""
    if count < 2 or not all(isinstance(s, ast.Assign | ast.Expr) for s in body):
        return 0
    parts = list(_parts(body))
    touched = [found for call in parts if isinstance(call, ast.Call) and (found := access(call))]
    if not any(t.value for t in touched):
        return 0
    sizes = [_size(t) for t in touched if t.code in _FLOATS] or [_size(t) for t in touched]
    lanes = host_vector_bytes() // max(sizes)
    fits = _decide_alone(parts, touched) and _is_apart(variable, count, touched)
    return lanes if fits and all(_fits(variable, s) for s in body) else 0


def begin_of_vectors(count: int, lanes: int, body: Sequence[ast.stmt]) -> int:
    """From where a loop of so many steps is done as vectors: all of a short one, else what is left after whole ones."""
    vectors = -(-count // lanes)
    is_short = vectors <= _MOST and vectors * sum(map(_effort, _parts(body))) <= _MOST_EFFORT
    return 0 if is_short else count - count % lanes


def _effort(part: ast.AST) -> int:
    """The instructions of a function, roughly."""
    match part:
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            return FUNCTIONS[name].cost
    return 0


def _parts(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    for statement in body:
        yield from ast.walk(statement)


def _size(touched: Access) -> int:
    """The bytes of an element."""
    return int(touched.code[1:])


def _decide_alone(parts: Sequence[ast.AST], touched: Sequence[Access]) -> bool:
    """Whether what steps load beside floats is only compared, chosen by or copied: no place, and in no arithmetic.

    Truths may be joined, too.
    """
    others = {
        s.targets[0].id: found.code
        for s in parts
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and isinstance(s.value, ast.Call)
        if (found := access(s.value)) and found.code not in _FLOATS
    }
    if len(others) != sum(t.code not in _FLOATS and t.value is None for t in touched):
        return False
    numbers = (t.value for t in touched if t.value is not None and t.code not in (*_FLOATS, "b1"))
    if not all(isinstance(value, ast.Name) and value.id in others for value in numbers):
        return False
    uses = Counter(p.id for p in parts if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Load))
    names = ((e.id, code) for p in parts for e, code in _decisive(p) if isinstance(e, ast.Name))
    decided = Counter(name for name, code in names if code in ("", others.get(name)))
    return all(uses[name] == decided[name] for name in others)


def _decisive(part: ast.AST) -> Sequence[tuple[ast.expr, str]]:
    """What a part compares, chooses by, joins or copies; and of which dtype that must be, if not of any."""
    match part:
        case ast.Compare(left=left, comparators=[right]):
            return (left, ""), (right, "")
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr(), right=right):
            return (left, "b1"), (right, "b1")
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ((operand, "b1"),)
        case ast.Call(func=ast.Name(id="select"), args=[condition, *_]):
            return ((condition, ""),)
        case ast.Call() if (to := access(part)) and to.value is not None:
            return ((to.value, to.code),)
    return ()


def _is_apart(variable: str, count: int, touched: Sequence[Access]) -> bool:
    """Whether no step touches what another one stores: memory has one base, and places are the same or far apart."""
    places = [((t.nest, t.storage), ast.dump(t.base), *_place(t.at)) for t in touched]
    stored: dict[tuple[int, int], list[tuple[str, str, int]]] = {}
    for t, (memory, base, rest, more) in zip(touched, places, strict=True):
        if steps(t.at, variable) not in ((0, 1) if t.value is None else (1,)) or t.storage >= MAX_STORAGES:
            return False
        if t.value is not None:
            stored.setdefault(memory, []).append((base, rest, more))
    return all(
        (base, rest) == (its_base, its_rest) and (more == its or abs(more - its) >= count)
        for memory, base, rest, more in places
        for its_base, its_rest, its in stored.get(memory, ())
    )


def _place(index: ast.expr) -> tuple[str, int]:
    """An index, and the constant that is added to it."""
    match index:
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant(value=int(more))):
            return ast.dump(left), more
    return ast.dump(index), 0


def steps(index: ast.expr, variable: str) -> int | None:
    """By how much an index grows with the variable; None if that is not plain."""
    match index:
        case ast.Name(id=name):
            return int(name == variable)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            one, other = steps(left, variable), steps(right, variable)
            if one is None or other is None:
                return None
            return one + other if isinstance(op, ast.Add) else one - other
    return None if any(isinstance(p, ast.Name) and p.id == variable for p in ast.walk(index)) else 0


def _fits(variable: str, s: ast.stmt) -> bool:
    match s:
        case ast.Assign(targets=[ast.Name()], value=value) | ast.Expr(value=value):
            return _is_whole(variable, value)
    return False


def _is_whole(variable: str, e: ast.expr) -> bool:
    match e:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name != variable
        case ast.Call(func=ast.Name(id=name), args=args):
            values = args[2:] if access(e) else args
            return (name in WHOLE or access(e) is not None) and all(_is_whole(variable, a) for a in values)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
            return _is_whole(variable, left) and _is_whole(variable, right)
        case ast.Compare(left=left, ops=[_], comparators=[right]):
            return _is_whole(variable, left) and _is_whole(variable, right)
        case ast.UnaryOp(operand=operand):
            return _is_whole(variable, operand)
    return False
