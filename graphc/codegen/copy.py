"""Copies of whole arrays.

In: a copy.  Out: one phase.
"""

from __future__ import annotations

from graphc.codegen import form
from graphc.codegen.scope import Scope
from graphc.codegen.text import HI, LO, Text
from graphc.codegen.views import in_lines
from graphc.dims import Dim, blocks, product, symbol
from graphc.schedule.task import Copy


def emit_copy(text: Text, task: Copy) -> None:
    """Print the phase of a copy, in chunks like those of nests, so that the same threads have them."""
    size = product(task.shape)
    some = in_lines(size, form.CHUNK) if isinstance(size, int) else form.CHUNK
    title = "commit" if task.target.kind == "parameter" else task.source.kind
    with text.phase(title, blocks(size, some), 0, 2 * size * task.dtype.size) as top:
        text.new_nest()
        if not task.shape:
            _copy_element(text, task, top, 0)
            return
        text.cut(top, text.own(some), text.end(size))
        loop = text.loop(top, "i", HI, LO)
        _copy_element(text, task, loop, symbol("%i"))
        loop.close()


def _copy_element(text: Text, task: Copy, scope: Scope, at: Dim) -> None:
    value = scope.let(text.fresh(), text.load(task.source, task.dtype, at))
    scope.add(text.store(task.target, at, value))
