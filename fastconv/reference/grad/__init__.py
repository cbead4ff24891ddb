"""Gradients again in plain NumPy: the specification of `fastconv.grad`, and its oracle.

Names and arguments are those of `fastconv.grad`, except that a convolution's are the same for any
number of axes; as everywhere in the reference there is no Python loop over data, nothing is
checked, and the arrays' own type says how exactly is computed.
"""

import importlib as _importlib

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
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
