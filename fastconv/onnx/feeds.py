"""The arrays a caller feeds, held against what the model's inputs declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv.graph.ir import Value

__all__ = ["arrange"]


def arrange(model: str, inputs: list[Value], feeds: Mapping[str, Any]) -> list[Any]:
    """Return the fed arrays in the order of the model's inputs.

    Parameters
    ----------
    model : str
        Its name, for errors.
    inputs : list of Value
    feeds : mapping of str to array_like

    Raises
    ------
    TypeError
        When `feeds` is no mapping.
    ValueError
        When a name is missing or unknown, or an array has another dtype, number of axes or fixed
        size than its input; sizes that the model calls by one name must be the same.
    """
    if not isinstance(feeds, Mapping):
        raise TypeError(
            f"{model}: run takes a dict of input names to arrays, got {type(feeds).__name__}; "
            f"{_wanted(inputs)}"
        )
    names = {value.name for value in inputs}
    if feeds.keys() != names:
        missing, unknown = names - feeds.keys(), feeds.keys() - names
        said = [f"{word} {', '.join(map(repr, sorted(map(str, which))))}"
                for word, which in (("missing", missing), ("unknown", unknown)) if which]
        raise ValueError(f"{model}: inputs {'; '.join(said)}; {_wanted(inputs)}")
    sizes: dict[str, tuple[int, str]] = {}
    return [_check(model, value, feeds[value.name], sizes) for value in inputs]


def _wanted(inputs: list[Value]) -> str:
    return "the model takes " + (", ".join(map(repr, inputs)) or "no input")


def _check(model: str, value: Value, fed: Any, sizes: dict[str, tuple[int, str]]) -> Any:
    if value.dtype is None:  # a sequence, a map, an optional: the operators look at it
        return fed
    array = np.asarray(fed, object) if value.dtype == object else np.asarray(fed)
    if (array.dtype != value.dtype and array.dtype.newbyteorder("=") != value.dtype
            and array.dtype.kind != "U"):
        raise ValueError(
            f"{model}: input {value.name!r} must have dtype {value.dtype}, got {array.dtype} "
            f"(shape {array.shape})"
        )
    if value.shape is not None:
        _check_shape(model, value, array.shape, sizes)
    return array.astype(value.dtype, copy=False)


def _check_shape(
    model: str, value: Value, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]]
) -> None:
    def wanted() -> str:
        return f"{model}: input {value.name!r} must be {value!r}, got shape {shape}"

    assert value.shape is not None
    if len(shape) != len(value.shape):
        raise ValueError(f"{wanted()}, {len(shape)} axes instead of {len(value.shape)}")
    for axis, (got, size) in enumerate(zip(shape, value.shape, strict=True)):
        if isinstance(size, int) and got != size:
            raise ValueError(f"{wanted()}, {got} instead of {size} along axis {axis}")
        if isinstance(size, str):
            known, where = sizes.setdefault(size, (got, value.name))
            # "?" names nothing: some exporters write it for every size they do not know.
            if got != known and size != "?":
                raise ValueError(
                    f"{wanted()}: {size} is {got} along axis {axis}, but {known} in {where!r}"
                )
