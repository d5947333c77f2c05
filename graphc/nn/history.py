"""What a fit leaves: the values of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphc.inspect import html
from graphc.inspect.plot import plot


@dataclass(repr=False)
class History:
    """What a fit leaves: `epoch`, the numbers of those finished, and `history`, lists of their values by name.

    Names are loss, the metrics, and with validation data val_loss and so on.

    >>> history = History()
    >>> history.add(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    _epochs: list[tuple[int, dict[str, float]]] = field(default_factory=list)  # an interrupt finds one whole, or not

    def __repr__(self) -> str:
        return f"History(epoch={self.epoch}, history={self.history})"

    @property
    def epoch(self) -> list[int]:
        """The numbers of the epochs.

        >>> History().epoch
        []
        """
        return [number for number, _ in self._epochs]

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of the epochs by name.

        >>> History().history
        {}
        """
        epochs = list(self._epochs)
        return {name: [values[name] for _, values in epochs] for name in (epochs[0][1] if epochs else ())}

    def _repr_html_(self) -> str:
        """A curve for each value; those that differ by "val_" alone share a panel."""
        epoch, history = self.epoch, self.history
        names = [n for n in history if n.removeprefix("val_") not in history.keys() - {n}]
        panels = [{n: history[n] for n in (name, f"val_{name}") if n in history} for name in names]
        drawing = html.scrolled(plot(epoch, panels)) if panels else ""
        return html.block(html.heading(f"History, epochs: {len(epoch)}"), drawing)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Put down the values of an epoch.

        >>> history = History()
        >>> history.add(0, {"loss": 0.5})
        >>> history.epoch
        [0]
        """
        self._epochs.append((epoch, dict(values)))
