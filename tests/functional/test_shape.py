"""flatten and pad."""

import numpy as np
import pytest

from fastconv import reference
from fastconv.functional import shape

MODES = ("constant", "reflect", "replicate", "circular")
TORCH = "needs torch: pip install fastconv[bench]"


def test_flatten_is_a_view_where_it_can_be():
    x = np.arange(120).reshape(2, 3, 4, 5)
    y = shape.flatten(x, 1)
    assert y.shape == (2, 60) and np.shares_memory(x, y)
    assert np.shares_memory(shape.flatten(x[::-1, :, ::-1], 2, 3), x) is False
    assert np.shares_memory(shape.flatten(x[::-1, :, :, ::2], 0, 0), x)
    turned = x.transpose(0, 2, 3, 1)
    assert np.array_equal(shape.flatten(turned, 1), turned.copy().reshape(2, 60))


@pytest.mark.parametrize("dims", [(0, -1), (1, -1), (1, 2), (-2, -1), (2, 2), (0, 0)])
def test_flatten_against_reference(dims):
    x = np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5)
    y = shape.flatten(x, *dims)
    assert np.array_equal(y, reference.flatten(x, *dims)) and y.dtype == x.dtype


def test_flatten_odd_shapes():
    assert shape.flatten(np.float32(3), 0).shape == (1,)
    assert shape.flatten(np.ones((2, 0, 3)), 1).shape == (2, 0)
    assert shape.flatten(np.ones((0, 2, 3)), 1).shape == (0, 6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "pad",
    [(1, 2), (0, 3, 2, 1), (1, 0, 0, 1, 2, 2), (0, 0), (), (-1, 2), (2, -3, -1, -1), (3, 3, -2, 1)],
)
def test_pad_against_reference(mode, pad):
    for dtype in (np.float32, np.int16, np.bool_):
        x = np.random.default_rng(0).integers(0, 100, (4, 5, 6)).astype(dtype)
        for array in (x, np.asfortranarray(x), x[::-1, :, ::-1]):
            y = shape.pad(array, pad, mode, 1)
            value = {"value": 1} if mode == "constant" else {}
            wanted = reference.pad(array, pad, mode, **value)
            assert np.array_equal(y, wanted) and y.dtype == dtype
            assert y.flags.c_contiguous and y.ctypes.data % 64 == 0
            assert not np.shares_memory(x, y)


def test_pad_pairs():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(shape.pad(x, ((1, 2), (0, 3))), shape.pad(x, (0, 3, 1, 2)))
    assert np.array_equal(shape.pad(x, np.array([[1, 1]])), shape.pad(x, np.array([1, 1])))


def test_pad_odd_inputs():
    assert shape.pad(np.float32(2), ()).shape == ()
    assert np.array_equal(shape.pad(np.ones((0, 2)), (0, 0, 1, 2), value=7), np.full((3, 2), 7))
    assert shape.pad(np.ones((2, 3)), (-1, -2)).shape == (2, 0)
    assert np.isnan(shape.pad(np.ones(1, np.float32), (1, 0), value=np.nan)[0])
    assert np.array_equal(shape.pad([1, 2], (1, 1)), [0, 1, 2, 0])
    swapped = np.arange(3, dtype=">i4")
    assert np.array_equal(shape.pad(swapped, (2, 2), "reflect"), [2, 1, 0, 1, 2, 1, 0])


@pytest.mark.parametrize("mode", MODES)
def test_pad_against_torch(mode):
    torch = pytest.importorskip("torch", reason=TORCH)
    x = np.random.default_rng(1).standard_normal((2, 3, 5, 6)).astype(np.float32)
    for pad in ((1, 2), (4, 4, 2, 3), (3, 0, 0, 1), (-1, 2, 2, -2)):
        array = x[0] if len(pad) == 2 else x
        theirs = torch.nn.functional.pad(torch.from_numpy(array), pad, mode).numpy()
        assert np.array_equal(shape.pad(array, pad, mode), theirs)


@pytest.mark.parametrize("dims", [(1, -1), (0, 1), (2, 3)])
def test_flatten_against_torch(dims):
    torch = pytest.importorskip("torch", reason=TORCH)
    x = np.arange(120).reshape(2, 3, 4, 5)
    assert np.array_equal(shape.flatten(x, *dims), torch.flatten(torch.from_numpy(x), *dims))


X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: shape.flatten(X, 2), ValueError, r"flatten: start_dim must be between -2 and 1"),
        (lambda: shape.flatten(X, 0, -3), ValueError, "flatten: end_dim must be between -2 and 1"),
        (lambda: shape.flatten(X, 1, 0), ValueError, "start_dim must not come after end_dim"),
        (lambda: shape.flatten(X, 0.0), TypeError, "flatten: start_dim must be an int"),
        (lambda: shape.flatten(X + 1j), TypeError, "flatten: x must be an array of real numbers"),
        (lambda: shape.pad(X, 1), TypeError, "pad: pad must be a flat"),
        (lambda: shape.pad(X, "same"), TypeError, "pad: pad must be a flat"),
        (lambda: shape.pad(X, (1,)), ValueError, "pad must have two numbers for each axis, got 1"),
        (lambda: shape.pad(X, ((1, 2, 3),)), ValueError, "pad: pad must be a flat"),
        (lambda: shape.pad(X, (1, 2.0)), TypeError, "pad: pad must be an int, got 2.0"),
        (lambda: shape.pad(X, (1, 2) * 3), ValueError, r"pad is for 3 axes, x has 2 \(x.shape"),
        (lambda: shape.pad(X, (1, 1), "edge"), ValueError, 'pad: mode must be one of "constant"'),
        (lambda: shape.pad(X, (1, 1), None), TypeError, 'pad: mode must be one of "constant"'),
        (lambda: shape.pad(X, (3, 0), "reflect"), ValueError, "needs 4 elements along axis 1 to"),
        (lambda: shape.pad(X, (-2, 1), "reflect"), ValueError, "needs 2 elements along axis 1 to"),
        (lambda: shape.pad(X, (-2, -2)), ValueError, "pad takes off more than there is"),
        (lambda: shape.pad(X, (4, 0), "circular"), ValueError, "needs 4 elements along axis 1"),
        (lambda: shape.pad(np.ones((2, 0)), (1, 0), "replicate"), ValueError, "needs 1 elements"),
        (lambda: shape.pad(np.ones(3, int), (1, 1), value=0.5), ValueError, "that int64 can hold"),
        (lambda: shape.pad(np.ones(3, np.int8), (1, 1), value=300), ValueError, "that int8 can"),
        (lambda: shape.pad(np.ones(3, int), (1, 1), value=np.nan), ValueError, "that int64 can"),
        (lambda: shape.pad(X, (1, 1), value="a"), TypeError, "pad: value must be a number"),
        (lambda: shape.pad(X, (1, 1), value=[1, 2]), TypeError, "pad: value must be a number"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()
