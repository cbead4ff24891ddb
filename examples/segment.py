"""A person before another background: a mask from a mobile segmentation network.

    FASTCONV_MODELS=folder python examples/segment.py [picture.png]
"""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data, transform

import fastconv

model = fastconv.onnx.load(Path(os.environ["FASTCONV_MODELS"], "segment_selfie-mobilenetv3.onnx"))
photo = data.astronaut().astype(np.float32) / 255
small = transform.resize(photo, (256, 256), anti_aliasing=True)[None]
(mask,) = model.run({"input_1": small.astype(np.float32)})
mask = transform.resize(mask[0, :, :, 0], photo.shape[:2])[:, :, None]
print(f"{mask.mean():.0%} of the picture is the person")

rows = np.linspace(1, 0.4, len(photo), dtype=np.float32)[:, None, None]
sky = rows * np.array([0.35, 0.55, 0.85], np.float32)
cut_out = mask * photo + (1 - mask) * sky
sheet = np.concatenate([photo, np.repeat(mask, 3, axis=2), cut_out], axis=1)
picture = Image.fromarray((255 * sheet.clip(0, 1)).astype(np.uint8))
picture.save(sys.argv[1] if len(sys.argv) > 1 else "segment.png")
