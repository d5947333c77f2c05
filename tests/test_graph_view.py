"""A graph seen through networkx."""

import graphc as gc


def test_a_node_that_is_used_twice_has_two_edges() -> None:
    x = gc.input("x", (3,))
    view = gc.Graph((x * x,)).to_networkx()
    assert [view.nodes[k]["op"] for k in view] == ["input", "multiply"]
    assert sorted(d["operand"] for _, _, d in view.edges(data=True)) == [0, 1]
