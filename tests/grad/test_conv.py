"""Gradients of convolutions: against the reference, PyTorch and central differences.

The bounds are relative to the gradient's largest element: 1e-9 in float64, 1e-5 in float32.
"""

import itertools

import numpy as np
import pytest

import fastconv
from fastconv import grad, reference
from fastconv.grad import _convolutions
from fastconv.reference import grad as exact

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
BOUNDS = {"float32": 1e-5, "float64": 1e-9}

# x without channels, kernel, groups, channels in and out of one group, options
CASES = {
    "3x3": ((2, 14, 14), (3, 3), 1, 20, 37, {"padding": 1}),
    "1x1": ((3, 14, 14), (1, 1), 1, 33, 70, {}),
    "1x1 to more": ((4, 14, 14), (1, 1), 1, 32, 70, {}),  # input channels in whole vectors
    "1x1 to fewer": ((4, 14, 14), (1, 1), 1, 70, 32, {}),
    "1x1 in parts": ((5, 28, 28), (1, 1), 1, 16, 48, {}),  # of the pixels
    "1x1 to a few": ((3, 7, 9), (1, 1), 1, 48, 3, {}),
    "1x1 from a pixel": ((1, 1, 1), (1, 1), 1, 48, 80, {}),
    "1x1 grouped": ((3, 6, 7), (1, 1), 3, 20, 24, {}),
    "1x1 long chains": ((2, 3, 3), (1, 1), 1, 16, 1100, {}),
    "1x1 stride 2": ((2, 15, 14), (1, 1), 1, 20, 16, {"stride": 2}),
    "1x1 padded": ((2, 5, 5), (1, 1), 1, 4, 5, {"padding": 1}),
    "1x1 padded at the end": ((2, 5, 5), (1, 1), 1, 4, 5, {"padding": ((0, 2), (0, 1))}),
    "1x1 strided past the end": ((2, 5, 5), (1, 1), 1, 4, 5,
                                 {"padding": ((0, 2), (0, 3)), "stride": 2}),
    "first layer": ((2, 35, 37), (7, 7), 1, 3, 64, {"stride": 2, "padding": 3}),
    "lenet 1": ((5, 28, 28), (5, 5), 1, 1, 6, {"padding": 2}),
    "lenet 2": ((5, 14, 14), (5, 5), 1, 6, 16, {}),
    "many blocks": ((3, 60, 61), (3, 3), 1, 17, 18, {"padding": 1}),
    "wide lines": ((2, 3, 1200), (2, 3), 1, 3, 5, {"padding": 1}),
    "wide strided lines": ((1, 4, 1300), (1, 4), 1, 3, 2, {"stride": (2, 3), "padding": (0, 2)}),
    "strip in parts": ((2, 14, 14), (3, 3), 1, 300, 5, {"padding": 1}),
    "many panels": ((4, 7, 7), (3, 3), 1, 20, 300, {"padding": 1}),
    "small images": ((40, 3, 3), (3, 3), 1, 9, 10, {"padding": 1}),
    "dilated": ((2, 13, 11), (3, 2), 1, 5, 6, {"dilation": (2, 3), "padding": 2}),
    "stride and dilation": ((2, 21, 22), (3, 4), 1, 4, 5, {"stride": (4, 4), "dilation": (3, 6)}),
    "unequal pads": ((2, 9, 8), (4, 2), 1, 3, 4, {"padding": ((2, 0), (0, 1))}),
    "same": ((2, 9, 8), (4, 3), 1, 3, 4, {"padding": "same", "stride": (2, 3)}),
    "pads beyond the kernel": ((1, 3, 3), (2, 2), 1, 2, 3, {"padding": 4, "stride": 3}),
    "grouped": ((2, 10, 10), (3, 3), 4, 5, 6, {"padding": 1}),
    "depthwise": ((2, 10, 10), (3, 3), 19, 1, 1, {"padding": 1}),
    "depthwise, wide": ((1, 3, 1300), (5, 3), 33, 1, 1, {"padding": (2, 1)}),
    "depthwise, strided": ((3, 15, 14), (3, 5), 48, 1, 1, {"stride": 2, "padding": (1, 3)}),
    "depthwise, dilated": ((2, 12, 11), (4, 3), 7, 1, 1, {"dilation": (2, 3), "padding": 5}),
    "depthwise, beside": ((2, 2, 2), (3, 3), 18, 1, 1, {"padding": 4, "stride": (1, 3)}),
    "depthwise, many": ((6, 20, 20), (3, 3), 64, 1, 1, {}),
    "depthwise signals": ((3, 90), (11,), 20, 1, 1, {"padding": 5}),
    "kernel is all": ((3, 6, 6), (6, 6), 1, 7, 20, {}),
    "signals": ((3, 50), (5,), 1, 4, 6, {"stride": 2, "padding": 2}),
    "long signal": ((2, 5000), (9,), 1, 2, 3, {"padding": 4}),
    "volumes": ((2, 5, 6, 7), (2, 3, 3), 2, 3, 4, {"stride": (1, 2, 1), "padding": (1, 1, 0)}),
}  # fmt: skip

# Paddings that PyTorch does not take.
BEYOND_TORCH = ("unequal pads", "same", "1x1 padded at the end", "1x1 strided past the end")


def name_of(nd, operand, transposed=False):
    return getattr(grad, f"conv{'_transpose' * transposed}{nd}d_{operand}")


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def last(array):
    return np.moveaxis(array, 1, -1)


def operands(name, dtype, rng):
    """x, weight, dy and options of a case, channels first."""
    (n, *size), kernel, groups, group_in, group_out, options = CASES[name]
    options = {**options, "groups": groups}
    x = draw(rng, (n, groups * group_in, *size), dtype)
    weight = draw(rng, (groups * group_out, group_in, *kernel), dtype)
    shape = getattr(reference, f"conv{len(kernel)}d")(x, weight, **options).shape
    return x, weight, draw(rng, shape, dtype), options


def assert_near(ours, wanted, dtype):
    assert ours.dtype == dtype and ours.shape == wanted.shape
    assert ours.flags.c_contiguous
    assert abs(ours - wanted).max(initial=0) <= BOUNDS[dtype] * abs(wanted).max(initial=1e-300)


@pytest.mark.every_isa
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", CASES)
def test_as_reference(name, dtype, channels_last, rng):
    x, weight, dy, options = operands(name, dtype, rng)
    nd = x.ndim - 2
    options["layout"] = LAYOUTS[nd][channels_last]
    if channels_last:
        x, dy = (np.ascontiguousarray(last(a)) for a in (x, dy))
    wide = [a.astype(np.float64) for a in (x, weight, dy)]
    dx = name_of(nd, "input")(x.shape, weight, dy, **options)
    assert_near(dx, exact.conv_input(x.shape, *wide[1:], **options), dtype)
    dw = name_of(nd, "weight")(x, weight.shape, dy, **options)
    assert_near(dw, exact.conv_weight(wide[0], weight.shape, wide[2], **options), dtype)
    db = name_of(nd, "bias")(dy, layout=options["layout"])
    channel = dy.ndim - 1 if channels_last else 1
    others = tuple(axis for axis in range(dy.ndim) if axis != channel)
    assert_near(db, wide[2].sum(others), dtype)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", [name for name in CASES if name not in BEYOND_TORCH])
def test_as_torch(name, dtype, rng):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    x, weight, dy, options = operands(name, dtype, rng)
    nd = x.ndim - 2
    tensors = [torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in (x, weight)]
    y = getattr(torch.nn.functional, f"conv{nd}d")(*tensors, **options)
    y.backward(torch.from_numpy(dy.astype(np.float64)))
    wanted = [tensor.grad.numpy() for tensor in tensors]
    assert_near(name_of(nd, "input")(x.shape, weight, dy, **options), wanted[0], dtype)
    assert_near(name_of(nd, "weight")(x, weight.shape, dy, **options), wanted[1], dtype)


TRANSPOSED = {
    "plain": ((2, 7, 6), (3, 3), 1, 5, 4, {}),
    "stride 2": ((2, 7, 6), (3, 3), 1, 5, 4, {"stride": 2, "padding": 1, "output_padding": 1}),
    "grouped": ((2, 7, 6), (4, 2), 3, 5, 4, {"stride": (3, 2), "padding": (2, 0)}),
    "output_padding above the stride": (
        (2, 4, 5), (3, 2), 1, 3, 2,
        {"stride": (1, 2), "dilation": (3, 4), "output_padding": (2, 3), "padding": (1, 2)},
    ),
    "nothing seen": ((1, 1, 1), (1, 1), 1, 2, 3, {"stride": 3, "output_padding": 2,
                                                   "padding": ((1, 0), (1, 0))}),
    "signals": ((3, 9), (4,), 1, 2, 3, {"stride": 3, "padding": 1, "output_padding": 2}),
    "volumes": ((1, 3, 4, 5), (2, 3, 2), 1, 2, 3, {"stride": 2, "output_padding": 1}),
}  # fmt: skip


@pytest.mark.every_isa
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_by_the_adjoint(name, dtype, channels_last, rng):
    """y is bilinear: <dy, y(x, w)> = <dx, x> for every x, = <dw, w> for every w."""
    (n, *size), kernel, groups, group_in, group_out, options = TRANSPOSED[name]
    nd = len(kernel)
    options = {**options, "groups": groups, "layout": LAYOUTS[nd][channels_last]}
    channels = groups * group_in
    shape = (n, *size, channels) if channels_last else (n, channels, *size)
    weight = draw(rng, (channels, group_out, *kernel), dtype)
    forward = getattr(reference, f"conv_transpose{nd}d")
    x = draw(rng, shape, dtype)
    dy = draw(rng, forward(x, weight, **options).shape, dtype)
    dx = name_of(nd, "input", True)(weight, dy, **options)
    dw = name_of(nd, "weight", True)(x, weight.shape, dy, **options)
    assert dx.shape == x.shape and dw.shape == weight.shape and dx.dtype == dw.dtype == dtype
    dy = dy.astype(np.float64)
    for _ in range(3):
        x2, weight2 = draw(rng, shape, "float64"), draw(rng, weight.shape, "float64")
        for one, other in (((x2, weight), (dx, x2)), ((x, weight2), (dw, weight2))):
            y = forward(*(a.astype(np.float64) for a in one), **options)
            size = np.linalg.norm(dy) * np.linalg.norm(y) + 1e-300
            assert abs((dy * y).sum() - (other[0] * other[1]).sum()) <= BOUNDS[dtype] * size


@pytest.mark.parametrize("name", ["lenet 2", "same", "stride and dilation", "grouped", "volumes"])
def test_central_differences(name, rng):
    """Of sum(y * dy), element by element; y is bilinear, so any step does."""
    x, weight, dy, options = operands(name, "float64", rng)
    nd, step = x.ndim - 2, 0.5
    forward = getattr(fastconv, f"conv{nd}d")

    def difference(array, index, run):
        sums = []
        for move in (step, -step):
            moved = array.copy()
            moved[index] += move
            sums.append((run(moved) * dy).sum())
        return (sums[0] - sums[1]) / (2 * step)

    gradients = {
        "input": (x, name_of(nd, "input")(x.shape, weight, dy, **options),
                  lambda x: forward(x, weight, algorithm="direct", **options)),
        "weight": (weight, name_of(nd, "weight")(x, weight.shape, dy, **options),
                   lambda weight: forward(x, weight, algorithm="direct", **options)),
    }  # fmt: skip
    for array, ours, run in gradients.values():
        for flat in rng.integers(0, array.size, 6):
            index = np.unravel_index(flat, array.shape)
            wanted = difference(array, index, run)
            assert abs(ours[index] - wanted) <= 1e-9 * abs(ours).max()


@pytest.mark.parametrize("name", CASES)
def test_threads_change_no_bit(name, threads, rng):
    x, weight, dy, options = operands(name, "float32", rng)
    nd = x.ndim - 2
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        _convolutions._planned.clear()  # plans are made for a number of threads
        results.append([
            name_of(nd, "weight")(x, weight.shape, dy, **options),
            name_of(nd, "input")(x.shape, weight, dy, **options),
            name_of(nd, "bias")(dy),
        ])
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_large_one_is_cut_the_same_for_any_threads(threads, rng):
    """Enough operations for many tasks: parts, panels and channels are all split."""
    x, dy = draw(rng, (2, 96, 40, 40), "float32"), draw(rng, (2, 130, 40, 40), "float32")
    results = []
    for count in (1, 2, 5):
        threads(count)
        _convolutions._planned.clear()
        results.append(grad.conv2d_weight(x, (130, 96, 3, 3), dy, padding=1))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    wide = (a.astype(np.float64) for a in (x, dy))
    wanted = exact.conv_weight(next(wide), (130, 96, 3, 3), next(wide), padding=1, layout="NCHW")
    assert_near(results[0], wanted, "float32")


@pytest.mark.parametrize("name", ["3x3", "1x1", "grouped", "signals", "volumes", "lenet 1"])
def test_every_memory_order(name, memory, rng):
    x, weight, dy, options = operands(name, "float64", rng)
    nd = x.ndim - 2
    dx = name_of(nd, "input")(x.shape, weight, dy, **options)
    dw = name_of(nd, "weight")(x, weight.shape, dy, **options)
    for order in memory.ALL:
        x2, weight2, dy2 = (memory.lay(array, order) for array in (x, weight, dy))
        assert_near(name_of(nd, "input")(x.shape, weight2, dy2, **options), dx, "float64")
        assert_near(name_of(nd, "weight")(x2, weight.shape, dy2, **options), dw, "float64")


def test_without_batch_and_without_channels(rng):
    x, weight = draw(rng, (1, 1, 9, 8), "float64"), draw(rng, (1, 1, 3, 2), "float64")
    dy = draw(rng, (1, 1, 7, 7), "float64")
    dx, dw = grad.conv2d_input(x.shape, weight, dy), grad.conv2d_weight(x, weight.shape, dy)
    for axes in ((0,), (0, 1)):
        kernel = weight if axes == (0,) else weight[0, 0]
        x2, dy2 = x.squeeze(axes), dy.squeeze(axes)
        np.testing.assert_array_equal(grad.conv2d_input(x2.shape, kernel, dy2), dx.squeeze(axes))
        ours = grad.conv2d_weight(x2, kernel.shape, dy2)
        np.testing.assert_array_equal(ours, dw if axes == (0,) else dw[0, 0])
        back = grad.conv_transpose2d_input(kernel, x2)
        np.testing.assert_array_equal(back, fastconv.conv2d(x2, kernel))
    np.testing.assert_array_equal(grad.conv2d_bias(dy[0]), grad.conv2d_bias(dy))


def test_no_pictures():
    x, dy = np.zeros((0, 3, 5, 5)), np.zeros((0, 4, 3, 3))
    weight = np.ones((4, 3, 3, 3))
    assert grad.conv2d_input(x.shape, weight, dy).shape == x.shape
    np.testing.assert_array_equal(grad.conv2d_weight(x, weight.shape, dy), 0 * weight)
    np.testing.assert_array_equal(grad.conv2d_bias(dy), np.zeros(4))
    assert grad.conv_transpose2d_input(weight, x).shape == dy.shape
    np.testing.assert_array_equal(
        grad.conv_transpose2d_weight(dy, weight.shape, x), 0 * weight
    )


def test_integers_give_floats():
    x, dy = np.arange(16).reshape(1, 1, 4, 4), np.ones((1, 1, 2, 2), np.int8)
    dw = grad.conv2d_weight(x, (1, 1, 3, 3), dy)
    assert dw.dtype == np.float64
    np.testing.assert_array_equal(dw[0, 0, 0], [10, 14, 18])
    assert grad.conv2d_bias(dy).dtype == np.float32


X, W, DY = np.zeros((2, 3, 6, 6)), np.zeros((4, 3, 3, 3)), np.zeros((2, 4, 4, 4))
ERRORS = [
    ("conv2d_weight", (X, (4, 3, 3, 2), DY), {}, "grad_output must have shape (2, 4, 4, 5)"),
    ("conv2d_weight", (X, (4, 2, 3, 3), DY), {}, "weight expects 2 input channels"),
    ("conv2d_weight", (X, (4, 3, 3), DY), {}, "weight must have 4 axes"),
    ("conv2d_weight", (X, (4, 3, 3, 3), DY[:1]), {}, "grad_output must have shape (2, 4, 4, 4)"),
    ("conv2d_input", ((2, 3, 6, 7), W, DY), {}, "grad_output must have shape (2, 4, 4, 5)"),
    ("conv2d_input", ((2, 2, 6, 6), W, DY), {}, "weight expects 3 input channels"),
    ("conv2d_input", ((2, 3, 6, 6), W, DY), {"stride": 0}, "stride"),
    ("conv2d_input", ((2, 3, 6, 6), W, DY), {"precision": "low"}, "precision"),
    ("conv2d_bias", (DY[0, 0],), {}, "grad_output must have 4 axes"),
    ("conv2d_bias", (DY,), {"layout": "NCW"}, "layout"),
    ("conv_transpose2d_input", (W, DY), {}, "weight expects 3 input channels"),
    ("conv_transpose2d_input", (W, X), {"stride": 2}, "grad_output must have a size that these"),
    ("conv_transpose2d_input", (W, X), {"padding": "same"}, 'padding="same" is not defined'),
    ("conv_transpose2d_weight", (DY, (4, 3, 3, 3), X), {"output_padding": 1}, "output_padding"),
    ("conv_transpose2d_weight", (DY, (4, 3, 3, 3), DY), {}, "grad_output must have shape (2, 3"),
]


@pytest.mark.parametrize("name, arguments, options, text", ERRORS)
def test_errors_name_the_function_and_the_argument(name, arguments, options, text):
    with pytest.raises(ValueError) as caught:
        getattr(grad, name)(*arguments, **options)
    assert str(caught.value).startswith(f"{name}: ") and text in str(caught.value)


@pytest.mark.parametrize("position", range(2))
def test_complex_numbers_are_refused(position):
    arguments = [X, DY]
    arguments[position] = arguments[position].astype(complex)
    with pytest.raises(TypeError, match="conv2d_weight: (input|grad_output) must be an array"):
        grad.conv2d_weight(arguments[0], (4, 3, 3, 3), arguments[1])


def test_every_name_is_there():
    for nd, operand in itertools.product((1, 2, 3), ("input", "weight", "bias")):
        assert f"conv{nd}d_{operand}" in dir(grad)
        assert callable(name_of(nd, operand))
    with pytest.raises(AttributeError, match="no attribute 'conv4d_input'"):
        grad.conv4d_input  # noqa: B018


@pytest.mark.parametrize("stride", [True, 1.0, "1"])
def test_what_equals_a_remembered_argument_is_still_refused(stride):
    for _ in range(2):
        grad.conv2d_weight(X, W.shape, DY, stride=1)
        grad.conv2d_input(X.shape, W, DY, stride=1)
        for call in (
            lambda: grad.conv2d_weight(X, W.shape, DY, stride=stride),
            lambda: grad.conv2d_input(X.shape, W, DY, stride=stride),
        ):
            with pytest.raises((TypeError, ValueError), match="stride must"):
                call()


def test_lists_do_as_tuples():
    ours = grad.conv2d_weight(X + 1, list(W.shape), DY + 1, stride=[1, 1], padding=[0, 0])
    np.testing.assert_array_equal(ours, grad.conv2d_weight(X + 1, W.shape, DY + 1))
    ours = grad.conv2d_input(list(X.shape), W + 1, DY + 1, dilation=[1, 1])
    np.testing.assert_array_equal(ours, grad.conv2d_input(X.shape, W + 1, DY + 1))
