"""fastconv profile: what each node of an ONNX network takes.

Runs the network on random numbers and prints a line a node: what its store does beyond the
operator, the fastest of the runs, and its share of them all. "reference" marks nodes that fastconv
has no code for. The total is that of all nodes, each at its fastest.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.cli._common import Column, CommandError, print_table, require
from fastconv.cli._feeds import add_sizes, count, random_feeds

COLUMNS = (
    Column("node", right=False),
    Column("operator", right=False),
    Column("fused", right=False),
    Column("runs by", right=False),
    Column("ms", headline=True),
    Column("share"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv profile`."""
    add = parser.add_argument
    add("network", type=Path, metavar="NET.onnx", help="a network's file")
    add_sizes(parser)
    add("--runs", type=count, default=10, metavar="N", help="how often to run it (default: 10)")
    add("--top", type=count, metavar="N", help="print the N slowest nodes alone, slowest first")


def run(arguments: argparse.Namespace) -> int:
    """Run the network and print the table."""
    require("fastconv profile", "onnx", "onnx")
    from fastconv import onnx

    try:
        model = onnx.load(arguments.network)
        feeds = random_feeds(model.inputs, arguments.size, dict(arguments.shape))
        timings = model.profile(feeds, arguments.runs)
    except ValueError as error:
        raise CommandError(f"profile: {error}") from error
    total = sum(timing.seconds for timing in timings)
    shown = timings
    if arguments.top:
        shown = sorted(timings, key=lambda timing: -timing.seconds)[: arguments.top]
    if shown:
        print_table(COLUMNS, (_row(timing, total) for timing in shown))
    sizes = ", ".join(f"{name} {'x'.join(map(str, np.shape(fed))) or 'one number'}"
                      for name, fed in feeds.items())
    print(f"\n{model.name} ({sizes}): {len(timings)} nodes, {total * 1e3:.3f} ms")
    return 0


def _row(timing: Any, total: float) -> tuple[str, ...]:
    fused = timing.activation
    name = fused if fused is None or isinstance(fused, str) else " ".join(map(str, fused))
    return (
        timing.name, timing.op, name or "", "fastconv" if timing.native else "reference",
        f"{timing.seconds * 1e3:.3f}", f"{timing.seconds / total:.1%}",
    )
