"""What a Winograd convolution costs, as a formula: the choice of F(2,3), F(4,3) or F(6,3).

In:  shapes. Out: a cost in multiply-adds, and the cheapest tile. Pure, and blind to the number of
threads, so that the same call takes the same tile (and gives the same bits) everywhere.
"""

from math import prod

TAPS = 3
# Multiply-adds that cost as much as ...
PIXEL_CHANNEL = 32  # ... both transforms, per pixel and channel (measured, the same for all tiles)
WEIGHT = 8  # ... reading one transformed weight: few tiles are bound by it
# Tiles to choose from, by how many axes of the kernel have three taps. F(6x6,3x3) errs by up to
# 2.6e-5 of max|y| with 512 channels, F(4x4,3x3) by 5e-6 and F(6,3) along one axis by 6e-6.
CHOICES = {1: (2, 4, 6), 2: (2, 4)}


def tiles_along(size, tile, dilation):
    """Tiles of so many outputs along an axis; with a dilation d, of d grids of every d-th output.

    Returns
    -------
    int
    """
    span = tile * dilation
    return size // span * dilation + min(dilation, size % span)


def cost(tile, out_size, in_channels, out_channels, batch=1, kernel=(3, 3), dilation=(1, 1)):
    """Cost of a convolution by F(tile, 3), in multiply-adds.

    Parameters
    ----------
    tile : int
        2, 4 or 6 outputs along each axis of the kernel that has three taps.
    out_size : tuple of int
        Height and width of the result.
    in_channels, out_channels : int
        Of one group.
    batch : int
    kernel : tuple of int
        (3, 3), (1, 3) or (3, 1).
    dilation : tuple of int
        Of no meaning along an axis of one tap.

    Returns
    -------
    int
    """
    axes = [tile if taps == TAPS else 1 for taps in kernel]
    steps = [d if taps == TAPS else 1 for d, taps in zip(dilation, kernel, strict=True)]
    tiles = batch * prod(map(tiles_along, out_size, axes, steps))
    points = prod(m + taps - 1 for m, taps in zip(axes, kernel, strict=True))
    multiply = points * in_channels * out_channels * (tiles + WEIGHT)
    transform = PIXEL_CHANNEL * tiles * prod(axes) * (in_channels + out_channels)
    return multiply + transform


def choose_tile(out_size, in_channels, out_channels, batch=1, kernel=(3, 3), dilation=(1, 1)):
    """Cheapest tile of F(tile, 3) that is accurate enough; parameters as for `cost`.

    Returns
    -------
    int
        2, 4 or 6.
    """
    return min(
        CHOICES[kernel.count(TAPS)],
        key=lambda tile: cost(tile, out_size, in_channels, out_channels, batch, kernel, dilation),
    )
