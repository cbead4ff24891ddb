"""Every operation of fastconv again, in plain NumPy: the specification and the oracle.

The functions carry the names, arguments and meaning of the public ones, less the arguments that
choose how to compute (``algorithm``, ``precision``, ``out``). They share no code with them, need
no compiled module and have no Python loop over data, so each can be read as the definition of its
operation. They compute in ``np.result_type(x, weight, np.float32)``: give them float64 arrays to
get an oracle for float32 results, ``np.longdouble`` arrays to get one for float64.

Arguments are assumed valid; the public functions are the ones that check them.

`im2col`, `col2im` and `conv2d_blas` are the form courses teach: a convolution as one matrix
product. `conv2d_blas` is the fastest convolution that NumPy alone can do, hence the baseline of
the benchmarks.
"""

from fastconv.reference.activation import (
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    prelu,
    relu,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from fastconv.reference.blas import col2im, conv2d_blas, im2col
from fastconv.reference.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    linear,
)
from fastconv.reference.norm import batch_norm, dropout, local_response_norm
from fastconv.reference.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from fastconv.reference.shape import flatten, pad

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "col2im",
    "conv1d",
    "conv2d",
    "conv2d_blas",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "dropout",
    "flatten",
    "hardsigmoid",
    "hardswish",
    "im2col",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "pad",
    "prelu",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
