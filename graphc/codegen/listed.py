"""Inputs whose rows need not lie one after the other, since nothing but products reads them, row by row.

In: the tasks of a program.  Out: for each such input the place of its list, a word of the frame: the address of as many
words as there are rows, or 0 where they lie in order.  So a run of many steps need not copy the rows of a step.

Only where results have few columns: the tiles of others share kernels with products of any operands, and those of their
gradients have no registers to spare for the addresses.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen.product import Product
from graphc.codegen.text import Text
from graphc.dims import product
from graphc.graph import Node
from graphc.schedule.task import Kernel, Place, Task, reads
from graphc.types import Shape

FEW_COLUMNS = 16


def lists_of(text: Text, inputs: Sequence[Node]) -> dict[Place, Place]:
    """The lists of a program's inputs."""
    tasks, found = text.schedule.tasks, dict[Place, Place]()
    for k, node in enumerate(inputs):
        place = Place("input", k)
        readers = [t for t in tasks if place in reads(t)]
        alone = node.shape and readers and text.mentioned[place] == len(readers)
        if alone and all(_takes_list(text, task, place, node.shape) for task in readers):
            found[place] = Place("list", len(found))
    return found


def _takes_list(text: Text, task: Task, place: Place, shape: Shape) -> bool:
    """Whether a task is a product that has the whole rows of an input for its A, and for nothing else."""
    if not isinstance(task, Kernel) or task.job.kernel != "product":
        return False
    a, b = task.operands
    if a.place != place or b.place == place or a.offset != 0:
        return False
    row = product(shape[1:])
    known = [(size, step) for size, step in zip(a.shape, a.steps, strict=True) if not isinstance(size, int)]
    if not isinstance(row, int) or known != [(shape[0], row)]:
        return False
    made = Product(text, task)
    return isinstance(made.columns.size, int) and made.columns.size <= FEW_COLUMNS and bool(made.listable())
