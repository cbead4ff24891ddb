"""Convolution layers: `Conv1d/2d/3d` and `ConvTranspose1d/2d/3d`.

A layer holds the settings and the weights of one convolution.  In training mode it calls the
function of the same name in `fastconv.functional.conv`; in evaluation mode it calls the operation
that `prepare_conv` made from the same settings, with the weights packed once.

    constructor --geometry check--> settings, one entry for each axis
    settings + weight, bias --+--training----> conv2d(x, weight, bias, **settings)
                              +--evaluation--> prepare_conv(weight, bias, **settings)(x)
                              +--backward----> grad.conv2d_input, _weight and _bias
"""

import math
from collections.abc import Callable

import numpy as np

from fastconv import grad as gradients
from fastconv.functional import conv
from fastconv.functional._check import (
    conv_geometry,
    conv_transpose_geometry,
    flag,
    integer,
    integers,
    normalise_layout,
    parse_activation,
)
from fastconv.nn.arguments import CHANNELS_FIRST, make_generator, uniform_by_fan_in
from fastconv.nn.packed import PackedLayer


class _Conv(PackedLayer):
    """What all convolution layers share.

    A subclass sets `nd`, the number of spatial axes, and `function`, the functional form.
    """

    nd = 0
    function: Callable

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        *,
        layout=None,
        algorithm="auto",
        precision=None,
        activation=None,
        dtype=np.float32,
        rng=None,
    ):
        op = type(self).__name__
        self.in_channels = integer(op, "in_channels", in_channels, minimum=1)
        self.out_channels = integer(op, "out_channels", out_channels, minimum=1)
        self.groups = self._check_groups(op, groups)
        self.kernel_size = integers(op, "kernel_size", kernel_size, self.nd, minimum=1)
        self.layout = CHANNELS_FIRST[self.nd] if layout is None else layout
        normalise_layout(op, self.layout, self.nd)
        self.algorithm, self.precision, self.activation = algorithm, precision, activation
        parse_activation(op, activation)
        weight_shape = self._weight_shape()
        super().__init__(dtype, {"weight": weight_shape, "bias": (self.out_channels,)})
        self._set_geometry(op, stride, padding, dilation)
        self._initialise(make_generator(op, rng), weight_shape, flag(op, "bias", bias))

    def _check_groups(self, op, groups):
        groups = integer(op, "groups", groups, minimum=1)
        for name in ("in_channels", "out_channels"):
            channels = getattr(self, name)
            if channels % groups:
                raise ValueError(
                    f"{op}: groups must divide {name}, got groups={groups}, {name}={channels}"
                )
        return groups

    def _weight_shape(self):
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _set_geometry(self, op, stride, padding, dilation):
        """Check stride, padding and dilation, and keep them with one entry for each axis."""
        # Any input would do for the check; the smallest is as large as the dilated kernel.
        dilation = integers(op, "dilation", dilation, self.nd, minimum=1)
        size = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel_size, dilation, strict=True))
        weight_shape = self._weight_shape()
        x_shape = (1, weight_shape[1] * self.groups, *size)
        first = CHANNELS_FIRST[self.nd]
        geometry = conv_geometry(
            op, self.nd, x_shape, weight_shape, stride, padding, dilation, self.groups, first
        )
        before, after = geometry.pad_before, geometry.pad_after
        self.stride, self.dilation = geometry.stride, geometry.dilation
        if isinstance(padding, str):
            self.padding = padding
        else:
            self.padding = before if before == after else tuple(zip(before, after, strict=True))

    def _initialise(self, rng, weight_shape, bias):
        """Draw weight and bias as PyTorch does; `bias` says whether there is one."""
        fan_in = math.prod(weight_shape[1:])
        self.weight = uniform_by_fan_in(rng, weight_shape, fan_in, self.dtype)
        self.bias = (
            uniform_by_fan_in(rng, (self.out_channels,), fan_in, self.dtype) if bias else None
        )

    def _settings(self):
        """Return the keyword arguments that the functional form and `prepare_conv` share."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
            "algorithm": self.algorithm,
            "precision": self.precision,
            "activation": self.activation,
        }

    def run_unpacked(self, x, activation):
        """Call the functional form with the current weights."""
        settings = {**self._settings(), "activation": activation}
        return type(self).function(x, self.weight, self.bias, **settings)

    def _gradient(self, of):
        """Return the function in `fastconv.grad` for the gradient `of` "input" or "weight"."""
        return getattr(gradients, f"{type(self).function.__name__}_{of}")

    def _gradient_settings(self):
        """Return the keyword arguments that the gradients share."""
        names = ("stride", "padding", "dilation", "groups", "layout")
        return {name: getattr(self, name) for name in names}

    def input_gradient(self, x, grad):
        """Return the gradient of x."""
        settings = {**self._gradient_settings(), "precision": self.precision}
        return self._gradient("input")(x.shape, self.weight, grad, **settings)

    def weight_gradient(self, x, grad):
        """Return the gradient of the weight."""
        settings = self._gradient_settings()
        return self._gradient("weight")(x, self.weight.shape, grad, **settings)

    def bias_gradient(self, grad):
        """Return the gradient of the bias."""
        # A transposed convolution's is the same sum.
        return getattr(gradients, f"conv{self.nd}d_bias")(grad, layout=self.layout)

    def prepare(self):
        """Pack the current weights."""
        return conv.prepare_conv(self.weight, self.bias, **self._settings())

    def _settings_and_defaults(self):
        """Return {name: (value, default)} of what `repr` shows where the two differ."""
        return {
            "padding": (self.padding, (0,) * self.nd),
            "dilation": (self.dilation, (1,) * self.nd),
            "groups": (self.groups, 1),
            "bias": (self.bias is not None, True),
            "layout": (self.layout, CHANNELS_FIRST[self.nd]),
            "algorithm": (self.algorithm, "auto"),
            "precision": (self.precision, None),
            "activation": (self.activation, None),
            "dtype": (self.dtype.name, "float32"),
        }

    def extra_repr(self):
        """Return the settings as PyTorch prints them, most only where they are not the default."""
        shown = [str(self.in_channels), str(self.out_channels)]
        shown += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for name, (value, default) in self._settings_and_defaults().items():
            if value != default:
                shown.append(f"{name}={value}")
        return ", ".join(shown)


class Conv1d(_Conv):
    """1-D convolution (correlation) layer; see `Conv2d`, with one spatial axis.

    x and the result are (N, C, W) or (C, W) by default, (N, W, C) or (W, C) with
    `layout="NWC"`; weight is (out_channels, in_channels/groups, S).
    """

    nd = 1
    function = staticmethod(conv.conv1d)


class Conv2d(_Conv):
    """2-D convolution (correlation) layer, with the meaning of torch.nn.Conv2d.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the result, C and K.
    kernel_size : int or tuple of 2 ints
        Size of the kernel, (R, S).
    stride, dilation : int or tuple of 2 ints
        Step of the window and distance between its taps, in pixels.
    padding : int, tuple of 2 ints, "same", "valid" or ((top, bottom), (left, right))
        Zeros around the input, in pixels; "same" works with any stride.
    groups : int
        Number of separate convolutions along the channels; it divides both channel numbers.
    bias : bool
        Whether to add a bias to each output channel.
    layout : "NCHW" or "NHWC", optional
        Order of the logical axes of x and of the result; channels first by default.
    algorithm : "auto", "direct", "im2col" or "winograd"
        The method; "auto" chooses by shape.
    precision : "highest", "high" or "medium", optional
        The arithmetic; by default what `fastconv.get_precision()` says.
    activation : str or tuple, optional
        Activation computed in the same pass, as `fastconv.conv2d` takes it: "relu", "relu6",
        "leaky_relu", ("leaky_relu", slope), ("clip", low, high), "sigmoid", "tanh", "silu",
        "hardsigmoid" or "hardswish".
    dtype : float32 or float64
        Type of the weights; the input is cast to it.
    rng : None, int or numpy.random.Generator
        Source of the initial weights: fresh entropy, a seed or a generator.

    Attributes
    ----------
    weight : ndarray, (out_channels, in_channels/groups, R, S)
        Assigning checks the shape and takes a copy in the layer's dtype.  Read-only in
        evaluation mode, where the weights are packed once.
    bias : ndarray, (out_channels,), or None
        Likewise.

    Notes
    -----
    Weight and bias start from U(-b, b) with b = 1/sqrt(in_channels/groups * R * S), as PyTorch's.

    Examples
    --------
    >>> layer = Conv2d(3, 64, kernel_size=11, stride=4, activation="relu").eval()
    >>> layer(np.zeros((1, 3, 227, 227))).shape
    (1, 64, 55, 55)
    """

    nd = 2
    function = staticmethod(conv.conv2d)


class Conv3d(_Conv):
    """3-D convolution (correlation) layer; see `Conv2d`, with three spatial axes.

    x and the result are (N, C, D, H, W) or (C, D, H, W) by default, channels last with
    `layout="NDHWC"`; weight is (out_channels, in_channels/groups, T, R, S).
    """

    nd = 3
    function = staticmethod(conv.conv3d)


class _ConvTranspose(_Conv):
    """What the transposed convolution layers share: another weight shape and output padding."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        *,
        layout=None,
        algorithm="auto",
        precision=None,
        activation=None,
        dtype=np.float32,
        rng=None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            layout=layout,
            algorithm=algorithm,
            precision=precision,
            activation=activation,
            dtype=dtype,
            rng=rng,
        )
        self._set_output_padding(type(self).__name__, output_padding)

    def _weight_shape(self):
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def _set_output_padding(self, op, output_padding):
        """Check the output padding with the rest, and keep it with one entry for each axis."""
        # An input of one more than all padding: whatever is cut off, something is left.
        pads = () if isinstance(self.padding, str) else np.ravel(self.padding)
        size = (1 + int(np.sum(pads)),) * self.nd
        conv_transpose_geometry(
            op,
            self.nd,
            (1, self.in_channels, *size),
            self._weight_shape(),
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
            CHANNELS_FIRST[self.nd],
        )
        self.output_padding = integers(op, "output_padding", output_padding, self.nd, minimum=0)

    def _settings(self):
        return {**super()._settings(), "output_padding": self.output_padding}

    def _gradient_settings(self):
        return {**super()._gradient_settings(), "output_padding": self.output_padding}

    def input_gradient(self, x, grad):
        """Return the gradient of x: the convolution that this layer transposes."""
        settings = {**self._gradient_settings(), "precision": self.precision}
        return self._gradient("input")(self.weight, grad, **settings)

    def _settings_and_defaults(self):
        output_padding = (self.output_padding, (0,) * self.nd)
        return {**super()._settings_and_defaults(), "output_padding": output_padding}

    def prepare(self):
        """Pack the current weights."""
        return conv.prepare_conv(self.weight, self.bias, transposed=True, **self._settings())


class ConvTranspose1d(_ConvTranspose):
    """1-D transposed convolution layer; see `ConvTranspose2d`, with one spatial axis.

    x and the result are (N, C, W) or (C, W) by default, (N, W, C) or (W, C) with
    `layout="NWC"`; weight is (in_channels, out_channels/groups, S).
    """

    nd = 1
    function = staticmethod(conv.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution layer, with the meaning of torch.nn.ConvTranspose2d.

    The gradient of a convolution with respect to its input: a result of
    (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1 rows.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the result, C and K.
    kernel_size : int or tuple of 2 ints
        Size of the kernel, (R, S).
    stride, padding, output_padding, dilation : int or tuple of 2 ints
        Those of the convolution this one transposes; `output_padding` adds rows and columns at
        the end of the result, to choose among the sizes which that convolution maps to one.
    groups, bias, layout, algorithm, precision, activation, dtype, rng
        As for `Conv2d`.

    Attributes
    ----------
    weight : ndarray, (in_channels, out_channels/groups, R, S)
        As for `Conv2d`.
    bias : ndarray, (out_channels,), or None
        Likewise.

    Notes
    -----
    Weight and bias start from U(-b, b) with b = 1/sqrt(out_channels/groups * R * S), as PyTorch's.
    """

    nd = 2
    function = staticmethod(conv.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """3-D transposed convolution layer; see `ConvTranspose2d`, with three spatial axes.

    x and the result are (N, C, D, H, W) or (C, D, H, W) by default, channels last with
    `layout="NDHWC"`; weight is (in_channels, out_channels/groups, T, R, S).
    """

    nd = 3
    function = staticmethod(conv.conv_transpose3d)
