"""docs/differences.md is true: where it says that TensorFlow and graphc differ they do, and each as it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import evaluate

import graphc as gc

tf = pytest.importorskip("tensorflow")

TEXT = (Path(__file__).parents[1] / "docs" / "differences.md").read_text(encoding="utf-8")
NAN, INF = float("nan"), float("inf")

# What the row is called: f(library, x), x, the gradient of its sum in TensorFlow, the one in graphc.
GRADIENTS: dict[str, tuple[Callable[[Any, Any], Any], list[float], list[float], list[float]]] = {
    "`where(x > 0, log(x), 0)` at 0": (
        lambda m, x: m.where(x > 0, m.log(x), m.zeros_(x)),
        [0, 2],
        [NAN, 0.5],
        [0, 0.5],
    ),
    "`log(softmax(x))`": (lambda m, x: m.log(m.softmax(x))[0], [-1000, 0], [NAN, NAN], [1, -1]),
    "`log(sigmoid(x))`": (lambda m, x: m.log(m.sigmoid(x)), [-1000], [NAN], [1]),
    "`log(1 + exp(x))`": (lambda m, x: m.log(1 + m.exp(x)), [1000], [NAN], [1]),
    "`log(sum(exp(x)))`": (lambda m, x: m.log(m.sum(m.exp(x))), [1000, 0], [NAN, 0], [1, 0]),
    "`logsumexp` of a row of −inf": (lambda m, x: m.logsumexp(x), [-INF, -INF], [NAN, NAN], [0, 0]),
    "`pow(x, y)` at x = y = 0": (lambda m, x: m.pow(x, m.zeros_(x)), [0], [NAN], [0]),
    "`relu` at NaN": (lambda m, x: m.relu(x), [NAN], [0], [1]),
    "`max`, `min` of what holds a NaN": (lambda m, x: m.max(x), [1, NAN], [NAN, NAN], [0, 0]),
    "`cumulative_prod` where an element is 0": (lambda m, x: m.cumulative_prod(x), [2, 0, 3], [1, 0, 0], [1, 8, 0]),
    "`hypot` at the origin": (lambda m, x: m.hypot(x, x), [0], [NAN], [0]),
}


class InTensorFlow:
    """TensorFlow under the names of graphc."""

    def __getattr__(self, name: str) -> Any:
        places = {"softmax": tf.nn, "relu": tf.nn}
        names = {"sum": "reduce_sum", "max": "reduce_max", "cumulative_prod": "cumprod"}
        return getattr(places.get(name, tf.math), names.get(name, name))

    where = staticmethod(lambda c, x, y: tf.where(c, x, y))
    logsumexp = staticmethod(lambda x: tf.reduce_logsumexp(x))
    hypot = staticmethod(lambda x, y: tf.sqrt(x * x + y * y))
    zeros_ = staticmethod(lambda x: tf.zeros_like(x))


class InGraphc:
    def __getattr__(self, name: str) -> Any:
        return getattr(gc, name)

    zeros_ = staticmethod(lambda x: gc.zeros(x.shape))


@pytest.mark.parametrize("row", GRADIENTS)
def test_gradients(row: str) -> None:
    function, values, theirs, ours = GRADIENTS[row]
    assert row in TEXT
    variable = tf.constant(values, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(function(InTensorFlow(), variable))
    np.testing.assert_array_equal(tape.gradient(total, variable).numpy(), theirs)
    x = gc.input("x", (len(values),))
    (gradient,) = evaluate([gc.grad(gc.sum(function(InGraphc(), x)), x)], [x], [np.array(values, np.float64)])
    np.testing.assert_array_equal(gradient, ours)


def value(node: gc.Node) -> Any:
    (found,) = evaluate([node], [], [])
    return found


def refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (tf.errors.InvalidArgumentError, TypeError):
        return True
    return False


def test_integers() -> None:
    one, zero, minus_one = (tf.constant([k]) for k in (1, 0, -1))
    assert refused(lambda: one // zero)
    assert refused(lambda: one % zero)
    assert refused(lambda: tf.pow(one, minus_one))
    assert refused(lambda: tf.gather(one, minus_one))
    assert refused(lambda: one + tf.constant(1.0))
    x = gc.constant([7, 5])
    assert value(x // 0 + x % 0).tolist() == [0, 0]
    assert value(gc.take(x, [-1])).tolist() == [5]
    assert value(x + 0.5).tolist() == [7.5, 5.5]
    assert (tf.reduce_mean([1, 2]).numpy(), value(gc.mean(gc.constant([1, 2])))) == (1, 1.5)
    bytes_ = np.array([100, 100], np.int8)
    assert (tf.reduce_sum(bytes_).numpy(), value(gc.sum(bytes_))) == (-56, 200)


def test_cumulative_sums() -> None:
    tenths = np.full(100_000, 0.1, np.float32)
    assert abs(tf.cumsum(tenths)[-1].numpy() - 10_000) > 1
    x = gc.input("x", tenths.shape, "float32")
    assert gc.compile([x], gc.cumulative_sum(x))(tenths)[-1] == np.float32(10_000)
    bytes_ = np.array([100, 100], np.int8)
    assert (tf.cumsum(bytes_)[1].numpy(), value(gc.cumulative_sum(bytes_))[1]) == (-56, 200)


def test_sorts_with_nan() -> None:
    x = [1.0, NAN, -2.0, 3.0]
    assert tf.sort(x).numpy()[3] == 3
    assert value(gc.argsort(x)).tolist() == [2, 0, 3, 1]
    assert value(gc.argsort(x, descending=True)).tolist() == [1, 3, 0, 2]
    assert (tf.argsort(x).dtype.name, gc.argsort(x).dtype.name) == ("int32", "int64")
    assert (tf.math.top_k(x, 1).indices.numpy().tolist(), value(gc.top_k(x, 1)[1]).tolist()) == ([3], [1])
    assert (tf.math.top_k(x, 1).indices.dtype.name, gc.top_k(x, 1)[1].dtype.name) == ("int32", "int64")


def test_extremes_with_nan() -> None:
    x = [1.0, NAN, 2.0]
    assert (tf.argmax(x).numpy(), value(gc.argmax(x))) == (2, 1)


def test_gradient_of_targets_that_do_not_add_up_to_one() -> None:
    target, logits = np.array([[1.0, 1.0, 0.0]]), np.array([[1.0, 2.0, 3.0]])
    shares = np.exp(logits) / np.exp(logits).sum()
    x = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.nn.softmax_cross_entropy_with_logits(target, x)
    np.testing.assert_allclose(tape.gradient(loss, x).numpy(), shares - target, rtol=1e-12)
    y = gc.input("y", (1, 3))
    loss = gc.losses.categorical_crossentropy(target, y, from_logits=True)
    np.testing.assert_allclose(evaluate([gc.grad(loss, y)], [y], [logits])[0], 2 * shares - target, rtol=1e-12)


def test_a_label_that_is_no_class() -> None:
    label, logits = np.array([5, 0]), np.array([[0.0, 0.0], [0.0, 0.0]])
    assert refused(lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits))
    y = gc.input("y", (2, 2))
    loss = gc.losses.sparse_categorical_crossentropy(label, y, from_logits=True)
    found, gradient = evaluate([loss, gc.grad(loss, y)], [y], [logits])
    assert np.isnan(found)
    assert gradient.tolist() == [[0.0, 0.0], [-0.25, 0.25]]
