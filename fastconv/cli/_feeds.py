"""Numbers for the inputs of a network that nobody fed: shapes where the file leaves sizes free."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.cli._common import CommandError

Shape = tuple[int, ...]


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what free sizes are."""
    parser.add_argument(
        "--size", type=count, default=224, metavar="N",
        help="what free sizes of networks are (default: 224), except the first axis, which is 1",
    )
    parser.add_argument(
        "--shape", type=_named_shape, action="append", default=[], metavar="INPUT=AxBxC",
        help="the whole shape of one input, such as x=1x3x48x320; may be given several times",
    )


def count(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _named_shape(text: str) -> tuple[str, Shape]:
    name, equals, sizes = text.rpartition("=")
    words = sizes.split("x")
    if not (name and equals and all(word.isdigit() and int(word) for word in words)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form x=1x3x48x320")
    return name, tuple(map(int, words))


def random_feeds(
    inputs: Sequence[Any], size: int, shapes: Mapping[str, Shape]
) -> dict[str, np.ndarray]:
    """Make up numbers for every input of a network.

    Parameters
    ----------
    inputs : sequence of graph.ir.Value
    size : int
        What free sizes are, but for the first axis, which is 1.
    shapes : mapping of str to tuple of int
        Inputs whose shape is given.

    Returns
    -------
    dict of str to ndarray
        Floats between 0 and 1, zeros in other types; seeded.

    Raises
    ------
    CommandError
        When `shapes` names no input, or an input is not an array of numbers.
    """
    names = [value.name for value in inputs]
    unknown = sorted(shapes.keys() - set(names))
    if unknown:
        raise CommandError(f"--shape: {unknown[0]!r} is no input; there are {', '.join(names)}")
    return {value.name: _random_feed(value, size, shapes.get(value.name)) for value in inputs}


def _random_feed(value: Any, size: int, shape: Shape | None) -> np.ndarray:
    numbers = value.dtype is not None and value.dtype.kind in "biuf"
    if not numbers or (shape is None and value.shape is None):
        raise CommandError(f"cannot make up numbers for the input {value!r}")
    if shape is None:
        shape = tuple(known if isinstance(known, int) else size if axis else 1
                      for axis, known in enumerate(value.shape))
    if value.dtype.kind != "f":
        return np.zeros(shape, value.dtype)
    return np.asarray(np.random.default_rng(0).random(shape), value.dtype)
