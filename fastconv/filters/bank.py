"""Several kernels over one picture, which is read once for all of them."""

import numpy as np

from ._arguments import as_array, check_mode, get_output, one_each, readable, window_starts
from ._passes import goes_by_blocks, run_large, run_windows, single
from ._weights import window_of


def correlate_bank(input, weights, output=None, mode="reflect", cval=0.0, origin=0):
    """Correlate one array with several kernels in one pass.

    Parameters
    ----------
    input : array_like
        Real, of any number of axes.
    weights : array_like, (kernels, ...)
        Kernels of one shape, with as many axes as the input; each weighs as in `correlate`.
    output : ndarray or dtype, optional
        Where the results go, (kernels, *input.shape), or their type; the input's without.
    mode, cval, origin
        As in `correlate`.

    Returns
    -------
    ndarray, (kernels, *input.shape)
        Result k is ``correlate(input, weights[k], ...)``: integers are equal, float32 within 1e-5
        and float64 within 1e-12 of the magnitudes summed up.

    Raises
    ------
    RuntimeError
        For weights without a kernel or of another number of axes, an output of another shape, an
        unknown mode.
    TypeError
        For complex numbers.

    See Also
    --------
    scipy.ndimage.correlate : the same for one kernel; SciPy has no function for several.
    """
    op = "correlate_bank"
    x, weights = as_array(input), as_array(weights)
    if x.dtype.kind == "c" or weights.dtype.kind == "c":
        raise TypeError(
            f"{op}: input and weights must be real, got {x.dtype} and {weights.dtype}; "
            "pass their real and imag one by one"
        )
    weights = np.asarray(weights, np.float64)
    if weights.ndim != x.ndim + 1 or not weights.size:
        raise RuntimeError(
            f"{op}: weights must be kernels of {x.ndim} axes, input.ndim, one after the other, got "
            f"weights.shape={weights.shape}"
        )
    origins = one_each(op, "origin", origin, x.ndim)
    before = window_starts(op, origins, weights.shape[1:])
    output = get_output(op, output, x, shape=(len(weights), *x.shape))
    mode, x, fill = check_mode(op, mode), readable(op, x, output), float(cval)
    if not x.ndim:
        output[...] = x * weights
        return output
    x = x.copy() if np.may_share_memory(x, output) else x
    windows = [window_of(kernel) for kernel in weights]
    use_single = all(single(x.dtype, output.dtype, w.terms, fill) for w in windows)
    together = []
    for kernel, window, out in zip(weights, windows, output, strict=True):
        if not len(window.place):
            out[...] = 0
        elif goes_by_blocks(x.dtype, out, kernel, window, fill, use_single):
            run_large(x, out, kernel, before, mode, fill, window, use_single)
        else:
            together.append((out, window))
    if together:
        outs, windows = map(list, zip(*together, strict=True))
        run_windows(x, outs, "sum", weights.shape[1:], before, mode, fill, windows, use_single)
    return output
