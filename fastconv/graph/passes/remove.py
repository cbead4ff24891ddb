"""Passes that take nodes away."""

from __future__ import annotations

from ..ir import Graph, Node, Value

__all__ = ["remove_dead", "remove_identities"]


def _is_identity(node: Node, read: set[Value | None]) -> bool:
    if node.domain or node.input(0) is None:
        return False
    if node.op == "Identity":
        return True
    return (node.op == "Dropout" and read.isdisjoint(filter(None, node.outputs[1:]))
            and node.input(2) is None)


def remove_identities(graph: Graph) -> None:
    """Let readers of a copy read the original."""
    kept = []
    read = {*graph.outputs, *graph.consumers()}
    for node in graph.nodes:
        if _is_identity(node, read):
            graph.replace(node.output, node.inputs[0])
        else:
            kept.append(node)
    graph.nodes = kept


def remove_dead(graph: Graph) -> None:
    """Drop nodes on which no output depends."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    graph.nodes = kept[::-1]
