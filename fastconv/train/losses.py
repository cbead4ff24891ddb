"""Losses: a number that says how wrong results are, and its gradient.

    loss, grad = softmax_cross_entropy(net(x), labels)
    net.backward(grad)
"""

import numpy as np

from fastconv.functional._check import as_array, compute_dtype
from fastconv.functional.activation import log_softmax

__all__ = ["mean_squared_error", "softmax_cross_entropy"]


def softmax_cross_entropy(scores, labels, *, label_smoothing=0.0):
    """Compare scores of classes with the right ones, as torch.nn.functional.cross_entropy does.

    Parameters
    ----------
    scores : array_like, (N, classes)
        Any real numbers; the probabilities are their softmax.
    labels : array_like of int, (N,)
        The right class of each row, counted from 0.
    label_smoothing : float
        From 0 to 1: how much of the wanted probability is spread evenly over all classes (Szegedy
        et al., "Rethinking the inception architecture for computer vision", 2015).

    Returns
    -------
    loss : float
        Mean over the rows of minus the logarithm of the right class's probability.
    grad : ndarray, (N, classes)
        Gradient of the loss with respect to the scores.

    Raises
    ------
    TypeError, ValueError
        When an argument is of the wrong kind, shape or range.
    """
    op = "softmax_cross_entropy"
    scores = as_array(op, "scores", scores)
    labels = _check_labels(op, labels, scores)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be between 0 and 1, got {label_smoothing}")
    rows, classes = scores.shape
    logarithms = log_softmax(scores, 1)
    wanted = np.full(scores.shape, label_smoothing / classes, logarithms.dtype)
    wanted[np.arange(rows), labels] += 1 - label_smoothing
    # Classes that nobody wants count nothing, even where their probability underflows to 0.
    terms = np.multiply(wanted, logarithms, where=wanted > 0, out=np.zeros_like(wanted))
    grad = np.exp(logarithms)
    grad -= wanted
    grad /= rows
    return -float(terms.sum(dtype=np.float64)) / rows, grad


def mean_squared_error(prediction, target):
    """Compare predictions with targets, as torch.nn.functional.mse_loss does.

    Parameters
    ----------
    prediction, target : array_like
        Of the same shape.

    Returns
    -------
    loss : float
        Mean over all elements of (prediction - target)**2.
    grad : ndarray
        Gradient of the loss with respect to the prediction.

    Raises
    ------
    TypeError, ValueError
        When an argument is no array of real numbers, empty, or the shapes differ.
    """
    op = "mean_squared_error"
    prediction = as_array(op, "prediction", prediction)
    target = as_array(op, "target", target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"{op}: target must have the prediction's shape {prediction.shape}, got {target.shape}"
        )
    if not prediction.size:
        raise ValueError(f"{op}: prediction must not be empty, got shape {prediction.shape}")
    dtype = compute_dtype(op, prediction, target)
    difference = np.subtract(prediction, target, dtype=dtype)
    loss = float(np.square(difference, dtype=np.float64).mean())
    difference *= dtype.type(2 / difference.size)
    return loss, difference


def _check_labels(op, labels, scores):
    """Return `labels` as an array of one integer in range for each row of `scores`."""
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"{op}: scores must have shape (N, classes), got {scores.shape}")
    labels = as_array(op, "labels", labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{op}: labels must be integers, got dtype {labels.dtype}")
    rows, classes = scores.shape
    if labels.shape != (rows,):
        raise ValueError(f"{op}: labels must have shape ({rows},), got {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{op}: labels must be between 0 and {classes - 1} (scores.shape={scores.shape}), "
            f"got {labels.min()} to {labels.max()}"
        )
    return labels
