"""Vectorised evaluation of element-wise expressions in int64: numerators over a denominator per element.

Exact like `expr.evaluate`, and a hundred times faster. It declines (None) where a constant is irrational, at a real
function other than the reciprocal, or where a numerator could leave 62 bits, which it checks before every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Surd
from gatewright.ir.fixed import Ints

LIMIT = 1 << 62


class _DeclinedError(Exception):
    """The expression is beyond int64."""


Ratio = tuple[Ints, Ints]
"""Numerators (samples first) and positive denominators (samples first, or without samples); they broadcast."""


def evaluate(expr: ex.Expr, inputs: Sequence[Ints]) -> Ints | None:
    """Codes of an integer-valued expression, int64; `inputs[i]` are the codes of leaf i, samples first. None: declined."""
    done: dict[int, Ratio] = {}

    def visit(e: ex.Expr) -> Ratio:
        if id(e) not in done:
            done[id(e)] = compute(e)
        return done[id(e)]

    def compute(e: ex.Expr) -> Ratio:
        if isinstance(e, ex.Leaf):
            return inputs[e.index], np.ones((), np.int64)
        if isinstance(e, ex.Affine):
            return _affine([(visit(x), _ratio(s)) for x, s in e.terms], _ratio(e.offset))
        if isinstance(e, ex.Clip):
            return _clip(visit(e.x), e.lo, e.hi)
        if isinstance(e, ex.Func):
            return _reciprocal(e.name, visit(e.x))
        if isinstance(e, ex.Product):
            (n, d), (m, t) = visit(e.x), visit(e.y)
            return _times(n, m), _times(d, t)
        x = visit(e.x)
        if 2 * _largest(x[0]) + 2 * _largest(x[1]) >= LIMIT:
            raise _DeclinedError
        return round_ratio(x, e.mode), np.ones((), np.int64)

    try:
        num, den = visit(expr)
        return num if (den == 1).all() else num // den
    except _DeclinedError:
        return None


def _ratio(a: Exacts) -> Ratio:
    flat = a.reshape(-1)
    if any(isinstance(v, Surd) for v in flat):
        raise _DeclinedError
    nums, dens = [v.numerator for v in flat], [v.denominator for v in flat]
    if max(map(abs, nums), default=0) >= LIMIT or max(dens, default=1) >= LIMIT:
        raise _DeclinedError
    return np.array(nums, np.int64).reshape(a.shape), np.array(dens, np.int64).reshape(a.shape)


def _largest(a: Ints) -> int:
    return max(-int(a.min()), int(a.max())) if a.size else 0


def _times(a: Ints, b: Ints) -> Ints:
    if _largest(a) * _largest(b) >= LIMIT:
        raise _DeclinedError
    return np.asarray(a * b)


def _common(a: Ints, b: Ints) -> Ints:
    """Least common multiple, element by element."""
    return _times(a // np.gcd(a, b), b)


def _affine(terms: list[tuple[Ratio, Ratio]], offset: Ratio) -> Ratio:
    products: list[Ratio] = [(_times(x, s), _times(d, t)) for (x, d), (s, t) in terms]
    den = offset[1]
    for _, d in products:
        den = _common(den, d)
    total: Any = _times(offset[0], den // offset[1])
    for n, d in products:
        part = _times(n, den // d)
        if _largest(total) + _largest(part) >= LIMIT:
            raise _DeclinedError
        total = np.asarray(total + part)
    return total, den


def _clip(x: Ratio, lo: Exacts | None, hi: Exacts | None) -> Ratio:
    num, den = x
    for bound, limit in ((lo, np.maximum), (hi, np.minimum)):
        if bound is not None:
            n, d = _ratio(bound)
            common = _common(den, d)
            num, den = limit(_times(num, common // den), _times(n, common // d)), common
    return num, den


def _reciprocal(name: str, x: Ratio) -> Ratio:
    num, den = x
    if name != "reciprocal" or not num.all():
        raise _DeclinedError
    return np.asarray(np.sign(num) * den), np.abs(num)


def round_ratio(x: Ratio, mode: str) -> Ints:
    """num / den rounded by `mode` (names as in exact.ROUND_NUMBER); exact where 2 * (num + den) fits 62 bits."""
    num, den = x
    low = num // den
    twice = 2 * (num - low * den)
    negative = num < 0
    rules: dict[str, Callable[[], Any]] = {
        "FLOOR": lambda: False,
        "CEIL": lambda: twice > 0,
        "DOWN": lambda: (twice > 0) & negative,
        "UP": lambda: (twice > 0) & ~negative,
        "ROUND": lambda: (twice > den) | ((twice == den) & (low & 1 == 1)),
        "HALF_UP": lambda: (twice > den) | ((twice == den) & ~negative),
        "HALF_DOWN": lambda: (twice > den) | ((twice == den) & negative),
        "HALF_CEIL": lambda: twice >= den,
        "HALF_FLOOR": lambda: twice > den,
    }
    return np.asarray(low + rules[mode]())
