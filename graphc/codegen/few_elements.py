"""Which nests have rows of few elements that go abreast, and what these read.

In: the form of a nest.  Out: whether its rows are short, all that they do is arithmetic of which the front end makes
vectors, and copies to columns and back take less time than is saved; the parts of arrays that have to be copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from graphc.codegen.evaluate import body_of, loaded_from
from graphc.codegen.form import Form
from graphc.codegen.intrinsics.far import MOST
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.rows import SIMPLE
from graphc.codegen.states import state_of
from graphc.codegen.work import computed
from graphc.dims import Dim, product, substitute
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import ARITHMETIC, COMPARISONS, WHOLE, calls, parse
from graphc.schedule.access import Read, linear, loop_axes, offset
from graphc.schedule.shape import loads
from graphc.schedule.split import domain_of
from graphc.types import DType, bool_

ROWS = 16  # of a band: a vector of float32, where vectors are wide
LONGEST, FEWEST = 16, 4  # elements of a row; rows that are worth a band
# By bytes of a vector: those of a row, beyond which its own vectors are full enough (two vectors are folded in this
# order, too); and if it is folded only once and then written whole, for then copies may take longer.
MOST_BYTES = {16: (32, 8), 32: (48, 8), 64: (128, 48)}
_MOST_CALLS, _MOST_BYTES_OF_COLUMNS = 512, 2**15  # functions of a row; of a band's columns


class Source(NamedTuple):
    """Part of an array that rows read: where the first row begins, the step to the next one, elements of a row.

    A tuple, as Across (graphc/codegen/turned.py).
    """

    node: Node
    first: Dim
    step: Dim
    width: int


def sources_abreast(form: Form) -> list[Source] | None:
    """What the rows of a form read, if they are short, and all that they do is arithmetic on vectors; else None."""
    row, axes = form.row_length(), form.row_axes()
    otherwise = form.is_flat or form.split.deep or form.by_batch() or form.beside is not None or not axes
    if not form.row_set or otherwise or not isinstance(row, int) or not 2 <= row <= LONGEST:
        return None
    rows = form.domain[axes[-1]]
    if (isinstance(rows, int) and rows < FEWEST) or sum(form.domain[k] != 1 for k in form.inner) != 1:
        return None
    if not _is_plain(form, row):
        return None
    made = any(form.is_stored_whole(node) for node, _ in form.nest.stores if node not in form.total_set)
    most = MOST_BYTES[host_vector_bytes()][made and len(form.row_set) == 1]
    if row * dtype_of(form).size > most or not _are_rows(form, row) or (sources := _sources(form)) is None:
        return None
    columns = sum(source.width for source in sources) + row * (len(form.nest.stores) + len(form.totals))
    return sources if columns * ROWS * dtype_of(form).size <= _MOST_BYTES_OF_COLUMNS else None


def is_log_sum_exp(node: Node) -> bool:
    """Whether a node is such a fold: of an extreme, and vector math of the distances from it."""
    return node.op.family is Family.REDUCTION and node.op.state == "logsumexp"


def _is_plain(form: Form, row: int) -> bool:
    """Whether all is arithmetic on floats of one dtype, or a choice by them.

    It must not be too much, nor have more vector math than a kernel has bodies of.
    """
    nodes, dear, every = [n for n in computed(form.nest) if any(d != 1 for d in domain_of(n))], 0, 0
    once = 1, product(form.domain[k] for k in form.row_axes())  # what there is one of, or one for each row
    dtype = dtype_of(form)
    if not dtype.is_float or any(o.dtype not in (dtype, bool_) for node in nodes for o in (node, *node.operands)):
        return False
    for node in nodes:
        family = node.op.family
        if family is Family.REDUCTION:
            if node.dtype != dtype:
                return False
            state = state_of(str(node.op.state), node.dtype)
            if node in form.row_set and is_log_sum_exp(node):
                dear += 2
            elif len(state.parts) > 1 or state.counts:
                return False
        elif family is Family.ELEMENTWISE:
            if node.op.scalar is not None or node.op.body is None or len(node.types) > 1:
                return False
            functions = list(calls(parse(body_of(node))))
            if any(name not in WHOLE | ARITHMETIC | COMPARISONS for name, _ in functions):
                return False
            each = 1 if product(domain_of(node)) in once else row
            bodies = 1 if form.is_full(node) else each  # those of elements are in a loop
            dear += sum(cost >= SIMPLE for _, cost in functions) * bodies
            every += len(functions) * each
        elif family not in (Family.MOVEMENT, Family.LEAF):
            return False
    return dear <= MOST and every <= _MOST_CALLS


def dtype_of(form: Form) -> DType:
    """That of all floats, if the form is abreast."""
    return form.reductions[0].dtype


def variables_of(form: Form) -> tuple[str, str]:
    """Of the rows that go abreast, and of a row."""
    (inner,) = (k for k in form.inner if form.domain[k] != 1)
    return f"%{form.row_axes()[-1]}", f"%{inner}"


def _sources(form: Form) -> list[Source] | None:
    """What rows read, each from elements of its own; None if something lies otherwise."""
    found: dict[Source, None] = {}
    row, inner = variables_of(form)
    for read in _reads(form):
        if read.guarded or read.whole or loaded_from(form.text, read.node) is None or read.node.dtype != dtype_of(form):
            return None
        position = offset(form.moved(read.index), read.node.shape)
        steps = linear(position)
        if steps is None or steps.get(inner, 0) not in (0, 1):
            return None
        if steps.get(row, 0) != 0:
            width = form.row_length() if steps.get(inner, 0) else 1
            assert isinstance(width, int)
            found[Source(read.node, substitute(position, {row: 0, inner: 0}), steps[row], width)] = None
    return list(found)


def _reads(form: Form) -> Iterator[Read]:
    """What differs by row or element."""
    for member in form.members:
        for read in loads(member, form.is_loaded, form.made):
            if read.whole or any(map(loop_axes, read.index)):
                yield read


def _are_rows(form: Form, length: int) -> bool:
    """Whether outputs of whole rows are contiguous, and those of one element a row lie at known places."""
    row, inner = variables_of(form)
    around = [f"%{k}" for k in form.row_axes()[:-1]]
    for node, _ in form.nest.stores:
        if node in form.total_set:
            continue
        if node.dtype != dtype_of(form):
            return False
        steps = linear(offset(form.index_of(node), node.shape))
        wanted = {row: length, inner: 1} if form.is_stored_whole(node) else {row: 1}
        if steps is None or {k: v for k, v in steps.items() if k not in ("", *around) and v != 0} != wanted:
            return False
    return True
