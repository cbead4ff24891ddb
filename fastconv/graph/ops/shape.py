"""Operators that move elements or speak of shapes: NumPy, views where there are any."""

from __future__ import annotations

import math

import numpy as np

from fastconv._engine import elementwise, resample
from fastconv._engine.program import address_of
from fastconv.functional import shape as functional

from ..ir import Node
from ._entry import (
    FLOATS,
    Kernel,
    axes_argument,
    copy_into,
    empty_in_order,
    in_memory_order,
    integers,
    inverse,
    operator,
)


@operator("Shape")
def shape(node: Node) -> Kernel:
    """Shape, all of it or a part."""
    part = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return lambda x: np.array(x.shape[part], np.int64)


@operator("Size")
def size(node: Node) -> Kernel:
    """Number of elements."""
    return lambda x: np.array(x.size, np.int64)


@operator("Identity", arrays=(0,))
def identity(node: Node) -> Kernel:
    """The input itself."""
    return lambda x: x


@operator("Dropout", arrays=(0,))
def dropout(node: Node) -> Kernel | None:
    """Dropout at inference: the input itself."""
    if any(node.outputs[1:]) or (node.input(2) is not None and node.constant(2) is None):
        return None
    return None if node.constant(2) is not None and node.constant(2) else lambda x, *_: x


@operator("Reshape", arrays=(0,))
def reshape(node: Node) -> Kernel:
    """Reshape; 0 keeps a size unless `allowzero`."""
    allow = node.attributes.get("allowzero", 0)

    def kernel(x, target):
        sizes = integers(target)
        if not allow:
            sizes = tuple(x.shape[i] if s == 0 else s for i, s in enumerate(sizes))
        return _reshaped(x, sizes)

    return kernel


def _reshaped(x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """x with other axes: a view where that can be, else a copy."""
    if x.dtype in FLOATS and not x.flags.c_contiguous:
        plain = x.view()
        try:
            plain.shape = sizes
        except AttributeError:  # no strides are such a view
            plain = elementwise.empty(x.shape, x.dtype)
            copy_into(plain, x)
            return plain.reshape(sizes)
        return plain
    return x.reshape(sizes)


@operator("Flatten", arrays=(0,))
def flatten(node: Node) -> Kernel:
    """Flatten into two axes."""
    axis = node.attributes.get("axis", 1)

    def kernel(x):
        at = axis + x.ndim if axis < 0 else axis
        return _reshaped(x, (math.prod(x.shape[:at]), math.prod(x.shape[at:])))

    return kernel


@operator("Squeeze", arrays=(0,))
def squeeze(node: Node) -> Kernel:
    """Drop axes of size 1."""
    return lambda x, axes=None: x.squeeze(axes_argument(node, "axes", axes))


@operator("Unsqueeze", arrays=(0,))
def unsqueeze(node: Node) -> Kernel:
    """Add axes of size 1."""
    return lambda x, axes=None: np.expand_dims(x, axes_argument(node, "axes", axes))


@operator("Transpose", arrays=(0,))
def transpose(node: Node) -> Kernel:
    """Another order of the axes."""
    order = node.attributes.get("perm")
    return lambda x: x.transpose(order)


@operator("Slice", arrays=(0,))
def slices(node: Node) -> Kernel:
    """Slices along some axes, with steps of either sign."""

    def kernel(x, starts=None, ends=None, axes=None, steps=None):
        starts = axes_argument(node, "starts", starts)
        ends = axes_argument(node, "ends", ends)
        axes = axes_argument(node, "axes", axes) or tuple(range(len(starts)))
        steps = (1,) * len(starts) if steps is None else integers(steps)
        parts = [slice(None)] * x.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            parts[axis] = _slice(start, end, step, x.shape[axis])
        return x[tuple(parts)]

    return kernel


def _slice(start: int, end: int, step: int, n: int) -> slice:
    """ONNX's slice as Python's, which reads an end before the first element another way."""
    end = end + n if end < 0 else end
    return slice(start, None if step < 0 and end < 0 else end, step)


@operator("Split", arrays=(0,))
def split(node: Node) -> Kernel:
    """Split along an axis, by sizes or evenly."""
    axis, pieces = node.attributes.get("axis", 0), len(node.outputs)

    def kernel(x, sizes=None):
        sizes = axes_argument(node, "split", sizes)
        if sizes is None:
            each = -(-x.shape[axis] // pieces)
            places = [each * i for i in range(1, pieces)]
        else:
            places = np.cumsum(sizes)[:-1]
        return tuple(np.split(x, places, axis))

    return kernel


@operator("Concat", arrays=range(1 << 16))
def concat(node: Node) -> Kernel:
    """Join along an axis, in the order of memory of the parts."""
    return Concatenation(node.attributes["axis"])


class Concatenation:
    """The kernel of Concat; parts that already lie in their place are not copied."""

    takes_place = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, *parts, place=None):
        first = parts[0]
        if first.dtype not in FLOATS or any(part.dtype != first.dtype for part in parts):
            return np.concatenate(parts, self.axis)
        at, shape = self.axis % first.ndim, list(first.shape)
        shape[at] = sum(part.shape[at] for part in parts)
        result, start = None if place is None else place(shape), 0
        if result is None:
            result = empty_in_order(shape, max(parts, key=lambda part: part.size))
        for part in parts:
            end = start + part.shape[at]
            target = result[(slice(None),) * at + (slice(start, end),)]
            if not _lies_at(part, target):
                copy_into(target, part)
            start = end
        return result


def _lies_at(x: np.ndarray, target: np.ndarray) -> bool:
    """Whether two arrays of one shape and dtype are the same memory, element by element."""
    return address_of(x) == address_of(target) and all(
        size == 1 or a == b
        for size, a, b in zip(x.shape, x.strides, target.strides, strict=True))


@operator("Expand", arrays=(0,))
def expand(node: Node) -> Kernel:
    """Broadcast to a shape, and by it."""

    def kernel(x, target):
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, integers(target)))

    return kernel


@operator("Gather", arrays=(0,))
def gather(node: Node) -> Kernel:
    """Pick places along an axis."""
    axis, chosen = node.attributes.get("axis", 0), node.constant(1)
    checked: dict[int, np.ndarray] = {}  # by size: constant places, counted from the front

    def kernel(x, places):
        if chosen is not None and chosen.ndim == 0 and -x.shape[axis] <= chosen < x.shape[axis]:
            return x[(slice(None),) * (axis % x.ndim) + (int(chosen),)]
        if chosen is None or chosen.ndim != 1 or x.dtype not in FLOATS or not x.flags.aligned:
            return np.take(x, places, axis)
        at = axis % x.ndim
        if x.strides[at] != x.itemsize or not x.size:
            return np.take(x, places, axis)
        n = x.shape[at]
        if n not in checked:
            checked[n] = np.arange(n)[chosen].astype(np.intp)
        shape = (*x.shape[:at], len(chosen), *x.shape[at + 1 :])
        result = empty_in_order(shape, x)
        resample.pick(np.moveaxis(x, at, -1), checked[n], np.moveaxis(result, at, -1))
        return result

    return kernel


# Where `to` in ONNX's numbering means numbers that NumPy converts alike.
_CASTS = {1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2",
          11: "f8", 12: "u4", 13: "u8"}


@operator("Cast", dtypes=frozenset(map(np.dtype, _CASTS.values())))
def cast(node: Node) -> Kernel | None:
    """Cast between numbers of NumPy's own types."""
    target = _CASTS.get(node.attributes["to"])
    return None if target is None else lambda x: x.astype(target)


_PAD_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}


@operator("Pad", arrays=(0,))
def pad(node: Node) -> Kernel | None:
    """Pad with a constant, the edge or mirrored."""
    get = node.attributes.get
    mode = _PAD_MODES.get(get("mode", "constant"))

    def kernel(x, pads=None, value=None, axes=None):
        pads = axes_argument(node, "pads", pads)
        value = get("value", 0) if value is None else value.reshape(())[()]
        pairs = [(0, 0)] * x.ndim
        axes = range(x.ndim) if axes is None else integers(axes)
        half = len(pads) // 2
        for axis, before, after in zip(axes, pads[:half], pads[half:], strict=True):
            pairs[axis] = (before, after)
        if x.dtype.kind not in "biuf" or (mode == "reflect" and _too_small(x, pairs)):
            return NotImplemented
        if min(map(min, pairs), default=0) < 0 or x.size == 0:
            return _cropped(x, pairs, mode, value)
        sizes = [n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)]
        result = empty_in_order(sizes, x)
        inside = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pairs, strict=True))
        copy_into(result[inside], x)
        for axis, (size, pair) in enumerate(zip(x.shape, pairs, strict=True)):
            _fill_ends(result, inside, axis, size, pair, mode, value)
        return result

    return None if mode is None else kernel


def _cropped(x, pairs, mode, value):
    """Padding of which some is taken off."""
    order = in_memory_order(x)
    padded = functional.pad(x.transpose(order), [pairs[axis] for axis in order], mode, value)
    return padded.transpose(inverse(order))


def _fill_ends(result, inside, axis, size, pair, mode, value):
    """Fill what lies before and behind along an axis; along earlier ones all is filled."""
    lead, rest = (slice(None),) * axis, inside[axis + 1 :]
    before, end = pair[0], pair[0] + size
    sources = {
        "replicate": (slice(before, before + 1), slice(end - 1, end)),
        "reflect": (_falling(2 * before, before), _falling(end - 2, pair[1])),
    }.get(mode)
    for at, (start, stop) in enumerate(((0, before), (end, end + pair[1]))):
        if start < stop:
            fill = (np.asarray(value, result.dtype) if sources is None
                    else result[(*lead, sources[at], *rest)])
            copy_into(result[(*lead, slice(start, stop), *rest)], fill)


def _falling(start: int, count: int) -> slice:
    """So many places from `start` down."""
    stop = start - count
    return slice(start, stop if stop >= 0 else None, -1)


def _too_small(x, pairs) -> bool:
    """Whether mirroring would go more than once through the array."""
    return any(max(pair) >= n for pair, n in zip(pairs, x.shape, strict=True) if max(pair) > 0)


@operator("DepthToSpace")
def depth_to_space(node: Node) -> Kernel:
    """Channels into blocks of pixels."""
    block, columns = node.attributes["blocksize"], node.attributes.get("mode", "DCR") == "CRD"

    def kernel(x):
        n, c, h, w = x.shape
        inner = c // block**2
        if columns:
            parts = x.reshape(n, inner, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            parts = x.reshape(n, block, block, inner, h, w).transpose(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, inner, h * block, w * block)

    return kernel
