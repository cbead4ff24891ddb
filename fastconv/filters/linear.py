"""Filters that weigh and add: correlation, Gaussians, boxes, derivatives, as in scipy.ndimage."""

import numbers
import operator
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial

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
from ._passes import run_large, run_passes, run_separable, single
from ._weights import terms_of, window_of

_DIFFERENCE, _CURVATURE = np.array([-1.0, 0, 1]), np.array([1.0, -2, 1])
_PREWITT, _SOBEL = np.array([1.0, 1, 1]), np.array([1.0, 2, 1])


def _by_parts(function, x, weights, output, cval, **options):
    """A complex correlation as real ones of real and imaginary parts."""
    if x.dtype.kind != "c":
        if np.iscomplexobj(cval):
            raise ValueError("cval must be real where the input is: a complex-valued cval")
        function(x, weights.real, output=output.real, cval=cval, **options)
        function(x, weights.imag, output=output.imag, cval=cval, **options)
        return output
    function(x.real, weights.real, output=output.real, cval=np.real(cval), **options)
    function(x.imag, weights.real, output=output.imag, cval=np.imag(cval), **options)
    if weights.dtype.kind == "c":
        output.real -= function(x.imag, weights.imag, cval=np.imag(cval), **options)
        output.imag += function(x.real, weights.imag, cval=np.real(cval), **options)
    return output


def _weighted(axis, terms, before, mode, fill):
    """The pass of a one-dimensional correlation."""
    return axis, terms.op, len(terms.in_double), before, mode, fill, terms


def correlate1d(input, weights, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Correlate along one axis; see `scipy.ndimage.correlate1d`."""
    return _correlate1d("correlate1d", input, weights, axis, output, mode, cval, origin)


def _correlate1d(op, input, weights, axis, output, mode, cval, origin):
    x, weights = as_array(input), as_array(weights)
    if x.dtype.kind == "c" or weights.dtype.kind == "c":
        output = get_output(op, output, x, is_complex=True)
        return _by_parts(correlate1d, x, weights.conj(), output, cval, axis=axis, mode=mode,
                         origin=origin)
    output = get_output(op, output, x)
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 1 or not len(weights):
        raise RuntimeError(f"{op}: no filter weights given: weights.shape={weights.shape}")
    axis = check_axis(op, axis, x.ndim)
    before = len(weights) // 2 + check_origin(op, origin, len(weights))
    line = _weighted(axis, terms_of(weights), before, check_mode(op, mode), float(cval))
    return run_passes(readable(op, x, output), output, [line])


def _run_part(op, x, output, part, passes):
    """Run the passes on the real or the imaginary part."""
    out = getattr(output, part)
    run_passes(readable(op, np.ascontiguousarray(getattr(x, part)), out), out, passes)


def convolve1d(input, weights, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Convolve along one axis; see `scipy.ndimage.convolve1d`."""
    weights = as_array(weights)[::-1]
    if len(weights):
        check_origin("convolve1d", origin, len(weights))
    origin = -origin - (len(weights) % 2 == 0)
    return _correlate1d(
        "convolve1d", input, weights.conj(), axis, output, mode, cval, origin
    )


def _gaussian(sigma, order, radius):
    """Weights of a normalised Gaussian, or of its derivative of some order.

    A derivative is a polynomial times the Gaussian: that of p(x) g(x) is (p' - p x / sigma^2) g.
    Powers of x are summed from the lowest, as SciPy does: integers are cut off after filtering, and
    a weight's last bit can move one.
    """
    if order < 0:
        raise ValueError(f"gaussian_filter1d: order must be non-negative, got {order}")
    x = np.arange(-radius, radius + 1)
    bell = np.exp(x**2 * (-0.5 / (sigma * sigma)))
    bell /= bell.sum()
    polynomial, falling = Polynomial([1.0]), Polynomial([0.0, -1 / (sigma * sigma)])
    for _ in range(order):
        polynomial = polynomial.deriv() + polynomial * falling
    powers = np.vander(x, order + 1, increasing=True)
    return powers.dot(polynomial.coef) * bell if order else bell


@lru_cache(256)
def _gaussian_terms(sigma, order, radius):
    return terms_of(np.ascontiguousarray(_gaussian(sigma, order, radius)[::-1]))


def _gaussian_pass(axis, sigma, order, mode, cval, truncate, radius):
    sigma = float(sigma)
    if radius is None:
        radius = int(truncate * sigma + 0.5)
    if not isinstance(radius, numbers.Integral) or radius < 0:
        raise ValueError(f"gaussian_filter1d: radius must be a nonnegative integer, got {radius!r}")
    terms = _gaussian_terms(sigma, operator.index(order), int(radius))
    return _weighted(axis, terms, radius, check_mode("gaussian_filter1d", mode), float(cval))


def gaussian_filter1d(input, sigma, axis=-1, order=0, output=None, mode="reflect", cval=0.0,
                      truncate=4.0, *, radius=None):
    """Gaussian, or its derivative, along one axis; see `scipy.ndimage.gaussian_filter1d`."""
    x = as_array(input)
    axis = check_axis("gaussian_filter1d", axis, x.ndim)
    return gaussian_filter(x, max(sigma, 2e-15), order, output, mode, cval, truncate,
                           radius=radius, axes=axis)


def gaussian_filter(input, sigma, order=0, output=None, mode="reflect", cval=0.0, truncate=4.0, *,
                    radius=None, axes=None):
    """Gaussian along several axes; see `scipy.ndimage.gaussian_filter`."""
    op = "gaussian_filter"
    x = as_array(input)
    is_complex = x.dtype.kind == "c"
    output = get_output(op, output, x)
    if is_complex and output.dtype.kind != "c":
        raise RuntimeError(f"{op}: output must have a complex dtype, got {output.dtype}")
    axes = check_axes(op, axes, x.ndim)
    each = {"order": order, "sigma": sigma, "mode": mode, "radius": radius}
    each = [one_each(op, name, value, len(axes)) for name, value in each.items()]
    passes = [
        _gaussian_pass(axis, s, o, m, 0 if is_complex else cval, truncate, r)
        for axis, o, s, m, r in zip(axes, *each, strict=True) if s > 1e-15
    ]  # fmt: skip
    if not passes:
        output[...] = x
        return output
    if not is_complex:
        return run_passes(readable(op, x, output), output, passes)
    for part, fill in (("real", np.real(cval)), ("imag", np.imag(cval))):
        filled = [(*line[:5], float(fill), line[6]) for line in passes]
        _run_part(op, x, output, part, filled)
    return output


def _derivative(op, input, axis, output, mode, cval, across):
    x = as_array(input)
    axis = check_axis(op, axis, x.ndim)
    if x.dtype.kind == "c":
        output = get_output(op, output, x, is_complex=True)
        for part, fill in (("real", np.real(cval)), ("imag", np.imag(cval))):
            _derivative(op, getattr(x, part), axis, getattr(output, part), mode, fill, across)
        return output
    output = get_output(op, output, x)
    modes = [check_mode(op, m) for m in one_each(op, "mode", mode, x.ndim)]
    fill, difference = float(cval), terms_of(_DIFFERENCE)
    passes = [_weighted(axis, difference, 1, modes[axis], fill)]
    passes += [
        _weighted(other, terms_of(across), 1, modes[other], fill)
        for other in range(x.ndim) if other != axis
    ]  # fmt: skip
    # Linear where nothing but the picture counts, and whole numbers wrap alike in any order.
    any_order = not cval and (output.dtype.kind == "f" or output.dtype.itemsize < 8)
    return run_passes(readable(op, x, output), output, passes, any_order)


def prewitt(input, axis=-1, output=None, mode="reflect", cval=0.0):
    """Difference along one axis, sums of three along the others; see `scipy.ndimage.prewitt`."""
    return _derivative("prewitt", input, axis, output, mode, cval, _PREWITT)


def sobel(input, axis=-1, output=None, mode="reflect", cval=0.0):
    """Difference along one axis, 1 2 1 along the others; see `scipy.ndimage.sobel`."""
    return _derivative("sobel", input, axis, output, mode, cval, _SOBEL)


def _summed(op, x, output, axes, mode, one, finish=None, change=None):
    """The sum over `axes` of one(axis, output or dtype, mode), each changed before."""
    output = get_output(op, output, x)
    axes = check_axes(op, axes, x.ndim)
    if not axes:
        output[...] = x
        return output
    for i, (axis, m) in enumerate(zip(axes, one_each(op, "mode", mode, len(axes)), strict=True)):
        if i == 0 and np.may_share_memory(x, output):
            x = x.copy()
        part = one(x, axis, output if i == 0 else output.dtype, m)
        if change is not None:
            change(part)
        if i:
            output += part
    if finish is not None:
        finish(output)
    return output


def laplace(input, output=None, mode="reflect", cval=0.0, *, axes=None):
    """Second differences, summed over axes; see `scipy.ndimage.laplace`."""

    def one(x, axis, output, mode):
        return correlate1d(x, _CURVATURE, axis, output, mode, cval)

    return _summed("laplace", as_array(input), output, axes, mode, one)


def _gaussian_along(x, sigmas, order, cval, options):
    def one(x, axis, output, mode):
        orders = [order if other == axis else 0 for other in range(x.ndim)]
        return gaussian_filter(x, sigmas, orders, output, mode, cval, **options)

    return one


def gaussian_laplace(input, sigma, output=None, mode="reflect", cval=0.0, *, axes=None, **kwargs):
    """Second Gaussian derivatives, summed over axes; see `scipy.ndimage.gaussian_laplace`."""
    x = as_array(input)
    chosen = check_axes("gaussian_laplace", axes, x.ndim)
    sigmas = dict(zip(chosen, one_each("gaussian_laplace", "sigma", sigma, len(chosen)),
                      strict=True))
    sigmas = [sigmas.get(axis, 0) for axis in range(x.ndim)]
    one = _gaussian_along(x, sigmas, 2, cval, kwargs)
    return _summed("gaussian_laplace", x, output, axes, mode, one)


def gaussian_gradient_magnitude(input, sigma, output=None, mode="reflect", cval=0.0, *, axes=None,
                                **kwargs):
    """Length of the Gaussian gradient; see `scipy.ndimage.gaussian_gradient_magnitude`."""
    x = as_array(input)
    one = _gaussian_along(x, sigma, 1, cval, kwargs)
    return _summed(
        "gaussian_gradient_magnitude", x, output, axes, mode, one,
        finish=lambda y: np.sqrt(y, y, casting="unsafe"), change=lambda y: np.multiply(y, y, y),
    )  # fmt: skip


def correlate(input, weights, output=None, mode="reflect", cval=0.0, origin=0, *, axes=None):
    """Correlate over a window; see `scipy.ndimage.correlate`."""
    return _correlate("correlate", input, weights, output, mode, cval, origin, axes)


def convolve(input, weights, output=None, mode="reflect", cval=0.0, origin=0, *, axes=None):
    """Convolve over a window; see `scipy.ndimage.convolve`."""
    return _correlate("convolve", input, weights, output, mode, cval, origin, axes)


def _correlate(op, input, weights, output, mode, cval, origin, axes):
    x, weights = as_array(input), as_array(weights)
    function = {"correlate": correlate, "convolve": convolve}[op]
    if x.dtype.kind == "c" or weights.dtype.kind == "c":
        output = get_output(op, output, x, is_complex=True)
        weights = weights.conj() if op == "correlate" else weights
        return _by_parts(function, x, weights, output, cval, mode=mode, origin=origin, axes=axes)
    weights = np.asarray(weights, np.float64)
    axes = check_axes(op, axes, x.ndim)
    origins = one_each(op, "origin", origin, len(axes))
    weights, origins = spread(op, "weights", weights, origins, axes, x.ndim)
    if op == "convolve":
        window_starts(op, origins, weights.shape)  # the origins as they were given
        weights = np.flip(weights)
        origins = [-o - (n % 2 == 0) for o, n in zip(origins, weights.shape, strict=True)]
    before = window_starts(op, origins, weights.shape)
    output = get_output(op, output, x)
    if not isinstance(mode, str):
        raise RuntimeError(f"{op}: mode: A sequence of modes is not supported, got {mode!r}")
    mode, x = check_mode(op, mode), readable(op, x, output)
    window, fill = window_of(weights), float(cval)
    terms = window.terms
    if not len(terms.in_double) or not x.ndim:
        output[...] = x * weights if len(terms.in_double) else 0
        return output
    use_single = single(x.dtype, output.dtype, terms, fill)
    if use_single and window.parts and run_separable(x, output, window.parts, before, mode, fill):
        return output
    return run_large(x, output, weights, before, mode, fill, window, use_single)


def uniform_filter1d(input, size, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Mean of `size` neighbours along one axis; see `scipy.ndimage.uniform_filter1d`."""
    x, size = as_array(input), operator.index(size)
    if size < 1:
        raise RuntimeError(f"uniform_filter1d: incorrect filter size: {size}, must be at least 1")
    axis = check_axis("uniform_filter1d", axis, x.ndim)
    return _boxes("uniform_filter1d", x, output, cval, [(axis, size, mode, origin)])


def _boxes(op, x, output, cval, boxes):
    output = get_output(op, output, x, x.dtype.kind == "c")
    lines = [
        (axis, "box", int(n), int(n) // 2 + check_origin(op, o, int(n)), check_mode(op, m))
        for axis, n, m, o in boxes
    ]
    if not lines:
        output[...] = x
        return output
    if x.dtype.kind != "c":
        passes = [(*line, float(cval), None) for line in lines]
        return run_passes(readable(op, x, output), output, passes)
    for part, fill in (("real", np.real(cval)), ("imag", np.imag(cval))):
        passes = [(*line, float(fill), None) for line in lines]
        _run_part(op, x, output, part, passes)
    return output


def uniform_filter(input, size=3, output=None, mode="reflect", cval=0.0, origin=0, *, axes=None):
    """Mean over a box; see `scipy.ndimage.uniform_filter`."""
    op = "uniform_filter"
    x = as_array(input)
    axes = check_axes(op, axes, x.ndim)
    each = {"size": size, "mode": mode, "origin": origin}
    each = [one_each(op, name, value, len(axes)) for name, value in each.items()]
    boxes = [box for box in zip(axes, *each, strict=True) if box[1] > 1]
    return _boxes(op, x, output, cval, boxes)
