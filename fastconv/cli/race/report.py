"""The race's result as text: a header, a table, who won, and why somebody is not in it."""

from __future__ import annotations

from typing import Any

from fastconv.cli._common import Column, print_table
from fastconv.cli.bench import digits
from fastconv.cli.race.contestants import OURS
from fastconv.cli.race.score import LARGE_FLOPS, LEVEL, UNCOUNTED


def show(result: dict[str, Any]) -> None:
    """Print everything."""
    for line in _header(result):
        print(line)
    print()
    racing = [name for name in result["peers"] if _took_part(name, result["layers"])]
    columns = [
        Column(result["raced"].removesuffix("s"), right=False),
        Column("input" if _networks(result) else "shape", right=False),
        Column("fastconv ms"),
        Column("cold ms"),
        *(Column(f"{name} ms") for name in racing),
        Column("best peer", right=False),
        Column("ratio", headline=True),
        Column("our error"),
        Column("largest peer error"),
    ]
    print_table(columns, [_cells(layer, racing) for layer in result["layers"]])
    print()
    for line in (*_headlines(result), *_footnotes(result), *_absences(result)):
        print(line)


def _networks(result: dict[str, Any]) -> bool:
    return result["raced"] == "networks"


def _took_part(name: str, layers: list[dict[str, Any]]) -> bool:
    return any(layer["times"].get(name, _ABSENT)["refused"] is None for layer in layers)


_ABSENT = {"refused": "not installed"}


def _header(result: dict[str, Any]) -> list[str]:
    machine, threads = result["machine"], result["threads"]
    plural = "" if threads == 1 else "s"
    method = "" if result["algorithm"] == "auto" else f", algorithm {result['algorithm']}"
    versions = [
        f"{name} {peer['version']}" + (" (bfloat16)" if name in result["bfloat16"] else "")
        for name, peer in result["peers"].items()
        if peer["version"]
    ]
    return [
        f"fastconv {machine['version']} on {machine['cpu']}: {machine['isa']}, "
        f"{threads} thread{plural}, {result['layout']}, {result['dtype']}, "
        f"precision {result['precision']}{method}, "
        + _what_runs(result),
        f"against {', '.join(versions)}" if versions else "against nobody: no peer is installed",
    ]


def _what_runs(result: dict[str, Any]) -> str:
    if _networks(result):
        return "whole networks"
    if result["training"]:
        return "forward and backward"
    return "functions" if result["functional"] else "layers in eval mode"


def _cells(layer: dict[str, Any], racing: list[str]) -> list[str]:
    ours, ratio = layer["times"][OURS], layer["ratio"]
    return [
        layer["name"],
        layer["text"],
        digits(ours.get("ms")),
        digits(ours.get("cold_ms")),
        *(digits(layer["times"][name].get("ms")) for name in racing),
        layer["best_peer"] or "-",
        "-" if ratio is None else f"{ratio:.2f}",
        _error(ours.get("error")),
        _error(layer["largest_peer_error"]),
    ]


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _headlines(result: dict[str, Any]) -> list[str]:
    totals = result["totals"]
    if totals["won"] + totals["level"] + totals["lost"] == 0:
        return []
    lines = []
    if totals["geometric_mean"] is not None:
        lines.append(f"{totals['geometric_mean']:.3f} geometric mean of {totals['counted']} ratios")
    if _networks(result) and len(result["groups"]) > 1:
        lines += [f"  {group['geometric_mean']:.3f} of {group['counted']} with {name}"
                  for name, group in result["groups"].items() if group["counted"]]
    lines.append(
        f"{totals['won']} won, {totals['level']} level ({LEVEL} to 1), {totals['lost']} lost"
    )
    return lines


def _footnotes(result: dict[str, Any]) -> list[str]:
    effort = result["effort"]
    runs = "1 run" if effort["runs"] == 1 else f"{effort['runs']} runs"
    rest = "stopped" if result["stopped_between_turns"] else "left idle"
    outside = any(layer["name"].startswith(UNCOUNTED) for layer in result["layers"])
    note = f"; {UNCOUNTED}* is not in the mean" if outside else ""
    return [
        "",
        "ratio: the best peer's time over ours in the same run, above 1 we are faster; median of "
        f"{runs}{note}.",
        "ms: fastest call of all, back to back; cold: the fastest that came after "
        f"{effort['cold_idle'] * 1e3:g} ms idle.",
        *_on_threads(result),
        f"Each contestant has a process of its own, {rest} while others run. "
        + _what_error_means(result),
    ]


def _on_threads(result: dict[str, Any]) -> list[str]:
    """What several threads give against one: back to back, and where they must wake first."""
    found = result["on_threads"]
    if found is None:
        return []
    gains = f"{result['threads']} threads against one: at least {_named(found['least'], '.2f')}"
    if found["least_large"]:
        large = _named(found["least_large"], ".2f")
        gains += f", above {LARGE_FLOPS / 1e9:g} GFLOP {large}"
    latest = _named({name: ms * 1e3 for name, ms in found["latest"].items()}, ".0f")
    return [
        gains + " times as fast.",
        f"Waking them takes {found['wake_up_ms'] * 1e3:.0f} us (median); a cold call is slower "
        f"than one thread's by more than that in {found['beyond']} of {found['layers']}, "
        f"at most {latest} us.",
    ]


def _named(only: dict[str, float], form: str) -> str:
    ((name, value),) = only.items()
    return f"{value:{form}} ({name})"


def _what_error_means(result: dict[str, Any]) -> str:
    if _networks(result):
        return "error: max|y - y0| / max|y0|, y0 by onnxruntime without its optimisations."
    return "error: max|y - y64| / max|y64|."


def _absences(result: dict[str, Any]) -> list[str]:
    """One line a reason: who is not installed, sits out or failed, and in which layers."""
    lines = []
    missing = [name for name, peer in result["peers"].items() if peer["missing"]]
    for name in missing:
        lines.append(f"{name} is missing ({result['peers'][name]['missing']})")
    if missing:
        lines.append('install the peers: python -m pip install "fastconv[bench]"')
    reasons: dict[tuple[str, str, bool], list[str]] = {}
    for layer in result["layers"]:
        for name, times in layer["times"].items():
            if times["refused"]:
                key = name, times["refused"], times["sits_out"]
                reasons.setdefault(key, []).append(layer["name"])
    for (name, reason, sits_out), layers in reasons.items():
        if sits_out:
            lines.append(f"{name} sits out {len(layers)} of {len(result['layers'])}: {reason}")
        else:
            lines.append(f"{name} failed: {reason}: {', '.join(layers)}")
    return lines
