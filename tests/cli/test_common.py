"""What the commands share: tables, progress, what they need."""

import sys

import pytest

from fastconv.cli._common import (
    Column,
    CommandError,
    check_writable,
    print_table,
    progress,
    require,
)

COLUMNS = [Column("name", right=False), Column("ms", headline=True)]


class Terminal:
    """A stream that claims to be a terminal and keeps what it is given."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


def test_check_writable(tmp_path):
    check_writable("--out", tmp_path)
    with pytest.raises(CommandError, match="--out: cannot write into .*absent"):
        check_writable("--out", tmp_path / "absent")


def test_require():
    require("this test", "test", "json")
    with pytest.raises(CommandError, match=r'needs the extra "x": .* "fastconv\[x\]"'):
        require("this test", "x", "no_such_module")


def test_plain_table(capsys):
    print_table(COLUMNS, [["conv1", "1.25"], ["c", "10.00"]])
    assert capsys.readouterr().out == "name      ms\nconv1   1.25\nc      10.00\n"


@pytest.mark.parametrize("columns, rich", [("100", True), ("9", False)])
def test_table_in_a_terminal(columns, rich, monkeypatch):
    pytest.importorskip("rich", reason="needs rich: pip install fastconv[test]")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", columns)
    print_table(COLUMNS, [["conv1", "1.25"]])
    assert "conv1" in terminal.text and "1.25" in terminal.text
    assert (terminal.text != "name     ms\nconv1  1.25\n") == rich


def test_progress_in_plain_lines(capsys):
    assert list(progress([3, 4], str)) == [3, 4]
    assert capsys.readouterr().err == "[1/2] 3\n[2/2] 4\n"


def test_progress_bar_in_a_terminal(monkeypatch):
    pytest.importorskip("tqdm", reason="needs tqdm: pip install fastconv[test]")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(progress(["conv1", "conv2"], str)) == ["conv1", "conv2"]
    assert "conv2" in terminal.text and "1/2" in terminal.text
    assert "[1/2] conv1" not in terminal.text
