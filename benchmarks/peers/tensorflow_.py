"""The programs in TensorFlow: `listing` is eager Keras under a GradientTape, as tutorials write it; `function` and
`jit_compile` are one tf.function over tf.Variables with TensorFlow's own fused Adam kernel, whose formula is Keras's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.experimental import numpy as tnp

from benchmarks.peers import Fit, Formulas, Program, batches_of
from benchmarks.reference import BETA1, BETA2, EPSILON, RATE, Arrays, weights_of
from benchmarks.workloads import Derivative


def configure(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def training(arrays: Arrays, variant: str) -> Program:
    return _listing(arrays) if variant == "listing" else _function(arrays, jit_compile=variant == "jit_compile")


def _model(arrays: Arrays) -> keras.Model:
    weights = list(weights_of(arrays).values())
    widths = [bias.size for bias in weights[1::2]]
    hidden = [keras.layers.Dense(width, activation="relu") for width in widths[:-1]]
    model = keras.Sequential([*hidden, keras.layers.Dense(widths[-1], activation="softmax")])
    model.build((None, arrays["x"].shape[1]))
    model.set_weights(weights)
    return model


def _tensors(arrays: Arrays) -> list[tuple[tf.Tensor, ...]]:
    return [tuple(tf.constant(array) for array in batch) for batch in batches_of(arrays)]


def _resetter(variables: list[Any]) -> Callable[[], None]:
    start = [np.array(variable) for variable in variables]

    def reset() -> None:
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)

    return reset


def _listing(arrays: Arrays) -> Program:
    weights = weights_of(arrays)
    model, adam = _model(arrays), keras.optimizers.Adam(RATE)
    adam.build(model.trainable_variables)
    crossentropy = keras.losses.CategoricalCrossentropy()

    def step(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = crossentropy(t, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        adam.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return Program(
        compile=lambda: step,
        batches=_tensors(arrays),
        state=lambda: dict(zip(weights, model.get_weights(), strict=True)),
        reset=_resetter([*model.trainable_variables, *adam.variables]),
    )


def _function(arrays: Arrays, jit_compile: bool) -> Program:
    params = {name: tf.Variable(value) for name, value in weights_of(arrays).items()}
    slots = [(p, tf.Variable(tf.zeros_like(p)), tf.Variable(tf.zeros_like(p))) for p in params.values()]
    power1, power2 = tf.Variable(1.0), tf.Variable(1.0)
    layers = len(params) // 2

    def step(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            h = x
            for i in range(1, layers):
                h = tf.nn.relu(tf.matmul(h, params[f"W{i}"]) + params[f"b{i}"])
            logits = tf.matmul(h, params[f"W{layers}"]) + params[f"b{layers}"]
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(t, logits))
        gradients = tape.gradient(loss, list(params.values()))
        beta1_power, beta2_power = power1.assign(power1 * BETA1), power2.assign(power2 * BETA2)
        for (p, m, v), gradient in zip(slots, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=p.handle, m=m.handle, v=v.handle, beta1_power=beta1_power, beta2_power=beta2_power,
                lr=RATE, beta1=BETA1, beta2=BETA2, epsilon=EPSILON, grad=gradient,
            )  # fmt: skip
        return loss

    return Program(
        compile=lambda: tf.function(step, jit_compile=jit_compile),
        batches=_tensors(arrays),
        state=lambda: {name: param.numpy() for name, param in params.items()},
        reset=_resetter([power1, power2, *(variable for row in slots for variable in row)]),
    )


def call(arrays: Arrays, variant: str) -> Program:
    def compiled() -> Callable[[Any], Any]:
        function = tf.function(lambda x: tf.reduce_sum(tf.tanh(x) ** 2), jit_compile=variant == "jit_compile")
        return lambda x: function(tf.constant(x)).numpy()  # without tf.constant, each call traces anew

    return Program(compile=compiled, batches=[(arrays["x"],)], state=dict, reset=lambda: None)


def fit(arrays: Arrays, variant: str) -> Fit:
    model = _model(arrays)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="categorical_crossentropy", metrics=["accuracy"])

    def train(epochs: int, shuffle: bool) -> Arrays:
        history = model.fit(
            arrays["x"], arrays["t"], batch_size=32, epochs=epochs, shuffle=shuffle, verbose=0,
            validation_data=(arrays["x_val"], arrays["t_val"]),
        ).history  # fmt: skip
        return {
            "loss": history["loss"],
            "validation_loss": history["val_loss"],
            "accuracy": history["val_accuracy"],
        }

    return Fit(train)


class Words(Formulas):
    """What the forms of a derivative call: TensorFlow's NumPy, and what is elsewhere."""

    sigmoid = staticmethod(tf.sigmoid)
    erf = staticmethod(tf.math.erf)
    pad = staticmethod(tf.pad)
    relu = staticmethod(tf.nn.relu)
    softmax = staticmethod(tf.nn.softmax)
    softplus = staticmethod(tf.nn.softplus)
    cumsum = staticmethod(tf.cumsum)

    def __getattr__(self, name: str) -> Any:
        return getattr(tnp, name)

    @staticmethod
    def logsumexp(x: Any, axis: int) -> Any:
        return tf.reduce_logsumexp(x, axis=axis)

    @staticmethod
    def concat(parts: Any, axis: int = 0) -> Any:
        return tf.concat(parts, axis)

    @staticmethod
    def take(x: Any, index: Any, axis: int) -> Any:
        return tf.gather(x, index, axis=axis)

    @staticmethod
    def matrix_transpose(x: Any) -> Any:
        return tf.linalg.matrix_transpose(x)

    @staticmethod
    def convolution(x: Any, w: Any, padding: int) -> Any:
        return tf.nn.conv2d(x, w, 1, [(0, 0), (padding, padding), (padding, padding), (0, 0)])

    @staticmethod
    def max_pool(x: Any, window: int) -> Any:
        return tf.nn.max_pool2d(x, window, window, "VALID")

    @staticmethod
    def scan(step: Any, init: Any, xs: Any, length: int | None = None, reverse: bool = False) -> Any:
        """A while loop over arrays of tensors; `maximum_iterations` is what XLA needs to differentiate it."""
        leaves = [] if xs is None else tf.nest.flatten(xs)
        count = leaves[0].shape[0] if leaves else length
        rows = [tf.TensorArray(x.dtype, size=count, element_shape=x.shape[1:]).unstack(x) for x in leaves]

        def taken(carry: Any, k: Any) -> Any:
            return step(carry, tf.nest.pack_sequence_as(xs, [row.read(k) for row in rows]) if rows else None)

        like = taken(init, 0)[1]  # nothing reads it, so it is left out
        wanted = [] if like is None else tf.nest.flatten(like)
        ys = [tf.TensorArray(y.dtype, size=count, element_shape=y.shape) for y in wanted]

        def body(k: Any, carry: Any, ys: Any) -> Any:
            at = count - 1 - k if reverse else k
            carry, found = taken(carry, at)
            written = tf.nest.flatten(found) if ys else []
            return k + 1, carry, [y.write(at, value) for y, value in zip(ys, written, strict=True)]

        start = (tf.constant(0), init, ys)
        _, carry, ys = tf.while_loop(lambda k, *_: k < count, body, start, maximum_iterations=count)
        return carry, tf.nest.pack_sequence_as(like, [y.stack() for y in ys]) if ys else None

    @staticmethod
    def value_and_grad(function: Any, tree: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(tree)
            value, more = function(tree)
        grads = tape.gradient(value, tree, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return (value, more), tf.nest.map_structure(tf.convert_to_tensor, grads)

    @classmethod
    def gradient(cls, function: Any, tree: Any) -> Any:
        return cls.value_and_grad(lambda tree: (function(tree), None), tree)[1]


def derivative(workload: Derivative, size: str, form: str, variant: str, arrays: Arrays) -> dict[str, Program]:
    tnp.experimental_enable_numpy_behavior()
    constants = {name: arrays[name] for name in workload.constants}
    inputs = {name: tf.constant(array) for name, array in arrays.items() if name not in constants}

    def program(measure: str) -> Program:
        def results(inputs: Arrays) -> Arrays:
            return workload.results(Words(), form, size, {**constants, **inputs})[measure]()

        def compiled() -> Callable[[Arrays], Arrays]:
            return tf.function(results, jit_compile="jit_compile" in variant.split())

        return Program(compile=compiled, batches=[(inputs,)], state=dict, reset=lambda: None)

    return {measure: program(measure) for measure in workload.timed}
