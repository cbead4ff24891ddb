"""Boxes in pictures: moving, squaring and sifting them, and looking inside.

A box is x1, y1, x2, y2 in pixels, edges not centres: (0, 0, W, H) is the whole picture. Boxes may
reach beyond the picture, where all is 0.
"""

import math

import numpy as np


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
    rows, down = _weights(y1, y2, size[0], picture.shape[1])
    columns, across = _weights(x1, x2, size[1], picture.shape[2])
    return down @ picture[:, rows, columns] @ across.T


def _weights(start, stop, count, length):
    """Return the pixels that lie in a stretch of an axis, as a slice, and their weights.

    Parameters
    ----------
    start, stop : float
        The stretch, which may reach beyond the axis.
    count : int
        New pixels in it.
    length : int
        Pixels on the axis.

    Returns
    -------
    slice, ndarray of float32, (count, pixels)
        Each new pixel's weights add up to 1 if all of it is on the axis.
    """
    step = (stop - start) / count
    reach = max(1.0, step)
    low, high = math.floor(start - reach), math.ceil(stop + reach)
    centres = start + (np.arange(count) + 0.5) * step - 0.5
    away = np.abs(np.arange(low, high) - centres[:, None])
    weights = np.maximum(0, 1 - away / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = slice(min(max(low, 0), length), max(min(high, length), 0))
    return inside, weights[:, inside.start - low : inside.stop - low].astype(np.float32)
