"""Element-wise expressions: simplification, intervals, slopes and the recognition of wraps, all by enumeration."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from expressions import OFFSETS, SHAPE, constant, random_expr, reached

from gatewright.ir import expr as ex
from gatewright.ir import expr_int64
from gatewright.ir.exact import ROUND_NUMBER, Surd, elementwise, exacts, sqrt
from gatewright.ir.text import show_expr

F = Fraction


def same(a: Any, b: Any) -> bool:
    return bool((np.asarray(np.broadcast_arrays(a, b)[0] == b)).all())


@pytest.mark.parametrize("seed", range(300))
def test_simplification_keeps_every_value_and_bounds_enclose_them(seed: int) -> None:
    rng = random.Random(seed)
    leaves = rng.choice([1, 1, 2])
    e = random_expr(rng, rng.randint(1, 4), leaves, irrational=seed % 4 == 0)
    ranges, codes = reached(rng, leaves)
    values = ex.evaluate(e, codes)
    simple = ex.simplify(e, ranges)
    assert same(values, ex.evaluate(simple, codes)), f"{show_expr(e)} -> {show_expr(simple)}"
    for form in (e, simple):
        lo, hi = ex.bounds(form, ranges)
        assert (values >= lo).all(), show_expr(form)
        assert (values <= hi).all(), show_expr(form)
    if ex.is_integer(e):
        assert ex.integers(values)
    step = ex.unit(e)
    if step is not None:
        zero = np.asarray(step == 0, bool)
        assert ex.integers(np.asarray(values / np.where(zero, F(1), step), object)), show_expr(e)
        assert not np.any(np.where(zero, values, 0)), show_expr(e)
    whole = ex.unit_of_all(e)
    assert whole is None or ex.integers(np.asarray(values / whole, object)), show_expr(e)


@pytest.mark.parametrize("seed", range(150))
def test_slopes_are_true(seed: int) -> None:
    rng = random.Random(1000 + seed)
    e = random_expr(rng, rng.randint(1, 4), 1, irrational=seed % 4 == 0)
    slope = ex.slope(e)
    if slope is None:
        return
    codes = np.arange(-20, 21)[:, None] * np.ones(2, np.int64)
    values = np.broadcast_to(ex.evaluate(e, [codes]), (41, 2))
    steps = np.asarray(values[1:] - values[:-1], object)
    for k, s in enumerate(np.broadcast_to(slope, SHAPE)):
        assert all(d * s >= 0 if s else d == 0 for d in steps[:, k]), show_expr(e)


@pytest.mark.parametrize("seed", range(150))
def test_one_element_as_a_function_of_an_integer(seed: int) -> None:
    rng = random.Random(2000 + seed)
    e = ex.Round(random_expr(rng, rng.randint(1, 3), 1, irrational=seed % 3 == 0), rng.choice(list(ROUND_NUMBER)))
    codes = np.arange(-12, 13)[:, None] * np.ones(2, np.int64)
    values = np.broadcast_to(ex.evaluate(e, [codes]), (25, 2))
    for k in range(2):
        f = ex.scalar(e, (k,), SHAPE)
        assert [f(x) for x in range(-12, 13)] == values[:, k].tolist()


@pytest.mark.parametrize("seed", range(150))
def test_the_int64_evaluator_gives_the_exact_values(seed: int) -> None:
    rng = random.Random(3000 + seed)
    leaves = rng.choice([1, 2])
    e = ex.Round(random_expr(rng, rng.randint(1, 4), leaves, irrational=seed % 10 == 0), rng.choice(list(ROUND_NUMBER)))
    _, codes = reached(rng, leaves)
    values = expr_int64.evaluate(e, codes)
    if values is None:
        assert "sqrt" in show_expr(e)
    else:
        assert values.dtype == np.int64
        assert same(ex.evaluate(e, codes), values)


def test_the_int64_evaluator_goes_on_with_python_integers_and_declines_only_irrational_results() -> None:
    x = np.array([[1 << 40], [-3]])
    for e in (ex.affine(ex.Leaf(0), F(1 << 20)), ex.Round(ex.affine(ex.Leaf(0), F(1, (1 << 61) + 1), F(1, 3)), "ROUND"),
              ex.Clip(ex.Round(ex.affine(ex.Leaf(0), F((1 << 61) + 1, 3), F(1 << 70)), "CEIL"), None, exacts(1 << 55)),
              ex.Round(ex.Clip(ex.affine(ex.Leaf(0), F(1, 3)), exacts(F(1, (1 << 61) + 1)), None), "UP"),
              ex.Round(ex.affine(ex.Leaf(0), sqrt(F(1 << 21)), F(1, 2)), "HALF_UP")):
        assert same(ex.evaluate(e, [x]), expr_int64.evaluate(e, [x]))
    assert expr_int64.evaluate(ex.affine(ex.Leaf(0), sqrt(F(2))), [x]) is None
    assert expr_int64.evaluate(ex.Round(ex.Func("exp", ex.Leaf(0)), "ROUND"), [x]) is None


def test_results_next_to_a_boundary_are_decided_by_exact_numbers() -> None:
    """Ties at one x of an irrational line, and a value closer to an integer than the intervals are wide."""
    root = sqrt(F(2))
    p, q = 1, 1
    for _ in range(40):
        p, q = p + 2 * q, p + q
    near = F(p, q)
    for mode in ROUND_NUMBER:
        for offset in (F(1, 2) - 7 * root, F(5, 2) - 7 * root, -near * (1 << 20) + F(1, 2)):
            e = ex.Round(ex.affine(ex.Leaf(0), root, offset), mode)
            x = np.array([[6], [7], [8], [1 << 20]])
            assert same(ex.evaluate(e, [x]), expr_int64.evaluate(e, [x]))


def test_the_int64_evaluator_divides() -> None:
    """Quotients of tensors with samples, divisors of both signs; not by zero, and no other function."""
    n, d = np.arange(-20, 20).reshape(20, 2), np.arange(-21, 19).reshape(20, 2) * 2 + 1
    quotient = ex.Product(ex.affine(ex.Leaf(0), F(2, 3), F(1, 5)), ex.Func("reciprocal", ex.affine(ex.Leaf(1), F(3, 4))))
    for mode in ROUND_NUMBER:
        e = ex.Round(ex.affine(quotient, exacts(np.array([5, -7])), F(1, 2)), mode)
        got = expr_int64.evaluate(e, [n, d])
        assert got is not None
        assert same(got, ex.evaluate(e, [n, d]))
    assert expr_int64.evaluate(ex.Round(quotient, "FLOOR"), [n, 0 * d]) is None
    assert expr_int64.evaluate(ex.Round(ex.Func("exp", ex.Leaf(0)), "FLOOR"), [n]) is None


def test_bounds_that_cross_mean_the_upper_one() -> None:
    """Dropping a bound that cannot act, or turning it round with a negative scale, must not change that."""
    crossed = ex.Clip(ex.Leaf(0), exacts(5), exacts(3))
    for e in (crossed, ex.affine(crossed, F(-1), F(1)), ex.Clip(crossed, exacts(0), None), ex.Round(crossed, "ROUND"),
              ex.Clip(ex.Leaf(0), exacts(np.array([5, 0])), exacts(np.array([3, 1])))):
        for lo, hi in ((0, 2), (4, 4), (0, 9), (8, 9), (3, 5)):
            codes = np.repeat(np.arange(lo, hi + 1)[:, None], 2, axis=1)
            simple = ex.simplify(e, [(exacts(lo), exacts(hi))])
            assert same(ex.evaluate(e, [codes]), np.broadcast_to(ex.evaluate(simple, [codes]), codes.shape))


X, R = ex.Leaf(0), [(exacts(-8), exacts(7))]


@pytest.mark.parametrize(("e", "expected"), [
    (ex.Round(X, "ROUND"), "$0"),
    (ex.Clip(X, exacts(-8), exacts(7)), "$0"),
    (ex.Clip(X, exacts(-9), exacts(6)), "clip($0, none, 6)"),
    (ex.affine(ex.Clip(X, exacts(0), None), F(-2), F(1)), "clip(affine(-2, $0, 1), none, 1)"),
    (ex.affine(ex.Clip(X, exacts(-3), exacts(5)), exacts(np.array([2, -1])), F(1)),
     "clip(affine([2, -1], $0, 1), [-5, -4], [11, 4])"),
    (ex.Round(ex.Clip(ex.affine(X, F(1, 4)), exacts(F(-3, 2)), exacts(1)), "HALF_UP"),
     "clip(round(HALF_UP, affine(1/4, $0, 0)), none, 1)"),
    (ex.Clip(ex.Clip(X, exacts(-3), exacts(5)), exacts(0), exacts(9)), "clip($0, 0, 5)"),
    (ex.Clip(ex.Clip(X, None, exacts(2)), exacts(4), None), "clip($0, 4, 4)"),
    (ex.Round(ex.affine(ex.Round(ex.affine(X, F(1, 2)), "FLOOR"), F(1, 4), F(3, 4)), "FLOOR"),
     "round(FLOOR, affine(1/8, $0, 3/4))"),
    (ex.Round(ex.affine(ex.Round(ex.affine(X, F(1, 2)), "CEIL"), F(1, 4)), "FLOOR"),
     "round(FLOOR, affine(1/4, round(CEIL, affine(1/2, $0, 0)), 0))"),
    (ex.Round(ex.affine(ex.Round(ex.affine(X, F(1, 2)), "FLOOR"), F(1, 4), F(1, 8)), "FLOOR"),
     "round(FLOOR, affine(1/4, round(FLOOR, affine(1/2, $0, 0)), 1/8))"),
    (ex.add([(X, exacts(1)), (X, exacts(-1))], exacts(3)), "affine(3)"),
    (ex.Clip(ex.affine(X, F(0), F(5)), exacts(0), exacts(4)), "affine(4)"),
])
def test_normal_form(e: ex.Expr, expected: str) -> None:
    assert show_expr(ex.simplify(e, R)) == expected


def test_unit_scale_with_an_offset_of_each_element_at_one_of_them() -> None:
    e = ex.Round(ex.affine(X, F(1), np.array([0, F(1, 2)], object)), "CEIL")
    assert [ex.scalar(e, (k,), (2,))(3) for k in (0, 1)] == [3, 4]


def wrapped(x: int, scale: Fraction, modulus: int, half: int, offset: Fraction) -> Fraction:
    return scale * (x - modulus * ((x + half) // modulus)) + offset


@pytest.mark.parametrize("inner", ["leaf", "combination", "round", "floor", "merged floor"])
def test_wraps_are_recognised_with_their_parameters(inner: str) -> None:
    """Negative scales, offsets, arrays of them; x an integer combination, a rounding, or a floor merged into the turns."""
    rng = random.Random(5)
    y = ex.affine(X, F(3, 4), F(1, 8))
    x = {"leaf": X, "combination": ex.add([(X, exacts(3)), (ex.Leaf(1), exacts(-2))], exacts(5)),
         "round": ex.Round(y, "ROUND"), "floor": ex.Round(y, "FLOOR"), "merged floor": ex.Round(y, "FLOOR")}[inner]
    codes = [np.arange(-40, 41)[:, None] * np.ones(2, np.int64), np.arange(81)[:, None] % 7 * np.ones(2, np.int64)]
    for _ in range(20):
        a = constant(rng, [F(1), F(-1), F(2), F(-1, 4), F(5, 3)]) if inner != "combination" else ex.ONE
        m, h = constant(rng, [F(8), F(4), F(6)]), constant(rng, [F(0), F(4), F(-3), F(100)])
        c = constant(rng, OFFSETS)
        turns = ex.Round(ex.affine(y if inner == "merged floor" else x, elementwise(lambda v: 1 / v, m),
                                   elementwise(lambda u, v: u / v, h, m)), "FLOOR")
        e = ex.add([(x, a), (turns, np.asarray(-a * m, object))], c)
        found = ex.match_wrap(e)
        assert found is not None
        got = [np.broadcast_to(v, SHAPE) for v in (ex.evaluate(found.x, codes), found.scale, found.modulus, found.half,
                                                   found.offset) if v.ndim <= 1]
        xs = np.broadcast_to(ex.evaluate(found.x, codes), (81, 2))
        values = np.broadcast_to(ex.evaluate(e, codes), (81, 2))
        scale, modulus, half, offset = got
        for k in range(2):
            assert [wrapped(int(v), scale[k], modulus[k], half[k], offset[k]) for v in xs[:, k]] == values[:, k].tolist()


def floor(scale: Any, offset: Any = 0, mode: str = "FLOOR") -> ex.Expr:
    return ex.Round(ex.affine(X, scale, offset), mode)


@pytest.mark.parametrize("e", [
    X,
    ex.affine(X, F(3), F(1)),
    ex.add([(X, exacts(1)), (floor(F(1, 4)), exacts(-3))]),                      # another modulus than divisor
    ex.add([(X, exacts(1)), (floor(F(-1, 4)), exacts(4))]),                      # counts the wrong way
    ex.add([(X, exacts(1)), (floor(F(1, 4)), exacts(4))]),                       # adds instead of taking away
    ex.add([(X, exacts(1)), (floor(F(1, 4), F(0), "ROUND"), exacts(-4))]),       # not a floor
    ex.add([(X, exacts(1)), (floor(F(1, 4), F(1, 8)), exacts(-4))]),             # half a step: no integer
    ex.add([(X, exacts(1)), (floor(F(2, 5)), exacts(F(-5, 2)))]),                # no integer modulus
    ex.add([(X, exacts(1)), (floor(F(1, 4)), exacts(np.array([-4, -8])))]),      # one of two elements differs
    ex.add([(X, exacts(np.array([1, 0]))), (floor(F(1, 4)), exacts(-4))]),       # one of two elements has no x
    ex.add([(X, exacts(1)), (ex.Leaf(1), exacts(1)), (floor(F(1, 4)), exacts(-4))]),
    ex.add([(ex.Leaf(1), exacts(1)), (floor(F(1, 4)), exacts(-4))]),             # of another tensor
    ex.add([(ex.Round(ex.affine(X, F(1, 2)), "CEIL"), exacts(1)),                # floor(ceil(y) / 4) is not floor(y / 4)
            (floor(F(1, 8)), exacts(-4))]),
    ex.add([(ex.Clip(X, exacts(F(1, 2)), None), exacts(1)),                      # x is no integer
            (ex.Round(ex.affine(ex.Clip(X, exacts(F(1, 2)), None), F(1, 4)), "FLOOR"), exacts(-4))]),
    ex.add([(X, exacts(sqrt(F(2)))), (floor(F(1, 4)), exacts(-4))]),
], ids=lambda e: show_expr(e)[:60])
def test_what_is_nearly_a_wrap_is_none(e: ex.Expr) -> None:
    assert ex.match_wrap(e) is None


def test_an_irrational_scale_of_a_wrap() -> None:
    root = sqrt(F(2))
    found = ex.match_wrap(ex.add([(X, exacts(root)), (floor(F(1, 4)), exacts(-4 * root))]))
    assert found is not None
    assert isinstance(found.scale.item(), Surd)
    assert found.modulus.item() == 4


def test_the_interval_of_a_wrap_is_its_own() -> None:
    e = ex.add([(X, exacts(-3)), (floor(F(1, 4), F(1, 2)), exacts(12))], exacts(1))
    lo, hi = ex.bounds(e, [(exacts(-100), exacts(100))])
    assert (lo.item(), hi.item()) == (-2, 7)
    assert [b.shape for b in (lo, hi)] == [(), ()]


def test_parts_used_twice_stay_one() -> None:
    shared = ex.Round(ex.affine(X, F(1, 3)), "ROUND")
    e = ex.add([(shared, exacts(1)), (ex.Round(ex.affine(shared, F(1, 4)), "FLOOR"), exacts(-4))])
    for changed in (e, ex.substitute(e, {0: ex.Leaf(1)}), ex.simplify(e, R)):
        assert ex.match_wrap(changed) is not None
    assert ex.leaves(ex.substitute(e, {0: ex.Leaf(1)})) == {1}


def test_units_of_elements() -> None:
    root = sqrt(F(2))
    e = ex.Clip(ex.add([(X, np.array([F(1, 2), root], object)), (ex.Leaf(1), np.array([F(1, 3), root / 2], object))]),
                exacts(0), None)
    assert ex.unit(e).tolist() == [F(1, 6), root / 2]
    assert ex.unit(ex.affine(X, root, F(1))) is None
    assert ex.unit_of_all(e) is ex.unit_of_all(ex.affine(X, root, F(1))) is None
    some = ex.affine(X, np.array([F(0), F(3, 2), F(9, 2)], object))
    assert ex.unit(some).tolist() == [0, F(3, 2), F(9, 2)]
    assert ex.unit_of_all(some) == F(3, 2)
    assert ex.unit(ex.Clip(ex.affine(X, F(1, 2)), None, exacts(F(1, 3)))).item() == F(1, 6)
