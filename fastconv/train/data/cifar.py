"""CIFAR-10 in its binary version: files of records without a header.

    label, 1 byte | red plane, 32 x 32 bytes | green plane | blue plane

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from pathlib import Path

import numpy as np

from fastconv.train.data.dataset import Dataset

__all__ = ["CLASSES", "read_cifar10"]

CLASSES = 10
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32


def read_cifar10(*paths):
    """Read files of CIFAR-10's binary version, as data_batch_1.bin.

    Parameters
    ----------
    *paths : str or Path
        The pictures come in this order.

    Returns
    -------
    Dataset
        images : ndarray of uint8, (N, 3, 32, 32)

    Raises
    ------
    ValueError
        When a file is not a whole number of records, a label is none of the ten, or no file is
        named.
    """
    if not paths:
        raise ValueError("read_cifar10: paths must name at least one file, got none")
    records = np.concatenate([_records(path) for path in paths])
    return Dataset(records[:, 1:].reshape(-1, *_SHAPE), records[:, 0].astype(np.int64))


def _records(path):
    content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    if not content.size or content.size % _RECORD:
        raise ValueError(
            f"{path}: expected records of {_RECORD} bytes (CIFAR-10, binary version), found "
            f"{content.size} bytes, {content.size / _RECORD:.2f} records"
        )
    records = content.reshape(-1, _RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if wrong.size:
        raise ValueError(
            f"{path}: expected labels from 0 to {CLASSES - 1} (CIFAR-10, binary version), found "
            f"{records[wrong[0], 0]} in record {wrong[0]}"
        )
    return records
