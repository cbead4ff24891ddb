"""LeNet-5, the reader of handwritten digits: 28 x 28 grey levels in, ten scores out.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
As everywhere today, the second convolution sees all six maps (the paper's saw three to six of
them), the pools have no weights, and the last layer is linear: 61,706 parameters.
"""

from fastconv import nn
from fastconv.models._build import check_choice
from fastconv.nn.arguments import make_generator

# Activation, pool and initial weights.
_STYLES = {
    "original": ("tanh", nn.AvgPool2d, nn.init.xavier_uniform),
    "modern": ("relu", nn.MaxPool2d, nn.init.kaiming_normal),
}


def lenet5(classes=10, *, variant="original", rng=None):
    """Make LeNet-5 for (N, 1, 28, 28) arrays.

    Parameters
    ----------
    classes : int
        Number of scores.
    variant : "original" or "modern"
        tanh and average pools as in the paper, or ReLU and max pools.
    rng : None, int or numpy.random.Generator
        Source of the initial weights.

    Returns
    -------
    nn.Sequential
        (N, 1, 28, 28) -> (N, classes), with layers conv1, pool1, conv2, pool2, flatten, fc1, fc2
        and fc3.
    """
    activation, pool, initialise = _STYLES[check_choice("lenet5", "variant", variant, _STYLES)]
    net = nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 6, 5, padding=2, activation=activation),
            "pool1": pool(2),
            "conv2": nn.Conv2d(6, 16, 5, activation=activation),
            "pool2": pool(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(16 * 5 * 5, 120, activation=activation),
            "fc2": nn.Linear(120, 84, activation=activation),
            "fc3": nn.Linear(84, classes),
        }
    )
    return initialise(net, rng=make_generator("lenet5", rng))
