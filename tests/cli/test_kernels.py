"""The demonstration's filters: shapes, sums and what they answer to."""

import numpy as np
import pytest

from fastconv import reference
from fastconv.cli import _kernels as kernels


def test_gaussian():
    bell = kernels.gaussian(15, 3.0)
    assert bell.shape == (1, 1, 15, 15) and bell.dtype == np.float32
    assert bell.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(bell, bell.transpose(0, 1, 3, 2))
    assert bell[0, 0, 7, 10] / bell[0, 0, 7, 7] == pytest.approx(np.exp(-0.5), rel=1e-5)


def test_sobel_measures_slopes():
    y, x = np.mgrid[:8, :8].astype(np.float32)
    right, down = reference.conv2d((3 * x - 2 * y)[None], kernels.sobel())
    np.testing.assert_allclose(right, 3, rtol=1e-6)
    np.testing.assert_allclose(down, -2, rtol=1e-6)


@pytest.mark.parametrize("angle", [0, 0.4, np.pi / 2])
@pytest.mark.parametrize("phase", [0, -np.pi / 2])
def test_gabor_ignores_even_light(angle, phase):
    wave = kernels.gabor(15, angle, 6.0, phase, 3.0)
    assert wave.sum() == pytest.approx(0, abs=1e-12)
    assert (wave**2).sum() == pytest.approx(1)


def test_gabor_bank_finds_directions():
    """Stripes that run in a filter's own direction make that filter answer loudest."""
    count, (y, x) = 8, np.mgrid[:32, :32]
    bank = kernels.gabor_bank(15, count, 6.0, 3.0)
    assert bank.shape == (16, 1, 15, 15)
    for k, angle in enumerate(np.arange(count) * np.pi / count):
        stripes = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / 6.0)
        answers = reference.conv2d(stripes[None], bank)
        energy = np.hypot(answers[:count], answers[count:]).mean(axis=(1, 2))
        assert energy.argmax() == k


def test_first_layer():
    bank = kernels.first_layer()
    assert bank.shape == (96, 3, 11, 11) and bank.dtype == np.float32
    np.testing.assert_allclose((bank**2).sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    likeness = np.abs(np.tensordot(bank, bank, axes=([1, 2, 3], [1, 2, 3])) - np.eye(96))
    assert np.isclose(likeness, 1).sum() == 24  # blobs come in pairs of opposite sign
    colours = bank.sum(axis=(2, 3))
    np.testing.assert_allclose(colours[:72], 0, atol=1e-5)  # waves have mean zero


def test_digit_strokes_answer_to_their_side():
    y, x = np.mgrid[:3, :3] - 1.0
    for k, kernel in enumerate(kernels.digit_strokes()[:, 0]):
        angle = k * np.pi / 4
        assert (kernel * (x * np.cos(angle) + y * np.sin(angle))).sum() > 0.5
        assert kernel.sum() == pytest.approx(0, abs=1e-6)
