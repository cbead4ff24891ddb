"""One import changed: bright spots of a noisy 3-D stack, by SciPy and by fastconv."""

import time

import numpy as np
from scipy import ndimage

from fastconv import filters


def find_spots(library, stack):
    """Centres (plane, row, column) of what is brighter than all around it."""
    smooth = library.gaussian_filter(stack, 2)
    background = library.uniform_filter(stack, 25)
    peak = (library.maximum_filter(smooth, 9) == smooth) & (smooth > background + 40)
    return np.argwhere(peak)


def make_stack(shape=(64, 256, 256), count=40):
    """Spots on a wavy background, in noise, as 16-bit counts of a microscope; and the spots."""
    rng = np.random.default_rng(0)
    wave = 500 + 100 * np.sin(np.linspace(0, 9, shape[2], dtype=np.float32))
    stack = wave + rng.normal(0, 60, shape).astype(np.float32)
    places = np.stack(np.unravel_index(rng.choice(stack.size, count), shape), 1)
    spots = np.zeros(shape, np.float32)
    spots[tuple(places.T)] = 60_000
    return (stack + ndimage.gaussian_filter(spots, 2)).clip(0, 65535).astype(np.uint16), places


stack, places = make_stack()
results = {}
for library in (ndimage, filters):
    start = time.perf_counter()
    results[library] = find_spots(library, stack.astype(np.float32))
    print(f"{library.__name__}: {1e3 * (time.perf_counter() - start):.0f} ms")
assert np.array_equal(results[ndimage], results[filters])
distance = np.linalg.norm(places[:, np.newaxis] - results[filters], axis=-1).min(1)
found = np.sum(distance < 3)
print(f"{len(results[filters])} spots found, {found} of {len(places)} that are there")
