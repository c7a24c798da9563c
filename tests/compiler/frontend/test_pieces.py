"""Sums of clipped lines with real constants as integer tensors: the same values at every integer, and no wider."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gatewright.compiler.frontend.pieces import pieces
from gatewright.ir import expr as ex
from gatewright.ir.exact import exacts, sqrt

X = np.arange(-40, 40)
LEAF = ex.Leaf(0)


def line(scale: Any, offset: Any) -> ex.Expr:
    return ex.Affine(((LEAF, exacts(scale)),), exacts(offset))


def same(e: ex.Expr) -> list[tuple[ex.Expr, Any]]:
    """The pieces, whose sum has the values of the expression at all integers; every one is an integer there."""
    found = pieces(e)
    assert found is not None
    parts, offset = found
    total: Any = np.broadcast_to(offset, X.shape)
    for x, scale in parts:
        values = ex.evaluate(x, [X])
        assert all(Fraction(v).denominator == 1 for v in values.reshape(-1))
        total = total + values * scale
    assert (total == ex.evaluate(e, [X])).all()
    return parts


def test_a_clipped_line() -> None:
    """Three tensors: the line within its bounds, and what it lacks to them, each 0 or 1."""
    parts = same(ex.Clip(line(0.3, 0.15), exacts(-1.7), exacts(2.5)))
    reach = [(int(v.min()), int(v.max())) for v in (ex.evaluate(x, [X]) for x, _ in parts)]
    assert reach == [(-6, 7), (0, 1), (0, 1)]  # from -1.65 to 2.25


def test_random_clips() -> None:
    rng = random.Random(1)

    def number() -> Any:
        root = sqrt(Fraction(rng.randint(2, 7)))
        return rng.choice([Fraction(rng.uniform(-3, 3)), Fraction(rng.randint(-5, 5), rng.randint(1, 7)), root])

    seen = 0
    for _ in range(60):
        lo, hi = sorted((Fraction(rng.uniform(-9, 9)), Fraction(rng.uniform(-9, 9))))
        e = ex.Clip(line(number() or Fraction(1), number()), *(rng.choice([None, exacts(b)]) for b in (lo, hi)))
        if pieces(e) is not None:
            seen += 1
            same(ex.Affine(((e, exacts(number())), (ex.Round(line(Fraction(1, 3), 0), "ROUND"), exacts(number()))), exacts(number())))
    assert seen > 40


def test_constants_per_element() -> None:
    scale, offset = np.array([Fraction(0.3), Fraction(-2, 7)] * 40, object), np.array([Fraction(1, 9), Fraction(0)] * 40, object)
    same(ex.Clip(ex.Affine(((LEAF, scale),), offset), exacts(-1), exacts(Fraction(7, 3))))


@pytest.mark.parametrize("e", [
    ex.Product(LEAF, LEAF), ex.Func("tanh", LEAF), ex.Clip(ex.Clip(line(1, 0), exacts(0), None), None, exacts(3)),
    ex.Clip(ex.Affine(((LEAF, exacts(1)), (ex.Leaf(1), exacts(1))), ex.ZERO), exacts(0), None), ex.Clip(line(0, 1), exacts(0), None),
    ex.Clip(line(1, Fraction(1, 2)), exacts(Fraction(1, 10)), exacts(Fraction(2, 10)))],
    ids=["product", "function", "clip of a clip", "two tensors", "no slope", "no integer between"])
def test_what_has_no_pieces(e: ex.Expr) -> None:
    assert pieces(e) is None
    assert pieces(ex.add([(LEAF, ex.ONE), (e, ex.ONE)])) is None
