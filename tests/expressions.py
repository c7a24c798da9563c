"""Random element-wise expressions for tests."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, exacts, sqrt

F = Fraction
MODES = list(ROUND_NUMBER)
SHAPE = (2,)


def constant(rng: random.Random, values: list[Any]) -> Any:
    """One for all elements, or one each."""
    if rng.random() < 0.6:
        return exacts(rng.choice(values))
    out = np.empty(SHAPE, object)
    out[:] = [rng.choice(values) for _ in out]
    return exacts(out)


SCALES = [F(1), F(-1), F(2), F(1, 2), F(-1, 4), F(1, 3), F(-5, 7), F(0), F(3)]
OFFSETS = [F(0), F(0), F(1), F(-2), F(1, 2), F(-3, 4), F(1, 3)]
BOUNDS = [F(-3), F(0), F(2), F(5, 2), F(-7, 3), F(4)]


def random_expr(rng: random.Random, depth: int, leaves: int, irrational: bool = False) -> ex.Expr:
    """Any nesting: crossing bounds, ties, scales of both signs and zero, parts that are used twice."""
    if depth == 0:
        return ex.Leaf(rng.randrange(leaves))
    x = random_expr(rng, depth - 1, leaves, irrational)
    kind = rng.choice(["affine", "affine", "clip", "round", "round", "add", "turns"])
    scales = [*SCALES, *([sqrt(F(2)) / 2, -sqrt(F(3))] if irrational else [])]
    if kind == "affine":
        return ex.affine(x, constant(rng, scales), constant(rng, OFFSETS))
    if kind == "clip":
        lo, hi = (constant(rng, BOUNDS) if rng.random() < 0.7 else None for _ in range(2))
        return ex.Clip(x, lo, hi)
    if kind == "round":
        return ex.Round(x, rng.choice(MODES))
    if kind == "add":
        y = random_expr(rng, depth - 1, leaves, irrational)
        return ex.add([(x, constant(rng, scales)), (y, constant(rng, scales))], constant(rng, OFFSETS))
    m, h = rng.choice([2, 4, 3, 8]), rng.choice([F(0), F(1), F(2), F(1, 2), F(-3)])
    floor = ex.Round(ex.affine(x, F(1, m), h / m), "FLOOR")
    return ex.add([(x, constant(rng, scales)), (floor, exacts(-m * rng.choice([F(1), F(1), F(2), F(-1)])))],
                  constant(rng, OFFSETS))


def reached(rng: random.Random, leaves: int) -> tuple[list[ex.Bounds], list[np.ndarray]]:
    """Intervals of the leaves, per element or not, and all codes in them (one after the other for several leaves)."""
    ranges, codes = [], []
    for _ in range(leaves):
        lo = np.array([rng.randint(-9, 3), rng.randint(-9, 3)])
        hi = lo + np.array([rng.randint(0, 12), rng.randint(0, 12)])
        ranges.append((exacts(lo), exacts(hi)))
        codes.append(np.minimum(lo + np.arange(13)[:, None], hi))
    if leaves == 2:
        codes = [np.repeat(codes[0], 13, axis=0), np.tile(codes[1], (13, 1))]
    return ranges, codes
