"""Activations and arithmetic, element by element; results keep the order of memory of x."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from fastconv._engine import elementwise
from fastconv._engine.program import broadcast
from fastconv.functional._check import parse_activation

from ..ir import Node
from ._entry import FLOATS, Kernel, empty_in_order, empty_like, operator

__all__ = ["fusable_activation", "fusable_slopes"]

NUMBERS = frozenset(map(np.dtype, "fdbhilqBHILQ"))
NUMERIC = NUMBERS | {np.dtype(bool)}


# --- activations ----------------------------------------------------------------------------------


def _clip(node: Node) -> Any:
    low, high = node.attributes.get("min"), node.attributes.get("max")
    for index in (1, 2):
        if node.input(index) is not None and node.constant(index) is None:
            return None
    low = node.constant(1) if node.constant(1) is not None else low
    high = node.constant(2) if node.constant(2) is not None else high
    low = -math.inf if low is None else float(np.reshape(low, ()))
    high = math.inf if high is None else float(np.reshape(high, ()))
    return ("clip", low, high) if low <= high else None


def _hardsigmoid(node: Node) -> Any:
    get = node.attributes.get
    third = math.isclose(get("alpha", 0.2), 1 / 6, rel_tol=1e-6) and get("beta", 0.5) == 0.5
    return "hardsigmoid" if third else None


def _hardswish(node: Node) -> Any:
    if "scale" not in node.attributes:  # put there by a pass
        return "hardswish"
    return ("scaled_hardswish", node.attributes["scale"], node.attributes["shift"])


# Operators that the engine can compute in a convolution's store.
_ACTIVATIONS = {
    "Relu": lambda node: "relu",
    "LeakyRelu": lambda node: ("leaky_relu", float(node.attributes.get("alpha", 0.01))),
    "Clip": _clip,
    "Sigmoid": lambda node: "sigmoid",
    "Tanh": lambda node: "tanh",
    "HardSigmoid": _hardsigmoid,
    "HardSwish": _hardswish,
    "Silu": lambda node: "silu",
}


def fusable_activation(node: Node) -> Any:
    """What a node does, as the argument `activation` of a convolution; None for other nodes."""
    return _ACTIVATIONS[node.op](node) if node.op in _ACTIVATIONS and not node.domain else None


@operator(*_ACTIVATIONS, dtypes=FLOATS, arrays=(0,))
def activation(node: Node) -> Kernel | None:
    """An activation, by the engine."""
    settings = fusable_activation(node)
    if settings is None and node.op == "HardSigmoid":
        return _any_hardsigmoid(node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5))
    if settings is None:
        return None
    kind, alpha, beta = parse_activation(node.op, settings)

    def kernel(x, *_):
        return elementwise.map(x, x.dtype, empty_like(x), activation=kind, alpha=alpha, beta=beta)

    return kernel


def _any_hardsigmoid(slope: float, offset: float) -> Kernel:
    def kernel(x):
        center, scale, shift = (np.array([v], x.dtype) for v in (0, slope, offset))
        return elementwise.map(x, x.dtype, empty_like(x), center=center, scale=scale, shift=shift,
                               activation="clip", alpha=0.0, beta=1.0)

    return kernel


@operator("ScaleShift", dtypes=FLOATS, arrays=(0,))
def scale_shift(node: Node) -> Kernel:
    """A factor and an offset for each channel, and an activation; made by a pass."""
    kind, alpha, beta = parse_activation(node.op, node.attributes.get("activation"))
    made: dict[Any, tuple[np.ndarray, ...]] = {}

    def kernel(x, scale, shift):
        if x.dtype not in made:
            full = np.broadcast_arrays(scale, shift)
            scale, shift = (np.array(table, x.dtype) for table in full)
            made[x.dtype] = np.zeros_like(scale), scale, shift
        center, scale, shift = made[x.dtype]
        axis = 1 if scale.size > 1 else -1
        return elementwise.map(x, x.dtype, empty_like(x), channel_axis=axis, center=center,
                               scale=scale, shift=shift, activation=kind, alpha=alpha, beta=beta)

    return kernel


@operator("PRelu", dtypes=FLOATS, arrays=(0,))
def prelu(node: Node) -> Kernel:
    """PRelu; slopes for one axis by the engine."""

    def kernel(x, slope):
        if node.version < 7 and slope.size > 1:  # then the channels', now of the last axes
            slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
        axis = _only_axis(x, slope)
        if axis is None:
            return np.where(x < 0, x * slope, x)
        table = np.array(slope.reshape(-1), x.dtype)
        return elementwise.map(x, x.dtype, empty_like(x), channel_axis=axis, slope=table)

    return kernel


def fusable_slopes(node: Node, channels: int, behind: int) -> Any:
    """What a PRelu does, as the argument `activation` of `prepare_conv`; None for other nodes.

    Parameters
    ----------
    node : Node
    channels, behind : int
        Those of its input, and the axes behind theirs.
    """
    slope = node.constant(1) if node.op == "PRelu" and not node.domain else None
    if slope is None:
        return None
    if slope.size == 1 and slope.ndim <= behind + 1:
        return "prelu", np.full(channels, slope.reshape(()))
    if node.version < 7:
        behind = 0
    one_axis = (1,) * max(slope.ndim - 1 - behind, 0) + (channels,) + (1,) * behind
    return ("prelu", slope.reshape(-1)) if slope.shape == one_axis else None


def _only_axis(x: np.ndarray, table: np.ndarray) -> int | None:
    """The axis of x along which `table`, broadcast to x, varies; -1 for one number, else None."""
    if table.size == 1 and table.ndim <= x.ndim:
        return -1
    long = [axis - table.ndim for axis, size in enumerate(table.shape) if size != 1]
    if len(long) != 1 or table.ndim > x.ndim or table.size != x.shape[long[0]]:
        return None
    return long[0] % x.ndim


# --- arithmetic -----------------------------------------------------------------------------------

_UFUNCS = {
    "Abs": np.abs, "Neg": np.negative, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log,
    "Floor": np.floor, "Ceil": np.ceil, "Sin": np.sin, "Cos": np.cos, "Round": np.rint,
}


@operator(*_UFUNCS, dtypes=FLOATS)
def of_one(node: Node) -> Kernel:
    """A function of one number."""
    return _UFUNCS[node.op]


_FLOAT_BINARY = {"Div": np.divide, "Pow": np.power}
_BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


@operator(*_FLOAT_BINARY, dtypes=FLOATS, arrays=(0, 1))
@operator(*_BINARY, dtypes=NUMBERS, arrays=(0, 1))
def of_two(node: Node) -> Kernel | None:
    """Arithmetic with broadcasting."""
    if "broadcast" in node.attributes:  # opset 6's rule
        return None
    if node.op == "Pow":
        return _power(node)
    function = (_BINARY | _FLOAT_BINARY)[node.op]

    def kernel(x, y):
        if x.dtype != y.dtype:
            return NotImplemented
        if x.dtype not in FLOATS or not (x.flags.aligned and y.flags.aligned):
            return function(x, y)
        larger, other = (x, y) if x.size >= y.size else (y, x)
        shape = larger.shape
        if other.shape != shape and not _fits(other.shape, shape):
            shape = np.broadcast_shapes(x.shape, y.shape)
            larger = larger[(None,) * (len(shape) - larger.ndim)]
        out = empty_in_order(shape, larger)
        x, y = (part if part.shape == shape else broadcast(np.asarray(part), shape)
                for part in (x, y))
        return elementwise.binary(node.op, x, y, out)

    return kernel


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether an array of `shape` can be broadcast to `whole`."""
    missing = len(whole) - len(shape)
    return missing >= 0 and all(map(_is_one_or, shape, whole[missing:]))


def _is_one_or(size: int, other: int) -> bool:
    return size in (1, other)


def _power(node: Node) -> Kernel:
    square = node.constant(1) is not None and np.all(node.constant(1) == 2)

    def kernel(x, y):
        if x.dtype != y.dtype:
            return NotImplemented
        if square and y.size == 1:
            shape = np.broadcast_shapes(x.shape, y.shape)
            if not x.flags.aligned:
                return np.square(x).reshape(shape)
            return elementwise.binary("Mul", x, x, empty_like(x)).reshape(shape)
        return np.power(x, y)

    return kernel


@operator("Sum", dtypes=FLOATS)
def total(node: Node) -> Kernel:
    """Sum of any number of arrays."""
    return lambda *arrays: reduce(np.add, arrays)


_COMPARISONS = {
    "Equal": np.equal, "Less": np.less, "Greater": np.greater, "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal,
}


@operator(*_COMPARISONS, dtypes=NUMERIC)
def comparison(node: Node) -> Kernel | None:
    """Comparisons with broadcasting."""
    return None if "broadcast" in node.attributes else _COMPARISONS[node.op]


@operator("Where")
def where(node: Node) -> Kernel:
    """Where."""
    return lambda condition, x, y: np.where(condition, x, y)
