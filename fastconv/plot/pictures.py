"""Arrays as pictures, and pictures on a sheet.

A picture is an array of uint8, (H, W) grey or (H, W, 3) colour, made with NumPy alone; only the
sheet and what saves it need matplotlib.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastconv.plot._style import INK, QUIET


class Picture(NamedTuple):
    """A picture, (H, W) or (H, W, 3) of uint8, and what stands under it."""

    pixels: np.ndarray
    caption: str


Group = tuple[str, Sequence[Picture]]


def grey_levels(array: np.ndarray, low: float | None = None, high: float | None = None):
    """Map `low` (default: the least value) to black and `high` (the greatest) to white.

    Parameters
    ----------
    array : ndarray
        Any shape, any real dtype.
    low, high : float, optional
        Values outside are clipped.

    Returns
    -------
    ndarray of uint8, same shape
    """
    low = float(array.min()) if low is None else low
    high = float(array.max()) if high is None else high
    span = high - low or 1.0
    return np.rint(np.clip((array - low) / span, 0, 1) * 255).astype(np.uint8)


def signed_levels(array: np.ndarray) -> np.ndarray:
    """Map zero to middle grey and the value farthest from it to black or white (uint8)."""
    reach = float(np.abs(array).max()) or 1.0
    return grey_levels(array, -reach, reach)


def direction_colours(angle: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Show a direction as hue and its strength as brightness.

    Parameters
    ----------
    angle : ndarray, (H, W)
        Radians; one turn of the colour circle is pi, since an edge has no arrow.
    strength : ndarray, (H, W)
        0 is black, 1 and above full colour.

    Returns
    -------
    ndarray of uint8, (H, W, 3)
    """
    thirds = np.array([0.0, 1.0, 2.0]) * (2 * np.pi / 3)
    circle = 0.5 + 0.5 * np.cos(2 * angle[..., None] - thirds)
    return grey_levels(circle * np.clip(strength, 0, 1)[..., None], 0.0, 1.0)


def mosaic(tiles: Sequence[np.ndarray] | np.ndarray, columns: int, gap: int = 1, ground: int = 255):
    """Lay equal pictures out in rows.

    Parameters
    ----------
    tiles : sequence of ndarray, each (H, W) or (H, W, 3), uint8
        An array (K, H, W) or (K, H, W, 3) will do.
    columns : int
        Tiles in a row.
    gap : int
        Pixels between tiles.
    ground : int
        Grey level, 0 to 255, of the gaps and of unused places.

    Returns
    -------
    ndarray of uint8, (rows * H + gaps, columns * W + gaps) or the same with 3 colours
    """
    height, width, *colours = tiles[0].shape
    rows = math.ceil(len(tiles) / columns)
    size = rows * (height + gap) - gap, columns * (width + gap) - gap
    picture = np.full((*size, *colours), ground, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        picture[top : top + height, left : left + width] = tile
    return picture


def picture_sheet(title: str, subtitle: str, rows: Sequence[Sequence[Group]]):
    """Arrange pictures on one sheet.

    Parameters
    ----------
    title, subtitle : str
        Head of the sheet; the subtitle may have two lines.
    rows : sequence of sequence of (str, sequence of Picture)
        Groups of pictures with a heading each, from left to right. Within a row all pictures are
        equally high, and together as wide as the sheet unless that makes them too tall.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    width, margin, gutter, tallest = 12.0, 0.45, 0.22, 3.0
    heading, caption, head = 0.42, 0.45, 1.3
    heights = [_row_height(groups, width - 2 * margin, gutter, tallest) for groups in rows]
    total = head + sum(heights) + len(rows) * (heading + caption) + margin / 2
    figure = Figure(figsize=(width, total), dpi=120, facecolor="white")

    def write(left: float, down: float, text: str, **style):
        """Write from a point given in inches from the upper left corner."""
        figure.text(left / width, 1 - down / total, text, va="top", **style)

    write(margin, 0.35, title, fontsize=22, fontweight="bold", color=INK)
    write(margin, 0.82, subtitle, fontsize=9.5, color=QUIET, linespacing=1.4)
    top = head
    for groups, height in zip(rows, heights, strict=True):
        left = margin
        for text, pictures in groups:
            write(left, top + 0.14, text, fontsize=11, fontweight="bold", color=INK)
            for pixels, below in pictures:
                wide = height * _aspect(pixels)
                low = 1 - (top + heading + height) / total
                box = (left / width, low, wide / width, height / total)
                _draw(figure.add_axes(box), pixels)
                write(left, top + heading + height + 0.07, below, fontsize=8.5, color=QUIET)
                left += wide + gutter
        top += heading + height + caption
    return figure


def _aspect(pixels: np.ndarray) -> float:
    return pixels.shape[1] / pixels.shape[0]


def _row_height(groups: Sequence[Group], room: float, gutter: float, tallest: float) -> float:
    """Height in inches at which the pictures of a row together fill the room, if not too tall."""
    aspects = [_aspect(pixels) for _, pictures in groups for pixels, _ in pictures]
    return min(tallest, (room - gutter * (len(aspects) - 1)) / sum(aspects))


def _draw(axes, pixels: np.ndarray) -> None:
    axes.set_axis_off()
    small = max(pixels.shape[:2]) < 200  # single pixels are the point of a small picture
    axes.imshow(
        pixels,
        cmap="gray",
        vmin=0,
        vmax=255,
        aspect="auto",
        interpolation="nearest" if small else "antialiased",
    )


def save(figure, kind: str = "png") -> bytes:
    """Return a figure as the content of a file of this kind: "png", "svg" or "pdf"."""
    content = io.BytesIO()
    figure.savefig(content, format=kind)
    return content.getvalue()
