"""The passes."""
from typing import Any
from graphc.graph import Graph
def run_pipeline(graph: Graph) -> tuple[Graph, Any]:
    return graph, []
