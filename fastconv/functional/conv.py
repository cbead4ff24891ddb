"""Convolutions and transposed convolutions in one, two and three dimensions.

The public face: what the arguments mean. `_convolve` checks, plans and runs them.
"""

import numpy as np

from ..config import get_precision
from ._check import as_array, check_table, integer
from ._convolve import Packings, convolve, plan_call, shape_only


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCW",
           algorithm="auto", precision=None, activation=None, residual=None, out=None):
    """Convolve signals with a bank of kernels; see `conv2d`, whose arguments these are.

    Parameters
    ----------
    x : array_like, shape (N, C, W) or (C, W); (N, W, C) or (W, C) with layout="NWC"
    weight : array_like, shape (K, C / groups, S)

    Returns
    -------
    ndarray, shape (N, K, W') in the layout and with the axes of `x`
    """
    return convolve("conv1d", x, weight, bias, residual, out, precision,
                    (stride, padding, dilation, groups, layout, algorithm, activation))


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCHW",
           algorithm="auto", precision=None, activation=None, residual=None, out=None):
    """Convolve pictures with a bank of kernels (correlation: the kernels are not flipped).

    Integer arrays give floating results: the computation and the result have the type
    ``np.result_type(x, weight, np.float32)``, float32 or float64.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W), (C, H, W) or (H, W)
        Pictures; (N, H, W, C) or (H, W, C) with ``layout="NHWC"``. Any strides; a transposed view
        of channels-last memory is read where it lies. (H, W) is one channel and takes a weight of
        shape (R, S).
    weight : array_like, shape (K, C / groups, R, S)
        Kernels, in this order for both layouts.
    bias : array_like, shape (K,), optional
        Added to each output channel.
    stride : int or (int, int)
        Distance of neighbouring windows.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the picture. "same" gives ceil(size / stride) windows, the odd zero at the end.
    dilation : int or (int, int)
        Distance of neighbouring taps.
    groups : int
        Input and output channels are split into this many independent groups.
    layout : {"NCHW", "NHWC"}
        Names the axes of `x`, of `residual` and of the result.
    algorithm : {"auto", "direct", "im2col", "winograd"}
        "winograd" needs stride 1 and kernels of 3 or 5 taps along one axis or two, or of 7 along
        one.
    precision : {"highest", "high", "medium"}, optional
        Arithmetic; None is the current default (see `fastconv.set_precision`). "highest" excludes
        Winograd; "medium" allows products of bfloat16, where the instruction set is "amx".
    activation : str or tuple, optional
        Applied last: "relu", "relu6", "leaky_relu", ("leaky_relu", slope), ("clip", low, high),
        "sigmoid", "tanh", "silu", "hardsigmoid" or "hardswish".
    residual : array_like, optional
        Of the result's shape, added before the activation.
    out : ndarray, optional
        Where to write the result: its shape and type, any strides.

    Returns
    -------
    ndarray, shape (N, K, H', W') in the layout and with the axes of `x`
        H' = (H + pads - dilation * (R - 1) - 1) // stride + 1, W' likewise.

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other; nothing has been written then.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 3, 5, 5), np.float32)
    >>> fastconv.conv2d(x, np.ones((2, 3, 3, 3), np.float32), padding=1)[0, 0, 2]
    array([18., 27., 27., 27., 18.], dtype=float32)
    """
    return convolve("conv2d", x, weight, bias, residual, out, precision,
                    (stride, padding, dilation, groups, layout, algorithm, activation))


def conv3d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCDHW",
           algorithm="auto", precision=None, activation=None, residual=None, out=None):
    """Convolve volumes with a bank of kernels; see `conv2d`, whose arguments these are.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    weight : array_like, shape (K, C / groups, T, R, S)

    Returns
    -------
    ndarray, shape (N, K, D', H', W') in the layout and with the axes of `x`
    """
    return convolve("conv3d", x, weight, bias, residual, out, precision,
                    (stride, padding, dilation, groups, layout, algorithm, activation))


def conv_transpose1d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1, *, layout="NCW", algorithm="auto", precision=None,
                     activation=None, residual=None, out=None):
    """Transposed convolution of signals; see `conv_transpose2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, W) or (C, W); channels last with layout="NWC"
    weight : array_like, shape (C, K / groups, S)

    Returns
    -------
    ndarray, shape (N, K, W') in the layout and with the axes of `x`
    """
    return convolve("conv_transpose1d", x, weight, bias, residual, out, precision,
                    (stride, padding, dilation, groups, layout, algorithm, activation,
                     output_padding))


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1, *, layout="NCHW", algorithm="auto", precision=None,
                     activation=None, residual=None, out=None):
    """Transposed convolution of pictures: the gradient of `conv2d` with respect to its input.

    Runs as one stride-1 convolution for each of the output's stride x stride phases; no zeros are
    multiplied (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016).

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        (N, H, W, C) or (H, W, C) with ``layout="NHWC"``.
    weight : array_like, shape (C, K / groups, R, S)
        As the convolution whose transpose this is would take it.
    output_padding : int or (int, int)
        Rows and columns added at the end of the result, below stride or dilation.
    bias, stride, padding, groups, dilation, layout, algorithm, precision, activation, residual, out
        As in `conv2d`; `padding` zeros of the other direction are cropped from the result.

    Returns
    -------
    ndarray, shape (N, K, H', W') in the layout and with the axes of `x`
        H' = (H - 1) * stride - pads + dilation * (R - 1) + output_padding + 1, W' likewise.
    """
    return convolve("conv_transpose2d", x, weight, bias, residual, out, precision,
                    (stride, padding, dilation, groups, layout, algorithm, activation,
                     output_padding))


def conv_transpose3d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1, *, layout="NCDHW", algorithm="auto", precision=None,
                     activation=None, residual=None, out=None):
    """Transposed convolution of volumes; see `conv_transpose2d`.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W); channels last with layout="NDHWC"
    weight : array_like, shape (C, K / groups, T, R, S)

    Returns
    -------
    ndarray, shape (N, K, D', H', W') in the layout and with the axes of `x`
    """
    return convolve("conv_transpose3d", x, weight, bias, residual, out, precision,
                    (stride, padding, dilation, groups, layout, algorithm, activation,
                     output_padding))


def prepare_conv(weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout=None,
                 algorithm="auto", precision=None, activation=None, transposed=False,
                 output_padding=0):
    """Make a convolution with fixed weights, packed on first use, for any number of inputs.

    Parameters
    ----------
    weight : ndarray, shape (K, C / groups, *kernel); (C, K / groups, *kernel) when transposed
        1 to 3 kernel axes decide the dimension. Must not be changed afterwards.
    layout : str, optional
        Channels first by default.
    bias, stride, padding, dilation, groups, algorithm, precision, output_padding
        As in `conv2d` and `conv_transpose2d`.
    activation : str or tuple, optional
        As in `conv2d`, or ("prelu", slopes) with one slope for each output channel, of shape (K,).
    transposed : bool
        Whether this is a transposed convolution.

    Returns
    -------
    PreparedConv
        ``op(x, residual=None, out=None)`` convolves.
    """
    return PreparedConv(weight, bias, stride, padding, dilation, groups, layout, algorithm,
                        precision, activation, transposed, output_padding)


def split_slopes(activation):
    """Return what `conv2d` takes of an activation, and the slopes of ("prelu", slopes) or None."""
    if isinstance(activation, tuple) and len(activation) == 2 and activation[0] == "prelu":
        return None, activation[1]
    return activation, None


class PreparedConv:
    """A convolution with fixed weights; made by `prepare_conv`. Threads may share one."""

    def __init__(self, weight, bias, stride, padding, dilation, groups, layout, algorithm,
                 precision, activation, transposed, output_padding):
        nd = np.ndim(weight) - 2
        name = "conv_transpose" if transposed else "conv"
        if nd not in (1, 2, 3):
            raise ValueError(
                f"prepare_conv: weight must have 3, 4 or 5 axes, got shape {np.shape(weight)}"
            )
        self._op = f"{name}{nd}d"
        self._weight = as_array(self._op, "weight", weight)
        self._bias = None if bias is None else as_array(self._op, "bias", bias)
        self._precision = precision
        layout = layout or {1: "NCW", 2: "NCHW", 3: "NCDHW"}[nd]
        self._packed = Packings()
        activation, slopes = split_slopes(activation)
        if slopes is not None:
            channels = self._weight.shape[0]
            if transposed:
                channels = self._weight.shape[1] * integer(self._op, "groups", groups, minimum=1)
            self._packed.slopes = check_table(self._op, "slopes", slopes, channels)
        self._arguments = (stride, padding, dilation, groups, layout, algorithm, activation)
        if transposed:
            self._arguments += (output_padding,)

    def __call__(self, x, residual=None, out=None):
        """Convolve `x`; `residual` is added before the activation, `out` receives the result."""
        return convolve(self._op, x, self._weight, self._bias, residual, out, self._precision,
                         self._arguments, self._packed)

    @property
    def weight(self):
        """ndarray: the weights."""
        return self._packed.whole(self._weight)

    def result_shape(self, x_shape):
        """Return the shape of what becomes of an x of some shape."""
        return self._packed.result_shape(self._op, x_shape, self._weight.shape, self._arguments)

    def settle(self):
        """Pack a matrix now and give up the array: it is what the packed one makes of an identity.

        Of 1x1 kernels that are all finite, in channels-last layouts; others stay as they are.

        Returns
        -------
        bool
            Whether the array has been given up.
        """
        weight, layout = self._weight, self._arguments[4]
        matrix = weight.size == weight.shape[0] * weight.shape[1] > 0 and self._arguments[3] == 1
        if not (matrix and layout.endswith("C") and self._op in ("conv1d", "conv2d", "conv3d")):
            return False
        with np.errstate(all="ignore"):
            if not np.isfinite(weight.sum()):
                return False
        pixel, rows = (self._planned_rows(count) for count in (1, weight.shape[1]))
        if pixel.packing != rows.packing:
            return False
        self._packed[pixel.packing] = pixel.pack(weight)
        self._weight = shape_only(weight.shape, weight.dtype)
        self._packed.restore = self._restored
        return True

    def _planned_rows(self, count):
        """The plan for a plain product of a matrix of so many rows and the weights."""
        x = shape_only(self._rows_shape(count), self._weight.dtype)
        # halves of weights for tiles do not give them back: floats as they are
        return plan_call(self._op, x, self._weight, "highest", self._plain_arguments())

    def _rows_shape(self, count):
        return (*(1,) * (self._weight.ndim - 2), count, self._weight.shape[1])

    def _plain_arguments(self):
        nd = self._weight.ndim - 2
        return ((1,) * nd, 0, (1,) * nd, 1, *self._arguments[4:6], None)

    def _restored(self):
        features = self._weight.shape[1]
        rows = np.eye(features, dtype=self._weight.dtype).reshape(self._rows_shape(features))
        product = convolve(self._op, rows, self._weight, None, None, None, "highest",
                           self._plain_arguments(), Packings(self._packed))
        return np.ascontiguousarray(product.reshape(features, -1).T).reshape(self._weight.shape)

    def explain(self, x):
        """Return the `Plan` by which it convolves arrays of x's shape and memory order."""
        return plan_call(self._op, x, self._weight, self._precision or get_precision(),
                         self._arguments).explain()


def explain_conv2d(x_shape, weight_shape, bias=False, stride=1, padding=0, dilation=1, groups=1, *,
                   layout="NCHW", algorithm="auto", precision=None, dtype=np.float32):
    """Say how a layer would run on C-contiguous arrays of these shapes, without running it.

    A call of `conv2d` itself packs its weights every time and may therefore choose differently.

    Parameters
    ----------
    x_shape, weight_shape : tuple of int
        As the arrays of `conv2d`.
    bias : bool
        Whether a bias would be given; it changes nothing about the plan.
    stride, padding, dilation, groups, layout, algorithm, precision
        As in `conv2d`.
    dtype : dtype
        Of both arrays.

    Returns
    -------
    Plan
        With ``.algorithm .form .tile .isa .workspace_bytes .packed_bytes .flops .reason``.
    """
    x, weight = shape_only(tuple(x_shape), dtype), shape_only(tuple(weight_shape), dtype)
    arguments = (stride, padding, dilation, groups, layout, algorithm, None)
    planned = plan_call("explain_conv2d", x, weight, precision or get_precision(), arguments)
    return planned.explain()
