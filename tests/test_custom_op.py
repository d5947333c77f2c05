"""custom_op: a Python function of scalars as an op, with an adjoint of nodes, wherever ops stand."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from support_loops import close, values

import graphc as gc
from graphc.errors import DeclarationError, DTypeError, GradientError, InputError, ShapeError
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.op import REGISTRY
from graphc.runtime import native
from graphc.runtime.loader import Unfit

X = np.array([[0.3, -1.2, 2.0], [4.0, 0.0, -0.5]])
D = np.array([1.0, 0.5, 9.0])


def _huber(x: Any, d: Any) -> Any:
    """0.5 x**2 near 0, straight lines beyond d."""
    if abs(x) <= d:
        return 0.5 * x * x
    return d * (abs(x) - 0.5 * d)


def _slopes(g: Any, y: Any, x: Any, d: Any) -> Any:
    return g * gc.clip(x, -d, d), g * gc.maximum(gc.abs(x) - d, 0.0)


huber = gc.custom_op(_huber, _slopes)


def _rooted(x: Any) -> Any:
    if x < 0:
        raise ValueError("below 0", x, "that is")
    if x > 100:
        raise KeyError("too large")
    return math.sqrt(x)


rooted = gc.custom_op(_rooted, lambda g, y, x: (0.5 * g / y,))


def test_values_and_slopes_with_broadcasting() -> None:
    x, d = gc.input("x", ("n", 3)), gc.input("d", (3,))
    y = huber(x, d)
    assert y.shape == x.shape
    near = np.abs(X) <= D
    wanted = np.where(near, 0.5 * X**2, D * (np.abs(X) - 0.5 * D))
    dx, dd = np.clip(X, -D, D), np.maximum(np.abs(X) - D, 0)
    found = values([y, *gc.grad(gc.sum(y), [x, d])], [x, d], [X, D])
    close(found, [wanted, dx, dd.sum(axis=0)])


def test_second_order_and_forward_mode_are_those_of_the_adjoint() -> None:
    x = gc.input("x", (3,))
    y = rooted(x)
    v = np.array([1.0, 4.0, 9.0])
    found = values([gc.jvp(y, x, [1.0, 2.0, 3.0]), gc.hessian(gc.sum(y), x)], [x], [v])
    close(found, [0.5 / np.sqrt(v) * [1, 2, 3], np.diag(-0.25 * v**-1.5)])


def test_dtypes() -> None:
    """Results have the kind that the function gives, in the dtype in which operands of that kind meet."""
    half, up, even = gc.custom_op(lambda x: 0.5 * x), gc.custom_op(lambda k: k + 1), gc.custom_op(lambda k: k % 2 == 0)
    ranged = gc.custom_op(lambda x, k: x * k)
    single, whole = gc.input("single", (2,), "float32"), gc.input("whole", (2,), "int16")
    nodes = [half(single), half(whole), up(whole), even(whole), ranged(single, whole), up(2), half(2.5)]
    names = ["float32", "float64", "int16", "bool", "float32", "int64", "float64"]
    assert [str(n.dtype) for n in nodes] == names
    found = values(nodes, [single, whole], [np.array([1.5, 3.0], "float32"), np.array([4, 7], "int16")])
    wanted = [[0.75, 1.5], [2.0, 3.5], [5, 8], [True, False], [6.0, 21.0], 3, 1.25]
    close(found, [np.array(w, n) for w, n in zip(wanted, names, strict=True)])


def test_a_dtype_that_is_asked_for() -> None:
    sign = gc.custom_op(lambda x: 1 if x > 0 else -1, dtype="float32")
    x = gc.input("x", (3,))
    assert sign(x).dtype == gc.float32
    close(values([sign(x)], [x], [X[0]]), [np.array([1, -1, 1], "float32")])
    with pytest.raises(DTypeError, match=r"it gives float64, which dtype='int8' does not hold[\s\S]*test_custom_op.py"):
        gc.custom_op(lambda x: x, dtype="int8")(x)


def test_python_floats_are_weak_and_ints_stay_ints() -> None:
    def power(x: Any, n: Any, scale: Any) -> Any:
        for _ in range(n):
            x *= scale
        return x

    x = gc.input("x", (2,), "float32")
    y = gc.custom_op(power)(x, 3, 2.0)
    assert [str(o.dtype) for o in y.operands] == ["float32", "int64", "float32"]
    close(values([y], [x], [np.array([1.0, 2.0], "float32")]), [np.array([8, 16], "float32")])


def test_what_numba_has_compiled_is_taken_as_it_is() -> None:
    @numba.njit(error_model="python")
    def quotient(x: Any, y: Any) -> Any:
        return x / y

    x, y = gc.input("x", (2,)), gc.input("y", (2,))
    for op, wanted in ((gc.custom_op(quotient), None), (gc.custom_op(quotient.py_func), [np.inf, np.nan])):
        f = gc.compile([x, y], op(x, y))
        if wanted is None:
            with pytest.raises(InputError, match=r"quotient.*: it raised ZeroDivisionError"):
                f([1.0, 0.0], [0.0, 0.0])
        else:
            np.testing.assert_array_equal(f([1.0, 0.0], [0.0, 0.0]), wanted)


def test_in_loops_branches_and_batches() -> None:
    x = gc.input("x", ("n",))
    looped = gc.scan(lambda c, e: (c + rooted(e) * c, rooted(c)), 1.0, x)
    chosen = gc.cond(x[0] > 0, rooted, lambda x: x, x)
    batched = gc.vmap(rooted)(x)
    v = np.array([1.0, 4.0, 9.0])
    found = values([looped[0], gc.grad(looped[0], x), looped[1], chosen, batched], [x], [v])
    total = np.prod(1 + np.sqrt(v))
    close(found, [total, total / (1 + np.sqrt(v)) * 0.5 / np.sqrt(v), np.sqrt([1, 2, 6]), np.sqrt(v), np.sqrt(v)])


def test_it_does_not_raise_for_examples_that_are_not_for_it() -> None:
    """In a batch all branches are computed, on what those examples have that are for them."""
    x = gc.input("x", (4,))
    y = gc.vmap(lambda x: gc.cond(x > 0, rooted, lambda x: 2.0 * x, x))(x)
    v = np.array([-1.0, 4.0, -9.0, 16.0])
    close(values([y, gc.grad(gc.sum(y), x)], [x], [v]), [[-2.0, 2.0, -18.0, 4.0], [2.0, 0.25, 2.0, 0.125]])


def test_it_does_not_raise_where_there_is_no_element() -> None:
    """Though all that there were have one value, which is known before."""
    x, k = gc.input("x", ("n",)), gc.input("k", ())
    f = gc.compile([x, k], (rooted(gc.broadcast_to(k, x.shape)), gc.sum(rooted(gc.broadcast_to(k, x.shape)))))
    each, total = f(np.ones(0), -1.0)
    assert (each.size, total) == (0, 0.0)
    assert [r.tolist() for r in f(np.ones(2), 4.0)] == [[2.0, 2.0], 4.0]
    with pytest.raises(InputError, match="below 0"):
        f(np.ones(1), -1.0)


def test_beside_other_ops_and_over_many_elements() -> None:
    """In one nest with a reduction, in chunks, of no element."""
    x = gc.input("x", ("n",))
    f = gc.compile([x], (gc.sum(huber(gc.sin(x), 0.5)), huber(x, 0.5)))
    for n in (0, 1, 40_000):
        v = np.linspace(-2, 2, n)
        s = np.sin(v)
        wanted = np.where(np.abs(s) <= 0.5, 0.5 * s * s, 0.5 * (np.abs(s) - 0.25))
        total, each = f(v)
        np.testing.assert_allclose(total, wanted.sum(), rtol=1e-13)
        np.testing.assert_allclose(each, np.where(np.abs(v) <= 0.5, 0.5 * v * v, 0.5 * (np.abs(v) - 0.25)), rtol=1e-15)


def test_an_error_is_that_of_the_call_and_nothing_has_changed() -> None:
    """The same by machine code, by the interpreter of loops, and by that of nodes, inside of a loop too."""
    w, x = gc.parameter("w", np.ones(3)), gc.input("x", (3,))
    y = rooted(x)
    looped = gc.scan(lambda c, e: (c + rooted(e), None), 0.0, x)[0]
    for value, says in ((-4.0, r"ValueError\('below 0', .*-4.0.*, 'that is'\)"), (101.0, r"KeyError\('too large'\)")):
        for node, place in ((y, ""), (looped, ", in iteration 2")):
            told = []
            for options in (gc.Options(), gc.Options(debug=True)):
                step = gc.compile([x], gc.sum(node), updates={w: w + node}, options=options, name="step")
                with pytest.raises(InputError, match=f"^step: rooted: it raised {says}{place}\n  at ") as caught:
                    step([1.0, 2.0, value])
                told.append(str(caught.value))
                np.testing.assert_array_equal(w.value, np.ones(3))
                assert "test_custom_op.py" in told[-1]
            with pytest.raises(InputError, match=f"^rooted: it raised {says}{place}\n  at "):
                interpret(Graph((node,), (x,)), [np.array([1.0, 2.0, value])])


def test_constants_are_computed_by_the_call() -> None:
    """An error is one of the call, and integers overflow as they do elsewhere."""
    f = gc.compile([], rooted(gc.constant(-1.0)))
    with pytest.raises(InputError, match="below 0"):
        f()
    square, k = gc.custom_op(lambda k: k * k), gc.input("k", (), "int64")
    large = 2**40 + 1
    found = gc.compile([k], (square(gc.constant(large)), square(k)))(large)
    assert found[0] == found[1] == large**2 % 2**64


def test_no_adjoint_no_gradient() -> None:
    x = gc.input("x", (3,))
    y = gc.custom_op(lambda x: x + 1)(x)
    with pytest.raises(GradientError, match="can't be differentiated"):
        gc.grad(gc.sum(y), x)
    close(values([gc.grad(gc.sum(gc.stop_gradient(y) * x), x)], [x], [X[0]]), [X[0] + 1])


def test_two_of_one_name() -> None:
    x = gc.input("x", ())
    ops = [gc.custom_op(lambda x: x + 1), gc.custom_op(lambda x: x + 2)]
    close(values([op(x) for op in ops], [x], [1.0]), [2.0, 3.0])


def test_a_pickle_finds_the_op_again() -> None:
    x, d = gc.input("x", (3,)), gc.input("d", (3,))
    f = pickle.loads(pickle.dumps(gc.compile([x, d], huber(x, d))))
    close([f(X[0], D)], [np.where(np.abs(X[0]) <= D, 0.5 * X[0] ** 2, D * (np.abs(X[0]) - 0.5 * D))])


def test_a_pickle_where_the_op_is_not_known_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = gc.custom_op(lambda x: x + 1)
    kept = pickle.dumps(stranger(gc.input("x", ())))
    monkeypatch.delitem(REGISTRY, stranger.__name__)
    with pytest.raises(DeclarationError, match=f"the op '{stranger.__name__}' is not known here"):
        pickle.loads(kept)


OWN = """
import graphc as gc
for op in map(gc.custom_op, ({functions})):
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.sum(op(x)))
    print(float(f([1.0, 2.0])), f.stats["from_cache"])
"""


def test_the_cache_keeps_what_calls_one(tmp_path: Path) -> None:
    """Never the function: one that is edited takes effect in the next process, and so does one of another dtype."""
    settings = {"PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}

    def run(*bodies: str) -> list[str]:
        command = [sys.executable, "-c", OWN.format(functions=", ".join(f"lambda x: {body}" for body in bodies))]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip().split("\n")

    assert run("x + x", "int(x) + 1") == ["6.0 False", "5.0 False"]
    assert run("x * x", "x > 1.0") == ["5.0 True", "1.0 False"]
    assert run("x + x", "int(x) * 2") == ["6.0 True", "6.0 True"]


def test_the_linker_of_llvm_finds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where object files are not loaded by graphc itself."""

    def unfit(*_: Any) -> Any:
        raise Unfit("never")

    monkeypatch.setattr(native, "load", unfit)
    x, d = gc.input("x", (3,)), gc.input("d", (3,))
    f = gc.compile([x, d], huber(x, d), options=gc.Options(cache=False))
    close([f(X[0], D)], [np.where(np.abs(X[0]) <= D, 0.5 * X[0] ** 2, D * (np.abs(X[0]) - 0.5 * D))])


def test_functions_keep_their_places_in_what_is_kept(tmp_path: Path) -> None:
    """Two functions that are declared the other way round: each call finds its own."""
    settings = {"PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}
    program = """
import graphc as gc
first, second = [gc.custom_op(f) for f in ({0}, {1})]
x = gc.input("x", (2,))
for both in (lambda: first(x) - 2.0 * second(x), lambda: second(x) - 2.0 * first(x)):
    f = gc.compile([x], gc.sum(both()))
    print(float(f([1.0, 2.0])), f.stats["from_cache"])
"""
    functions = ("lambda x: x + 1.0", "lambda x: 10.0 * x")
    found = []
    for order in (functions, functions[::-1]):
        command = [sys.executable, "-c", program.format(*order)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        found.append(done.stdout.split())
    assert [row[::2] for row in found] == [["-55.0", "20.0"], ["20.0", "-55.0"]]
    assert [row[1::2] for row in found] == [["False"] * 2, ["True"] * 2]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: gc.custom_op(3), DeclarationError, "takes a Python function of scalars, got int"),
        (lambda x: gc.custom_op(np.sin), DeclarationError, "takes a (Python )?function of"),
        (lambda x: gc.custom_op(lambda *x: x[0]), DeclarationError, "each a parameter"),
        (lambda x: gc.custom_op(lambda: 1.0), DeclarationError, "a function of 1 to 26 scalars"),
        (lambda x: gc.custom_op(lambda x: x, 3), DeclarationError, "an adjoint is a function of nodes"),
        (lambda x: gc.custom_op(lambda x: x, dtype="complex128"), DTypeError, "complex128"),
        (lambda x: huber(x), DeclarationError, "takes 2 operands, got 1"),
        (lambda x: huber(x, "d"), DTypeError, "operand 1 can't be a node"),
        (lambda x: huber(x, gc.input("d", (4,))), ShapeError, "do not broadcast"),
        (
            lambda x: gc.custom_op(lambda x: (x, x))(x),
            DeclarationError,
            "it gives a number for each element, got UniTup",
        ),
        (lambda x: gc.custom_op(lambda x: None)(x), DeclarationError, "it gives a number for each element, got none"),
        (lambda x: gc.custom_op(lambda x: x * 1j)(x), DeclarationError, "got complex128"),
        (lambda x: gc.custom_op(lambda x: np.ones(3) * x)(x), DeclarationError, "it gives a number"),
        (lambda x: gc.custom_op(lambda x: x.foo)(x), DeclarationError, "Numba can't compile it for float64"),
        (lambda x: gc.custom_op(lambda x: eval("x"))(x), DeclarationError, "Numba can't compile it for float64"),
        (lambda x: gc.grad(gc.sum(gc.custom_op(lambda x: x, lambda g, y, x: g)(x)), x), DeclarationError, "tuple of 1"),
        (
            lambda x: gc.grad(gc.sum(gc.custom_op(lambda x: x, lambda g, y, x: (g[:2],))(x)), x),
            ShapeError,
            "a cotangent has the shape of the result",
        ),
    ],
)
def test_what_can_not_be(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        call(gc.input("x", (3,)))
    assert "test_custom_op.py" in str(caught.value)
