"""Stained and unstained tissue told apart: a network's view of overlapping tiles.

    FASTCONV_MODELS=folder python examples/heat_map.py [picture.png]
"""

import os
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from skimage import data, transform

import fastconv

TILE, STEP = 64, 32
folder = Path(os.environ["FASTCONV_MODELS"])
model = fastconv.onnx.load(folder / "classify_efficientnet-lite0-imagenet.onnx")
tissue = data.immunohistochemistry()
tiles = np.lib.stride_tricks.sliding_window_view(tissue, (TILE, TILE, 3))[::STEP, ::STEP, 0]

views = []
for row in tiles:
    large = [transform.resize(tile, (224, 224), preserve_range=True) for tile in row]
    batch = (np.stack(large).transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
    (shares,) = model.run({"image": batch})
    views.append(np.log(shares + 1e-6))
views = np.array(views) - np.mean(views, axis=(0, 1))

# The direction in which the views differ most.
_, _, directions = np.linalg.svd(views.reshape(-1, views.shape[2]), full_matrices=False)
heat = views @ directions[0]
print(f"{heat.size} tiles, heat from {heat.min():.1f} to {heat.max():.1f}")

figure = Figure(figsize=(9, 4.6), layout="constrained")
for axes in figure.subplots(1, 2):
    axes.imshow(tissue)
    axes.axis("off")
axes.imshow(transform.resize(heat, tissue.shape[:2], order=1), cmap="inferno", alpha=0.6)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "heat_map.png")
