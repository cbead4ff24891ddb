"""Layers that pack their weights: once in evaluation mode, never stale, safe in threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastconv import nn


class CountingConv(nn.Conv2d):
    """A convolution that counts how often its weights are packed."""

    def __init__(self, *args, **options):
        self.packings = []
        super().__init__(*args, **options)

    def prepare(self):
        self.packings.append(1)
        return super().prepare()


LAYERS = {
    "conv": (lambda: nn.Conv2d(3, 4, 3, rng=1), (2, 3, 8, 9)),
    "transpose": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, rng=1), (2, 3, 8, 9)),
    "linear": (lambda: nn.Linear(6, 4, rng=1), (5, 6)),
}
each_layer = pytest.mark.parametrize("make, shape", LAYERS.values(), ids=LAYERS)


def data(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_packs_once_in_evaluation_mode_and_never_in_training():
    layer, x = CountingConv(3, 4, 3), data((2, 3, 8, 9))
    layer(x)
    assert not layer.packings
    layer.eval()
    for height in (8, 8, 6, 5):
        layer(x[:, :, :height])
    assert len(layer.packings) == 1


def test_new_weights_modes_and_settings_pack_anew():
    layer, x = CountingConv(3, 4, 3).eval(), data((2, 3, 8, 9))
    changes = {
        "weight": lambda: setattr(layer, "weight", layer.weight * 2),
        "bias": lambda: setattr(layer, "bias", None),
        "mode": lambda: layer.train().eval(),
        "setting": lambda: setattr(layer, "stride", (2, 2)),
    }
    layer(x)
    for count, change in enumerate(changes.values(), start=2):
        change()
        layer(x)
        layer(x)
        assert len(layer.packings) == count


@each_layer
def test_both_modes_give_the_same_numbers(make, shape):
    layer, x = make(), data(shape)
    trained = layer(x)
    np.testing.assert_allclose(layer.eval()(x), trained, rtol=1e-5, atol=5e-5)


@each_layer
@pytest.mark.parametrize("training", [True, False])
def test_assigning_takes_effect(make, shape, training):
    layer, x = make().train(training), data(shape)
    layer(x)
    layer.weight = np.zeros(layer.weight.shape)
    layer.bias = np.arange(4)
    channels = layer(x) if x.ndim == 2 else np.moveaxis(layer(x), 1, -1)
    np.testing.assert_array_equal(channels, np.broadcast_to(np.arange(4), channels.shape))
    layer.bias = None
    assert not layer(x).any()


@each_layer
def test_in_place_changes_work_in_training_mode(make, shape):
    layer, x = make(), data(shape)
    layer.eval()(x)
    layer.train()
    layer.weight[...] = 0
    layer.bias[...] = 3
    assert (layer(x) == 3).all()
    assert (layer.eval()(x) == 3).all()


@each_layer
def test_in_place_changes_are_refused_in_evaluation_mode(make, shape):
    layer, x = make(), data(shape)
    weight_of_training = layer.weight
    layer.eval()
    expected = layer(x)
    for array in (layer.weight, layer.bias, weight_of_training):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    layer.weight = layer.weight
    layer.bias = layer.bias
    for array in (layer.weight, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            array += 1
    np.testing.assert_array_equal(layer(x), expected)


@each_layer
def test_many_threads_may_make_the_first_call(make, shape):
    layer, x = make().eval(), data(shape)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(layer, [x] * 32))
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@each_layer
def test_initial_weights_are_bounded_reproducible_and_spread(make, shape):
    layer = make()
    bound = 1 / np.sqrt(np.prod(layer.weight.shape[1:]))
    for array in (layer.weight, layer.bias):
        assert array.dtype == np.float32
        assert (abs(array) <= bound).all()
    # Uniform on [-bound, bound]: the standard deviation is bound/sqrt(3), give or take.
    assert 0.4 * bound < layer.weight.std() < 0.75 * bound
    np.testing.assert_array_equal(make().weight, layer.weight)
    np.testing.assert_array_equal(make().bias, layer.bias)


def test_generators_and_seeds_are_both_sources():
    seeded = nn.Linear(3, 3, rng=7)
    generated = nn.Linear(3, 3, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(seeded.weight, generated.weight)
    assert not np.array_equal(nn.Linear(3, 3).weight, nn.Linear(3, 3).weight)
    for bad in ("seed", -1, 0.5):
        with pytest.raises(TypeError, match="Linear: rng must be"):
            nn.Linear(3, 3, rng=bad)
