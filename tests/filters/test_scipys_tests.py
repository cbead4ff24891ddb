"""SciPy's own tests of these filters, with ours in the place of SciPy's functions."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("scipy.ndimage", reason="needs scipy: pip install fastconv[test]")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install fastconv[test]")
if importlib.util.find_spec("scipy.ndimage.tests") is None:
    pytest.skip("this SciPy came without its tests", allow_module_level=True)


def test_ndimage(fresh_python, tmp_path):
    """In a process of its own: SciPy's functions are replaced for its whole life."""
    (tmp_path / "empty.ini").touch()
    here = Path(__file__).parent
    done = fresh_python(
        "-m", "pytest", "-q", "-c", str(tmp_path / "empty.ini"), "-p", "scipy_with_ours",
        "-p", "no:cacheprovider", "-W", "ignore",
        "--pyargs", "scipy.ndimage.tests.test_filters",
        PYTHONPATH=os.pathsep.join(map(str, (here, here.parents[1]))), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 2000
