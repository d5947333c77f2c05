"""Make a graph ready for scheduling: contractions that no matrix kernel fits become products and sums.

In: an optimised graph.  Out: a graph in which every contraction has a row label group M (may be empty), a column group
N and a summed group K, with N last in the result and a float dtype.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from string import ascii_letters

from graphc.declare import BUILDER, Builder
from graphc.graph import Graph, Node, make
from graphc.op import Family, Job
from graphc.ops.index import CHECKS, checked
from graphc.ops.stored import stored
from graphc.rewrite import Rule, is_filled, rewrite
from graphc.schedule.access import checks, job_of, positions_of, reads_through, strided
from graphc.schedule.convolve import lowered
from graphc.schedule.pairs import turned_fold
from graphc.schedule.settle import settled

_CHOICES = 16  # operands of one movement
TINY = 64  # multiply-adds of a pair of matrices of which a vector has as many as it has lanes
_LEAST, _MOST = 2**8, 2**16  # bytes of the rows of a matrix for which a vector is one column


@dataclass(frozen=True)
class Labels:
    """The labels of a contraction by their part: in both operands and the result, rows, columns, summed."""

    batch: str
    rows: str
    columns: str
    summed: str


def labels_of(job: Job) -> Labels:
    a, b, out = job.labels
    return Labels(
        batch=job.batch,
        rows="".join(c for c in out if c not in b),
        columns="".join(c for c in out if c not in a),
        summed="".join(c for c in a if c in b and c not in out),
    )


def lower(graph: Graph) -> Graph:
    """The graph with contractions in the form that the matrix kernels take."""
    contraction = Rule(
        *("contraction", Family.KERNEL, partial(_contraction, _read_at_once(graph))),
        "kernels take matrices with the columns last",
    )
    return settled(rewrite(graph, (*_LOWERING, contraction))[0])


def _contraction(at_once: Collection[Node], b: Builder, node: Node) -> Node | None:
    job = job_of(node)
    if job.kernel == "convolution":
        return lowered(node)
    if job.kernel != "product":
        return None
    parts = labels_of(job)
    short = _labels_of_one(node, parts)
    if short:
        return _without_labels(node, short)
    x, y = node.operands
    if not parts.summed or not (parts.rows or parts.columns) or not node.dtype.is_float:
        return product_and_sum(node, parts)
    out = node.attrs["out_labels"]
    if not parts.columns or (parts.rows and out[-1] in parts.rows):
        return _contract(node, y, x, node.attrs["b_labels"], node.attrs["a_labels"], out)
    if not parts.rows and _summed_contiguously(y, node.attrs["b_labels"], parts.summed) and not _is_tiny(node, parts):
        lone = _leaf_of_matrix(node, parts)
        return product_and_sum(node, parts) if lone is None or lone in at_once else _with_column(node)
    wanted = parts.batch + parts.rows + parts.columns
    if out[-1] in parts.batch:
        moved = _contract(node, x, y, node.attrs["a_labels"], node.attrs["b_labels"], wanted)
        return _permuted(moved, wanted, out)
    return None


def _labels_of_one(node: Node, parts: Labels) -> str:
    """The labels of axes of length 1 that stand beside others of rows or columns, and all that do in sums and batches.

    A lone one stays: a matrix with one column is still a matrix.
    """
    labels = node.attrs["a_labels"] + node.attrs["b_labels"]
    sizes = dict(zip(labels, node.operands[0].shape + node.operands[1].shape, strict=True))
    found = "".join(c for c in parts.batch + parts.summed if sizes[c] == 1)
    for group in (parts.rows, parts.columns):
        short = [c for c in group if sizes[c] == 1]
        found += "".join(short if len(short) < len(group) else short[:-1])
    return found


def _without_labels(node: Node, short: str) -> Node:
    """The contraction of operands without these axes of length 1, which would stand in the way of the last label."""

    def rest(labels: str) -> str:
        return "".join(c for c in labels if c not in short)

    labels = [node.attrs[k] for k in ("a_labels", "b_labels", "out_labels")]
    a, b = (
        BUILDER.reshape(operand, tuple(d for c, d in zip(names, operand.shape, strict=True) if c not in short))
        for operand, names in zip(node.operands, labels[:2], strict=True)
    )
    out: Node = BUILDER.reshape(_contract(node, a, b, *map(rest, labels)), node.shape)
    return out


def _contract(node: Node, a: Node, b: Node, a_labels: str, b_labels: str, out_labels: str) -> Node:
    return make(node.op, (a, b), {"a_labels": a_labels, "b_labels": b_labels, "out_labels": out_labels})


def _leaf_of_matrix(node: Node, parts: Labels) -> Node | None:
    """The leaf whose rows, which are neither short nor very long, a vector is multiplied by, as a column would be.

    Other rows are folded where they are computed, and of short ones a fold of a few vectors costs as little.
    """
    if parts.batch or bool(parts.rows) == bool(parts.columns) or len(parts.summed) != 1:
        return None
    (vector, names), (matrix, labels) = (
        (node.operands[k], node.attrs[name]) for k, name in enumerate(("a_labels", "b_labels"))
    )
    if parts.rows:
        vector, names, matrix, labels = matrix, labels, vector, names
    view, (size,) = strided(matrix), vector.shape
    side_by_side = all(_summed_contiguously(o, c, parts.summed) for o, c in ((vector, names), (matrix, labels)))
    if view is None or view.base.operands or not side_by_side or not isinstance(size, int):
        return None
    return view.base if _LEAST < size * node.dtype.size <= _MOST else None


def _read_at_once(graph: Graph) -> set[Node]:
    """Leaves whose rows several vectors are multiplied by: read once, for the sums of all products."""
    products = (n for n in graph.nodes if n.op.family is Family.KERNEL and job_of(n).kernel == "product")
    count = Counter(_leaf_of_matrix(n, labels_of(job_of(n))) for n in products)
    return {leaf for leaf, number in count.items() if leaf is not None and number > 1}


def _is_tiny(node: Node, parts: Labels) -> bool:
    """Whether vectors are multiplied by as many tiny matrices, all of which lie in memory, one behind the other."""
    (vector, matrix), of_matrix = node.operands, node.attrs["b_labels"]
    sizes = dict(zip(of_matrix, matrix.shape, strict=True))
    if not parts.batch or len(parts.columns) != 1 or len(parts.summed) != 1:
        return False
    rows, deep = sizes[parts.columns], sizes[parts.summed]
    if not (isinstance(rows, int) and isinstance(deep, int) and rows * deep <= TINY):
        return False
    views = [strided(o) for o in (vector, matrix)]
    if any(view is None or view.base.op.family is Family.ELEMENTWISE for view in views):
        return False
    return views[1] is not None and views[1].steps[of_matrix.index(parts.columns)] == deep


def _with_column(node: Node) -> Node:
    """A matrix times a vector as one times a lone column."""
    (vector, matrix), labels = node.operands, node.attrs["b_labels"]
    column = next(c for c in ascii_letters if c not in labels)
    with_column = BUILDER.reshape(vector, (*vector.shape, 1))
    columns = _contract(
        node, matrix, with_column, labels, node.attrs["a_labels"] + column, node.attrs["out_labels"] + column
    )
    lone: Node = BUILDER.reshape(columns, node.shape)
    return lone


def _summed_contiguously(operand: Node, labels: str, summed: str) -> bool:
    """Whether the operand's elements lie side by side along the last summed label: a matrix-vector product by rows."""
    view = strided(operand)
    steps = operand.shape if view is None else view.steps
    return steps[labels.index(summed[-1])] == 1 if view is not None else labels[-1] in summed


def product_and_sum(node: Node, parts: Labels) -> Node:
    """The contraction as an elementwise product, summed over the trailing axes."""
    wanted = node.attrs["out_labels"] + parts.summed
    a, b = (
        _spread(operand, node.attrs[labels], wanted)
        for operand, labels in zip(node.operands, ("a_labels", "b_labels"), strict=True)
    )
    product = a * b
    axes = tuple(range(len(wanted) - len(parts.summed), len(wanted)))
    total: Node = BUILDER.sum(product, axis=axes) if axes else product
    return BUILDER.astype(total, node.dtype)


def _spread(operand: Node, labels: str, wanted: str) -> Node:
    """The operand with its axes in the order of `wanted` and axes of size 1 for labels that it lacks."""
    moved = _permuted(operand, labels, [c for c in wanted if c in labels])
    sizes = dict(zip(labels, operand.shape, strict=True))
    spread: Node = BUILDER.reshape(moved, tuple(sizes.get(c, 1) for c in wanted))
    return spread


def _permuted(operand: Node, labels: str, wanted: Iterable[str]) -> Node:
    moved: Node = BUILDER.permute_dims(operand, tuple(labels.index(c) for c in wanted))
    return moved


def _in_groups(b: Builder, node: Node) -> Node | None:
    """Side by side in groups: an element is read through a choice for each operand, and choices nest."""
    if len(node.operands) <= _CHOICES:
        return None
    groups = [node.operands[k : k + _CHOICES] for k in range(0, len(node.operands), _CHOICES)]
    return make(node.op, tuple(make(node.op, g, node.attrs) if len(g) > 1 else g[0] for g in groups), node.attrs)


def _checked_before(b: Builder, node: Node) -> Node | None:
    """An update at positions that are checked beforehand, so that it may be written in place: checks come first.

    What is added to zeros is written nowhere else, and checks its positions on the way.
    """
    modes = node.attrs["modes"]
    if not checks(node) or is_filled(node.operands[0], 0):
        return None
    positions = list(positions_of(node))
    for k, mode in enumerate(modes):
        if mode in CHECKS:
            axis = node.attrs["along"].index(-1 - k)
            positions[k] = checked(b, positions[k], node.shape[axis], axis, mode)
    inside = tuple("inside" if m in CHECKS else m for m in modes)
    return make(node.op, (*node.operands[:2], *positions), {**node.attrs, "modes": inside})


def _apart(b: Builder, node: Node) -> Node | None:
    """An update whose values or positions are nodes to be stored, where they are read of the array that it changes."""
    base = node.operands[0]
    others = [
        stored(o) if (o is base or o.op.family is Family.MOVEMENT) and reads_through(o, base) else o
        for o in node.operands[1:]
    ]
    if all(o is p for o, p in zip(others, node.operands[1:], strict=True)):
        return None
    return make(node.op, (node.operands[0], *others), node.attrs)


_LOWERING = (
    Rule("many operands", Family.MOVEMENT, _in_groups, "groups of them side by side, then the groups"),
    Rule("checked positions", Family.SCATTER, _checked_before, "positions are checked before anything is written"),
    Rule("pairs", Family.REDUCTION, turned_fold, "folds of pairs run along many points, not along few coordinates"),
    Rule("values apart", Family.SCATTER, _apart, "values are read before the array that they come from is written"),
)
