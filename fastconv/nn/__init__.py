"""Layers: `fastconv.functional` with weights, settings and a mode, named as in torch.nn.

    net = nn.Sequential(nn.Conv2d(1, 6, 5, activation="relu"), nn.MaxPool2d(2)).eval()
    y = net(x)

One family a file: convolutions in `conv`, `Linear` in `linear`, pools in `pool`, and so on; what
all layers share is in `module`, what the layers with packed weights share in `packed`.
"""

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
from fastconv.nn.container import Sequential
from fastconv.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from fastconv.nn.dropout import Dropout
from fastconv.nn.linear import Linear
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
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
