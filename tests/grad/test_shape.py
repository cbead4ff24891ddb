"""Gradient of `pad`."""

import numpy as np
import pytest

import fastconv
from fastconv import grad


@pytest.mark.parametrize("pad", [(1, 2), (1, 0, 0, 3), (-1, 2, 3, -2), ((1, 1), (-2, -1)), ()])
def test_pad_against_differences(pad, differences):
    x = np.random.default_rng(0).standard_normal((2, 5, 4))
    g = np.random.default_rng(1).standard_normal(fastconv.pad(x, pad).shape)
    mine = grad.pad(g, pad)
    assert mine.flags.c_contiguous
    np.testing.assert_allclose(mine, differences(lambda v: fastconv.pad(v, pad), x, g), atol=1e-8)


def test_pad_keeps_the_type():
    assert grad.pad(np.ones((2, 3), np.float16), (1, 1)).dtype == np.float16
    assert grad.pad(3.0, ()).shape == ()


BAD = [
    (([1.0], (1, 1)), ValueError, r"pad: grad_output must be at least as large as .*\(1,\)"),
    (([1.0], (0, 0, 1, 1)), ValueError, "pad: pad is for 2 axes, grad_output has 1"),
    (([1.0], 1), TypeError, "pad: pad must be a flat"),
    (([1.0], (0, 1), "reflect"), ValueError, 'pad: mode must be "constant", got \'reflect\''),
]


@pytest.mark.parametrize("arguments, error, text", BAD)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        grad.pad(*arguments)
