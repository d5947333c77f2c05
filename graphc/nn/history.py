"""What a fit leaves: the values of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphc.inspect import html
from graphc.inspect.plot import plot


@dataclass
class History:
    """What a fit leaves: `epoch`, the numbers of those finished, and `history`, lists of their values by name.

    Names are loss, the metrics, and with validation data val_loss and so on.

    >>> history = History()
    >>> history.add(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    epoch: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """A curve for each value; those that differ by "val_" alone share a panel."""
        names = [n for n, v in self.history.items() if v and n.removeprefix("val_") not in self.history.keys() - {n}]
        panels = [{n: self.history[n] for n in (name, f"val_{name}") if n in self.history} for name in names]
        drawing = html.scrolled(plot(self.epoch, panels)) if panels else ""
        return html.block(html.heading(f"History, epochs: {len(self.epoch)}"), drawing)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Put down the values of an epoch.

        >>> history = History()
        >>> history.add(0, {"loss": 0.5})
        >>> history.epoch
        [0]
        """
        self.epoch.append(epoch)
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
