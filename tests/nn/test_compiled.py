"""`Module.compile`: the numbers of the eager network, whatever its layers and its `forward` do."""

import threading

import numpy as np
import pytest

import fastconv
from fastconv import models, nn
from fastconv._engine import dispatch

# Folded batch norms round the weights anew; tiles add the errors of "high", which
# whole networks multiply: 1.2e-5 was seen.
BOUND = 3e-5 if dispatch.has_tiles() else 1e-5


def close(compiled, eager):
    assert compiled.shape == eager.shape and compiled.dtype == eager.dtype
    scale = np.abs(eager).max(initial=0) or 1
    np.testing.assert_allclose(compiled, eager, atol=BOUND * scale, rtol=0)


def check(module, *inputs):
    """Compare the first call, which follows, and the second, which the executor runs."""
    module.eval()
    wanted, compiled = module(*inputs), module.compile()
    for _ in range(2):
        got = compiled(*inputs)
        if isinstance(wanted, tuple):
            assert type(got) is type(wanted)
            for a, b in zip(got, wanted, strict=True):
                close(a, b)
        else:
            close(got, wanted)
    return compiled


def operators(compiled):
    ((executor, _),) = compiled._graphs.values()
    return [f"{node.domain}:{node.op}" if node.domain else node.op for node in executor.graph.nodes]


SMALL = {"alexnet": (3, 96, 96), "googlenet": (3, 64, 64), "resnet18": (3, 64, 64),
         "resnet50_original": (3, 64, 64), "plain18": (3, 64, 64), "vgg16_bn": (3, 64, 64)}


@pytest.mark.parametrize("name", ["lenet5", "convnetjs", *SMALL, "googlenet_original"])
def test_known_networks(name, rng):
    net = models.create(name)
    shape = SMALL.get(name) or models.input_shape(name)
    compiled = check(net, rng.standard_normal((2, *shape)).astype(np.float32))
    own = [op for op in operators(compiled) if ":" in op]
    assert set(own) <= {"fastconv.nn:AdaptiveAvgPool2d"}  # of other sizes than 1
    assert "BatchNormalization" not in operators(compiled)
    assert "Add" not in operators(compiled)


@pytest.mark.parametrize("net, size", [(models.PNet, 40), (models.RNet, 24), (models.ONet, 48)])
def test_several_results(net, size, rng):
    check(net(), rng.standard_normal((3, 3, size, size)).astype(np.float32))


LAYERS = [
    nn.Conv2d(8, 6, 3, stride=2, padding=((0, 1), (2, 0)), groups=2, activation="relu"),
    nn.Conv2d(8, 6, 3, padding="same", dilation=2, activation=("leaky_relu", 0.1)),
    nn.Conv2d(8, 6, 3, algorithm="direct"),
    nn.Conv2d(8, 6, 3, precision="highest", bias=False),
    nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1),
    nn.BatchNorm2d(8, affine=False),
    nn.LocalResponseNorm(5, alpha=0.1), nn.LocalResponseNorm(4),
    nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, dilation=2),
    nn.AvgPool2d(3, 2, padding=1), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(2, divisor_override=3),
    nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((3, 4)), nn.AdaptiveAvgPool2d((11, 13)),
    nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d((None, 1)),
    nn.Flatten(), nn.Flatten(2), nn.Identity(), nn.Dropout(),
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.PReLU(), nn.PReLU(8), nn.Sigmoid(), nn.Tanh(),
    nn.SiLU(), nn.Hardsigmoid(), nn.Hardswish(), nn.Softmax(1), nn.LogSoftmax(-1),
    nn.Linear(13, 5, activation="relu"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_layer(layer, dtype, rng):
    x = (3 * rng.standard_normal((2, 8, 11, 13))).astype(dtype)
    check(layer, x)
    try:
        layer.eval()(x[0])
    except ValueError as error:  # no batch axis means other channels to it
        with pytest.raises(ValueError) as info:
            layer.compile()(x[0])
        assert str(info.value) == str(error)
    else:
        check(layer, x[0])


def test_other_dimensions_and_orders(rng):
    check(nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.MaxPool1d(2)),
          rng.random((2, 3, 20), np.float32))
    check(nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AvgPool3d(2)),
          rng.random((1, 3, 8, 9, 7), np.float32))
    last = nn.Sequential(nn.Conv2d(3, 4, 3, layout="NHWC"), nn.BatchNorm2d(4, layout="NHWC"))
    check(last, rng.random((1, 8, 9, 3), np.float32))
    check(nn.Sequential(nn.Linear(6, 4, activation="relu"), nn.Linear(4, 2)),
          rng.random((5, 6), np.float32))


def test_integers_are_cast_as_layers_do(rng):
    check(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), rng.integers(0, 9, (1, 3, 8, 8)))


class Arithmetic(nn.Module):
    """What a `forward` may do that is followed, and, with `odd`, what is not."""

    def __init__(self, odd):
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.relu, self.odd = nn.ReLU(), odd

    def forward(self, x):
        y = self.first(x)
        sums = (2 * y + self.second(x) - x) / np.float32(3) + np.ones((3, 1, 1), np.float32)
        sums = self.relu(sums)
        if self.odd == "looks":
            sums = sums * np.float32(np.asarray(sums).max())
        if self.odd == "slices":
            sums = sums[:, :, ::2]
        if self.odd == "functional":
            sums = fastconv.relu(sums - 1)
        if self.odd == "widens":
            sums = sums * np.arange(3.0).reshape(3, 1, 1)
        return np.concatenate([sums, sums], axis=1)


@pytest.mark.parametrize("odd", ["", "looks", "slices", "functional", "widens"])
def test_what_forward_does(odd, rng):
    part = Arithmetic(odd)
    compiled = check(nn.Sequential(nn.Conv2d(3, 3, 3), part, nn.ReLU()),
                     rng.random((2, 3, 9, 8), np.float32))
    assert ("fastconv.nn:Arithmetic" in operators(compiled)) == bool(odd)


def test_one_module_at_two_places(rng):
    conv = nn.Conv2d(3, 3, 3, padding=1)
    check(nn.Sequential(conv, nn.ReLU(), conv), rng.random((1, 3, 8, 8), np.float32))


def test_new_shapes_and_their_limit(rng):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2)).eval()
    compiled = net.compile()
    for size in (5, 6, 7, 8, 9, 10, 5, 6):
        x = rng.random((1, 3, size, size), np.float32)
        close(compiled(x), net(x))
    assert len(compiled._graphs) == 4


def test_results_belong_to_the_caller(rng):
    net = nn.Identity().eval()
    compiled, x = net.compile(), rng.random((2, 3), np.float32)
    for _ in range(2):
        y = compiled(x)
        assert not np.may_share_memory(x, y) and y.flags.writeable


def test_training_mode_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"Sequential.compile: .* training mode; call eval\(\)"):
        net.compile()


def test_errors_of_forward_come_through(rng):
    compiled = nn.Conv2d(3, 4, 3).eval().compile()
    with pytest.raises(ValueError, match="has 2"):
        compiled(rng.random((1, 2, 8, 8), np.float32))
    assert "forward" not in vars(compiled._module)


def test_many_threads(rng):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    x = rng.random((4, 3, 16, 16), np.float32)
    wanted, compiled, failed = net(x), net.compile(), []

    def work():
        for _ in range(20):
            if not np.allclose(compiled(x), wanted, atol=1e-5):
                failed.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
