"""im2col, col2im and the convolution built on BLAS."""

import numpy as np
import pytest

from fastconv import reference
from fastconv.reference import blas

GEOMETRIES = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (1, 2)},
    {"kernel_size": (2, 3), "padding": (2, 1), "stride": 2},
    {"kernel_size": 3, "dilation": (2, 1), "padding": ((0, 2), (3, 1))},
    {"kernel_size": 2, "stride": 3},  # windows that do not touch every cell
]


# --- im2col and col2im -------------------------------------------------------------------------


def test_im2col_by_hand():
    x = np.arange(1.0, 7).reshape(1, 2, 3)
    expected = [[1, 2], [2, 3], [4, 5], [5, 6]]
    np.testing.assert_array_equal(reference.im2col(x, 2), expected)


def test_col2im_adds_where_windows_overlap():
    columns = np.ones((4, 2))
    expected = [[[1.0, 2, 1], [1, 2, 1]]]
    np.testing.assert_array_equal(reference.col2im(columns, (2, 3), 2), expected)


def test_weights_times_columns_are_the_convolution(rng):
    x, weight = rng.standard_normal((2, 3, 7, 8)), rng.standard_normal((4, 3, 3, 2))
    columns = reference.im2col(x, (3, 2), stride=2, padding=1)
    y = (weight.reshape(4, -1) @ columns).reshape(2, 4, 4, 5)
    np.testing.assert_allclose(y, reference.conv2d(x, weight, stride=2, padding=1), rtol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_col2im_is_the_adjoint_of_im2col(geometry, batch, rng):
    x = rng.standard_normal((*batch, 3, 8, 7))
    columns = reference.im2col(x, **geometry)
    y = rng.standard_normal(columns.shape)
    back = reference.col2im(y, (8, 7), **geometry)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(columns, y), np.vdot(x, back), rtol=1e-12)


def has_pairs(geometry):
    return np.ndim(geometry.get("padding", 0)) > 1


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if not has_pairs(g)])
def test_im2col_and_col2im_as_pytorch(geometry, functional, rng):
    x = rng.standard_normal((2, 3, 8, 7))
    columns = reference.im2col(x, **geometry)
    np.testing.assert_array_equal(columns, functional("unfold", x, **geometry))
    expected = functional("fold", columns, (8, 7), **geometry)
    np.testing.assert_allclose(reference.col2im(columns, (8, 7), **geometry), expected, rtol=1e-12)


# --- conv2d_blas -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("strip_bytes", [1, 5000, blas._STRIP_BYTES])
@pytest.mark.parametrize(
    ("channels", "filters", "groups"), [(3, 5, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3), (1, 2, 1)]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": "same", "dilation": 2},
        {"padding": ((0, 2), (1, 3)), "stride": (1, 3)},
    ],
)
def test_conv2d_blas_is_conv2d(
    options, channels, filters, groups, strip_bytes, layout, rng, monkeypatch
):
    monkeypatch.setattr(blas, "_STRIP_BYTES", strip_bytes)
    monkeypatch.setattr(blas, "_WEIGHT_SHARE", 0)
    shape = (2, channels, 11, 9) if layout == "NCHW" else (2, 11, 9, channels)
    x = rng.standard_normal(shape)
    weight = rng.standard_normal((filters, channels // groups, 3, 2))
    args = x, weight, rng.standard_normal(filters)
    y = reference.conv2d_blas(*args, **options, groups=groups, layout=layout)
    expected = reference.conv2d(*args, **options, groups=groups, layout=layout)
    assert y.flags.c_contiguous
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_conv2d_blas_without_batch(layout, rng):
    x, weight = rng.standard_normal((3, 8, 3)), rng.standard_normal((4, 3, 2, 2))
    y = reference.conv2d_blas(x, weight, layout=layout)
    np.testing.assert_allclose(y, reference.conv2d(x, weight, layout=layout), rtol=1e-12)


def test_strips_fit_the_cache_but_outweigh_the_weights():
    taps = np.broadcast_to(np.float32(0), (2, 16, 365, 40, 3, 3))  # 23040 bytes a row, 91 fit
    small = np.broadcast_to(np.float32(0), (1, 16, 3, 3))
    large = np.broadcast_to(np.float32(0), (8192, 16, 3, 3))
    strips = list(blas._strips(taps, small))
    assert [image for image, _, _ in strips] == [0] * 5 + [1] * 5
    assert strips[1][1:] == (slice(73, 146), slice(73 * 40, 146 * 40))
    assert [rows for _, rows, _ in blas._strips(taps, large)] == [slice(0, 365)] * 2
