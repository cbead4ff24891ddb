"""OpenVINO in the race: compiled for latency in float32, arrays shared both ways.

With precision "medium" in bfloat16, where the processor multiplies it; arrays stay float32.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import openvino

from fastconv.cli.race.contestants import feeds
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
        "INFERENCE_PRECISION_HINT": "bf16" if job.get("precision") == "medium" else "f32",
    }
    if job["op"] == "network":
        model, fed, to_array = core.read_model(job["model"]), feeds(job, arrays), _all
        model.reshape({name: x.shape for name, x in fed.items()})
    else:
        model, fed, to_array = core.read_model(one_node(job, arrays)), [arrays["x"]], _first
    infer = core.compile_model(model, "CPU", settings).create_infer_request().infer
    return partial(infer, fed, share_inputs=True, share_outputs=True), to_array


def _all(results):
    return [np.array(results[place]) for place in range(len(results))]


def _first(results):
    return results[0]
