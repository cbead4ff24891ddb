"""`fastconv profile`: a line a node, the slowest first where that is asked for, a total."""

import numpy as np
import pytest

from fastconv.cli import main

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")

from onnx import TensorProto, helper  # noqa: E402

from fastconv.onnx.model import Model, Timing  # noqa: E402


@pytest.fixture
def net(tmp_path):
    """Conv, Relu and Det, which fastconv has no code for."""
    weight = np.ones((4, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
         helper.make_node("Relu", ["a"], ["b"]),
         helper.make_node("Det", ["b"], ["y"], name="last")],
        "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, "H", "W"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 4))],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return str(path)


def test_a_line_for_each_node(net, capsys):
    assert main(["profile", net, "--size", "10", "--runs", "3"]) == 0
    title, first, last, _, total = capsys.readouterr().out.splitlines()
    assert title.split() == ["node", "operator", "fused", "runs", "by", "ms", "share"]
    *words, ms, share = first.split()
    assert words == ["first", "Conv", "relu", "fastconv"]
    *words, other_ms, other_share = last.split()
    assert words == ["last", "Det", "reference"]
    assert total.startswith("net.onnx (x 1x3x10x10): 2 nodes, ")
    whole = float(total.split()[-2])
    assert float(ms) + float(other_ms) == pytest.approx(whole, abs=0.0021)
    assert float(share[:-1]) + float(other_share[:-1]) == pytest.approx(100, abs=0.11)
    assert 0 < float(ms) < 1000


def test_the_slowest_first(net, monkeypatch, capsys):
    times = {"slow": 0.002, "slowest": 0.005, "fast": 0.001}
    timings = [Timing(name, "Relu", None, True, seconds) for name, seconds in times.items()]
    monkeypatch.setattr(Model, "profile", lambda *_: timings)
    assert main(["profile", net, "--top", "2"]) == 0
    _, *rows, _, total = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        ["slowest", "Relu", "fastconv", "5.000", "62.5%"],
        ["slow", "Relu", "fastconv", "2.000", "25.0%"],
    ]
    assert total.endswith("3 nodes, 8.000 ms")


@pytest.mark.parametrize("words, message", [
    (["absent.onnx"], "absent.onnx: cannot be read"),
    (["NET", "--size", "0"], "'0' is not a number from 1 up"),
    (["NET", "--size", "2"], "net.onnx: Conv 'first'"),
])
def test_wrong_calls(net, words, message, capsys):
    assert main(["profile", *(net if word == "NET" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
