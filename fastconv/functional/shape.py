"""Operations that only move data, `flatten` and `pad`: arrays of x's own dtype out of any array.

Both are NumPy: a view where one exists, otherwise slices copied into the result. `pad` copies x
into the middle, then fills margins axis by axis, each from what the axes before have completed:

    axis 0:  . a a a .      axis 1:  c a a a c        a  filled from x along axis 0
             . x x x .               c x x x c        c  filled along axis 1, corners too
             . a a a .               c a a a c
"""

import math
from collections.abc import Sequence
from reprlib import repr as short_repr

import numpy as np

from fastconv._engine import elementwise

from ._check import as_array, integer

__all__ = ["flatten", "pad"]


def _axis(op, name, value, x):
    axes = max(x.ndim, 1)
    index = integer(op, name, value, minimum=-(2**31))
    if not -axes <= index < axes:
        raise ValueError(
            f"{op}: {name} must be between {-axes} and {axes - 1} (x.shape={x.shape}), got {index}"
        )
    return index % axes


def flatten(x, start_dim=0, end_dim=-1):
    """Merge the axes from `start_dim` to `end_dim`, both included, into one.

    Parameters
    ----------
    x : array_like
        Any shape, any real dtype up to float64; the dtype stays. A single number counts as an
        array of one.
    start_dim, end_dim : int
        Negative numbers count from the end.

    Returns
    -------
    ndarray
        A view of x where its strides allow one, otherwise a copy; elements in the order of x's
        logical axes.

    Raises
    ------
    TypeError, ValueError
        When x has no such axes, or start_dim comes after end_dim.
    """
    op = "flatten"
    x = as_array(op, "x", x)
    start, end = _axis(op, "start_dim", start_dim, x), _axis(op, "end_dim", end_dim, x)
    if start > end:
        raise ValueError(
            f"{op}: start_dim must not come after end_dim, got start_dim={start_dim}, "
            f"end_dim={end_dim} (x.shape={x.shape})"
        )
    merged = math.prod(x.shape[start : end + 1])
    return x.reshape(*x.shape[:start], merged, *x.shape[end + 1 :])


def pad(x, pad, mode="constant", value=0.0):
    """Add elements around the last axes of an array, or take some off.

    Parameters
    ----------
    x : array_like
        Any real dtype up to float64; the dtype stays.
    pad : sequence of int, or of (before, after) pairs
        PyTorch's flat form starts from the last axis, ``(left, right, top, bottom)``; NumPy-style
        pairs keep the order of the axes, ``((top, bottom), (left, right))``, and belong to the
        last ones. Negative numbers take elements off, before the others add any.
    mode : {"constant", "reflect", "replicate", "circular"}
        What the new elements are: `value`; x mirrored about its edge element, which is not
        repeated; the edge element; x from its other end.
    value : number
        For mode "constant"; must fit x's dtype.

    Returns
    -------
    ndarray
        A new C-contiguous array of x's dtype.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind, or x is too small: "reflect" needs more elements
        than it adds on one side, "circular" as many, "replicate" one.
    """
    op = "pad"
    x = as_array(op, "x", x)
    widths = _widths(op, "x", x, pad)
    _check_taken_off(op, "x", x, widths, pad)
    if not isinstance(mode, str):
        raise TypeError(f"{op}: mode must be one of {_MODE_NAMES}, got {short_repr(mode)}")
    if mode not in _FILLS:
        raise ValueError(f"{op}: mode must be one of {_MODE_NAMES}, got {mode!r}")
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in _axes(x, widths))]
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    _check_room(op, x, widths, mode)
    value = _fill_value(op, value, x.dtype) if mode == "constant" else None
    result = elementwise.empty([n + a + b for n, (a, b) in _axes(x, widths)], x.dtype)
    middle = tuple(slice(a, a + n) for n, (a, b) in _axes(x, widths))
    result[middle] = x
    for axis, (n, (before, after)) in enumerate(_axes(x, widths)):
        # The axes to come are still without margins: leave theirs out.
        done = result[(slice(None),) * (axis + 1) + middle[axis + 1 :]]
        _FILLS[mode](np.moveaxis(done, axis, 0), n, before, after, value)
    return result


def _axes(x, widths):
    """(size, (before, after)) of each axis."""
    return zip(x.shape, widths, strict=True)


def _widths(op, name, x, pad):
    """One (before, after) for each axis of x, the argument called `name`."""
    forms = "a flat (left, right, top, bottom, ...) or pairs ((top, bottom), (left, right))"
    if not isinstance(pad, (Sequence, np.ndarray)) or isinstance(pad, (str, bytes)):
        raise TypeError(f"{op}: pad must be {forms}, got {short_repr(pad)}")
    entries = list(pad)
    if entries and all(isinstance(entry, (Sequence, np.ndarray)) for entry in entries):
        if any(len(entry) != 2 for entry in entries):
            raise ValueError(f"{op}: pad must be {forms}, got {short_repr(pad)}")
        pairs = entries
    elif len(entries) % 2:
        raise ValueError(
            f"{op}: pad must have two numbers for each axis, got {len(entries)}: {short_repr(pad)}"
        )
    else:
        pairs = list(zip(entries[::2], entries[1::2], strict=True))[::-1]
    if len(pairs) > x.ndim:
        raise ValueError(
            f"{op}: pad is for {len(pairs)} axes, {name} has {x.ndim} ({name}.shape={x.shape})"
        )
    pairs = [tuple(integer(op, "pad", n, minimum=-(2**31)) for n in pair) for pair in pairs]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs


def _check_taken_off(op, name, x, widths, pad):
    if any(size + min(a, 0) + min(b, 0) < 0 for size, (a, b) in _axes(x, widths)):
        raise ValueError(
            f"{op}: pad takes off more than there is, got {short_repr(pad)} for "
            f"{name}.shape={x.shape}"
        )


# Elements that an axis must have to be padded by n > 0 on one side.
_NEEDED = {"reflect": lambda n: n + 1, "replicate": lambda n: 1, "circular": lambda n: n}


def _check_room(op, x, widths, mode):
    needed = _NEEDED.get(mode, lambda n: 0)
    for axis, (size, pair) in enumerate(_axes(x, widths)):
        width = max(pair)
        if width > 0 and size < needed(width):
            raise ValueError(
                f'{op}: mode="{mode}" needs {needed(width)} elements along axis {axis} to add '
                f"{width}, x has {size} (shape {x.shape})"
            )


def _fill_value(op, value, dtype):
    """`value` in x's dtype; only floats may round."""
    message = f"{op}: value must be a number that {dtype} can hold, got {short_repr(value)}"
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "biuf":
        raise TypeError(message)
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        exact = dtype.kind == "f" or (cast == array and np.isfinite(array))
    if not exact:
        raise ValueError(message)
    return cast


# The fills: `a` has the padded axis first, [before | size elements | after].


def _fill_constant(a, size, before, after, value):
    a[:before] = value
    a[before + size :] = value


def _fill_reflect(a, size, before, after, value):
    a[:before] = a[before + 1 : 2 * before + 1][::-1]
    a[before + size :] = a[before + size - 1 - after : before + size - 1][::-1]


def _fill_replicate(a, size, before, after, value):
    if before:
        a[:before] = a[before]
    if after:
        a[before + size :] = a[before + size - 1]


def _fill_circular(a, size, before, after, value):
    a[:before] = a[size : size + before]
    a[before + size :] = a[before : before + after]


_FILLS = {
    "constant": _fill_constant,
    "reflect": _fill_reflect,
    "replicate": _fill_replicate,
    "circular": _fill_circular,
}
_MODE_NAMES = ", ".join(f'"{name}"' for name in _FILLS)
