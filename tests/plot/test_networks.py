"""Pictures of networks: filters and maps where they belong, charts with the numbers given."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from fastconv import plot


def test_filters_of_three_channels_in_colour():
    weight = np.zeros((5, 3, 2, 2))
    weight[1, 0, 0, 0] = 1  # one red pixel
    picture = plot.filter_picture(weight, columns=3, zoom=2)
    assert picture.shape == (2 * 4 + 1, 3 * 4 + 2 * 1, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:2, 5:7], np.tile([255, 0, 0], (2, 2, 1)))
    assert not picture[2:4, 5:9].any()
    assert (picture[4] == 255).all()


@pytest.mark.parametrize("channels, shape", [(4, (3 * 6 + 2, 4 * 6 + 3)), (1, (2 * 6 + 1,) * 2)])
def test_filters_of_other_channels_in_grey(channels, shape):
    weight = np.zeros((3, channels, 3, 3))
    weight[0, 0, 1, 1], weight[0, 0, 2, 2] = 0.5, -0.5
    picture = plot.filter_picture(weight, zoom=2)
    assert picture.shape == shape
    tile = picture[:6:2, :6:2]
    np.testing.assert_array_equal(tile, [[128, 128, 128], [128, 255, 128], [128, 128, 0]])


def test_maps_each_in_its_own_range():
    maps = np.arange(24.0).reshape(4, 2, 3) ** 2
    picture = plot.map_picture(maps, zoom=2)
    assert picture.shape == (2 * 4 + 2, 2 * 6 + 2)
    for top in (0, 6):
        for left in (0, 8):
            tile = picture[top : top + 4, left : left + 6]
            assert (tile.min(), tile.max()) == (0, 255)


class Epoch(NamedTuple):
    loss: float
    accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None


def test_history_chart():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    epochs = [Epoch(3, 0.3, 3.5, 0.2), Epoch(2, 0.5, 2.5, 0.4), Epoch(1, 0.6, 2.6, 0.3)]
    figure = plot.history_chart(SimpleNamespace(epochs=epochs, best=1))
    loss, accuracy = figure.axes
    assert (loss.get_title(loc="left"), accuracy.get_title(loc="left")) == ("loss", "accuracy")
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [(1, 3), (2, 2), (3, 1)])
    np.testing.assert_array_equal(loss.lines[1].get_xydata(), [(1, 3.5), (2, 2.5), (3, 2.6)])
    np.testing.assert_array_equal(accuracy.lines[1].get_ydata(), [0.2, 0.4, 0.3])
    assert set(accuracy.lines[2].get_xdata()) == {2}  # the best


def test_history_chart_of_losses_alone():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    (axes,) = plot.history_chart(SimpleNamespace(epochs=[Epoch(3), Epoch(2)], best=None)).axes
    assert len(axes.lines) == 1
    nothing = plot.history_chart(SimpleNamespace(epochs=[], best=None))
    assert plot.save(nothing).startswith(b"\x89PNG")


def networks(*rows):
    keys = ("network", "title", "top1", "parameters", "multiply_adds", "ms")
    return {
        "machine": {"cpu": "x", "isa": "avx2"},
        "threads": 1,
        "networks": [dict(zip(keys, row, strict=True)) for row in rows],
    }


def test_complexity_chart():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    figure = plot.complexity_chart(
        networks(
            ("vgg16", "VGG-16", 71.6, 138_000_000, 15_500_000_000, 100.0),
            ("resnet18", "ResNet-18", 69.8, 11_700_000, 1_800_000_000, 15.0),
            ("inception_v4", "Inception-v4", 80.0, 42_700_000, 12_300_000_000, None),
        )
    )
    work, time = figure.axes
    spots = {tuple(np.round(spot.get_offsets()[0], 6)): spot for spot in work.collections}
    assert set(spots) == {(15.5, 71.6), (1.8, 69.8), (12.3, 80.0)}
    areas = {place: spot.get_sizes()[0] for place, spot in spots.items()}
    assert areas[15.5, 71.6] / areas[1.8, 69.8] == pytest.approx(138 / 11.7)
    assert spots[12.3, 80.0].get_facecolor().size == 0  # hollow
    assert {tuple(spot.get_offsets()[0]) for spot in time.collections} == {(100, 71.6), (15, 69.8)}
    assert [text.get_text() for text in time.texts] == ["VGG-16", "ResNet-18"]


def test_complexity_chart_of_memory():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    result = networks(
        ("vgg16", "VGG-16", 71.6, 138_000_000, 15_500_000_000, 100.0),
        ("resnet18", "ResNet-18", 69.8, 11_700_000, 1_800_000_000, 15.0),
        ("inception_v4", "Inception-v4", 80.0, 42_700_000, 12_300_000_000, None),
    )
    for one, memory in zip(result["networks"], (600_000_000, 75_000_000, None), strict=True):
        one["memory"] = memory
    work, time = plot.complexity_chart(result, area="memory").axes
    for axes in (work, time):
        large, small = (spot.get_sizes()[0] for spot in axes.collections)
        assert large / small == pytest.approx(8)
    labels = [text.get_text() for text in work.get_legend().get_texts()]
    assert labels == ["30 MB", "200 MB", "600 MB"]


def test_names_keep_apart_in_a_crowd():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    crowd = [
        (f"resnet{i}", f"ResNet-{i}", 70 + i % 3 / 2, 5e6, (4 + i / 2) * 1e9, 10.0 + i)
        for i in range(6)
    ]
    axes = plot.complexity_chart(networks(*crowd)).axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_complexity_chart_without_times():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    figure = plot.complexity_chart(networks(("x", "X", 80.0, 1e6, 1e9, None)))
    assert len(figure.axes[0].collections) == 1 and not figure.axes[1].collections
    assert plot.save(figure).startswith(b"\x89PNG")
