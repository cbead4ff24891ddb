"""Gradients of the operations, named as torch.nn.grad names them: arrays in, new arrays out.

``<op>_input(...)`` is the gradient with respect to an operation's input, given the gradient with
respect to its result (`grad_output`); operations with parameters have ``<op>_weight`` and
``<op>_bias`` too, or return all three. Everything computes in ``np.result_type(..., np.float32)``
and takes arrays of any strides; results are C-contiguous. Names are loaded on first use.
"""

from .._lazy import public_names as _public_names

_PUBLIC = {
    "activation": (
        "clip", "fused", "hardsigmoid", "hardswish", "leaky_relu", "log_softmax", "prelu", "relu",
        "relu6", "sigmoid", "silu", "softmax", "tanh",
    ),
    "conv": (
        "conv1d_bias", "conv1d_input", "conv1d_weight", "conv2d_bias", "conv2d_input",
        "conv2d_weight", "conv3d_bias", "conv3d_input", "conv3d_weight",
        "conv_transpose1d_input", "conv_transpose1d_weight", "conv_transpose2d_input",
        "conv_transpose2d_weight", "conv_transpose3d_input", "conv_transpose3d_weight",
    ),
    "linear": ("linear_bias", "linear_input", "linear_weight"),
    "norm": ("batch_norm", "local_response_norm"),
    "pool": (
        "adaptive_avg_pool1d_input", "adaptive_avg_pool2d_input", "adaptive_avg_pool3d_input",
        "avg_pool1d_input", "avg_pool2d_input", "avg_pool3d_input",
        "max_pool1d_input", "max_pool2d_input", "max_pool3d_input",
    ),
    "shape": ("pad",),
}

__getattr__, __dir__, __all__ = _public_names(__name__, _PUBLIC)
