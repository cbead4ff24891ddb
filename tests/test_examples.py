"""The examples with networks: each runs, is short, gives the right answer, writes a picture."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")
pytest.importorskip("skimage", reason="needs skimage: pip install fastconv[test]")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")

from PIL import Image  # noqa: E402

FOLDER = Path(__file__).parents[1] / "examples"
LINES = 40
# What each prints, and the networks that it needs.
EXAMPLES = {
    "classify": ("Egyptian cat: 4", "classify_efficientnet-lite0-imagenet"),
    "detect_faces": ("a face from (1", "face_mtcnn-onet"),
    "segment": ("of the picture is the person", "segment_selfie-mobilenetv3"),
    "super_resolve": ("network: 3", "superres_waifu2x-upconv7-photo-x2"),
    "restyle": ("pixels moved by 0.", "style_multistyle26"),
    "read_text": ("markers of the coins and the", "ocr_ppocrv4-rec"),
    "find_speech": ("speech in 5", "audio_silero-vad-op18-ifless"),
    "heat_map": ("225 tiles", "classify_efficientnet-lite0-imagenet"),
}


def test_all_are_here_and_short():
    files = {path.stem: path for path in FOLDER.glob("*.py")}
    assert files.keys() == {*EXAMPLES, "from_scipy", "from_scipy_stack"}
    for path in files.values():
        assert len(path.read_text().splitlines()) <= LINES, path.name


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, fresh_python, tmp_path):
    said, network = EXAMPLES[name]
    if not Path(os.environ.get("FASTCONV_MODELS", ""), f"{network}.onnx").is_file():
        pytest.skip("needs the networks in ONNX form in the folder FASTCONV_MODELS")
    path = tmp_path / "picture.png"
    done = fresh_python("-W", "error", str(FOLDER / f"{name}.py"), str(path))
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) >= 200 and pixels.std() > 20
