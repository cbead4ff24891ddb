"""`fastconv run`: a picture goes in, the highest places come out with their names."""

import numpy as np
import pytest

from fastconv.cli import main

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")
image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install fastconv[onnx]")

from onnx import TensorProto, helper  # noqa: E402


def write_net(path, shape, nodes, result=("N", "K")):
    """A network from x to y in a file."""
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return str(path)


def mean_colour(axes):
    return [helper.make_node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=0)]


@pytest.fixture
def photo(tmp_path):
    """12 x 20 pixels: grey, but for a square in the middle that is (200, 40, 100)."""
    pixels = np.full((12, 20, 3), 90, np.uint8)
    pixels[:, 4:16] = 200, 40, 100
    path = tmp_path / "photo.png"
    image.fromarray(pixels).save(path)
    return str(path)


@pytest.mark.parametrize("shape, axes", [((1, 3, 12, 12), [2, 3]), (("N", 12, 12, 3), [1, 2])])
def test_the_middle_of_a_picture(photo, tmp_path, shape, axes, capsys):
    net = write_net(tmp_path / "net.onnx", shape, mean_colour(axes))
    (tmp_path / "names").write_text("red\ngreen\nblue\n")
    words = [net, "--input", photo, "--labels", str(tmp_path / "names"), "--top", "2"]
    assert main(["run", *words]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["y:", "1x3"], ["place", "value", "label"], ["0", "0.7843", "red"], ["2", "0.3922", "blue"],
    ]


def test_free_sizes_mean_and_std(photo, tmp_path, capsys):
    net = write_net(tmp_path / "net.onnx", (1, 3, "H", "W"), mean_colour([2, 3]))
    assert main(["run", net, "--input", photo, "--mean", "100", "--std", "50"]) == 0
    red = (0.6 * 200 + 0.4 * 90 - 100) / 50
    assert capsys.readouterr().out.splitlines()[2].split() == ["0", f"{red:.4f}"]


def test_one_colour_and_an_output_with_many_rows(photo, tmp_path, capsys):
    net = write_net(tmp_path / "net.onnx", (1, 1, "H", "W"),
                    [helper.make_node("Relu", ["x"], ["y"])], (1, 1, "H", "W"))
    assert main(["run", net, "--input", photo, "--std", "1"]) == 0
    with image.open(photo) as file:
        grey = np.asarray(file.convert("L"))
    assert capsys.readouterr().out.splitlines() == [
        "y: 1x1x12x20", f"  from {grey.min()} to {grey.max()}, mean {grey.mean():.6g}",
    ]


def test_wrong_calls(photo, tmp_path, capsys):
    net = write_net(tmp_path / "net.onnx", (1, 3, "H", "W"), mean_colour([2, 3]))
    rows = write_net(tmp_path / "rows.onnx", (1, 3), mean_colour([0]), ("K",))
    deep = write_net(tmp_path / "deep.onnx", (1, 7, "H", "W"), mean_colour([2, 3]))
    absent = str(tmp_path / "absent")
    calls = {
        "absent: cannot be read": [absent, "--input", photo],
        f"--input: cannot read {absent} (No such file": [net, "--input", absent],
        f"--input: {net} is no picture that Pillow reads": [net, "--input", net],
        f"--labels: cannot read {absent}": [net, "--input", photo, "--labels", absent],
        "--top must be at least 1": [net, "--input", photo, "--top", "0"],
        "rows.onnx takes [x:float32[1x3]], not one picture": [rows, "--input", photo],
        "no picture of 1 or 3 colours": [deep, "--input", photo],
    }
    for message, words in calls.items():
        assert main(["run", *words]) == 2
        assert message in capsys.readouterr().err
