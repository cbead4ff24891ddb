"""Passes that let the store of a convolution or matrix product do what the nodes behind it did.

    Conv -> Add(., other) -> Relu      becomes      Conv(x, weight, bias, other), activation "relu"
    MatMul -> Add(., row)              becomes      MatMul(x, matrix, row)
"""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Node, Value
from ..ops import FLOATS
from ..ops.conv import channels_of, has_store, is_fully_connected
from ..ops.elementwise import fusable_activation, fusable_slopes
from ._absorb import Links, absorb

__all__ = ["fuse_activations", "fuse_residuals", "fuse_rows"]

# Operators with room for an activation behind them, and whether a node of theirs has it.
_TAKE_ACTIVATION = {
    "Conv": has_store,
    "ConvTranspose": has_store,
    "Gemm": is_fully_connected,
    "MatMul": is_fully_connected,
    "ScaleShift": lambda node: True,
    "InstanceNormalization": lambda node: True,
}


# Those that have room for a slope for each channel, too.
_TAKE_SLOPES = ("Conv", "Gemm", "MatMul")


def _open(node: Node | None, ops) -> bool:
    """Whether a node is of the kind and has not an activation yet."""
    return (
        node is not None and node.op in ops and not node.domain
        and "activation" not in node.attributes and node.output.dtype in FLOATS
    )


def fuse_activations(graph: Graph) -> None:
    """Put activations into the nodes before them."""

    def into(node: Node, links: Links) -> Node | None:
        before = links.maker_for(node.inputs[0], node) if node.inputs else None
        if not _open(before, _TAKE_ACTIVATION) or not _TAKE_ACTIVATION[before.op](before):
            return None
        activation = fusable_activation(node)
        if activation is None and before.op in _TAKE_SLOPES:
            activation = fusable_slopes(node, *channels_of(before))
        if activation is None or not _pays(before, activation):
            return None
        before.attributes["activation"] = activation
        return before

    absorb(graph, into)


# The store computes whole vectors of channels: with fewer channels these, which take many steps,
# are faster in a pass of their own (16 to 1 channel, 256x256: 1.2 ms in the store, 0.6 behind it).
_LONG, _FEW_CHANNELS = ("sigmoid", "tanh", "silu"), 8


def _pays(node: Node, activation) -> bool:
    shape = node.output.shape
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    few = isinstance(channels, int) and channels < _FEW_CHANNELS
    return not (few and activation in _LONG)


def fuse_residuals(graph: Graph) -> None:
    """Put additions of another array into the convolutions before them.

    That the shapes are the same need not be sure: the convolution looks when it runs.
    """

    def into(node: Node, links: Links) -> Node | None:
        if node.op != "Add" or node.domain or len(node.inputs) != 2:
            return None
        for mine, other in (node.inputs, node.inputs[::-1]):
            conv = links.maker_for(mine, node)
            if (_open(conv, ("Conv",)) and has_store(conv) and conv.input(3) is None
                    and mine is not other and _may_be_same(mine, other)):
                conv.inputs = [*conv.inputs, None][:3] + [other]
                return conv
        return None

    absorb(graph, into)


def _may_be_same(a: Value, b: Value | None) -> bool:
    """Whether two values can have one shape: the same dtype and axes, and no two known sizes apart.
    """
    if b is None or a.dtype != b.dtype or a.shape is None or b.shape is None:
        return False
    both = zip(a.shape, b.shape, strict=False)
    return len(a.shape) == len(b.shape) and all(
        m == n or not (isinstance(m, int) and isinstance(n, int)) for m, n in both
    )


def fuse_rows(graph: Graph) -> None:
    """Put additions of a constant row into the products by a constant matrix before them."""

    def into(node: Node, links: Links) -> Node | None:
        if node.op != "Add" or node.domain or len(node.inputs) != 2:
            return None
        for mine, row in (node.inputs, node.inputs[::-1]):
            product = links.maker_for(mine, node)
            if (_open(product, ("MatMul",)) and is_fully_connected(product)
                    and product.input(2) is None and _is_row(row, product.constant(1))):
                product.inputs = [*product.inputs[:2], row]
                return product
        return None

    absorb(graph, into)


def _is_row(value: Value | None, matrix: np.ndarray) -> bool:
    row = None if value is None else value.constant
    return (isinstance(row, np.ndarray) and row.shape == matrix.shape[1:]
            and row.dtype == matrix.dtype)
