"""Concatenations of channels without copies: parts are made where they will lie.

    Conv -> a, MaxPool -> b, Concat(a, b) -> c, Conv -> d, Concat(c, d) -> e

         e, its channels:   a a a a b b c.. d d d
                            ^first           all of them: the whole

The whole of such a family is one channels-last array; a node that can write anywhere puts its
result there, and the concatenation copies only what has been made elsewhere. Found once, when an
executor is made; sizes are known at the first part that is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv._engine import elementwise

from .ir import Graph, Node, Value
from .ops import FLOATS

__all__ = ["Share", "find_shares", "place_in"]

Shape = Sequence[int]


class Share(NamedTuple):
    """The channels of an array that a value lies in.

    Attributes
    ----------
    whole : Value
        The outermost concatenation.
    first, channels, total : int
        The value's first channel, how many it has, and those of the whole.
    """

    whole: Value
    first: int
    channels: int
    total: int


def find_shares(graph: Graph, writes_anywhere: Callable[[Node], bool]) -> dict[Value, Share]:
    """Values that may be made in their place in a concatenation, and these themselves.

    The graph's outputs belong to the caller, each by itself: they are no parts.

    Parameters
    ----------
    graph : Graph
    writes_anywhere : callable
        Whether a node's kernel takes an argument `place`.
    """
    producers, outputs = graph.producers(), set(graph.outputs)
    parents: dict[Value, tuple[Node, int]] = {}  # by part: concatenation and first channel
    for node in graph.nodes:
        if not _joins_channels(node):
            continue
        first = 0
        for part in node.inputs:
            maker = producers.get(part)
            taken = maker is None or part in parents or part in outputs
            if not taken and writes_anywhere(maker):
                parents[part] = node, first
            first += part.shape[1]
    shares: dict[Value, Share] = {}
    for node in reversed(graph.nodes):  # the outer ones first
        if not _joins_channels(node) or not any(
                parents.get(part, (None,))[0] is node for part in node.inputs):
            continue
        own = shares.setdefault(node.output, Share(node.output, 0, *(_channels(node),) * 2))
        for part in node.inputs:
            parent, first = parents.get(part, (None, 0))
            if parent is node:
                shares[part] = Share(own.whole, own.first + first, part.shape[1], own.total)
    return shares


def _joins_channels(node: Node) -> bool:
    """Whether a node joins pictures' channels whose number is known, each of them once."""
    parts = node.inputs
    if node.op != "Concat" or node.domain or None in parts or len(set(parts)) < len(parts):
        return False
    shapes = [part.shape for part in parts]
    return (node.output.dtype in FLOATS and all(part.dtype == node.output.dtype for part in parts)
            and all(shape is not None and len(shape) > 2 and isinstance(shape[1], int)
                    for shape in shapes)
            and node.attributes["axis"] % len(shapes[0]) == 1)


def _channels(node: Node) -> int:
    return sum(part.shape[1] for part in node.inputs)


def place_in(slots: list[Any], slot: int, share: Share) -> Callable[[Shape], Any]:
    """What a kernel asks where to put a result of some shape; None says anywhere.

    Parameters
    ----------
    slots : list
    slot : int
        Of the whole, which is made for the first part.
    share : Share
    """

    def place(shape: Shape) -> np.ndarray | None:
        n, channels, *space = shape
        if channels != share.channels or 0 in shape:
            return None
        if slots[slot] is None:
            whole = elementwise.empty((n, *space, share.total), share.whole.dtype)
            slots[slot] = np.moveaxis(whole, -1, 1)
        whole = slots[slot]
        if whole.shape != (n, share.total, *space):
            return None
        return whole[:, share.first : share.first + channels]

    return place
