"""Convolution and pooling against NumPy and TensorFlow, in every way of running, and their layers against Keras's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from support_loops import check_slopes

import graphc as gc
from graphc.errors import DeclarationError, InputError, ShapeError
from graphc.graph import Graph
from graphc.interpret import interpret
from graphc.op import REGISTRY
from graphc.types import FLOATS, DType

Values = np.ndarray[Any, Any]
nn = gc.nn
OFF = {"float32": 2e-5, "float64": 1e-12}  # of the largest value; sums of up to some 10,000 products

# x, w, keywords of gc.convolution
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "first layer": ((3, 28, 28, 1), (5, 5, 1, 6), {"padding": "same"}),
    "second layer": ((3, 14, 14, 6), (5, 5, 6, 16), {}),
    "wide": ((2, 9, 8, 40), (3, 3, 40, 70), {"padding": "same"}),
    "deep": ((1, 4, 5, 300), (3, 3, 300, 9), {"padding": "same"}),
    "a row": ((2, 300, 5), (7, 5, 11), {"strides": 2}),
    "one channel, one filter": ((2, 33, 34, 1), (3, 3, 1, 1), {}),
    "one place": ((2, 9, 7, 12), (1, 1, 12, 20), {}),
    "one place, apart": ((2, 9, 7, 12), (1, 1, 12, 20), {"strides": 2}),
    "strides beyond the kernel": ((2, 13, 11, 3), (2, 2, 3, 4), {"strides": (3, 4)}),
    "strides, same": ((2, 13, 12, 3), (3, 4, 3, 4), {"strides": (2, 3), "padding": "same"}),
    "dilation": ((2, 15, 14, 3), (3, 2, 3, 5), {"dilation": (2, 3)}),
    "dilation, same": ((2, 15, 14, 3), (3, 2, 3, 5), {"dilation": 3, "padding": "same"}),
    "as large as the image": ((2, 5, 6, 3), (5, 6, 3, 4), {}),
    "larger than the image": ((2, 3, 4, 3), (7, 6, 3, 4), {"padding": "same"}),
    "explicit": ((2, 5, 6, 3), (3, 3, 3, 4), {"padding": ((4, 0), (1, 3)), "strides": 2}),
    "groups": ((2, 8, 9, 12), (3, 3, 4, 15), {"groups": 3}),
    "groups, apart": ((2, 8, 9, 12), (3, 3, 4, 15), {"groups": 3, "strides": 2, "padding": "same"}),
    "depthwise": ((2, 10, 9, 20), (3, 3, 1, 20), {"groups": 20, "padding": "same"}),
    "depthwise, apart": ((2, 10, 9, 20), (3, 3, 1, 20), {"groups": 20, "padding": "same", "strides": 2}),
    "depthwise, several": ((2, 10, 9, 5), (3, 3, 1, 15), {"groups": 5}),
    "depthwise, far": ((1, 30, 29, 3), (9, 9, 1, 3), {"groups": 3}),
    "volume": ((2, 5, 4, 6, 3), (2, 3, 2, 3, 4), {"padding": "same", "strides": (1, 2, 1)}),
    "length 1": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "no image": ((0, 5, 6, 3), (3, 3, 3, 4), {}),
    "no channel": ((2, 5, 6, 0), (3, 3, 0, 4), {}),
    "no filter": ((2, 5, 6, 3), (3, 3, 3, 0), {}),
}
over_cases = pytest.mark.parametrize("case", CASES)
POOLS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "pairs": ((3, 28, 28, 6), 2, {}),
    "odd": ((2, 15, 13, 5), 2, {}),
    "odd, same": ((2, 15, 13, 5), 2, {"padding": "same"}),
    "overlapping": ((2, 12, 13, 5), 3, {"strides": 2, "padding": "same"}),
    "each": ((2, 7, 6, 17), (3, 2), {"strides": 1, "padding": "same"}),
    "apart": ((2, 17, 16, 3), 2, {"strides": (3, 4)}),
    "long": ((2, 40, 3), 20, {"strides": 3, "padding": "same"}),
    "whole": ((2, 5, 6, 3), (5, 6), {}),
    "row": ((2, 31, 4), 3, {}),
}
over_pools = pytest.mark.parametrize("case", POOLS)


def drawn(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Values:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def close(actual: Any, expected: Any, what: str = "") -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    largest = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=OFF[actual.dtype.name] * largest, err_msg=what)


def with_gradients(function: Callable[..., Any], arrays: list[Values], symbolic: bool = False, **options: Any) -> Any:
    """The value, and the gradients of its sum with weights; every size but those of the kernel is known at the call."""
    shapes = [tuple(f"d{k}" for k in range(a.ndim - 1)) + a.shape[-1:] if symbolic else a.shape for a in arrays[:1]]
    shapes += [a.shape for a in arrays[1:]]
    inputs = [gc.input(f"x{k}", shape, a.dtype) for k, (shape, a) in enumerate(zip(shapes, arrays, strict=True))]
    y = function(*inputs)
    weights = gc.input("weights", y.shape, y.dtype)
    gradients = gc.grad(gc.sum(y * weights), inputs)
    compiled = gc.compile([*inputs, weights], [y, *gradients], options=gc.Options(**options))
    known = interpret(Graph((y,), tuple(inputs)), arrays)[0].shape if symbolic else y.shape
    return compiled(*arrays, drawn(known, arrays[0].dtype, 1))


def in_tensorflow(function: Callable[..., Any], arrays: list[Values]) -> list[Values]:
    variables = [tf.constant(a) for a in arrays]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        y = function(*variables)
        total = tf.reduce_sum(y * drawn(tuple(y.shape), arrays[0].dtype, 1))
    return [y.numpy(), *(tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, variables))]


def convolving(case: str, dtype: Any = np.float64) -> tuple[Callable[..., Any], list[Values]]:
    x, w, keywords = CASES[case]
    return lambda x, w: gc.convolution(x, w, **keywords), [drawn(x, dtype), drawn(w, dtype)]


def pooling(name: str, case: str, dtype: Any = np.float64) -> tuple[Callable[..., Any], list[Values]]:
    x, window, keywords = POOLS[case]
    return lambda x: getattr(gc, name)(x, window, **keywords), [drawn(x, dtype)]


# Against TensorFlow


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@over_cases
def test_convolution_and_its_gradients_are_those_of_tensorflow(case: str, dtype: DType) -> None:
    function, arrays = convolving(case, dtype.numpy)
    got = with_gradients(function, arrays)
    if 0 in got[0].shape or 0 in arrays[0].shape:  # TensorFlow refuses empty kernels
        assert all(not g.any() for g in got)
        return
    *_, keywords = CASES[case]
    expected = in_tensorflow(lambda x, w: REGISTRY["convolution"].tf(tf, x, w, **keywords), arrays)
    for actual, right in zip(got, expected, strict=True):
        close(actual, right, case)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@over_pools
def test_pooling_and_its_gradient_are_those_of_tensorflow(case: str, name: str, dtype: DType) -> None:
    function, arrays = pooling(name, case, dtype.numpy)
    _, window, keywords = POOLS[case]
    expected = in_tensorflow(lambda x: REGISTRY[name].tf(tf, x, window, **keywords), arrays)
    for actual, right in zip(with_gradients(function, arrays), expected, strict=True):
        close(actual, right, case)


@over_pools
def test_the_first_of_equal_values_gets_the_whole_gradient(case: str) -> None:
    shape, window, keywords = POOLS[case]
    arrays = [np.random.default_rng(0).integers(0, 2, shape).astype(np.float64)]
    function = pooling("max_pool", case)[0]
    expected = in_tensorflow(lambda x: REGISTRY["max_pool"].tf(tf, x, window, **keywords), arrays)
    np.testing.assert_allclose(with_gradients(function, arrays)[1], expected[1], rtol=0, atol=1e-14)


def test_nan_and_infinities() -> None:
    x = np.zeros((1, 8, 1))
    x[0, [1, 4, 6], 0] = np.nan, -np.inf, np.inf
    node = gc.input("x", x.shape)
    largest, mean = gc.compile([node], [gc.max_pool(node, 2), gc.avg_pool(node, 2)])(x)
    np.testing.assert_array_equal(largest[0, :, 0], [np.nan, 0, 0, np.inf])
    np.testing.assert_array_equal(mean[0, :, 0], [np.nan, 0, -np.inf, np.inf])


# Second order, batches


@pytest.mark.parametrize("case", ["strides, same", "dilation", "groups, apart", "depthwise, apart", "explicit"])
def test_second_derivatives_are_slopes(case: str) -> None:
    x, w, keywords = CASES[case]
    arrays = [drawn((1, *x[1:]), np.float64), drawn(w, np.float64)]
    inputs = [gc.input(f"x{k}", a.shape) for k, a in enumerate(arrays)]
    gradients = gc.grad(gc.sum(gc.sin(gc.convolution(*inputs, **keywords))), inputs)
    check_slopes(gc.sum(gc.sin(gradients[0])) + gc.sum(gc.sin(gradients[1])), inputs, arrays)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("case", ["strides, same", "groups, apart", "depthwise"])
def test_vmap(case: str, axes: tuple[int | None, int | None]) -> None:
    """Examples at once are as one after the other, and so are their gradients."""
    x, w, keywords = CASES[case]
    shapes = [shape if axis is None else (3, *shape) for shape, axis in zip((x, w), axes, strict=True)]
    arrays = [drawn(shape, np.float64) for shape in shapes]
    batched = with_gradients(gc.vmap(lambda x, w: gc.convolution(x, w, **keywords), in_axes=axes), arrays)

    def one_by_one(x: Any, w: Any) -> Any:
        pairs = [(x if axes[0] is None else x[k], w if axes[1] is None else w[k]) for k in range(3)]
        return gc.stack([gc.convolution(*pair, **keywords) for pair in pairs])

    for actual, expected in zip(batched, with_gradients(one_by_one, arrays), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("case", ["overlapping", "long"])
def test_vmap_of_pooling(case: str, name: str) -> None:
    function, (x,) = pooling(name, case)
    arrays = [np.stack([x, x[::-1], -x])]
    one_by_one = with_gradients(lambda x: gc.stack([function(x[k]) for k in range(3)]), arrays)
    for actual, expected in zip(with_gradients(gc.vmap(function), arrays), one_by_one, strict=True):
        close(actual, expected)


# What TensorFlow has not, against NumPy


@pytest.mark.parametrize(
    ("name", "shapes", "keywords"),
    [
        ("convolution", ((2, 13, 12, 3), (3, 2, 3, 4)), {"strides": (2, 3), "dilation": (3, 2), "padding": 3}),
        ("convolution", ((2, 13, 3), (3, 3, 4)), {"strides": 2, "dilation": 2, "padding": "same"}),
        ("convolution", ((2, 13, 4), (3, 1, 8)), {"strides": 2, "dilation": 3, "groups": 4}),
        ("max_pool", ((2, 4, 5, 6, 2),), {"window": 2}),
        ("avg_pool", ((2, 4, 5, 6, 2),), {"window": 2, "padding": "same"}),
        ("max_pool", ((2, 9, 8, 2),), {"window": 3, "padding": ((1, 2), (0, 1))}),
        ("avg_pool", ((2, 9, 8, 2),), {"window": (4, 3), "strides": 2, "padding": 2}),
        ("convolution", ((2, 9, 0), (3, 0, 4)), {}),
        ("convolution", ((0, 9, 2), (3, 2, 4)), {}),
        ("max_pool", ((2, 9, 0),), {"window": 3}),
        ("avg_pool", ((2, 9, 0),), {"window": 3}),
    ],
)
def test_values_are_those_of_numpy_and_gradients_slopes(name: str, shapes: Any, keywords: Any) -> None:
    arrays = [drawn(shape, np.float64) for shape in shapes]
    inputs = [gc.input(f"x{k}", a.shape) for k, a in enumerate(arrays)]
    y = getattr(gc, name)(*inputs, **keywords)
    (got,) = gc.compile(inputs, [y])(*arrays)
    close(got, REGISTRY[name].reference(*arrays, **keywords))
    check_slopes(gc.sum(gc.sin(y)), inputs, arrays)


# Ways of running


@over_cases
def test_sizes_that_the_call_knows(case: str) -> None:
    function, arrays = convolving(case)
    for actual, expected in zip(with_gradients(function, arrays, True), with_gradients(function, arrays), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("images", [0, 1, 2, 3, 5, 7, 8, 9, 17])
def test_the_gradient_of_the_kernel_by_parts_of_the_images(images: int, known: bool) -> None:
    """Parts are cut for any number of images: some are shorter, some are empty."""
    x, w = gc.input("x", (images if known else "n", 28, 28, 1)), gc.input("w", (5, 5, 1, 6))
    t = gc.input("t", (images if known else "n", 24, 24, 6))
    f = gc.compile([x, w, t], gc.grad(gc.sum(gc.convolution(x, w) * t), w))
    image, wanted = drawn((images, 28, 28, 1), "f8"), drawn((images, 24, 24, 6), "f8", 1)
    windows = np.lib.stride_tricks.sliding_window_view(image, (24, 24), (1, 2))
    expected = np.einsum("nijcab,nabf->ijcf", windows, wanted)
    np.testing.assert_allclose(f(image, np.ones((5, 5, 1, 6)), wanted), expected, rtol=1e-10, atol=1e-10)
    assert "combine product" in str(f.source) or (known and images < 3)


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@over_pools
def test_sizes_that_the_call_knows_in_pooling(case: str, name: str) -> None:
    function, arrays = pooling(name, case)
    for actual, expected in zip(with_gradients(function, arrays, True), with_gradients(function, arrays), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("symbolic", [False, True], ids=["known", "symbolic"])
@over_cases
def test_interpreted_loops_touch_nothing_else(case: str, symbolic: bool) -> None:
    x, w, keywords = CASES[case]
    groups = keywords.get("groups", 1)
    channels, filters = min(w[-2], 20), min(w[-1], 20 - 20 % groups if groups <= 20 else groups)
    batch, *lengths = (min(d, limit) for d, limit in zip(x[:-1], (2, *(14,) * len(x)), strict=False))
    small = [drawn((batch, *lengths, channels * groups), np.float32), drawn((*w[:-2], channels, filters), np.float32)]
    function = lambda x, w: gc.convolution(x, w, **keywords)  # noqa: E731
    got = with_gradients(function, small, symbolic, debug=True)
    for actual, expected in zip(got, with_gradients(function, small), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@over_pools
def test_interpreted_loops_of_pooling(case: str, name: str) -> None:
    function, (x,) = pooling(name, case)
    got = with_gradients(function, [x[:1]], debug=True)
    for actual, expected in zip(got, with_gradients(function, [x[:1]]), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("case", ["first layer", "second layer", "wide", "deep", "a row", "depthwise", "groups, apart"])
def test_bits_are_the_same_for_every_number_of_threads(case: str) -> None:
    x, w, keywords = CASES[case]
    arrays = [drawn((16, *x[1:]), np.float32), drawn(w, np.float32)]
    results = [
        with_gradients(lambda x, w: gc.convolution(x, w, **keywords), arrays, threads=threads) for threads in (1, 2, 3)
    ]
    for other in results[1:]:
        for actual, expected in zip(other, results[0], strict=True):
            assert actual.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint16", "int64"])
def test_integers(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.integers(0, 5, shape).astype(dtype) for shape in ((2, 6, 5, 3), (3, 2, 3, 4)))
    nodes = [gc.input("x", x.shape, dtype), gc.input("w", w.shape, dtype)]
    got = gc.compile(nodes, [gc.convolution(*nodes, padding="same"), gc.max_pool(nodes[0], 2, padding="same")])(x, w)
    assert got[0].dtype == got[1].dtype == dtype
    np.testing.assert_array_equal(got[0], REGISTRY["convolution"].reference(x, w, padding="same"))
    np.testing.assert_array_equal(got[1], REGISTRY["max_pool"].reference(x, 2, padding="same"))


# Bad input


def test_a_size_of_the_call_that_does_not_fit_is_refused_before_anything_runs() -> None:
    x, w = gc.input("x", ("n", "d", 2)), gc.input("w", (3, 2, 4))
    for y in (gc.convolution(x, w), gc.convolution(x, w, strides=2)):
        run = gc.compile([x, w], y)
        assert run(np.ones((2, 3, 2)), np.ones((3, 2, 4))).shape == (2, 1, 4)
        for size in (0, 1, 2):
            with pytest.raises(InputError, match="reaches over 3 elements") as caught:
                run(np.ones((2, size, 2)), np.ones((3, 2, 4)))
            assert __file__ in str(caught.value)


def test_pooling_of_a_size_of_the_call_that_does_not_fit_is_refused() -> None:
    x = gc.input("x", ("n", "d", 2))
    for name in ("max_pool", "avg_pool"):
        run = gc.compile([x], getattr(gc, name)(x, 3))
        assert run(np.ones((2, 3, 2))).shape == (2, 1, 2)
        with pytest.raises(InputError):
            run(np.ones((2, 2, 2)))


# Layers

LAYERS: dict[str, tuple[tuple[int, ...], str, tuple[Any, ...], dict[str, Any]]] = {
    "Conv1D": ((2, 9, 3), "Conv1D", (4, 3), {"strides": 2, "padding": "same", "activation": "relu"}),
    "Conv1D, dilated": ((2, 9, 3), "Conv1D", (4, 3), {"dilation_rate": 2, "use_bias": False}),
    "Conv2D": ((2, 8, 7, 3), "Conv2D", (4, (3, 2), (2, 1), "same"), {}),
    "Conv2D in groups": ((2, 8, 7, 4), "Conv2D", (6, 3), {"groups": 2, "activation": "tanh"}),
    "DepthwiseConv2D": ((2, 8, 7, 3), "DepthwiseConv2D", (3,), {"depth_multiplier": 2, "padding": "same"}),
    "DepthwiseConv2D, apart": ((2, 8, 7, 3), "DepthwiseConv2D", ((2, 2), (2, 2)), {}),
    "MaxPooling1D": ((2, 9, 3), "MaxPooling1D", (), {}),
    "MaxPooling2D": ((2, 8, 7, 3), "MaxPooling2D", (3, 2, "same"), {}),
    "AveragePooling1D": ((2, 9, 3), "AveragePooling1D", (2,), {"padding": "same"}),
    "AveragePooling2D": ((2, 8, 7, 3), "AveragePooling2D", ((3, 2),), {"strides": 1, "padding": "same"}),
    "GlobalAveragePooling1D": ((2, 9, 3), "GlobalAveragePooling1D", (), {}),
    "GlobalAveragePooling2D": ((2, 8, 7, 3), "GlobalAveragePooling2D", (), {"keepdims": True}),
    "GlobalMaxPooling1D": ((2, 9, 3), "GlobalMaxPooling1D", (), {"keepdims": True}),
    "GlobalMaxPooling2D": ((2, 8, 7, 3), "GlobalMaxPooling2D", (), {}),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_are_those_of_keras(case: str) -> None:
    """The same names of weights, shapes, values and gradients."""
    shape, name, args, keywords = LAYERS[case]
    x = drawn(shape, np.float32)
    ours, theirs = getattr(nn, name)(*args, **keywords), getattr(keras.layers, name)(*args, **keywords)
    node = gc.input("x", ("batch", *shape[1:]), "float32")
    y = ours(node)
    theirs.build(shape)
    weights = ours.parameters()
    assert [(w.name.rpartition("/")[2], w.shape) for w in weights] == [(w.name, tuple(w.shape)) for w in theirs.weights]
    for k, (mine, other) in enumerate(zip(weights, theirs.weights, strict=True)):
        value = drawn(tuple(other.shape), np.float32, k)
        mine.assign(value)
        other.assign(value)
    seeds = drawn(tuple(theirs.compute_output_shape(shape)), np.float32, 1)
    got = gc.compile([node], [y, *gc.grad(gc.sum(y * seeds), [node, *weights])])(x)
    variables = [tf.constant(x), *(w.value for w in theirs.weights)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        result = theirs(variables[0])
        total = tf.reduce_sum(result * seeds)
    for actual, expected in zip(got, [result, *tape.gradient(total, variables)], strict=True):
        close(actual, expected.numpy(), case)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: nn.Conv2D(0, 3), DeclarationError, "filters is an int of at least 1"),
        (lambda: nn.Conv2D(4, (3, 3, 3)), ShapeError, "each of the 2 spatial axes"),
        (lambda: nn.Conv2D(4, 3, padding="full"), DeclarationError, "'valid' or 'same'"),
        (lambda: nn.Conv2D(4, 3, groups=3), DeclarationError, "3 groups must divide the 4 filters"),
        (lambda: nn.Conv1D(4, 3, strides=0), ShapeError, "strides"),
        (lambda: nn.Conv1D(4, 3, activation="no"), DeclarationError, "an activation is one of"),
        (lambda: nn.Conv1D(4, 3, kernel_initializer="no"), DeclarationError, "no initialiser"),
        (lambda: nn.DepthwiseConv2D(3, depth_multiplier=0), DeclarationError, "depth_multiplier"),
        (lambda: nn.MaxPooling2D((2, 0)), ShapeError, "pool_size"),
        (lambda: nn.AveragePooling1D(2, padding=1), DeclarationError, "'valid' or 'same'"),
    ],
)
def test_wrong_arguments_of_layers_are_refused_where_they_are_written(make: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "says"),
    [
        (nn.Conv2D(4, 3), ("batch", 8, 3), "Conv2D takes"),
        (nn.Conv2D(4, 3), ("batch", 8, 8, "channels"), "channels a number"),
        (nn.Conv2D(4, 3, groups=2), ("batch", 8, 8, 3), "2 groups must divide the 3 channels"),
        (nn.Conv2D(4, 9), ("batch", 8, 8, 3), "reaches over 9 elements, and the axis has 8"),
        (nn.MaxPooling2D(), ("batch", 8, 3), "MaxPooling2D takes"),
        (nn.MaxPooling2D(9), ("batch", 8, 8, 3), "reaches over 9"),
        (nn.GlobalAveragePooling2D(), ("batch", 3), "GlobalAveragePooling2D takes"),
    ],
)
def test_inputs_that_do_not_fit_a_layer(layer: Any, shape: Any, says: str) -> None:
    with pytest.raises(ShapeError, match=says) as caught:
        layer(gc.input("x", shape))
    assert __file__ in str(caught.value)


def test_layers_are_shown_as_they_are_written() -> None:
    assert repr(nn.Conv2D(4, (3, 2), padding="same", groups=2)) == "Conv2D(4, (3, 2), padding='same', groups=2)"
    assert repr(nn.MaxPooling2D()) == "MaxPooling2D()"
