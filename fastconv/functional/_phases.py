"""A transposed convolution as stride-1 convolutions, one for each phase of its output.

Along an axis with stride s, output o = s * q + p sees tap t only where s divides o + pad - t * d.
For a fixed phase p these taps are evenly spaced, and q runs over the input with stride 1:

    input index = q + (p + pad - t * d) / s

so each phase is a convolution with a flipped, thinned kernel, written to every s-th output. The
padding in front may come out negative: then input is cropped.
"""

import itertools
import math
from functools import partial
from typing import NamedTuple

import numpy as np


class Phase(NamedTuple):
    """A convolution that makes the outputs offset, offset + step, ... along each spatial axis.

    `select` takes the public weight array and returns the phase's own (None: the whole array).
    """

    geometry: object
    offset: tuple
    step: tuple
    select: object


class _AxisPhase(NamedTuple):
    offset: int
    size: int
    taps: slice
    kernel_size: int
    dilation: int
    pad: int


def convolution_phases(geometry):
    """Return the one phase of a plain convolution."""
    return [Phase(geometry, (0,) * geometry.nd, (1,) * geometry.nd, None)]


def transposed_phases(geometry):
    """Return the phases of a transposed convolution; phases without outputs are left out."""
    phases = []
    axes = zip(
        geometry.kernel_size, geometry.stride, geometry.dilation, geometry.pad_before,
        geometry.out_size, strict=True,
    )
    for combination in itertools.product(*(_axis_phases(*axis) for axis in axes)):
        part = geometry._replace(
            kernel_size=tuple(axis.kernel_size for axis in combination),
            stride=(1,) * geometry.nd,
            dilation=tuple(axis.dilation for axis in combination),
            pad_before=tuple(axis.pad for axis in combination),
            pad_after=(0,) * geometry.nd,
            out_size=tuple(axis.size for axis in combination),
        )
        taps = tuple(axis.taps for axis in combination)
        offset = tuple(axis.offset for axis in combination)
        phases.append(
            Phase(part, offset, geometry.stride, partial(_taps_of, geometry.groups, taps))
        )
    return phases


def _axis_phases(kernel, stride, dilation, pad, out_size):
    """Return the phases of one axis that have outputs."""
    common = math.gcd(stride, dilation)
    every, spacing = stride // common, dilation // common
    phases = []
    for offset in range(min(stride, out_size)):
        size = -(-(out_size - offset) // stride)
        taps = [t for t in range(min(every, kernel)) if (offset + pad - t * dilation) % stride == 0]
        if not taps:
            phases.append(_AxisPhase(offset, size, slice(0, 0), 0, 1, 0))
            continue
        first = taps[0]
        count = -(-(kernel - first) // every)
        nearest = (offset + pad - first * dilation) // stride
        phases.append(
            _AxisPhase(
                offset, size, slice(first, None, every), count, spacing,
                (count - 1) * spacing - nearest,
            )
        )
    return phases


def _taps_of(groups, taps, weight):
    """Return the flipped taps of a (C, K / groups, ...) weight as (K, C / groups, ...)."""
    if weight.ndim == len(taps):  # of a plane: one channel in and out
        weight = weight[None, None]
    chosen = weight[(slice(None), slice(None), *taps)]
    chosen = np.flip(chosen, tuple(range(2, chosen.ndim)))
    grouped = chosen.reshape(groups, weight.shape[0] // groups, *chosen.shape[1:])
    swapped = np.swapaxes(grouped, 1, 2)
    return swapped.reshape(groups * swapped.shape[1], swapped.shape[2], *chosen.shape[2:])
