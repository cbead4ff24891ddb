"""Damaged, hostile and incomplete files, and feeds that do not fit: one clear error each."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")

from onnx import TensorProto, helper  # noqa: E402

import fastconv  # noqa: E402
from fastconv.onnx import ModelError, load  # noqa: E402


def model(*nodes, weights=(), opset=17, x=("N", 3), domains=()):
    """A model from x to y of these nodes."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", "L"])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def relu(source="x", target="y"):
    return helper.make_node("Relu", [source], [target], name="the relu")


def test_every_truncation_is_an_error_or_a_model():
    weight = onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
    whole = model(helper.make_node("MatMul", ["x", "w"], ["y"]),
                  weights=[weight]).SerializeToString()
    refused = 0
    for end in range(len(whole)):
        try:
            load(whole[:end])
        except ModelError:
            refused += 1
    assert refused > 0.9 * len(whole)


def test_changed_bytes_never_crash(rng):
    whole = bytearray(model(relu("x", "z"), relu("z", "y")).SerializeToString())
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        try:
            load(bytes(changed))
        except ModelError:
            pass


@pytest.mark.parametrize("proto, message", [
    (model(relu("z", "y"), relu("y", "z")), "z"),
    (model(relu("nowhere", "y")), "nowhere"),
    (model(helper.make_node("Nonsense", ["x"], ["y"], name="n")), "Nonsense"),
    (model(helper.make_node("Own", ["x"], ["y"], name="n", domain="own"), domains=("own",)),
     "own.Own 'n': no implementation"),
    (model(relu(), opset=5), "opset 5 is too old"),
])
def test_invalid_models(proto, message):
    with pytest.raises(ModelError, match=message):
        load(proto.SerializeToString())


def test_claimed_sizes_are_not_believed(tmp_path):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    proto = model(helper.make_node("Add", ["x", "w"], ["y"]), weights=[weight])
    with pytest.raises(ModelError, match="data of 'w' do not fit its shape"):
        load(proto.SerializeToString())


@pytest.mark.parametrize("sizes", [[1 << 34], [1 << 20, 1 << 20], [1 << 62, 1 << 62]])
def test_what_a_file_asks_for_is_not_made_while_it_loads(sizes, fresh_python, tmp_path):
    """A constant of 64 GiB and more, from a few bytes."""
    shape = onnx.numpy_helper.from_array(np.array(sizes, np.int64), "s")
    path = tmp_path / "net.onnx"
    path.write_bytes(model(
        helper.make_node("ConstantOfShape", ["s"], ["w"], name="the constant"),
        helper.make_node("Mul", ["x", "w"], ["y"]), weights=[shape]).SerializeToString())
    script = (
        "import resource, sys, numpy, fastconv.onnx.model\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "model = fastconv.onnx.load(sys.argv[1])\n"
        "try: model.run({'x': numpy.ones((1, 3), 'f4')})\n"
        "except (MemoryError, fastconv.onnx.ModelError) as error: print(repr(error))\n"
    )
    done = fresh_python("-c", script, str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("MemoryError", "ArrayMemoryError", "_ArrayMemoryError",
                                   "ModelError"))


def test_external_data(tmp_path):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3],
                         data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    proto = model(helper.make_node("Add", ["x", "w"], ["y"]), weights=[weight])
    folder = tmp_path / "net"
    folder.mkdir()
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="net.onnx: .*w"):
        load(path)
    np.arange(3, dtype=np.float32).tofile(folder / "w.bin")
    (y,) = load(path).run({"x": np.zeros((2, 3), np.float32)})
    np.testing.assert_array_equal(y, [[0, 1, 2]] * 2)
    with pytest.raises(ModelError, match="load it by its path"):
        load(path.read_bytes())
    np.arange(3, dtype=np.float32).tofile(tmp_path / "w.bin")
    for place in ("../w.bin", str(tmp_path / "w.bin")):
        proto.graph.initializer[0].external_data[0].value = place
        path.write_bytes(proto.SerializeToString())
        with pytest.raises(ModelError, match="net.onnx"):
            load(path)


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="absent.onnx: cannot be read"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="holds no graph"):
        load(b"")


@pytest.mark.parametrize("feeds, message", [
    ({}, "missing 'x'.* the model takes x:float32"),
    ({"x": np.zeros((2, 3), "f4"), "z": 1}, "unknown 'z'"),
    ({"x": np.zeros((2, 3))}, "must have dtype float32, got float64"),
    ({"x": np.zeros(3, "f4")}, "1 axes instead of 2"),
    ({"x": np.zeros((2, 4), "f4")}, "4 instead of 3 along axis 1"),
])
def test_wrong_feeds(feeds, message):
    net = load(model(relu()).SerializeToString())
    with pytest.raises(ValueError, match=message):
        net.run(feeds)


def test_feeds_must_be_named():
    with pytest.raises(TypeError, match="takes a dict"):
        load(model(relu()).SerializeToString()).run([np.zeros((2, 3), "f4")])


def test_a_failing_node_is_named():
    shape = onnx.numpy_helper.from_array(np.array([7, 7]), "s")
    net = load(model(helper.make_node("Reshape", ["x", "s"], ["y"], name="the reshape"),
                     weights=[shape]).SerializeToString())
    with pytest.raises(ModelError, match=r"Reshape 'the reshape': .*float32\[2, 3\]"):
        net.run({"x": np.zeros((2, 3), np.float32)})


def test_results_are_the_callers_own():
    net = load(model(helper.make_node("Identity", ["x"], ["y"])).SerializeToString())
    x = np.ones((2, 3), np.float32)
    (y,) = net.run({"x": x})
    y[...] = 5
    assert (x == 1).all()


def test_without_the_library(fresh_python):
    script = (
        "import sys; sys.modules['onnx'] = None\n"
        "import fastconv\n"
        "try: fastconv.onnx.load('net.onnx')\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    assert fresh_python("-c", script).stdout.strip() == (
        'fastconv.onnx needs the extra "onnx": python -m pip install "fastconv[onnx]"'
    )
    assert "onnx" in dir(fastconv)
