"""The choice of a Winograd tile: what the cost formula counts, and what it leads to."""

import pytest

from fastconv._engine.winograd_cost import KERNELS, choose_tile, cost, tiles_along
from fastconv._engine.winograd_matrices import FORMS


@pytest.mark.parametrize(
    ("size", "channels", "tile"),
    [(224, 64, 4), (112, 128, 4), (56, 256, 4), (28, 512, 4), (14, 512, 4), (7, 512, 2)],
)
def test_choose_tile(size, channels, tile):
    assert choose_tile((size, size), channels, channels) == tile


def test_choose_tile_weighs_the_batch():
    assert choose_tile((7, 7), 512, 512, batch=32) == 4


def test_large_tiles_are_for_one_axis():
    """F(6,3) nested over two axes saves most, but it is not accurate enough."""
    assert cost(6, (224, 224), 512, 512) < cost(4, (224, 224), 512, 512)
    assert choose_tile((224, 224), 512, 512) == 4
    assert choose_tile((224, 224), 512, 512, kernel=(1, 3)) == 6


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_every_kernel_has_tiles_that_are_compiled(kernel):
    tile = choose_tile((28, 28), 64, 64, kernel=kernel)
    assert (tile, max(kernel)) in FORMS


def test_five_taps_nested_take_the_small_tile():
    """F(4x4,5x5) would save more, but it is not accurate enough."""
    assert cost(4, (224, 224), 512, 512, kernel=(5, 5)) < cost(2, (224, 224), 512, 512,
                                                                kernel=(5, 5))
    assert choose_tile((224, 224), 512, 512, kernel=(5, 5)) == 2
    assert choose_tile((224, 224), 512, 512, kernel=(5, 1)) == 4


def test_cost_counts_one_axis():
    along, down = cost(4, (1, 400), 32, 32, 1, (1, 3)), cost(4, (400, 1), 32, 32, 1, (3, 1))
    assert along == down < cost(4, (1, 400), 32, 32, 1, (3, 3))


@pytest.mark.parametrize("dilation", [1, 2, 3, 12, 100])
@pytest.mark.parametrize("m", [2, 4, 6])
def test_tiles_cover_each_grid(m, dilation):
    for size in range(1, 80):
        grids = [len(range(first, size, dilation)) for first in range(dilation)]
        assert tiles_along(size, m, dilation) == sum(-(-grid // m) for grid in grids)


def test_cost_counts_the_tiles_of_all_grids():
    apart = {"dilation": (2, 2)}
    assert cost(4, (32, 32), 64, 64, **apart) == cost(4, (32, 32), 64, 64)
    assert cost(4, (28, 28), 64, 64, **apart) > cost(4, (28, 28), 64, 64)  # 14 is 4 + 4 + 4 + 2
    assert cost(4, (1, 400), 32, 32, 1, (1, 3), (7, 1)) == cost(4, (1, 400), 32, 32, 1, (1, 3))


@pytest.mark.parametrize(("dilation", "tile"), [(2, 4), (4, 4), (12, 2), (24, 2)])
def test_choose_tile_for_grids(dilation, tile):
    """28 pixels are two grids of 14, four of 7, or some of 3 and 2 or of 2 and 1."""
    assert choose_tile((28, 28), 256, 256, dilation=(dilation, dilation)) == tile
