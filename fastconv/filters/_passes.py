"""Run passes along axes and windows: which arithmetic, which passes in one sweep.

A pass is (axis, op, size, before, mode, fill, weights), as `_engine.filters.lines` takes it.
"""

import numpy as np

from .._engine.filters import TYPES, lines
from .._engine.filters_running import running
from .._engine.filters_windows import windows
from . import _fft
from ._weights import box_terms

# Types whose every value a float32 holds.
_SMALL = {np.dtype(name) for name in ("bool", "int8", "uint8", "int16", "uint16")}
_FLOAT32 = np.dtype(np.float32)
_EXACT = 2**24  # whole numbers up to here are exact in float32


def single(source, target, terms, fill):
    """Whether float32 arithmetic does: float32 results, or whole numbers that it holds exactly."""
    if terms is not None and not terms.fits_single:
        return False
    if source == _FLOAT32:
        return target == _FLOAT32
    if source not in _SMALL:
        return False
    if target == _FLOAT32:
        return True
    if target.kind not in "iu" or terms is None or not terms.whole:
        return False
    largest = max(abs(fill), 1 if source.kind == "b" else np.iinfo(source).max + 1)
    return fill == int(fill) and terms.magnitude * largest < _EXACT


def _computes_in_single(x, out, line):
    _, op, size, _, _, fill, terms = line
    if op in ("max", "min"):
        return x.dtype in _SMALL or single(x.dtype, out.dtype, None, fill)
    if op == "box" and out.dtype.kind in "iu":
        terms = box_terms(size)
    return single(x.dtype, out.dtype, terms, fill)


def _plain(array):
    return array.dtype.isnative and array.flags.aligned and array.dtype in TYPES


def run_passes(x, out, passes, any_order=False):
    """Fill `out` with x after all passes, one after the other; between them lies out's type.

    Sums that are not finite may be so in float32 alone, or in this order alone: they are made again
    in float64 and in the order given. Boxes, maxima and minima are made again as SciPy runs them.
    """
    target = out if _plain(out) else np.zeros(out.shape, out.dtype.newbyteorder("="))
    if np.may_share_memory(x, target):
        x = x.copy()
    ordered = sorted(passes, key=lambda line: line[0]) if any_order else passes
    if _sweep(x, target, ordered):
        if passes[0][1] in ("box", "max", "min"):
            for line in passes:
                running(x, target, line)
                x = target
        elif any_order or target.dtype == _FLOAT32:
            _sweep(x, target, passes, in_double=True)
    if target is not out:
        out[...] = target
    return out


def run_separable(x, out, parts, before, mode, fill):
    """Fill `out` with a correlation axis by axis; False, with anything in it, for unusual sums.

    Only for float32 results: other numbers depend on the order.
    """
    if out.dtype != _FLOAT32 or not _plain(out) or np.may_share_memory(x, out):
        return False
    passes = []
    for axis, part in enumerate(parts):
        passes.append((axis, part.op, len(part.in_double), before[axis], mode, fill, part))
        fill *= part.total  # what the pass makes of the constant around the picture
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


def goes_by_blocks(source, out, weights, window, fill, use_single):
    """Whether the Fourier transform pays for a correlation and keeps its promises.

    Whole numbers must come out to the last bit; other integers are cut off, where any error shows.
    """
    if not _fft.pays(len(window.place), out.shape, weights.shape, use_single):
        return False
    kind = out.dtype.kind
    return kind == "f" or (kind in "iu" and _fft.rounds(source, window.terms, fill))


def run_large(x, out, weights, before, mode, fill, window, use_single):
    """Fill `out` with a correlation, the cheaper way."""
    if goes_by_blocks(x.dtype, out, weights, window, fill, use_single):
        whole = _fft.rounds(x.dtype, window.terms, fill)
        x = x.copy() if np.may_share_memory(x, out) else x
        if _fft.correlate_by_blocks(x, out, weights, before, mode, fill, whole):
            return out
    run_windows(x, [out], "sum", weights.shape, before, mode, fill, [window], use_single)
    return out


def run_windows(x, outs, op, size, before, mode, fill, kernels, use_single):
    """Fill each of `outs`, alike in shape, type and strides, with x's windows under one kernel.

    Kernels have `place` and `terms`. One-dimensional arrays get a second axis.
    """
    plain = _plain(outs[0])
    targets = outs if plain else [np.zeros(o.shape, o.dtype.newbyteorder("=")) for o in outs]
    if any(np.may_share_memory(x, target) for target in targets):
        x = x.copy()
    source, results = x, targets
    while source.ndim < 2:
        source, results = source[np.newaxis], [result[np.newaxis] for result in results]
        size, before = (1, *size), (0, *before)
    window = op, tuple(size), tuple(before), mode, fill
    pairs = list(zip(results, kernels, strict=True))
    in_single = [(result, kernel.place, kernel.terms.in_single) for result, kernel in pairs]
    if not use_single or windows(source, in_single, *window, True):  # too large for float32?
        in_double = [(result, kernel.place, kernel.terms.in_double) for result, kernel in pairs]
        windows(source, in_double, *window, False)
    if not plain:
        for out, target in zip(outs, targets, strict=True):
            out[...] = target
