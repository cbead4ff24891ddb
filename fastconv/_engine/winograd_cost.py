"""What a Winograd convolution costs, as a formula: the choice of m in F(m, r), r = 3, 5 or 7 taps.

In:  shapes. Out: a cost in multiply-adds, and the cheapest tile. Pure, and blind to the number of
threads, so that the same call takes the same tile (and gives the same bits) everywhere.
"""

from math import prod

# Multiply-adds that cost as much as ...
# ... both transforms, per pixel and channel (measured, the same for all tiles), by taps and the
# number of axes that have so many.
PIXEL_CHANNEL = {(3, 1): 32, (3, 2): 32, (5, 1): 18, (5, 2): 100, (7, 1): 36}
WEIGHT = 8  # ... reading one transformed weight: few tiles are bound by it
# Tiles to choose from, by the same two. F(6x6,3x3) errs by up to 2.6e-5 of max|y| with 512
# channels, F(4x4,3x3) by 5e-6 and F(6,3) along one axis by 6e-6; F(4x4,5x5) by 1.3e-5,
# F(2x2,5x5), and along one axis F(4,5) and F(2,7), by 4e-6.
CHOICES = {(3, 1): (2, 4, 6), (3, 2): (2, 4), (5, 1): (2, 4), (5, 2): (2,), (7, 1): (2,)}
# Kernels (height, width) that there are tiles for.
KERNELS = ((3, 3), (1, 3), (3, 1), (5, 5), (1, 5), (5, 1), (1, 7), (7, 1))


def tiles_along(size, tile, dilation):
    """Tiles of so many outputs along an axis; with a dilation d, of d grids of every d-th output.

    Returns
    -------
    int
    """
    span = tile * dilation
    return size // span * dilation + min(dilation, size % span)


def taps_of(kernel):
    """Taps of a kernel and the number of axes that have so many."""
    return max(kernel), kernel.count(max(kernel))


def cost(tile, out_size, in_channels, out_channels, batch=1, kernel=(3, 3), dilation=(1, 1)):
    """Cost of a convolution by F(tile, taps), in multiply-adds.

    Parameters
    ----------
    tile : int
        2, 4 or 6 outputs along each axis of the kernel that has more than one tap.
    out_size : tuple of int
        Height and width of the result.
    in_channels, out_channels : int
        Of one group.
    batch : int
    kernel : tuple of int
        One of `KERNELS`.
    dilation : tuple of int
        Of no meaning along an axis of one tap.

    Returns
    -------
    int
    """
    axes = [tile if taps > 1 else 1 for taps in kernel]
    steps = [d if taps > 1 else 1 for d, taps in zip(dilation, kernel, strict=True)]
    tiles = batch * prod(map(tiles_along, out_size, axes, steps))
    points = prod(m + taps - 1 for m, taps in zip(axes, kernel, strict=True))
    multiply = points * in_channels * out_channels * (tiles + WEIGHT)
    pixels = tiles * prod(axes)
    transform = PIXEL_CHANNEL[taps_of(kernel)] * pixels * (in_channels + out_channels)
    return multiply + transform


def choose_tile(out_size, in_channels, out_channels, batch=1, kernel=(3, 3), dilation=(1, 1)):
    """Cheapest tile of F(tile, taps) that is accurate enough; parameters as for `cost`.

    Returns
    -------
    int
        2, 4 or 6.
    """
    return min(
        CHOICES[taps_of(kernel)],
        key=lambda tile: cost(tile, out_size, in_channels, out_channels, batch, kernel, dilation),
    )
