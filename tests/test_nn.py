"""Layers, initialisers, models as declared, and their weights on disk."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
from support import evaluate

import graphc as gc
from graphc.nn.initializers import BY_NAME, initial

Values = np.ndarray[Any, Any]
nn = gc.nn


def apply(layer: Any, x: Values) -> Values:
    """The values of a layer or model on x."""
    node = gc.input("x", ("batch", *x.shape[1:]), x.dtype)
    return evaluate([layer(node)], [node], [x])[0]


def model(seed: int | None = 0) -> nn.Sequential:
    return nn.Sequential([nn.Dense(5, activation="relu"), nn.Dense(3, activation="softmax")], seed=seed)


def built(seed: int | None = 0) -> nn.Sequential:
    m = model(seed)
    m.build((None, 4))
    return m


def values(m: nn.Model) -> list[Values]:
    return [w.value for w in m.parameters()]


# Initialisers


@pytest.mark.parametrize("shape", [(300, 200), (3, 5, 40, 60), (30000,)], ids=str)
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_initialisers_draw_from_the_distributions_of_keras(name: str, shape: tuple[int, ...]) -> None:
    """Mean, deviation and largest value; of n values the mean errs by some deviation / sqrt(n)."""
    ours = initial(name, shape, gc.float32, np.random.default_rng(7)).astype(np.float64)
    theirs = np.asarray(keras.initializers.get(name)(shape), np.float64)
    assert ours.shape == shape
    deviation = theirs.std()
    assert abs(ours.mean() - theirs.mean()) <= 6 * deviation / np.sqrt(ours.size)
    assert ours.std() == pytest.approx(deviation, rel=0.03)
    if name != "random_normal":
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)


def test_initialisers_are_values_or_functions_too() -> None:
    kernel = np.arange(12.0).reshape(4, 3)
    layer = nn.Dense(3, kernel_initializer=kernel, bias_initializer=lambda shape, dtype: np.full(shape, 2, dtype))
    x = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(apply(layer, x), kernel + 2)
    assert [w.dtype for w in layer.parameters()] == [gc.float32, gc.float32]


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("glorot", gc.DeclarationError, "no initialiser is called 'glorot'; there are glorot_normal"),
        (np.zeros((3, 4)), gc.ShapeError, r"initial values have shape \[3, 4\], the parameter has \[4, 3\]"),
        (lambda shape, dtype: np.zeros(3), gc.ShapeError, "initial values have shape"),
    ],
)
def test_wrong_initialisers(how: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        nn.Dense(3, kernel_initializer=how)(gc.input("x", ("batch", 4)))


# Layers


@pytest.mark.parametrize(
    "activation",
    [None, "linear", "relu", "sigmoid", "tanh", "softmax", "log_softmax", "softplus", "silu", "swish", "exponential"],
)
def test_dense_equals_keras(activation: str | None) -> None:
    rng = np.random.default_rng(0)
    x, kernel, bias = rng.normal(size=(6, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    ours = nn.Dense(3, activation, kernel_initializer=kernel, bias_initializer=bias)
    theirs = keras.layers.Dense(3, activation, dtype="float64")
    theirs.build((None, 4))
    theirs.set_weights([kernel, bias])
    np.testing.assert_allclose(apply(ours, x), theirs(x).numpy(), rtol=1e-11, atol=1e-13)


def test_gelu_is_the_exact_form() -> None:
    """Not against Keras, whose square root of 2 has the precision of float32."""
    x = np.linspace(-4, 4, 9)[:, None]
    np.testing.assert_allclose(apply(nn.Activation("gelu"), x), x * scipy.special.ndtr(x), rtol=1e-13)


def test_dense_on_more_dimensions_and_without_bias() -> None:
    x, kernel = np.random.default_rng(0).normal(size=(2, 5, 4)), np.arange(12.0).reshape(4, 3)
    layer = nn.Dense(3, use_bias=False, kernel_initializer=kernel)
    np.testing.assert_allclose(apply(layer, x), x @ kernel, rtol=1e-13)
    assert [w.name for w in layer.parameters()] == ["dense/kernel"]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", gc.float32), ("float64", gc.float64), ("uint8", gc.float32), ("int64", gc.float32)],
)
def test_the_dtype_of_parameters_follows_the_input(dtype: str, expected: gc.DType) -> None:
    layer = nn.Dense(3)
    assert layer(gc.input("x", ("batch", 4), dtype)).dtype == expected
    assert all(w.dtype == expected for w in layer.parameters())


def test_activation_takes_functions() -> None:
    x = np.array([[-1.0, 2.0]])
    np.testing.assert_array_equal(apply(nn.Activation(lambda node: node * 3), x), [[-3.0, 6.0]])
    np.testing.assert_array_equal(apply(nn.Activation("relu"), x), [[0.0, 2.0]])


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 2), (3,), (0, 2, 2)], ids=str)
def test_flatten(shape: tuple[int, ...]) -> None:
    x = np.arange(float(np.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(apply(nn.Flatten(), x), x.reshape(shape[0], int(np.prod(shape[1:]))))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda x: nn.Dense(0), gc.DeclarationError, "units is an int of at least 1, got 0"),
        (lambda x: nn.Dense(2.5), gc.DeclarationError, "units is an int"),
        (lambda x: nn.Dense(3, activation="rellu"), gc.DeclarationError, "an activation is one of relu.* got 'rellu'"),
        (lambda x: nn.Dense(3, name=""), gc.DeclarationError, "name of a layer"),
        (lambda x: nn.Dense(3)(np.zeros((2, 4))), gc.DeclarationError, "predict"),
        (lambda x: nn.Dense(3)(gc.input("x", ("batch",))), gc.ShapeError, r"(?s)Dense takes \[\*batch, inputs\].*'x'"),
        (lambda x: nn.Dense(3)(gc.input("x", (2, "inputs"))), gc.ShapeError, "with inputs a number"),
        (lambda x: nn.Flatten()(gc.input("x", ())), gc.ShapeError, "Flatten takes"),
        (lambda x: nn.Dense(3).parameters(), gc.DeclarationError, "call it"),
        (lambda x: nn.Sequential([]), gc.DeclarationError, "at least one layer"),
        (lambda x: nn.Sequential([gc.relu]), gc.DeclarationError, "takes a list of layers"),
        (lambda x: nn.Sequential([nn.Dense(2, name="a"), nn.Dense(2, name="a")]), gc.DeclarationError, "same name"),
        (lambda x: model().parameters(), gc.DeclarationError, r"write model\.build\(\(None, 784\)\)"),
    ],
)
def test_refused(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make(gc.input("x", ("batch", 4)))


# Models as declared


def test_a_seed_decides_the_parameters() -> None:
    first, again, other = built(3), built(3), built(4)
    for a, b, c in zip(values(first), values(again), values(other), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not a.any() or (a != c).any()
    kernels = values(first)[::2]
    assert (kernels[0][:3, :3] != kernels[1][:3]).all()
    assert (values(built(None))[0] != values(built(None))[0]).any()


def test_names_are_numbered_within_the_model() -> None:
    layers = [nn.Dense(2), nn.Flatten(), nn.Dense(2, name="dense_1"), nn.Dense(2), nn.Flatten()]
    nn.Sequential(layers)
    assert [layer.name for layer in layers] == ["dense", "flatten", "dense_1", "dense_2", "flatten_1"]


def test_a_layer_used_twice_shares_its_parameters() -> None:
    layer = nn.Dense(4)
    m = nn.Sequential([layer, layer], seed=0)
    m.build((None, 4))
    assert [w.name for w in m.parameters()] == ["dense/kernel", "dense/bias"]


def test_calls_share_parameters_and_one_that_fails_makes_none() -> None:
    m = model()
    with pytest.raises(gc.ShapeError):
        nn.Sequential([*m.layers, nn.Activation(lambda x: gc.reshape(x, (7,)))])(gc.input("x", (2, 4), "float32"))
    with pytest.raises(gc.DeclarationError, match="no parameters yet"):
        m.parameters()
    x = gc.input("x", ("batch", 4), "float32")
    assert m(x) is m(x)
    with pytest.raises(gc.ShapeError, match="dense/kernel"):
        m(gc.input("x", ("batch", 6), "float32"))


def test_summary_tells_layers_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    built().summary()
    shown = capsys.readouterr().out
    assert "dense_1" in shown
    assert "kernel [4, 5], bias [5]" in shown
    assert shown.splitlines()[-1].split() == ["total", "43"]


def test_a_model_survives_pickle() -> None:
    m = built()
    copy = pickle.loads(pickle.dumps(m))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(apply(copy, x), apply(m, x))
    copy.parameters()[0].assign(np.zeros((4, 5), np.float32))
    assert values(m)[0].any()


# Weights on disk


def test_weights_come_back(tmp_path: Path) -> None:
    saved, loaded = built(0), built(1)
    saved.save_weights(tmp_path / "w.npz")
    saved.save_weights(tmp_path / "w.npz")  # replaces
    loaded.load_weights(tmp_path / "w.npz")
    for a, b in zip(values(saved), values(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]
    with np.load(tmp_path / "w.npz") as archive:
        assert set(archive.files) == {"dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"}


def other_model(path: Path) -> None:
    m = nn.Sequential([nn.Dense(5), nn.Dense(2), nn.Dense(3, name="top")])
    m.build((None, 4), "float64")
    m.save_weights(path)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (other_model, r"nothing takes 'top/bias'.* 'dense/kernel' is float32\[4, 5\], the file has float64\[4, 5\]"),
        (lambda path: path.write_bytes(b""), "not an archive of arrays"),
        (lambda path: path.write_text("weights"), "not an archive of arrays"),
    ],
)
def test_a_wrong_file_changes_nothing(write: Any, says: str, tmp_path: Path) -> None:
    m, path = built(), tmp_path / "w.npz"
    before = values(m)
    write(path)
    with pytest.raises(gc.InputError, match=says):
        m.load_weights(path)
    for a, b in zip(before, values(m), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m, path = built(), tmp_path / "w.npz"
    m.save_weights(path)
    before = path.read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space left"):
        m.save_weights(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


def test_paths_that_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(gc.InputError, match=r"weights are kept in a \.npz file.*w\.npz"):
        built().save_weights(tmp_path / "w.h5")
    with pytest.raises(FileNotFoundError):
        built().load_weights(tmp_path / "none.npz")
