"""Scans: each element of the result from the one before it along an axis, and an element of every operand.

In: the task of a scan.  Out: one phase.  Where arrays step by one along another axis than the scanned one, a row of
accumulators moves along the scan, so that the inner loops are contiguous; arrays that step by one along the scan all
the same are turned over in tiles on the stack.  Else rows that are contiguous are scanned by a kernel, as many as a
vector has lanes; what is left is scanned by one scalar, row by row.  Sums of float32 are taken in float64; those of
float64 keep what rounding adds, element by element (Knuth's two-sum).  Integers are multiplied four at a time, before
what they are multiplied with is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen.evaluate import converted
from graphc.codegen.in_blocks import InBlocks, goes_by_blocks
from graphc.codegen.intrinsics.target import BLOCK, LINE, host_vector_bytes
from graphc.codegen.loop_ir import Address, Call, Expr, Let, Position, Set, Var
from graphc.codegen.scope import Branch, Loop, Scope, close
from graphc.codegen.text import HI, LO, Text, integer, test
from graphc.codegen.turned import STRIP
from graphc.codegen.views import Axis, ViewKernel, Where, evenly, of_chunk, up
from graphc.dims import Dim, blocks, floor_div, symbol
from graphc.schedule.task import Kernel, Place
from graphc.types import DType, float64

_FEW = 4  # lanes that are not worth a row
_LINE = 16  # lanes whose arrays lie apart: their lines of cache stay until all of each has been scanned
_PAGE = 4096  # bytes, beyond which the processor foresees nothing
_AHEAD = 16  # elements of the scanned axis
_TOGETHER = 4  # integers that are multiplied before what is before them is known
_INITIAL = {"sum": 0, "product": 1, "linear": 0}
State = Mapping[str, Expr]  # of a scan, by the names of its parts
K, TILE, STOP = symbol("%k"), symbol("%t"), symbol("%stop")  # along the scan; where a tile begins and ends


class Scan(ViewKernel):
    """A scan along one axis, with loops over the others."""

    def __init__(self, text: Text, task: Kernel) -> None:
        super().__init__(text, task)
        self.scanned = self.own()
        self.batch = self.axes(task.job.batch)
        self.width = self._lanes_abreast()
        self.lanes = self.batch.pop() if self.width else None
        *self.operands, self.result = task.views
        self.kind = str(self.member.op.state)
        sums = self.kind == "sum" and self.result.dtype.is_float
        self.dtype = float64 if sums else self.result.dtype  # of the state
        self.state = ["sum", "more"] if sums and self.result.dtype == float64 else ["sum"]
        self.abreast = self._rows_abreast()
        self.tiles = self._tiles() if self.width == _LINE else {}

    def _lanes_abreast(self) -> int:
        """How many of the last axis of the batch are scanned side by side: as many as arrays step by one along it."""
        if not self.batch or self._is_below(self.batch[-1].size, _FEW):
            return 0
        beside, along = (sum(step == 1 for step in axis.steps) for axis in (self.batch[-1], self.scanned))
        return BLOCK if beside > along else _LINE if beside == along else 0

    def _rows_abreast(self) -> int:
        """How many rows a kernel scans at a time; 0 if it does not."""
        dtype = self.result.dtype
        contiguous = self.scanned.steps == (1, 1) and not self.task.job.backwards
        if self.lanes is not None or not self.batch or not contiguous or dtype.size < 4:
            return 0
        rows, alike = host_vector_bytes() // dtype.size, all(view.dtype == dtype for view in self.operands)
        slow = dtype.is_float or dtype.size == 4  # int64 are added one a cycle, and multiplied four at a time
        return rows if slow and alike and not self._is_below(self.batch[-1].size, rows) else 0

    @staticmethod
    def _is_below(size: Dim, limit: int) -> bool:
        return isinstance(size, int) and size < limit

    def emit(self) -> None:
        """Print the phase: a chunk is some of the first axis around the scan, or a block of lanes."""
        if goes_by_blocks(self):
            InBlocks(self).emit()
            return
        axes = [*self.batch, *([self.lanes] if self.lanes else [])]
        size = of_chunk(*axes, self.scanned) if self.batch else self._lanes_of_chunk()
        if self.abreast and len(self.batch) == 1:
            size = -(-size // self.abreast) * self.abreast
        with self.text.phase(self.title, blocks(axes[0].size, size) if axes else 1, *self.work()) as top:
            self.text.new_nest()
            scopes, where = self.around(top, self.batch[:-1] if self.abreast else self.batch, size)
            if self.abreast:
                self._groups(top, scopes[-1], where, size)
            elif self.lanes is None:
                self._one(scopes[-1], where)
            elif self.batch:
                self._rows_of_lanes(scopes, where)
            else:
                self.text.cut(top, size, self.text.at(self.lanes.size))
                self._row(top, where, LO, HI)
            close(*scopes[1:])

    def _lanes_of_chunk(self) -> int:
        """Lanes that lie in a page: of more of them two threads have as many each."""
        if self.lanes is None or self.width == _LINE:
            return self.width or BLOCK
        size, lanes = max(view.dtype.size for view in self.task.views), self.lanes.size
        page = min(_PAGE // size, BLOCK)
        return up(evenly(lanes, page), LINE // size) if isinstance(lanes, int) else page

    def _rows_of_lanes(self, scopes: list[Scope], where: Where) -> None:
        assert self.lanes is not None
        size = self.lanes.size
        if self._is_below(size, self.width + 1):
            self._row(scopes[-1], where, 0, size)
            return
        scopes.append(self.text.loop(scopes[-1], "j", size, 0, self.width))
        end = integer("least", Position(symbol("%j") + self.width), self.text.at(size))
        scopes[-1].let("end", end)
        self._row(scopes[-1], where, symbol("%j"), symbol("%end"))

    # the loops along the scan

    def _along(self, scope: Scope) -> Loop:
        """The loop over the scanned axis, or a tile of it.

        LLVM does not know how long it is, or it would scan short rows abreast.
        """
        if self.tiles:
            return self.text.loop(scope, "k", STOP, TILE)
        return self.text.loop(scope, "k", self.text.end(self.scanned.size))

    def element(self, k: Dim = K) -> tuple[Dim, Axis]:
        """Where on the scanned axis it is."""
        return (self.scanned.size - 1 - k if self.task.job.backwards else k), self.scanned

    def _groups(self, top: Scope, scope: Scope, where: Where, size: int) -> None:
        """The rows along the last axis of the batch: as many as a vector has lanes, then those that are left."""
        text, axis, row = self.text, self.batch[-1], symbol("%g")
        bounds: tuple[Dim, Dim] = (0, axis.size)
        if len(self.batch) == 1:
            text.cut(top, size, text.at(axis.size))
            bounds = LO, HI
        loop = text.loop(scope, "g", bounds[1], bounds[0], self.abreast)
        is_whole = test("<", Position(row), text.at(bounds[1] - self.abreast + 1))
        group = Branch(loop, is_whole)
        views: list[Expr] = []
        for number, view in enumerate(self.task.views):
            at = self.position(number, [*where, (row, axis)])
            views += [text.address(view.place, at * view.dtype.size), text.at(axis.steps[number] * view.dtype.size)]
        group.use(f"scan_{self.kind}", text.at(self.scanned.size), *views, dtype=self.result.dtype)
        rest = Branch(loop, test("not", is_whole))
        single = text.loop(rest, "q", bounds[1], row)
        self._one(single, [*where, (symbol("%q"), axis)])
        group.close()
        close(loop, rest, single)

    def _one(self, scope: Scope, where: Where) -> None:
        name = self.text.fresh("a")
        state = {what: Var(name if what == "sum" else f"{name}_{what}", self.dtype) for what in self.state}
        for what, var in state.items():
            scope.add(Let(var, self.initial(what)))
        if self.kind == "product" and not self.dtype.is_float:
            self._one_of_integers(scope, state["sum"], where)
            return
        loop = self._along(scope)
        new = self.step(loop, state, [*where, self.element()])
        loop.add(*(Set(state[what], value) for what, value in new.items()))
        loop.close()

    def _one_of_integers(self, scope: Scope, state: Var, where: Where) -> None:
        """Some factors by themselves, then each product with the state, which waits for one of them only."""
        size, text, (view,) = self.scanned.size, self.text, self.operands
        whole = floor_div(size, _TOGETHER) * _TOGETHER
        for step, low, high in ((_TOGETHER, Position(0), whole), (1, text.end(whole), size)):
            loop = text.loop(scope, "k", text.end(high), low, step)
            factor: Expr | None = None
            for at in range(step):
                here = [*where, self.element(K + at)]
                x = loop.let(text.fresh(), text.load(view.place, view.dtype, self.position(0, here)))
                if factor is None:
                    factor = x
                else:  # LLVM would multiply with each part of it, one after the other
                    product = loop.let(text.fresh(), self._folded(factor, x))
                    factor = loop.let(text.fresh(), Call("apart", (product,), self.dtype))
                result = loop.let(text.fresh(), self._folded(state, factor))
                loop.add(text.store(self.result.place, self.position(1, here), result))
            loop.add(Set(state, result))
            loop.close()

    def _row(self, scope: Scope, where: Where, low: Dim, high: Dim) -> None:
        """Lanes from one to another, at most `width`: their accumulators lie on the stack."""
        assert self.lanes is not None
        text, at = self.text, symbol("%i") - low
        places = {what: Place("stack", k) for k, what in enumerate(self.state)}
        first = text.loop(scope, "i", high, low)
        first.add(*(text.store(place, at, self.initial(what)) for what, place in places.items()))
        first.close()
        around = self._begin_tile(scope, where, low, high)
        along = self._along(around)
        if self.width == _LINE:
            self._fetch_ahead(along, where, low)
        loop = text.loop(along, "i", high, low)
        state = {what: loop.let(text.fresh(), text.load(p, self.dtype, at)) for what, p in places.items()}
        here = [*where, self.element(), (symbol("%i"), self.lanes)]
        new = self.step(loop, state, here, at)
        loop.add(*(text.store(places[what], at, value) for what, value in new.items()))
        close(along, loop)
        self._end_tile(around, where, low, high)
        close(*([around] if self.tiles else []))

    def _tiles(self) -> dict[int, Place]:
        """Views that step by one along the scan and not along lanes, each with a block on the stack.

        That has a tile of it, turned over, so that lanes lie side by side.
        """
        assert self.lanes is not None
        steps = zip(self.task.views, self.scanned.steps, self.lanes.steps, strict=True)
        found = [n for n, (view, along, beside) in enumerate(steps) if along == 1 != beside and view.dtype.size >= 4]
        return {n: Place("stack", len(self.state) + k) for k, n in enumerate(found)}

    def _begin_tile(self, scope: Scope, where: Where, low: Dim, high: Dim) -> Scope:
        """The loop over tiles of the scanned axis: those of operands are turned over, and the next ones asked for.

        The scope itself if no view has tiles.
        """
        if not self.tiles:
            return scope
        text, later = self.text, -STRIP if self.task.job.backwards else STRIP
        loop = text.loop(scope, "t", text.end(self.scanned.size), 0, STRIP)
        loop.let("stop", integer("least", text.at(TILE + STRIP), text.end(self.scanned.size)))
        for number, tile in self.tiles.items():
            dtype, lanes = self.task.views[number].dtype, text.at(high - low)
            (ahead, step), (here, _) = (self._rows(number, where, low, at) for at in (later, 0))
            loop.use("fetch", ahead, step, lanes, Position(STRIP * dtype.size))
            if number < len(self.operands):
                source = text.at(STOP - TILE), lanes, here, step
                loop.use("turn", *source, text.address(tile), Position(_LINE * dtype.size), dtype=dtype)
        return loop

    def _rows(self, number: int, where: Where, low: Dim, later: Dim) -> tuple[Address, Position]:
        """Where in an array the tile begins, or one later on, and the step from a row of it to the next."""
        assert self.lanes is not None
        text, view = self.text, self.task.views[number]
        at = self.position(number, [*where, (self._first() + later, self.scanned), (low, self.lanes)])
        return text.address(view.place, at * view.dtype.size), text.at(self.lanes.steps[number] * view.dtype.size)

    def _first(self) -> Dim:
        """The first element of a tile along the axis."""
        return self.scanned.size - STOP if self.task.job.backwards else TILE

    def _end_tile(self, loop: Scope, where: Where, low: Dim, high: Dim) -> None:
        """Turn over the tile of the result, if it has one, and write its rows."""
        assert self.lanes is not None
        text, dtype, number = self.text, self.result.dtype, len(self.operands)
        if number not in self.tiles:
            return
        turned, lane, step = Place("stack", len(self.state) + len(self.tiles)), symbol("%i"), symbol("%r")
        tile = text.address(self.tiles[number]), Position(_LINE * dtype.size)
        rows = text.address(turned), Position(STRIP * dtype.size)
        loop.use("turn", text.at(high - low), text.at(STOP - TILE), *tile, *rows, dtype=dtype)
        lanes = text.loop(loop, "i", high, low)
        row = text.loop(lanes, "r", STOP - TILE)
        value = text.load(turned, dtype, (lane - low) * STRIP + step)
        at = self.position(number, [*where, (self._first() + step, self.scanned), (lane, self.lanes)])
        row.add(text.store(self.result.place, at, value))
        close(lanes, row)

    def _in_tile(self, lane: Dim) -> Dim:
        """The element of a tile of rows along lanes that the loops are at."""
        return (STOP - 1 - K if self.task.job.backwards else K - TILE) * _LINE + lane

    def _load(self, number: int, where: Where, lane: Dim) -> Expr:
        """An element of an operand, from its tile where it has one."""
        view, tile = self.operands[number], self.tiles.get(number)
        if tile is not None:
            return self.text.load(tile, view.dtype, self._in_tile(lane))
        return self.text.load(view.place, view.dtype, self.position(number, where))

    def _fetch_ahead(self, along: Scope, where: Where, low: Dim) -> None:
        """Ask for lanes that lie far apart, each in a page of its own, to be read or written."""
        assert self.lanes is not None
        for number, view in enumerate(self.task.views):
            if self.lanes.steps[number] == 1:
                at = self.position(number, [*where, self.element(K + _AHEAD), (low, self.lanes)])
                first = at * view.dtype.size
                lines = -(-_LINE * view.dtype.size // LINE)
                along.use("fetch_lines", self.text.address(view.place, first), tile=(lines,))
                along.use("fetch_lines", self.text.address(view.place, first + _LINE * view.dtype.size - 1), tile=(1,))

    def initial(self, what: str) -> Expr:
        """What nothing is scanned to: of sums of floats the zero that adds nothing."""
        zero = -0.0 if self.dtype.is_float and what == "sum" else 0  # 0 less of what rounding added keeps its sign
        return self.text.constant(_INITIAL[self.kind] or zero, self.dtype)

    def joined(self, scope: Scope, state: State, x: Expr) -> dict[str, Var]:
        """The state after one number more."""
        after = {"sum": scope.let(self.text.fresh(), self._folded(state["sum"], x))}
        if "more" in state:
            more = Call("-", (state["more"], Call("lost", (state["sum"], x), self.dtype)), self.dtype)
            after["more"] = scope.let(self.text.fresh(), more)
        return after

    def step(self, scope: Scope, state: State, where: Where, lane: Dim = 0) -> Mapping[str, Expr]:
        """Store an element of the result; the state after it."""
        loads = (self._load(n, where, lane) for n in range(len(self.operands)))
        *factors, x = [scope.let(self.text.fresh(), self.as_dtype(load, self.dtype)) for load in loads]
        before = state["sum"]
        if self.kind == "linear":
            result = scope.let(self.text.fresh(), Call("+", (before, x), self.dtype))
            after: Mapping[str, Expr] = {"sum": Call("*", (factors[0], result), self.dtype)}
        else:
            after = self.joined(scope, state, x)
            result = after["sum"]
        if "more" in after:
            result = scope.let(self.text.fresh(), Call("-", (result, after["more"]), self.dtype))
        number, stored = len(self.operands), self.as_dtype(result, self.result.dtype)
        if number in self.tiles:
            scope.add(self.text.store(self.tiles[number], self._in_tile(lane), stored))
        else:
            scope.add(self.text.store(self.result.place, self.position(number, where), stored))
        return after

    def _folded(self, before: Expr, x: Expr) -> Expr:
        wraps, floats = {"sum": ("plus", "+"), "product": ("times", "*")}[self.kind]
        return Call(floats if self.dtype.is_float else wraps, (before, x), self.dtype)

    @staticmethod
    def as_dtype(value: Expr, dtype: DType) -> Expr:
        return value if value.dtype == dtype else converted(value, dtype)
