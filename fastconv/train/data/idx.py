"""IDX, the format of MNIST and Fashion-MNIST: one array a file, plain or compressed by gzip.

    0 0 type axes | size of each axis, 4 bytes | elements, the last axis fastest    (big-endian)

LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

__all__ = ["read_idx"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


def read_idx(path):
    """Read an IDX file, which may be compressed by gzip.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    ndarray
        Of the file's type in native byte order, and its shape.

    Raises
    ------
    ValueError
        When the file is of another kind, cut off or too long.
    """
    content = Path(path).read_bytes()
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: expected a whole gzip file, found one cut off or damaged "
                             f"({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise ValueError(
            f"{path}: expected an IDX file, which starts with 00 00, a type and the number of "
            f"axes, found {content[:4].hex(' ') or 'an empty file'}"
        )
    dtype, axes = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(
            f"{path}: expected {start} bytes of header for {axes} axes, found {len(content)}"
        )
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist())
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if expected != found:
        raise ValueError(
            f"{path}: expected {expected} bytes of elements ({dtype.name}, shape {shape}), "
            f"found {found}"
        )
    elements = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return elements.astype(dtype.newbyteorder("="))
