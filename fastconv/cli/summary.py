"""fastconv summary: what each layer of a known network does, holds and costs.

One line a layer: the shape of its result, its window, the part of the picture on which one value
of the result depends (its receptive field, in pixels), the rows and columns at the end that its
windows never reach, its parameters, its multiply-adds and the size of its result in float32.
Nothing is computed, so the largest network takes no time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fastconv import models
from fastconv._files import write_file
from fastconv.cli._common import Column, CommandError, check_writable, print_table

COLUMNS = (
    Column("layer", right=False),
    Column("kind", right=False),
    Column("result"),
    Column("window"),
    Column("field"),
    Column("unused"),
    Column("parameters"),
    Column("multiply-adds", headline=True),
    Column("KB"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv summary`."""
    add = parser.add_argument
    add("network", metavar="NETWORK", help=f"one of {', '.join(models.names())}")
    add(
        "--input",
        type=_shape,
        metavar="CxHxW",
        help="shape of the picture, such as 3x224x224 (default: what the network was made for)",
    )
    add("--json", type=Path, metavar="FILE", help="write all numbers to FILE")


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 3x224x224")
    return tuple(map(int, sizes))


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and write it where that was asked for."""
    if arguments.json:
        check_writable("--json", arguments.json.parent)
    if arguments.network not in models.names():
        known = ", ".join(models.names())
        raise CommandError(f"summary: {arguments.network!r} is unknown; known: {known}")
    shape = arguments.input or models.input_shape(arguments.network)
    net = models.create(arguments.network).eval()
    try:
        summary = models.summarise(net, (1, *shape))
    except ValueError as error:
        raise CommandError(
            f"{arguments.network} does not take a picture of {_join(shape)}: {error}"
        ) from error
    _show(arguments.network, shape, summary)
    if arguments.json:
        numbers = json.dumps(_numbers(arguments.network, shape, summary), indent=1)
        write_file(arguments.json, numbers.encode())
    return 0


def _show(network: str, shape: tuple[int, ...], summary: models.Summary) -> None:
    print(f"{network}, one picture of {_join(shape)}, float32\n")
    print_table(COLUMNS, map(_cells, summary.rows))
    print(
        f"\n{len(summary.rows)} layers, {summary.parameters:,} parameters "
        f"({4 * summary.parameters / 1e6:.2f} MB), {summary.multiply_adds / 1e6:,.2f} million "
        f"multiply-adds, all results together {summary.memory / 1e6:.2f} MB"
    )


def _cells(row: models.Row) -> tuple[str, ...]:
    return (
        row.name,
        row.kind,
        _join(row.output[1:]),
        _join(row.kernel),
        _join(row.field),
        _join(row.unused) if any(row.unused) else "",
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
        f"{row.memory / 1e3:,.1f}",
    )


def _join(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _numbers(network: str, shape: tuple[int, ...], summary: models.Summary) -> dict[str, Any]:
    return {
        "network": network,
        "input": [1, *shape],
        "layers": [row._asdict() for row in summary.rows],
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "memory": summary.memory,
    }
