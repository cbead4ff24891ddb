"""The example runs; it compares with SciPy itself."""

from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "from_scipy.py"


def test_from_scipy(fresh_python):
    pytest.importorskip("scipy", reason="needs scipy: pip install fastconv[test]")
    pytest.importorskip("skimage", reason="needs scikit-image: pip install fastconv[demo]")
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    done = fresh_python(str(EXAMPLE))
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert names == ["edges", "smooth_stack"]
