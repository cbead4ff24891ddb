"""Passes for what multiplies and shifts each channel by constants, however a file spells it.

    BatchNormalization, Mul, Div, Add, Sub by constants    ->  ScaleShift(x, scale, shift)
    Conv -> ScaleShift                                     ->  Conv with other weights and bias
    HardSwish -> ScaleShift                                ->  HardSwish with attributes

ScaleShift is an operator of this graph alone: x * scale + shift, both one number or one for each
channel (axis 1), held in float64 until the network runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..ir import Graph, Node, Value
from ..ops import FLOATS
from ..ops.conv import has_store
from ._absorb import Links, absorb

__all__ = ["fold_scales", "scale_activations"]


class _Map(NamedTuple):
    """x * scale + shift; both of shape (1,) or (channels,), float64."""

    x: Value
    scale: np.ndarray
    shift: np.ndarray


def fold_scales(graph: Graph) -> None:
    """Put scales and shifts by constants into weights, into each other, or into one node."""

    def into(node: Node, links: Links) -> Node | None:
        found = _map_of(node)
        if found is None:
            return None
        before = links.maker_for(found.x, node)
        if before is not None and _take(before, found, node.output.name):
            return before
        _make_scale_shift(node, found)
        return None

    absorb(graph, into)
    _drop_unit_scales(graph)


def _make_scale_shift(node: Node, found: _Map) -> None:
    node.op, node.attributes, node.fallback = "ScaleShift", {}, None
    node.inputs = [found.x, *_values(node.output.name, found.scale, found.shift)]


def _values(name: str, scale: np.ndarray, shift: np.ndarray) -> tuple[Value, Value]:
    return Value(f"{name}.scale", constant=scale), Value(f"{name}.shift", constant=shift)


def _drop_unit_scales(graph: Graph) -> None:
    kept = []
    for node in graph.nodes:
        unit = node.op == "ScaleShift" and "activation" not in node.attributes
        if unit and np.all(node.constant(1) == 1) and not np.any(node.constant(2)):
            graph.replace(node.output, node.inputs[0])
        else:
            kept.append(node)
    graph.nodes = kept


# --- what a node multiplies and adds --------------------------------------------------------------


def _map_of(node: Node) -> _Map | None:
    """What a node computes, where that is x * scale + shift by constants; else None."""
    if node.domain or node.output.dtype not in FLOATS or "activation" in node.attributes:
        return None
    if node.op == "BatchNormalization":
        return _map_of_norm(node)
    make = _ARITHMETIC.get(node.op)
    if make is None or len(node.inputs) != 2 or "broadcast" in node.attributes:
        return None
    for place, (x, other) in enumerate((node.inputs, node.inputs[::-1])):
        numbers = None if x is None or other is None else _per_channel(x, other.constant)
        if numbers is not None and x.dtype == node.output.dtype:
            scaled = make(numbers, place)
            return None if scaled is None else _Map(x, *scaled)
    return None


def _map_of_norm(node: Node) -> _Map | None:
    x, shape = node.inputs[0], node.inputs[0].shape
    tables = [node.constant(index) for index in range(1, 5)]
    trained = not node.attributes.get("training_mode", 0) and node.attributes.get("spatial", 1)
    if (not trained or any(node.outputs[1:]) or shape is None or len(shape) < 2
            or any(t is None or t.dtype not in FLOATS for t in tables)):
        return None
    gamma, beta, mean, variance = (table.astype(np.float64) for table in tables)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        return _Map(x, scale, beta - mean * scale)


# (constant, which operand x is) -> scale and shift, None where x is not so mapped.
_ARITHMETIC = {
    "Mul": lambda c, place: (c, 0 * c),
    "Add": lambda c, place: (1 + 0 * c, c),
    "Sub": lambda c, place: (1 + 0 * c, -c) if place == 0 else (0 * c - 1, c),
    "Div": lambda c, place: (1 / c, 0 * c) if place == 0 and np.all(c) else None,
}


def _per_channel(x: Value, constant: Any) -> np.ndarray | None:
    """A finite constant that is one number, or one for each channel of x, as float64."""
    if not isinstance(constant, np.ndarray) or constant.dtype != x.dtype:
        return None
    if not np.all(np.isfinite(constant)):
        return None
    numbers = constant.reshape(-1).astype(np.float64)
    if x.shape is None:
        return numbers if constant.ndim == 0 else None
    if constant.ndim > len(x.shape):
        return None
    if constant.size == 1:
        return numbers
    sizes = (*(1,) * (len(x.shape) - constant.ndim), *constant.shape)
    alone = len(sizes) > 1 and constant.size == sizes[1] == x.shape[1]
    return numbers if alone else None


# --- who takes it ---------------------------------------------------------------------------------


def _take(before: Node, found: _Map, name: str) -> bool:
    """Let the node before do the work too, if it can."""
    if before.domain or "activation" in before.attributes:
        return False
    if before.op == "ScaleShift":
        old = before.constant(1), before.constant(2)
        before.inputs[1:] = _values(name, old[0] * found.scale, old[1] * found.scale + found.shift)
        return True
    if before.op not in ("Conv", "ConvTranspose") or not has_store(before):
        return False
    if before.input(3) is not None and np.any(found.scale != 1):
        return False  # a residual would be scaled, too
    _scale_weights(before, found, name)
    return True


def _scale_weights(conv: Node, found: _Map, name: str) -> None:
    """Scale a convolution's weights and bias, and shift its bias, in float64."""
    weight, bias = conv.constant(1), conv.constant(2)
    first = conv.op == "Conv"
    groups = conv.attributes.get("group", 1)
    channels = weight.shape[0] if first else weight.shape[1] * groups
    scale, shift = (np.broadcast_to(table, channels) for table in (found.scale, found.shift))
    with np.errstate(all="ignore"):
        if np.any(scale != 1):
            # (K, ...), or (groups, C / groups, K / groups, ...)
            parts = weight if first else weight.reshape(groups, -1, *weight.shape[1:])
            lead = (channels,) if first else (groups, 1, channels // groups)
            factors = scale.reshape(*lead, *(1,) * (weight.ndim - (1 if first else 2)))
            scaled = np.empty_like(parts)  # rounded on the way: no float64 copy of all weights
            np.multiply(parts, factors, out=scaled, casting="same_kind")
            conv.inputs[1] = Value(f"{name}.weight", constant=scaled.reshape(weight.shape))
        shifted = shift if bias is None else bias * scale + shift
    conv.inputs[2:3] = [Value(f"{name}.bias", constant=shifted.astype(weight.dtype))]


def scale_activations(graph: Graph) -> None:
    """Put a scale and a shift that are the same for all channels into hard swishes."""

    def into(node: Node, links: Links) -> Node | None:
        if node.op != "ScaleShift" or node.constant(1).size != 1 or node.constant(2).size != 1:
            return None
        before = links.maker_for(node.inputs[0], node)
        if before is None or before.op != "HardSwish" or "scale" in before.attributes:
            return None
        scale, shift = (float(node.constant(index)[0]) for index in (1, 2))
        before.attributes |= {"scale": scale, "shift": shift}
        return before

    absorb(graph, into)
