"""Large windows through the Fourier transform, block by block, where that is cheaper.

    block of the picture, with all that its windows reach  ->  rfft  ->  x conj(rfft(weights))
                                                           ->  irfft  ->  block of the result

In float64, by scipy.fft where SciPy is installed and numpy.fft elsewhere. Neither holds the GIL, so
blocks go to several threads; which blocks there are depends on shapes alone. Rounding is spread
over a block: about 1e-15 of the largest sum of magnitudes in it.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import prod

import numpy as np

from .._engine.filters import positions
from .._engine.threads import usable_threads

# Nanoseconds of a thread with AVX-512; docs/decisions/008-filters.md has the measurements.
DIRECT = {True: 0.024, False: 0.052}  # a tap of a direct sum, by whether float32 does
POINT = 16  # a point of a block, there and back
BLOCK_POINTS = 1 << 18
_ERROR = 1e-14  # of a sum of magnitudes; the most seen is 6e-15
_WHOLE = 2.0**31  # whole numbers up to here are stored alike by everyone


def fast_length(n):
    """The next number from n on that is a product of twos, threes and fives."""
    best = 1 << (n - 1).bit_length()
    odd = [3**i * 5**j for i in range(n.bit_length()) for j in range(n.bit_length())]
    return min([best, *(m << max(0, (-(-n // m) - 1).bit_length()) for m in odd if m < best)])


def _steps(shape, window):
    """Results of a block, axis by axis: even shares, of blocks that are mostly results."""
    usual = round(BLOCK_POINTS ** (1 / len(shape)))
    counts = [-(-n // (max(usual, 4 * k) - k + 1)) for n, k in zip(shape, window, strict=True)]
    return [-(-n // count) for n, count in zip(shape, counts, strict=True)]


def _lengths(steps, window):
    return [fast_length(step + k - 1) for step, k in zip(steps, window, strict=True)]


def pays(taps, shape, window, use_single):
    """Whether blocks are cheaper than `taps` products for each result of an array of this shape."""
    direct = taps * prod(shape) * DIRECT[use_single]
    if direct <= prod(shape) * POINT:
        return False
    steps = _steps(shape, window)
    blocks = prod(-(-n // step) for n, step in zip(shape, steps, strict=True))
    return (blocks + 1) * prod(_lengths(steps, window)) * POINT < direct


def rounds(source, terms, fill):
    """Whether results are whole numbers that the blocks' errors leave recognisable."""
    if source.kind not in "biu" or not terms.whole or fill != int(fill):
        return False
    largest = max(abs(fill), 1 if source.kind == "b" else np.iinfo(source).max + 1)
    return terms.magnitude * largest < min(_WHOLE, 0.25 / _ERROR)


def correlate_by_blocks(x, out, weights, before, mode, fill, whole):
    """Fill `out` with a correlation, rounded where it is whole.

    Returns
    -------
    bool
        False, with anything in `out`, where x has numbers that are not finite, or too large.
    """
    try:
        from scipy import fft
    except ImportError:
        fft = np.fft
    window, axes = weights.shape, tuple(range(x.ndim))
    steps = _steps(out.shape, window)
    lengths = _lengths(steps, window)
    spectrum = fft.rfftn(weights, lengths, axes).conj()
    sources = [
        positions(n, outs, k, b, mode)
        for n, outs, k, b in zip(x.shape, out.shape, window, before, strict=True)
    ]

    def fill_block(starts):
        here = tuple(
            slice(start, min(start + step, n))
            for start, step, n in zip(starts, steps, out.shape, strict=True)
        )
        picked = [
            source[inside.start : inside.stop + k - 1]
            for source, inside, k in zip(sources, here, window, strict=True)
        ]
        with np.errstate(over="ignore", invalid="ignore"):
            spectra = fft.rfftn(_patch(x, picked, fill), lengths, axes)
            spectra *= spectrum
            sums = fft.irfftn(spectra, lengths, axes)
            sums = sums[tuple(slice(inside.stop - inside.start) for inside in here)]
            if not np.isfinite(sums).all():
                return False
            out[here] = np.rint(sums).astype(np.int64) if whole else sums
        return True

    starts = list(product(*map(range, [0] * x.ndim, out.shape, steps)))
    with ThreadPoolExecutor(min(len(starts), usable_threads())) as pool:
        return all(pool.map(fill_block, starts))


def _patch(x, picked, fill):
    """The elements at these positions of each axis, in float64; -1 is beyond the border."""
    patch = x[np.ix_(*picked)].astype(np.float64)
    for axis, places in enumerate(picked):
        outside = places < 0
        if outside.any():
            patch[(slice(None),) * axis + (outside,)] = fill
    return patch
