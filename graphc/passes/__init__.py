"""The passes: pure functions from graphs to graphs, in an order that is written here and nowhere else.

In: a declared graph, adjoints and all.  Out: a graph of the same values with less to do, and records of what was done.
Dead code needs no pass: a graph is what its outputs reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.graph import Graph
from graphc.join import join
from graphc.passes.apart import APART
from graphc.passes.down import down
from graphc.passes.fold import FOLDING
from graphc.passes.inline import INLINING, inline
from graphc.passes.inside import inside
from graphc.passes.merge import merge
from graphc.passes.move import MOVING
from graphc.passes.onward import onward
from graphc.passes.remat import remat
from graphc.passes.share import SHORT_ROWS, share
from graphc.passes.simplify import SIMPLIFYING
from graphc.passes.single import SUMS_OF_ROWS, single
from graphc.passes.sums import sums
from graphc.passes.totals import totals
from graphc.passes.trim import trim
from graphc.rewrite import rewrite
from graphc.stabilise import STABILISING, stabilise


@dataclass(frozen=True)
class Pass:
    """One step: `function` gives the new graph and how often each rule fired; `says` tells why it stands there."""

    name: str
    function: Callable[[Graph], tuple[Graph, Counter[str]]]
    says: str


_SIMPLIFYING = (*FOLDING, *SIMPLIFYING, *SUMS_OF_ROWS, *APART, *MOVING, *SHORT_ROWS, *STABILISING)


def simplify(graph: Graph) -> tuple[Graph, Counter[str]]:
    """The graph in which no rule fires any more, and the rules that did."""
    return rewrite(graph, _SIMPLIFYING)


PIPELINE: tuple[Pass, ...] = (
    Pass("inline", inline, "First, since adjoints are derived by now, and regions are there for nothing else."),
    Pass("stabilise", stabilise, "As the adjoint walk did, so that both make the same of one declaration."),
    Pass("trim", trim, "What adjoints and the user want of loops is known."),
    Pass("join", join, "When loops carry and yield what is read only; before rules meet the same body twice."),
    Pass("share", share, "Before what both have in common takes other forms."),
    Pass("simplify", simplify, "What is left, bodies too.  It stabilises as well: simpler forms may be unstable."),
    Pass("sums", sums, "When bodies are simple enough to be seen through."),
    Pass("totals", totals, "The same; products are better taken outside as such."),
    Pass("onward", onward, "What is left of the sums within loops is added up in one place."),
    Pass("inside", inside, "When bodies and the positions in them have their final form."),
    Pass("single", single, "When it is known which arrays are updated, and that positions lie inside."),
    Pass("down", down, "When no rule looks for the sums over the same axes any more."),
    Pass("merge", merge, "Last, when operands are in their final form."),
)
REMAT = Pass("remat", remat, "Behind all others, for `Options(remat=\"memory\")`: what is computed twice stays so.")
RULES = {rule.name: rule for rule in (*INLINING, *_SIMPLIFYING)}

Check = Callable[[Pass, Graph, Graph], None]


def run_pipeline(
    graph: Graph, check: Check | None = None, steps: Sequence[Pass] | None = None
) -> tuple[Graph, list[dict[str, Any]]]:
    """The optimised graph, and one record a pass, in plain data.

    `graph` is verified already; after each pass the nodes are that are new.
    `check(step, before, after)` is called after each pass; a test interprets both there and compares.
    """
    records = []
    for step in PIPELINE if steps is None else steps:
        before = graph
        graph, fired = step.function(before)
        if graph is not before:
            graph.verify(known=before.nodes)
        if check is not None:
            check(step, before, graph)
        records.append(_record(step, fired, before, graph))
    return graph, records


def _record(step: Pass, fired: Counter[str], before: Graph, after: Graph) -> dict[str, Any]:
    nodes = {"nodes_before": len(before.nodes), "nodes_after": len(after.nodes)}
    return {"pass": step.name, "says": step.says, "rules": dict(sorted(fired.items())), **nodes}
