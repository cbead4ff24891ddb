"""OpenVINO in the race: compiled for latency in float32, arrays shared both ways."""

from __future__ import annotations

from functools import partial

import openvino

from fastconv.cli.race.onnx_model import one_node


def version():
    """Return OpenVINO's version, without its build's number."""
    return openvino.__version__.split("-")[0]


def prepare(job, arrays, threads):
    """Compile the model, which packs the weights."""
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(one_node(job, arrays)), "CPU", settings)
    infer = compiled.create_infer_request().infer
    return partial(infer, [arrays["x"]], share_inputs=True, share_outputs=True), _first


def _first(results):
    return results[0]
