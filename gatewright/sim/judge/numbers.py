"""Exact real numbers: rationals (`Fraction`), sums of rationals times square roots (`Surd`), and what `reals` adds.

No float decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import gcd, inf, isqrt, lcm, ldexp
from typing import Any

GUARD_BITS = 64
"""Extra bits of the first attempt at the floor of a sum of several roots; every further attempt doubles them."""


class Irrational(ABC):
    """An exact number that is no `Fraction`: arithmetic is exact, order and equality are decided by `floor`.

    Arithmetic with int, Fraction and its own kind gives a Fraction where nothing irrational is left.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # equal values may have different forms

    @abstractmethod
    def floor(self) -> int: ...

    @abstractmethod
    def is_zero(self) -> bool: ...

    @abstractmethod
    def reciprocal(self) -> Number:
        """ZeroDivisionError for zero; ValueError where there is no exact form."""

    @abstractmethod
    def __add__(self, other: Any) -> Number: ...

    @abstractmethod
    def __mul__(self, other: Any) -> Number: ...

    @abstractmethod
    def __neg__(self) -> Number: ...

    def __radd__(self, other: Number | int) -> Number:
        return self + other

    def __rmul__(self, other: Number | int) -> Number:
        return self * other

    def __sub__(self, other: Number | int) -> Number:
        return self + -other

    def __rsub__(self, other: Number | int) -> Number:
        return -self + other

    def __truediv__(self, other: Number | int) -> Number:
        return self * reciprocal(other)

    def __rtruediv__(self, other: Number | int) -> Number:
        return self.reciprocal() * other

    def __eq__(self, other: object) -> bool:
        return is_zero(self - other) if isinstance(other, int | Fraction | Irrational) else NotImplemented

    def __lt__(self, other: Number | int) -> bool:
        return floor_of(self - other) < 0

    def __le__(self, other: Number | int) -> bool:
        return floor_of(other - self) >= 0

    def __gt__(self, other: Number | int) -> bool:
        return floor_of(other - self) < 0

    def __ge__(self, other: Number | int) -> bool:
        return floor_of(self - other) >= 0

    def __abs__(self) -> Number:
        return self if self >= 0 else -self

    def __float__(self) -> float:
        return nearest_float(self, *FLOAT64)


Number = Fraction | Irrational


class Surd(Irrational):
    """An exact sum of terms `coefficient * sqrt(radicand)`; radicands are positive integers, 1 is the rational part.

    Arithmetic with int, Fraction and Surd is exact and gives a Fraction where no root is left. Order, floor and
    equality are decided exactly; `float()` is correctly rounded.

    >>> root = square_root(Fraction(2))
    >>> root * root, floor_of(root * 1000), root + 1 > Fraction(12, 5)
    (Fraction(2, 1), 1414, True)
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Mapping[int, Fraction]) -> None:
        self.parts = dict(parts)

    def __add__(self, other: Any) -> Number:
        if not isinstance(other, int | Fraction | Surd):
            return NotImplemented
        parts = dict(self.parts)
        for radicand, coefficient in parts_of(other).items():
            parts[radicand] = parts.get(radicand, Fraction(0)) + coefficient
        return sum_of_roots(parts)

    def __neg__(self) -> Surd:
        return Surd({radicand: -coefficient for radicand, coefficient in self.parts.items()})

    def __mul__(self, other: Any) -> Number:
        if not isinstance(other, int | Fraction | Surd):
            return NotImplemented
        parts: dict[int, Fraction] = {}
        for r, a in self.parts.items():
            for s, b in parts_of(other).items():
                common = gcd(r, s)
                factor, radicand = _take_square((r // common) * (s // common))
                parts[radicand] = parts.get(radicand, Fraction(0)) + a * b * common * factor
        return sum_of_roots(parts)

    def reciprocal(self) -> Number:
        """1 / self. ZeroDivisionError for zero; ValueError where more than one root is in the way."""
        if self.is_zero():
            raise ZeroDivisionError("division by zero")
        if len(self.parts) == 1:
            (radicand, coefficient), = self.parts.items()
            return Surd({radicand: 1 / (coefficient * radicand)})
        if len(self.parts) > 2 or 1 not in self.parts:
            raise ValueError("division by a sum of several square roots")
        conjugate = Surd({r: c if r == 1 else -c for r, c in self.parts.items()})
        norm = self * conjugate
        assert isinstance(norm, Fraction)
        return conjugate * (1 / norm)

    def is_zero(self) -> bool:
        """Decided exactly: the roots of all products of pairwise coprime non-squares are independent over the rationals.

        So it is enough to write the radicands in a coprime base (gcds only, no factoring) and to look at the
        coefficients (A. S. Besicovitch, On the linear independence of fractional powers of integers, 1940; coprime
        bases: E. Bach, J. Driscoll, J. Shallit, Factor refinement, 1993).
        """
        base = _coprime_base(self.parts)
        sums: dict[int, Fraction] = {}
        for radicand, coefficient in self.parts.items():
            root, rest = 1, 1
            for b in base:
                count = 0
                while radicand % b == 0:
                    radicand, count = radicand // b, count + 1
                b_root = isqrt(b)
                if b_root * b_root == b:
                    root *= b_root**count
                else:
                    root, rest = root * b ** (count // 2), rest * b ** (count % 2)
            sums[rest] = sums.get(rest, Fraction(0)) + coefficient * root
        return not any(sums.values())

    def floor(self) -> int:
        scale = lcm(*(c.denominator for c in self.parts.values()))
        rational = int(self.parts.get(1, Fraction(0)) * scale)
        roots = [(int(c * scale), r) for r, c in self.parts.items() if r != 1]
        if len(roots) == 1:  # floor((a + x) / d) = floor((a + floor(x)) / d) for integers a and d > 0
            return (rational + floor_root(*roots[0])) // scale
        bits, tested = GUARD_BITS, False
        while True:  # self * scale * 2**bits lies in [low, low + len(roots))
            low = (rational << bits) + sum(floor_root(y << bits, r) for y, r in roots)
            below, above = low // (scale << bits), (low + len(roots)) // (scale << bits)
            if below == above:
                return below
            if not tested and is_zero(self - above):
                return above
            bits, tested = 2 * bits, True

    def __repr__(self) -> str:
        return " + ".join(f"{c}" if r == 1 else f"{c}*sqrt({r})" for r, c in sorted(self.parts.items()))


def parts_of(value: Fraction | Surd | int) -> Mapping[int, Fraction]:
    """The number as {radicand: coefficient}."""
    return value.parts if isinstance(value, Surd) else {1: Fraction(value)}


def _take_square(n: int) -> tuple[int, int]:
    """`(f, r)` with n = f*f*r: all factors 4 taken out, and everything where n is a square."""
    halves = ((n & -n).bit_length() - 1) // 2
    n >>= 2 * halves
    root = isqrt(n)
    return (root << halves, 1) if root * root == n else (1 << halves, n)


def sum_of_roots(parts: Mapping[int, Fraction]) -> Number:
    """Of {radicand: coefficient}."""
    kept = {radicand: coefficient for radicand, coefficient in parts.items() if coefficient}
    return kept.get(1, Fraction(0)) if not kept.keys() - {1} else Surd(kept)


def square_root(value: Fraction) -> Number:
    """The exact root of a rational. ValueError where it is negative."""
    if value < 0:
        raise ValueError(f"the square root of {value} is not real")
    if not value:
        return Fraction(0)
    factor, radicand = _take_square(value.numerator * value.denominator)
    return sum_of_roots({radicand: Fraction(factor, value.denominator)})


def reciprocal(value: Number | int) -> Number:
    """1 / value. ZeroDivisionError for zero; ValueError where the result has no exact form."""
    return value.reciprocal() if isinstance(value, Irrational) else 1 / Fraction(value)


def is_zero(value: Number | int) -> bool:
    return value.is_zero() if isinstance(value, Irrational) else value == 0


def _coprime_base(numbers: Iterable[int]) -> list[int]:
    """Pairwise coprime integers above 1 whose products of powers give every one of `numbers`."""
    base: list[int] = []
    waiting = [n for n in numbers if n > 1]
    while waiting:
        n = waiting.pop()
        clash = next((b for b in base if gcd(b, n) > 1), None)
        if clash is None:
            base.append(n)
        elif clash != n:
            base.remove(clash)
            common = gcd(clash, n)
            waiting += [part for part in (common, clash // common, n // common) if part > 1]
    return base


def floor_root(y: int, r: int) -> int:
    """floor(y * sqrt(r)) for integers, r >= 0."""
    n = y * y * r
    return isqrt(n) if y >= 0 or not n else -isqrt(n - 1) - 1


def floor_of(value: Number | int) -> int:
    """The largest integer that is not above the value, decided exactly."""
    return value.floor() if isinstance(value, Irrational) else value.numerator // value.denominator


def ceil_of(value: Number | int) -> int:
    return -floor_of(-value)


FLOAT64 = (53, -1074, 1024)
FLOAT32 = (24, -149, 128)
FLOAT16 = (11, -24, 16)
"""Formats: bits of the significand, exponent of the smallest subnormal, exponent of the first power that overflows."""


def nearest_float(value: Number, bits: int, lowest: int, top: int) -> float:
    """The nearest number of a binary float format (ties to even, overflow to infinity), as a Python float."""
    if is_zero(value):
        return 0.0
    size = value if value >= 0 else -value
    exponent = max(_exponent(size) - bits + 1, lowest)
    scaled = size * Fraction(2) ** -exponent
    n = floor_of(scaled + Fraction(1, 2))
    if n % 2 and is_zero(scaled + Fraction(1, 2) - n):
        n -= 1
    result = ldexp(n, exponent) if n.bit_length() + exponent <= top else inf
    return result if value >= 0 else -result


def _exponent(size: Number) -> int:
    """floor(log2(size)) of a positive number."""
    shift = 64
    while (whole := floor_of(size * Fraction(1 << shift))) == 0:
        shift *= 4
    return whole.bit_length() - 1 - shift
