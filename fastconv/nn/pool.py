"""Pooling layers: max, average and adaptive pools in one to three dimensions.

A pool has settings and nothing else; its `forward` is one call of the function of the same name in
`fastconv.functional.pool`, its `backward` one call into `fastconv.grad`.  Settings are checked when
the layer is made, as far as they do not depend on the input.
"""

from collections.abc import Callable

import numpy as np

from fastconv import grad as gradients
from fastconv.functional import pool
from fastconv.functional._check import flag, integers, normalise_layout, pool_geometry
from fastconv.nn import memory
from fastconv.nn.arguments import CHANNELS_FIRST
from fastconv.nn.module import Module


class _Pool(Module):
    """What all pools share: `nd`, the number of spatial axes, `function`, and the layout."""

    nd = 0
    function: Callable

    def __init__(self, layout):
        self.layout = CHANNELS_FIRST[self.nd] if layout is None else layout
        normalise_layout(type(self).__name__, self.layout, self.nd)

    def _gradient(self, family):
        """Return the function in `fastconv.grad` for the input of a `family`, as "max_pool"."""
        return getattr(gradients, f"{family}{self.nd}d_input")

    def _layout_repr(self):
        return "" if self.layout == CHANNELS_FIRST[self.nd] else f", layout={self.layout}"


class _Maxima:
    """What the pools that look for maxima share: `backward` needs to know where they were.

    A subclass has `return_indices` and writes `maxima(x, with_indices)`.
    """

    def forward(self, x):
        """Return the maxima of `x`, or (maxima, indices) with `return_indices`."""
        if not memory.is_recording():
            return self.maxima(x, self.return_indices)
        y, indices = self.maxima(x, True)
        self.remember(np.shape(x), indices)
        return (y, indices) if self.return_indices else y

    def backward(self, grad):
        """Return the gradient of x: that of each maximum, where it was."""
        x_shape, indices = self.recall()
        return self._gradient("max_pool")(x_shape, indices, grad, layout=self.layout)


class _WindowPool(_Pool):
    """What the pools with a window of given size share."""

    def __init__(self, kernel_size, stride, padding, dilation, ceil_mode, layout):
        super().__init__(layout)
        op = type(self).__name__
        # Any input would do for the check; the smallest is as large as the dilated kernel.
        kernel = integers(op, "kernel_size", kernel_size, self.nd, minimum=1)
        steps = integers(op, "dilation", dilation, self.nd, minimum=1)
        size = tuple(d * (k - 1) + 1 for k, d in zip(kernel, steps, strict=True))
        first = CHANNELS_FIRST[self.nd]
        pool_geometry(
            op, self.nd, (1, 1, *size), kernel_size, stride, padding, dilation, ceil_mode, first
        )
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        shown = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return shown + self._layout_repr()


class _MaxPool(_Maxima, _WindowPool):
    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        return_indices=False,
        ceil_mode=False,
        *,
        layout=None,
    ):
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode, layout)
        self.dilation = dilation
        self.return_indices = flag(type(self).__name__, "return_indices", return_indices)

    def maxima(self, x, with_indices):
        """Return the maxima of `x`, and where they are if `with_indices`."""
        return type(self).function(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            with_indices,
            layout=self.layout,
        )

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        shown = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        shown += f", dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        return shown + self._layout_repr()


class MaxPool1d(_MaxPool):
    """1-D max pooling; see `MaxPool2d`.  x is (N, C, W) or (C, W); layout "NCW" or "NWC"."""

    nd = 1
    function = staticmethod(pool.max_pool1d)


class MaxPool2d(_MaxPool):
    """2-D max pooling, with the meaning of torch.nn.MaxPool2d.

    Parameters
    ----------
    kernel_size, dilation : int or tuple of 2 ints
        Size of the window and distance between its taps, in pixels.
    stride : int or tuple of 2 ints, optional
        Step of the window; the window's size by default.
    padding : int, tuple of 2 ints, ((top, bottom), (left, right)), "same" or "valid"
        Rows and columns around the input that never are the maximum.
    return_indices : bool
        Also return the flat place of each maximum in its plane.
    ceil_mode : bool
        Keep a last window that is only partly inside.
    layout : "NCHW" or "NHWC", optional
        Order of the logical axes; channels first by default.
    """

    nd = 2
    function = staticmethod(pool.max_pool2d)


class MaxPool3d(_MaxPool):
    """3-D max pooling; see `MaxPool2d`.  Layouts are "NCDHW" (default) and "NDHWC"."""

    nd = 3
    function = staticmethod(pool.max_pool3d)


class _AvgPool(_WindowPool):
    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
        *,
        layout=None,
    ):
        super().__init__(kernel_size, stride, padding, 1, ceil_mode, layout)
        self.count_include_pad = flag(type(self).__name__, "count_include_pad", count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, x):
        """Return the averages of `x`."""
        self.remember(np.shape(x))
        return type(self).function(x, *self._window(), layout=self.layout)

    def backward(self, grad):
        """Return the gradient of x: that of each average, shared out."""
        (x_shape,) = self.recall()
        return self._gradient("avg_pool")(x_shape, grad, *self._window(), layout=self.layout)

    def _window(self):
        return (
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool1d(_AvgPool):
    """1-D average pooling; see `AvgPool2d`.  x is (N, C, W) or (C, W); layout "NCW" or "NWC"."""

    nd = 1
    function = staticmethod(pool.avg_pool1d)


class AvgPool2d(_AvgPool):
    """2-D average pooling, with the meaning of torch.nn.AvgPool2d.

    Parameters
    ----------
    kernel_size : int or tuple of 2 ints
        Size of the window, in pixels.
    stride, padding, ceil_mode, layout
        As for `MaxPool2d`; the padding is zeros.
    count_include_pad : bool
        Whether the padding counts in the divisor.
    divisor_override : int, optional
        Divide by this number instead of the size of the window.
    """

    nd = 2
    function = staticmethod(pool.avg_pool2d)


class AvgPool3d(_AvgPool):
    """3-D average pooling; see `AvgPool2d`.  Layouts are "NCDHW" (default) and "NDHWC"."""

    nd = 3
    function = staticmethod(pool.avg_pool3d)


class _AdaptivePool(_Pool):
    """What the pools that fit their windows to a wanted size share."""

    def __init__(self, output_size, layout):
        super().__init__(layout)
        self.output_size = output_size

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"output_size={self.output_size}" + self._layout_repr()


class _AdaptiveAvgPool(_AdaptivePool):
    def __init__(self, output_size, *, layout=None):
        super().__init__(output_size, layout)

    def forward(self, x):
        """Return the averages of `x`, `output_size` of them along each axis."""
        self.remember(np.shape(x))
        return type(self).function(x, self.output_size, layout=self.layout)

    def backward(self, grad):
        """Return the gradient of x: that of each average, shared out."""
        (x_shape,) = self.recall()
        return self._gradient("adaptive_avg_pool")(x_shape, grad, layout=self.layout)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """1-D average pooling to a given size; see `AdaptiveAvgPool2d`."""

    nd = 1
    function = staticmethod(pool.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """2-D average pooling to a given size, with the meaning of torch.nn.AdaptiveAvgPool2d.

    Parameters
    ----------
    output_size : int, or tuple of 2 ints or None
        Rows and columns of the result; None keeps the input's.
    layout : "NCHW" or "NHWC", optional
        Order of the logical axes; channels first by default.
    """

    nd = 2
    function = staticmethod(pool.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """3-D average pooling to a given size; see `AdaptiveAvgPool2d`."""

    nd = 3
    function = staticmethod(pool.adaptive_avg_pool3d)


class _AdaptiveMaxPool(_Maxima, _AdaptivePool):
    def __init__(self, output_size, return_indices=False, *, layout=None):
        super().__init__(output_size, layout)
        self.return_indices = flag(type(self).__name__, "return_indices", return_indices)

    def maxima(self, x, with_indices):
        """Return the maxima of `x`, and where they are if `with_indices`."""
        return type(self).function(x, self.output_size, with_indices, layout=self.layout)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """1-D max pooling to a given size; see `AdaptiveMaxPool2d`."""

    nd = 1
    function = staticmethod(pool.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """2-D max pooling to a given size, with the meaning of torch.nn.AdaptiveMaxPool2d.

    Parameters
    ----------
    output_size : int, or tuple of 2 ints or None
        Rows and columns of the result; None keeps the input's.
    return_indices : bool
        Also return the flat place of each maximum in its plane.
    layout : "NCHW" or "NHWC", optional
        Order of the logical axes; channels first by default.
    """

    nd = 2
    function = staticmethod(pool.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """3-D max pooling to a given size; see `AdaptiveMaxPool2d`."""

    nd = 3
    function = staticmethod(pool.adaptive_max_pool3d)
