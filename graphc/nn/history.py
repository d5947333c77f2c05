"""What a fit leaves: the values of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class History:
    """Epochs that a fit finished, and the values of each: loss, metrics, and val_loss and so on.

    >>> history = History()
    >>> history.add(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    epoch: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        self.epoch.append(epoch)
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
