"""MTCNN: the three networks number by number, the cascade on photographs."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fastconv import models, nn, reference
from fastconv.models.mtcnn import ONet, PNet, RNet, load_keras

INPUTS = {"pnet": (2, 3, 31, 44), "rnet": (3, 3, 24, 24), "onet": (3, 3, 48, 48)}
NETS = {"pnet": PNet, "rnet": RNet, "onet": ONet}
# Parameters of each, with PReLU's slopes.
SIZES = {"pnet": 6_632, "rnet": 100_178, "onet": 389_040}


@pytest.fixture(scope="module")
def trained():
    for module in ("mtcnn", "joblib", "lz4"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install fastconv[faces]")
    return models.MTCNN()


@pytest.fixture(scope="module")
def photographs():
    return pytest.importorskip("skimage.data", reason="needs skimage: pip install fastconv[test]")


def keras_arrays(net, rng):
    """Return random arrays in the order and shapes in which Keras keeps them."""
    for layer in net.modules():
        if isinstance(layer, nn.PReLU):
            yield rng.normal(size=(1, 1, *layer.weight.shape))
        elif isinstance(layer, nn.Conv2d):
            yield rng.normal(size=(*layer.kernel_size, layer.in_channels, layer.out_channels)) / 9
            yield rng.normal(size=layer.out_channels)
        elif isinstance(layer, nn.Linear):
            yield rng.normal(size=(layer.in_features, layer.out_features)) / 30
            yield rng.normal(size=layer.out_features)


def run_as_keras(name, arrays, x):
    """Run a network channels last, by the reference's functions alone."""
    arrays, last = iter(arrays), {"layout": "NHWC"}
    pools = {"pnet": [(2, "same"), None, None], "rnet": [(3, "same"), (3, 0), None]}
    pools["onet"] = [(3, "same"), (3, 0), (2, "same"), None]

    def prelu(y):
        return np.where(y > 0, y, next(arrays).ravel() * y)

    def convolve(y):
        kernel, bias = next(arrays), next(arrays)
        return reference.conv2d(y, kernel.transpose(3, 2, 0, 1), bias, **last)

    def dense(y):
        return y @ next(arrays) + next(arrays)

    y = np.moveaxis(x, 1, -1)
    for pool in pools[name]:
        y = prelu(convolve(y))
        if pool:
            y = reference.max_pool2d(y, pool[0], 2, pool[1], **last)
    if name == "pnet":
        box, face = convolve(y), convolve(y)
        return np.moveaxis(box, -1, 1), np.moveaxis(reference.softmax(face, -1), -1, 1)
    y = prelu(dense(y.swapaxes(1, 2).reshape(len(y), -1)))
    *results, face = [dense(y) for _ in range(2 if name == "rnet" else 3)]
    return *results, reference.softmax(face, 1)


@pytest.mark.parametrize("name", NETS)
def test_networks_with_weights_in_keras_order(name):
    rng, net = np.random.default_rng(0), NETS[name]().eval()
    arrays = list(keras_arrays(net, rng))
    assert sum(array.size for array in arrays) == SIZES[name]
    load_keras(net, arrays)
    x = rng.normal(size=INPUTS[name])
    results, expected = net(x), run_as_keras(name, arrays, x)
    assert len(results) == len(expected)
    for result, exact in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, exact, atol=1e-4 * abs(exact).max())


@pytest.mark.parametrize("name", NETS)
def test_gradients_come_from_all_heads(name):
    """A step along the gradient changes the results' sum by as much as it says."""
    net = nn.init.kaiming_normal(NETS[name](), rng=0)
    x = np.random.default_rng(0).normal(size=INPUTS[name]).astype(np.float32)
    results = net(x)
    weights = [np.full_like(y, number) for number, y in enumerate(results, 1)]
    dx = net.backward(tuple(weights))
    step = 1e-3 * dx / np.linalg.norm(dx)

    def value(x):
        return sum((y * weight).sum() for y, weight in zip(net(x), weights, strict=True))

    change = (value(x + step) - value(x - step)) / 2
    assert change == pytest.approx(1e-3 * np.linalg.norm(dx), rel=0.02)


def test_weights_that_do_not_fit():
    arrays = list(keras_arrays(PNet(), np.random.default_rng(0)))
    with pytest.raises(ValueError, match="load_keras: RNet has other layers than these 13 arrays"):
        load_keras(RNet(), arrays)
    with pytest.raises(ValueError, match="load_keras: PNet has other layers than these 14 arrays"):
        load_keras(PNet(), [*arrays, np.zeros(2)])


@pytest.mark.parametrize("name", NETS)
def test_networks_against_onnxruntime(name, trained):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    file = Path(os.environ.get("FASTCONV_MODELS", "")) / f"face_mtcnn-{name}.onnx"
    if not file.is_file():
        pytest.skip("needs the networks in ONNX form in the folder FASTCONV_MODELS")
    x = np.random.default_rng(0).normal(size=INPUTS[name]).astype(np.float32)
    expected = onnxruntime.InferenceSession(file).run(None, {"image": x})
    for result, exact in zip(getattr(trained, name)(x), expected, strict=True):
        np.testing.assert_allclose(result, exact, atol=1e-5)


def test_the_astronaut(trained, photographs):
    boxes, scores, landmarks = trained(photographs.astronaut())
    assert scores.shape == (1,) and scores[0] > 0.99
    np.testing.assert_allclose(boxes, [[181, 59, 268, 175]], atol=3)
    (left_eye, right_eye, nose, left_mouth, right_mouth) = landmarks[0]
    # As measured in the photograph.
    np.testing.assert_allclose(left_eye, (204, 101), atol=4)
    np.testing.assert_allclose(right_eye, (247, 104), atol=4)
    np.testing.assert_allclose(nose, (226, 128), atol=5)
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert min(left_mouth[1], right_mouth[1]) > nose[1]


def test_a_face_is_found_in_grey_and_elsewhere(trained, photographs, monkeypatch):
    monkeypatch.setattr(trained, "min_face", 40)
    photo = photographs.astronaut()
    part = photo[20:220, 100:330]
    (box,), *_ = trained(part)
    np.testing.assert_allclose(box + (100, 20, 100, 20), (181, 59, 268, 175), atol=4)
    (box,), *_ = trained(part.mean(axis=2))
    np.testing.assert_allclose(box + (100, 20, 100, 20), (181, 59, 268, 175), atol=6)


def test_a_cup_of_coffee_has_no_face(trained, photographs):
    boxes, scores, landmarks = trained(photographs.coffee())
    assert (boxes.shape, scores.shape, landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


@pytest.mark.parametrize("shape", [(0, 0, 3), (5, 400), (19, 19, 3), (40, 40, 3)])
def test_small_and_empty_pictures(trained, shape):
    assert trained(np.zeros(shape, np.uint8)).boxes.shape == (0, 4)


@pytest.mark.parametrize("shape", [(10,), (30, 30, 4), (3, 30, 30), (1, 30, 30, 3)])
def test_what_is_no_picture(trained, shape):
    with pytest.raises(ValueError, match=r"MTCNN: photo must have shape \(H, W, 3\) or \(H, W\)"):
        trained(np.zeros(shape))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"min_face": 11}, "MTCNN: min_face must be at least 12, got 11"),
        ({"factor": 1}, "MTCNN: factor must be between 0 and 1, got 1"),
        ({"factor": 0.0}, "MTCNN: factor must be between 0 and 1, got 0.0"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        models.MTCNN(**options)


@pytest.mark.parametrize("missing", ["mtcnn", "joblib", "lz4"])
def test_missing_extra(missing, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    for module in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r'python -m pip install "fastconv\[faces\]"'):
        models.MTCNN()
