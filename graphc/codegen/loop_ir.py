"""The loop IR: what a phase does, as frozen data.

    Expr   Const | Var | Position | Load | Address | Call
    Stmt   Let | Set | Store | If | For | Use
    Code   the loop over the chunks of a phase, with what the words of its row hold

Positions are dimensions in which integers of the program (loop variables, the chunk, the thread that runs it, checked
positions, words of the row) are the symbols `%i`, `%chunk`, `%worker`, `%t3`, `%n1`.  Names are bound once: a Let or
the result of a Use binds one for the rest of its block and what is inside; a Set gives a bound name another value, or
binds it where both branches of an If do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from graphc.dims import Dim, symbol, symbols
from graphc.schedule.task import Place
from graphc.types import DType, int64

CHUNK, WORKER = symbol("%chunk"), symbol("%worker")


@dataclass(frozen=True, slots=True)
class Const:
    """A scalar of NumPy's."""

    value: Any
    dtype: DType


@dataclass(frozen=True, slots=True)
class Var:
    name: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Position:
    """An integer of the program."""

    at: Dim

    @property
    def dtype(self) -> DType:
        return int64


@dataclass(frozen=True, slots=True)
class Load:
    """Element `at` of an array.  Two accesses of one nest with different storage numbers never overlap.

    `some`: the length of the axis that is read along; where it is 0 there is no such element, and any value does.
    """

    place: Place
    at: Dim
    dtype: DType
    nest: int
    storage: int
    some: Dim = 1


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a byte: that of an array, or one that a name holds, and the sum of the terms."""

    base: Place | str
    terms: tuple[Dim, ...] = ()

    @property
    def dtype(self) -> DType:
        return int64


@dataclass(frozen=True, slots=True)
class Call:
    """A function of scalars: one of graphc.scalar, with operators by their signs."""

    function: str
    args: tuple[Expr, ...]
    dtype: DType


Expr = Const | Var | Position | Load | Address | Call


@dataclass(frozen=True, slots=True)
class Let:
    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Set:
    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Store:
    place: Place
    at: Dim
    value: Expr
    nest: int
    storage: int


@dataclass(frozen=True, slots=True)
class If:
    test: Expr
    yes: tuple[Stmt, ...]
    no: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True)
class For:
    """The name takes lo, lo + step, ... below hi, one after the other, or as chunks, in any order or at once."""

    var: str
    lo: Expr
    hi: Expr
    step: int
    body: tuple[Stmt, ...]
    mode: Literal["serial", "chunks"] = "serial"


@dataclass(frozen=True, slots=True)
class Use:
    """A kernel that touches memory by itself: one of KERNELS, for elements of `dtype`, with a tile of fixed size.

    `own` are nest and storage of what its first argument addresses, if nothing else that it touches is touched by
    loads and stores of that nest.
    """

    kernel: str
    args: tuple[Expr, ...]
    dtype: DType | None = None
    tile: tuple[int, ...] = ()
    result: Var | None = None
    own: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """Which arguments are addresses that it reads, and that it writes; the others are integers."""

    args: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    gives: Literal["", "element", "integer"] = ""
    wide: tuple[int, ...] = ()  # addresses of int64 or float64, whatever the dtype of the elements


OWN = "own"  # a function of the user's, by its number
_FOLD = Contract(2, (0,), (), "element")  # address, count
KERNELS: dict[str, Contract] = {
    "sum": _FOLD,
    "product": _FOLD,
    "max": _FOLD,
    "min": _FOLD,
    # rows and the step between them, how many, of how many elements, where the results go, bytes read by all chunks
    **dict.fromkeys(("rows_sum", "rows_product", "rows_max", "rows_min"), Contract(6, (0,), (4,))),
    **dict.fromkeys(("argmax", "argmin"), Contract(3, (0,), (), "integer")),  # address, count, bytes read by all blocks
    **dict.fromkeys(("deviation", "logsumexp"), Contract(4, (0,), (2,))),  # the same with where the state goes
    **dict.fromkeys(  # rows and the step between them, how many, of how many columns, the row they are folded into
        ("columns_sum", "columns_product", "columns_max", "columns_min"), Contract(5, (0, 4), (4,))
    ),
    "columns_deviation": Contract(7, (0, 4, 5, 6), (4, 5, 6)),  # the same with three rows, or two
    "columns_logsumexp": Contract(6, (0, 4, 5), (4, 5)),
    # with two rows, of extremes and of positions, and the position of the first row
    **dict.fromkeys(("columns_argmax", "columns_argmin"), Contract(7, (0, 4, 5), (4, 5), wide=(5,))),
    # rows, columns, depth, A and two steps, B and one, C and one, added to C?; and what follows of A may be asked for
    **dict.fromkeys(
        ("micro", "micro_panel", "micro_asking_ahead", "micro_asking_rows", "micro_asking_lines"),
        Contract(11, (3, 6, 8), (8,)),
    ),
    "micro_packing": Contract(12, (3, 6, 8), (8, 11)),  # the same, and the panel that it fills with B
    "micro_transposed": Contract(10, (3, 6), (8,)),  # the same, C by columns and not added to
    # the same, with one step each; and rows of A, or columns of B, may be read one after the other
    **dict.fromkeys(("dots", "dots_rows_in_turn", "dots_columns_in_turn"), Contract(10, (3, 5, 7), (7,))),
    "micro_nested": Contract(14, (3, 6, 8), (8,)),  # and an outer loop of the sum: how many, and the steps of A and B
    "micro_transposed_nested": Contract(13, (3, 6), (8,)),
    "dots_nested": Contract(13, (3, 5, 7), (7,)),
    # with the list that says where rows of A, or its parts of the sum, are; and the number of the first
    "micro_rows_listed": Contract(13, (3, 6, 8, 11), (8,), wide=(11,)),
    "micro_transposed_sum_listed": Contract(12, (3, 6, 10), (8,), wide=(10,)),
    **dict.fromkeys(
        ("dots_rows_listed", "dots_rows_in_turn_rows_listed"), Contract(12, (3, 5, 7, 10), (7,), wide=(10,))
    ),
    "sweep": Contract(9, (2, 5, 7), (7,)),  # of few rows: columns, depth, A and two steps, B and one, C and one
    "sweep_sum_listed": Contract(11, (2, 5, 7, 9), (7,), wide=(9,)),
    "tiny": Contract(6, (1, 3), (5,)),  # how many pairs of matrices, A and the step to the next, B and the same, C
    # depth, columns, B and two steps, the panel; and rows of B are contiguous, columns are, or neither
    **dict.fromkeys(("pack", "pack_rows", "pack_columns", "pack_elements"), Contract(6, (2,), (5,))),
    # the same of columns that are contiguous, with the step between them, and that between rows of the panel
    "turn": Contract(6, (2,), (4,)),
    "deal": Contract(5, (2,), (4,)),  # depth, how many are there, B and its step of rows, the columns
    "collect": Contract(4, (1,), (2,)),  # depth, the columns, B and its step of rows
    # elements, rows and the step between them, those of the results: as many rows as a vector has lanes
    **dict.fromkeys(("scan_sum", "scan_product"), Contract(5, (1,), (3,))),
    "scan_sum_on": Contract(7, (1, 5, 6), (3,), wide=(5, 6)),  # of floats, after what is before each row, in two parts
    "sort": Contract(5, (0,), (3, 4)),  # elements and the step between them, how many, the result, room for as many
    "argsort": Contract(7, (0,), (3, 4, 5, 6), wide=(5, 6)),  # the same, room twice; the result, room for as many
    # elements, their step, how many, how many are selected, room; keys and as many again; positions and as many
    **dict.fromkeys(("largest", "smallest"), Contract(9, (0,), (5, 6, 7, 8), wide=(7, 8))),
    # elements, their step, how many; values, their step, how many; how many come before each, and their step
    **dict.fromkeys(("search_left", "search_right"), Contract(8, (0, 3), (6,), wide=(6,))),
    "clear": Contract(2, (), (0,)),  # address, bytes
    "flush": Contract(0, (), (), "integer"),  # -> what `restore` takes: subnormal numbers count as 0 in between
    "restore": Contract(1, (), ()),
    "fetch": Contract(4, (0,), ()),  # columns and the step between them, how many, bytes of each: read soon
    "fetch_listed": Contract(6, (0, 4), (), wide=(4,)),  # the same of rows that are listed, and the first's number
    # address: so many lines of cache, into L2, into L1, or there to be written; nothing is read
    **dict.fromkeys(("fetch_lines", "fetch_near", "fetch_own"), Contract(1, (0,), ())),
    "into_line": Contract(1, (0,), (), "integer"),  # address -> elements since the line of cache began
    # how many elements, where from, where to: past the caches, and parts of lines too, or not if they are apart
    **dict.fromkeys(("stream", "stream_apart"), Contract(3, (1,), (2,))),
    "store_lines": Contract(2, (0,), (1,)),  # where from, where to: a tile (n,) elements, past the caches if in line
    "store_or_keep": Contract(4, (0,), (1, 2)),  # the same, where they go if not in line, and how far they are into one
    # status of the failure, position, length, iteration of a loop -> position from the start
    "checked": Contract(4, (), (), "integer"),
    "labelled": Contract(4, (), (), "integer"),  # the same, and a negative one is out of range
    "on_axis": Contract(2, (), (), "integer"),  # position, length -> from the start; 0 where it is out of range
    OWN: Contract(2, (), (), "element"),  # status of the failure, iteration, and the operands of the user's function
}
CHECKED = ("checked", "labelled")
FETCHING = ("fetch", "fetch_listed", "fetch_lines", "fetch_near", "fetch_own")
FAILING = (*CHECKED, OWN)

Stmt = Let | Set | Store | If | For | Use
_PARTS: tuple[Any, ...] = (*get_args(Expr), *get_args(Stmt))


@dataclass(frozen=True, slots=True)
class Code:
    """What one phase runs; `words` are the names of the words of its row, and what each holds.

    A place stands for its address, the name `f3` for the number of a failure, any other for a dimension.
    `constants` are in the order in which they were asked for, `stacks` the numbers of blocks on the stack.  `is_light`:
    its kernels take so long that what it does beside them takes no time.
    """

    loop: For
    words: tuple[tuple[str, Dim | Place], ...]
    constants: tuple[Const, ...] = ()
    stacks: tuple[int, ...] = ()
    is_light: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """A phase that runs no kernel but says which is next; see graphc.codegen.control for its words."""

    what: str
    row: tuple[Dim | Place, ...]


@dataclass(frozen=True)
class LoopProgram:
    """The loops of a whole program, phase by phase, for who runs them without machine code.

    `lines` are the user's, of what each phase computes; `places` tell dtype and number of elements.
    """

    phases: tuple[Code | Control, ...]
    lines: tuple[tuple[str, ...], ...]
    places: dict[Place, tuple[DType, Dim]]


def moved(code: Code | Control, places: Mapping[Place, Place]) -> Code | Control:
    """The same loops over other places."""

    def new(part: Any) -> Any:
        if isinstance(part, Place):
            return places.get(part, part)
        if isinstance(part, tuple):
            return tuple(map(new, part))
        if isinstance(part, _PARTS):
            return replace(part, **{f.name: new(getattr(part, f.name)) for f in fields(part)})
        return part

    if isinstance(code, Control):
        return replace(code, row=new(code.row))
    return replace(code, loop=new(code.loop), words=new(code.words))


def expressions(s: Stmt) -> tuple[Expr, ...]:
    """The expressions of a statement, but for those of statements inside."""
    match s:
        case Let() | Set() | Store():
            return (s.value,)
        case If():
            return (s.test,)
        case For():
            return (s.lo, s.hi)
        case Use():
            return s.args


def all_statements(body: Sequence[Stmt]) -> Iterator[Stmt]:
    """Statements and those inside them."""
    for s in body:
        yield s
        if isinstance(s, For):
            yield from all_statements(s.body)
        elif isinstance(s, If):
            yield from all_statements((*s.yes, *s.no))


def all_parts(s: Stmt) -> Iterator[Expr]:
    """The expressions of a statement and every one inside them."""
    return (part for whole in expressions(s) for part in parts(whole))


def names_read(s: Stmt) -> Iterator[str]:
    """The scalars and integers that a statement reads, but for those of statements inside."""
    dims: list[Dim] = [s.at] if isinstance(s, Store) else []
    for e in all_parts(s):
        match e:
            case Var():
                yield e.name
            case Position() | Load():
                dims.append(e.at)
            case Address():
                dims += e.terms
    yield from (name[1:] for dim in dims for name in symbols(dim))


def parts(e: Expr) -> Iterator[Expr]:
    """An expression and every one inside it."""
    yield e
    if isinstance(e, Call):
        for arg in e.args:
            yield from parts(arg)
