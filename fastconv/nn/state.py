"""A network's arrays as a dictionary, with PyTorch's names, and back.

    module --gather--> {"conv1.weight": ndarray, "bn1.running_mean": ndarray, ...}
    the same --scatter--> module

A layer takes part if it has `state_shapes() -> {name: shape}` and attributes of those names, as
every `ParameterLayer` has; `ignorable_state` names those that older files do not have.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fastconv.functional._check import as_array


class StateNames(NamedTuple):
    """What did not match: names that the network has alone, and those that the dictionary has."""

    missing: list
    unexpected: list


def gather(module):
    """Return copies of all arrays below `module` by dotted name."""
    return {
        path: np.array(getattr(layer, name)) for path, (layer, name, _) in _places(module).items()
    }


def scatter(module, arrays, strict):
    """Set all arrays below `module`; see `Module.load_state_dict`."""
    if not isinstance(arrays, Mapping):
        came = type(arrays).__name__
        raise TypeError(f"load_state_dict: arrays must be a dict of names to arrays, got {came}")
    places = _places(module)
    given = {name: _as_numpy(name, arrays[name]) for name in arrays if name in places}
    missing = [name for name, (*_, needed) in places.items() if needed and name not in arrays]
    unexpected = [name for name in arrays if name not in places]
    misshapen = []
    for name, array in given.items():
        layer, attribute, _ = places[name]
        shape = layer.state_shapes()[attribute]
        if array.shape != shape:
            misshapen.append(f"{name} (has shape {shape}, got {array.shape})")
    complaints = [("wrong shapes", misshapen)]
    if strict:
        complaints += [("missing", missing), ("without a place", unexpected)]
    lines = [f"{what}: {', '.join(names)}" for what, names in complaints if names]
    if lines:
        message = f"load_state_dict: arrays must fit {type(module).__name__}, got"
        raise ValueError("\n  ".join([message, *lines]))
    for name, array in given.items():
        layer, attribute, _ = places[name]
        setattr(layer, attribute, array)
    return StateNames(missing, unexpected)


def _places(module):
    """Return {dotted name: (layer, attribute, whether a file must have it)}."""
    return {
        f"{path}.{name}" if path else name: (layer, name, name not in layer.ignorable_state)
        for path, layer in module.paths()
        if hasattr(layer, "state_shapes")
        for name in layer.state_shapes()
    }


def _as_numpy(name, value):
    """Return an ndarray of `value`, which may be a tensor of PyTorch on any device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()  # NumPy has no bfloat16
    return as_array("load_state_dict", name, value)
