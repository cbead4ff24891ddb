"""A picture of where an ONNX network spends its time."""

from __future__ import annotations

from typing import Any

from fastconv.plot._style import INK, OURS, QUIET, RULE

MOST = 30  # bars; of the nodes behind them only the sum is told
LONGEST_NAME = 34  # letters of a node's name; the end tells more than the beginning
KINDS = {"convolution": OURS, "other": "#3b6fb6", "reference": "#b4532a"}
CONVOLUTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def profile_chart(result: dict[str, Any]):
    """Draw the slowest nodes of a network: one bar a node, its time.

    Parameters
    ----------
    result : dict
        What `fastconv profile --json` writes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    nodes = sorted(result["nodes"], key=lambda node: -node["ms"])
    bars = [(_name(node), node["ms"], _note(node), KINDS[_kind(node)]) for node in nodes[:MOST]]
    bars.reverse()
    height = 2.0 + 0.26 * len(bars)
    figure = Figure(figsize=(10, height), dpi=150, facecolor="white")
    axes = figure.add_axes((0.33, 0.65 / height, 0.64, 1 - 1.75 / height))
    names, times, notes, colours = zip(*bars, strict=True) if bars else ((), (), (), ())
    axes.barh(range(len(bars)), times, 0.7, color=colours)
    for place, (time, note) in enumerate(zip(times, notes, strict=True)):
        axes.text(time, place, f" {note}", va="center", fontsize=7.5, color=INK)
    axes.set_yticks(range(len(bars)), names)
    axes.tick_params(axis="y", length=0, labelsize=7.5, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=8, labelcolor=QUIET, color=RULE)
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.set_xlim(0, 1.6 * max(times, default=1))  # room for the notes
    axes.set_xlabel(f"ms{_rest(nodes[MOST:])}", fontsize=9, color=QUIET)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    marks = [Patch(color=colour, label=name) for name, colour in KINDS.items()]
    figure.legend(handles=marks, loc="upper right", bbox_to_anchor=(0.98, 1 - 0.15 / height),
                  fontsize=8, frameon=False)
    _title(figure, height, result)
    return figure


def _title(figure, height: float, result: dict[str, Any]) -> None:
    machine = result["machine"]
    words = (f"{result['ms']:.2f} ms in {len(result['nodes'])} nodes, {result['input']}; "
             f"{machine['cpu']}, {machine['isa']}, threads: {result['threads']}")
    style = {"fontsize": 15, "fontweight": "bold", "color": INK}
    figure.text(0.03, 1 - 0.4 / height, result["network"], **style)
    figure.text(0.03, 1 - 0.65 / height, words, fontsize=9, color=QUIET)


def _rest(nodes: list[dict[str, Any]]) -> str:
    share = sum(node["share"] for node in nodes)
    return f"; {len(nodes)} more nodes take {share:.1%}" if nodes else ""


def _kind(node: dict[str, Any]) -> str:
    if not node["native"]:
        return "reference"
    return "convolution" if node["operator"] in CONVOLUTIONS else "other"


def _name(node: dict[str, Any]) -> str:
    name = node["name"]
    short = name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME:]}"
    return f"{short}  {node['operator']}"


def _note(node: dict[str, Any]) -> str:
    words = [f"{node['share']:.1%}", node["algorithm"]]
    if node["flops"]:
        words.append(f"{node['gflops']:.0f} GFLOP/s, {node['share_of_peak']:.0%} of peak")
    return ", ".join(filter(None, words))
