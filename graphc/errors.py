"""The errors that graphc raises, all children of GraphcError."""

from __future__ import annotations


class GraphcError(Exception):
    """Base of every error that graphc raises on purpose.

    >>> import graphc as gc
    >>> try:
    ...     gc.input("x", (3,)) + gc.input("y", (4,))
    ... except gc.GraphcError as error:
    ...     print(type(error).__name__)
    ShapeError
    """


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit together.

    >>> import graphc as gc
    >>> gc.input("x", (3,)) + gc.input("y", (4,))
    Traceback (most recent call last):
    ...
    graphc.errors.ShapeError: add: the shapes do not broadcast: dimensions must be equal or 1
      operand 0: input 'x': float64[3] (declared at ...
    """


class DTypeError(GraphcError, TypeError):
    """A dtype that an op does not take, values that it does not hold, or an input whose cast would not be safe.

    >>> import graphc as gc
    >>> gc.constant([1.5, 300], "int8")
    Traceback (most recent call last):
    ...
    graphc.errors.DTypeError: int8 does not hold 1.5; write np.asarray(value).astype('int8') if another value is meant
      at ...
    """


class DeclarationError(GraphcError, ValueError):
    """A graph that is declared wrongly: a missing input, a wrong argument, a node of another kind.

    >>> import graphc as gc
    >>> gc.compile([], gc.exp(gc.input("x", ())))
    Traceback (most recent call last):
    ...
    graphc.errors.DeclarationError: the outputs need input 'x': float64[] (declared at ...
    """


class PropertyError(DeclarationError, AttributeError):
    """A property that this object does not have, so that `hasattr` says no.

    >>> import graphc as gc
    >>> hasattr(gc.input("x", ()), "value"), hasattr(gc.parameter("w", 0.0), "value")
    (False, True)
    """


class InputError(GraphcError, ValueError):
    """A call whose arguments do not fit the compiled function, or values an op can't take.

    >>> import graphc as gc
    >>> gc.compile([x := gc.input("x", (2,))], x)([1.0, 2.0, 3.0])
    Traceback (most recent call last):
    ...
    graphc.errors.InputError: function: input 'x': float64[2]: got shape [3], where dimension 0 must be 2
    """


class GradientError(GraphcError, ValueError):
    """A gradient that does not exist or was asked for in the wrong way.

    >>> import graphc as gc
    >>> try:
    ...     gc.grad(x := gc.input("x", (2,)), x)
    ... except gc.GradientError:
    ...     print("a gradient is of a scalar")
    a gradient is of a scalar
    """


class CacheError(GraphcError, OSError):
    """A cache folder that can't be trusted or used.

    >>> import graphc as gc
    >>> issubclass(gc.CacheError, OSError)
    True
    """


class DebugError(GraphcError, RuntimeError):
    """Loops that do what none may do, found by the interpreter of `Options(debug=True)`: a fault of the compiler.

    `kind` is a word for it: bounds, unwritten, race, alias, life, alignment, type, tile, stack, failure.

    >>> import graphc as gc
    >>> issubclass(gc.DebugError, gc.GraphcError)
    True
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
