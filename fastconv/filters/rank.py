"""Maxima and minima over windows, flat or with a structure. Meaning: scipy.ndimage."""

import warnings

import numpy as np

from ._arguments import (
    as_array,
    check_axes,
    check_axis,
    check_mode,
    check_origin,
    get_output,
    one_each,
    readable,
    spread,
    window_starts,
)
from ._passes import run_passes, run_windows
from ._weights import Window


def _real(op, input):
    x = as_array(input)
    if x.dtype.kind == "c":
        raise TypeError(f"{op}: Complex type not supported: input has dtype {x.dtype}")
    return x


def _line(op, input, size, axis, output, mode, cval, origin, which):
    x = _real(op, input)
    axis = check_axis(op, axis, x.ndim)
    if size < 1:
        raise RuntimeError(f"{op}: incorrect filter size: {size}, must be at least 1")
    output = get_output(op, output, x)
    before = size // 2 + check_origin(op, origin, size)
    line = (axis, which, int(size), before, check_mode(op, mode), float(cval), None)
    return run_passes(readable(op, x, output), output, [line])


def maximum_filter1d(input, size, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Largest of `size` neighbours along one axis; see `scipy.ndimage.maximum_filter1d`."""
    return _line("maximum_filter1d", input, size, axis, output, mode, cval, origin, "max")


def minimum_filter1d(input, size, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Smallest of `size` neighbours along one axis; see `scipy.ndimage.minimum_filter1d`."""
    return _line("minimum_filter1d", input, size, axis, output, mode, cval, origin, "min")


def _filter(op, input, size, footprint, structure, output, mode, cval, origin, axes, which):
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=3)
    if structure is None and footprint is None and size is None:
        raise RuntimeError(f"{op}: no footprint provided: size or footprint must be given")
    flat = structure is None
    if not flat:
        structure = as_array(structure).astype(np.float64)
    if footprint is not None:
        footprint = as_array(footprint).astype(bool)
        if flat and not footprint.any():
            raise ValueError(f"{op}: All-zero footprint is not supported.")
        if flat and footprint.all():
            size, footprint = footprint.shape, None
    elif not flat:
        footprint = np.ones(structure.shape, bool)
    x = _real(op, input)
    output = get_output(op, output, x)
    axes = check_axes(op, axes, x.ndim)
    origins = one_each(op, "origin", origin, len(axes))
    if footprint is None:
        each = [origins, one_each(op, "size", size, len(axes)),
                one_each(op, "mode", mode, len(axes))]
        passes = [
            (axis, which, int(n), int(n) // 2 + check_origin(op, o, int(n)), check_mode(op, m),
             float(cval), None)
            for axis, o, n, m in zip(axes, *each, strict=True) if n > 1
        ]  # fmt: skip
        if not passes:
            output[...] = x
            return output
        return run_passes(readable(op, x, output), output, passes)
    return _footprint(op, x, footprint, structure, output, mode, float(cval), origins, axes, which)


def _footprint(op, x, footprint, structure, output, mode, cval, origins, axes, which):
    if structure is not None and structure.shape != footprint.shape:
        raise RuntimeError(
            f"{op}: structure array has incorrect shape: {structure.shape}, the footprint has "
            f"{footprint.shape}"
        )
    if not isinstance(mode, str):
        raise RuntimeError(
            f"{op}: A sequence of modes is not supported for non-separable footprints, got {mode!r}"
        )
    # Minus zero added to a number is that number, whatever its sign.
    offsets = np.full(footprint.shape, -0.0) if structure is None else structure
    offsets = -offsets if structure is not None and which == "min" else offsets
    footprint, spread_origins = spread(op, "footprint", footprint, origins, axes, x.ndim)
    offsets = offsets.reshape(footprint.shape)
    before = window_starts(op, spread_origins, footprint.shape)
    run_windows(
        readable(op, x, output), [output], "upper" if which == "max" else "lower",
        footprint.shape, before, check_mode(op, mode), cval, [Window(offsets, footprint)],
        structure is None and x.dtype == output.dtype == np.float32,
    )  # fmt: skip
    return output


def maximum_filter(input, size=None, footprint=None, output=None, mode="reflect", cval=0.0,
                   origin=0, *, axes=None):
    """Largest under a window; see `scipy.ndimage.maximum_filter`."""
    return _filter("maximum_filter", input, size, footprint, None, output, mode, cval, origin,
                   axes, "max")


def minimum_filter(input, size=None, footprint=None, output=None, mode="reflect", cval=0.0,
                   origin=0, *, axes=None):
    """Smallest under a window; see `scipy.ndimage.minimum_filter`."""
    return _filter("minimum_filter", input, size, footprint, None, output, mode, cval, origin,
                   axes, "min")


def _check_given(op, size, footprint, structure):
    if size is None and footprint is None and structure is None:
        raise ValueError(f"{op}: size, footprint, or structure must be specified")


def grey_erosion(input, size=None, footprint=None, structure=None, output=None, mode="reflect",
                 cval=0.0, origin=0, *, axes=None):
    """Smallest of input minus structure; see `scipy.ndimage.grey_erosion`."""
    _check_given("grey_erosion", size, footprint, structure)
    return _filter("grey_erosion", input, size, footprint, structure, output, mode, cval, origin,
                   axes, "min")


def grey_dilation(input, size=None, footprint=None, structure=None, output=None, mode="reflect",
                  cval=0.0, origin=0, *, axes=None):
    """Largest of input plus the mirrored structure; see `scipy.ndimage.grey_dilation`."""
    op = "grey_dilation"
    _check_given(op, size, footprint, structure)
    x = _real(op, input)
    count = len(check_axes(op, axes, x.ndim))
    if structure is not None:
        structure = np.flip(as_array(structure))
    if footprint is not None:
        footprint = np.flip(as_array(footprint))
    shape = next((np.shape(a) for a in (footprint, structure) if a is not None), None)
    sizes = one_each(op, "size", size, count) if shape is None else shape
    origins = one_each(op, "origin", origin, count)
    origins = [-o - (n % 2 == 0) for o, n in zip(origins, sizes, strict=False)]
    return _filter(op, x, size, footprint, structure, output, mode, cval, origins, axes, "max")
