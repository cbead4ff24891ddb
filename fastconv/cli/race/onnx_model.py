"""A job as an ONNX model of one node, for the peers that read ONNX."""

from __future__ import annotations

from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 17, 8  # old enough for every reader
_NODES = {"conv2d": "Conv", "max_pool2d": "MaxPool", "avg_pool2d": "AveragePool"}


def one_node(job, arrays):
    """Return the model's bytes: x -> y, weight and bias as constants."""
    attributes = {"strides": job["stride"], "pads": [*job["padding"], *job["padding"]]}
    weights = {name: arrays[name] for name in ("weight", "bias") if name in arrays}
    if job["op"] == "conv2d":
        attributes["kernel_shape"] = arrays["weight"].shape[2:]
        attributes |= {"dilations": job["dilation"], "group": job["groups"]}
    else:
        attributes["kernel_shape"] = job["kernel_size"]
    if job["op"] == "avg_pool2d":
        attributes["count_include_pad"] = 1
    node = helper.make_node(_NODES[job["op"]], ["x", *weights], ["y"], **attributes)
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "race",
        [helper.make_tensor_value_info("x", floats, arrays["x"].shape)],
        [helper.make_tensor_value_info("y", floats, [None] * 4)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return model.SerializeToString()
