"""The one walk of all passes by which a node takes over what the nodes behind it did.

    before -> a -> node -> b      becomes      before -> b

The node before is changed so that it makes b; it then stands where the other stood, since it may
read what is made in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..ir import Graph, Node, Value

__all__ = ["Links", "absorb"]


class Links(NamedTuple):
    """Who makes and who reads a graph's values, kept up during a walk.

    Attributes
    ----------
    producers : dict of Value to Node
    consumers : dict of Value to list of Node
    outputs : frozenset of Value
    """

    producers: dict[Value, Node]
    consumers: dict[Value, list[Node]]
    outputs: frozenset[Value]

    def maker_for(self, value: Value | None, reader: Node) -> Node | None:
        """The node that makes `value` as its only output, for `reader` alone."""
        node = self.producers.get(value) if value is not None else None
        if node is None or value in self.outputs or any(node.outputs[1:]):
            return None
        return node if self.consumers[value] == [reader] else None


def absorb(graph: Graph, into: Callable[[Node, Links], Node | None]) -> None:
    """Drop each node for which `into` returns the node, changed by it, that does its work."""
    links = Links(graph.producers(), graph.consumers(), frozenset(graph.outputs))
    kept: dict[Node, None] = {}
    for node in graph.nodes:
        before = None if node.outputs[0] is None else into(node, links)
        if before is None:
            kept[node] = None
            continue
        before.outputs[0] = node.output
        links.producers[node.output] = before
        for value in before.inputs:
            readers = links.consumers.get(value, []) if value is not None else []
            readers[:] = [before if reader is node else reader for reader in readers]
        kept.pop(before)
        kept[before] = None
    graph.nodes = list(kept)
