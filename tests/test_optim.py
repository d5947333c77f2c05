"""Optimisers: several steps against Keras, state that belongs to the optimiser, and what is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import graphc as gc

STEPS = 12
CASES = [
    ("SGD", {"learning_rate": 0.125}),
    ("SGD", {"learning_rate": 0.125, "momentum": 0.75}),
    ("SGD", {"learning_rate": 0.125, "momentum": 0.75, "nesterov": True}),
    ("Adam", {"learning_rate": 0.0625, "beta_1": 0.75, "beta_2": 0.875}),
    ("Adam", {"learning_rate": 0.5, "beta_1": 0.75, "beta_2": 0.875, "epsilon": 1e-3}),
]


def linear(w: gc.Node) -> tuple[gc.Node, gc.Node]:
    """An input g and a loss whose gradient with respect to w is g."""
    g = gc.input("g", w.shape, w.dtype)
    return g, gc.sum(w * g)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-6)])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_equal_keras(name: str, options: dict[str, Any], dtype: str, tolerance: float) -> None:
    check_steps(name, options, dtype, tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_adam_of_defaults_equals_keras_up_to_its_float32_beta(dtype: str) -> None:
    """Keras rounds beta_2 to float32, which moves sqrt(1 - beta_2) by 6.5e-6 of itself."""
    check_steps("Adam", {}, dtype, 1e-5)


def check_steps(name: str, options: dict[str, Any], dtype: str, tolerance: float) -> None:
    rng = np.random.default_rng(1)
    start = np.zeros((3, 4), dtype)  # from 0, so that a weight's rounding does not hide what the steps add up to
    gradients = (rng.normal(size=(STEPS, 3, 4)) * 10.0 ** rng.integers(-6, 3, (3, 4))).astype(dtype)
    w = gc.parameter("w", start)
    g, loss = linear(w)
    step = gc.compile([g], loss, updates=getattr(gc.optim, name)(**options).updates(loss, [w]))
    theirs, optimizer = keras.Variable(start, dtype=dtype), getattr(keras.optimizers, name)(**options)
    for gradient in gradients:
        step(gradient)
        optimizer.apply_gradients([(keras.ops.convert_to_tensor(gradient), theirs)])
        np.testing.assert_allclose(w.value, theirs.numpy(), rtol=0, atol=tolerance * np.abs(theirs.numpy()).max())


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_defaults_are_those_of_keras(name: str) -> None:
    ours, theirs = getattr(gc.optim, name)(), getattr(keras.optimizers, name)()
    assert float(ours.learning_rate.value) == pytest.approx(float(theirs.learning_rate.numpy()), rel=1e-7)
    for option in ("momentum", "nesterov", "beta_1", "beta_2", "epsilon"):
        assert getattr(ours, option, None) == getattr(theirs, option, None)


def test_a_new_learning_rate_needs_no_new_function() -> None:
    w, opt = gc.parameter("w", np.zeros(2)), gc.optim.SGD(1.0)
    g, loss = linear(w)
    step = gc.compile([g], loss, updates=opt.updates(loss, [w]))
    step(np.ones(2))
    opt.learning_rate = 0.25
    step(np.ones(2))
    np.testing.assert_array_equal(w.value, [-1.25, -1.25])


def test_functions_share_the_state_of_their_optimiser() -> None:
    start, opt, g = np.ones(2), gc.optim.Adam(0.1), np.array([1.0, -2.0])
    w, once = gc.parameter("w", start), gc.parameter("w", start)
    x, loss = linear(w)
    first, second = (gc.compile([x], loss, updates=opt.updates(loss, [w])) for _ in range(2))
    y, same_loss = linear(once)
    alone = gc.compile([y], same_loss, updates=gc.optim.Adam(0.1).updates(same_loss, [once]))
    for f in (first, second, first):
        f(g)
        alone(g)
    np.testing.assert_array_equal(w.value, once.value)
    assert opt.iterations.value == 3
    assert opt.iterations.dtype == gc.int64


def test_updates_hold_the_parameters_the_slots_and_the_count() -> None:
    w, b = gc.parameter("w", np.zeros((2, 3), "float32")), gc.parameter("b", np.zeros(3))
    loss = gc.sum(w) + gc.sum(b)
    opt = gc.optim.Adam()
    updates = opt.updates(loss, [w, b])
    assert all(new.type == old.type for old, new in updates.items())
    assert sorted(str(p.name) for p in updates) == sorted(
        ["w", "b", "w/momentum", "w/velocity", "b/momentum", "b/velocity", "iterations"]
    )
    assert [p.name for p in gc.optim.SGD().updates(loss, [w])] == ["iterations", "w"]


def test_a_parameter_that_the_loss_does_not_use_stays() -> None:
    w, idle = gc.parameter("w", np.ones(2)), gc.parameter("idle", np.ones(2))
    g, loss = linear(w)
    gc.compile([g], loss, updates=gc.optim.Adam().updates(loss, [w, idle]))(np.ones(2))
    np.testing.assert_array_equal(idle.value, [1.0, 1.0])
    assert (w.value < 1.0).all()


def parameters() -> tuple[gc.Node, gc.Node, gc.Node]:
    return gc.parameter("w", np.zeros(2)), gc.parameter("k", np.zeros(2, "int64")), gc.input("x", (2,))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda w, k, x: gc.optim.Adam().updates(gc.sum(w), []), gc.DeclarationError, "no parameters"),
        (lambda w, k, x: gc.optim.Adam().updates(gc.sum(w), [w, w]), gc.DeclarationError, "stands twice"),
        (lambda w, k, x: gc.optim.Adam().updates(gc.sum(w), [x]), gc.DeclarationError, "input 'x'"),
        (lambda w, k, x: gc.optim.Adam().updates(gc.sum(w), ["w"]), gc.DeclarationError, "'w'"),
        (lambda w, k, x: gc.optim.Adam().updates(gc.sum(w), [k]), gc.GradientError, "not float"),
        (lambda w, k, x: gc.optim.Adam().updates(w, [w]), gc.GradientError, "scalar"),
        (lambda w, k, x: gc.optim.Adam(float("nan")), gc.DeclarationError, "learning_rate is a finite number"),
        (lambda w, k, x: gc.optim.Adam("fast"), gc.DeclarationError, "learning_rate is a finite number"),
        (lambda w, k, x: gc.optim.Adam(beta_1=1.0), gc.DeclarationError, r"beta_1 lies in \[0, 1\)"),
        (lambda w, k, x: gc.optim.SGD(momentum=-0.1), gc.DeclarationError, r"momentum lies in \[0, 1\)"),
        (lambda w, k, x: gc.optim.get("rmsprop"), gc.DeclarationError, "an optimiser is one of sgd, adam"),
        (lambda w, k, x: gc.optim.get(gc.optim.Adam), gc.DeclarationError, "an optimiser is one of"),
    ],
)
def test_refused(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call(*parameters())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_decays_ends_at_zero_and_not_below_the_smallest_normal_number(dtype: str) -> None:
    """Where no gradient comes; in float arithmetic a tenth of the smallest numbers is taken off for ever."""
    smallest = float(np.finfo(dtype).smallest_normal)
    for optimizer, names in (
        (gc.optim.Adam(0.1), ("momentum", "velocity")),
        (gc.optim.SGD(0.1, momentum=0.9), ("velocity",)),
    ):
        w, x = gc.parameter("w", np.ones(3, dtype)), gc.input("x", (3,), dtype)
        step = gc.compile([x], (), updates=optimizer.updates(gc.sum(w * x), [w]))
        slots = [optimizer.slot(w, name) for name in names]
        for slot in slots:
            slot.assign(np.array([4 * smallest, -smallest if slot is slots[0] else smallest, 1.0], dtype))
        seen = []
        for _ in range(100):
            step(np.zeros(3, dtype))
            seen.append(slots[0].value)
        momentum = np.array(seen)
        assert not np.any((momentum != 0) & (np.abs(momentum) < smallest))
        assert np.all(momentum[-1, :2] == 0)
        assert 0 < momentum[-1, 2] < 1
        assert momentum[0, 0] > 0
        step(np.full(3, np.nan, dtype))
        assert np.isnan(slots[0].value).all()
