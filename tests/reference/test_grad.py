"""The reference's gradients: adjoints of the reference's convolutions."""

import numpy as np
import pytest

from fastconv import reference
from fastconv.reference import grad

# shapes of x and weight, options; channels first
CASES = {
    "signals": ((2, 3, 11), (4, 3, 3), {"stride": 2, "padding": 1}),
    "pictures": ((2, 4, 9, 8), (6, 2, 3, 2), {"groups": 2, "dilation": (1, 2), "padding": "same"}),
    "pads": ((1, 2, 5, 5), (3, 2, 2, 2), {"padding": ((0, 3), (2, 0)), "stride": (1, 3)}),
    "volumes": ((1, 2, 4, 5, 6), (3, 2, 2, 3, 1), {"stride": (1, 2, 3)}),
    "no pictures": ((0, 2, 5, 5), (3, 2, 2, 2), {}),
}
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_adjoint(name, channels_last, rng):
    """The sum of y * dy, linear in x and in weight, is that of dx * x and that of dw * weight."""
    x_shape, weight_shape, options = CASES[name]
    nd = len(weight_shape) - 2
    options = {**options, "layout": LAYOUTS[nd][channels_last]}
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    if channels_last:
        x = np.moveaxis(x, 1, -1)
    y = getattr(reference, f"conv{nd}d")(x, weight, **options)
    dy = rng.standard_normal(y.shape)
    dx = grad.conv_input(x.shape, weight, dy, **options)
    dw = grad.conv_weight(x, weight.shape, dy, **options)
    assert dx.shape == x.shape and dw.shape == weight.shape
    np.testing.assert_allclose([(dx * x).sum(), (dw * weight).sum()], (dy * y).sum(), rtol=1e-10)
