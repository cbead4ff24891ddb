"""`fastconv complexity`: published numbers beside measured times, in a table and a chart."""

import json
import sys

import pytest

from fastconv import models
from fastconv.cli import complexity, main
from fastconv.cli._measure import Effort

CHOSEN = ["--networks", "resnet18", "inception_v4"]


@pytest.fixture
def small(monkeypatch):
    """Smaller pictures and no rounds, for the sake of time."""
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    monkeypatch.setattr(complexity, "THOROUGH", Effort(rounds=1, turn=0, pause=0))
    monkeypatch.setattr(models, "input_shape", lambda name: (3, 64, 64))


def test_table_chart_and_numbers(small, tmp_path, capsys):
    chart, numbers = tmp_path / "chart.svg", tmp_path / "numbers.json"
    words = ["complexity", *CHOSEN, "--out", str(chart), "--json", str(numbers)]
    assert main(words) == 0
    result = json.loads(numbers.read_text())
    (resnet, inception) = result["networks"]
    assert resnet["parameters"] == 11_690_000 and resnet["source"] == "torchvision"
    assert 0 < resnet["ms"] < 10_000
    assert inception["ms"] is None and inception["memory"] is None and inception["top1"] == 80.0
    # Weights, and at least the results of the first convolution, its norm and its ReLU.
    assert 4 * (11_689_512 + 3 * 64 * 32 * 32) < resnet["memory"] < 60_000_000
    rows = capsys.readouterr().out.splitlines()
    megabytes = f"{resnet['memory'] / 1e6:.0f}"
    assert rows[1].split()[:5] == ["ResNet-18", "69.8", "11.7", megabytes, "1.81"]
    assert float(rows[1].split()[5]) == pytest.approx(resnet["ms"], abs=0.06)
    assert rows[2].split() == ["Inception-v4", "80.0", "42.7", "12.30"]
    assert rows[-1] == f"wrote {chart.resolve()}"
    assert chart.read_bytes().startswith(b"<?xml")


def test_areas_of_memory(small, tmp_path, capsys):
    chart = tmp_path / "chart.svg"
    assert main(["complexity", *CHOSEN, "--area", "memory", "--out", str(chart)]) == 0
    text = chart.read_text()
    assert "weights and results in memory" in text and "ResNet-18" in text
    assert "Inception-v4" not in text  # nobody has published how much it takes


@pytest.mark.parametrize(
    "words, message",
    [
        (["--networks", "resnet9"], "--networks: 'resnet9' is unknown; known: alexnet, vgg11, "),
        (["--out", "chart.jpg"], "--out: chart.jpg should end in one of .png, .svg, .pdf"),
        (["--out", "/nonexistent/chart.png"], "--out: cannot write into /nonexistent"),
        (["--json", "/nonexistent/numbers"], "--json: cannot write into /nonexistent"),
    ],
)
def test_wrong_calls(words, message, small, capsys):
    assert main(["complexity", *words]) == 2
    assert message in capsys.readouterr().err


def test_missing_extra(capsys, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["complexity"]) == 2
    assert 'needs the extra "demo": python -m pip install' in capsys.readouterr().err
