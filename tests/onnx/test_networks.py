"""Real networks give onnxruntime's numbers, and what their makers say they see."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")
data = pytest.importorskip("skimage.data", reason="needs skimage: pip install fastconv[test]")

import fastconv  # noqa: E402


def network(name):
    path = Path(os.environ.get("FASTCONV_MODELS", "")) / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("needs the networks in ONNX form in the folder FASTCONV_MODELS")
    return path


def picture(pixels, low=0.0, high=1.0):
    """(H, W, 3) bytes as (1, 3, H, W) between low and high."""
    scaled = pixels.astype(np.float32) / 255 * (high - low) + low
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def resized(pixels, height, width):
    from skimage.transform import resize

    return resize(pixels, (height, width), preserve_range=True, anti_aliasing=True)


def centre(pixels, size=224):
    side = min(pixels.shape[:2])
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    return resized(pixels[top : top + side, left : left + side], size, size)


def cat():
    return picture(centre(data.chelsea()), -1, 1)


def page(height, width):
    return np.repeat(data.page()[:height, :width, None], 3, 2)


FEEDS = {
    "classify_efficientnet-lite0-imagenet": lambda: {"image": cat()},
    "face_mtcnn-pnet": lambda: {"image": picture(data.astronaut()[:200, 100:300], -1, 1)},
    "face_mtcnn-rnet": lambda: {
        "image": picture(resized(data.astronaut()[59:175, 166:282], 24, 24), -1, 1)},
    "face_mtcnn-onet": lambda: {
        "image": picture(resized(data.astronaut()[59:175, 166:282], 48, 48), -1, 1)},
    "textdet_ppocrv4-det": lambda: {"x": picture(page(160, 352), -1, 1)},
    "ocr_ppocrv4-rec": lambda: {"x": picture(resized(page(30, 352), 48, 480), -1, 1)},
    "superres_waifu2x-upconv7-photo-x2": lambda: {"Input1": picture(data.chelsea()[100:164, :80])},
    "segment_selfie-mobilenetv3": lambda: {
        "input_1": resized(data.astronaut(), 256, 256)[None].astype(np.float32) / 255},
    "style_multistyle26": lambda: {
        "image": picture(data.chelsea()[100:196, 100:200]),
        "style_weights": np.eye(26, dtype=np.float32)[3]},
    "audio_silero-vad-op18-ifless": lambda: {
        "input": np.sin(np.arange(576, dtype=np.float32) / 9)[None],
        "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000)},
}


# How far onnxruntime itself is from the same network in float64 (fastconv: 1.2e-5), which is
# more than "highest" allows.
THEIR_ERRORS = {"segment_selfie-mobilenetv3": 2.3e-4}


@pytest.mark.parametrize("name", FEEDS)
def test_onnxruntimes_numbers(name):
    path, feeds = network(name), FEEDS[name]()
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    wanted = runtime.InferenceSession(path, options).run(None, feeds)
    model = fastconv.onnx.load(path)
    for precision, bound in (("high", 1e-3), ("highest", 1e-4 + THEIR_ERRORS.get(name, 0))):
        with fastconv.precision(precision):
            results = model.run(feeds)
        for result, exact in zip(results, wanted, strict=True):
            assert result.shape == exact.shape and result.dtype == exact.dtype
            assert abs(result - exact).max() <= bound * abs(exact).max()


@pytest.mark.parametrize("pixels, answer, least", [
    (data.chelsea, 285, 0.3), (data.coffee, 967, 0.8),
    (lambda: np.repeat(data.camera()[..., None], 3, 2), 872, 0.9),
], ids=["chelsea", "coffee", "camera"])
def test_classes(pixels, answer, least):
    model = fastconv.onnx.load(network("classify_efficientnet-lite0-imagenet"))
    (shares,) = model.run({"image": picture(centre(pixels()), -1, 1)})
    assert shares.argmax() == answer and shares.max() > least


def test_a_face():
    model = fastconv.onnx.load(network("face_mtcnn-onet"))
    results = model.run(FEEDS["face_mtcnn-onet"]())
    (shares,) = [result for result in results if result.shape == (1, 2)]
    assert shares[0, 1] > 0.95


def bands(rows):
    """First and last + 1 of each run of True."""
    steps = np.flatnonzero(np.diff(np.r_[False, rows, False]))
    return list(zip(steps[::2], steps[1::2], strict=True))


def read_line(model, line):
    """What the recogniser reads in (H, W, 3) pixels: repeated letters are one, 0 is none."""
    letters = ["", *model.metadata["character"].splitlines(), " "]
    width = round(line.shape[1] * 48 / line.shape[0])
    (shares,) = model.run({"x": picture(resized(line, 48, width), -1, 1)})
    best = shares[0].argmax(1)
    return "".join(letters[b] for a, b in zip([0, *best], best, strict=False) if b != a)


def test_text_is_found_and_read():
    paths = network("textdet_ppocrv4-det"), network("ocr_ppocrv4-rec")
    finder, reader = map(fastconv.onnx.load, paths)
    paper = np.pad(page(191, 384), ((0, 1), (0, 0), (0, 0)), "edge")
    (shares,) = finder.run({"x": picture(paper, -1, 1)})
    ink = shares[0, 0] > 0.3
    found = bands(ink.any(1))
    assert len(found) == 7
    lines = []
    for top, bottom in found:
        columns = np.flatnonzero(ink[top:bottom].any(0))
        line = paper[max(top - 3, 0) : bottom + 3, max(columns[0] - 3, 0) : columns[-1] + 4]
        lines.append(read_line(reader, line).replace(" ", ""))
    # all letters are right; how many gaps are seen depends on where a line is cut out
    assert lines[:3] + lines[4:6] == [text.replace(" ", "") for text in (
        "Region-based segmentation",
        "Let us first determine markers of the coins and the",
        "background. These markers are pixels that we can label",
        "the markers are found at the two extreme parts of the",
        "histogram of grey values:",
    )]


def test_a_person():
    model = fastconv.onnx.load(network("segment_selfie-mobilenetv3"))
    (mask,) = model.run(FEEDS["segment_selfie-mobilenetv3"]())
    mask = np.squeeze(mask)
    assert mask[60:200, 90:150].mean() > 0.9 and mask[:40, :40].mean() < 0.1
