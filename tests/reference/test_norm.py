"""The reference's normalisations and dropout against literals and PyTorch."""

import numpy as np
import pytest

from fastconv import reference

SHAPES = [(4, 3), (4, 3, 5), (4, 3, 5, 6), (2, 3, 4, 5, 6)]
CHANNELS_LAST = {3: "NWC", 4: "NHWC", 5: "NDHWC"}


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_batch_norm_by_hand():
    x = np.array([[5.0, 1], [9, 3]])  # two samples of two channels
    y = reference.batch_norm(x, [1, 1], [4, 1], [1, 10], [0, 0.5], eps=0)
    assert_close(y, np.array([[2, 0.5], [4, 20.5]]))


def test_local_response_norm_by_hand():
    x = np.array([[[3.0], [4], [0], [5]]])
    # size 2: each channel with the one before it
    y = reference.local_response_norm(x, 2, alpha=2, beta=1, k=1)
    assert_close(y, np.array([[[3 / 10], [4 / 26], [0], [5 / 26]]]))
    # size 3: one before, one behind
    y = reference.local_response_norm(x, 3, alpha=3, beta=0.5, k=0)
    assert_close(y, np.array([[[3 / 5], [4 / 5], [0], [1]]]))


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_layouts_and_missing_batch(shape, rng):
    x = rng.standard_normal(shape)
    last, layout = np.moveaxis(x, 1, -1), CHANNELS_LAST[len(shape)]
    mean, var = rng.standard_normal(3), rng.random(3)
    for function in (
        lambda x, layout=None: reference.batch_norm(x, mean, var, mean, var, layout=layout),
        lambda x, layout=None: reference.local_response_norm(x, 2, 1.0, layout=layout),
        lambda x, layout=None: reference.prelu(x, mean, layout=layout),
    ):
        expected = np.moveaxis(function(x), 1, -1)
        np.testing.assert_array_equal(function(last, layout), expected)
        np.testing.assert_array_equal(function(last[1], layout), expected[1])


def test_dropout_at_inference_is_the_identity():
    x = np.array([1.0, np.nan, -3])
    np.testing.assert_array_equal(reference.dropout(x, 0.7, training=False), x)
    np.testing.assert_array_equal(reference.dropout(x, 0.0), x)


def test_dropout_scales_what_it_keeps(rng):
    x = rng.standard_normal((100, 200)).astype(np.float32)
    y = reference.dropout(x, 0.25, rng=7)
    kept = y != 0
    assert y.dtype == np.float32
    assert abs(kept.mean() - 0.75) < 0.01
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(kept, np.random.default_rng(7).random(x.shape) >= 0.25)
    np.testing.assert_array_equal(y, reference.dropout(x, 0.25, rng=np.random.default_rng(7)))


def test_dropout_of_everything_is_zero():
    np.testing.assert_array_equal(reference.dropout([1.0, -2], 1.0), [0, 0])


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_as_pytorch(shape, affine, functional, rng):
    x, mean, var = rng.standard_normal(shape), rng.standard_normal(3), rng.random(3)
    weight, bias = (rng.standard_normal(3), rng.standard_normal(3)) if affine else (None, None)
    y = reference.batch_norm(x, mean, var, weight, bias, eps=1e-3)
    assert_close(y, functional("batch_norm", x, mean, var, weight, bias, eps=1e-3))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("shape", [(2, 7, 4), (2, 7, 4, 3), (2, 7, 3, 2, 3)])
def test_local_response_norm_as_pytorch(shape, size, functional, rng):
    args = rng.normal(0, 5, shape), size, 0.3, 0.6, 2.0
    assert_close(reference.local_response_norm(*args), functional("local_response_norm", *args))
    args = args[:2]
    assert_close(reference.local_response_norm(*args), functional("local_response_norm", *args))
