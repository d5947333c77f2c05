"""Losses: values and gradients against Keras, the choice between logits and clipping, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import evaluate

import graphc as gc

Values = np.ndarray[Any, Any]


def probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Values in [0, 1] that do not add up to 1, exact zeros and ones among them."""
    p = rng.uniform(0.0, 1.0, shape)
    p.flat[::5], p.flat[1::7] = 0.0, 1.0
    return p


def one_hot(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]


def labels(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return rng.integers(0, shape[-1], shape[:-1])


def logits(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return rng.normal(0.0, 3.0, shape)


def extreme(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Logits whose softmax and sigmoid round to 0 and 1."""
    return rng.choice([-1e4, -200.0, -90.0, -30.0, 0.0, 17.0, 89.0, 710.0, 1e4], shape)


CASES: list[tuple[str, Callable[..., Values], Callable[..., Values], dict[str, Any]]] = [
    ("mean_squared_error", logits, logits, {}),
    ("binary_crossentropy", probabilities, probabilities, {}),
    ("binary_crossentropy", one_hot, probabilities, {"label_smoothing": 0.2}),
    ("binary_crossentropy", one_hot, logits, {"from_logits": True}),
    ("binary_crossentropy", one_hot, extreme, {"from_logits": True, "label_smoothing": 0.1}),
    ("categorical_crossentropy", one_hot, probabilities, {}),
    ("categorical_crossentropy", one_hot, probabilities, {"label_smoothing": 0.1}),
    ("categorical_crossentropy", one_hot, logits, {"from_logits": True}),
    ("categorical_crossentropy", one_hot, logits, {"from_logits": True, "label_smoothing": 0.3}),
    ("categorical_crossentropy", one_hot, extreme, {"from_logits": True}),
    ("sparse_categorical_crossentropy", labels, probabilities, {}),
    ("sparse_categorical_crossentropy", labels, logits, {"from_logits": True}),
    ("sparse_categorical_crossentropy", labels, extreme, {"from_logits": True}),
    ("kl_divergence", probabilities, probabilities, {}),
]


def of_keras(name: str, y_true: Values, y_pred: Values, **options: Any) -> tuple[Values, Values]:
    """The mean of Keras's loss over the samples, and its gradient."""
    y = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y)
        loss = tf.reduce_mean(getattr(keras.losses, name)(tf.constant(y_true), y, **options))
    return loss.numpy(), tape.gradient(loss, y).numpy()


def of_graphc(
    loss: Callable[..., gc.Node], y_true: Values, y_pred: Values, before: Callable[..., Any] = lambda x: x
) -> tuple[Values, Values]:
    """The loss of before(y_pred) and its gradient with respect to y_pred."""
    t = gc.input("t", ("batch", *y_true.shape[1:]), y_true.dtype)
    y = gc.input("y", ("batch", *y_pred.shape[1:]), y_pred.dtype)
    value = loss(t, before(y))
    assert value.shape == ()
    assert value.dtype == y.dtype
    found = evaluate([value, gc.grad(value, y)], [t, y], [y_true, y_pred])
    return found[0], found[1]


def drawn(true: Callable[..., Values], pred: Callable[..., Values], shape: tuple[int, ...]) -> tuple[Values, Values]:
    rng = np.random.default_rng(len(shape))
    return true(rng, shape), pred(rng, shape)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 6)], ids=str)
@pytest.mark.parametrize(("name", "true", "pred", "options"), CASES)
def test_equals_keras(name: str, true: Any, pred: Any, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    y_true, y_pred = drawn(true, pred, shape)
    value, gradient = of_graphc(lambda t, y: getattr(gc.losses, name)(t, y, **options), y_true, y_pred)
    expected, slope = of_keras(name, y_true, y_pred, **options)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-15 * np.abs(slope).max())


@pytest.mark.parametrize("options", [{"axis": 1}, {"axis": 1, "from_logits": True}], ids=str)
def test_classes_along_another_axis(options: dict[str, Any]) -> None:
    y_true, y_pred = drawn(probabilities, probabilities, (2, 3, 6))
    y_true = y_true / y_true.sum(axis=1, keepdims=True)  # TensorFlow's gradient takes every target for a distribution
    value, gradient = of_graphc(lambda t, y: gc.losses.categorical_crossentropy(t, y, **options), y_true, y_pred)
    expected, slope = of_keras("categorical_crossentropy", y_true, y_pred, **options)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-15 * np.abs(slope).max())


@pytest.mark.parametrize(
    ("name", "true", "squash"),
    [
        ("binary_crossentropy", one_hot, gc.sigmoid),
        ("categorical_crossentropy", one_hot, gc.softmax),
        ("sparse_categorical_crossentropy", labels, gc.softmax),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_softmax_or_sigmoid_is_taken_by_its_logits(name: str, true: Any, squash: Any, dtype: str) -> None:
    y_true, x = drawn(true, extreme, (6, 5))
    x = x.astype(dtype)
    value, gradient = of_graphc(getattr(gc.losses, name), y_true, x, squash)
    expected, slope = of_keras(name, y_true.astype(dtype) if true is one_hot else y_true, x, from_logits=True)
    assert expected > 100.0  # clipped to 1e-7 it could not exceed 16.2
    epsilon = np.finfo(dtype).eps
    np.testing.assert_allclose(value, expected, rtol=4 * epsilon)
    np.testing.assert_allclose(gradient, slope, rtol=20 * epsilon, atol=epsilon)


def test_what_is_no_softmax_along_the_classes_is_clipped() -> None:
    t, x = gc.input("t", ("batch", 3)), gc.input("x", ("batch", 3))
    target, values = np.array([[1.0, 0.0, 0.0]] * 2), np.array([[-1e3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = (np.log(1e7) + np.log(3)) / 2
    scaled, spelt_out = gc.softmax(x) * 2.0, gc.exp(x) / gc.sum(gc.exp(x), axis=-1, keepdims=True)
    for y, other in ((scaled, expected), (spelt_out, expected), (gc.softmax(x, axis=0), (np.log(1e7) + np.log(2)) / 2)):
        (loss,) = evaluate([gc.losses.categorical_crossentropy(t, y)], [t, x], [target, values])
        np.testing.assert_allclose(loss, other)


def test_from_logits_on_a_softmax_warns_as_keras_does() -> None:
    t, x = gc.input("t", ("batch", 3)), gc.input("x", ("batch", 3))
    with pytest.warns(UserWarning, match="its argument is taken as the logits"):
        loss = gc.losses.categorical_crossentropy(t, gc.softmax(x), from_logits=True)
    assert loss is gc.losses.categorical_crossentropy(t, gc.softmax(x))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("mean_squared_error", ((4,), (4, 1))),
        ("binary_crossentropy", ((4,), (4, 1))),
        ("mean_squared_error", ((4, 1), (4,))),
    ],
)
def test_a_last_dimension_of_1_may_be_missing(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    y_true, y_pred = (rng.uniform(0.1, 0.9, s) for s in shapes)
    value, gradient = of_graphc(getattr(gc.losses, name), y_true, y_pred)
    expected, slope = of_keras(name, y_true.reshape(4, 1), y_pred.reshape(4, 1))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope.reshape(shapes[1]), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_labels_of_any_integer_dtype_and_with_a_last_dimension(dtype: str) -> None:
    y_true, y_pred = drawn(labels, logits, (7, 4))
    loss = gc.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected, _ = of_keras("sparse_categorical_crossentropy", y_true, y_pred, from_logits=True)
    for target in (y_true.astype(dtype), y_true.astype(dtype)[:, None]):
        np.testing.assert_allclose(of_graphc(loss, target, y_pred)[0], expected)


def test_small_labels_of_many_classes() -> None:
    y_true, y_pred = np.array([0, 44, 255], np.uint8), np.random.default_rng(0).normal(size=(3, 600))
    value, gradient = of_graphc(gc.losses.SparseCategoricalCrossentropy(from_logits=True), y_true, y_pred)
    expected, slope = of_keras("sparse_categorical_crossentropy", y_true.astype("int64"), y_pred, from_logits=True)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_label_that_is_no_class_makes_the_loss_nan_and_leaves_the_gradient(wrong: int) -> None:
    y_true, y_pred = np.array([1, wrong, 2]), np.random.default_rng(0).normal(size=(3, 4))
    loss = gc.losses.SparseCategoricalCrossentropy(from_logits=True)
    value, gradient = of_graphc(loss, y_true, y_pred)
    assert np.isnan(value)
    np.testing.assert_array_equal(gradient[1], 0.0)
    np.testing.assert_allclose(gradient[[0, 2]], of_graphc(loss, y_true[[0, 2]], y_pred[[0, 2]])[1] * 2 / 3)


def test_objects_hold_the_options_of_the_functions() -> None:
    t, y, label = gc.input("t", ("batch", 3)), gc.input("y", ("batch", 3)), gc.input("label", ("batch",), "int64")
    lo = gc.losses
    assert lo.MeanSquaredError()(t, y) is lo.mean_squared_error(t, y)
    assert lo.KLDivergence()(t, y) is lo.kl_divergence(t, y)
    assert lo.BinaryCrossentropy(True, 0.1)(t, y) is lo.binary_crossentropy(t, y, True, 0.1)
    assert lo.CategoricalCrossentropy(False, 0.1)(t, y) is lo.categorical_crossentropy(t, y, False, 0.1)
    assert lo.SparseCategoricalCrossentropy(True)(label, y) is lo.sparse_categorical_crossentropy(label, y, True)


def test_compiled_losses_equal_the_oracle() -> None:
    rng = np.random.default_rng(3)
    t, x = (gc.input(name, ("n", 10), "float32") for name in "tx")
    label = gc.input("label", ("n",), "uint8")
    lo = gc.losses
    found = [
        lo.mean_squared_error(t, x),
        lo.binary_crossentropy(t, gc.sigmoid(x)),
        lo.binary_crossentropy(t, gc.abs(x)),
        lo.categorical_crossentropy(t, gc.softmax(x)),
        lo.categorical_crossentropy(t, gc.abs(x)),
        lo.sparse_categorical_crossentropy(label, gc.softmax(x)),
        lo.sparse_categorical_crossentropy(label, gc.abs(x)),
        lo.kl_divergence(t, gc.abs(x)),
    ]
    outputs = found + [gc.grad(loss, x) for loss in found]
    target, pred = (draw(rng, (33, 10)).astype("float32") for draw in (one_hot, logits))
    values = [target, pred, target.argmax(1).astype("uint8")]
    compiled = gc.compile([t, x, label], outputs)(*values)
    for a, b in zip(compiled, evaluate(outputs, [t, x, label], values), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda lo, t, y: lo.categorical_crossentropy(t[:, 0], y), gc.ShapeError, "y_true has y_pred's shape"),
        (lambda lo, t, y: lo.mean_squared_error(t[:, :1], y), gc.ShapeError, "y_true has y_pred's shape"),
        (lambda lo, t, y: lo.mean_squared_error(gc.input("u", (1, 3)), y), gc.ShapeError, "input 'u': float64"),
        (lambda lo, t, y: lo.sparse_categorical_crossentropy(t, y), gc.DTypeError, "labels are integers"),
        (lambda lo, t, y: lo.sparse_categorical_crossentropy(gc.astype(t, "int64"), y), gc.ShapeError, "classes"),
        (lambda lo, t, y: lo.kl_divergence(t, gc.astype(y, "int64")), gc.DTypeError, "y_pred is float"),
        (lambda lo, t, y: lo.binary_crossentropy(t, y, label_smoothing=2.0), gc.DeclarationError, "label_smoothing"),
        (lambda lo, t, y: lo.categorical_crossentropy(t, y, axis=2), gc.ShapeError, "axis 2 does not exist"),
        (lambda lo, t, y: lo.get("hinge"), gc.DeclarationError, "a loss is one of mean_squared_error, mse"),
        (lambda lo, t, y: lo.get(lo.MeanSquaredError), gc.DeclarationError, "a loss is one of"),
    ],
)
def test_refused(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call(gc.losses, gc.input("t", ("batch", 3)), gc.input("y", ("batch", 3)))
