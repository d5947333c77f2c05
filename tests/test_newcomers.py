"""What a first hour with the package meets: names, properties, masked arrays, pairs of positions, other processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest
from support_ops import sin_cos

import graphc as gc

# Names


def test_dir_shows_public_names_only() -> None:
    assert dir(gc) == sorted(gc.__all__)
    assert not {"annotations", "importlib", "sys", "adjoint", "_Package"} & set(dir(gc))


# Properties


X = gc.input("x", (3,))


@pytest.mark.parametrize(
    ("thing", "name", "has"),
    [
        (X, "value", False),
        (X + 1.0, "value", False),
        (gc.parameter("w", [1.0]), "value", True),
        (X, "mT", False),
        (gc.input("x", (3, 2)), "mT", True),
        (X, "T", True),
        *((sin_cos(X)[0].operands[0], name, False) for name in ("type", "dtype", "shape", "ndim", "size")),
        (gc.nn.Sequential([gc.nn.Dense(3)]), "optimizer", False),
    ],
)
def test_hasattr_says_whether_a_property_applies(thing: Any, name: str, has: bool) -> None:
    assert hasattr(thing, name) is has
    if not has:
        with pytest.raises(gc.PropertyError):
            getattr(thing, name)


# Masked arrays


@pytest.mark.parametrize("mask", [[False, True, False], False], ids=["masked", "nothing masked"])
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a, a], lambda a: ([a], [a])], ids=["alone", "list", "nested"])
def test_a_masked_array_is_refused_wherever_values_go(wrap: Any, mask: Any) -> None:
    value = wrap(np.ma.masked_array([1.0, 2.0, 3.0], mask))
    shape = np.shape(wrap(np.ones(3)))
    x, w = gc.input("x", shape), gc.parameter("w", np.zeros(shape))
    f = gc.compile([x], 2.0 * x)
    model = gc.nn.Sequential([gc.nn.Flatten()])
    model.compile("sgd", "mse")
    for call in (
        gc.constant,
        w.assign,
        f,
        lambda v: gc.parameter("p", v),
        lambda v: x + v,
        lambda v: gc.maximum(v, x),
        lambda v: f(x=v),
        lambda v: f.run(x=v),
        lambda v: gc.vjp(x, x, v),
        model.predict,
        lambda v: model.fit(v, np.zeros(shape)),
    ):
        with pytest.raises(gc.DTypeError, match=r"masked array.*\.filled\("):
            call(value)


# Pairs of positions


def test_two_arrays_of_positions_name_one_element_a_pair() -> None:
    ratings, u, i = gc.input("ratings", (4, 5)), *(gc.input(name, ("n",), "int64") for name in "ui")
    f = gc.compile([ratings, u, i], ratings[u, i])
    values, rows, columns = np.arange(20.0).reshape(4, 5), np.array([0, 3, -1]), np.array([1, -1, 2])
    np.testing.assert_array_equal(f(values, rows, columns), values[rows, columns])
    with pytest.raises(gc.InputError, match="position 8 does not lie on axis 1, which has length 5"):
        f(values, rows, np.array([0, 8, 1]))
    with pytest.raises(gc.ShapeError, match=r"write x\[u\[:, None\], i\]"):
        ratings[[0, 1], [0, 1, 2]]


# Other processes


def test_the_package_is_pickled_by_its_name() -> None:
    assert cloudpickle.loads(cloudpickle.dumps(gc)) is gc
    assert pickle.loads(pickle.dumps(gc)) is gc


_NOTEBOOK = """
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GridSearchCV
import graphc as gc

class Ridge(RegressorMixin, BaseEstimator):
    def __init__(self, penalty=1.0):
        self.penalty = penalty

    def fit(self, x, y):
        w = gc.parameter("w", np.zeros(x.shape[1]))
        a, b = gc.input("x", ("n", x.shape[1])), gc.input("y", ("n",))
        loss = gc.mean((a @ w - b) ** 2) + self.penalty * gc.sum(w * w)
        step = gc.compile([a, b], loss, updates={w: w - 0.1 * gc.grad(loss, w)})
        for _ in range(200):
            step(x, y)
        self.w_ = w.value
        self.predict_ = gc.compile([a], a @ w)
        return self

    def predict(self, x):
        return self.predict_(x)

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x @ [1.0, -2.0, 3.0]
    search = GridSearchCV(Ridge(), {"penalty": [1e-6, 10.0]}, cv=2, n_jobs=2).fit(x, y)
    print(search.best_params_["penalty"], search.best_estimator_.predict(x[:1]).shape)
"""


def test_a_grid_search_in_two_processes() -> None:
    """What a notebook does: the estimator is of `__main__`, so it goes to the workers by value."""
    done = subprocess.run([sys.executable, "-c", _NOTEBOOK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "1e-06 (1,)"
