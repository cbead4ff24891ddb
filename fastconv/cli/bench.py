"""fastconv bench: time the layers of known networks on this machine, against NumPy or peers.

With --filters it times the image filters instead.

Each layer runs as a prepared operation, the way fastconv.nn holds it: its weights are packed
beforehand. Without --algorithm and --precision the table shows the default precision "high",
which lets Winograd in, beside "highest", which does not.
"""

from __future__ import annotations

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import fastconv
from fastconv import shapes
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
from fastconv.cli._feeds import add_sizes
from fastconv.cli._measure import (
    QUICK,
    THOROUGH,
    Effort,
    blas_threads,
    max_error,
    memory_bandwidth,
    race,
    seconds,
)
from fastconv.cli._operands import operands, oracle
from fastconv.cli.race.contest import POOLS
from fastconv.cli.race.contestants import PEERS

# NumPy's readable form, one call of it, is timed and used as the float64 oracle up to this much
# work; above, the form that goes through BLAS has to do, or a large layer takes seconds.
REFERENCE_FLOPS = 1_000_000_000
QUICK_REFERENCE_FLOPS = 50_000_000
PEAK_SECONDS = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv bench`."""
    add = parser.add_argument
    known = ", ".join(shapes.names())
    add(
        "--shapes",
        nargs="+",
        metavar="NAME",
        help=f"whose layers to run: {known} (default: race, a mix of all; with --training: "
        "training, and steps of LeNet-5)",
    )
    add("--layer", metavar="TEXT", help="only the layers that have TEXT in their name")
    add(
        "--threads",
        type=_positive,
        metavar="N",
        help="threads for fastconv, and for NumPy's BLAS where threadpoolctl is installed",
    )
    add(
        "--algorithm",
        choices=("auto", "direct", "im2col", "winograd"),
        default="auto",
        help="use this method instead of letting each layer choose",
    )
    add("--layout", choices=("NCHW", "NHWC"), default="NCHW", help="order of the arrays' axes")
    add(
        "--precision",
        choices=("highest", "high", "medium"),
        help="run in this precision only (default: high, with highest beside it)",
    )
    add("--json", type=Path, metavar="FILE", help="write all numbers to FILE")
    add(
        "--plot",
        type=Path,
        metavar="FILE",
        help=f"draw a bar chart into FILE ({', '.join(PICTURE_FORMATS)})",
    )
    add(
        "--roofline",
        type=Path,
        metavar="FILE",
        help="draw every layer's speed under the machine's limits into FILE",
    )
    add("--quick", action="store_true", help="rough numbers, several times sooner")
    add(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="race these libraries instead of NumPy, all known without a NAME: "
        f"{', '.join(PEERS)}; and --shapes {POOLS} races pools",
    )
    add(
        "--filters",
        nargs="*",
        metavar="KIND",
        help="time fastconv.filters against scipy.ndimage and OpenCV instead: pictures, stack, "
        "small; all without a KIND",
    )
    add(
        "--networks",
        nargs="*",
        metavar="NET",
        help="race whole networks against the peers: ONNX files, names of known architectures "
        "with random weights, or parts of the names of files in the folder that the environment "
        "variable FASTCONV_MODELS names; all of them without a NET",
    )
    add_sizes(parser)
    add(
        "--functional",
        action="store_true",
        help="with --peers: run fastconv.conv2d, which packs weights in every call, not a layer",
    )
    add(
        "--training",
        action="store_true",
        help="with --peers: run forward and backward, for the gradients of input, weight and bias; "
        "--shapes steps runs whole steps of LeNet-5 with its optimiser",
    )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for; 1 if no layer could run."""
    if arguments.filters is not None:
        from fastconv.cli import _filters

        return _filters.run(arguments)
    if arguments.peers is not None or arguments.networks is not None:
        from fastconv.cli.race import command

        return command.run(arguments)
    for option in ("functional", "training"):
        if getattr(arguments, option):
            raise CommandError(f"bench: --{option} goes with --peers")
    names = arguments.shapes or ["race"]
    if POOLS in names:
        raise CommandError(f"bench: {POOLS} are raced against peers: add --peers")
    layers = choose_layers(names, arguments.layer)
    check_outputs(arguments)
    threads_before = fastconv.get_num_threads()
    fastconv.set_num_threads(arguments.threads or threads_before)
    try:
        result = measure(layers, arguments)
    finally:
        fastconv.set_num_threads(threads_before)
    _print_result(result)
    write_outputs(arguments, result, "bench_chart")
    _write_chart(arguments.roofline, result, "roofline_chart")
    return 0 if any(layer["runs"] for layer in result["layers"]) else 1


def choose_layers(names: list[str], text: str | None) -> list[shapes.Layer]:
    """Load the layers of these networks; keep those that have the text in their name."""
    try:
        layers = [layer for name in names for layer in shapes.load(name)]
    except ValueError as error:
        raise CommandError(str(error)) from error
    return with_text(layers, text)


def with_text(layers: list[Any], text: str | None) -> list[Any]:
    """Keep the layers, or whatever has a name, with the text in it; at least one there must be."""
    chosen = [layer for layer in layers if text is None or text in layer.name]
    if not chosen:
        known = ", ".join(layer.name for layer in layers)
        raise CommandError(f"bench: no layer has {text!r} in its name; there are {known}")
    return chosen


def check_outputs(arguments: argparse.Namespace) -> None:
    """Find out before the measuring, not after it, that a result cannot be written."""
    pictures = {"--plot": arguments.plot, "--roofline": arguments.roofline}
    for option, path in pictures.items():
        if path:
            check_picture_format(option, path)
            require(f"fastconv bench {option}", "demo", "matplotlib")
    for option, path in {"--json": arguments.json, **pictures}.items():
        if path:
            check_writable(option, path.parent)


def write_outputs(arguments: argparse.Namespace, result: dict[str, Any], chart: str) -> None:
    """Write the JSON file and the chart, by this function of fastconv.plot, if asked for."""
    if arguments.json:
        write_file(arguments.json, json.dumps(result, indent=1).encode())
        print(f"wrote {arguments.json}")
    _write_chart(arguments.plot, result, chart)


def _write_chart(path: Path | None, result: dict[str, Any], chart: str) -> None:
    if path:
        from fastconv import plot

        write_file(path, plot.save(getattr(plot, chart)(result), path.suffix[1:]))
        print(f"wrote {path}")


def measure(layers: list[shapes.Layer], arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every layer and return all numbers, as `--json` writes them.

    Times are in milliseconds, speeds in GFLOP/s, errors relative to max|y|.
    """
    from fastconv._engine.dispatch import measure_fma_peak

    threads = fastconv.get_num_threads()
    effort = QUICK if arguments.quick else THOROUGH
    budget = QUICK_REFERENCE_FLOPS if arguments.quick else REFERENCE_FLOPS
    if arguments.precision:
        precisions: tuple[str, ...] = (arguments.precision,)
    else:  # the other algorithms are what "highest" means, a chosen one may contradict it
        precisions = ("high", "highest") if arguments.algorithm == "auto" else ("high",)
    measured, peak = [], 0.0
    with blas_threads(threads) as blas:
        for layer in progress(layers, lambda layer: layer.name):
            # The machine's best moment counts here too, so the peak is taken again and again.
            peak = max(peak, measure_fma_peak(threads=threads, seconds=PEAK_SECONDS))
            measured.append(
                _measure_layer(
                    layer, arguments.algorithm, arguments.layout, precisions, effort, budget
                )
            )
    for run in (run for layer in measured for run in layer["runs"]):
        run["share_of_peak"] = run["gflops"] / peak
    return {
        "machine": fastconv.show_config(mode="dicts"),
        "threads": threads,
        "layout": arguments.layout,
        "dtype": "float32",
        "peak_gflops": peak,
        "memory_gbs": memory_bandwidth(threads) / 1e9,
        "numpy": {"description": str(blas), "blas": blas.name, "threads": blas.threads},
        "reference_flops": budget,
        "layers": measured,
    }


def _measure_layer(
    layer: shapes.Layer,
    algorithm: str,
    layout: str,
    precisions: tuple[str, ...],
    effort: Effort,
    budget: int,
) -> dict[str, Any]:
    x, weight, bias = operands(layer, layout)
    facts = {**layer._asdict(), "text": str(layer), "flops": layer.flops, "refused": None}
    facts["bytes"] = layer.numbers * x.itemsize
    ours, plans = {}, {}
    try:
        for precision in precisions:
            plans[precision], ours[precision] = _prepare(
                layer, weight, bias, layout, algorithm, precision, x
            )
    except ValueError as error:
        if algorithm == "auto":
            raise  # nothing was asked for that could be impossible
        return {**facts, "refused": str(error), "runs": []}
    blas = partial(fastconv.reference.conv2d_blas, x, weight, bias, **layer.call, layout=layout)
    readable = partial(fastconv.reference.conv2d, x, weight, bias, **layer.call, layout=layout)
    exact = oracle(layer, layout, x, weight, bias, budget)
    errors = {precision: max_error(call(), exact) for precision, call in ours.items()}
    numpy_error = max_error(blas(), exact)
    best = race({**ours, "numpy": blas}, effort)
    numpy_seconds = best.pop("numpy")
    reference_seconds = seconds(readable) if layer.flops <= budget else None
    return {
        **facts,
        "numpy_blas_ms": numpy_seconds * 1e3,
        "numpy_blas_error": numpy_error,
        "numpy_reference_ms": reference_seconds and reference_seconds * 1e3,
        "runs": [
            {
                "precision": precision,
                "algorithm": plans[precision].algorithm,
                "tile": str(plans[precision].tile),
                "isa": plans[precision].isa,
                "ms": time * 1e3,
                "gflops": layer.flops / time / 1e9,
                "faster_than_blas": numpy_seconds / time,
                "faster_than_reference": reference_seconds and reference_seconds / time,
                "max_error": errors[precision],
            }
            for precision, time in best.items()
        ],
    }


def _prepare(layer, weight, bias, layout, algorithm, precision, x):
    """Plan and pack; return the plan and a call that runs the layer, proven to run."""
    from fastconv.functional.conv import prepare_conv

    how = {"layout": layout, "algorithm": algorithm, "precision": precision}
    plan = fastconv.explain_conv2d(x.shape, weight.shape, True, **layer.call, **how)
    call = partial(prepare_conv(weight, bias, **layer.call, **how), x)
    call()
    return plan, call


def _print_result(result: dict[str, Any]) -> None:
    machine, layers = result["machine"], result["layers"]
    plural = "" if result["threads"] == 1 else "s"
    print(
        f"fastconv {machine['version']} on {machine['cpu']}: {machine['isa']}, "
        f"{result['threads']} thread{plural}, {result['layout']}, {result['dtype']}, "
        f"FMA peak {result['peak_gflops']:.0f} GFLOP/s"
    )
    print(f"{result['numpy']['description']}\n")
    others = [run["precision"] for run in max((layer["runs"] for layer in layers), key=len)][1:]
    columns = [
        Column("layer", right=False),
        Column("shape", right=False),
        Column("algorithm", right=False),
        Column("ms"),
        Column("GFLOP/s"),
        Column("of peak"),
        *(Column(f"{precision} ms") for precision in others),
        Column("NumPy ms"),
        Column("faster", headline=True),
        Column("reference ms"),
        Column("faster"),
        Column("max error"),
    ]
    print_table(columns, [_cells(layer, len(columns)) for layer in layers])
    print()
    for line in (*_headlines(result), *_footnotes(result)):
        print(line)


def _cells(layer: dict[str, Any], columns: int) -> list[str]:
    if not layer["runs"]:
        cells = [layer["name"], layer["text"], "refused"]
        return cells + ["-"] * (columns - len(cells))
    run, *others = layer["runs"]
    return [
        layer["name"],
        layer["text"],
        run["algorithm"],
        digits(run["ms"]),
        f"{run['gflops']:.0f}",
        f"{run['share_of_peak']:.0%}",
        *(digits(other["ms"]) for other in others),
        digits(layer["numpy_blas_ms"]),
        _times(run["faster_than_blas"]),
        digits(layer["numpy_reference_ms"]),
        _times(run["faster_than_reference"]),
        f"{run['max_error']:.1e}",
    ]


def digits(milliseconds: float | None) -> str:
    """Three digits or so, of which the last still means something."""
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.3f}" if milliseconds < 1 else f"{milliseconds:.2f}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.1f}x" if ratio < 100 else f"{ratio:.0f}x"


def _headlines(result: dict[str, Any]) -> list[str]:
    layers = [layer for layer in result["layers"] if layer["runs"]]
    if not layers:
        return []
    ratios = [layer["runs"][0]["faster_than_blas"] for layer in layers]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    lines = [
        f"{_times(mean)} faster than NumPy's im2col + matmul (geometric mean of {len(ratios)}; "
        f"from {_times(min(ratios))} to {_times(max(ratios))})"
    ]
    for network in dict.fromkeys(layer["network"] for layer in layers):
        lines += _network_total(network, [one for one in layers if one["network"] == network])
    return lines


def _network_total(network: str, layers: list[dict[str, Any]]) -> list[str]:
    """Sum over all convolutions of a network, if all of its shapes were measured."""
    if network in ("race", "kinds", "training") or len(layers) < len(shapes.load(network)):
        return []
    ours = sum(layer["times"] * layer["runs"][0]["ms"] for layer in layers)
    numpy = sum(layer["times"] * layer["numpy_blas_ms"] for layer in layers)
    count = sum(layer["times"] for layer in layers)
    return [
        f"all {count} convolutions of {network}: {digits(ours)} ms, NumPy {digits(numpy)} ms, "
        f"{_times(numpy / ours)} faster"
    ]


def _footnotes(result: dict[str, Any]) -> list[str]:
    layers = result["layers"]
    first = next((layer["runs"][0] for layer in layers if layer["runs"]), None)
    precision = (
        f" ms, GFLOP/s, faster and max error: precision {first['precision']}." if first else ""
    )
    notes = [
        "",
        f"Fastest of several calls, taking turns.{precision}",
        "Weights are packed beforehand, as a layer does; NumPy's forms take them as they are.",
        "GFLOP/s count the direct form's multiplications and additions: winograd needs fewer and",
        "may pass 100% of the peak. max error: max|y - y64| / max|y64|, y64 by NumPy in float64.",
        "NumPy: im2col + matmul (reference.conv2d_blas); reference: reference.conv2d, one call.",
    ]
    if any(layer["runs"] and layer["numpy_reference_ms"] is None for layer in layers):
        notes.append(f"-: not timed above {result['reference_flops'] / 1e9:g} GFLOP.")
    refused: dict[str, list[str]] = {}
    for layer in layers:
        if layer["refused"]:
            refused.setdefault(layer["refused"], []).append(layer["name"])
    return notes + [f"{reason}: {', '.join(names)}" for reason, names in refused.items()]
