"""A network's arrays in files: NumPy's .npz, and .safetensors, which PyTorch reads as well.

    net --state_dict--> {name: array} --save--> file
    file --load--> {name: array} --load_state_dict--> net

Both formats hold arrays and nothing that could run, unlike pickles. The suffix says which it is.
"""

import zipfile
import zlib
from importlib import import_module
from pathlib import Path

import numpy as np

from fastconv._files import whole_file
from fastconv.nn.module import Module

__all__ = ["load", "save"]


def save(arrays, path):
    """Write arrays by name to a file, whole or not at all.

    Parameters
    ----------
    arrays : Module or dict of str to ndarray
        A network's arrays are those of its `state_dict`.
    path : str or Path
        Ends in .npz or .safetensors.

    Raises
    ------
    ValueError
        When the suffix is another.
    ImportError
        When the library for .safetensors is missing.
    """
    write = _of_format("save", path).write
    if isinstance(arrays, Module):
        arrays = arrays.state_dict()
    with whole_file(path) as file:
        write(file, {name: np.asarray(array) for name, array in arrays.items()})


def load(path):
    """Read a file of arrays by name, such as `save` writes.

    Parameters
    ----------
    path : str or Path
        Ends in .npz or .safetensors.

    Returns
    -------
    dict of str to ndarray
        For `Module.load_state_dict`.

    Raises
    ------
    ValueError
        When the suffix is another, or the file damaged or of another kind.
    ImportError
        When the library for .safetensors is missing.
    """
    read = _of_format("load", path).read
    try:
        return read(path)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as error:
        raise ValueError(f"load: {path} must hold arrays by name, got {error}") from error


class _Npz:
    @staticmethod
    def write(file, arrays):
        np.savez(file, **arrays)

    @staticmethod
    def read(path):
        with open(path, "rb") as file:
            # NumPy opens other files, too, and does not clean up after damaged ones.
            if not zipfile.is_zipfile(file):
                raise ValueError("another kind of file, or one cut off")
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)


class _Safetensors:
    @staticmethod
    def write(file, arrays):
        contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        file.write(_safetensors().save(contiguous))

    @staticmethod
    def read(path):
        library = _safetensors()
        content = Path(path).read_bytes()
        try:
            return library.load(content)
        except Exception as error:  # the library has an exception class of its own
            raise ValueError(str(error)) from error


def _safetensors():
    try:
        return import_module("safetensors.numpy")
    except ImportError as missing:
        raise ImportError(
            'files of .safetensors need the extra "files": python -m pip install "fastconv[files]"'
        ) from missing


_FORMATS = {".npz": _Npz, ".safetensors": _Safetensors}


def _of_format(op, path):
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise ValueError(f"{op}: path must end in {' or '.join(_FORMATS)}, got {str(path)!r}")
    return _FORMATS[suffix]
