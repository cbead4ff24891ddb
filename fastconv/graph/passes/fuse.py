"""Passes that let a convolution's store do what the nodes behind it did.

    Conv -> Add(., other) -> Relu      becomes      Conv(x, weight, bias, other), activation "relu"
"""

from __future__ import annotations

from ..executor import is_native
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
        and not any(node.outputs[1:]) and is_native(node)
    )


def fuse_activations(graph: Graph) -> None:
    """Put activations into the nodes before them."""
    producers, consumers = graph.producers(), graph.consumers()
    kept = []
    for node in graph.nodes:
        activation = fusable_activation(node)
        before = producers.get(node.inputs[0]) if activation else None
        if (activation and _fusable(graph, before, consumers, _TAKE_ACTIVATION)
                and _pays(before, activation)):
            assert before is not None
            before.attributes["activation"] = activation
            before.outputs[0] = node.output
            producers[node.output] = before
        else:
            kept.append(node)
    graph.nodes = kept


# The store computes whole vectors of channels: with fewer channels these, which take many steps,
# are faster in a pass of their own (16 to 1 channel, 256x256: 1.2 ms in the store, 0.6 behind it).
_LONG, _FEW_CHANNELS = ("sigmoid", "tanh"), 8


def _pays(node: Node | None, activation) -> bool:
    assert node is not None
    shape = node.output.shape
    few = shape is not None and isinstance(shape[1], int) and shape[1] < _FEW_CHANNELS
    return not (few and activation in _LONG)


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
