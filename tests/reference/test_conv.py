"""The reference's convolutions against literals, definitions, PyTorch and SciPy."""

import numpy as np
import pytest

from fastconv import reference

CHANNELS_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
CHANNELS_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def conv(nd):
    return getattr(reference, f"conv{nd}d")


def conv_transpose(nd):
    return getattr(reference, f"conv_transpose{nd}d")


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-11)


# --- by hand -----------------------------------------------------------------------------------

PICTURE = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
KERNEL = np.array([[1.0, 10], [100, 1000]])


def test_the_kernel_is_not_flipped():
    # 1*1 + 2*10 + 5*100 + 6*1000, and so on
    expected = np.array([[6521.0, 7632, 8743], [10965, 12076, 13187]])
    assert_close(reference.conv2d(PICTURE, KERNEL), expected)


def test_stride_and_dilation_by_hand():
    assert_close(reference.conv2d(PICTURE, KERNEL, stride=2), np.array([[6521.0, 8743]]))
    # 1*1 + 3*10 + 9*100 + 11*1000
    assert_close(reference.conv2d(PICTURE, KERNEL, dilation=2), np.array([[11931.0, 13042]]))


def test_padding_by_hand():
    # in the middle 6*1 + 7*10 + 10*100 + 11*1000; bottom right 8*1 + 12*100
    expected = np.array([[1000.0, 3200, 400], [9050, 12076, 1208]])
    assert_close(reference.conv2d(PICTURE, KERNEL, stride=2, padding=1), expected)


def test_same_padding_puts_the_odd_cell_at_the_end():
    y = reference.conv1d([1.0, 2, 3, 4], [1.0, 10], padding="same")
    assert_close(y, np.array([21.0, 32, 43, 4]))
    # stride 3 on 7: 3 windows of 2 reach 8 cells, so one is added, behind
    y = reference.conv1d(np.arange(1.0, 8), [1.0, 10], stride=3, padding="same")
    assert_close(y, np.array([21.0, 54, 7]))


def test_same_padding_adds_nothing_where_the_windows_leave_cells_over():
    y = reference.conv1d(np.arange(1.0, 8), [1.0], stride=3, padding="same")
    assert_close(y, np.array([1.0, 4, 7]))


def test_pairs_pad_each_side_on_its_own():
    y = reference.conv1d([1.0, 2], [1.0, 10, 100], padding=((2, 1),))
    assert_close(y, np.array([100.0, 210, 21]))


def test_groups_see_only_their_channels():
    x = np.array([[1.0], [2], [3], [4]])  # 4 channels, 1 cell
    weight = np.array([[[1.0], [10]], [[100], [1000]]])
    assert_close(reference.conv1d(x, weight, groups=2), np.array([[21.0], [4300]]))


def test_depthwise_multiplier_keeps_the_channels_together():
    x = np.array([[1.0], [2]])
    weight = np.array([1.0, 10, 100, 1000]).reshape(4, 1, 1)
    assert_close(reference.conv1d(x, weight, groups=2), np.array([[1.0], [10], [200], [2000]]))


def test_bias_then_residual_then_activation():
    x = np.array([[1.0, -2, 3]])
    weight = np.array([[[1.0]], [[-1.0]]])
    residual = np.array([[0.0, 0, -9], [0, 0, 9]])
    y = reference.conv1d(x, weight, [0.5, -0.5], activation="relu", residual=residual)
    assert_close(y, np.array([[1.5, 0, 0], [0, 1.5, 5.5]]))


def test_transposed_convolution_by_hand():
    y = reference.conv_transpose1d([1.0, 2], [1.0, 10, 100], stride=2)
    assert_close(y, np.array([1.0, 10, 102, 20, 200]))
    y = reference.conv_transpose1d([1.0, 2], [1.0, 10, 100], stride=2, padding=1, output_padding=1)
    assert_close(y, np.array([10.0, 102, 20, 200]))
    y = reference.conv_transpose1d([1.0, 2], [1.0, 10], dilation=2)
    assert_close(y, np.array([1.0, 2, 10, 20]))
    y = reference.conv_transpose1d([1.0, 2], [1.0, 10, 100], padding=((2, 0),))
    assert_close(y, np.array([120.0, 200]))


def test_linear_by_hand():
    y = reference.linear([1.0, 2], [[1.0, 10], [100, 1000], [0, -1]], [0.5, 0, 0])
    assert_close(y, np.array([21.5, 2100, -2]))
    y = reference.linear([1.0, 2], [[1.0, 10], [0, -1]], residual=[1.0, 1], activation="relu")
    assert_close(y, np.array([22.0, 0]))


# --- axes and dtypes ---------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_layouts_differ_only_in_the_order_of_axes(nd, transposed, rng):
    x = rng.standard_normal((2, 4, 6, 5, 4)[: nd + 2])
    weight = rng.standard_normal((4, 2, 3, 2, 2)[: nd + 2])
    function = (conv_transpose if transposed else conv)(nd)
    bias = rng.standard_normal(4)
    options = {"stride": 2, "padding": 1, "groups": 2, "activation": "tanh"}
    residual = rng.standard_normal(function(x, weight, **options).shape)
    first = function(x, weight, bias, residual=residual, layout=CHANNELS_FIRST[nd], **options)
    x, residual = np.moveaxis(x, 1, -1), np.moveaxis(residual, 1, -1)
    last = function(x, weight, bias, residual=residual, layout=CHANNELS_LAST[nd], **options)
    assert last.flags.c_contiguous
    assert_close(last, np.moveaxis(first, 1, -1))


@pytest.mark.parametrize("layouts", [CHANNELS_FIRST, CHANNELS_LAST])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_a_missing_batch_axis_stays_missing(nd, layouts, rng):
    x = rng.standard_normal((3, 3, 3, 3, 3)[: nd + 1])
    weight = rng.standard_normal((2, 3, 2, 2, 2)[: nd + 2])
    y = conv(nd)(x, weight, layout=layouts[nd])
    assert_close(y, conv(nd)(x[None], weight, layout=layouts[nd])[0])


@pytest.mark.parametrize("layouts", [CHANNELS_FIRST, CHANNELS_LAST])
@pytest.mark.parametrize("function", [conv, conv_transpose])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_plane_weights_are_one_channel(nd, function, layouts, rng):
    x, weight = rng.standard_normal((5, 4, 6)[:nd]), rng.standard_normal((2, 3, 2)[:nd])
    y = function(nd)(x, weight, stride=2, layout=layouts[nd])
    assert_close(y, function(nd)(x[None, None], weight[None, None], stride=2)[0, 0])


@pytest.mark.parametrize(
    ("x", "weight", "expected"),
    [
        ("f4", "f4", "f4"),
        ("f4", "f8", "f8"),
        ("u1", "f4", "f4"),
        ("u1", "i1", "f4"),
        ("i8", "f4", "f8"),
        ("f2", "f2", "f4"),
        (">f4", "f4", "f4"),
        ("g", "f8", "g"),
    ],
)
def test_computes_in_at_least_float32(x, weight, expected):
    x = np.arange(16).reshape(1, 1, 4, 4).astype(x)
    weight = np.ones((1, 1, 2, 2), weight)
    for function in (reference.conv2d, reference.conv_transpose2d, reference.conv2d_blas):
        y = function(x, weight, bias=np.ones(1))
        assert y.dtype == np.dtype(expected)
        assert y.dtype.isnative


def test_an_empty_batch_gives_an_empty_result():
    x, weight = np.empty((0, 3, 5, 5)), np.ones((4, 3, 2, 2))
    assert reference.conv2d(x, weight).shape == (0, 4, 4, 4)
    assert reference.conv2d_blas(x, weight).shape == (0, 4, 4, 4)
    assert reference.conv_transpose2d(x, weight.swapaxes(0, 1)).shape == (0, 4, 6, 6)


@pytest.mark.parametrize("activation", ["relu", ("leaky_relu", 0.2), ("clip", -0.5, 0.5), "silu"])
def test_activation_is_applied_to_the_finished_sum(activation, rng):
    x, weight = rng.standard_normal((1, 2, 5)), rng.standard_normal((3, 2, 3))
    y = reference.conv1d(x, weight)
    apply = {
        "relu": reference.relu,
        "leaky_relu": reference.leaky_relu,
        "clip": np.clip,
        "silu": reference.silu,
    }
    name, *parameters = (activation,) if isinstance(activation, str) else activation
    expected = apply[name](y, *parameters)
    assert_close(reference.conv1d(x, weight, activation=activation), expected)


# --- adjoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolution_is_the_adjoint(stride, dilation, groups, rng):
    """The sum of conv(x) * y is the sum of x * conv_transpose(y), with the same weights."""
    x, weight = rng.standard_normal((2, 4, 11, 9)), rng.standard_normal((6, 4 // groups, 3, 2))
    options = {"stride": stride, "padding": (2, 1), "dilation": dilation, "groups": groups}
    forward = reference.conv2d(x, weight, **options)
    y = rng.standard_normal(forward.shape)
    smallest = reference.conv_transpose2d(y, weight, **options).shape[2:]
    extra = tuple(n - m for n, m in zip(x.shape[2:], smallest, strict=True))
    back = reference.conv_transpose2d(y, weight, **options, output_padding=extra)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(forward, y), np.vdot(x, back), rtol=1e-12)


# --- against PyTorch and SciPy -----------------------------------------------------------------

SPATIAL = {1: (13,), 2: (13, 10), 3: (9, 8, 7)}
KERNELS = {1: [(1,), (4,)], 2: [(1, 1), (3, 3), (5, 2)], 3: [(1, 1, 1), (3, 2, 3)]}
PADDINGS = [0, 2, "ascending"]


def shapes():
    return [(nd, kernel) for nd, kernels in KERNELS.items() for kernel in kernels]


def ascending(padding, nd):
    """Another padding for each axis, to catch axes that are mixed up."""
    return tuple(range(nd)) if padding == "ascending" else padding


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("nd", "kernel"), shapes())
def test_convolution_as_pytorch(nd, kernel, stride, padding, dilation, groups, functional, rng):
    x = rng.standard_normal((2, 4, *SPATIAL[nd]))
    weight = rng.standard_normal((8, 4 // groups, *kernel))
    args = x, weight, rng.standard_normal(8), stride, ascending(padding, nd), dilation, groups
    assert_close(conv(nd)(*args), functional(f"conv{nd}d", *args))


@pytest.mark.parametrize("kernel", [(3, 3), (4, 2), (1, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_same_padding_as_pytorch(kernel, dilation, functional, rng):
    args = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, *kernel))
    options = {"padding": "same", "dilation": dilation}
    assert_close(reference.conv2d(*args, **options), functional("conv2d", *args, **options))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("stride", "output_padding"), [(1, 0), (2, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize(("nd", "kernel"), shapes())
def test_transposed_convolution_as_pytorch(
    nd, kernel, stride, output_padding, padding, dilation, groups, functional, rng
):
    x = rng.standard_normal((2, 4, *(5, 6, 7)[:nd]))
    weight = rng.standard_normal((4, 8 // groups, *kernel))
    bias = rng.standard_normal(8)
    padding = ascending(padding, nd)
    args = x, weight, bias, stride, padding, output_padding, groups, dilation
    assert_close(conv_transpose(nd)(*args), functional(f"conv_transpose{nd}d", *args))


def test_unbatched_as_pytorch(functional, rng):
    x, weight = rng.standard_normal((3, 7, 6)), rng.standard_normal((4, 3, 3, 2))
    assert_close(reference.conv2d(x, weight), functional("conv2d", x, weight))


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5)])
def test_linear_as_pytorch(shape, functional, rng):
    args = rng.standard_normal(shape), rng.standard_normal((4, 5)), rng.standard_normal(4)
    assert_close(reference.linear(*args), functional("linear", *args))


@pytest.mark.parametrize(("padding", "mode"), [("valid", "valid"), ("same", "same")])
def test_plane_as_scipy(padding, mode, signal, rng):
    x, weight = rng.standard_normal((12, 15)), rng.standard_normal((5, 3))
    expected = signal.correlate2d(x, weight, mode)
    assert_close(reference.conv2d(x, weight, padding=padding), expected)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_transposed_plane_as_scipy(nd, signal, rng):
    x, weight = rng.standard_normal((6, 5, 4)[:nd]), rng.standard_normal((3, 2, 4)[:nd])
    expected = signal.convolve(x, weight, "full", "direct")
    assert_close(conv_transpose(nd)(x, weight), expected)
