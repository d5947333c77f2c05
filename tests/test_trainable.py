"""What learns and what is left alone: trainable, as Keras has it, and attributes that mean nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import keras
import numpy as np
import pytest

import graphc as gc

nn = gc.nn
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = X[:, :2] * 2 - 1


def model() -> nn.Sequential:
    m = nn.Sequential([nn.Dense(5, activation="tanh"), nn.Dense(3, activation="tanh"), nn.Dense(2)], seed=0)
    m.build((None, 4))
    return m


def values(m: nn.Model) -> list[Any]:
    return [w.value for w in m.parameters()]


def changed(m: nn.Model, before: list[Any]) -> list[bool]:
    return [bool((a != b).any()) for a, b in zip(before, values(m), strict=True)]


def test_a_frozen_layer_keeps_its_values_and_the_rest_learns_as_in_keras() -> None:
    ours = model()
    layers = [keras.layers.Dense(n, activation=a) for n, a in ((5, "tanh"), (3, "tanh"), (2, None))]
    theirs = keras.Sequential([keras.Input((4,)), *layers])
    theirs.set_weights(values(ours))
    start = values(ours)
    for m in (ours, theirs):
        m.layers[1].trainable = False
        m.compile("adam", "mse")
    call = {"epochs": 3, "shuffle": False, "verbose": 0}
    history, expected = ours.fit(X, Y, **call), theirs.fit(X, Y, **call)
    np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-4)
    assert changed(ours, start) == [True, True, False, False, True, True]
    for a, b in zip(values(ours), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_change_takes_effect_at_the_next_compile() -> None:
    m = model()
    m.compile("sgd", "mse")
    m.layers[0].trainable = False
    before = values(m)
    m.fit(X, Y, verbose=0)
    m.fit(X.astype(np.float32)[:7], Y[:7].astype(np.float64), verbose=0)  # another function of the same compile
    assert all(changed(m, before))
    m.compile("sgd", "mse")
    before = values(m)
    m.layers[0].trainable = True
    m.fit(X, Y, verbose=0)
    assert changed(m, before) == [False, False, True, True, True, True]
    m.compile("sgd", "mse")
    before = values(m)
    m.fit(X, Y, verbose=0)
    assert all(changed(m, before))


def test_a_model_sets_its_layers_and_a_layer_can_be_thawed() -> None:
    m = model()
    m.trainable = False
    assert [layer.trainable for layer in m.layers] == [False] * 3
    assert m.trainable_parameters() == []
    m.trainable = True
    m.layers[0].trainable = False
    assert [w.name for w in m.trainable_parameters()] == [w.name for w in m.parameters()[2:]]
    m.trainable = False
    m.layers[2].trainable = True  # the model's own answer goes first, as in Keras
    assert m.trainable_parameters() == []


def test_a_model_of_which_nothing_learns_warns_and_stays() -> None:
    m = model()
    m.trainable = False
    m.compile("adam", "mse")
    before = values(m)
    with pytest.warns(UserWarning, match="nothing in the model is trainable") as caught:
        history = m.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y))
    assert caught[0].filename == __file__
    assert not any(changed(m, before))
    assert history.history["loss"][1] == pytest.approx(history.history["val_loss"][1], rel=1e-6)
    assert m.evaluate(X, Y, verbose=0) == pytest.approx(((m.predict(X, verbose=0) - Y) ** 2).mean(), rel=1e-6)


class Block(nn.Layer):
    """A layer of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = [nn.Dense(3), {"last": nn.Dense(2)}]

    def build(self, x: gc.Node, rng: np.random.Generator) -> dict[str, gc.Node]:
        first, last = self.inner[0], self.inner[1]["last"]
        last(first(x, rng), rng)
        return {f"{k}/{key}": w for k, part in enumerate((first, last)) for key, w in part.weights.items()}

    def apply(self, x: gc.Node) -> gc.Node:
        return self.inner[1]["last"](self.inner[0](x))


class Two(nn.Model):
    """A model of its own making, with a model inside."""

    def __init__(self) -> None:
        super().__init__(0)
        self.encoder = nn.Sequential([nn.Dense(5, activation="tanh")], seed=1)
        self.block = Block()

    def __call__(self, x: gc.Node) -> gc.Node:
        return self.block(self.encoder(x))

    def parameters(self) -> list[gc.Node]:
        return [*self.encoder.parameters(), *self.block.parameters()]


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        (lambda m: m.encoder, [False, False, True, True, True, True]),
        (lambda m: m.encoder.layers[0], [False, False, True, True, True, True]),
        (lambda m: m.block, [True, True, False, False, False, False]),
        (lambda m: m.block.inner[1]["last"], [True, True, True, True, False, False]),
        (lambda m: m, [False] * 6),
    ],
    ids=["a model inside", "its layer", "a layer of layers", "a layer inside", "all"],
)
def test_parts_are_found_wherever_they_are_held(freeze: Any, expected: list[bool]) -> None:
    m = Two()
    m(gc.input("x", ("batch", 4), "float32"))
    freeze(m).trainable = False
    for same in (m, copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        learning = set(same.trainable_parameters())
        assert [w in learning for w in same.parameters()] == expected


def test_a_part_of_a_model_of_ones_own_is_left_alone() -> None:
    m = Two()
    m(gc.input("x", ("batch", 4), "float32"))
    m.block.inner[0].trainable = False
    m.compile("sgd", "mse")
    before = values(m)
    m.fit(X, Y, verbose=0)
    assert changed(m, before) == [True, True, False, False, True, True]


def test_a_model_that_holds_itself() -> None:
    m = Two()
    m.again = [m, {"twice": m}]
    m.trainable = False
    assert len(m.frozen()) == 6
    assert list(m.layers) == [m.encoder.layers[0], m.block]


def test_a_layer_may_freeze_itself() -> None:
    class Early(nn.Dense):
        def __init__(self) -> None:
            self.trainable = False
            super().__init__(2)

    class Always(nn.Dense):
        trainable = False

    m = nn.Sequential([Early(), Always(2), nn.Dense(2)])
    m.build((None, 4))
    assert m.trainable_parameters() == m.parameters()[4:]


def test_the_summary_of_a_model_of_models_counts_each_layer_once(capsys: pytest.CaptureFixture[str]) -> None:
    m = Two()
    m(gc.input("x", ("batch", 4), "float32"))
    m.summary()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines[:2]] == [["dense", "Dense", "25"], ["block", "Block", "26"]]
    assert lines[2] == ["total", "51"]


def test_the_summary_tells_what_is_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    m = model()
    m.summary()
    assert "trainable" not in capsys.readouterr().out
    m.layers[1].trainable = False
    m.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("(not trainable)")
    assert [line.split() for line in lines[-2:]] == [["total", "51"], ["trainable", "33"]]


@pytest.mark.parametrize("value", [None, 0, "no", np.array([False])])
def test_trainable_is_true_or_false(value: Any) -> None:
    with pytest.raises(gc.DeclarationError, match="trainable is True or False"):
        model().layers[0].trainable = value


# Attributes that mean nothing


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (nn.Dense(2), "trainble"),
        (nn.Dense(2), "kernel"),
        (nn.Activation("relu"), "function"),
        (nn.Flatten(), "data_format"),
        (nn.Sequential([nn.Dense(2)]), "learning_rate"),
        (nn.Sequential([nn.Dense(2)]), "optimizer"),
        (nn.Sequential([nn.Dense(2)]), "layers"),
        (gc.optim.Adam(), "lr"),
        (gc.optim.SGD(), "decay"),
        (gc.losses.CategoricalCrossentropy(), "from_logits"),
        (gc.parameter("w", 1.0), "trainable"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_attribute_that_means_nothing_is_refused(thing: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(thing, name, True)


def test_the_stack_of_layers_is_not_changed_in_silence() -> None:
    with pytest.raises(AttributeError):
        model().layers.append(nn.Dense(2))  # type: ignore[attr-defined]


def test_children_take_attributes_of_their_own() -> None:
    class Mine(nn.Dense):
        pass

    layer = Mine(2)
    layer.note = "kept"
    assert pickle.loads(pickle.dumps(nn.Dense(3, activation="relu"))).units == 3
    assert copy.copy(layer.note) == "kept"
