"""Who can race: fastconv and its peers, one module each.

A contestant's module has two functions.

    version() -> str
        What stands in the table's header. Importing the module imports the library; an
        ImportError says that it is not installed.
    prepare(job, arrays, threads) -> (call, to_array)
        Do beforehand what the library lets its users do beforehand (pack weights, compile), and
        return `call`, which takes nothing and returns a new result as the library's users get it,
        and `to_array`, which makes an ndarray of it, in the job's layout, or of several results a
        dictionary, or a list. Raise SitsOut where the library has no such operation.

A job says "op" ("conv2d", "max_pool2d", "avg_pool2d"), "layout" and, with two numbers each, the
operation's settings; `arrays` holds x, and for conv2d weight (K, C/groups, R, S) and bias, float32.
If "op" is "network", "model" is the path of an ONNX file and "inputs" says to which of its inputs
each of `arrays` goes; the results come in the order of the file's outputs.
fastconv's options are "precision", "algorithm" and "functional"; its module has a third function,
`wake_up(threads, tries, idle)`, the seconds that waking its threads takes after a pause. A peer
with a mode that multiplies bfloat16 is told "precision": "medium" where that is raced.

With --training other modules race, training_*.py. There "conv2d" means forward and backward:
`arrays` holds grad too, the result's gradient, and the results are y and the gradients of x,
weight and bias, by these names. "lenet5" is a step of training: job says "variant", `arrays`
holds x, labels and, as start.<parameter>, the weights; the results are the parameters' gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

OURS, ALONE = "fastconv", "fastconv on one thread"


class SitsOut(Exception):
    """A peer takes no part in a contest, for the reason it gives."""


class Contestant(NamedTuple):
    """The module that knows it, the orders of axes it takes, and what it alone is told in a job.

    `threads` is the number it runs on, None for the race's.
    """

    module: str
    layouts: tuple[str, ...]
    options: Mapping[str, Any] = {}
    has_bfloat16: bool = False
    threads: int | None = None

    def at(self, precision: str) -> Contestant:
        """The contestant told of a precision, if it has another mode for it."""
        if precision != "medium" or not self.has_bfloat16:
            return self
        return self._replace(options={**self.options, "precision": precision})


def feeds(job: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A network's inputs by their names in the file."""
    return {job["inputs"][name]: array for name, array in arrays.items()}


FASTCONV = Contestant("fastconv.cli.race.with_fastconv", ("NCHW", "NHWC"))
PEERS = {
    "torch": Contestant("fastconv.cli.race.with_torch", ("NCHW", "NHWC"), has_bfloat16=True),
    "onnxruntime": Contestant("fastconv.cli.race.with_onnxruntime", ("NCHW",)),
    "openvino": Contestant("fastconv.cli.race.with_openvino", ("NCHW",), has_bfloat16=True),
    "ncnn": Contestant("fastconv.cli.race.with_ncnn", ("NCHW",)),
    "scipy": Contestant("fastconv.cli.race.with_scipy", ("NCHW", "NHWC")),
}
TRAINING_FASTCONV = Contestant("fastconv.cli.race.training_fastconv", ("NCHW", "NHWC"))
TRAINING_PEERS = {
    "torch": Contestant("fastconv.cli.race.training_torch", ("NCHW", "NHWC")),
}
