"""Bad input of every kind, end to end: the right result, or an error that says what to do, and no state changed."""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.graph import Graph, Node
from graphc.interpret import interpret

Values = np.ndarray[Any, Any]


class World:
    """Functions that share state: a step of a linear model under Adam, and a look-up that counts what it finds."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.xs, self.ts = rng.normal(size=(8, 3)).astype("f"), rng.normal(size=8).astype("f")
        self.x, self.t = gc.input("x", ("batch", 3), "float32"), gc.input("t", ("batch",), "float32")
        self.w, self.adam = gc.parameter("w", np.ones(3, "f")), gc.optim.Adam(0.25)
        self.loss = gc.sum((self.x @ self.w - self.t) ** 2)
        self.updates = self.adam.updates(self.loss, [self.w])
        self.step = gc.compile([self.x, self.t], self.loss, updates=self.updates, name="step")
        values, at = gc.input("values", ("n",)), gc.input("at", ("k",), "int64")
        self.count = gc.parameter("count", np.zeros(2))
        found = gc.take(values, at)
        more = {self.count: self.count + gc.sum(found)}
        self.look_up = gc.compile([values, at], {"found": found, "count": self.count}, updates=more, name="look_up")
        self.plus = gc.compile([self.x], self.x + self.w, name="plus")

    def bits(self) -> list[bytes]:
        return [p.value.tobytes() for p in (*self.updates, self.adam.learning_rate, self.count)]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


# What is refused


def forged_cycle(world: World) -> Any:
    """A node that reads its own user, which only object.__setattr__ can make."""
    first = gc.exp(gc.input("x", ()))
    second = gc.log(first)
    object.__setattr__(first, "operands", (second,))
    return gc.compile([], second)


def outputs_that_hold_themselves(world: World) -> Any:
    outputs: list[Any] = [world.loss]
    outputs.append(outputs)
    return gc.compile([world.x, world.t], outputs)


REFUSED: dict[str, tuple[Callable[[World], Any], type[Exception], list[str]]] = {
    "wrong rank": (
        lambda w: w.step(w.xs[0], w.ts),
        gc.InputError,
        ["step: input 'x': float32[batch, 3] has 2 dimensions, got shape [3]"],
    ),
    "wrong dtype": (
        lambda w: w.step(w.xs.astype("f8"), w.ts),
        gc.DTypeError,
        ["step: input 'x': float32[batch, 3]: got float64[8, 3]", "np.asarray(x).astype('float32')"],
    ),
    "complex": (lambda w: w.step(w.xs * 1j, w.ts), gc.DTypeError, ["input 'x': float32[batch, 3]", "complex64"]),
    "text": (lambda w: w.step("images", w.ts), gc.DTypeError, ["input 'x': float32[batch, 3]", "(str)"]),
    "objects": (lambda w: w.step(w.xs.astype(object), w.ts), gc.DTypeError, ["input 'x'", "object"]),
    "wrong shape": (
        lambda w: w.step(w.xs[:, :2], w.ts),
        gc.InputError,
        ["input 'x': float32[batch, 3]: got shape [8, 2], where dimension 1 must be 3"],
    ),
    "two batches that differ": (
        lambda w: w.step(w.xs, w.ts[:5]),
        gc.InputError,
        ["input 't': float32[batch]: got shape [5], where dimension 0 must be 8", "batch is 8 by input 'x'"],
    ),
    "two batches that differ, in run": (
        lambda w: w.step.run(x=w.xs, t=w.ts[:5]),
        gc.InputError,
        ["step.run", "the same number of rows", "'x' has 8, 't' has 5"],
    ),
    "unknown name": (
        lambda w: w.step(w.xs, target=w.ts),
        gc.InputError,
        ["step takes (x: float32[batch, 3], t: float32[batch])", "there is no input 'target'"],
    ),
    "unknown name in run": (
        lambda w: w.step.run(x=w.xs, t=w.ts, batchsize=4),
        gc.InputError,
        ["step takes (x: float32[batch, 3], t: float32[batch])", "there is no input 'batchsize'"],
    ),
    "too few": (lambda w: w.step(w.xs), gc.InputError, ["step takes (x: float32[batch, 3], t:", "missing: t"]),
    "too many": (lambda w: w.step(w.xs, w.ts, 1), gc.InputError, ["step takes", "2 inputs, got 3 by position"]),
    "given twice": (lambda w: w.step(w.xs, x=w.xs), gc.InputError, ["input 'x' is given twice"]),
    "arity of an op": (lambda w: gc.exp(w.x, w.x), gc.DeclarationError, ["exp: ", "its signature is exp(", "at "]),
    "unknown keyword of an op": (
        lambda w: gc.sum(w.x, axes=0),
        gc.DeclarationError,
        ["'axes'", "its signature is sum(x, /, axis=None, *, dtype=None, keepdims=False)", "gc.sum(w.x, axes=0)"],
    ),
    "unknown keyword of an optimiser": (lambda w: gc.optim.Adam(lr=1.0), TypeError, ["keyword argument 'lr'"]),
    "unknown keyword of compile": (
        lambda w: gc.compile([w.x], w.x, update={w.w: w.w}),
        TypeError,
        ["keyword argument 'update'"],
    ),
    "ragged rows in a call": (
        lambda w: w.step([[1, 2, 3], [4, 5]], [1, 2]),
        gc.InputError,
        ["input 'x': float32[batch, 3]", "its rows differ in length"],
    ),
    "ragged rows in an expression": (
        lambda w: w.x + [[1, 2, 3], [4, 5]],
        gc.ShapeError,
        ["add: ", "rows differ in length", "operand 0: input 'x': float32[batch, 3]", "w.x + [[1"],
    ),
    "ragged rows in an assignment": (lambda w: w.w.assign([[1], [2, 3]]), gc.ShapeError, ["rows differ in length"]),
    "ragged order": (lambda w: w.step.run(x=w.xs, t=w.ts, order=[[0], [1, 2]]), gc.InputError, ["1-d array of ints"]),
    "read-only out": (
        lambda w: w.plus(w.xs, out=np.broadcast_to(np.float32(0), (8, 3))),
        gc.InputError,
        ["plus: out= for output 0 must be a writable array float32[8, 3], got one that is read-only"],
    ),
    "out of another shape": (
        lambda w: w.plus(w.xs, out=np.zeros((7, 3), "f")),
        gc.InputError,
        ["must be a writable array float32[8, 3], got float32[7, 3]"],
    ),
    "out of another structure": (
        lambda w: w.look_up([1.0], [0], out=[np.zeros(1), np.zeros(2)]),
        gc.InputError,
        ["out= must have the structure of the outputs, {'found': 'float64[k]', 'count': 'float64[2]'}"],
    ),
    "a node as a value": (lambda w: w.step(w.x, w.ts), gc.InputError, ["input 'x'", "a value is wanted here"]),
    "a node in a list of values": (lambda w: w.w.assign([w.t, 1.0, 2.0]), gc.DeclarationError, ["has no value while"]),
    "a node of another graph": (
        lambda w: gc.compile([gc.input("x", ("batch", 3), "float32"), w.t], w.loss),
        gc.DeclarationError,
        ["the outputs need input 'x': float32[batch, 3] (declared at ", "not listed among the inputs", "w.t], w.loss"],
    ),
    "two inputs of one name": (
        lambda w: gc.compile([w.x, gc.input("x", ())], w.x),
        gc.DeclarationError,
        ["two inputs are called 'x'", "float32[batch, 3]", "float64[]"],
    ),
    "an input called out": (
        lambda w: gc.compile([out := gc.input("out", ("n",))], out),
        gc.DeclarationError,
        ["an input can't be called 'out', a keyword of the call; rename input 'out': float64[n]"],
    ),
    "an input called batch_size": (
        lambda w: gc.compile([gc.input("batch_size", (), "int64")], w.w),
        gc.DeclarationError,
        ["an input can't be called 'batch_size', a keyword of the call"],
    ),
    "an input called order": (
        lambda w: gc.compile([w.x, gc.input("order", ("n",), "int64")], w.x),
        gc.DeclarationError,
        ["an input can't be called 'order', a keyword of the call"],
    ),
    "a parameter as an input": (lambda w: gc.compile([w.w], w.w), gc.DeclarationError, ["inputs are made by gc.input"]),
    "inputs that are no list": (lambda w: gc.compile(None, w.w), gc.DeclarationError, ["inputs are a list", "None"]),
    "an output that is no node": (lambda w: gc.compile([], 3.0), gc.DeclarationError, ["an output is a node, got 3.0"]),
    "updates that are no mapping": (
        lambda w: gc.compile([], w.w, updates=[(w.w, w.w)]),
        gc.DeclarationError,
        ["updates map parameters to their new values"],
    ),
    "an update of an input": (
        lambda w: gc.compile([w.x], w.x, updates={w.x: w.x}),
        gc.DeclarationError,
        ["updates are for parameters", "input 'x': float32[batch, 3]"],
    ),
    "an update of another shape": (
        lambda w: gc.compile([], w.w, updates={w.w: gc.sum(w.w)}),
        gc.ShapeError,
        ["the new value of parameter 'w': float32[3]", "has shape []"],
    ),
    "an update of another dtype": (
        lambda w: gc.compile([], w.w, updates={w.w: gc.astype(w.w, "float64")}),
        gc.DTypeError,
        ["the new value of parameter 'w': float32[3]", "gc.astype(value, 'float32')"],
    ),
    "a parameter assigned another shape": (
        lambda w: w.w.assign(np.zeros(4, "f")),
        gc.ShapeError,
        ["parameter 'w' has shape [3]; it can't be assigned [4]"],
    ),
    "a parameter assigned a scalar": (lambda w: w.w.assign(1.0), gc.ShapeError, ["has shape [3]"]),
    "a parameter assigned another dtype": (
        lambda w: w.w.assign(np.zeros(3)),
        gc.DTypeError,
        ["parameter 'w' is float32, got float64; write w.assign(a.astype('float32'))"],
    ),
    "an assigned input": (lambda w: w.x.assign(w.xs), gc.DeclarationError, ["only parameters have a value", "'x'"]),
    "a value set by name": (lambda w: setattr(w.w, "value", 0), AttributeError, ["nodes are frozen", "'value'"]),
    "a cycle by assignment": (
        lambda w: setattr(w.loss, "operands", (w.loss,)),
        AttributeError,
        ["nodes are frozen: 'operands' can't be changed; declare a new node instead"],
    ),
    "a cycle by deletion": (lambda w: delattr(w.loss, "operands"), AttributeError, ["nodes are frozen"]),
    "a cycle by attributes": (lambda w: w.loss.attrs.update(axis=w.loss), AttributeError, ["mappingproxy"]),
    "a cycle by force": (forged_cycle, AssertionError, ["exp(...)", "stands before an operand"]),
    "outputs that hold themselves": (outputs_that_hold_themselves, gc.DeclarationError, ["hold themselves"]),
    "a node as a condition": (lambda w: 1 if w.loss > 0 else 0, gc.DeclarationError, ["write gc.where("]),
    "the gradient of an integer": (
        lambda w: gc.grad(gc.sum(gc.argmax(w.x, axis=1)), w.x),
        gc.GradientError,
        ["sum(...): int64[]", "not float"],
    ),
    "the gradient by an integer": (
        lambda w: gc.grad(w.loss, gc.input("k", (), "int64")),
        gc.GradientError,
        ["input 'k': int64[]", "is not float, so it has no gradient"],
    ),
    "the gradient of many numbers": (lambda w: gc.grad(w.x, w.w), gc.GradientError, ["needs a scalar", "gc.vjp("]),
    "the gradient by no node": (lambda w: gc.grad(w.loss, 3), gc.GradientError, ["respect to a node", "got 3"]),
    "an order beyond the end": (
        lambda w: w.step.run(x=w.xs, t=w.ts, batch_size=1, order=[0, 1, 8]),
        gc.InputError,
        ["step.run: order[2] is 8, but there are rows 0 to 7"],
    ),
    "an order before the start": (
        lambda w: w.step.run(x=w.xs, t=w.ts, batch_size=1, order=[0, -1]),
        gc.InputError,
        ["step.run: order[1] is -1, but there are rows 0 to 7"],
    ),
    "an order of floats": (lambda w: w.step.run(x=w.xs, t=w.ts, order=[0.0]), gc.InputError, ["1-d array of ints"]),
    "a position beyond the end": (
        lambda w: w.look_up([1.0, 2.0], [1, 2]),
        gc.InputError,
        ["look_up: ", "position 2 does not lie on axis 0, which has length 2", "found = gc.take(values, at)"],
    ),
    "a position before the start": (
        lambda w: w.look_up([1.0, 2.0], [-3]),
        gc.InputError,
        ["position -3 does not lie on axis 0, which has length 2"],
    ),
    "a position in nothing": (lambda w: w.look_up([], [0]), gc.InputError, ["position 0", "which has length 0"]),
    "a known position beyond the end": (
        lambda w: gc.take(w.w, [0, 3]),
        gc.ShapeError,
        ["position 3 does not lie on axis 0, which has length 3", "parameter 'w': float32[3]", "gc.take(w.w, [0, 3])"],
    ),
    "shapes that do not fit": (
        lambda w: w.x + gc.input("b", ("batch", 4), "float32"),
        gc.ShapeError,
        ["add: the shapes do not broadcast", "operand 0: input 'x': float32[batch, 3]", "operand 1: input 'b'"],
    ),
}


@pytest.mark.parametrize("item", REFUSED)
def test_refused_with_nothing_changed(world: World, item: str) -> None:
    call, error, says = REFUSED[item]
    before = world.bits()
    with pytest.raises(error) as caught:
        call(world)
    assert [text for text in says if text not in str(caught.value)] == [], str(caught.value)
    if issubclass(error, gc.GraphcError) and "declared at" in str(caught.value):
        assert "test_bad_input.py:" in str(caught.value)
    assert world.bits() == before
    assert np.isfinite(world.step(world.xs, world.ts))
    assert world.bits() != before


# What is odd and right


def spread(a: Values) -> Values:
    """The same values in every other element."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def read_only(a: Values) -> Values:
    a = a.copy()
    a.flags.writeable = False
    return a


ODD: dict[str, Callable[[Values], Any]] = {
    "strided": spread,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "not aligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "lists": lambda a: a.tolist(),
    "of zero size": lambda a: a[:0],
    "with NaN": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 2, np.float32(np.nan), a),
    "with an infinity": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 2, np.float32(np.inf), a),
}


def by_interpreter(outputs: Mapping[Any, Node], inputs: tuple[Node, ...], values: list[Values]) -> dict[Any, Values]:
    found = interpret(Graph(tuple(outputs.values()), inputs), values)
    return dict(zip(outputs, found, strict=True))


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_odd_arrays_give_the_right_result_and_state(kind: str) -> None:
    world = World()
    xs, ts = ODD[kind](world.xs), ODD[kind](world.ts)
    plain = [np.array(xs, "f"), np.array(ts, "f")]
    expected = by_interpreter({"loss": world.loss, **world.updates}, (world.x, world.t), plain)
    loss = world.step(xs, ts)
    np.testing.assert_allclose(loss, expected.pop("loss"), rtol=1e-6)
    for parameter, value in expected.items():
        np.testing.assert_allclose(parameter.value, value, rtol=1e-5, atol=1e-7, err_msg=str(parameter.name))
    np.testing.assert_array_equal(np.asarray(xs, "f"), plain[0], "an input is never changed")
    other = World()
    assert other.step.run(x=xs, t=ts, batch_size=8).tobytes() == (loss.tobytes() if len(plain[0]) else b"")


@pytest.mark.parametrize(
    "overlapping",
    [
        lambda block: (block[:8], block[:8]),
        lambda block: (block[:8], block[1:9]),
        lambda block: (block[1:9], block[:8]),
        lambda block: (block[:8], block[7::-1]),
    ],
    ids=["the same", "ahead", "behind", "reversed"],
)
def test_an_out_that_overlaps_its_input(world: World, overlapping: Callable[[Values], tuple[Values, Values]]) -> None:
    x, out = overlapping(np.arange(30, dtype="f").reshape(10, 3))
    expected = x + world.w.value
    assert world.plus(x, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_updates_that_read_one_another_are_simultaneous() -> None:
    p, q = gc.parameter("p", np.arange(3.0)), gc.parameter("q", -np.arange(3.0))
    swap = gc.compile([], (p, q), updates={p: q, q: p})
    for first, second in ((1.0, -1.0), (-1.0, 1.0), (1.0, -1.0)):
        assert [v.tolist() for v in swap()] == [[0, first, 2 * first], [0, second, 2 * second]]
    assert p.value.tolist() == [0, -1, -2]


# The cache folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a graph's first compilation in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "graphc"


def compiled() -> Any:
    x = gc.input("x", ("n",))
    return gc.compile([x], gc.sum(gc.exp(x) * 3.0), name="cached")


def right(f: Any) -> bool:
    return bool(np.isclose(f([0.0, 1.0]), 3 * (1 + np.e), rtol=1e-15))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_folder_that_can_not_be_written_means_one_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(RuntimeWarning, match=os.strerror(code)):
        assert right(compiled())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = compiled()
    assert right(again)
    assert not again.stats["from_cache"]


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], lambda b: b""],
    ids=["truncated", "one bit", "empty"],
)
def test_a_damaged_entry_is_compiled_anew_and_replaced(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    assert right(compiled())
    for path in folder.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(RuntimeWarning, match="compiled anew"):
        anew = compiled()
    assert right(anew)
    assert not anew.stats["from_cache"]
    assert compiled().stats["from_cache"]


# An interrupt


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupted_run_has_done_the_steps_that_it_names(ctrl_c: Callable[[float], None]) -> None:
    xs, steps = np.linspace(-1.0, 1.0, 10), 10**6
    x, w = gc.input("x", ("n",)), gc.parameter("w", np.ones(100_000))
    step = gc.compile([x], gc.sum(x), updates={w: w * 0.999 + gc.sum(x)})
    order = np.arange(steps) % 10
    ctrl_c(0.3)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after \d+ of 1000000 steps, which are kept") as caught:
        step.run(x=xs, batch_size=1, order=order)
    assert time.perf_counter() - start < 2
    done = int(str(caught.value).split("after ")[1].split()[0])
    assert done > 0
    interrupted = w.value
    w.assign(np.ones(100_000))
    step.run(x=xs, batch_size=1, order=order[:done])
    assert w.value.tobytes() == interrupted.tobytes()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_an_interrupted_fit_keeps_what_it_learned(ctrl_c: Callable[[float], None], verbose: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("f")
    y = x[:, :1] * 2 - 1
    model = gc.nn.Sequential([gc.nn.Dense(1)], seed=0)
    model.compile(gc.optim.SGD(1e-4), "mse")
    first = model.evaluate(x, y, verbose=0)
    model.fit(x, y, verbose=verbose, validation_data=(x, y))  # imports what shows it, which takes long
    ctrl_c(0.4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=10**9, verbose=verbose, validation_data=(x, y))
    history = model.history
    assert history is not None
    done = len(history.epoch)
    assert done > 1
    assert [len(v) for v in history.history.values()] == [done] * 2
    assert 2 * (done + 1) <= model.optimizer.iterations.value <= 2 * (done + 2)
    assert model.evaluate(x, y, verbose=0) < first
    again = model.fit(x, y, verbose=0, validation_data=(x, y)).history
    assert again["val_loss"][0] <= history.history["val_loss"][-1]


def test_an_unsigned_position_is_never_taken_from_the_end() -> None:
    values, at = gc.input("values", (4,)), gc.input("at", ("n",), gc.uint64)
    look_up = gc.compile([values, at], gc.take(values, at))
    assert look_up(np.arange(4.0), np.array([3], np.uint64)).tolist() == [3.0]
    with pytest.raises(gc.InputError, match="does not lie on axis 0, which has length 4"):
        look_up(np.arange(4.0), np.array([2**64 - 1], np.uint64))
