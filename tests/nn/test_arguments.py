"""Initial weights: drawn when looked at, the same whenever that is."""

import copy
import pickle

import numpy as np

from fastconv import nn
from fastconv.nn.arguments import uniform_by_fan_in


def test_layers_of_any_size_cost_nothing_until_somebody_looks():
    layer = nn.Linear(1 << 20, 1 << 22)  # 16 TB of weights
    assert layer.eval().array_shapes["weight"] == (1 << 22, 1 << 20)


def test_the_order_of_looking_changes_nothing():
    def pair():
        rng = np.random.default_rng(3)
        return nn.Linear(4, 5, rng=rng), nn.Linear(4, 5, rng=rng)

    (a, b), (c, d) = pair(), pair()
    weights = [layer.weight for layer in (a, b, d, c)]
    np.testing.assert_array_equal(weights[0], weights[3])
    np.testing.assert_array_equal(weights[1], weights[2])
    assert not np.array_equal(weights[0], weights[1])


def test_an_array_that_was_looked_at_stays():
    layer = nn.Linear(4, 5, rng=1)
    layer.weight[0] = 7
    assert (layer.weight[0] == 7).all()


def test_arrays_drawn_in_evaluation_mode_are_read_only():
    layer = nn.Linear(4, 5, rng=1).eval()
    assert not layer.weight.flags.writeable
    assert layer.train().weight.flags.writeable


def test_copies_made_before_the_first_look_draw_the_same():
    layer = nn.Linear(4, 5, rng=1)
    twins = copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    for twin in twins:
        np.testing.assert_array_equal(twin.weight, layer.weight)
        assert not np.shares_memory(twin.weight, layer.weight)


def test_uniform_by_fan_in():
    rng, shape, fan_in = np.random.default_rng(0), (300, 200), 50
    values = uniform_by_fan_in(rng, shape, fan_in, np.dtype(np.float64)).draw()
    assert values.dtype == np.float64
    assert abs(values).max() <= 50**-0.5
    # 60,000 numbers: the deviation is estimated to 0.3 %, the mean to 0.4 % of it.
    deviation = (3 * 50) ** -0.5
    assert abs(values.std() / deviation - 1) < 0.02
    assert abs(values.mean() / deviation) < 0.02
