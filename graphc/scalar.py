"""What scalar bodies are made of: every function that they may call, with its signature and its cost.

In: the text of a body, such as "minus(zero, x)".  Out: the same as data, read once.  The code generator makes calls of
it, the scheduler asks what it costs; no stage after this one reads text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

NUMBERS: dict[str, float] = {"zero": 0, "one": 1, "half": 0.5, "two": 2}  # of the dtype of the operands
CODES = ("f4", "f8", "b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)))
CHEAP = 8  # what costs more is rather stored and loaded than computed again
SIMPLE = 20  # the effort of vector math, beside which folding is little


@dataclass(frozen=True, slots=True)
class Function:
    """`takes` and `gives`: a letter for each operand and for the result: x one dtype, b a truth value, a anything.

    `cost`: instructions for an element of a vector, roughly.
    """

    takes: str
    gives: str
    cost: int


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of operands."""

    function: str
    operands: tuple[Body, ...]


Body = str | Apply  # a word is an operand, or one of NUMBERS


def _functions(cost: int, takes: str, gives: str, names: str) -> dict[str, Function]:
    return dict.fromkeys(names.split(), Function(takes, gives, cost))


FUNCTIONS: dict[str, Function] = {
    **_functions(1, "xx", "x", "+ - * & | plus minus times least most"),
    **_functions(1, "xx", "b", "== != < <= > >="),
    **_functions(1, "bb", "b", "and or"),
    **_functions(1, "b", "b", "not"),
    **_functions(1, "bxx", "x", "select"),
    **_functions(1, "x", "x", "fabs floor ceil trunc rint"),
    **_functions(1, "x", "b", "isnan isinf isfinite"),
    **_functions(1, "a", "", " ".join(f"to_{code}" for code in CODES)),  # gives the dtype of its name
    **_functions(3, "xx", "x", "fmax fmin copysign"),
    **_functions(1, "xx", "x", "bit_and bit_or bit_xor"),
    **_functions(1, "x", "x", "bit_not apart"),
    **_functions(3, "x", "x", "sign"),
    **_functions(3, "xx", "x", "shift_left shift_right"),
    **_functions(8, "xx", "x", "next_after"),
    **_functions(5, "xx", "x", "/ lost"),
    **_functions(3, "xx", "x", "over"),  # x / y, for a y that is the same throughout a loop
    **_functions(2, "xx", "x", "share"),  # the same, where y is a sum of terms from 0 to 1, with a 1, and x is a term
    **_functions(5, "xx", "x", "quotient"),
    **_functions(5, "xx", "b", "multiple"),
    **_functions(8, "xx", "x", "floor_divide remainder"),
    **_functions(10, "x", "x", "sqrt rsqrt"),
    **_functions(15, "xx", "x", "whole_power half_power"),
    **_functions(20, "x", "x", "exp exp2 expm1 log log2 log10 log1p cbrt sigmoid"),
    **_functions(25, "x", "x", "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh"),
    **_functions(30, "xx", "x", "atan2 hypot int_pow"),
    **_functions(40, "x", "x", "erf erfc"),
    **_functions(30, "xx", "x", "xlogy xlog1py"),
    **_functions(50, "x", "x", "log1mexp logit"),
    **_functions(60, "xx", "x", "pow logaddexp"),
    **_functions(70, "x", "x", "erfcx ndtr i0e i1e"),
    **_functions(120, "x", "x", "log_ndtr erfinv ndtri gammaln digamma"),
    **_functions(500, "xx", "x", "betaln"),
    **_functions(800, "xxx", "x", "zeta"),
}
# what is made of arithmetic on floats alone, and so takes vectors as it takes one lane
WHOLE = {
    *("fmax", "fmin", "fabs", "sign", "copysign", "rint", "floor", "ceil", "trunc", "isnan", "isinf", "isfinite"),
    *("over", "share", "select", "to_f4", "to_f8"),
    *(name for name, function in FUNCTIONS.items() if function.cost >= 8),
} - {"int_pow", "zeta"}
COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
TRUTHS = {"&", "|", "not"}
ARITHMETIC = {"+", "-", "*", "/"}
_NEGATIVE = Function("x", "x", 1)
_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitAnd: "&", ast.BitOr: "|",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.USub: "-", ast.Not: "not",
}  # fmt: skip


def function(name: str, operands: int) -> Function | None:
    """The function of this name and number of operands."""
    if (name, operands) == ("-", 1):
        return _NEGATIVE
    known = FUNCTIONS.get(name)
    return known if known is not None and len(known.takes) == operands else None


@cache
def parse(text: str) -> Body:
    """A body as data; ValueError says what in it is not known.

    >>> parse("minus(zero, x)")
    Apply(function='minus', operands=('zero', 'x'))
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression: {error.msg}") from None
    return _body(tree, text)


def _body(tree: ast.AST, text: str) -> Body:
    match tree:
        case ast.Name(id=name):
            if name in NUMBERS or len(name) == 1:
                return name
            raise ValueError(f"{text!r} names {name!r}; operands are x, y, z, numbers {', '.join(NUMBERS)}")
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _apply(name, args, text)
        case ast.BinOp(left=x, op=sign, right=y) if type(sign) in _SIGNS:
            return _apply(_SIGNS[type(sign)], [x, y], text)
        case ast.Compare(left=x, ops=[sign], comparators=[y]) if type(sign) in _SIGNS:
            return _apply(_SIGNS[type(sign)], [x, y], text)
        case ast.UnaryOp(op=sign, operand=x) if type(sign) in _SIGNS:
            return _apply(_SIGNS[type(sign)], [x], text)
    raise ValueError(f"{ast.unparse(tree)!r} in {text!r} is neither an operand nor a call of a known function")


def _apply(name: str, args: list[Any], text: str) -> Apply:
    if function(name, len(args)) is None:
        known = FUNCTIONS.get(name)
        what = f"takes {len(known.takes)} operands" if known else "is no function of bodies"
        raise ValueError(f"{text!r} calls {name!r} with {len(args)}, which {what}")
    return Apply(name, tuple(_body(a, text) for a in args))


def bodies(body: Any) -> tuple[str, ...]:
    """The texts of a record's body: one, or several for results and for kinds of dtype."""
    if body is None or isinstance(body, str):
        return () if body is None else (body,)
    each = body.values() if isinstance(body, Mapping) else body
    return tuple(text for one in each for text in bodies(one))


def cost(body: Body) -> int:
    """What the functions of a body cost together."""
    if isinstance(body, str):
        return 0
    known = function(body.function, len(body.operands))
    assert known is not None
    return known.cost + sum(map(cost, body.operands))


def calls(body: Body) -> Iterator[tuple[str, int]]:
    """The functions that a body calls, each with its cost."""
    if isinstance(body, Apply):
        known = function(body.function, len(body.operands))
        assert known is not None
        yield body.function, known.cost
        for operand in body.operands:
            yield from calls(operand)


def effort(body: Any) -> int:
    """What computing a record's body costs, of several the dearest; 1 where there is none."""
    return max((cost(parse(text)) for text in bodies(body)), default=1)


def is_dear(body: Any) -> bool:
    """Whether computing a record's body once more costs more than storing and loading its value."""
    return effort(body) > CHEAP
