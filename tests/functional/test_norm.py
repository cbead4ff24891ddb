"""Batch normalisation, local response normalisation and dropout."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastconv import reference
from fastconv._engine import dispatch, threads
from fastconv.functional import activation, norm

WIDER = {np.float32: np.float64, np.float64: np.longdouble}


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def channels_last(x):
    """x, channels along axis 1, as an array with channels along the last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def statistics(rng, channels, dtype=np.float32):
    """running_mean, running_var, weight, bias."""
    mean, weight, bias = rng.standard_normal((3, channels))
    return [a.astype(dtype) for a in (mean, rng.uniform(0.1, 3, channels), weight, bias)]


def rearranged(x):
    """The same values at different places in memory."""
    spread = np.zeros((*x.shape, 2), x.dtype)[..., 1]
    spread[...] = x
    return {
        "C": x,
        "Fortran": np.asfortranarray(x),
        "channels last": np.moveaxis(channels_last(x), -1, 1),
        "backwards": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "spread": spread,
    }


def batch_norm(x, **options):
    return norm.batch_norm(x, *statistics(np.random.default_rng(0), 19), **options)


def response_norm(x, **options):
    return norm.local_response_norm(x, 5, 0.3, 0.75, 1.5, **options)


BOTH = [batch_norm, response_norm]


# Batch normalisation


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (4, 17), (1, 33, 70), (2, 64, 3, 3, 3), (5,)])
def test_batch_norm_against_reference(shape, dtype):
    rng = np.random.default_rng(1)
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    mean, var, weight, bias = statistics(rng, shape[min(1, x.ndim - 1)], dtype)
    eps = 4 * np.finfo(dtype).eps
    for affine in ({}, {"weight": weight}, {"bias": bias}, {"weight": weight, "bias": bias}):
        y = norm.batch_norm(x, mean, var, **affine, eps=1e-3)
        wide = reference.batch_norm(x.astype(WIDER[dtype]), mean, var, **affine, eps=1e-3)
        assert y.dtype == dtype
        magnitude = np.abs(wide) + np.max(np.abs(affine.get("bias", [0])))
        assert np.all(np.abs(y - wide) <= eps * magnitude)


def test_batch_norm_does_not_cancel_far_from_zero():
    """x - mean comes first: with x * scale + shift the digits would be gone."""
    x = np.float32(1e6) + np.arange(4, dtype=np.float32)[None]
    y = norm.batch_norm(x.T, [1e6], [1.0], eps=0)
    assert np.array_equal(y.ravel(), [0, 1, 2, 3])


def test_batch_norm_with_activation():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 19, 5, 6)).astype(np.float32)
    plain = batch_norm(x)
    assert np.array_equal(batch_norm(x, activation="relu"), np.maximum(plain, 0))
    assert np.array_equal(batch_norm(x, activation=("clip", -0.5, 1)), np.clip(plain, -0.5, 1))
    np.testing.assert_allclose(batch_norm(x, activation="tanh"), np.tanh(plain), 1e-6)


def test_batch_norm_keeps_the_type_of_x():
    x = np.ones((2, 3), np.float32)
    assert norm.batch_norm(x, [0, 0, 0], [1.0, 1, 1]).dtype == np.float32
    assert norm.batch_norm(x.astype(np.int8), [0, 0, 0], [1, 1, 1]).dtype == np.float32
    assert norm.batch_norm(x.astype(np.int64), [0, 0, 0], [1, 1, 1]).dtype == np.float64


def test_batch_norm_without_variance():
    y = norm.batch_norm(np.float32([[1, 1, 2]]), [1, 0, 0], [0, 0, -1], eps=0)
    assert np.isnan(y[0, 0]) and y[0, 1] == np.inf and np.isnan(y[0, 2])


def test_batch_norm_statistics_may_lie_under_out():
    x = np.random.default_rng(3).standard_normal((40, 40)).astype(np.float32)
    wanted = norm.batch_norm(x, x[0].copy(), np.ones(40))
    assert np.array_equal(norm.batch_norm(x, x[0], np.ones(40), out=x), wanted)


# Local response normalisation


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 40])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (3, 17), (1, 33, 70), (20,), (2, 96, 7, 7)])
def test_local_response_norm_against_reference(shape, size, dtype):
    x = (3 * np.random.default_rng(4).standard_normal(shape)).astype(dtype)
    for numbers in ((), (0.5, 0.75, 2.0), (1e-2, 1.7, 0.1), (1.0, 0.5, 0.0), (1, 0, 1), (1, -1, 1)):
        y = norm.local_response_norm(x, size, *numbers)
        wide = reference.local_response_norm(x.astype(WIDER[dtype]), size, *numbers)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, wide, 16 * np.finfo(dtype).eps, 1e-30)


def check_powers():
    """The power inside, over the whole range of bases: without energy, 1 becomes k^-beta."""
    for dtype, least, most in ((np.float32, -149, 127), (np.float64, -1074, 1023)):
        base = np.exp2(np.linspace(least, most, 311, dtype=np.longdouble)).astype(dtype)
        one = np.ones(1, dtype)
        for beta in (0.75, 0.5, 0.1, 1, 3, -0.3):
            y = np.array([norm.local_response_norm(one, 1, 0, beta, float(k))[0] for k in base])
            with np.errstate(over="ignore", under="ignore"):
                wanted = (base.astype(np.longdouble) ** np.longdouble(-beta)).astype(dtype)
            finite = np.isfinite(wanted)
            assert np.array_equal(np.isfinite(y), finite), (dtype, beta)
            error = np.abs(y[finite] - wanted[finite]) / np.spacing(wanted[finite])
            assert error.max() <= 3 + abs(beta), (dtype, beta, error.max())


@pytest.mark.parametrize("isa", dispatch.available_isas())
def test_powers_over_the_whole_range_at_every_level(isa):
    program = (
        "import importlib.util as u, warnings; warnings.simplefilter('error');"
        f"s = u.spec_from_file_location('t', {__file__!r}); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); m.check_powers(); print(m.dispatch.isa())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FASTCONV_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa


def test_local_response_norm_at_the_ends():
    x = np.float32([[0, 0, np.inf, 0, 0, np.nan, 0, 0, 0, 1]])
    y = norm.local_response_norm(x, 3, k=1)
    with np.errstate(invalid="ignore"):
        wanted = reference.local_response_norm(x.astype(np.float64), 3, k=1)
    np.testing.assert_allclose(y, wanted, 1e-6)
    assert np.isnan(y[0, [2, 4, 5, 6]]).all() and not np.isnan(y[0, [0, 1, 3, 7, 8, 9]]).any()
    assert np.isnan(norm.local_response_norm(np.zeros((1, 3)), 3, k=0)).all()
    huge = norm.local_response_norm(np.full((1, 3), 1e30, np.float32), 3)
    assert np.array_equal(huge, np.zeros((1, 3)))


def test_local_response_norm_window_beyond_all_channels():
    x = np.random.default_rng(5).standard_normal((2, 4, 3)).astype(np.float32)
    y = norm.local_response_norm(x, 10**9, 1e9)
    wanted = x / (1 + np.sum(x.astype(np.float64) ** 2, 1, keepdims=True)) ** 0.75
    np.testing.assert_allclose(y, wanted, 1e-5)


# Both


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_in_any_memory_and_layout(function, dtype):
    x = np.random.default_rng(6).standard_normal((2, 19, 13, 37)).astype(dtype)
    plain = function(x)
    for memory, array in rearranged(x).items():
        assert same_bits(function(array), plain), memory
    for memory, out in rearranged(np.zeros_like(x)).items():
        assert function(x, out=out) is out
        assert same_bits(np.ascontiguousarray(out), plain), memory
    assert same_bits(channels_first(function(channels_last(x), layout="NHWC")), plain)
    assert same_bits(function(x[1], layout="NCHW"), plain[1])
    sample = np.moveaxis(x[0], 0, -1)
    assert same_bits(function(sample, layout="NHWC"), np.moveaxis(plain[0], 0, -1).copy())
    flat = x.reshape(2, 19, -1)
    assert same_bits(function(flat, layout="NCW").reshape(x.shape), plain)
    assert same_bits(function(x[:, :, None], layout="NCDHW")[:, :, 0], plain)


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 3, 10, 16, 31, 32, 33])
@pytest.mark.parametrize("pixels", [1, 31, 32, 101, 3001])
def test_few_channels_last_give_the_bits_of_planes(rng, channels, pixels, dtype):
    x = rng.standard_normal((1, pixels, channels)).astype(dtype)
    tables = statistics(rng, channels, dtype)
    for function in (lambda x, layout: norm.batch_norm(x, *tables, layout=layout),
                     lambda x, layout: activation.prelu(x, tables[2], layout=layout)):
        y = function(x, "NWC")
        assert same_bits(channels_first(y), function(channels_first(x), "NCW"))


@pytest.mark.parametrize("function", BOTH)
def test_same_bits_for_any_number_of_threads(function):
    x = np.random.default_rng(7).standard_normal((3, 19, 61, 67)).astype(np.float32)
    last, before = channels_last(x), threads.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 7):
            threads.set_num_threads(count)
            results.append((function(x), function(last, layout="NHWC")))
    finally:
        threads.set_num_threads(before)
    for first, second in results:
        assert same_bits(first, results[0][0]) and same_bits(second, results[0][1])


@pytest.mark.parametrize("function", BOTH)
def test_in_place_and_overlapping_out(function):
    plain = np.random.default_rng(8).standard_normal((6, 19, 11)).astype(np.float32)
    wanted = function(plain)
    x = plain.copy()
    assert function(x, out=x) is x and same_bits(x, wanted)
    x = plain.copy()
    function(x[:-1], out=x[1:])
    assert same_bits(x[1:].copy(), wanted[:-1])


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("shape", [(0, 19), (2, 19, 0), (1, 19, 1, 1), (19,)])
def test_odd_shapes(function, shape):
    y = function(np.ones(shape, np.float32))
    assert y.shape == shape and y.dtype == np.float32


def test_no_channels():
    assert norm.batch_norm(np.ones((2, 0)), [], []).shape == (2, 0)
    assert norm.local_response_norm(np.ones((2, 0)), 3).shape == (2, 0)


def test_against_torch():
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    rng = np.random.default_rng(9)
    x = rng.standard_normal((2, 12, 7, 5)).astype(np.float32)
    parameters = statistics(rng, 12)
    tensors = [torch.from_numpy(a) for a in (x, *parameters)]
    theirs = torch.nn.functional.batch_norm(*tensors, eps=1e-4).numpy()
    np.testing.assert_allclose(norm.batch_norm(x, *parameters, eps=1e-4), theirs, 1e-5, 1e-5)
    for size, *numbers in ((5,), (4, 0.7, 0.6, 2.0), (3, 1.0, 1.5, 0.5)):
        theirs = torch.nn.functional.local_response_norm(tensors[0], size, *numbers).numpy()
        np.testing.assert_allclose(norm.local_response_norm(x, size, *numbers), theirs, 2e-6)


def test_fuzz():
    reason = "needs hypothesis: pip install fastconv[test]"
    hypothesis = pytest.importorskip("hypothesis", reason=reason)
    st = hypothesis.strategies

    @hypothesis.settings(max_examples=150, deadline=None)
    @hypothesis.given(st.data())
    def run(data):
        shape = tuple(data.draw(st.lists(st.integers(1, 23), min_size=2, max_size=4)))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        dtype = data.draw(st.sampled_from(list(WIDER)))
        x = rng.standard_normal(shape).astype(dtype)
        view = data.draw(st.sampled_from(list(rearranged(x).values())))
        size, beta = data.draw(st.integers(1, 30)), data.draw(st.floats(-2, 2))
        alpha, k = data.draw(st.floats(0, 10)), data.draw(st.floats(0.01, 10))
        y = norm.local_response_norm(view, size, alpha, beta, k)
        wide = reference.local_response_norm(x.astype(WIDER[dtype]), size, alpha, beta, k)
        np.testing.assert_allclose(y, wide, 30 * np.finfo(dtype).eps, 1e-30)
        parameters = statistics(rng, shape[1], dtype)
        y = norm.batch_norm(view, *parameters)
        wide = reference.batch_norm(x.astype(WIDER[dtype]), *parameters)
        np.testing.assert_allclose(y, wide, 1e-6, 20 * np.finfo(dtype).eps)

    run()


# Dropout


def test_dropout():
    x = np.random.default_rng(10).standard_normal((50, 60)).astype(np.float32)
    y = norm.dropout(x, 0.3, True, rng=7)
    np.testing.assert_allclose(y, reference.dropout(x, 0.3, True, rng=7), 1e-6)
    assert 0.25 < np.mean(y == 0) < 0.35
    assert not same_bits(y, norm.dropout(x, 0.3, True, np.random.default_rng(8)))
    assert norm.dropout(x, 0.3, False) is x
    assert norm.dropout(x, 0.0, True) is x
    assert not norm.dropout(x, 1.0, True).any()
    assert norm.dropout(np.ones(9, int), 0.5, True).dtype == np.float64
    y = norm.dropout(np.full(100, np.inf), 0.5, True, 1)
    assert set(y) == {0, np.inf}


# Bad input

X = np.ones((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: norm.batch_norm(X, [0, 0], [1, 1, 1]),
            ValueError,
            r"batch_norm: running_mean must have shape \(3,\), one number per channel of x "
            r"\(x.shape=\(2, 3, 4\)\), got running_mean.shape=\(2,\)",
        ),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, weight=[1]), ValueError, "weight must have"),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, bias="a"), TypeError, "bias must be"),
        (lambda: norm.batch_norm(X, [0] * 3, None), TypeError, "running_var must be"),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, eps=-1), ValueError, "eps must be"),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, eps="1"), TypeError, "eps must be"),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, layout="NHWC"), ValueError, "running_mean"),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, activation="x"), ValueError, "activation"),
        (lambda: norm.batch_norm(X, [0] * 3, [1] * 3, out=X.T), ValueError, "out must have shape"),
        (lambda: norm.batch_norm(1.0, [0], [1]), ValueError, "x must have a channel axis"),
        (lambda: norm.local_response_norm(X, 0), ValueError, "size must be at least 1"),
        (lambda: norm.local_response_norm(X, 2.0), TypeError, "size must be an int"),
        (lambda: norm.local_response_norm(X, 2, -1), ValueError, "alpha must be a number at least"),
        (lambda: norm.local_response_norm(X, 2, 1, np.nan), ValueError, "beta must be a number be"),
        (lambda: norm.local_response_norm(X, 2, 1, 1, -1), ValueError, "k must be a number at"),
        (lambda: norm.local_response_norm(X, 2, layout="NCDHW"), ValueError, "x must have 5 axes"),
        (lambda: norm.local_response_norm(X + 1j, 2), TypeError, "x must be an array of real"),
        (lambda: norm.dropout(X, 1.5), ValueError, "p must be a number between 0 and 1, got 1.5"),
        (lambda: norm.dropout(X, 0.5, 1), TypeError, "training must be True or False"),
        (lambda: norm.dropout(X, 0.5, True, "x"), TypeError, "rng must be None, a non-negative"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()
