"""The networks by name: parameters, multiply-adds and receptive fields as published."""

import numpy as np
import pytest

from fastconv import models

# Parameters, and multiply-adds of one picture in billions, rounded as published: by torchvision
# for its variants, by the papers and by Sze et al. (2017, "Efficient processing of deep neural
# networks", table II) for the original ones; GoogLeNet's are taken apart in test_googlenet.py.
PUBLISHED = {
    "lenet5": (61_706, 0.00041652),
    "alexnet": (61_100_840, 0.714),
    "alexnet_original": (60_965_224, 0.724),
    "vgg11": (132_863_336, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg16": (138_357_544, 15.47),
    "vgg19": (143_667_240, 19.632),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg13_bn": (133_053_736, 11.308),
    "vgg16_bn": (138_365_992, 15.47),
    "vgg19_bn": (143_678_248, 19.632),
    "googlenet": (6_624_904, 1.498),
    "googlenet_original": (6_998_552, 1.6),
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "resnet50_original": (25_557_032, 3.86),
    "resnet101_original": (44_549_160, 7.6),
    "resnet152_original": (60_192_808, 11.3),
}

# Of the last layer with a window before the global pool: Araujo, Norris and Sim (2019), "Computing
# receptive fields of convolutional neural networks", table 1.
RECEPTIVE_FIELDS = {
    "alexnet": 195,
    "vgg16": 212,
    "resnet50_original": 483,
    "resnet101_original": 1027,
    "resnet152_original": 1507,
}


def summary_of(name, **options):
    net = models.create(name, **options).eval()
    return models.summarise(net, (1, *models.input_shape(name)))


def decimals(number):
    return len(str(number).partition(".")[2])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    parameters, billions = PUBLISHED[name]
    summary = summary_of(name)
    assert summary.parameters == parameters
    assert round(summary.multiply_adds / 1e9, decimals(billions)) == billions
    assert summary.rows[-1].output == (1, 10 if name == "lenet5" else 1000)


@pytest.mark.parametrize("name", RECEPTIVE_FIELDS)
def test_published_receptive_fields(name):
    rows = [row for row in summary_of(name).rows if row.kernel and row.kind != "AdaptiveAvgPool2d"]
    fields = [row.field for row in rows if not row.name.endswith("fc")]
    assert fields[-1] == (RECEPTIVE_FIELDS[name],) * 2


def test_convnetjs():
    summary = summary_of("convnetjs")
    # 16 * 75 + 16, 20 * 400 + 20 twice (once from 16 channels), 320 * 10 + 10
    assert summary.parameters == 1_216 + 8_020 + 10_020 + 3_210
    assert [row.output[1:] for row in summary.rows if row.kind == "MaxPool2d"] == [
        (16, 16, 16),
        (20, 8, 8),
        (20, 4, 4),
    ]


@pytest.mark.parametrize("name", models.names())
def test_every_network_takes_classes_and_a_seed(name):
    summary = summary_of(name, classes=7, rng=0)
    assert summary.rows[-1].output == (1, 7)


def test_seeds_repeat_and_differ():
    first, again, other = (models.create("resnet18", rng=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.conv1.weight, again.conv1.weight)
    assert not np.array_equal(first.conv1.weight, other.conv1.weight)
    assert not np.array_equal(first.layer1[0].conv1.weight, first.layer1[0].conv2.weight)


def test_unknown_names():
    for function in (models.create, models.input_shape):
        with pytest.raises(ValueError, match="there is no network called 'vgg12'; known: lenet5"):
            function("vgg12")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: models.vgg(12), "vgg: depth must be one of 11, 13, 16, 19, got 12"),
        (lambda: models.resnet("50"), "resnet: depth must be one of 18, 34, 50, 101, 152, got"),
        (lambda: models.resnet(variant="caffe"), "resnet: variant must be one of 'torchvision', "),
        (lambda: models.alexnet(variant=None), "alexnet: variant must be one of 'torchvision', "),
        (lambda: models.googlenet(variant=""), "googlenet: variant must be one of 'torchvision', "),
        (lambda: models.lenet5(variant="x"), "lenet5: variant must be one of 'original', 'modern'"),
    ],
)
def test_wrong_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()
