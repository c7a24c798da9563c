"""Breakpoints, lines, thresholds and tables equal the function, over its whole range."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gatewright.compiler.passes.fit import Groups, breakpoints, digits, fit, line, table
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, exacts, sqrt
from gatewright.ir.fixed import MAX_WIDTH, FixedArray, Ints
from gatewright.ir.graph import Op
from gatewright.ir.ops import Input, Requant

F = Fraction


def random_scalar(rng: random.Random) -> tuple[ex.Expr, int]:
    """clip(round(s * x + o)), and the sign of s (0: constant)."""
    s = rng.choice([F(rng.randint(-40, 40), rng.randint(1, 60)), sqrt(F(rng.randint(1, 50), rng.randint(1, 99))),
                    -sqrt(F(rng.randint(1, 50), rng.randint(1, 99))), F(rng.choice([-1, 1]), rng.randint(50, 500))])
    o = rng.choice([F(0), F(1, 2), F(rng.randint(-99, 99), rng.randint(1, 8)), sqrt(F(2)), F(1000)])
    e = ex.Round(ex.affine(ex.Leaf(0), s, o), rng.choice(list(ROUND_NUMBER)))
    return ex.Clip(e, exacts(rng.randint(-20, 0)), exacts(rng.randint(0, 20))), (s > 0) - (s < 0)


@pytest.mark.parametrize("seed", range(120))
def test_breakpoints_and_lines_of_a_scalar_function(seed: int) -> None:
    rng = random.Random(seed)
    e, sign = random_scalar(rng)
    f = ex.scalar(e, (), ())
    lo = rng.randint(-150, 100)
    hi = lo + rng.choice([0, 1, 2, 40, 200])
    steps = breakpoints(f, lo, hi, sign or 1, "node")
    values = {x: f(x) for x in range(lo, hi + 1)}
    assert (steps.sign, steps.reach) == (sign or 1, max(abs(lo), abs(hi)))
    assert all(steps.base + int((steps.sign * x >= steps.breakpoints).sum()) == y for x, y in values.items())
    found = line(steps)
    if found is None:
        return
    top = steps.base + len(steps.breakpoints)
    for x, y in values.items():
        assert min(max((found.mul * x + found.add) >> found.shift, steps.base), top) == y


def test_a_line_is_found_where_there_is_one_and_not_where_there_is_none() -> None:
    def steps_of(f: Any, lo: int, hi: int) -> Any:
        return line(breakpoints(f, lo, hi, 1, "node"))
    assert steps_of(lambda x: x // 3, -100, 100).mul > 0
    shortest = steps_of(lambda x: (5 * x + 3) >> 4, -100, 100)
    assert (shortest.mul, shortest.shift) == (5, 4)
    assert steps_of(lambda x: 7, 0, 100) == line(breakpoints(lambda x: 7, 0, 100, -1, "node"))
    assert steps_of(lambda x: int(x >= 5), 0, 100).shift == 0
    assert steps_of(lambda x: 1000 * (x >= 5), 0, 100) is not None      # a jump over many values at one breakpoint
    assert steps_of(lambda x: x if x < 50 else 50 + 3 * (x - 50), 0, 100) is None
    assert steps_of(lambda x: round(x ** 0.5), 0, 100) is None


def test_a_line_never_leaves_62_bits() -> None:
    """Far from zero the products are wide although the steps are few."""
    for at in (1 << 40, 1 << 55, 1 << 60):
        for base in (0, 1 << 50):
            steps = breakpoints(lambda x, at=at, base=base: base + (x - at) // 3, at, at + 300, 1, "node")
            found = line(steps)
            assert [base + (x - at) // 3 for x in (at, at + 299)] == [steps.base, steps.base + len(steps.breakpoints) - 1]
            if found:
                assert max(abs(found.mul * x) + abs(found.add) for x in (at, at + 300)) < 1 << MAX_WIDTH - 1
                values = [(found.mul * x + found.add) >> found.shift for x in range(at, at + 300)]
                assert values == [base + (x - at) // 3 for x in range(at, at + 300)]


def test_too_many_levels_are_refused() -> None:
    with pytest.raises(UserError, match=r"node 'node': .* 5000 output levels"):
        breakpoints(lambda x: x, 0, 5000, 1, "node")


def typed_input(lo: Ints, hi: Ints) -> Op:
    return Input(name="x", inputs=(), node="x", type=FixedArray(lo, hi, 0))


def values_of(f: ex.Expr, x: Op, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """What the form computes on every code of every element, and what the expression gives."""
    form, = fit(f, x.type, shape, "node")
    op = form.op_class(name="y", inputs=("x",), node="node", type=FixedArray(
        np.zeros(shape, np.int64), np.zeros(shape, np.int64), 0), **form.attributes)
    lo, hi = op.bounds([x.type])
    assert lo.shape == shape
    codes = np.minimum(x.type.lo + np.arange(int((x.type.hi - x.type.lo).max()) + 1).reshape(-1, *(1,) * x.type.lo.ndim),
                       x.type.hi)
    got = op.compute([codes])
    assert (got.min(axis=0) == lo).all()
    assert (got.max(axis=0) == hi).all()
    want = ex.evaluate(f, [codes])
    return got, np.broadcast_to(want.astype(np.int64), got.shape)


@pytest.mark.parametrize("seed", range(60))
def test_channels_with_their_own_constants(seed: int) -> None:
    """Slopes of both signs, constant channels, channels that share constants, elements with ranges of their own."""
    rng = random.Random(seed)
    pool = [F(1, 3), F(-2, 7), F(0), F(5, 9), F(1, 2)] + ([sqrt(F(1, 3)), -sqrt(F(2, 5))] if seed % 2 else [])
    scales, offsets = (np.array([rng.choice(p) for _ in range(3)], object) for p in (pool, [F(0), F(1, 2), F(-7, 3)]))
    f: ex.Expr = ex.Round(ex.affine(ex.Leaf(0), scales, offsets), rng.choice(list(ROUND_NUMBER)))
    if rng.random() < 0.7:
        f = ex.Clip(f, exacts(rng.randint(-6, 0)), np.array([F(rng.randint(0, 6)) for _ in range(3)], object))
    r = np.random.default_rng(seed)
    low = r.integers(-60, 40, (2, 3))
    x = typed_input(low, low + r.integers(0, rng.choice([3, 90]), (2, 3)))
    got, want = values_of(f, x, (2, 3))
    assert np.array_equal(got, want)


def test_an_element_that_cannot_vary() -> None:
    x = typed_input(np.array([-8, 5, 0]), np.array([7, 5, 0]))
    f = ex.Round(ex.affine(ex.Leaf(0), F(1, 3)), "ROUND")
    got, want = values_of(f, x, (3,))
    assert np.array_equal(got, want)
    one = typed_input(np.array([5]), np.array([5]))
    got, want = values_of(ex.Round(ex.affine(ex.Leaf(0), np.array([F(1, 3)], object)), "CEIL"), one, (1,))
    assert got.tolist() == want.tolist() == [[2]]


def test_a_function_that_is_not_monotone_is_a_table() -> None:
    x = typed_input(np.array([-9, 0]), np.array([9, 3]))
    square = ex.add([(ex.Clip(ex.Leaf(0), ex.ZERO, None), exacts(1)), (ex.Clip(ex.Leaf(0), None, ex.ZERO), exacts(-1))])
    got, want = values_of(square, x, (2,))
    assert np.array_equal(got, want)
    form = table(square, Groups.of(square, x.type, (2,)), x.type, "node")
    assert (form.attributes["first"], form.attributes["values"].tolist()) == (-9, [abs(v) for v in range(-9, 10)])


def test_the_cheapest_form_is_taken() -> None:
    wide = typed_input(np.array([-(1 << 20)]), np.array([1 << 20]))
    third = ex.Clip(ex.Round(ex.affine(ex.Leaf(0), F(1, 3)), "ROUND"), exacts(-100), exacts(100))
    assert [f.op_class for f in fit(third, wide.type, (1,), "node")] == [Requant]
    got, want = values_of(ex.Clip(ex.Round(ex.affine(ex.Leaf(0), F(1, 300)), "ROUND"), exacts(-1), exacts(1)),
                          typed_input(np.array([-900]), np.array([900])), (1,))
    assert np.array_equal(got, want)


def test_elements_with_the_same_constants_are_one_group() -> None:
    root = sqrt(F(8))
    f = ex.Clip(ex.affine(ex.Leaf(0), np.array([[F(1)], [root], [2 * sqrt(F(2))]], object)), exacts(0),
                exacts(np.array([5, 6])))
    x = FixedArray(np.zeros((3, 2), np.int64), np.ones((3, 2), np.int64), 0)
    groups = Groups.of(f, x, (3, 2))
    assert (groups.shape, groups.which.tolist(), groups.count) == ((3, 2), [[0, 1], [2, 3], [2, 3]], [1, 1, 2, 2])
    assert groups.index == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert groups.spread([10, 11, 12, 13]).tolist() == [[10, 11], [12, 13], [12, 13]]
    assert groups.spread([7, 7, 7, 7]).shape == ()


def test_constants_that_repeat_along_an_axis_are_kept_once() -> None:
    f = ex.Round(ex.affine(ex.Leaf(0), exacts(np.array([[1 / 8], [3 / 8]]))), "ROUND")
    x = FixedArray(np.array([[-1, -9], [0, -2]]), np.array([[5, 1], [3, 2]]), 0)
    groups = Groups.of(f, x, (2, 2))
    assert (groups.shape, groups.lo, groups.hi, groups.count) == ((2, 1), [-9, -2], [5, 3], [2, 2])
    assert groups.spread([3, 4]).tolist() == [[3], [4]]


def test_digits_of_the_signed_form() -> None:
    for m in range(1, 300):
        best, frontier = 1, {s * (1 << k) for k in range(10) for s in (1, -1)}
        while m not in frontier:
            best += 1
            frontier |= {v + s * (1 << k) for v in frontier for k in range(10) for s in (1, -1) if abs(v) < 1024}
        assert digits(m) == digits(-m) == best
    assert digits(0) == 0
