"""Folders of known data sets, told apart by the names of their files."""

from pathlib import Path

from fastconv.train.data.cifar import read_cifar10
from fastconv.train.data.dataset import Dataset
from fastconv.train.data.idx import read_idx
from fastconv.train.data.npz import read_npz

__all__ = ["read_folder"]

_IDX = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_CIFAR = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}
# Of a file without a split, one picture in so many is held back for testing.
_HELD_BACK = 5


def read_folder(folder, seed=0):
    """Read a data set: MNIST's or Fashion-MNIST's files, CIFAR-10's binary ones, or one .npz.

    Parameters
    ----------
    folder : str or Path
        With train-images-idx3-ubyte and the three others (plain or .gz), data_batch_1.bin to
        data_batch_5.bin and test_batch.bin, or a single .npz file with arrays x and y.
    seed : int
        Chooses the fifth of an .npz file's pictures that is held back for testing.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    ValueError
        When the folder holds none of these, or a file is damaged.
    """
    folder = Path(folder)
    parts = _read_idx_pair(folder, "train")
    if parts is not None:
        test = _read_idx_pair(folder, "test")
        if test is None:
            raise ValueError(f"{folder}: expected {' and '.join(_IDX['test'])} too (plain or .gz)")
        return parts, test
    cifar = {part: [folder / name for name in names] for part, names in _CIFAR.items()}
    if cifar["train"][0].exists():
        return read_cifar10(*cifar["train"]), read_cifar10(*cifar["test"])
    archives = sorted(folder.glob("*.npz"))
    if len(archives) == 1:
        whole = read_npz(archives[0])
        return whole.split(whole.count // _HELD_BACK, seed)
    found = sorted(path.name for path in folder.iterdir())[:5] if folder.is_dir() else "no folder"
    raise ValueError(
        f"{folder}: expected {_IDX['train'][0]} (plain or .gz), {_CIFAR['train'][0]} or a single "
        f".npz file, found {found}"
    )


def _read_idx_pair(folder, part):
    """Return the Dataset of two IDX files, None if there are no such files."""
    paths = [_plain_or_compressed(folder / name) for name in _IDX[part]]
    if None in paths:
        return None
    return Dataset.checked(paths[0], *map(read_idx, paths))


def _plain_or_compressed(path):
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.exists():
            return candidate
    return None
