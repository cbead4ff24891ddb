"""Twice as large: a part of a photograph, by bicubic interpolation and by a network.

    FASTCONV_MODELS=folder python examples/super_resolve.py [picture.png]
"""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data, metrics

import fastconv

network = Path(os.environ["FASTCONV_MODELS"], "superres_waifu2x-upconv7-photo-x2.onnx")
model = fastconv.onnx.load(network)
large = data.chelsea()[60:220, 100:340]
height, width = large.shape[:2]
small = Image.fromarray(large).resize((width // 2, height // 2), Image.Resampling.BOX)

# The network's convolutions take 7 pixels at each edge, which are put there first.
x = np.pad(np.asarray(small, np.float32) / 255, ((7, 7), (7, 7), (0, 0)), "edge")
(result,) = model.run({"Input1": np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
ours = (255 * result[0].transpose(1, 2, 0).clip(0, 1)).round().astype(np.uint8)
bicubic = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))

for name, picture in {"bicubic": bicubic, "network": ours}.items():
    print(f"{name}: {metrics.peak_signal_noise_ratio(large, picture):.1f} dB")
sheet = Image.fromarray(np.concatenate([bicubic, ours, large], axis=1))
sheet = sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST)
sheet.save(sys.argv[1] if len(sys.argv) > 1 else "super_resolve.png")
