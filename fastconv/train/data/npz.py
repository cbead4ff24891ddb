"""Pictures and labels in NumPy's own .npz files."""

import zipfile

import numpy as np

from fastconv.train.data.dataset import Dataset

__all__ = ["read_npz"]


def read_npz(path, images="x", labels="y"):
    """Read pictures and labels from an .npz file.

    Parameters
    ----------
    path : str or Path
    images, labels : str
        Names of the arrays: (N, H, W) or (N, C, H, W), and (N,) of integers.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        When the file is damaged or of another kind, or the arrays are missing or do not fit.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: expected a whole .npz file, found one cut off or none")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in (images, labels) if name not in file]
            if missing:
                raise ValueError(
                    f"expected arrays {images!r} and {labels!r}, found {sorted(file.files)}"
                )
            arrays = file[images], file[labels]
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Dataset.checked(path, *arrays)
