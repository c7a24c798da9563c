"""Enclosures against mpmath with thousands of bits; order, floor and rounding of what they enclose."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction as F  # noqa: N817
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Enclosed, exacts, sqrt
from gatewright.ir.reals import FUNCTIONS, MAX_EXPONENT

REFERENCE: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp, "log": mpmath.log, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "tanh": mpmath.tanh, "erf": mpmath.erf,
    "softplus": lambda x: max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x))), "sqrt": mpmath.sqrt,
    "reciprocal": lambda x: 1 / x, "gelu_tanh": lambda x: mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * x)}
POSITIVE = ("log", "sqrt", "reciprocal")


def real(x: F) -> Any:
    return mpf(x.numerator) / x.denominator


def arguments(name: str, count: int) -> Iterator[F]:
    """From 2**-60 to hundreds."""
    rng = random.Random(1)
    for _ in range(count):
        x = F(rng.randint(-10**6, 10**6), rng.choice([1000, 4096, 30011, 10**7])) * rng.choice([1, 1, F(1, 1 << 40)])
        x = abs(x) + F(1, 10**9) if name in POSITIVE else x / 50 if name == "erf" else x
        yield min(x, F(MAX_EXPONENT)) if name == "exp" else x


@pytest.mark.parametrize("bits", [64, 300, 2000])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_enclosures_hold_the_value_and_are_narrow(name: str, bits: int) -> None:
    with mpmath.workprec(3 * bits + 300):
        for x in arguments(name, 60 if bits < 2000 else 8):
            lo, hi = FUNCTIONS[name].enclose(x, bits)
            value = REFERENCE[name](real(x))
            slack = mpf(2) ** (-3 * bits) * max(1, abs(value))  # the reference's own error
            assert real(lo) < value + slack, (name, x)
            assert value - slack < real(hi), (name, x)
            assert hi - lo <= F(4, 1 << bits)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_irrational_arguments(name: str) -> None:
    root = sqrt(F(3, 7))
    inner = FUNCTIONS["tanh"](root)
    with mpmath.workprec(500):
        for x, value in ((root, mpmath.sqrt(mpf(3) / 7)), (inner, mpmath.tanh(mpmath.sqrt(mpf(3) / 7)))):
            y = FUNCTIONS[name](x)
            if isinstance(y, Enclosed):
                lo, hi = y.bounds(200)
                assert real(lo) < REFERENCE[name](value) < real(hi)
                assert hi - lo < F(1, 1 << 190)
            else:
                assert float(y) == pytest.approx(float(REFERENCE[name](value)), rel=1e-14)


@pytest.mark.parametrize(("name", "x", "value"), [
    ("exp", 0, 1), ("log", 1, 0), ("sigmoid", 0, F(1, 2)), ("tanh", 0, 0), ("erf", 0, 0), ("sqrt", F(9, 4), F(3, 2)),
    ("sqrt", 0, 0), ("reciprocal", F(-2, 3), F(-3, 2))])
def test_rational_values_are_exact(name: str, x: F, value: F) -> None:
    assert FUNCTIONS[name](F(x)) == value


def test_order_and_floor() -> None:
    e = FUNCTIONS["exp"](F(1))
    assert isinstance(e, Enclosed)
    assert (math.floor(e), math.floor(-e), math.floor(e * 1000), math.floor(1000 - e)) == (2, -3, 2718, 997)
    assert [e > 2, e >= F(27, 10), e < 3, e <= sqrt(F(8)), sqrt(F(7)) < e, e <= e, e >= e] == [True] * 7
    assert [e < F(27, 10), e > e, e < e, e == 1] == [False] * 4
    assert (e * 0, e - e) == (0, 0)
    assert (float(e), float(e.inverse())) == (math.e, pytest.approx(1 / math.e))
    assert [ROUND_NUMBER[m](-e) for m in ("FLOOR", "CEIL", "DOWN", "UP", "ROUND", "HALF_UP", "HALF_DOWN")] == [
        -3, -2, -2, -3, -3, -3, -3]
    assert np.maximum(np.array([e, F(3)], object), exacts(np.array([F(2), F(2)], object))).tolist() == [e, F(3)]


def test_tails_are_decided_by_the_limits() -> None:
    huge = F(10) ** 30
    assert math.floor(FUNCTIONS["sigmoid"](huge)) == 0
    assert math.floor(FUNCTIONS["sigmoid"](-huge)) == 0
    assert math.floor(FUNCTIONS["tanh"](-huge)) == -1
    assert math.floor(-FUNCTIONS["erf"](huge)) == -1
    assert math.floor(huge * FUNCTIONS["sigmoid"](-huge)) == 0
    assert math.floor(FUNCTIONS["softplus"](huge)) == huge


def test_what_lies_on_a_boundary_is_not_guessed() -> None:
    """sigmoid(1) + sigmoid(-1) is 1, which no precision shows."""
    total = FUNCTIONS["sigmoid"](F(1)) + FUNCTIONS["sigmoid"](F(-1))
    with pytest.raises(UserError, match="close to a boundary"):
        math.floor(total)


@pytest.mark.parametrize(("name", "x"), [("log", 0), ("sqrt", -1), ("reciprocal", 0), ("exp", MAX_EXPONENT + 1)])
def test_outside_the_domain(name: str, x: int) -> None:
    with pytest.raises(UserError, match=f"operand of {name}"):
        FUNCTIONS[name](F(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds_and_slope_of_expressions(name: str) -> None:
    e = ex.Func(name, ex.affine(ex.Leaf(0), exacts(F(1, 8)), exacts(F(17, 8))))
    lo, hi = ex.bounds(e, [(exacts(-8), exacts(8))])
    values = [FUNCTIONS[name](F(k + 17, 8)) for k in range(-8, 9)]
    slope = ex.slope(e)
    assert slope is not None
    assert all(lo.item() <= v <= hi.item() for v in values)
    assert all((b > a) == (slope > 0) for a, b in itertools.pairwise(values))
    assert (ex.slope(ex.Product(e, e)), ex.unit(e), ex.is_integer(e)) == (None, None, False)
