"""Activations and soft maxima: exact to a few last places, in any memory, at any thread count."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv._engine import dispatch, threads
from fastconv.functional import activation

ELEMENTWISE = {
    "relu": (),
    "relu6": (),
    "leaky_relu": (0.3,),
    "sigmoid": (),
    "tanh": (),
    "silu": (),
    "hardsigmoid": (),
    "hardswish": (),
}
WIDER = {np.float32: np.float64, np.float64: np.longdouble}
EXTREMES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 5e-324, 1e-40, -1e-310, 3e38, -3e38]


def expected(name, x, *numbers):
    """The reference's result, from arithmetic wider than x's."""
    with np.errstate(all="ignore"):
        wide = np.asarray(x, WIDER[x.dtype.type])
        if name == "relu6":
            return np.clip(wide, 0, 6)
        return getattr(reference, name)(wide, *numbers)


def units_in_the_last_place(y, wide):
    """|y - wide| in units of y's type; 0 where both are NaN or the same infinity."""
    with np.errstate(all="ignore"):
        rounded = wide.astype(y.dtype)
        units = np.abs(y.astype(wide.dtype) - wide) / np.spacing(np.abs(rounded)).astype(wide.dtype)
    same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    units = np.where(same & ~np.isfinite(units), 0, units)
    return np.where(np.isnan(units), np.inf, units)


def whole_range(dtype, rng):
    """Every exponent, both signs, the range where the functions bend, and the extremes."""
    bits = {np.float32: np.uint32, np.float64: np.uint64}[dtype]
    limit = {np.float32: 115, np.float64: 760}[dtype]
    parts = [
        rng.integers(0, np.iinfo(bits).max, 200_000, dtype=bits, endpoint=True).view(dtype),
        rng.uniform(-limit, limit, 100_000).astype(dtype),
        (3 * rng.standard_normal(100_000)).astype(dtype),
        np.linspace(-1, 1, 10_001, dtype=dtype) * dtype(1e-3),
    ]
    with np.errstate(over="ignore"):
        parts.append(np.array(EXTREMES).astype(dtype))
    return np.concatenate(parts)


def rearranged(x):
    """The same values at different places in memory."""
    padded = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = padded[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    spread = np.zeros((*x.shape[:-1], 3 * x.shape[-1]), x.dtype)[..., ::3]
    spread[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "C": x,
        "Fortran": np.asfortranarray(x),
        "channels last": np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
        "backwards": np.ascontiguousarray(x[:, ::-1, ..., ::-1])[:, ::-1, ..., ::-1],
        "spread": spread,
        "unaligned": unaligned,
        "byte-swapped": x.astype(x.dtype.newbyteorder()),
        "read-only": read_only,
    }


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# Accuracy


def check_accuracy():
    """Every elementwise function over the whole range: under 3 units in the last place."""
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        x = whole_range(dtype, rng)
        for name, numbers in ELEMENTWISE.items():
            y = getattr(activation, name)(x, *numbers)
            wide = expected(name, x, *numbers)
            if name == "hardswish":
                # The reference multiplies before it divides by 6, and overflows.
                wide = np.where(x >= 3, x, wide)
            units = units_in_the_last_place(y, wide)
            worst = np.argmax(units)
            assert units[worst] < 3, (name, dtype, x[worst], y[worst], wide[worst], units[worst])
            known = ~np.isnan(y) & (y != 0)
            assert np.array_equal(np.signbit(y[known]), np.signbit(wide[known])), name


@pytest.mark.parametrize("isa", dispatch.available_isas())
def test_accuracy_over_the_whole_range_at_every_level(isa):
    program = (
        "import importlib.util as u, warnings; warnings.simplefilter('error');"
        f"s = u.spec_from_file_location('t', {__file__!r}); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); m.check_accuracy(); print(m.dispatch.isa())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FASTCONV_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "silu", "hardswish", "relu", "leaky_relu"])
def test_zeros_keep_their_sign(name, dtype):
    y = getattr(activation, name)(np.array([0.0, -0.0], dtype))
    assert np.array_equal(np.signbit(y), [False, True]), y


def test_denormal_results_are_not_flushed():
    x = np.array([-90, -100, -103], np.float32)
    assert np.all(activation.sigmoid(x) > 0)
    assert np.all(activation.silu(x) < 0)
    x = np.full(40, 1e-42, np.float32)
    for name in ("relu", "tanh", "leaky_relu", "hardswish"):
        assert np.all(getattr(activation, name)(x) > 0), name


def test_values_at_the_ends():
    ends = np.array([-np.inf, np.inf, np.nan], np.float32)
    nan = np.nan
    for name, values in {
        "relu": [0, np.inf, nan],
        "relu6": [0, 6, nan],
        "leaky_relu": [-np.inf, np.inf, nan],
        "sigmoid": [0, 1, nan],
        "tanh": [-1, 1, nan],
        "silu": [nan, np.inf, nan],
        "hardsigmoid": [0, 1, nan],
        "hardswish": [nan, np.inf, nan],
    }.items():
        np.testing.assert_array_equal(getattr(activation, name)(ends), values, err_msg=name)


# Arrays of every kind


@pytest.mark.parametrize("name", ["relu", "silu"])
def test_integers_give_floats(name):
    function = getattr(activation, name)
    for given, computed in {
        np.bool_: np.float32,
        np.int8: np.float32,
        np.uint16: np.float32,
        np.float16: np.float32,
        np.int32: np.float64,
        np.int64: np.float64,
    }.items():
        x = np.array([[0, 1, 1]], given)
        y = function(x)
        assert y.dtype == computed
        assert same_bits(y, function(x.astype(computed)))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 1), (2, 1, 3), (1,) * 12])
def test_odd_shapes(shape):
    x = np.full(shape, -1.5, np.float32)
    for name, numbers in ELEMENTWISE.items():
        y = getattr(activation, name)(x, *numbers)
        assert isinstance(y, np.ndarray) and y.shape == shape and y.dtype == np.float32
        assert y.size == 0 or units_in_the_last_place(y, expected(name, x, *numbers)).max() < 3


def test_many_axes_without_merging():
    x = np.arange(3**9, dtype=np.float32).reshape((3,) * 9)[(slice(None, None, 2),) * 9] - 5000
    assert np.array_equal(activation.relu(x), np.maximum(x, 0))


def test_broadcast_input():
    x = np.broadcast_to(np.float32([[-1], [2]]), (2, 1000))
    assert np.array_equal(activation.relu(x), np.maximum(x, 0))


def test_results_are_contiguous_and_aligned():
    x = np.ones((2, 5, 7), np.float32).transpose(2, 0, 1)
    for y in (activation.relu(x), activation.softmax(x, 0), activation.log_softmax(x)):
        assert y.flags.c_contiguous and y.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*ELEMENTWISE, "prelu", "softmax", "log_softmax"])
def test_same_bits_in_any_memory(name, dtype):
    rng = np.random.default_rng(2)
    x = (5 * rng.standard_normal((2, 19, 13, 37))).astype(dtype)
    numbers = {"prelu": (rng.standard_normal(19),), "softmax": (1,), "log_softmax": (1,)}
    function, numbers = getattr(activation, name), numbers.get(name, ELEMENTWISE.get(name))
    plain = function(x, *numbers)
    for memory, array in rearranged(x).items():
        assert same_bits(function(array, *numbers), plain), memory
    for memory, out in rearranged(np.zeros_like(x)).items():
        if memory not in ("byte-swapped", "read-only"):
            assert function(x, *numbers, out=out) is out
            assert same_bits(np.ascontiguousarray(out), plain), memory


@pytest.mark.parametrize("name", [*ELEMENTWISE, "prelu", "softmax", "log_softmax"])
def test_same_bits_at_any_place_and_length(name):
    """An element's result does not depend on where in the array, or in a vector, it stands."""
    rng = np.random.default_rng(3)
    x = (5 * rng.standard_normal((100, 6))).astype(np.float32)
    function, numbers = getattr(activation, name), ELEMENTWISE.get(name, ())
    if name == "prelu":
        numbers = (0.2,)
    plain = function(x, *numbers)
    for start, end in [(0, 1), (1, 2), (3, 20), (5, 100), (98, 99)]:
        assert same_bits(function(x[start:end], *numbers), plain[start:end])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax", "log_softmax"])
def test_same_bits_for_any_number_of_threads(name):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 70, 41, 43)).astype(np.float32)
    function, before = getattr(activation, name), threads.get_num_threads()
    axes = [(-1,), (1,), (0,)] if "softmax" in name else [()]
    try:
        results = []
        for count in (1, 2, 3, 7):
            threads.set_num_threads(count)
            results.append([function(x, *axis) for axis in axes])
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


def test_in_place_and_overlapping_out():
    rng = np.random.default_rng(5)
    for function in (activation.tanh, activation.softmax, activation.log_softmax):
        plain = rng.standard_normal((40, 33)).astype(np.float32)
        wanted = function(plain)
        x = plain.copy()
        assert function(x, out=x) is x and same_bits(x, wanted)
        x = plain.copy()
        function(x, out=x[::-1])
        assert same_bits(np.ascontiguousarray(x[::-1]), wanted)
        x = plain.copy()
        function(x[:-1], out=x[1:])
        assert same_bits(x[1:].copy(), wanted[:-1])


def test_in_place_makes_no_copy():
    x = np.ones((300, 1000), np.float32)
    for function in (activation.relu, activation.softmax):
        function(x, out=x)
        tracemalloc.start()
        function(x, out=x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes // 10


# Each function's own


def test_prelu_slopes():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 5, 4, 3)).astype(np.float32)
    weight = rng.standard_normal(5)
    y = activation.prelu(x, weight)
    np.testing.assert_array_equal(y, reference.prelu(x, weight.astype(np.float32)))
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert same_bits(np.moveaxis(y, 1, -1).copy(), activation.prelu(last, weight, layout="NHWC"))
    assert same_bits(y[0], activation.prelu(x[0], weight, layout="NCHW"))
    assert same_bits(activation.prelu(x, 0.25), activation.leaky_relu(x, 0.25))
    assert same_bits(activation.prelu(x, [0.25]), activation.leaky_relu(x, 0.25))
    assert activation.prelu(np.float32(-2), 0.25) == -0.5


def test_prelu_slopes_may_lie_under_out():
    x = -np.ones((64, 64), np.float32)
    wanted = activation.prelu(x, x[0].copy())
    assert np.array_equal(activation.prelu(x, x[0], out=x), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [0.1, 5, 100])
@pytest.mark.parametrize("shape", [(1, 1000), (7, 1), (5, 2), (300, 3), (4, 33), (2, 17)])
def test_soft_maxima_against_reference(shape, scale, dtype):
    x = (scale * np.random.default_rng(7).standard_normal(shape)).astype(dtype)
    wide, eps = x.astype(WIDER[dtype]), np.finfo(dtype).eps
    for axis in (0, 1, -1):
        y, z = activation.softmax(x, axis), activation.log_softmax(x, axis)
        np.testing.assert_allclose(y, reference.softmax(wide, axis), 8 * eps * max(scale, 1), 1e-44)
        wanted = reference.log_softmax(wide, axis)
        assert np.all(np.abs(z - wanted) <= 2 * eps * (1 + np.abs(x) + np.abs(wanted)))


def test_soft_maxima_at_the_ends():
    inf, nan = np.inf, np.nan
    rows = np.array(
        [[0, 1e30, -1e30], [inf, 0, 0], [-inf, -inf, -inf], [-inf, 0, 0], [nan, 0, 1], [3e38] * 3],
        np.float32,
    )
    third, half = np.float32(1 / 3), 0.5
    soft = [[0, 1, 0], [nan] * 3, [nan] * 3, [0, half, half], [nan] * 3, [third] * 3]
    for x, axis in ((rows, 1), (rows.T, 0), (np.repeat(rows[None], 40, 0), 2)):
        wanted = np.array(soft, np.float32)
        y = activation.softmax(x, axis)
        np.testing.assert_array_equal(y.T if axis == 0 else y, np.broadcast_to(
            wanted, y.T.shape if axis == 0 else y.shape))
    z = activation.log_softmax(rows)
    np.testing.assert_allclose(z[3], [-inf, np.log(0.5), np.log(0.5)], rtol=1e-6)
    assert np.isnan(z[[1, 2, 4]]).all()


def test_nan_stays_in_its_own_line():
    x = np.zeros((50, 40), np.float32)
    x[3, 17] = np.nan
    for axis, bad in ((1, (3, slice(None))), (0, (slice(None), 17))):
        for function in (activation.softmax, activation.log_softmax):
            y = function(x, axis)
            assert np.isnan(y[bad]).all()
            assert np.isnan(y).sum() == np.isnan(y[bad]).sum()


def test_softmax_of_a_number_and_of_nothing():
    assert activation.softmax(3.0) == 1 and activation.log_softmax(np.float32(3)) == 0
    out = np.empty((), np.float32)
    assert activation.softmax(np.float32(3), 0, out=out) is out and out == 1
    assert activation.softmax(np.zeros((3, 0))).shape == (3, 0)
    assert activation.softmax(np.zeros((0, 3)), 0).shape == (0, 3)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax", "log_softmax"])
def test_against_torch(name):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    rng = np.random.default_rng(8)
    x = np.concatenate([8 * rng.standard_normal(5000), [np.nan, np.inf, -np.inf, 0, -0.0]])
    if "softmax" in name:
        x, numbers = x[:5000].reshape(4, 25, 50), (1,)
    else:
        numbers = ELEMENTWISE[name]
    for dtype in (np.float32, np.float64):
        x = x.astype(dtype)
        theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x), *numbers).numpy()
        ours = getattr(activation, name)(x, *numbers)
        tolerance = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance)


def test_prelu_against_torch():
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    rng = np.random.default_rng(9)
    x = rng.standard_normal((2, 6, 5, 4)).astype(np.float32)
    weight = rng.standard_normal(6).astype(np.float32)
    theirs = torch.nn.functional.prelu(torch.from_numpy(x), torch.from_numpy(weight)).numpy()
    np.testing.assert_array_equal(activation.prelu(x, weight), theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "hardsigmoid", "hardswish"])
@pytest.mark.parametrize(("kernel", "groups", "layout"), [
    (1, 1, "NHWC"), (3, 1, "NHWC"), (3, 1, "NCHW"), (3, 24, "NHWC"), (3, 8, "NHWC"), (1, 1, "NCHW"),
])
def test_next_to_sums_they_round_as_they_do_alone(kernel, groups, layout, name, dtype):
    rng = np.random.default_rng(10)
    shape = (1, 9, 11, 24) if layout == "NHWC" else (1, 24, 9, 11)
    x = rng.standard_normal(shape).astype(dtype)
    weight = rng.standard_normal((24, 24 // groups, kernel, kernel)).astype(dtype)
    settings = {"groups": groups, "layout": layout}
    sums = fastconv.conv2d(x, weight, **settings)
    fused = fastconv.conv2d(x, weight, activation=name, **settings)
    np.testing.assert_array_equal(fused, getattr(activation, name)(sums))


def test_fuzz():
    reason = "needs hypothesis: pip install fastconv[test]"
    hypothesis = pytest.importorskip("hypothesis", reason=reason)
    st = hypothesis.strategies

    @hypothesis.settings(max_examples=150, deadline=None)
    @hypothesis.given(st.data())
    def run(data):
        shape = tuple(data.draw(st.lists(st.integers(1, 23), min_size=1, max_size=4)))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        x = (4 * rng.standard_normal(shape)).astype(data.draw(st.sampled_from(list(WIDER))))
        order = data.draw(st.permutations(range(x.ndim)))
        view = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        steps = tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -3]))) for _ in shape)
        view, x = view[steps], x[steps]
        name = data.draw(st.sampled_from([*ELEMENTWISE, "softmax", "log_softmax"]))
        if "softmax" in name:
            numbers = (data.draw(st.integers(-x.ndim, x.ndim - 1)),)
            units = 60
        else:
            numbers, units = ELEMENTWISE[name], 3
        y = getattr(activation, name)(view, *numbers)
        wanted = expected(name, x, *numbers)
        eps = np.finfo(x.dtype).eps
        assert np.all(np.abs(y - wanted) <= units * eps * np.maximum(np.abs(wanted), 1e-30) + (
            60 * eps if name == "log_softmax" else 0))

    run()


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: activation.relu("abc"), TypeError, "relu: x must be an array of real numbers"),
        (lambda: activation.tanh(np.ones(2, complex)), TypeError, "tanh: x must be"),
        (lambda: activation.relu(np.ones(3), out=np.ones(4)), ValueError, r"relu: out must have"),
        (
            lambda: activation.relu(np.ones(3, np.float32), out=np.ones(3)),
            TypeError,
            "relu: out must have dtype float32",
        ),
        (lambda: activation.leaky_relu([1.0], "a"), TypeError, "negative_slope must be a number"),
        (lambda: activation.leaky_relu([1.0], np.nan), ValueError, "negative_slope must be"),
        (lambda: activation.softmax([1.0], 1), ValueError, r"axis must be between -1 and 0 \(x"),
        (lambda: activation.softmax([[1.0]], 0.5), TypeError, "softmax: axis must be an int"),
        (
            lambda: activation.prelu(np.ones((2, 3)), [1, 2]),
            ValueError,
            r"prelu: weight must have shape \(3,\), one number per channel of x \(x.shape=\(2, 3\)",
        ),
        (lambda: activation.prelu(np.ones((2, 3)), [[1]]), ValueError, "prelu: weight must have"),
        (lambda: activation.prelu(1.0, [1, 2]), ValueError, "prelu: x must have a channel axis"),
        (
            lambda: activation.prelu(np.ones((2, 3)), 1, layout="NCHW"),
            ValueError,
            r'prelu: x must have 4 axes \(N, C, H, W\) for layout="NCHW", or 3',
        ),
        (lambda: activation.prelu(np.ones((2, 3)), 1, layout="NC"), ValueError, "layout must be"),
        (lambda: activation.prelu(np.ones((2, 3)), 1, layout=1), TypeError, "layout must be None"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()
