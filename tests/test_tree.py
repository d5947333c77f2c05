"""Trees go in and the same trees come out: of gradients, of compiled functions, of pickles."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.tree import flatten, leaves_like, unflatten


class Layer(NamedTuple):
    kernel: Any
    bias: Any


Pair = namedtuple("Pair", "a b")

X, W, B = gc.input("x", (3,)), gc.input("w", (3,)), gc.input("b", ())
LOSS = gc.sum(X * X * W) + 3.0 * B
VALUES = [np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), np.array(7.0)]
SLOPES = {"x": 2 * VALUES[0] * VALUES[1], "w": VALUES[0] ** 2, "b": np.array(3.0)}

TREES = {
    "node": X,
    "list": [X, W],
    "tuple": (X, W),
    "dict": {"w": W, "x": X},
    "named tuple": Layer(W, B),
    "older named tuple": Pair(W, B),
    "nested": {"layers": [Layer(W, B), Layer(X, ())], "rest": (B, {"again": X})},
    "ordered": OrderedDict([("w", W), ("b", B)]),
    "default": defaultdict(list, {"w": W}),
    "empty": [],
    "keys that are no text": {0: W, (1, 2): B},
}


def kinds(tree: Any) -> Any:
    """The classes of a tree's containers, and its keys."""
    if isinstance(tree, dict):
        return type(tree), [(k, kinds(v)) for k, v in tree.items()]
    return (type(tree), [kinds(v) for v in tree]) if isinstance(tree, (list, tuple)) else None


@pytest.mark.parametrize("name", TREES)
def test_gradients_come_as_the_tree_that_was_given(name: str) -> None:
    tree = TREES[name]
    slopes = gc.grad(LOSS, tree)
    assert kinds(slopes) == kinds(tree)
    assert gc.value_and_grad(LOSS, tree)[0] is LOSS
    assert flatten(gc.value_and_grad(LOSS, tree)[1])[0] == flatten(slopes)[0]
    doubled = gc.compile([X, W, B], gc.vjp(2.0 * LOSS, tree, 0.5))(*VALUES)
    assert kinds(doubled) == kinds(tree)
    for node, value in zip(flatten(tree)[0], flatten(doubled)[0], strict=True):
        np.testing.assert_allclose(value, SLOPES[node.name], rtol=1e-14)


@pytest.mark.parametrize("name", TREES)
def test_a_compiled_function_gives_the_tree_that_was_declared(name: str) -> None:
    f = gc.compile([X, W, B], TREES[name])
    for function in (f, pickle.loads(pickle.dumps(f))):
        found = function(*VALUES)
        assert kinds(found) == kinds(TREES[name])
        for node, value in zip(flatten(TREES[name])[0], flatten(found)[0], strict=True):
            np.testing.assert_array_equal(value, VALUES["xwb".index(node.name)])


def test_a_tree_keeps_what_its_class_adds() -> None:
    leaves, skeleton = flatten(defaultdict(list, {"w": 5}))
    assert unflatten(skeleton, leaves)["other"] == []
    assert leaves_like(skeleton, {"w": 7}) == [7]


def test_a_tree_that_is_no_tree_of_nodes_is_refused() -> None:
    itself: list[Any] = [X]
    itself.append(itself)
    for wrt, says in ((itself, "holds itself"), ([X, 3], "got 3"), ({"x": None}, "got None"), ({X}, "got {<input")):
        with pytest.raises(gc.GradientError, match=says):
            gc.grad(LOSS, wrt)
