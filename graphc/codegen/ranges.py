"""Between which values the integers of a phase lie, as far as the algebra of dimensions can tell.

In: the statements on the way to an index.  Out: the least and the greatest value of the index, without loop variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.codegen.intrinsics.target import LINE
from graphc.codegen.loop_ir import CHECKED, Call, Code, Expr, For, Position, Use, Var
from graphc.codegen.program import WORKERS
from graphc.dims import Dim, dim_max, dim_min, is_nonnegative, substitute, symbol
from graphc.schedule.access import linear
from graphc.schedule.task import Place

Range = tuple[Dim, Dim]  # least and greatest value


@dataclass
class Ranges:
    """What is known at one point of a phase; a copy is what is known inside a loop or a branch."""

    known: dict[str, Range | None]  # by symbol
    words: dict[str, Dim]
    blocks: dict[str, Range] = field(default_factory=dict)  # variables of loops over a block: its start, its last step
    met: set[str] = field(default_factory=set)  # symbols that take every value of their range
    chunked: set[str] = field(default_factory=set)  # symbols whose values differ from chunk to chunk
    runs: bool = True  # False in a branch, and in a loop that is surely empty

    @classmethod
    def of(cls, code: Code) -> Ranges:
        words = {f"%{name}": what for name, what in code.words if not isinstance(what, Place) and name[0] == "n"}
        ranges = cls({}, words).inside(code.loop)
        ranges.known["%worker"] = 0, 0 if code.loop.hi == Position(1) else WORKERS - 1
        ranges.chunked.add("%worker")
        return ranges

    def otherwise(self) -> Ranges:
        """What is known where a condition does not hold."""
        ranges = self.copy()
        ranges.runs = False
        return ranges

    def copy(self) -> Ranges:
        return Ranges(dict(self.known), self.words, dict(self.blocks), set(self.met), set(self.chunked), self.runs)

    def inside(self, loop: For) -> Ranges:
        """What is known in the body of a loop."""
        ranges, name = self.copy(), symbol_of(loop.var)
        lo, hi = self.of_expr(loop.lo), self.of_expr(loop.hi)
        ranges.known[name] = None if lo is None or hi is None else (lo[0], hi[1] - 1)
        every = loop.step == 1 and loop.mode == "serial" and self._is_met(loop.lo) and self._is_met(loop.hi)
        ranges.met = ranges.met | {name} if every else ranges.met - {name}
        differs = loop.mode == "chunks" or self.depends_on_chunk(loop.lo)
        ranges.chunked = ranges.chunked | {name} if differs else ranges.chunked - {name}
        of_nothing = hi is not None and is_nonnegative(-hi[1])  # no loop begins below 0
        ranges.runs = self.runs and not of_nothing and not _is_empty(ranges.known[name])
        ranges.blocks.pop(name, None)
        match loop.hi:
            case Call("least", (Position(at), _)) if isinstance(loop.lo, Position) and isinstance(at - loop.lo.at, int):
                ranges.blocks[name] = loop.lo.at, at - loop.lo.at - 1
        return ranges

    def _is_met(self, e: Expr) -> bool:
        """Whether the bound of a loop leaves out no value of its range."""
        match e:
            case Position(at):
                return set(linear(at) or {"?": 0}) - {"", "%lo", "%hi"} <= self.met | set(self.words)
            case Call("least", (_, Position() as end)):
                return self._is_met(end)
        return False

    def bind(self, var: Var, value: Expr) -> None:
        """Know the value of a name from here on."""
        name = symbol_of(var.name)
        self.known[name] = self.of_expr(value)
        if isinstance(value, Call) and value.function == "least" and value.args[-1] == Position(0):
            self.known[name] = 0, 0  # where a part of nothing ends
        if self.depends_on_chunk(value):
            self.chunked.add(name)

    def give(self, s: Use) -> None:
        """Know what a kernel gives, from here on."""
        if s.result is not None and s.kernel in (*CHECKED, "on_axis"):
            size = s.args[1 if s.kernel == "on_axis" else 2]
            if isinstance(size, Position):
                self.known[symbol_of(s.result.name)] = 0, size.at - 1
        if s.result is not None and s.kernel == "into_line" and s.dtype is not None:
            self.known[symbol_of(s.result.name)] = 0, LINE // s.dtype.size - 1

    def depends_on_chunk(self, e: Expr) -> bool:
        match e:
            case Position(at):
                return bool(set(linear(at) or {"%chunk": 1}) & self.chunked)
            case Call(_, args):
                return any(map(self.depends_on_chunk, args))
        return False

    def of_expr(self, e: Expr) -> Range | None:
        match e:
            case Position(at):
                return self.extremes(at)
            case Call("*", (Position(x), Position(y))):
                return self.extremes(x * y)
            case Call(function, (x, y)):
                return _combined(function, self.of_expr(x), self.of_expr(y))
        return None

    def extremes(self, p: Dim) -> Range | None:
        """The least and the greatest value of an index; None if that is not known."""
        p = substitute(p, self.words)
        for name, (start, last) in self.blocks.items():  # first from the start of the block, if that falls out
            inner = substitute(p, {name: start + symbol(name)})
            if not set(linear(start) or ()) - {""} & set(linear(inner) or {"": 0}):
                within = Ranges(self.known | {name: (0, last)}, {})
                if inner != p:
                    return within.extremes(inner)
        steps = linear(p)
        if steps is None:
            return None
        least = greatest = steps.pop("")
        for name, step in steps.items():
            found = self.known.get(name)
            up, down = is_nonnegative(step), is_nonnegative(-step)
            if found is None or not (up or down):
                return None
            low, high = found if up else found[::-1]
            least, greatest = least + step * low, greatest + step * high
        return least, greatest

    def under(self, test: Expr) -> Ranges:
        """What is known where the test holds."""
        ranges = self.otherwise()
        for part in test.args if isinstance(test, Call) and test.function == "and" else (test,):
            match part:
                case Call(">=" | "<" as relation, (Position(at), Position(bound))):
                    ranges.narrow(at, bound, relation)
        return ranges

    def narrow(self, at: Dim, bound: Dim, relation: str) -> None:
        """Know that at >= bound or at < bound, where `at` has one variable, with step 1 or -1."""
        steps = linear(at)
        names = [name for name in steps or {} if name]
        if steps is None or len(names) != 1 or steps[names[0]] not in (1, -1):
            return
        name, step = names[0], steps[names[0]]
        low, high = self.known.get(name) or (None, None)
        if low is None or high is None:
            return
        rest = (bound - steps[""]) * step
        if (relation == ">=") == (step == 1):
            low = rest if step == 1 else rest + 1
        else:
            high = rest - 1 if step == 1 else rest
        self.known[name] = low, high


def _combined(function: str, x: Range | None, y: Range | None) -> Range | None:
    if x is None or y is None:
        return None
    match function:
        case "least":
            return dim_min(x[0], y[0]), y[1] if not is_nonnegative(y[1] - x[1]) else x[1]
        case "most":
            return dim_max(x[0], y[0]), dim_max(x[1], y[1])
        case "+":
            return x[0] + y[0], x[1] + y[1]
        case "-":
            return x[0] - y[1], x[1] - y[0]
    return None


def _is_empty(found: Range | None) -> bool:
    return found is not None and is_nonnegative(found[0] - found[1] - 1)


def symbol_of(name: str) -> str:
    """The symbol that stands for an integer in dimensions."""
    return f"%{name[1:]}" if name[0] == "i" and name[1:].isdigit() else f"%{name}"
