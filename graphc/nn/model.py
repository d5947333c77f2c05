"""Training in Keras's manner: compile, fit, evaluate, predict, and saving of what was learned.

In: arrays whose first dimension counts the samples.  Out: arrays, and floats that are means over the samples.  An epoch
is one call into compiled code; a function is compiled once for each dtype and shape of a sample that is met.
"""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import losses, optim
from graphc.compile import compile as compile_graph
from graphc.declare import BUILDER as ops
from graphc.declare import input as declare_input
from graphc.errors import DeclarationError, DTypeError, InputError, PropertyError
from graphc.graph import Node
from graphc.inspect import html
from graphc.nn import metrics as metric_names
from graphc.nn import weights
from graphc.nn.epoch import passes
from graphc.nn.given import as_samples, count, not_taken, pair
from graphc.nn.history import History
from graphc.nn.layers import Layer
from graphc.nn.part import Part, without
from graphc.nn.progress import report
from graphc.nn.summary import Summary
from graphc.types import float32

Array = np.ndarray[Any, Any]
Values = dict[str, float]

_NOT_COMPILED = 'the model has no loss yet; write model.compile("adam", "categorical_crossentropy")'
_BATCH = 2048  # samples that evaluate and predict take at once where the caller does not say


@dataclass(frozen=True)
class _Plan:
    """What `Model.compile` was told."""

    optimizer: optim.Optimizer
    loss: losses.Loss
    metrics: dict[str, metric_names.Metric]
    frozen: list[Part]


class Model(Part):
    """Base of the models: a child gives `__call__`, a node for a node, and `parameters`.

    `seed` decides the order of samples in `fit`.  Layers are found among the child's
    attributes; one with `trainable = False` keeps its values from the next `compile` on.

    >>> import numpy as np
    >>> import graphc as gc
    >>> model = gc.nn.Sequential([gc.nn.Dense(1)], seed=0)
    >>> model.compile(gc.optim.SGD(0.1), "mse")
    >>> x = np.linspace(-1.0, 1.0, 64, dtype=np.float32)[:, None]
    >>> history = model.fit(x, 2.0 * x + 1.0, epochs=60, verbose=0)
    >>> model.predict(x[-1:], verbose=0).round(2)
    array([[3.]], dtype=float32)
    """

    __slots__ = ("_functions", "_plan", "_shuffle", "history", "train_function")

    def __init__(self, seed: Any = None) -> None:
        self.history: History | None = None  # of the last fit, up to an interrupt if there was one
        self.train_function: Any = None  # the compiled step of the last fit: its source, explain() and stats
        self._shuffle = np.random.default_rng(seed)
        self._plan: _Plan | None = None
        self._functions: dict[Any, Any] = {}

    def __call__(self, x: Node) -> Node:
        """The model's result for a node; a child gives it.

        >>> import graphc as gc
        >>> class Line(gc.nn.Model):
        ...     def __init__(self):
        ...         super().__init__(seed=0)
        ...         self.dense = gc.nn.Dense(1)
        ...     def __call__(self, x):
        ...         return self.dense(x)
        ...     def parameters(self):
        ...         return self.dense.parameters()
        >>> Line()(gc.input("x", ("batch", 3))).shape
        (batch, 1)
        """
        raise NotImplementedError(f"{type(self).__name__} has no method __call__, which gives a model's result")

    def parameters(self) -> list[Node]:
        """The parameters, which `fit` changes and files of weights hold, in order; a child gives them.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(1)])
        >>> model.build((None, 3))
        >>> [w.shape for w in model.parameters()]
        [(3, 1), (1,)]
        """
        return super().parameters()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that the model holds, and those of the models that it holds.

        >>> import graphc as gc
        >>> gc.nn.Sequential([gc.nn.Dense(3)]).layers
        (Dense(3, name='dense'),)
        """
        return tuple(part for part in self.parts(through=Model) if isinstance(part, Layer))

    def __getstate__(self) -> tuple[Any, dict[str, Any]]:
        """Without compiled functions: they are compiled again where they are wanted."""
        state: Any = super().__getstate__()
        plain, slots = state
        return plain, {**slots, "_functions": {}, "train_function": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}])"

    def made(self) -> list[Node]:
        layers = self.layers
        if any(layer.weights is None for layer in layers):
            return [w for layer in layers for w in layer.made()]
        return self.parameters()

    def _repr_html_(self) -> str:
        made = self.made()
        title = type(self).__name__ if made else f"{type(self).__name__}, without parameters so far"
        return html.block(html.heading(title), Summary(self.layers, made, without(made, self.frozen())).html)

    def summary(self) -> None:
        """Print the layers, the shapes of their parameters, and how many values they hold.

        Raises DeclarationError for a stack without parameters so far.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(2)])
        >>> model.build((None, 3))
        >>> model.summary()
        dense                Dense                 8  kernel [3, 2], bias [2]
        total                                      8
        """
        print(Summary(self.layers, self.parameters(), self.trainable_parameters()))

    def compile(self, optimizer: Any = "adam", loss: Any = None, *, metrics: Any = None) -> None:
        """Say how to learn: an `optimizer` and a `loss` by name or as objects, and a list of `metrics`.

        Optimisers: sgd, adam.  Losses: mean_squared_error, mse, binary_crossentropy, categorical_crossentropy,
        sparse_categorical_crossentropy, kl_divergence, kld, or a function of (y_true, y_pred).  Metrics: accuracy, acc,
        and all losses.  The values of a loss or metric that gives more than one are averaged.

        Raises DeclarationError for a name that does not exist.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(1)])
        >>> model.compile(gc.optim.SGD(0.1), "mse", metrics=["accuracy"])
        >>> model.optimizer
        SGD(learning_rate=0.1, momentum=0.0, nesterov=False)
        """
        self._plan = _Plan(optim.get(optimizer), losses.get(loss), metric_names.get(metrics), self.frozen())
        self._functions.clear()

    @property
    def optimizer(self) -> optim.Optimizer:
        """The optimiser that `compile` was given or made; PropertyError before.

        >>> import graphc as gc
        >>> hasattr(gc.nn.Sequential([gc.nn.Dense(1)]), "optimizer")
        False
        """
        if self._plan is None:
            raise PropertyError(_NOT_COMPILED)
        return self._plan.optimizer

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: Any = "auto",
        *,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        **others: Any,
    ) -> History:
        """Learn from samples x [n, ...] and targets y [n, ...]; `verbose` is 0, 1 (a bar), 2 (lines) or "auto".

        A step sees `batch_size` samples.  With `shuffle` their order is drawn anew for each epoch, from the seed.
        `validation_data`, a pair (x, y), is evaluated after each epoch.  Lists of Python floats are float32, or of the
        parameters' dtype.  An interrupt (KeyboardInterrupt) passes through: the model keeps the steps that it took, and
        `model.history` the epochs that it finished.

        Raises InputError where x and y do not have the same number of samples, or none, or for an argument of Keras's
        that is not there; DTypeError for float64 samples and float32 parameters; DeclarationError before `compile`.

        >>> import numpy as np
        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(1)], seed=0)
        >>> model.compile("sgd", "mse")
        >>> x = np.ones((8, 3), "float32")
        >>> model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0).epoch
        [0, 1]
        """
        if others:
            raise InputError(not_taken(next(iter(others))))
        x, y = self._samples(x, y)
        batch_size, epochs = count("batch_size", batch_size), count("epochs", epochs)
        validation = None if validation_data is None else self._samples(*pair(validation_data))
        step = self._function("fit", x, y)
        if validation is None:
            look: AbstractContextManager[Any] = nullcontext()
        else:  # what is wrong with it shows before the first step
            look = passes(self._function("evaluate", *validation), *validation, _BATCH)
        self.train_function, self.history = step, History()
        with report(verbose, epochs * len(x)) as shown, passes(step, x, y, batch_size) as train, look as check:
            for epoch in range(epochs):
                shown.begin(f"Epoch {epoch + 1}/{epochs}")
                order = self._shuffle.permutation(len(x)) if shuffle else None
                values = train(order, shown)
                if check is not None:
                    values |= {f"val_{name}": v for name, v in check().items()}
                self.history.add(epoch, values)
                shown.end(values)
        return self.history

    def evaluate(
        self, x: Any, y: Any, batch_size: int | None = None, verbose: Any = "auto", *, return_dict: bool = False
    ) -> Any:
        """The loss and metrics on samples x and targets y: a float if there are no metrics, a list, or a dict.

        `batch_size` bounds the memory that it takes; the values do not depend on it but for rounding.  `verbose` is as
        in `fit`; with `return_dict` the values come by name.  Raises what `fit` raises.

        >>> import numpy as np
        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> model.evaluate(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), verbose=0, return_dict=True)
        {'loss': 1.0}
        """
        x, y = self._samples(x, y)
        batch_size = count("batch_size", _BATCH if batch_size is None else batch_size)
        with report(verbose, len(x)) as shown:
            shown.begin("Evaluate")
            values = self._evaluate(x, y, batch_size)
            shown.advance(len(x), values)
            shown.end(values)
        if return_dict:
            return values
        return list(values.values()) if len(values) > 1 else values["loss"]

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto") -> Array:
        """The model's results for samples x [n, ...], in one array [n, ...].

        `batch_size` bounds the memory that it takes, `verbose` is as in `fit`.  Raises InputError without samples,
        DTypeError for float64 samples and float32 parameters.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(2, kernel_initializer="ones")])
        >>> model.predict([[1.0, 2.0, 3.0]], verbose=0)
        array([[6., 6.]], dtype=float32)
        """
        x = self._some("x", x)
        batch_size = count("batch_size", _BATCH if batch_size is None else batch_size)
        function = self._function("predict", x)
        parts = []
        with report(verbose, len(x)) as shown:
            shown.begin("Predict")
            for k in range(0, len(x), batch_size):
                parts.append(function(x[k : k + batch_size]))
                shown.advance(len(parts[-1]), {})
            shown.end({})
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters' values to a .npz file at `path`; it holds arrays by name and no code.

        Raises InputError for a path of another ending, DeclarationError without parameters, OSError if the file can't
        be written.

        >>> import pathlib, tempfile
        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(1, kernel_initializer="ones")])
        >>> model.build((None, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "weights.npz"
        ...     model.save_weights(path)
        ...     path.exists()
        True
        """
        weights.save(path, self.parameters())

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Set the parameters to the values in the file at `path` that `save_weights` wrote.

        Raises InputError, with nothing changed, if a name is missing or too many, or a shape or dtype differs;
        DeclarationError without parameters, OSError if the file can't be read.

        >>> import pathlib, tempfile
        >>> import graphc as gc
        >>> models = [gc.nn.Sequential([gc.nn.Dense(1)], seed=k) for k in range(2)]
        >>> for model in models:
        ...     model.build((None, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models[0].save_weights(pathlib.Path(folder) / "weights.npz")
        ...     models[1].load_weights(pathlib.Path(folder) / "weights.npz")
        >>> bool((models[0].predict([[1.0] * 3], verbose=0) == models[1].predict([[1.0] * 3], verbose=0)).all())
        True
        """
        weights.load(path, self.parameters())

    def _compiled(self) -> _Plan:
        if self._plan is None:
            raise DeclarationError(_NOT_COMPILED)
        return self._plan

    def _samples(self, x: Any, y: Any) -> tuple[Array, Array]:
        x, y = self._some("x", x), self._some("y", y)
        if len(x) != len(y):
            raise InputError(f"x has {len(x)} samples and y has {len(y)}; a sample has one target")
        return x, y

    def _some(self, name: str, value: Any) -> Array:
        return as_samples(name, value, next((w.dtype for w in self.made() if w.dtype.is_float), float32))

    def _evaluate(self, x: Array, y: Array, batch_size: int) -> Values:
        with passes(self._function("evaluate", x, y), x, y, batch_size) as check:
            return check()

    def _function(self, kind: str, *arrays: Array) -> Any:
        """The compiled function of this kind for samples of these dtypes and shapes."""
        samples = tuple((a.dtype.str, a.shape[1:]) for a in arrays)
        if (kind, samples) not in self._functions:
            step = self._functions.get(("fit", samples)) if kind == "evaluate" else None
            with self._all_or_nothing():  # what fit has compiled serves evaluate too
                found = step.without_updates() if step is not None else None
                self._functions[kind, samples] = found if found is not None else self._declare(kind, *arrays)
        return self._functions[kind, samples]

    def _all_or_nothing(self) -> AbstractContextManager[None]:
        """A child that makes parameters at its first call takes them back here if a declaration fails."""
        return nullcontext()

    def _declare(self, kind: str, *arrays: Array) -> Any:
        """Declare and compile the function: `predict` takes x, `evaluate` and `fit` take x and t."""
        plan = self._compiled() if kind != "predict" else None
        nodes = [declare_input(n, ("batch", *a.shape[1:]), a.dtype) for n, a in zip("xt", arrays, strict=False)]
        y = self(nodes[0])
        self._check_dtype(nodes[0])
        if plan is None:
            return compile_graph(nodes, y, name=kind)
        functions = {"loss": plan.loss, **plan.metrics}
        outputs = {name: _averaged(name, function(nodes[1], y)) for name, function in functions.items()}
        updates = self._updates(plan, outputs["loss"]) if kind == "fit" else None
        return compile_graph(nodes, outputs, updates=updates, name=kind)

    def _updates(self, plan: _Plan, loss: Node) -> optim.Updates | None:
        """What a step changes; nothing, and a warning, if all that could learn is frozen."""
        parameters = self.parameters()
        learning = without(parameters, plan.frozen)
        if parameters and not learning:
            warnings.warn("nothing in the model is trainable, so fit changes no parameter", stacklevel=5)
            return None
        return plan.optimizer.updates(loss, learning)

    def _check_dtype(self, x: Node) -> None:
        """Refuse float64 samples for float32 parameters: all would be computed in float64, and in silence."""
        wider = [w for w in self.parameters() if x.dtype.is_float and x.dtype.size > w.dtype.size]
        if wider:
            dtype = str(wider[0].dtype)
            raise DTypeError(f"the model's parameters are {dtype}, x is {x.dtype}; write x.astype({dtype!r})")


def _averaged(name: str, value: Any) -> Node:
    """The value of a loss or metric, the mean of its values if they are many, such as one a sample."""
    if not isinstance(value, Node):
        raise DeclarationError(f"{name} is a node, made from the nodes y_true and y_pred; its function gave {value!r}")
    mean: Node = value if value.shape == () else ops.mean(value)
    return mean
