"""fastconv faces: find the faces in a photograph, with two eyes, nose and mouth in each.

Three small networks (MTCNN) look at the photograph in many sizes. Prints a line a face: the box in
pixels from the left upper corner, and the probability that it is one.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import models
from fastconv._files import write_file
from fastconv.cli._common import (
    Column,
    CommandError,
    check_writable,
    print_table,
    require,
)

if TYPE_CHECKING:
    from PIL import Image

COLUMNS = tuple(Column(title) for title in ("x1", "y1", "x2", "y2", "probability"))
BOX, POINT, TEXT = (255, 214, 10), (16, 185, 129), (20, 20, 20)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastconv faces`."""
    add = parser.add_argument
    add("photo", type=Path, metavar="PHOTO", help="a file that Pillow reads: JPEG, PNG, ...")
    add("--out", type=Path, metavar="FILE", help="write the photograph with the faces marked")
    add(
        "--min-face",
        type=int,
        default=20,
        metavar="PIXELS",
        help="height of the smallest face to find (default: 20); smaller ones take longer",
    )


def run(arguments: argparse.Namespace) -> int:
    """Find, print and draw; 0 whether there are faces or not."""
    require("fastconv faces", "faces", "joblib", "lz4", "PIL")
    if arguments.out:
        check_writable("--out", arguments.out.parent)
        _check_format(arguments.out)
    try:
        finder = models.MTCNN(arguments.min_face)
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from error
    photo = _read(arguments.photo)
    found = finder(np.asarray(photo))
    rows = [
        (*(f"{side:.0f}" for side in box), f"{score:.4f}")
        for box, score in zip(found.boxes, found.scores, strict=True)
    ]
    if rows:
        print_table(COLUMNS, rows)
    else:
        print("no faces found")
    if arguments.out:
        write_file(arguments.out, _encode(mark(photo, found), arguments.out))
        print(f"wrote {arguments.out.resolve()}")
    return 0


def _read(path: Path) -> Image.Image:
    """Read a photograph the way up that its camera says."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).convert("RGB")
    except UnidentifiedImageError as error:
        raise CommandError(f"faces: {path} is no picture that Pillow reads") from error
    except OSError as error:
        raise CommandError(f"faces: cannot read {path} ({error.strerror or error})") from error


def _check_format(path: Path) -> None:
    from PIL import Image

    if path.suffix.lower() not in Image.registered_extensions():
        raise CommandError(f"--out: Pillow cannot write {path.name}; use a name like boxes.png")


def _encode(photo: Image.Image, path: Path) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    photo.save(content, format=Image.registered_extensions()[path.suffix.lower()])
    return content.getvalue()


def mark(photo: Image.Image, found: models.Faces) -> Image.Image:
    """Draw boxes, landmarks and probabilities on a copy of a photograph."""
    from PIL import ImageDraw

    marked = photo.copy()
    draw = ImageDraw.Draw(marked)
    for box, score, points in zip(*found, strict=True):
        size = max(box[2] - box[0], box[3] - box[1])
        line = max(1, round(size / 60))
        draw.rectangle(tuple(box), outline=BOX, width=line)
        for x, y in points:
            reach = 1.5 * line
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=POINT)
        _label(draw, marked.size, box, f"{score:.3f}", max(10, size / 8))
    return marked


def _label(draw: Any, limits: tuple[int, int], box: np.ndarray, text: str, size: float) -> None:
    """Write above a box, or inside where there is no room above."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = size / 5
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x, y = label_place(limits, box, (width, height))
    draw.rectangle((x, y, x + width, y + height), fill=BOX)
    draw.text((x + pad - left, y + pad - top), text, font=font, fill=TEXT)


def label_place(
    limits: tuple[int, int], box: np.ndarray, size: tuple[float, float]
) -> tuple[float, float]:
    """Return the left upper corner of a label, so that all of it is in the picture if it can be."""
    (x1, y1), (width, height) = box[:2], size
    x = min(max(x1, 0), max(0, limits[0] - width))
    y = y1 - height if y1 >= height else max(y1, 0)
    return x, min(y, max(0, limits[1] - height))
