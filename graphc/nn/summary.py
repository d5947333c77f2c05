"""What a model is made of, as a table.

In: layers, with parameters or without.  Out: text, and HTML for notebooks.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.graph import Node
from graphc.inspect import html
from graphc.nn.layers import Layer
from graphc.types import shape_text

Row = tuple[str, str, str, str]
HEADINGS: Row = ("layer", "kind", "values", "parameters")


class Summary:
    """The layers, how many values each holds, and the shapes of its parameters; as text a table."""

    def __init__(self, layers: Sequence[Layer], parameters: Sequence[Node], trainable: Sequence[Node]) -> None:
        self.rows: list[Row] = [_row(layer) for layer in layers]
        self.total, self.trainable = (sum(w.size for w in group) for group in (parameters, trainable))

    @property
    def table(self) -> list[Row]:
        """The rows with their totals; what of them is trained is told where it is not all."""
        totals = [("total", "", f"{self.total:,}", "")]
        if self.trainable != self.total:
            totals.append(("trainable", "", f"{self.trainable:,}", ""))
        return [*self.rows, *totals]

    @property
    def html(self) -> str:
        """The table with its headings, for notebooks."""
        return html.table([HEADINGS, *self.table], totals=len(self.table) - len(self.rows), texts=[0, 1, 3])

    def __str__(self) -> str:
        lines = (f"{name:<20} {kind:<12} {count:>10}  {shapes}".rstrip() for name, kind, count, shapes in self.table)
        return "\n".join(lines)


def _row(layer: Layer) -> Row:
    parameters = layer.made()
    shapes = ", ".join(f"{key} {shape_text(w.shape)}" for key, w in (layer.weights or {}).items())
    frozen = "" if layer.trainable or not parameters else "  (not trainable)"
    return layer.name or layer.kind, type(layer).__name__, f"{sum(w.size for w in parameters):,}", shapes + frozen
