"""Gradients of every layer: against central differences in float64, and against PyTorch."""

import numpy as np
import pytest

from fastconv import nn

F64 = {"dtype": np.float64}
FUSED = [
    "relu",
    "relu6",
    ("leaky_relu", 0.1),
    ("leaky_relu", -0.5),
    ("clip", -0.3, 0.4),
    "sigmoid",
    "tanh",
    "silu",
    "hardsigmoid",
    "hardswish",
]

# Layers in float64, and the shape of an input.
LAYERS = {
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, 2, 1, **F64), (2, 2, 7)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), (1, 2), groups=2, **F64), (2, 4, 5, 6)),
    "conv2d same": (lambda: nn.Conv2d(2, 3, 3, 2, "same", **F64), (2, 2, 5, 4)),
    "conv2d uneven": (lambda: nn.Conv2d(2, 2, 3, padding=((2, 0), (1, 3)), **F64), (1, 2, 4, 4)),
    "conv2d last": (lambda: nn.Conv2d(2, 3, 3, layout="NHWC", **F64), (2, 5, 4, 2)),
    "conv2d alone": (lambda: nn.Conv2d(2, 3, 3, dilation=2, bias=False, **F64), (2, 6, 7)),
    "conv3d": (lambda: nn.Conv3d(2, 2, 2, **F64), (1, 2, 3, 4, 3)),
    "transpose1d": (lambda: nn.ConvTranspose1d(2, 3, 3, 2, 1, 1, **F64), (2, 2, 4)),
    "transpose2d": (lambda: nn.ConvTranspose2d(4, 2, 3, 2, groups=2, **F64), (1, 4, 3, 4)),
    "transpose3d": (lambda: nn.ConvTranspose3d(2, 2, 2, bias=False, **F64), (1, 2, 2, 3, 3)),
    "linear": (lambda: nn.Linear(5, 3, **F64), (4, 5)),
    "linear deep": (lambda: nn.Linear(5, 3, bias=False, **F64), (2, 3, 5)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(3, **F64), (6, 3)),
    "batch norm": (lambda: nn.BatchNorm2d(3, **F64), (2, 3, 4, 3)),
    "batch norm last": (lambda: nn.BatchNorm2d(3, layout="NHWC", **F64), (2, 4, 3, 3)),
    "batch norm bare": (lambda: nn.BatchNorm2d(3, affine=False, **F64), (2, 3, 4, 3)),
    "lrn": (lambda: nn.LocalResponseNorm(3, 0.5), (2, 5, 3, 3)),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), (2, 2, 6, 5)),
    "max pool last": (lambda: nn.MaxPool2d(2, layout="NHWC"), (2, 4, 6, 3)),
    "max pool 1d": (lambda: nn.MaxPool1d(3, 1), (2, 2, 6)),
    "max pool 3d": (lambda: nn.MaxPool3d(2), (1, 2, 4, 4, 4)),
    "average pool": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 2, 6, 6)),
    "average pool bare": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 2, 6, 6)),
    "adaptive average": (lambda: nn.AdaptiveAvgPool2d((2, 3)), (2, 2, 5, 4)),
    "adaptive max": (lambda: nn.AdaptiveMaxPool2d((2, 3)), (2, 2, 5, 4)),
    "prelu": (lambda: nn.PReLU(3, **F64), (2, 3, 4)),
    "leaky relu": (lambda: nn.LeakyReLU(-0.3), (3, 4)),
    "softmax": (lambda: nn.Softmax(1), (3, 4)),
    "log softmax": (lambda: nn.LogSoftmax(0), (3, 4)),
    "flatten": (lambda: nn.Flatten(), (3, 2, 2)),
    "identity": (lambda: nn.Identity(), (3, 2)),
    "residual": (
        lambda: nn.Residual(
            nn.Conv2d(2, 3, 3, padding=1, **F64), nn.Conv2d(2, 3, 1, **F64), nn.ReLU()
        ),
        (2, 2, 4, 4),
    ),
    "residual bare": (lambda: nn.Residual(nn.Conv2d(2, 2, 3, padding=1, **F64)), (1, 2, 4, 4)),
    "concat": (
        lambda: nn.Concat(nn.Conv2d(2, 3, 1, **F64), nn.Identity(), nn.MaxPool2d(3, 1, 1)),
        (2, 2, 4, 4),
    ),
    "concat last": (
        lambda: nn.Concat(nn.ReLU(), nn.Conv2d(2, 1, 1, layout="NHWC", **F64), axis=-1),
        (2, 4, 4, 2),
    ),
}
LAYERS.update(
    (name, (getattr(nn, name), (3, 7)))
    for name in ("ReLU", "ReLU6", "Sigmoid", "Tanh", "SiLU", "Hardsigmoid", "Hardswish")
)
LAYERS.update(
    (f"fused {fused}", (lambda fused=fused: nn.Linear(4, 5, activation=fused, **F64), (6, 4)))
    for fused in FUSED
)
each_layer = pytest.mark.parametrize("make, shape", LAYERS.values(), ids=LAYERS)


def randomise(module, rng):
    """Give all arrays below a module random values."""
    state = {
        name: rng.uniform(0.5, 1.5, array.shape) * rng.choice([-1, 1], array.shape)
        for name, array in module.state_dict().items()
        if name.split(".")[-1] not in ("running_var", "num_batches_tracked")
    }
    module.load_state_dict(state, strict=False)
    return module


def differences(function, array, step=1e-6):
    """Gradient of a function of nothing by central differences, changing `array` in place."""
    result = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        before = array[index]
        values = []
        for side in (step, -step):
            array[index] = before + side
            values.append(function())
        array[index] = before
        result[index] = (values[0] - values[1]) / (2 * step)
    return result


def check(module, x, rng):
    """Hold the gradients of x and of all parameters to central differences."""
    y = module(x)
    grad = rng.normal(size=y.shape)
    module.forget()

    def number():
        return float((module(x) * grad).sum())

    module(x)
    dx = module.backward(grad)
    wanted = {"x": differences(number, x)}
    found = {"x": dx}
    for place, layer in enumerate(module.modules()):
        for name in getattr(layer, "gradients", ()):
            found[f"{place}.{name}"] = layer.gradients[name]
            wanted[f"{place}.{name}"] = differences(number, getattr(layer, name))
    assert len(found) - 1 == len(list(module.parameters()))
    for name in found:
        scale = abs(wanted[name]).max()
        np.testing.assert_allclose(
            found[name], wanted[name], rtol=0, atol=2e-8 * max(scale, 1), err_msg=name
        )


@each_layer
def test_gradients_are_those_of_the_forward(make, shape, rng):
    check(randomise(make(), rng), rng.normal(size=shape), rng)


@pytest.mark.parametrize("fused", FUSED, ids=str)
@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_fused_activations_of_convolutions(kind, fused, rng):
    layer = getattr(nn, kind)(2, 3, 2, activation=fused, **F64)
    check(randomise(layer, rng), rng.normal(size=(1, 2, 4, 4)), rng)


def test_batch_norm_with_running_statistics_inside_a_network_in_training(rng):
    net = nn.Sequential(nn.Conv2d(2, 3, 3, **F64), nn.BatchNorm2d(3, **F64), nn.ReLU())
    randomise(net, rng)
    net[1].eval()
    check(net, rng.normal(size=(2, 2, 5, 5)), rng)
    assert net[1].num_batches_tracked == 0


def test_a_network_in_evaluation_mode_while_recording(rng):
    net = nn.Sequential(nn.Conv2d(2, 3, 3, activation="silu", **F64), nn.BatchNorm2d(3, **F64))
    x = rng.normal(size=(2, 2, 5, 5))
    randomise(net, rng).train()
    net[1].eval()
    wanted = [net(x), net.backward(np.ones((2, 3, 3, 3)))]
    net.eval()
    with nn.recording():
        found = [net(x), net.backward(np.ones((2, 3, 3, 3)))]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_dropout_drops_the_same_elements_on_the_way_back(rng):
    layer = nn.Dropout(0.5, rng=1)
    y = layer(np.ones((20, 30)))
    np.testing.assert_array_equal(layer.backward(np.ones((20, 30))), y)
    layer = nn.Dropout(0.5)
    with nn.recording():
        layer.eval()(np.ones(3))
    np.testing.assert_array_equal(layer.backward(np.arange(3.0)), np.arange(3.0))
    for p, kept in ((0, 1), (1, 0)):
        layer = nn.Dropout(p)
        layer(np.ones(5))
        np.testing.assert_array_equal(layer.backward(np.ones(5)), np.full(5, kept))


def test_gradients_add_up_until_dropped(rng):
    layer = nn.Linear(3, 2, rng=0)
    x, grad = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    layer(x)
    layer.backward(grad)
    once = layer.gradients["weight"].copy()
    layer(x)
    layer.backward(grad)
    np.testing.assert_allclose(layer.gradients["weight"], 2 * once, rtol=1e-6)
    assert layer.gradients["weight"].dtype == np.float32
    layer.zero_grad()
    assert layer.gradients == {}


def test_gradients_belong_to_the_layer_alone(rng):
    layer = nn.Linear(3, 2)
    grad = np.ones((1, 2), np.float32)
    for _ in range(2):
        layer(np.ones((1, 3), np.float32))
        layer.backward(grad)
    np.testing.assert_array_equal(grad, 1)


def test_a_layer_may_stand_in_a_network_twice(rng):
    relu = nn.ReLU()
    linear = nn.Linear(4, 4, **F64)
    net = nn.Sequential(linear, relu, linear, relu)
    check(randomise(net, rng), rng.normal(size=(3, 4)), rng)
    assert len(list(net.parameters())) == 2


@each_layer
def test_backward_needs_a_forward_in_training_mode(make, shape, rng):
    module = make()
    x = rng.normal(size=shape)
    kind = "|".join({type(part).__name__ for part in module.modules()})
    error = rf"^({kind})\(.*\): backward needs a forward in training mode"
    y = module(x)
    module.backward(y)
    with pytest.raises(RuntimeError, match=error):
        module.backward(y)  # each forward serves once
    module.eval()
    module(x)
    with pytest.raises(RuntimeError, match=error):
        module.backward(y)
    module.train()
    module(x)
    module.eval()
    with pytest.raises(RuntimeError, match=error):
        module.backward(y)


def gradients_after(module, x, grad, go_back):
    """Return what one forward and one way back leave, by name; the state before comes back."""
    state = module.state_dict()
    module.zero_grad()
    module(x)
    go_back(grad)
    module.load_state_dict(state)
    layers = [layer for layer in module.modules() if hasattr(layer, "gradients")]
    return [array.copy() for layer in layers for array in layer.gradients.values()]


@each_layer
def test_backward_parameters_gives_the_same_bits(make, shape, rng):
    module = randomise(make(), rng)
    x = rng.normal(size=shape)
    grad = rng.normal(size=module(x).shape)
    wanted = gradients_after(module, x, grad, module.backward)
    found = gradients_after(module, x, grad, module.backward_parameters)
    assert len(found) == len(wanted) == len(list(module.parameters()))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RuntimeError, match="each forward serves once"):
        module.backward_parameters(grad)


def test_backward_parameters_leaves_out_the_input_of_first_layers(rng):
    left_out = []

    def conv(name):
        layer = nn.Conv2d(2, 2, 1)
        whole = layer.input_gradient
        vars(layer)["input_gradient"] = lambda x, grad: left_out.remove(name) or whole(x, grad)
        left_out.append(name)
        return layer

    net = nn.Sequential(
        nn.Residual(
            nn.Concat(nn.Sequential(conv("first"), conv("second")), conv("beside")),
            nn.Conv2d(2, 4, 1),
            nn.ReLU(),
        ),
        nn.Conv2d(4, 1, 1),
    )
    y = net(rng.normal(size=(1, 2, 3, 3)))
    assert net.backward_parameters(np.ones_like(y)) is None
    assert left_out == ["first", "beside"]


def test_backward_parameters_does_not_pass_a_backward_of_ones_own():
    class Clipped(nn.Sequential):
        def backward(self, grad):
            return super().backward(np.clip(grad, -1, 1))

    net = Clipped(nn.Linear(1, 1))
    net(np.ones((1, 1)))
    net.backward_parameters(np.full((1, 1), 5.0))
    assert net[0].gradients["bias"] == [1]


def test_forwards_without_backward_do_not_pile_up():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    for _ in range(3):
        net(np.ones((1, 3)))
    net.backward(np.ones((1, 3)))
    with pytest.raises(RuntimeError):
        net.backward(np.ones((1, 3)))


def test_a_forward_that_fails_ends_the_recording(rng):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4))
    with pytest.raises(ValueError):
        net(np.ones((1, 3)))
    net.eval()[0](np.ones((1, 3)))
    with pytest.raises(RuntimeError):
        net[0].backward(np.ones((1, 3)))


def test_evaluation_mode_keeps_nothing():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Flatten()).eval()
    net(np.ones((1, 1, 4, 4)))
    assert not any("_memory" in vars(module) for module in net.modules())


def test_backward_must_be_written():
    class Half(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match="Half: backward is not defined"):
        Half().backward(np.ones(3))


# ---------------------------------------------------------------- PyTorch


def build(library, **options):
    """A network with everything in it, of either library."""
    layers = [
        library.Conv2d(3, 8, 3, 2, 1, bias=False, **options),
        library.BatchNorm2d(8, **options),
        library.ReLU(),
        library.Conv2d(8, 8, 3, 1, 1, groups=4, **options),
        library.MaxPool2d(3, 2, 1),
        library.LocalResponseNorm(5, 0.1),
        library.ConvTranspose2d(8, 4, 3, 2, 1, 1, **options),
        library.SiLU(),
        library.AvgPool2d(2),
        library.Flatten(),
        library.Linear(4 * 4 * 4, 5, **options),
    ]
    return library.Sequential(*layers)


@pytest.mark.parametrize("running", [False, True], ids=["batch", "running"])
def test_as_torch(running, rng):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs, ours = build(torch.nn).double(), build(nn, **F64)
    ours.load_state_dict(theirs.state_dict())
    if running:
        theirs[1].eval()
        ours[1].eval()
    x, grad = rng.normal(size=(4, 3, 16, 16)), rng.normal(size=(4, 5))
    tensor = torch.from_numpy(x).requires_grad_()
    y = theirs(tensor)
    np.testing.assert_allclose(ours(x), y.detach().numpy(), rtol=1e-9, atol=1e-11)
    y.backward(torch.from_numpy(grad))
    np.testing.assert_allclose(ours.backward(grad), tensor.grad.numpy(), rtol=1e-9, atol=1e-11)
    found = {
        f"{path}.{name}": layer.gradients[name]
        for path, layer in ours.named_modules()
        for name in getattr(layer, "gradients", ())
    }
    wanted = {name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()}
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-11, err_msg=name)
