"""Gradients of the normalisations: against the reference, PyTorch and differences."""

import numpy as np
import pytest

import fastconv
from fastconv import grad
from fastconv._engine import channel_sums
from fastconv.reference import grad as reference

DTYPES = (np.float32, np.float64)
SHAPES = [((2, 3, 5, 4), None), ((4, 17), None), ((1, 33, 70), "NCW"), ((2, 5, 6, 64), "NHWC"),
          ((3, 4, 300), "NWC"), ((2, 64, 3, 3, 3), "NCDHW"), ((9, 100, 3), None)]
NUMBERS = [(), (0.5, 0.75, 2.0), (1e-2, 1.7, 0.1), (1, 0, 1), (1, -1, 1)]


def arrays(shape, dtype, seed=0, mean=2.0):
    rng = np.random.default_rng(seed)
    return [(3 * rng.standard_normal(shape) + m).astype(dtype) for m in (mean, 0.0)]


def channels_of(shape, layout):
    return shape[layout.index("C") if layout else min(1, len(shape) - 1)]


def parameters(channels, seed=1):
    """weight, mean, var."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(channels), rng.standard_normal(channels), rng.uniform(
        0.1, 3, channels)


def wide(*values):
    return [None if value is None else np.asarray(value, np.float64) for value in values]


def batch_norm(x, g, **options):
    axis = options.pop("axis", 1)
    weight, mean, var = parameters(x.shape[axis])
    return grad.batch_norm(x, g, weight, mean, var, **options)


# Batch normalisation


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape, layout", SHAPES, ids=str)
def test_batch_norm_against_reference(shape, layout, training, dtype, close, memory):
    x, g = arrays(shape, dtype)
    weight, mean, var = parameters(channels_of(shape, layout))
    cases = [(weight, mean, var), (None, mean, var)]
    if training:
        cases += [(weight, None, None), (None, None, None)]
    for case in cases:
        wanted = reference.batch_norm(*wide(x, g, *case), training=training, eps=1e-3,
                                      layout=layout)
        for order in memory.ALL:
            mine = grad.batch_norm(memory.lay(x, order), memory.lay(g, order), *case,
                                   training=training, eps=1e-3, layout=layout)
            for a, b in zip(mine, wanted, strict=True):
                close(a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_against_torch(training, dtype, close):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x, g = arrays((4, 19, 6, 7), dtype)
    weight, mean, var = (a.astype(dtype) for a in parameters(19))
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, weight, 0 * weight)]
    y = torch.nn.functional.batch_norm(tensors[0], torch.from_numpy(mean.copy()),
                                       torch.from_numpy(var.copy()), *tensors[1:],
                                       training=training)
    y.backward(torch.from_numpy(g))
    given = () if training else (mean, var)
    mine = grad.batch_norm(x, g, weight, *given, training=training)
    for a, b in zip(mine, tensors, strict=True):
        close(a, b.grad.numpy(), dtype)


def test_batch_norm_against_differences(differences):
    x, g = arrays((3, 2, 4), np.float64)
    weight = np.array([1.5, -0.5])

    def forward(v):
        statistics = v.mean(axis=(0, 2)), v.var(axis=(0, 2))
        return fastconv.batch_norm(v, *statistics, weight)

    dx, dweight, dbias = grad.batch_norm(x, g, weight, training=True)
    np.testing.assert_allclose(dx, differences(forward, x, g), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(dbias, g.sum(axis=(0, 2)))
    normalised = forward(x) / weight[:, None]
    np.testing.assert_allclose(dweight, (g * normalised).sum(axis=(0, 2)))


def test_far_from_zero_nothing_cancels(close):
    """A float32 mean of 1e4 is off by a large part of a small deviation."""
    x, g = arrays((8, 3, 50), np.float32, mean=0)
    x = (x * 1e-2 + 1e4).astype(np.float32)
    mine = grad.batch_norm(x, g, training=True)
    for a, b in zip(mine, reference.batch_norm(*wide(x, g), training=True), strict=True):
        close(a, b)


@pytest.mark.every_isa
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_over_channels_are_exact_in_float32(axis):
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((30, 41, 1003)) + 100).astype(np.float32)
    g = rng.standard_normal(x.shape).astype(np.float32)
    others = tuple(a for a in range(3) if a != axis)
    mean, squares = channel_sums.mean_and_squares(x, np.dtype(np.float32), axis)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=others), rtol=1e-14)
    np.testing.assert_allclose(squares, exact.var(axis=others) * (x.size / len(mean)), rtol=1e-11)
    center = np.ascontiguousarray(mean)
    first, second = channel_sums.gradient_sums(x, g, np.dtype(np.float32), axis, center)
    np.testing.assert_allclose(first, g.astype(np.float64).sum(axis=others), atol=1e-9)
    centered = exact - np.expand_dims(center, others)
    np.testing.assert_allclose(second, (g * centered).sum(axis=others), atol=1e-8)


@pytest.mark.every_isa
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bits_do_not_depend_on_threads(layout, same_for_any_threads):
    x, g = arrays((5, 60, 50, 40), np.float32)
    axis = layout.index("C")
    for training in (True, False):
        same_for_any_threads(
            lambda training=training: batch_norm(x, g, training=training, layout=layout, axis=axis)
        )
    same_for_any_threads(lambda: grad.batch_norm(x, g, training=True, layout=layout))
    same_for_any_threads(lambda: grad.local_response_norm(x, g, 5, layout=layout))


def test_nan_stays_in_its_channel():
    x, g = arrays((2, 3, 4), np.float32)
    x[0, 1, 2] = np.nan
    dx, dweight, dbias = grad.batch_norm(x, g, training=True)
    assert np.isnan(dx[:, 1]).all() and np.isfinite(dx[:, [0, 2]]).all()
    assert list(np.isnan(dweight)) == [False, True, False] and np.isfinite(dbias).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 4), (2, 3, 0)])
def test_nothing(shape):
    x = np.zeros(shape, np.float32)
    for training in (True, False):
        dx, dweight, dbias = batch_norm(x, x, training=training)
        assert dx.shape == shape and dx.dtype == np.float32
        np.testing.assert_array_equal(dweight, np.zeros(shape[1]))
        np.testing.assert_array_equal(dbias, np.zeros(shape[1]))
    assert grad.batch_norm(x, x, training=True)[0].shape == shape
    assert grad.local_response_norm(x, x, 3).shape == shape


# Local response normalisation


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 5, 8, 40])
@pytest.mark.parametrize("shape, layout", [((2, 3, 5, 4), None), ((2, 5, 6, 33), "NHWC"),
                                           ((20,), None), ((1, 33, 70), "NCW")], ids=str)
def test_local_response_norm_against_reference(shape, layout, size, dtype, close, memory):
    x, g = arrays(shape, dtype, mean=0)
    for numbers in NUMBERS:
        wanted = reference.local_response_norm(*wide(x, g), size, *numbers, layout=layout)
        for order in ("C", "Fortran", "sliced", "reversed"):
            mine = grad.local_response_norm(memory.lay(x, order), memory.lay(g, order), size,
                                            *numbers, layout=layout)
            close(mine, wanted, dtype)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_local_response_norm_against_torch_and_differences(size, close, differences):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x, g = arrays((2, 7, 3), np.float64, mean=0)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    torch.nn.functional.local_response_norm(tx, size, 0.3, 0.75, 1.5).backward(torch.from_numpy(g))
    mine = grad.local_response_norm(x, g, size, 0.3, 0.75, 1.5)
    close(mine, tx.grad.numpy())
    wanted = differences(
        lambda v: fastconv.local_response_norm(v, size, 0.3, 0.75, 1.5), x, g)
    np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-8)


X, ONES = np.zeros((2, 3)), np.ones(3)
BAD = [
    ("batch_norm", (X, X[:1]), {"training": True}, ValueError,
     r"batch_norm: grad_output must have the shape of x, \(2, 3\)"),
    ("batch_norm", (X, X), {"training": 1}, TypeError, "batch_norm: training must be True or"),
    ("batch_norm", (X, X), {"training": False}, ValueError, "mean and var must be given when"),
    ("batch_norm", (X, X, None, ONES), {"training": True}, ValueError, "given together"),
    ("batch_norm", (X, X, ONES[:2]), {"training": True}, ValueError, "weight must have shape"),
    ("batch_norm", (X, X, None, X, ONES), {"training": True}, ValueError, "mean must have shape"),
    ("batch_norm", (X, X), {"training": True, "eps": -1}, ValueError, "eps must be a number"),
    ("batch_norm", (X, X), {"training": True, "layout": "NHWC"}, ValueError, "x must have 4 axes"),
    ("batch_norm", (1.0, 1.0), {"training": True}, ValueError, "x must have a channel axis"),
    ("local_response_norm", (X, X, 0), {}, ValueError, "local_response_norm: size must be"),
    ("local_response_norm", (X, X[0], 1), {}, ValueError, "grad_output must have the shape"),
    ("local_response_norm", (X, X, 1, -1), {}, ValueError, "alpha must be a number"),
    ("local_response_norm", (X, X, 1, 1, np.inf), {}, ValueError, "beta must be a number"),
]


@pytest.mark.parametrize("name, arguments, settings, error, text", BAD)
def test_bad_arguments(name, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        getattr(grad, name)(*arguments, **settings)
