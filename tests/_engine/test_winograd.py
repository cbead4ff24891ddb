"""Winograd convolution against the float64 reference."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastconv
from fastconv import plan, reference
from fastconv._engine import dispatch
from fastconv._engine.winograd_cost import CHOICES
from fastconv._engine.winograd_matrices import FORMS
from fastconv.functional import _convolve
from fastconv.functional._cache import BoundedCache
from fastconv.functional.conv import conv1d, conv2d, conv3d, conv_transpose2d, prepare_conv

pytestmark = pytest.mark.usefixtures("threads")

# max |error| over the largest sum of magnitudes
BOUND = {"float32": 1e-5, "float64": 1e-13}


@pytest.fixture
def rng():
    return np.random.default_rng(20151111)


@pytest.fixture(params=FORMS, ids=lambda form: "F({},{})".format(*form))
def form(request, monkeypatch):
    """Make every Winograd convolution of the test use one tile: of F(tile, taps)."""
    choose = plan.choose

    def chosen(*args, **kwargs):
        choice = choose(*args, **kwargs)
        assert choice.algorithm == "winograd"
        return choice._replace(tile=request.param[0])

    monkeypatch.setattr(plan, "choose", chosen)
    monkeypatch.setattr(_convolve, "_calls", BoundedCache(64))
    return request.param


@pytest.fixture
def tile(form):
    """Outputs of a tile along an axis."""
    return form[0]


@pytest.fixture
def taps(form):
    """Taps of the kernels along an axis, if it has any."""
    return form[1]


@pytest.fixture
def kernel(taps):
    """The largest kernel of so many taps: along two axes, or one where tiles are not nested."""
    return (taps, taps) if (taps, 2) in CHOICES else (1, taps)


# x, weight, padding, groups, dilation; `widened` makes the kernels larger
CASES = {
    "small": ((2, 16, 12, 12), (16, 16, 3, 3), 1, 1, 1),
    "one pixel": ((1, 3, 3, 3), (2, 3, 3, 3), 0, 1, 1),
    "ragged": ((1, 5, 7, 9), (7, 5, 3, 3), 1, 1, 1),
    "rows only": ((3, 70, 9, 17), (130, 70, 3, 3), (2, 0), 1, 1),
    "uneven padding": ((1, 33, 6, 11), (20, 33, 3, 3), ((3, 0), (0, 5)), 1, 1),
    "few tiles": ((1, 300, 8, 8), (200, 300, 3, 3), 1, 1, 1),
    "long chains": ((1, 600, 5, 6), (9, 600, 3, 3), 1, 1, 1),
    "wide": ((1, 17, 5, 300), (16, 17, 3, 3), 1, 1, 1),
    "groups": ((2, 12, 11, 5), (18, 4, 3, 3), 1, 3, 1),
    "depthwise": ((1, 6, 10, 10), (6, 1, 3, 3), 1, 6, 1),
    "along a row": ((1, 20, 6, 40), (33, 20, 1, 3), (0, 1), 1, 1),
    "down a column": ((2, 20, 40, 6), (33, 20, 3, 1), (1, 0), 1, 1),
    "dilated": ((2, 16, 15, 22), (20, 16, 3, 3), 2, 1, 2),
    "dilated unevenly": ((1, 33, 11, 41), (20, 33, 3, 3), ((3, 0), (0, 5)), 1, (3, 2)),
    "dilated, long runs": ((1, 17, 5, 90), (16, 17, 3, 3), (1, 24), 1, (1, 24)),
    "dilated beyond": ((1, 5, 7, 9), (7, 5, 3, 3), (12, 30), 1, (12, 30)),
    "dilated groups": ((2, 12, 11, 13), (18, 4, 3, 3), 3, 3, 3),
    "dilated along a row": ((1, 20, 6, 40), (33, 20, 1, 3), (0, 4), 1, (9, 5)),
    "dilated down a column": ((2, 20, 40, 6), (33, 20, 3, 1), (4, 0), 1, (5, 9)),
}


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def widened(case, kernel):
    """A case of 3-wide kernels for another kernel, with padding for as many outputs."""
    x_shape, weight_shape, padding, groups, dilation = case
    taps = [max(kernel) if k == 3 else 1 for k in weight_shape[2:]]
    if weight_shape[2:] == (3, 3):
        taps = kernel
    more = [(new - old) // 2 * d
            for new, old, d in zip(taps, weight_shape[2:], pair(dilation), strict=True)]
    padding = tuple((max(0, before + m), max(0, after + m)) for (before, after), m
                    in zip(map(pair, pair(padding)), more, strict=True))
    return x_shape, weight_shape[:2] + tuple(taps), padding, groups, dilation


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request, kernel):
    return widened(request.param, kernel)


def random_operands(rng, case, dtype):
    x_shape, weight_shape, padding, groups, dilation = case
    x = rng.standard_normal(x_shape).astype(dtype)
    weight = rng.standard_normal(weight_shape).astype(dtype)
    bias = rng.standard_normal(weight_shape[0]).astype(dtype)
    return x, weight, bias, {"padding": padding, "groups": groups, "dilation": dilation}


def channels_last(x):
    """The same logical array on channels-last memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def scattered(x):
    """The same values with no contiguous axis, two of them reversed."""
    n, c, h, w = x.shape
    room = np.zeros((c, n, 2 * w, 3 * h), x.dtype)
    view = room.transpose(1, 0, 3, 2)[:, :, ::-3, ::-2]
    view[...] = x
    return view


def assert_close(y, x, weight, bias=None, convolution=reference.conv2d, **arguments):
    """Check against float64, by the largest sum of magnitudes."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    bias = None if bias is None else bias.astype(np.float64)
    expected = convolution(x, weight, bias, **arguments)
    arguments.pop("activation", None)
    magnitude = convolution(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias),
                            **arguments)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= BOUND[y.dtype.name] * magnitude.max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last, scattered])
def test_agrees_with_the_reference(rng, tile, case, dtype, order):
    x, weight, bias, arguments = random_operands(rng, case, dtype)
    y = conv2d(order(x), weight, bias, algorithm="winograd", **arguments)
    assert y.dtype == dtype
    assert_close(y, x, weight, bias, **arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_threads_and_memory_order(rng, tile, case, dtype, threads):
    x, weight, bias, arguments = random_operands(rng, case, dtype)
    arguments.update(algorithm="winograd", activation="relu")
    threads(1)
    expected = conv2d(x, weight, bias, **arguments)
    for count in (1, 2, 3, 7):
        threads(count)
        for order in (np.ascontiguousarray, channels_last, scattered):
            out = order(np.full_like(expected, np.nan))
            conv2d(order(x), weight, bias, out=out, **arguments)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize(
    "activation", [None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish"]
)
@pytest.mark.parametrize("name", ["ragged", "dilated", "dilated beyond"])
def test_epilogue(rng, kernel, name, activation, with_residual, with_bias):
    x, weight, bias, arguments = random_operands(rng, widened(CASES[name], kernel), "float32")
    bias = bias if with_bias else None
    plain = arguments.copy()
    sums = reference.conv2d(x.astype(float), weight.astype(float), **plain)
    residual = rng.standard_normal(sums.shape).astype(np.float32) if with_residual else None
    arguments.update(algorithm="winograd", activation=activation, residual=residual)
    y = conv2d(x, weight, bias, **arguments)
    if with_residual:
        arguments["residual"] = channels_last(residual)
    out = channels_last(np.empty_like(y))
    np.testing.assert_array_equal(conv2d(channels_last(x), weight, bias, out=out, **arguments), y)
    expected = reference.conv2d(
        x.astype(float), weight.astype(float), None if bias is None else bias.astype(float),
        activation=activation, residual=None if residual is None else residual.astype(float),
        **plain,
    )
    # sums of 3x3 magnitudes reach 150, slopes of activations 1.5
    magnitude = 150 * np.prod(kernel) / 9
    np.testing.assert_allclose(y, expected, rtol=0, atol=1.5 * magnitude * BOUND["float32"])


def test_epilogue_is_applied_to_whole_sums_in_order(rng, kernel):
    """Bias, residual, activation: the plain sums give the same bits."""
    x, weight, bias, arguments = random_operands(rng, widened(CASES["small"], kernel), "float32")
    arguments["algorithm"] = "winograd"
    residual = rng.standard_normal((2, 16, 12, 12)).astype(np.float32)
    sums = conv2d(x, weight, **arguments)
    y = conv2d(x, weight, bias, residual=residual, activation="relu", **arguments)
    np.testing.assert_array_equal(y, np.maximum(sums + bias[:, None, None] + residual, 0))


@pytest.mark.parametrize("name", ["ragged", "dilated beyond"])
def test_writes_only_its_own_part_of_out(rng, kernel, name):
    x, weight, bias, arguments = random_operands(rng, widened(CASES[name], kernel), "float32")
    for room in (np.full((1, 20, 9, 11), 7, np.float32),
                 np.full((1, 9, 11, 20), 7, np.float32).transpose(0, 3, 1, 2)):
        conv2d(x, weight, bias, algorithm="winograd", out=room[:, 5:12, 1:8, 1:10], **arguments)
        assert_close(room[:, 5:12, 1:8, 1:10], x, weight, bias, **arguments)
        room[:, 5:12, 1:8, 1:10] = 7
        assert (room == 7).all()


def test_empty_batch(kernel):
    x, weight = np.ones((0, 3, 8, 8), np.float32), np.ones((4, 3, *kernel), np.float32)
    assert conv2d(x, weight, padding="same", algorithm="winograd").shape == (0, 4, 8, 8)


def test_broadcast_input(rng, kernel):
    """An axis of stride 0 is read like any other."""
    x = np.broadcast_to(rng.standard_normal((1, 9, 1, 10)).astype(np.float32), (2, 9, 8, 10))
    weight = rng.standard_normal((5, 9, *kernel)).astype(np.float32)
    y = conv2d(x, weight, padding=1, algorithm="winograd")
    assert_close(y, x, weight, padding=1)


@pytest.mark.parametrize("dilation", [1, 2])
def test_cropping_transposed_convolution(rng, kernel, dilation):
    """Input gradients and transposed convolutions of large padding crop: negative padding."""
    x = rng.standard_normal((1, 8, 12, 13)).astype(np.float32)
    weight = rng.standard_normal((8, 6, *kernel)).astype(np.float32)
    arguments = {"padding": tuple(k + 2 for k in kernel), "dilation": dilation}
    y = conv_transpose2d(x, weight, algorithm="winograd", **arguments)
    assert_close(y, x, weight, convolution=reference.conv_transpose2d, **arguments)


@pytest.mark.parametrize("dilation", [1, 2, 31])
def test_one_dimension(rng, taps, dilation):
    x = rng.standard_normal((3, 40, 101)).astype(np.float32)
    weight = rng.standard_normal((24, 40, taps)).astype(np.float32)
    arguments = {"padding": taps // 2 * dilation, "dilation": dilation}
    y = conv1d(x, weight, algorithm="winograd", **arguments)
    assert_close(y, x, weight, convolution=reference.conv1d, **arguments)


@pytest.mark.parametrize("dilation", [1, (7, 2, 3)])
def test_slices_of_a_volume(rng, kernel, dilation):
    """A kernel of one slice works slice by slice, padded slices included."""
    x = rng.standard_normal((2, 6, 4, 9, 8)).astype(np.float32)
    weight = rng.standard_normal((5, 6, 1, *kernel)).astype(np.float32)
    arguments = {"padding": (1, 7, 7), "dilation": dilation}
    y = conv3d(x, weight, algorithm="winograd", **arguments)
    assert y.shape[2] == 6
    assert_close(y, x, weight, convolution=reference.conv3d, **arguments)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_input_stays_in_its_tiles(rng, tile, kernel, order, value, dilation):
    x, weight, bias, arguments = random_operands(rng, widened(CASES["small"], kernel), "float32")
    arguments.update(algorithm="winograd", padding="same", dilation=dilation)
    expected = conv2d(x, weight, bias, **arguments)
    place = 7, 3
    x[(1, 5, *place)] = value
    y = conv2d(order(x), weight, bias, **arguments)

    def reached(at, taps):
        """Output rows of its grid's tiles whose inputs, from tile * i - half on, include `at`."""
        half, size = taps // 2, tile if taps > 1 else 1
        return [o for o in range(at % dilation, 12, dilation)
                if 0 <= at // dilation + half - o // dilation // size * size < size + 2 * half]

    touched = np.zeros(y.shape, bool)
    touched[np.ix_([1], range(16), *map(reached, place, kernel))] = True
    np.testing.assert_array_equal(y[~touched], expected[~touched])
    window = [[o for o in range(at - k // 2 * dilation, at + k // 2 * dilation + 1, dilation)
               if 0 <= o < 12] for at, k in zip(place, kernel, strict=True)]
    assert not np.isfinite(y[1][np.ix_(range(16), *window)]).any()


def relative_error(rng, case, relu):
    """max|error| / max|y| with He-scaled weights, as networks have them."""
    x, weight, _, arguments = random_operands(rng, case, "float32")
    x = np.maximum(x, 0) if relu else x
    weight *= np.float32(np.sqrt(2 / np.prod(weight.shape[1:])))
    y = conv2d(x, weight, algorithm="winograd", **arguments)
    expected = reference.conv2d(x.astype(float), weight.astype(float), **arguments)
    return np.abs(y - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("size", "channels"), [(56, 64), (28, 128), (14, 512), (7, 512)])
def test_network_layers_are_accurate(rng, tile, taps, size, channels, relu):
    kernels = [(1, taps)] + [(taps, taps)] * (tile in CHOICES.get((taps, 2), ()))
    for kernel in kernels:
        padding = kernel[0] // 2, kernel[1] // 2
        case = (1, channels, size, size), (64, channels, *kernel), padding, 1, 1
        assert relative_error(rng, case, relu) <= 1e-5


def test_packed_weights_serve_every_size(rng, kernel):
    weight = rng.standard_normal((40, 70, *kernel)).astype(np.float32)
    op = prepare_conv(weight, padding=1, algorithm="winograd")
    for size in ((30, 31), (4, 5), (9, 100)):
        x = rng.standard_normal((2, 70, *size)).astype(np.float32)
        assert_close(op(x), x, weight, padding=1)


def test_random_problems(taps, kernel):
    hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis: fastconv[test]")
    from hypothesis import strategies as st

    pads = st.tuples(st.integers(0, 5), st.integers(0, 5))
    dilations = st.sampled_from([1, 1, 2, 3, 5, 12, 18])

    @hypothesis.settings(max_examples=60, deadline=None)
    @hypothesis.given(
        st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(1, 70),
        st.integers(1, 25), st.integers(1, 40),
        st.sampled_from([kernel, (1, taps), (taps, 1)]),
        pads, pads, st.tuples(dilations, dilations), st.sampled_from(["float32", "float64"]),
        st.sampled_from([np.ascontiguousarray, channels_last, scattered]),
        st.integers(1, 4), st.integers(0, 2**32 - 1),
    )
    def check(batch, groups, inputs, outputs, height, width, kernel, rows, columns, dilation,
              dtype, order, count, seed):
        rows, columns = (
            tuple(p + (d - 1) * (k - 1) // 2 for p in pads)  # windows fit as if undilated
            for pads, d, k in zip((rows, columns), dilation, kernel, strict=True)
        )
        extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        hypothesis.assume(height + sum(rows) >= extent[0] and width + sum(columns) >= extent[1])
        rng = np.random.default_rng(seed)
        case = ((batch, groups * inputs, height, width), (groups * outputs, inputs, *kernel),
                (rows, columns), groups, dilation)
        x, weight, bias, arguments = random_operands(rng, case, dtype)
        fastconv.set_num_threads(count)
        y = conv2d(order(x), weight, bias, algorithm="winograd", **arguments)
        assert_close(y, x, weight, bias, **arguments)

    check()


EVERY_LEVEL = """
import numpy as np
from fastconv import reference
from fastconv._engine import dispatch
from fastconv.functional.conv import conv2d
rng = np.random.default_rng(1)
for dtype, bound in (("float32", 1e-5), ("float64", 1e-13)):
    for shape, kernel, groups, dilation in (((2, 70, 9, 21), (90, 35, 3, 3), 2, 1),
                                            ((1, 24, 7, 30), (19, 24, 1, 3), 1, 1),
                                            ((1, 24, 9, 30), (19, 24, 3, 3), 1, (2, 5)),
                                            ((1, 24, 7, 90), (19, 24, 1, 3), 1, 40),
                                            ((2, 70, 9, 21), (90, 35, 5, 5), 2, 1),
                                            ((1, 24, 7, 50), (19, 24, 1, 5), 1, (1, 3))):
        x = rng.standard_normal(shape).astype(dtype)
        w = rng.standard_normal(kernel).astype(dtype)
        arguments = {"padding": 1, "groups": groups, "dilation": dilation}
        y = conv2d(x, w, algorithm="winograd", **arguments)
        last = conv2d(x.transpose(0, 2, 3, 1).copy(), w, algorithm="winograd", layout="NHWC",
                      **arguments).transpose(0, 3, 1, 2)
        assert (y == last).all()
        x, w = x.astype(float), w.astype(float)
        error = abs(y - reference.conv2d(x, w, **arguments)).max()
        assert error <= bound * reference.conv2d(abs(x), abs(w), **arguments).max()
print(dispatch.isa())
"""


@pytest.mark.parametrize("isa", dispatch.available_isas())
def test_every_level(isa):
    environment = {**os.environ, "FASTCONV_ISA": isa}
    done = subprocess.run([sys.executable, "-c", EVERY_LEVEL], env=environment, check=False,
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, isa), done.stderr
