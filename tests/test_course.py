"""docs/course.md does what it says: its blocks run in order, and hold their figures by assertions.

All blocks share one namespace, as in a reader's session. A block that takes minutes says so in its
first line; those run where Fashion-MNIST is installed.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

COURSE = Path(__file__).resolve().parents[1] / "docs" / "course.md"
FASHION = Path("/usr/share/datasets/fashion-mnist")
TEXT = COURSE.read_text(encoding="utf-8")


class Block(NamedTuple):
    """One block of code; `line` is where it begins in the file, counted from 0."""

    lesson: str
    line: int
    code: str

    @property
    def slow(self):
        return self.code.startswith("# Takes minutes.")

    def run(self, namespace):
        """Execute the block; a traceback shows lines of the course."""
        for library in re.findall(r"^from (sklearn|skimage|matplotlib)\b", self.code, re.M):
            pytest.importorskip(library, reason=f"needs {library}: fastconv[demo]")
        exec(compile("\n" * self.line + self.code, str(COURSE), "exec"), namespace)


def read_blocks():
    blocks, lesson = [], ""
    for match in re.finditer(r"^## ([^\n]*)$|^```python\n(.*?)^```$", TEXT, re.M | re.S):
        if match[1]:
            lesson = match[1]
        else:
            blocks.append(Block(lesson, TEXT.count("\n", 0, match.start(2)), match[2]))
    return blocks


BLOCKS = read_blocks()
LESSONS = list(dict.fromkeys(block.lesson for block in BLOCKS if block.lesson))


@pytest.fixture(scope="module")
def namespace():
    names = {"__name__": "course"}
    for block in BLOCKS:
        if not block.lesson:
            block.run(names)
    return names


def test_every_block_is_found():
    assert len(BLOCKS) == TEXT.count("```python") == TEXT.count("```") / 2
    assert [lesson.split(".")[0] for lesson in LESSONS] == list("123456789")


@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson(lesson, namespace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # blocks write their pictures where they run
    for block in BLOCKS:
        if block.lesson == lesson and not block.slow:
            block.run(namespace)


@pytest.mark.skipif(
    not FASHION.exists(), reason="needs Fashion-MNIST: apt install dataset-fashion-mnist"
)
def test_slow_blocks(namespace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lessons = {block.lesson for block in BLOCKS if block.slow}
    assert lessons
    for block in BLOCKS:
        if block.lesson in lessons:
            block.run(namespace)
    assert (tmp_path / "plain-and-residual.png").stat().st_size > 10_000
