"""Passes: each makes one kind of change to a graph and leaves what it computes as it was.

    remove_identities   Identity, and Dropout at inference
    fold_constants      what depends on constants alone is computed once
    recognise_*         sums, gates, shuffles, activations, normalisations that are spelt out
    fuse_rows           a row that is added goes into the matrix product before it
    fold_scales         factors and offsets of channels go into the convolution before them
    fuse_residuals      an addition goes into the store of the convolution before it
    scale_activations   factors and offsets behind a hard swish go into it
    fuse_activations    an activation goes into the store of what is before it
    remove_dead         what no output depends on

`optimise` runs them in the order of `PASSES`, scales again behind residuals, in the graph and in
those inside its nodes.
"""

from __future__ import annotations

from ..ir import Graph
from .fold import fold_constants
from .fuse import fuse_activations, fuse_residuals, fuse_rows
from .recognise import (
    recognise_gates,
    recognise_hard_activations,
    recognise_shuffles,
    recognise_silu,
    recognise_sums,
)
from .remove import remove_dead, remove_identities
from .scale import fold_scales, scale_activations
from .standardise import recognise_normalisations

__all__ = [
    "PASSES", "fold_constants", "fold_scales", "fuse_activations", "fuse_residuals", "fuse_rows",
    "optimise", "recognise_gates", "recognise_hard_activations", "recognise_normalisations",
    "recognise_shuffles", "recognise_silu", "recognise_sums", "remove_dead", "remove_identities",
    "scale_activations",
]

PASSES = (
    remove_identities, fold_constants, recognise_sums, recognise_hard_activations,
    recognise_normalisations, recognise_shuffles, fuse_rows,
    fold_scales, recognise_silu, recognise_gates, fuse_residuals, fold_scales, scale_activations,
    fuse_activations, remove_dead,
)


def optimise(graph: Graph) -> None:
    """Run all passes on a graph and its subgraphs, in place."""
    for run in PASSES:
        run(graph)
    for node in graph.nodes:
        for subgraph in node.subgraphs():
            optimise(subgraph)
