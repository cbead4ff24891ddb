"""Convolutions and memory: any order going in and out, aliases, and nothing touched outside.

Results must not depend on where and in which order elements lie; `out` may be any writable array,
even one that shares memory with an operand; and no byte beside an array is read or written.
"""

import sys

import numpy as np
import pytest

import fastconv

ALGORITHMS = ("direct", "im2col", "winograd")
# Shape of x in "NCHW", shape of weight, options: one of each kind of inner loop.
CASES = {
    "dense": ((2, 19, 9, 23), (21, 19, 3, 3), {"padding": 1}),
    "first layer": ((2, 3, 13, 21), (18, 3, 5, 5), {"stride": 2, "padding": 2}),
    "depthwise": ((2, 19, 9, 23), (19, 1, 3, 3), {"groups": 19, "padding": 1}),
    "one channel": ((2, 1, 9, 23), (1, 1, 3, 5), {"padding": 2}),
    "groups": ((2, 12, 9, 10), (18, 4, 3, 3), {"groups": 3}),
    "narrow groups": ((2, 14, 9, 10), (14, 2, 3, 3), {"groups": 7, "padding": 1}),
    "1x1": ((2, 19, 9, 23), (21, 19, 1, 1), {}),
}
RUNS = [
    pytest.param(name, algorithm, id=f"{name}-{algorithm}")
    for name in CASES
    for algorithm in ALGORITHMS
    if algorithm != "winograd" or name in ("dense", "groups")
]
READABLE = ("C", "Fortran", "channels last", "channels first", "reversed", "cropped", "sliced",
            "unaligned", "read-only", "byte-swapped")  # fmt: skip
WRITABLE = READABLE[:-2]


def operands(name, rng, layout="NCHW"):
    x_shape, weight_shape, options = CASES[name]
    x = rng.standard_normal(x_shape).astype("float32")
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    weight = rng.standard_normal(weight_shape).astype("float32")
    return x, weight, {**options, "layout": layout}


def test_all_orders_are_tried(memory):
    assert READABLE == tuple(memory.ALL)
    assert WRITABLE == tuple(memory.WRITABLE)


@pytest.mark.every_isa
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", READABLE)
@pytest.mark.parametrize(("name", "algorithm"), RUNS)
def test_operands_of_any_order(name, algorithm, order, layout, check_conv, memory, rng):
    x, weight, options = operands(name, rng, layout)
    engine = {"algorithm": algorithm}
    y = fastconv.conv2d(x, weight, **engine, **options)
    residual = np.flip(y)
    bias = rng.standard_normal(len(weight)).astype("float32")
    x, weight, bias, residual = (memory.lay(a, order) for a in (x, weight, bias, residual))
    check_conv("conv2d", x, weight, bias, residual=residual, engine=engine, **options)


@pytest.mark.every_isa
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", WRITABLE)
@pytest.mark.parametrize(("name", "algorithm"), RUNS)
def test_out_of_any_order(name, algorithm, order, layout, memory, rng):
    """Where the result goes changes no bit, and nothing else in `out`'s memory is written."""
    x, weight, options = operands(name, rng, layout)
    options["algorithm"] = algorithm
    y = fastconv.conv2d(x, weight, **options)
    out = memory.lay(np.full_like(y, -1), order)
    assert fastconv.conv2d(x, weight, out=out, **options) is out
    np.testing.assert_array_equal(out, y)
    whole = out if out.base is None else out.base
    if order in ("cropped", "sliced"):
        assert np.isnan(whole).sum() == whole.size - out.size

    residual = memory.lay(y[::-1].copy(), order)
    wanted = fastconv.conv2d(x, weight, residual=residual, activation="relu", **options)
    fastconv.conv2d(x, weight, residual=residual, activation="relu", out=out, **options)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("axes", [(0,), (1,), (3,), (1, 2, 3), (0, 1, 2, 3)], ids=str)
def test_broadcast_operands(axes, algorithm, layout, check_conv, rng):
    """Strides of zero: numpy.broadcast_to of x, weight, bias and residual."""
    x, weight, options = operands("dense", rng, layout)
    engine = {"algorithm": algorithm}
    one = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(4))
    wide_x, wide_weight = (np.broadcast_to(a[one], a.shape) for a in (x, weight))
    assert 0 in wide_x.strides
    y = check_conv("conv2d", wide_x, weight, engine=engine, **options)
    check_conv("conv2d", x, wide_weight, engine=engine, **options)
    bias = np.broadcast_to(np.float32(0.5), len(weight))
    residual = np.broadcast_to(y[one], y.shape)
    check_conv("conv2d", x, weight, bias, residual=residual, engine=engine, **options)


@pytest.mark.every_isa
@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col"])
def test_slices_of_one_row_are_not_joined(algorithm, layout, rng):
    """1x1x1 windows see one long row where slices follow each other: here other rows lie between,
    and their number is that of the columns."""
    def sliced(channels):
        shape = (2, channels, 4, 8, 8) if layout == "NCDHW" else (2, 4, 8, 8, channels)
        whole = rng.standard_normal(shape).astype("float32")
        return whole, whole[:, :, :, 3:4] if layout == "NCDHW" else whole[:, :, 3:4]

    (_, x), (whole, out) = sliced(5), sliced(7)
    weight = rng.standard_normal((7, 5, 1, 1, 1)).astype("float32")
    options = {"layout": layout, "algorithm": algorithm}
    wanted = fastconv.conv3d(np.ascontiguousarray(x), weight, **options)
    before = whole.copy()
    fastconv.conv3d(x, weight, out=out, **options)
    np.testing.assert_array_equal(out, wanted)
    axis = 3 if layout == "NCDHW" else 2
    np.testing.assert_array_equal(np.delete(whole, 3, axis), np.delete(before, 3, axis))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
class TestAliases:
    """`out` shares memory with an operand: as if it did not."""

    def wanted(self, algorithm, layout, rng, **more):
        x = rng.standard_normal((2, 16, 11, 16)).astype("float32")
        weight = rng.standard_normal((16, 16, 3, 3)).astype("float32")
        if layout == "NHWC":
            x = x.reshape(2, 11, 16, 16)
        options = {"padding": 1, "layout": layout, "algorithm": algorithm, **more}
        return x, weight, options, fastconv.conv2d(x, weight, **options)

    def test_out_is_x(self, algorithm, layout, rng):
        x, weight, options, wanted = self.wanted(algorithm, layout, rng)
        assert fastconv.conv2d(x, weight, out=x, **options) is x
        np.testing.assert_array_equal(x, wanted)

    def test_out_overlaps_x(self, algorithm, layout, rng):
        x, weight, options, wanted = self.wanted(algorithm, layout, rng)
        buffer = np.zeros(x.size + 40, "float32")
        source = buffer[40:].reshape(x.shape)
        source[...] = x
        out = buffer[: x.size].reshape(x.shape)
        fastconv.conv2d(source, weight, out=out, **options)
        np.testing.assert_array_equal(out, wanted)

    def test_out_is_x_backwards(self, algorithm, layout, rng):
        x, weight, options, wanted = self.wanted(algorithm, layout, rng)
        fastconv.conv2d(x, weight, out=x[::-1, ::-1, ::-1, ::-1], **options)
        np.testing.assert_array_equal(x[::-1, ::-1, ::-1, ::-1], wanted)

    def test_out_overlaps_weight_and_bias(self, algorithm, layout, rng):
        x, weight, options, _ = self.wanted(algorithm, layout, rng)
        bias = weight[:, 0, 0, 0]
        wanted = fastconv.conv2d(x[:1], weight, bias, **options)
        out = np.empty(wanted.size + weight.size, "float32")
        inside = out[100 : 100 + weight.size].reshape(weight.shape)
        inside[...] = weight
        out = out[: wanted.size].reshape(wanted.shape)
        fastconv.conv2d(x[:1], inside, inside[:, 0, 0, 0], out=out, **options)
        np.testing.assert_array_equal(out, wanted)

    def test_out_is_residual(self, algorithm, layout, rng):
        residual = rng.standard_normal((2, 16, 11, 16)).astype("float32")
        residual = residual.reshape(2, 11, 16, 16) if layout == "NHWC" else residual
        x, weight, options, wanted = self.wanted(algorithm, layout, rng, residual=residual.copy())
        options["residual"] = residual
        assert fastconv.conv2d(x, weight, out=residual, **options) is residual
        np.testing.assert_array_equal(residual, wanted)

    def test_out_overlaps_residual(self, algorithm, layout, rng):
        x, weight, options, plain = self.wanted(algorithm, layout, rng)
        buffer = rng.standard_normal(plain.size + 40).astype("float32")
        residual = buffer[40:].reshape(plain.shape)
        wanted = fastconv.conv2d(x, weight, residual=residual.copy(), **options)
        out = buffer[: plain.size].reshape(plain.shape)
        fastconv.conv2d(x, weight, residual=residual, out=out, **options)
        np.testing.assert_array_equal(out, wanted)

    def test_out_is_x_of_a_prepared_convolution(self, algorithm, layout, rng):
        x, weight, options, wanted = self.wanted(algorithm, layout, rng)
        op = fastconv.prepare_conv(weight, **options)
        assert op(x, out=x) is x
        np.testing.assert_array_equal(x, wanted)


def test_writing_does_not_depend_on_the_cached_plan(rng):
    """The same signature, first with an `out` of its own, then with one that overlaps."""
    x, weight = rng.standard_normal((1, 4, 8, 8)), rng.standard_normal((4, 4, 3, 3))
    out = np.empty_like(x)
    for _ in range(2):
        wanted = fastconv.conv2d(x, weight, padding=1, out=out).copy()
    fastconv.conv2d(x, weight, padding=1, out=x)
    np.testing.assert_array_equal(x, wanted)


def test_cached_plans_look_at_weights_and_biases_again(rng):
    """Their memory order and the bias's dtype are not part of a call's signature."""
    x, weight = rng.standard_normal((1, 4, 8, 8)), rng.standard_normal((5, 4, 3, 3))
    bias = np.arange(5.0)
    wanted = fastconv.conv2d(x, weight, bias)
    for order in ("F", "C"):
        np.testing.assert_array_equal(fastconv.conv2d(x, weight.copy(order=order), bias), wanted)
    for other in (bias.astype(int), np.repeat(bias, 2)[::2], bias.astype(">f8"), list(bias)):
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, other), wanted)
    with pytest.raises(ValueError, match="bias must have shape"):
        fastconv.conv2d(x, weight, bias[:4])


# ---------------------------------------------------------------- guard pages

GUARDED = """
import ctypes, mmap, sys
import numpy as np
import fastconv

page = mmap.PAGESIZE
protect = ctypes.CDLL(None, use_errno=True).mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
maps = []

def guarded(array, at_end):
    "A copy between two pages that must not be touched, against one of them."
    pages = -(-array.nbytes // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    maps.append(memory)
    skip = page + (pages * page - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, skip).reshape(array.shape)
    copy[...] = array
    base = copy.ctypes.data - skip
    for wall in (base, base + (pages + 1) * page):
        assert protect(wall, page, 0) == 0
    return copy

rng = np.random.default_rng(0)
CASES = [
    # x, weight, options
    ((2, 19, 9, 23), (21, 19, 3, 3), {"padding": 1}),
    ((1, 33, 5, 7), (35, 33, 1, 1), {}),
    ((1, 3, 13, 21), (18, 3, 5, 5), {"stride": 2, "padding": 2}),
    ((1, 3, 13, 21), (18, 3, 5, 5), {"stride": 3}),
    ((2, 19, 9, 23), (19, 1, 3, 3), {"groups": 19, "padding": 1}),
    ((1, 19, 9, 23), (19, 1, 3, 3), {"groups": 19, "stride": 2}),
    ((2, 1, 9, 23), (1, 1, 3, 5), {"padding": 2}),
    ((1, 2, 7, 70), (2, 1, 3, 3), {"groups": 2, "padding": 1}),
    ((1, 2, 7, 69), (2, 1, 5, 5), {"groups": 2, "padding": 2}),
    ((1, 2, 7, 139), (2, 1, 3, 3), {"groups": 2, "stride": 2, "padding": 1}),
    ((1, 6, 9, 11), (12, 1, 3, 3), {"groups": 6}),
    ((1, 14, 9, 11), (14, 2, 3, 3), {"groups": 7, "padding": 1}),
    ((2, 9, 7, 7), (6, 3, 2, 2), {"groups": 3, "stride": 2}),
    ((1, 16, 8, 8), (16, 16, 3, 3), {}),
    ((1, 17, 1, 1), (16, 17, 3, 3), {"padding": 1}),
]
for dtype in ("float32", "float64"):
    for x_shape, weight_shape, options in CASES:
        for layout in ("NCHW", "NHWC"):
            for algorithm in ("direct", "im2col", "winograd"):
                winograd = weight_shape[2:] == (3, 3) and "stride" not in options
                if algorithm == "winograd" and not winograd:
                    continue
                if layout == "NHWC":
                    shape = x_shape[0], *x_shape[2:], x_shape[1]
                else:
                    shape = x_shape
                x = rng.standard_normal(shape).astype(dtype)
                weight = rng.standard_normal(weight_shape).astype(dtype)
                bias = rng.standard_normal(len(weight)).astype(dtype)
                more = dict(options, layout=layout, algorithm=algorithm)
                plain = fastconv.conv2d(x, weight, bias, **more)
                both = fastconv.conv2d(x, weight, bias, residual=plain, **more)
                for at_end in (False, True):
                    arrays = [guarded(a, at_end) for a in (x, weight, bias, plain, plain)]
                    x2, weight2, bias2, residual, out = arrays
                    for added, wanted in ((residual, both), (None, plain)):
                        fastconv.conv2d(x2, weight2, bias2, residual=added, out=out, **more)
                        assert np.array_equal(out, wanted), (x_shape, weight_shape, more)
print("untouched")
"""


@pytest.mark.every_isa
@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect as Linux has it")
def test_nothing_outside_the_arrays_is_touched(fresh_python):
    """Arrays against pages that trap: reading or writing one byte beside them ends the process."""
    done = fresh_python("-c", GUARDED)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "untouched\n"
