"""What kinds of programs there are, and the program of a seed."""

from __future__ import annotations

from . import rules_gradients, rules_movement, rules_products  # noqa: F401  (they fill RULES)
from .draw import Grower, Profile
from .program import Program
from .rules import RULES

_GENERAL = {
    "elementwise": 4.0, "arithmetic": 4.0, "choice": 0.7, "cast": 0.3, "reduction": 3.0, "truth": 0.2, "separated": 0.5,
    "movement": 2.5, "overlap": 1.0, "filled": 0.7, "dimension": 0.3, "product": 1.0, "einsum": 0.5, "gather": 0.8,
    "one_hot": 0.1, "gradient": 1.2, "pullback": 0.3, "guard": 0.2, "chain": 0.05,
}  # fmt: skip

PROFILES = {
    p.name: p
    for p in (
        Profile("general", _GENERAL),
        Profile("reductions", {"reduction": 5, "separated": 3, "arithmetic": 2, "elementwise": 1, "gradient": 0.5}),
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
                "filled": 0.5,
                "arithmetic": 1,
                "gradient": 0.7,
                "reduction": 0.5,
                "movement": 0.5,
            },
        ),
        Profile(
            "positions", {"gather": 5, "movement": 2, "arithmetic": 1, "gradient": 2, "filled": 0.5, "one_hot": 0.5}
        ),
        Profile(
            "exact", {"exact": 1}, draws="special", length=10, outputs=10, machine=0.5, kinds="fffiiiib", finite=False
        ),
        Profile("guards", {"guard": 6, "arithmetic": 1, "gradient": 2, "overlap": 0.3}, draws="border", length=12),
        Profile("dimensions", {"dimension": 4, "arithmetic": 2, "filled": 1, "gradient": 1, "reduction": 1}, length=8),
        Profile("chain", {"chain": 2, "gradient": 1, "arithmetic": 1}, length=4),
        Profile("wide", {"totals": 2, "reduction": 4, "gradient": 1, "arithmetic": 4}, length=40, outputs=40),
    )
}
PROFILES["stray"] = Profile(
    "stray", {"arithmetic": 2, "filled": 2, "reduction": 1, "movement": 1}, length=4, stray=True
)
_ORDER = (
    *("general", "reductions", "overlaps", "products", "positions"),
    *("general", "exact", "guards", "dimensions", "general"),
    *("reductions", "overlaps", "products", "positions", "general"),
    *("exact", "general", "guards", "overlaps", "chain"),
    *("general", "reductions", "products", "positions", "exact"),
    *("general", "reductions", "overlaps", "wide", "stray"),
)


def profile_of(seed: int) -> str:
    return _ORDER[seed % len(_ORDER)]


def random_program(seed: int) -> Program:
    """Program number `seed`."""
    return Grower(seed, PROFILES[profile_of(seed)], RULES).grow()
