"""Winograd's generator in exact arithmetic, and the C code that it writes."""

import re
from fractions import Fraction

import numpy as np
import pytest

from fastconv._engine import winograd_matrices
from fastconv._engine.winograd_matrices import FORMS, filter_cases, input_cases, output_cases


def unit(size, at):
    return [Fraction(i == at) for i in range(size)]


def times(matrix, vector):
    return [sum(a * v for a, v in zip(row, vector, strict=True)) for row in matrix]


@pytest.mark.parametrize(
    ("m", "r"), [(m, r) for m in range(1, 8) for r in range(1, 8) if 2 <= m + r - 1 <= 8]
)
def test_matrices_correlate_exactly(m, r):
    transposed_a, g, transposed_b = winograd_matrices.matrices(m, r)
    n = m + r - 1
    for tap in range(r):
        transformed_filter = times(g, unit(r, tap))
        for at in range(n):
            transformed_input = times(transposed_b, unit(n, at))
            products = [
                a * b for a, b in zip(transformed_filter, transformed_input, strict=True)
            ]
            # y[i] = g[tap] d[i + tap]
            assert times(transposed_a, products) == [Fraction(i + tap == at) for i in range(m)]


def test_points_beyond_the_table_are_refused():
    with pytest.raises(ValueError, match="n=10 has no table of points"):
        winograd_matrices.matrices(8, 3)


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_transform_constants_are_exact_in_float32(m, r):
    transposed_a, _, transposed_b = winograd_matrices.matrices(m, r)
    for value in sum(transposed_a + transposed_b, []):
        assert Fraction(float(np.float32(float(value)))) == value


def evaluate(case, **vectors):
    """Run one generated case: its statements are Python once casts and semicolons are gone."""
    exec(case.replace("(real)", "").replace(";", ""), {}, vectors)


def columns_of(cases, name, size, results):
    """The matrix that straight-line code computes, from what it makes of unit vectors."""
    columns = []
    for at in range(size):
        vector = [float(i == at) for i in range(size)]
        column = []
        for case in cases:
            result = [None] * results
            evaluate(case, **{name: vector, "t": result, "y": result, "s": [None] * 3})
            column.append([value for value in result if value is not None])
        columns.append(column)
    return columns


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_generated_code_is_the_matrices(m, r):
    transposed_a, g, transposed_b = winograd_matrices.matrices(m, r)
    n = m + r - 1
    for at, groups in enumerate(columns_of(input_cases(n), "d", n, 2)):
        assert sum(groups, []) == [float(row[at]) for row in transposed_b]
    for at, parities in enumerate(columns_of(output_cases(m, r), "p", n, m // 2)):
        assert parities == [[float(row[at]) for row in transposed_a[parity::2]]
                            for parity in range(2)]
    for at, groups in enumerate(columns_of(filter_cases(m, r), "g", r, 2)):
        assert sum(groups, []) == pytest.approx([float(row[at]) for row in g], rel=1e-15)


@pytest.mark.parametrize(("m", "r"), FORMS)
def test_generated_sums_round_in_one_way_only(m, r):
    """At most one product in each step of a sum: nothing for a compiler to choose."""
    for case in input_cases(m + r - 1) + output_cases(m, r):
        for statement in case.splitlines():
            first_term = re.split(r" [+-] ", statement.partition(" = ")[2])[0]
            assert "*" not in first_term, statement
