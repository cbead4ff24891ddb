"""Schedules of the learning rate: functions from the time, in epochs, to the rate.

`fit` asks before every step; time then has a fraction. A schedule remembers nothing, so training
that resumes needs only the time.
"""

import math

from fastconv.train.optimisers import check_number

__all__ = ["cosine", "step"]


def step(lr, every, factor=0.1):
    """Return a schedule that starts with `lr` and multiplies it by `factor` every so many epochs.

    Parameters
    ----------
    lr : float
    every : float
        Epochs, above 0.
    factor : float

    Returns
    -------
    function of float to float
    """
    lr, factor = check_number("step", "lr", lr), check_number("step", "factor", factor)
    if not check_number("step", "every", every):
        raise ValueError(f"step: every must be above 0, got {every!r}")
    return lambda time: lr * factor ** math.floor(time / every)


def cosine(lr, epochs, low=0.0, warmup=0.0):
    """Return a schedule that falls from `lr` to `low` along half a period of a cosine.

    Parameters
    ----------
    lr, low : float
    epochs : float
        When the rate has become `low`, and stays; above 0.
    warmup : float
        Epochs at the start in which the rate rises in a line from 0, and that the cosine, which
        has `epochs - warmup` left, begins after.

    Returns
    -------
    function of float to float

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2016.
    """
    lr, low = check_number("cosine", "lr", lr), check_number("cosine", "low", low)
    warmup = check_number("cosine", "warmup", warmup)
    if check_number("cosine", "epochs", epochs) <= warmup:
        raise ValueError(f"cosine: epochs must be above warmup={warmup:g}, got {epochs!r}")

    def rate(time):
        if time < warmup:
            return lr * time / warmup
        share = min((time - warmup) / (epochs - warmup), 1.0)
        return low + (lr - low) * (1 + math.cos(math.pi * share)) / 2

    return rate
