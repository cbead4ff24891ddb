"""The reference's flatten and pad against literals and PyTorch."""

import numpy as np
import pytest

from fastconv import reference


def assert_equal(actual, expected):
    np.testing.assert_array_equal(actual, expected, strict=True)


def test_flatten_by_hand():
    x = np.arange(24).reshape(2, 3, 4)
    assert_equal(reference.flatten(x), np.arange(24))
    assert_equal(reference.flatten(x, 1), np.arange(24).reshape(2, 12))
    assert_equal(reference.flatten(x, 0, 1), np.arange(24).reshape(6, 4))
    assert_equal(reference.flatten(np.float32(3)), np.array([3], np.float32))
    assert reference.flatten(np.empty((0, 3, 4)), 1).shape == (0, 12)


def test_pad_by_hand():
    x = np.array([1, 2, 3])
    assert_equal(reference.pad(x, (1, 2)), np.array([0, 1, 2, 3, 0, 0]))
    assert_equal(reference.pad(x, (1, 2), value=9), np.array([9, 1, 2, 3, 9, 9]))
    assert_equal(reference.pad(x, (2, 1), "reflect"), np.array([3, 2, 1, 2, 3, 2]))
    assert_equal(reference.pad(x, (1, 2), "replicate"), np.array([1, 1, 2, 3, 3, 3]))
    assert_equal(reference.pad(x, (1, 2), "edge"), np.array([1, 1, 2, 3, 3, 3]))
    assert_equal(reference.pad(x, (1, 2), "circular"), np.array([3, 1, 2, 3, 1, 2]))
    assert_equal(reference.pad(x, (-1, 1)), np.array([2, 3, 0]))


def test_pad_order_of_axes():
    x = np.array([[1]])
    assert_equal(reference.pad(x, (1, 0, 0, 2)), np.array([[0, 1], [0, 0], [0, 0]]))
    assert_equal(reference.pad(x, ((1, 0), (0, 2))), np.array([[0, 0, 0], [1, 0, 0]]))


@pytest.mark.parametrize("dims", [(0, -1), (1, -1), (1, 2), (-2, -1), (2, 2)])
def test_flatten_as_pytorch(dims, functional, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    assert_equal(reference.flatten(x, *dims), functional("flatten", x, *dims))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "widths", [(2, 1), (0, 3), (1, 2, 3, 0), (2, 2, 1, 1), (-1, 2), (1, -2), (-1, -1, 2, 0)]
)
def test_pad_as_pytorch(widths, mode, functional, rng):
    x = rng.standard_normal((2, 3, 5, 6)[: 2 + len(widths) // 2])
    assert_equal(reference.pad(x, widths, mode), functional("pad", x, widths, mode))


@pytest.mark.parametrize("widths", [(1, 2), (1, 2, 3, 4), (0, 0, 1, 0, 2, 1), (0, 1) * 4])
def test_constant_pad_of_any_axes_as_pytorch(widths, functional, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    expected = functional("pad", x, widths, "constant", -2.5)
    assert_equal(reference.pad(x, widths, "constant", -2.5), expected)
