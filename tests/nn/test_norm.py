"""Normalisation layers against the reference and torch.nn, in both modes."""

import numpy as np
import pytest

from fastconv import nn, reference

SPATIAL = {1: (11,), 2: (5, 4), 3: (3, 4, 5)}
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def data(nd):
    return np.random.default_rng(nd).normal(2, 3, size=(4, 6, *SPATIAL[nd]))


def fill(layer):
    """Give a batch normalisation numbers that differ from channel to channel."""
    rng = np.random.default_rng(9)
    layer.weight, layer.bias, layer.running_mean = rng.normal(size=(3, 6))
    layer.running_var = rng.uniform(0.5, 2, size=6)
    return layer


# Without a batch axis there is no 1-D case: two axes are batch and channels there.
@pytest.mark.parametrize("nd, batched", [(1, True), (2, True), (2, False), (3, True), (3, False)])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_batch_norm_uses_running_statistics(nd, channels_last, batched, dtype, tolerance):
    layout = LAYOUTS[nd][channels_last]
    layer = fill(getattr(nn, f"BatchNorm{nd}d")(6, 1e-3, layout=layout, dtype=dtype)).eval()
    x = np.moveaxis(data(nd), 1, -1) if channels_last else data(nd)
    x = x if batched else x[0]
    arrays = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    arrays = (array.astype(float) for array in arrays)
    wanted = reference.batch_norm(x.astype(dtype).astype(float), *arrays, 1e-3, layout=layout)
    result = layer(x)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("channels_last", [False, True])
def test_batch_norm_of_batches_of_vectors(channels_last):
    layer = fill(nn.BatchNorm1d(6, layout=LAYOUTS[1][channels_last], dtype=np.float64)).eval()
    x = data(1)[:, :, 0]
    scale = layer.weight / np.sqrt(layer.running_var + 1e-5)
    wanted = (x - layer.running_mean) * scale + layer.bias
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_batch_norm_takes_statistics_of_the_batch_in_training(nd, channels_last):
    layer = getattr(nn, f"BatchNorm{nd}d")(6, layout=LAYOUTS[nd][channels_last], dtype=np.float64)
    x = data(nd)
    y = layer(np.moveaxis(x, 1, -1) if channels_last else x)
    y = np.moveaxis(y, -1, 1) if channels_last else y
    rows = np.moveaxis(y, 1, 0).reshape(6, -1)
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(rows.var(axis=1), 1, rtol=1e-4)
    channels = np.moveaxis(x, 1, 0).reshape(6, -1)
    np.testing.assert_allclose(layer.running_mean, 0.1 * channels.mean(axis=1))
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * channels.var(axis=1, ddof=1))


def test_batch_norm_without_weights():
    layer = nn.BatchNorm2d(6, affine=False, dtype=np.float64).eval()
    assert layer.weight is None and layer.bias is None
    np.testing.assert_allclose(layer(data(2)), data(2) / np.sqrt(1 + 1e-5), rtol=1e-13)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_refuses_what_does_not_fit(training):
    layer = nn.BatchNorm2d(5).train(training)
    with pytest.raises(ValueError, match=r"BatchNorm2d: x must have 5 channels along axis 1, got"):
        layer(data(2))
    with pytest.raises(ValueError, match=r"BatchNorm2d: x must have 4 axes \(NCHW\)"):
        layer(np.zeros((2, 5)))
    np.testing.assert_array_equal(layer.running_mean, np.zeros(5))


def test_batch_norm_refuses_a_single_value_in_training():
    with pytest.raises(ValueError, match=r"BatchNorm1d: .*more than one value .* eval\(\)"):
        nn.BatchNorm1d(6)(np.zeros((1, 6)))


def test_running_statistics_cannot_be_missing():
    with pytest.raises(TypeError, match="BatchNorm1d: running_var"):
        nn.BatchNorm1d(3).running_var = None


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_batch_norm_as_torch(nd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs = getattr(torch.nn, f"BatchNorm{nd}d")(6, momentum=0.3).double()
    ours = getattr(nn, f"BatchNorm{nd}d")(6, momentum=0.3, dtype=np.float64)
    with torch.no_grad():
        for batch in (data(nd), 2 * data(nd) - 1):
            wanted = theirs(torch.from_numpy(batch)).numpy()
            np.testing.assert_allclose(ours(batch), wanted, rtol=1e-11, atol=1e-11)
        wanted = theirs.eval()(torch.from_numpy(data(nd))).numpy()
    np.testing.assert_allclose(ours.eval()(data(nd)), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("layout", [None, "NCHW", "NHWC"])
@pytest.mark.parametrize("size", [1, 4, 5])
def test_local_response_norm(size, layout):
    layer = nn.LocalResponseNorm(size, 0.1, 0.6, 2.0, layout=layout)
    wanted = reference.local_response_norm(data(2), size, 0.1, 0.6, 2.0, layout=layout)
    np.testing.assert_allclose(layer(data(2)), wanted, rtol=1e-12)


def test_local_response_norm_as_torch():
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    theirs, ours = torch.nn.LocalResponseNorm(5, alpha=0.2), nn.LocalResponseNorm(5, alpha=0.2)
    assert repr(ours).split(", k=")[0] == repr(theirs).split(", k=")[0]
    wanted = theirs(torch.from_numpy(data(2))).numpy()
    np.testing.assert_allclose(ours(data(2)), wanted, rtol=1e-12)
