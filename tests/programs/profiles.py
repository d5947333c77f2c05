"""What kinds of programs there are, and the program of a seed."""

from __future__ import annotations

from . import (  # noqa: F401  (they fill RULES)
    rules_gradients,
    rules_indexing,
    rules_layers,
    rules_layouts,
    rules_movement,
    rules_products,
    rules_scans,
    rules_unrolled,
    rules_updates,
    rules_windows,
)
from .draw import Grower, Profile
from .program import Program
from .rules import RULES

_GENERAL = {
    "elementwise": 4.0, "arithmetic": 4.0, "choice": 0.7, "cast": 0.3, "reduction": 3.0, "truth": 0.2, "separated": 0.5,
    "movement": 2.5, "overlap": 1.0, "filled": 0.7, "dimension": 0.3, "product": 1.0, "einsum": 0.5, "gather": 0.8,
    "one_hot": 0.1, "gradient": 1.2, "pullback": 0.3, "guard": 0.2, "chain": 0.05, "wide_fan": 0.05, "many_reads": 0.1,
    "recurrence": 0.1, "recurrence_of_three": 0.1, "cells": 0.1, "factorisation": 0.05, "layers": 0.15, "twins": 0.15,
    "towers": 0.05, "counter": 0.05, "twin_updates": 0.05, "twin_products": 0.1, "along_axes": 0.7,
    "dense": 0.2, "descent": 0.1, "compound": 0.3, "filled_operands": 0.3, "position_of": 0.2, "update": 0.2,
    "swap": 0.1, "reduced": 0.1, "cumulative": 0.3, "ordered": 0.3, "selected": 0.2, "polygamma": 0.2,
    "pairs": 0.3, "changed_at": 0.3, "beyond": 0.1, "labelled": 0.2, "update_at": 0.2,
    "one_position": 0.2, "classes": 0.2, "vectors": 0.3, "scaled": 0.5, "shares": 0.2, "long_rows": 0.2,
}  # fmt: skip

PROFILES = {
    p.name: p
    for p in (
        Profile("general", _GENERAL),
        Profile(
            "reductions",
            {
                "reduction": 5,
                "separated": 3,
                "beside": 2,
                "across": 4,
                "scaled": 2,
                "shares": 2,
                "arithmetic": 2,
                "elementwise": 1,
                "gradient": 0.5,
            },
        ),
        Profile(
            "overlaps",
            {"overlap": 9, "movement": 1.5, "arithmetic": 1, "gradient": 1.5, "pullback": 1, "reduction": 0.3},
            length=5,
            outputs=2,
        ),
        Profile(
            "products",
            {
                "product": 3,
                "einsum": 4,
                "contraction": 4,
                "vectors": 3,
                "filled": 0.5,
                "arithmetic": 1,
                "gradient": 0.7,
                "reduction": 0.5,
                "movement": 0.5,
            },
        ),
        Profile(
            "positions",
            {
                "gather": 5,
                "movement": 2,
                "arithmetic": 1,
                "gradient": 2,
                "filled": 0.5,
                "one_hot": 0.5,
                "one_position": 1,
                "classes": 1.5,
            },
        ),
        Profile(
            "exact", {"exact": 1}, draws="special", length=10, outputs=10, machine=0.5, kinds="fffiiiib", finite=False
        ),
        Profile("guards", {"guard": 6, "arithmetic": 1, "gradient": 2, "overlap": 0.3}, draws="border", length=12),
        Profile(
            "dimensions",
            {"dimension": 4, "compound": 3, "arithmetic": 2, "filled": 1, "gradient": 1, "reduction": 1},
            length=8,
        ),
        Profile("chain", {"chain": 2, "gradient": 1, "arithmetic": 1}, length=4),
        Profile(
            "unrolled",
            {
                "wide_fan": 2,
                "many_reads": 1,
                "recurrence": 2,
                "recurrence_of_three": 2,
                "cells": 2,
                "factorisation": 1.5,
                "chain": 0.5,
                "gradient": 2,
                "update": 0.3,
            },
            length=5,
        ),
        Profile(
            "updates",
            {
                "update": 8,
                "swap": 2,
                "counter": 1,
                "reduced": 2,
                "descent": 1.5,
                "arithmetic": 0.5,
                "reduction": 0.5,
                "product": 0.5,
                "gradient": 0.3,
            },
            length=9,
            outputs=1,
            machine=0.1,
        ),
        Profile(
            "layers",
            {
                "layers": 3,
                "twins": 4,
                "towers": 1.5,
                "twin_updates": 2,
                "twin_products": 2,
                "gradient": 1.5,
                "arithmetic": 0.5,
                "dense": 0.5,
                "descent": 0.5,
            },
            length=14,
            outputs=2,
            machine=0.1,
        ),
        Profile(  # short, so that what is alike stands side by side
            "twins",
            {"twins": 6, "towers": 2, "twin_updates": 2, "twin_products": 1},
            length=4,
            outputs=0,
            machine=0.1,
        ),
        Profile(
            "layouts",
            {
                "along_axes": 6,
                "tiled": 2,
                "turned_rows": 2,
                "marked_rows": 2,
                "tiny_pairs": 2,
                "points": 2,
                "repeated": 1.5,
                "position_of": 1.5,
                "dense": 2,
                "gradient": 1,
                "arithmetic": 0.5,
                "movement": 0.5,
            },
            outputs=4,
        ),
        Profile(
            "scans",
            {
                "cumulative": 4,
                "ordered": 3,
                "selected": 2,
                "gradient": 1.5,
                "arithmetic": 0.7,
                "movement": 0.7,
                "update": 0.5,
            },
            length=7,
        ),
        Profile(
            "indexing",
            {
                "pairs": 3,
                "changed_at": 4,
                "beyond": 1,
                "labelled": 2,
                "update_at": 3,
                "gradient": 2,
                "arithmetic": 0.7,
                "update": 0.5,
            },
            length=7,
            outputs=2,
        ),
        Profile(
            "windows",
            {"convolution": 4, "pooling": 3, "gradient": 2, "pullback": 0.5, "arithmetic": 0.7, "movement": 0.7},
            length=7,
            outputs=3,
            machine=0.1,
        ),
        Profile("operands", {"filled_operands": 5, "gradient": 1, "reduction": 0.5, "arithmetic": 0.5}, length=8),
        Profile(
            "borders",
            {"border": 4, "bordered_product": 3, "bordered_positions": 1.5, "gradient": 0.5, "arithmetic": 0.3},
            length=4,
            outputs=1,
            machine=1.0,
            simulate=False,
            elements=40_000,
            largest=1e5,
        ),
        Profile(
            "steps",
            {
                "update": 2,
                "descent": 2,
                "counter": 1,
                "reduced": 1.5,
                "swap": 1,
                "dense": 2,
                "along_axes": 1,
                "layers": 1,
                "product": 1,
                "arithmetic": 1,
                "reduction": 1,
                "gather": 0.5,
            },
            length=8,
            outputs=2,
            machine=0.3,
            leading=True,
            scalars=True,
        ),
        Profile("wide", {"totals": 2, "reduction": 4, "gradient": 1, "arithmetic": 4}, length=40, outputs=40),
    )
}
PROFILES["stray"] = Profile(
    "stray", {"arithmetic": 2, "filled": 2, "reduction": 1, "movement": 1}, length=4, stray=True
)
_ORDER = (
    *("general", "reductions", "overlaps", "products", "positions", "updates", "layers"),
    *("general", "exact", "guards", "dimensions", "layouts", "unrolled", "general", "borders"),
    *("reductions", "overlaps", "products", "positions", "general", "windows", "steps"),
    *("exact", "general", "guards", "windows", "chain", "layouts", "twins", "operands"),
    *("general", "reductions", "products", "positions", "exact", "updates", "unrolled"),
    *("general", "twins", "overlaps", "wide", "stray", "layouts", "twins"),
    *("steps", "dimensions", "operands", "borders", "updates", "scans", "windows", "indexing"),
)


def profile_of(seed: int) -> str:
    return _ORDER[seed % len(_ORDER)]


def random_program(seed: int) -> Program:
    """Program number `seed`."""
    return Grower(seed, PROFILES[profile_of(seed)], RULES).grow()
