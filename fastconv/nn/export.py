"""Layers as nodes of a graph: one rule for each kind of layer.

A rule takes a layer and what goes into it, and returns an `Exported` node with ONNX's operator,
attributes and constant inputs; or None, where ONNX's operator would not do the same: the layer then
runs itself.
"""

from typing import Any, NamedTuple

import numpy as np

from fastconv import nn


class Exported(NamedTuple):
    """What becomes of a layer; `op` is None where nothing does: the result is the input."""

    op: str | None
    attributes: dict[str, Any] = {}
    constants: tuple = ()


def node_of(layer, *inputs):
    """Return the `Exported` of a layer in evaluation mode, None where it must run itself."""
    rule = _RULES.get(type(layer))
    return rule(layer, inputs[0]) if rule and len(inputs) == 1 else None


def _is_plain(layer, x, nd):
    """Whether x is of the layer's dtype, has a batch axis and its channels first."""
    return (x.ndim == nd + 2 and x.dtype == getattr(layer, "dtype", x.dtype)
            and (layer.layout or "NC").startswith("NC"))


def _chosen_by_default(layer):
    return layer.algorithm == "auto" and layer.precision is None


def _weights(layer):
    return (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)


def _pads(padding, nd):
    """Padding in ONNX's words: the attribute `auto_pad`, or `pads`, all before and all after."""
    if isinstance(padding, str):
        return {"auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[padding]}
    padding = (padding,) * nd if isinstance(padding, int) else padding
    pairs = [(pad, pad) if isinstance(pad, int) else tuple(pad) for pad in padding]
    return {"pads": (*(before for before, _ in pairs), *(after for _, after in pairs))}


def _both(value, nd):
    return (value,) * nd if isinstance(value, int) else tuple(value)


def _conv(layer, x):
    if not (_is_plain(layer, x, layer.nd) and _chosen_by_default(layer)):
        return None
    attributes = {"strides": layer.stride, "dilations": layer.dilation, "group": layer.groups,
                  **_pads(layer.padding, layer.nd)}
    if layer.activation is not None:
        attributes["activation"] = layer.activation
    return Exported("Conv", attributes, _weights(layer))


def _conv_transpose(layer, x):
    exported = None if isinstance(layer.padding, str) else _conv(layer, x)
    if exported is None:
        return None
    extra = {"output_padding": _both(layer.output_padding, layer.nd)}
    return exported._replace(op="ConvTranspose", attributes={**exported.attributes, **extra})


def _linear(layer, x):
    if x.ndim != 2 or x.dtype != layer.dtype:
        return None
    fused = {} if layer.activation is None else {"activation": layer.activation}
    return Exported("Gemm", {"transB": 1, **fused}, _weights(layer))


def _batch_norm(layer, x):
    if not _is_plain(layer, x, layer.nd):
        return None
    ones = np.ones(layer.num_features, layer.dtype)
    weight = ones if layer.weight is None else layer.weight
    bias = 0 * ones if layer.bias is None else layer.bias
    statistics = layer.running_mean, layer.running_var
    return Exported("BatchNormalization", {"epsilon": layer.eps}, (weight, bias, *statistics))


def _local_response_norm(layer, x):
    # ONNX has no agreed meaning for even sizes.
    if not (x.ndim > 2 and layer.size % 2 and (layer.layout or "NC").startswith("NC")):
        return None
    return Exported("LRN", {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta,
                            "bias": layer.k})


def _window(layer, x):
    nd = layer.nd
    if not _is_plain(layer, x, nd):
        return None
    return {"kernel_shape": _both(layer.kernel_size, nd), "strides": _both(layer.stride, nd),
            "ceil_mode": int(layer.ceil_mode), **_pads(layer.padding, nd)}


def _max_pool(layer, x):
    window = _window(layer, x)
    if window is None or layer.return_indices:
        return None
    return Exported("MaxPool", {**window, "dilations": _both(layer.dilation, layer.nd)})


def _avg_pool(layer, x):
    window = _window(layer, x)
    if window is None or layer.divisor_override is not None:
        return None
    return Exported("AveragePool", {**window, "count_include_pad": int(layer.count_include_pad)})


def _adaptive_pool(op):
    def rule(layer, x):
        if not _is_plain(layer, x, layer.nd) or getattr(layer, "return_indices", False):
            return None
        wanted = _both(layer.output_size, layer.nd)
        if wanted == x.shape[2:]:
            return Exported(None)
        return Exported(op) if wanted == (1,) * layer.nd else None

    return rule


def _flatten(layer, x):
    rows = layer.start_dim == 1 and layer.end_dim % x.ndim == x.ndim - 1
    return Exported("Flatten", {"axis": 1}) if rows else None


def _prelu(layer, x):
    if x.dtype != layer.dtype or not (layer.layout or "NC").startswith("NC") or x.ndim < 2:
        return None
    slope = layer.weight
    if slope.size > 1:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return Exported("PRelu", {}, (slope,))


def _activation(op, **attributes):
    floats = (np.float32, np.float64)
    return lambda layer, x: Exported(op, attributes) if x.dtype in floats else None


def _leaky_relu(layer, x):
    return Exported("LeakyRelu", {"alpha": layer.negative_slope})


def _relu6(layer, x):
    return Exported("Clip", {}, (np.array(0, x.dtype), np.array(6, x.dtype)))


def _softmax(op):
    return lambda layer, x: Exported(op, {"axis": layer.axis})


def _nothing(layer, x):
    return Exported(None)


def _in_all_dimensions(name, rule):
    return {getattr(nn, f"{name}{nd}d"): rule for nd in (1, 2, 3)}


_RULES = {
    **_in_all_dimensions("Conv", _conv),
    **_in_all_dimensions("ConvTranspose", _conv_transpose),
    **_in_all_dimensions("BatchNorm", _batch_norm),
    **_in_all_dimensions("MaxPool", _max_pool),
    **_in_all_dimensions("AvgPool", _avg_pool),
    **_in_all_dimensions("AdaptiveAvgPool", _adaptive_pool("GlobalAveragePool")),
    **_in_all_dimensions("AdaptiveMaxPool", _adaptive_pool("GlobalMaxPool")),
    nn.Linear: _linear,
    nn.LocalResponseNorm: _local_response_norm,
    nn.Flatten: _flatten,
    nn.PReLU: _prelu,
    nn.ReLU: _activation("Relu"),
    nn.ReLU6: _relu6,
    nn.LeakyReLU: _leaky_relu,
    nn.Sigmoid: _activation("Sigmoid"),
    nn.Tanh: _activation("Tanh"),
    nn.Hardsigmoid: _activation("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Hardswish: _activation("HardSwish"),
    nn.Softmax: _softmax("Softmax"),
    nn.LogSoftmax: _softmax("LogSoftmax"),
    nn.Dropout: _nothing,
    nn.Identity: _nothing,
}
