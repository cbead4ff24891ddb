"""A photograph in several painters' styles, and in two at once: one network, 26 styles.

    FASTCONV_MODELS=folder python examples/restyle.py [picture.png]
"""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import fastconv

MIXTURES = [{3: 1.0}, {11: 1.0}, {20: 1.0}, {3: 0.5, 20: 0.5}]  # shares of styles
model = fastconv.onnx.load(Path(os.environ["FASTCONV_MODELS"], "style_multistyle26.onnx"))
photo = data.chelsea()[20:276, 80:368].astype(np.float32) / 255
image = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])

pictures = [photo]
for mixture in MIXTURES:
    weights = np.zeros(26, np.float32)
    weights[list(mixture)] = list(mixture.values())
    (stylised,) = model.run({"image": image, "style_weights": weights})
    pictures.append(stylised[0].transpose(1, 2, 0)[: photo.shape[0], : photo.shape[1]])
    print(f"styles {mixture}: pixels moved by {np.abs(pictures[-1] - photo).mean():.2f}")
sheet = np.concatenate(pictures, axis=1).clip(0, 1)
Image.fromarray((255 * sheet).astype(np.uint8)).save(
    sys.argv[1] if len(sys.argv) > 1 else "restyle.png"
)
