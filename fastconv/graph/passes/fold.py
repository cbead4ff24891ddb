"""The pass that computes once what never changes."""

from __future__ import annotations

import math

import numpy as np

from ..executor import Operation
from ..ir import Graph, Node, Value

__all__ = ["fold_constants"]

_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
                     "Multinomial", "Bernoulli", "Dropout"})


# A few bytes of a file can ask for any number of them; that is left to those who run it.
_MOST_BYTES = 1 << 30


def _foldable(node: Node) -> bool:
    known = all(value is None or value.is_constant for value in node.inputs)
    modest = sum(map(_least_bytes, node.outputs)) <= _MOST_BYTES
    return known and modest and node.op not in _RANDOM and not node.subgraphs()


def _least_bytes(value: Value | None) -> int:
    """What a value takes at least, as far as its shape is known."""
    if value is None or value.dtype is None or value.shape is None:
        return 0
    return value.dtype.itemsize * math.prod(s for s in value.shape if isinstance(s, int))


def fold_constants(graph: Graph) -> None:
    """Compute nodes whose inputs are all constant; what fails here is left to fail when run."""
    kept = []
    for node in graph.nodes:
        if not (_foldable(node) and _fold(node)):
            kept.append(node)
    graph.nodes = kept


def _fold(node: Node) -> bool:
    """Make constants of a node's outputs; False where that cannot be."""
    inputs = [None if value is None else value.constant for value in node.inputs]
    try:
        with np.errstate(all="ignore"):
            results = Operation(node)(inputs)
    except Exception:  # an error belongs to the run, with its node's name
        return False
    outputs = list(zip(node.outputs, results, strict=False))
    if not all(isinstance(result, np.ndarray) for value, result in outputs if value is not None):
        return False
    for value, result in outputs:
        if value is not None:
            value.constant, value.dtype, value.shape = result, result.dtype, result.shape
    return True
