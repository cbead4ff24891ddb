"""The pass that finds normalisations which a file spells out as arithmetic.

    d = x - mean(x);  d / sqrt(mean(d^2) + eps) * scale + shift,  or  d * (1 / sqrt(...)) ...

Means over the pixels make an InstanceNormalization, over the last axis a LayerNormalization. Here
both may lack scale and shift, and an InstanceNormalization may have computed ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..ir import Graph, Node, Value
from ..ops import FLOATS
from ..ops._entry import integers
from ._absorb import Links, absorb
from .remove import remove_dead

__all__ = ["recognise_normalisations"]


class _Found(NamedTuple):
    """A normalisation: of what, along which axes, and what is added to the variance."""

    x: Value
    axes: tuple[int, ...]
    eps: float


def recognise_normalisations(graph: Graph) -> None:
    """Put one node for the arithmetic of instance and layer normalisations."""
    producers = graph.producers()
    for node in graph.nodes:
        found = _normalised(node, producers)
        op = None if found is None else _operator(found)
        if op is not None:
            node.op, node.inputs, node.fallback = op, [found.x], None
            node.attributes = {"epsilon": found.eps}
    absorb(graph, _scaled)
    remove_dead(graph)


def _operator(found: _Found) -> str | None:
    rank = None if found.x.shape is None else len(found.x.shape)
    if found.axes == (-1,) or (rank and found.axes == (rank - 1,) and rank < 3):
        return "LayerNormalization"
    if rank and rank > 2 and tuple(axis % rank for axis in found.axes) == tuple(range(2, rank)):
        return "InstanceNormalization"
    return None


# --- from the last operator back to x -------------------------------------------------------------


def _normalised(node: Node, producers: dict[Value, Node]) -> _Found | None:
    """What a node normalises, where it is the product or quotient at the end of one."""
    if node.op not in ("Mul", "Div") or node.domain or node.output.dtype not in FLOATS:
        return None
    if node.op == "Div":
        centred, deviation = node.inputs
        return _join(centred, deviation, producers)
    for centred, inverse in (node.inputs, node.inputs[::-1]):
        division = _made_by("Div", inverse, producers)
        if division is not None and _is_number(division.inputs[0], 1):
            return _join(centred, division.inputs[1], producers)
    return None


def _join(centred: Value, deviation: Value, producers: dict[Value, Node]) -> _Found | None:
    """The normalisation that x - mean and a standard deviation belong to."""
    sub, root = _made_by("Sub", centred, producers), _made_by("Sqrt", deviation, producers)
    add = None if root is None else _made_by("Add", root.inputs[0], producers)
    if sub is None or add is None:
        return None
    x, mean = sub.inputs
    for variance, eps in (add.inputs, add.inputs[::-1]):
        square = _mean_of(variance, producers)
        if (square is None or not _is_number(eps) or not _is_square(square[0], centred, producers)
                or _mean_of(mean, producers) != (x, square[1])):
            continue
        return _Found(x, square[1], float(np.ravel(eps.constant)[0]))
    return None


def _made_by(op: str, value: Value | None, producers: dict[Value, Node]) -> Node | None:
    node = producers.get(value) if value is not None else None
    return node if node is not None and node.op == op and not node.domain else None


def _mean_of(
    value: Value, producers: dict[Value, Node]
) -> tuple[Value | None, tuple[int, ...]] | None:
    """What a value is the mean of, and along which axes, where it keeps them."""
    node = _made_by("ReduceMean", value, producers)
    if node is None or not node.attributes.get("keepdims", 1):
        return None
    given = node.attributes.get("axes") if node.input(1) is None else node.constant(1)
    return None if given is None else (node.inputs[0], integers(given))


def _is_square(value: Value, of: Value, producers: dict[Value, Node]) -> bool:
    power, product = (_made_by(op, value, producers) for op in ("Pow", "Mul"))
    if power is not None:
        return power.inputs[0] is of and _is_number(power.inputs[1], 2)
    return product is not None and all(factor is of for factor in product.inputs)


def _is_number(value: Value | None, number: float | None = None) -> bool:
    constant = None if value is None else value.constant
    return (isinstance(constant, np.ndarray) and constant.size == 1
            and (number is None or math.isclose(constant.reshape(-1)[0], number)))


# --- scale and shift ------------------------------------------------------------------------------


def _scaled(node: Node, links: Links) -> Node | None:
    """Take the multiplication, then the addition behind a normalisation into it."""
    if node.op not in ("Mul", "Add") or node.domain:
        return None
    for mine, table in (node.inputs, node.inputs[::-1]):
        norm = links.maker_for(mine, node)
        fits = None if norm is None or norm.domain else _TABLES.get(norm.op)
        if fits is None or table is None or not fits(norm.inputs[0], table):
            continue
        if len(norm.inputs) == (1 if node.op == "Mul" else 2):
            norm.inputs.append(table)
            return norm
    return None


def _for_channels(x: Value, table: Value) -> bool:
    """Whether a value has one number for each channel of x, the same for all pictures."""
    shape = table.shape
    return (table.dtype == x.dtype and shape is not None and x.shape is not None
            and len(shape) == len(x.shape) and shape[1] == x.shape[1]
            and shape[0] == 1 and all(size == 1 for size in shape[2:]))


def _for_last(x: Value, table: Value) -> bool:
    return table.is_constant and table.dtype == x.dtype and table.constant.ndim == 1


_TABLES: dict[str, Callable[[Value, Value], bool]] = {
    "InstanceNormalization": _for_channels,
    "LayerNormalization": _for_last,
}
