"""Write what is generated: docs/ops.md from the op records, and what pages show of compiled functions and names.

    python docs/make.py

In: the records, and the examples of the pages.  Out: docs/ops.md, the drawing, and the parts of README and the pages
that stand between marks; tests/test_docs.py holds them to what is made anew.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import linecache
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import array_api

import graphc as gc
from graphc import losses
from graphc.declare import FUNCTIONS
from graphc.graph import Node
from graphc.nn import initializers, layers
from graphc.op import REGISTRY, Array, Op
from graphc.rewrite import filled
from graphc.types import FLOATS, INTEGERS, DType, bool_, float64, int64

ROOT = Path(__file__).parents[1]
OPS, DRAWING = ROOT / "docs/ops.md", ROOT / "docs/images/step.svg"

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
    internal = sorted(name for name, op in REGISTRY.items() if name not in dir(gc))
    first = _table(_COLUMNS, [_public_row(REGISTRY[name]) for name in public])
    second = _table(_INTERNAL_COLUMNS, [_internal_row(REGISTRY[name]) for name in internal])
    return "\n".join([_HEAD, *first, _INTERNAL, *second, ""])


def _public_row(op: Op) -> tuple[str, ...]:
    signature = inspect.signature(FUNCTIONS[op.name])
    return f"`{op.name}{signature}`", _kind(op), dtypes(op), gradient(op), "yes" if op.tf else "no", _sentence(op)


def _internal_row(op: Op) -> tuple[str, ...]:
    return f"`{op.name}`", _kind(op), _sentence(op)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _kind(op: Op) -> str:
    return op.family.value.replace("_", " ") if op.family else "composite"


def _sentence(op: Op) -> str:
    return " ".join(op.doc.partition("\n\n")[0].split())


def dtypes(op: Op) -> str:
    """The dtypes that the first operand may have."""
    left = set(op.dtypes)
    names = []
    for name, group in (("float", FLOATS), ("int", INTEGERS), ("bool", (bool_,))):
        if left.issuperset(group):
            names.append(name)
            left -= set(group)
    return ", ".join([*names, *sorted(map(str, left))]) or "–"


def gradient(op: Op) -> str:
    """Whether the first sample of the op has a gradient, and whether it is known to be 0."""
    dtype = next((d for d in op.dtypes if d.is_float), *op.dtypes[:1] or [bool_])
    sample, inputs = op.samples[0], list[Node]()

    def taken(array: Array) -> Node:
        inputs.append(declared(array, dtype))
        return inputs[-1]

    made = FUNCTIONS[op.name](*mapped(sample.args, taken), **mapped(dict(sample.kwargs), taken))
    node = made[0] if isinstance(made, tuple) else made
    wrt = [x for x in inputs if x.dtype.is_float]
    if not node.dtype.is_float or not wrt:
        return "no"
    gradients = gc.vjp(node, wrt, gc.ones(node.shape, dtype=node.dtype))
    return "0" if all(filled(g) == 0 for g in gradients) else "yes"


def dtype_of(array: Array, same: DType = float64) -> DType:
    """The dtype of an argument of a record, where "same" stands for `same`."""
    return {"same": same, "index": int64, "bool": bool_, "float": float64}[array.kind]


def declared(array: Array, same: DType = float64) -> Node:
    """An input for an argument of a record."""
    return gc.input("x", array.shape, dtype_of(array, same))


def mapped(value: Any, change: Callable[[Array], Any]) -> Any:
    """Arguments of a record with every Array changed."""
    if isinstance(value, Array):
        return change(value)
    if isinstance(value, dict):
        return {k: mapped(v, change) for k, v in value.items()}
    return type(value)(mapped(v, change) for v in value) if isinstance(value, (list, tuple)) else value


def page_text(page: str) -> str:
    """The text of a page, named from the root of the tree, with its generated parts made anew.

    A part stands between `<!-- name: begin -->` and `<!-- name: end -->`.  One that differs in what was measured alone
    stays as it is.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, part in PARTS[page](text).items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, rest = text.split(begin)
        old, after = rest.split(end)
        new = old if name in MEASURED and _unmeasured(old) == _unmeasured(part) else f"{part}\n"
        text = before + begin + new + end + after
    return text


def _unmeasured(text: str) -> list[str]:
    """The words of a text that are no numbers, nor names of the limit that measured numbers make the nearer one."""
    return [word for word in text.split() if not word[0].isdigit() and word not in LIMITS]


def readme_parts(text: str) -> dict[str, str]:
    """The first kernel of the function `f` that README's example compiles."""
    return {"kernel": _fenced(_first_kernel(_run(text)["f"]), "python")}


def reading_parts(text: str) -> dict[str, str]:
    """What can be read of the function `step` that the page's example compiles."""
    scope = _run(text)
    step = scope["step"]
    return {
        "passes and phases": _fenced(step.explain()),
        "source": _fenced(_first_kernel(step), "python"),
        "profile": _fenced(str(step.profile(scope["X"], scope["T"]))),
    }


def drawing() -> str:
    """The drawing of that function, as SVG."""
    step = _run((ROOT / "docs/reading.md").read_text(encoding="utf-8"))["step"]
    with tempfile.TemporaryDirectory() as folder:
        step.draw(Path(folder) / "step.svg")
        return (Path(folder) / "step.svg").read_text(encoding="utf-8")


def name_parts(text: str) -> dict[str, str]:
    """The names that arguments of models and layers may have."""
    rows = [
        ("`activation`", layers.ACTIVATIONS),
        ("`kernel_initializer`, `bias_initializer`", initializers.BY_NAME),
        ("`loss`", losses.BY_NAME),
        ("`metrics`", ("accuracy", "acc", *losses.BY_NAME)),
        ("`optimizer`", gc.optim.BY_NAME),
    ]
    cells = [(argument, ", ".join(f'`"{name}"`' for name in names)) for argument, names in rows]
    return {"names of arguments": "\n".join(_table(("Argument", "Names"), cells))}


def standard_parts(text: str) -> dict[str, str]:
    """The names of the array API standard, and other names of functions."""
    return {
        "functions of the standard": array_api.functions_table(),
        "attributes of the standard": array_api.attributes_table(),
        "other names": array_api.others_table(),
    }


def _run(text: str) -> dict[str, Any]:
    """The names that the examples of a page define, but for those that call what is compiled.

    To whoever asks for the line of a node they are a file.
    """
    scope: dict[str, Any] = {}
    lines: list[str] = []
    linecache.cache["example.py"] = (0, None, lines, "example.py")
    with contextlib.redirect_stdout(io.StringIO()):
        for example in doctest.DocTestParser().get_examples(text):
            if re.match(r"import|from|\w+(, \w+)* = ", example.source):
                source = "\n" * len(lines) + example.source
                lines += example.source.splitlines(keepends=True)
                exec(compile(source, "example.py", "exec"), scope)
    return scope


def _first_kernel(function: Any) -> str:
    kernel = re.search(r"^def kernel_0.*?(?=\n\n\n)", function.source, re.MULTILINE | re.DOTALL)
    assert kernel is not None
    return kernel[0]


def _fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text}\n```"


PARTS: dict[str, Callable[[str], dict[str, str]]] = {
    "README.md": readme_parts,
    "docs/reading.md": reading_parts,
    "docs/api/nn.md": name_parts,
    "docs/array-api.md": standard_parts,
}
MEASURED = ("profile",)
LIMITS = ("L1", "L2", "L3", "DRAM", "FMA")


if __name__ == "__main__":
    OPS.write_text(ops_table(), encoding="utf-8")
    DRAWING.write_text(drawing(), encoding="utf-8")
    for _page in PARTS:
        (ROOT / _page).write_text(page_text(_page), encoding="utf-8")
