"""The pass that computes once what never changes."""

from __future__ import annotations

import numpy as np

from ..executor import Operation
from ..ir import Graph, Node

__all__ = ["fold_constants"]

_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
                     "Multinomial", "Bernoulli", "Dropout"})


def _foldable(node: Node) -> bool:
    known = all(value is None or value.is_constant for value in node.inputs)
    return known and node.op not in _RANDOM and not node.subgraphs()


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
    except MemoryError:
        raise
    except Exception:  # an error belongs to the run, with its node's name
        return False
    outputs = list(zip(node.outputs, results, strict=False))
    if not all(isinstance(result, np.ndarray) for value, result in outputs if value is not None):
        return False
    for value, result in outputs:
        if value is not None:
            value.constant, value.dtype, value.shape = result, result.dtype, result.shape
    return True
