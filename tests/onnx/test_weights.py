"""Weights read past protobuf: the same numbers, whatever the type and wherever they lie."""

import io

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install fastconv[onnx]")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fastconv.onnx import ModelError, load  # noqa: E402
from fastconv.onnx.reader import read  # noqa: E402
from fastconv.onnx.weights import LARGE, split  # noqa: E402

COUNT = 3000


def model(*tensors, nodes=None):
    """A model whose outputs are its weights, through Identity."""
    nodes = nodes or [helper.make_node("Identity", [t.name], [f"{t.name}.y"]) for t in tensors]
    outputs = [helper.make_tensor_value_info(f"{t.name}.y", t.data_type, t.dims) for t in tensors]
    graph = helper.make_graph(nodes, "weights", [], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def arrays(rng):
    plain = {str(t): rng.integers(0, 2, (COUNT, 3)).astype(t)
             for t in ("f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?")}
    return {**plain, "small": np.arange(3.0), "one": np.array(5.0), "none": np.zeros((0, 4))}


def test_every_type(rng, tmp_path):
    wanted = arrays(rng)
    tensors = [numpy_helper.from_array(array, f"w{name}") for name, array in wanted.items()]
    whole = model(*tensors).SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(whole)
    for source in (whole, path):
        for result, array in zip(load(source).run({}), wanted.values(), strict=True):
            assert result.dtype == array.dtype
            np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("kind", ["BFLOAT16", "INT4", "FLOAT8E5M2"])
def test_types_that_numpy_lacks(kind, rng):
    kind = getattr(TensorProto, kind)
    tensor = helper.make_tensor("w", kind, [4 * LARGE], rng.integers(0, 7, 4 * LARGE))
    packed = TensorProto.FromString(tensor.SerializeToString())
    if not packed.raw_data:
        packed = numpy_helper.from_array(numpy_helper.to_array(tensor), "w")
    assert len(packed.raw_data) >= LARGE
    (value,) = read(model(packed).SerializeToString(), "net")[0].nodes[0].inputs
    np.testing.assert_array_equal(value.constant, numpy_helper.to_array(packed))


def test_what_is_left_is_small_and_whole(rng):
    tensors = [numpy_helper.from_array(array, f"w{n}") for n, array in arrays(rng).items()]
    proto = model(*tensors)
    whole = proto.SerializeToString()
    content, slices = split(io.BytesIO(whole), len(whole))
    assert len(content) < 4 * LARGE and len(slices) == len(tensors)
    for tensor, place in zip(tensors, slices, strict=True):
        assert (place is None) == (len(tensor.raw_data) < LARGE)
        if place is not None:
            assert whole[place.offset : place.offset + place.length] == tensor.raw_data
            tensor.ClearField("raw_data")
    assert onnx.ModelProto.FromString(content) == model(*tensors)


def test_every_damage_is_an_error_or_a_model(rng):
    whole = model(numpy_helper.from_array(rng.random(LARGE), "w")).SerializeToString()
    ends = [*range(200), *range(len(whole) - 200, len(whole))]
    for end in ends:
        with pytest.raises(ModelError):
            load(whole[:end])
    head = len(whole) - 8 * LARGE
    places = [*range(head), *range(len(whole) - head, len(whole))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        try:
            load(bytes(changed))
        except ModelError:
            pass


@pytest.mark.parametrize("dims", [[COUNT + 1], [1 << 40, 1 << 40], [-COUNT], [5]])
def test_shapes_that_do_not_fit_the_data(dims):
    tensor = numpy_helper.from_array(np.zeros(COUNT), "w")
    tensor.dims[:] = dims
    with pytest.raises(ModelError, match="net: "):
        read(model(tensor).SerializeToString(), "net")


def test_large_external_weights_stay_in_the_folder(tmp_path, rng):
    array = rng.random(COUNT)
    array.tofile(tmp_path / "w.bin")
    tensor = TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[COUNT],
                         data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    path = tmp_path / "net.onnx"
    path.write_bytes(model(tensor).SerializeToString())
    np.testing.assert_array_equal(load(path).run({})[0], array)
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "net.onnx"
    tensor.external_data[0].value = "../w.bin"
    path.write_bytes(model(tensor).SerializeToString())
    with pytest.raises(ModelError, match="net.onnx: .*'w'"):
        load(path)


def test_memory_of_a_load_is_that_of_the_weights(fresh_python, tmp_path):
    """No copy of the file outlives the loading: protobuf's would, with any of its messages."""
    mega = 64
    path = tmp_path / "net.onnx"
    path.write_bytes(model(numpy_helper.from_array(
        np.ones(mega << 17), "w")).SerializeToString())
    script = (
        "import onnx, sys, numpy, fastconv.onnx.model\n"
        "def peak(): return int(next(line.split()[1] for line in open('/proc/self/status')\n"
        "                            if line.startswith('VmHWM')))\n"
        "before = peak(); model = fastconv.onnx.load(sys.argv[1])\n"
        "print((peak() - before) // 1024)"
    )
    done = fresh_python("-c", script, str(path))
    if "VmHWM" in done.stderr or "No such file" in done.stderr:
        pytest.skip("needs /proc/self/status")
    assert done.returncode == 0, done.stderr
    assert mega <= int(done.stdout) < 1.3 * mega
