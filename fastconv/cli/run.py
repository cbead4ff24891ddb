"""fastconv run: show a picture to an ONNX network and print what it says.

The network must have one input, a picture of one or three colours, channels first or last. Where
its size is fixed, the middle of the picture is scaled to it; pixels are (p - mean) / std, p from
0 to 255. Of each output of one row the highest numbers are printed, of the others shape and range.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.cli._common import Column, CommandError, print_table, require

COLUMNS = (Column("place"), Column("value", headline=True), Column("label", right=False))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv run`."""
    add = parser.add_argument
    add("network", type=Path, metavar="NET.onnx", help="a network's file")
    add("--input", type=Path, required=True, metavar="PHOTO",
        help="a file that Pillow reads: JPEG, PNG, ...")
    add("--labels", type=Path, metavar="FILE", help="names of the places, one a line")
    add("--top", type=int, default=5, metavar="N", help="how many to print (default: 5)")
    add("--mean", type=float, default=0.0, help="taken from each pixel (default: 0)")
    add("--std", type=float, default=255.0, help="what that is divided by (default: 255)")


def run(arguments: argparse.Namespace) -> int:
    """Run the network once and print its outputs."""
    require("fastconv run", "onnx", "onnx", "PIL")
    if arguments.top < 1 or arguments.std == 0:
        raise CommandError("run: --top must be at least 1, and --std not 0")
    labels = _labels(arguments.labels)
    from fastconv import onnx

    try:
        model = onnx.load(arguments.network)
        pixels = (picture_for(model, arguments.input) - arguments.mean) / arguments.std
        value = model.inputs[0]
        results = model.run({value.name: pixels.astype(value.dtype)})
    except ValueError as error:
        raise CommandError(f"run: {error}") from error
    for output, result in zip(model.outputs, results, strict=True):
        _show(output.name, result, labels, arguments.top)
    return 0


def _labels(path: Path | None) -> list[str]:
    try:
        return [] if path is None else path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--labels: cannot read {path} ({error})") from error


def picture_for(model: Any, path: Path) -> np.ndarray:
    """A picture as the model's only input takes it, pixels from 0 to 255."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape or ()) != 4:
        raise CommandError(f"run: {model.name} takes {model.inputs}, not one picture")
    value = model.inputs[0]
    last = value.shape[3] in (1, 3) and value.shape[1] not in (1, 3)
    height, width, channels = value.shape[1:] if last else (*value.shape[2:], value.shape[1])
    if channels not in (1, 3) and isinstance(channels, int):
        raise CommandError(f"run: {model.name} takes {value!r}: no picture of 1 or 3 colours")
    photo = _read(path, "L" if channels == 1 else "RGB")
    pixels = _fitted(photo, height, width)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return (pixels if last else pixels.transpose(2, 0, 1))[None]


def _read(path: Path, mode: str) -> Any:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).convert(mode)
    except UnidentifiedImageError as error:
        raise CommandError(f"--input: {path} is no picture that Pillow reads") from error
    except OSError as error:
        raise CommandError(f"--input: cannot read {path} ({error.strerror or error})") from error


def _fitted(photo: Any, height: Any, width: Any) -> np.ndarray:
    """The middle of a photograph in the size that is asked for; free sizes stay as they are."""
    from PIL import Image, ImageOps

    size = (width if isinstance(width, int) else photo.width,
            height if isinstance(height, int) else photo.height)
    if size != photo.size:
        photo = ImageOps.fit(photo, size, Image.Resampling.BICUBIC)
    return np.asarray(photo, np.float64)


def _show(name: str, result: Any, labels: list[str], top: int) -> None:
    shape = "x".join(map(str, np.shape(result))) or "one number"
    print(f"{name}: {shape}")
    if not isinstance(result, np.ndarray) or result.dtype.kind not in "biuf" or not result.size:
        return
    if result.ndim == 0 or result.size != result.shape[1 % result.ndim]:
        print(f"  from {result.min():.6g} to {result.max():.6g}, mean {result.mean():.6g}")
        return
    row = result.reshape(-1)
    best = np.argsort(-row.astype(np.float64), kind="stable")[:top]
    print_table(COLUMNS, [
        (str(place), f"{row[place]:.4f}", labels[place] if place < len(labels) else "")
        for place in best
    ])
