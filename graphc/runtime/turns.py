"""The loops of a kernel that are left to LLVM: how many vectors it does at a time, and of which it makes no copies.

In: the syntax tree of a loop.  Out: what graphc.runtime.frontend tells LLVM of it.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Sequence

from graphc.codegen.intrinsics.far import MOST
from graphc.codegen.intrinsics.lanes import VECTOR_MATH
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.namespace import meaning
from graphc.runtime.short import access

_INTERLEAVED = (4, 6), (2, MOST)  # vectors at a time, in loops of at most so many calls of vector math
_PLAIN = 8  # the same of a part that has none
_AROUND = 20  # statements for each call at most
_SHORT_TURN, _SHORT = 32, 512  # statements of loops in loops that LLVM may copy, of one turn and of all


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a block, and of what is inside."""
    stack = [*body]
    while stack:
        s = stack.pop()
        yield s
        if isinstance(s, ast.For | ast.If):
            stack += [*s.body, *s.orelse]


def calls(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.Call]]:
    """The calls of functions in a block's values, by name."""
    stack: list[ast.expr] = [s.value for s in statements(body) if isinstance(s, ast.Assign | ast.Expr)]
    while stack:
        match stack.pop():
            case ast.Call(func=ast.Name(id=name), args=args) as call:
                yield name, call
                stack += args
            case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
                stack += left, right
            case ast.UnaryOp(operand=operand):
                stack.append(operand)


def variable(loop: ast.For) -> str:
    """The name of a loop's variable."""
    assert isinstance(loop.target, ast.Name)
    return loop.target.id


def _bounds(loop: ast.For) -> list[ast.expr]:
    assert isinstance(loop.iter, ast.Call)
    return loop.iter.args


def length_of_part(loop: ast.For) -> int:
    """Over how many a loop runs that begins somewhere, 0 if not plain: LLVM would unroll it before it makes vectors.

    Somewhere is the lower bound, or what the first statement adds to the variable.
    """
    match _bounds(loop), loop.body[0]:
        case [ast.Name(id=low), ast.BinOp(ast.Name(id=begin), ast.Add(), ast.Constant(int(count)))], _:
            return count if low == begin else 0
        case [ast.Constant(int(count))], ast.Assign(value=ast.BinOp(ast.Name(), ast.Add(), ast.Name(id=added))):
            return count if added == variable(loop) else 0
    return 0


def vectors_at_a_time(loop: ast.For) -> int:
    """How many vectors a loop is to do at a time, 0 if that is LLVM's to say.

    Each step of vector math waits for the one before, and a processor looks ahead over some hundred instructions, which
    are not two vectors' worth.  A part is done at once, so that what is accumulated from part to part is in registers.
    """
    if any(isinstance(s, ast.For | ast.If) for s in loop.body):
        return 0
    of_math = sum(meaning(name) in VECTOR_MATH for name, _ in calls(loop.body))
    interleaved = next((vectors for vectors, limit in _INTERLEAVED if of_math <= limit), 0)
    part = length_of_part(loop)
    if part:
        sizes = [int(touched.code[1]) for _, call in calls(loop.body) if (touched := access(call))]
        whole = max(part * max(sizes, default=1) // host_vector_bytes(), 1)
        most = interleaved if of_math else _PLAIN
        return next((vectors for vectors in range(most, 0, -1) if whole % vectors == 0), 0)
    return 0 if of_math == 0 or len(loop.body) > _AROUND * of_math else interleaved


def is_long(loop: ast.For) -> bool:
    """Whether LLVM's copies of what is in a loop, which has loops of its own, would be long, or nothing tells."""
    return _statements_done(loop.body) > _SHORT_TURN and _statements_done([loop]) > _SHORT


def _statements_done(body: Sequence[ast.stmt]) -> float:
    """How many statements a block does, infinitely many if loops have no constant lengths."""
    done = 0.0
    for s in body:
        match s:
            case ast.For(body=inside):
                done += _turns(s) * _statements_done(inside)
            case ast.If(body=yes, orelse=no):
                done += _statements_done(yes) + _statements_done(no)
            case _:
                done += 1
    return done


def _turns(loop: ast.For) -> float:
    numbers = [b.value for b in _bounds(loop) if isinstance(b, ast.Constant) and isinstance(b.value, int)]
    return len(range(*numbers)) if len(numbers) == len(_bounds(loop)) else math.inf
