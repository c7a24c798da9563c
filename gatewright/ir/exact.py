"""Exact numbers: rationals (`Fraction`), sums of rationals times square roots (`Surd`), and values of real functions
(`Enclosed`), alone and in object arrays.

Batch normalisation brings square roots. A `Surd` is a sum of `coefficient * sqrt(radicand)` whose radicands are pairwise
independent (no product of two is a square), so it is irrational, never zero, and its floor and sign are found by refining
integer square roots until they are decided. An `Enclosed` is what exp, tanh and the like make of such numbers
(reals.py): a real number known by intervals as narrow as wanted. It never is a constant of a model.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import UserError
from gatewright.ir.uniform import compact, spread

Exacts = NDArray[Any]
"""An object array whose elements are `Fraction` or `Surd` (values of real functions: or `Enclosed`)."""

MAX_BITS = 1 << 13
"""Precision at which an `Enclosed` that is still undecided is given up."""


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
        if isinstance(other, np.ndarray | Enclosed):
            return NotImplemented
        return Surd.of([*self.terms.items(), *self._items(other)])

    def __mul__(self, other: Number | int) -> Number:
        if isinstance(other, np.ndarray | Enclosed):
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
        """1 / self, by multiplying with conjugates: each product lies in a field with one root less."""
        if len(self.terms) == 1:
            (radicand, coefficient), = self.terms.items()
            return Surd({radicand: 1 / (coefficient * radicand)})
        conjugate = self._conjugate()
        return conjugate * inverse(self * conjugate)

    def _conjugate(self) -> Surd:
        """Self under the field automorphism that turns the first root's sign and keeps all roots independent of it."""
        signs = {1: 1}  # of every product of the roots seen so far
        turned: dict[int, Fraction] = {}
        for radicand, coefficient in self.terms.items():
            known = next((s for product, s in signs.items() if is_square(product * radicand)), None)
            sign = known or (-1 if len(signs) == 1 else 1)
            if known is None:
                signs |= {product * radicand: s * sign for product, s in signs.items()}
            turned[radicand] = sign * coefficient
        return Surd(turned)

    def __truediv__(self, other: Number | int) -> Number:
        if isinstance(other, np.ndarray | Enclosed):
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
        return hash(frozenset((c > 0, c * c * r) for r, c in self.terms.items()))

    def __float__(self) -> float:
        return float(self.bounds(128)[0])

    def __repr__(self) -> str:
        return "+".join(str(c) if r == 1 else f"{c}*sqrt({r})" for r, c in sorted(self.terms.items()))


class Enclosed:
    """A real number given by `enclose(bits)`: rationals lo < value < hi whose distance falls with 2**-bits.

    The interval is open, so lo = 3 says that the floor is 3 or more, and hi = 4 that it is 3 or less. Order, floor and
    rounding narrow it until they are decided. That ends unless the value is rational and lies just on a boundary, and
    then it stops with a UserError at MAX_BITS; reals.py says for which functions that cannot happen.
    """

    __slots__ = ("_known", "enclose")

    def __init__(self, enclose: Callable[[int], tuple[Fraction, Fraction]]) -> None:
        self.enclose = enclose
        self._known: tuple[int, tuple[Fraction, Fraction]] = (0, (Fraction(0), Fraction(0)))

    def bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        if self._known[0] != bits:
            self._known = bits, self.enclose(bits)
        return self._known[1]

    def __add__(self, other: Real | int) -> Real:
        if isinstance(other, np.ndarray):
            return NotImplemented

        def enclose(bits: int) -> tuple[Fraction, Fraction]:
            (a, b), (c, d) = self.bounds(bits), enclosure(other, bits)
            return a + c, b + d
        return Enclosed(enclose) if other != 0 else self

    def __mul__(self, other: Real | int) -> Real:
        if isinstance(other, np.ndarray):
            return NotImplemented

        def enclose(bits: int) -> tuple[Fraction, Fraction]:
            corners = [x * y for x in self.bounds(bits) for y in enclosure(other, bits)]
            return min(corners), max(corners)
        return Enclosed(enclose) if other != 0 else Fraction(0)

    def __neg__(self) -> Enclosed:
        def enclose(bits: int) -> tuple[Fraction, Fraction]:
            lo, hi = self.bounds(bits)
            return -hi, -lo
        return Enclosed(enclose)

    def __sub__(self, other: Real | int) -> Real:
        return Fraction(0) if other is self else self + -other

    def __rsub__(self, other: Real | int) -> Real:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__

    def inverse(self) -> Enclosed:
        def enclose(bits: int) -> tuple[Fraction, Fraction]:
            while bits <= MAX_BITS:
                lo, hi = self.bounds(bits)
                if lo > 0 or hi < 0:
                    return 1 / hi, 1 / lo
                bits *= 2
            raise self._undecided()
        return Enclosed(enclose)

    def __floor__(self) -> int:
        bits = 64
        while bits <= MAX_BITS:
            lo, hi = self.bounds(bits)
            low = math.floor(lo)
            if hi <= low + 1:
                return low
            bits *= 2
        raise self._undecided()

    def _undecided(self) -> UserError:
        return UserError(f"a value in it (about {float(self)!r}) is so close to a boundary that {MAX_BITS} bits do not decide "
                         f"on which side it lies",
                         remedy="Put a quantiser between the functions, or change the quantiser's scale slightly")

    def _below(self, other: Real | int) -> bool:
        return math.floor(self - other) < 0

    def __lt__(self, other: Real | int) -> bool:
        return other is not self and self._below(other)

    def __ge__(self, other: Real | int) -> bool:
        return other is self or not self._below(other)

    def __gt__(self, other: Real | int) -> bool:
        return other is not self and not self._below(other)

    def __le__(self, other: Real | int) -> bool:
        return other is self or self._below(other)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __float__(self) -> float:
        return float(self.bounds(128)[0])


Number = Fraction | Surd
Real = Fraction | Surd | Enclosed
IRRATIONAL = (Surd, Enclosed)


def enclosure(x: Real | int, bits: int) -> tuple[Fraction, Fraction]:
    """Rational ends around a number: equal where it is rational."""
    return x.bounds(bits) if isinstance(x, Surd | Enclosed) else (Fraction(x), Fraction(x))


def is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n


@overload
def inverse(x: Number | int) -> Number: ...
@overload
def inverse(x: Real | int) -> Real: ...
def inverse(x: Real | int) -> Real:
    return x.inverse() if isinstance(x, Surd | Enclosed) else 1 / Fraction(x)


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
    """`function` on every element of the broadcast arrays; always an object array (also of shape ()).

    Exact numbers are slow and networks repeat them: what meets the same objects again is not computed again.
    """
    whole = np.broadcast_arrays(*[np.asarray(a, object) for a in arrays])
    broadcast = compact(*whole)
    out = np.empty(broadcast[0].shape, object)
    known: dict[Any, Any] = {}
    values = []
    for v in zip(*[b.reshape(-1) for b in broadcast], strict=True):
        key = tuple(map(id, v))
        if key not in known:
            known[key] = function(*v)
        values.append(known[key])
    out.reshape(-1)[:] = values
    return spread(out, whole[0].shape)


def times(a: Exacts, b: Exacts) -> Exacts:
    return elementwise(operator.mul, a, b)


def plus(a: Exacts, b: Exacts) -> Exacts:
    return elementwise(operator.add, a, b)


def over(a: Exacts, b: Exacts) -> Exacts:
    return elementwise(operator.truediv, a, b)


def larger(a: Exacts, b: Exacts) -> Exacts:
    return elementwise(max, a, b)


def smaller(a: Exacts, b: Exacts) -> Exacts:
    return elementwise(min, a, b)


def unit(values: Exacts) -> Number | None:
    """The largest number of which every element is an integer multiple (1 where all are zero), None if there is none."""
    flat = [v for v in {id(v): v for v in values.reshape(-1)}.values() if v != 0]
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
    def integer(v: Real) -> int:
        if isinstance(v, IRRATIONAL) or v.denominator != 1:
            raise ValueError(f"{v} is no integer")
        return v.numerator
    return elementwise(integer, values)


def round_half_even(x: Real) -> int:
    if not isinstance(x, IRRATIONAL) and x.denominator == 2:
        low = math.floor(x)
        return low + (low & 1)
    return math.floor(x + Fraction(1, 2))


def _away(x: Real, toward: bool) -> int:
    """Round to nearest, ties toward zero or away from it."""
    half = Fraction(1, 2)
    up = x < 0 if not toward else x >= 0  # where a tie has to go down in value: use ceil(x - 1/2)
    return -math.floor(-(x - half)) if up else math.floor(x + half)


ROUND_NUMBER: dict[str, Callable[[Real], int]] = {
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
