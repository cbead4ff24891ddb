"""What is raced with --training: forward and backward of a layer, and whole steps of LeNet-5.

The float64 gradients come from the reference, which is plain NumPy.

    layer    x, weight, bias, grad --> y and the gradients of x, weight and bias
    step     x, labels, start.* -----> the gradients of all parameters, then new weights
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastconv import models, reference, shapes
from fastconv.cli._operands import operands, oracle
from fastconv.cli.race.contest import READABLE_FLOPS, Contest, spread
from fastconv.reference import grad as reference_grad

STEPS = "steps"  # what --shapes calls them
BATCH, CLASSES = 64, 10
# What every contestant's optimiser does.
SGD = {"lr": 0.01, "momentum": 0.9}


class Both(NamedTuple):
    """Forward and backward of a convolution with its bias."""

    layer: shapes.Layer

    def job(self, layout: str) -> dict[str, Any]:
        """The convolution's settings."""
        return {"op": "conv2d", "layout": layout, **spread(self.layer.call)}

    def arrays(self, layout: str) -> dict[str, np.ndarray]:
        """Random float32 operands and gradient of the result; result and gradients in float64."""
        x, weight, bias = operands(self.layer, layout)
        y = oracle(self.layer, layout, x, weight, bias, READABLE_FLOPS)
        grad = np.random.default_rng(1).standard_normal(y.shape, dtype=np.float32)
        wide_x, wide_weight, wide_grad = (a.astype(np.float64) for a in (x, weight, grad))
        how = {**self.layer.call, "layout": layout}
        return {
            "x": x,
            "weight": weight,
            "bias": bias,
            "grad": grad,
            "exact.y": y,
            "exact.x": reference_grad.conv_input(x.shape, wide_weight, wide_grad, **how),
            "exact.weight": reference_grad.conv_weight(wide_x, weight.shape, wide_grad, **how),
            "exact.bias": wide_grad.sum((0, 1, 2) if layout == "NHWC" else (0, 2, 3)),
        }

    def facts(self) -> dict[str, Any]:
        """The direct form's operations: each gradient has as many as the result."""
        return {"flops": 3 * self.layer.flops}


class Step(NamedTuple):
    """A step of training: forward, loss, backward and the optimiser."""

    variant: str

    def job(self, layout: str) -> dict[str, Any]:
        """The network; its arrays are NCHW."""
        return {"op": "lenet5", "layout": layout, "variant": self.variant}

    def arrays(self, layout: str) -> dict[str, np.ndarray]:
        """Random pictures, labels and weights, and the gradients in float64."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((BATCH, 1, 28, 28), dtype=np.float32)
        labels = rng.integers(0, CLASSES, BATCH)
        start = models.lenet5(CLASSES, variant=self.variant, rng=0).state_dict()
        wide = {name: array.astype(np.float64) for name, array in start.items()}
        exact, _ = lenet_gradients(self.variant, x, labels, wide)
        return {
            "x": x,
            "labels": labels,
            **{f"start.{name}": array for name, array in start.items()},
            **{f"exact.{name}": array for name, array in exact.items()},
        }

    def facts(self) -> dict[str, Any]:
        """Nothing: a step is more than its operations."""
        return {}


def training_contests(layers: list[shapes.Layer]) -> list[Contest]:
    """Make a contest of every layer, forward and backward."""
    return [Contest(layer.network, layer.name, str(layer), Both(layer)) for layer in layers]


def step_contests() -> list[Contest]:
    """List the steps of training."""
    texts = {"original": "tanh, means", "modern": "ReLU, maxima"}
    return [
        Contest(STEPS, f"lenet5_{variant}", f"{BATCH}x1x28x28, {text}", Step(variant))
        for variant, text in texts.items()
    ]


def start_of(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights that a step starts from, by parameter."""
    start = "start."
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }


def lenet_gradients(
    variant: str, x: np.ndarray, labels: np.ndarray, weights: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float]:
    """Gradients of the mean cross entropy with respect to LeNet-5's parameters, and the mean.

    Computed in the weights' own type.
    """
    activation, pool = _STYLES[variant]
    activate, activate_back = getattr(reference, activation), getattr(reference_grad, activation)
    gradients: dict[str, np.ndarray] = {}
    backs: list[Callable[[np.ndarray], np.ndarray]] = []

    def convolve(name: str, x: np.ndarray, padding: int) -> np.ndarray:
        weight, how = weights[f"{name}.weight"], {"padding": padding, "layout": "NCHW"}

        def back(grad: np.ndarray) -> np.ndarray:
            gradients[f"{name}.bias"] = grad.sum((0, 2, 3))
            gradients[f"{name}.weight"] = reference_grad.conv_weight(x, weight.shape, grad, **how)
            return reference_grad.conv_input(x.shape, weight, grad, **how)

        backs.append(back)
        return reference.conv2d(x, weight, weights[f"{name}.bias"], **how)

    def connect(name: str, x: np.ndarray) -> np.ndarray:
        weight = weights[f"{name}.weight"]

        def back(grad: np.ndarray) -> np.ndarray:
            gradients[f"{name}.bias"] = grad.sum(0)
            gradients[f"{name}.weight"] = grad.T @ x
            return grad @ weight

        backs.append(back)
        return x @ weight.T + weights[f"{name}.bias"]

    def bend(x: np.ndarray) -> np.ndarray:
        y = activate(x)
        backs.append(lambda grad: activate_back(y, grad))
        return y

    def shrink(x: np.ndarray) -> np.ndarray:
        y, back = pool(x)
        backs.append(back)
        return y

    maps = shrink(bend(convolve("conv1", x, 2)))
    maps = shrink(bend(convolve("conv2", maps, 0)))
    backs.append(lambda grad: grad.reshape(maps.shape))
    features = maps.reshape(len(maps), -1)
    features = bend(connect("fc2", bend(connect("fc1", features))))
    logarithms = reference.log_softmax(connect("fc3", features), 1)
    right = np.arange(len(labels)), labels
    grad = np.exp(logarithms)
    grad[right] -= 1
    grad /= len(labels)
    for back in reversed(backs):
        grad = back(grad)
    return gradients, -logarithms[right].mean()


def _means(x: np.ndarray):
    def back(grad: np.ndarray) -> np.ndarray:
        return reference_grad.avg_pool2d_input(x.shape, grad, 2)

    return reference.avg_pool2d(x, 2), back


def _maxima(x: np.ndarray):
    y, places = reference.max_pool2d(x, 2, return_indices=True)

    def back(grad: np.ndarray) -> np.ndarray:
        return reference_grad.max_pool2d_input(x.shape, places, grad)

    return y, back


_STYLES = {"original": ("tanh", _means), "modern": ("relu", _maxima)}
