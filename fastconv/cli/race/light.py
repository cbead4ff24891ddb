"""Known networks with random weights: architectures that come with the `onnx` package.

Its light models are whole networks whose weights are ConstantOfShape nodes, so that they are
small. Timing them as they are would be unfair (all-equal weights) and their numbers mean nothing;
`filled` puts seeded random weights there, scaled so that numbers stay of one size from layer to
layer (He et al., 2015).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

# What people call them -> the package's file, without "light_" and ".onnx".
LIGHT = {
    "alexnet": "bvlc_alexnet",
    "vgg19": "vgg19",
    "googlenet": "inception_v1",
    "resnet50": "resnet50",
    "squeezenet": "squeezenet",
    "densenet121": "densenet121",
    "shufflenet": "shufflenet",
}

_IR_VERSION = 4  # from here on weights are not inputs, too


def file_of(name: str) -> Path:
    """The file of a light model; raises ImportError without `onnx`."""
    from onnx.backend import test

    return Path(next(iter(test.__path__)), "data", "light", f"light_{LIGHT[name]}.onnx")


def filled(name: str) -> Any:
    """A light model as a ModelProto with weights.

    Parameters
    ----------
    name : str
        One of LIGHT.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ImportError
        Without `onnx`.
    """
    import onnx

    model = onnx.load(file_of(name))
    model.ir_version = max(model.ir_version, _IR_VERSION)
    _fill(onnx, model.graph)
    return model


def _fill(onnx: Any, graph: Any) -> None:
    """Put initialisers for the ConstantOfShape nodes, and take away what gave their shapes."""
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers: dict[str, list[tuple[Any, int]]] = {}
    for node in graph.node:
        for place, value in enumerate(node.input):
            readers.setdefault(value, []).append((node, place))
    empty = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    random = np.random.default_rng(0)
    for node in empty:
        weight = _weight(random, tuple(shapes[node.input[0]]), _role(node.output[0], readers))
        graph.initializer.append(onnx.numpy_helper.from_array(weight, node.output[0]))
        graph.node.remove(node)
    gone = {node.input[0] for node in empty}
    for values in (graph.initializer, graph.input):
        for value in [value for value in values if value.name in gone]:
            values.remove(value)


def _role(name: str, readers: dict[str, list[tuple[Any, int]]]) -> tuple[str, int]:
    """The operator that reads a weight, and as which input; Unsqueeze is looked through."""
    node, place = readers[name][0]
    return _role(node.output[0], readers) if node.op_type == "Unsqueeze" else (node.op_type, place)


# Vectors that are not near 0: scales below 1 keep sums of residuals from growing.
_RANGES = {
    ("BatchNormalization", 1): (0.2, 0.6),
    ("BatchNormalization", 4): (0.8, 1.2),
    ("Mul", 1): (0.5, 1.0),
}


def _weight(random: np.random.Generator, shape: tuple[int, ...], role: tuple[str, int]) -> Any:
    if len(shape) == 1:
        low, high = _RANGES.get(role, (-0.1, 0.1))
        return random.uniform(low, high, shape).astype(np.float32)
    scale = np.float32(math.sqrt(2 / math.prod(shape[1:])))
    return random.standard_normal(shape, dtype=np.float32) * scale
