"""The one door to argument checking: every public operation takes what it needs from here.

A public function hands over its arguments as they came and gets back arrays, a dtype and a geometry
that are consistent with each other; the engine behind it checks nothing again. Four rooms:

    x, weight, bias, out ...   _arrays.py      ndarrays, compute dtype
    stride, padding, layout    _arguments.py   tuples of ints, flags, Activation
    both together              _geometry.py    ConvGeometry, PoolGeometry
    one axis, by hand          _output_size.py conv_output_size

Nothing here needs the compiled engine, so reference and plans can use it too.
"""

from ._arguments import Activation, flag, integer, integers, normalise_layout, parse_activation
from ._arrays import (
    as_array,
    check_bias,
    check_out,
    check_residual,
    check_table,
    compute_dtype,
    plain_array,
)
from ._geometry import (
    ConvGeometry,
    PoolGeometry,
    conv_geometry,
    conv_transpose_geometry,
    fitted_geometry,
    pool_geometry,
    split_input,
)
from ._output_size import conv_output_size

__all__ = [
    "Activation",
    "ConvGeometry",
    "PoolGeometry",
    "as_array",
    "check_bias",
    "check_out",
    "check_residual",
    "check_table",
    "compute_dtype",
    "conv_geometry",
    "conv_output_size",
    "conv_transpose_geometry",
    "fitted_geometry",
    "flag",
    "integer",
    "integers",
    "normalise_layout",
    "parse_activation",
    "plain_array",
    "pool_geometry",
    "split_input",
]
