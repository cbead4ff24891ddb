"""AlexNet, whose victory in ImageNet's contest of 2012 began the age of deep networks.

Two variants. "original" is that of the paper on one processor (Krizhevsky, Sutskever and Hinton,
"ImageNet classification with deep convolutional neural networks", 2012): the halves that lived on
two cards are groups, and neighbouring channels normalise each other. "torchvision" is the later,
narrower one without either (Krizhevsky, "One weird trick for parallelizing convolutional neural
networks", 2014), with the names of torchvision's parameters.
"""

from fastconv import nn
from fastconv.models._build import VARIANTS, check_choice
from fastconv.nn.arguments import make_generator


def alexnet(classes=1000, *, variant="torchvision", rng=None):
    """Make AlexNet.

    Parameters
    ----------
    classes : int
        Number of scores.
    variant : "torchvision" or "original"
        The network of 2014 for (N, 3, 224, 224) arrays, or that of 2012 for (N, 3, 227, 227).
    rng : None, int or numpy.random.Generator
        Source of the initial weights and of the dropouts.

    Returns
    -------
    nn.Sequential
        (N, 3, H, W) -> (N, classes), with parts features, avgpool, flatten and classifier.
    """
    check_choice("alexnet", "variant", variant, VARIANTS)
    rng = make_generator("alexnet", rng)
    features = _original_features() if variant == "original" else _later_features()
    net = nn.Sequential(
        {
            "features": nn.Sequential(*features),
            "avgpool": nn.AdaptiveAvgPool2d((6, 6)),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(
                nn.Dropout(0.5, rng=rng),
                nn.Linear(256 * 6 * 6, 4096),
                nn.ReLU(),
                nn.Dropout(0.5, rng=rng),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Linear(4096, classes),
            ),
        }
    )
    return nn.init.kaiming_normal(net, rng=rng)


def _original_features():
    def normalise():
        # The paper's alpha of 1e-4 multiplies the sum of five squares, the layer's their mean.
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    return (
        nn.Conv2d(3, 96, 11, stride=4),
        nn.ReLU(),
        normalise(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(),
        normalise(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )


def _later_features():
    return (
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )
