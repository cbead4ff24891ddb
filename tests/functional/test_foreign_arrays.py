"""Arrays of other libraries: taken without a copy, by whichever protocol they offer."""

import numpy as np
import pytest

import fastconv
from fastconv.functional._arrays import as_array


class ByDlpack:
    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class ByInterface:
    def __init__(self, array):
        self._array = array
        self.__array_interface__ = array.__array_interface__


@pytest.mark.parametrize("wrap", [ByDlpack, ByInterface, memoryview])
def test_no_copy(wrap, rng):
    x = rng.standard_normal((6, 7)).astype("float32")
    assert np.shares_memory(as_array("conv2d", "x", wrap(x)), x)
    weight = rng.standard_normal((3, 3)).astype("float32")
    np.testing.assert_array_equal(
        fastconv.conv2d(wrap(x), wrap(weight)), fastconv.conv2d(x, weight)
    )


def test_memory_maps(tmp_path, rng):
    x = rng.standard_normal((1, 2, 6, 7)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    weight = rng.standard_normal((3, 2, 3, 3)).astype("float32")
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(1, 3, 4, 5))
    assert fastconv.conv2d(mapped, weight, out=out) is out
    np.testing.assert_array_equal(out, fastconv.conv2d(x, weight))
