"""Values that are computed again for the adjoint, instead of kept: `Options(remat="memory")`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.compile import _unit
from graphc.graph import Graph
from graphc.op import HOLDERS, Family
from graphc.passes import REMAT, run_pipeline
from graphc.passes.keep import computed_again, late_nodes

RNG = np.random.default_rng(0)
MEMORY = gc.Options(remat="memory")
Loss = Callable[[Any, list[Any]], Any]


def normed(x: Any, scale: Any) -> Any:
    centred = x - gc.mean(x, axis=-1, keepdims=True)
    return centred / gc.sqrt(gc.mean(centred**2, axis=-1, keepdims=True) + 1e-5) * scale


def deep(x: Any, w: list[Any]) -> Any:
    for scale in w:
        x = x + gc.tanh(normed(x, scale))
    return gc.mean(x**2)


def dense(x: Any, w: list[Any]) -> Any:
    for weights in w:
        x = gc.gelu(normed(x @ weights, 1.0))
    return gc.mean(x**2)


def attention(x: Any, w: list[Any]) -> Any:
    for weights in w:
        h = normed(x, 1.0)
        x = x + gc.softmax(h @ gc.permute_dims(h, (1, 0)) / 4.0, axis=-1) @ gc.tanh(h @ weights)
    return gc.mean(x**2)


def looped(x: Any, w: list[Any]) -> Any:
    for weights in w:
        h = gc.tanh(normed(x, 1.0))
        _, x = gc.scan(lambda c, row, m=weights: (gc.tanh(c @ m + row),) * 2, gc.zeros(16), h)
        x = gc.sin(x) * gc.exp(h)
    return gc.mean(x**2)


def gathered(x: Any, w: list[Any]) -> Any:
    for weights in w:
        h = gc.exp(gc.sin(x)) * weights[0]
        x = gc.tanh(gc.take(h, gc.argsort(h[:, 0]), axis=0)) + gc.sort(gc.cos(h), axis=0)
    return gc.mean(x**2)


LOSSES: dict[str, Loss] = {f.__name__: f for f in (deep, dense, attention, looped, gathered)}


def weights_of(name: str, layers: int) -> list[Any]:
    rng, shape = np.random.default_rng(1), (16,) if name == "deep" else (16, 16)
    return [rng.normal(0.5, 0.3, shape) for _ in range(layers)]


def step(name: str, layers: int = 6, options: gc.Options = MEMORY) -> tuple[Any, list[Any]]:
    """A step of gradient descent that gives loss and gradients, and its parameters."""
    x = gc.input("x", ("n", 16))
    w = [gc.parameter(f"w{k}", value) for k, value in enumerate(weights_of(name, layers))]
    loss = LOSSES[name](x, w)
    grads = gc.grad(loss, w)
    updates = {p: p - 0.1 * g for p, g in zip(w, grads, strict=True)}
    return gc.compile([x], (loss, *grads), updates=updates, options=options), w


def values_after(name: str, options: gc.Options, sizes: tuple[int, ...] = (32, 1, 33)) -> list[Any]:
    function, w = step(name, options=options)
    rng = np.random.default_rng(2)
    found = [np.copy(v) for n in sizes for v in function(rng.normal(size=(n, 16)))]
    return [*found, *(p.value for p in w)]


@pytest.mark.parametrize("name", LOSSES)
def test_results_are_the_same_and_so_are_updates(name: str) -> None:
    """Copies read the parameters of before, which the step changes."""
    plain, again = (values_after(name, gc.Options(remat=remat)) for remat in ("speed", "memory"))
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_bits_are_the_same_for_every_number_of_threads(name: str) -> None:
    one, *others = (values_after(name, gc.Options(remat="memory", threads=k), (2_100,)) for k in (1, 2, 3))
    for other in others:
        assert [a.tobytes() for a in other] == [a.tobytes() for a in one]


@pytest.mark.parametrize("name", LOSSES)
def test_loops_are_right_access_by_access(name: str) -> None:
    interpreted, compiled = (values_after(name, o, (5, 1)) for o in (gc.Options(remat="memory", debug=True), MEMORY))
    for a, b in zip(interpreted, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def optimised(name: str, layers: int = 6) -> Graph:
    x = gc.input("x", ("n", 16))
    w = [gc.parameter(f"w{k}", value) for k, value in enumerate(weights_of(name, layers))]
    loss = LOSSES[name](x, w)
    unit = _unit([x], (loss, gc.grad(loss, w)), {}, gc.Options(), "f")
    return run_pipeline(unit.graph)[0]


def dear(graph: Graph) -> Counter[str]:
    families = (Family.KERNEL, Family.GATHER, Family.SCATTER, *HOLDERS)
    return Counter(n.op.name for n in graph.nodes if n.op.family in families)


@pytest.mark.parametrize("name", LOSSES)
def test_products_loops_gathers_and_sorts_are_never_computed_again(name: str) -> None:
    graph = optimised(name)
    less, (record,) = run_pipeline(graph, steps=[REMAT])
    assert record["rules"]["computed again"] == len(computed_again(graph, late_nodes(graph))) > 0
    assert dear(less) == dear(graph)


def test_stats_tell_what_it_brings() -> None:
    x = RNG.normal(size=(512, 16))
    plain, again = (step("deep", 32, gc.Options(remat=remat))[0] for remat in ("speed", "memory"))
    assert again.stats["remat"] is None
    plain(x), again(x)
    assert plain.stats["remat"] is None
    told = again.stats["remat"]
    assert told["workspace"] == again.stats["workspace"]
    assert told["workspace_without"] == plain.stats["workspace"] == told["workspace"] + told["saved"]
    assert told["flops"] == again.stats["flops"] - plain.stats["flops"] > 0
    assert told["workspace"] < 0.4 * told["workspace_without"]
    assert "computed again" in again.explain()


def test_a_network_without_products_is_divided() -> None:
    """Of n layers some are kept, and those between two of them are there at once: the root of n of either."""
    x, found = RNG.normal(size=(512, 16)), []
    for layers in (16, 64):
        function, _ = step("deep", layers)
        function(x)
        found.append(function.stats["remat"])
    assert found[1]["workspace_without"] > 3.5 * found[0]["workspace_without"]
    assert found[1]["workspace"] < 2.7 * found[0]["workspace"]


def test_only_what_products_gave_is_kept_between_them() -> None:
    """Of each layer the product, and no other array of that size."""
    x, found = RNG.normal(size=(512, 16)), []
    for layers in (16, 32):
        function, _ = step("dense", layers)
        function(x)
        found.append(function.stats["workspace"])
    assert found[1] - found[0] <= 16 * x.nbytes * 1.1


def test_nothing_to_compute_again() -> None:
    x = gc.input("x", ("n",))
    plain, again = (gc.compile([x], gc.exp(gc.sin(x)), options=gc.Options(remat=r)) for r in ("speed", "memory"))
    assert again.source == plain.source
    again(np.ones(3))
    assert again.stats["remat"]["saved"] == again.stats["remat"]["flops"] == 0


def test_from_the_cache_it_tells_the_same() -> None:
    x = RNG.normal(size=(64, 16))
    (first, _), (second, _) = step("dense"), step("dense")
    first(x), second(x)
    assert second.stats["from_cache"]
    assert second.stats["remat"] == first.stats["remat"]


def test_gradients_of_gradients() -> None:
    x = gc.input("x", ("n",))
    value = gc.sum(gc.exp(gc.sin(gc.tanh(x))))
    second = gc.grad(gc.sum(gc.sin(gc.grad(value, x))), x)
    plain, again = (gc.compile([x], second, options=gc.Options(remat=r)) for r in ("speed", "memory"))
    points = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(again(points), plain(points), rtol=1e-12)


def test_a_value_that_checks_is_not_computed_again() -> None:
    table, at = gc.input("table", (5, 3)), gc.input("at", ("n",), "int64")
    value = gc.sum(gc.exp(gc.sin(gc.take(table, at, axis=0))))
    function = gc.compile([table, at], (value, gc.grad(value, table)), options=MEMORY)
    values = RNG.normal(size=(5, 3))
    np.testing.assert_allclose(function(values, [1, 1])[1][1], 2 * np.exp(np.sin(values[1])) * np.cos(values[1]))
    with pytest.raises(gc.InputError, match="5"):
        function(values, [0, 5])


@pytest.mark.parametrize("wrong", ["fast", None, 1, True])
def test_options_that_are_none(wrong: Any) -> None:
    with pytest.raises(gc.DeclarationError, match=r'remat=\) is "speed" or "memory", got .*\n  at .*test_remat\.py:'):
        gc.Options(remat=wrong)
