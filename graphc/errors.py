"""The errors that graphc raises, all children of GraphcError."""

from __future__ import annotations


class GraphcError(Exception):
    """Base of every error that graphc raises on purpose."""


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(GraphcError, TypeError):
    """A dtype that an op does not take, or an input whose cast would not be safe."""


class DeclarationError(GraphcError, ValueError):
    """A graph that is declared wrongly: a missing input, a wrong argument, a node of another kind."""


class PropertyError(DeclarationError, AttributeError):
    """A property that this object does not have, so that `hasattr` says no."""


class InputError(GraphcError, ValueError):
    """A call whose arguments do not fit the compiled function, or values an op can't take."""


class GradientError(GraphcError, ValueError):
    """A gradient that does not exist or was asked for in the wrong way."""


class CacheError(GraphcError, OSError):
    """A cache folder that can't be trusted or used."""
