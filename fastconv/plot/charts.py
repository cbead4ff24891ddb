"""Charts of what the bench measured: speeds, roofs, the race against peers.

Each takes the numbers that the command writes as JSON and returns a matplotlib Figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.plot._style import INK, NUMPY, OURS, QUIET, RULE

ALGORITHMS = {"direct": "#3b6fb6", "im2col": "#b4532a", "winograd": OURS}
SAVED = 4  # F(4x4, 3x3) multiplies a quarter as often as the definition
VERDICTS = {"won": (OURS, "faster"), "level": ("#9aa5b1", "level"), "lost": ("#b4532a", "slower")}
MARKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4)  # ratios on the axis of a race
LONGEST = 4.0


def bench_chart(result: dict[str, Any]):
    """Draw a bench result: one group of bars a layer, effective GFLOP/s, longer is faster.

    Parameters
    ----------
    result : dict
        What `fastconv bench --json` writes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    layers = [layer for layer in result["layers"] if layer["runs"]][::-1]
    peak, height = result["peak_gflops"], 1.9 + 0.42 * len(layers)
    figure = Figure(figsize=(10, height), dpi=150, facecolor="white")
    axes = figure.add_axes((0.3, 0.85 / height, 0.62, 1 - 1.75 / height))
    places = np.arange(len(layers))
    speeds = [layer["runs"][0]["gflops"] for layer in layers]
    numpy = [layer["flops"] / layer["numpy_blas_ms"] / 1e6 for layer in layers]
    axes.barh(places + 0.19, speeds, 0.36, color=OURS, label="fastconv")
    axes.barh(places - 0.19, numpy, 0.36, color=NUMPY, label="NumPy, im2col + matmul")
    axes.axvline(peak, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, speed, layer in zip(places, speeds, layers, strict=True):
        run = layer["runs"][0]
        note = f" {run['algorithm']}, {run['faster_than_blas']:.1f}x"
        axes.text(speed, place + 0.19, note, va="center", fontsize=7.5, color=INK)
    axes.set_yticks(places, [f"{layer['name']}\n{layer['text']}" for layer in layers])
    axes.tick_params(axis="y", length=0, labelsize=7, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=8, labelcolor=QUIET, color=RULE)
    axes.set_ylim(-0.6, len(layers) - 0.4)
    axes.set_xlim(0, max(1.3 * max(speeds, default=0), 1.1 * peak))
    axes.set_xlabel("effective GFLOP/s", fontsize=9, color=QUIET)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.text(peak, len(layers) - 0.4, f"FMA peak {peak:.0f}", fontsize=8, color=QUIET, ha="center")
    corner = 0.97, 1 - 0.2 / height
    figure.legend(loc="upper right", bbox_to_anchor=corner, fontsize=8, frameon=False)
    machine = result["machine"]
    words = f"{machine['cpu']}, {machine['isa']}, {result['threads']} threads, {result['layout']}"
    figure.text(
        0.03,
        1 - 0.4 / height,
        "Convolutions on this machine",
        fontsize=15,
        fontweight="bold",
        color=INK,
    )
    figure.text(0.03, 1 - 0.65 / height, words, fontsize=9, color=QUIET)
    return figure


def roofline_chart(result: dict[str, Any]):
    """Draw each layer's speed over its intensity, under what the machine could do at most.

    The intensity is the definition's operations over the bytes that must move at least. The roofs
    are the memory's bandwidth times the intensity, the FMA peak, and SAVED times that peak for
    Winograd. Data in a cache moves faster than the memory's roof allows.

    Parameters
    ----------
    result : dict
        What `fastconv bench --json` writes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    layers = [layer for layer in result["layers"] if layer["runs"]]
    figure = Figure(figsize=(10, 6.2), dpi=150, facecolor="white")
    axes = figure.add_axes((0.07, 0.1, 0.6, 0.74))
    axes.set_xscale("log")
    axes.set_yscale("log")
    intensities = [layer["flops"] / layer["bytes"] for layer in layers]
    _roofs(axes, result, min(intensities, default=1) * 0.6, max(intensities, default=1) * 1.6)
    for number, (layer, intensity) in enumerate(zip(layers, intensities, strict=True), 1):
        run = layer["runs"][0]
        colour, spot = ALGORITHMS[run["algorithm"]], (intensity, run["gflops"])
        axes.plot(*spot, "o", markersize=11, color=colour, alpha=0.85, markeredgecolor="white")
        axes.annotate(
            str(number), spot, ha="center", va="center", fontsize=6.5, color="white", weight="bold"
        )
        note = f"{number:2d}  {layer['name']}"
        place = 0.7, 0.825 - 0.031 * (number - 1) * min(1, 25 / len(layers))
        figure.text(*place, note, fontsize=7.5, color=colour, va="top")
        figure.text(0.96, place[1], f"{run['gflops']:.0f}", fontsize=7.5, ha="right", va="top")
    axes.set_xlabel("operations per byte that must move", fontsize=9, color=QUIET)
    axes.set_ylabel("effective GFLOP/s", fontsize=9, color=QUIET)
    axes.tick_params(which="both", labelsize=8, labelcolor=QUIET, color=RULE)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(color=RULE, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    marks = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=name)
        for name, colour in ALGORITHMS.items()
    ]
    axes.legend(handles=marks, loc="lower right", fontsize=8, frameon=False)
    machine = result["machine"]
    words = f"{machine['cpu']}, {machine['isa']}, {result['threads']} threads, {result['layout']}"
    figure.text(
        0.07, 0.93, "Every layer under its roof", fontsize=15, fontweight="bold", color=INK
    )
    figure.text(0.07, 0.885, f"{words}, float32", fontsize=9, color=QUIET)
    figure.text(0.96, 0.855, "GFLOP/s", fontsize=7.5, color=QUIET, ha="right", va="top")
    return figure


def _roofs(axes, result: dict[str, Any], low: float, high: float) -> None:
    """Draw the three limits from intensity low to high, each with its name."""
    peak, memory = result["peak_gflops"], result["memory_gbs"]
    span = np.geomspace(low, high, 200)
    for factor, name in ((1, f"FMA peak {peak:.0f}"), (SAVED, f"{SAVED} x peak: F(4x4, 3x3)")):
        style = "-" if factor == 1 else (0, (4, 3))
        axes.plot(span, np.minimum(memory * span, factor * peak), color=QUIET, ls=style, lw=1)
        axes.text(high, factor * peak * 1.04, name, fontsize=8, color=QUIET, ha="right")
    axes.text(
        low * 1.05, memory * low * 1.6, f"memory {memory:.0f} GB/s", fontsize=8, color=QUIET
    )
    axes.set_xlim(low, high)


def race_chart(result: dict[str, Any]):
    """Draw the race against the peers: one bar a layer, the best peer's time over ours.

    Bars start at 1, on a logarithmic axis: twice as fast is as long as half as fast. Bars of more
    than LONGEST are cut, and show it.

    Parameters
    ----------
    result : dict
        What `fastconv bench --peers --json` writes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    layers = [layer for layer in result["layers"] if layer["ratio"] is not None][::-1]
    height = 2.2 + 0.3 * len(layers)
    figure = Figure(figsize=(10, height), dpi=150, facecolor="white")
    axes = figure.add_axes((0.39, 0.75 / height, 0.58, 1 - 2 / height))
    for place, layer in enumerate(layers):
        _race_bar(axes, place, layer)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks([])
    axes.set_ylim(-0.6, len(layers) - 0.4)
    ratios = [layer["ratio"] for layer in layers]
    _ratio_axis(axes, min(ratios, default=1), min(max(ratios, default=1), LONGEST))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    _race_words(figure, height, result)
    return figure


def _race_bar(axes, place: int, layer: dict[str, Any]) -> None:
    """Draw a layer's name and shape at the left, its bar, and the best peer behind the bar."""
    ratio = layer["ratio"]
    end = min(ratio, LONGEST)
    axes.barh(place, end - 1, 0.66, left=1, color=VERDICTS[layer["verdict"]][0])
    style = {"va": "center", "fontsize": 7.5, "color": INK}
    axes.text(max(end, 1), place, f" {ratio:.2f}x  {layer['best_peer']}", **style)
    if ratio > LONGEST:
        cut = {**style, "color": "white", "fontsize": 11, "fontweight": "bold"}
        axes.text(end * 0.96, place, "//", ha="right", **cut)
    beside = axes.get_yaxis_transform()  # across the axes from 0 to 1, layers upwards
    axes.text(-0.62, place, layer["name"], transform=beside, **style)
    style = {**style, "color": QUIET, "fontsize": 7}
    axes.text(-0.02, place, layer["text"], ha="right", transform=beside, **style)


def _ratio_axis(axes, low: float, high: float) -> None:
    """Mark ratios at round numbers, with room for the notes at the right."""
    low, high = min(low, 0.9), max(high, 1.5)
    axes.set_xscale("log")
    axes.set_xlim(low * 0.97, high * (high / low) ** 0.25)
    marks = [mark for mark in MARKS if low <= mark <= high]
    axes.set_xticks(marks, [f"{mark:g}x" for mark in marks])
    axes.set_xticks([], minor=True)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=8, labelcolor=QUIET, color=RULE)
    axes.set_xlabel("time of the fastest peer / time of fastconv", fontsize=9, color=QUIET)


def _race_words(figure, height: float, result: dict[str, Any]) -> None:
    """Write the head of the race's chart: the mean, who raced and where, and the colours."""
    from matplotlib.patches import Patch

    totals, machine = result["totals"], result["machine"]
    mean, count = totals["geometric_mean"], totals["counted"]
    title = "fastconv against the fastest peer"
    title += f": {mean:.2f}x, geometric mean of {count}" if mean else ""
    names = [name for name, peer in result["peers"].items() if peer["version"]]
    plural = "" if result["threads"] == 1 else "s"
    both = ", forward and backward" if result.get("training") else ""
    words = (
        f"peers: {', '.join(names)}{both}\n{machine['cpu']}, {machine['isa']}, "
        f"{result['threads']} thread{plural}, {result['layout']}, float32"
    )
    figure.text(0.03, 1 - 0.45 / height, title, fontsize=15, fontweight="bold", color=INK)
    style = {"fontsize": 9, "color": QUIET, "va": "top", "linespacing": 1.4}
    figure.text(0.03, 1 - 0.58 / height, words, **style)
    patches = [
        Patch(color=colour, label=f"{totals[word]} {meaning}")
        for word, (colour, meaning) in VERDICTS.items()
    ]
    corner = 0.97, 1 - 0.5 / height
    figure.legend(
        handles=patches,
        loc="upper right",
        bbox_to_anchor=corner,
        fontsize=8,
        ncols=3,
        frameon=False,
    )
