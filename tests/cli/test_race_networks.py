"""`fastconv bench --networks`: what is raced, and that everybody computes the same."""

import json
import math

import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")

from onnx import TensorProto, helper  # noqa: E402

from fastconv.cli import main  # noqa: E402
from fastconv.cli.race import lanes  # noqa: E402
from fastconv.cli.race.contestants import FASTCONV, OURS, PEERS  # noqa: E402
from fastconv.cli.race.light import LIGHT, filled  # noqa: E402
from fastconv.cli.race.networks import FOLDER, network_contests  # noqa: E402

TINY = lanes.Effort(runs=2, turns=1, seconds=0.002, calls=2, cold_tries=2, cold_idle=0.001)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of two small networks, each of two inputs and two outputs."""
    for name in ("small-one", "small-two"):
        floats = TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info(n, floats, s)
                  for n, s in (("a/b", ["N", 3, "H", "W"]), ("c", [3, 1, 1]))]
        outputs = [helper.make_tensor_value_info(n, floats, None) for n in ("sum", "max")]
        nodes = [helper.make_node("Add", ["a/b", "c"], ["sum"]),
                 helper.make_node("GlobalMaxPool", ["sum"], ["max"])]
        graph = helper.make_graph(nodes, "small", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def test_what_is_raced(folder):
    contests = network_contests([], 16, {})
    assert [contest.name for contest in contests] == [*LIGHT, "small-one", "small-two"]
    assert contests[0].text == "1x3x224x224" and contests[-1].text == "1x3x16x16, 3x1x1"
    chosen = network_contests(["two", str(folder / "small-one.onnx"), "small"], 16, {})
    assert [contest.name for contest in chosen] == ["small-two", "small-one"]
    (contest,) = network_contests(["two"], 16, {"a/b": (2, 3, 5, 7)})
    assert contest.feeds["a/b"].shape == (2, 3, 5, 7) and contest.feeds["c"].shape == (3, 1, 1)


@pytest.mark.parametrize("name", ["squeezenet", "resnet50", "shufflenet", "densenet121"])
def test_random_weights_are_no_constants(name):
    model = filled(name)
    onnx.checker.check_model(model)
    assert "ConstantOfShape" not in {node.op_type for node in model.graph.node}
    again = filled(name)
    assert model.SerializeToString() == again.SerializeToString()
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight = weights[node.input[1]]
            expected = math.sqrt(2 / weight[0].size)
            assert weight.std() == pytest.approx(expected, rel=0.2)
        if node.op_type == "BatchNormalization":
            assert weights[node.input[4]].min() > 0


def test_everybody_computes_the_same(folder, tmp_path):
    contests = network_contests(["one", "squeezenet"], 16, {})
    peers = {name: PEERS[name] for name in ("onnxruntime", "openvino", "ncnn")}
    ours = {"precision": "high", "algorithm": "auto", "functional": False}
    with lanes.line_up({OURS: FASTCONV._replace(options=ours), **peers}, 1) as (ready, missing):
        for place, contest in enumerate(contests):
            work = tmp_path / str(place)
            work.mkdir()
            contest.write(work, "NCHW")
            times = lanes.race(ready, contest.job("NCHW"), str(work), TINY)
            for name in {OURS, "onnxruntime", "openvino"} - set(missing):
                assert times[name]["refused"] is None
                assert times[name]["error"] < 1e-4
            assert "ncnn" in missing or times["ncnn"]["sits_out"]


def test_command(folder, monkeypatch, capsys):
    monkeypatch.setattr(lanes, "QUICK", TINY)
    path = folder / "result.json"
    words = ["--networks", "small", "--size", "8", "--peers", "onnxruntime", "--json", str(path)]
    assert main(["bench", "--quick", *words]) == 0
    result = json.loads(path.read_text())
    assert result["raced"] == "networks"
    assert [layer["name"] for layer in result["layers"]] == ["small-one", "small-two"]
    assert list(result["groups"]) == ["real weights"]
    text = capsys.readouterr().out
    assert "whole networks" in text and "1x3x8x8, 3x1x1" in text and "y0 by onnxruntime" in text


@pytest.mark.parametrize("words, message", [
    (["--networks", "lenet"], "no network 'lenet'; known: alexnet, vgg19"),
    (["--networks", "no.onnx"], "no.onnx: cannot be read"),
    (["--networks", "--layout", "NHWC"], "--layout is for layers"),
    (["--networks", "small", "--shape", "d=1x2"], "'d' is no input; there are a/b, c"),
    (["--networks", "--peers", "onnx"], "'onnx' is unknown"),
    (["--networks", "--shape", "x=1x0"], "'x=1x0' is not of the form"),
])
def test_wrong_calls(words, message, folder, capsys):
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err
