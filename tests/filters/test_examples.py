"""The examples run; they compare with SciPy themselves."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "needs", "printed"),
    [("from_scipy.py", "skimage", ["edges", "vessels"]),
     ("from_scipy_stack.py", "scipy",
      ["scipy.ndimage", "fastconv.filters", "40 spots found, 40 of 40 that are there"])],
)  # fmt: skip
def test_from_scipy(name, needs, printed, fresh_python):
    pytest.importorskip("scipy", reason="needs scipy: pip install fastconv[test]")
    pytest.importorskip(needs, reason="needs scikit-image: pip install fastconv[demo]")
    assert len((EXAMPLES / name).read_text().splitlines()) <= 40
    done = fresh_python(str(EXAMPLES / name))
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == printed
