"""Schedules of the learning rate, against their formulas and torch.optim.lr_scheduler."""

import warnings

import pytest

from fastconv.train import cosine, step


def test_step():
    rate = step(0.5, every=2, factor=0.1)
    assert [rate(time) for time in (0, 1.99, 2, 3.5, 4)] == pytest.approx(
        [0.5, 0.5, 0.05, 0.05, 0.005], rel=1e-15
    )


def test_cosine():
    rate = cosine(1.0, 10, low=0.2)
    assert rate(0) == 1.0
    assert rate(5) == pytest.approx(0.6)
    assert rate(10) == rate(12) == pytest.approx(0.2)


def test_warmup():
    rate = cosine(1.0, 10, warmup=2)
    assert [rate(time) for time in (0, 1, 2, 6, 10)] == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize("name", ["step", "cosine"])
def test_as_torch(name):
    torch = pytest.importorskip("torch", reason="needs torch: pip install fastconv[bench]")
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    if name == "step":
        ours, theirs = step(0.3, 3, 0.2), torch.optim.lr_scheduler.StepLR(optimiser, 3, 0.2)
    else:
        ours = cosine(0.3, 8, low=0.01)
        theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 8, 0.01)
    for time in range(8):
        assert ours(time) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimiser itself takes no step here
            theirs.step()


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: step(0.1, 0), "step: every must be above 0, got 0"),
        (lambda: step(-0.1, 1), "step: lr must be at least 0"),
        (lambda: cosine(0.1, 0), "cosine: epochs must be above warmup=0, got 0"),
        (lambda: cosine(0.1, 3, warmup=3), "cosine: epochs must be above warmup=3, got 3"),
    ],
)
def test_bad_settings(call, text):
    with pytest.raises(ValueError, match=text):
        call()
