"""What there is to know about weights before they meet a picture, remembered by their values.

A filter of a small picture takes no longer than to look its weights over: are they mirrored, whole,
within float32's range, an outer product? Equal weights are looked over once.
"""

from functools import lru_cache, reduce

import numpy as np

_EPSILON = np.finfo(np.float64).eps
_SMALLEST, _LARGEST = 1e-30, 1e38  # weights between them are float32s, with digits to spare
_LONGEST = 512  # float32 chains of more terms lose a digit
_REMEMBERED = 256  # different weights
_REMEMBERED_BYTES = 8192  # of one of them at most


class Terms:
    """Weights of a sum, and what decides about its arithmetic.

    Attributes
    ----------
    op : str
        "even" or "odd" for one-dimensional weights that are mirrored, else "sum".
    in_double, in_single : ndarray
        The weights in the order they are added in.
    fits_single : bool
        Whether float32 holds them and chains as long as they are.
    whole : bool
        Whether all are whole numbers.
    magnitude, total : float
        The sums of their absolute values, and of themselves.
    """

    __slots__ = ("fits_single", "in_double", "in_single", "magnitude", "op", "total", "whole")

    def __init__(self, weights, op="sum"):
        sizes = np.abs(weights)
        self.op = op
        self.in_double = weights
        with np.errstate(over="ignore"):
            self.in_single = weights.astype(np.float32)
        self.fits_single = bool(
            len(weights) <= _LONGEST and _SMALLEST < sizes.max(initial=0) < _LARGEST
        )
        self.whole = bool((weights == np.rint(weights)).all())
        self.magnitude, self.total = float(sizes.sum()), float(weights.sum())


class Window:
    """Weights under a window of any number of axes, of which some count.

    Attributes
    ----------
    terms : Terms
        Of the taps that count.
    place : ndarray of intp, (terms, 3)
        Their planes, rows and columns.
    parts : list of Terms or None
        One-dimensional weights, axis by axis, whose outer product all weights are, if looked for.
    """

    __slots__ = ("parts", "place", "terms")

    def __init__(self, weights, counts):
        taps = np.argwhere(counts)
        self.terms = Terms(weights[counts])
        self.place = _places(taps, weights.shape)
        self.parts = None


def _places(taps, shape):
    """Taps, (terms, ndim), of a window by plane, row and column, (terms, 3).

    A window of one axis has one row, and planes count through all axes but the last two.
    """
    place = np.zeros((len(taps), 3), np.intp)
    for axis in range(len(shape) - 2):
        place[:, 0] = place[:, 0] * shape[axis] + taps[:, axis]
    count = min(len(shape), 2)
    place[:, 3 - count :] = taps[:, len(shape) - count :]
    return place


def _factors(weights):
    """One-dimensional weights by axis whose outer product these are, to rounding, or None.

    They are the lines through the largest weight; all but the first are divided by it. Only where
    axis by axis there is less to do.
    """
    if weights.size <= 3 * sum(weights.shape):
        return None
    peak = np.unravel_index(np.argmax(abs(weights)), weights.shape)
    lines = [
        weights[tuple(slice(None) if a == axis else i for a, i in enumerate(peak))]
        for axis in range(weights.ndim)
    ]
    parts = [lines[0], *(line / weights[peak] for line in lines[1:])]
    error = abs(reduce(np.multiply.outer, parts) - weights)
    if not (error <= 4 * _EPSILON * abs(weights)).all():
        return None
    return [terms_of(np.ascontiguousarray(part), tolerance=0) for part in parts]


def _looked_over(function, weights, *more):
    """function(bytes, shape, *more), remembered for weights that are not large."""
    remember = weights.nbytes <= _REMEMBERED_BYTES
    return (function if remember else function.__wrapped__)(weights.tobytes(), weights.shape, *more)


@lru_cache(_REMEMBERED)
def _terms(data, shape, tolerance):
    weights = np.frombuffer(data)
    half = len(weights) // 2
    if len(weights) % 2 and half:
        left, right = weights[:half], weights[: half : -1]
        if (abs(right - left) <= tolerance).all():
            return Terms(weights, "even")
        if (abs(right + left) <= tolerance).all():
            return Terms(weights, "odd")
    return Terms(np.roll(weights, 1))  # the last term first, and then the others: SciPy's order


@lru_cache(_REMEMBERED)
def _window(data, shape):
    weights = np.frombuffer(data).reshape(shape)
    window = Window(weights, np.abs(weights) > _EPSILON)
    if len(window.place) == weights.size:  # with holes NaN would spread
        window.parts = _factors(weights)
    return window


def terms_of(weights, tolerance=_EPSILON):
    """Terms of a one-dimensional correlation; mirrored weights are found, as SciPy does it."""
    return _looked_over(_terms, weights, tolerance)


def window_of(weights):
    """The Window of float64 weights, of those above rounding."""
    return _looked_over(_window, weights)


@lru_cache(_REMEMBERED)
def box_terms(size):
    """Terms of a sum of so many elements."""
    return Terms(np.ones(size))
