"""Convolutions by tiles: run by test_amx.py in a process at the level amx.

Shapes are small, since an emulated product of tiles takes some 20 microseconds. Cases are forced
onto the tiles, whatever the plan would choose.
"""

import ctypes
import os
import threading

import numpy as np
import pytest

import fastconv
from fastconv import conv1d, conv2d, conv3d, conv_transpose2d, plan, prepare_conv, reference
from fastconv._engine import dispatch, tile_cost
from fastconv._engine.program import Room, Tape
from fastconv.functional import _convolve
from fastconv.functional._cache import BoundedCache
from fastconv.reference.activation import apply_activation

assert dispatch.isa() == "amx", "run me through test_amx.py"

# Of the largest sum of magnitudes. The halves leave 2^-17 of each operand and the product of the
# low halves, 2^-16: where all of a sum's terms err alike, three times the promise for other data.
HIGH, WORST, MEDIUM = 1e-5, 2.0**-15, 2.0**-7
THREE, ONE = "3 bfloat16", "bfloat16"
RUNS_OF_THREE, RUNS_OF_ONE = f"runs, {THREE}", f"runs, {ONE}"

try:
    EMULATED = ctypes.c_long.in_dll(ctypes.CDLL(None), "amx_emulator_products")
    CONFIGURED = ctypes.c_long.in_dll(ctypes.CDLL(None), "amx_emulator_configured")
except ValueError:
    EMULATED = CONFIGURED = None
emulated = pytest.mark.skipif(EMULATED is None, reason="counts the products that the emulator made")


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(autouse=True)
def threads(threads):
    yield threads
    assert CONFIGURED is None or CONFIGURED.value == 0, "tiles are left behind"


@pytest.fixture
def force(monkeypatch):
    """Make every convolution that can run by tiles take a form, whether it pays or not."""
    choose = plan.choose

    def by(form):
        def chosen(problem, *rest):
            if tile_cost.tile_refusal(problem, "high", exact=False):
                return choose(problem, *rest)
            assert not form.startswith("runs") or tile_cost.merges(problem)
            return plan.Choice("im2col", form, 0, "")

        monkeypatch.setattr(plan, "choose", chosen)
        monkeypatch.setattr(_convolve, "_calls", BoundedCache(64))

    return by


# x, weight and arguments of conv2d
CASES = {
    "one block": ((1, 32, 6, 6), (32, 32, 3, 3), {"padding": 1}),
    "one pixel": ((1, 3, 1, 1), (2, 3, 1, 1), {}),
    "one window": ((1, 3, 3, 3), (2, 3, 3, 3), {}),
    "ragged": ((2, 33, 9, 7), (17, 33, 3, 3), {"padding": 1}),
    "sixteen more": ((1, 31, 5, 17), (48, 31, 2, 3), {}),
    "1x1": ((1, 70, 5, 9), (33, 70, 1, 1), {}),
    "1x1 strided": ((2, 40, 9, 12), (20, 40, 1, 1), {"stride": 2}),
    "strided": ((1, 34, 11, 13), (18, 34, 3, 3), {"stride": 2, "padding": 1}),
    "strided unevenly": ((1, 6, 19, 23), (5, 6, 3, 4), {"stride": (2, 3), "padding": 2}),
    "stride beyond the kernel": ((1, 5, 17, 19), (3, 5, 2, 1), {"stride": (5, 4)}),
    "dilated": ((1, 20, 14, 15), (9, 20, 3, 3), {"dilation": 2, "padding": 2}),
    "dilated and strided": (
        (1, 7, 19, 21), (9, 7, 3, 3), {"dilation": (2, 3), "stride": (4, 2), "padding": 3},
    ),
    "dilated far": ((1, 7, 6, 9), (9, 7, 3, 3), {"dilation": (12, 30), "padding": (12, 30)}),
    "uneven padding": ((1, 33, 6, 11), (20, 33, 3, 3), {"padding": ((3, 0), (0, 5))}),
    "mostly padding": ((1, 8, 2, 2), (8, 8, 5, 5), {"padding": 4}),
    "same": ((1, 8, 7, 10), (8, 8, 4, 2), {"padding": "same"}),
    "groups": ((2, 12, 9, 5), (18, 4, 3, 3), {"groups": 3, "padding": 1}),
    "wide groups": ((1, 70, 5, 5), (74, 35, 3, 3), {"groups": 2, "padding": 1}),
    "stripes": ((1, 4, 4, 300), (5, 4, 2, 2), {"padding": (0, 1)}),
    "long rows": ((1, 4, 3, 46), (5, 4, 2, 9), {"padding": (0, 4), "dilation": (1, 3)}),
    "tall": ((1, 3, 130, 9), (4, 3, 3, 1), {"stride": (1, 2)}),
    "chains": ((1, 240, 4, 5), (5, 240, 3, 3), {"padding": 1}),
    "7x7": ((1, 3, 20, 22), (17, 3, 7, 7), {"stride": 2, "padding": 3}),
    "15x17, most taps": ((1, 2, 16, 20), (3, 2, 15, 17), {}),
}  # fmt: skip


# The same of few channels, whose kernel rows are runs.
RUN_CASES = {
    name: CASES[name] for name in (
        "one pixel", "one window", "strided unevenly", "stride beyond the kernel", "mostly padding",
        "same", "groups", "stripes", "tall", "7x7",
    )
} | {
    "11x11": ((1, 3, 27, 31), (33, 3, 11, 11), {"stride": 4, "padding": (2, 1)}),
    "one channel": ((2, 1, 9, 40), (20, 1, 5, 5), {"padding": 2}),
    "a whole step": ((1, 8, 7, 9), (18, 8, 3, 4), {"padding": 1}),
    "dilated down": ((1, 5, 19, 12), (17, 5, 3, 3), {"dilation": (3, 1), "padding": (3, 0)}),
    "groups of long runs": ((1, 22, 6, 19), (6, 11, 3, 7), {"groups": 2, "stride": (1, 2)}),
    "most runs": ((1, 3, 15, 40), (5, 3, 12, 20), {}),
}  # fmt: skip


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param


@pytest.fixture(params=RUN_CASES.values(), ids=RUN_CASES)
def run_case(request):
    return request.param


def operands(rng, case):
    x_shape, weight_shape, arguments = case
    x = rng.standard_normal(x_shape).astype(np.float32)
    weight = rng.standard_normal(weight_shape).astype(np.float32)
    return x, weight, rng.standard_normal(len(weight)).astype(np.float32), arguments


def channels_last(x):
    """The same logical array on channels-last memory."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).swapaxes(1, -1).swapaxes(2, -1)


def scattered(x):
    """The same values with no contiguous axis, two of them reversed, NaN between them."""
    n, c, h, w = x.shape
    room = np.full((c, n, 2 * w, 3 * h), np.nan, x.dtype)
    view = room.transpose(1, 0, 3, 2)[:, :, ::-3, ::-2]
    view[...] = x
    return view


ORDERS = (np.ascontiguousarray, channels_last, scattered)


def exact(op, x, weight, bias=None, **arguments):
    """The sums in float64, and those of magnitudes."""
    run = getattr(reference, op)
    arrays = [None if a is None else a.astype(float) for a in (x, weight, bias)]
    magnitudes = [None if a is None else abs(a) for a in arrays]
    return run(*arrays, **arguments), run(*magnitudes, **arguments)


def assert_close(y, sums, magnitudes, bound):
    assert y.shape == sums.shape and y.dtype == np.float32
    assert abs(y - sums).max() <= bound * magnitudes.max()


def check_agreement(rng, case):
    """Three orders of memory have the same bits; the reference's sums, and those of magnitudes."""
    x, weight, bias, arguments = operands(rng, case)
    results = []
    for order in ORDERS:
        out = order(np.full(reference.conv2d(x, weight, **arguments).shape, np.nan, np.float32))
        before = EMULATED.value if EMULATED else 0
        assert conv2d(order(x), weight, bias, out=out, **arguments) is out
        assert EMULATED is None or EMULATED.value > before
        results.append(out)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
    return results[0], *exact("conv2d", x, weight, bias, **arguments)


@pytest.mark.parametrize(("form", "bound"), [(THREE, HIGH), (ONE, MEDIUM)])
def test_agrees_with_the_reference(rng, case, form, bound, force):
    force(form)
    assert_close(*check_agreement(rng, case), bound)


@pytest.mark.parametrize(("form", "bound"), [(RUNS_OF_THREE, HIGH), (RUNS_OF_ONE, MEDIUM)])
def test_runs_agree_with_the_reference(rng, run_case, form, bound, force):
    force(form)
    assert_close(*check_agreement(rng, run_case), bound)


def check_threads(rng, case, threads, force, form):
    force(form)
    x, weight, bias, arguments = operands(rng, case)
    threads(1)
    expected = conv2d(x, weight, bias, **arguments)
    for count in (2, 3, 7):
        threads(count)
        force(form)  # blocks are planned for a number of threads
        np.testing.assert_array_equal(conv2d(x, weight, bias, **arguments), expected)
        prepared = prepare_conv(weight, bias, **arguments)
        np.testing.assert_array_equal(prepared(channels_last(x)), expected)


def test_same_bits_for_any_number_of_threads(rng, case, threads, force):
    check_threads(rng, case, threads, force, THREE)


def test_runs_have_the_same_bits_for_any_number_of_threads(rng, run_case, threads, force):
    check_threads(rng, run_case, threads, force, RUNS_OF_THREE)


@pytest.mark.parametrize("op", ["conv1d", "conv3d", "conv_transpose2d", "conv_transpose3d"])
def test_other_operations(rng, op, force):
    force(THREE)
    nd = int(op[-2])
    x = rng.standard_normal((2, 9) + (11, 6, 5)[:nd]).astype(np.float32)
    weight = rng.standard_normal((9, 9, 3, 2, 3)[: nd + 2]).astype(np.float32)
    arguments = {"stride": (2, 3, 1)[:nd], "padding": 1, "dilation": (1, 2, 1)[:nd]}
    y = getattr(fastconv, op)(x, weight, **arguments)
    assert_close(y, *exact(op, x, weight, **arguments), HIGH)


def test_random_calls(rng, force):
    """Many small shapes and arguments, each with one order of memory for each array."""
    force(THREE)
    for _ in range(60):
        groups = rng.integers(1, 3)
        channels, outputs = rng.integers(1, 40, 2)
        kernel, stride, dilation = (tuple(map(int, rng.integers(1, n, 2))) for n in (5, 4, 4))
        padding = tuple(map(tuple, rng.integers(0, 4, (2, 2)).tolist()))
        size = [int(rng.integers(max(1, (k - 1) * d + 1 - sum(p)), 16))
                for k, d, p in zip(kernel, dilation, padding, strict=True)]
        shapes = (int(rng.integers(1, 3)), groups * channels, *size), (groups * outputs, channels,
                                                                       *kernel)
        arguments = {"stride": stride, "dilation": dilation, "padding": padding,
                     "groups": int(groups)}
        x, weight, bias, _ = operands(rng, (*shapes, None))
        y = conv2d(ORDERS[rng.integers(3)](x), weight, bias, **arguments)
        assert_close(y, *exact("conv2d", x, weight, bias, **arguments), HIGH)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize(
    "activation", [None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish"]
)
@pytest.mark.parametrize("name", ["ragged", "strided"])
def test_epilogue(rng, name, activation, with_residual, with_bias, force):
    x, weight, bias, arguments = operands(rng, CASES[name])
    bias = bias if with_bias else None
    sums, magnitudes = exact("conv2d", x, weight, bias, **arguments)
    residual = rng.standard_normal(sums.shape).astype(np.float32) if with_residual else None
    arguments = {**arguments, "activation": activation}
    force(THREE)
    y = conv2d(x, weight, bias, residual=residual, **arguments)
    out = channels_last(np.empty_like(y))
    if with_residual:
        sums = sums + residual
        residual = channels_last(residual)
    conv2d(channels_last(x), weight, bias, residual=residual, out=out, **arguments)
    np.testing.assert_array_equal(out, y)
    expected = apply_activation(sums, activation)
    assert abs(y - expected).max() <= 1.5 * HIGH * magnitudes.max()  # slopes reach 1.5


# ---------------------------------------------------------------- unusual values


def test_what_is_not_finite(rng, force):
    """As the reference, but where an infinity of x meets one of the weights: NaN there."""
    force(THREE)
    x, weight, _, _ = operands(rng, ((1, 5, 9, 9), (4, 5, 3, 3), {}))
    x[0, :, 0, 0] = 0
    x[0, 1, 2, 3], x[0, 2, 6, 6], x[0, 3, 0, 8] = np.inf, -np.inf, np.nan
    weight[:, :, 1, 1] = np.round(weight[:, :, 1, 1] * 4) / 4  # low halves of zero
    weight[1, 1, 0, 0] = 0
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x.astype(float), weight.astype(float), padding=1)
    y = conv2d(x, weight, padding=1)
    assert np.isposinf(expected).any() and np.isneginf(expected).any() and np.isnan(expected).any()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-3)

    x = np.abs(np.nan_to_num(x, posinf=1, neginf=1)) + 1
    weight[2, 3, 0, 2], weight[3, 0, 2, 2] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x.astype(float), weight.astype(float), padding=1)
    assert np.isnan(expected[0, 2]).any() and np.isposinf(expected[0, 2]).any()
    np.testing.assert_allclose(conv2d(x, weight, padding=1), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("form", "bound"), [(RUNS_OF_THREE, 1e-3), (RUNS_OF_ONE, 0.3)])
def test_what_is_not_finite_in_runs(rng, form, bound, force):
    """Where the reference has it, and to the left as far as steps see behind their runs."""
    force(form)
    x, weight, _, _ = operands(rng, ((1, 3, 9, 40), (4, 3, 3, 3), {}))
    x[0, 1, 4, 20], x[0, 0, 7, 35] = np.inf, np.nan
    seen = np.zeros((9, 40), bool)
    for row, column in ((4, 20), (7, 35)):
        seen[row - 1 : row + 2, column - 9 : column + 2] = True  # a step: 32 values, 3 a pixel
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x.astype(float), weight.astype(float), padding=1)
    y = conv2d(x, weight, padding=1)
    spoilt = ~np.isfinite(expected)
    assert spoilt.any() and not np.isfinite(y[spoilt]).any()
    np.testing.assert_allclose(y[..., ~seen], expected[..., ~seen], rtol=0, atol=bound)


def test_medium_keeps_infinities_and_nan(rng, force):
    force(ONE)
    x, weight, _, _ = operands(rng, ((1, 5, 9, 9), (4, 5, 3, 3), {}))
    x[0, 1, 2, 3], x[0, 2, 6, 6], x[0, 3, 0, 8] = np.inf, -np.inf, np.nan
    x.view(np.uint32)[0, 0, 8, 0] = 0x7F800001  # its upper half alone is an infinity's
    with np.errstate(invalid="ignore"):
        expected = reference.conv2d(x, weight, padding=1)
    np.testing.assert_allclose(conv2d(x, weight, padding=1), expected, rtol=0, atol=0.3)


def test_large_values_stay_finite(force):
    """Up to 3.4027e38, though the nearest bfloat16 of the first ones would be infinite."""
    force(THREE)
    x = np.float32([3.4027e38, -3.4e38, 3e38, 1e38]).reshape(1, 1, 1, 4)
    y = conv2d(x, np.ones((1, 1, 1, 1), np.float32))
    np.testing.assert_allclose(y, x, rtol=2.0**-16)
    force(ONE)
    np.testing.assert_allclose(conv2d(x, np.ones((1, 1, 1, 1), np.float32)), x, rtol=2.0**-7)


def test_small_values(rng, force):
    """Full accuracy down to 1e-33; low halves vanish below, and denormals are zeros."""
    force(THREE)
    x, weight, _, _ = operands(rng, ((1, 40, 5, 5), (8, 40, 3, 3), {}))
    for scale in (1e-32, 1e30):
        small = (x * np.float32(scale)).astype(np.float32)
        small[abs(small) < scale / 100] = 0
        assert_close(conv2d(small, weight), *exact("conv2d", small, weight), HIGH)
    tiny = np.finfo(np.float32).tiny
    vanishing = (x * np.float32(1e-37)).astype(np.float32)
    error = abs(conv2d(vanishing, weight) - exact("conv2d", vanishing, weight)[0])
    assert error.max() <= 2 * tiny * np.abs(weight).sum((1, 2, 3)).max()
    denormal = np.full((1, 40, 3, 3), tiny / 2, np.float32)
    assert not conv2d(denormal, weight).any()


def test_all_terms_err_alike(force):
    """The worst there is: constants whose low halves and rests are largest."""
    force(THREE)
    value = np.float32(1 + 2.0**-8 - 2.0**-15 + 2.0**-17 - 2.0**-21)
    x, weight = np.full((1, 256, 4, 4), value), np.full((3, 256, 3, 3), value)
    sums, magnitudes = exact("conv2d", x, weight, padding=1)
    error = abs(conv2d(x, weight, padding=1) - sums).max() / magnitudes.max()
    assert HIGH < error <= WORST


# ---------------------------------------------------------------- plans


def test_the_plan_says_so():
    shapes = (1, 256, 56, 56), (512, 256, 3, 3)
    chosen = fastconv.explain_conv2d(*shapes, stride=2, padding=1)
    assert (chosen.algorithm, chosen.form, chosen.isa) == ("im2col", THREE, "amx")
    assert "three products" in chosen.reason and "3 bfloat16" in chosen.tile
    medium = fastconv.explain_conv2d(*shapes, padding=1, precision="medium")
    assert (medium.algorithm, medium.form) == ("im2col", ONE)
    assert medium.packed_bytes == 512 * 256 * 9 * 2
    highest = fastconv.explain_conv2d(*shapes, stride=2, precision="highest")
    assert (highest.algorithm, highest.form) == ("im2col", "pointers")
    double = fastconv.explain_conv2d(*shapes, stride=2, dtype="float64")
    assert double.form == "pointers"
    first = fastconv.explain_conv2d((1, 3, 64, 64), (64, 3, 3, 3), precision="medium")
    assert first.algorithm == "direct" and '"medium" does not pay here' in first.reason
    for plan_of in (chosen, medium):
        assert plan_of.workspace_bytes < 4 << 20


@emulated
def test_the_plan_is_followed(rng):
    x, weight, _, _ = operands(rng, ((1, 64, 30, 30), (96, 64, 3, 3), {}))
    counts = {}
    for precision in ("highest", "high", "medium"):
        before = EMULATED.value
        conv2d(x, weight, stride=2, precision=precision)
        counts[precision] = EMULATED.value - before
    assert counts["highest"] == 0 < counts["medium"]
    assert counts["high"] == 3 * counts["medium"]
    before = EMULATED.value
    conv2d(x.astype(int), weight.astype(int), stride=2)
    conv2d(x, weight, stride=2, algorithm="direct")
    assert EMULATED.value == before


def test_small_integers_are_exact(rng, force):
    """Up to 256 the high half is all of them. Arrays of integers do not come here."""
    force(THREE)
    x, weight = (rng.integers(-99, 99, s).astype(np.float32) for s in ((1, 9, 7, 7), (4, 9, 3, 3)))
    np.testing.assert_array_equal(conv2d(x, weight), reference.conv2d(x, weight))


# ---------------------------------------------------------------- processes and threads


def test_any_python_thread(rng, force):
    force(THREE)
    x, weight, bias, arguments = operands(rng, CASES["strided"])
    expected, results = conv2d(x, weight, bias, **arguments), []
    others = [
        threading.Thread(target=lambda: results.append(conv2d(x, weight, bias, **arguments)))
        for _ in range(4)
    ]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_a_forked_child(rng, force, threads):
    force(THREE)
    threads(2)
    x, weight, bias, arguments = operands(rng, CASES["chains"])
    expected = conv2d(x, weight, bias, **arguments)
    child = os.fork()
    if not child:
        os._exit(not np.array_equal(conv2d(x, weight, bias, **arguments), expected))
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(conv2d(x, weight, bias, **arguments), expected)


def test_shapes_of_other_dimensions(rng, force):
    force(THREE)
    x, weight = rng.standard_normal(50), rng.standard_normal(5)
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    assert_close(conv1d(x, weight), *exact("conv1d", x, weight), HIGH)
    x, weight, _, _ = operands(rng, ((1, 3, 4, 5, 6), (2, 3, 2, 2, 2), {}))
    assert_close(conv3d(x, weight), *exact("conv3d", x, weight), HIGH)
    x, weight, _, _ = operands(rng, ((0, 3, 4, 5), (2, 3, 2, 2), {}))
    assert conv2d(x, weight).shape == (0, 2, 3, 4)
    x, weight, _, _ = operands(rng, ((1, 3, 4, 5), (3, 2, 5, 5), {}))
    arguments = {"stride": 3, "output_padding": 2}
    assert_close(conv_transpose2d(x, weight, **arguments),
                 *exact("conv_transpose2d", x, weight, **arguments), HIGH)


@pytest.mark.parametrize("recorded", [False, True])
def test_weights_that_were_given_up(rng, recorded):
    """Tiles need them anew: as they were, not from halves, and now, not when a recording runs."""
    weight = rng.standard_normal((64, 512, 1, 1), dtype=np.float32)
    x = rng.standard_normal((1, 5, 33, 512), dtype=np.float32)
    op = prepare_conv(weight, layout="NHWC")
    assert op.settle()
    np.testing.assert_array_equal(op.weight, weight)
    assert op.explain(x).form == THREE
    if recorded:
        with Tape(Room()) as tape:
            op(x)
        assert len(tape.steps) == 1
    assert_close(op(x), *exact("conv2d", x, weight, layout="NHWC"), HIGH)
    np.testing.assert_array_equal(op.weight, weight)
