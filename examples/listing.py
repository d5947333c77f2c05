"""The same training program in Keras and in graphc, from the same initial weights, step by step.

    python examples/listing.py [--steps 200]

Needs TensorFlow, which the `test` and `bench` extras bring.  Prints the losses of both and the largest relative
difference; the exit status is 1 if that exceeds 1e-4.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from mnist import TRAIN, Values, listing, load

import graphc as gc

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by TensorFlow when it is imported

BATCH = 32
TOLERANCE = 1e-4


def batches(images: Values, rows: Values, steps: int) -> Iterator[tuple[Values, Values]]:
    """Minibatches in the order of the samples, from the start again when they are used up."""
    for k in range(steps):
        at = np.arange(k * BATCH, (k + 1) * BATCH) % TRAIN
        yield images[at], rows[at]


def with_graphc(images: Values, rows: Values, steps: int) -> tuple[list[Values], list[float]]:
    """The initial weights and the losses of graphc's program."""
    x = gc.input("x", ("batch", 784), gc.float32)
    t = gc.input("t", ("batch", 10), gc.float32)
    model = listing(seed=0)
    loss = gc.losses.categorical_crossentropy(t, model(x))
    step = gc.compile([x, t], loss, updates=gc.optim.Adam(1e-3).updates(loss, model.parameters()))

    initial = [w.value for w in model.parameters()]
    return initial, [float(step(*batch)) for batch in batches(images, rows, steps)]


def with_keras(images: Values, rows: Values, steps: int, initial: list[Values]) -> list[float]:
    """The losses of Keras's program."""
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.layers.Dense(10, activation="relu"), keras.layers.Dense(10, activation="softmax")])
    entropy = keras.losses.CategoricalCrossentropy()
    optimizer = keras.optimizers.Adam(1e-3)

    def step(x: Any, t: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = entropy(t, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    model.build((None, 784))
    model.set_weights(initial)
    return [float(step(*batch)) for batch in batches(images, rows, steps)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare Keras and graphc step by step.")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()

    images, rows = load()
    initial, ours = with_graphc(images, rows, options.steps)
    theirs = with_keras(images, rows, options.steps, initial)

    print("step      graphc       Keras  difference")
    differences = [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
    for k, (a, b, difference) in enumerate(zip(ours, theirs, differences, strict=True)):
        print(f"{k:4d}  {a:10.7f}  {b:10.7f}  {difference:10.1e}")
    worst = max(differences)
    print(f"largest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(not worst <= TOLERANCE)  # NaN fails too


if __name__ == "__main__":
    sys.exit(main())
