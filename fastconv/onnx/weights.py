"""Large weights, read from the file straight into their arrays.

Protobuf copies a file's weights, keeps the copy as long as any of its messages lives, and hands out
copies of that. `split` takes the weights' bytes out of a file before protobuf sees it:

    file --split--> the same file without large raw_data, which `onnx` parses
                    where each of these lies in the file  --Weights.read--> arrays

It follows protobuf's wire format (tag, then number or length and bytes) down ModelProto.graph,
GraphProto.initializer, TensorProto.raw_data, and nothing else; what it does not understand, it
leaves to the library whole.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LARGE", "Slice", "Weights", "split"]

LARGE = 4096  # bytes from which on data are taken out

# Field numbers of onnx.proto, and protobuf's wire types.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class Slice(NamedTuple):
    """Where bytes lie in the file."""

    offset: int
    length: int


class _Field(NamedTuple):
    """A field of a message: its bytes are start:end, those of its value value:end."""

    number: int
    wire: int
    start: int
    value: int
    end: int


class _NotUnderstood(Exception):
    """Bytes that are no protobuf, or in a form that nobody writes."""


def split(file: BufferedIOBase, size: int) -> tuple[bytes, list[Slice | None]]:
    """Take large weights out of a model.

    Parameters
    ----------
    file : binary file
    size : int
        Its length.

    Returns
    -------
    content : bytes
        The model without them.
    slices : list of Slice or None
        Where the data of each of the graph's initialisers lie, None for those still in `content`.
        Where the file is not understood, `content` is all of it and the list empty.
    """
    try:
        return _split_model(file, size)
    except _NotUnderstood:
        return _read(file, 0, size), []


def _split_model(file: BufferedIOBase, size: int) -> tuple[bytes, list[Slice | None]]:
    pieces: list[bytes] = []
    slices: list[Slice | None] | None = None
    for field in _fields(file, 0, size):
        if field.number != _GRAPH or field.wire != _BYTES:
            pieces.append(_read(file, field.start, field.end))
            continue
        if slices is not None:  # protobuf would merge the two
            raise _NotUnderstood
        graph, slices = _split_graph(file, field)
        pieces.append(_delimited(_GRAPH, graph))
    return b"".join(pieces), slices or []


def _split_graph(file: BufferedIOBase, graph: _Field) -> tuple[bytes, list[Slice | None]]:
    pieces: list[bytes] = []
    slices: list[Slice | None] = []
    for field in _fields(file, graph.value, graph.end):
        if field.number == _INITIALIZER and field.wire == _BYTES:
            piece, data = _split_tensor(file, field)
            slices.append(data)
        else:
            piece = _read(file, field.start, field.end)
        pieces.append(piece)
    return b"".join(pieces), slices


def _split_tensor(file: BufferedIOBase, tensor: _Field) -> tuple[bytes, Slice | None]:
    if tensor.end - tensor.value >= LARGE:
        fields = list(_fields(file, tensor.value, tensor.end))
        data = [field for field in fields if field.number == _RAW_DATA and field.wire == _BYTES]
        if len(data) == 1 and data[0].end - data[0].value >= LARGE:
            kept = (_read(file, f.start, f.end) for f in fields if f is not data[0])
            place = Slice(data[0].value, data[0].end - data[0].value)
            return _delimited(_INITIALIZER, b"".join(kept)), place
    return _read(file, tensor.start, tensor.end), None


def _fields(file: BufferedIOBase, start: int, end: int) -> Iterator[_Field]:
    """The fields of the message in start:end."""
    while start < end:
        file.seek(start)
        key, value = _varint(file, start)
        number, wire = key >> 3, key & 7
        if wire == _BYTES:
            length, value = _varint(file, value)
        elif wire == _VARINT:
            length = _varint(file, value)[1] - value
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise _NotUnderstood
        if value + length > end:
            raise _NotUnderstood
        yield _Field(number, wire, start, value, value + length)
        start = value + length


def _varint(file: BufferedIOBase, at: int) -> tuple[int, int]:
    """The number at the file's place, `at`, and the place behind it."""
    number = 0
    for place in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            raise _NotUnderstood
        number |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return number, at + place + 1
    raise _NotUnderstood


def _delimited(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    head, left = bytearray([number << 3 | _BYTES]), len(content)
    while left >= 0x80:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return bytes(head) + content


def _read(file: BufferedIOBase, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


class Weights:
    """Where the arrays of tensors come from: the model's file, files beside it, or the tensors.

    Parameters
    ----------
    file : binary file
    folder : str or None
        Where external data lie.
    slices : dict of str to Slice
        What `split` took out, by the initialisers' names.
    """

    def __init__(self, file: BufferedIOBase, folder: str | None, slices: dict[str, Slice]) -> None:
        self._file, self._folder, self._slices = file, folder, slices

    def read(self, onnx: Any, tensor: Any) -> np.ndarray:
        """Return the array of a TensorProto.

        Raises
        ------
        ValueError
            When the data are too short or too long for its shape.
        """
        place = self._slices.get(tensor.name) if not tensor.HasField("raw_data") else None
        if place is not None:
            return self._from_file(onnx, tensor, place)
        external = onnx.external_data_helper
        if external.uses_external_data(tensor):
            tensor, part = onnx.TensorProto(), tensor
            tensor.CopyFrom(part)
            external.load_external_data_for_tensor(tensor, self._folder)
        return onnx.numpy_helper.to_array(tensor)

    def _from_file(self, onnx: Any, tensor: Any, place: Slice) -> np.ndarray:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if dtype.isbuiltin != 1 or dtype.kind not in "biufc":  # bfloat16, four bits, ...
            return self._by_library(onnx, tensor, place)
        count = math.prod(tensor.dims)
        if count * dtype.itemsize != place.length:
            raise ValueError(f"{place.length} bytes for {count} of {dtype}")
        array = np.empty(tuple(tensor.dims), dtype)
        self._file.seek(place.offset)
        if self._file.readinto(array.reshape(-1).view(np.uint8).data) != place.length:
            raise ValueError("the file ends before them")
        return array if sys.byteorder == "little" else array.byteswap(inplace=True)

    def _by_library(self, onnx: Any, tensor: Any, place: Slice) -> np.ndarray:
        whole = onnx.TensorProto()
        whole.CopyFrom(tensor)
        whole.raw_data = _read(self._file, place.offset, place.offset + place.length)
        return onnx.numpy_helper.to_array(whole)
