"""The parts of a program: the object files of its kernels, and of the routines that these call.

In: the text of kernels.  Out: object files, each from the cache, where programs share them, or compiled and kept
there.  So a program that has changed compiles the kernels that are new.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from graphc.runtime import cache
from graphc.runtime.backend import Compiled, compile_kernels


def parts(texts: Sequence[str], keep: bool) -> tuple[bytes, ...]:
    """The object files of kernels in their order, then those of routines; `keep`: the cache may hold them."""
    kernels: dict[str, Compiled] = {}
    routines: dict[str, bytes] = {}
    for text in texts if keep else ():
        found = _kept(text, routines)
        if found is not None:
            kernels[text] = found
    missing = [text for text in texts if text not in kernels]
    if missing:
        compiled, made = compile_kernels(missing, has=lambda name: keep and _has(name, routines))
        new = dict(zip(missing, compiled, strict=True))
        kernels |= new
        routines |= made
        if keep:
            _keep(new, made)
    return (*(kernels[text].code for text in texts), *routines.values())


def _kept(text: str, routines: dict[str, bytes]) -> Compiled | None:
    """A kernel that the cache has, with all its routines, which are added to those that are known."""
    entry = cache.load(cache.make_key("kernel", text))
    if entry is None:
        return None
    names = json.loads(entry.text)
    return Compiled(entry.parts[0], tuple(names)) if all(_has(name, routines) for name in names) else None


def _has(name: str, routines: dict[str, bytes]) -> bool:
    """Whether a routine is known, or else in the cache, from where it is added to those that are."""
    if name not in routines:
        entry = cache.load(cache.make_key("routine", name))
        if entry is None:
            return False
        routines[name] = entry.parts[0]
    return True


def _keep(kernels: dict[str, Compiled], routines: dict[str, bytes]) -> None:
    for name, code in routines.items():
        cache.store(cache.make_key("routine", name), cache.Entry("", (code,)))
    for text, kernel in kernels.items():
        cache.store(cache.make_key("kernel", text), cache.Entry(json.dumps(kernel.routines), (kernel.code,)))
