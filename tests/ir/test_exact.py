"""Exact numbers: rounding modes by their definitions, square roots against decimals of 200 digits."""

from __future__ import annotations

import math
import random
from decimal import Decimal, getcontext, localcontext
from fractions import Fraction

import numpy as np
import pytest

from gatewright.ir.exact import (
    ROUND_NUMBER,
    Surd,
    abs_,
    as_integers,
    elementwise,
    exacts,
    inverse,
    parse_number,
    sqrt,
    unit,
)

F = Fraction
DIGITS = 200


def by_definition(x: Fraction, mode: str) -> int:
    """The mode's definition, among the two neighbours of x."""
    below, above = math.floor(x), math.ceil(x)
    if below == above:
        return below
    nearer = below if x - below < above - x else above
    tie = 2 * x == below + above
    toward, away = (below, above) if x > 0 else (above, below)
    return {"FLOOR": below, "CEIL": above, "DOWN": toward, "UP": away,
            "ROUND": below if below % 2 == 0 else above, "HALF_UP": away, "HALF_DOWN": toward, "HALF_CEIL": above,
            "HALF_FLOOR": below}[mode] if tie or mode in ("FLOOR", "CEIL", "DOWN", "UP") else nearer


@pytest.mark.parametrize("mode", ROUND_NUMBER)
def test_rounding_modes_of_rationals(mode: str) -> None:
    for d in (1, 2, 3, 4, 7, 10):
        for n in range(-45, 46):
            assert ROUND_NUMBER[mode](F(n, d)) == by_definition(F(n, d), mode), F(n, d)


def decimal(x: Fraction | Surd) -> Decimal:
    terms = x.terms.items() if isinstance(x, Surd) else [(1, x)]
    return sum((Decimal(c.numerator) / Decimal(c.denominator) * Decimal(r).sqrt() for r, c in terms), Decimal(0))


def random_number(rng: random.Random) -> Fraction | Surd:
    total: Fraction | Surd = F(rng.randint(-9, 9), rng.randint(1, 9))
    for _ in range(rng.randint(0, 3)):
        total = total + sqrt(F(rng.randint(0, 12), rng.randint(1, 6))) * F(rng.randint(-9, 9), rng.randint(1, 4))
    return total


def near(a: Decimal, b: Decimal) -> bool:
    return abs(a - b) < Decimal(10) ** -(DIGITS - 60)


@pytest.mark.parametrize("seed", range(60))
def test_arithmetic_comparison_and_rounding_of_square_roots(seed: int) -> None:
    rng = random.Random(seed)
    with localcontext() as context:
        context.prec = DIGITS
        a, b = random_number(rng), random_number(rng)
        u, v = decimal(a), decimal(b)
        assert near(decimal(a + b), u + v)
        assert near(decimal(a - b), u - v)
        assert near(decimal(a * b), u * v)
        assert (a < b, a <= b, a > b, a >= b) == ((u < v, u <= v, u > v, u >= v) if not near(u, v) else (
            False, True, False, True))
        if b != 0:
            assert near(decimal(a / b), u / v)
            assert b * inverse(b) == 1
            assert isinstance(b * inverse(b), Fraction)
        if isinstance(a, Surd):
            exact = F(u)  # 200 digits of an irrational number: no tie is near enough to matter
            assert [f(a) for f in ROUND_NUMBER.values()] == [by_definition(exact, m) for m in ROUND_NUMBER]
            assert abs(float(a) - float(u)) <= abs(float(u)) * 1e-15
    assert getcontext().prec < DIGITS


def test_roots_cancel_to_rationals() -> None:
    assert sqrt(F(9, 4)) == F(3, 2)
    assert sqrt(F(8)) - 2 * sqrt(F(2)) == 0
    assert isinstance(sqrt(F(8)) - 2 * sqrt(F(2)), Fraction)
    assert sqrt(F(2)) * sqrt(F(8)) == 4
    assert sqrt(F(0)) == 0
    assert (sqrt(F(2)) + 1) * (sqrt(F(2)) - 1) == 1
    assert sqrt(F(1, 2)) * 2 == sqrt(F(2))
    assert sqrt(F(2)) + sqrt(F(3)) != sqrt(F(5))
    with pytest.raises(ValueError, match="nonnegative"):
        sqrt(F(-1))


def test_equal_numbers_written_differently_are_one_key() -> None:
    a, b = sqrt(F(8)) + 1, 1 + 2 * sqrt(F(2))
    assert (a == b, hash(a), {a: 1}[b]) == (True, hash(b), 1)
    huge = sqrt(F(2)) * 10**400
    assert hash(huge) == hash(sqrt(F(2 * 10**800)))
    assert sqrt(F(2)) != -sqrt(F(2))


def test_an_inverse_with_dependent_roots_ends() -> None:
    """sqrt(15) is sqrt(6) sqrt(10) / 2: turning the sign of one root alone is no conjugation."""
    for radicands in ((6, 10, 15), (2, 3, 5, 7), (2, 3, 6, 5, 30)):
        x = 1 + sum((sqrt(F(r)) for r in radicands), F(0))
        assert x * inverse(x) == 1
        assert 1 / (3 / x) == x / 3
        assert (F(7, 2) - x) * inverse(F(7, 2) - x) == 1


def test_floor_refines_until_it_is_decided() -> None:
    n = 10**60
    root = sqrt(F(n * n + 1))  # just above n
    assert (math.floor(root), math.floor(-root), math.floor(root - n), math.floor(n - root)) == (n, -n - 1, 0, -1)
    assert root > n
    assert -root < -n
    assert ROUND_NUMBER["ROUND"](root - n + F(1, 2)) == 1  # no tie: a little more than a half
    assert ROUND_NUMBER["HALF_FLOOR"](n - root - F(1, 2)) == -1


@pytest.mark.parametrize("seed", range(20))
def test_numbers_are_read_back_as_written(seed: int) -> None:
    x = random_number(random.Random(seed))
    assert parse_number(str(x)) == x
    assert str(parse_number(str(x))) == str(x)


def test_floats_are_taken_exactly() -> None:
    values = exacts(np.array([[0.1, -0.0], [2.0**-1074, 1e300]]))
    assert values.dtype == object
    assert values.tolist() == [[F(0.1), 0], [F(1, 2**1074), F(1e300)]]
    assert exacts(np.float32(0.1)).item() == F(13421773, 2**27)
    assert exacts(np.array([True, False])).tolist() == [1, 0]
    assert exacts(np.array([2**64 - 1], np.uint64)).tolist() == [2**64 - 1]
    assert exacts(7).shape == ()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            exacts(np.array([1.0, bad]))


def test_elementwise_broadcasts_and_stays_an_array() -> None:
    assert elementwise(lambda a, b: a + b, exacts(np.array([1, 2])), exacts(3)).tolist() == [4, 5]
    alone = elementwise(lambda a: a, exacts(3))
    assert (alone.shape, alone.dtype) == ((), object)


def test_the_largest_common_unit() -> None:
    assert unit(exacts(np.array([0.75, -0.5, 0]))) == F(1, 4)
    assert unit(exacts(np.array([0, 0]))) == 1
    root = sqrt(F(2))
    assert unit(np.array([root * F(-3, 2), root * F(1, 4)], object)) == root / 4
    assert unit(np.array([root, F(1)], object)) is None
    assert unit(np.array([root, sqrt(F(3))], object)) is None
    rng = random.Random(4)
    for _ in range(50):
        values = [F(rng.randint(-30, 30), rng.randint(1, 30)) for _ in range(4)]
        u = unit(np.array(values, object))
        assert isinstance(u, Fraction)
        multiples = [v / u for v in values]
        assert all(m.denominator == 1 for m in multiples)
        assert not any(values) or math.gcd(*[m.numerator for m in multiples]) == 1
    assert abs_(-root) == root


def test_integers_are_demanded() -> None:
    assert as_integers(exacts(np.array([2.0, -3.0]))).tolist() == [2, -3]
    for bad in (F(1, 2), sqrt(F(2))):
        with pytest.raises(ValueError, match="is no integer"):
            as_integers(np.array([bad], object))
