"""Every op, from its record: types, values, adjoints, what it rejects, special values."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support import Call, call, calls, check_adjoint, evaluate, kind_of, mapped, public_ops, seeded

import graphc as gc
from graphc.declare import FUNCTIONS, public_function
from graphc.errors import DeclarationError, GradientError, GraphcError
from graphc.graph import Graph
from graphc.op import REGISTRY, Array, Family, Op, Reject, register
from graphc.types import FLOATS, INTEGERS, DType, bool_, float64

OPS = public_ops()
CASES = [(op, dtype) for op in OPS for dtype in (op.dtypes or (float64,))]
over_cases = pytest.mark.parametrize(("op", "dtype"), CASES, ids=[f"{op.name}-{dtype}" for op, dtype in CASES])
# Ops whose gradient is not the slope of their value: that is what they are for.
NOT_A_SLOPE = {"stop_gradient"}
TIGHT, LOOSE = 16, 64  # epsilons: interpreter and compiled code against the references


def close(actual: Any, expected: Any, units: float, what: str) -> None:
    """Of one dtype and shape, and equal but for `units` epsilons, relative to the element or to 1."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{what}: {actual.dtype} instead of {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: {actual.shape} instead of {expected.shape}"
    tolerance = units * np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)


def differentiable(op: Op) -> bool:
    """Whether some sample has a float result that depends on a float input."""
    if float64 not in op.dtypes or op.name in NOT_A_SLOPE:
        return False
    return any(c.floats and c.node.dtype.is_float for c in calls(op, float64))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_record_is_complete(op: Op) -> None:
    text, _, example = op.doc.partition("\n\n>>> ")
    assert text.endswith("."), "the doc is made of sentences"
    assert example, "and ends with an example"
    assert op.samples
    assert FUNCTIONS[op.name] is getattr(gc, op.name)
    assert getattr(gc, op.name).__doc__ == op.doc


@over_cases
def test_type_is_that_of_the_reference(op: Op, dtype: DType) -> None:
    for c in calls(op, dtype):
        expected = c.reference()
        assert c.node.dtype.numpy == expected.dtype, f"{c.args} {c.kwargs}"
        assert c.node.shape == expected.shape, f"{c.args} {c.kwargs}"


@over_cases
def test_interpreter_agrees_with_the_reference(op: Op, dtype: DType) -> None:
    for c in calls(op, dtype):
        (actual,) = evaluate([c.node], c.inputs, c.values)
        close(actual, c.reference(), TIGHT, f"{op.name} {c.args} {c.kwargs}")


DIFFERENTIABLE = [op for op in OPS if differentiable(op)]


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_adjoint_to_second_order(op: Op) -> None:
    for k, c in enumerate(calls(op, float64)):
        if c.floats and c.node.dtype == float64:
            check_adjoint(c, seeded("adjoint", op.name, k))


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_compiled_gradient_agrees_with_the_interpreter(op: Op) -> None:
    cs = [c for c in calls(op, float64) if c.floats and c.node.dtype.is_float]
    gradients = [g for c in cs for g in gc.vjp(c.node, [c.inputs[k] for k in c.floats], np.ones(c.node.shape))]
    inputs, values = [n for c in cs for n in c.inputs], [v for c in cs for v in c.values]
    for actual, expected in zip(
        gc.compile(inputs, tuple(gradients))(*values), evaluate(gradients, inputs, values), strict=True
    ):
        close(actual, expected, LOOSE, op.name)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_a_batch_of_calls(op: Op) -> None:
    """Of every sample, all operands batched or one: values and gradients are those of each example."""
    dtype = float64 if float64 in op.dtypes or not op.dtypes else op.dtypes[0]
    for k, sample in enumerate(op.samples):
        first, second = (call(op, sample, dtype, number) for number in (k, k + 1_000))
        count = len(first.inputs)
        for batched in (range(count), *([j] for j in range(count) if count > 1)):
            pairs = zip(first.values, second.values, strict=True)
            check_batch(first, [v if j in batched else u for j, (u, v) in enumerate(pairs)])


def check_batch(c: Call, others: list[Any]) -> None:
    """Two examples, of which the second has these values; what is the same array is shared."""
    shared = [u is v for u, v in zip(c.values, others, strict=True)]
    if all(shared):
        return

    def both(*nodes: Any) -> list[Any]:
        left = iter(nodes)
        arguments, keywords = mapped((c.args, c.kwargs), lambda _: next(left), np.ndarray)
        made = FUNCTIONS[c.op.name](*arguments, **keywords)
        results = list(made) if isinstance(made, tuple) else [made]
        floats = [y for y in results if y.dtype.is_float]
        cotangents = [gc.stop_gradient(y) * np.linspace(0.5, 1.5, y.size).reshape(y.shape) for y in floats]
        return [*results, *gc.vjp(floats, [nodes[j] for j in c.floats], cotangents)]

    values = [u if s else np.stack([u, v]) for u, v, s in zip(c.values, others, shared, strict=True)]
    inputs = [gc.input(f"x{j}", v.shape, v.dtype) for j, v in enumerate(values)]
    found = evaluate(gc.vmap(both, in_axes=tuple(None if s else 0 for s in shared))(*inputs), inputs, values)
    nodes = both(*c.inputs)
    for example, given in enumerate((c.values, others)):
        for actual, expected in zip(found, evaluate(nodes, c.inputs, given), strict=True):
            close(actual[example], expected, LOOSE, f"{c.op.name} {c.args} {c.kwargs} {shared}")


@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_a_wrong_adjoint_is_caught(factor: float) -> None:
    """The checker of adjoints notices a tenth of a percent, in the first adjoint and in the second."""
    wrong = replace(
        REGISTRY["sin"],
        name="_wrong_sin",
        define=lambda b, x, /: b.primitive("_wrong_sin", b.floating(x)),
        adjoint=lambda b, g, y, x: (factor * (g * b.cos(x)),),
    )
    wrong_later = replace(
        REGISTRY["multiply"],
        name="_wrong_multiply",
        define=lambda b, x, y, /: b.primitive("_wrong_multiply", b.promoted(x, y)),
        adjoint=lambda b, g, out, x, y: (g * y, g * (factor * x + (1 - factor) * b.stop_gradient(x))),
    )
    for op in (wrong, wrong_later):
        register(op)
        FUNCTIONS[op.name] = public_function(op)
        try:
            c = call(op, op.samples[0], float64, 0)
            with pytest.raises(AssertionError, match="the adjoint gives"):
                check_adjoint(c, seeded("wrong"))
        finally:
            del REGISTRY[op.name], FUNCTIONS[op.name]


REJECTS = [(op, reject) for op in OPS for reject in op.rejects]


def declare_reject(op: Op, reject: Reject) -> Any:
    names = itertools.count()

    def declared(a: Array) -> Any:
        return gc.input(f"x{next(names)}", a.shape, kind_of(a, float64))

    args, kwargs = mapped((reject.args, dict(reject.kwargs)), declared, Array)
    return FUNCTIONS[op.name](*args, **kwargs)


@pytest.mark.parametrize(("op", "reject"), REJECTS, ids=[f"{op.name}-{k}" for k, (op, _) in enumerate(REJECTS)])
def test_rejects(op: Op, reject: Reject) -> None:
    with pytest.raises(reject.error) as caught:
        declare_reject(op, reject)
    text = str(caught.value)
    assert isinstance(caught.value, GraphcError)
    assert reject.says in text
    assert __file__ in text, "the error names the user's line"


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_wrong_arguments_name_the_signature(op: Op) -> None:
    with pytest.raises(DeclarationError, match=f"its signature is {op.name}\\("):
        FUNCTIONS[op.name](no_such_argument=1)


# Elementwise ops meet every special value.


def operands(op: Op) -> tuple[Array, ...]:
    """The operands of an op all of whose work is elementwise and all of whose arguments are arrays, else none."""
    c = call(op, op.samples[0], op.dtypes[0] if op.dtypes else float64, 0)
    families = {n.op.family for n in Graph((c.node,)).nodes}
    plain = all(isinstance(a, Array) for a in op.samples[0].args) and not op.samples[0].kwargs
    return op.samples[0].args if plain and families <= {Family.LEAF, Family.ELEMENTWISE} else ()


ELEMENTWISE = [op for op in OPS if operands(op)]
SPECIAL_FLOATS = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 2.5, -3.5, 88.0, -104.0, np.inf, -np.inf, np.nan)


def special_values(dtype: DType) -> np.ndarray[Any, Any]:
    if dtype == bool_:
        return np.array([False, True])
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        values = [
            0,
            1,
            2,
            3,
            7,
            limits.max - 1,
            limits.max,
            limits.min,
            limits.min + 1,
            *([-1, -2, -7] if limits.min else []),
        ]
        return np.array(values, dtype.numpy)
    info = np.finfo(dtype.numpy)
    extreme = (info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal)
    return np.array([*SPECIAL_FLOATS, *(float(e) for e in extreme)], dtype.numpy)


def special_call(op: Op, dtype: DType) -> Call:
    """The call on every combination of special values."""
    grids = np.meshgrid(*(special_values(kind_of(a, dtype)) for a in operands(op)))
    return Call(op, [g.ravel().copy() for g in grids], {})


# Infinity minus infinity and its like: the composites say NaN where the closed form has a limit.
LIMITS = {"gelu": [-np.inf], "silu": [-np.inf]}
SPECIAL = [(op, dtype) for op in ELEMENTWISE for dtype in op.dtypes]
over_special = pytest.mark.parametrize(("op", "dtype"), SPECIAL, ids=[f"{op.name}-{dtype}" for op, dtype in SPECIAL])


def check_special(c: Call, actual: Any) -> None:
    expected = c.reference()
    decided = ~np.isin(c.values[0], LIMITS.get(c.op.name, []))
    close(actual[decided], expected[decided], LOOSE, c.op.name)


@over_special
def test_special_values_interpreted(op: Op, dtype: DType) -> None:
    c = special_call(op, dtype)
    check_special(c, evaluate([c.node], c.inputs, c.values)[0])


@over_cases
def test_compiled_agrees_with_the_reference(op: Op, dtype: DType) -> None:
    """All samples of an op, and its special values, in one program."""
    samples, special = calls(op, dtype), [special_call(op, dtype)] if operands(op) else []
    cs = samples + special
    f = gc.compile([n for c in cs for n in c.inputs], tuple(c.node for c in cs))
    results = f(*(v for c in cs for v in c.values))
    for c, actual in zip(samples, results, strict=False):
        close(actual, c.reference(), LOOSE, f"{op.name} {c.args} {c.kwargs}")
    for c, actual in zip(special, results[len(samples) :], strict=True):
        check_special(c, actual)


# What no record says: dtypes that meet, ties, guarded slopes.


FLOAT_ONLY = [op for op in ELEMENTWISE if op.dtypes == FLOATS]


@pytest.mark.parametrize("op", FLOAT_ONLY, ids=lambda op: op.name)
def test_float_functions_take_integers_in_float64(op: Op) -> None:
    for dtype in (*INTEGERS, bool_):
        inputs = [gc.input(f"x{k}", (3,), dtype) for k in range(len(operands(op)))]
        assert FUNCTIONS[op.name](*inputs).dtype == float64


BINARY = [op for op in ELEMENTWISE if len(operands(op)) == 2 and float64 in op.dtypes]


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.name)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_python_scalars_never_widen(op: Op, dtype: DType) -> None:
    x, function = gc.input("x", (3,), dtype), FUNCTIONS[op.name]
    for node in (function(x, 1.5), function(1.5, x), function(x, 2), function(2, x)):
        assert {o.dtype for o in node.operands} == {dtype}


def gradient_at(build: Any, *points: float, order: int = 1) -> list[float]:
    """All first (or repeated) derivatives of a scalar function at a point."""
    inputs = [gc.input(f"p{k}", ()) for k in range(len(points))]
    y = build(*inputs)
    for _ in range(order - 1):
        y = gc.grad(y, inputs[0])
    return [float(v) for v in evaluate(gc.grad(y, inputs), inputs, [np.float64(p) for p in points])]


def test_ties_and_kinks() -> None:
    assert gradient_at(gc.maximum, 1.0, 1.0) == [1.0, 0.0]
    assert gradient_at(gc.minimum, 1.0, 1.0) == [1.0, 0.0]
    assert gradient_at(gc.relu, 0.0) == [0.0]
    assert gradient_at(gc.abs, 0.0) == [0.0]
    assert gradient_at(lambda x: gc.clip(x, 0.0, 1.0), 0.0) == [1.0]
    assert gradient_at(lambda x: gc.clip(x, 0.0, 1.0), 1.0) == [1.0]
    assert gradient_at(gc.hypot, 0.0, 0.0) == [0.0, 0.0]
    assert gradient_at(gc.softplus, 0.0) == [0.5]
    assert gradient_at(gc.softplus, 0.0, order=2) == [0.25]


def test_slopes_of_pow() -> None:
    assert gradient_at(gc.pow, 0.0, 0.0) == [0.0, 0.0]
    assert gradient_at(gc.pow, 5e-324, 0.0)[0] == 0.0
    assert gradient_at(gc.pow, np.inf, 0.0)[0] == 0.0
    assert gradient_at(gc.pow, 0.0, 2.0) == [0.0, 0.0]
    assert gradient_at(gc.pow, 0.0, 2.0, order=2)[0] == 2.0
    assert gradient_at(gc.pow, 0.0, 1.0) == [1.0, 0.0]
    assert gradient_at(gc.pow, -2.0, 3.0) == [12.0, 0.0]
    assert gradient_at(gc.pow, 2.0, 0.0, order=2) == [0.0, 0.5]  # the mixed derivative at y = 0 is 1/x
    for exponent, slope, second in ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (2.0, 0.0, 2.0), (3.0, 0.0, 0.0)):
        assert gradient_at(lambda x, n=exponent: x**n, 0.0) == [slope]
        assert gradient_at(lambda x, n=exponent: x**n, 0.0, order=2) == [second]


def test_softplus_at_its_ends() -> None:
    for x, slope in ((800.0, 1.0), (-800.0, 0.0), (np.inf, 1.0), (-np.inf, 0.0)):
        assert gradient_at(gc.softplus, x) == [slope]
    assert np.isnan(gradient_at(gc.softplus, np.nan)).all()


def test_stop_gradient_ends_the_walk() -> None:
    assert gradient_at(lambda x: x * gc.stop_gradient(x), 3.0) == [3.0]
    with pytest.raises(GradientError, match="not float"):
        gc.grad(gc.input("n", (), "int32"), gc.input("x", ()))


@pytest.mark.parametrize(
    ("numpy", "name"),
    [("arctan", "atan"), ("arctan2", "atan2"), ("arcsin", "asin"), ("arccosh", "acosh"), ("power", "pow")],
)
def test_numpy_functions_apply_to_nodes(numpy: str, name: str) -> None:
    inputs = [gc.input(f"x{k}", (3,)) for k in range(getattr(np, numpy).nin)]
    assert getattr(np, numpy)(*inputs) is FUNCTIONS[name](*inputs)


def test_numpy_names_of_inverse_functions_are_public() -> None:
    assert gc.arctan is gc.atan
    assert gc.arctan2 is gc.atan2
