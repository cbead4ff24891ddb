"""`fastconv faces`: photographs read and marked, faces printed, clear refusals."""

import importlib.util
import sys

import numpy as np
import pytest

from fastconv.cli import faces, main

EXTRAS = ("joblib", "lz4", "PIL", "mtcnn")


@pytest.fixture(scope="module")
def image():
    for module in EXTRAS:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install fastconv[faces]")
    from PIL import Image

    return Image


@pytest.fixture(scope="module")
def astronaut(image, tmp_path_factory):
    data = pytest.importorskip("skimage.data", reason="needs skimage: pip install fastconv[test]")
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    image.fromarray(data.astronaut()[30:230, 90:330]).save(path)
    return path


def test_a_face_is_printed_and_marked(image, astronaut, tmp_path, capsys):
    out = tmp_path / "boxes.png"
    assert main(["faces", str(astronaut), "--min-face", "40", "--out", str(out)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["x1", "y1", "x2", "y2", "probability"]
    *box, probability = map(float, table[1].split())
    np.testing.assert_allclose(box, (91, 29, 178, 145), atol=4)
    assert probability > 0.99
    assert table[2] == f"wrote {out.resolve()}" and len(table) == 3
    with image.open(astronaut) as before, image.open(out) as after:
        changed = (np.asarray(before) != np.asarray(after)).any(axis=2)
    rows, columns = np.nonzero(changed)
    # The frame, and the label above it.
    assert abs(columns.min() - box[0]) < 3 and abs(columns.max() - box[2]) < 3
    assert abs(rows.max() - box[3]) < 3 and rows.min() < box[1]
    assert 0.02 < changed.mean() < 0.1


def test_no_face(image, tmp_path, capsys):
    path, out = tmp_path / "grey.jpg", tmp_path / "out.jpg"
    image.new("L", (80, 60), 127).save(path)
    assert main(["faces", str(path), "--out", str(out), "--min-face", "30"]) == 0
    assert capsys.readouterr().out.startswith("no faces found\n")
    with image.open(out) as marked:
        assert marked.size == (80, 60)
        assert np.ptp(np.asarray(marked)) <= 2


def test_cameras_held_upright(image, astronaut, tmp_path, capsys):
    path = tmp_path / "turned.jpg"
    exif = image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    with image.open(astronaut) as photo:
        photo.transpose(image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    assert main(["faces", str(path), "--min-face", "40"]) == 0
    box = list(map(float, capsys.readouterr().out.splitlines()[1].split()))[:4]
    np.testing.assert_allclose(box, (91, 29, 178, 145), atol=4)


@pytest.mark.parametrize(
    "box, place",
    [
        ((50, 60, 90, 100), (50, 48)),  # above
        ((50, 5, 90, 100), (50, 5)),  # no room above
        ((-20, -30, 60, 50), (0, 0)),
        ((180, 60, 260, 120), (160, 48)),
        ((50, 150, 90, 190), (50, 108)),
    ],
)
def test_labels_stay_in_the_picture(box, place):
    assert faces.label_place((200, 120), np.array(box), (40, 12)) == place


def test_wrong_calls(image, tmp_path, capsys):
    text = tmp_path / "text.png"
    text.write_text("no picture")
    image.new("RGB", (30, 30)).save(photo := tmp_path / "photo.png")
    calls = {
        f"faces: {text} is no picture that Pillow reads": [text],
        f"faces: cannot read {tmp_path / 'absent'} (No such file": [tmp_path / "absent"],
        "MTCNN: min_face must be at least 12, got 3": [photo, "--min-face", "3"],
        "--out: Pillow cannot write boxes.what": [photo, "--out", tmp_path / "boxes.what"],
        "--out: cannot write into": [photo, "--out", tmp_path / "absent" / "boxes.png"],
    }
    for message, words in calls.items():
        assert main(["faces", *map(str, words)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["joblib", "lz4", "PIL"])
def test_missing_extra(missing, capsys, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["faces", "photo.jpg"]) == 2
    assert capsys.readouterr().err == (
        'fastconv: fastconv faces needs the extra "faces": '
        'python -m pip install "fastconv[faces]"\n'
    )
