"""Making a failing program small: fewer outputs, lines, leaves and sizes, with a finding of the same kind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from .draw import pruned
from .evaluate import UNKNOWN, evaluate
from .program import Leaf, Line, Program

Fails = Callable[[Program], bool]
ROUNDS = 40


def shrink(program: Program, fails: Fails, seconds: float = 15) -> Program:
    """The smallest program found within this time that still fails."""
    end = time.monotonic() + seconds
    for _ in range(ROUNDS):
        smaller = None
        for candidate in _candidates(program):
            if time.monotonic() > end:
                return program
            if fails(candidate):
                smaller = candidate
                break
        if smaller is None:
            return program
        program = _repeatedly(smaller, fails)
    return program


def _repeatedly(program: Program, fails: Fails) -> Program:
    """Halve the outputs while that goes well."""
    while len(program.outputs) > 1:
        half = len(program.outputs) // 2
        for part in (program.outputs[:half], program.outputs[half:]):
            candidate = pruned(replace(program, outputs=part))
            if fails(candidate):
                program = candidate
                break
        else:
            return program
    return program


def _candidates(program: Program) -> Iterator[Program]:
    """Programs that are a step smaller, the largest steps first."""
    for line in program.lines:
        if program.outputs != line.targets[:1]:
            yield pruned(replace(program, outputs=line.targets[:1], updates=()))
    for k in range(len(program.updates)):
        yield pruned(replace(program, updates=program.updates[:k] + program.updates[k + 1 :]))
    for k in range(len(program.outputs)) if len(program.outputs) > 1 else ():
        yield pruned(replace(program, outputs=program.outputs[:k] + program.outputs[k + 1 :]))
    if program.other_sizes:
        yield replace(program, other_sizes=())
    if len(program.other_sizes) > 1:
        yield from (replace(program, other_sizes=(s,)) for s in program.other_sizes)
    for k in reversed(range(len(program.lines))):
        yield from _without(program, k)
    for k, line in enumerate(program.lines):
        yield from (_with_line(program, k, replace(line, expression=e)) for e in _simpler(line))
    yield from _smaller_leaves(program)
    if program.small:
        yield replace(program, small=False)


def _with_line(program: Program, k: int, line: Line) -> Program:
    return pruned(replace(program, lines=(*program.lines[:k], line, *program.lines[k + 1 :])))


def _without(program: Program, k: int) -> Iterator[Program]:
    """Without a line: what it makes is an input, or one of its operands."""
    line = program.lines[k]
    rest = program.lines[:k] + program.lines[k + 1 :]
    if line.wrt:
        return
    try:
        known = evaluate(program, program.sizes)
    except Exception:  # its sizes do not fit
        return
    value = known.get(line.target, UNKNOWN)
    if value is UNKNOWN:
        return
    names = {leaf.name for leaf in program.leaves} | {t for other in program.lines[:k] for t in other.targets}
    for name in dict.fromkeys(re.findall(r"\w+", line.expression)):
        if name in names and known[name] is not UNKNOWN and known[name].shape == value.shape:
            yield _renamed(replace(program, lines=rest), line.target, name)
    leaf = Leaf(line.target, value.shape, str(value.dtype), "whole" if value.dtype.kind in "iu" else "plain")
    yield pruned(replace(program, lines=rest, leaves=(*program.leaves, leaf)))


def _renamed(program: Program, old: str, new: str) -> Program:
    pattern = re.compile(rf"\b{old}\b")

    def changed(text: str) -> str:
        return pattern.sub(new, text)

    lines = tuple(
        replace(line, expression=changed(line.expression), of=changed(line.of), wrt=tuple(map(changed, line.wrt)))
        for line in program.lines
    )
    outputs = tuple(dict.fromkeys(map(changed, program.outputs)))
    updates = tuple((p, changed(v)) for p, v in program.updates)
    return pruned(replace(program, lines=lines, outputs=outputs, updates=updates))


def _simpler(line: Line) -> Iterator[str]:
    """The expression with a call replaced by one of its arguments, or a term left out."""
    if line.wrt:
        return
    text = line.expression
    for separator in (" + ", " - ", " * "):
        parts = text.split(separator)
        if len(parts) > 1 and all(p.count("(") == p.count(")") and p.count("[") == p.count("]") for p in parts):
            yield from (separator.join(parts[:k] + parts[k + 1 :]) for k in range(len(parts)))
    for match in re.finditer(r"\((-?[\d.]+) \+ [\d.]+ \* gc\.tanh\((\w+)\)\)", text):
        yield text.replace(match[0], match[2])
    for match in re.finditer(r"gc\.\w+\(((?:[^(),]|\([^()]*\))+)(?:, (?:[^()]|\([^()]*\))*)?\)", text):
        yield text.replace(match[0], f"({match[1]})" if " " in match[1] else match[1], 1)


def _smaller_leaves(program: Program) -> Iterator[Program]:
    """Every length of one size smaller, symbols among them."""
    found = {d for leaf in program.leaves for d in leaf.shape if isinstance(d, int)}
    for size in sorted(found, reverse=True):
        for less in sorted({2, 1, size - 1} - {size, 0, -1}):
            if less < size:
                leaves = tuple(
                    replace(f, shape=tuple(less if d == size else d for d in f.shape)) for f in program.leaves
                )
                yield replace(program, leaves=leaves)
    for symbol, size in program.sizes.items():
        leaves = tuple(replace(f, shape=tuple(size if d == symbol else d for d in f.shape)) for f in program.leaves)
        yield replace(program, leaves=leaves)
