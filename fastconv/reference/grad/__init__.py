"""Gradients again in plain NumPy: the specification of `fastconv.grad`, and its oracle.

Names and arguments are those of `fastconv.grad`, except that a convolution's are the same for any
number of axes; as everywhere in the reference there is no Python loop over data, nothing is
checked, and the arrays' own type says how exactly is computed.
"""

from ..._lazy import public_names as _public_names

_PUBLIC = {
    "activation": (
        "clip", "hardsigmoid", "hardswish", "leaky_relu", "log_softmax", "prelu", "relu", "relu6",
        "sigmoid", "silu", "softmax", "tanh",
    ),
    "conv": ("conv_input", "conv_weight"),
    "norm": ("batch_norm", "local_response_norm"),
    "pool": (
        "adaptive_avg_pool1d_input", "adaptive_avg_pool2d_input", "adaptive_avg_pool3d_input",
        "avg_pool1d_input", "avg_pool2d_input", "avg_pool3d_input",
        "max_pool1d_input", "max_pool2d_input", "max_pool3d_input",
    ),
}

__getattr__, __dir__, __all__ = _public_names(__name__, _PUBLIC)
