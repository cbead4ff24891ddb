"""Pictures and labels in NumPy's own .npz files."""

from fastconv.nn import load
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
    arrays = load(path)
    if not {images, labels} <= arrays.keys():
        raise ValueError(
            f"{path}: expected arrays {images!r} and {labels!r}, found {sorted(arrays)}"
        )
    return Dataset.checked(path, arrays[images], arrays[labels])
