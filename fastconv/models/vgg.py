"""VGG: nothing but 3x3 convolutions and 2x2 pools, ever deeper.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014,
configurations A, B, D and E; torchvision's networks are the same, and so are the parameters' names.
"""

from fastconv import nn
from fastconv.models._build import check_choice
from fastconv.nn.arguments import make_generator

# Convolutions before each of the five pools, by the number of layers with weights.
_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


def vgg(depth=16, classes=1000, *, batch_norm=False, rng=None):
    """Make a VGG network.

    Parameters
    ----------
    depth : 11, 13, 16 or 19
        Number of layers with weights.
    classes : int
        Number of scores.
    batch_norm : bool
        Whether a batch normalisation follows each convolution, as in torchvision's vgg16_bn.
    rng : None, int or numpy.random.Generator
        Source of the initial weights and of the dropouts.

    Returns
    -------
    nn.Sequential
        (N, 3, 224, 224) -> (N, classes), with parts features, avgpool, flatten and classifier;
        other sizes of 32 and more work too.
    """
    check_choice("vgg", "depth", depth, _DEPTHS)
    rng = make_generator("vgg", rng)
    net = nn.Sequential(
        {
            "features": nn.Sequential(*_features(_DEPTHS[depth], batch_norm)),
            "avgpool": nn.AdaptiveAvgPool2d((7, 7)),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(),
                nn.Dropout(0.5, rng=rng),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Dropout(0.5, rng=rng),
                nn.Linear(4096, classes),
            ),
        }
    )
    return nn.init.kaiming_normal(net, rng=rng)


def _features(depths, batch_norm):
    channels = 3
    for depth, width in zip(depths, _WIDTHS, strict=True):
        for _ in range(depth):
            yield nn.Conv2d(channels, width, 3, padding=1)
            if batch_norm:
                yield nn.BatchNorm2d(width)
            yield nn.ReLU()
            channels = width
        yield nn.MaxPool2d(2)
