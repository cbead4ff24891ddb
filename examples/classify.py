"""What is in three photographs: EfficientNet-Lite0 through fastconv.onnx.

    FASTCONV_MODELS=folder python examples/classify.py [picture.png]
"""

import os
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from skimage import color, data, transform

import fastconv

NAMES = {285: "Egyptian cat", 872: "tripod", 967: "espresso"}  # of 1000
folder = Path(os.environ["FASTCONV_MODELS"])
model = fastconv.onnx.load(folder / "classify_efficientnet-lite0-imagenet.onnx")


def centre(photo):
    """The middle square, 224 pixels wide."""
    side = min(photo.shape[:2])
    top, left = ((size - side) // 2 for size in photo.shape[:2])
    square = photo[top : top + side, left : left + side]
    return transform.resize(square, (224, 224), preserve_range=True, anti_aliasing=True)


photos = [centre(p) for p in (data.chelsea(), data.coffee(), color.gray2rgb(data.camera()))]
batch = (np.stack(photos).transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
(shares,) = model.run({"image": batch})

figure = Figure(figsize=(9, 3.6), layout="constrained")
for axes, photo, row in zip(figure.subplots(1, 3), photos, shares, strict=True):
    best = row.argsort()[-3:][::-1]
    lines = [f"{NAMES.get(place, f'class {place}')}: {row[place]:.0%}" for place in best]
    print(", ".join(lines))
    axes.imshow(photo / 255)
    axes.set(title="\n".join(lines), xticks=[], yticks=[])
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "classify.png")
