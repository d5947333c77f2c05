"""Write what is generated: docs/ops.md from the op records, and the kernel that README shows.

    python docs/make.py

In: the records, and the example in README.  Out: the two files; tests/test_docs.py holds them to what is made anew.
"""

from __future__ import annotations

import doctest
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import graphc as gc
from graphc.declare import FUNCTIONS
from graphc.graph import Node
from graphc.op import REGISTRY, Array, Op
from graphc.rewrite import filled
from graphc.types import FLOATS, INTEGERS, bool_

DOCS = Path(__file__).parent
OPS, README = DOCS / "ops.md", DOCS.parent / "README.md"
BEGIN, END = "<!-- kernel: begin -->", "<!-- kernel: end -->"

_HEAD = """\
# Ops

Written by `python docs/make.py` from the records in `graphc/ops`; do not edit.

Kind: the family of loops of a primitive, or "composite" for a function over primitives.  Dtypes are those of the first
operand: float is float32 and float64, int the eight integer dtypes.  Gradient: "0" stands for a piecewise constant
function, "no" for a result without one.  TF: whether the tests compare values and gradients with TensorFlow's.
"""
_COLUMNS = ("Op", "Kind", "Dtypes", "Gradient", "TF", "What it computes")
_INTERNAL = """
## Primitives behind the public names
"""
_INTERNAL_COLUMNS = ("Primitive", "Kind", "What it is")


def ops_table() -> str:
    """The text of docs/ops.md."""
    public = sorted(FUNCTIONS)
    internal = sorted(name for name, op in REGISTRY.items() if op.define is None and name not in dir(gc))
    first = _table(_COLUMNS, [_public_row(REGISTRY[name]) for name in public])
    second = _table(_INTERNAL_COLUMNS, [_internal_row(REGISTRY[name]) for name in internal])
    return "\n".join([_HEAD, *first, _INTERNAL, *second, ""])


def _public_row(op: Op) -> tuple[str, ...]:
    signature = inspect.signature(FUNCTIONS[op.name])
    return f"`{op.name}{signature}`", _kind(op), _dtypes(op), _gradient(op), "yes" if op.tf else "no", _sentence(op)


def _internal_row(op: Op) -> tuple[str, ...]:
    return f"`{op.name}`", _kind(op), _sentence(op)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _kind(op: Op) -> str:
    return op.family.value.replace("_", " ") if op.family else "composite"


def _sentence(op: Op) -> str:
    return " ".join(op.doc.partition("\n\n")[0].split())


def _dtypes(op: Op) -> str:
    left = set(op.dtypes)
    names = []
    for name, group in (("float", FLOATS), ("int", INTEGERS), ("bool", (bool_,))):
        if left.issuperset(group):
            names.append(name)
            left -= set(group)
    return ", ".join([*names, *sorted(map(str, left))]) or "–"


def _gradient(op: Op) -> str:
    """Whether the first sample of the op has a gradient, and whether it is known to be 0."""
    dtype = next((d for d in op.dtypes if d.is_float), *op.dtypes[:1] or [bool_])
    inputs: list[Node] = []

    def declared(array: Array) -> Node:
        kinds = {"same": dtype, "index": gc.int64, "bool": bool_, "float": gc.float64}
        inputs.append(gc.input(f"x{len(inputs)}", array.shape, kinds[array.kind]))
        return inputs[-1]

    sample = op.samples[0]
    node = FUNCTIONS[op.name](*_mapped(sample.args, declared), **_mapped(dict(sample.kwargs), declared))
    wrt = [x for x in inputs if x.dtype.is_float]
    if not node.dtype.is_float or not wrt:
        return "no"
    gradients = gc.vjp(node, wrt, gc.ones(node.shape, dtype=node.dtype))
    return "0" if all(filled(g) == 0 for g in gradients) else "yes"


def _mapped(value: Any, change: Callable[[Array], Any]) -> Any:
    if isinstance(value, Array):
        return change(value)
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    return type(value)(_mapped(v, change) for v in value) if isinstance(value, (list, tuple)) else value


def readme_kernel() -> str:
    """The first phase of the function `f` that README's example compiles, as a block of Markdown."""
    scope: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(README.read_text(encoding="utf-8")):
        if example.source.startswith("f("):
            break
        exec(example.source, scope)
    phase = re.search(r"^    if phase == 0:.*?(?=^    elif|\Z)", scope["f"].source, re.MULTILINE | re.DOTALL)
    assert phase is not None
    return f"{BEGIN}\n```python\n{textwrap.dedent(phase[0]).rstrip()}\n```\n{END}"


def readme_with_kernel() -> str:
    """README with the kernel between its markers."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    return before + readme_kernel() + rest.split(END)[1]


if __name__ == "__main__":
    OPS.write_text(ops_table(), encoding="utf-8")
    README.write_text(readme_with_kernel(), encoding="utf-8")
