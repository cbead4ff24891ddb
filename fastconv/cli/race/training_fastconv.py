"""fastconv in the race of training: a layer in training mode, or the step that `fit` takes."""

from __future__ import annotations

from functools import partial

import fastconv
from fastconv import models, train
from fastconv.cli.race.training import CLASSES, SGD, start_of
from fastconv.cli.race.with_fastconv import make_layer, version

__all__ = ["prepare", "version"]


def prepare(job, arrays, threads):
    """Make the layer or the network."""
    fastconv.set_num_threads(threads)
    return {"conv2d": _layer, "lenet5": _lenet}[job["op"]](job, arrays)


def _layer(job, arrays):
    names = ("stride", "padding", "dilation", "groups", "layout", "algorithm", "precision")
    how = {name: job[name] for name in names}
    layer = make_layer(arrays["weight"], arrays["bias"], how).train()

    def call():
        layer.zero_grad()
        y = layer(arrays["x"])
        return {"y": y, "x": layer.backward(arrays["grad"]), **layer.gradients}

    return call, dict


def _lenet(job, arrays):
    net = models.lenet5(CLASSES, variant=job["variant"])
    net.load_state_dict(start_of(arrays))
    optimiser = train.SGD(net, **SGD)
    return partial(_step, net, optimiser, arrays["x"], arrays["labels"]), _gradients


def _step(net, optimiser, x, labels):
    _, gradient = train.softmax_cross_entropy(net(x), labels)
    optimiser.zero_grad()
    net.backward_parameters(gradient)
    optimiser.step()
    return net


def _gradients(net):
    return {
        f"{path}.{name}": array
        for path, layer in net.named_children()
        for name, array in getattr(layer, "gradients", {}).items()
    }
