"""Which nests have rows of few elements that go abreast, and what these read.

In: the form of a nest.  Out: whether its rows are short, all that they do is arithmetic of which the front end makes
vectors, and copies to columns and back take less time than is saved; the parts of arrays that have to be copied, and
what each row has by itself: labels, truths, elements at positions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from graphc.codegen.evaluate import body_of, loaded_from
from graphc.codegen.form import Form
from graphc.codegen.intrinsics.far import MOST
from graphc.codegen.intrinsics.target import host_vector_bytes
from graphc.codegen.one_by_one import is_alike, made_one_by_one
from graphc.codegen.states import state_of
from graphc.codegen.work import computed
from graphc.dims import Dim, substitute
from graphc.graph import Node
from graphc.op import Family
from graphc.scalar import ARITHMETIC, COMPARISONS, SIMPLE, TRUTHS, WHOLE, calls, parse
from graphc.schedule.access import Index, Read, linear, loop_axes, offset
from graphc.schedule.shape import loads, walked
from graphc.schedule.split import domain_of
from graphc.schedule.values import ABREAST, LONGEST, is_vector_math
from graphc.types import DType, bool_

ROWS = 16  # of a band: a vector of float32, where vectors are wide
FEWEST = 4  # rows that are worth a band
# By bytes of a vector: those of a row, beyond which its own vectors are full enough (two vectors are folded in this
# order, too); and if it is folded only once, without vector math, and then written whole, for then copies may take
# longer.
MOST_BYTES = {16: (32, 8), 32: (ABREAST, 8), 64: (128, 48)}
_MOST_CALLS, _MOST_BYTES_OF_COLUMNS = 512, 2**15  # functions of a row; of a band's columns


class Source(NamedTuple):
    """Part of an array that rows read, each a row of it: where the first one begins, and the step to the next one.

    A tuple, as Across (graphc/codegen/turned.py).
    """

    node: Node
    first: Dim
    step: Dim


class Single(NamedTuple):
    """What each row has by itself, made or loaded, and its index in the loops that are printed."""

    node: Node
    at: Index


Needs = tuple[list[Source], list[Single]]


def needs_abreast(form: Form) -> Needs | None:
    """What the rows of a form need, if they are short, and all that they do is arithmetic on vectors; else None."""
    row, axes = form.row_length(), form.row_axes()
    otherwise = form.is_flat or form.split.deep or form.by_batch() or form.beside is not None or not axes
    if not form.row_set or otherwise or not isinstance(row, int) or not 2 <= row <= LONGEST:
        return None
    rows = form.domain[axes[-1]]
    if (isinstance(rows, int) and rows < FEWEST) or sum(form.domain[k] != 1 for k in form.inner) != 1:
        return None
    if 0 in form.domain:  # all steps over an axis without elements are 0, which says nothing of where rows lie
        return None
    singles = _singles_if_plain(form, row)
    if singles is None:
        return None
    made = any(form.is_stored_whole(node) for node, _ in form.nest.stores if node not in form.total_set)
    math_of_rows = any(is_vector_math(m) and not form.is_full(m) for m in form.members)
    most = MOST_BYTES[host_vector_bytes()][made and len(form.row_set) == 1 and not math_of_rows]
    if row * dtype_of(form).size > most or not _are_rows(form, row) or (needs := _needs(form, singles)) is None:
        return None
    columns = row * (len(needs[0]) + len(form.nest.stores) + len(form.totals))
    columns += 2 * len(needs[1])  # of at most 8 bytes
    return needs if columns * ROWS * dtype_of(form).size <= _MOST_BYTES_OF_COLUMNS else None


def is_log_sum_exp(node: Node) -> bool:
    """Whether a node is such a fold: of an extreme, and vector math of the distances from it."""
    return node.op.family is Family.REDUCTION and node.op.state == "logsumexp"


def _singles_if_plain(form: Form, row: int) -> set[Node] | None:
    """What is made for each row by itself, if all else is plain."""
    nodes, dtype = [n for n in computed(form.nest) if any(d != 1 for d in domain_of(n))], dtype_of(form)
    differing = _differing(form)
    singles = made_one_by_one(form, nodes, differing) if dtype.is_float else None
    if singles is None or not _is_plain(form, [n for n in nodes if n not in singles], row, differing):
        return None
    return singles


def _differing(form: Form) -> set[Node]:
    """What is computed of which a row reads more than one element."""
    _, inner = variables_of(form)
    members = dict.fromkeys(form.members)
    found = [(member, form.index_of(member)) for member in members]
    for member in members:
        found += ((read.node, form.moved(read.index)) for read, _ in walked(member, form.is_loaded, members))
    return {node for node, index in found if inner in set().union(*map(loop_axes, index))}


def _is_plain(form: Form, nodes: Sequence[Node], row: int, differing: Collection[Node]) -> bool:
    """Whether nodes are arithmetic on floats, or a choice by them, and by what rows have by themselves.

    Elements have one dtype, what rows come to may have the other one.  It must not be too much, nor have more vector
    math than a kernel has bodies of.
    """
    dear = every = 0
    for node in nodes:
        family, dtype = node.op.family, dtype_of(form) if node in differing or form.is_full(node) else None
        if family is Family.REDUCTION:
            if node.dtype == bool_ or not all(is_alike(n, dtype) for n in (node, *node.operands)):
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
            if any(name not in WHOLE | ARITHMETIC | COMPARISONS | TRUTHS for name, _ in functions):
                return False
            is_test = is_alike(node, dtype) and all(name in COMPARISONS for name, _ in functions)
            if not is_test and not all(is_alike(n, dtype) for n in (node, *node.operands)):
                return False
            each = row if node in differing else 1
            bodies = 1 if form.is_full(node) else each  # those of elements are in a loop
            dear += sum(cost >= SIMPLE for _, cost in functions) * bodies
            every += len(functions) * each
        elif family not in (Family.MOVEMENT, Family.LEAF, Family.INDEX):
            return False
    return dear <= MOST and every <= _MOST_CALLS


def dtype_of(form: Form) -> DType:
    """That of all elements that are floats, if the form is abreast."""
    return next(iter(form.row_set)).dtype


def variables_of(form: Form) -> tuple[str, str]:
    """Of the rows that go abreast, and of a row."""
    (inner,) = (k for k in form.inner if form.domain[k] != 1)
    return f"%{form.row_axes()[-1]}", f"%{inner}"


def _needs(form: Form, singles: Collection[Node]) -> Needs | None:
    """What rows read, each from elements of its own, and what each has by itself; None if something lies otherwise."""
    sources: dict[Source, None] = {}
    outputs = (node for node, _ in form.nest.stores if node in singles)
    found: dict[Single, None] = {Single(node, form.index_of(node)): None for node in outputs}
    row, inner = variables_of(form)
    for read in _reads(form, singles):
        if read.guarded or read.whole:
            return None
        index = form.moved(read.index)
        if read.node in singles:
            found[Single(read.node, index)] = None
            continue
        position = offset(index, read.node.shape)
        steps = linear(position)
        if steps is None or steps.get(inner, 0) not in (0, 1):
            return None
        along, down = steps.get(inner, 0), steps.get(row, 0)
        if loaded_from(form.text, read.node) is None:
            if read.node.op.family is not Family.INDEX or down != 0:
                return None
        elif along and read.node.dtype != dtype_of(form):
            return None
        elif down != 0 and along:
            sources[Source(read.node, substitute(position, {row: 0, inner: 0}), down)] = None
        elif down != 0:
            found[Single(read.node, index)] = None
    return list(sources), list(found)


def _reads(form: Form, singles: Collection[Node]) -> Iterator[Read]:
    """What differs by row or element, be it by the place alone."""
    others = dict.fromkeys(member for member in form.members if member not in singles)
    for member in others:
        for read in loads(member, lambda node: form.is_loaded(node) or node in singles, others):
            if read.whole or read.guarded or any(map(loop_axes, read.index)):
                yield read


def _are_rows(form: Form, length: int) -> bool:
    """Whether outputs of whole rows are contiguous, and those of one element a row lie at known places."""
    row, inner = variables_of(form)
    around = [f"%{k}" for k in form.row_axes()[:-1]]
    for node, _ in form.nest.stores:
        if node in form.total_set:
            continue
        whole = form.is_stored_whole(node)
        if not is_alike(node, dtype_of(form) if whole else None) or (whole and node.dtype == bool_):
            return False
        steps = linear(offset(form.index_of(node), node.shape))
        wanted = {row: length, inner: 1} if whole else {row: 1}
        if steps is None or {k: v for k, v in steps.items() if k not in ("", *around) and v != 0} != wanted:
            return False
    return True
