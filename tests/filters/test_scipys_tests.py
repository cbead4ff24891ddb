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


# Left out: test_large_array, which passes, for its 4 GB of memory.
PLANES = "(TestConvolve2d or TestCorrelate2d) and not test_large_array"


@pytest.mark.parametrize(
    ("module", "chosen", "least"),
    [("scipy.ndimage.tests.test_filters", "test", 2000),
     ("scipy.signal.tests.test_signaltools", PLANES, 20)],
    ids=["ndimage", "signal"],
)  # fmt: skip
def test_with_ours(module, chosen, least, fresh_python, tmp_path):
    """In a process of its own: SciPy's functions are replaced for its whole life."""
    (tmp_path / "empty.ini").touch()
    here = Path(__file__).parent
    done = fresh_python(
        "-m", "pytest", "-q", "-c", str(tmp_path / "empty.ini"), "-p", "scipy_with_ours",
        "-p", "no:cacheprovider", "-W", "ignore", "-k", chosen, "--pyargs", module,
        PYTHONPATH=os.pathsep.join(map(str, (here, here.parents[1]))), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= least
