"""Normalisations, soft maxima and reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._engine import channel_sums, elementwise
from fastconv.functional import norm
from fastconv.functional._check import parse_activation
from fastconv.functional.activation import log_softmax, softmax

from ..ir import Node
from ._entry import FLOATS, Kernel, axes_argument, empty_like, operator
from .window import global_average_pool


@operator("BatchNormalization", dtypes=FLOATS, arrays=(0,))
def batch_normalization(node: Node) -> Kernel | None:
    """BatchNormalization with given statistics."""
    get = node.attributes.get
    if get("training_mode", 0) or get("spatial", 1) == 0 or len(node.outputs) > 1:
        return None
    eps, activation = get("epsilon", 1e-5), get("activation")

    def kernel(x, scale, bias, mean, variance):
        return norm.batch_norm(x, mean, variance, scale, bias, eps=eps, activation=activation,
                               out=empty_like(x))

    return kernel


@operator("InstanceNormalization", dtypes=FLOATS, arrays=(0, 1, 2))
def instance_normalization(node: Node) -> Kernel:
    """InstanceNormalization: each picture's channels by their own mean and variance.

    Passes may leave out scale and bias, or give them other axes, and add an activation.
    """
    eps = node.attributes.get("epsilon", 1e-5)
    kind, alpha, beta = parse_activation(node.op, node.attributes.get("activation"))

    def kernel(x, scale=None, bias=None):
        result = empty_like(x)
        if not x.size:
            return result
        x = x if x.flags.aligned else x.copy()
        scale, bias = _table(x, "scale", scale), _table(x, "bias", bias)
        for picture, out in zip(x, result, strict=True):
            tables = elementwise.empty((3, x.shape[1]), x.dtype)
            channel_sums.normalisation(picture, 0, eps, scale, bias, tables)
            elementwise.map(picture, x.dtype, out, channel_axis=0, center=tables[0],
                            scale=tables[1], shift=tables[2], activation=kind, alpha=alpha,
                            beta=beta, moving=True)
        return result

    return kernel


def _table(x: np.ndarray, name: str, table: np.ndarray | None) -> np.ndarray | None:
    """One number for each channel of x, of its type, side by side."""
    if table is None:
        return None
    if table.size != x.shape[1]:
        raise ValueError(f"{name} must have {x.shape[1]} numbers, one a channel, got {table.size}")
    return np.ascontiguousarray(table, x.dtype).reshape(-1)


@operator("LayerNormalization", dtypes=FLOATS, arrays=(0,))
def layer_normalization(node: Node) -> Kernel | None:
    """LayerNormalization without its statistics as outputs."""
    if sum(value is not None for value in node.outputs) > 1:
        return None
    get = node.attributes.get
    eps, first = get("epsilon", 1e-5), get("axis", -1)
    constant = all(node.input(place) is None or node.constant(place) is not None
                   for place in (1, 2))
    made: dict[Any, tuple[np.ndarray, ...]] = {}  # constant tables by dtype

    def kernel(x, scale=None, bias=None):
        last = first % x.ndim == x.ndim - 1
        if constant and last and x.size and x.flags.c_contiguous and x.flags.aligned:
            if x.dtype not in made:
                made[x.dtype] = _affine(x, scale, bias)
            return _normalised_rows(x, eps, *made[x.dtype])
        axes = tuple(range(first % x.ndim, x.ndim))
        centred = x - x.mean(axes, keepdims=True)
        variance = np.square(centred).mean(axes, keepdims=True)
        result = centred / np.sqrt(variance + x.dtype.type(eps))
        result = result if scale is None else result * scale
        return result if bias is None else result + bias

    return kernel


def _affine(x: np.ndarray, scale: Any, bias: Any) -> tuple[np.ndarray, ...]:
    """What is taken off, times what, plus what: a number for each place along the last axis."""
    plain = np.zeros(x.shape[-1:], x.dtype)
    return (plain, *(np.array(np.broadcast_to(number if table is None else table, plain.shape),
                              x.dtype) for table, number in ((scale, 1), (bias, 0))))


def _normalised_rows(x: np.ndarray, eps: float, *affine: np.ndarray) -> np.ndarray:
    """Each row by its own mean and variance, then by factors and offsets that all rows share."""
    rows = x.reshape(-1, x.shape[-1])
    tables, result = elementwise.empty((3, len(rows)), x.dtype), elementwise.empty(x.shape, x.dtype)
    out = result.reshape(rows.shape)
    channel_sums.normalisation(rows, 0, eps, None, None, tables)
    center, factor, offset = tables
    elementwise.map(rows, x.dtype, out, channel_axis=0, center=center, scale=factor, shift=offset,
                    moving=True)
    center, scale, shift = affine
    elementwise.map(out, x.dtype, out, channel_axis=1, center=center, scale=scale, shift=shift)
    return result


@operator("LRN", dtypes=FLOATS, arrays=(0,))
def local_response_normalization(node: Node) -> Kernel | None:
    """LRN over an odd number of channels; even windows lie differently in ONNX."""
    get = node.attributes.get
    size = node.attributes["size"]
    if size % 2 == 0:
        return None
    numbers = (get("alpha", 1e-4), get("beta", 0.75), get("bias", 1.0))

    def kernel(x):
        return norm.local_response_norm(x, size, *numbers, out=empty_like(x))

    return kernel


@operator("Softmax", "LogSoftmax", dtypes=FLOATS, arrays=(0,))
def soft_maximum(node: Node) -> Kernel:
    """Softmax and LogSoftmax; before opset 13 over all axes from `axis` on as one."""
    function = softmax if node.op == "Softmax" else log_softmax
    flat = node.version < 13
    axis = node.attributes.get("axis", 1 if flat else -1)

    def kernel(x):
        if not flat:
            return function(x, axis)
        start = axis % x.ndim
        rows = x.reshape(math.prod(x.shape[:start]), math.prod(x.shape[start:]))
        return function(rows, 1).reshape(x.shape)

    return kernel


_REDUCTIONS = {"ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": np.max,
               "ReduceMin": np.min}
# Sums that run over many numbers are added up in float64.
_WIDE = {"ReduceMean", "ReduceSum"}


@operator(*_REDUCTIONS, dtypes=FLOATS, arrays=(0,))
def reduction(node: Node) -> Kernel:
    """Reductions along any axes."""
    function, get = _REDUCTIONS[node.op], node.attributes.get
    keep, ignore_empty = bool(get("keepdims", 1)), get("noop_with_empty_axes", 0)
    settings = {"dtype": np.float64} if node.op in _WIDE else {}
    spatial_mean = global_average_pool(node)

    def kernel(x, axes=None):
        axes = axes_argument(node, "axes", axes)
        if not axes:
            if ignore_empty:
                return x
            axes = tuple(range(x.ndim))
        if x.size == 0:
            return NotImplemented
        axes = tuple(axis % x.ndim for axis in axes)
        if all(x.shape[axis] == 1 for axis in axes):  # of one number each
            return x if keep else x.squeeze(axes)
        if node.op == "ReduceMean" and sorted(axes) == list(range(2, x.ndim)) and x.ndim <= 5:
            mean = spatial_mean(x)
            return mean if keep else mean.reshape(x.shape[:2])
        left = [axis for axis in range(x.ndim) if axis not in axes and x.shape[axis] > 1]
        if node.op in _WIDE and len(left) == 1 and x.flags.aligned:
            (channels,) = left
            count = x.size // x.shape[channels] if node.op == "ReduceMean" else 1
            result = elementwise.empty((x.shape[channels],), x.dtype)
            channel_sums.total(x, channels, count, result)
            return result.reshape([1 if axis in axes else n for axis, n in enumerate(x.shape)
                                   if keep or axis not in axes])
        return np.asarray(function(x, axis=axes, keepdims=keep, **settings), x.dtype)

    return kernel
