"""`Module`: modes, children, repr; and the arrays of layers: checks, copies, pickling."""

import copy
import pickle

import numpy as np
import pytest

from fastconv import nn


class Branches(nn.Module):
    """A model as users write them: layers as attributes, no call of the base constructor."""

    def __init__(self):
        self.left = nn.Conv2d(2, 3, 1, rng=1)
        self.right = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1, rng=2))
        self.scale = 2.0

    def forward(self, x):
        return self.left(x) + self.scale * self.right(x)


def test_new_modules_are_in_training_mode():
    assert Branches().training
    assert nn.ReLU().training


def test_mode_reaches_every_descendant_and_comes_back():
    model = Branches()
    everyone = [model, model.left, model.right, model.right[0], model.right[1]]
    assert model.eval() is model
    assert not any(module.training for module in everyone)
    assert model.train() is model
    assert all(module.training for module in everyone)
    model.train(False)
    assert not any(module.training for module in everyone)


def test_mode_is_not_set_behind_the_back_of_the_children():
    with pytest.raises(AttributeError):
        Branches().training = False


def test_children_are_the_attributes_that_are_modules():
    model = Branches()
    assert model.named_children() == [("left", model.left), ("right", model.right)]


def test_forward_must_be_written():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty: forward"):
        Empty()(np.zeros(3))


def test_repr_nests():
    assert repr(Branches()) == (
        "Branches(\n"
        "  (left): Conv2d(2, 3, kernel_size=(1, 1), stride=(1, 1))\n"
        "  (right): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
        "  )\n"
        ")"
    )


# One of each kind of layer with arrays, and an input for it.
ARRAY_LAYERS = {
    "conv": (lambda dtype: nn.Conv2d(2, 3, 3, rng=0, dtype=dtype), (1, 2, 6, 7)),
    "transpose": (lambda dtype: nn.ConvTranspose1d(2, 3, 3, rng=0, dtype=dtype), (1, 2, 6)),
    "linear": (lambda dtype: nn.Linear(5, 4, rng=0, dtype=dtype), (3, 5)),
    "batch_norm": (lambda dtype: nn.BatchNorm2d(2, dtype=dtype), (4, 2, 5, 5)),
    "prelu": (lambda dtype: nn.PReLU(2, dtype=dtype), (4, 2, 5)),
}
each_layer = pytest.mark.parametrize("make, shape", ARRAY_LAYERS.values(), ids=ARRAY_LAYERS)


@each_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
def test_layers_cast_their_input(make, shape, dtype, training):
    layer = make(dtype).train(training)
    pixels = np.arange(np.prod(shape)).reshape(shape) % 17
    expected = layer(pixels.astype(dtype))
    for cast in (np.uint8, np.float16, ">f4", np.float64):
        result = layer(pixels.astype(cast))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)


@each_layer
def test_complex_input_is_refused(make, shape):
    layer = make(np.float32)
    with pytest.raises(TypeError, match=rf"{type(layer).__name__}: x .*complex"):
        layer(np.zeros(shape, complex))


@each_layer
def test_assigned_arrays_are_copied_and_cast(make, shape):
    layer = make(np.float32)
    values = np.asfortranarray(np.full(layer.weight.shape, 2))
    layer.weight = values
    assert layer.weight.dtype == np.float32
    assert layer.weight.flags.c_contiguous
    assert not np.shares_memory(layer.weight, values)
    np.testing.assert_array_equal(layer.weight, values)


@each_layer
def test_assigned_arrays_must_fit(make, shape):
    layer = make(np.float32)
    before = layer.weight.copy()
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"{name}: weight must have shape .* got \(9, 9\)"):
        layer.weight = np.zeros((9, 9))
    with pytest.raises(TypeError, match=f"{name}: weight"):
        layer.weight = np.zeros(before.shape, complex)
    np.testing.assert_array_equal(layer.weight, before)


@pytest.mark.parametrize("dtype", [np.float16, int, "complex64", "nonsense", None, 3])
def test_dtype_must_be_a_native_float(dtype):
    with pytest.raises(TypeError, match="Linear: dtype must be float32 or float64"):
        nn.Linear(2, 2, dtype=dtype)


DUPLICATORS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "pickle5": lambda layer: pickle.loads(pickle.dumps(layer, protocol=5)),
}


@each_layer
@pytest.mark.parametrize("duplicate", DUPLICATORS.values(), ids=DUPLICATORS)
@pytest.mark.parametrize("training", [True, False])
def test_duplicates_work_alike_and_share_nothing(make, shape, duplicate, training):
    layer = make(np.float64).train(training)
    x = np.random.default_rng(3).normal(size=shape)
    layer(x)  # packs, in evaluation mode
    twin = duplicate(layer)
    expected = layer(x)
    assert twin.training is training
    assert not np.shares_memory(twin.weight, layer.weight)
    np.testing.assert_array_equal(twin(x), expected)
    twin.train().weight[...] = 0.5
    layer.eval()
    x = np.abs(x) - 0.5
    assert not np.array_equal(twin.eval()(x), layer(x))


def test_models_survive_pickling():
    model = Branches().eval()
    x = np.random.default_rng(4).normal(size=(1, 2, 5, 5))
    expected = model(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(x), expected)
