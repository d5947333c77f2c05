"""Long cumulative sums in blocks, which threads share out: totals of blocks, what is before each, the blocks.

In: a scan.  Out: three phases.  An addition waits for the one before it; those of several blocks wait for nobody.  What
is before a block is added up in the order of blocks, and an element is added to it in the order of elements.  Products
have one phase: a block's may leave the range of floats where what is before it would have kept it within.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphc.codegen.intrinsics.target import LINE, host_vector_bytes
from graphc.codegen.loop_ir import Call, Expr, Let, Position, Set, Var
from graphc.codegen.scope import Branch, Scope, close
from graphc.codegen.text import HI, LO, integer, test
from graphc.codegen.views import Axis
from graphc.dims import Dim, blocks, dim_min, floor_div, product, symbol
from graphc.schedule.task import Place

if TYPE_CHECKING:
    from graphc.codegen.scan import Scan

BLOCK = 1040  # elements: no multiple of a page, so that blocks side by side lie in different sets of a cache
FEWEST = {4: 32, 8: 8}  # blocks, by the bytes of an element
_ROWS = 16  # from which rows are enough for all threads
_LANES = 16  # sums of a block that do not wait for one another
_TOTALS = 16  # blocks of a chunk
_AHEAD = 16_384  # bytes
_AT = symbol("%b")
State = Mapping[str, Expr]


def goes_by_blocks(scan: Scan) -> bool:
    """Whether there are few rows, evenly apart, each of which may be so long that blocks are faster."""
    rows, size = product(axis.size for axis in scan.batch), scan.scanned.size
    few = isinstance(rows, int) and 0 < rows < _ROWS and len(scan.batch) < 2 and scan.lanes is None
    sums_of_floats = scan.kind == "sum" and scan.result.dtype.is_float  # integers are added one a cycle
    return few and sums_of_floats and not (isinstance(size, int) and size < least(scan))


def least(scan: Scan) -> int:
    """Elements of a row; one of fewer is one block."""
    return FEWEST[scan.result.dtype.size] * BLOCK


class InBlocks:
    """The phases of one scan."""

    def __init__(self, scan: Scan) -> None:
        self.scan, self.text = scan, scan.text
        size = scan.scanned.size
        self.is_cut = dim_min(floor_div(size, least(scan)), 1)  # 0 where there is one block alone
        self.whole = floor_div(size, BLOCK) * self.is_cut
        self.rows = product(axis.size for axis in scan.batch)
        self.row: Dim = symbol("%r") if scan.batch else 0
        shape = self.rows, self.whole + 1
        self.places = {what: self.text.scratch(scan.dtype, shape) for what in scan.state}

    def emit(self) -> None:
        """Print the phases."""
        flops, nbytes = self.scan.work()
        read = self.rows * self.scan.scanned.size * self.scan.operands[0].dtype.size
        title, some = self.scan.title, self._blocks_of_chunk()
        with self.text.phase(f"{title}: totals", blocks(self.whole, _TOTALS), flops, read) as top:
            self._totals(top)
        with self.text.phase(f"{title}: before blocks", 1, self.rows * self.whole) as top:
            self._before(top)
        with self.text.phase(title, blocks(self.whole + 1, some), flops, nbytes) as top:
            self._each(top, some)

    def _at(self, block: Dim) -> Dim:
        return self.row * (self.whole + 1) + block

    def _loop_over_rows(self, scope: Scope) -> list[Scope]:
        """The scope, and the loop over rows if there are several."""
        return [scope, *([self.text.loop(scope, "r", self.rows)] if self.scan.batch else [])]

    def _where(self, k: Dim) -> list[tuple[Dim, Axis]]:
        """An element of a row."""
        return [*((self.row, axis) for axis in self.scan.batch), self.scan.element(k)]

    def _load(self, scope: Scope, k: Dim) -> Expr:
        view = self.scan.operands[0]
        value = self.text.load(view.place, view.dtype, self.scan.position(0, self._where(k)))
        return scope.let(self.text.fresh(), self.scan.as_dtype(value, self.scan.dtype))

    def _joined(self, scope: Scope, state: State, x: Expr, less: Expr | None = None) -> State:
        """The state after one number more, of which `less` is to be taken away."""
        after = dict[str, Expr](self.scan.joined(scope, state, x))
        if less is not None:
            after["more"] = scope.let(self.text.fresh(), Call("+", (after["more"], less), self.scan.dtype))
        return after

    def _begin(self, scope: Scope, state: State | None = None) -> dict[str, Var]:
        """A state in variables."""
        name = self.text.fresh("a")
        found = {what: Var(name if what == "sum" else f"{name}_{what}", self.scan.dtype) for what in self.scan.state}
        for what, var in found.items():
            scope.add(Let(var, self.scan.initial(what) if state is None else state[what]))
        return found

    def _set(self, scope: Scope, state: dict[str, Var], new: State) -> None:
        scope.add(*(Set(state[what], value) for what, value in new.items()))

    def _loaded(self, scope: Scope, at: Dim, places: dict[str, Place]) -> State:
        return {
            what: scope.let(self.text.fresh(), self.text.load(place, self.scan.dtype, at))
            for what, place in places.items()
        }

    def _stored(self, scope: Scope, at: Dim, state: State, places: dict[str, Place]) -> None:
        scope.add(*(self.text.store(places[what], at, value) for what, value in state.items()))

    def _totals(self, top: Scope) -> None:
        """What the elements of each whole block come to: some sums side by side, which are added up at the end."""
        text, lane = self.text, symbol("%i")
        text.new_nest()
        text.cut(top, _TOTALS, text.end(self.whole))
        around = self._loop_over_rows(text.loop(top, "b", HI, LO))
        row = around[-1]
        sums = {what: Place("stack", k) for k, what in enumerate(self.places)}
        first = text.loop(row, "i", _LANES)
        self._stored(first, lane, {what: self.scan.initial(what) for what in sums}, sums)
        first.close()
        along = text.loop(row, "k", BLOCK, 0, _LANES)
        self._fetch_ahead(along)
        lanes = text.loop(along, "i", _LANES)
        x = self._load(lanes, _AT * BLOCK + symbol("%k") + lane)
        self._stored(lanes, lane, self._joined(lanes, self._loaded(lanes, lane, sums), x), sums)
        close(along, lanes)
        total = self._begin(row)
        last = text.loop(row, "i", _LANES)
        part = self._loaded(last, lane, sums)
        self._set(last, total, self._joined(last, dict(total), part["sum"], part.get("more")))
        last.close()
        self._stored(row, self._at(_AT), dict(total), self.places)
        close(*around)

    def _fetch_ahead(self, along: Scope) -> None:
        """Ask for what comes later, if it is contiguous: while a block is added up, the next ones are not foreseen."""
        view, scan = self.scan.operands[0], self.scan
        if scan.scanned.steps[0] == 1 and not scan.task.job.backwards:
            at = scan.position(0, self._where(_AT * BLOCK + symbol("%k"))) * view.dtype.size + _AHEAD
            lines = -(-_LANES * view.dtype.size // LINE)
            along.use("fetch_lines", self.text.address(view.place, at), tile=(lines,))

    def _before(self, top: Scope) -> None:
        """Instead of each total what is before the block; where it leaves the range of floats, elements are added."""
        text = self.text
        text.new_nest()
        around = self._loop_over_rows(top)
        row = around[-1]
        state = self._begin(row)
        block = text.loop(row, "b", text.end(self.whole))
        total = self._loaded(block, self._at(_AT), self.places)
        self._stored(block, self._at(_AT), dict(state), self.places)
        if "more" not in state:
            self._set(block, state, self._joined(block, dict(state), total["sum"]))
        else:
            finite = test("isfinite", total["sum"])
            yes, no = Branch(block, finite), Branch(block, test("not", finite))
            self._set(yes, state, self._joined(yes, dict(state), total["sum"], total["more"]))
            self._along(no, state, _AT * BLOCK, Position(_AT * BLOCK + BLOCK))
            close(yes, no)
        block.close()
        self._stored(row, self._at(self.whole), dict(state), self.places)
        close(*around[1:])

    def _along(self, scope: Scope, state: dict[str, Var], low: Dim, high: Expr) -> None:
        """Add elements one by one."""
        loop = self.text.loop(scope, "k", high, low)
        self._set(loop, state, self._joined(loop, dict(state), self._load(loop, symbol("%k"))))
        loop.close()

    def _blocks_of_chunk(self) -> int:
        """As many as a kernel scans at a time, if it does."""
        dtype, scan = self.scan.result.dtype, self.scan
        alike = all(view.dtype == dtype for view in scan.operands)
        contiguous = scan.scanned.steps == (1, 1) and not scan.task.job.backwards
        self.abreast = host_vector_bytes() // dtype.size if alike and contiguous else 0
        return self.abreast or _TOTALS

    def _each(self, top: Scope, some: int) -> None:
        text = self.text
        text.new_nest()
        text.cut(top, some, text.end(self.whole + 1))
        around = self._loop_over_rows(top)
        row = rest = around[-1]
        branches: list[Scope] = []
        if self.abreast:
            is_whole = test("<", Position(LO + some), text.end(self.whole + 1))
            group = Branch(row, is_whole)
            self._group(group)
            rest = Branch(row, test("not", is_whole))
            branches = [group, rest]
        block = text.loop(rest, "b", HI, LO)
        size = self.scan.scanned.size
        end = _AT * BLOCK + BLOCK + (1 - self.is_cut) * size
        self._one(block, integer("least", text.at(end), text.at(size)))
        block.close()
        close(*around[1:], *branches)

    def _group(self, scope: Scope) -> None:
        """Blocks side by side, by a kernel."""
        text, scan, views = self.text, self.scan, list[Expr]()
        for number, view in enumerate(scan.task.views):
            size = view.dtype.size
            at = scan.position(number, self._where(LO * BLOCK))
            views += [text.address(view.place, at * size), Position(BLOCK * size)]
        before = [text.address(place, self._at(LO) * scan.dtype.size) for place in self.places.values()]
        scope.use("scan_sum_on", Position(BLOCK), *views, before[0], before[-1], dtype=scan.result.dtype)

    def _one(self, scope: Scope, end: Expr) -> None:
        """One block, element by element."""
        scan = self.scan
        state = self._begin(scope, self._loaded(scope, self._at(_AT), self.places))
        loop = self.text.loop(scope, "k", end, _AT * BLOCK)
        self._set(loop, state, scan.step(loop, dict(state), self._where(symbol("%k"))))
        loop.close()
