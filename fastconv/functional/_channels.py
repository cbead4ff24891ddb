"""The channel axis of operations that leave the number of spatial axes open.

In go an array and the caller's `layout`; out comes the index of the axis that holds the channels,
and per-channel parameters as the engine reads them.
"""

from reprlib import repr as short_repr

import numpy as np

from ._arguments import LAYOUTS
from ._arrays import as_array

_NAMES = tuple(name for names in LAYOUTS.values() for name in names)


def channel_axis(op, x, layout):
    """Return the index of x's channel axis.

    Parameters
    ----------
    op : str
        Public name of the function, for error texts.
    x : ndarray
        At least one axis.
    layout : str or None
        "NCHW", "NHWC" or their like in 1-D and 3-D; where x has one axis less, it has no batch
        axis. None is PyTorch's rule, for any number of axes: axis 1, or the only one.
    """
    if x.ndim == 0:
        raise ValueError(f"{op}: x must have a channel axis, got a single number (x.shape=())")
    if layout is None:
        return min(1, x.ndim - 1)
    if not isinstance(layout, str) or layout not in _NAMES:
        error = ValueError if isinstance(layout, str) else TypeError
        names = ", ".join(f'"{name}"' for name in _NAMES)
        raise error(f"{op}: layout must be None, {names}, got {short_repr(layout)}")
    missing = len(layout) - x.ndim
    if missing not in (0, 1):
        axes = ", ".join(layout)
        raise ValueError(
            f'{op}: x must have {len(layout)} axes ({axes}) for layout="{layout}", or '
            f"{len(layout) - 1} without the batch axis, got {x.ndim} (x.shape={x.shape})"
        )
    return layout.index("C") - missing


def channel_values(op, name, values, channels, x):
    """Return per-channel `values`, an array of shape (channels,), as an ndarray."""
    values = as_array(op, name, values)
    if values.shape != (channels,):
        raise ValueError(
            f"{op}: {name} must have shape ({channels},), one number per channel of x "
            f"(x.shape={x.shape}), got {name}.shape={values.shape}"
        )
    return values


def as_table(values, dtype):
    """Return a contiguous copy of `values` in `dtype`; a copy because `out` may lie over them."""
    return np.array(values, dtype, order="C")
