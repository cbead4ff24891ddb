"""fastconv complexity: what the accuracy of known networks costs, in work and in time here.

Draws the chart of accuracy over multiply-adds, with spots as large as the networks, from published
numbers; beside it the same over the time that a picture takes on this machine. Weights are random,
for they do not change the time. Spots show parameters or, of the networks that exist here, memory:
weights and the results of all layers for one picture, in float32, nothing used twice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from fastconv import models
from fastconv._files import write_file
from fastconv.cli._common import (
    PICTURE_FORMATS,
    Column,
    CommandError,
    check_picture_format,
    check_writable,
    print_table,
    progress,
    require,
)
from fastconv.cli._measure import QUICK, THOROUGH, Effort, race

COLUMNS = (
    Column("network", right=False),
    Column("top-1 %"),
    Column("parameters, M"),
    Column("memory, MB"),
    Column("multiply-adds, G"),
    Column("ms", headline=True),
    Column("GFLOP/s"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv complexity`."""
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("fastconv-complexity.png"),
        metavar="FILE",
        help=f"draw into FILE, {', '.join(PICTURE_FORMATS)} (default: fastconv-complexity.png)",
    )
    add(
        "--networks",
        nargs="+",
        metavar="NAME",
        help=f"only these (default: {', '.join(one.network for one in models.published())})",
    )
    add(
        "--area",
        choices=("parameters", "memory"),
        default="parameters",
        help="what the area of a spot shows (default: parameters)",
    )
    add("--quick", action="store_true", help="rough numbers, several times sooner")
    add("--json", type=Path, metavar="FILE", help="write all numbers to FILE")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, draw."""
    chosen = _choose(arguments.networks)
    require("fastconv complexity", "demo", "matplotlib.figure")
    check_picture_format("--out", arguments.out)
    for option, path in (("--out", arguments.out), ("--json", arguments.json)):
        if path:
            check_writable(option, path.parent)
    result = measure(chosen, QUICK if arguments.quick else THOROUGH)
    _show(result)
    if arguments.json:
        write_file(arguments.json, json.dumps(result, indent=1).encode())
    from fastconv import plot

    chart = plot.complexity_chart(result, arguments.area)
    write_file(arguments.out, plot.save(chart, arguments.out.suffix[1:]))
    print(f"\nwrote {arguments.out.resolve()}")
    return 0


def _choose(names: list[str] | None) -> list[models.Published]:
    known = {one.network: one for one in models.published()}
    for name in names or ():
        if name not in known:
            raise CommandError(f"--networks: {name!r} is unknown; known: {', '.join(known)}")
    return [one for one in known.values() if names is None or one.network in names]


def measure(chosen: list[models.Published], effort: Effort) -> dict[str, Any]:
    """Time the networks that exist here; return all numbers, as `--json` writes them.

    Parameters, multiply-adds and bytes of memory are whole numbers, times milliseconds; memory and
    time are None where there is no such network to measure.
    """
    networks = []
    for one in progress(chosen, lambda one: one.title):
        memory = ms = None
        if one.network in models.names():
            memory, ms = _memory(one.network), _seconds(one.network, effort) * 1e3
        networks.append(
            {
                "network": one.network,
                "title": one.title,
                "top1": one.top1,
                "parameters": round(one.parameters * 1e6),
                "multiply_adds": round(one.multiply_adds * 1e9),
                "memory": memory,
                "source": one.source,
                "ms": ms,
            }
        )
    facts = fastconv.show_config(mode="dicts")
    machine = {key: facts[key] for key in ("version", "cpu", "isa")}
    return {"machine": machine, "threads": facts["threads"], "networks": networks}


def _memory(name: str) -> int:
    """Return the bytes of the weights and of all results for one picture."""
    summary = models.summarise(models.create(name).eval(), (1, *models.input_shape(name)))
    return summary.memory + summary.parameters * np.dtype(np.float32).itemsize


def _seconds(name: str, effort: Effort) -> float:
    """Return the time of one run of a network, with weights packed."""
    net = models.create(name, rng=0).eval()
    shape = 1, *models.input_shape(name)
    photo = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    net(photo)
    return race({name: lambda: net(photo)}, effort)[name]


def _show(result: dict[str, Any]) -> None:
    rows = []
    for one in result["networks"]:
        ms, memory = one["ms"], one["memory"]
        rows.append(
            (
                one["title"],
                f"{one['top1']:.1f}",
                f"{one['parameters'] / 1e6:.1f}",
                "" if memory is None else f"{memory / 1e6:.0f}",
                f"{one['multiply_adds'] / 1e9:.2f}",
                "" if ms is None else f"{ms:.1f}",
                "" if ms is None else f"{2 * one['multiply_adds'] / ms / 1e6:.0f}",
            )
        )
    print_table(COLUMNS, rows)
