"""A pytest plugin that puts fastconv.filters in the place of SciPy's functions of the same names.

For a process that runs SciPy's own tests; see test_scipys_tests.py.
"""

import scipy.ndimage
import scipy.signal
from scipy._lib import _array_api

from fastconv import filters

for _name in filters.__all__:
    if _name == "correlate_bank":
        continue  # SciPy has none
    _module = scipy.signal if _name in ("convolve2d", "correlate2d") else scipy.ndimage
    _theirs, _ours = getattr(_module, _name), getattr(filters, _name)
    # SciPy's tests look up what array libraries a function can be tested with.
    _array_api.xp_capabilities_table[_ours] = _array_api.xp_capabilities_table[_theirs]
    setattr(_module, _name, _ours)
