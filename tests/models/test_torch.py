"""Models against PyTorch, which gets the same arrays under torchvision's names.

torchvision itself is not needed: the networks are written down here once more, with
torch.nn.functional and a state dict, as papers and torchvision's documentation describe them.
"""

import numpy as np
import pytest

import fastconv
from fastconv import models, nn
from fastconv._engine import dispatch
from fastconv.models.googlenet import AuxiliaryClassifier, GoogLeNet, Inception
from fastconv.models.resnet import BasicBlock, Bottleneck

torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
F = torch.nn.functional


class State:
    """Tensors by name, which all remember gradients; `at` goes one name deeper.

    Into `margins`, if it is a list, goes how far a network's values keep from the kinks of `relu`
    and `max_pool`, in deviations of their channels.
    """

    def __init__(self, tensors, path="", training=False, margins=None):
        self.tensors, self.path, self.training = tensors, path, training
        self.margins = margins

    def at(self, name):
        return State(self.tensors, f"{self.path}{name}.", self.training, self.margins)

    def get(self, name):
        return self.tensors.get(self.path + name)

    def has(self, name):
        return any(key.startswith(f"{self.path}{name}.") for key in self.tensors)

    def conv(self, name, x, **how):
        layer = self.at(name)
        return F.conv2d(x, layer.get("weight"), layer.get("bias"), **how)

    def linear(self, name, x):
        layer = self.at(name)
        return F.linear(x, layer.get("weight"), layer.get("bias"))

    def norm(self, name, x, eps=1e-5):
        layer = self.at(name)
        means = layer.get("running_mean").detach(), layer.get("running_var").detach()
        scale = layer.get("weight"), layer.get("bias")
        return F.batch_norm(x, *means, *scale, training=self.training, eps=eps)

    def relu(self, x):
        if self.margins is not None:
            self.margins.append((x.abs() / deviations(x)).min().item())
        return F.relu(x)

    def max_pool(self, x):
        """A maximum of 3 x 3, which is to be larger than the next one, or nowhere above 0."""
        if self.margins is not None:
            windows = F.unfold(F.pad(x / deviations(x), (1, 1, 1, 1)), 3, stride=2)
            first, second = windows.unflatten(1, (-1, 9)).topk(2, dim=2).values.unbind(2)
            self.margins.append((first - second)[first > 0].min().item())
        return F.max_pool2d(x, 3, 2, 1)


def deviations(x):
    """Those of the channels; never 0, for some channels are 0 everywhere."""
    return x.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-30)


def norms_in(arrays):
    """Paths of the normalisations in a state dict, with their numbers of channels."""
    end = "running_mean"
    return {
        name.removesuffix(end): len(array) for name, array in arrays.items() if name.endswith(end)
    }


def state_of(net, training=False):
    """Give a network's normalisations numbers of their own; return its arrays as `State`."""
    rng = np.random.default_rng(5)
    arrays = net.state_dict()
    for path, channels in norms_in(arrays).items():
        arrays[path + "weight"] = rng.uniform(0.5, 1.5, channels)
        arrays[path + "bias"] = rng.normal(scale=0.5, size=channels)
        arrays[path + "running_mean"] = rng.normal(scale=0.2, size=channels)
        arrays[path + "running_var"] = rng.uniform(0.5, 1.5, channels)
    net.load_state_dict(arrays)
    net.train(training)
    return State(tensors_of(arrays, torch.float32), training=training)


def tensors_of(arrays, dtype):
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    return {
        name: tensor.to(dtype).requires_grad_() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def resnet_block(s, x, stride, strided=2):
    if s.has("conv3"):
        strides = (stride, 1) if strided == 1 else (1, stride)
        y = s.relu(s.norm("bn1", s.conv("conv1", x, stride=strides[0])))
        y = s.relu(s.norm("bn2", s.conv("conv2", y, stride=strides[1], padding=1)))
        y = s.norm("bn3", s.conv("conv3", y))
    else:
        y = s.relu(s.norm("bn1", s.conv("conv1", x, stride=stride, padding=1)))
        y = s.norm("bn2", s.conv("conv2", y, padding=1))
    if s.has("downsample"):
        x = s.at("downsample").norm("1", s.at("downsample").conv("0", x, stride=stride))
    return s.relu(x + y)


def resnet(s, x, strided=2):
    x = s.relu(s.norm("bn1", s.conv("conv1", x, stride=2, padding=3)))
    x = s.max_pool(x)
    for stage in range(1, 5):
        layer, block = s.at(f"layer{stage}"), 0
        while layer.has(str(block)):
            stride = 2 if stage > 1 and block == 0 else 1
            x = resnet_block(layer.at(str(block)), x, stride, strided)
            block += 1
    return s.linear("fc", x.mean(dim=(2, 3)))


def convolution(s, x, **how):
    x = s.conv("conv", x, **how)
    return F.relu(s.norm("bn", x, eps=0.001) if s.has("bn") else x)


def inception(s, x):
    wide = s.at("branch3").at("1").at("conv").get("weight").shape[2]
    pooled = F.max_pool2d(x, 3, 1, 1)
    return torch.cat(
        [
            convolution(s.at("branch1"), x),
            convolution(s.at("branch2.1"), convolution(s.at("branch2.0"), x), padding=1),
            convolution(s.at("branch3.1"), convolution(s.at("branch3.0"), x), padding=wide // 2),
            convolution(s.at("branch4.1"), pooled),
        ],
        dim=1,
    )


def auxiliary_classifier(s, x, original=False):
    x = F.avg_pool2d(x, 5, 3) if original else F.adaptive_avg_pool2d(x, (4, 4))
    x = convolution(s.at("conv"), x).flatten(1)
    return s.linear("fc2", F.relu(s.linear("fc1", x)))


def googlenet(s, x):
    original = not s.at("conv1").has("bn")

    def halve(x, size=3):
        return F.max_pool2d(x, size, 2, ceil_mode=True)

    def normalise(x):
        return F.local_response_norm(x, 5) if original else x

    x = normalise(halve(convolution(s.at("conv1"), x, stride=2, padding=3)))
    x = convolution(s.at("conv3"), convolution(s.at("conv2"), x), padding=1)
    x = halve(normalise(x))
    for name in ("3a", "3b", None, "4a", "4b", "4c", "4d", "4e", None, "5a", "5b"):
        if name is None:
            x = halve(x, 3 if x.shape[1] == 480 or original else 2)
        else:
            x = inception(s.at(f"inception{name}"), x)
    return s.linear("fc", x.mean(dim=(2, 3)))


def alexnet(s, x):
    x, c = alexnet_features(s, x).flatten(1), s.at("classifier")
    return c.linear("6", F.relu(c.linear("4", F.relu(c.linear("1", x)))))


def alexnet_features(s, x):
    original = s.at("features.0").get("weight").shape[0] == 96
    f = s.at("features")

    def close(x):
        x = F.relu(x)
        x = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0) if original else x
        return F.max_pool2d(x, 3, 2)

    two = 2 if original else 1
    x = close(f.conv("0", x, stride=4, padding=0 if original else 2))
    x = close(f.conv("4" if original else "3", x, padding=2, groups=two))
    for name, groups in zip("8 10 12".split() if original else "6 8 10".split(), (1, two, two),
                            strict=True):
        x = F.relu(f.conv(name, x, padding=1, groups=groups))
    return F.adaptive_avg_pool2d(F.max_pool2d(x, 3, 2), 6)


def vgg_features(s, x):
    for number in range(60):
        layer = s.at(f"features.{number}")
        if layer.get("running_mean") is not None:
            x = s.norm(f"features.{number}", x)
        elif layer.get("weight") is not None:
            x = s.conv(f"features.{number}", x, padding=1)
        elif s.has(f"features.{number - 1}"):
            x = F.relu(x)
        elif number and s.has(f"features.{number - 2}"):
            x = F.max_pool2d(x, 2)
    return x


def picture(size, count=1):
    return np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)


def assert_close(result, exact, bound=1e-4):
    exact = exact.detach().numpy()
    assert result.shape == exact.shape
    assert abs(exact).max() > 0
    assert abs(result - exact).max() <= bound * abs(exact).max()


FORWARD = {
    "resnet18": (resnet, 64),
    "resnet50": (resnet, 64),
    "googlenet": (googlenet, 96),
    "googlenet_original": (googlenet, 96),
    "alexnet_original": (alexnet, 99),
}


@pytest.mark.parametrize("name", FORWARD)
def test_results(name):
    function, size = FORWARD[name]
    net, x = models.create(name, classes=10, rng=0), picture(size)
    state = state_of(net)
    with torch.no_grad():
        assert_close(net(x), function(state, torch.from_numpy(x)))


FEATURES = {"alexnet": alexnet_features, "vgg11": vgg_features, "vgg16_bn": vgg_features}


@pytest.mark.parametrize("name", FEATURES)
def test_results_before_the_classifier(name):
    """The fully connected layers alone would take longer than all the rest."""
    net, x = models.create(name, rng=0), picture(64)
    part = nn.Sequential({"features": net.features, "avgpool": net.avgpool})
    state = state_of(part)
    with torch.no_grad():
        exact = FEATURES[name](state, torch.from_numpy(x))
        size = net.avgpool.output_size
        assert_close(part(x), F.adaptive_avg_pool2d(exact, size))


def test_lenet_and_convnetjs():
    x = np.random.default_rng(0).normal(size=(2, 1, 28, 28)).astype(np.float32)
    net = models.lenet5(rng=0)
    s, y = state_of(net), torch.from_numpy(x)
    y = F.avg_pool2d(torch.tanh(s.conv("conv1", y, padding=2)), 2)
    y = F.avg_pool2d(torch.tanh(s.conv("conv2", y)), 2).flatten(1)
    y = s.linear("fc3", torch.tanh(s.linear("fc2", torch.tanh(s.linear("fc1", y)))))
    assert_close(net(x), y)
    net = models.convnetjs(rng=0)
    s, x = state_of(net), picture(32)
    y = torch.from_numpy(x)
    for number in (1, 2, 3):
        y = F.max_pool2d(F.relu(s.conv(f"conv{number}", y, padding=2)), 2)
    assert_close(net(x), s.linear("fc", y.flatten(1)))


# ---------------------------------------------------------------- gradients

BLOCKS = {
    "basic": (lambda: BasicBlock(3, 3), lambda s, x: resnet_block(s, x, 1)),
    "basic, smaller": (lambda: BasicBlock(3, 5, 2), lambda s, x: resnet_block(s, x, 2)),
    "bottleneck": (lambda: Bottleneck(3, 2, 2, strided=2), lambda s, x: resnet_block(s, x, 2)),
    "bottleneck, original": (
        lambda: Bottleneck(3, 2, 2, strided=1),
        lambda s, x: resnet_block(s, x, 2, strided=1),
    ),
    "inception": (lambda: Inception(3, 4, 3, 5, 2, 3, 2), inception),
    "inception, original": (
        lambda: Inception(3, 4, 3, 5, 2, 3, 2, variant="original"),
        inception,
    ),
}


def check_gradients(net, state, function, x, bound):
    """Compare gradients of a random weighting of all results."""
    tensor = torch.from_numpy(x).requires_grad_()
    exact = function(state, tensor)
    with nn.recording():
        results = net(x)
    several = isinstance(results, tuple)
    results, exact = (results, exact) if several else ((results,), (exact,))
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=y.shape).astype(np.float32) for y in results]
    pairs = zip(exact, weights, strict=True)
    sum((y * torch.from_numpy(weight)).sum() for y, weight in pairs).backward()
    dx = net.backward(tuple(weights) if several else weights[0])
    for y, wanted in zip(results, exact, strict=True):
        assert_close(y, wanted, bound)
    assert_close(dx, tensor.grad, bound)
    gradients = {
        f"{path}.{name}": gradient
        for path, layer in net.named_modules()
        for name, gradient in getattr(layer, "gradients", {}).items()
    }
    assert gradients.keys() == {name for name, _ in net.named_parameters()}
    for name, gradient in gradients.items():
        assert_close(gradient, state.tensors[name].grad, bound)


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_of_blocks(name):
    make, function = BLOCKS[name]
    block = nn.init.kaiming_normal(make(), rng=0)
    check_gradients(block, state_of(block, training=True), function, picture(11, count=3), 1e-4)


@pytest.mark.parametrize("aux", [True, False])
def test_gradients_with_auxiliary_classifiers(aux):
    """GoogLeNet with two of its modules, which are where the classifiers sit."""
    trunk = {
        "inception4a": Inception(3, 4, 3, 5, 2, 3, 2),
        "inception4d": Inception(14, 2, 3, 4, 2, 3, 1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(10 * 7 * 7, 3),
    }
    sides = {
        name: AuxiliaryClassifier(channels, 3, "torchvision", None)
        for name, channels in (("aux1", 14), ("aux2", 10))
    }
    for side in sides.values():
        side.dropout.p = 0.0
    net = nn.init.kaiming_normal(GoogLeNet(trunk, sides if aux else {}), rng=0)

    def function(s, x):
        low = inception(s.at("inception4a"), x)
        middle = inception(s.at("inception4d"), low)
        scores = s.linear("fc", middle.flatten(1))
        if not aux:
            return scores
        side2 = auxiliary_classifier(s.at("aux2"), middle)
        return scores, side2, auxiliary_classifier(s.at("aux1"), low)

    check_gradients(net, state_of(net, training=True), function, picture(7, count=4), 2e-4)


def arrays_off_the_kinks(net, rng):
    """A state dict with which most channels, but one in 16, keep to one side of their ReLU.

    A value within rounding of 0 counts fully in one library and not at all in another, and one of
    them moves a channel's gradient by a tenth. With the kinks of a million values that happens.
    """
    arrays = net.state_dict()
    for path, channels in norms_in(arrays).items():
        number = np.arange(channels)
        side = np.where(number % 3 == 0, -5, 5) * (number % 16 != 0)
        arrays[path + "weight"] = rng.uniform(0.5, 1.0, channels)
        arrays[path + "bias"] = rng.normal(side, 0.2)
        arrays[path + "running_mean"] = rng.normal(scale=0.2, size=channels)
        arrays[path + "running_var"] = rng.uniform(0.5, 1.5, channels)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_a_whole_resnet50(training):
    """By floats as they are: "high" by tiles may move a value over a kink, which margins forbid."""
    rng = np.random.default_rng(6)
    net = models.resnet(50, classes=10, rng=0)
    arrays = arrays_off_the_kinks(net, rng)
    net.load_state_dict(arrays)
    net.train(training)
    x = rng.normal(size=(2, 3, 64, 64)).astype(np.float32)
    exact = State(tensors_of(arrays, torch.float64), training=training, margins=[])
    scores = resnet(exact, torch.from_numpy(x).double())
    assert min(exact.margins) > 5e-6, "some values are too close to a kink to compare gradients"
    with fastconv.precision("highest" if dispatch.has_tiles() else "high"):
        with nn.recording():
            assert_close(net(x), scores, 1e-4)
        net.load_state_dict(arrays)  # without what training has done to the running statistics
        state = State(tensors_of(arrays, torch.float32), training=training)
        check_gradients(net, state, resnet, x, 1e-3)


def test_auxiliary_classifiers_of_the_paper():
    head = nn.init.kaiming_normal(AuxiliaryClassifier(8, 5, "original", None), rng=0)
    x = np.random.default_rng(0).normal(size=(2, 8, 14, 14)).astype(np.float32)
    state = state_of(head)
    assert_close(head(x), auxiliary_classifier(state, torch.from_numpy(x), original=True))


def test_gradients_of_a_plain_network():
    net = models.resnet(18, classes=3, residual=False, rng=0).eval()
    x = picture(48)
    with nn.recording():
        y = net(x)
    dx = net.backward(np.ones_like(y))
    step = 1e-2 * dx / np.linalg.norm(dx)
    change = (net(x + step) - net(x - step)).sum() / 2
    assert change == pytest.approx(1e-2 * np.linalg.norm(dx), rel=0.02)


# ---------------------------------------------------------------- names


def names_of_resnet(counts, convolutions):
    yield from ("conv1.weight", *norm_names("bn1"))
    for stage, count in enumerate(counts, 1):
        for block in range(count):
            path = f"layer{stage}.{block}"
            for number in range(1, convolutions + 1):
                yield f"{path}.conv{number}.weight"
                yield from norm_names(f"{path}.bn{number}")
            if block == 0 and (stage > 1 or convolutions == 3):
                yield f"{path}.downsample.0.weight"
                yield from norm_names(f"{path}.downsample.1")
    yield from ("fc.weight", "fc.bias")


def norm_names(path):
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{path}.{part}" for part in parts]


def names_of_googlenet():
    def conv(path):
        return [f"{path}.conv.weight", *norm_names(f"{path}.bn")]

    yield from (*conv("conv1"), *conv("conv2"), *conv("conv3"))
    for module in "3a 3b 4a 4b 4c 4d 4e 5a 5b".split():
        for branch in ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"):
            yield from conv(f"inception{module}.{branch}")
    for aux in ("aux1", "aux2"):
        yield from conv(f"{aux}.conv")
        yield from (f"{aux}.{layer}.{part}" for layer in ("fc1", "fc2") for part in PARTS)
    yield from ("fc.weight", "fc.bias")


PARTS = ("weight", "bias")


def names_of_chain(features, classifier):
    for part, numbers in (("features", features), ("classifier", classifier)):
        yield from (f"{part}.{number}.{name}" for number in numbers for name in PARTS)


NAMES = {
    "resnet18": (lambda: models.resnet(18), names_of_resnet((2, 2, 2, 2), 2), 122),
    "resnet50": (lambda: models.resnet(50), names_of_resnet((3, 4, 6, 3), 3), 320),
    "googlenet": (lambda: models.googlenet(aux=True), names_of_googlenet(), None),
    "alexnet": (lambda: models.alexnet(), names_of_chain((0, 3, 6, 8, 10), (1, 4, 6)), 16),
    "vgg11": (
        lambda: models.vgg(11),
        names_of_chain((0, 3, 6, 8, 11, 13, 16, 18), (0, 3, 6)),
        22,
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_torchvision(name):
    make, expected, count = NAMES[name]
    names = [
        f"{path}.{array}"
        for path, layer in make().named_modules()
        if hasattr(layer, "state_shapes")
        for array in layer.state_shapes()
    ]
    assert sorted(names) == sorted(expected)
    assert count in (None, len(names))


def test_shapes_of_torchvision():
    arrays = models.resnet(50).state_dict()
    assert arrays["layer1.0.conv1.weight"].shape == (64, 64, 1, 1)
    assert arrays["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert arrays["layer4.2.bn3.running_var"].shape == (2048,)
    arrays = models.googlenet(aux=True).state_dict()
    assert arrays["inception3a.branch1.conv.weight"].shape == (64, 192, 1, 1)
    assert arrays["inception3a.branch3.1.conv.weight"].shape == (32, 16, 3, 3)
    assert arrays["aux1.fc1.weight"].shape == (1024, 2048)
