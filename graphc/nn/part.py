"""What layers and models share: whether they learn, and which others they hold.

In: attributes that a user sets.  Out: the parts that are frozen, which `Model.compile` notes and `fit` leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphc.errors import DeclarationError
from graphc.graph import Node


class Part:
    """Base of layers and models; the package's own have slots, so that an attribute that means nothing is refused."""

    __slots__ = ("__weakref__", "_trainable")

    _trainable: bool

    @property
    def trainable(self) -> bool:
        """Whether `fit` changes the parameters; setting it sets it in all parts, and the next `compile` heeds it.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(1)])
        >>> model.trainable = False
        >>> model.layers[0].trainable
        False
        """
        return getattr(self, "_trainable", True)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise DeclarationError(f"trainable is True or False, got {value!r}")
        for part in self.parts():
            part._trainable = value

    def parameters(self) -> list[Node]:
        """The parameters of this part and of those that it holds."""
        raise NotImplementedError(f"{type(self).__name__} has no method parameters, which gives them in order")

    def trainable_parameters(self) -> list[Node]:
        """The parameters without those of parts that are not trainable, for an optimiser's `updates`.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(4), gc.nn.Dense(1)])
        >>> model.build((None, 3))
        >>> model.layers[0].trainable = False
        >>> [w.name for w in model.trainable_parameters()]
        ['dense_1/kernel', 'dense_1/bias']
        """
        return without(self.parameters(), self.frozen())

    def held(self) -> Iterator[Part]:
        """The layers and models among the attributes, and in lists, tuples and dicts there.

        >>> import graphc as gc
        >>> [part.name for part in gc.nn.Sequential([gc.nn.Dense(4), gc.nn.Dense(1)]).held()]
        ['dense', 'dense_1']
        """
        return _found(list(vars(self).values()) if hasattr(self, "__dict__") else [])

    def parts(self, through: type[Part] | None = None) -> Iterator[Part]:
        """This part and all that it holds, each once and in order; what is held `through` parts of a class alone.

        >>> import graphc as gc
        >>> [type(part).__name__ for part in gc.nn.Sequential([gc.nn.Dense(4)]).parts()]
        ['Sequential', 'Dense']
        """
        seen: set[int] = set()
        waiting: list[Part] = [self]
        while waiting:
            part = waiting.pop(0)
            if id(part) not in seen:
                seen.add(id(part))
                yield part
                if through is None or isinstance(part, through):
                    waiting[:0] = part.held()

    def frozen(self) -> list[Part]:
        """Those of the parts that are not trainable.

        >>> import graphc as gc
        >>> layer = gc.nn.Dense(4)
        >>> layer.trainable = False
        >>> [part.name for part in gc.nn.Sequential([layer, gc.nn.Dense(1)]).frozen()]
        ['dense']
        """
        return [part for part in self.parts() if not part.trainable]

    def made(self) -> list[Node]:
        """The parameters that exist already.

        >>> import graphc as gc
        >>> gc.nn.Dense(4).made()
        []
        """
        return self.parameters()


def without(parameters: list[Node], frozen: list[Part]) -> list[Node]:
    """The parameters that belong to no frozen part."""
    kept = {w for part in frozen for w in part.made()}
    return [w for w in parameters if w not in kept]


def _found(value: Any) -> Iterator[Part]:
    if isinstance(value, Part):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _found(item)
