"""Gradients of convolutions and transposed convolutions, with respect to each of their operands.

The public face, with the names and the order of arguments of ``torch.nn.grad``; `_convolutions`
says what each of them comes down to.
"""

from ._convolutions import (
    conv_bias,
    conv_input,
    conv_transpose_input,
    conv_transpose_weight,
    conv_weight,
)


def conv1d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1, *,
                 layout="NCW", precision=None):
    """Gradient of `conv1d` with respect to its input; see `conv2d_input`.

    Parameters
    ----------
    input_size : tuple of int
        (N, C, W) or without the batch axis; channels last with layout="NWC"
    weight : array_like, shape (K, C / groups, S)
    grad_output : array_like, shape (N, K, W') in the layout and with the axes of the input

    Returns
    -------
    ndarray, of shape `input_size`
    """
    return conv_input("conv1d_input", 1, input_size, weight, grad_output,
                      (stride, padding, dilation, groups), layout, precision)


def conv1d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1, *,
                  layout="NCW"):
    """Gradient of `conv1d` with respect to its weight; see `conv2d_weight`.

    Parameters
    ----------
    input : array_like, shape (N, C, W) or without the batch axis; in the layout
    weight_size : tuple of int
        (K, C / groups, S)
    grad_output : array_like, shape (N, K, W') in the layout and with the axes of the input

    Returns
    -------
    ndarray, of shape `weight_size`
    """
    return conv_weight("conv1d_weight", 1, input, weight_size, grad_output,
                       (stride, padding, dilation, groups), layout)


def conv1d_bias(grad_output, *, layout="NCW"):
    """Gradient of `conv1d` and `conv_transpose1d` with respect to the bias; see `conv2d_bias`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, W') or without the batch axis; in the layout

    Returns
    -------
    ndarray, shape (K,)
    """
    return conv_bias("conv1d_bias", 1, grad_output, layout)


def conv2d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1, *,
                 layout="NCHW", precision=None):
    """Gradient of `conv2d` with respect to its input: the transposed convolution of `grad_output`.

    Integer arrays give floating results, as in `conv2d`.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W), or (H, W) where weight is (R, S);
        (N, H, W, C) or (H, W, C) with ``layout="NHWC"``.
    weight : array_like, shape (K, C / groups, R, S)
    grad_output : array_like, shape (N, K, H', W') in the layout and with the axes of the input
        Gradient with respect to the result. Any strides.
    stride, padding, dilation, groups, layout, precision
        As `conv2d` was given them.

    Returns
    -------
    ndarray, of shape `input_size`
        Rows and columns that no window reached are zero.

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv1d_input((1, 1, 4), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    array([[[1., 2., 2., 1.]]])
    """
    return conv_input("conv2d_input", 2, input_size, weight, grad_output,
                      (stride, padding, dilation, groups), layout, precision)


def conv2d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1, *,
                  layout="NCHW"):
    """Gradient of `conv2d` with respect to its weight.

    The same bits for any number of threads: sums over pixels are split where the shapes say.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W), (C, H, W) or (H, W)
        In the layout; any strides.
    weight_size : tuple of int
        Shape of the weight, (K, C / groups, R, S), or (R, S).
    grad_output : array_like, shape (N, K, H', W') in the layout and with the axes of the input
        Gradient with respect to the result. Any strides.
    stride, padding, dilation, groups, layout
        As `conv2d` was given them.

    Returns
    -------
    ndarray, of shape `weight_size`

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(4.0)[None, None]
    >>> fastconv.grad.conv1d_weight(x, (1, 1, 3), np.ones((1, 1, 2)))
    array([[[1., 3., 5.]]])
    """
    return conv_weight("conv2d_weight", 2, input, weight_size, grad_output,
                       (stride, padding, dilation, groups), layout)


def conv2d_bias(grad_output, *, layout="NCHW"):
    """Gradient of `conv2d` and `conv_transpose2d` with respect to the bias.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, H', W') or (K, H', W'); channels last with layout="NHWC"

    Returns
    -------
    ndarray, shape (K,)
        Sums over pictures and pixels, in chains of at most 512.
    """
    return conv_bias("conv2d_bias", 2, grad_output, layout)


def conv3d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1, *,
                 layout="NCDHW", precision=None):
    """Gradient of `conv3d` with respect to its input; see `conv2d_input`.

    Parameters
    ----------
    input_size : tuple of int
        (N, C, D, H, W) or without the batch axis; channels last with layout="NDHWC"
    weight : array_like, shape (K, C / groups, T, R, S)
    grad_output : array_like, shape (N, K, D', H', W') in the layout and with the axes of the input

    Returns
    -------
    ndarray, of shape `input_size`
    """
    return conv_input("conv3d_input", 3, input_size, weight, grad_output,
                      (stride, padding, dilation, groups), layout, precision)


def conv3d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1, *,
                  layout="NCDHW"):
    """Gradient of `conv3d` with respect to its weight; see `conv2d_weight`.

    Parameters
    ----------
    input : array_like, shape (N, C, D, H, W) or without the batch axis; in the layout
    weight_size : tuple of int
        (K, C / groups, T, R, S)
    grad_output : array_like, shape (N, K, D', H', W') in the layout and with the axes of the input

    Returns
    -------
    ndarray, of shape `weight_size`
    """
    return conv_weight("conv3d_weight", 3, input, weight_size, grad_output,
                       (stride, padding, dilation, groups), layout)


def conv3d_bias(grad_output, *, layout="NCDHW"):
    """Gradient of `conv3d` and `conv_transpose3d` with respect to the bias; see `conv2d_bias`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, D', H', W') or without the batch axis; in the layout

    Returns
    -------
    ndarray, shape (K,)
    """
    return conv_bias("conv3d_bias", 3, grad_output, layout)


def conv_transpose1d_input(weight, grad_output, stride=1, padding=0, output_padding=0, groups=1,
                           dilation=1, *, layout="NCW", precision=None):
    """Gradient of `conv_transpose1d` with respect to its input; see `conv_transpose2d_input`.

    Parameters
    ----------
    weight : array_like, shape (C, K / groups, S)
    grad_output : array_like, shape (N, K, W') or without the batch axis; in the layout

    Returns
    -------
    ndarray, shape (N, C, W) in the layout and with the axes of `grad_output`
    """
    return conv_transpose_input("conv_transpose1d_input", 1, weight, grad_output,
                                (stride, padding, output_padding, groups, dilation), layout,
                                precision)


def conv_transpose1d_weight(input, weight_size, grad_output, stride=1, padding=0,
                            output_padding=0, groups=1, dilation=1, *, layout="NCW"):
    """Gradient of `conv_transpose1d` with respect to its weight; see `conv_transpose2d_weight`.

    Parameters
    ----------
    input : array_like, shape (N, C, W) or without the batch axis; in the layout
    weight_size : tuple of int
        (C, K / groups, S)
    grad_output : array_like, shape (N, K, W') in the layout and with the axes of the input

    Returns
    -------
    ndarray, of shape `weight_size`
    """
    return conv_transpose_weight("conv_transpose1d_weight", 1, input, weight_size, grad_output,
                                 (stride, padding, output_padding, groups, dilation), layout)


def conv_transpose2d_input(weight, grad_output, stride=1, padding=0, output_padding=0, groups=1,
                           dilation=1, *, layout="NCHW", precision=None):
    """Gradient of `conv_transpose2d` with respect to its input: the convolution of `grad_output`.

    Parameters
    ----------
    weight : array_like, shape (C, K / groups, R, S)
    grad_output : array_like, shape (N, K, H', W') or (K, H', W'); channels last with layout="NHWC"
        Gradient with respect to the result; its size must be one that the arguments can give.
    stride, padding, output_padding, groups, dilation, layout, precision
        As `conv_transpose2d` was given them.

    Returns
    -------
    ndarray, shape (N, C, H, W) in the layout and with the axes of `grad_output`

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other.
    """
    return conv_transpose_input("conv_transpose2d_input", 2, weight, grad_output,
                                (stride, padding, output_padding, groups, dilation), layout,
                                precision)


def conv_transpose2d_weight(input, weight_size, grad_output, stride=1, padding=0,
                            output_padding=0, groups=1, dilation=1, *, layout="NCHW"):
    """Gradient of `conv_transpose2d` with respect to its weight.

    It is that of the convolution with the same kernel whose input is `grad_output`.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W), (C, H, W) or (H, W)
        In the layout; any strides.
    weight_size : tuple of int
        Shape of the weight, (C, K / groups, R, S), or (R, S).
    grad_output : array_like, shape (N, K, H', W') in the layout and with the axes of the input
    stride, padding, output_padding, groups, dilation, layout
        As `conv_transpose2d` was given them.

    Returns
    -------
    ndarray, of shape `weight_size`

    Raises
    ------
    ValueError, TypeError
        When arguments do not fit each other.
    """
    return conv_transpose_weight("conv_transpose2d_weight", 2, input, weight_size, grad_output,
                                 (stride, padding, output_padding, groups, dilation), layout)


def conv_transpose3d_input(weight, grad_output, stride=1, padding=0, output_padding=0, groups=1,
                           dilation=1, *, layout="NCDHW", precision=None):
    """Gradient of `conv_transpose3d` with respect to its input; see `conv_transpose2d_input`.

    Parameters
    ----------
    weight : array_like, shape (C, K / groups, T, R, S)
    grad_output : array_like, shape (N, K, D', H', W') or without the batch axis; in the layout

    Returns
    -------
    ndarray, shape (N, C, D, H, W) in the layout and with the axes of `grad_output`
    """
    return conv_transpose_input("conv_transpose3d_input", 3, weight, grad_output,
                                (stride, padding, output_padding, groups, dilation), layout,
                                precision)


def conv_transpose3d_weight(input, weight_size, grad_output, stride=1, padding=0,
                            output_padding=0, groups=1, dilation=1, *, layout="NCDHW"):
    """Gradient of `conv_transpose3d` with respect to its weight; see `conv_transpose2d_weight`.

    Parameters
    ----------
    input : array_like, shape (N, C, D, H, W) or without the batch axis; in the layout
    weight_size : tuple of int
        (C, K / groups, T, R, S)
    grad_output : array_like, shape (N, K, D', H', W') in the layout and with the axes of the input

    Returns
    -------
    ndarray, of shape `weight_size`
    """
    return conv_transpose_weight("conv_transpose3d_weight", 3, input, weight_size, grad_output,
                                 (stride, padding, output_padding, groups, dilation), layout)
