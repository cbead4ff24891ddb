"""One import changed: edges of a photograph and a smooth stack, by SciPy and by fastconv."""

import time

import numpy as np
from scipy import ndimage
from skimage import data

from fastconv import filters


def edges(library, photo):
    smooth = library.gaussian_filter(photo, 3)
    return np.hypot(library.sobel(smooth, 0), library.sobel(smooth, 1))


def smooth_stack(library, stack):
    return library.gaussian_filter(stack, 2)


def best_of_three(function, *arguments):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return result, 1e3 * min(times)


photo = data.camera().astype(np.float32)
stack = np.stack([np.roll(photo, 3 * step, 1)[:256, :256] for step in range(64)])
for function, picture in ((edges, photo), (smooth_stack, stack)):
    before, scipy_ms = best_of_three(function, ndimage, picture)
    after, our_ms = best_of_three(function, filters, picture)
    error = abs(after - before).max() / abs(before).max()
    print(f"{function.__name__}: {scipy_ms:.1f} -> {our_ms:.1f} ms, error {error:.0e}")
    assert error < 1e-5
