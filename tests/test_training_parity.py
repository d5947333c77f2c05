"""Training against independent results: stored ones in float64, and Keras over whole trainings (long)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from benchmarks.reference import STORED
from benchmarks.workloads import WORKLOADS

Values = np.ndarray[Any, Any]

DATA = Path(__file__).parents[1] / "examples" / "data" / "mnist_5k.npz"
TRAIN, BATCH, EPOCHS, SEEDS = 4000, 32, 20, 10


# Against stored results


@pytest.mark.parametrize("name", ["mlp", "mlp_deep"])
def test_value_gradients_and_three_steps_are_the_stored_ones(name: str) -> None:
    with np.load(STORED) as archive:
        stored = {k.removeprefix(f"{name}/test/"): archive[k] for k in archive.files if k.startswith(f"{name}/test/")}
    arrays = {k.removeprefix("in/"): v for k, v in stored.items() if k.startswith("in/")}
    weights = {k: gc.parameter(k, v) for k, v in sorted(arrays.items()) if k[0] in "Wb"}
    x, t = (gc.input(k, ("batch", arrays[k].shape[1]), arrays[k].dtype) for k in "xt")
    h, depth = x, len(weights) // 2
    for k in range(1, depth):
        h = gc.relu(h @ weights[f"W{k}"] + weights[f"b{k}"])
    logits = h @ weights[f"W{depth}"] + weights[f"b{depth}"]
    loss = gc.losses.categorical_crossentropy(t, logits, from_logits=True)
    gradients = dict(zip(weights, gc.grad(loss, list(weights.values())), strict=True))
    first = gc.compile([x, t], (loss, gradients))
    step = gc.compile([x, t], loss, updates=gc.optim.Adam(1e-3).updates(loss, list(weights.values())))

    batch = len(arrays["x"]) // 3
    value, slopes = first(arrays["x"][:batch], arrays["t"][:batch])
    losses = step.run(x=arrays["x"], t=arrays["t"], batch_size=batch)
    assert value == pytest.approx(float(stored["value"]), rel=1e-5)
    assert len(slopes) == 2 * depth
    for k, slope in slopes.items():
        wanted = stored[f"grad/{k}"]
        assert np.abs(slope - wanted).max() <= 1e-5 * np.abs(wanted).max(), k
    tolerance = WORKLOADS[name].tolerance
    assert tolerance["losses"].excess(losses, stored["out/losses"]) <= 1
    for k, w in weights.items():
        assert tolerance["*"].excess(w.value, stored[f"out/{k}_after_3_steps"]) <= 1, k


# Against Keras, whole trainings


@pytest.fixture(scope="module")
def digits() -> tuple[Values, Values, Values]:
    """Images [5000, 784] in [0, 1], their classes as rows [5000, 10] and as labels."""
    with np.load(DATA) as archive:
        images, labels = archive["images"], archive["labels"]
    return images.reshape(-1, 784).astype(np.float32) / np.float32(255), np.eye(10, dtype=np.float32)[labels], labels


def listing(seed: int) -> gc.nn.Sequential:
    model = gc.nn.Sequential([gc.nn.Dense(10, activation="relu"), gc.nn.Dense(10, activation="softmax")], seed=seed)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def listing_of_keras() -> Any:
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Dense(10, activation="relu"), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((784,)), *layers])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def orders() -> list[Values]:
    rng = np.random.default_rng(0)
    return [rng.permutation(TRAIN) for _ in range(EPOCHS)]


@pytest.mark.long
def test_20_epochs_from_the_same_weights_in_the_same_order_end_as_keras(digits: tuple[Values, Values, Values]) -> None:
    images, rows, labels = digits
    model, theirs = listing(seed=0), listing_of_keras()
    x, t = gc.input("x", ("batch", 784), "float32"), gc.input("t", ("batch", 10), "float32")
    loss = gc.losses.categorical_crossentropy(t, model(x))
    theirs.set_weights([w.value for w in model.parameters()])
    step = gc.compile([x, t], loss, updates=gc.optim.Adam().updates(loss, model.parameters()))
    for order in orders():
        losses = step.run(x=images[:TRAIN], t=rows[:TRAIN], batch_size=BATCH, order=order)
        history = theirs.fit(images[order], rows[order], batch_size=BATCH, shuffle=False, verbose=0)
        assert losses.mean() == pytest.approx(history.history["loss"][0], rel=2e-3)
    ours = (model.predict(images[TRAIN:]).argmax(1) == labels[TRAIN:]).mean()
    expected = (theirs.predict(images[TRAIN:], verbose=0).argmax(1) == labels[TRAIN:]).mean()
    assert 0.87 < expected < 0.93
    assert ours == pytest.approx(expected, abs=0.003)


@pytest.mark.long
def test_own_initial_weights_learn_as_well_as_keras(digits: tuple[Values, Values, Values]) -> None:
    images, rows, _ = digits
    keras = pytest.importorskip("keras")
    call = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0, "validation_data": (images[TRAIN:], rows[TRAIN:])}
    ours, theirs = [], []
    for seed in range(SEEDS):
        ours.append(listing(seed).fit(images[:TRAIN], rows[:TRAIN], **call).history["val_accuracy"][-1])
        keras.utils.set_random_seed(seed)
        theirs.append(listing_of_keras().fit(images[:TRAIN], rows[:TRAIN], **call).history["val_accuracy"][-1])
    assert len(set(ours)) > 1, "the seeds decide the weights"
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.006), (ours, theirs)
