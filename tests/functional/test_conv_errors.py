"""Wrong calls of the convolutions: which exception, what it says, and that nothing was written.

Every text names the function, the argument, what came and what would be right. (The texts of sizes
that do not fit are tested where they are made, in test_check.py; here it is the way there.)
"""

import numpy as np
import pytest

import fastconv

X, WEIGHT = np.ones((2, 3, 8, 9), np.float32), np.ones((4, 3, 3, 3), np.float32)
SIGNAL, WEIGHT_1D = np.ones((2, 3, 9), np.float32), np.ones((4, 3, 3), np.float32)
VOLUME, WEIGHT_3D = np.ones((3, 4, 5, 6), np.float32), np.ones((4, 3, 2, 2, 2), np.float32)
TRANSPOSED = np.ones((3, 4, 3, 3), np.float32)
Y_SHAPE = (2, 4, 6, 7)
READ_ONLY = np.broadcast_to(np.float32(0), Y_SHAPE)


def wrong(op, arguments, exception, *fragments, **options):
    name = ", ".join([op, *fragments])
    return pytest.param(op, arguments, options, exception, fragments, id=name)


WRONG = [
    # operands
    wrong("conv2d", (None, WEIGHT), TypeError, "x must be an array of real numbers", "None"),
    wrong("conv2d", ("abc", WEIGHT), TypeError, "x must be an array of real numbers"),
    wrong("conv2d", ([[1, 2], [3]], [[1.0]]), TypeError, "x must be an array", "list"),
    wrong("conv2d", (X * 1j, WEIGHT), TypeError, "x must be", "complex64", "x.real and x.imag"),
    wrong("conv2d", (X, WEIGHT * 1j), TypeError, "weight must be", "weight.real"),
    wrong("conv2d", (X.astype(object), WEIGHT), TypeError, "x must be", "object"),
    wrong("conv2d", (X.astype("M8[s]"), WEIGHT), TypeError, "x must be", "datetime64"),
    wrong("conv2d", (X, WEIGHT, np.ones(5)), ValueError, "bias must have shape (4,)", "(5,)"),
    wrong("conv2d", (X, WEIGHT, np.ones((4, 1))), ValueError, "bias must have shape (4,)"),
    wrong("conv2d", (X, WEIGHT, 1j * np.ones(4)), TypeError, "bias must be", "complex"),
    wrong("conv2d", (X, WEIGHT[:, :2]), ValueError, "weight expects 2 input channels", "x has 3"),
    wrong("conv2d", (np.ones((512, 512, 3)), WEIGHT), ValueError, "weight expects 3 input channels",
          "(weight.shape[1]=3, groups=1)", "x has 512 (x.shape=(512, 512, 3))",
          'for channels-last data pass layout="NHWC"'),
    wrong("conv2d", (SIGNAL, WEIGHT_1D), ValueError, "weight", "(4, 3, 3)"),
    wrong("conv2d", (X[0, 0], WEIGHT), ValueError, "x", "(8, 9)"),
    wrong("conv2d", (X[:, :, :2], WEIGHT), ValueError, "3x3", "2x9"),
    wrong("conv1d", (X, WEIGHT_1D), ValueError, "x", "(2, 3, 8, 9)"),
    wrong("conv3d", (VOLUME, WEIGHT), ValueError, "weight", "(4, 3, 3, 3)"),
    wrong("conv_transpose2d", (X, WEIGHT), ValueError, "weight", "x has 3"),
    # sizes
    wrong("conv2d", (X, WEIGHT), TypeError, "stride must be an int or 2 ints", "1.5", stride=1.5),
    wrong("conv2d", (X, WEIGHT), TypeError, "stride", "True", stride=True),
    wrong("conv2d", (X, WEIGHT), ValueError, "stride must be at least 1", "got 0", stride=0),
    wrong("conv2d", (X, WEIGHT), ValueError, "stride", "2 ints, got 3", stride=(1, 2, 3)),
    wrong("conv2d", (X, WEIGHT), ValueError, "dilation must be at least 1", dilation=(0, 1)),
    wrong("conv2d", (X, WEIGHT), ValueError, "padding must be at least 0", padding=-1),
    wrong("conv2d", (X, WEIGHT), ValueError, "padding must be", "full", padding="full"),
    wrong("conv2d", (X, WEIGHT), ValueError, "padding must be", padding=((1, 2),)),
    wrong("conv2d", (X, WEIGHT), TypeError, "padding must be", padding=None),
    wrong("conv2d", (X, WEIGHT), ValueError, "groups", "2", groups=2),
    wrong("conv2d", (X, WEIGHT), ValueError, "groups must be at least 1", groups=0),
    wrong("conv2d", (X, WEIGHT), TypeError, "groups", groups="3"),
    wrong("conv3d", (VOLUME, WEIGHT_3D), ValueError, "stride", "3 ints, got 2", stride=(1, 2)),
    wrong("conv_transpose2d", (X, TRANSPOSED), ValueError, "output_padding must be less than",
          output_padding=1),
    wrong("conv_transpose2d", (X, TRANSPOSED), ValueError, '"same" is not defined',
          padding="same"),
    wrong("conv_transpose2d", (X, TRANSPOSED), ValueError, "use less padding", padding=8),
    # words
    wrong("conv2d", (X, WEIGHT), ValueError, 'layout must be "NCHW" or "NHWC"', layout="HWCN"),
    wrong("conv2d", (X, WEIGHT), ValueError, "layout", "1-D", layout="NWC"),
    wrong("conv2d", (X, WEIGHT), TypeError, "layout must be", layout=None),
    wrong("conv2d", (X, WEIGHT), ValueError, "algorithm must be one of", '"winograd"', "got 'fft'",
          algorithm="fft"),
    wrong("conv2d", (X, WEIGHT), ValueError, "algorithm must be", "None", algorithm=None),
    wrong("conv2d", (X, WEIGHT), ValueError, 'precision must be "highest", "high" or "medium"',
          "'low'", precision="low"),
    wrong("conv2d", (X, WEIGHT), ValueError, "activation must be", '"relu"', "'gelu'",
          activation="gelu"),
    wrong("conv2d", (X, WEIGHT), ValueError, '("clip", low, high)', activation=("clip", 0)),
    wrong("conv2d", (X, WEIGHT), TypeError, "activation must be", activation=max),
    # what winograd cannot do
    wrong("conv2d", (X, np.ones((4, 3, 7, 7))), ValueError, 'algorithm="winograd" cannot',
          "kernel, got 7x7", algorithm="winograd"),
    wrong("conv2d", (X, WEIGHT), ValueError, "stride 1, got stride (2, 2)", algorithm="winograd",
          stride=2),
    wrong("conv2d", (X, WEIGHT), ValueError, "winograd", '"highest"', algorithm="winograd",
          precision="highest"),
    wrong("conv1d", (SIGNAL, WEIGHT_1D[..., :2]), ValueError, "winograd", "kernel, got 1x2",
          algorithm="winograd"),
    wrong("conv_transpose2d", (X, TRANSPOSED), ValueError, 'conv_transpose2d: algorithm="winograd"',
          algorithm="winograd", stride=2),
    # where the result goes
    wrong("conv2d", (X, WEIGHT), TypeError, "out must be a numpy.ndarray, got list", out=[0.0]),
    wrong("conv2d", (X, WEIGHT), TypeError, "out must have dtype float32", "float64",
          out=np.zeros(Y_SHAPE)),
    wrong("conv2d", (X, WEIGHT), TypeError, "out must have dtype float32", ">f4",
          out=np.zeros(Y_SHAPE, ">f4")),
    wrong("conv2d", (X, WEIGHT), ValueError, f"out must have shape {Y_SHAPE}", "(2, 4, 6, 1)",
          out=np.zeros((2, 4, 6, 1), np.float32)),
    wrong("conv2d", (X, WEIGHT), ValueError, "out must be writeable", out=READ_ONLY),
    wrong("conv2d", (X, WEIGHT), ValueError, f"residual must have shape {Y_SHAPE}", "(4, 6, 7)",
          residual=np.zeros((4, 6, 7), np.float32)),
    wrong("conv2d", (X, WEIGHT), TypeError, "residual must be", residual=1j * READ_ONLY),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arguments", "options", "exception", "fragments"), WRONG)
def test_wrong_call(op, arguments, options, exception, fragments):
    for _ in range(2):  # a second time: nothing of the first may have stuck
        with pytest.raises(exception, match=f"^{op}: ") as caught:
            getattr(fastconv, op)(*arguments, **options)
        for fragment in fragments:
            assert fragment in str(caught.value)


UNWRITTEN = [
    {"stride": 0}, {"padding": "full"}, {"groups": 2}, {"layout": "NHWC"}, {"algorithm": "fft"},
    {"algorithm": "winograd", "precision": "highest"}, {"activation": "gelu"}, {"bias": [1.0]},
    {"precision": "low"}, {"residual": np.ones((1, 1))}, {"weight": WEIGHT * 1j},
    {"x": X[:, :, :7]},
]  # fmt: skip


@pytest.mark.parametrize("options", UNWRITTEN, ids=lambda options: ", ".join(options))
def test_nothing_is_written_when_an_argument_is_wrong(options):
    arguments = {"x": X, "weight": WEIGHT, **options}
    out = np.full(Y_SHAPE, 7, np.float32)
    fastconv.conv2d(X, WEIGHT, out=out.copy())
    with pytest.raises((TypeError, ValueError)):
        fastconv.conv2d(**arguments, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"stride": 1}, {"stride": True}),
        ({"stride": 1}, {"stride": 1.0}),
        ({"stride": (1, 1)}, {"stride": (1, 1.0)}),
        ({"padding": 0}, {"padding": False}),
        ({"padding": ((1, 1), (1, 1))}, {"padding": ((1, 1), (1, True))}),
        ({"dilation": 1}, {"dilation": 1.0}),
        ({"groups": 1}, {"groups": True}),
        ({"activation": ("clip", 0, 1)}, {"activation": ("clip", False, True)}),
    ],
    ids=str,
)
def test_equal_is_not_enough_for_a_cached_call(good, bad):
    """True == 1 == 1.0, and they hash alike; a cached plan must not let them through."""
    for _ in range(2):
        fastconv.conv2d(X, WEIGHT, **good)
    with pytest.raises(TypeError, match=f"conv2d: {next(iter(bad))}"):
        fastconv.conv2d(X, WEIGHT, **bad)
    fastconv.conv2d(X, WEIGHT, **good)


def test_numpy_integers_are_integers():
    wanted = fastconv.conv2d(X, WEIGHT, stride=2, padding=(1, 0))
    one, two = np.int8(1), np.uint64(2)
    y = fastconv.conv2d(X, WEIGHT, stride=two, padding=(one, 0), groups=one, dilation=np.array(1))
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("op", ["conv1d", "conv2d", "conv3d"])
@pytest.mark.parametrize("transposed", [False, True])
def test_prepared_convolutions_name_the_operation(op, transposed):
    nd = int(op[-2])
    prepared = fastconv.prepare_conv(np.ones((4, 4) + (2,) * nd), transposed=transposed)
    name = op.replace("conv", "conv_transpose") if transposed else op
    with pytest.raises(ValueError, match=f"^{name}: .*x has 5"):
        prepared(np.ones((1, 5) + (6,) * nd))


@pytest.mark.parametrize("transposed, channels", [(False, 4), (True, 6)])
def test_prepare_conv_wants_a_slope_for_each_channel(transposed, channels):
    options = {"groups": 2, "transposed": transposed}
    weight, slopes = np.ones((4, 3, 3, 3)), np.ones(channels)
    fastconv.prepare_conv(weight, activation=("prelu", slopes), **options)
    with pytest.raises(ValueError, match=rf"slopes must have shape \({channels},\)"):
        fastconv.prepare_conv(weight, activation=("prelu", slopes[1:]), **options)
    with pytest.raises(ValueError, match="activation must be None"):
        fastconv.conv2d(X, WEIGHT, activation=("prelu", np.ones(len(WEIGHT))))


def test_prepare_conv_wants_a_bank_of_kernels():
    with pytest.raises(ValueError, match="^prepare_conv: weight must have 3, 4 or 5 axes"):
        fastconv.prepare_conv(np.ones((3, 3)))
    with pytest.raises(TypeError, match="conv2d: weight must be an array of real numbers"):
        fastconv.prepare_conv(np.ones((3, 3, 3, 3)) * 1j)


def test_explain_conv2d_finds_the_same_mistakes():
    with pytest.raises(ValueError, match="explain_conv2d: weight expects 3 input channels"):
        fastconv.explain_conv2d((1, 4, 8, 8), (2, 3, 3, 3))
    with pytest.raises(ValueError, match="explain_conv2d: .*stride 1"):
        fastconv.explain_conv2d((1, 3, 8, 8), (2, 3, 3, 3), stride=2, algorithm="winograd")
    with pytest.raises(ValueError, match="explain_conv2d: algorithm must be one of"):
        fastconv.explain_conv2d((1, 3, 8, 8), (2, 3, 3, 3), algorithm="fast")
    with pytest.raises(TypeError, match="explain_conv2d: "):
        fastconv.explain_conv2d((1, 3, 8, 8), (2, 3, 3, 3), dtype=complex)


# ---------------------------------------------------------------- too large


@pytest.mark.parametrize(
    ("op", "x_shape", "weight_shape", "options"),
    [
        ("conv2d", (1, 1, 2, 2), (1, 1, 1, 1), {"padding": 2**30}),
        ("conv2d", (1, 1, 2, 2), (1, 1, 1, 1), {"padding": 2**28}),
        ("conv1d", (1, 1, 2), (1, 1, 1), {"padding": 2**31 - 1, "layout": "NWC"}),
        ("conv3d", (1, 1, 2, 2, 2), (1, 1, 1, 1, 1), {"padding": 2**17}),
        ("conv_transpose2d", (1, 1, 9, 9), (1, 1, 3, 3), {"stride": 2**27}),
    ],
)
def test_a_result_beyond_all_memory_is_a_memory_error(op, x_shape, weight_shape, options):
    x, weight = np.ones(x_shape), np.ones(weight_shape)
    if options.get("layout") == "NWC":
        x = np.broadcast_to(1.0, (2**12, 2, 1))
    with pytest.raises(MemoryError):
        getattr(fastconv, op)(x, weight, **options)


NO_MEMORY = """
import resource
import numpy as np
import fastconv

x = np.ones((1, 64, 64, 64), np.float32)
weight = np.ones((64, 64, 3, 3), np.float32)
for algorithm in ("direct", "im2col", "winograd"):
    fastconv.conv2d(x, weight, algorithm=algorithm)
huge = np.broadcast_to(np.float32(1), (4096, 64, 64, 64))
wide = np.broadcast_to(np.float32(1), (65536, 4096, 3, 3))
pixel = np.ones((1, 4096, 3, 3), np.float32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
for algorithm in ("direct", "im2col", "winograd"):
    for call in (
        lambda: fastconv.conv2d(huge, weight, algorithm=algorithm),   # no room for the result
        lambda: fastconv.conv2d(pixel, wide, algorithm=algorithm),    # nor for the weights
        lambda: fastconv.prepare_conv(wide, algorithm=algorithm)(pixel),
    ):
        try:
            call()
        except MemoryError:
            pass
        else:
            raise SystemExit("no MemoryError")
    y = fastconv.conv2d(x, weight, algorithm=algorithm)
    assert abs(y[0, 0, 0, 0] - 576) < 0.01
print("recovered")
"""


def test_too_little_memory_is_a_memory_error(fresh_python):
    """A process short of memory gets an exception, and goes on convolving afterwards."""
    pytest.importorskip("resource", reason="needs resource limits, which this system lacks")
    done = fresh_python("-c", NO_MEMORY, FASTCONV_VERBOSE=None)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "recovered\n"
