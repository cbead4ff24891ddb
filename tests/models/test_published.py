"""The table of published numbers agrees with the networks that exist here."""

import pytest

from fastconv import models

TABLE = {one.network: one for one in models.published()}


@pytest.mark.parametrize("name", [name for name in TABLE if name in models.names()])
def test_numbers_are_those_of_the_network(name):
    net = models.create(name).eval()
    summary = models.summarise(net, (1, *models.input_shape(name)))
    assert summary.parameters / 1e6 == pytest.approx(TABLE[name].parameters, abs=5.1e-4)
    assert summary.multiply_adds / 1e9 == pytest.approx(TABLE[name].multiply_adds, abs=5.1e-4)
    assert models.input_shape(name) == (3, TABLE[name].pixels, TABLE[name].pixels)


def test_every_line_is_complete():
    assert len(TABLE) == len(models.published()) == 15
    for one in TABLE.values():
        assert 50 < one.top1 < 90
        assert one.source in ("torchvision", "szegedy2017")
    assert set(TABLE) - set(models.names()) == {"inception_v4", "inception_resnet_v2"}
