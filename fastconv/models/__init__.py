"""Known networks, built from `fastconv.nn`: LeNet-5 to ResNet-152, and MTCNN, which finds faces.

    net = models.resnet(50).eval()
    scores = net(photos)
    boxes, probabilities, landmarks = models.MTCNN()(photo)

One family a file. Where the network that a paper describes and the one that torchvision made of it
differ, there are both: `variant="original"` or `variant="torchvision"`. Parameters have
torchvision's names, so its files of weights fit. `create` makes any of them by name.
"""

from fastconv.models._calls import feature_maps
from fastconv.models._catalogue import create, input_shape, names
from fastconv.models._published import Published, published
from fastconv.models.alexnet import alexnet
from fastconv.models.convnetjs import convnetjs
from fastconv.models.googlenet import googlenet
from fastconv.models.lenet import lenet5
from fastconv.models.mtcnn import MTCNN, Faces, ONet, PNet, RNet
from fastconv.models.resnet import resnet
from fastconv.models.summary import Row, Summary, summarise
from fastconv.models.vgg import vgg

__all__ = [
    "Faces",
    "MTCNN",
    "ONet",
    "PNet",
    "Published",
    "RNet",
    "Row",
    "Summary",
    "alexnet",
    "convnetjs",
    "create",
    "feature_maps",
    "googlenet",
    "input_shape",
    "lenet5",
    "names",
    "published",
    "resnet",
    "summarise",
    "vgg",
]
