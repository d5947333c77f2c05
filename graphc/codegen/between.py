"""Vector math of what short rows come to: a band makes vectors of it, between two of its sweeps.

In: the form of a nest.  Out: what is made so, for how many rows at a time, and the loops that make it.  It waits on the
stack beside what the rows come to, for later sweeps and for what is stored or summed at the end of a row.  A single
number would take as long as a vector, and each loop that wants it would make it again.  Bands have several vectors of
rows then: the first of them waits for numbers that have just been stored, and one vector of math is not all there is to
do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from graphc.codegen.form import RESULTS, Form
from graphc.codegen.intrinsics.target import BLOCK, host_vector_bytes
from graphc.codegen.scope import Loop, Scope
from graphc.graph import Node
from graphc.schedule.access import loop_axes
from graphc.schedule.values import is_vector_math

if TYPE_CHECKING:
    from graphc.codegen.rows import Rows

_ROW = 512  # bytes, beside which vector math of one number takes long
_NEAR = 1 << 14  # bytes of a band's rows, which stay in a first-level cache
_VECTORS = 4  # of numbers, none of which waits for another
_FEWEST = 2  # numbers that are made of a row one by one, which overlap with the rows next to it


def math_between(form: Form) -> list[Node]:
    """What is made between sweeps, in the order of needs; nothing if a row is long, or kept, or makes few numbers."""
    row, rows = form.row_length(), form.row_axes()
    sizes = [r.operands[0].dtype.size for r in form.row_set]
    if not sizes or not rows or not isinstance(row, int) or row * max(sizes) > _ROW:
        return []
    if any(is_scratch for _, is_scratch in form.kept.values()):
        return []
    found = [m for m in form.members if _is_made_of_rows(form, m, f"%{rows[-1]}")]
    return found if sum(_wanted(form, found)) >= _FEWEST else []


def rows_between(form: Form, row: int) -> int:
    """For how many rows at a time: some vectors of numbers, of rows so long, that have places on the stack."""
    lanes = host_vector_bytes() // max(m.dtype.size for m in form.between)
    size = max(r.operands[0].dtype.size for r in form.row_set)
    vectors = min(_VECTORS, _NEAR // (max(row, 1) * size * lanes), BLOCK // (lanes * _places(form)))
    return max(vectors, 1) * lanes


def make_math(form: Rows, scope: Scope, row: Loop) -> None:
    """Make what the next sweep of a band is the first to know, in a loop of which LLVM makes vectors."""
    made = [m for m in form.between if form.sweep_of[m] == form.sweep]
    if not made:
        return
    loop = form.text.loop(scope, row.var, row.hi, row.lo)
    values = [(m, form.evaluator.value(m, form.index_of(m), loop)) for m in made]
    loop.add(*(form.text.store(RESULTS, form.result_at(m), value) for m, value in values))
    loop.close()
    form.waiting.update(made)


def fit(form: Form, band: int) -> bool:
    """Whether what so many rows come to, and what is made of it, has a place on the stack."""
    return _places(form) * band <= BLOCK


def _places(form: Form) -> int:
    """How many numbers of each row of a band wait."""
    return len(form.row_set) + len(form.between)


def _is_made_of_rows(form: Form, node: Node, row: str) -> bool:
    """Whether a node is vector math that each row has by itself, of what it comes to."""
    if not is_vector_math(node) or form.is_full(node) or node.op.scalar is not None or len(node.types) > 1:
        return False
    return form.sweep_of[node] > 0 and row in set().union(*map(loop_axes, form.index_of(node)))


def _wanted(form: Form, found: list[Node]) -> Iterable[int]:
    """How many of them each loop wants: the sweeps, and the loop at the end of rows."""
    by_loop: dict[int, list[Node]] = {}
    for m in filter(form.is_full, form.members):
        by_loop.setdefault(form.computed_in(m), []).extend(m.operands)
    ends = [n for n, _ in form.nest.stores if n not in form.total_set and not form.is_stored_whole(n)]
    by_loop[-1] = [*ends, *(t.operands[0] for t in form.totals if not form.is_full(t))]
    return (len(_under(form, nodes).intersection(found)) for nodes in by_loop.values())


def _under(form: Form, nodes: Iterable[Node]) -> set[Node]:
    """What is computed for them of what rows have by themselves."""
    seen: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        made_of_elements = node in form.made and form.is_full(node)  # or folded from them
        if node in seen or made_of_elements or form.is_loaded(node):
            continue
        seen.add(node)
        stack += node.operands
    return seen
