"""Quotients and square roots against Python's fractions and math.isqrt."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from graphs import every_code, given, op

from gatewright.errors import UserError
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.graph import verify

N, D = given("a", "[3]", "-12..11"), given("b", "[]", "1..7")


def divide(mul: Any, add: Any, div: Any, mode: str, lo: Any, hi: Any) -> str:
    return f'divide {{mul = {mul}, add = {add}, div = {div}, rounding = "{mode}", lo = {lo}, hi = {hi}}}'


@pytest.mark.parametrize("mode", ROUND_NUMBER)
def test_divide_is_the_exact_quotient_rounded_once(mode: str) -> None:
    for mul, add, div, lo, hi in ((1, 0, 1, -99, 99), (3, -1, 2, -5, 4), ([1, -2, 0], [0, 5, 1], [2, 1, 3], -3, [9, 0, 3])):
        g = op(divide(mul, add, div, mode, lo, hi), N, D)
        verify(g)
        inputs, type_ = every_code(g, 600), g.ops[-1].type
        got = g.evaluate(inputs, ["y"])["y"]
        constants = [np.broadcast_to(c, (3,)).tolist() for c in (mul, add, div, lo, hi)]
        for n, d, y in zip(inputs["a"].tolist(), inputs["b"].tolist(), got.tolist(), strict=True):
            for x, code, (m, s, v, low, high) in zip(n, y, zip(*constants, strict=True), strict=True):
                assert code == min(max(ROUND_NUMBER[mode](Fraction(m * x + s * d, v * d)), low), high)
        assert (got.min(axis=0) == type_.lo).all()
        assert (got.max(axis=0) == type_.hi).all()


def test_square_root_is_the_floor() -> None:
    g = op("square_root {}", given("a", "[1]", "0..3000"))
    codes = np.arange(3001).reshape(-1, 1)
    assert g.evaluate({"a": codes}, ["y"])["y"].tolist() == [[math.isqrt(x)] for x in range(3001)]
    assert (g.ops[-1].type.lo.item(), g.ops[-1].type.hi.item()) == (0, 54)
    top = (1 << 61) - 1
    edges = [top, *(r * r + d for r in (1 << 30, (1 << 30) - 1, 1_234_567_891, 3, 1_518_500_249) for d in (-1, 0, 1))]
    g = op("square_root {}", given("a", "[1]", f"0..{top}"))
    got = g.evaluate({"a": np.array(edges, np.int64).reshape(-1, 1)}, ["y"])["y"]
    assert got.tolist() == [[math.isqrt(x)] for x in edges]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="not positive"):
        op(divide(1, 0, 1, "FLOOR", 0, 1), N, given("b", "[]", "0..7"))
    with pytest.raises(ValueError, match="negative"):
        op("square_root {}", N)
    with pytest.raises(UserError, match="dividing exactly"):
        op(divide(1 << 40, 0, 1, "FLOOR", 0, 1), given("a", "[1]", f"0..{1 << 30}"), D)
