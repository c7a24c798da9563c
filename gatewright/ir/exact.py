"""Exact numbers: rationals (`Fraction`) and sums of rationals times square roots (`Surd`), alone and in object arrays.

Batch normalisation brings square roots; everything else in a quantised network is rational. A `Surd` is a sum of
`coefficient * sqrt(radicand)` whose radicands are pairwise independent (no product of two is a square), so it is
irrational, never zero, and its floor and sign are found by refining integer square roots until they are decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Exacts = NDArray[Any]
"""An object array whose elements are `Fraction` or `Surd`."""


class Surd:
    """An irrational sum of `coefficient * sqrt(radicand)`; arithmetic returns a `Fraction` where the roots cancel."""

    __slots__ = ("terms",)

    def __init__(self, terms: dict[int, Fraction]) -> None:
        self.terms = terms

    @staticmethod
    def of(terms: Iterable[tuple[int, Fraction]]) -> Number:
        """The sum of `coefficient * sqrt(radicand)`, collected; a `Fraction` where no root is left."""
        collected: dict[int, Fraction] = {}
        for radicand, coefficient in terms:
            for known in collected:
                root = math.isqrt(known * radicand)
                if root * root == known * radicand:  # sqrt(radicand) = root / known * sqrt(known)
                    collected[known] += coefficient * Fraction(root, known)
                    break
            else:
                root = math.isqrt(radicand)
                square = root * root == radicand
                collected[1 if square else radicand] = (
                    collected.get(1, Fraction(0)) + coefficient * root if square else coefficient)
        collected = {r: c for r, c in collected.items() if c}
        if not collected or set(collected) == {1}:
            return collected.get(1, Fraction(0))
        return Surd(collected)

    def _items(self, other: Number | int) -> Iterable[tuple[int, Fraction]]:
        return other.terms.items() if isinstance(other, Surd) else [(1, Fraction(other))]

    def __add__(self, other: Number | int) -> Number:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Surd.of([*self.terms.items(), *self._items(other)])

    def __mul__(self, other: Number | int) -> Number:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Surd.of([(r * s, c * d) for r, c in self.terms.items() for s, d in self._items(other)])

    def __neg__(self) -> Surd:
        return Surd({r: -c for r, c in self.terms.items()})

    def __sub__(self, other: Number | int) -> Number:
        return self + -other

    def __rsub__(self, other: Number | int) -> Number:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__

    def inverse(self) -> Number:
        """1 / self, by multiplying with conjugates until no root is left."""
        if len(self.terms) == 1:
            (radicand, coefficient), = self.terms.items()
            return Surd({radicand: 1 / (coefficient * radicand)})
        last = max(self.terms)
        conjugate = Surd({r: -c if r == last else c for r, c in self.terms.items()})
        return conjugate * inverse(self * conjugate)

    def __truediv__(self, other: Number | int) -> Number:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self * inverse(other)

    def __rtruediv__(self, other: Number | int) -> Number:
        return self.inverse() * other

    def bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        """An enclosing interval whose width falls with 2**-bits."""
        lo = hi = Fraction(0)
        for radicand, coefficient in self.terms.items():
            root = math.isqrt(radicand << 2 * bits)
            exact = radicand == 1
            ends = (coefficient * Fraction(root, 1 << bits), coefficient * Fraction(root + (not exact), 1 << bits))
            lo, hi = lo + min(ends), hi + max(ends)
        return lo, hi

    def __floor__(self) -> int:
        bits = 64
        while True:  # ends: an irrational number is no integer
            lo, hi = (math.floor(b) for b in self.bounds(bits))
            if lo == hi:
                return lo
            bits *= 2

    def _below(self, other: Number | int) -> bool:
        return math.floor(self - other) < 0

    def __lt__(self, other: Number | int) -> bool:
        return self._below(other)

    def __ge__(self, other: Number | int) -> bool:
        return not self._below(other)

    def __gt__(self, other: Number | int) -> bool:
        return (-self)._below(-other)

    def __le__(self, other: Number | int) -> bool:
        return not (-self)._below(-other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surd) and isinstance(self - other, Fraction) and self - other == 0

    def __hash__(self) -> int:
        return hash(round(float(self), 6))

    def __float__(self) -> float:
        return float(self.bounds(128)[0])

    def __repr__(self) -> str:
        return "+".join(str(c) if r == 1 else f"{c}*sqrt({r})" for r, c in sorted(self.terms.items()))


Number = Fraction | Surd


def inverse(x: Number | int) -> Number:
    return x.inverse() if isinstance(x, Surd) else 1 / Fraction(x)


def sqrt(x: Fraction) -> Number:
    """The square root of a non-negative rational."""
    return Surd.of([(x.numerator * x.denominator, Fraction(1, x.denominator))])


def parse_number(text: str) -> Number:
    """Reads what `str` of a Fraction or Surd writes."""
    terms = []
    for part in text.split("+"):
        coefficient, _, radicand = part.partition("*sqrt(")
        terms.append((int(radicand.rstrip(")")) if radicand else 1, Fraction(coefficient)))
    return Surd.of(terms)


def exacts(values: Any) -> Exacts:
    """An object array of the exact values of floats, integers or exact numbers. Raises ValueError on NaN and infinity."""
    array = np.asarray(values)
    if array.dtype == object:
        return array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("NaN or infinity")
    # Networks repeat few values: convert each one once.
    unique, where = np.unique(array, return_inverse=True)
    if array.dtype.kind == "f":
        converted = [Fraction(float(v)) for v in unique.astype(np.float64)]
    else:
        converted = [Fraction(int(v)) for v in unique]
    table = np.empty(len(converted), object)
    table[:] = converted
    return np.asarray(table[where.reshape(array.shape)], object)


def elementwise(function: Callable[..., Any], *arrays: Any) -> Exacts:
    """`function` on every element of the broadcast arrays; always an object array (also of shape ())."""
    broadcast = np.broadcast_arrays(*[np.asarray(a, object) for a in arrays])
    out = np.empty(broadcast[0].shape, object)
    out.reshape(-1)[:] = [function(*v) for v in zip(*[b.reshape(-1) for b in broadcast], strict=True)]
    return out


def unit(values: Exacts) -> Number | None:
    """The largest number of which every element is an integer multiple (1 where all are zero), None if there is none."""
    flat = [v for v in values.reshape(-1) if v != 0]
    if not flat:
        return Fraction(1)
    if any(isinstance(v, Surd) for v in flat):
        ratios = [v / flat[0] for v in flat]
        if any(isinstance(r, Surd) for r in ratios):
            return None
        common = unit(exacts(np.array(ratios, object)))
        return abs_(flat[0]) * common if common is not None else None
    return Fraction(math.gcd(*[v.numerator for v in flat]), math.lcm(*[v.denominator for v in flat]))


def abs_(x: Number) -> Number:
    return -x if x < 0 else x


def as_integers(values: Exacts) -> Exacts:
    """Python integers of exact numbers known to be integers."""
    def integer(v: Number) -> int:
        if isinstance(v, Surd) or v.denominator != 1:
            raise ValueError(f"{v} is no integer")
        return v.numerator
    return elementwise(integer, values)


def round_half_even(x: Number) -> int:
    twice = x * 2
    low = math.floor(x)
    if not isinstance(twice, Surd) and twice.denominator == 1 and x.denominator == 2:  # type: ignore[union-attr]
        return low + (low & 1)
    return math.floor(x + Fraction(1, 2))


def _away(x: Number, toward: bool) -> int:
    """Round to nearest, ties toward zero or away from it."""
    half = Fraction(1, 2)
    up = x < 0 if not toward else x >= 0  # where a tie has to go down in value: use ceil(x - 1/2)
    return -math.floor(-(x - half)) if up else math.floor(x + half)


ROUND_NUMBER: dict[str, Callable[[Number], int]] = {
    "FLOOR": math.floor,
    "CEIL": lambda x: -math.floor(-x),
    "DOWN": lambda x: math.floor(x) if x >= 0 else -math.floor(-x),
    "UP": lambda x: -math.floor(-x) if x >= 0 else math.floor(x),
    "ROUND": round_half_even,
    "HALF_UP": lambda x: _away(x, toward=False),
    "HALF_DOWN": lambda x: _away(x, toward=True),
    "HALF_CEIL": lambda x: math.floor(x + Fraction(1, 2)),
    "HALF_FLOOR": lambda x: -math.floor(-(x - Fraction(1, 2))),
}
"""Rounding modes by name. QONNX's ROUND is half to even, HALF_UP half away from zero, HALF_DOWN half toward zero,
UP away from zero, DOWN toward zero; HALF_CEIL and HALF_FLOOR (ap_fixed's RND and RND_MIN_INF) send ties up and down."""
