"""What is refused while declaring and learning, where Python's own error would not say what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

SAMPLES = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def refused(call: Callable[[], Any], error: type[Exception], *texts: str) -> None:
    with pytest.raises(error) as caught:
        call()
    missing = [t for t in (*texts, __file__) if t not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


# values


@pytest.mark.parametrize("make", [gc.constant, lambda v, d: gc.parameter("w", v, d)], ids=["constant", "parameter"])
@pytest.mark.parametrize(
    ("value", "dtype", "wrong"),
    [
        ([1.5, 3], "int8", "1.5"),
        ([1, 300], "int8", "300"),
        (np.array([1, 300]), "int8", "300"),
        (-1, "uint64", "-1"),
        (2.0**63, "int64", "9.223372036854775808e+18"[:5]),
        ([1, 2**63], "int64", str(2**63)),
        ([1, 2**64], "uint64", "object"),
        (float("nan"), "int32", "nan"),
        (np.float32("inf"), "int32", "inf"),
        (2, "bool", "2"),
        ([0.5], "bool", "0.5"),
    ],
)
def test_values_that_a_dtype_does_not_hold_are_refused(make: Any, value: Any, dtype: str, wrong: str) -> None:
    with pytest.raises(gc.DTypeError, match=re.escape(wrong)):
        make(value, dtype)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1.0, -3.0], "int8"),
        (np.array([0, 255]), "uint8"),
        ([1, 2**63 + 1], "uint64"),
        ([1.0, 0.0], "bool"),
        (np.array([True, False]), "int8"),
        (-(2**63), "int64"),
        (np.zeros((0, 3)), "int8"),
    ],
)
def test_values_that_a_dtype_holds_are_taken(value: Any, dtype: str) -> None:
    array = gc.parameter("w", value, dtype).value
    assert array.dtype == dtype
    assert np.array_equal(array.astype(object), np.asarray(value, object))


def test_floats_are_rounded_to_float32() -> None:
    assert gc.parameter("w", [0.1, 2**24 + 1], "float32").value.tolist() == [float(np.float32(0.1)), 2.0**24]


def test_constants_are_cast_by_astype_as_ever() -> None:
    f = gc.compile([], gc.astype(gc.constant([1.5, -2.5]), "int8"))
    assert f().tolist() == [1, -2]


# dtypes


@pytest.mark.parametrize("name", ["float64", "f8", np.float64, np.dtype("f8"), float, gc.float64])
def test_a_dtype_is_equal_to_what_names_it(name: Any) -> None:
    dtype = gc.input("x", ()).dtype
    assert dtype == name
    assert name == dtype
    assert (dtype != name) is False
    assert dtype != gc.float32


@pytest.mark.parametrize("other", ["float32", np.float32, ">f8", "nothing", "(2,)f8", "f8,f8", "", None, 8, int])
def test_a_dtype_differs_from_what_does_not_name_it(other: Any) -> None:
    assert gc.float64 != other
    assert other != gc.float64


def test_dtypes_are_found_by_their_names() -> None:
    sizes: dict[Any, int] = {gc.float64: 8, "float32": 4}
    assert (sizes["float64"], sizes[gc.float32]) == (8, 4)
    assert len({gc.float64, "float64", gc.input("x", ()).dtype}) == 1


# dimensions


@pytest.fixture
def n() -> Any:
    return gc.input("x", ("n",)).shape[0]


NO_NUMBER: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "len": len,
    "range": range,
    "position in a list": lambda n: [1, 2][n],
    "NumPy's zeros": np.zeros,
}


@pytest.mark.parametrize("use", NO_NUMBER)
def test_a_dimension_is_no_number(n: Any, use: str) -> None:
    texts = "the dimension n", "known at the call only", "shapes take dimensions"
    refused(lambda: NO_NUMBER[use](n), gc.DeclarationError, *texts)


def test_a_dimension_has_no_truth(n: Any) -> None:
    refused(lambda: bool(n - 1), gc.DeclarationError, "the dimension n - 1", "`if`", "gc.where(n - 1 > 0, a, b)")
    refused(lambda: bool(n / 2), gc.DeclarationError, "known at the call only")
    refused(lambda: float(n / 2), gc.DeclarationError, "known at the call only")


def test_dimensions_are_compared_by_nodes(n: Any) -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], (n < 3, n <= 3, n > 3, n >= 3, n < n + 1, n < 2.5, np.int64(3) >= n, abs(2 - n)))
    assert [v.tolist() for v in f(np.ones(3))] == [False, True, False, True, True, False, True, 1]
    with pytest.raises(gc.DeclarationError, match=r"gc\.maximum"):
        max(n, 3)


def test_divmod_is_quotient_and_remainder(n: Any) -> None:
    x: Any = gc.input("x", ("n",))
    f = gc.compile([x], (*divmod(x, 2), *divmod(7, x), *divmod(n / 2, 1)))
    assert [v.tolist() for v in f([5.0])] == [[2.0], [1.0], [1.0], [2.0], 0.0, 0.5]
    assert divmod(n, 2) == (n // 2, n % 2)
    assert divmod(9, n) == (9 // n, 9 % n)


def test_slices_of_unknown_beginning_still_work(n: Any) -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], (x[n // 2 :], x[: n // 2]))
    assert [v.tolist() for v in f([1.0, 2.0, 3.0])] == [[2.0, 3.0], [1.0]]


def test_a_symbol_that_no_input_has_by_itself_is_refused_when_compiling() -> None:
    n = gc.input("x", ("n",)).shape[0]
    b = gc.input("b", (2 * n,))
    refused(lambda: gc.compile([b], gc.sum(b)), gc.DeclarationError, "'n' by itself", "input 'b'", "float64[2*n]")
    refused(lambda: gc.compile([b], gc.constant(1.0)), gc.DeclarationError, "'n' by itself")
    x = gc.input("x", ("n",))
    assert gc.compile([b, x], gc.sum(b) + gc.sum(x))([1.0, 2.0], [3.0]).tolist() == 6.0


# nodes


@pytest.mark.parametrize("use", [float, int, range, lambda x: [1][x]], ids=["float", "int", "range", "position"])
def test_a_node_is_no_number(use: Any) -> None:
    refused(
        lambda: use(gc.input("x", ())), gc.DeclarationError, "input 'x'", "has no value while the graph is declared"
    )


def test_len_is_the_first_dimension_where_it_is_a_number() -> None:
    assert len(gc.input("x", (3, "n"))) == 3
    assert [r.shape for r in list(gc.input("x", (2, 4)))] == [(4,), (4,)]
    refused(lambda: len(gc.input("x", ("n", 3))), gc.DeclarationError, "has no len()")
    refused(lambda: len(gc.input("x", ())), gc.DeclarationError, "has no len()")


# updates


def test_a_python_number_is_a_new_value() -> None:
    w, k = gc.parameter("w", 5.0, "float32"), gc.parameter("k", 5)
    gc.compile([], (), updates={w: 1.5, k: 2})()
    assert (w.value.tolist(), k.value.tolist()) == (1.5, 2)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.0, gc.DTypeError, "is float64; write gc.astype(value, 'int64')"),
        ([1, 2], gc.DeclarationError, "write gc.constant(value, 'int64')"),
        (np.ones(2), gc.DeclarationError, "write gc.constant(value, 'int64')"),
    ],
)
def test_new_values_that_do_not_fit_are_refused(value: Any, error: type[Exception], text: str) -> None:
    refused(lambda: gc.compile([], (), updates={gc.parameter("k", 5): value}), error, text)


# looking


def test_inspect_takes_compiled_functions() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], gc.sum(x), name="f")
    assert gc.inspect.explain(f) == gc.inspect.explain(f.program) == f.explain()
    assert [k.title for k in gc.inspect.profile(f, x=[1.0, 2.0], repeat=2)] == [p.title for p in f.program.phases]
    for look in (gc.inspect.explain, gc.inspect.profile):
        with pytest.raises(gc.DeclarationError, match=r"got <input 'x'"):
            look(x)


def test_names_do_not_break_the_lines_of_explain() -> None:
    w = gc.parameter("a\nb", 1.0)
    assert "updates a\ufffdb in place" in gc.compile([], (), updates={w: w + 1.0}).explain()


def test_run_takes_inputs_by_name() -> None:
    f = gc.compile([x := gc.input("x", ("n",)), k := gc.input("k", ())], k * gc.sum(x), name="f")
    with pytest.raises(gc.InputError, match=re.escape("f.run takes its inputs by name: run(x=..., k=...)")):
        f.run([1.0], 2.0)
    with pytest.raises(gc.InputError, match="takes its inputs by name"), f.runs([1.0], 2.0):
        pass


def test_a_dimension_without_a_name_is_refused_with_one() -> None:
    with pytest.raises(gc.ShapeError, match="a name such as 'batch'"):
        gc.input("x", (None, 3))


def test_functions_without_a_counterpart_are_called_as_numpy_calls_them() -> None:
    x: Any = gc.input("x", (3, 3))
    with pytest.raises(gc.DeclarationError, match=r"np\.linalg\.norm has no counterpart"):
        np.linalg.norm(x)
    with pytest.raises(gc.DeclarationError, match=r"np\.median has no counterpart"):
        np.median(x)


# learning


def model(dtype: str = "float32") -> Any:
    built = gc.nn.Sequential([gc.nn.Dense(1)], seed=0)
    built.compile("sgd", "mse")
    if dtype == "float64":
        built.build((None, 3), dtype)
    return built


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lists_of_numbers_are_weak(dtype: str) -> None:
    x, y = (a.astype(dtype) for a in SAMPLES)
    lists, arrays = model(dtype), model(dtype)
    for used, given in ((lists, (x.tolist(), y.tolist())), (arrays, (x, y))):
        used.fit(*given, verbose=0, validation_data=given)
    assert lists.history == arrays.history
    assert lists.evaluate(x.tolist(), y.tolist(), verbose=0) == arrays.evaluate(x, y, verbose=0)
    result = lists.predict(x.tolist(), verbose=0)
    assert result.dtype == dtype
    assert np.array_equal(result, arrays.predict(x, verbose=0))
    assert {str(w.dtype) for w in lists.parameters()} == {dtype}


def test_arrays_of_a_wider_dtype_are_refused_still() -> None:
    built = model()
    built.build((None, 3))
    with pytest.raises(gc.DTypeError, match=r"x\.astype\('float32'\)"):
        built.predict(SAMPLES[0].astype("float64"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("validation_split", "validation_data="),
        ("callbacks", "in a loop"),
        ("sample_weight", "a column of y"),
        ("class_weight", "weighs each class"),
        ("epoch", "fit takes no argument 'epoch'"),
    ],
)
def test_arguments_that_fit_does_not_take(name: str, text: str) -> None:
    with pytest.raises(gc.InputError, match=text):
        model().fit(*SAMPLES, verbose=0, **{name: 1})


@pytest.mark.parametrize("layers", [gc.nn.Dense(1), 3, None, gc.nn.Sequential([gc.nn.Dense(1)])])
def test_a_stack_is_a_list(layers: Any) -> None:
    with pytest.raises(gc.DeclarationError, match=r"Sequential takes a list of layers: Sequential\(\[\.\.\.\]\)"):
        gc.nn.Sequential(layers)


@pytest.mark.parametrize("which", ["kernel_initializer", "bias_initializer"])
def test_unknown_initialisers_are_refused_where_they_are_written(which: str) -> None:
    with pytest.raises(gc.DeclarationError, match="no initialiser is called 'glorot'; there are"):
        gc.nn.Dense(3, **{which: "glorot"})
