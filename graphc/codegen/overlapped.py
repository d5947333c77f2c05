"""The last sweep of each row, made while the next row is swept.

In: the form of a nest that sweeps rows several times, the last time only to store; and the statements of a row.  Out:
the same statements, the last sweep's part by part beside another one of the next row: beside the busiest if that
computes with vector math, for which memory waits, else beside the first that folds what it computes, in which memory
has little to do.  A row's sums become one number, that something is divided by, while something else is done.  After
the last row of a chunk its sweep is by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import (
    FETCHING,
    KERNELS,
    Address,
    For,
    If,
    Let,
    Load,
    Position,
    Set,
    Stmt,
    Store,
    Use,
    Var,
    all_parts,
    all_statements,
    names_read,
)
from graphc.codegen.renaming import Renaming
from graphc.codegen.rows import FEWEST, Overlap, Rows
from graphc.codegen.scope import Scope
from graphc.codegen.streamed import LINES
from graphc.codegen.text import test
from graphc.dims import Dim, symbol
from graphc.scalar import SIMPLE
from graphc.schedule.access import linear, loop_symbol
from graphc.schedule.task import Place

_LONGEST = 4096  # bytes of a row: two, what is kept of one, and what is stored of the other fit L1
_MOST = 2  # arrays that are read, and outputs past the caches, of rows without vector math: for the same reason
_STORING = (*FETCHING, "store_lines", "store_or_keep", "stream", "into_line")


def overlap_of(form: Rows) -> Overlap | None:
    """Whether a nest may have its last sweep beside another one."""
    row = form.row_length()
    alone = form.before is not None or form.beside is not None or form.split.deep or form.band > 1 or not form.row_set
    if alone or len(form.row_axes()) != 1 or len(form.inner) != 1 or not isinstance(row, int):
        return None
    last = max(map(form.computed_in, form.members))
    beside, folds = _beside(form), [r for r in form.reductions if form.is_full(r)]
    stored = [node for node, *_ in form.stores_in(last)]
    if beside is None or last <= beside or any(form.computed_in(r) == last for r in folds):
        return None
    sizes = {node.dtype.size for node in (*stored, *(r.operands[0] for r in folds))}
    if not stored or len(sizes) != 1 or not all(r.operands[0].dtype.is_float for r in folds):
        return None
    (size,) = sizes
    step = LINES * LINE // size
    fits = row % step == 0 and FEWEST * step <= row <= _LONGEST // size
    return Overlap(beside, last, step) if fits else None


def _beside(form: Rows) -> int | None:
    """The sweep that has room for another one.

    Where outputs are written past the caches beside vector math, there is to be one, and one array to be read: of more,
    memory would have to serve all in the same sweep.
    """
    outputs, arrays, busiest = len(form.streamed), len(form.ahead()), form.busiest()
    if form.efforts.get(busiest, 0) >= SIMPLE:
        return busiest if outputs == 0 or max(outputs, arrays) <= 1 else None
    computed = (r for r in form.row_set if form.lies_along(r, 0) is None)
    return min(map(form.computed_in, computed), default=None) if max(outputs, arrays) <= _MOST else None


def overlap(form: Rows, around: Scope, row: Scope, first: slice, last: slice) -> tuple[Stmt, ...]:
    """Rearrange the statements of a row, of which slices are those of the two sweeps; what is to be done after all.

    Nothing changes if statements between the two touch what the last one does.
    """
    beside, made = _parts_loop(row.body[first]), _parts_loop(row.body[last])
    if beside is None or made is None or (beside.lo, beside.hi, beside.step) != (made.lo, made.hi, made.step):
        return ()
    at = row.body.index(made)
    delayed, others = row.body[at : last.stop], [*row.body[:at], *row.body[last.stop :]]
    carried = _carried(form, delayed, others) if _may_be_late(form, delayed, others, beside) else None
    if carried is None:
        return ()
    (axis,) = form.row_axes()
    position, (low, high) = loop_symbol(axis), form.bounds(axis)

    def of_row(body: Sequence[Stmt], which: Dim) -> tuple[Stmt, ...]:
        names = {var.name: kept.name for var, kept in carried.items()}
        dims = {f"%{old}": symbol(f"%{new}") for old, new in names.items()}
        return Renaming(form.text, names, {**dims, f"%{axis}": which}).block(body)

    inside = [s for s in made.body if not _is(s, FETCHING)]
    writes = [s for s in inside if _is(s, ("store_or_keep",))]
    makes, ends = [s for s in inside if s not in writes], delayed[1:]
    there = test(">", Position(position), Position(low))

    def before(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        """The same of the row before, if the chunk has one."""
        return (If(there, of_row(body, position - 1)),) if body else ()

    parts = For(beside.var, beside.lo, beside.hi, beside.step, (*before(makes), *beside.body, *before(writes)))
    place = others.index(beside)
    keep = [Set(kept, var) for var, kept in carried.items()]
    row.body[:] = [*others[:place], parts, *before(ends), *others[place + 1 :], *keep]
    around.add(*(Let(kept, form.text.constant(0, kept.dtype)) for kept in carried.values()))
    whole = For(made.var, made.lo, made.hi, made.step, tuple(inside))
    return (If(test(">", form.text.at(high), form.text.at(low)), of_row([whole, *ends], high - 1)),)


def _parts_loop(body: Sequence[Stmt]) -> For | None:
    """The loop over the parts of a row, if it is the only one."""
    found = [s for s in body if isinstance(s, For) and s.var == "f"]
    return found[0] if len(found) == 1 else None


def _is(s: Stmt, kernels: Sequence[str]) -> bool:
    return isinstance(s, Use) and s.kernel in kernels


def _touched(body: Sequence[Stmt], row: str) -> Iterator[tuple[Place, Dim | None, bool, bool]]:
    """Places, positions of elements, whether they are written, and whether other rows have other positions."""
    for s in all_statements(body):
        for e in all_parts(s):
            if isinstance(e, Load):
                yield e.place, e.at, False, (linear(e.at) or {}).get(row, 0) != 0
        if isinstance(s, Store):
            yield s.place, s.at, True, (linear(s.at) or {}).get(row, 0) != 0
        if isinstance(s, Use) and not _is(s, (*FETCHING, "into_line")):
            kernel = KERNELS[s.kernel]
            for writes, numbers in ((False, kernel.reads), (True, kernel.writes)):
                for address in (s.args[k] for k in numbers):
                    assert isinstance(address, Address)
                    assert isinstance(address.base, Place)
                    moves = any((linear(term) or {}).get(row, 0) != 0 for term in address.terms)
                    yield address.base, None, writes, moves


def _may_be_late(form: Rows, delayed: Sequence[Stmt], others: Sequence[Stmt], beside: For) -> bool:
    """Whether nothing in between writes what the last sweep reads, or touches what it writes."""
    if any(isinstance(s, Set) or (isinstance(s, Use) and not _is(s, _STORING)) for s in all_statements(delayed)):
        return False
    (axis,) = form.row_axes()
    row = f"%{axis}"
    elsewhere = list(_touched(others, row))
    same = {(s.place, s.at) for s in all_statements(beside.body) if isinstance(s, Store)}
    own = {place for place, _, writes, _ in _touched(delayed, row) if writes}
    for place, at, writes, moves in _touched(delayed, row):
        meets = [(p, a, w, m) for p, a, w, m in elsewhere if p == place and (w or writes)]
        if moves:
            if not all(m for *_, m in meets):
                return False
        elif writes or place in own:
            if meets:
                return False
        elif any(w and (p, a) not in same for p, a, w, _ in meets) or (meets and (place, at) not in same):
            return False
    return True


def _carried(form: Rows, delayed: Sequence[Stmt], others: Sequence[Stmt]) -> dict[Var, Var] | None:
    """The scalars of a row that its last sweep wants, each with one that keeps it; None if they change."""
    bound = {s.var.name: s.var for s in others if isinstance(s, Let)}
    bound |= {s.result.name: s.result for s in others if isinstance(s, Use) and s.result is not None}
    wanted = dict.fromkeys(name for s in all_statements(delayed) for name in names_read(s))
    changed = {s.var.name for s in all_statements(others) if isinstance(s, Set)}
    if changed & wanted.keys():
        return None
    return {var: Var(form.text.fresh("a"), var.dtype) for name in wanted if (var := bound.get(name)) is not None}
