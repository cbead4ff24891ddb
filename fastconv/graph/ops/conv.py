"""Convolutions and transposed convolutions, in the channels-last order of memory.

Arrays keep their logical axes (N, C, ...); the engine sees views with the channels moved to the
end, so results come out channels last, and neighbours read them where they lie. Weights that are
constant are packed once. Beyond ONNX a node may have an attribute `activation`, as the argument of
`fastconv.functional.prepare_conv`, and a residual as its fourth input.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastconv._engine import elementwise
from fastconv.functional import conv
from fastconv.functional._check import conv_geometry, parse_activation

from ..ir import Node
from ._entry import FLOATS, Kernel, operator
from .upscale import Upscale, is_upscale

__all__ = ["channels_of", "first_of_last", "has_store", "is_fully_connected", "last_of_first",
           "same_pairs", "windows_padding"]

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

    Attributes
    ----------
    takes_place : bool
        Whether calls take the argument `place`; see `joins.place_in`.
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
        self.takes_place = self.prepared is not None and not transposed

    def __call__(self, x, weight, bias=None, residual=None, place=None):
        x = x.transpose(self.to_last)
        if residual is not None:
            residual = residual.transpose(self.to_last)
            if residual.shape != self._result_shape(x, weight):
                return self._broadcast(x, weight, bias, residual).transpose(self.to_first)
        if self.prepared is not None:
            result = self.prepared(x, residual, self._placed(place, x, weight, residual))
        else:
            result = getattr(conv, self.op)(x, weight, bias, residual=residual, **self.arguments)
        return result.transpose(self.to_first)

    def settle(self) -> bool:
        """Give up the array of the weights where the packed ones do; see `PreparedConv.settle`."""
        return self.prepared is not None and self.prepared.settle()

    def explain(self, x):
        """The `Plan` for an input, None where weights are computed."""
        return self.prepared and self.prepared.explain(x.transpose(self.to_last))

    def _result_shape(self, x, weight) -> tuple[int, ...]:
        """The shape of what becomes of x, both channels last."""
        if self.prepared is not None:
            return self.prepared.result_shape(x.shape)
        get, nd = self.arguments.get, x.ndim - 2
        return conv_geometry(self.op, nd, x.shape, weight.shape, get("stride", 1),
                             get("padding", 0), get("dilation", 1), get("groups", 1),
                             LAST[nd]).out_shape

    def _placed(self, place, x, weight, residual):
        """Where to put the result; None is anywhere."""
        if place is None:
            return None
        out = place([self._result_shape(x, weight)[axis] for axis in self.to_first])
        if out is None or np.may_share_memory(out, x) or (
                residual is not None and np.may_share_memory(out, residual)):
            return None
        return out.transpose(self.to_last)

    def _broadcast(self, x, weight, bias, residual):
        """What an addition with broadcasting behind the convolution gives."""
        plain = {**self.arguments, "activation": None}
        weight = weight if self.prepared is None else self.prepared.weight
        result = getattr(conv, self.op)(x, weight, bias, **plain)
        result = np.add(result, residual)
        activation, slopes = conv.split_slopes(self.arguments.get("activation"))
        kind, alpha, beta = parse_activation(self.op, activation)
        return elementwise.map(result, result.dtype, result, channel_axis=result.ndim - 1,
                               slope=slopes, activation=kind, alpha=alpha, beta=beta)


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

    def explain(self, x):
        """The `Plan` for an input, None where weights are computed."""
        return self.of(x).explain(x)


def _weights(node: Node) -> tuple[int | None, Any, Any]:
    """Spatial axes (None: not known), and weight and bias where both can be packed."""
    value = node.inputs[1]
    if value is None or value.shape is None or len(value.shape) not in (3, 4, 5):
        return None, None, None
    weight, bias = node.constant(1), node.constant(2)
    if node.input(2) is not None and bias is None:
        weight = None
    return len(value.shape) - 2, weight, bias


@operator("Conv", dtypes=FLOATS, arrays=(0, 3))
def convolution(node: Node) -> Kernel | None:
    """Conv: any stride, dilation, padding and groups, in 1 to 3 dimensions."""
    if not _is_native_conv(node):
        return None
    nd, weight, bias = _weights(node)
    get = node.attributes.get
    stride, dilation = get("strides", (1,) * nd), get("dilations", (1,) * nd)
    padding = windows_padding(node, nd)
    make = partial(
        _make, nd, weight, bias, False, stride=stride, dilation=dilation, groups=get("group", 1),
        activation=get("activation"),
    )
    if padding != "lower":
        return make(padding=padding)
    return SamePadded(_extent(node, dilation), stride, make)


def _is_native_conv(node: Node) -> bool:
    nd, _, _ = _weights(node)
    return nd is not None and not is_negative(windows_padding(node, nd))


def _extent(node: Node, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """What a dilated kernel spans."""
    shape = node.attributes.get("kernel_shape") or node.inputs[1].shape[2:]
    return tuple(d * (k - 1) + 1 for k, d in zip(shape, dilation, strict=True))


def _make(nd, weight, bias, transposed, **arguments) -> Convolution:
    return Convolution(nd, weight, bias, transposed, arguments)


@operator("ConvTranspose", dtypes=FLOATS, arrays=(0,))
def transposed_convolution(node: Node) -> Kernel | None:
    """ConvTranspose; an `output_shape` must be one that non-negative padding makes."""
    if not _is_native_transpose(node):
        return None
    nd, weight, bias = _weights(node)
    stride, dilation, extra = _spacing(node, nd)
    get = node.attributes.get
    if weight is not None and is_upscale(node, weight.shape[2:]):
        return Upscale(weight, bias, get("activation"))
    make = partial(
        _make, nd, weight, bias, True, stride=stride, dilation=dilation, output_padding=extra,
        groups=get("group", 1), activation=get("activation"),
    )
    if not _is_fitted(node):
        return make(padding=windows_padding(node, nd))
    return FittedTranspose(_extent(node, dilation), stride, extra, get("auto_pad", "NOTSET"),
                           get("output_shape"), make)


def _spacing(node: Node, nd: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A transposed convolution's stride, dilation and output padding."""
    get = node.attributes.get
    one = (1,) * nd
    return get("strides", one), get("dilations", one), get("output_padding", (0,) * nd)


def _is_fitted(node: Node) -> bool:
    """Whether padding follows from the result's size."""
    automatic = node.attributes.get("auto_pad") in ("SAME_UPPER", "SAME_LOWER")
    return automatic or bool(node.attributes.get("output_shape"))


def _is_native_transpose(node: Node) -> bool:
    nd, _, _ = _weights(node)
    if nd is None:
        return False
    if any(e >= max(s, d) for s, d, e in zip(*_spacing(node, nd), strict=True)):
        return False
    return _is_fitted(node) or not is_negative(windows_padding(node, nd))


def has_store(node: Node) -> bool:
    """Whether a node is a convolution of fastconv's own, with constant weights and bias.

    Passes may change those, and add a residual or an activation to it. A transposed convolution
    that may turn out to need cropping is left alone.
    """
    _, weight, _ = _weights(node)
    if weight is None or weight.dtype not in FLOATS or node.output.dtype != weight.dtype:
        return False
    if node.op == "Conv":
        return _is_native_conv(node)
    return _is_native_transpose(node) and not _is_fitted(node)


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


@operator("Gemm", dtypes=FLOATS, arrays=(0,))
def gemm(node: Node) -> Kernel | None:
    """Gemm: a fully connected layer where B is constant and C one number per column."""
    get = node.attributes.get
    alpha, beta = get("alpha", 1.0), get("beta", 1.0)
    if is_fully_connected(node):
        b, c = node.constant(1), node.constant(2)
        weight = b if _is_turned(node) else b.T
        bias = None if c is None else _bias_row(c, len(weight)) * c.dtype.type(beta)
        scaled = weight if alpha == 1 else weight * weight.dtype.type(alpha)
        return FullyConnected(scaled, bias, get("transA", 0), get("activation"))

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


@operator("MatMul", dtypes=FLOATS, arrays=(0,))
def matmul(node: Node) -> Kernel:
    """MatMul: a fully connected layer where B is a constant matrix, its bias a third input."""
    if is_fully_connected(node):
        return FullyConnected(node.constant(1).T, node.constant(2), False,
                              node.attributes.get("activation"))
    return np.matmul


def is_fully_connected(node: Node) -> bool:
    """Whether a Gemm or MatMul runs as a `FullyConnected`."""
    b, c = node.constant(1), node.constant(2)
    if b is None or b.ndim != 2 or b.dtype not in FLOATS:
        return False
    return node.input(2) is None or _bias_row(c, b.shape[0 if _is_turned(node) else 1]) is not None


def channels_of(node: Node) -> tuple[int, int]:
    """The output channels of a convolution or product with constant weights, and the axes behind
    theirs.
    """
    weight = node.constant(1)
    if node.op == "Conv":
        return len(weight), weight.ndim - 2
    return weight.shape[0 if _is_turned(node) else 1], 0


def _is_turned(node: Node) -> bool:
    """Whether the constant matrix has a row for each output."""
    return bool(node.attributes.get("transB", 0))


class FullyConnected:
    """Rows of features times a constant matrix: a 1-wide convolution, its width the rows."""

    def __init__(self, weight, bias=None, transposed=False, activation=None) -> None:
        self.outputs, self.transposed = weight.shape[0], transposed
        self.op = conv.prepare_conv(np.ascontiguousarray(weight)[:, :, None], bias, layout="NWC",
                                    activation=activation)

    def settle(self) -> bool:
        """Give up the array of the weights; see `PreparedConv.settle`."""
        return self.op.settle()

    def __call__(self, a, *_):
        if self.transposed:
            a = a.T
        features = a.shape[-1]
        rows = a.reshape(1, -1, features) if a.size else np.zeros((1, 0, features), a.dtype)
        return self.op(rows).reshape(*a.shape[:-1], self.outputs)
