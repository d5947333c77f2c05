"""Where values are read from: index expressions carried through movement ops.

In: a node and the index at which an element of it is wanted (dimensions in which loop variables are symbols).
Out: the non-movement nodes that hold the element, each with its own index.
Loop variables are the symbols `%0`, `%1`, ...; no user can name a dimension so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from graphc.dims import Atom, Dim, Poly, product, symbol, symbols
from graphc.graph import Node
from graphc.op import Family, Job, Piece
from graphc.ops.index import CHECKS
from graphc.types import Shape

Index = tuple[Dim, ...]
_FAR = 64  # nodes that are looked through; beyond them anything may be read


@cache
def loop_symbol(axis: int) -> Dim:
    """The variable of the loop over an axis."""
    return symbol(f"%{axis}")


@lru_cache(maxsize=4096)
def canonical(shape: Shape) -> Index:
    """The index of the element that loops over `shape` are at; axes of size 1 are at 0."""
    return tuple(0 if d == 1 else loop_symbol(k) for k, d in enumerate(shape))


def aligned(index: Index, shape: Shape) -> Index:
    """The index into an operand of this shape that is broadcast to where `index` points."""
    tail = index[len(index) - len(shape) :]
    return tuple(0 if d == 1 else i for d, i in zip(shape, tail, strict=True))


def read_operands(node: Node) -> tuple[Node, ...]:
    """The operands whose values the node needs."""
    return node.operands[:-1] if node.op.awaits else node.operands


def pieces(node: Node, index: Index) -> list[Piece]:
    """The access map of a movement node at an index."""
    assert node.op.access is not None
    found: list[Piece] = node.op.access(index, [o.shape for o in node.operands], node.attrs)
    return found


def operand_indices(node: Node, index: Index) -> list[Index]:
    """The index of each operand of an elementwise node."""
    return [aligned(index, o.shape) for o in node.operands]


@dataclass(eq=False, slots=True)
class Read:
    """One element wanted of a node; `guarded` if it is read only under a condition.  Nobody changes one: a frozen
    class would take several times as long to make, and very many are made.

    `whole`: any element of it, at positions that only the call knows; the node lies in memory, and has no index here.
    """

    node: Node
    index: Index
    guarded: bool = False
    whole: bool = False

    def __eq__(self, other: object) -> bool:  # `==` of nodes builds a node
        return isinstance(other, Read) and self.node is other.node and self._rest == other._rest

    def __hash__(self) -> int:
        return hash((self.node, self._rest))

    @property
    def _rest(self) -> tuple[Index, bool, bool]:
        return self.index, self.guarded, self.whole


def whole(node: Node) -> Read:
    """The read of a node at positions that only the call knows."""
    return Read(node, (), guarded=True, whole=True)


def through_movement(
    node: Node, index: Index, guarded: bool = False, conditions: list[Dim] | None = None
) -> Iterator[Read]:
    """The reads of non-movement nodes that an element of `node` comes from; `conditions` gets what they depend on."""
    stack = [Read(node, index, guarded)]
    while stack:
        read = stack.pop()
        if read.node.op.family is not Family.MOVEMENT:
            yield read
            continue
        found = pieces(read.node, read.index)
        for piece in found:  # the last of several is what is left when no other is read
            conditional = read.guarded or len(found) > 1 or bool(piece.inside or piece.multiples)
            if conditions is not None:
                conditions += [e for e, *_ in (*piece.inside, *piece.multiples)]
            stack.append(Read(read.node.operands[piece.operand], piece.index, conditional))


def strides(shape: Shape) -> tuple[Dim, ...]:
    """Row-major strides in elements."""
    return tuple(product(shape[k + 1 :]) for k in range(len(shape)))


def offset(index: Index, shape: Shape) -> Dim:
    """The position of an element in a row-major array."""
    return sum((i * s for i, s in zip(index, strides(shape), strict=True)), 0)


def keeps_places(node: Node) -> bool:
    """Whether the node is all elements of its operand in their order, under other axes."""
    if node.op.family is not Family.MOVEMENT or len(node.operands) != 1:
        return False
    index, (operand,) = canonical(node.shape), node.operands
    read, *more = pieces(node, index)
    whole = not more and not read.inside and not read.multiples and product(operand.shape) == product(node.shape)
    return whole and offset(read.index, operand.shape) == offset(index, node.shape)


def loop_axes(expression: Dim) -> set[str]:
    """The loop variables in an expression."""
    return {s for s in symbols(expression) if s.startswith("%")}


def linear(expression: Dim) -> dict[str, Dim] | None:
    """Coefficients of the loop variables in an expression, the rest under ""; None if it is not linear in them."""
    found: dict[str, Dim] = {"": 0}
    terms = expression.terms if isinstance(expression, Poly) else (((), expression),)
    for monomial, coefficient in terms:
        rest: Dim = coefficient
        name = ""
        for atom, power in monomial:
            if atom.kind == "symbol" and atom.operands[0].startswith("%") and power == 1 and not name:
                name = atom.operands[0]
                continue
            factor = as_dim(atom)
            if loop_axes(factor):
                return None
            for _ in range(power):
                rest = rest * factor
        found[name] = found.get(name, 0) + rest
    return found


def atoms(index: Index) -> int:
    """How many symbols and functions of dimensions an index is made of."""
    found = [a for d in index if isinstance(d, Poly) for monomial, _ in d.terms for a, _ in monomial]
    return len(found) + sum(atoms(a.operands) for a in found if a.kind != "symbol")


def positions_of(node: Node) -> tuple[Node, ...]:
    """The operands of a gather or scatter that hold positions."""
    return node.operands[1 if node.op.family is Family.GATHER else 2 :]


def at_positions(node: Node, index: Index, positions: Sequence[Dim]) -> Index:
    """Which element of its first operand a gather reads, or a scatter writes, at an index of its loops."""
    along, shape = node.attrs["along"], node.operands[0].shape
    return tuple(positions[-1 - k] if k < 0 else 0 if d == 1 else index[k] for k, d in zip(along, shape, strict=True))


def checks(node: Node) -> bool:
    """Whether computing a node checks positions, or runs a function of the user's, which may raise."""
    return node.op.scalar is not None or any(mode in CHECKS for mode in node.attrs.get("modes", ()))


def reads_through(node: Node, base: Node) -> bool:
    """Whether an element of `node` may be made of elements of `base`, by movement and elementwise ops alone."""
    stack, seen = [node], {node}
    while stack and len(seen) <= _FAR:
        found = stack.pop()
        if found is base:
            return True
        if found.op.family in (Family.MOVEMENT, Family.ELEMENTWISE, Family.ITEM):
            new = [o for o in read_operands(found) if o not in seen]
            seen.update(new)
            stack += new
    return bool(stack)


def as_dim(atom: Atom) -> Dim:
    return Poly(((((atom, 1),), 1),))


@dataclass(frozen=True)
class Strided:
    """An operand that is a view of stored values: element `index` is at offset + sum(index * steps), in elements."""

    base: Node
    steps: tuple[Dim, ...]
    offset: Dim

    def at(self, index: Sequence[Dim]) -> Dim:
        """Where an element lies."""
        return sum((i * step for i, step in zip(index, self.steps, strict=True)), self.offset)


def job_of(node: Node) -> Job:
    """What the kernel of a KERNEL node does."""
    assert node.op.job is not None
    return node.op.job(node.attrs, node.ndim)


def view(node: Node) -> Strided:
    """`node` as a strided view: of what holds its values, or of itself, which then lies in memory."""
    return strided(node) or Strided(node, strides(node.shape), 0)


def strided(node: Node) -> Strided | None:
    """`node` as a strided view of the node that holds its values, or None if it is not one."""
    reads = list(through_movement(node, tuple(loop_symbol(k) for k in range(node.ndim))))
    if len(reads) != 1 or reads[0].guarded:
        return None
    base = reads[0].node
    steps = linear(offset(reads[0].index, base.shape))
    if steps is None:
        return None
    return Strided(base, tuple(steps.get(f"%{k}", 0) for k in range(node.ndim)), steps[""])
