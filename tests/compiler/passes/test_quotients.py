"""Divisions in regions: what is recognised, the constants that are chosen, the operations that come out."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
from graphs import every_code, given, graph, lines

from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.compiler.passes.quotients import simplest
from gatewright.errors import UserError
from gatewright.ir.exact import sqrt
from gatewright.ir.graph import Graph

A, B = given("a", "[2]", "-9..9"), given("b", "[2]", "1..8")


def region(expr: str, bounds: str = "-99..99", operands: str = "%a, %b") -> str:
    return f'%y = region({operands}) {{expr = {expr}, shape = [2]}} : [2] {bounds} frac 0 @ "node"'


def realised(*source: str) -> Graph:
    before = graph(*source)
    after = IntegerFunctions().run(before).graph
    inputs = every_code(before, 600)
    assert (before.evaluate(inputs)["y"] == after.evaluate(inputs)["y"]).all()
    return after


@pytest.mark.parametrize("x", [Fraction(355, 113), Fraction(-7, 3), Fraction(1, 1000), Fraction(5), sqrt(Fraction(2)),
                               -sqrt(Fraction(3, 7)), Fraction(0.1), Fraction(10**9, 7)])
def test_simplest_compares_alike(x: Fraction) -> None:
    for most in (1, 2, 7, 30):
        y = simplest(x, most)
        for q in range(1, most + 1):
            for p in range(int(float(x) * q) - 2, int(float(x) * q) + 3):
                f = Fraction(p, q)
                assert ((f < x) == (f < y), (f > x) == (f > y)) == (True, True), (most, f)
        assert y == x or y.denominator <= 2 * most


def test_division_with_small_constants() -> None:
    """0.1 as float64 has 55 bits; quotients of codes up to 9 need far fewer."""
    g = realised(A, B, region(f"clip(round(ROUND, affine({Fraction(0.1)}, product($0, reciprocal($1)), 0)), -1, 1)", "-1..1"))
    divide = lines(g)[-1]
    assert divide.startswith("%y = divide(%a, %b)")
    assert 'rounding = "ROUND", lo = -1, hi = 1}' in divide
    assert max(int(v.strip(" ,")) for v in divide.split("mul = ")[1].split(", add")[0].split()) < 64


@pytest.mark.parametrize("mode", ["FLOOR", "CEIL", "ROUND", "HALF_UP", "HALF_DOWN", "UP", "DOWN"])
def test_scales_offsets_and_shifts(mode: str) -> None:
    for scale, offset, shift in itertools.product(("1", "-3/7", "[2, 5/3]"), ("0", "1/2", "[-7/5, 1/3]"), ("0", "[3, -1]")):
        inner = f"round({mode}, affine({scale}, product($0, reciprocal(affine(1/2, $1, 1/4))), {offset}))"
        realised(A, B, region(f"clip(affine(1, {inner}, {shift}), -6, 9)"))
        realised(A, B, region(inner))


def test_divisors_below_zero_and_products() -> None:
    c = given("c", "[1]", "-5..-2")
    realised(A, c, region("round(ROUND, product($0, reciprocal($1)))", operands="%a, %c"))
    mixed = given("c", "[2]", "[-5, 1]..[-2, 3]")
    realised(A, mixed, region("round(FLOOR, product($0, reciprocal($1)))", operands="%a, %c"))
    realised(A, B, mixed, region("round(ROUND, product(product($0, $1), reciprocal($2)))", operands="%a, %b, %c"))
    realised(B, mixed, region("round(ROUND, affine(3/2, product(reciprocal($0), reciprocal($1)), 1))", operands="%b, %c"))


def test_random_scales() -> None:
    rng = random.Random(1)
    for _ in range(30):
        scale, offset = (Fraction(rng.randint(-1 << 20, 1 << 20), rng.randint(1, 1 << 20)) for _ in range(2))
        mode = rng.choice(["ROUND", "FLOOR", "HALF_UP"])
        realised(A, B, region(f"clip(round({mode}, affine({scale}, product($0, reciprocal($1)), {offset})), -20, 20)"))


def test_what_else_is_added_is_refused() -> None:
    with pytest.raises(UserError, match="quantiser"):
        realised(A, B, region("round(ROUND, affine(1, product($0, reciprocal($1)), 1, $0, 0))"))
