"""Passes that compute once what never changes: constants, and scales that fit into weights."""

from __future__ import annotations

import numpy as np

from ..executor import Operation, is_native
from ..ir import Graph, Node, Value
from ..ops import FLOATS

__all__ = ["fold_batch_norms", "fold_biases", "fold_constants"]

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


def fold_batch_norms(graph: Graph) -> None:
    """Put batch normalisations into the weights and bias of the convolutions they follow."""
    producers, consumers = graph.producers(), graph.consumers()
    kept = []
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.op == "BatchNormalization" else None
        if before is not None and _takes_scale(graph, node, before, consumers):
            _put_into(node, before)
            before.outputs[0] = node.output
            producers[node.output] = before
        else:
            kept.append(node)
    graph.nodes = kept


def _takes_scale(graph: Graph, norm: Node, conv: Node, consumers) -> bool:
    alone = consumers[conv.output] == [norm] and conv.output not in graph.outputs
    weights = [conv.constant(1), *(norm.constant(index) for index in range(1, 5))]
    bias = conv.input(2) is None or conv.constant(2) is not None
    return (
        conv.op == "Conv" and is_native(conv) and not norm.domain and alone and bias
        and all(w is not None and w.dtype in FLOATS for w in weights)
        and not norm.attributes.get("training_mode", 0) and not any(norm.outputs[1:])
    )


def _put_into(norm: Node, conv: Node) -> None:
    """Scale a convolution's weights and shift its bias, in float64."""
    weight, bias = conv.constant(1), conv.constant(2)
    gamma, beta, mean, variance = (
        norm.constant(index).astype(np.float64) for index in range(1, 5)
    )
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + norm.attributes.get("epsilon", 1e-5))
        scaled = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        shifted = (0 if bias is None else bias - 0.0) * scale + (beta - mean * scale)
    name, dtype = norm.output.name, weight.dtype
    conv.inputs[1:] = [
        Value(f"{name}.weight", constant=scaled.astype(dtype)),
        Value(f"{name}.bias", constant=shifted.astype(dtype)),
    ]


def fold_biases(graph: Graph) -> None:
    """Add constants, one for each channel, to the bias of the convolutions before them."""
    producers, consumers = graph.producers(), graph.consumers()
    kept = []
    for node in graph.nodes:
        found = _bias_of(graph, node, producers, consumers)
        if found is None:
            kept.append(node)
            continue
        conv, bias = found
        conv.inputs[2:3] = [Value(f"{node.output.name}.bias", constant=bias)]
        conv.outputs[0] = node.output
        producers[node.output] = conv
    graph.nodes = kept


def _bias_of(graph: Graph, node: Node, producers, consumers) -> tuple[Node, np.ndarray] | None:
    """The convolution into which an addition can go, and its new bias."""
    if node.op != "Add" or node.domain or len(node.inputs) != 2:
        return None
    for before, added in (node.inputs, node.inputs[::-1]):
        conv = producers.get(before)
        if conv is None or added is None or not _takes_bias(graph, node, conv, consumers):
            continue
        row = _one_per_channel(conv, added.constant)
        if row is not None:
            old = conv.constant(2)
            return conv, row if old is None else (old + row.astype(np.float64)).astype(row.dtype)
    return None


def _takes_bias(graph: Graph, add: Node, conv: Node, consumers) -> bool:
    return (
        conv.op in ("Conv", "ConvTranspose") and is_native(conv)
        and consumers[conv.output] == [add] and conv.output not in graph.outputs
        and "activation" not in conv.attributes and conv.constant(1) is not None
        and (conv.input(2) is None or conv.constant(2) is not None)
    )


def _one_per_channel(conv: Node, added: np.ndarray | None) -> np.ndarray | None:
    """`added` as a bias, None unless it is constant and has one number for each channel."""
    weight = conv.constant(1)
    if not isinstance(added, np.ndarray) or added.dtype != weight.dtype:
        return None
    groups = conv.attributes.get("group", 1)
    channels = weight.shape[0] if conv.op == "Conv" else weight.shape[1] * groups
    sizes = (*(1,) * (weight.ndim - added.ndim), *added.shape)
    if len(sizes) != weight.ndim or added.size != sizes[1] or sizes[1] not in (1, channels):
        return None
    return np.broadcast_to(added.reshape(-1), channels).copy()
