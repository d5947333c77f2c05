"""A compiled training step end to end: any batch size, many steps in one call, threads, processes, pickles."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.runtime import backend, parts

Values = np.ndarray[Any, Any]


class Training:
    """A small classifier: its step under Adam and its loss, two functions that share the parameters."""

    def __init__(self, seed: int = 0, options: gc.Options | None = None) -> None:
        self.x, self.t = gc.input("x", ("batch", 12), "float32"), gc.input("t", ("batch", 5), "float32")
        self.model = gc.nn.Sequential([gc.nn.Dense(7, activation="relu"), gc.nn.Dense(5, activation="softmax")], seed)
        self.loss = gc.losses.categorical_crossentropy(self.t, self.model(self.x))
        self.adam = gc.optim.Adam(0.01)
        self.updates = self.adam.updates(self.loss, self.model.parameters())
        outputs = {"loss": self.loss, "surest": gc.max(self.model(self.x))}
        self.step = gc.compile([self.x, self.t], outputs, updates=self.updates, options=options, name="step")

    def evaluation(self) -> Any:
        return gc.compile([self.x, self.t], self.loss, name="evaluation")

    def state(self) -> list[bytes]:
        return [p.value.tobytes() for p in self.updates]


def samples(count: int) -> tuple[Values, Values]:
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, 12)).astype("f"), np.eye(5, dtype="f")[rng.integers(5, size=count)]


# Any batch size, many steps


def test_one_compilation_serves_every_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_kernels = backend.compile_kernels

    def counted(texts: Sequence[str], **more: Any) -> Any:
        compiled.extend(texts)
        return compile_kernels(texts, **more)

    monkeypatch.setattr(parts, "compile_kernels", counted)
    training = Training(options=gc.Options(cache=False))
    assert tuple(compiled) == training.step.program.kernels
    compile_seconds = training.step.stats["compile_seconds"]
    for count in (1, 7, 32, 4000, 7):
        x, t = samples(count)
        graph = Graph((training.loss, *training.updates.values()), (training.x, training.t))
        loss, *expected = interpret(graph, [x, t])
        np.testing.assert_allclose(training.step(x, t)["loss"], loss, rtol=2e-6)
        for parameter, value in zip(training.updates, expected, strict=True):
            np.testing.assert_allclose(parameter.value, value, rtol=2e-4, atol=2e-6, err_msg=str(parameter.name))
    assert len(compiled) == len(training.step.program.kernels)
    assert training.step.stats["compile_seconds"] == compile_seconds


@pytest.mark.parametrize("batch_size", [1, 8, 32, 50, 64])
@pytest.mark.parametrize("order", [None, "permutation", "repeats"])
def test_run_equals_stepping_by_hand_bit_for_bit(batch_size: int, order: str | None) -> None:
    x, t = samples(50)
    rng = np.random.default_rng(0)
    together, by_hand = Training(), Training()
    for _ in range(3):
        rows = {None: np.arange(50), "permutation": rng.permutation(50), "repeats": rng.integers(50, size=77)}[order]
        found = together.step.run(x=x, t=t, batch_size=batch_size, order=None if order is None else rows)
        cuts = [rows[k : k + batch_size] for k in range(0, len(rows), batch_size)]
        steps = [by_hand.step(x[at], t[at]) for at in cuts]
        for name in ("loss", "surest"):
            assert found[name].tobytes() == np.array([s[name] for s in steps]).tobytes()
        assert together.state() == by_hand.state()
    assert together.adam.iterations.value == 3 * len(cuts)


def test_runs_of_any_length_and_order_follow_one_another() -> None:
    """In order, by orders of fewer rows than a step has, of whole steps only, and with a rest; arrays are read anew."""
    x, t = samples(50)
    together, by_hand = Training(), Training()
    rng = np.random.default_rng(0)
    with together.step.runs(x=x, t=t, batch_size=8) as run:
        for length in (50, None, 5, 64, 3, 16, None, 0, 1, 8, 77):
            rows = np.arange(50) if length is None else rng.integers(50, size=length)
            steps = [by_hand.step(x[at], t[at]) for at in np.split(rows, range(8, len(rows), 8)) if len(at)]
            found = run() if length is None else run(rows)
            assert found["loss"].tobytes() == np.array([s["loss"] for s in steps], "f").tobytes()
            assert together.state() == by_hand.state()
            x += 0.25


def test_runs_of_a_debugged_function() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], {"sum": gc.sum(x)}, options=gc.Options(debug=True))
    with f.runs(x=[1.0, 2.0, 3.0], batch_size=2) as run:
        assert run()["sum"].tolist() == [3.0, 3.0]
        assert run([2, 1, 0])["sum"].tolist() == [5.0, 1.0]
    with pytest.raises(gc.InputError, match="batch_size must be an int >= 1"), f.runs(x=[1.0], batch_size=0):
        pass


def test_a_run_that_fails_leaves_the_next_one_right() -> None:
    w, x = gc.parameter("w", np.zeros(())), gc.input("x", ("n",), "int64")
    table = gc.input("table", (4,))
    step = gc.compile([table, x], gc.sum(table[x]), updates={w: w + 1.0})
    rows = np.array([0, 1, 2, 3, 9, 1])
    with step.runs(table=np.arange(4.0), x=rows, batch_size=2) as run:
        with pytest.raises(gc.InputError, match="in step 2 of 3"):
            run()
        assert w.value == 2
        with pytest.raises(gc.InputError, match=r"order\[1\] is 6, but there are rows 0 to 5"):
            run([0, 6])
        with pytest.raises(gc.InputError, match=r"order\[0\] is -1"):
            run([-1])
        assert w.value == 2
        assert run([1, 3, 2, 2]).tolist() == [4.0, 4.0]
        rows[4] = 0
        assert run().tolist() == [1.0, 5.0, 1.0]
    assert w.value == 7


def test_runs_are_of_one_thread_and_end_with_their_block() -> None:
    x = gc.input("x", ("n",))
    step, errors = gc.compile([x], gc.sum(gc.sin(x)), name="step"), []

    def work() -> None:
        for _ in range(200):
            try:
                assert run().shape == (40,)
            except gc.InputError as error:
                errors.append(str(error))

    with step.runs(x=np.ones(40_000), batch_size=1_000) as run:
        in_threads(work, work)
        run()
    assert errors
    assert all(e.startswith("step.runs: a run that it gave is under way") for e in errors)
    with pytest.raises(gc.InputError, match=r"step\.runs: .* its `with` block has ended"):
        run()


def test_a_child_forked_between_two_runs_goes_on() -> None:
    x, t = samples(50)
    together, by_hand = Training(), Training()
    by_hand.step.run(x=x, t=t, batch_size=8)
    expected = by_hand.step.run(x=x, t=t, batch_size=8)["loss"]
    with together.step.runs(x=x, t=t, batch_size=8) as run:
        run()
        child = os.fork()
        if not child:
            code = 1
            try:
                code = int(run()["loss"].tobytes() != expected.tobytes() or together.state() != by_hand.state())
            finally:
                os._exit(code)
        assert run()["loss"].tobytes() == expected.tobytes()
    assert os.waitpid(child, 0)[1] == 0
    assert together.state() == by_hand.state()


# Threads


def in_threads(*works: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(switch)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


@pytest.mark.parametrize("size", [10, 1_000_000])  # calls that keep the GIL, and calls that do not
def test_threads_that_share_parameters_see_whole_updates_and_lose_none(size: int) -> None:
    """Two functions that write, one that reads, and Python's own look; a reader never sees half of an update."""
    x = gc.input("x", ("n",))
    p, q = gc.parameter("p", np.zeros(size)), gc.parameter("q", np.zeros(size))
    both = {p: p + gc.sum(x), q: q + gc.sum(x)}
    first, second = gc.compile([x], p[0], updates=both), gc.compile([x], q[-1] - p[0], updates=both)
    reader = gc.compile([], (gc.min(p), gc.max(p), gc.min(q), gc.max(q)))

    def write(function: Any, times: int, count: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(times):
                function(np.ones(count))

        return work

    def read() -> None:
        for _ in range(100):
            assert len({float(v) for v in reader()}) == 1
            value = p.value
            assert value.min() == value.max()

    def run() -> None:
        second.run(x=np.ones(60), batch_size=3)

    in_threads(write(first, 100, 1), write(second, 50, 2), run, read)
    assert reader() == (260, 260, 260, 260)


def test_threads_with_batches_of_their_own_get_their_own_results() -> None:
    training = Training()
    evaluation = training.evaluation()
    batches = [samples(count) for count in (1, 3, 40, 500)]
    expected = [float(evaluation(*batch)) for batch in batches]

    def work(k: int) -> Callable[[], None]:
        def repeat() -> None:
            for i in range(200):
                j = (i + k) % len(batches)
                assert float(evaluation(*batches[j])) == expected[j]

        return repeat

    in_threads(*map(work, range(6)))


# Processes and pickles


def trained() -> tuple[Training, Values, Values]:
    training = Training()
    x, t = samples(32)
    for _ in range(3):
        training.step(x, t)
    return training, x, t


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_learns_on_alone() -> None:
    training, x, t = trained()
    before = training.state()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            losses = training.step.run(x=x, t=t, batch_size=8)["loss"]
            evaluated = training.evaluation()(x, t)  # compiled in the child
            os.write(writing, losses.tobytes() + evaluated.tobytes())
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert training.state() == before
    losses = training.step.run(x=x, t=t, batch_size=8)["loss"]
    assert os.read(reading, 1000) == losses.tobytes() + training.evaluation()(x, t).tobytes()
    os.close(reading)
    os.close(writing)


def _learn_on(pickled: bytes, x: Values, t: Values, queue: Any) -> None:
    step, evaluation = pickle.loads(pickled)
    queue.put((step.run(x=x, t=t, batch_size=8)["loss"].tobytes(), evaluation(x, t).tobytes()))


def test_a_spawned_child_learns_on_from_a_pickle() -> None:
    training, x, t = trained()
    evaluation = training.evaluation()
    pickled, before = pickle.dumps((training.step, evaluation)), training.state()
    assert b"ELF" not in pickled
    assert training.step.source.encode() not in pickled
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_learn_on, args=(pickled, x, t, queue))
    process.start()
    found = queue.get(timeout=60)
    process.join()
    assert process.exitcode == 0
    assert training.state() == before
    assert found == (training.step.run(x=x, t=t, batch_size=8)["loss"].tobytes(), evaluation(x, t).tobytes())


def test_functions_pickled_together_keep_sharing_and_leave_the_originals_alone() -> None:
    training, x, t = trained()
    evaluation = training.evaluation()
    step, copy = pickle.loads(pickle.dumps((training.step, evaluation)))
    before, first = training.state(), evaluation(x, t)
    assert copy(x, t).tobytes() == first.tobytes()
    found = [step(x, t)["loss"].tobytes() for _ in range(5)]
    assert copy(x, t) < first
    assert training.state() == before
    assert evaluation(x, t).tobytes() == first.tobytes()
    assert found == [training.step(x, t)["loss"].tobytes() for _ in range(5)], "Adam's own state came along"
    assert copy(x, t).tobytes() == evaluation(x, t).tobytes()


def test_functions_pickled_apart_do_not_share() -> None:
    training, x, t = trained()
    step, copy = pickle.loads(pickle.dumps(training.step)), pickle.loads(pickle.dumps(training.evaluation()))
    first = copy(x, t)
    step(x, t)
    assert copy(x, t).tobytes() == first.tobytes()


def test_a_model_pickled_with_its_step_keeps_sharing() -> None:
    training, x, t = trained()
    model, step = pickle.loads(pickle.dumps((training.model, training.step)))
    nodes: list[Node] = model.parameters()
    before = [w.value.tobytes() for w in nodes]
    assert before == [w.value.tobytes() for w in training.model.parameters()]
    step(x, t)
    assert all(w.value.tobytes() != old for w, old in zip(nodes, before, strict=True))


# The same machine code without its updates


def test_without_updates_gives_the_outputs_and_changes_nothing() -> None:
    training = Training()
    x, t = samples(40)
    frozen = training.step.without_updates()
    assert frozen is not None
    before = [p.value for p in training.updates]
    values = [float(frozen(x, t)["loss"]), *frozen.run(x=x, t=t, batch_size=40)["loss"]]
    values.append(float(pickle.loads(pickle.dumps(frozen))(x, t)["loss"]))
    for parameter, value in zip(training.updates, before, strict=True):
        assert parameter.value.tobytes() == value.tobytes(), parameter.name
    assert set(map(float, values)) == {float(training.step(x, t)["loss"])}
    assert frozen(x, t)["loss"] != values[0]  # it sees what the step has learned


def test_an_output_computed_with_an_update_in_one_sweep_needs_a_compilation_of_its_own() -> None:
    p = gc.parameter("p", np.zeros(3))
    assert gc.compile([], p + 1.0, updates={p: p + 1.0}).without_updates() is None
