"""The small network that ConvNetJS trains on CIFAR-10 in a browser.

Three times a 5x5 convolution with ReLU and a 2x2 pool, then ten scores: 22,466 parameters
(Karpathy, ConvNetJS, 2014).
"""

from fastconv import nn
from fastconv.nn.arguments import make_generator

# Filters of the three convolutions; each pool halves the picture.
_WIDTHS = (16, 20, 20)


def convnetjs(classes=10, *, rng=None):
    """Make the network for (N, 3, 32, 32) arrays.

    Parameters
    ----------
    classes : int
        Number of scores.
    rng : None, int or numpy.random.Generator
        Source of the initial weights.

    Returns
    -------
    nn.Sequential
        (N, 3, 32, 32) -> (N, classes), with layers conv1, pool1, ... pool3, flatten and fc.
    """
    layers, channels, size = {}, 3, 32
    for number, width in enumerate(_WIDTHS, 1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, 5, padding=2, activation="relu")
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        channels, size = width, size // 2
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels * size * size, classes)
    net = nn.Sequential(layers)
    return nn.init.kaiming_normal(net, rng=make_generator("convnetjs", rng))
