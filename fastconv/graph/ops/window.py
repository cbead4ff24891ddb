"""Pools, in the channels-last order of memory as the convolutions."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from fastconv.functional import pool
from fastconv.functional._geometry import pool_geometry

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


def _windowed(node: Node, functions, name: str, settings) -> Windowed | None:
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
    return Windowed(run, nd, padding, extent)


class Windowed:
    """The kernel of a pool.

    Parameters
    ----------
    run : functools.partial
        Of the public function; it lacks x and padding.
    nd : int
        Spatial axes.
    padding : str or tuple
        As `windows_padding` has it.
    extent : tuple of int
        What a dilated window spans.
    """

    takes_place = True

    def __init__(self, run, nd, padding, extent) -> None:
        self.run, self.padding, self.extent = run, padding, extent
        self.to_last, self.to_first = last_of_first(nd + 2), first_of_last(nd + 2)

    def __call__(self, x, place=None):
        padding = self.padding
        if padding == "lower":
            padding = same_pairs(x.shape[2:], self.extent, self.run.keywords["stride"], lower=True)
        x = x.transpose(self.to_last)
        result = self.run(x, padding=padding, out=self._placed(place, x, padding))
        if isinstance(result, tuple):
            return tuple(part.transpose(self.to_first) for part in result)
        return result.transpose(self.to_first)

    def _placed(self, place, x, padding):
        """Where to put the result; None is anywhere."""
        if place is None:
            return None
        get = self.run.keywords.get
        nd = x.ndim - 2
        geometry = pool_geometry(self.run.func.__name__, nd, x.shape, get("kernel_size"),
                                 get("stride"), padding, get("dilation", 1), get("ceil_mode"),
                                 LAST[nd])
        out = place([geometry.out_shape[axis] for axis in self.to_first])
        if out is None or np.may_share_memory(out, x):
            return None
        return out.transpose(self.to_last)


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
