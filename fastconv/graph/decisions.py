"""Which way a network goes, where single numbers that are fed to it decide.

    rate -> Equal(., 16000) -> If        the numbers of `rate` belong to a plan's signature

A plan is then for one way, and knows the branch's steps as it does all others.
"""

from __future__ import annotations

from .ir import Graph, Node, Value

__all__ = ["deciding_inputs"]


def deciding_inputs(graph: Graph) -> frozenset[int]:
    """Places of the inputs, whole numbers each, that alone make an If's condition."""
    producers, places = graph.producers(), {value: at for at, value in enumerate(graph.inputs)}
    deciding: set[int] = set()
    for node in graph.nodes:
        found = _leaves(node.inputs[0], producers) if node.op == "If" and not node.domain else None
        if found and all(value in places and _is_whole_number(value) for value in found):
            deciding.update(places[value] for value in found)
    return frozenset(deciding)


def _leaves(value: Value | None, producers: dict[Value, Node]) -> set[Value]:
    """The values without a maker from which one follows; constants aside."""
    found: set[Value] = set()
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if value is None or value in seen or value.is_constant:
            continue
        seen.add(value)
        if value in producers:
            waiting += producers[value].inputs
        else:
            found.add(value)
    return found


def _is_whole_number(value: Value) -> bool:
    return (value.dtype is not None and value.dtype.kind in "biu" and value.shape is not None
            and all(size == 1 for size in value.shape))
