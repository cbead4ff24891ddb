"""fastconv summary: what each layer of a network does, holds and costs.

One line a layer: the shape of its result, its window, the part of the picture on which one value
of the result depends (its receptive field, in pixels), the rows and columns at the end that its
windows never reach, its parameters, its multiply-adds and the size of its result in float32.
Known networks are not computed, so the largest takes no time. ONNX files run once, on random
numbers, and are shown as they run: batch normalisations are in the convolutions before them.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from fastconv import models
from fastconv._files import write_file
from fastconv.cli._common import Column, CommandError, check_writable, print_table, require
from fastconv.cli._feeds import Shape, add_sizes, random_feeds
from fastconv.cli._nodes import parameters_of, receptive_fields, step_of

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
    add("network", metavar="NETWORK",
        help=f"an ONNX file, or one of {', '.join(models.names())}")
    add(
        "--input",
        type=_shape,
        metavar="CxHxW",
        help="shape of a known network's picture, such as 3x224x224 (default: what it was made "
        "for)",
    )
    add_sizes(parser)
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
    known = arguments.network in models.names()
    inputs, summary = (_known if known else _of_file)(arguments)
    _show(arguments.network, inputs, summary)
    if arguments.json:
        numbers = json.dumps(_numbers(arguments.network, inputs, summary), indent=1)
        write_file(arguments.json, numbers.encode())
    return 0


def _known(arguments: argparse.Namespace) -> tuple[dict[str, Shape], models.Summary]:
    """The shapes of a known network's inputs, and its summary."""
    shape = arguments.input or models.input_shape(arguments.network)
    net = models.create(arguments.network).eval()
    try:
        summary = models.summarise(net, (1, *shape))
    except ValueError as error:
        raise CommandError(
            f"{arguments.network} does not take a picture of {_join(shape)}: {error}"
        ) from error
    return {"": (1, *shape)}, summary


def _of_file(arguments: argparse.Namespace) -> tuple[dict[str, Shape], models.Summary]:
    """The same of an ONNX file."""
    if not arguments.network.endswith(".onnx"):
        known = ", ".join(models.names())
        raise CommandError(
            f"summary: {arguments.network!r} is unknown; known: {known}, and files that end in "
            ".onnx"
        )
    require("fastconv summary of an ONNX file", "onnx", "onnx")
    from fastconv import onnx

    try:
        model = onnx.load(arguments.network)
        feeds = random_feeds(model.inputs, arguments.size, dict(arguments.shape))
        timings = model.profile(feeds, rounds=1)
    except ValueError as error:
        raise CommandError(f"summary: {error}") from error
    fields = receptive_fields(model.inputs, timings)
    rows = tuple(_row(timing, field) for timing, field in zip(timings, fields, strict=True))
    return {name: fed.shape for name, fed in feeds.items()}, models.Summary(rows)


def _row(timing: Any, field: Any) -> models.Row:
    step = step_of(timing.node, timing.inputs, timing.outputs)
    seen = tuple(math.ceil(size) for size in field.size) if field else ()
    made = (value.dtype.itemsize * math.prod(shape) if value is not None and value.dtype else 0
            for value, shape in zip(timing.node.outputs, timing.outputs, strict=False))
    return models.Row(
        timing.name, timing.op, step.shape, step.kernel, seen, parameters_of(timing.node),
        step.multiply_adds, sum(made), step.unused,
    )


def _show(network: str, inputs: dict[str, Shape], summary: models.Summary) -> None:
    (first, *others) = inputs.values()
    if others or len(first) != 4 or first[0] != 1:
        fed = ", ".join(f"{name} {_join(shape)}" for name, shape in inputs.items())
    else:
        fed = f"one picture of {_join(first[1:])}"
    print(f"{network}, {fed}, float32\n")
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


def _numbers(
    network: str, inputs: dict[str, Shape], summary: models.Summary
) -> dict[str, Any]:
    return {
        "network": network,
        "input": next(iter(inputs.values())),
        "inputs": inputs,
        "layers": [row._asdict() for row in summary.rows],
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "memory": summary.memory,
    }
