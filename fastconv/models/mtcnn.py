"""MTCNN: three small networks in a row that find faces and five points in each.

Zhang, Zhang, Li and Qiao, "Joint face detection and alignment using multitask cascaded
convolutional networks", 2016. Each network sees more of fewer candidates:

    photo --pyramid--> P-Net, 12 x 12 windows everywhere --> candidates
          --crops----> R-Net, 24 x 24 --> fewer, better placed
          --crops----> O-Net, 48 x 48 --> faces, and eyes, nose and corners of the mouth in them

Between the networks, boxes are moved as they advise and the weaker of two that overlap is dropped;
that part is in `_boxes`. The trained weights come with the Python package `mtcnn` (MIT licence).
"""

import importlib.util
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastconv import nn
from fastconv.functional._check import as_array
from fastconv.models._boxes import moved, resample, squared, suppress

# What one cell of P-Net's result stands for: a window of 12 pixels, every 2 pixels.
_WINDOW, _STRIDE = 12, 2

# How much two boxes may overlap: candidates of one scale, of all scales and R-Net's by the area
# that they cover together, O-Net's by the smaller area of the two.
_OVERLAP_OF_SCALE, _OVERLAP = 0.5, 0.7

_INSTALL = 'MTCNN needs the extra "faces": python -m pip install "fastconv[faces]"'


class Faces(NamedTuple):
    """What `MTCNN` finds, the surest face first; coordinates are pixels from the left upper corner.

    `boxes` is (F, 4) with x1, y1, x2, y2, `scores` (F,) with probabilities and `landmarks`
    (F, 5, 2) with x, y of the eyes, the nose and the corners of the mouth, each left of right as
    the picture shows them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray


class _Heads(nn.Module):
    """A trunk of layers and several results from its end, one from each head.

    Parameters
    ----------
    trunk, heads : dict of str to Module
    """

    def __init__(self, trunk, heads):
        self.trunk = nn.Sequential(trunk)
        self.heads = nn.Sequential(heads)

    def forward(self, x):
        """Return a tuple with each head's result."""
        features = self.trunk(x)
        return tuple(head(features) for head in self.heads)

    def backward(self, grads):
        """Return the gradient of x from a tuple with that of each result."""
        pairs = zip(self.heads, grads, strict=True)
        return self.trunk.backward(sum(head.backward(grad) for head, grad in pairs))


def _convolutions(channels, kernels, pools):
    """Return 'valid' convolutions with `PReLU`s, and behind some of them max pools."""
    layers = {}
    sizes = zip(channels[:-1], channels[1:], kernels, pools, strict=True)
    for number, (before, after, kernel, pool) in enumerate(sizes, 1):
        layers[f"conv{number}"] = nn.Conv2d(before, after, kernel)
        layers[f"prelu{number}"] = nn.PReLU(after)
        if pool:
            size, padding = pool
            layers[f"pool{number}"] = nn.MaxPool2d(size, 2, padding=padding)
    return layers


def _dense(channels, size, width):
    """Return the layers that turn maps of size x size into `width` features."""
    return {
        "flatten": nn.Flatten(),
        "fc": nn.Linear(channels * size * size, width),
        "prelu": nn.PReLU(width),
    }


class PNet(_Heads):
    """The proposal network: (N, 3, H, W) -> boxes (N, 4, h, w), faces (N, 2, h, w).

    It is convolutions only, so it takes pictures of any size from 12 x 12 on; the second of `faces`
    is the probability of a face, a box how far its sides are from the window's, in windows.
    """

    def __init__(self):
        trunk = _convolutions((3, 10, 16, 32), (3, 3, 3), ((2, "same"), None, None))
        face = nn.Sequential(nn.Conv2d(32, 2, 1), nn.Softmax(1))
        super().__init__(trunk, {"box": nn.Conv2d(32, 4, 1), "face": face})


class RNet(_Heads):
    """The refinement network: (N, 3, 24, 24) -> boxes (N, 4), faces (N, 2); see `PNet`."""

    def __init__(self):
        pools = ((3, "same"), (3, 0), None)
        trunk = _convolutions((3, 28, 48, 64), (3, 3, 2), pools) | _dense(64, 3, 128)
        face = nn.Sequential(nn.Linear(128, 2), nn.Softmax(1))
        super().__init__(trunk, {"box": nn.Linear(128, 4), "face": face})


class ONet(_Heads):
    """The output network: (N, 3, 48, 48) -> boxes (N, 4), landmarks (N, 10), faces (N, 2).

    The landmarks are five x and then five y, in boxes from their left upper corner; for the rest
    see `PNet`.
    """

    def __init__(self):
        pools = ((3, "same"), (3, 0), (2, "same"), None)
        trunk = _convolutions((3, 32, 64, 64, 128), (3, 3, 3, 2), pools) | _dense(128, 3, 256)
        face = nn.Sequential(nn.Linear(256, 2), nn.Softmax(1))
        heads = {"box": nn.Linear(256, 4), "landmarks": nn.Linear(256, 10), "face": face}
        super().__init__(trunk, heads)


class MTCNN(nn.Module):
    """Find the faces in a photograph.

    Parameters
    ----------
    min_face : int
        Height of the smallest face to find, in pixels, at least 12; half of it takes four times
        as long.
    thresholds : three floats
        Least probabilities to pass P-Net, R-Net and O-Net. The first two only save work; a lower
        third finds more faces, and more that are none.
    factor : float
        Ratio of neighbouring sizes in the pyramid of pictures.
    weights : str or Path, optional
        Folder with pnet.lz4, rnet.lz4 and onet.lz4; those of the package `mtcnn` by default.

    Raises
    ------
    ImportError
        If weights or what reads them are missing: the one line that installs them.

    Examples
    --------
    >>> boxes, scores, landmarks = MTCNN()(skimage.data.astronaut())
    >>> boxes.shape, scores.shape, landmarks.shape
    ((1, 4), (1,), (1, 5, 2))
    """

    def __init__(
        self, min_face=20, thresholds=(0.6, 0.7, 0.9), factor=0.709, *, weights=None
    ):
        if not min_face >= _WINDOW:
            raise ValueError(f"MTCNN: min_face must be at least {_WINDOW}, got {min_face}")
        if not 0 < factor < 1:
            raise ValueError(f"MTCNN: factor must be between 0 and 1, got {factor}")
        self.min_face, self.thresholds, self.factor = min_face, tuple(thresholds), factor
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        folder = _package_folder() if weights is None else Path(weights)
        for name, net in self.named_children():
            load_keras(net, _read(folder / f"{name}.lz4"))
        self.eval()

    def forward(self, photo):
        """Find the faces.

        Parameters
        ----------
        photo : array_like, shape (H, W, 3) or (H, W)
            Red, green and blue or grey, 0 to 255.

        Returns
        -------
        Faces
            A tuple of boxes, scores and landmarks.
        """
        picture = _normalised(photo)
        boxes = self._propose(picture)
        boxes = self._refine(picture, boxes)
        return self._finish(picture, boxes)

    def _propose(self, picture):
        """Return candidates (B, 4), squares, from P-Net's look at the picture in many sizes."""
        found = [(np.empty((0, 4)), np.empty(0), np.empty((0, 4)))]
        found += [self._propose_at(picture, scale) for scale in self._scales(picture.shape[1:])]
        boxes, scores, moves = map(np.concatenate, zip(*found, strict=True))
        keep = suppress(boxes, scores, _OVERLAP)
        return squared(moved(boxes[keep], moves[keep]))

    def _scales(self, size):
        """Yield the pyramid's scales, from the one that makes the smallest face 12 pixels high."""
        scale = _WINDOW / self.min_face
        while min(size) * scale >= _WINDOW:
            yield scale
            scale *= self.factor

    def _propose_at(self, picture, scale):
        """Return boxes (B, 4), scores (B,) and advised moves (B, 4) at one scale."""
        height, width = picture.shape[1:]
        size = math.ceil(height * scale), math.ceil(width * scale)
        small = resample(picture, (0, 0, width, height), size)
        moves, faces = (y[0] for y in self.pnet(small[None]))
        rows, columns = np.nonzero(faces[1] > self.thresholds[0])
        corners = np.stack([columns, rows, columns, rows], axis=1) * _STRIDE
        boxes = (corners + (0, 0, _WINDOW, _WINDOW)) / scale
        scores, moves = faces[1, rows, columns], moves[:, rows, columns].T
        keep = suppress(boxes, scores, _OVERLAP_OF_SCALE)
        return boxes[keep], scores[keep], moves[keep]

    def _refine(self, picture, boxes):
        """Return those of the candidates that R-Net takes for faces, squares again."""
        moves, faces = self.rnet(_crops(picture, boxes, 24))
        sure = faces[:, 1] > self.thresholds[1]
        boxes, scores, moves = boxes[sure], faces[sure, 1], moves[sure]
        keep = suppress(boxes, scores, _OVERLAP)
        return squared(moved(boxes[keep], moves[keep]))

    def _finish(self, picture, boxes):
        """Return the faces among the candidates, by O-Net."""
        moves, points, faces = self.onet(_crops(picture, boxes, 48))
        sure = faces[:, 1] > self.thresholds[2]
        boxes, scores = boxes[sure], faces[sure, 1]
        points = points[sure].reshape(-1, 2, 5).swapaxes(1, 2)
        corners, sizes = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
        landmarks = corners + points * sizes
        boxes = moved(boxes, moves[sure])
        keep = suppress(boxes, scores, _OVERLAP, of_smaller=True)
        return Faces(boxes[keep], scores[keep], landmarks[keep])


def _normalised(photo):
    """Return a photo as (3, H, W) float32 between -1 and 1."""
    photo = as_array("MTCNN", "photo", photo)
    if photo.ndim == 2:
        photo = np.broadcast_to(photo[..., None], (*photo.shape, 3))
    if photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            f"MTCNN: photo must have shape (H, W, 3) or (H, W), got {photo.shape}"
        )
    planes = np.ascontiguousarray(np.moveaxis(photo, 2, 0), np.float32)
    return (planes - 127.5) / 128


def _crops(picture, boxes, size):
    """Return the picture inside each box, (B, 3, size, size)."""
    crops = [resample(picture, box, (size, size)) for box in boxes]
    return np.reshape(crops, (-1, 3, size, size)).astype(np.float32, copy=False)


def load_keras(net, arrays):
    """Give a network the weights of its twin in Keras.

    Parameters
    ----------
    net : PNet, RNet or ONet
    arrays : sequence of ndarray
        In order of the layers: kernels (R, S, C, K) and biases, slopes (1, 1, C), matrices
        (features, K) and biases.
    """
    homes = list(_homes(net))
    if len(homes) != len(arrays):
        raise ValueError(
            f"load_keras: {type(net).__name__} has other layers than these {len(arrays)} arrays"
        )
    for (layer, name, convert), array in zip(homes, arrays, strict=True):
        setattr(layer, name, convert(np.asarray(array)))


def _homes(net):
    """Yield layer, attribute and conversion for each array of a network's twin in Keras."""
    before = None
    for layer in net.modules():
        if isinstance(layer, nn.PReLU):
            yield layer, "weight", np.ravel
        elif isinstance(layer, nn.Conv2d):
            yield layer, "weight", _filters_first
            yield layer, "bias", np.ravel
        elif isinstance(layer, nn.Linear):
            yield layer, "weight", _of_maps if isinstance(before, nn.Flatten) else np.transpose
            yield layer, "bias", np.ravel
        before = layer


def _filters_first(kernel):
    return kernel.transpose(3, 2, 0, 1)


def _of_maps(matrix):
    """Turn a matrix (features, K) for maps of 3 x 3 flattened as (W, H, C) into ours: (C, H, W)."""
    width = matrix.shape[1]
    return matrix.reshape(3, 3, -1, width).transpose(3, 2, 1, 0).reshape(width, -1)


def _package_folder():
    """Return the folder with the weights of the package `mtcnn`, which need not be imported."""
    spec = importlib.util.find_spec("mtcnn")
    if spec is None:
        raise ImportError(_INSTALL)
    return Path(spec.origin).parent / "assets" / "weights"


def _read(path):
    """Read a list of arrays that joblib wrote."""
    try:
        import joblib
        import lz4.frame  # noqa: F401  joblib needs it and would say so less clearly
    except ImportError as missing:
        raise ImportError(_INSTALL) from missing
    return joblib.load(path)
