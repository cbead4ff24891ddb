"""ONNX Runtime in the race: a session of one node on the CPU provider, all optimisations on."""

from __future__ import annotations

from functools import partial

import onnxruntime

from fastconv.cli.race.onnx_model import one_node


def version():
    """Return ONNX Runtime's version."""
    return onnxruntime.__version__


def prepare(job, arrays, threads):
    """Build the session, which packs the weights."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = one_node(job, arrays)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return partial(session.run, ["y"], {"x": arrays["x"]}), _first


def _first(results):
    return results[0]
