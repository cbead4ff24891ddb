"""`fastconv demo`: real pictures, true numbers, a page that stands alone, clear refusals."""

import base64
import io
import re
import sys

import numpy as np
import pytest

import fastconv.functional.conv
from fastconv.cli import demo, main
from fastconv.cli._measure import Effort

EXTRAS = ("skimage", "sklearn", "matplotlib")
INSTALL_LINE = (
    'fastconv: fastconv demo needs the extra "demo": python -m pip install "fastconv[demo]"\n'
)


def need_extras():
    for module in EXTRAS:
        pytest.importorskip(module, reason=f"needs {module}: pip install fastconv[test]")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run the demonstration once; return exit code, folder and what it printed."""
    need_extras()
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "EFFORT", Effort(rounds=1, turn=0, pause=0))
        patch.setattr(sys, "stdout", printed)
        code = main(["demo", "--out", str(folder)])
    return code, folder, printed.getvalue()


def test_prints_times_errors_and_paths(done):
    code, folder, text = done
    assert code == 0
    for word in ("Blur", "Edges", "Directions", "First layer", "Pools", "digits", "winograd"):
        assert word in text
    assert len(re.findall(r"\d\.\d+x", text)) >= 12
    for name in (demo.SHEET, demo.PAGE):
        assert str((folder / name).resolve()) in text
    assert "WRONG" not in text


def test_writes_nothing_but_sheet_and_page(done):
    _, folder, _ = done
    assert sorted(path.name for path in folder.iterdir()) == sorted([demo.SHEET, demo.PAGE])


def test_sheet_is_a_picture(done):
    from PIL import Image

    _, folder, _ = done
    with Image.open(folder / demo.SHEET) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[0] > 1500 and pixels.shape[1] > 1200
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10_000  # photographs, not blanks


def test_page_stands_alone(done):
    _, folder, _ = done
    page = (folder / demo.PAGE).read_text()
    assert len(page) < 2_000_000
    assert "://" not in page and "<script" not in page and "@import" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) >= 15
    assert all(source.startswith("data:image/") for source in sources)
    assert "prefers-color-scheme: dark" in page
    assert page.count("<section>") == page.count("</section>") == 8


def test_only_winograd_may_refuse(done):
    _, folder, _ = done
    page = (folder / demo.PAGE).read_text()
    refusals = re.findall(r'<tr><td>(\w+)</td><td class="no"', page)
    assert set(refusals) == {"winograd"} and len(refusals) < 5


def test_pictures_of_the_page_decode(done):
    from PIL import Image

    _, folder, _ = done
    page = (folder / demo.PAGE).read_text()
    pattern = r'src="data:image/\w+;base64,([^"]*)" width="(\d+)" height="(\d+)" alt="([^"]+)"'
    pictures = re.findall(pattern, page)
    assert len(pictures) == page.count("<img")
    for content, width, height, _ in pictures:
        with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
            assert picture.size == (int(width), int(height))
            assert np.ptp(np.asarray(picture)) > 50


def test_wrong_result_is_an_error(tmp_path, capsys, monkeypatch):
    need_extras()
    prepare = fastconv.functional.conv.prepare_conv

    def prepare_wrong(*arguments, **how):
        layer = prepare(*arguments, **how)
        return lambda x: layer(x) * np.float32(1.0001)

    monkeypatch.setattr(fastconv.functional.conv, "prepare_conv", prepare_wrong)
    monkeypatch.setattr(demo, "EFFORT", Effort(rounds=1, turn=0, pause=0))
    monkeypatch.setattr(demo._experiments, "EXPERIMENTS", (demo._experiments.edges,))
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "WRONG: Edges, direct: max error 1.0e-04 of max|y|" in capsys.readouterr().out


@pytest.mark.parametrize("missing", EXTRAS)
def test_missing_extra(missing, tmp_path, capsys, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", INSTALL_LINE)
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be(tmp_path, capsys):
    need_extras()
    file = tmp_path / "file"
    file.write_text("keep me")
    for out in (file, file / "below"):
        assert main(["demo", "--out", str(out)]) == 2
        assert f"fastconv: --out: cannot make the folder {out}" in capsys.readouterr().err
    assert file.read_text() == "keep me"


def test_stopped(tmp_path, capsys, monkeypatch):
    need_extras()

    def stop(effort):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo._experiments, "EXPERIMENTS", (stop,))
    assert main(["demo", "--out", str(tmp_path)]) == 130
    assert "stopped" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
