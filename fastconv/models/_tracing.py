"""How layers change shapes and receptive fields: one rule for each kind of layer.

A rule takes a layer and the shape of its input and works out a `Step`: the shape of the result and
how its window looks at the input. `Traced` arrays carry the `Field` of their elements along:

    Traced x --rule--> Step --Field.through--> Traced y

Sums and concatenations of `Traced` arrays are `Traced` too, with the widest of their fields.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastconv import nn
from fastconv.functional._check import (
    conv_geometry,
    conv_transpose_geometry,
    fitted_geometry,
    pool_geometry,
)


class Step(NamedTuple):
    """What one layer does to shapes; tuples but `shape` have an entry for each spatial axis.

    `extent` is the width of the dilated window, `kernel` its taps, `stride` its step (a fraction
    in transposed convolutions), `unused` the cells at the end that no window reaches.
    """

    shape: tuple
    kernel: tuple = ()
    extent: tuple = ()
    stride: tuple = ()
    unused: tuple = ()
    multiply_adds: int = 0


class Field(NamedTuple):
    """The receptive field of one element, and the distance between neighbours' fields, in pixels of
    the network's input, one entry for each spatial axis."""

    size: tuple
    step: tuple

    def through(self, step):
        """Return the field of the elements behind a layer, None if its axes are others."""
        if not step.extent:
            return self
        if len(step.extent) != len(self.size):
            return None
        size = (
            size + (extent - 1) * apart
            for size, apart, extent in zip(*self, step.extent, strict=True)
        )
        apart = (apart * stride for apart, stride in zip(self.step, step.stride, strict=True))
        return Field(tuple(size), tuple(apart))


class Traced(np.ndarray):
    """Zeros that take no memory and know their `field`: a Field, or None where it is unknown."""

    def __array_finalize__(self, source):
        self.field = getattr(source, "field", None)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [np.asarray(value) for value in inputs]
        return traced_like(getattr(ufunc, method)(*plain, **options), inputs)

    def __array_function__(self, function, types, arguments, options):
        sources = arguments[0] if isinstance(arguments[0], list | tuple) else arguments
        result = super().__array_function__(function, types, arguments, options)
        return traced_like(result, sources)


def traced(shape, dtype, field):
    """Return `Traced` zeros of a shape."""
    zeros = np.broadcast_to(np.zeros((), dtype), shape).view(Traced)
    zeros.field = field
    return zeros


def traced_like(result, sources):
    """Return `result` traced, with the widest field of the arrays that it was made from."""
    if not isinstance(result, np.ndarray):
        return result
    fields = [source.field for source in sources if isinstance(source, Traced)]
    return traced(result.shape, result.dtype, widest(fields))


def widest(fields):
    """Return the widest of some Fields, None where none is known."""
    known = [field for field in fields if field is not None]
    return max(known, key=lambda field: field.size, default=None)


def find_rule(layer):
    """Return the rule of a layer's class or of the nearest base that has one, else None."""
    return next((_RULES[kind] for kind in type(layer).__mro__ if kind in _RULES), None)


def _convolution(layer, shape):
    settings = layer.stride, layer.padding, layer.dilation, layer.groups, layer.layout
    weight = layer.array_shapes["weight"]
    geometry = conv_geometry(type(layer).__name__, layer.nd, shape, weight, *settings)
    work = math.prod(geometry.out_shape) * math.prod(weight[1:])
    return _by_windows(geometry)._replace(multiply_adds=work)


def _transposed_convolution(layer, shape):
    weight = layer.array_shapes["weight"]
    geometry = conv_transpose_geometry(
        type(layer).__name__, layer.nd, shape, weight, layer.stride, layer.padding,
        layer.output_padding, layer.groups, layer.dilation, layer.layout,
    )
    # A result's element sees every stride-th tap only; the step is a fraction of a pixel.
    extent = (
        (d * (k - 1)) // s + 1
        for k, d, s in zip(geometry.kernel_size, geometry.dilation, geometry.stride, strict=True)
    )
    return Step(
        geometry.out_shape,
        geometry.kernel_size,
        tuple(extent),
        tuple(1 / s for s in geometry.stride),
        (0,) * layer.nd,
        math.prod(shape) * math.prod(weight[1:]),
    )


def _window_pool(layer, shape):
    geometry = pool_geometry(
        type(layer).__name__, layer.nd, shape, layer.kernel_size, layer.stride, layer.padding,
        getattr(layer, "dilation", 1), layer.ceil_mode, layer.layout,
    )
    return _by_windows(geometry)


def _by_windows(geometry):
    """Return the Step of windows that move over an input, and what they leave over."""
    extent = tuple(
        d * (k - 1) + 1 for k, d in zip(geometry.kernel_size, geometry.dilation, strict=True)
    )
    ends = zip(
        geometry.in_size, geometry.pad_before, extent, geometry.out_size, geometry.stride,
        strict=True,
    )
    # What no window reaches may be padding only, which is nobody's loss.
    unused = tuple(
        max(0, before + size - (outs - 1) * step - wide) for size, before, wide, outs, step in ends
    )
    return Step(geometry.out_shape, geometry.kernel_size, extent, geometry.stride, unused)


def _adaptive_pool(layer, shape):
    op = type(layer).__name__
    geometry = fitted_geometry(op, layer.nd, shape, layer.output_size, layer.layout)
    sizes = list(zip(geometry.in_size, geometry.out_size, strict=True))
    windows = tuple(_widest_window(size, outs) for size, outs in sizes)
    steps = tuple(size / outs for size, outs in sizes)
    return Step(geometry.out_shape, windows, windows, steps, (0,) * layer.nd)


def _widest_window(size, outs):
    return max(-(-(i + 1) * size // outs) - i * size // outs for i in range(outs))


def _linear(layer, shape):
    result = (*shape[:-1], layer.out_features)
    return Step(result, multiply_adds=math.prod(result) * layer.in_features)


def _flatten(layer, shape):
    start = layer.start_dim % len(shape)
    end = layer.end_dim % len(shape)
    merged = math.prod(shape[start : end + 1])
    spatial = shape[max(start, 2) : end + 1]
    # From here on every element may depend on all of the merged map.
    return Step((*shape[:start], merged, *shape[end + 1 :]), (), spatial, (0,) * len(spatial))


def _same_shape(layer, shape):
    return Step(shape)


_RULES: dict[type, Callable] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys(
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed_convolution
    ),
    **dict.fromkeys(
        (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        _window_pool,
    ),
    **dict.fromkeys(
        (
            nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
            nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
        ),
        _adaptive_pool,
    ),
    nn.Linear: _linear,
    nn.Flatten: _flatten,
    **dict.fromkeys(
        (
            nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout, nn.Hardsigmoid,
            nn.Hardswish, nn.Identity, nn.LeakyReLU, nn.LocalResponseNorm, nn.PReLU, nn.ReLU,
            nn.ReLU6, nn.SiLU, nn.Sigmoid, nn.Softmax, nn.Tanh,
        ),
        _same_shape,
    ),
}
