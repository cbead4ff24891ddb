"""Pictures of networks: their filters, what they see, how they learn and what they cost."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastconv.plot._style import INK, OURS, QUIET, RULE
from fastconv.plot.pictures import grey_levels, mosaic, signed_levels

# Families of networks by how their names begin.
FAMILIES = {
    "alexnet": "#c9a227",
    "vgg": "#b4532a",
    "googlenet": "#7c4d9e",
    "inception": "#7c4d9e",
    "resnet": OURS,
}
OTHER = "#3b6fb6"


class Area(NamedTuple):
    """What the area of a spot stands for: points squared for one, and spots for a legend."""

    quantity: str
    spot: float
    marks: tuple[float, ...]
    mark: str
    words: str


AREAS = {
    "parameters": Area("parameters", 1.2e-5, (5e6, 50e6, 150e6), "million", "parameters"),
    "memory": Area("memory", 2.5e-6, (30e6, 200e6, 600e6), "MB", "weights and results in memory"),
}
# Where a name may stand beside a spot, best first: direction across and up, and alignment.
PLACES = (
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.7, 0.7, "left", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, 0.7, "right", "bottom"),
    (-0.7, -0.7, "right", "top"),
)


def filter_picture(weight: np.ndarray, columns: int | None = None, zoom: int = 8) -> np.ndarray:
    """Show the filters of a convolution.

    Parameters
    ----------
    weight : ndarray, (K, C, R, S)
        Filters of three channels are shown in colour, each as bright as it can be. Of others every
        channel is a tile, grey where it is 0: a row for each filter.
    columns : int, optional
        Filters in a row; by default about as many as rows.
    zoom : int
        Pixels of the picture for one of a filter.

    Returns
    -------
    ndarray of uint8, (H, W, 3) or (H, W)
    """
    count, channels = weight.shape[:2]
    if channels == 3:
        tiles = [grey_levels(np.moveaxis(one, 0, -1)) for one in weight]
        columns = columns or math.ceil(math.sqrt(count))
    else:
        tiles = [signed_levels(tile) for one in weight for tile in one]
        columns = columns or (channels if channels > 1 else math.ceil(math.sqrt(count)))
    return mosaic([_enlarge(tile, zoom) for tile in tiles], columns, gap=max(1, zoom // 2))


def map_picture(maps: np.ndarray, columns: int | None = None, zoom: int = 1) -> np.ndarray:
    """Show feature maps side by side, each from its least value (black) to its greatest (white).

    Parameters
    ----------
    maps : ndarray, (C, H, W)
    columns : int, optional
        Maps in a row; by default about as many as rows.
    zoom : int
        Pixels of the picture for one of a map.

    Returns
    -------
    ndarray of uint8, (H', W')
    """
    columns = columns or math.ceil(math.sqrt(len(maps)))
    return mosaic([_enlarge(grey_levels(one), zoom) for one in maps], columns, gap=2)


def _enlarge(tile: np.ndarray, zoom: int) -> np.ndarray:
    return tile.repeat(zoom, axis=0).repeat(zoom, axis=1)


def history_chart(history: Any):
    """Draw how a training went: a panel for the loss and one for the accuracy, if there is one.

    Parameters
    ----------
    history : train.History
        What `train.fit` returns; a thin line stands at the epoch whose weights were kept.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    quantities = ("loss", "accuracy")
    shown = [name for name in quantities if _has(history, name)]
    figure = Figure(figsize=(4.8 * max(1, len(shown)), 3.6), dpi=150, facecolor="white")
    for number, name in enumerate(shown, 1):
        axes = figure.add_subplot(1, len(shown), number)
        for key, colour, label in (
            (name, OURS, "training"),
            (f"validation_{name}", OTHER, "validation"),
        ):
            if _has(history, key):
                values = [getattr(epoch, key) for epoch in history.epochs]
                epochs = range(1, len(values) + 1)
                axes.plot(epochs, values, color=colour, label=label, marker=".")
        if history.best is not None:
            axes.axvline(
                history.best + 1, label="weights kept",
                color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)),
            )
        axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.set_xlabel("epoch", fontsize=9, color=QUIET)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, frameon=False)
        _plain(axes)
    figure.tight_layout()
    return figure


def _has(history: Any, key: str) -> bool:
    return any(getattr(epoch, key) is not None for epoch in history.epochs)


def complexity_chart(result: dict[str, Any], area: str = "parameters"):
    """Draw networks by their work, accuracy and size, and beside that by their time here.

    Parameters
    ----------
    result : dict
        What `fastconv complexity --json` writes.
    area : "parameters" or "memory"
        What the area of a spot stands for. Networks of which that is not known are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    The left half is the chart of Canziani, Paszke and Culurciello, "An analysis of deep neural
    network models for practical applications", 2016. Networks that were not measured are hollow.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.2), dpi=150, facecolor="white")
    size = AREAS[area]
    known = [one for one in result["networks"] if one[size.quantity] is not None]
    timed = [one for one in known if one["ms"] is not None]
    panels = (
        (0.06, known, "multiply_adds", 1e-9, "multiply-adds, billions"),
        (0.56, timed, "ms", 1, "time of one picture on this machine, ms"),
    )
    for left, networks, quantity, unit, words in panels:
        axes = figure.add_axes((left, 0.1, 0.42, 0.72))
        axes.set_xlabel(words, fontsize=9, color=QUIET)
        axes.set_ylabel("top-1 accuracy on ImageNet, %", fontsize=9, color=QUIET)
        _plain(axes)
        spots = [(one[quantity] * unit, one["top1"], one) for one in networks]
        _draw_spots(axes, spots, size)
        _name_spots(axes, spots, size)
    _area_legend(figure.axes[0], size)
    machine = result["machine"]
    plural = "" if result["threads"] == 1 else "s"
    hollow = "" if len(timed) == len(known) else "; hollow: published, not run here"
    words = (
        f"areas: {size.words}{hollow}\n"
        f"{machine['cpu']}, {machine['isa']}, {result['threads']} thread{plural}, float32"
    )
    figure.text(0.06, 0.93, "What accuracy costs", fontsize=15, fontweight="bold", color=INK)
    figure.text(0.06, 0.91, words, fontsize=9, color=QUIET, va="top", linespacing=1.4)
    return figure


def _draw_spots(axes, spots, area) -> None:
    """Draw the largest first, so that small ones stay in sight; leave room for names."""
    for x, y, one in sorted(spots, key=lambda spot: -spot[2][area.quantity]):
        colour = _colour(one["network"])
        hollow = one["ms"] is None
        axes.scatter(
            x,
            y,
            s=area.spot * one[area.quantity],
            facecolor="none" if hollow else colour,
            edgecolor=colour if hollow else "white",
            alpha=0.85,
        )
    widest = max((x for x, _, _ in spots), default=1)
    axes.set_xlim(-0.06 * widest, 1.15 * widest)
    heights = [y for _, y, _ in spots] or [50]
    axes.set_ylim(min(heights) - 4, max(heights) + 4)


def _name_spots(axes, spots, area) -> None:
    """Write each name where it covers neither a spot nor another name, if there is such a place.

    Whoever has the fewest free places chooses first. Where spots overlap, lines join them to names.
    """
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    points = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    taken = []
    for x, y, one in spots:
        middle = axes.transData.transform((x, y))
        reach = 0.8 * _radius(area, one[area.quantity]) * points
        taken.append(Bbox([middle - reach, middle + reach]))

    def extent(note):
        note.get_window_extent()  # moves the text to its place; the extent has the line in it
        return Text.get_window_extent(note)

    def collisions(note):
        box = extent(note)
        inside = frame.x0 < box.x0 and box.x1 < frame.x1
        return sum(map(box.overlaps, taken)) + (0 if inside else len(taken))

    crowded = [sum(map(box.overlaps, taken)) > 1 for box in taken]  # each overlaps itself
    waiting = [
        _candidates(axes, x, y, one, _radius(area, one[area.quantity]), line)
        for (x, y, one), line in zip(spots, crowded, strict=True)
    ]
    waiting.sort(key=lambda notes: sum(collisions(note) == 0 for note in notes))
    for notes in waiting:
        best = min(notes, key=collisions)
        taken.append(extent(best))
        for note in notes:
            if note is not best:
                note.remove()


def _candidates(axes, x, y, one, radius, line) -> list:
    """Write the name of a spot in all places, near ones first; with a line to its middle or not."""
    joint = {"arrowstyle": "-", "color": INK, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
    return [
        axes.annotate(
            one["title"],
            (x, y),
            (across * (radius + distance), up * (radius + distance)),
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=8,
            color=INK,
            arrowprops=joint if line else None,
        )
        for distance in (2, 12, 22)
        for across, up, ha, va in PLACES
    ]


def _radius(area: Area, size: float) -> float:
    """Return the radius of a spot in points."""
    return math.sqrt(area.spot * size / math.pi)


def _area_legend(axes, area) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=2 * _radius(area, size),
            markerfacecolor="none",
            markeredgecolor=QUIET,
            label=f"{size / 1e6:.0f} {area.mark}",
        )
        for size in area.marks
    ]
    axes.legend(
        handles=marks,
        loc="lower right",
        fontsize=8,
        frameon=False,
        labelcolor=QUIET,
        labelspacing=4,
        handletextpad=2.8,
        borderpad=2.6,
    )


def _colour(network: str) -> str:
    return next((c for start, c in FAMILIES.items() if network.startswith(start)), OTHER)


def _plain(axes) -> None:
    """Take away what is not needed: frame at the top and right, dark ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8, labelcolor=QUIET, color=RULE)
    axes.grid(color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
