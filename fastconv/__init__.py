"""fastconv: fast convolution and pooling on NumPy arrays.

Direct, implicit-im2col and Winograd convolution and max/average pooling, compiled and threaded,
on plain ndarrays. Names are loaded on first use, so that ``import fastconv`` costs next to nothing.
"""

import importlib as _importlib

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
    "nn", "models", "reference", "functional", "grad", "plot", "shapes", "train", "filters",
)
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name):
    if name in _HOME:
        value = getattr(_importlib.import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = _importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
