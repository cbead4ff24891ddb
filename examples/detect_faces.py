"""Faces and their eyes, nose and mouth: the three networks of MTCNN, from ONNX files.

    FASTCONV_MODELS=folder python examples/detect_faces.py [picture.png]
"""

import os
import sys
from pathlib import Path

from PIL import Image, ImageDraw
from skimage import data

import fastconv
from fastconv import models


class Cascade(models.MTCNN):
    """`models.MTCNN`, its three networks run from files."""

    def __init__(self, folder, min_face=40):
        self.min_face, self.thresholds, self.factor = min_face, (0.6, 0.7, 0.9), 0.709
        for name in ("pnet", "rnet", "onet"):
            net = fastconv.onnx.load(Path(folder, f"face_mtcnn-{name}.onnx"))
            setattr(self, name, lambda crops, net=net: net.run({"image": crops}))
        self.eval()


photo = data.astronaut()
faces = Cascade(os.environ["FASTCONV_MODELS"])(photo)
picture = Image.fromarray(photo)
draw = ImageDraw.Draw(picture)
for box, score, points in zip(faces.boxes, faces.scores, faces.landmarks, strict=True):
    x1, y1, x2, y2 = box
    print(f"a face from ({x1:.0f}, {y1:.0f}) to ({x2:.0f}, {y2:.0f}), probability {score:.3f}")
    draw.rectangle((x1, y1, x2, y2), outline="yellow", width=3)
    for x, y in points:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill="red")
picture.save(sys.argv[1] if len(sys.argv) > 1 else "faces.png")
