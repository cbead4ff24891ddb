"""`fastconv profile`: a line a node, the slowest first where that is asked for, a total."""

import json

import numpy as np
import pytest

from fastconv import plot
from fastconv.cli import main
from fastconv.graph.ir import Node
from fastconv.plot.nodes import LONGEST_NAME, MOST

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
    assert title.split() == "node operator fused runs by ms share GFLOP/s of peak MB".split()
    *words, ms, share, speed, of_peak, size = first.split()
    assert words[:3] == ["first", "Conv", "relu"]
    assert words[3] in ("direct", "im2col", "winograd")
    *words, other_ms, other_share, _ = last.split()
    assert words == ["last", "Det", "reference"]
    assert total.startswith("net.onnx (x 1x3x10x10): 2 nodes, ")
    whole = float(total.split(" nodes, ")[1].split()[0])
    assert float(ms) + float(other_ms) == pytest.approx(whole, abs=0.0021)
    assert float(share[:-1]) + float(other_share[:-1]) == pytest.approx(100, abs=0.11)
    assert 0 < float(ms) < 1000
    flops = 2 * 4 * 8 * 8 * 3 * 9
    fastest, slowest = (flops / (float(ms) + off) / 1e6 for off in (-0.00051, 0.00051))
    assert slowest - 0.51 <= float(speed) <= fastest + 0.51  # of both rounded
    assert of_peak.endswith("%")
    assert float(size) == pytest.approx(4 * (3 * 100 + 4 * 27 + 4 * 64) / 1e6, abs=0.006)


def test_numbers_and_picture(net, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    files = tmp_path / "profile.json", tmp_path / "profile.svg"
    options = ["--json", str(files[0]), "--plot", str(files[1])]
    assert main(["profile", net, "--shape", "x=2x3x9x9", "--runs", "2", *options]) == 0
    result = json.loads(files[0].read_text())
    assert result["input"] == "x 2x3x9x9" and result["threads"] >= 1
    conv, det = result["nodes"]
    assert conv["output"] == [2, 4, 7, 7] and conv["flops"] == 2 * 2 * 4 * 49 * 27
    assert conv["gflops"] == pytest.approx(conv["flops"] / conv["ms"] / 1e6)
    assert det["flops"] == 0 and not det["native"]
    assert sum(node["share"] for node in result["nodes"]) == pytest.approx(1)
    assert files[1].read_bytes().startswith(b"<?xml")
    text = files[1].read_text()
    assert "first  Conv" in text and "net.onnx" in text


def test_only_the_slowest_of_a_long_network_have_bars():
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install fastconv[test]")
    node = {"operator": "Relu", "algorithm": "", "native": True, "flops": 0, "share": 0.01}
    nodes = [{**node, "name": f"{'n' * 40}{place}", "ms": place / 10} for place in range(100)]
    result = {"machine": {"cpu": "a", "isa": "b"}, "threads": 1, "network": "net.onnx",
              "input": "x 1", "ms": 495.0, "nodes": nodes}
    (axes,) = plot.profile_chart(result).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [place / 10 for place in range(100 - MOST, 100)]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert max(map(len, labels)) < LONGEST_NAME + 8
    assert axes.get_xlabel() == "ms; 70 more nodes take 70.0%"


def test_the_slowest_first(net, monkeypatch, capsys):
    times = {"slow": 0.002, "slowest": 0.005, "fast": 0.001}
    rest = Node("Relu", [], []), (), (), 8_000_000, ""
    timings = [Timing(name, "Relu", None, True, s, *rest) for name, s in times.items()]
    monkeypatch.setattr(Model, "profile", lambda *_: timings)
    assert main(["profile", net, "--top", "2"]) == 0
    _, *rows, _, total = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        ["slowest", "Relu", "fastconv", "5.000", "62.5%", "8.00"],
        ["slow", "Relu", "fastconv", "2.000", "25.0%", "8.00"],
    ]
    assert "3 nodes, 8.000 ms; FMA peak" in total


@pytest.mark.parametrize("words, message", [
    (["absent.onnx"], "absent.onnx: cannot be read"),
    (["NET", "--size", "0"], "'0' is not a number from 1 up"),
    (["NET", "--size", "2"], "net.onnx: Conv 'first'"),
    (["NET", "--plot", "net.gif"], "--plot: net.gif should end in one of"),
    (["NET", "--json", "no/such/folder/file"], "--json: cannot write into"),
])
def test_wrong_calls(net, words, message, capsys):
    assert main(["profile", *(net if word == "NET" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
