"""Pools, in the channels-last order of memory as the convolutions."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from fastconv.functional import pool

from ..ir import Node
from ._entry import FLOATS, Kernel, operator
from .conv import LAST, first_of_last, is_negative, last_of_first, same_pairs, windows_padding


@operator("MaxPool", dtypes=FLOATS, arrays=(0,))
def max_pool(node: Node) -> Kernel | None:
    """MaxPool, with places where they are asked for; row-major places only."""
    get = node.attributes.get
    places = len(node.outputs) > 1 and node.outputs[1] is not None
    if places and get("storage_order", 0):
        return None
    settings = {"dilation": get("dilations", 1), "ceil_mode": bool(get("ceil_mode", 0))}
    if not places:
        return _windowed(node, pool.__dict__, "max_pool", settings)
    inner = _windowed(node, pool.__dict__, "max_pool", {**settings, "return_indices": True})

    def kernel(x):
        result = inner(x)
        if result is NotImplemented:
            return result
        maxima, places = result
        # ONNX counts from the first element of the array, not of the picture.
        pictures = np.arange(math.prod(x.shape[:2])).reshape(x.shape[:2] + (1,) * (x.ndim - 2))
        return maxima, places + pictures * math.prod(x.shape[2:])

    return kernel


@operator("AveragePool", dtypes=FLOATS, arrays=(0,))
def average_pool(node: Node) -> Kernel | None:
    """AveragePool without dilation."""
    get = node.attributes.get
    if any(d != 1 for d in get("dilations", ())):
        return None
    settings = {
        "ceil_mode": bool(get("ceil_mode", 0)),
        "count_include_pad": bool(get("count_include_pad", 0)),
    }
    return _windowed(node, pool.__dict__, "avg_pool", settings)


def _windowed(node: Node, functions, name: str, settings) -> Kernel | None:
    kernel_size = node.attributes["kernel_shape"]
    nd = len(kernel_size)
    if nd not in LAST:
        return None
    stride = node.attributes.get("strides", (1,) * nd)
    padding = windows_padding(node, nd)
    dilation = settings.get("dilation", 1)
    dilation = dilation if isinstance(dilation, tuple) else (dilation,) * nd
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))
    if is_negative(padding) or (isinstance(padding, tuple) and _pads_too_much(padding, extent)):
        return None
    run = partial(functions[f"{name}{nd}d"], kernel_size=kernel_size, stride=stride,
                  layout=LAST[nd], **settings)
    to_last, to_first = last_of_first(nd + 2), first_of_last(nd + 2)

    def kernel(x):
        pairs = padding
        if pairs == "lower":
            pairs = same_pairs(x.shape[2:], extent, stride, lower=True)
        result = run(x.transpose(to_last), padding=pairs)
        if isinstance(result, tuple):
            return tuple(part.transpose(to_first) for part in result)
        return result.transpose(to_first)

    return kernel


def _pads_too_much(padding, extent) -> bool:
    """Whether windows may lie in the padding alone, which fastconv's pools do not take."""
    return any(2 * max(pair) > e for pair, e in zip(padding, extent, strict=True))


@operator("GlobalAveragePool", dtypes=FLOATS, arrays=(0,))
def global_average_pool(node: Node) -> Kernel:
    """GlobalAveragePool."""
    return _global("adaptive_avg_pool")


@operator("GlobalMaxPool", dtypes=FLOATS, arrays=(0,))
def global_max_pool(node: Node) -> Kernel:
    """GlobalMaxPool."""
    return _global("adaptive_max_pool")


def _global(name: str) -> Kernel:
    def kernel(x):
        nd = x.ndim - 2
        if nd not in LAST or x.size == 0:
            return NotImplemented
        run = getattr(pool, f"{name}{nd}d")
        return run(x.transpose(last_of_first(x.ndim)), 1, layout=LAST[nd]).transpose(
            first_of_last(x.ndim)
        )

    return kernel
