"""The reference's activations and soft maxima against literals and PyTorch."""

import numpy as np
import pytest

from fastconv import reference

# Both ends of float32's exponential, both zeros, and what is no number.
HARD = [-np.inf, -1e30, -104, -88, -4, -3, -0.5, -0.0, 0.0, 0.5, 3, 4, 88, 89, 1e30, np.inf, np.nan]
SAME_NAME = ["relu", "leaky_relu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish"]


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    # float32 keeps 2**-23; below its smallest normal number PyTorch may give 0.
    rtol = 4 * np.finfo(expected.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-37)


def test_by_hand():
    x = np.array([-4.0, -1.5, 0, 1.5, 4])
    assert_close(reference.relu(x), np.array([0.0, 0, 0, 1.5, 4]))
    assert_close(reference.leaky_relu(x, 0.5), np.array([-2, -0.75, 0, 1.5, 4]))
    assert_close(reference.hardsigmoid(x), np.array([0, 0.25, 0.5, 0.75, 1]))
    assert_close(reference.hardswish(x), np.array([0, -0.375, 0, 1.125, 4]))
    assert_close(reference.sigmoid(np.log([3.0])), np.array([0.75]))
    assert_close(reference.silu(np.log([3.0])), 0.75 * np.log([3.0]))
    assert_close(reference.tanh(np.log([3.0])), np.array([0.8]))


def test_sigmoid_is_exact_at_both_ends():
    y = reference.sigmoid(np.float32([-1000, -80, 80, 1000]))
    assert_close(y, np.exp([-np.inf, -80, 0, 0]).astype(np.float32))


def test_prelu_has_a_slope_for_each_channel():
    x = np.array([[-1.0, -2], [-3, 4]])  # two channels of two cells, then two pixels of two
    slopes = [0.5, 10]
    expected = np.array([[-0.5, -1], [-30, 4]])
    assert_close(reference.prelu(x, slopes, layout="NCW"), expected)
    assert_close(reference.prelu(x.T, slopes, layout="NWC"), expected.T)
    assert_close(reference.prelu(x[..., None].swapaxes(0, 1), slopes)[..., 0], expected.T)
    assert_close(reference.prelu(x, 0.5), np.array([[-0.5, -1], [-1.5, 4]]))


def test_softmax_by_hand():
    x = np.log([[1.0, 3], [1, 1]])
    assert_close(reference.softmax(x), np.array([[0.25, 0.75], [0.5, 0.5]]))
    assert_close(reference.softmax(x, axis=0), np.array([[0.5, 0.75], [0.5, 0.25]]))
    assert_close(reference.log_softmax(x), np.log([[0.25, 0.75], [0.5, 0.5]]))


def test_softmax_does_not_overflow_and_log_softmax_does_not_round_to_zero():
    x = np.array([1000.0, 0])
    assert_close(reference.softmax(x), np.array([1.0, 0]))
    assert_close(reference.log_softmax(x), np.array([0.0, -1000]))


@pytest.mark.parametrize("function", [reference.softmax, reference.log_softmax])
def test_softmax_of_nothing_is_empty(function):
    assert function(np.empty((2, 0))).shape == (2, 0)


@pytest.mark.parametrize("name", [*SAME_NAME, "softmax", "log_softmax"])
@pytest.mark.parametrize(("dtype", "expected"), [("u1", "f4"), ("f2", "f4"), (">f8", "f8")])
def test_computes_in_at_least_float32(name, dtype, expected):
    assert getattr(reference, name)(np.ones(3, dtype)).dtype == np.dtype(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SAME_NAME)
def test_activation_as_pytorch(name, dtype, functional, rng):
    for x in (np.array(HARD, dtype), rng.normal(0, 3, (4, 50)).astype(dtype)):
        assert_close(getattr(reference, name)(x), functional(name, x))


@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
def test_leaky_relu_slopes_as_pytorch(slope, functional):
    x = np.array(HARD)
    assert_close(reference.leaky_relu(x, slope), functional("leaky_relu", x, slope))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_prelu_as_pytorch(shape, functional, rng):
    x = rng.standard_normal(shape)
    channels = 1 if len(shape) == 1 else 3
    for weight in (rng.standard_normal(1), rng.standard_normal(channels)):
        assert_close(reference.prelu(x, weight), functional("prelu", x, weight))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_as_pytorch(name, axis, functional, rng):
    x = rng.normal(0, 30, (3, 4, 5))
    np.testing.assert_allclose(
        getattr(reference, name)(x, axis), functional(name, x, axis), rtol=1e-12, atol=1e-300
    )


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_infinities_as_pytorch(name, functional):
    x = np.array([[-np.inf, 0, 1], [-np.inf] * 3, [np.inf, 0, 1], [np.nan, 0, 1]])
    assert_close(getattr(reference, name)(x), functional(name, x, 1))
