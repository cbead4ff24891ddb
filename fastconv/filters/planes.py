"""Convolution and correlation of planes as scipy.signal has them: any result size, any kernel size.

A result is a window of the picture combined for each element, full, same or valid: only how many
elements there are, and how far before the first of them its window begins, differs.
"""

import numpy as np

from .._engine.filters import TYPES
from ._arguments import as_array, readable
from ._passes import run_large, single
from ._weights import Window

_MODES = ("full", "same", "valid")
_BOUNDARIES = {"fill": "constant", "wrap": "wrap", "circular": "wrap", "symm": "reflect",
               "symmetric": "reflect"}  # fmt: skip
_PAD_MODES = {"constant": "constant", "wrap": "wrap", "reflect": "symmetric"}
_EXACT = 2.0**53  # whole numbers up to here are exact in float64


def convolve2d(in1, in2, mode="full", boundary="fill", fillvalue=0):
    """Convolve two planes; see `scipy.signal.convolve2d`.

    Parameters
    ----------
    in1, in2 : array_like, (rows, columns)
        Of integers, floats or complex numbers; the result has the type both promote to, and whole
        numbers too large for it lose their upper bits.
    mode : {"full", "same", "valid"}
        All sums, as many as in1 has elements from the middle of these, or those within the picture.
    boundary : {"fill", "wrap", "symm"}
        What stands around in1: fillvalue, in1 again, or in1 mirrored.
    fillvalue : scalar

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        For arrays of other than two axes, of bools or float16, for unknown modes and boundaries,
        for a fillvalue that the result's type does not hold, and where with "valid" neither array
        is as large as the other along both axes.
    """
    x, kernel, _ = _planes("convolve2d", in1, in2, mode)
    befores = {"full": [n - 1 for n in kernel.shape], "same": [n // 2 for n in kernel.shape]}
    before = befores.get(mode, (0, 0))
    return _run("convolve2d", x, kernel[::-1, ::-1], before, mode, boundary, fillvalue)


def correlate2d(in1, in2, mode="full", boundary="fill", fillvalue=0):
    """Correlate two planes; see `scipy.signal.correlate2d`, and `convolve2d` for the arguments."""
    x, kernel, swapped = _planes("correlate2d", in1, in2, mode)
    befores = {"full": [n - 1 for n in kernel.shape], "same": [(n - 1) // 2 for n in kernel.shape]}
    before = befores.get(mode, (0, 0))
    result = _run("correlate2d", x, kernel.conj(), before, mode, boundary, fillvalue)
    return result[::-1, ::-1] if swapped else result


def _planes(op, in1, in2, mode):
    """Picture, kernel, and whether they changed places: with "valid" the larger comes first."""
    x, kernel = as_array(in1), as_array(in2)
    if mode not in _MODES:
        raise ValueError(f"{op}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if not x.ndim == kernel.ndim == 2:
        raise ValueError(
            f"{op}: inputs must both be 2-D arrays, got in1.shape={x.shape} and "
            f"in2.shape={kernel.shape}"
        )
    inside = [n <= m for n, m in zip(kernel.shape, x.shape, strict=True)]
    if mode != "valid" or all(inside):
        return x, kernel, False
    if any(n < m for n, m in zip(kernel.shape, x.shape, strict=True)):
        raise ValueError(
            f"{op}: for 'valid' mode, one must be at least as large as the other along both axes, "
            f"got in1.shape={x.shape} and in2.shape={kernel.shape}"
        )
    return kernel, x, True


def _run(op, x, kernel, before, mode, boundary, fillvalue):
    if not isinstance(boundary, str) or boundary not in _BOUNDARIES:
        raise ValueError(f"{op}: boundary must be 'fill', 'wrap' or 'symm', got {boundary!r}")
    border = _BOUNDARIES[boundary]
    dtype = np.result_type(x, kernel).newbyteorder("=")
    if dtype.kind not in "iufc" or dtype == np.float16:
        raise ValueError(f"{op}: in1 and in2 must be numbers, and not float16, got {dtype}")
    grown = {"full": 1, "same": 0, "valid": -1}[mode]
    shape = tuple(
        max(n + grown * (k - 1), 0) for n, k in zip(x.shape, kernel.shape, strict=True)
    )
    fill = _fill(op, fillvalue, dtype)
    kernel = kernel.astype(dtype)
    if not kernel.size:
        return np.zeros(shape, dtype)
    if not x.size:
        return _tap_by_tap(x.astype(dtype), kernel, shape, before, border, fill)
    if dtype.kind in "iu":
        return _whole_numbers(op, x, kernel, shape, before, border, fill)
    if dtype in TYPES:
        return _combined(op, x, kernel, np.zeros(shape, dtype), before, border, fill)
    if dtype in (np.complex64, np.complex128):
        return _by_parts(op, x, kernel, shape, before, border, fill)
    return _tap_by_tap(x.astype(dtype), kernel, shape, before, border, fill)


def _fill(op, value, dtype):
    """The fill value in the result's type."""
    given = np.asarray(0 if value is None else value)
    if given.size != 1:
        raise ValueError(
            f"{op}: `fillvalue` must be scalar or an array with one element, got shape "
            f"{given.shape}"
        )
    fill = np.zeros((), dtype)
    try:
        fill[()] = given.item()
    except (TypeError, OverflowError) as error:
        raise ValueError(
            f"{op}: could not cast `fillvalue` directly to the output type, {dtype}: {error}"
        ) from error
    return fill


def _combined(op, x, kernel, out, before, border, fill):
    """Fill `out` in the engine."""
    weights, fill = kernel.astype(np.float64), float(fill)
    window = Window(weights, np.ones(kernel.shape, bool))
    use_single = single(x.dtype, out.dtype, window.terms, fill)
    return run_large(readable(op, x, out), out, weights, before, border, fill, window, use_single)


def _by_parts(op, x, kernel, shape, before, border, fill):
    """A complex result from real ones."""
    out = np.zeros(shape, kernel.dtype)

    def part(of_x, of_kernel):
        into = np.zeros(shape, out.real.dtype)
        picture, value = getattr(x, of_x), getattr(fill, of_x)
        return _combined(op, picture, getattr(kernel, of_kernel), into, before, border, value)

    out.real, out.imag = part("real", "real"), part("real", "imag")
    if x.dtype.kind == "c" or fill.imag:
        out.real -= part("imag", "imag")
        out.imag += part("imag", "real")
    return out


def _whole_numbers(op, x, kernel, shape, before, border, fill):
    """Integers, exact where float64 is and tap by tap where it may not be."""
    dtype = kernel.dtype
    largest = max(-float(x.min()), float(x.max()), abs(float(fill)))
    bound = largest * np.abs(kernel.astype(np.float64)).sum()
    if bound >= _EXACT:
        return _tap_by_tap(x.astype(dtype), kernel, shape, before, border, fill)
    fits = bound <= np.iinfo(dtype).max
    out = np.zeros(shape, dtype if fits else np.int64)
    return _combined(op, x, kernel, out, before, border, fill).astype(dtype, copy=False)


def _tap_by_tap(x, kernel, shape, before, border, fill):
    """In the result's own arithmetic, which wraps integers, where the engine cannot compute it."""
    around = [
        (b, m + k - 1 - b - n)
        for b, m, k, n in zip(before, shape, kernel.shape, x.shape, strict=True)
    ]
    options = {"constant_values": fill} if border == "constant" else {}
    x = np.pad(x, around, _PAD_MODES[border], **options)
    out = np.zeros(shape, x.dtype)
    for (row, column), weight in np.ndenumerate(kernel):
        out += weight * x[row : row + shape[0], column : column + shape[1]]
    return out
