"""Passes: each makes one kind of change to a graph and leaves what it computes as it was.

    remove_identities   Identity, and Dropout at inference
    fold_constants      what depends on constants alone is computed once
    recognise_hard_activations  hard swish and hard sigmoid spelt out as arithmetic
    fold_batch_norms    scales and shifts go into the weights of the convolution before them
    fold_biases         and constants for each channel into its bias
    fuse_residuals      an addition goes into the store of the convolution before it
    fuse_activations    and so does what follows it
    remove_dead         what no output depends on

`optimise` runs them in this order, biases again behind residuals, in the graph and in those inside
its nodes.
"""

from __future__ import annotations

from ..ir import Graph
from .fold import fold_batch_norms, fold_biases, fold_constants
from .fuse import fuse_activations, fuse_residuals
from .recognise import recognise_hard_activations
from .remove import remove_dead, remove_identities

__all__ = [
    "PASSES", "fold_batch_norms", "fold_biases", "fold_constants", "fuse_activations",
    "fuse_residuals", "optimise", "recognise_hard_activations", "remove_dead", "remove_identities",
]

PASSES = (remove_identities, fold_constants, recognise_hard_activations, fold_batch_norms,
          fold_biases, fuse_residuals, fold_biases, fuse_activations, remove_dead)


def optimise(graph: Graph) -> None:
    """Run all passes on a graph and its subgraphs, in place."""
    for run in PASSES:
        run(graph)
    for node in graph.nodes:
        for subgraph in node.subgraphs():
            optimise(subgraph)
