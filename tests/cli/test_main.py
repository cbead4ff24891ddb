"""The `fastconv` command as a whole: help, errors, exit codes, and `fastconv info`."""

import re
import subprocess
import sys

import pytest

import fastconv
from fastconv.cli import COMMANDS, main


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^ {{4}}{name}\s", text, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: fastconv {name}")
    assert ": " + name not in text.splitlines()[2]  # the module's own heading is not repeated


@pytest.mark.parametrize("words", [[], ["nonsense"], ["info", "more"], ["demo", "--fast"]])
def test_wrong_call(words, capsys):
    assert main(words) == 2
    assert "usage: fastconv" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastconv {fastconv.__version__}\n"


def test_info_prints_the_configuration(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    facts = fastconv.show_config(mode="dicts")
    assert str(facts["version"]) in text
    assert str(facts["isa"]) in text


@pytest.mark.parametrize(
    "raised, code, message",
    [(KeyboardInterrupt(), 130, "stopped"), (MemoryError("12 GB"), 1, "not enough memory (12 GB)")],
)
def test_stopped_and_out_of_memory(raised, code, message, capsys, monkeypatch):
    def fail():
        raise raised

    monkeypatch.setattr(fastconv, "show_config", fail)
    assert main(["info"]) == code
    assert message in capsys.readouterr().err


def test_runs_as_a_module():
    command = [sys.executable, "-m", "fastconv", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"fastconv {fastconv.__version__}\n")


def test_reader_that_leaves_early():
    """`fastconv bench | head -1` ends without a traceback."""
    command = f'"{sys.executable}" -m fastconv bench --quick --shapes lenet | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("fastconv ")
