"""Arguments that the filters share: arrays in and out, axes, modes, origins.

Mistakes raise what SciPy raises for them, with the function, the argument and what came.
"""

import operator
import warnings

import numpy as np

from .._engine.elementwise import empty
from .._engine.filters import TYPES
from ..functional._arrays import imported

MODES = {
    "reflect": "reflect", "grid-mirror": "reflect", "constant": "constant",
    "nearest": "nearest", "mirror": "mirror", "wrap": "wrap",
    "grid-constant": "constant", "grid-wrap": "wrap",
}  # fmt: skip


def as_array(value):
    """`value` as an ndarray of any type, without a copy where it is one or offers its memory."""
    return np.asarray(imported(value))


def readable(op, array, output):
    """`array` as the engine reads it, a copy where its byte order or alignment is another.

    Refuses it, or the output, if they are of types that no filter knows.
    """
    for name, dtype in (("input", array.dtype), ("output", output.dtype)):
        if dtype not in TYPES and dtype.newbyteorder("=") not in TYPES:
            error = TypeError if dtype.kind in "SU" else RuntimeError
            raise error(
                f"{op}: {name} must be of bool, an integer type, float32 or float64, got {dtype}"
            )
    if array.dtype.isnative and array.flags.aligned:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def _new(shape, dtype):
    """An array to fill; one of objects, which is refused later, in NumPy's own memory."""
    return np.empty(shape, dtype) if dtype.hasobject else empty(shape, dtype)


def get_output(op, output, array, is_complex=False, shape=None):
    """The array to fill: `output` itself, or a new one of its type, or of the input's.

    It has the input's shape if no other is given.
    """
    shape = array.shape if shape is None else shape
    if output is None:
        dtype = np.promote_types(array.dtype, np.complex64) if is_complex else array.dtype
        return _new(shape, dtype.newbyteorder("="))
    if isinstance(output, (type, np.dtype, str)):
        dtype = np.dtype(output)
        if isinstance(output, str) and not issubclass(dtype.type, np.number):
            raise RuntimeError(f"{op}: output must have a numeric dtype, got {dtype}")
        if is_complex and dtype.kind != "c":
            if isinstance(output, str):
                raise RuntimeError(f"{op}: output must have a complex dtype, got {dtype}")
            warnings.warn("promoting specified output dtype to complex", stacklevel=4)
            dtype = np.promote_types(dtype, np.complex64)
        return _new(shape, dtype)
    # An ndarray of any subclass is handed back itself: a memory map stays one.
    result = output if isinstance(output, np.ndarray) else as_array(output)
    if result.shape != shape:
        raise RuntimeError(f"{op}: output must have shape {shape}, got {result.shape}")
    if not result.flags.writeable:
        raise ValueError(f"{op}: output must be writeable, got a read-only array")
    if is_complex and result.dtype.kind != "c":
        raise RuntimeError(f"{op}: output must have a complex dtype, got {result.dtype}")
    return result


def check_mode(op, mode):
    """The border mode under its plain name."""
    if isinstance(mode, str) and mode in MODES:
        return MODES[mode]
    raise RuntimeError(f"{op}: mode must be one of {', '.join(MODES)}, got {mode!r}")


def check_axis(op, axis, ndim):
    """One axis, counted from the front."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim, f"{op}: axis")
    return axis % ndim


def check_axes(op, axes, ndim):
    """The axes to filter, counted from the front; all of them for None."""
    if axes is None:
        return tuple(range(ndim))
    if np.isscalar(axes):
        axes = (axes,)
    if not np.iterable(axes):
        raise ValueError(f"{op}: axes must be an int, several of them or None, got {axes!r}")
    axes = tuple(operator.index(axis) for axis in axes)
    for axis in axes:
        if not -ndim <= axis < ndim:
            raise np.exceptions.AxisError(
                f"{op}: specified axis: {axis} is out of range for {ndim} axes"
            )
    axes = tuple(axis % ndim for axis in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: axes must be unique, got {axes}")
    return axes


def one_each(op, name, value, count):
    """`value` once for each axis."""
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    value = list(value)
    if len(value) != count:
        raise RuntimeError(
            f"{op}: {name}: sequence argument must have length equal to input rank: one for each "
            f"of {count} axes, got {len(value)}"
        )
    return value


def check_origin(op, origin, size):
    """An origin as an int; the window must lie over its pixel."""
    if not -(size // 2) <= origin <= (size - 1) // 2:
        raise ValueError(
            f"{op}: Invalid origin: {origin} is not between -({size} // 2) and ({size} - 1) // 2"
        )
    return int(origin)


def spread(op, name, window, origins, axes, ndim):
    """A window over some axes, and its origins, over all of them: (window, origins).

    The window's axes are those of `axes` in rising order, as SciPy has it; origins belong to `axes`
    as these stand there, unless they are all.
    """
    if window.ndim != len(axes) or 0 in window.shape:
        raise RuntimeError(
            f"{op}: {name}.ndim ({window.ndim}) must match len(axes) ({len(axes)}), and no axis be "
            f"empty: {name}.shape={window.shape}"
        )
    if len(axes) == ndim:
        return window, list(origins)
    window = np.expand_dims(window, tuple(axis for axis in range(ndim) if axis not in axes))
    placed = dict(zip(axes, origins, strict=True))
    return window, [placed.get(axis, 0) for axis in range(ndim)]


def window_starts(op, origins, size):
    """How far before its pixel a window of this size begins, axis by axis."""
    return [n // 2 + check_origin(op, o, n) for o, n in zip(origins, size, strict=True)]
