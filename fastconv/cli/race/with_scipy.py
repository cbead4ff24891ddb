"""SciPy in the race: scipy.ndimage.correlate, on single pictures of one channel; one thread."""

from __future__ import annotations

from functools import partial

import scipy
from scipy import ndimage

from fastconv.cli.race.contestants import SitsOut


def version():
    """Return SciPy's version."""
    return scipy.__version__


def prepare(job, arrays, threads):
    """Bind the picture and the kernel; SciPy has no threads."""
    if job["op"] == "network":
        raise SitsOut("it runs no networks")
    x, kernel = arrays["x"], arrays.get("weight")
    if kernel is None or len(x) != 1 or kernel.shape[:2] != (1, 1):
        raise SitsOut("it filters single pictures of one channel")
    same = [size // 2 for size in kernel.shape[2:]]
    plain = job["stride"] == job["dilation"] == [1, 1] and job["padding"] == same
    if not plain or not all(size % 2 for size in kernel.shape[2:]):
        raise SitsOut("its results are as large as the picture")
    picture = x[0, ..., 0] if job["layout"] == "NHWC" else x[0, 0]
    return partial(_filter, picture, kernel[0, 0], arrays["bias"][0]), partial(_shape, x.shape)


def _filter(picture, kernel, bias):
    result = ndimage.correlate(picture, kernel, mode="constant")
    result += bias
    return result


def _shape(shape, result):
    return result.reshape(shape)
