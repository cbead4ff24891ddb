"""Image filters with scipy.ndimage's names, arguments and meaning, compiled and threaded.

    from fastconv import filters            # instead of: from scipy import ndimage as filters
    smooth = filters.gaussian_filter(photo, 3)

Arrays of any number of axes, any strides, bool, integers, float32 and float64, and complex numbers
where SciPy takes them. Integers are SciPy's to the last bit: sums are made in the same order in
float64, or exactly. Where input and output are float32 the arithmetic is float32, within 1e-5 of
the magnitudes that are added up. One difference: SciPy's one-dimensional boxes, maxima and minima
carry a NaN on to pixels whose window does not hold it, or lose it; here exactly the windows that
hold a NaN give NaN. `convolve2d` and `correlate2d` are those of scipy.signal; `correlate_bank`, for
several kernels at once, is ours.
"""

from .bank import correlate_bank
from .linear import (
    convolve,
    convolve1d,
    correlate,
    correlate1d,
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
    uniform_filter,
    uniform_filter1d,
)
from .planes import convolve2d, correlate2d
from .rank import (
    grey_dilation,
    grey_erosion,
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
)

__all__ = [
    "convolve", "convolve1d", "convolve2d", "correlate", "correlate1d", "correlate2d",
    "correlate_bank", "gaussian_filter", "gaussian_filter1d", "gaussian_gradient_magnitude",
    "gaussian_laplace", "grey_dilation", "grey_erosion", "laplace", "maximum_filter",
    "maximum_filter1d", "minimum_filter", "minimum_filter1d", "prewitt", "sobel",
    "uniform_filter", "uniform_filter1d",
]  # fmt: skip
