"""Data: pictures and labels from files, and batches of them.

    file --read_idx, read_cifar10, read_npz, read_folder--> Dataset (uint8) --split--> two of them
    Dataset --Batches: shuffle, transforms--> x (N, C, H, W) float32, labels (N,)

Nothing here runs code from a file (there is no pickle), and a file that is cut off or of another
kind is a ValueError that names it.
"""

from fastconv.train.data.batches import Batches
from fastconv.train.data.cifar import read_cifar10
from fastconv.train.data.dataset import Dataset
from fastconv.train.data.folder import read_folder
from fastconv.train.data.idx import read_idx
from fastconv.train.data.npz import read_npz
from fastconv.train.data.transforms import Crop, Normalise, flip

__all__ = [
    "Batches",
    "Crop",
    "Dataset",
    "Normalise",
    "flip",
    "read_cifar10",
    "read_folder",
    "read_idx",
    "read_npz",
]
