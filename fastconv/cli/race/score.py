"""Who won: ratios, their medians and the count, from the times of a race. Pure arithmetic.

A ratio is the best peer's time over ours in the same run: above 1 we are faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from fastconv.cli.race.contestants import OURS

LEVEL = 0.97  # down to this ratio a layer is level with the best peer, below it is lost
LARGE_FLOPS = 0.2e9  # from so much work on, threads should give nearly as much as they are
UNCOUNTED = "image."  # layers of that name are shown, but are not in the mean


def score(times: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Compare ours with the best peer of each run.

    Parameters
    ----------
    times : mapping of str to dict
        What lanes.race returns.

    Returns
    -------
    dict
        "best_peer" (of least "ms"), "ratios" (one a run), "ratio" (their median), "verdict" and
        "largest_peer_error"; None, and no ratios, where there is nothing to compare.
    """
    peers = {
        name: result for name, result in times.items() if name != OURS and result["refused"] is None
    }
    ours = times[OURS]
    ratios: list[float] = []
    if peers and ours["refused"] is None:
        best_of_runs = map(min, zip(*(peer["runs_ms"] for peer in peers.values()), strict=True))
        ratios = [best / own for best, own in zip(best_of_runs, ours["runs_ms"], strict=True)]
    ratio = median(ratios) if ratios else None
    return {
        "best_peer": min(peers, key=lambda name: peers[name]["ms"], default=None),
        "ratios": ratios,
        "ratio": ratio,
        "verdict": ratio and verdict(ratio),
        "largest_peer_error": max((peer["error"] for peer in peers.values()), default=None),
    }


def verdict(ratio: float) -> str:
    """Return "won", "level" or "lost"."""
    if ratio > 1:
        return "won"
    return "level" if ratio >= LEVEL else "lost"


def totals(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum up a race: geometric mean of the ratios, and how many were won, level and lost."""
    compared = [layer for layer in layers if layer["ratio"] is not None]
    counted = [layer["ratio"] for layer in compared if not layer["name"].startswith(UNCOUNTED)]
    verdicts = [layer["verdict"] for layer in compared]
    mean = math.exp(sum(map(math.log, counted)) / len(counted)) if counted else None
    return {
        "geometric_mean": mean,
        "counted": len(counted),
        **{word: verdicts.count(word) for word in ("won", "level", "lost")},
    }


def on_threads(layers: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Compare our several threads with one alone; None where one alone did not run.

    Returns
    -------
    dict
        "least" and "least_large" (of more than LARGE_FLOPS; None without any): by the layer's name,
        how many times as fast several threads are, back to back. "latest": how many milliseconds
        slower a cold call is. "beyond": in how many of "layers" that is more than waking the
        threads takes there, whose median is "wake_up_ms".
    """
    raced = [layer for layer in layers if layer["times"][OURS].get("wake_up_ms")
             and layer["times"][OURS].get("alone_ms")]
    if not raced:
        return None
    gains, late = {}, {}
    for layer in raced:
        times = layer["times"][OURS]
        gains[layer["name"]] = times["alone_ms"] / times["ms"]
        late[layer["name"]] = times["cold_ms"] - times["alone_cold_ms"]
    large = {layer["name"]: gains[layer["name"]] for layer in raced
             if layer.get("flops", 0) > LARGE_FLOPS}
    wake_ups = {layer["name"]: layer["times"][OURS]["wake_up_ms"] for layer in raced}
    return {
        "layers": len(raced),
        "least": _extreme(min, gains),
        "least_large": _extreme(min, large) if large else None,
        "wake_up_ms": median(wake_ups.values()),
        "beyond": sum(late[name] > wake_ups[name] for name in late),
        "latest": _extreme(max, late),
    }


def _extreme(which: Callable[..., str], values: dict[str, float]) -> dict[str, float]:
    name = which(values, key=values.__getitem__)
    return {name: values[name]}
