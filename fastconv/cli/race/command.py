"""Run `fastconv bench --peers` and `--networks`: choose, line up, race, print and write."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastconv
from fastconv.cli import bench
from fastconv.cli._common import CommandError, progress, require
from fastconv.cli.race import lanes, report
from fastconv.cli.race.contest import POOLS, Contest, layer_contests, pool_contests
from fastconv.cli.race.contestants import (
    ALONE,
    FASTCONV,
    OURS,
    PEERS,
    TRAINING_FASTCONV,
    TRAINING_PEERS,
    Contestant,
)
from fastconv.cli.race.networks import NetworkContest, network_contests
from fastconv.cli.race.score import on_threads, score, totals
from fastconv.cli.race.training import STEPS, step_contests, training_contests


def run(arguments: argparse.Namespace) -> int:
    """Race, print the table, write what was asked for; 1 if fastconv could run no layer."""
    if arguments.networks is not None:
        _check_networks_options(arguments)
    if arguments.roofline:
        raise CommandError("bench: --roofline shows fastconv alone: leave --peers out")
    if arguments.training and arguments.functional:
        raise CommandError("bench: --training runs layers: leave --functional out")
    contests = _choose_contests(arguments)
    known = TRAINING_PEERS if arguments.training else PEERS
    peers = _choose_peers(known, arguments.peers or [], arguments.layout)
    bench.check_outputs(arguments)
    result = measure(contests, peers, arguments)
    report.show(result)
    bench.write_outputs(arguments, result, "race_chart")
    ran = any(layer["times"][OURS]["refused"] is None for layer in result["layers"])
    return 0 if ran else 1


def _check_networks_options(arguments: argparse.Namespace) -> None:
    require("fastconv bench --networks", "onnx", "onnx")
    usual = {"functional": False, "training": False, "algorithm": "auto", "layout": "NCHW"}
    for option, value in usual.items():
        if getattr(arguments, option) != value:
            raise CommandError(f"bench: --{option} is for layers, not for --networks")


def _choose_contests(arguments: argparse.Namespace) -> list[Contest] | list[NetworkContest]:
    """Make contests of whole networks, or of layers and of what else --shapes may name."""
    if arguments.networks is not None:
        networks = network_contests(arguments.networks, arguments.size, dict(arguments.shape))
        return bench.with_text(networks, arguments.layer)
    make_layers, others, default = layer_contests, {POOLS: pool_contests}, ["race"]
    if arguments.training:
        make_layers, others = training_contests, {STEPS: step_contests}
        # LeNet-5 takes pictures channels first.
        default = ["training"] if arguments.layout == "NHWC" else ["training", STEPS]
    names = arguments.shapes or default
    if STEPS in names and arguments.layout == "NHWC":
        raise CommandError(f"bench: {STEPS} take NCHW arrays")
    contests = []
    for name in names:
        contests += (
            others[name]() if name in others else make_layers(bench.choose_layers([name], None))
        )
    return bench.with_text(contests, arguments.layer)


def _choose_peers(
    known: dict[str, Contestant], names: list[str], layout: str
) -> dict[str, Contestant]:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CommandError(f"--peers: {unknown[0]!r} is unknown; known: {', '.join(known)}")
    for name in names:
        if layout not in known[name].layouts:
            raise CommandError(f"--peers: {name} does not take {layout} arrays")
    return {
        name: peer
        for name, peer in known.items()
        if name in names or (not names and layout in peer.layouts)
    }


def measure(
    contests: Sequence[Contest | NetworkContest],
    peers: dict[str, Contestant],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Race every contest and return all numbers, as `--json` writes them.

    Times are in milliseconds, errors relative to max|y|, ratios peer over ours.
    """
    threads = arguments.threads or fastconv.get_num_threads()
    networks = arguments.networks is not None
    thorough = lanes.NETWORKS if networks else lanes.THOROUGH
    effort = lanes.QUICK if arguments.quick else thorough
    how = {
        "precision": arguments.precision or fastconv.get_precision(),
        "algorithm": arguments.algorithm,
        "functional": arguments.functional,
    }
    peers = {name: peer.at(how["precision"]) for name, peer in peers.items()}
    layers = []
    ours = (TRAINING_FASTCONV if arguments.training else FASTCONV)._replace(options=how)
    alone = {}
    if threads > 1 and not networks and not arguments.training:
        alone = {ALONE: ours._replace(threads=1)}
    with lanes.line_up({OURS: ours, **alone, **peers}, threads) as (ready, missing):
        if OURS in missing:
            raise CommandError(f"bench: fastconv does not run here: {missing[OURS]}")
        for contest in progress(contests, lambda contest: contest.name):
            with tempfile.TemporaryDirectory(prefix="fastconv-race-") as folder:
                contest.write(Path(folder), arguments.layout)
                times = lanes.race(ready, contest.job(arguments.layout), folder, effort)
                if alone:
                    times[OURS] |= _on_one_thread(times.pop(ALONE))
                    times[OURS]["wake_up_ms"] = lanes.wake_up(ready[0], effort)
            layers.append({**contest.facts(), "times": times, **score(times)})
        versions = {lane.name: lane.version for lane in ready}
    return {
        "machine": fastconv.show_config(mode="dicts"),
        "raced": "networks" if networks else "layers",
        "threads": threads,
        "layout": arguments.layout,
        "dtype": "float32",
        **how,
        "training": arguments.training,
        "effort": effort._asdict(),
        "stopped_between_turns": lanes.CAN_STOP,
        "peers": {
            name: {"version": versions.get(name), "missing": missing.get(name)} for name in peers
        },
        "bfloat16": [name for name, peer in peers.items() if "precision" in peer.options],
        "layers": layers,
        "totals": totals(layers),
        "on_threads": on_threads(layers),
        "groups": {
            group: totals([layer for layer in layers if layer["network"] == group])
            for group in dict.fromkeys(layer["network"] for layer in layers)
        },
    }


def _on_one_thread(times: dict[str, Any]) -> dict[str, Any]:
    """What one thread took, as it stands beside what several did."""
    return {"alone_ms": times.get("ms"), "alone_cold_ms": times.get("cold_ms")}
