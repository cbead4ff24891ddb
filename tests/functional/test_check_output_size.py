"""The number of windows along one axis, and the advice that comes with an uneven one.

Sizes are compared with the definition, a range of window positions, and with the numbers every
course works out by hand; the strides and paddings an error proposes are tried out.
"""

import ast
import itertools
import re

import numpy as np
import pytest

from fastconv.functional import _check as check


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((7, 3, 1), 5),
        ((7, 3, 2), 3),
        ((7, 3, 3), 2),
        ((227, 11, 4), 55),
        ((224, 11, 4), 54),
        ((28, 5), 24),
        ((7, 3, 3, 1), 3),
        ((7, 3, 1, 0, 3), 1),
        ((7, 3, 2, "same"), 4),
        ((7, 3, 2, "valid"), 3),
        ((224, 11, 4, (1, 2)), 55),
        ((np.int64(7), np.uint8(3)), 5),
    ],
)
def test_output_size(arguments, expected):
    result = check.conv_output_size(*arguments)
    assert result == expected
    assert type(result) is int


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((7, 3, 1), 5), ((7, 3, 2), 3), ((227, 11, 4), 55), ((28, 5), 24), ((3, 3, 7), 1)],
)
def test_exact_output_size_where_nothing_is_left_over(arguments, expected):
    assert check.conv_output_size(*arguments, exact=True) == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (7, 3, 3),
            "conv_output_size: a 3-wide window at stride 3 does not fit 7 (1 column left over); "
            "strides that fit: 1, 2, 4; or padding=1",
        ),
        (
            (224, 11, 4),
            "conv_output_size: an 11-wide window at stride 4 does not fit 224 (1 column left over);"
            " strides that fit: 1, 3; or padding=(1, 2)",
        ),
        (
            (8, 3, 3),
            "conv_output_size: a 3-wide window at stride 3 does not fit 8 (2 columns left over); "
            "strides that fit: 1, 5; or padding=2",
        ),
        (
            (10, 3, 3, 1, 2),
            "conv_output_size: a 5-wide window (3 taps, dilation 2) at stride 3 does not fit 10 "
            "padded to 12 (1 column left over); strides that fit: 1, 7; or padding=2",
        ),
        (
            (15, 8, 5, (1, 0)),
            "conv_output_size: an 8-wide window at stride 5 does not fit 15 padded to 16 "
            "(3 columns left over); strides that fit: 1, 2, 4, 8; or padding=(2, 1)",
        ),
    ],
)
def test_exact_output_size_says_what_would_fit(arguments, text):
    with pytest.raises(ValueError) as caught:
        check.conv_output_size(*arguments, exact=True)
    assert str(caught.value) == text


def test_advice_of_the_exact_error_is_right():
    advice = re.compile(r".* left over\); strides that fit: ([\d, ]+); or padding=(.+)")
    advised = 0
    settings = itertools.product(range(5, 24), range(1, 6), range(1, 7), range(3))
    for size, kernel, stride, padding in settings:
        try:
            check.conv_output_size(size, kernel, stride, padding, exact=True)
        except ValueError as error:
            strides, better = map(ast.literal_eval, advice.fullmatch(str(error)).groups())
        else:
            continue
        advised += 1
        for fitting in strides if isinstance(strides, tuple) else (strides,):
            check.conv_output_size(size, kernel, fitting, padding, exact=True)
        check.conv_output_size(size, kernel, stride, better, exact=True)
    assert advised > 500


def test_sizes_against_the_definition():
    settings = itertools.product(range(1, 8), range(1, 5), range(1, 4), range(3), range(2), (1, 2))
    for size, kernel, stride, before, after, dilation in settings:
        padded, last_tap = before + size + after, dilation * (kernel - 1)
        expected = len(range(0, padded - last_tap, stride))
        if expected:
            result = check.conv_output_size(size, kernel, stride, (before, after), dilation)
            assert result == expected
        else:
            with pytest.raises(ValueError, match="does not fit"):
                check.conv_output_size(size, kernel, stride, (before, after), dilation)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((3, 5), ValueError, "a 5-wide window does not fit 3; pad by 2 more"),
        ((3, 7, 1, 1), ValueError, "a 7-wide window does not fit 3 padded to 5; pad by 2 more"),
        ((7, 3.0), TypeError, "kernel_size must be an int, got 3.0"),
        ((7, True), TypeError, "kernel_size must be an int, got True"),
        (("7", 3), TypeError, "size must be an int, got '7'"),
        ((0, 3), ValueError, "size must be at least 1, got 0"),
        ((7, 3, 0), ValueError, "stride must be at least 1, got 0"),
        ((7, 3, 1, -1), ValueError, "padding must be at least 0, got -1"),
        ((7, 3, 1, (1, 2, 3)), ValueError, "padding must be an int or 2 ints, got 3: (1, 2, 3)"),
        ((7, 3, 1, "full"), ValueError, 'an int, (before, after), "same" or "valid", got \'full\''),
        ((7, 3, 1, 0, 0), ValueError, "dilation must be at least 1, got 0"),
    ],
)
def test_output_size_errors(arguments, error, text):
    with pytest.raises(error) as caught:
        check.conv_output_size(*arguments)
    assert str(caught.value).startswith("conv_output_size: ")
    assert text in str(caught.value)


def test_exact_is_a_flag():
    with pytest.raises(TypeError, match="conv_output_size: exact must be True or False, got 1"):
        check.conv_output_size(7, 3, exact=1)
