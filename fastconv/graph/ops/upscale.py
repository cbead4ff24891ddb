"""Transposed convolutions whose windows neither overlap nor leave gaps: kernel as wide as stride.

Each input pixel makes a block of R x S output pixels, so it is a 1x1 convolution to R * S * K
channels, whose results only need to lie in the right places. A row of a block is S * K neighbouring
numbers of the channels-last result:

    x (N, H, W, C)  --one convolution for each row of blocks-->  y (N, H, R, W, S * K)
                    --or one for all, then a copy-->             where S * K is a short vector
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._engine import elementwise
from fastconv.functional import conv

from ..ir import Node
from ._entry import copy_into

__all__ = ["Upscale", "is_upscale"]

# Shorter rows of blocks leave vectors half empty: 16 to 1 channel of 128x128, 2x2 blocks, takes
# 0.52 ms by four convolutions, one for each place in a block.
_SHORT_ROW = 8


def is_upscale(node: Node, kernel: tuple[int, ...]) -> bool:
    """Whether a ConvTranspose of pictures, without groups, makes a block of each pixel."""
    get = node.attributes.get
    one, zero = (1, 1), (0,) * 4
    return (
        len(kernel) == 2 and get("group", 1) == 1 and tuple(get("strides", one)) == kernel
        and tuple(get("dilations", one)) == one and tuple(get("pads", zero)) == zero
        and not any(get("output_padding", zero)) and not get("output_shape")
        and get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    )


def _pairs(rows: np.ndarray) -> np.ndarray:
    """Short rows as fewer, longer elements to copy: 128x128 of 2x2 blocks 0.29 -> 0.05 ms."""
    return rows.view(np.float64) if rows.dtype == np.float32 and rows.shape[-1] == 2 else rows


class Upscale:
    """The kernel.

    Parameters
    ----------
    weight : ndarray, (C, K, R, S)
    bias : ndarray or None
    activation
        As `fastconv.conv2d` takes it.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, activation: Any) -> None:
        channels, self.out_channels, self.rows, self.columns = weight.shape
        row = self.columns * self.out_channels
        blocks = weight.transpose(2, 3, 1, 0).reshape(self.rows, row, channels)
        self.together = row < _SHORT_ROW
        if self.together:
            blocks = blocks.reshape(1, self.rows * row, channels)
        repeats = math.prod(blocks.shape[:2]) // (len(blocks) * self.out_channels)
        tiled = None if bias is None else np.tile(bias, repeats)
        self.parts = [
            conv.prepare_conv(np.ascontiguousarray(part)[:, :, None, None], tiled, layout="NHWC",
                              activation=activation)
            for part in blocks
        ]

    def __call__(self, x, *_):
        n, _, h, w = x.shape
        x = x.transpose(0, 2, 3, 1)
        row = self.columns * self.out_channels
        result = elementwise.empty((n, h, self.rows, w, row), x.dtype)
        if self.together:
            made = elementwise.empty((n, h, w, self.rows, row), x.dtype)
            self.parts[0](x, out=made.reshape(n, h, w, self.rows * row))
            copy_into(_pairs(result), _pairs(made).transpose(0, 1, 3, 2, 4))
        else:
            for at, part in enumerate(self.parts):
                part(x, out=result[:, :, at])
        pixels = result.reshape(n, h * self.rows, w * self.columns, self.out_channels)
        return pixels.transpose(0, 3, 1, 2)
