"""Operands of a layer, seeded, and its result in float64: the same for every bench."""

from __future__ import annotations

import math

import numpy as np

import fastconv
from fastconv import shapes


def operands(layer: shapes.Layer, layout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random float32 x, weight and bias: normal, the weights scaled so that y is near 1 (He)."""
    random = np.random.default_rng(0)
    x = random.standard_normal(layer.x_shape, dtype=np.float32)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    taps = math.prod(layer.weight_shape[1:])
    scale = np.float32(math.sqrt(2 / taps))
    weight = random.standard_normal(layer.weight_shape, dtype=np.float32) * scale
    return x, weight, random.standard_normal(layer.out_channels, dtype=np.float32)


def oracle(layer: shapes.Layer, layout: str, x, weight, bias, budget: int) -> np.ndarray:
    """Compute the layer in float64, by the readable form where the work allows."""
    reference = fastconv.reference
    form = reference.conv2d if layer.flops <= budget else reference.conv2d_blas
    wide = (array.astype(np.float64) for array in (x, weight, bias))
    return form(*wide, **layer.call, layout=layout)
