"""fastconv in the race: a layer in eval mode, the plain function, or a network."""

from __future__ import annotations

from functools import partial

import fastconv
from fastconv import nn
from fastconv._engine.threads import measure_wake_up
from fastconv.cli.race.contestants import feeds

_POOLS = {"max_pool2d": nn.MaxPool2d, "avg_pool2d": nn.AvgPool2d}


def version():
    """Return fastconv's version."""
    return fastconv.__version__


def prepare(job, arrays, threads):
    """Make the layer, or with "functional" bind the function's arguments."""
    fastconv.set_num_threads(threads)
    if job["op"] == "network":
        return _network(job, arrays)
    job = dict(job)
    op, functional = job.pop("op"), job.pop("functional")
    algorithm, precision = job.pop("algorithm"), job.pop("precision")
    settings = {
        key: tuple(value) if isinstance(value, list) else value for key, value in job.items()
    }
    function = getattr(fastconv, op)
    if op == "conv2d":
        how = {"algorithm": algorithm, "precision": precision, **settings}
        if functional:
            return partial(function, **arrays, **how), _as_it_is
        layer = make_layer(arrays["weight"], arrays["bias"], how).eval()
    elif functional:
        return partial(function, **arrays, **settings), _as_it_is
    else:
        layer = _POOLS[op](**settings).eval()
    return partial(layer, arrays["x"]), _as_it_is


def wake_up(threads, tries, idle):
    """Return the seconds that waking so many threads takes after a pause."""
    return measure_wake_up(threads, idle, tries)


def _network(job, arrays):
    fastconv.set_precision(job["precision"])
    model = fastconv.onnx.load(job["model"])
    return partial(model.run, feeds(job, arrays)), _as_it_is


def make_layer(weight, bias, how):
    """Make the convolution with these weights and settings, in training mode."""
    channels, per_group, *kernel_size = weight.shape
    layer = nn.Conv2d(per_group * how["groups"], channels, tuple(kernel_size), **how)
    layer.weight, layer.bias = weight, bias
    return layer


def _as_it_is(result):
    return result
