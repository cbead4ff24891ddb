"""Boxes: overlap by hand, resampling of pictures whose result is known."""

import numpy as np
import pytest

from fastconv.models._boxes import moved, resample, squared, suppress


def test_moves_are_in_widths_and_heights():
    boxes = np.array([[10.0, 20, 30, 60]])
    result = moved(boxes, np.array([[0.5, -0.25, 0, 1]]))
    np.testing.assert_array_equal(result, [[20, 10, 30, 100]])


def test_squares_keep_centre_and_longer_side():
    boxes = np.array([[10.0, 20, 30, 60], [0, 0, 7, 3]])
    np.testing.assert_array_equal(squared(boxes), [[0, 20, 40, 60], [0, -2, 7, 5]])


def test_suppression_by_common_area():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [6, 0, 16, 10], [50, 50, 60, 60]])
    scores = np.array([0.7, 0.9, 0.8, 0.1])
    # Box 0 shares 90 of 110 with box 1; box 2 shares 50 of 150 with it.
    np.testing.assert_array_equal(suppress(boxes, scores, 0.5), [1, 2, 3])
    np.testing.assert_array_equal(suppress(boxes, scores, 0.3), [1, 3])
    np.testing.assert_array_equal(suppress(boxes, scores, 0.9), [1, 2, 0, 3])


def test_suppression_by_the_smaller_area():
    boxes = np.array([[0.0, 0, 100, 100], [10, 10, 20, 20]])  # one inside the other
    scores = np.array([0.5, 0.6])
    np.testing.assert_array_equal(suppress(boxes, scores, 0.7), [1, 0])
    np.testing.assert_array_equal(suppress(boxes, scores, 0.7, of_smaller=True), [1])


def test_a_dropped_box_drops_no_other():
    boxes = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    # The second overlaps both others by 60 of 140; they overlap each other by 20 of 180.
    np.testing.assert_array_equal(suppress(boxes, np.array([0.9, 0.8, 0.7]), 0.4), [0, 2])


def test_no_boxes():
    assert suppress(np.empty((0, 4)), np.empty(0), 0.5).shape == (0,)
    assert squared(np.empty((0, 4))).shape == (0, 4)


@pytest.fixture
def picture():
    return np.random.default_rng(0).normal(size=(3, 12, 15)).astype(np.float32)


def test_the_same_size_is_the_same_picture(picture):
    np.testing.assert_allclose(resample(picture, (0, 0, 15, 12), (12, 15)), picture, rtol=1e-6)
    part = resample(picture, (4, 2, 10, 9), (7, 6))
    np.testing.assert_allclose(part, picture[:, 2:9, 4:10], rtol=1e-6)


def test_outside_is_zero(picture):
    part = resample(picture, (-4, 5, 4, 15), (10, 8))
    np.testing.assert_allclose(part[:, :7, 4:], picture[:, 5:, :4], rtol=1e-6)
    assert not part[:, 7:].any() and not part[:, :, :4].any()
    assert not resample(picture, (100, 100, 130, 120), (4, 4)).any()
    assert not resample(picture, (-30, 0, -10, 12), (4, 4)).any()


@pytest.mark.parametrize("size", [(7, 5), (31, 48), (6, 40), (150, 90)])
def test_ramps_stay_ramps(size):
    rows, columns = np.mgrid[:60, :80]
    ramp = (rows + 2 * columns)[None].astype(np.float32)
    y1, y2, x1, x2 = 20, 40, 30, 50
    result = resample(ramp, (x1, y1, x2, y2), size)[0]
    # The value of a pixel is the ramp's at its centre, to a small part of a pixel.
    y = y1 + (np.arange(size[0]) + 0.5) * (y2 - y1) / size[0] - 0.5
    x = x1 + (np.arange(size[1]) + 0.5) * (x2 - x1) / size[1] - 0.5
    np.testing.assert_allclose(result, y[:, None] + 2 * x, rtol=0, atol=0.05)


def test_large_pictures_are_made_in_blocks():
    picture = np.random.default_rng(1).normal(size=(1, 300, 400)).astype(np.float32)
    whole = resample(picture, (0, 0, 400, 300), (150, 200))
    part = resample(picture, (100, 20, 300, 220), (100, 100))
    np.testing.assert_allclose(whole[:, 10:110, 50:150], part, atol=1e-5)


def test_shrinking_sees_every_pixel():
    """A dot is smaller in a small picture, never skipped."""
    for place in range(16, 48):
        dot = np.zeros((1, 64, 64), np.float32)
        dot[0, place, 30] = 64
        small = resample(dot, (0, 0, 64, 64), (8, 8))
        assert small.sum() == pytest.approx(1, rel=0.02)
