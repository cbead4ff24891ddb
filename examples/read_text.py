"""Text in a photographed page: one network finds its lines, another reads them.

    FASTCONV_MODELS=folder python examples/read_text.py [picture.png]
"""

import os
import sys
from unicodedata import normalize

import numpy as np
from matplotlib.figure import Figure
from skimage import data, transform

import fastconv

names = "textdet_ppocrv4-det", "ocr_ppocrv4-rec"
find, read = (fastconv.onnx.load(f"{os.environ['FASTCONV_MODELS']}/{n}.onnx") for n in names)
letters = ["", *read.metadata["character"].splitlines(), " "]
page = np.repeat(np.pad(data.page(), ((0, 1), (0, 0)), "edge")[:, :, None], 3, axis=2)


def planes(pixels):  # (H, W, 3) from 0 to 255 as (1, 3, H, W) from -1 to 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / 127.5 - 1, np.float32)


ink = find.run({"x": planes(page)})[0][0, 0] > 0.3
edges = np.flatnonzero(np.diff(np.r_[False, ink.any(axis=1), False]))
axes = (figure := Figure(figsize=(12, 3))).add_axes((0, 0, 1, 1), xticks=[], yticks=[])
axes.imshow(page, extent=(0, 1, len(page), 0), aspect="auto")
axes.set_xlim(0, 2)
for top, bottom in edges.reshape(-1, 2):
    left, *_, right = np.flatnonzero(ink[top:bottom].any(axis=0))
    line = page[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 4]
    size = 48, round(48 * line.shape[1] / line.shape[0])
    line = transform.resize(line, size, preserve_range=True)
    best = read.run({"x": planes(line)})[0][0].argmax(1)
    text = "".join(letters[b] for a, b in zip([0, *best], best, strict=False) if b != a)
    print(text := normalize("NFKC", text))  # no wide forms of brackets and the like
    axes.text(1.02, (top + bottom) / 2, text, color="crimson", va="center")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "read_text.png", dpi=120)
