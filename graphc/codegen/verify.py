"""What holds of the loops of every phase, found by one walk from top to bottom.

In: the Code of a phase, and the dtype and number of elements of each place.  Raises AssertionError, which prints the
statement: a name that is not bound, or bound twice; operands whose dtypes do not fit; an index that leaves its place;
chunks that write the same element.  Where the algebra of dimensions can't tell, the interpreter of loops looks.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen.loop_ir import (
    KERNELS,
    OWN,
    Address,
    Call,
    Code,
    Const,
    Expr,
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
)
from graphc.codegen.printer import CODES, print_statement
from graphc.codegen.ranges import Ranges, symbol_of
from graphc.dims import Dim, is_positive, symbol, symbols
from graphc.scalar import function
from graphc.schedule.access import linear
from graphc.schedule.task import Place
from graphc.types import DType, bool_, int64

Places = Mapping[Place, tuple[DType, Dim]]


def verify(code: Code, places: Places) -> None:
    """Check the loops of a phase."""
    _Verifier(code, places).block(code.loop.body, Ranges.of(code))


class _Verifier:
    def __init__(self, code: Code, places: Places) -> None:
        self.code, self.places = code, places
        self.alone = code.loop.hi == Position(1)  # there is one chunk
        self.bound: dict[str, DType] = {"chunk": int64, "worker": int64} | {
            name: int64 for name, what in code.words if name[0] in "nf" and not isinstance(what, Place)
        }
        self.dtypes: dict[str, DType] = dict(self.bound)  # of every name of the phase, in scope or not
        self.bases: dict[str, Place] = {}  # what names hold addresses of
        self.storages: dict[tuple[int, Place | int], Place | int] = {}  # by nest and place, and the other way round
        self.moved: set[str] = set()  # addresses that differ from chunk to chunk
        self.words = {what for _, what in code.words}
        self.statement: Stmt = code.loop

    def fault(self, what: str) -> AssertionError:
        return AssertionError(f"{what}, in the loops of a phase:\n{print_statement(self.code, self.statement)}")

    # names

    def block(self, body: tuple[Stmt, ...], ranges: Ranges) -> set[str]:
        """Check statements in a scope of their own; the names that it has bound."""
        mine: set[str] = set()
        for s in body:
            self.statement = s
            mine |= self.check(s, ranges)
        for name in mine:
            del self.bound[name]
        return mine

    def bind(self, var: Var, dtype: DType) -> set[str]:
        if var.name in self.bound:
            raise self.fault(f"{var.name} is bound twice")
        if self.dtypes.setdefault(var.name, var.dtype) != var.dtype or dtype != var.dtype:
            raise self.fault(f"{var.name} is {var.dtype} here, {self.dtypes[var.name]} elsewhere, and is given {dtype}")
        self.bound[var.name] = var.dtype
        return {var.name}

    def read(self, name: str) -> DType:
        if name not in self.bound:
            raise self.fault(f"{name} is read and not bound")
        return self.bound[name]

    def integers(self, p: Dim) -> None:
        """Check that the integers in a dimension are bound."""
        for name in symbols(p):
            if not name.startswith("%"):
                if symbol(name) not in self.words:
                    raise self.fault(f"no word of the row holds {name}")
            else:
                plain = f"i{name[1:]}" if name[1:].isdigit() else name[1:]
                if self.read(plain) != int64:
                    raise self.fault(f"{plain} is {self.bound[plain]} and stands in an index")

    # statements

    def check(self, s: Stmt, ranges: Ranges) -> set[str]:
        match s:
            case Let(var, value):
                bound = self.bind(var, self.expr(value, ranges))
                if isinstance(value, Call) and value.args[-1] in (Position(0), Position(1)) and var.name == "hi":
                    self.alone = True
                if isinstance(value, Address):
                    self.bases[var.name] = self.base(value)
                    self.moved |= {var.name} if self.moves(value, ranges) else set()
                if var.dtype == int64:
                    ranges.bind(var, value)
                return bound
            case Set(var, value):
                dtype = self.expr(value, ranges)
                ranges.known.pop(symbol_of(var.name), None)
                if var.name not in self.bound:
                    return self.bind(var, dtype)
                if dtype != var.dtype or self.bound[var.name] != var.dtype:
                    raise self.fault(f"{var.name} is {self.bound[var.name]} and is given {dtype}")
            case Store():
                self.store(s, ranges)
            case Use():
                return self.use(s, ranges)
            case If():
                return self.choice(s, ranges)
            case For():
                self.loop(s, ranges)
        return set()

    def choice(self, s: If, ranges: Ranges) -> set[str]:
        """A name that both branches bind is bound from here on."""
        if self.expr(s.test, ranges) != bool_:
            raise self.fault("a condition is no truth value")
        yes = self.block(s.yes, ranges.under(s.test))
        no = self.block(s.no, ranges.otherwise())
        both = yes & no
        self.bound |= {name: self.dtypes[name] for name in both}
        return both

    def loop(self, s: For, ranges: Ranges) -> None:
        for bound in (s.lo, s.hi):
            if self.expr(bound, ranges) != int64:
                raise self.fault(f"a bound of the loop over {s.var} is no integer")
        if s.step < 1 or s.mode != "serial":
            raise self.fault(f"the loop over {s.var} has step {s.step} and mode {s.mode}")
        name = self.bind(Var(s.var, int64), int64)
        self.block(s.body, ranges.inside(s))
        for n in name:
            del self.bound[n]

    def store(self, s: Store, ranges: Ranges) -> None:
        dtype = self.expr(s.value, ranges)
        self.scoped(s.place, s.nest, s.storage)
        self.access(s.place, dtype, s.at, ranges)
        if self.is_shared(s.place, ranges) and not self.differs(s.at, ranges):
            raise self.fault(f"every chunk writes the same elements of {s.place}")

    def is_shared(self, place: Place, ranges: Ranges) -> bool:
        """Whether several chunks may write to a place, as far as is known."""
        return ranges.runs and not self.alone and place.kind != "stack" and self.places[place][1] != 0

    def differs(self, at: Dim, ranges: Ranges) -> bool:
        """Whether an index may differ from chunk to chunk."""
        return bool(symbols(at) & ranges.chunked)

    def use(self, s: Use, ranges: Ranges) -> set[str]:
        if s.kernel == OWN:
            return self.own(s, ranges)
        kernel = KERNELS.get(s.kernel)
        if kernel is None or len(s.args) != kernel.args:
            raise self.fault(f"{s.kernel} does not take {len(s.args)} arguments")
        for k, e in enumerate(s.args):
            addressed = k in (*kernel.reads, *kernel.writes)
            if isinstance(e, Address) != addressed or self.expr(e, ranges) != int64:
                raise self.fault(f"argument {k} of {s.kernel} is not what it takes")
            if addressed:
                self.view(s, e, k in kernel.writes, int64 if k in kernel.wide else s.dtype, ranges)
        if s.own is not None:
            self.apart(s, *s.own)
        given = {"": None, "element": s.dtype, "integer": int64}[kernel.gives]
        if (given is None) != (s.result is None):
            raise self.fault(f"{s.kernel} gives {given}")
        if s.result is None or given is None:
            return set()
        ranges.give(s)
        return self.bind(s.result, given)

    def own(self, s: Use, ranges: Ranges) -> set[str]:
        given = [self.expr(e, ranges) for e in s.args]
        if given[:2] != [int64, int64] or s.result is None or s.dtype is None:
            raise self.fault("a function of the user's takes a status and an iteration, and gives an element")
        return self.bind(s.result, s.dtype)

    def view(self, s: Use, e: Expr, writes: bool, dtype: DType | None, ranges: Ranges) -> None:
        assert isinstance(e, Address)
        place = self.base(e)
        if writes and self.is_shared(place, ranges) and not self.moves(e, ranges) and Position(0) not in s.args[:3]:
            raise self.fault(f"every chunk writes the same elements of {place}")
        if dtype is not None and place.kind != "stack" and self.places[place][0].size != dtype.size:
            raise self.fault(f"{place} holds {self.places[place][0]}, and {s.kernel} takes {dtype}")

    def moves(self, e: Address, ranges: Ranges) -> bool:
        """Whether an address may differ from chunk to chunk."""
        return e.base in self.moved or any(self.differs(term, ranges) for term in e.terms)

    # expressions

    def base(self, e: Address) -> Place:
        if isinstance(e.base, Place):
            return self.known(e.base)
        if e.base not in self.bases:
            raise self.fault(f"{e.base} holds no address")
        return self.bases[e.base]

    def expr(self, e: Expr, ranges: Ranges) -> DType:
        match e:
            case Const():
                return e.dtype
            case Var(name, dtype):
                if self.read(name) != dtype:
                    raise self.fault(f"{name} is {self.bound[name]}, and is read as {dtype}")
                return dtype
            case Position(at):
                self.integers(at)
                return int64
            case Address(base, terms):
                if isinstance(base, str):
                    self.read(base)
                for term in terms:
                    self.integers(term)
                self.base(e)
                return int64
            case Load():
                self.access(e.place, e.dtype, e.at, ranges, is_positive(e.some))
                self.scoped(e.place, e.nest, e.storage)
                return e.dtype
            case Call():
                return self.call(e, ranges)

    def call(self, e: Call, ranges: Ranges) -> DType:
        """The dtype of a call, from the signature of its function and its operands."""
        given = [self.expr(a, ranges) for a in e.args]
        known = function(e.function, len(e.args) if e.function not in ("and", "or") else 2)
        if known is None:
            raise self.fault(f"{e.function} does not take {len(e.args)} operands")
        takes = known.takes if e.function not in ("and", "or") else "b" * len(given)
        same = {dtype for dtype, letter in zip(given, takes, strict=True) if letter == "x"}
        flags = all(dtype == bool_ for dtype, letter in zip(given, takes, strict=True) if letter == "b")
        if len(same) > 1 or not flags:
            raise self.fault(f"{e.function} of {', '.join(map(str, given))}")
        gives = {"x": next(iter(same), bool_), "b": bool_}.get(known.gives) or CODES[e.function.removeprefix("to_")]
        if gives != e.dtype:
            raise self.fault(f"{e.function} gives {gives}, not {e.dtype}")
        return gives

    # memory

    def scoped(self, place: Place, nest: int, storage: int) -> None:
        """Check that in a nest each place has one storage, of its own: LLVM is told that two never overlap."""
        known = (
            self.storages.setdefault((nest, place), storage),
            self.storages.setdefault((nest, storage), place),
        )
        if known != (storage, place):
            raise self.fault(f"in nest {nest}, {place} is storage {storage}, and {known[1]} is storage {known[0]}")

    def apart(self, s: Use, nest: int, storage: int) -> None:
        """Check that the first address of a kernel has this storage, and that loads and stores touch no other one."""
        own, *others = (self.base(e) for e in s.args if isinstance(e, Address))
        self.scoped(own, nest, storage)
        for place in others:
            if self.storages.setdefault((nest, place), ~storage) != ~storage:
                raise self.fault(f"nest {nest} loads or stores {place}, which {s.kernel} is to have for itself")

    def known(self, place: Place) -> Place:
        if place.kind != "stack" and place not in self.words:
            raise self.fault(f"no word of the row holds the address of {place}")
        return place

    def access(self, place: Place, dtype: DType, at: Dim, ranges: Ranges, some: bool = True) -> None:
        """Check dtype and bounds of one element."""
        self.integers(at)
        if self.known(place).kind == "stack":
            return
        holds, count = self.places[place]
        fits = holds.size == dtype.size if place.kind == "buffer" else holds == dtype  # buffers are written over
        if not fits:
            raise self.fault(f"{place} holds {holds}, and an element is {dtype}")
        if some and self.is_outside(at, count, ranges):
            raise self.fault(f"element {at} lies outside of {place}, which has {count}")

    def is_outside(self, at: Dim, count: Dim, ranges: Ranges) -> bool:
        """Whether some element is surely outside, if the loops run at all."""
        steps = linear(at)
        if steps is None or not set(steps) - {""} - set(ranges.words) <= ranges.met:
            return False
        found = ranges.extremes(at)
        if found is None or not ranges.runs:
            return False
        return is_positive(-found[0]) or is_positive(found[1] - count + 1)
