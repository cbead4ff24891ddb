"""Summaries: shapes as a real run gives them, receptive fields as a real run shows them."""

import numpy as np
import pytest

from fastconv import models, nn


class Fork(nn.Module):
    """A short and a long way through, joined in both ways that models use."""

    def __init__(self, join):
        self.short = nn.Conv2d(2, 3, 1, stride=2, rng=0)
        self.long = nn.Conv2d(2, 3, (5, 3), stride=2, padding=(2, 1), dilation=1, rng=0)
        self.join = join

    def forward(self, x):
        return self.join(self.short(x), self.long(x))


def concatenate(a, b):
    return np.concatenate([a, b], axis=1)


NETWORKS = {
    "chain": nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, dilation=2, padding=1, rng=0),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(4, 2, 2, groups=2, rng=0),
    ),
    "transposed": nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, rng=0),
        nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1, rng=0),
        nn.Conv2d(2, 2, 3, rng=0),
    ),
    "sum": Fork(np.add),
    "joined": Fork(concatenate),
    "adaptive": nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), nn.AdaptiveAvgPool2d((3, 4))),
    "dense": nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), nn.Flatten(), nn.Linear(3 * 19 * 23, 5)),
}
SHAPE = (1, 2, 21, 25)


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_a_run(name):
    net = NETWORKS[name].eval()
    rows = models.summarise(net, SHAPE).rows
    maps = models.feature_maps(net, np.ones(SHAPE, np.float32))
    assert {row.name: row.output for row in rows} == {k: y.shape for k, y in maps.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_fields_are_those_of_a_run(name):
    """Every pixel of the picture is changed in turn; one value in the middle is watched."""
    net = NETWORKS[name].eval()
    field = models.summarise(net, SHAPE).rows[-1].field
    picture = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    height, width = SHAPE[2:]
    changed = np.broadcast_to(picture, (height * width, *SHAPE[1:])).copy()
    cells = np.arange(height * width)
    changed[cells, :, cells // width, cells % width] += 10
    result = net(changed) - net(picture)
    if result.ndim == 4:
        middle = result.shape[2] // 2, result.shape[3] // 2
        result = result[:, :, middle[0], middle[1]]
    touched = np.argwhere(abs(result).max(axis=1).reshape(height, width) > 1e-6)
    extent = tuple(touched.max(axis=0) - touched.min(axis=0) + 1)
    assert extent == field


def test_nothing_is_computed_drawn_or_changed():
    net = nn.Sequential(nn.Conv2d(1, 1 << 20, 3), nn.BatchNorm2d(1 << 20))
    before = net[1].running_mean.copy()
    summary = models.summarise(net, (64, 1, 512, 512))
    assert summary.rows[0].output == (64, 1 << 20, 510, 510)  # 70 TB
    assert summary.memory == 2 * 4 * 64 * (1 << 20) * 510 * 510
    np.testing.assert_array_equal(net[1].running_mean, before)
    assert "forward" not in vars(net[0])


def test_layers_of_ones_own_run_on_zeros():
    class Halve(nn.Module):
        def forward(self, x):
            assert not x.any()
            return x[..., ::2]

    summary = models.summarise(nn.Sequential(Halve(), nn.Conv2d(2, 3, 3)), (1, 2, 9, 9))
    assert [row.output for row in summary.rows] == [(1, 2, 9, 5), (1, 3, 7, 3)]


def test_a_layer_that_is_called_twice_counts_once():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    summary = models.summarise(nn.Sequential(conv, conv), (1, 2, 8, 8))
    assert summary.parameters == 2 * 2 * 9 + 2
    assert summary.multiply_adds == 2 * 64 * 2 * 2 * 9


def test_cells_that_no_window_reaches():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=3), nn.MaxPool2d(2, ceil_mode=True))
    first, second = models.summarise(net, (1, 1, 11, 9)).rows
    assert (first.unused, second.unused) == ((2, 0), (0, 0))


def test_one_and_three_axes():
    line = models.summarise(nn.Sequential(nn.Conv1d(2, 3, 5), nn.MaxPool1d(2)), (4, 2, 20)).rows
    assert (line[1].output, line[1].field) == ((4, 3, 8), (6,))
    cube = models.summarise(nn.Conv3d(1, 2, (1, 2, 3)), (1, 1, 4, 5, 6)).rows[0]
    assert (cube.output, cube.field, cube.name) == ((1, 2, 4, 4, 4), (1, 2, 3), "")


def test_networks_work_again_after_an_error():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0)).eval()
    with pytest.raises(ValueError, match="Conv2d: weight expects 3 input channels"):
        models.summarise(net, (1, 2, 8, 8))
    assert net(np.zeros((1, 3, 8, 8))).shape == (1, 4, 6, 6)
