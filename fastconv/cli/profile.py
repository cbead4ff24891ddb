"""fastconv profile: what each node of an ONNX network takes.

Runs the network on random numbers and prints a line a node: what its store does beyond the
operator, the algorithm of convolutions, the fastest of the runs, its share of them all, its speed,
the share of the machine's measured multiply-add peak, and the bytes of the arrays that it reads and
writes. Nodes that only look at arrays another way, or at shapes, take no time. Speeds count the
definition's operations: winograd needs fewer and may pass 100% of the peak. "reference" marks nodes
that fastconv has no code for. The total is that of all nodes, each at its fastest.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from fastconv._files import write_file
from fastconv.cli._common import (
    PICTURE_FORMATS,
    Column,
    CommandError,
    check_picture_format,
    check_writable,
    print_table,
    require,
)
from fastconv.cli._feeds import add_sizes, count, random_feeds

COLUMNS = (
    Column("node", right=False),
    Column("operator", right=False),
    Column("fused", right=False),
    Column("runs by", right=False),
    Column("ms", headline=True),
    Column("share"),
    Column("GFLOP/s"),
    Column("of peak"),
    Column("MB"),
)
PEAK_SECONDS = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv profile`."""
    add = parser.add_argument
    add("network", type=Path, metavar="NET.onnx", help="a network's file")
    add_sizes(parser)
    add("--runs", type=count, default=10, metavar="N", help="how often to run it (default: 10)")
    add("--top", type=count, metavar="N", help="print the N slowest nodes alone, slowest first")
    add("--json", type=Path, metavar="FILE", help="write all numbers to FILE")
    add("--plot", type=Path, metavar="FILE",
        help=f"draw the slowest nodes into FILE ({', '.join(PICTURE_FORMATS)})")


def run(arguments: argparse.Namespace) -> int:
    """Run the network, print the table, write what was asked for."""
    require("fastconv profile", "onnx", "onnx")
    _check_outputs(arguments)
    result = measure(arguments)
    nodes = result["nodes"]
    if arguments.top:
        nodes = sorted(nodes, key=lambda node: -node["ms"])[: arguments.top]
    if nodes:
        print_table(COLUMNS, map(_row, nodes))
    print(
        f"\n{result['network']} ({result['input']}): {len(result['nodes'])} nodes, "
        f"{result['ms']:.3f} ms; FMA peak {result['peak_gflops']:.0f} GFLOP/s on "
        f"{result['threads']} thread{'' if result['threads'] == 1 else 's'}"
    )
    if arguments.json:
        write_file(arguments.json, json.dumps(result, indent=1).encode())
    if arguments.plot:
        from fastconv import plot

        write_file(arguments.plot, plot.save(plot.profile_chart(result), arguments.plot.suffix[1:]))
    return 0


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Find out before the measuring, not after it, that a result cannot be written."""
    for option, path in (("--json", arguments.json), ("--plot", arguments.plot)):
        if path:
            check_writable(option, path.parent)
    if arguments.plot:
        check_picture_format("--plot", arguments.plot)
        require("fastconv profile --plot", "demo", "matplotlib")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Profile the network and return all numbers, as `--json` writes them; times are in ms."""
    from fastconv import onnx
    from fastconv._engine.dispatch import measure_fma_peak
    from fastconv.cli._nodes import step_of

    threads = fastconv.get_num_threads()
    try:
        model = onnx.load(arguments.network)
        feeds = random_feeds(model.inputs, arguments.size, dict(arguments.shape))
        timings = model.profile(feeds, arguments.runs)
    except ValueError as error:
        raise CommandError(f"profile: {error}") from error
    peak = measure_fma_peak(threads=threads, seconds=PEAK_SECONDS)
    total = sum(timing.seconds for timing in timings)
    nodes = []
    for timing in timings:
        flops = 2 * step_of(timing.node, timing.inputs, timing.outputs).multiply_adds
        gflops = flops / timing.seconds / 1e9 if timing.seconds else 0.0
        nodes.append({
            "name": timing.name, "operator": timing.op, "fused": _words(timing.activation),
            "native": timing.native, "algorithm": timing.algorithm, "ms": timing.seconds * 1e3,
            "share": timing.seconds / total if total else 0.0, "flops": flops, "gflops": gflops,
            "share_of_peak": gflops / peak, "bytes": timing.bytes,
            "output": timing.outputs[0] if timing.outputs else (),
        })
    return {
        "machine": fastconv.show_config(mode="dicts"), "threads": threads,
        "network": model.name, "input": _sizes(feeds), "ms": total * 1e3, "peak_gflops": peak,
        "nodes": nodes,
    }


def _sizes(feeds: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, fed.shape)) or 'one number'}"
                     for name, fed in feeds.items())


def _words(fused: Any) -> str:
    if fused is None or isinstance(fused, str):
        return fused or ""
    return " ".join(word if isinstance(word, str) else f"{word:.4g}"
                    for word in fused if not isinstance(word, np.ndarray))


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    runs_by = (node["algorithm"] or "fastconv") if node["native"] else "reference"
    works = node["flops"] > 0
    return (
        node["name"], node["operator"], node["fused"], runs_by, f"{node['ms']:.3f}",
        f"{node['share']:.1%}", f"{node['gflops']:.0f}" if works else "",
        f"{node['share_of_peak']:.0%}" if works else "", f"{node['bytes'] / 1e6:.2f}",
    )
