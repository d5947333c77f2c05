"""Products that nobody but the nest in the same phase reads: a few rows at a time, in memory of the chunk's own.

In: the form of a nest after a product.  Out: the loop over blocks of a chunk's rows, in which both are made.  So a
gradient that only the update of its parameter reads stays in L1, and takes no more memory than a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphc.codegen.form import Form
from graphc.codegen.loop_ir import WORKER, Position
from graphc.codegen.product import Product
from graphc.codegen.scope import Scope
from graphc.codegen.text import LO, integer
from graphc.codegen.views import up
from graphc.dims import Dim, dim_max, dim_min, floor_div, symbol

BLOCK_BYTES = 3 * 2**12  # of a first-level cache of 32 KB
BEGIN, END, BLOCK = symbol("%begin"), symbol("%end"), symbol("%u")  # of a chunk's rows, and of a block's


def prepare_product(form: Form, size: Dim, chunks: Dim) -> Dim:
    """Print the phases that the product before needs; how many of the `size` rows of a chunk are made at once, or 0.

    If they are, they have memory for so many, since nobody else wants them.
    """
    if form.before is None:
        return 0
    form.before.chunks = chunks
    form.before.kernel.prepare()
    return _with_memory(form, form.before, size, chunks) if form.is_flat and not form.reductions else 0


def _with_memory(form: Form, product: Product, size: Dim, chunks: Dim) -> Dim:
    """How many rows are made at once, if nobody else reads them, nor are they written over.

    They take no more than half of the bytes that the left operand has: little memory where the call has little.
    """
    (place, _), across = product.result, product.columns.size
    if not form.text.is_private(place) or any(place == p for _, p in form.nest.stores):
        return 0
    assert isinstance(across, int)
    assert isinstance(size, int)
    step, row = product.kernel.MR, max(across * product.size, 1)
    most = max(BLOCK_BYTES // row // step * step, step)
    most = up(-(-size // -(-size // most)), step)
    half = floor_div(product.rows.size * product.summed.size, 2 * max(across, 1) * step)
    some = dim_min(most, dim_max(half, 1) * step)
    memory = form.text.scratch_of_chunk(product.member.dtype, chunks, (some, across))
    product.result, form.private = (memory, 0), True
    return some


@contextmanager
def blocks_of_rows(form: Form, scope: Scope, some: Dim) -> Iterator[Scope]:
    """The loop over the blocks of so many rows of a chunk, in which their bounds are known; the scope itself for 0."""
    if some == 0 or form.before is None:
        yield scope
        return
    text, across, (memory, _) = form.text, form.before.columns.size, form.before.result
    rows = text.own(some)
    form.before.result = memory, (WORKER * rows - LO) * across
    loop = text.loop(scope, "u", floor_div(END - BEGIN + rows - 1, rows))
    loop.let("lo", text.at(BEGIN + BLOCK * rows))
    loop.let("hi", integer("least", text.at(LO + rows), Position(END)))
    yield loop
    loop.close()
