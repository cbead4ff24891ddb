"""Who can race: fastconv and its peers, one module each.

A contestant's module has two functions.

    version() -> str
        What stands in the table's header. Importing the module imports the library; an
        ImportError says that it is not installed.
    prepare(job, arrays, threads) -> (call, to_array)
        Do beforehand what the library lets its users do beforehand (pack weights, compile), and
        return `call`, which takes nothing and returns a new result as the library's users get it,
        and `to_array`, which makes an ndarray of it, in the job's layout, or a list of several.
        Raise SitsOut where the library has no such operation.

A job says "op" ("conv2d", "max_pool2d", "avg_pool2d"), "layout" and, with two numbers each, the
operation's settings; `arrays` holds x, and for conv2d weight (K, C/groups, R, S) and bias, float32.
If "op" is "network", "model" is the path of an ONNX file and "inputs" says to which of its inputs
each of `arrays` goes; the results come in the order of the file's outputs.
fastconv's options are "precision", "algorithm" and "functional".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

OURS = "fastconv"


class SitsOut(Exception):
    """A peer takes no part in a contest, for the reason it gives."""


class Contestant(NamedTuple):
    """The module that knows it, the orders of axes it takes, and what it alone is told in a job."""

    module: str
    layouts: tuple[str, ...]
    options: Mapping[str, Any] = {}


def feeds(job: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A network's inputs by their names in the file."""
    return {job["inputs"][name]: array for name, array in arrays.items()}


FASTCONV = Contestant("fastconv.cli.race.with_fastconv", ("NCHW", "NHWC"))
PEERS = {
    "torch": Contestant("fastconv.cli.race.with_torch", ("NCHW", "NHWC")),
    "onnxruntime": Contestant("fastconv.cli.race.with_onnxruntime", ("NCHW",)),
    "openvino": Contestant("fastconv.cli.race.with_openvino", ("NCHW",)),
    "ncnn": Contestant("fastconv.cli.race.with_ncnn", ("NCHW",)),
    "scipy": Contestant("fastconv.cli.race.with_scipy", ("NCHW", "NHWC")),
}
