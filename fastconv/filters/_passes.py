"""Run passes along axes and windows: which arithmetic, which passes in one sweep.

A pass is (axis, op, size, before, mode, fill, weights), as `_engine.filters.lines` takes it.
"""

from functools import reduce

import numpy as np

from .._engine.filters import TYPES, lines
from .._engine.filters_windows import windows

# Types whose every value a float32 holds.
_SMALL = {np.dtype(name) for name in ("bool", "int8", "uint8", "int16", "uint16")}
_FLOAT32 = np.dtype(np.float32)
_EXACT = 2**24  # whole numbers up to here are exact in float32
_EPSILON = np.finfo(np.float64).eps
_SMALLEST, _LARGEST = 1e-30, 1e38  # weights between them are float32s, with digits to spare


def single(source, target, weights, fill):
    """Whether float32 arithmetic does: float32 results, or whole numbers that it holds exactly."""
    if weights is not None and not _SMALLEST < np.abs(weights).max() < _LARGEST:
        return False
    if source == _FLOAT32:
        return target == _FLOAT32
    if source not in _SMALL:
        return False
    if target == _FLOAT32:
        return True
    if target.kind not in "iu" or weights is None:
        return False
    largest = max(abs(fill), 1 if source.kind == "b" else np.iinfo(source).max + 1)
    return bool(
        fill == int(fill) and (weights == np.rint(weights)).all()
        and np.abs(weights).sum() * largest < _EXACT
    )  # fmt: skip


def weighted(axis, weights, before, mode, fill, tolerance=_EPSILON):
    """The pass of a one-dimensional correlation; mirrored weights are found, as SciPy does it."""
    half = len(weights) // 2
    op = "sum"
    if len(weights) % 2 and half:
        left, right = weights[:half], weights[: half : -1]
        if (abs(right - left) <= tolerance).all():
            op = "even"
        elif (abs(right + left) <= tolerance).all():
            op = "odd"
    return axis, op, len(weights), before, mode, fill, weights


def _computes_in_single(x, out, line):
    _, op, size, _, _, fill, weights = line
    if op in ("max", "min"):
        return x.dtype in _SMALL or single(x.dtype, out.dtype, None, fill)
    if op == "box" and out.dtype.kind in "iu":
        weights = np.ones(size)
    return single(x.dtype, out.dtype, weights, fill)


def _plain(array):
    return array.dtype.isnative and array.flags.aligned and array.dtype in TYPES


def run_passes(x, out, passes, any_order=False):
    """Fill `out` with x after all passes, one after the other; between them lies out's type.

    Sums that are not finite may be so in float32 alone, or in this order alone: they are made again
    in float64 and in the order given.
    """
    target = out if _plain(out) else np.zeros(out.shape, out.dtype.newbyteorder("="))
    if target.dtype not in TYPES:
        raise RuntimeError(f"filters: output of {out.dtype} is not supported")
    if np.may_share_memory(x, target):
        x = x.copy()
    ordered = sorted(passes, key=lambda line: line[0]) if any_order else passes
    sums = passes[0][1] not in ("max", "min")
    if _sweep(x, target, ordered) and sums and (any_order or target.dtype == _FLOAT32):
        _sweep(x, target, passes, in_double=True)
    if target is not out:
        out[...] = target
    return out


def _factors(weights):
    """One-dimensional weights by axis whose outer product these are, to rounding, or None.

    They are the lines through the largest weight; all but the first are divided by it.
    """
    peak = np.unravel_index(np.argmax(abs(weights)), weights.shape)
    lines_through = [
        weights[tuple(slice(None) if a == axis else i for a, i in enumerate(peak))]
        for axis in range(weights.ndim)
    ]
    parts = [lines_through[0], *(line / weights[peak] for line in lines_through[1:])]
    error = abs(reduce(np.multiply.outer, parts) - weights)
    return parts if (error <= 4 * _EPSILON * abs(weights)).all() else None


def run_separable(x, out, weights, before, mode, fill):
    """Fill `out` with a correlation axis by axis where that is possible and pays; else False.

    Only for float32 results without zeros among the weights: other numbers depend on the order.
    """
    pays = weights.size > 3 * sum(weights.shape)
    if not pays or out.dtype != _FLOAT32 or not _plain(out) or np.may_share_memory(x, out):
        return False
    parts = _factors(weights)
    if parts is None:
        return False
    passes = []
    for axis, part in enumerate(parts):
        passes.append(weighted(axis, part, before[axis], mode, fill, tolerance=0))
        fill *= part.sum()  # what the pass makes of the constant around the picture
    return not _sweep(x, out, passes)


def _sweep(x, target, passes, in_double=False):
    """Run the passes, two in a sweep where the second is along rows; tell of unusual numbers."""
    last, left, unusual = target.ndim - 1, list(passes), False
    while left:
        line = left.pop(0)
        use_single = not in_double and _computes_in_single(x, target, line)
        along = None
        if line[0] == last:
            line, along = None, line
        elif left and left[0][0] == last and x is not target:
            if in_double or _computes_in_single(x, target, left[0]) == use_single:
                along = left.pop(0)
        unusual |= lines(x, target, line, along, use_single, whole=x is target)
        x = target
    return unusual


def run_window(x, out, op, size, before, mode, fill, taps, weights, use_single):
    """Fill `out` with windows of x combined; one-dimensional arrays get a second axis."""
    target = out if _plain(out) else np.zeros(out.shape, out.dtype.newbyteorder("="))
    if target.dtype not in TYPES:
        raise RuntimeError(f"filters: output of {out.dtype} is not supported")
    if np.may_share_memory(x, target):
        x = x.copy()
    source, result = x, target
    while source.ndim < 2:
        source, result = source[np.newaxis], result[np.newaxis]
        size, before = (1, *size), (0, *before)
        taps = np.concatenate([np.zeros((len(taps), 1), np.intp), taps], axis=1)
    window = op, tuple(size), tuple(before), mode, fill, taps, weights
    if windows(source, result, *window, use_single) and use_single:
        windows(source, result, *window, False)  # too large for float32, perhaps
    if target is not out:
        out[...] = target
    return out
