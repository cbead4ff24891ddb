"""fastconv: fast convolution and pooling on NumPy arrays.

Direct, implicit-im2col and Winograd convolution and max/average pooling, compiled and threaded,
on plain ndarrays. Names are loaded on first use, so that ``import fastconv`` costs next to nothing.
"""

from ._lazy import public_names as _public_names

__version__ = "0.1.0"

_PUBLIC = {
    "config": ("get_precision", "precision", "set_precision", "show_config"),
    "_engine.threads": ("get_num_threads", "set_num_threads"),
    "functional._check": ("conv_output_size",),
    "functional.conv": (
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
        "explain_conv2d", "prepare_conv",
    ),
    "functional.linear": ("linear", "prepare_linear"),
    "functional.pool": (
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
        "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
    ),
    "functional.activation": (
        "hardsigmoid", "hardswish", "leaky_relu", "log_softmax", "prelu", "relu", "relu6",
        "sigmoid", "silu", "softmax", "tanh",
    ),
    "functional.norm": ("batch_norm", "dropout", "local_response_norm"),
    "functional.shape": ("flatten", "pad"),
}
_MODULES = (
    "nn", "models", "reference", "functional", "grad", "filters", "onnx", "plot", "shapes", "train",
)

__getattr__, __dir__, __all__ = _public_names(__name__, _PUBLIC, _MODULES)
__all__ += ["__version__"]
