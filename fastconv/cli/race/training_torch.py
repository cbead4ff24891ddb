"""PyTorch in the race of training: autograd and torch.optim, eager, float32.

NHWC arrays become channels-last tensors, and so are weights, result and its gradient then.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from fastconv.cli.race.training import CLASSES, SGD, start_of

_STYLES = {"original": (nn.Tanh, nn.AvgPool2d), "modern": (nn.ReLU, nn.MaxPool2d)}


def version():
    """Return PyTorch's version."""
    return torch.__version__


def prepare(job, arrays, threads):
    """Make tensors and, for a step, the network and its optimiser."""
    torch.set_num_threads(threads)
    return {"conv2d": _layer, "lenet5": _lenet}[job["op"]](job, arrays)


def _layer(job, arrays):
    settings = {name: job[name] for name in ("stride", "padding", "dilation", "groups")}
    last = job["layout"] == "NHWC"
    x, weight, bias, grad = (
        torch.from_numpy(arrays[name]) for name in ("x", "weight", "bias", "grad")
    )
    if last:
        x, grad = x.permute(0, 3, 1, 2), grad.permute(0, 3, 1, 2)
        weight = weight.to(memory_format=torch.channels_last)
    leaves = tuple(tensor.requires_grad_() for tensor in (x, weight, bias))

    def call():
        y = functional.conv2d(*leaves, **settings)
        return y, *torch.autograd.grad(y, leaves, grad)

    return call, partial(_to_arrays, last)


def _to_arrays(last, results):
    y, x, weight, bias = results
    y = y.detach()
    if last:
        y, x = y.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
    names = ("y", "x", "weight", "bias")
    return {name: r.numpy() for name, r in zip(names, (y, x, weight, bias), strict=True)}


def _lenet(job, arrays):
    activation, pool = _STYLES[job["variant"]]
    net = nn.Sequential()
    for name, layer in {
        "conv1": nn.Conv2d(1, 6, 5, padding=2),
        "act1": activation(),
        "pool1": pool(2),
        "conv2": nn.Conv2d(6, 16, 5),
        "act2": activation(),
        "pool2": pool(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(16 * 5 * 5, 120),
        "act3": activation(),
        "fc2": nn.Linear(120, 84),
        "act4": activation(),
        "fc3": nn.Linear(84, CLASSES),
    }.items():
        net.add_module(name, layer)
    net.load_state_dict({name: torch.from_numpy(a) for name, a in start_of(arrays).items()})
    optimiser = torch.optim.SGD(net.parameters(), **SGD)
    x, labels = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["labels"])
    return partial(_step, net, optimiser, x, labels), _gradients


def _step(net, optimiser, x, labels):
    loss = functional.cross_entropy(net(x), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return net


def _gradients(net):
    return {name: parameter.grad.numpy() for name, parameter in net.named_parameters()}
