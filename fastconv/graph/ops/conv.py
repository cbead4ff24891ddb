"""Convolutions and transposed convolutions, in the channels-last order of memory.

Arrays keep their logical axes (N, C, ...); the engine sees views with the channels moved to the
end, so results come out channels last, and neighbours read them where they lie. Weights that are
constant are packed once. Beyond ONNX a node may have an attribute `activation`, as the argument of
`fastconv.conv2d`, and a residual as its fourth input.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastconv.functional import conv

from ..ir import Node
from ._entry import FLOATS, Kernel, operator

__all__ = ["first_of_last", "last_of_first", "same_pairs", "windows_padding"]

LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def last_of_first(axes: int) -> tuple[int, ...]:
    """The permutation that moves axis 1 to the end."""
    return (0, *range(2, axes), 1)


def first_of_last(axes: int) -> tuple[int, ...]:
    """The permutation that moves the last axis to place 1."""
    return (0, axes - 1, *range(1, axes - 1))


def same_pairs(size, extent, stride, lower: bool) -> tuple[tuple[int, int], ...]:
    """Padding for ceil(size / stride) windows; the odd one before (`lower`) or after."""
    pairs = []
    for n, e, s in zip(size, extent, stride, strict=True):
        total = max((-(-n // s) - 1) * s + e - n, 0)
        less, more = total // 2, total - total // 2
        pairs.append((more, less) if lower else (less, more))
    return tuple(pairs)


def windows_padding(node: Node, nd: int) -> Any:
    """The attributes `auto_pad` and `pads` as fastconv's `padding`; "lower" is SAME_LOWER."""
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic != "NOTSET":
        return {"SAME_UPPER": "same", "SAME_LOWER": "lower", "VALID": 0}[automatic]
    pads = node.attributes.get("pads", (0,) * 2 * nd)
    return tuple(zip(pads[:nd], pads[nd:], strict=True))


def is_negative(padding: Any) -> bool:
    """Whether some padding crops, which fastconv's convolutions do not do."""
    return isinstance(padding, tuple) and min(sum(padding, (0,))) < 0


class Convolution:
    """The kernel of a convolution or transposed convolution.

    Parameters
    ----------
    weight, bias : ndarray or None
        Where they are constant; then they are packed once.
    nd : int
        Spatial axes.
    arguments : dict
        Keyword arguments of `fastconv.conv2d` or `conv_transpose2d`.
    """

    def __init__(self, nd: int, weight: Any, bias: Any, transposed: bool,
                 arguments: dict[str, Any]) -> None:
        self.op = f"conv_transpose{nd}d" if transposed else f"conv{nd}d"
        self.to_last, self.to_first = last_of_first(nd + 2), first_of_last(nd + 2)
        self.arguments = {**arguments, "layout": LAST[nd]}
        self.prepared: conv.PreparedConv | None = None
        if weight is not None:
            self.prepared = conv.prepare_conv(weight, bias, transposed=transposed,
                                              **self.arguments)

    def __call__(self, x, weight, bias=None, residual=None):
        x = x.transpose(self.to_last)
        residual = None if residual is None else residual.transpose(self.to_last)
        if self.prepared is not None:
            result = self.prepared(x, residual)
        else:
            result = getattr(conv, self.op)(x, weight, bias, residual=residual, **self.arguments)
        return result.transpose(self.to_first)


class SamePadded:
    """The kernel of a convolution whose padding follows from the size of its input."""

    def __init__(self, extent, stride, make) -> None:
        self.extent, self.stride, self.make = extent, stride, make
        self.made: dict[Any, Convolution] = {}

    def of(self, x) -> Convolution:
        """The convolution for an input's size."""
        padding = same_pairs(x.shape[2:], self.extent, self.stride, lower=True)
        if padding not in self.made:
            self.made[padding] = self.make(padding=padding)
        return self.made[padding]

    def __call__(self, x, *others):
        return self.of(x)(x, *others)


def _weights(node: Node) -> tuple[int | None, Any, Any]:
    """Spatial axes (None: not known), and weight and bias where both can be packed."""
    value = node.inputs[1]
    if value is None or value.shape is None or len(value.shape) not in (3, 4, 5):
        return None, None, None
    weight, bias = node.constant(1), node.constant(2)
    if node.input(2) is not None and bias is None:
        weight = None
    return len(value.shape) - 2, weight, bias


@operator("Conv", dtypes=FLOATS)
def convolution(node: Node) -> Kernel | None:
    """Conv: any stride, dilation, padding and groups, in 1 to 3 dimensions."""
    nd, weight, bias = _weights(node)
    if nd is None:
        return None
    get = node.attributes.get
    stride, dilation = get("strides", (1,) * nd), get("dilations", (1,) * nd)
    padding = windows_padding(node, nd)
    if is_negative(padding):
        return None
    make = partial(
        _make, nd, weight, bias, False, stride=stride, dilation=dilation, groups=get("group", 1),
        activation=get("activation"),
    )
    if padding != "lower":
        return make(padding=padding)
    shape = get("kernel_shape") or node.inputs[1].shape[2:]
    extent = tuple(d * (k - 1) + 1 for k, d in zip(shape, dilation, strict=True))
    return SamePadded(extent, stride, make)


def _make(nd, weight, bias, transposed, **arguments) -> Convolution:
    return Convolution(nd, weight, bias, transposed, arguments)


@operator("ConvTranspose", dtypes=FLOATS)
def transposed_convolution(node: Node) -> Kernel | None:
    """ConvTranspose; an `output_shape` must be one that non-negative padding makes."""
    nd, weight, bias = _weights(node)
    if nd is None:
        return None
    get = node.attributes.get
    stride, dilation = get("strides", (1,) * nd), get("dilations", (1,) * nd)
    extra = get("output_padding", (0,) * nd)
    shape = get("kernel_shape") or node.inputs[1].shape[2:]
    extent = tuple(d * (k - 1) + 1 for k, d in zip(shape, dilation, strict=True))
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        return None
    make = partial(
        _make, nd, weight, bias, True, stride=stride, dilation=dilation, output_padding=extra,
        groups=get("group", 1), activation=get("activation"),
    )
    automatic = get("auto_pad", "NOTSET")
    if automatic not in ("SAME_UPPER", "SAME_LOWER") and not get("output_shape"):
        padding = windows_padding(node, nd)
        return None if is_negative(padding) else make(padding=padding)
    return FittedTranspose(extent, stride, extra, automatic, get("output_shape"), make)


class FittedTranspose(SamePadded):
    """The kernel of a transposed convolution whose padding follows from its result's size."""

    def __init__(self, extent, stride, extra, automatic, output_shape, make) -> None:
        super().__init__(extent, stride, make)
        self.extra, self.automatic, self.output_shape = extra, automatic, output_shape

    def _padding(self, x) -> tuple[tuple[int, int], ...]:
        size = x.shape[2:]
        wanted = self.output_shape or tuple(n * s for n, s in zip(size, self.stride, strict=True))
        pairs = []
        for n, s, e, more, result in zip(size, self.stride, self.extent, self.extra,
                                         wanted[-len(size):], strict=True):
            total = s * (n - 1) + more + e - result
            half = total // 2
            upper = self.automatic == "SAME_UPPER"
            pairs.append((half, total - half) if upper else (total - half, half))
        return tuple(pairs)

    def of(self, x) -> Convolution:
        """The convolution for an input's size."""
        padding = self._padding(x)
        if padding not in self.made:
            self.made[padding] = self.make(padding=padding)
        return self.made[padding]

    def __call__(self, x, *others):
        if is_negative(self._padding(x)):
            return NotImplemented
        return super().__call__(x, *others)


@operator("Gemm", dtypes=FLOATS)
def gemm(node: Node) -> Kernel | None:
    """Gemm: a fully connected layer where B is constant and C one number per column."""
    get = node.attributes.get
    alpha, beta = get("alpha", 1.0), get("beta", 1.0)
    b, c = node.constant(1), node.constant(2)
    if b is not None and b.ndim == 2:
        weight = b if get("transB") else b.T
        bias = _bias_row(c, len(weight)) if node.input(2) is not None else None
        if node.input(2) is None or bias is not None:
            scaled = weight if alpha == 1 else weight * weight.dtype.type(alpha)
            bias = None if bias is None else bias * bias.dtype.type(beta)
            return FullyConnected(scaled, bias, get("transA", 0))

    def kernel(a, b, c=None):
        product = np.matmul(a.T if get("transA") else a, b.T if get("transB") else b)
        if alpha != 1:
            product *= product.dtype.type(alpha)
        if c is not None:
            product += c if beta == 1 else c * product.dtype.type(beta)
        return product

    return kernel


def _bias_row(c: Any, columns: int) -> np.ndarray | None:
    """C as one number per column, None where it is not constant or differs between rows."""
    if c is None or (c.ndim == 2 and c.shape[0] != 1) or c.ndim > 2:
        return None
    if c.size == 1:
        return np.full(columns, c.reshape(()), c.dtype)
    return c.reshape(-1)


@operator("MatMul", dtypes=FLOATS)
def matmul(node: Node) -> Kernel:
    """MatMul: a fully connected layer where B is a constant matrix."""
    b = node.constant(1)
    if b is not None and b.ndim == 2 and b.dtype in FLOATS:
        return FullyConnected(b.T)
    return np.matmul


class FullyConnected:
    """Rows of features times a constant matrix: a 1-wide convolution, its batch the rows."""

    def __init__(self, weight, bias=None, transposed=False) -> None:
        self.outputs, self.transposed = weight.shape[0], transposed
        self.op = conv.prepare_conv(np.ascontiguousarray(weight)[:, :, None], bias)

    def __call__(self, a, *_):
        if self.transposed:
            a = a.T
        rows = a.reshape(-1, a.shape[-1], 1) if a.size else np.zeros((0, a.shape[-1], 1), a.dtype)
        return self.op(rows).reshape(*a.shape[:-1], self.outputs)
