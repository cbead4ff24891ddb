"""Scalar and tuple arguments: what a caller may write, and the one form everyone else sees.

In go the words of the public functions (``stride=2``, ``padding="same"``, ``layout="NHWC"``,
``activation=("clip", 0, 6)``); out come tuples of Python ints with one entry per spatial axis, a
flag for channels last, and an `Activation`. Whatever cannot be understood ends here, as a
TypeError (wrong kind of thing) or a ValueError (right kind, impossible value) whose text names the
function, the argument, what came and what would be right.
"""

import math
import operator
import sys
from collections.abc import Sequence
from numbers import Real
from reprlib import repr as short_repr
from typing import NamedTuple

import numpy as np

# Strides, dilations and paddings above this are mistakes, and below it every position
# (in C: index * stride + tap * dilation - padding) stays far inside 64 bits.
LARGEST_INT = 2**31 - 1

# Per number of spatial axes: channels first, channels last.
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}

PADDING_FORMS = {
    1: 'an int, (p,), ((before, after),), "same" or "valid"',
    2: 'an int, (p_h, p_w), ((top, bottom), (left, right)), "same" or "valid"',
    3: (
        'an int, (p_d, p_h, p_w), ((front, back), (top, bottom), (left, right)), "same" or "valid"'
    ),
}


class Activation(NamedTuple):
    """An activation the engine can fuse: its kind and at most two numbers.

    ``clip`` keeps its bounds in `alpha` (low) and `beta` (high), ``leaky_relu`` its slope for
    negative input in `alpha`, ``scaled_hardswish`` the factor and the offset behind it in both;
    the other kinds use neither.
    """

    kind: str
    alpha: float = 0.0
    beta: float = 0.0


ACTIVATIONS = {
    "relu": Activation("relu"),
    "relu6": Activation("clip", 0.0, 6.0),
    "leaky_relu": Activation("leaky_relu", 0.01),
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
    "silu": Activation("silu"),
    "hardsigmoid": Activation("hardsigmoid"),
    "hardswish": Activation("hardswish"),
}

# Activations written as a tuple: name -> the numbers that follow it.
ACTIVATION_NUMBERS = {
    "leaky_relu": ("slope",),
    "clip": ("low", "high"),
    "scaled_hardswish": ("scale", "shift"),  # for graphs, which find it in networks
}


def is_sequence(value):
    """True for tuples, lists, ranges and arrays with an axis; False for scalars and strings."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _index(value):
    """`operator.index`, except that True and False are no numbers here."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("a bool is not a size")
    return operator.index(value)


def _check_range(op, name, values, minimum, given):
    if min(values) < minimum:
        raise ValueError(f"{op}: {name} must be at least {minimum}, got {short_repr(given)}")
    if max(values) > LARGEST_INT:
        raise ValueError(f"{op}: {name} must be at most {LARGEST_INT}, got {short_repr(given)}")


def flag(op, name, value):
    """Return `value`, which must be True or False, as a bool."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{op}: {name} must be True or False, got {short_repr(value)}")


def integer(op, name, value, minimum):
    """Return `value` as a Python int of at least `minimum`.

    Anything with ``__index__`` is an integer (NumPy's ints are); bools and floats are not, because
    ``stride=True`` and ``stride=2.0`` are more often slips than intentions.
    """
    try:
        number = _index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an int, got {short_repr(value)}") from None
    _check_range(op, name, (number,), minimum, value)
    return number


def integers(op, name, value, nd, minimum):
    """Return `value`, one int for all axes or a sequence of `nd` ints, as a tuple of `nd` ints."""
    tuple_form = "(int,)" if nd == 1 else f"{nd} ints"
    expected = f"{op}: {name} must be an int or {tuple_form}"
    many = is_sequence(value)
    if many and len(value) != nd:
        raise ValueError(f"{expected}, got {len(value)}: {short_repr(value)}")
    try:
        numbers = tuple(map(_index, value)) if many else (_index(value),) * nd
    except TypeError:
        raise TypeError(f"{expected}, got {short_repr(value)}") from None
    _check_range(op, name, numbers, minimum, value)
    return numbers


def shape_tuple(op, name, shape):
    """Return a shape the caller wrote as a tuple of ints, zeros allowed."""
    try:
        sizes = tuple(map(_index, shape))
    except TypeError:
        raise TypeError(
            f"{op}: {name}.shape must be a sequence of ints, got {short_repr(shape)}"
        ) from None
    if any(size < 0 or size > sys.maxsize for size in sizes):
        raise ValueError(f"{op}: {name}.shape must have sizes from 0 to {sys.maxsize}, got {sizes}")
    return sizes


def same_padding(size, extent, stride):
    """Padding that makes ``out = ceil(size / stride)``; the odd one goes to the end."""
    windows = -(-size // stride)
    total = max((windows - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def _padding_pair(entry):
    """One axis: an int, or a pair (before, after)."""
    if not is_sequence(entry):
        return (_index(entry),) * 2
    before, after = entry
    return _index(before), _index(after)


def padding_pairs(op, padding, size, extent, stride):
    """Return the padding of every axis as two tuples, before and after.

    Parameters
    ----------
    op : str
        Public name of the function, for error texts.
    padding : int, sequence or str
        An int for all axes, an int or a (before, after) pair per axis, ``"valid"`` (none), or
        ``"same"``: as much as makes ``out = ceil(size / stride)``, the odd one at the end.
    size, extent, stride : tuple of int
        Per axis: input size, size of the dilated kernel, stride; only ``"same"`` reads them.

    Returns
    -------
    before, after : tuple of int
        Elements of padding, per axis, never negative.
    """
    nd = len(size)

    def expected():
        return f"{op}: padding must be {PADDING_FORMS[nd]}, got {short_repr(padding)}"

    if isinstance(padding, str):
        if padding == "same":
            pairs = tuple(map(same_padding, size, extent, stride))
        elif padding == "valid":
            pairs = ((0, 0),) * nd
        else:
            raise ValueError(expected())
    else:
        entries = padding if is_sequence(padding) else (padding,) * nd
        if len(entries) != nd:
            raise ValueError(expected())
        try:
            pairs = tuple(map(_padding_pair, entries))
        except TypeError:
            raise TypeError(expected()) from None
        except ValueError:  # an entry that does not unpack into two
            raise ValueError(expected()) from None
        _check_range(op, "padding", sum(pairs, ()), 0, padding)
    before, after = zip(*pairs, strict=True)
    return before, after


def normalise_layout(op, layout, nd):
    """Return True when `layout` puts the channels last, False when it puts them first."""
    first, last = LAYOUTS[nd]
    if isinstance(layout, str) and layout in (first, last):
        return layout == last
    message = f'{op}: layout must be "{first}" or "{last}", got {short_repr(layout)}'
    if not isinstance(layout, str):
        raise TypeError(message)
    for axes, names in LAYOUTS.items():
        if layout in names:
            message += f" (a layout for {axes}-D operations, this one is {nd}-D)"
    raise ValueError(message)


def parse_activation(op, activation):
    """Return the `Activation` that the argument `activation` of a convolution stands for.

    Parameters
    ----------
    op : str
        Public name of the function, for error texts.
    activation : None, str or tuple
        None, one of the names in `ACTIVATIONS`, ``("leaky_relu", slope)`` or
        ``("clip", low, high)``; bounds may be infinite. ``"leaky_relu"`` alone has slope 0.01.
        ``("scaled_hardswish", scale, shift)`` is hardswish times scale plus shift.
    """
    if activation is None:
        return Activation("none")
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    if not isinstance(activation, str) and is_sequence(activation) and len(activation):
        name, *numbers = activation
        if isinstance(name, str) and name in ACTIVATION_NUMBERS:
            return _activation_with_numbers(op, name, numbers)
    names = ", ".join(f'"{name}"' for name in ACTIVATIONS)
    message = (
        f'{op}: activation must be None, {names}, ("leaky_relu", slope) or ("clip", low, high), '
        f"got {short_repr(activation)}"
    )
    raise (ValueError if isinstance(activation, (str, tuple, list)) else TypeError)(message)


_MEANINGS = {"leaky_relu": "slope", "clip": "bound", "scaled_hardswish": "number"}


def _activation_with_numbers(op, name, numbers):
    def message(fault=""):
        wanted = f'("{name}", {", ".join(ACTIVATION_NUMBERS[name])})'
        return f"{op}: activation must be {wanted}, got {short_repr((name, *numbers))}{fault}"

    if len(numbers) != len(ACTIVATION_NUMBERS[name]):
        raise ValueError(message())
    if not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers):
        raise TypeError(message("; its numbers must be real"))
    try:
        alpha, beta = (*map(float, numbers), 0.0)[:2]
    except OverflowError:
        raise ValueError(message("; too large for a float")) from None
    if math.isnan(alpha) or math.isnan(beta):
        raise ValueError(message(f"; NaN is no {_MEANINGS[name]}"))
    if name == "clip" and alpha > beta:
        raise ValueError(message("; low must not exceed high"))
    return Activation(name, alpha, beta)
