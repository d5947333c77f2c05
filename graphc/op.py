"""The Op record: everything about an op in one place, and the registry of all ops.

In: nothing but types.  Out: records that every later stage reads: declaration (define, infer), the interpreter
(reference), the adjoint walk (adjoint), the scheduler (family), the code generator (body, access, combine), tests and
docs (doc, samples, rejects, tf).  A primitive has a family, which says how its loops run; a composite has none and is
a function over primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from graphc.dims import Dim
from graphc.own_scalar import OwnScalar
from graphc.scalar import bodies, parse
from graphc.types import Constraint, DType, TensorType

Attrs = Mapping[str, Any]
Infer = Callable[[tuple[TensorType, ...], Attrs, list[Constraint]], tuple[TensorType, ...]]


def attrs_key(attrs: Attrs) -> tuple[Any, ...]:
    """What attributes are told apart by; -0.0 is not 0.0."""
    return tuple([(k, type(v), repr(v) if type(v) is float else v) for k, v in sorted(attrs.items())])


class Family(Enum):
    """How an op's loops run; scheduler and code generator know families, never ops."""

    LEAF = "leaf"  # no operands: input, parameter, constant
    INDEX = "index"  # computed from the position alone: the body reads i
    ELEMENTWISE = "elementwise"  # a scalar expression per result; operands broadcast
    REDUCTION = "reduction"  # axes folded into a `state`
    MOVEMENT = "movement"  # `access` tells where each result element is read from
    GATHER = "gather"  # reads the first operand at positions that the others hold
    SCATTER = "scatter"  # the first operand, with values of the second put or combined at positions of the others
    KERNEL = "kernel"  # loops of its own over strided arrays: `job` tells which
    REGION = "region"  # holds a sub-graph, which takes its place before scheduling
    ITEM = "item"  # selects one result of a node that has several
    LOOP = "loop"  # runs the body that it holds once for each position of an axis
    WHILE = "while"  # runs the body that it holds as long as a condition holds
    CHOICE = "choice"  # runs one of the branches that it holds


HOLDERS = (Family.LOOP, Family.WHILE, Family.CHOICE)  # what holds bodies that run by themselves


@dataclass(frozen=True)
class Piece:
    """Where MOVEMENT reads: element `index` of operand `operand`, if every condition holds.

    `inside` holds (expression, low, high): low <= expression < high; `multiples` holds (expression, k): k divides it.
    Expressions are dimensions in which loop variables are symbols.  Pieces are tried in order; where none applies the
    result is the attribute `fill`.
    """

    operand: int
    index: tuple[Dim, ...]
    inside: tuple[tuple[Dim, Dim, Dim], ...] = ()
    multiples: tuple[tuple[Dim, int], ...] = ()


@dataclass(frozen=True)
class Job:
    """What a kernel does: its name, and a letter for every axis of each operand and of the result, the last.

    Equal letters are one loop; those over `batch` are made around the kernel, the others are its own, and run from the
    end where they are `backwards`.
    """

    kernel: str
    labels: tuple[str, ...]
    batch: str
    backwards: bool = False


@dataclass(frozen=True)
class Array:
    """An array argument of a sample: values uniform in [low, high).

    kind "same" takes the dtype under test; "index" is int64, "bool" is bool, "float" is float64.
    `distinct` draws values that differ by at least 0.01, for ops with ties.
    """

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    kind: str = "same"
    distinct: bool = False


@dataclass(frozen=True)
class Sample:
    """Arguments of one call of an op in the tests: Arrays (or lists of them) and plain values, then keywords."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """A call that must fail at declaration with this error, whose text contains `says`.

    An Array among the arguments is an input of its shape, with dtype float64 unless its kind tells otherwise.
    """

    args: tuple[Any, ...]
    error: type[Exception]
    says: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One op.

    name       public name (array API, then NumPy); names of internal primitives begin with an underscore
    doc        what it computes: one sentence, then formula, shapes, dtypes, source
    reference  NumPy implementation, the oracle, independent of the body: (*arrays, **attrs of the public call)
    define     how the public call makes a node: (b, *arguments) -> node, where b has every public function and
               b.primitive(name, operands, **attrs); its parameters are the public signature
    family     how its loops run; None for a composite
    infer      result types of the primitive from operand types and attributes
    evaluate   NumPy values of the primitive, for the interpreter: (*arrays, **attrs) -> array, or tuple if it has
               several results; a sub-graph is a function there.  None: `reference` takes the attributes as they are
    body       ELEMENTWISE, INDEX: expression over operands x, y, z (a tuple of them for several results; a mapping
               from dtype kind of the first operand where kinds differ); names are intrinsics
    scalar     ELEMENTWISE: what computes an element of an op of the user's, for which the body only stands
    state      REDUCTION: what is carried from value to value, one of graphc/codegen/states.py;
               KERNEL that scans: sum, product, linear
    access     MOVEMENT: (index, operand shapes, attrs) -> list of Piece
    awaits     MOVEMENT: the first operand lies in memory, and the last one is not read, but comes before all that reads
               the result
    stored     ELEMENTWISE: the result lies in memory, however cheap it is
    job        KERNEL: (attributes of the primitive, axes of the result) -> Job
    adjoint    (b, g, y, *operands, **attrs) -> a cotangent or None for each operand; None: not differentiable.
               LOOP, WHILE, CHOICE: also `wanted`, whether the cotangent of each operand is
    dtypes     dtypes that the first operand may have, for tests and docs
    samples, rejects   test arguments
    tf         the same in TensorFlow: (tf, *tensors, **kwargs); None where TensorFlow has none
    """

    name: str
    doc: str
    reference: Callable[..., Any]
    define: Callable[..., Any] | None = None
    family: Family | None = None
    infer: Infer | None = None
    evaluate: Callable[..., Any] | None = None
    body: str | tuple[str, ...] | Mapping[str, Any] | None = None
    scalar: OwnScalar | None = None
    state: str | None = None
    access: Callable[..., Any] | None = None
    awaits: bool = False
    stored: bool = False
    job: Callable[[Attrs, int], Job] | None = None
    adjoint: Callable[..., Any] | None = None
    dtypes: tuple[DType, ...] = ()
    samples: tuple[Sample, ...] = ()
    rejects: tuple[Reject, ...] = ()
    tf: Callable[..., Any] | None = None


REGISTRY: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Add a record to the registry; a name is given once, and the body is read."""
    if op.name in REGISTRY:
        raise ValueError(f"op {op.name!r} is registered already")
    for text in bodies(op.body):
        try:
            parse(text)
        except ValueError as error:
            raise ValueError(f"the body of op {op.name!r}: {error}") from None
    REGISTRY[op.name] = op
    return op
