"""The loop IR: what is printed of it, what the verifier and the interpreter find in loops that are wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden_programs import PROGRAMS

import graphc as gc
from graphc.codegen.footprint import footprint
from graphc.codegen.intrinsics import memory
from graphc.codegen.loop_ir import (
    Address,
    Call,
    Code,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    LoopProgram,
    Position,
    Set,
    Stmt,
    Store,
    Use,
    Var,
)
from graphc.codegen.printer import print_code
from graphc.codegen.program import Buffer, Phase, Program, Slot
from graphc.codegen.verify import verify
from graphc.debug.interpreter import UNTOLD, Interpreter
from graphc.dims import Dim, symbol
from graphc.graph import make
from graphc.op import Family, Op, register
from graphc.ops.rules import elementwise
from graphc.scalar import FUNCTIONS, cost, is_dear, parse
from graphc.schedule.task import Place
from graphc.tree import flatten
from graphc.types import FLOATS, DType, bool_, float32, float64, int64

X, Y, B, R = Place("input", 0), Place("output", 0), Place("buffer", 0), Place("stack", 0)
AT, J, N, CHUNK = symbol("%i"), symbol("%j"), symbol("n"), symbol("%chunk")
ZERO, ONE = Position(0), Const(np.float64(1.0), float64)
T1, T2 = Var("t1", float64), Var("t2", float64)
a, b = Var("a", int64), Var("t9", bool_)
PLACES: dict[Place, tuple[DType, Dim]] = {X: (float64, N), Y: (float64, N), B: (float64, 5)}


def load(at: Dim = AT, place: Place = X, dtype: DType = float64, storage: int = 0) -> Load:
    return Load(place, at, dtype, 1, storage)


def store(value: Expr, at: Dim = AT, place: Place = Y) -> Store:
    return Store(place, at, value, 1, 1)


def loop(*body: Stmt, hi: Dim = N, lo: Dim = 0, var: str = "i", step: int = 1) -> For:
    return For(var, Position(lo), Position(hi), step, body)


def code(*body: Stmt, chunks: Dim = 1) -> Code:
    words = (("d0", N), ("p1", X), ("p2", Y), ("p3", B), ("n4", 3), ("f5", 1))
    return Code(For("chunk", ZERO, Position(chunks), 1, body, "chunks"), words, (ONE,))


def lines(*body: Stmt) -> list[str]:
    text = print_code(code(*body)).split("\n")
    return [line.removeprefix("    ") for line in text[text.index("    f5 = word(s, 5)") + 1 : -1]]


# the printer


def test_statements_are_printed() -> None:
    total = Call("+", (T1, Call("*", (T2, ONE), float64)), float64)
    test = Call("and", (Call("<", (Position(AT), Position(N)), bool_), Call("not", (Var("q", bool_),), bool_)), bool_)
    assert lines(
        Let(T1, load(2 * AT + 3)),
        If(test, (Set(T1, ONE),), (If(test, (Set(T1, T2),), (Set(T1, total),)),)),
        loop(),
        loop(store(Call("-", (T1,), float64)), hi=8, lo=2, step=2),
        Use("sum", (Address(X, (AT * 8,)), Position(4)), float64, result=T2),
        Let(a, Address(Y, (symbol("%n4"),))),
        Use("pack", (*map(Position, (5, 6)), Address("a", (AT * 8, J * 4)), ZERO, ZERO, Address(B)), float32, (4,)),
        Use("checked", (Var("f5", int64), T1, Position(N), Position(0)), result=Var("t3", int64)),
    ) == [
        "t1 = ld_f8_1_0(p1, i*2 + n4)",
        "if i < d0 and not q:",
        "    t1 = c1_f8",
        "elif i < d0 and not q:",
        "    t1 = t2",
        "else:",
        "    t1 = t1 + (t2 * c1_f8)",
        "for i in range(d0):",
        "    pass",
        "for i in range(2, 8, 2):",
        "    st_f8_1_1(p2, i, -t1)",
        "t2 = sum_f8(p1 + i*8, 4)",
        "a = p2 + n4",
        "pack_f4_4(5, 6, a + i*8 + j*4, 0, 0, p3)",
        "t3 = checked(T, chunk, f5, t1, d0, 0)",
    ]


def test_a_load_along_an_empty_axis_reads_the_frame() -> None:
    (line,) = lines(Let(T1, Load(X, AT, float64, 1, 0, some=N)))
    assert line == "t1 = ld_f8_1_0(select(d0 > 0, p1, T), select(d0 > 0, i, 0))"


def test_equal_loops_are_equal() -> None:
    assert loop(store(load())) == loop(store(load()))
    assert loop(store(load())) != loop(store(load(AT + 1)))


# the verifier


def test_the_verifier_takes_what_is_right() -> None:
    guarded = If(Call(">=", (Position(AT - 1), ZERO), bool_), (Set(T2, load(AT - 1)),), (Set(T2, ONE),))
    verify(code(loop(Let(T1, load()), guarded, store(Call("+", (T1, T2), float64)))), PLACES)
    verify(code(loop(store(load(N - 1 - AT)))), PLACES)
    verify(code(loop(store(ONE, at=CHUNK * 5 + AT, place=B), hi=5), chunks=N), PLACES | {B: (float64, N * 5)})


SUM = Use("sum", (Address(X), ZERO), float32, (), Var("t1", float32))
IS_LESS = Call("<", (ONE, ONE), bool_)
ONES = map(Position, (1, 1, 1))
TAIL = Use("micro", (*ONES, Address(X), ZERO, ZERO, *[Address(X), ZERO] * 2, ZERO), float64, (1, 4, 6))
DOTS = Use("dots", (*map(Position, (5, 1, 1)), *[Address(X), ZERO] * 3, ZERO), float64, (4, 4))
PANEL = Use("pack_rows", (*map(Position, (1, 1)), Address(X), *map(Position, (8, 16)), Address(B)), float64, (4,))
KEEP = Use("store_or_keep", (Address(Place("stack", 1)), Address(Y), Address(B), ZERO), float64, (8,), own=(1, 3))
WRONG: dict[str, tuple[str, tuple[Stmt, ...]]] = {
    "unbound": ("t1 is read and not bound", (loop(store(T1)),)),
    "out of scope": ("t1 is read and not bound", (loop(Let(T1, load())), loop(store(T1)))),
    "bound in one branch": ("t1 is read", (If(Call("<", (ZERO, ZERO), bool_), (Set(T1, ONE),)), store(T1, 0))),
    "loop variable": ("i is read and not bound", (Let(T1, load(AT)),)),
    "twice": ("t1 is bound twice", (Let(T1, ONE), Let(T1, ONE))),
    "shadowed": ("i is bound twice", (loop(loop()),)),
    "two dtypes": ("t1 is float32 here, float64 elsewhere", (loop(Let(T1, ONE)), Let(Var("t1", float32), ONE))),
    "let": ("is given float64", (Let(Var("t1", float32), ONE),)),
    "set": ("t1 is float64 and is given bool", (Let(T1, ONE), Set(T1, Call("<", (T1, T1), bool_)))),
    "load": ("input 0 holds float64, and an element is float32", (Let(Var("t1", float32), load(0, X, float32)),)),
    "store": ("output 0 holds float64, and an element is int64", (loop(store(Position(AT))),)),
    "operands": ("+ of float64, int64", (Let(T1, Call("+", (ONE, ZERO), float64)),)),
    "result": ("< gives bool, not float64", (Let(T1, Call("<", (ONE, ONE), float64)),)),
    "function": ("sine does not take 1 operands", (Let(T1, Call("sine", (ONE,), float64)),)),
    "condition": ("a condition is no truth value", (If(ONE, ()),)),
    "bound of a loop": ("a bound of the loop over i is no integer", (For("i", ONE, ZERO, 1, ()),)),
    "step": ("the loop over i has step 0", (loop(step=0),)),
    "behind": ("element %i + 1 lies outside of input 0", (loop(Let(T1, load(AT + 1))),)),
    "before": ("element %i - 1 lies outside of input 0", (loop(Let(T1, load(AT - 1))),)),
    "store behind": ("lies outside of buffer 0, which has 5", (loop(store(ONE, 2 * AT, B), hi=4),)),
    "one place, two storages": ("storage 2", (Let(T1, load(0)), Let(T2, load(0, storage=2)))),
    "one storage, two places": ("is storage 0", (Let(T1, load(0)), Let(T2, load(0, B)))),
    "word": ("no word of the row holds m", (loop(hi=symbol("m")),)),
    "place": ("no word of the row holds the address of buffer 7", (Let(T1, load(0, Place("buffer", 7))),)),
    "kernel": ("sum does not take 1 arguments", (Use("sum", (ZERO,), float64, result=T1),)),
    "address": ("argument 0 of sum is not what it takes", (Use("sum", (ZERO, ZERO), float64, result=T1),)),
    "view": ("input 0 holds float64, and sum takes float32", (SUM,)),
    "no result": ("sum gives float64", (Use("sum", (Address(X), ZERO), float64),)),
    "base": ("q holds no address", (Let(a, ZERO), Let(Var("q", int64), ZERO), Use("clear", (Address("q"), ZERO)))),
    "not its own": ("loads or stores output 0, which store_or_keep is to have", (loop(store(ONE)), KEEP)),
    "no longer its own": ("output 0 is storage 1", (KEEP, loop(store(ONE)))),
    "an index": ("t9 is bool and stands in an index", (Let(b, IS_LESS), Let(T1, load(symbol("%t9"))))),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_the_verifier_finds(name: str) -> None:
    message, body = WRONG[name]
    with pytest.raises(AssertionError, match=re.escape(message)):
        verify(code(*body), PLACES)


def test_the_verifier_finds_chunks_that_write_the_same() -> None:
    verify(code(loop(store(ONE))), PLACES)
    with pytest.raises(AssertionError, match="every chunk writes the same elements of output 0"):
        verify(code(loop(store(ONE)), chunks=N), PLACES)
    with pytest.raises(AssertionError, match="every chunk writes the same elements of buffer 0"):
        verify(code(Use("clear", (Address(B), Position(8))), chunks=N), PLACES)


def test_a_fault_shows_the_statement() -> None:
    with pytest.raises(AssertionError, match=r"ld_f8_1_0\(p1, i \+ <1>\)"):
        verify(code(loop(Let(T1, load(AT + 1)))), PLACES)


# the interpreter


def ran(*body: Stmt, chunks: int = 1, life: tuple[int, int] = (0, 0), verified: bool = False) -> np.ndarray[Any, Any]:
    """The output of a program of one phase on x = [0, 1, 2]; a fault comes at run time even if it is provable."""
    program = Program(
        "f", (), ("n",), (Slot("x", float64, (N,)),), (Slot("y", float64, (N,)),), (), (), (), (),
        (Buffer(40, *life),), (), (Phase("one", chunks, 0, 0, 0, 0, ()),), (),
    )  # fmt: skip
    phases = (code(*body, chunks=chunks),)
    interpreter = Interpreter(program, LoopProgram((code(),), (("user.py:7: y = ...",),), PLACES))
    interpreter.phases = [type(interpreter.phases[0])(interpreter, phase) for phase in phases]
    return interpreter.run([np.arange(3.0)], [])[0]


WATCHED: dict[str, tuple[str, tuple[Stmt, ...]]] = {
    "behind": ("bounds", (store(load(3), 0),)),
    "before": ("bounds", (store(load(-1), 0),)),
    "store behind": ("bounds", (store(ONE, 3),)),
    "guard of a buffer": ("bounds", (store(ONE, 5, B),)),
    "guard before a buffer": ("bounds", (store(ONE, -1, B),)),
    "nobody wrote": ("unwritten", (store(load(0, B), 0),)),
    "an output is left": ("unwritten", (store(ONE, 0),)),
    "alias": ("alias", (store(ONE, 0), Let(T1, load(0, Y, float64, storage=2)))),
    "type": ("type", (store(ONE, 0), Let(Var("t1", int64), Load(Y, 0, int64, 2, 0)))),
    "alignment": ("alignment", (Use("sum", (Address(X, (4,)), Position(1)), float64, result=T1),)),
    "a block too long": ("bounds", (Use("sum", (Address(X), Position(4)), float64, result=T1),)),
    "a tile too high": ("tile", (DOTS,)),
    "a tail that is not whole": ("tile", (TAIL,)),
    "rows that are not contiguous": ("panel", (PANEL,)),
    "cleared too far": ("bounds", (Use("clear", (Address(B), Position(41))),)),
    "a block that is empty": ("unwritten", (Let(T1, load(0, R)),)),
    "a block of others": ("unwritten", (store(ONE, 0, R), Let(Var("t1", float32), load(0, R, float32, 1)))),
}  # fmt: skip


@pytest.mark.parametrize("name", WATCHED)
def test_the_interpreter_finds(name: str) -> None:
    kind, body = WATCHED[name]
    with pytest.raises(gc.DebugError) as caught:
        ran(*body)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "body",
    [
        (store(ONE, 0),),
        (store(ONE, CHUNK), Let(T1, load(0, Y, storage=1))),
    ],
    ids=["two chunks write", "one reads what another writes"],
)
def test_the_interpreter_finds_races(body: tuple[Stmt, ...]) -> None:
    with pytest.raises(gc.DebugError) as caught:
        ran(*body, chunks=2)
    assert caught.value.kind == "race"


def test_the_interpreter_finds_a_buffer_that_does_not_live() -> None:
    with pytest.raises(gc.DebugError) as caught:
        ran(store(ONE, 0, B), life=(1, 2))
    assert caught.value.kind == "life"


def test_an_error_names_access_kernel_and_line() -> None:
    with pytest.raises(gc.DebugError) as caught:
        ran(loop(store(load(AT + 1))))
    text = str(caught.value)
    for part in (
        "byte 24 of input 0",
        "phase 0 (one)",
        "st_f8_1_1(p2, i, ld_f8_1_0(p1, i + <1>))",
        "user.py:7",
    ):
        assert part in text


def test_what_is_promised_to_llvm_is_watched() -> None:
    assert UNTOLD == memory.MAX_STORAGES


def test_loops_are_interpreted() -> None:
    np.testing.assert_array_equal(ran(loop(store(Call("-", (load(),), float64)))), -np.arange(3.0))


# the option


@pytest.mark.parametrize("name", PROGRAMS)
def test_golden_programs_run_debugged(name: str) -> None:
    def results(**options: Any) -> list[Any]:
        golden = PROGRAMS[name]()
        function = golden.compile(**options)
        found = [flatten(function(*golden.values))[0] for _ in range(2)]
        return [*(r for result in found for r in result), *(p.value for p in golden.updates)]

    for actual, wanted in zip(results(debug=True), results(cache=False), strict=True):
        assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape)
        tolerance = 1e-5 if wanted.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance)


def test_a_block_on_the_stack_holds_others_in_the_next_sweep() -> None:
    x = gc.input("x", (4, 700), gc.float32)
    rows = [gc.sum(gc.sin(x), axis=1, dtype="float64"), gc.log_softmax(gc.sin(x))]
    values = np.linspace(-3, 3, 2_800, dtype=np.float32).reshape(4, 700)
    sines = np.sin(values.astype(np.float64))
    logs = sines - np.log(np.exp(sines).sum(axis=1, keepdims=True))
    for function in (gc.compile([x], rows, options=gc.Options(debug=debug)) for debug in (True, False)):
        found = function(values)
        assert [f.dtype for f in found] == [np.float64, np.float32]
        np.testing.assert_allclose(found[0], sines.sum(axis=1), rtol=0, atol=1e-5)
        np.testing.assert_allclose(found[1], logs, rtol=0, atol=1e-5)


def test_a_debugged_function_does_what_a_compiled_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.runtime.parts.parts", None)  # no machine code
    x, w = gc.input("x", ("n",)), gc.parameter("w", 1.0)
    step = gc.compile([x], gc.sum(x) * w, updates={w: w + 1.0}, options=gc.Options(debug=True))
    assert (float(step([1.0, 2.0])), float(w.value)) == (3.0, 2.0)
    np.testing.assert_array_equal(step.run(x=[1.0, 2.0, 3.0], batch_size=2), [6.0, 9.0])
    look = step.without_updates()
    assert look is not None
    assert (float(look(x=[1.0])), float(w.value)) == (4.0, 4.0)
    with pytest.raises(gc.InputError, match="got shape"):
        step([[1.0]])
    with pytest.raises(gc.GraphcError, match="its times tell nothing"):
        step.profile([1.0])
    y = np.empty(())
    assert step([2.0], out=y) is y
    assert (float(y), step.stats["flops"] is not None) == (8.0, True)
    assert "sum" in step.explain()


def test_a_debugged_function_checks_positions() -> None:
    x, k = gc.input("x", ("n",)), gc.input("k", (), gc.int64)
    f = gc.compile([x, k], gc.take(x, k), options=gc.Options(debug=True))
    assert float(f([1.0, 2.0], -1)) == 2.0
    with pytest.raises(gc.InputError, match="position 2 does not lie on axis 0"):
        f([1.0, 2.0], 2)


def test_a_broken_emitter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler whose every store lies one element further is caught, with the user's line."""
    monkeypatch.setattr("graphc.codegen.text.Text.store", _stores_further)
    x = gc.input("x", ("n",))
    with pytest.raises(gc.DebugError, match=r"element %i \+ 1 lies outside of output 0(.|\n)*phase 0(.|\n)*test_loops"):
        gc.compile([x], gc.exp(x), options=gc.Options(debug=True))
    monkeypatch.setattr("graphc.debug.interpreter.verify", lambda code, places: None)
    f = gc.compile([x], gc.exp(x), options=gc.Options(debug=True))
    with pytest.raises(gc.DebugError, match=r"bounds: byte 16 of output 0(.|\n)*phase 0(.|\n)*test_loops"):
        f([1.0, 2.0])


def _stores_further(self: Any, place: Place, at: Dim, value: Expr) -> Store:
    self._word(1, "n")
    self._reach(place)
    return Store(place, at + 1, value, self._nests, self._storage(place))


# footprints


def test_a_footprint_has_places_and_bytes() -> None:
    inner = loop(Let(T2, load(AT, B)), Let(T1, load(AT, B)), hi=5)
    found = footprint(code(loop(store(load(), AT), hi=N), inner, Use("clear", (Address(B), Position(40)))))
    assert found.reads == {X: N * 8, B: 40}
    assert found.writes == {Y: N * 8, B: None}
    assert list(found.places) == [X, B, Y]


def test_a_footprint_looks_through_names() -> None:
    base = Let(Var("a", int64), Address(X))
    found = footprint(code(base, Use("sum", (Address("a", (CHUNK * 8,)), Position(3)), float64, result=T1)))
    assert list(found.places) == [X]


def test_a_buffer_lives_where_its_loops_touch_it() -> None:
    x = gc.input("x", ("n", 7))
    y = gc.compile([x], gc.exp(x) @ gc.exp(x).T, options=gc.Options(debug=True)).program
    assert y.loops is not None
    for number, buffer in enumerate(y.buffers):
        users = [k for k, c in enumerate(y.loops.phases) if Place("buffer", number) in footprint(c).places]
        assert (buffer.first, buffer.last) == (users[0], users[-1])


# bodies


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sine(x)", "calls 'sine' with 1, which is no function of bodies"),
        ("exp(x, y)", "calls 'exp' with 2, which takes 1 operands"),
        ("x +", "is no expression"),
        ("x + halve", "names 'halve'"),
        ("x + 2", "'2' in 'x \\+ 2' is neither"),
        ("x if y else z", "is neither an operand nor a call"),
    ],
)
def test_a_body_that_is_wrong_is_told_with_its_op(body: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"the body of op '_test_body'.*{says}"):
        register(
            Op(
                name="_test_body",
                doc="",
                family=Family.ELEMENTWISE,
                reference=abs,
                infer=elementwise(FLOATS),
                body=body,
            )
        )


def test_every_function_of_bodies_has_a_cost() -> None:
    assert min(f.cost for f in FUNCTIONS.values()) > 0
    assert cost(parse("exp(x) + one")) == FUNCTIONS["exp"].cost + FUNCTIONS["+"].cost
    assert (is_dear("exp(x)"), is_dear({"f": "x + y", "b": "x | y"}), is_dear(("x", "sin(x)"))) == (True, False, True)
    assert is_dear(({"f": "x", "b": "x"}, {"f": "exp(x)", "b": "x"}))


def test_an_op_of_several_functions_is_compiled() -> None:
    op = register(
        Op(
            name="_test_several",
            doc="",
            family=Family.ELEMENTWISE,
            reference=lambda x: np.where(x < 0, -x, x * np.exp(x) + 0.5),
            infer=elementwise(FLOATS),
            body="select(x < zero, -x, (x * exp(x)) + half)",
        )
    )
    x = gc.input("x", ("n",))
    f = gc.compile([x], make(op, (x,)))
    np.testing.assert_allclose(f([-2.0, 0.0, 1.0]), [2.0, 0.5, np.e + 0.5])


def test_loops_are_kept_for_the_interpreter_alone() -> None:
    x = gc.input("x", ("n",))
    assert gc.compile([x], x + 1.0).program.loops is None
    debugged = gc.compile([x], x + 1.0, options=gc.Options(debug=True)).program
    assert debugged.loops is not None
    assert replace(debugged, loops=None) == debugged
    assert Program.from_json(debugged.to_json()).loops is None
