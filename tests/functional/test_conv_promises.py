"""What convolutions promise beyond small errors: bits, tiles, non-finite numbers, real layers.

The same bits for any number of threads; a tile computed on its own equals its part of the whole;
NaN and infinities stay where the definition has them; errors on the layers of known networks stay
below 3e-6 (Winograd 1e-5) of the largest output; and PyTorch, where installed, agrees.
"""

import numpy as np
import pytest

import fastconv
from fastconv import reference, shapes
from fastconv._engine import dispatch
from fastconv.functional.conv import prepare_conv

ALGORITHMS = ("direct", "im2col", "winograd")

# Shape of x in "NCHW", shape of weight, options: enough work for several threads.
PARALLEL = {
    "dense": ((2, 64, 33, 47), (72, 64, 3, 3), {"padding": 1}),
    "first layer": ((2, 3, 112, 112), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
    "depthwise": ((2, 64, 96, 101), (64, 1, 3, 3), {"groups": 64, "padding": 1}),
    "one channel": ((1, 1, 700, 801), (1, 1, 5, 5), {"padding": 2}),
    "odd rows": ((1, 64, 35, 35), (64, 64, 3, 3), {"padding": 1}),
    "groups": ((1, 48, 40, 41), (64, 24, 3, 3), {"groups": 2, "padding": 1}),
    "few pixels": ((1, 256, 5, 5), (512, 256, 3, 3), {"padding": 1}),
    "1x1": ((1, 200, 28, 28), (130, 200, 1, 1), {}),
}
PLAIN = ("dense", "groups", "few pixels")
RUNS = [
    pytest.param(name, algorithm, id=f"{name}-{algorithm}")
    for name in PARALLEL
    for algorithm in ALGORITHMS
    if algorithm != "winograd" or name in PLAIN
]


def normal(rng, shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("name", "algorithm"), RUNS)
def test_threads_change_no_bit(name, algorithm, layout, dtype, threads, rng):
    x_shape, weight_shape, options = PARALLEL[name]
    x, weight = normal(rng, x_shape, dtype), normal(rng, weight_shape, dtype)
    x = np.moveaxis(x, 1, -1).copy() if layout == "NHWC" else x
    threads(1)
    wanted = fastconv.conv2d(x, weight, layout=layout, algorithm=algorithm, **options)
    for count in (2, 3, 7):
        threads(count)
        y = fastconv.conv2d(x, weight, layout=layout, algorithm=algorithm, **options)
        np.testing.assert_array_equal(y, wanted)


def test_threads_change_no_bit_of_a_transposed_convolution(threads, rng):
    x, weight = normal(rng, (2, 32, 30, 31)), normal(rng, (32, 24, 4, 4))
    threads(1)
    wanted = fastconv.conv_transpose2d(x, weight, stride=2, padding=1)
    for count in (2, 3, 7):
        threads(count)
        y = fastconv.conv_transpose2d(x, weight, stride=2, padding=1)
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [256, 257, 515, 1100])
@pytest.mark.parametrize("pixels", [(7, 9), (5, 64)])
def test_chains_in_parts_have_the_bits_of_whole_ones(channels, pixels, dtype, rng):
    """A 1x1 convolution of planes breaks its chains off where strips are long and vectors wide."""
    x, weight = normal(rng, (2, channels, *pixels), dtype), normal(rng, (41, channels, 1, 1), dtype)
    by_vectors = {"algorithm": "im2col", "precision": "highest"}  # which leaves tiles out
    given = {"bias": normal(rng, 41, dtype), "residual": normal(rng, (2, 41, *pixels), dtype),
             "activation": "relu"}
    plan = fastconv.explain_conv2d(x.shape, weight.shape, dtype=dtype, algorithm="direct")
    assert plan.form == "pointwise"
    wanted = fastconv.conv2d(x, weight, **by_vectors, **given)
    y = fastconv.conv2d(x, weight, algorithm="direct", **given)
    np.testing.assert_array_equal(y, wanted)
    layer = fastconv.nn.Conv2d(channels, 41, 1, algorithm="direct", dtype=dtype).eval()
    layer.weight = weight
    plain = fastconv.conv2d(x, weight, layer.bias, **by_vectors)
    np.testing.assert_array_equal(layer(x), plain)


@pytest.mark.every_isa
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"),
    [
        ((1, 20, 40, 150), (18, 20, 3, 3), {}),
        ((1, 3, 61, 83), (18, 3, 7, 7), {"stride": 2}),
        ((1, 20, 40, 75), (20, 1, 3, 3), {"groups": 20}),
        ((1, 1, 90, 111), (1, 1, 5, 5), {}),
        ((1, 40, 30, 37), (24, 40, 3, 3), {"dilation": 2}),
        ((1, 70, 20, 25), (10, 70, 5, 5), {}),
    ],
    ids=["dense", "first layer", "depthwise", "one channel", "dilated", "long sums"],
)
def test_a_tile_is_its_part_of_the_whole(x_shape, weight_shape, options, algorithm, layout, rng):
    """A crop of x with its halo gives the same bits, wherever it starts."""
    x, weight = normal(rng, x_shape), normal(rng, weight_shape)
    options = {**options, "layout": layout, "algorithm": algorithm}
    stride, dilation = options.get("stride", 1), options.get("dilation", 1)
    halo = dilation * (weight_shape[2] - 1) + 1

    def convolve(part):
        part = np.moveaxis(part, 1, -1) if layout == "NHWC" else part
        y = fastconv.conv2d(np.ascontiguousarray(part), weight, **options)
        return np.moveaxis(y, -1, 1) if layout == "NHWC" else y

    whole = convolve(x)
    for rows, columns in (((0, 5), (0, 9)), ((3, 4), (1, 30)), ((2, 7), (5, 6)), ((1, 3), (7, 29))):
        (top, bottom), (left, right) = rows, columns
        part = x[:, :, top * stride : (bottom - 1) * stride + halo,
                 left * stride : (right - 1) * stride + halo]  # fmt: skip
        np.testing.assert_array_equal(convolve(part), whole[:, :, top:bottom, left:right])


def empty_from(shape, elements):
    """A float32 array that begins so many elements behind a line of the cache."""
    count = int(np.prod(shape))
    memory = np.empty(count + 32, np.float32)
    first = -memory.ctypes.data % 64 // 4 + elements
    return memory[first : first + count].reshape(shape)


@pytest.mark.every_isa
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(
    ("algorithm", "weight_shape"),
    [
        ("im2col", (64, 3, 3, 3)),
        ("im2col", (48, 80, 1, 1)),
        ("im2col", (70, 20, 3, 3)),
        ("winograd", (64, 32, 3, 3)),
        ("direct", (48, 3, 3, 3)),
    ],
)
def test_where_a_far_result_begins_changes_no_bit(algorithm, weight_shape, activation, rng):
    """Results of 32 MB and more are written past the caches where they begin on a line of these."""
    kernel = weight_shape[2]
    x = normal(rng, (1, 424, 420, weight_shape[1]))
    weight, bias = normal(rng, weight_shape), normal(rng, weight_shape[:1])
    shape = (1, 425 - kernel, 421 - kernel, weight_shape[0])
    results = [empty_from(shape, elements) for elements in (0, 4)]
    assert results[0].nbytes >= 32 << 20
    for out in results:
        fastconv.conv2d(
            x, weight, bias, layout="NHWC", algorithm=algorithm, activation=activation, out=out
        )
    np.testing.assert_array_equal(*results)


@pytest.mark.every_isa
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layout_changes_no_bit_of_im2col(dtype, rng):
    for _, (x_shape, weight_shape, options) in sorted(PARALLEL.items()):
        x = normal(rng, (*x_shape[:2], 17, 21), dtype)
        weight = normal(rng, weight_shape, dtype)
        wanted = fastconv.conv2d(x, weight, algorithm="im2col", **options)
        last = np.moveaxis(x, 1, -1).copy()
        y = fastconv.conv2d(last, weight, layout="NHWC", algorithm="im2col", **options)
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1), wanted)


# ---------------------------------------------------------------- numbers that are none

NON_FINITE = {
    "dense": ((2, 18, 14, 30), (20, 18, 3, 3), {"padding": 1}),
    "strided": ((2, 18, 14, 30), (20, 18, 3, 3), {"padding": 2, "stride": 2}),
    "first layer": ((2, 3, 14, 30), (20, 3, 5, 5), {"padding": 2}),
    "depthwise": ((2, 20, 14, 30), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    "one channel": ((2, 1, 14, 30), (1, 1, 3, 3), {"padding": 1}),
    "groups": ((2, 6, 14, 30), (4, 3, 3, 3), {"padding": 1, "groups": 2}),
}


def spoilt(rng, x_shape, bad):
    """Ordinary numbers, but for one: at image 1, channel 0, row 6, column 13."""
    x = normal(rng, x_shape)
    x[1, 0, 6, 13] = bad
    return x


def same_kinds(y, wanted):
    """NaN, inf and -inf exactly where they should be."""
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(y), kind(wanted))


@pytest.mark.every_isa
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("name", NON_FINITE)
def test_non_finite_inputs(name, algorithm, layout, bad, rng):
    x_shape, weight_shape, options = NON_FINITE[name]
    x, weight = spoilt(rng, x_shape, bad), normal(rng, weight_shape)
    weight[0, 0, 0] = 0  # inf * 0 is NaN
    with np.errstate(invalid="ignore"):
        wanted = reference.conv2d(x.astype(float), weight, **options)
    assert 0 < np.isfinite(wanted).sum() < wanted.size
    if layout == "NHWC":
        x, wanted = np.moveaxis(x, 1, -1).copy(), np.moveaxis(wanted, 1, -1)
    same_kinds(fastconv.conv2d(x, weight, layout=layout, algorithm=algorithm, **options), wanted)


@pytest.mark.every_isa
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("name", NON_FINITE)
def test_non_finite_weights(name, algorithm, rng):
    """One kernel's NaN or infinity spoils its own channel alone."""
    x_shape, weight_shape, options = NON_FINITE[name]
    options = {**options, "padding": 0}
    for bad in (np.nan, np.inf):
        x, weight = normal(rng, x_shape), normal(rng, weight_shape)
        weight[-1, 0, 1, 1] = bad
        with np.errstate(invalid="ignore"):
            wanted = reference.conv2d(x.astype(float), weight, **options)
        same_kinds(fastconv.conv2d(x, weight, algorithm=algorithm, **options), wanted)


@pytest.mark.every_isa
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_winograd_keeps_non_finite_numbers_in_their_tiles(bad, layout, rng):
    """Nothing farther than the largest tile, 8x8, notices; what should be spoilt is."""
    x, weight = spoilt(rng, (2, 18, 30, 44), bad), normal(rng, (20, 18, 3, 3))
    with np.errstate(invalid="ignore"):
        wanted = reference.conv2d(x.astype(float), weight, padding=1)
    clean = np.where(np.isfinite(x), x, 0)
    close = reference.conv2d(clean.astype(float), weight, padding=1)
    x = np.moveaxis(x, 1, -1).copy() if layout == "NHWC" else x
    y = fastconv.conv2d(x, weight, padding=1, layout=layout, algorithm="winograd")
    y = np.moveaxis(y, -1, 1) if layout == "NHWC" else y
    assert not np.isfinite(y[~np.isfinite(wanted)]).any()
    far = np.ones(y.shape, bool)
    far[1, :, :15, 5:22] = False
    np.testing.assert_allclose(y[far], close[far], rtol=0, atol=1e-5 * abs(close).max() * 10)


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_highest_precision_keeps_denormals(algorithm):
    tiny = np.finfo(np.float32).tiny
    x = np.full((1, 20, 5, 5), tiny / 8, np.float32)
    weight = np.ones((20, 20, 1, 1), np.float32)
    y = fastconv.conv2d(x, weight, algorithm=algorithm, precision="highest")
    np.testing.assert_array_equal(y, np.full(y.shape, 20 * (tiny / 8), np.float32))
    # and the caller's own arithmetic is as before, whatever the precision was
    fastconv.conv2d(x, weight, algorithm=algorithm, precision="high")
    assert (x * np.float32(0.5)).any()


# ---------------------------------------------------------------- layers of networks

NETWORK_LAYERS = {layer.name: layer for layer in shapes.load("race")}
# Beyond this many operations a layer runs on rectified data alone.
LARGE = 4e8


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "rectified") for name in NETWORK_LAYERS]
    + [(name, "normal") for name, layer in NETWORK_LAYERS.items() if layer.flops < LARGE],
)
def test_network_layers(name, kind, rng):
    """Errors relative to the largest output, with weights as networks initialise them."""
    layer = NETWORK_LAYERS[name]
    x, weight = normal(rng, layer.x_shape), normal(rng, layer.weight_shape)
    x = np.maximum(x, 0) if kind == "rectified" else x
    weight *= np.float32(np.sqrt(2 / weight[0].size))
    exact = reference.conv2d_blas(x.astype(float), weight.astype(float), **layer.call)
    largest = abs(exact).max()
    plain = layer.stride == layer.dilation == 1 and layer.weight_shape[2:] in ((3, 3), (5, 5))
    bounds = {"direct": 3e-6, "im2col": 1e-5 if dispatch.has_tiles() else 3e-6, "auto": 1e-5}
    bounds |= {"winograd": 1e-5} if plain else {}
    for algorithm, bound in bounds.items():
        y = fastconv.conv2d(x, weight, algorithm=algorithm, **layer.call)
        assert abs(y - exact).max() <= bound * largest, algorithm


# ---------------------------------------------------------------- PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")


TORCH_CALLS = [
    ("conv1d", (2, 6, 31), (8, 3, 5), {"stride": 3, "padding": 2, "groups": 2}),
    ("conv2d", (2, 6, 13, 14), (8, 6, 3, 3), {"padding": 1}),
    ("conv2d", (6, 13, 14), (8, 6, 3, 5), {"padding": "same"}),
    ("conv2d", (1, 6, 13, 14), (12, 1, 3, 3), {"groups": 6, "dilation": 2, "stride": (2, 1)}),
    ("conv3d", (1, 4, 7, 8, 9), (6, 2, 3, 2, 3), {"stride": 2, "padding": (1, 0, 1), "groups": 2}),
    ("conv_transpose1d", (2, 6, 11), (6, 4, 5), {"stride": 3, "padding": 1, "output_padding": 2}),
    ("conv_transpose2d", (2, 6, 7, 8), (6, 4, 3, 3), {"stride": 2, "padding": 1, "groups": 2,
                                                      "output_padding": 1}),
    ("conv_transpose2d", (2, 6, 7, 8), (6, 4, 3, 2), {"dilation": 3, "stride": 2,
                                                      "output_padding": (2, 1)}),
    ("conv_transpose3d", (1, 4, 4, 5, 3), (4, 3, 2, 3, 4), {"stride": (1, 2, 3), "padding": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "x_shape", "weight_shape", "options"), TORCH_CALLS)
def test_as_pytorch(op, x_shape, weight_shape, options, torch, rng):
    x, weight = normal(rng, x_shape, "float64"), normal(rng, weight_shape, "float64")
    channels = len(weight)
    if "transpose" in op:
        channels = weight.shape[1] * options.get("groups", 1)
    bias = normal(rng, channels, "float64")
    tensors = map(torch.from_numpy, (x, weight, bias))
    wanted = getattr(torch.nn.functional, op)(*tensors, **options).numpy()
    for algorithm in ("auto", "direct", "im2col"):
        y = getattr(fastconv, op)(x, weight, bias, algorithm=algorithm, **options)
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-12)


# ------------------------------------------------------------ weights that are kept packed only


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "prelu"])
@pytest.mark.parametrize("shape, layout", [((10, 40, 1), "NWC"), ((64, 33, 1, 1), "NHWC")])
def test_settled_weights_come_back(shape, layout, activation, dtype, rng):
    weight = rng.standard_normal(shape).astype(dtype)
    if activation == "prelu":
        activation = ("prelu", rng.standard_normal(len(weight)))
    options = {"layout": layout, "activation": activation, "bias": np.ones(len(weight), dtype)}
    op, plain = prepare_conv(weight, **options), prepare_conv(weight, **options)
    assert op.settle()
    np.testing.assert_array_equal(op.weight, weight)
    x = rng.standard_normal((2, *(5,) * (len(shape) - 2), shape[1])).astype(dtype)
    np.testing.assert_array_equal(op(x), plain(x))
    for other in (np.float32, np.float64):  # which needs another packing
        np.testing.assert_array_equal(op(x.astype(other)), plain(x.astype(other)))


@pytest.mark.parametrize("change", ["kernel", "groups", "infinite", "first"])
def test_what_cannot_come_back_stays(change, rng):
    shape = {"kernel": (8, 4, 3, 3), "groups": (8, 2, 1, 1)}.get(change, (8, 4, 1, 1))
    weight = rng.standard_normal(shape).astype(np.float32)
    if change == "infinite":
        weight[0, 0] = np.inf
    op = prepare_conv(weight, groups=2 if change == "groups" else 1,
                      layout="NCHW" if change == "first" else "NHWC")
    assert not op.settle()
    assert op.weight is op._weight or np.shares_memory(op.weight, weight)
