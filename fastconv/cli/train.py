"""fastconv train: train a network on pictures, and write its weights.

Without --data it learns scikit-learn's handwritten digits, which need no download. Other data sets
come from a folder: Fashion-MNIST's ten kinds of clothes are in the Debian package
dataset-fashion-mnist (apt install dataset-fashion-mnist; then --data
/usr/share/datasets/fashion-mnist). MNIST's four files, plain or .gz, and a single .npz file with
arrays x and y are read as well.

The test pictures are looked at once, at the end. To choose rate, decay and the rest, there is
--validate: pictures held back from those to learn from take their place. Ctrl-C keeps the weights
of the last whole epoch, and --resume goes on from there. The same seed gives the same weights, to
the last bit.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import nn
from fastconv._files import write_file
from fastconv.cli._common import CommandError, make_folder, require
from fastconv.models import lenet5
from fastconv.train import SGD, History, cosine, evaluate, fit
from fastconv.train.data import Batches, Crop, Dataset, Normalise, read_folder

NETWORKS = {"lenet": lenet5}
INPUT = (1, 28, 28)
WEIGHTS, CHECKPOINT, CHART = "{network}.npz", "{network}-training.npz", "{network}-history.png"
# Chosen on pictures held back from those to learn from: docs/decisions/010-lenet.md.
BATCH, MARGIN, RATE, MOMENTUM, DECAY, WARMUP = 32, 1, 0.03, 0.9, 1e-3, 0.25
EPOCHS, MOST_EPOCHS, PICTURES = 9, 40, 320_000  # so many pictures in all, within these bounds
TEST_SHARE = 5  # of the digits, one in so many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv train`."""
    parser.add_argument("network", choices=NETWORKS, help="which network to train")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the data set (default: digits)"
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help=f"how often to see all pictures (default: {EPOCHS}, up to {MOST_EPOCHS} for small "
        "data sets)",
    )
    number: dict[str, Any] = {"type": not_negative, "metavar": "X"}
    parser.add_argument("--rate", default=RATE, help=f"highest learning rate ({RATE})", **number)
    parser.add_argument("--decay", default=DECAY, help=f"weight decay ({DECAY})", **number)
    parser.add_argument(
        "--batch", type=positive, default=BATCH, metavar="N", help=f"pictures in a batch ({BATCH})"
    )
    parser.add_argument(
        "--shift",
        type=whole_number,
        default=MARGIN,
        metavar="N",
        help=f"move pictures by up to N pixels, by chance ({MARGIN})",
    )
    parser.add_argument(
        "--validate",
        type=positive,
        metavar="N",
        help="leave the test pictures alone; test with N pictures held back from the others",
    )
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="S", help="all chance follows from it (0)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("fastconv-train"),
        metavar="DIR",
        help="folder for weights, checkpoint and chart (default: fastconv-train/)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")


def run(arguments: argparse.Namespace) -> int:
    """Train, test, write; 130 if Ctrl-C ended the training."""
    train, test = _data(arguments.data, arguments.seed)
    kind = "test"
    if arguments.validate:
        train, test, kind = *_held_back(train, arguments), "validation"
    make_folder("--out", arguments.out)
    epochs = arguments.epochs or max(EPOCHS, min(MOST_EPOCHS, PICTURES // train.count))
    print(f"{train.count} pictures to learn from, {test.count} for {kind}; epochs: {epochs}")
    normalise = Normalise.of(train.images)
    net = NETWORKS[arguments.network](
        1 + int(train.labels.max()), variant="modern", rng=arguments.seed
    )
    start = time.perf_counter()
    history = _fit(net, train, normalise, epochs, arguments)
    print(f"trained for {time.perf_counter() - start:.1f} s")
    _, accuracy = evaluate(net, Batches(test, 500, shuffle=False, transforms=(normalise,)))
    print(f"{accuracy:.2%} of the {kind} pictures are right")
    _write(arguments, net, normalise, history)
    return 130 if history.interrupted else 0


def _fit(net, train, normalise, epochs, arguments) -> History:
    try:
        return fit(
            net,
            Batches(train, arguments.batch, transforms=(Crop(arguments.shift), normalise)),
            epochs=epochs,
            optimiser=SGD(
                net, arguments.rate, MOMENTUM, nesterov=True, weight_decay=arguments.decay
            ),
            schedule=cosine(arguments.rate, epochs, warmup=WARMUP),
            seed=arguments.seed,
            checkpoint=_path(arguments, CHECKPOINT),
            resume=arguments.resume,
        )
    except ValueError as error:  # a checkpoint of another training
        raise CommandError(str(error)) from error


def _path(arguments: argparse.Namespace, name: str) -> Path:
    return arguments.out / name.format(network=arguments.network)


def _data(folder: Path | None, seed: int) -> tuple[Dataset, Dataset]:
    """Return the pictures to learn from and those to test with."""
    if folder is None:
        digits = _digits()
        return digits.split(digits.count // TEST_SHARE, seed)
    try:
        train, test = read_folder(folder, seed)
    except (ValueError, OSError) as error:
        raise CommandError(f"--data: {error}") from error
    shape = train.images.shape[1:]
    if shape != INPUT:
        raise CommandError(
            f"--data: pictures must be {' x '.join(map(str, INPUT))}, "
            f"{folder} has {' x '.join(map(str, shape))}"
        )
    return train, test


def _held_back(train: Dataset, arguments: argparse.Namespace) -> tuple[Dataset, Dataset]:
    if arguments.validate >= train.count:
        raise CommandError(f"--validate: must be below {train.count}, the pictures to learn from")
    return train.split(arguments.validate, arguments.seed)


def _digits() -> Dataset:
    """Return scikit-learn's digits, 8 x 8 pixels, as large as the network wants them."""
    require("fastconv train without --data", "demo", "sklearn.datasets")
    from sklearn.datasets import load_digits

    digits = load_digits()
    large = np.kron(digits.images, np.ones((3, 3)))[:, None]
    large = np.pad(large, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return Dataset(large.astype(np.float32), digits.target)


def _write(arguments, net, normalise: Normalise, history: History) -> None:
    """Write weights and chart, and print how pictures have to be normalised for the weights."""
    path = _path(arguments, WEIGHTS)
    nn.save(net, path)
    print(f"wrote {path.resolve()}")
    scale = ", ".join(
        f"{name} {value.item():.4g}"
        for name, value in (("mean", normalise.mean), ("deviation", 1 / normalise.factor))
    )
    print(f"it wants pictures with their mean taken off, divided by their deviation: {scale}")
    if not history.epochs:
        return
    try:
        require("the chart", "demo", "matplotlib.figure")
    except CommandError as missing:
        print(f"no chart: {missing}")
        return
    from fastconv import plot

    path = _path(arguments, CHART)
    write_file(path, plot.save(plot.history_chart(history)))
    print(f"wrote {path.resolve()}")


def not_negative(text: str) -> float:
    """Read a finite number of at least 0."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def whole_number(text: str, least: int = 0) -> int:
    """Read a number of at least `least`; argparse shows the function's name in its message."""
    value = int(text)
    if value < least:
        raise ValueError(text)
    return value


def positive(text: str) -> int:
    """Read a number of at least 1."""
    return whole_number(text, 1)
