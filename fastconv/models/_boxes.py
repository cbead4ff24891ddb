"""Boxes in pictures: moving, squaring and sifting them, and looking inside.

A box is x1, y1, x2, y2 in pixels, edges not centres: (0, 0, W, H) is the whole picture. Boxes may
reach beyond the picture, where all is 0.
"""

import math

import numpy as np

# New rows that are made in one product.
_BLOCK = 64


def moved(boxes, moves):
    """Return boxes (B, 4) with their sides moved by `moves` (B, 4), in widths and heights."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes + moves * np.tile(sizes, 2)


def squared(boxes):
    """Return squares (B, 4) with the boxes' centres and their longer sides."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def suppress(boxes, scores, overlap, *, of_smaller=False):
    """Drop every box that overlaps a better one too much (non-maximum suppression).

    Parameters
    ----------
    boxes : ndarray, (B, 4)
    scores : ndarray, (B,)
    overlap : float
        Largest share of common area that is allowed: of the area that two boxes cover together,
        or with `of_smaller` of the smaller one's.
    of_smaller : bool

    Returns
    -------
    ndarray of int
        Places of the boxes that stay, the best first.
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    waiting, kept = np.argsort(-scores, kind="stable"), []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        corner = np.maximum(boxes[best, :2], boxes[waiting, :2])
        opposite = np.minimum(boxes[best, 2:], boxes[waiting, 2:])
        common = np.prod(np.maximum(opposite - corner, 0), axis=1)
        if of_smaller:
            whole = np.minimum(areas[best], areas[waiting])
        else:
            whole = areas[best] + areas[waiting] - common
        waiting = waiting[common <= overlap * whole]
    return np.array(kept, dtype=int)


def resample(picture, box, size):
    """Return what is inside a box in another size.

    Linear interpolation where that enlarges, and where it shrinks the same triangle widened to the
    distance of the new pixels, so that nothing is skipped.

    Parameters
    ----------
    picture : ndarray, (C, H, W), float32
    box : sequence of 4 floats
    size : (int, int)
        Height and width of the result.

    Returns
    -------
    ndarray, (C, *size), float32
    """
    x1, y1, x2, y2 = box
    columns = _seen(x1, x2, size[1], picture.shape[2])
    tall = _resample_rows(picture[:, :, columns], y1, y2, size[0])
    left = columns.start
    wide = _resample_rows(tall.swapaxes(1, 2), x1 - left, x2 - left, size[1])
    return np.ascontiguousarray(wide.swapaxes(1, 2))


def _resample_rows(picture, start, stop, count):
    """Return `count` rows (C, count, W) from a stretch of the rows of a picture (C, H, W)."""
    step = (stop - start) / count
    rows = np.empty((picture.shape[0], count, picture.shape[2]), np.float32)
    # In blocks, since almost all weights of the whole matrix would be 0.
    for first in range(0, count, _BLOCK):
        last = min(first + _BLOCK, count)
        stretch = start + first * step, start + last * step, last - first
        seen = _seen(*stretch, picture.shape[1])
        rows[:, first:last] = _weights(*stretch, seen) @ picture[:, seen]
    return rows


def _seen(start, stop, count, length):
    """Return which pixels of an axis `count` new ones in a stretch of it are made from."""
    reach = _reach(start, stop, count)
    low, high = math.floor(start - reach), math.ceil(stop + reach)
    return slice(min(max(low, 0), length), max(min(high, length), 0))


def _weights(start, stop, count, seen):
    """Return the weights (count, pixels), float32, of the pixels that are seen.

    Each new pixel's add up to 1 if all that it is made from is on the axis.
    """
    reach = _reach(start, stop, count)
    centres = start + (np.arange(count) + 0.5) * (stop - start) / count - 0.5
    pixels = np.arange(math.floor(start - reach), math.ceil(stop + reach))
    weights = np.maximum(0, 1 - np.abs(pixels - centres[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights[:, seen.start - pixels[0] : seen.stop - pixels[0]].astype(np.float32)


def _reach(start, stop, count):
    """Return how far from its centre a new pixel looks."""
    return max(1.0, (stop - start) / count)
