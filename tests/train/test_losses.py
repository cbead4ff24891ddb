"""Losses and their gradients: against PyTorch, and against central differences."""

import numpy as np
import pytest

from fastconv.train import mean_squared_error, softmax_cross_entropy

LABELS = np.array([3, 0, 2, 2, 1])


@pytest.fixture
def scores(rng):
    return rng.normal(size=(5, 4)) * 3


@pytest.mark.parametrize("smoothing", [0, 0.1, 1])
def test_cross_entropy_as_torch(scores, smoothing):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    tensor = torch.from_numpy(scores).requires_grad_()
    wanted = torch.nn.functional.cross_entropy(
        tensor, torch.from_numpy(LABELS), label_smoothing=smoothing
    )
    wanted.backward()
    loss, grad = softmax_cross_entropy(scores, LABELS, label_smoothing=smoothing)
    assert loss == pytest.approx(wanted.item(), rel=1e-12)
    np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0, 0.2])
def test_cross_entropy_gradient(scores, smoothing):
    _, grad = softmax_cross_entropy(scores, LABELS, label_smoothing=smoothing)
    for index in np.ndindex(scores.shape):
        losses = []
        for step in (1e-6, -1e-6):
            moved = scores.copy()
            moved[index] += step
            losses.append(softmax_cross_entropy(moved, LABELS, label_smoothing=smoothing)[0])
        assert grad[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-9)


def test_cross_entropy_of_certain_answers():
    sure = np.array([[1000.0, -1000.0], [-np.inf, 0.0]], np.float32)
    loss, grad = softmax_cross_entropy(sure, [0, 1])
    assert loss == 0 and grad.dtype == np.float32
    np.testing.assert_array_equal(grad, 0)
    assert softmax_cross_entropy(sure, [1, 1])[0] == 1000


BAD_CALLS = {
    "no rows": (np.zeros((0, 4)), np.zeros(0, int), ValueError, r"scores must have shape \(N"),
    "one axis": (np.zeros(4), LABELS, ValueError, r"scores must have shape \(N, classes\)"),
    "too few": (np.zeros((5, 4)), LABELS[:3], ValueError, r"labels must have shape \(5,\), got"),
    "floats": (np.zeros((5, 4)), LABELS / 1, TypeError, "labels must be integers, got dtype"),
    "too high": (np.zeros((5, 3)), LABELS, ValueError, "between 0 and 2 .* got 0 to 3"),
    "negative": (np.zeros((5, 4)), LABELS - 1, ValueError, "between 0 and 3 .* got -1 to 2"),
}


@pytest.mark.parametrize("scores, labels, error, text", BAD_CALLS.values(), ids=BAD_CALLS)
def test_cross_entropy_refuses(scores, labels, error, text):
    with pytest.raises(error, match=f"softmax_cross_entropy: .*{text}"):
        softmax_cross_entropy(scores, labels)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_label_smoothing_is_a_share(smoothing):
    with pytest.raises(ValueError, match="label_smoothing must be between 0 and 1"):
        softmax_cross_entropy(np.zeros((5, 4)), LABELS, label_smoothing=smoothing)


def test_mean_squared_error(rng):
    prediction, target = rng.normal(size=(2, 3, 4))
    loss, grad = mean_squared_error(prediction, target)
    assert loss == pytest.approx(((prediction - target) ** 2).mean(), rel=1e-14)
    np.testing.assert_allclose(grad, 2 * (prediction - target) / 12, rtol=1e-14)
    loss, grad = mean_squared_error(np.uint8([0, 4]), np.uint8([2, 2]))
    assert loss == 4 and grad.dtype == np.float32
    np.testing.assert_array_equal(grad, [-2, 2])


def test_mean_squared_error_refuses():
    with pytest.raises(ValueError, match=r"target must have the prediction's shape \(2,\), got"):
        mean_squared_error(np.zeros(2), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="must not be empty"):
        mean_squared_error([], [])
