"""Every op that TensorFlow has: the same values and the same gradients, ties and kinks included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Call, calls, evaluate, mapped, public_ops, seeded

import graphc as gc
from graphc.op import Op
from graphc.types import FLOATS, DType

tf = pytest.importorskip("tensorflow")

OPS = [op for op in public_ops() if op.tf is not None]
CASES = [(op, dtype) for op in OPS for dtype in (FLOATS if FLOATS[0] in op.dtypes else op.dtypes[:1])]
UNITS = 128  # epsilons: both sides round, and TensorFlow's float32 functions are off by some units
# TensorFlow rounds the constants of these to float32 in float64 too.
SINGLE_CONSTANTS = {"gelu"}


def close(actual: Any, expected: Any, name: str, what: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: {actual.shape} instead of {expected.shape}"
    precision = np.float32 if name in SINGLE_CONSTANTS else actual.dtype
    tolerance = UNITS * np.finfo(precision).eps if actual.dtype.kind == "f" else 0
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)


def in_tensorflow(c: Call, weights: Any) -> tuple[Any, list[Any]]:
    """The value, and the gradients of sum(weights * value) with respect to the float operands."""
    variables: list[Any] = []

    def tensor(value: Any) -> Any:
        variables.append(tf.constant(value))
        return variables[-1]

    args, kwargs = mapped((c.args, c.kwargs), tensor, np.ndarray)
    watched = [variables[k] for k in c.floats]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = c.op.tf(tf, *args, **kwargs)
        total = tf.reduce_sum(tf.cast(value, "float64") * weights)
    gradients = tape.gradient(total, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return value.numpy(), [tf.convert_to_tensor(g).numpy() for g in gradients]


def check(c: Call) -> None:
    what = f"{c.op.name} {c.args} {c.kwargs}"
    weights = seeded("weights", c.op.name).uniform(0.5, 1.5, c.node.shape)
    value, gradients = in_tensorflow(c, weights)
    close(evaluate([c.node], c.inputs, c.values)[0], value, c.op.name, what)
    if c.node.dtype.is_float and c.floats:
        wrt = [c.inputs[k] for k in c.floats]
        ours = evaluate(gc.vjp(c.node, wrt, gc.astype(weights, c.node.dtype)), c.inputs, c.values)
        for actual, expected in zip(ours, gradients, strict=True):
            close(actual, expected, c.op.name, f"gradient of {what}")


@pytest.mark.parametrize(("op", "dtype"), CASES, ids=[f"{op.name}-{dtype}" for op, dtype in CASES])
def test_values_and_gradients(op: Op, dtype: DType) -> None:
    for c in calls(op, dtype):
        check(c)


@pytest.mark.parametrize("name", ["maximum", "minimum", "relu", "abs", "softplus", "sign", "gelu", "silu", "sigmoid"])
def test_ties_and_kinks(name: str) -> None:
    (op,) = (op for op in OPS if op.name == name)
    points = np.array([-1.0, -0.0, 0.0, 1.0])
    binary = isinstance(op.samples[0].args[-1], type(op.samples[0].args[0])) and len(op.samples[0].args) == 2
    check(Call(op, np.meshgrid(points, points) if binary else [points], {}))
