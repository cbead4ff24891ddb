"""GoogLeNet: inception modules, which look with windows of several sizes at once.

Szegedy et al., "Going deeper with convolutions", 2015. A module joins the channels of four
branches; 1x1 convolutions ("bottlenecks") make the wide ones affordable:

         +--branch1: 1x1---------------+
    x ---+--branch2: 1x1 --> 3x3-------+--> channels, one branch after the other
         +--branch3: 1x1 --> 5x5-------+
         +--branch4: max pool --> 1x1--+

Two variants: "original" is the paper's, without normalisation of batches; "torchvision" has batch
normalisation, 3x3 windows in place of 5x5 and a smaller fourth pool. The parameters have
torchvision's names.
"""

from typing import NamedTuple

import numpy as np

from fastconv import nn
from fastconv.models._build import VARIANTS, check_choice, run_backward, run_forward
from fastconv.nn.arguments import make_generator


class GoogLeNetOutput(NamedTuple):
    """Scores (N, classes) in training mode: the network's and its auxiliary classifiers'."""

    scores: np.ndarray
    aux2: np.ndarray
    aux1: np.ndarray


class Convolution(nn.Sequential):
    """A convolution with ReLU, in the later variant with batch normalisation between the two.

    Parameters
    ----------
    in_channels, out_channels, kernel_size
        As for `nn.Conv2d`.
    variant : "torchvision" or "original"
    **how
        Stride and padding.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, variant, **how):
        conv = (in_channels, out_channels, kernel_size)
        if variant == "original":
            super().__init__({"conv": nn.Conv2d(*conv, activation="relu", **how)})
        else:
            layers = {
                "conv": nn.Conv2d(*conv, bias=False, **how),
                "bn": nn.BatchNorm2d(out_channels, eps=0.001),
                "relu": nn.ReLU(),
            }
            super().__init__(layers)


class Inception(nn.Concat):
    """An inception module.

    Parameters
    ----------
    in_channels : int
    ch1x1 : int
        Channels of the first branch.
    ch3x3red, ch3x3, ch5x5red, ch5x5 : int
        Channels of the second and third branches, after the bottleneck and at the end.
    pool_proj : int
        Channels of the fourth branch.
    bottleneck : bool
        Without it, the paper's naive module: windows see all channels, and the pool's result is
        joined as it is. `ch3x3red`, `ch5x5red` and `pool_proj` are not used.
    variant : "torchvision" or "original"

    Attributes
    ----------
    widths : tuple of 4 ints
        Channels of each branch's result.
    """

    def __init__(
        self,
        in_channels,
        ch1x1,
        ch3x3red,
        ch3x3,
        ch5x5red,
        ch5x5,
        pool_proj,
        *,
        bottleneck=True,
        variant="torchvision",
    ):
        check_choice("Inception", "variant", variant, VARIANTS)
        wide = 5 if variant == "original" else 3
        how = {"variant": variant}
        pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1))
        if bottleneck:
            pool.append(Convolution(in_channels, pool_proj, 1, **how))
        super().__init__(
            {
                "branch1": Convolution(in_channels, ch1x1, 1, **how),
                "branch2": self._windows(in_channels, ch3x3red, ch3x3, 3, bottleneck, how),
                "branch3": self._windows(in_channels, ch5x5red, ch5x5, wide, bottleneck, how),
                "branch4": pool,
            }
        )
        self.widths = (ch1x1, ch3x3, ch5x5, pool_proj if bottleneck else in_channels)

    @staticmethod
    def _windows(in_channels, reduced, channels, size, bottleneck, how):
        """Return a branch with windows of `size`, behind a bottleneck or not."""
        branch = nn.Sequential()
        if bottleneck:
            branch.append(Convolution(in_channels, reduced, 1, **how))
            in_channels = reduced
        return branch.append(Convolution(in_channels, channels, size, padding=size // 2, **how))


class AuxiliaryClassifier(nn.Sequential):
    """Scores from the middle of the network, which bring gradients to its first layers.

    Parameters
    ----------
    in_channels, classes : int
    variant : "torchvision" or "original"
    rng : numpy.random.Generator
        Source of the dropout.
    """

    def __init__(self, in_channels, classes, variant, rng):
        # Of 14 x 14 pixels, which a picture of 224 has there, both pools leave 4 x 4.
        original = variant == "original"
        super().__init__(
            {
                "pool": nn.AvgPool2d(5, 3) if original else nn.AdaptiveAvgPool2d((4, 4)),
                "conv": Convolution(in_channels, 128, 1, variant=variant),
                "flatten": nn.Flatten(),
                "fc1": nn.Linear(128 * 4 * 4, 1024, activation="relu"),
                "dropout": nn.Dropout(0.7, rng=rng),
                "fc2": nn.Linear(1024, classes),
            }
        )


class GoogLeNet(nn.Module):
    """The whole network; `googlenet` makes it.

    The trunk is the chain of all children but the auxiliary classifiers, `aux1` and `aux2`.
    """

    def __init__(self, trunk, classifiers):
        for name, layer in (*trunk.items(), *classifiers.items()):
            setattr(self, name, layer)

    def _segments(self):
        """Return the trunk's three parts, and the classifiers behind the first and the second."""
        trunk = dict(self.named_children())
        classifiers = [trunk.pop(name, None) for name in _TAPS]
        names, layers = list(trunk), list(trunk.values())
        first, second = (names.index(tap) + 1 for tap in _TAPS.values())
        return (layers[:first], layers[first:second], layers[second:]), classifiers

    def forward(self, x):
        """Return the scores (N, classes); in training mode with classifiers, `GoogLeNetOutput`."""
        (first, second, third), (aux1, aux2) = self._segments()
        low = run_forward(first, x)
        middle = run_forward(second, low)
        scores = run_forward(third, middle)
        if aux1 is None or not self.training:
            return scores
        return GoogLeNetOutput(scores, aux2(middle), aux1(low))

    def backward(self, grad):
        """Return the gradient of x from that of the scores, or from a `GoogLeNetOutput` of them."""
        (first, second, third), (aux1, aux2) = self._segments()
        scores, *side = grad if isinstance(grad, tuple) else (grad,)
        middle = run_backward(third, scores)
        low = run_backward(second, middle + aux2.backward(side[0]) if side else middle)
        return run_backward(first, low + aux1.backward(side[1]) if side else low)


# Which module each auxiliary classifier looks at.
_TAPS = {"aux1": "inception4a", "aux2": "inception4d"}

# The arguments of `Inception` (table 1 of the paper), and the sizes of the pools between.
_MODULES = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "maxpool3": 3,
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "maxpool4": {"original": 3, "torchvision": 2},
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}


def googlenet(classes=1000, *, aux=False, variant="torchvision", rng=None):
    """Make GoogLeNet.

    Parameters
    ----------
    classes : int
        Number of scores.
    aux : bool
        Whether there are auxiliary classifiers, which work in training mode only.
    variant : "torchvision" or "original"
    rng : None, int or numpy.random.Generator
        Source of the initial weights and of the dropouts.

    Returns
    -------
    GoogLeNet
        (N, 3, 224, 224) -> (N, classes), with parts conv1, maxpool1, conv2, conv3, maxpool2,
        inception3a to inception5b, avgpool, flatten, dropout and fc.
    """
    check_choice("googlenet", "variant", variant, VARIANTS)
    rng = make_generator("googlenet", rng)
    trunk = _stem(variant)
    for name, sizes in _MODULES.items():
        if name.startswith("maxpool"):
            trunk[name] = _halve(sizes if isinstance(sizes, int) else sizes[variant])
        else:
            trunk[name] = Inception(*sizes, variant=variant)
    trunk["avgpool"] = nn.AdaptiveAvgPool2d(1)
    trunk["flatten"] = nn.Flatten()
    trunk["dropout"] = nn.Dropout(0.4 if variant == "original" else 0.2, rng=rng)
    trunk["fc"] = nn.Linear(1024, classes)
    classifiers = {}
    if aux:
        for name, tap in _TAPS.items():
            width = sum(trunk[tap].widths)
            classifiers[name] = AuxiliaryClassifier(width, classes, variant, rng)
    return nn.init.kaiming_normal(GoogLeNet(trunk, classifiers), rng=rng)


def _stem(variant):
    """Return the layers before the first module by name."""
    layers = {
        "conv1": Convolution(3, 64, 7, variant=variant, stride=2, padding=3),
        "maxpool1": _halve(3),
        "norm1": nn.LocalResponseNorm(5),
        "conv2": Convolution(64, 64, 1, variant=variant),
        "conv3": Convolution(64, 192, 3, variant=variant, padding=1),
        "norm2": nn.LocalResponseNorm(5),
        "maxpool2": _halve(3),
    }
    if variant != "original":
        del layers["norm1"], layers["norm2"]
    return layers


def _halve(size):
    return nn.MaxPool2d(size, 2, ceil_mode=True)
