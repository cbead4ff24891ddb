"""Passes that find what a file spells out as arithmetic.

    x * clip(x + 3, 0, 6) / 6, in any order of its factors      ->  HardSwish
    clip(x + 3, 0, 6) / 6                                       ->  HardSigmoid
    x * sigmoid(x)                                              ->  Silu
    Sum of two arrays                                           ->  Add
    channels split in two axes that are swapped and joined      ->  Gather along the channels
    x + x * gate, the gate one number for each channel          ->  x * (gate + 1)

Some files round 1/6 (0.16662598 has gone through float16); what that changes is multiplied behind.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..ir import Graph, Node, Value
from ..ops import FLOATS
from ..ops.elementwise import fusable_activation
from ._absorb import Links, absorb
from .remove import remove_dead

__all__ = ["recognise_gates", "recognise_hard_activations", "recognise_shuffles",
           "recognise_silu", "recognise_sums"]

# Products of more factors are looked at no further.
_MOST_FACTORS = 2


class _Product(NamedTuple):
    """A value as a number times other values."""

    scale: float
    factors: tuple[Value, ...]


def recognise_hard_activations(graph: Graph) -> None:
    """Put one node for the arithmetic of hard swishes and hard sigmoids."""
    producers = graph.producers()
    nodes = []
    for node in graph.nodes:
        nodes += _activation_for(node, producers) or [node]
    graph.nodes = nodes
    remove_dead(graph)


def _activation_for(node: Node, producers: dict[Value, Node]) -> list[Node] | None:
    """What a node may be replaced by; the nodes before it are then read by nobody, or by others."""
    if node.op not in ("Mul", "Div") or node.domain or node.output.dtype not in FLOATS:
        return None
    x = _find_shifted(node.output, producers)
    if x is None or x.dtype != node.output.dtype:
        return None
    scale, factors = _product(node.output, producers, x)
    others = [value for value in factors if _shifted(value, producers) is not x]
    if len(factors) - len(others) != 1 or any(value is not x for value in others):
        return None
    op = "HardSwish" if others else "HardSigmoid"
    attributes = {} if others else {"alpha": 1 / 6, "beta": 0.5}
    factor = 6 * scale
    if math.isclose(factor, 1, rel_tol=1e-6):
        return [Node(op, [x], node.outputs, attributes, name=node.name)]
    unscaled = Value(f"{node.output.name}.unscaled", node.output.dtype, node.output.shape)
    constant = np.array(factor, node.output.dtype)
    return [
        Node(op, [x], [unscaled], attributes, name=node.name),
        Node("Mul", [unscaled, Value(f"{node.output.name}.factor", constant=constant)],
             node.outputs, name=f"{node.name}.factor"),
    ]


def _find_shifted(value: Value, producers: dict[Value, Node], depth: int = 3) -> Value | None:
    """The x of the first clip(x + 3, 0, 6) among the factors of a value."""
    x = _shifted(value, producers)
    node = producers.get(value)
    if x is not None or not depth or node is None or node.op not in ("Mul", "Div"):
        return x
    found = (_find_shifted(factor, producers, depth - 1) for factor in node.inputs)
    return next((x for x in found if x is not None), None)


def _product(value: Value, producers: dict[Value, Node], x: Value) -> _Product:
    """Take a value apart at multiplications, and at divisions by numbers; x stays whole."""
    node = producers.get(value)
    whole = _Product(1.0, (value,))
    if value is x or node is None or node.op not in ("Mul", "Div") or node.domain:
        return whole
    first, second = node.inputs
    if node.op == "Mul":
        for kept, number in ((first, _number(second)), (second, _number(first))):
            if number is not None:
                return _scaled(_product(kept, producers, x), number)
        a, b = _product(first, producers, x), _product(second, producers, x)
        if len(a.factors) + len(b.factors) <= _MOST_FACTORS:
            return _Product(a.scale * b.scale, a.factors + b.factors)
    elif _number(second):
        return _scaled(_product(first, producers, x), 1 / _number(second))
    return whole


def _scaled(product: _Product, number: float) -> _Product:
    return _Product(product.scale * number, product.factors)


def _number(value: Value) -> float | None:
    """A constant of one number that makes no other array longer in axes, else None."""
    constant = value.constant
    if not isinstance(constant, np.ndarray) or constant.size != 1 or constant.ndim > 1:
        return None
    return float(constant.reshape(()))


def _shifted(value: Value, producers: dict[Value, Node]) -> Value | None:
    """The x of clip(x + 3, 0, 6), None where that is not what makes `value`."""
    clip = producers.get(value)
    if clip is None or fusable_activation(clip) != ("clip", 0.0, 6.0):
        return None
    add = producers.get(clip.inputs[0])
    if add is None or add.op != "Add" or add.domain or len(add.inputs) != 2:
        return None
    for x, number in (add.inputs, add.inputs[::-1]):
        if _number(number) == 3 and x.shape:  # x has an axis: [3.0] adds none
            return x
    return None


def recognise_silu(graph: Graph) -> None:
    """Put Silu for x * sigmoid(x)."""
    producers = graph.producers()
    for node in graph.nodes:
        if node.op != "Mul" or node.domain or node.output.dtype not in FLOATS:
            continue
        for x, other in (node.inputs, node.inputs[::-1]):
            sigmoid = producers.get(other)
            if (sigmoid is not None and sigmoid.op == "Sigmoid" and not sigmoid.domain
                    and sigmoid.inputs[0] is x):
                node.op, node.inputs, node.attributes, node.fallback = "Silu", [x], {}, None
                break
    remove_dead(graph)


def recognise_sums(graph: Graph) -> None:
    """Put Add for sums of two arrays, which other passes know."""
    for node in graph.nodes:
        if node.op == "Sum" and not node.domain and len(node.inputs) == 2:
            node.op = "Add"


def recognise_gates(graph: Graph) -> None:
    """Let one be added to gates rather than the gated array to itself."""

    def into(node: Node, links: Links) -> Node | None:
        if node.op != "Add" or node.domain or node.output.dtype not in FLOATS:
            return None
        for x, gated in (node.inputs, node.inputs[::-1]):
            product = links.maker_for(gated, node)
            if product is not None and product.op == "Mul" and not product.domain:
                gate = _gate_of(product, x)
                if gate is not None:
                    found.append((product, gate))
                    return product
        return None

    found: list[tuple[Node, Value]] = []
    absorb(graph, into)
    for product, gate in found:
        name = f"{product.name}.gate"
        more = Value(name, gate.dtype, gate.shape)
        one = Value(f"{name}.one", constant=np.array(1, gate.dtype))
        at = graph.nodes.index(product)
        graph.nodes.insert(at, Node("Add", [gate, one], [more], name=name))
        product.inputs = [more if value is gate else value for value in product.inputs]


def _gate_of(product: Node, x: Value) -> Value | None:
    """The factor of x that has one number for each channel."""
    for mine, gate in (product.inputs, product.inputs[::-1]):
        sizes = gate.shape
        if (mine is x and gate is not x and gate.dtype == x.dtype and x.shape is not None
                and sizes is not None and len(sizes) == len(x.shape) > 2
                and all(size == 1 for size in sizes[2:])):
            return gate
    return None


def recognise_shuffles(graph: Graph) -> None:
    """Put one Gather for channels that are dealt out anew: (N, g, c, ...) to (N, c, g, ...)."""
    producers = graph.producers()
    for node in graph.nodes:
        x, groups = _shuffled(node, producers)
        if x is None:
            continue
        order = np.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)
        node.op, node.attributes, node.fallback = "Gather", {"axis": 1}, None
        node.inputs = [x, Value(f"{node.output.name}.order", constant=order)]
    remove_dead(graph)


def _shuffled(node: Node, producers: dict[Value, Node]) -> tuple[Value | None, Any]:
    """The array of which a Reshape deals the channels, and into how many groups they are cut."""
    swap = producers.get(node.inputs[0]) if node.op == "Reshape" and not node.domain else None
    cut = producers.get(swap.inputs[0]) if swap is not None and swap.op == "Transpose" else None
    if cut is None or cut.op != "Reshape" or swap.domain or cut.domain:
        return None, None
    x, apart = cut.inputs[0], cut.output.shape
    known = [x.shape, apart, node.output.shape]
    if any(shape is None or not all(isinstance(n, int) for n in shape) for shape in known):
        return None, None
    axes = (0, 2, 1, *range(3, len(apart)))
    same = x.shape == node.output.shape and apart[:1] + apart[3:] == x.shape[:1] + x.shape[2:]
    if len(apart) != len(x.shape) + 1 or swap.attributes.get("perm") != axes or not same:
        return None, None
    return x, apart[1]
