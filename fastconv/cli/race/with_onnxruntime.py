"""ONNX Runtime in the race: a session on the CPU provider, all optimisations on."""

from __future__ import annotations

from functools import partial

import onnxruntime

from fastconv.cli.race.contestants import feeds
from fastconv.cli.race.onnx_model import one_node


def version():
    """Return ONNX Runtime's version."""
    return onnxruntime.__version__


def prepare(job, arrays, threads):
    """Build the session, which packs the weights."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # warnings of weights that a network does not use
    network = job["op"] == "network"
    model = job["model"] if network else one_node(job, arrays)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if network:
        return partial(session.run, None, feeds(job, arrays)), list
    return partial(session.run, ["y"], {"x": arrays["x"]}), _first


def _first(results):
    return results[0]
