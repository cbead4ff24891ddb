"""Passes: each makes one kind of change to a graph and leaves what it computes as it was.

    remove_identities   Identity, and Dropout at inference
    fold_constants      what depends on constants alone is computed once
    fold_batch_norms    scales and shifts go into the weights of the convolution before them
    fuse_residuals      an addition goes into the store of the convolution before it
    fuse_activations    and so does what follows it
    remove_dead         what no output depends on

`optimise` runs them in this order, in the graph and in those inside its nodes.
"""

from __future__ import annotations

from ..ir import Graph
from .fold import fold_batch_norms, fold_constants
from .fuse import fuse_activations, fuse_residuals
from .remove import remove_dead, remove_identities

__all__ = [
    "PASSES", "fold_batch_norms", "fold_constants", "fuse_activations", "fuse_residuals",
    "optimise", "remove_dead", "remove_identities",
]

PASSES = (remove_identities, fold_constants, fold_batch_norms, fuse_residuals, fuse_activations,
          remove_dead)


def optimise(graph: Graph) -> None:
    """Run all passes on a graph and its subgraphs, in place."""
    for run in PASSES:
        run(graph)
    for node in graph.nodes:
        for subgraph in node.subgraphs():
            optimise(subgraph)
