"""Functions of rows, value and adjoint together, against copies of what they read and write, and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import graphc as gc
from benchmarks.kernels.case import Array, Case, Subject, compiled, empty, normal
from benchmarks.kernels.copy import copies
from benchmarks.kernels.jax_ import jax_call

SHAPE, ATTENTION = (16_384, 1_024), (8 * 4 * 64, 64)
EPSILON, SCALE = 1e-5, 0.125


def _normalised(xp: Any, x: Any, gain: Any, shift: Any) -> Any:
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + EPSILON) * gain + shift


def _in_jax(loss: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The value for the first arrays and its product with the last one, the cotangent, in JAX."""

    def both(jax: Any, *arrays: Any) -> Any:
        value, back = jax.vjp(partial(loss, jax), *arrays[:count])
        return (value, *back(arrays[count]))

    return both


def _mean_loss(loss: Callable[..., Any]) -> Callable[..., Any]:
    def both(jax: Any, x: Any, target: Any) -> Any:
        return jax.value_and_grad(partial(loss, jax))(x, target)

    return both


def _dense(jax: Any, x: Any, target: Any) -> Any:
    return -jax.numpy.mean(jax.numpy.sum(target * jax.nn.log_softmax(x), axis=-1))


def _sparse(jax: Any, x: Any, target: Any) -> Any:
    return -jax.numpy.mean(jax.numpy.take_along_axis(jax.nn.log_softmax(x), target[:, None], axis=-1))


def _with_vjp(value: Callable[..., Any], count: int) -> Callable[..., Any]:
    def both(*nodes: Any) -> Any:
        y = value(*nodes[:count])
        return (y, *gc.vjp(y, list(nodes[:count]), nodes[count]))

    return both


def _with_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    def both(x: Any, target: Any) -> Any:
        value = loss(target, x, from_logits=True)
        return value, gc.grad(value, x)

    return both


def cases() -> Iterator[Case]:
    one = partial(normal, SHAPE, "float32", 2)
    for name, arrays, ours, theirs in (
        ("softmax", (one,), _with_vjp(gc.softmax, 1), _in_jax(lambda jax, x: jax.nn.softmax(x), 1)),
        ("log_softmax", (one,), _with_vjp(gc.log_softmax, 1), _in_jax(lambda jax, x: jax.nn.log_softmax(x), 1)),
        (
            "layer_norm",
            (*(partial(normal, SHAPE[1:], "float32", k) for k in (3, 4)), one),
            _with_vjp(partial(_normalised, gc), 3),
            _in_jax(lambda jax, *a: _normalised(jax.numpy, *a), 3),
        ),
        ("cross-entropy, dense", (_targets,), _with_gradient(gc.losses.categorical_crossentropy), _mean_loss(_dense)),
        (
            "cross-entropy, integers",
            (_labels,),
            _with_gradient(gc.losses.sparse_categorical_crossentropy),
            _mean_loss(_sparse),
        ),
    ):
        title = f"{name} [{SHAPE[0]}, {SHAPE[1]}]"
        yield Case(title, "float32", partial(_subject, SHAPE, arrays, ours, theirs))
    scaled = _in_jax(lambda jax, x: jax.nn.softmax(x * SCALE), 1)
    made = partial(_subject, ATTENTION, (partial(normal, ATTENTION, "float32", 2),), _attention, scaled)
    yield Case(f"scaled softmax [{ATTENTION[0]}, {ATTENTION[1]}]", "float32", made)


def _attention(x: Any, cotangent: Any) -> Any:
    return _with_vjp(lambda x: gc.softmax(x * SCALE), 1)(x, cotangent)


def _targets() -> Array:
    weights = np.exp(normal(SHAPE, "float32", 5))
    found = empty(SHAPE, "float32")
    found[...] = weights / weights.sum(axis=1, keepdims=True)
    return found


def _labels() -> Array:
    found = empty(SHAPE[:1], "int64")
    found[...] = np.random.default_rng(0).integers(0, SHAPE[1], SHAPE[0])
    return found


def _subject(
    shape: tuple[int, ...],
    others: tuple[Callable[[], Array], ...],
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
) -> Subject:
    arrays = [normal(shape, "float32", 1), *(other() for other in others)]
    function, out = compiled(arrays, ours)
    whole = int(np.prod(shape))
    targets = [empty(o.shape, o.dtype) for o in out if o.size == whole]
    peers = {"copy": copies([a for a in arrays if a.size == whole], targets, gc.get_num_threads())}
    jax = jax_call(theirs, arrays)
    return Subject(function, arrays, out, peers | ({"jax": [jax]} if jax else {}), 1e-4)
