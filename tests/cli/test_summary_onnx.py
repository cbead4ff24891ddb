"""`fastconv summary net.onnx`: what layers do, whether a known network or its file says it."""

import json

import numpy as np
import pytest

from fastconv.cli import main

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402


@pytest.fixture
def net(tmp_path):
    """A small residual network with every kind of window."""
    weights = {"w": (8, 4, 3, 3), "v": (8, 5, 2, 2), "u": (10, 5)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["c", "v"], ["d"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "u"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.ones(shape, np.float32), n) for n, shape in weights.items()],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return str(path)


def test_table(net, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert main(["summary", net, "--size", "24", "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{net}, one picture of 8x24x24, float32"
    rows = {row["kind"]: row for row in json.loads(path.read_text())["layers"]}
    conv = rows["Conv"]
    assert conv["output"] == [1, 8, 12, 12] and conv["kernel"] == conv["field"] == [3, 3]
    assert conv["parameters"] == 8 * 4 * 9 and conv["multiply_adds"] == 8 * 144 * 4 * 9
    assert conv["memory"] == 4 * 8 * 144 and conv["unused"] == [0, 0]
    # 12 columns: five windows of 3 with stride 2 end at the 11th
    assert rows["MaxPool"]["unused"] == [1, 1] and rows["MaxPool"]["field"] == [7, 7]
    up = rows["ConvTranspose"]
    assert up["output"] == [1, 5, 10, 10] and up["multiply_adds"] == 8 * 25 * 5 * 4
    assert up["field"] == [7, 7]  # one tap an element
    assert rows["GlobalAveragePool"]["field"] == [7 + 9 * 2] * 2
    assert rows["Gemm"]["multiply_adds"] == 50 and rows["Gemm"]["parameters"] == 50
    assert "multiply-adds" in lines[-1]


def test_a_file_says_what_the_known_network_says(tmp_path, capsys):
    """ResNet-50 in ONNX form, its batch norms in the convolutions, against ours."""
    from fastconv.cli.race.light import file_of

    path = tmp_path / "numbers.json"
    words = [str(file_of("resnet50")), "--json", str(path)]
    assert main(["summary", *words]) == 0
    file = json.loads(path.read_text())
    assert main(["summary", "resnet50", "--json", str(path)]) == 0
    ours = json.loads(path.read_text())
    assert file["multiply_adds"] == ours["multiply_adds"] == 4_089_184_256
    def of_convolutions(numbers, kind):
        return sorted((row["field"], row["multiply_adds"], row["output"])
                      for row in numbers["layers"] if row["kind"] == kind)

    assert of_convolutions(file, "Conv") == of_convolutions(ours, "Conv2d")


@pytest.mark.parametrize("words, message", [
    (["absent.onnx"], "absent.onnx: cannot be read"),
    (["NET", "--size", "3"], "net.onnx: MaxPool"),
    (["NET", "--shape", "z=1x2"], "'z' is no input; there are x"),
])
def test_wrong_calls(net, words, message, capsys):
    assert main(["summary", *(net if word == "NET" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
