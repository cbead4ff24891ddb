"""Residual networks: layers learn what to add to their input, so a hundred of them still train.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015. A block's result is
relu(body(x) + shortcut(x)), where the shortcut is the input itself or, where size or channels
change, a 1x1 convolution (the paper's option B):

    x --+--conv1--bn1--relu1--conv2--bn2--(relu2--conv3--bn3)--(+)--relu-->
        +--------------------(downsample)-----------------------'

The parameters have torchvision's names.
"""

from fastconv import nn
from fastconv.models._build import VARIANTS, check_choice, run_backward, run_forward
from fastconv.nn.arguments import make_generator


class _Block(nn.Module):
    """A residual block, or without its shortcut a plain one.

    A subclass makes the layers of the body, the children that are neither `downsample` nor `relu`,
    and says how many times wider its result is than its body.

    Parameters
    ----------
    in_channels, width : int
        Channels of the input and of the body.
    stride : int
        Step of the block.
    residual : bool
        Whether there is a shortcut around the body.
    strided : 1 or 2
        Which of the body's convolutions takes the step.
    """

    expansion = 1

    def __init__(self, in_channels, width, stride=1, *, residual=True, strided=1):
        out_channels = width * self.expansion
        for name, layer in self.body_layers(in_channels, width, stride, strided).items():
            setattr(self, name, layer)
        self.downsample = None
        if residual:
            self.downsample = nn.Sequential()
            if stride != 1 or in_channels != out_channels:
                conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
                self.downsample.append(conv).append(nn.BatchNorm2d(out_channels))
        self.relu = nn.ReLU()

    def _body(self):
        apart = ("downsample", "relu")
        return [layer for name, layer in self.named_children() if name not in apart]

    def forward(self, x):
        """Return relu(body(x) + shortcut(x)), or relu(body(x)) of a plain block."""
        y = run_forward(self._body(), x)
        return self.relu(y if self.downsample is None else y + self.downsample(x))

    def backward(self, grad):
        """Return the gradient of x from that of the result."""
        grad = self.relu.backward(grad)
        below = run_backward(self._body(), grad)
        return below if self.downsample is None else below + self.downsample.backward(grad)


class BasicBlock(_Block):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18 and -34."""

    def body_layers(self, in_channels, width, stride, strided):
        """Return the layers of the body by name; the first convolution takes the step."""
        return {
            "conv1": nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(width),
            "relu1": nn.ReLU(),
            "conv2": nn.Conv2d(width, width, 3, padding=1, bias=False),
            "bn2": nn.BatchNorm2d(width),
        }


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide: the block of ResNet-50 and up."""

    expansion = 4

    def body_layers(self, in_channels, width, stride, strided):
        """Return the layers of the body by name."""
        strides = (stride, 1) if strided == 1 else (1, stride)
        return {
            "conv1": nn.Conv2d(in_channels, width, 1, stride=strides[0], bias=False),
            "bn1": nn.BatchNorm2d(width),
            "relu1": nn.ReLU(),
            "conv2": nn.Conv2d(width, width, 3, stride=strides[1], padding=1, bias=False),
            "bn2": nn.BatchNorm2d(width),
            "relu2": nn.ReLU(),
            "conv3": nn.Conv2d(width, 4 * width, 1, bias=False),
            "bn3": nn.BatchNorm2d(4 * width),
        }


# The block and how many of it each of the four stages has.
_NETWORKS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def resnet(depth=50, classes=1000, *, residual=True, variant="torchvision", rng=None):
    """Make a residual network.

    Parameters
    ----------
    depth : 18, 34, 50, 101 or 152
        Number of layers with weights.
    classes : int
        Number of scores.
    residual : bool
        Whether the blocks have shortcuts. Without them it is the paper's plain network, which
        trains the worse the deeper it is.
    variant : "torchvision" or "original"
        From 50 layers on a stage's first block halves the picture in its 3x3 convolution, or in
        the 1x1 convolution before it as in the paper, which is less work and less exact.
    rng : None, int or numpy.random.Generator
        Source of the initial weights.

    Returns
    -------
    nn.Sequential
        (N, 3, 224, 224) -> (N, classes), with parts conv1, bn1, relu, maxpool, layer1 to layer4,
        avgpool, flatten and fc; other sizes of 32 and more work too.
    """
    block, counts = _NETWORKS[check_choice("resnet", "depth", depth, _NETWORKS)]
    check_choice("resnet", "variant", variant, VARIANTS)
    how = {"residual": residual, "strided": 1 if variant == "original" else 2}
    layers = {
        "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, padding=1),
    }
    channels = 64
    for stage, count in enumerate(counts):
        width = 64 << stage
        blocks = [block(channels, width, 1 if stage == 0 else 2, **how)]
        channels = width * block.expansion
        blocks += [block(channels, width, **how) for _ in range(count - 1)]
        layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    net = nn.Sequential(layers)
    return nn.init.kaiming_normal(net, rng=make_generator("resnet", rng))
