"""GoogLeNet: the sizes in the paper's table, the naive module, the auxiliary classifiers."""

import pytest

from fastconv import models
from fastconv.models.googlenet import Inception

# Table 1 of the paper: millions of multiply-adds, rounded up or down. Two of its numbers do not
# follow from its sizes: 34 for the first convolution (7 x 7 x 3 x 64 x 112 x 112 is 118), and 54
# for module 5a (51).
MILLIONS = {
    "conv2+conv3": 360,
    "inception3a": 128,
    "inception3b": 304,
    "inception4a": 73,
    "inception4b": 88,
    "inception4c": 100,
    "inception4d": 119,
    "inception4e": 170,
    "inception5b": 71,
    "fc": 1,
}


@pytest.fixture(scope="module")
def original():
    return models.summarise(models.create("googlenet_original").eval(), (1, 3, 224, 224))


@pytest.mark.parametrize("part", MILLIONS)
def test_work_of_each_part(original, part):
    names = part.split("+")
    work = sum(row.multiply_adds for row in original.rows if row.name.split(".")[0] in names)
    assert work / 1e6 == pytest.approx(MILLIONS[part], abs=1)


def test_the_naive_module_is_wider_and_dearer():
    sizes = (256, 128, 64, 192, 64, 96, 64)
    shape = (1, 256, 28, 28)
    naive, bottlenecks = (
        models.summarise(Inception(*sizes, bottleneck=way, variant="original"), shape)
        for way in (False, True)
    )
    naive_widths = Inception(*sizes, bottleneck=False).widths
    assert naive_widths == (128, 192, 96, 256)  # the pool passes all channels on
    assert naive.multiply_adds == 28 * 28 * 256 * (128 + 9 * 192 + 25 * 96)  # 854 million
    assert 3 * bottlenecks.multiply_adds < naive.multiply_adds


@pytest.mark.parametrize("variant, total", [("torchvision", 13_004_888), ("original", 13_378_280)])
def test_parameters_with_auxiliary_classifiers(variant, total):
    net = models.googlenet(aux=True, variant=variant)
    summary = models.summarise(net, (2, 3, 224, 224))
    assert summary.parameters == total
