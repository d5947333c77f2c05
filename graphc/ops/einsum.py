"""Sums of products that a string of labels tells, by the pairwise primitive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from graphc.dims import Dim, same
from graphc.errors import DeclarationError, ShapeError
from graphc.op import Array, Op, Reject, Sample, register
from graphc.ops.linalg import NUMBERS, contract, summed
from graphc.ops.samples import example
from graphc.types import Shape


def _terms(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Labels of each operand and of the result, with unused letters for the axes that '...' stands for."""
    left, arrow, right = "".join(subscripts.split()).partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise DeclarationError(f"{subscripts!r} names {len(terms)} operands, got {len(ranks)}")
    spare = "".join(c for c in reversed(ascii_letters) if c not in subscripts)
    dots = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    for k, (term, count, rank) in enumerate(zip(terms, dots, ranks, strict=True)):
        _check_term(term, subscripts)
        if count < 0 or (count and "..." not in term):
            raise ShapeError(f"operand {k} has {rank} axes, but {term!r} names {rank - count}")
    widest = max((c for term, c in zip(terms, dots, strict=True) if "..." in term), default=0)
    hidden = spare[:widest]
    named = [term.replace("...", hidden[widest - count :]) for term, count in zip(terms, dots, strict=True)]
    if not arrow:
        counts = Counter("".join(term.replace("...", "") for term in terms))
        return named, hidden + "".join(sorted(c for c in counts if counts[c] == 1))
    _check_result(right, left, hidden, subscripts)
    return named, right.replace("...", hidden)


def _check_term(term: str, subscripts: str) -> None:
    rest = term.replace("...", "", 1)
    if not all(c in ascii_letters for c in rest):
        raise DeclarationError(f"{subscripts!r} may hold letters, ',', '->' and one '...' an operand")


def _check_result(right: str, left: str, hidden: str, subscripts: str) -> None:
    _check_term(right, subscripts)
    labels = right.replace("...", "")
    if len(set(labels)) != len(labels):
        raise DeclarationError(f"{subscripts!r} names a label of the result twice")
    if unknown := set(labels) - set(left):
        raise DeclarationError(f"{subscripts!r}: no operand has the label {min(unknown)!r} of the result")
    if hidden and "..." not in right:
        raise DeclarationError(f"{subscripts!r}: the axes that '...' stands for must stay in the result")


def _check_lengths(terms: Sequence[str], shapes: Sequence[Shape], named: Collection[str]) -> None:
    """A named label has one length, in which 1 is like any other; under '...' a literal 1 broadcasts."""
    lengths: dict[str, Dim] = {}
    for label, d in (
        (c, d) for term, shape in zip(terms, shapes, strict=True) for c, d in zip(term, shape, strict=True)
    ):
        known = lengths.setdefault(label, d)
        if label not in named and 1 in (d, known):
            lengths[label] = d if known == 1 else known
        elif (d == 1) != (known == 1) or same(d, known) is False:
            what = f"labelled {label!r}" if label in named else "under '...'"
            raise ShapeError(f"dimensions {what} must be equal, got {known} and {d}")


def _diagonal(b: Any, x: Any, labels: str) -> tuple[Any, str]:
    """x without repeated labels: what lies on the diagonal of their axes."""
    for label in labels:
        while labels.count(label) > 1:
            i, j = labels.index(label), labels.rindex(label)
            positions = b.reshape(b.arange(x.shape[i]), tuple(x.shape[i] if k == i else 1 for k in range(x.ndim)))
            x = b.reshape(b.take_along_axis(x, positions, axis=j), tuple(d for k, d in enumerate(x.shape) if k != j))
            labels = labels[:j] + labels[j + 1 :]
    return x, labels


def _einsum(b: Any, subscripts: str, /, *operands: Any) -> Any:
    if not isinstance(subscripts, str) or not operands:
        raise DeclarationError(f"einsum takes a string such as 'ij,jk->ik' and then the operands, got {subscripts!r}")
    nodes = b.promoted(*operands)
    terms, out = _terms(subscripts, [n.ndim for n in nodes])
    _check_lengths(terms, [n.shape for n in nodes], set(subscripts))
    x, labels = _diagonal(b, nodes[0], terms[0])
    for k in range(1, len(nodes)):
        y, other = _diagonal(b, nodes[k], terms[k])
        later = out + "".join(terms[k + 1 :])
        kept = "".join(dict.fromkeys(c for c in labels + other if c in later))
        target = out if k == len(nodes) - 1 else kept
        x, labels = contract(b, x, labels, y, other, target), target
    x, labels = summed(b, x, labels, out)
    return b.permute_dims(x, tuple(labels.index(c) for c in out))


_M34, _M45, _V3, _V4 = Array((3, 4)), Array((4, 5)), Array((3,)), Array((4,))

register(
    Op(
        name="einsum",
        doc="The sum of products that subscripts such as 'ij,jk->ik' tell, as in NumPy, for any number of operands.\n\n"
        "A label that stands twice in one operand takes its diagonal, '...' stands for axes that broadcast, and\n"
        "without '->' the labels that stand once are kept, sorted.  "
        "Operands are multiplied from left to right."
        + example('gc.einsum("ij,ij->i", [[1, 2], [3, 4]], [[1, 1], [2, 2]])', "array([ 3, 14])"),
        define=_einsum,
        reference=np.einsum,
        dtypes=NUMBERS,
        samples=(
            Sample(("ij,jk->ik", _M34, _M45)),
            Sample(("ij,jk", _M34, _M45)),
            Sample(("ij->ji", _M34)),
            Sample(("ba", _M34)),
            Sample(("ij->", _M34)),
            Sample(("ii->i", Array((4, 4)))),
            Sample(("ii", Array((4, 4)))),
            Sample(("iij,jk->ki", Array((3, 3, 4)), _M45)),
            Sample(("i,j->ij", _V3, _V4)),
            Sample(("i,i", _V3, _V3)),
            Sample(("...ij,...jk->...ik", Array((2, 1, 3, 4)), Array((6, 4, 5)))),
            Sample(("i...,i...->...", _M34, _M34)),
            Sample(("...i->...", Array((2, 3, 4)))),
            Sample(("ij,jk,kl->il", _M34, _M45, Array((5, 2)))),
            Sample(("ij,kl->j", _M34, _M45)),
            Sample((",ij->ij", Array(()), _M34)),
        ),
        rejects=(
            Reject(("ij,jk", _M34, _M34), ShapeError, "labelled 'j' must be equal, got 4 and 3"),
            Reject(("ij,jk", _M34), DeclarationError, "names 2 operands, got 1"),
            Reject(("ijk", _M34), ShapeError, "operand 0 has 2 axes, but 'ijk' names 3"),
            Reject(("i", _M34), ShapeError, "names 1"),
            Reject(("ij->ii", _M34), DeclarationError, "twice"),
            Reject(("ij->k", _M34), DeclarationError, "no operand has the label 'k'"),
            Reject(("...j->j", _M34), DeclarationError, "must stay in the result"),
            Reject(("i1->i", _M34), DeclarationError, "letters"),
            Reject((_M34, _M34), DeclarationError, "takes a string"),
        ),
        tf=lambda tf, subscripts, *operands: tf.einsum(subscripts, *operands),
    )
)
