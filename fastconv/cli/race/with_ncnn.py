"""ncnn in the race: a network of one layer, float32, Winograd on; x and y stay its own Mats."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ncnn
import numpy as np

from fastconv.cli.race.contestants import SitsOut

_FLOAT32 = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
_RAW_FLOAT32 = bytes(4)  # flag before the weights in a model file


def version():
    """Return ncnn's version."""
    return ncnn.__version__


def prepare(job, arrays, threads):
    """Write the layer's two files and load them, which packs the weights."""
    if job["op"] == "network":
        raise SitsOut("it reads no ONNX files, and its converter pnnx is not part of it")
    if len(arrays["x"]) != 1:
        raise SitsOut("it has no batches")
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in _FLOAT32:
        setattr(net.opt, option, False)
    with tempfile.TemporaryDirectory() as folder:
        parameters, weights = Path(folder, "net.param"), Path(folder, "net.bin")
        parameters.write_text(_network(job, arrays))
        weights.write_bytes(_weights(arrays))
        if net.load_param(str(parameters)) or net.load_model(str(weights)):
            raise RuntimeError("it cannot load the layer")
    x = ncnn.Mat(arrays["x"][0]).clone()

    def call():
        extractor = net.create_extractor()
        extractor.input("x", x)
        return extractor.extract("y")

    return call, _to_array


def _network(job, arrays):
    """Describe the network in ncnn's text format: number=value with the numbers of its manual."""
    (down, right), (top, left) = job["stride"], job["padding"]
    if job["op"] == "conv2d":
        weight, (rows, columns) = arrays["weight"], job["dilation"]
        height, width = weight.shape[2:]
        kind = "Convolution" if job["groups"] == 1 else "ConvolutionDepthWise"
        values = {0: len(weight), 1: width, 11: height, 2: columns, 12: rows, 3: right, 13: down}
        values |= {4: left, 14: top, 15: left, 16: top, 5: 1, 6: weight.size, 7: job["groups"]}
    else:
        (height, width), kind = job["kernel_size"], "Pooling"
        average = job["op"] == "avg_pool2d"
        values = {0: int(average), 1: width, 11: height, 2: right, 12: down}
        values |= {3: left, 13: top, 14: left, 15: top, 5: 1, 6: int(average)}
    words = " ".join(f"{number}={value}" for number, value in values.items())
    return f"7767517\n2 2\nInput input 0 1 x\n{kind} layer 1 1 x y {words}\n"


def _weights(arrays):
    if "weight" not in arrays:
        return b""
    return _RAW_FLOAT32 + arrays["weight"].tobytes() + arrays["bias"].tobytes()


def _to_array(result):
    status, mat = result
    if status:
        raise RuntimeError(f"it answered with status {status}")
    return np.array(mat)[None]
