"""Models as one who comes from Keras meets them: losses a sample, names, what is said before building, reprs."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import graphc as gc
from graphc import losses
from graphc.nn import initializers, layers, metrics
from graphc.optim import BY_NAME as OPTIMIZERS

nn = gc.nn
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = np.stack([X.sum(1), X[:, 0]], axis=1)


def model() -> nn.Sequential:
    return nn.Sequential([nn.Dense(3, activation="relu"), nn.Dense(2)], seed=0)


# A loss of one value a sample


def test_a_loss_of_one_value_a_sample_is_averaged_as_in_keras() -> None:
    ours = model()
    ours.build((None, 4))
    stack = [keras.layers.Dense(3, activation="relu"), keras.layers.Dense(2)]
    theirs = keras.Sequential([keras.Input((4,)), *stack])
    theirs.set_weights([w.value for w in ours.parameters()])
    ours.compile("adam", lambda t, y: gc.sum((t - y) ** 2, axis=-1), metrics=[each_error])
    theirs.compile("adam", lambda t, y: keras.ops.sum((t - y) ** 2, axis=-1), metrics=[each_error_of_keras])
    call = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    found, expected = ours.fit(X, Y, **call).history, theirs.fit(X, Y, **call).history
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(found["each_error"], expected["each_error_of_keras"], rtol=1e-4)


def each_error(t: gc.Node, y: gc.Node) -> gc.Node:
    return gc.abs(t - y)


def each_error_of_keras(t: Any, y: Any) -> Any:
    return keras.ops.abs(t - y)


def test_a_loss_of_many_values_a_sample_is_the_mean_of_all() -> None:
    m = model()
    m.build((None, 4))
    m.compile("adam", lambda t, y: gc.abs(t - y))
    error = np.abs(m.predict(X, verbose=0) - Y)
    assert m.evaluate(X, Y, batch_size=7, verbose=0) == pytest.approx(error.mean(), rel=1e-5)


@pytest.mark.parametrize("wrong", [lambda t, y: 0.0, lambda t, y: None, lambda t, y: (y, y)])
def test_a_loss_that_is_no_node_is_refused(wrong: Any) -> None:
    m = model()
    m.compile("adam", wrong)
    with pytest.raises(gc.DeclarationError, match=r"loss is a node.*its function gave"):
        m.fit(X, Y, verbose=0)
    m.compile("adam", "mse", metrics=[wrong])
    with pytest.raises(gc.DeclarationError, match=r"lambda> is a node.*its function gave"):
        m.fit(X, Y, verbose=0)


# Names


def error_of(call: Any) -> str:
    with pytest.raises(gc.DeclarationError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "wrong", "where"),
    [
        (layers.ACTIVATIONS, lambda: nn.Dense(2, activation="reluu"), nn.Dense),
        (initializers.BY_NAME, lambda: initializers.initial("glorotte", (2,), gc.float32, RNG), nn.Dense),
        (losses.BY_NAME, lambda: losses.get("mze"), nn.Model.compile),
        (["accuracy", "acc", *losses.BY_NAME], lambda: metrics.get(["auc"]), nn.Model.compile),
        (OPTIMIZERS, lambda: gc.optim.get("rmsprop"), nn.Model.compile),
    ],
    ids=["activations", "initialisers", "losses", "metrics", "optimisers"],
)
def test_names_are_listed_in_the_error_and_in_the_docs(names: Any, wrong: Any, where: Any) -> None:
    for text in (error_of(wrong), inspect.getdoc(where) or ""):
        assert set(names) <= set(re.findall(r"\w+", text))


# Before a model is built


@pytest.mark.parametrize("call", ["parameters", "summary", "trainable_parameters", "load_weights", "save_weights"])
def test_what_needs_parameters_says_how_to_make_them(call: str, tmp_path: Path) -> None:
    trained = model()
    trained.build((None, 4))
    trained.save_weights(tmp_path / "w.npz")
    m = model()
    arguments = [tmp_path / "w.npz"] if "weights" in call else []
    with pytest.raises(gc.DeclarationError, match=r"write model\.build\(\(None, 784\)\)"):
        getattr(m, call)(*arguments)
    m.build((None, 4))
    getattr(m, call)(*arguments)


@pytest.mark.parametrize("shape", [784, "784", None, (), 784.0, {784}])
def test_build_takes_the_shape_of_a_batch(shape: Any) -> None:
    with pytest.raises(gc.DeclarationError, match=r"build takes the shape of a batch, such as \(None, 784\), got"):
        model().build(shape)


@pytest.mark.parametrize("shape", [(784,), (None,), (None, None), (None, -1), (None, 2.5)])
def test_build_refuses_shapes_that_do_not_do(shape: Any) -> None:
    with pytest.raises(gc.ShapeError):
        model().build(shape)


# Reprs


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (nn.Dense(10, "relu"), "Dense(10, activation='relu')"),
        (nn.Dense(10, use_bias=False, name="top"), "Dense(10, use_bias=False, name='top')"),
        (nn.Dense(3, kernel_initializer=np.ones((2, 3))), "Dense(3, kernel_initializer=<ndarray>)"),
        (nn.Dense(3, gc.tanh), "Dense(3, activation=tanh)"),
        (nn.Activation("softmax"), "Activation('softmax')"),
        (nn.Flatten(), "Flatten()"),
        (
            nn.Sequential([nn.Flatten(), nn.Dense(2)]),
            "Sequential([Flatten(name='flatten'), Dense(2, name='dense')])",
        ),
        (gc.optim.Adam(), "Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07)"),
        (gc.optim.SGD(0.1, momentum=0.5), "SGD(learning_rate=0.1, momentum=0.5, nesterov=False)"),
        (gc.losses.MeanSquaredError(), "MeanSquaredError()"),
        (gc.losses.BinaryCrossentropy(True), "BinaryCrossentropy(from_logits=True, label_smoothing=0.0)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_repr_shows_what_it_is(thing: Any, text: str) -> None:
    assert repr(thing) == text


def test_an_optimiser_shows_the_learning_rate_that_it_has_now() -> None:
    optimizer = gc.optim.Adam()
    optimizer.learning_rate = 0.5
    assert repr(optimizer).startswith("Adam(learning_rate=0.5, ")


def test_children_have_reprs_too() -> None:
    class Scale(nn.Layer):
        def __init__(self, factor: float, axis: int = -1) -> None:
            super().__init__(name="scale")
            self.factor = factor

    class Net(nn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.top = nn.Dense(2)

    class Descent(gc.optim.Optimizer):
        pass

    assert repr(Scale(2.0)) == "Scale(2.0)"
    assert repr(Net()) == "Net([Dense(2)])"
    assert repr(Descent(0.25)) == "Descent(learning_rate=0.25)"


# Layers of the same class


class Scale(nn.Layer):
    """A layer that gives its parameter a name without its own."""

    def build(self, x: gc.Node, rng: np.random.Generator) -> dict[str, gc.Node]:
        return {"factor": gc.parameter("factor", rng.uniform(size=x.shape[-1]))}

    def apply(self, x: gc.Node) -> gc.Node:
        assert self.weights is not None
        return x * self.weights["factor"]


class Twins(nn.Model):
    """A model of two layers that nobody has named."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.first, self.second = nn.Dense(4), nn.Dense(4)
        self.seed = seed

    def __call__(self, x: gc.Node) -> gc.Node:
        rng = np.random.default_rng(self.seed)
        return self.second(self.first(x, rng), rng)

    def parameters(self) -> list[gc.Node]:
        return [*self.first.parameters(), *self.second.parameters()]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda seed: nn.Sequential([Scale(), Scale(), Scale()], seed=seed), ["factor", "factor_1", "factor_2"]),
        (Twins, ["dense/kernel", "dense/bias", "dense/kernel_1", "dense/bias_1"]),
    ],
    ids=["layers of one's own", "a model of one's own"],
)
def test_parameters_of_one_name_are_numbered_in_a_file(make: Any, names: list[str], tmp_path: Path) -> None:
    saved, loaded = make(1), make(2)
    for m in (saved, loaded):
        m(gc.input("x", ("batch", 4), "float32"))
    saved.save_weights(tmp_path / "w.npz")
    loaded.load_weights(tmp_path / "w.npz")
    for a, b in zip(saved.parameters(), loaded.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert any((w.value != 0).any() for w in saved.parameters())
    with np.load(tmp_path / "w.npz") as archive:
        assert archive.files == names


def test_a_pickle_keeps_the_history_and_no_code() -> None:
    m = model()
    m.compile("adam", "mse")
    m.fit(X, Y, verbose=0)
    copy = pickle.loads(pickle.dumps(m))
    assert copy.history == m.history
    assert copy.train_function is None
