"""Pictures from arrays, and figures that leave matplotlib's global state alone."""

import numpy as np
import pytest

from fastconv import plot


def test_grey_levels():
    values = np.array([[-1.0, 0.0], [0.5, 2.0]])
    np.testing.assert_array_equal(plot.grey_levels(values), [[0, 85], [128, 255]])
    np.testing.assert_array_equal(plot.grey_levels(values, 0, 1), [[0, 0], [128, 255]])
    np.testing.assert_array_equal(plot.grey_levels(np.full((2, 2), 7.0)), np.zeros((2, 2)))


def test_signed_levels_keep_zero_in_the_middle():
    levels = plot.signed_levels(np.array([-0.5, 0.0, 2.0]))
    np.testing.assert_array_equal(levels, [96, 128, 255])
    np.testing.assert_array_equal(plot.signed_levels(np.zeros(3)), [128, 128, 128])


def test_direction_colours():
    angles = np.array([[0.0, np.pi / 3, 2 * np.pi / 3, np.pi]])
    colours = plot.direction_colours(angles, np.ones((1, 4)))
    assert colours.shape == (1, 4, 3) and colours.dtype == np.uint8
    np.testing.assert_array_equal(colours[0].argmax(axis=1), [0, 1, 2, 0])
    np.testing.assert_array_equal(colours[0, 0], colours[0, 3])  # half a turn is the same edge
    assert plot.direction_colours(angles, np.zeros((1, 4))).max() == 0


@pytest.mark.parametrize("colours", [(), (3,)])
def test_mosaic(colours):
    tiles = [np.full((2, 3, *colours), value, np.uint8) for value in range(5)]
    picture = plot.mosaic(tiles, columns=2, gap=1, ground=99)
    assert picture.shape == (8, 7, *colours)
    assert (picture[3:5, 4:7] == 3).all() and (picture[6:8, :3] == 4).all()
    assert (picture[2] == 99).all() and (picture[:, 3] == 99).all()
    assert (picture[6:, 4:] == 99).all()


def test_figures_without_pyplot():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    from matplotlib import _pylab_helpers

    wide, tall = np.zeros((10, 30), np.uint8), np.zeros((300, 100, 3), np.uint8)
    groups = [("one", [plot.Picture(wide, "wide"), plot.Picture(tall, "tall")])]
    figure = plot.picture_sheet("title", "subtitle", [groups, groups + groups])
    assert len(figure.axes) == 6
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    inches = figure.get_size_inches()
    for box, picture in zip(boxes, (wide, tall) * 3, strict=True):
        aspect = (box.width * inches[0]) / (box.height * inches[1])
        assert aspect == pytest.approx(picture.shape[1] / picture.shape[0])
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert plot.save(figure, kind).startswith(start)
    assert not _pylab_helpers.Gcf.figs
