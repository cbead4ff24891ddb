"""`fastconv summary`: the table of a network's layers, its totals, and clear refusals."""

import json

import pytest

from fastconv.cli import main


def test_table_of_lenet(capsys):
    assert main(["summary", "lenet5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lenet5, one picture of 1x28x28, float32"
    assert lines[3].split() == "conv1 Conv2d 6x28x28 5x5 5x5 156 117,600 18.8".split()
    assert lines[10].split() == "fc3 Linear 10 32x32 850 840 0.0".split()
    assert lines[-1] == (
        "8 layers, 61,706 parameters (0.25 MB), 0.42 million multiply-adds, "
        "all results together 0.03 MB"
    )


def test_rows_that_no_window_reaches_are_shown(capsys):
    assert main(["summary", "alexnet", "--input", "3x226x225"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    # 226 rows and 4 of padding: the last of 55 windows ends at row 225 of the picture.
    assert "  1x0  " in rows["features.0"]


def test_numbers_in_a_file(tmp_path, capsys):
    path = tmp_path / "summary.json"
    assert main(["summary", "resnet50", "--input", "3x64x96", "--json", str(path)]) == 0
    numbers = json.loads(path.read_text())
    assert numbers["input"] == [1, 3, 64, 96]
    assert numbers["parameters"] == 25_557_032
    for total in ("parameters", "multiply_adds", "memory"):
        assert numbers[total] == sum(layer[total] for layer in numbers["layers"])
    conv = next(layer for layer in numbers["layers"] if layer["name"] == "layer2.0.conv2")
    assert conv["output"] == [1, 128, 8, 12] and conv["kernel"] == [3, 3]
    assert "layer2.0.conv2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["resnet51"], "summary: 'resnet51' is unknown; known: lenet5, "),
        (["vgg16", "--input", "3x8x8"], "vgg16 does not take a picture of 3x8x8: MaxPool2d: "),
        (["vgg16", "--input", "3x224"], "'3x224' is not of the form 3x224x224"),
        (["vgg16", "--input", "3x0x9"], "'3x0x9' is not of the form 3x224x224"),
        (["vgg16", "--json", "/nonexistent/file"], "--json: cannot write into /nonexistent"),
    ],
)
def test_wrong_calls(words, message, capsys):
    assert main(["summary", *words]) == 2
    assert message in capsys.readouterr().err
