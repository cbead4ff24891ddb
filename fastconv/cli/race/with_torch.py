"""PyTorch in the race: eager functions in inference mode, float32.

The tensor is made of the array's own memory, once. NHWC arrays become channels-last tensors, and
so are the weights then; the results are channels-last too. Eager PyTorch has no public way to
pack weights for plain tensors: it arranges them in every call, as its users' models do. With
precision "medium" its convolutions of float32 may multiply bfloat16, where the processor does.
"""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional

from fastconv.cli.race.contestants import SitsOut

# The whole process is in inference mode, so that entering it costs no call anything.
_INFERENCE = torch.inference_mode()
_INFERENCE.__enter__()


def version():
    """Return PyTorch's version."""
    return torch.__version__


def prepare(job, arrays, threads):
    """Bind the arguments of torch.nn.functional's function."""
    torch.set_num_threads(threads)
    if job["op"] == "network":
        raise SitsOut("it reads no ONNX files")
    settings = dict(job)
    op, last = settings.pop("op"), settings.pop("layout") == "NHWC"
    bfloat16 = settings.pop("precision", None) == "medium"
    torch.backends.mkldnn.conv.fp32_precision = "bf16" if bfloat16 else "none"
    x = torch.from_numpy(arrays["x"])
    x = x.permute(0, 3, 1, 2) if last else x
    if op != "conv2d":
        return partial(getattr(functional, op), x, **settings), partial(_to_array, last)
    weight = torch.from_numpy(arrays["weight"])
    weight = weight.to(memory_format=torch.channels_last) if last else weight
    bias = torch.from_numpy(arrays["bias"])
    return partial(functional.conv2d, x, weight, bias, **settings), partial(_to_array, last)


def _to_array(last, result):
    return (result.permute(0, 2, 3, 1) if last else result).numpy()
