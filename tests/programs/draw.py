"""Random programs, drawn rule by rule from a seed.

In: a seed.  Out: a Program.  A Grower keeps a pool of values, each known by NumPy at some sizes; a rule writes an
expression over the pool, and what NumPy can't evaluate, or what becomes large, is dropped.  The rules stand in
`rules.py`; a profile says how often each is tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import graphc as gc
from graphc.dims import Poly
from graphc.dims import evaluate as evaluate_dim
from graphc.errors import GraphcError
from graphc.graph import Node

from .evaluate import NAMESPACE, UNKNOWN, assign
from .program import Leaf, Line, Program, Sizes
from .unrolled import HELPERS

_LITERALS = (2, 3, 4, 5, 7, 2, 3, 3, 2, 3, 1, 1, 0, 8, 9, 17)
_RANKS = (0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5)
INTEGERS = ("int64", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")


class Reject(Exception):
    """A rule does not apply to what it drew."""


class Stop(Exception):
    """The last line is refused or crashes at declaration, which the check will find: nothing can be built on it."""


@dataclass(frozen=True)
class Profile:
    """What a kind of programs is made of: weights of rules by name, and the values of its float inputs."""

    name: str
    weights: dict[str, float]
    draws: str = "plain"
    length: int = 12
    outputs: int = 5
    machine: float = 0.03  # how often it is compiled to machine code as well
    kinds: str = "ffffib"  # dtype kinds of its inputs
    finite: bool = True
    stray: bool = False  # whether a dimension that no input has is named at the end
    simulate: bool = True  # whether its loops are interpreted: not where arrays are large
    lengths: tuple[int, ...] = _LITERALS
    leading: bool = False  # whether inputs begin with n, and no other axis has it, so that `run` may slice them
    scalars: bool = False  # whether all outputs are scalars, as `run` wants them
    elements: int = 600  # of an input at most
    largest: float = 50.0  # of a value


class Grower:
    def __init__(self, seed: int, profile: Profile, rules: dict[str, Callable[[Grower], Any]]) -> None:
        self.seed, self.profile, self.rules = seed, profile, rules
        self.rng = np.random.default_rng(seed)
        self.dtype = "float32" if self.chance(0.15) else "float64"
        self.leaves: list[Leaf] = []
        self.lines: list[Line] = []
        self.known: dict[str, Any] = {"gc": NAMESPACE, "np": np, **HELPERS}
        self.nodes: dict[str, Any] = {"gc": gc, "np": np, **HELPERS}
        self.pool: list[str] = []
        self.wanted: list[str] = []  # outputs that a rule asks for
        self.updates: dict[str, str] = {}
        self.sizes = {"n": self.choose((2, 3, 4, 5))} if profile.leading else self._draw_sizes()
        symbols = [] if profile.leading else list(self.sizes)
        lengths = profile.lengths
        self.palette = [
            self.choose(symbols) if symbols and self.chance(0.5) else self.choose(lengths) for _ in range(4)
        ]
        self.palette += [1] if self.chance(0.3) else []

    # chance

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, options: Sequence[Any]) -> Any:
        if not len(options):
            raise Reject
        return options[int(self.rng.integers(len(options)))]

    def below(self, n: int) -> int:
        return int(self.rng.integers(max(n, 1)))

    def _draw_sizes(self) -> Sizes:
        names = ("n", "m", "k")[: self.below(4)]
        one = self.choose((2, 3, 4, 5))
        together = self.chance(0.5)
        return {name: one if together else self.choose((2, 3, 4, 5, 6)) for name in names}

    # the pool

    def shape(self) -> tuple[int | str, ...]:
        shape = tuple(self.choose(self.palette) for _ in range(self.choose(_RANKS)))
        if self.profile.leading:
            shape = ("n", *(self.sized(d) for d in shape[1:])) if self.chance(0.9) else shape
        while np.prod([self.sizes.get(d, d) for d in shape]) > self.profile.elements:
            shape = shape[:-1]
        return shape

    def leaf(self, shape: Sequence[int | str], dtype: str, draws: str = "plain", parameter: bool = False) -> str:
        """The name of a new input or parameter."""
        if self.profile.leading and "n" in shape[1:]:
            raise Reject
        letter = "p" if parameter else "x" if dtype.startswith("float") else "c" if dtype == "bool" else "k"
        name = f"{letter}{len(self.leaves)}"
        leaf = Leaf(name, tuple(shape), dtype, draws, parameter)
        self.leaves.append(leaf)
        self.known[name] = leaf.values(self.seed, self.sizes)
        exec(leaf.declared(), self.nodes)
        self.pool.append(name)
        return name

    def any_leaf(self, parameter: bool = False) -> str:
        kind = self.choose(self.profile.kinds)
        shape = self.shape()
        if parameter:
            shape = tuple(self.sizes.get(d, d) for d in shape)
        if kind == "f":
            return self.leaf(shape, self.dtype, self.profile.draws, parameter)
        if kind == "b":
            return self.leaf(shape, "bool", parameter=parameter)
        return self.leaf(shape, self.choose(INTEGERS), "whole" if self.profile.finite else "wide", parameter)

    def dtype_of(self, name: str) -> str:
        return str(self.nodes[name].dtype)

    def ndim(self, name: str) -> int:
        return int(self.nodes[name].ndim)

    def named(self, kinds: str = "f", least: int = 0, most: int = 9, fits: Callable[[str], bool] | None = None) -> str:
        """A value of the pool, the latest most often, so that programs are deep."""
        found = [n for n in self.pool if self.nodes[n].dtype.kind in kinds and least <= self.ndim(n) <= most]
        found = [n for n in found if fits(n)] if fits else found
        if found and self.chance(0.35):
            return found[-1]
        return str(self.choose(found))

    def dims(self, name: str) -> list[int | str]:
        """The shape as ints and symbols; compound dimensions are not for a leaf."""
        found: list[int | str] = []
        for d in self.nodes[name].shape:
            if isinstance(d, Poly) and not str(d).isidentifier():
                raise Reject
            found.append(str(d) if isinstance(d, Poly) else int(d))
        return found

    def length(self, dim: int | str) -> str:
        """A dimension as text: a number, or where a leaf has the symbol."""
        if isinstance(dim, int):
            return str(dim)
        places = [(leaf.name, k) for leaf in self.leaves for k, d in enumerate(leaf.shape) if d == dim]
        name, k = self.choose(places)
        return f"{name}.shape[{k}]"

    def shape_text(self, dims: Sequence[int | str]) -> str:
        return "(" + "".join(f"{self.length(d)}, " for d in dims).strip() + ")"

    def sized(self, dim: int | str) -> int:
        return self.sizes[dim] if isinstance(dim, str) else dim

    # growing

    def add(
        self,
        expression: str,
        sure: bool = False,
        of: str = "",
        wrt: Sequence[str] = (),
        large: bool = False,
        count: int = 1,
    ) -> str:
        """The name of a new value, or of the first of `count`.  `sure`: refusing the expression is a finding."""
        letter = "g" if wrt else "v"
        names = [f"{letter}{len(self.lines)}" + (chr(97 + k) if k else "") for k in range(max(len(wrt), count))]
        line = Line(", ".join(names) + ("," if wrt else ""), expression, of, tuple(wrt))
        trial = dict(self.known)
        try:
            assign(line, trial)
        except Exception:
            raise Reject from None
        if not all(large or self._is_small(trial[n]) for n in names):
            raise Reject
        try:
            exec(line.text, self.nodes)
        except GraphcError:
            if not sure:
                raise Reject from None
            self.lines.append(line)
            raise Stop from None
        except Exception:
            self.lines.append(line)
            raise Stop from None
        self.lines.append(line)
        self.known = trial
        self.pool += names
        return names[0]

    def _is_small(self, value: Any) -> bool:
        if value is UNKNOWN:
            return True
        if value.size > 5 * self.profile.elements or value.ndim > 6:
            return False
        if value.dtype.kind != "f" or not self.profile.finite:
            return True
        return bool(np.all(np.isfinite(value)) and np.all(np.abs(value) <= self.profile.largest))

    def grow(self) -> Program:
        for _ in range(3 + self.below(2)):
            self.any_leaf()
        for _ in range(self.choose((0, 0, 1, 2))):
            self.any_leaf(parameter=True)
        names, weights = list(self.profile.weights), np.array([*self.profile.weights.values()])
        try:
            for _ in range(8 * self.profile.length):
                if len(self.lines) >= self.profile.length:
                    break
                rule = self.rules[str(self.rng.choice(names, p=weights / weights.sum()))]
                try:
                    rule(self)
                except Reject:
                    continue
            return self._gone_astray() if self.profile.stray else self._finished()
        except Stop:
            return self._program(self.lines[-1].targets, ())

    def _gone_astray(self) -> Program:
        """The last line names a dimension that no input has; NumPy has nothing to say to that."""
        x = self.choose([n for n in self.pool if self.ndim(n) < 5])
        options = (f'{x}[..., None] * gc.ones(("stray",))', f'gc.sum({x}) + gc.zeros(("stray", 2))')
        options += (f'gc.sum(gc.broadcast_to(gc.sum({x}), (3, "stray")), axis=0)', 'gc.sum(gc.ones(("stray",)))')
        self.lines.append(Line("w", self.choose(options)))
        return replace(self._program(("w",), ()), stray=True, machine=False)

    def _finished(self) -> Program:
        """Outputs and updates; a value may go to several places.

        Often there are few, since what shares a nest with others may be printed otherwise than alone.
        """
        made = [n for n in self.pool if n not in {leaf.name for leaf in self.leaves}] or self.pool
        most = self.profile.outputs
        count = self.below(3) if most < 20 and self.chance(0.4) else most
        outputs = [self.choose(made) for _ in range(count)] + made[-1:]
        wanted = [n for n in self.wanted if self.chance(0.9)]
        outputs = wanted + outputs if self.chance(0.5) else outputs + wanted  # groups follow the order of outputs
        if self.chance(0.25):
            outputs.append(self.choose(outputs))
        if self.profile.scalars:
            outputs = self._scalars(outputs)
        updates = dict(self.updates)
        for _ in range(self.choose((0, 0, 1, 2, 3))):
            value = self.choose(made)
            if value not in outputs or self.chance(0.5):
                parameter = self._parameter_for(value)
                if parameter is not None:
                    updates.setdefault(parameter, value)
        return self._program(tuple(dict.fromkeys(outputs) if self.chance(0.7) else outputs), tuple(updates.items()))

    def _scalars(self, values: Sequence[str]) -> list[str]:
        """Each value that is a scalar, and the sums of the others, of an input that `run` slices among them."""
        found = []
        sliced = [leaf.name for leaf in self.leaves if leaf.shape[:1] == ("n",)]
        for name in (*values, *sliced[:1]):
            with contextlib.suppress(Reject):
                found.append(name if not self.ndim(name) else self.add(f"gc.sum({name})", large=True))
        return found or [self.add("gc.constant(1.0)")]

    def _parameter_for(self, value: str) -> str | None:
        """A parameter of the value's type, new or known."""
        node: Node = self.nodes[value]
        if any(isinstance(d, Poly) for d in node.shape):
            return None
        known = [p.name for p in self.leaves if p.is_parameter and self.nodes[p.name].type == node.type]
        if known and self.chance(0.6):
            return str(self.choose(known))
        return self.leaf(tuple(map(int, node.shape)), str(node.dtype), parameter=True)

    def _program(self, outputs: Sequence[str], updates: Sequence[tuple[str, str]]) -> Program:
        small, machine = self.chance(0.75) and self.profile.simulate, self.chance(self.profile.machine)
        leaves, lines, sizes = tuple(self.leaves), tuple(self.lines), self.other_sizes()
        kind = self.profile.name
        whole = Program(
            *(self.seed, self.sizes, leaves, lines, tuple(outputs), tuple(updates)),
            *(small, machine, sizes, kind),
            simulate=self.profile.simulate,
            remat="memory" if self.chance(0.3) else "speed",
        )
        return pruned(whole) if outputs else whole

    def other_sizes(self) -> tuple[Sizes, ...]:
        """Further sizes to run with: 0, 1, 7 and borders, together or one symbol at a time."""
        if not self.sizes:
            return ()
        found: list[Sizes] = []
        for size in (self.choose((0, 1)), self.choose((7, 9, 13, 25)), self.choose((0, 1, 2, 4, 5))):
            alike = self.chance(0.6)
            one = self.choose(list(self.sizes))
            sizes = {s: size if alike or s == one else n for s, n in self.sizes.items()}
            if self._largest(sizes) <= 4_000:
                found.append(sizes)
        return tuple(found)

    def _largest(self, sizes: Sizes) -> int:
        """The most elements that a value has."""
        return max(int(np.prod([evaluate_dim(d, sizes) for d in self.nodes[n].shape])) for n in self.pool)


def needed(program: Program, through_gradients: bool = True) -> set[str]:
    """The leaves and targets that outputs and updates are made from."""
    words = {w for line in program.lines for w in line.targets} | {leaf.name for leaf in program.leaves}
    wanted = {*program.outputs, *(n for pair in program.updates for n in pair)}
    for line in reversed(program.lines):
        if wanted & set(line.targets) and (through_gradients or not line.wrt):
            wanted |= words & set(words_of(line.expression))
    return wanted


def words_of(text: str) -> list[str]:
    out, word = [], ""
    for c in text + " ":
        if c.isalnum() or c == "_":
            word += c
        else:
            out += [word] if word else []
            word = ""
    return out


def pruned(program: Program) -> Program:
    """Without what nothing needs."""
    wanted = needed(program)
    lines = tuple(line for line in program.lines if wanted & set(line.targets))
    wanted |= {line.of for line in lines if line.of}
    closed = needed(replace(program, outputs=(*program.outputs, *(line.of for line in lines if line.of))))
    kept = tuple(line for line in program.lines if closed & set(line.targets))
    leaves = tuple(
        leaf for leaf in program.leaves if leaf.name in closed or (leaf.is_parameter and leaf.name in wanted)
    )
    return replace(program, lines=kept, leaves=leaves)
