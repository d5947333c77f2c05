"""The API reference: directives and text made from the public names, the docstrings and the op records.

A page asks for names by `<!-- names: graphc.losses -->` on a line of its own: all of a module,
all functions, or single ones.  Docstrings are plain text with code in backquotes and examples after `>>>`; here they
become reStructuredText.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

import make

import graphc as gc
from graphc.declare import FUNCTIONS
from graphc.errors import GraphcError
from graphc.op import REGISTRY, Array, Op, Reject

_ASKED = re.compile(r"^<!-- names: ([\w. ]+) -->$", re.MULTILINE)
_NAME = re.compile(r"(?<!`)`gc\.([\w.]+)`")
_ROW = re.compile(r"^\| `([a-z]\w*)(\(.*?\))`", re.MULTILINE)  # of the table of ops
_CODE = re.compile(r"`([^`]+)`")
_MARKUP = re.compile(r"([*|\\_])")
_ERROR = re.compile(rf"\b({'|'.join(k for k in gc.__all__ if k.endswith('Error'))})\b")
_MODULES = ("graphc.nn", "graphc.losses", "graphc.optim", "graphc.inspect")
# Classes whose constructors are not for users.
_MADE_ELSEWHERE = ("graphc.Node", "graphc.CompiledFunction", "graphc.Function")


def connect(app: Any) -> dict[str, bool]:
    """Hang the functions below on Sphinx's events."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-signature", _signed)
    app.connect("autodoc-process-docstring", _document)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(app: Any, page: str, text: list[str]) -> None:
    """Directives for every `<!-- names: ... -->`, links from public names; no blank line at the end of an example."""
    linked = _NAME.sub(_link, text[0])
    if page == "ops":
        linked = _ROW.sub(r"| {py:func}`\1\2 <graphc.\1>`", linked)
    text[0] = _ASKED.sub(lambda m: directives(m[1]), linked).replace("\n\n```\n", "\n```\n")


def _link(found: re.Match[str]) -> str:
    """Markdown for a name in backquotes: a link to where it is documented, if it is."""
    name = f"graphc.{found[1]}"
    return f"{{py:obj}}`gc.{found[1]} <{name}>`" if name in documented() else found[0]


@cache
def documented() -> frozenset[str]:
    """Full names that the reference has an entry for."""
    names = [*public("graphc"), *(name for module in _MODULES for name in public(module))]
    return frozenset(name for name in names if not inspect.ismodule(find(name)))


def _signed(app: Any, what: str, name: str, *more: Any) -> tuple[str, None] | None:
    """No signature for classes that users never call."""
    return ("", None) if name in _MADE_ELSEWHERE else None


def _document(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """The docstring as reStructuredText, followed by what the record of an op knows beyond it."""
    lines[:] = list(as_rst(lines))
    if FUNCTIONS.get(name.removeprefix("graphc.")) is thing:
        lines += ["", *_facts(REGISTRY[thing.__name__])]


# names


def public(module: str) -> list[str]:
    """The public names of a module, in order; of one without `__all__`, what is defined there."""
    found = importlib.import_module(module)
    own = [k for k, v in vars(found).items() if k[0] != "_" and getattr(v, "__module__", "") == module]
    names: list[str] = getattr(found, "__all__", None) or own
    return [f"{module}.{name}" for name in names]


def functions() -> dict[str, list[str]]:
    """The functions of the op records, by the title of the file that holds them."""
    groups: dict[str, list[str]] = {}
    for name in FUNCTIONS:
        module = importlib.import_module(REGISTRY[name].define.__module__)  # type: ignore[union-attr]
        groups.setdefault(re.split("[:.]", module.__doc__ or "")[0], []).append(f"graphc.{name}")
    others = [name for name in gc.__all__ if inspect.isfunction(find(f"graphc.{name}")) and _is_alias(name)]
    return groups | {"Other names for some of them": [f"graphc.{name}" for name in others]}


def _is_alias(name: str) -> bool:
    return name not in FUNCTIONS and find(f"graphc.{name}") in FUNCTIONS.values()


def directives(asked: str) -> str:
    """Markdown that documents names (separated by spaces), all of a module, or all `functions`, `errors`, `values`."""
    if asked == "functions":
        return "\n\n".join(f"## {title}\n\n{_block(names)}" for title, names in functions().items())
    return _block([name for word in asked.split() for name in _GROUPS.get(word, lambda word=word: [word])()])


_GROUPS: dict[str, Callable[[], list[str]]] = {
    **{module: partial(public, module) for module in _MODULES},
    "errors": lambda: [name for name in public("graphc") if name.endswith("Error")],
    "values": lambda: [name for name in public("graphc") if not (callable(v := find(name)) or inspect.ismodule(v))],
}


def _block(names: Iterable[str]) -> str:
    return "\n".join(["```{eval-rst}", ".. py:currentmodule:: graphc", "", *map(_directive, names), "```"])


def _directive(name: str) -> str:
    value = find(name)
    if isinstance(value, type):
        call = vars(value).get("__call__")
        return f".. autoclass:: {name}\n{'   :special-members: __call__' if getattr(call, '__doc__', None) else ''}\n"
    if inspect.isfunction(value):
        return f".. autofunction:: {name}\n"
    return f".. py:data:: {name.removeprefix('graphc.')}\n   :value: {value!r}\n"


def find(name: str) -> Any:
    """What a dotted name stands for."""
    value: Any = gc
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


# text


def as_rst(lines: Iterable[str]) -> Iterator[str]:
    """Plain text as reStructuredText: code and public names marked, other marks escaped, examples as they are."""
    example = False
    for line in lines:
        starts = line.lstrip().startswith(">>>")
        if starts and not example:
            yield ""
        example = (example or starts) and bool(line.strip())
        yield line if example else _prose(line)


def _prose(line: str) -> str:
    parts = _CODE.split(line)  # every second one is code
    return "".join(_code(part) if k % 2 else _plain(part) for k, part in enumerate(parts))


def _plain(text: str) -> str:
    return _ERROR.sub(r":py:exc:`\1 <graphc.\1>`", _MARKUP.sub(r"\\\1", text))


def _code(text: str) -> str:
    """A link from a public name; one that Python has too, such as `max`, is meant where `gc.` stands before it."""
    name = text.removeprefix("gc.")
    known = f"graphc.{name}" in documented() and (name != text or not hasattr(builtins, name))
    return f":py:obj:`{text} <graphc.{name}>`" if known else f"``{text}``"


# what a record knows


def _facts(op: Op) -> Iterator[str]:
    """Dtypes, gradient, and calls that are refused, with the first line of each error."""
    yield f"*Dtypes:* {make.dtypes(op)}. *Gradient:* {make.gradient(op)}."
    refused = [f"* {line}" for line in dict.fromkeys(_refusal(op, r) for r in op.rejects)]
    if refused:
        yield from ("", "*Refused:*", "", *refused)


def _refusal(op: Op, reject: Reject) -> str:
    arguments = [*map(_argument, reject.args), *(f"{k}={_argument(v)}" for k, v in reject.kwargs.items())]
    return f"``{op.name}({', '.join(arguments)})``: {_plain(reject.error.__name__)}: {_said(_error(op, reject))}"


def _error(op: Op, reject: Reject) -> Exception:
    args, kwargs = make.mapped((reject.args, dict(reject.kwargs)), make.declared)
    try:
        FUNCTIONS[op.name](*args, **kwargs)
    except GraphcError as error:
        return error
    raise AssertionError(f"{op.name} takes what its record says that it refuses: {reject}")


def _said(error: Exception) -> str:
    """The first line of an error's text, without the op, which stands before it."""
    return _prose(re.sub(r"^_?\w+: ", "", str(error).partition("\n")[0]))


def _argument(value: Any) -> str:
    if isinstance(value, Array):
        return f"{make.dtype_of(value)}{list(value.shape)}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(_argument, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    return "..." if value is Ellipsis else repr(value)
