"""Files written whole: the old content or all of the new, with the usual rights."""

import pytest

from fastconv._files import whole_file, write_file


def test_write_file_replaces(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_file_has_usual_rights(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_file(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_file_that_was_not_finished_leaves_nothing(tmp_path, stop):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(stop), whole_file(path) as file:
        file.write(b"half")
        raise stop
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
