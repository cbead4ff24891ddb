"""Geometry of windows: sizes against two oracles, and every error text.

Sizes are compared with the window count of one axis (tested beside this file against its
definition) and, where it is installed, with PyTorch. Every error must be a TypeError, ValueError or
MemoryError whose text starts with the name of the function.
"""

import itertools
import math
import re

import numpy as np
import pytest

from fastconv.functional import _check as check

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def conv(x, weight, *, nd=2, stride=1, padding=0, dilation=1, groups=1, layout=None):
    layout = LAYOUTS[nd][0] if layout is None else layout
    return check.conv_geometry(
        f"conv{nd}d", nd, x, weight, stride, padding, dilation, groups, layout
    )


def transpose(
    x, weight, *, nd=2, stride=1, padding=0, output_padding=0, groups=1, dilation=1, layout=None
):
    layout = LAYOUTS[nd][0] if layout is None else layout
    op = f"conv_transpose{nd}d"
    return check.conv_transpose_geometry(
        op, nd, x, weight, stride, padding, output_padding, groups, dilation, layout
    )


def pool(x, kernel_size, *, nd=2, stride=None, padding=0, dilation=1, ceil_mode=False, layout=None):
    layout = LAYOUTS[nd][0] if layout is None else layout
    return check.pool_geometry(
        f"max_pool{nd}d", nd, x, kernel_size, stride, padding, dilation, ceil_mode, layout
    )


# Geometry of operations


def test_conv_geometry_in_full():
    geometry = conv(
        (2, 9, 8, 6), (4, 3, 3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), groups=2, layout="NHWC"
    )
    assert geometry == check.ConvGeometry(
        op="conv2d",
        nd=2,
        batched=True,
        channels_last=True,
        plane=False,
        batch=2,
        in_channels=6,
        out_channels=4,
        in_size=(9, 8),
        kernel_size=(3, 2),
        stride=(2, 1),
        dilation=(1, 1),
        pad_before=(1, 0),
        pad_after=(2, 1),
        groups=2,
        out_size=(5, 8),
    )
    assert geometry.out_shape == (2, 5, 8, 4)


@pytest.mark.parametrize(
    ("x", "weight", "options", "out_shape"),
    [
        ((2, 3, 8, 9), (4, 3, 3, 3), {}, (2, 4, 6, 7)),
        ((3, 8, 9), (4, 3, 3, 3), {}, (4, 6, 7)),
        ((8, 9, 3), (4, 3, 3, 3), {"layout": "NHWC"}, (6, 7, 4)),
        ((8, 9), (3, 3), {"padding": 1}, (8, 9)),
        ((8, 9), (3, 3), {"padding": 1, "layout": "NHWC"}, (8, 9)),
        ((8,), (3,), {"nd": 1}, (6,)),
        ((0, 3, 8, 9), (4, 3, 3, 3), {}, (0, 4, 6, 7)),
        ((2, 3, 9), (4, 3, 2), {"nd": 1, "padding": ((1, 2),)}, (2, 4, 11)),
        ((2, 9, 3), (4, 3, 2), {"nd": 1, "layout": "NWC", "padding": (1,)}, (2, 10, 4)),
        ((2, 3, 4, 5, 6), (8, 3, 2, 3, 4), {"nd": 3}, (2, 8, 3, 3, 3)),
        ((4, 5, 6, 3), (8, 3, 2, 3, 4), {"nd": 3, "layout": "NDHWC"}, (3, 3, 3, 8)),
        ((1, 6, 5, 5), (12, 1, 3, 3), {"groups": 6, "padding": "same"}, (1, 12, 5, 5)),
        ((1, 1, 7, 8), (1, 1, 3, 4), {"stride": 2, "padding": "same"}, (1, 1, 4, 4)),
        ((1, 1, 7, 8), (1, 1, 3, 4), {"stride": (2, 3), "padding": "valid"}, (1, 1, 3, 2)),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"dilation": (1, 4)}, (1, 1, 7, 1)),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"padding": (1, (0, 2))}, (1, 1, 9, 9)),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"padding": [np.int8(1), 0]}, (1, 1, 9, 7)),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"padding": np.array([[1, 1], [0, 2]])}, (1, 1, 9, 9)),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"stride": np.array([2, 3])}, (1, 1, 4, 3)),
    ],
)
def test_conv_out_shape(x, weight, options, out_shape):
    geometry = conv(x, weight, **options)
    assert geometry.out_shape == out_shape
    sizes = itertools.chain(*(field for field in geometry if isinstance(field, tuple)))
    assert all(type(size) is int for size in sizes)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [(5, 3, 1, (1, 1)), (5, 4, 1, (1, 2)), (7, 2, 2, (0, 1)), (8, 1, 3, (0, 0)), (8, 3, 2, (0, 1))],
)
def test_same_padding_puts_the_odd_one_at_the_end(size, kernel, stride, pads):
    geometry = conv((1, 1, size), (1, 1, kernel), nd=1, stride=stride, padding="same")
    assert (geometry.pad_before[0], geometry.pad_after[0]) == pads
    assert geometry.out_size == (math.ceil(size / stride),)


def test_transpose_geometry_undoes_the_sizes_of_conv():
    settings = itertools.product(range(3, 12), range(1, 5), range(1, 4), range(3), range(1, 3))
    for size, kernel, stride, padding, dilation in settings:
        if size + 2 * padding < dilation * (kernel - 1) + 1:
            continue
        options = {"nd": 1, "stride": stride, "padding": padding, "dilation": dilation}
        forward = conv((1, 1, size), (1, 1, kernel), **options).out_size[0]
        left_over = (size + 2 * padding - dilation * (kernel - 1) - 1) % stride
        back = transpose((1, 1, forward), (1, 1, kernel), output_padding=left_over, **options)
        assert back.out_size == (size,)


@pytest.mark.parametrize(
    ("x", "weight", "options", "out_shape"),
    [
        ((2, 4, 5, 6), (4, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}, None),
        ((4, 5, 6), (4, 3, 3, 3), {}, (3, 7, 8)),
        ((5, 6, 4), (4, 3, 3, 3), {"layout": "NHWC", "groups": 2}, (7, 8, 6)),
        ((5, 6), (3, 3), {"padding": ((1, 0), (2, 2))}, (6, 4)),
        ((1, 2, 3), (2, 1, 1), {"nd": 1, "padding": 1}, (1, 1, 1)),
        ((0, 2, 3), (2, 1, 4), {"nd": 1, "padding": "valid"}, (0, 1, 6)),
    ],
)
def test_transpose_out_shape(x, weight, options, out_shape):
    assert transpose(x, weight, **options).out_shape == (out_shape or (2, 3, 10, 12))


@pytest.mark.parametrize(
    ("x", "kernel_size", "options", "out_shape"),
    [
        ((2, 3, 7, 8), 2, {}, (2, 3, 3, 4)),
        ((2, 3, 7, 8), 2, {"ceil_mode": True}, (2, 3, 4, 4)),
        ((3, 7, 8), (3, 2), {"stride": 1, "padding": (1, 0)}, (3, 7, 7)),
        ((7, 8, 3), 3, {"layout": "NHWC", "stride": 2, "padding": "same"}, (4, 4, 3)),
        ((1, 1, 1, 1), 2, {"ceil_mode": True}, (1, 1, 1, 1)),
        ((1, 1, 3), 2, {"nd": 1, "stride": 3, "padding": 1, "ceil_mode": True}, (1, 1, 2)),
        ((1, 1, 2), 1, {"nd": 1, "stride": 3, "ceil_mode": True}, (1, 1, 1)),
        ((1, 1, 2), 1, {"nd": 1, "stride": 2, "ceil_mode": True}, (1, 1, 1)),
        ((0, 1, 4), 2, {"nd": 1, "ceil_mode": np.True_}, (0, 1, 2)),
        ((1, 2, 4, 5, 6), 2, {"nd": 3, "dilation": 2}, (1, 2, 1, 2, 2)),
    ],
)
def test_pool_out_shape(x, kernel_size, options, out_shape):
    assert pool(x, kernel_size, **options).out_shape == out_shape


def test_pool_stride_defaults_to_the_kernel():
    assert pool((1, 1, 9, 9), (2, 3)).stride == (2, 3)


# Error texts: (call, kind of error, fragments of the text)

X, W = (1, 3, 8, 8), (4, 3, 3, 3)
TOO_LONG = 2**40

GEOMETRY_ERRORS = [
    # Channels and layout
    (
        lambda: conv((512, 512, 3), (8, 3, 3, 3)),
        ValueError,
        "conv2d: weight expects 3 input channels (weight.shape[1]=3, groups=1), x has 512 "
        '(x.shape=(512, 512, 3)); for channels-last data pass layout="NHWC"',
    ),
    (
        lambda: conv((1, 3, 8, 8), W, layout="NHWC"),
        ValueError,
        'x has 8 (x.shape=(1, 3, 8, 8)); for channels-first data pass layout="NCHW"',
    ),
    (
        lambda: conv((1, 9, 3), (4, 3, 3), nd=1),
        ValueError,
        "conv1d: weight expects 3 input channels (weight.shape[1]=3, groups=1), x has 9 "
        '(x.shape=(1, 9, 3)); for channels-last data pass layout="NWC"',
    ),
    (
        lambda: transpose((4, 4, 3), (3, 8, 3, 3)),
        ValueError,
        "conv_transpose2d: weight expects 3 input channels (weight.shape[0]=3), x has 4 "
        '(x.shape=(4, 4, 3)); for channels-last data pass layout="NHWC"',
    ),
    (lambda: conv((1, 5, 8, 8), W), ValueError, "x has 5 (x.shape=(1, 5, 8, 8))"),
    (
        lambda: conv((1, 4, 8, 8), (8, 2, 3, 3), groups=3),
        ValueError,
        "weight expects 6 input channels (weight.shape[1]=2, groups=3), x has 4 "
        "(x.shape=(1, 4, 8, 8)); groups=3 does not divide 4",
    ),
    (
        lambda: conv((1, 6, 8, 8), (8, 2, 3, 3), groups=3),
        ValueError,
        "groups must divide both channel counts, got groups=3 for 8 output channels "
        "(weight.shape=(8, 2, 3, 3))",
    ),
    (
        lambda: transpose((1, 3, 4, 4), (3, 8, 3, 3), groups=2),
        ValueError,
        "groups must divide both channel counts, got groups=2 for 3 input channels",
    ),
    (lambda: conv((8, 8), (3, 3), groups=2), ValueError, "got groups=2 for 1 input channel ("),
    (lambda: conv(X, W, groups=0), ValueError, "groups must be at least 1, got 0"),
    (lambda: conv(X, W, groups=1.0), TypeError, "groups must be an int, got 1.0"),
    (
        lambda: conv(X, W, layout="nhwc"),
        ValueError,
        'layout must be "NCHW" or "NHWC", got \'nhwc\'',
    ),
    (
        lambda: conv((1, 3, 9), (4, 3, 3), nd=1, layout="NHWC"),
        ValueError,
        'layout must be "NCW" or "NWC", got \'NHWC\' (a layout for 2-D operations, this one is 1',
    ),
    (lambda: conv(X, W, layout=1), TypeError, 'layout must be "NCHW" or "NHWC", got 1'),
    (lambda: pool(X, 2, layout="NDHWC"), ValueError, "a layout for 3-D operations"),
    # Axes
    (
        lambda: conv((1, 1, 3, 8, 8), W),
        ValueError,
        "x must have 4 axes (N, C, H, W) or 3 (C, H, W), got 5 (x.shape=(1, 1, 3, 8, 8))",
    ),
    (lambda: conv((8, 8), W), ValueError, "got 2 (x.shape=(8, 8)); for one channel pass x[None]"),
    (lambda: conv((8, 8), W, layout="NHWC"), ValueError, "(H, W, C), got 2 (x.shape=(8, 8)); for "),
    (lambda: conv((), W), ValueError, "got 0 (x.shape=())"),
    (
        lambda: conv((8, 8, 3), (3, 3)),
        ValueError,
        "x must have 2 axes (H, W), as weight has 2, got 3 (x.shape=(8, 8, 3)); for an x with "
        "channels pass a weight with 4 axes",
    ),
    (
        lambda: conv(X, (4, 3, 3)),
        ValueError,
        "weight must have 4 axes (K, C/groups, R, S), or 2 (R, S) where x is (H, W), got 3 "
        "(weight.shape=(4, 3, 3))",
    ),
    (
        lambda: transpose(X, (4, 3, 3)),
        ValueError,
        "weight must have 4 axes (C, K/groups, R, S), or",
    ),
    (lambda: pool((8, 8), 2), ValueError, "max_pool2d: x must have 4 axes (N, C, H, W) or 3"),
    (
        lambda: conv((1, 0, 8, 8), W),
        ValueError,
        "no axis of size 0 but the batch, got x.shape=(1, 0",
    ),
    (lambda: conv((1, 3, 0, 8), W, padding=4), ValueError, "x must have no axis of size 0"),
    (lambda: pool((1, 3, 8, 0), 2), ValueError, "x must have no axis of size 0"),
    (
        lambda: conv(X, (4, 3, 0, 3)),
        ValueError,
        "weight must have no axis of size 0, got weight.sh",
    ),
    (lambda: conv((1, 0, 8, 8), (4, 0, 3, 3)), ValueError, "weight must have no axis of size 0"),
    (lambda: conv(X, (0, 3, 3, 3)), ValueError, "weight must have no axis of size 0"),
    (lambda: conv(5, W), TypeError, "x.shape must be a sequence of ints, got 5"),
    (
        lambda: conv((1, 3, 8.0, 8), W),
        TypeError,
        "x.shape must be a sequence of ints, got (1, 3, 8.0",
    ),
    (lambda: conv((1, 3, -8, 8), W), ValueError, "must have sizes from 0 to "),
    (lambda: conv((1, 3, 10**19, 8), W, stride=2**31 - 1), ValueError, "must have sizes from 0"),
    # Stride, dilation, kernel_size
    (lambda: conv(X, W, stride=0), ValueError, "stride must be at least 1, got 0"),
    (lambda: conv(X, W, stride=(1, -2)), ValueError, "stride must be at least 1, got (1, -2)"),
    (lambda: conv(X, W, stride=1.5), TypeError, "stride must be an int or 2 ints, got 1.5"),
    (lambda: conv(X, W, stride=True), TypeError, "stride must be an int or 2 ints, got True"),
    (lambda: conv(X, W, stride=np.True_), TypeError, "stride must be an int or 2 ints, got "),
    (lambda: conv(X, W, stride="2"), TypeError, "stride must be an int or 2 ints, got '2'"),
    (lambda: conv(X, W, stride=None), TypeError, "stride must be an int or 2 ints, got None"),
    (
        lambda: conv(X, W, stride=(1, 2.0)),
        TypeError,
        "stride must be an int or 2 ints, got (1, 2.0)",
    ),
    (lambda: conv(X, W, stride=(1, 2, 3)), ValueError, "an int or 2 ints, got 3: (1, 2, 3)"),
    (lambda: conv(X, W, stride=()), ValueError, "stride must be an int or 2 ints, got 0: ()"),
    (
        lambda: conv((1, 3, 8), (4, 3, 3), nd=1, stride=(1, 1)),
        ValueError,
        "an int or (int,), got 2",
    ),
    (
        lambda: conv(X, W, stride=TOO_LONG),
        ValueError,
        "stride must be at most 2147483647, got 10995",
    ),
    (lambda: conv(X, W, dilation=0), ValueError, "dilation must be at least 1, got 0"),
    (lambda: conv(X, W, dilation={}), TypeError, "dilation must be an int or 2 ints, got {}"),
    (lambda: pool(X, 0), ValueError, "kernel_size must be at least 1, got 0"),
    (lambda: pool(X, None), TypeError, "kernel_size must be an int or 2 ints, got None"),
    (lambda: pool(X, 2, stride=0), ValueError, "stride must be at least 1, got 0"),
    (lambda: pool(X, 2, ceil_mode=1), TypeError, "ceil_mode must be True or False, got 1"),
    # Padding
    (lambda: conv(X, W, padding=-1), ValueError, "padding must be at least 0, got -1"),
    (
        lambda: conv(X, W, padding=((1, 1), (0, -1))),
        ValueError,
        "at least 0, got ((1, 1), (0, -1))",
    ),
    (
        lambda: conv(X, W, padding=(1, 1, 1, 1)),
        ValueError,
        "padding must be an int, (p_h, p_w), ((top, bottom), (left, right)), "
        '"same" or "valid", got (1, 1, 1, 1)',
    ),
    (lambda: conv(X, W, padding=((1, 2), (1,))), ValueError, "got ((1, 2), (1,))"),
    (lambda: conv(X, W, padding=((1, 2), (1, 2, 3))), ValueError, "got ((1, 2), (1, 2, 3))"),
    (lambda: conv((1, 3, 8), (4, 3, 3), nd=1, padding=(1, 2)), ValueError, "((before, after),), "),
    (lambda: conv(X, W, padding="full"), ValueError, '"same" or "valid", got \'full\''),
    (lambda: conv(X, W, padding=0.5), TypeError, '"same" or "valid", got 0.5'),
    (lambda: conv(X, W, padding=None), TypeError, '"same" or "valid", got None'),
    (lambda: conv(X, W, padding=False), TypeError, '"same" or "valid", got False'),
    (lambda: conv(X, W, padding=(1, "same")), TypeError, "got (1, 'same')"),
    (lambda: conv(X, W, padding=TOO_LONG), ValueError, "padding must be at most 2147483647"),
    (
        lambda: pool(X, 2, padding=(1, 2)),
        ValueError,
        "padding must be at most half of the kernel, (1, 1) for kernel_size=(2, 2) and "
        "dilation=(1, 1), got ((1, 1), (2, 2))",
    ),
    (
        lambda: transpose(X, W[1:2] + W[1:], padding="same"),
        ValueError,
        'padding="same" is not defi',
    ),
    # Sizes
    (
        lambda: conv((1, 3, 5, 8), (4, 3, 3, 3), dilation=(3, 1)),
        ValueError,
        "weight gives a kernel of 3x3 (7x3 at dilation (3, 1)), x has only 5x8 with its padding "
        "(x.shape=(1, 3, 5, 8)); use a smaller kernel or more padding",
    ),
    (
        lambda: conv((1, 3, 2, 2), (4, 3, 5, 5), padding=1),
        ValueError,
        "weight gives a kernel of 5x5, x has only 4x4 with its padding (x.shape=(1, 3, 2, 2))",
    ),
    (
        lambda: pool((1, 3, 1, 1), 2),
        ValueError,
        "kernel_size gives a kernel of 2x2, x has only 1x1",
    ),
    (
        lambda: transpose((1, 3, 1, 1), (3, 8, 3, 3), padding=2),
        ValueError,
        "padding=((2, 2), (2, 2)) leaves a result of size (-1, -1) (x.shape=(1, 3, 1, 1), kernel "
        "3x3); use less padding",
    ),
    (
        lambda: transpose(X, (3, 8, 3, 3), stride=2, output_padding=(1, 2)),
        ValueError,
        "output_padding must be less than the larger of stride and dilation, got "
        "output_padding=(1, 2), stride=(2, 2), dilation=(1, 1)",
    ),
    (
        lambda: transpose(X, (3, 8, 3, 3), output_padding=-1),
        ValueError,
        "output_padding must be at ",
    ),
    (
        lambda: conv((1, 3, TOO_LONG, TOO_LONG), W),
        MemoryError,
        "the result would have shape (1, 4, ",
    ),
    (
        lambda: conv((0, 3, TOO_LONG, TOO_LONG), W),
        MemoryError,
        "the result would have shape (0, 4, ",
    ),
    (lambda: transpose((1, 3, TOO_LONG, 2), (3, 8, 3, 3), stride=2**30), MemoryError, "elements"),
    (lambda: pool((1, 3, TOO_LONG, TOO_LONG), 2), MemoryError, "the result would have shape"),
]


@pytest.mark.parametrize(("call", "error", "text"), GEOMETRY_ERRORS)
def test_geometry_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert re.match(r"(conv|conv_transpose|max_pool)[123]d: ", str(caught.value))
    assert text in str(caught.value)


# Against the definition, PyTorch and chance


def test_sizes_agree_with_conv_output_size():
    settings = itertools.product(range(4, 9), range(1, 4), range(1, 4), range(3), range(2), (1, 2))
    for size, kernel, stride, before, after, dilation in settings:
        if before + size + after <= dilation * (kernel - 1):
            continue
        expected = check.conv_output_size(size, kernel, stride, (before, after), dilation)
        options = {"stride": stride, "padding": ((before, after),), "dilation": dilation, "nd": 1}
        assert conv((1, 1, size), (1, 1, kernel), **options).out_size == (expected,)


def torch_shape(torch, name, shapes, options):
    """The shape PyTorch gives, or None where it refuses or has nothing to give."""
    function = getattr(torch.nn.functional, name)
    try:
        shape = tuple(function(*(torch.empty(shape) for shape in shapes), **options).shape)
    except RuntimeError:
        return None
    return None if 0 in shape else shape


def assert_same_shape(ours, arguments, options, expected):
    if expected is None:
        with pytest.raises(ValueError):
            ours(*arguments, **options)
    else:
        assert ours(*arguments, **options).out_shape == expected


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_sizes_against_pytorch(nd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    random = np.random.default_rng(nd)
    settings = itertools.product(range(4), range(1, 4), range(3), range(1, 3), range(1, 3))
    for extra, stride, padding, dilation, groups in settings:
        kernel = tuple(random.integers(1, 4, nd).tolist())
        x = (2, 2 * groups, *(random.integers(1, 8, nd) + extra).tolist())
        windows = {"stride": stride, "padding": padding, "dilation": dilation}

        options = {**windows, "groups": groups}
        shapes = (x, (3 * groups, 2, *kernel))
        expected = torch_shape(torch, f"conv{nd}d", shapes, options)
        assert_same_shape(conv, shapes, {**options, "nd": nd}, expected)

        options = {**options, "output_padding": extra}
        shapes = (x, (2 * groups, 3, *kernel))
        expected = torch_shape(torch, f"conv_transpose{nd}d", shapes, options)
        assert_same_shape(transpose, shapes, {**options, "nd": nd}, expected)

        # PyTorch limits padding to half of the kernel as if it were not dilated.
        options = {**windows, "padding": tuple(min(padding, k // 2) for k in kernel)}
        for ceil_mode in (False, True):
            options = {**options, "ceil_mode": ceil_mode}
            expected = torch_shape(
                torch, f"max_pool{nd}d", (x,), {**options, "kernel_size": kernel}
            )
            assert_same_shape(pool, (x, kernel), {**options, "nd": nd}, expected)


def test_nothing_but_clear_errors():
    hypothesis = pytest.importorskip(
        "hypothesis", reason="needs hypothesis: pip install fastconv[test]"
    )
    st = hypothesis.strategies
    small = st.integers(-1, 6)
    strange = ["same", 2**31, 2**70, np.int8(2), np.float32(2), np.arange(2), b"1", {}, 1j]
    scalar = st.none() | st.booleans() | st.floats() | st.text(max_size=3)
    odd = small | scalar | st.sampled_from(strange)
    word = odd | st.lists(odd, max_size=4) | st.lists(st.tuples(small, small), max_size=3)
    # Mostly right, so that the later checks are reached as well.
    size = st.sampled_from([1, 1, 2, (1, 2), (2, 1)]) | word
    padding = st.sampled_from([0, 1, "same", "valid", ((0, 1), (1, 0))]) | word
    shape = st.lists(st.integers(1, 2), min_size=2, max_size=4).map(tuple)
    x_shape = st.tuples(shape, st.integers(0, 9)).map(lambda pair: pair[0] + (pair[1],)) | word
    flag = st.sampled_from([1, 1, 2, True, False]) | odd
    layout = st.sampled_from(["NCHW", "NCHW", "NHWC", "NCW", "NDHWC"]) | odd
    nd = st.sampled_from([2, 2, 1, 3])

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(nd, x_shape, shape | word, size, padding, size, size, flag, layout)
    def fuzz(nd, x, weight, stride, padding, extra, dilation, groups, layout):
        calls = [
            (check.conv_geometry, weight, stride, padding, dilation, groups),
            (check.conv_transpose_geometry, weight, stride, padding, extra, groups, dilation),
            (check.pool_geometry, extra, stride, padding, dilation, groups),
        ]
        for function, *arguments in calls:
            try:
                geometry = function("name", nd, x, *arguments, layout)
            except (TypeError, ValueError, MemoryError) as error:
                assert str(error).startswith("name: ")
            else:
                assert min(geometry.out_size) >= 1
                assert len(geometry.out_shape) == len(x)

    fuzz()
