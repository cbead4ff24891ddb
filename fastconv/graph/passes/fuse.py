"""Passes that let a convolution's store do what the nodes behind it did.

    Conv -> Add(., other) -> Relu      becomes      Conv(x, weight, bias, other), activation "relu"
"""

from __future__ import annotations

from ..ir import Graph, Node, Value
from ..ops import FLOATS
from ..ops.elementwise import fusable_activation

__all__ = ["fuse_activations", "fuse_residuals"]

_TAKE_ACTIVATION = ("Conv", "ConvTranspose", "BatchNormalization")


def _fusable(graph: Graph, node: Node | None, consumers, ops) -> bool:
    """Whether a node is of the kind, has not an activation yet and is read once."""
    return (
        node is not None and node.op in ops and not node.domain
        and "activation" not in node.attributes and node.output.dtype in FLOATS
        and len(consumers.get(node.output, ())) == 1 and node.output not in graph.outputs
        and not any(node.outputs[1:]) and _is_native(node)
    )


def _is_native(node: Node) -> bool:
    """Whether fastconv's own code will run a node, which alone knows of fused steps."""
    from ..executor import Operation

    return Operation(node).kernel is not None


def fuse_activations(graph: Graph) -> None:
    """Put activations into the nodes before them."""
    producers, consumers = graph.producers(), graph.consumers()
    kept = []
    for node in graph.nodes:
        activation = fusable_activation(node)
        before = producers.get(node.inputs[0]) if activation else None
        if activation and _fusable(graph, before, consumers, _TAKE_ACTIVATION):
            assert before is not None
            before.attributes["activation"] = activation
            before.outputs[0] = node.output
            producers[node.output] = before
        else:
            kept.append(node)
    graph.nodes = kept


def fuse_residuals(graph: Graph) -> None:
    """Put additions of an array of the same shape into the convolutions before them."""
    producers, consumers = graph.producers(), graph.consumers()
    kept: list[Node] = []
    for node in graph.nodes:
        found = _residual_of(graph, node, producers, consumers)
        if found is None:
            kept.append(node)
            continue
        conv, residual = found
        conv.inputs = [*conv.inputs, None][:3] + [residual]
        conv.outputs[0] = node.output
        producers[node.output] = conv
        # the residual may be made after where the convolution stood
        kept.remove(conv)
        kept.append(conv)
    graph.nodes = kept


def _residual_of(graph: Graph, node: Node, producers, consumers) -> tuple[Node, Value] | None:
    """The convolution and the other operand of an addition that can go into it."""
    if node.op != "Add" or node.domain or len(node.inputs) != 2:
        return None
    for mine, other in (node.inputs, node.inputs[::-1]):
        conv = producers.get(mine)
        if (
            _fusable(graph, conv, consumers, ("Conv",)) and len(conv.inputs) < 4
            and mine is not other and _same_shape(mine, other)
        ):
            return conv, other
    return None


def _same_shape(a: Value, b: Value) -> bool:
    """Whether two values surely have one shape and dtype: unknown sizes are no proof."""
    return (
        a.dtype == b.dtype and a.shape is not None and a.shape == b.shape
        and all(isinstance(size, int) or (isinstance(size, str) and size != "?")
                for size in a.shape)
    )
