"""Layers: `fastconv.functional` with weights, settings and a mode, named as in torch.nn.

    net = nn.Sequential(nn.Conv2d(1, 6, 5, activation="relu"), nn.MaxPool2d(2)).eval()
    y = net(x)

To train a network, call it in training mode, then its `backward` with the gradient of the loss:
gradients gather in the layers' `gradients`; `memory` tells when a forward is recorded.

    loss, grad = softmax_cross_entropy(net.train()(x), labels)
    net.backward(grad)

Arrays go by PyTorch's names (`state_dict`), to and from files by `save` and `load`; `init` draws
initial weights by the rules of He and Glorot.

One family a file: convolutions in `conv`, `Linear` in `linear`, pools in `pool`, and so on; what
all layers share is in `module`, what the layers with packed weights share in `packed`.
"""

from fastconv.nn import init
from fastconv.nn.activation import (
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from fastconv.nn.container import Concat, Residual, Sequential
from fastconv.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from fastconv.nn.dropout import Dropout
from fastconv.nn.files import load, save
from fastconv.nn.linear import Linear
from fastconv.nn.memory import recording
from fastconv.nn.module import Module
from fastconv.nn.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, LocalResponseNorm
from fastconv.nn.pool import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from fastconv.nn.shape import Flatten, Identity

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dropout",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "init",
    "load",
    "recording",
    "save",
]
