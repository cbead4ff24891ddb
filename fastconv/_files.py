"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["whole_file", "write_file"]


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Give a file to write, which takes its place at `path` when the block has ended well.

    Until then it lies beside that place under another name, and an error or Ctrl-C within the
    block removes it: whoever opens `path` finds the old content or all of the new.
    """
    path = Path(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as partial:
        try:
            yield partial
            partial.flush()
            os.fsync(partial.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(partial.name, 0o666 & ~mask)  # temporary files are private, results are not
            os.replace(partial.name, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial.name)
            raise


def write_file(path: str | os.PathLike, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    with whole_file(path) as file:
        file.write(content)
