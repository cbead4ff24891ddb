"""`Linear` against the reference and torch.nn."""

import numpy as np
import pytest

from fastconv import nn, reference


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [None, "relu", ("leaky_relu", 0.2)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear(shape, bias, activation, dtype):
    layer = nn.Linear(7, 4, bias, activation=activation, dtype=dtype, rng=0)
    x = np.random.default_rng(1).normal(size=shape)
    wanted = reference.linear(
        x.astype(dtype).astype(float),
        layer.weight.astype(float),
        layer.bias.astype(float) if bias else None,
        activation=activation,
    )
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    for training in (True, False):
        result = layer.train(training)(x)
        assert result.dtype == dtype
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
def test_the_wrong_number_of_features_is_refused(training):
    with pytest.raises(ValueError, match="7"):
        nn.Linear(7, 4).train(training)(np.zeros((2, 6)))


@pytest.mark.parametrize("bad", [{"in_features": 0}, {"out_features": -1}, {"activation": "x"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=f"Linear: {next(iter(bad))}"):
        nn.Linear(**{"in_features": 3, "out_features": 4, **bad})


def test_repr():
    assert repr(nn.Linear(3, 4, False, activation="relu", dtype="float64")) == (
        "Linear(in_features=3, out_features=4, bias=False, activation=relu, dtype=float64)"
    )


def test_as_torch():
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs, ours = torch.nn.Linear(7, 4), nn.Linear(7, 4)
    assert repr(ours) == repr(theirs)
    ours.weight, ours.bias = theirs.weight.detach().numpy(), theirs.bias.detach().numpy()
    x = np.random.default_rng(2).normal(size=(6, 7)).astype(np.float32)
    wanted = theirs(torch.from_numpy(x)).detach().numpy()
    for training in (True, False):
        np.testing.assert_allclose(ours.train(training)(x), wanted, rtol=1e-6, atol=1e-6)
