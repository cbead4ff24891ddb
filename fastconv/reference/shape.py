"""Operations that only move data: flatten and pad. The dtype of the input stays."""

from math import prod

import numpy as np

# PyTorch's names for the ways to fill a margin, and NumPy's; "edge" is understood too.
_NUMPY_MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "edge": "edge",
    "circular": "wrap",
}


def flatten(x, start_dim=0, end_dim=-1):
    """Merge the axes from ``start_dim`` to ``end_dim``, both included, into one."""
    x = np.atleast_1d(x)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    merged = prod(x.shape[start : end + 1])
    return x.reshape(*x.shape[:start], merged, *x.shape[end + 1 :])


def pad(x, pad, mode="constant", value=0):
    """Add cells around the last axes of an array, or take some off.

    Parameters
    ----------
    x : array_like
    pad : tuple
        PyTorch's flat form, (last axis before, last axis after, last but one before, ...), or
        NumPy's pairs for the last axes in their order, ((top, bottom), (left, right)). Negative
        numbers take cells off, before the others add any.
    mode : {"constant", "reflect", "replicate", "edge", "circular"}
        "reflect" mirrors about the edge cell, which is not repeated; "replicate" and "edge" are
        the same.
    value : scalar
        For mode "constant".
    """
    x = np.asarray(x)
    pairs = np.reshape(np.asarray(pad, int), (-1, 2))
    if np.ndim(pad) < 2:
        pairs = pairs[::-1]
    widths = np.zeros((x.ndim, 2), int)
    widths[x.ndim - len(pairs) :] = pairs

    inner = tuple(
        slice(max(-before, 0), size - max(-after, 0))
        for (before, after), size in zip(widths, x.shape, strict=True)
    )
    fill = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x[inner], np.maximum(widths, 0), _NUMPY_MODES[mode], **fill)
