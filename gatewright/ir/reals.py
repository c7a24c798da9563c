"""Real functions of exact numbers, correctly rounded wherever something is decided: exp, log, erf, tanh and the like.

A value is exact where it is rational or a root, else an `Enclosed`: intervals from integer arithmetic in which every step
rounds outward, so no error analysis is needed. Refining them decides every comparison with a rational number, because:

* exp, tanh, sigmoid at an algebraic x != 0, and log and softplus at an algebraic x (log: x != 1), are transcendental, by
  the theorem of Lindemann and Weierstrass, so the same times and plus algebraic numbers is no rational number. That
  is what a region of scales, batch norms, one function and a quantiser computes, and x * sigmoid(x) as well.
* erf and gelu_tanh, tanh(sqrt(2 / pi) * x), at a rational x != 0 are believed, but not known, to be irrational; so
  are nested functions and sums of several. Where such a value did lie just on a boundary, refining would stop with a
  UserError, never with a wrong bit.

Ends of intervals are strict (`Enclosed`), so the far tails, where tanh(x) differs from 1 by less than any precision, are
decided at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache

from gatewright.errors import UserError
from gatewright.ir.exact import MAX_BITS, Enclosed, Real, enclosure, inverse, sqrt

Interval = tuple[int, int]
"""Integers around a number times 2**w, for a working precision w that the function is given."""

GUARD = 24
"""Bits by which functions work finer than what is asked."""
MAX_EXPONENT = 1 << 10
"""exp of more than this is refused: no hardware type holds it."""


@dataclass(frozen=True)
class Function:
    """A monotone real function. `enclose(x, bits)` gives strict rational ends around its value at a rational x."""

    name: str
    enclose: Callable[[Fraction, int], tuple[Fraction, Fraction]]
    exact: Callable[[Real], Real | None] = lambda x: None
    """The value where it is rational or a root, else None."""
    slope: int = 1
    outside: Callable[[Real, Real], bool] = lambda lo, hi: False
    """Whether an interval holds numbers where it has no value."""
    remedy: str = ""

    def __call__(self, x: Real) -> Real:
        """Raises UserError where the function has no value."""
        return _value(self.name, x) if isinstance(x, Fraction) else self.value(x)

    def value(self, x: Real) -> Real:
        self.check(x, x)
        known = self.exact(x)
        if known is not None:
            return known
        return Enclosed(lambda bits: self.enclose(x, bits) if isinstance(x, Fraction) else self.around(x, bits))

    def check(self, lo: Real, hi: Real) -> None:
        if self.outside(lo, hi):
            where = f"can be {float(lo):.6g}" if lo is hi else f"can lie anywhere in {float(lo):.6g}..{float(hi):.6g}"
            raise UserError(f"the operand of {self.name} {where}", remedy=self.remedy)

    def around(self, x: Real, bits: int) -> tuple[Fraction, Fraction]:
        """The value at an irrational number, by monotony."""
        lo, hi = enclosure(x, bits)
        finer = bits
        while self.outside(lo, hi) and finer < MAX_BITS:
            finer *= 2
            lo, hi = enclosure(x, finer)
        ends = self.enclose(lo, bits), self.enclose(hi, bits)
        low, high = ends if self.slope > 0 else ends[::-1]
        return low[0], high[1]

    def interval(self, lo: Real, hi: Real) -> tuple[Fraction, Fraction]:
        """Rational ends around all values on lo..hi."""
        self.check(lo, hi)
        first, last = (lo, hi) if self.slope > 0 else (hi, lo)
        return end(self(first), 0), end(self(last), 1)


def end(x: Real, side: int) -> Fraction:
    """The lower (0) or upper (1) rational end of a number, off the integers where that is to be had: in a tail, the sign of
    the distance to the limit is worth its bits."""
    for bits in (64, 256, 1024):
        found = enclosure(x, bits)[side]
        if found.denominator > 1:
            break
    return found


@lru_cache(1 << 16)
def _value(name: str, x: Fraction) -> Real:
    return FUNCTIONS[name].value(x)


# -- integer intervals: numbers times 2**w -----------------------------------------------------------------------------


def scaled(x: Fraction, w: int) -> Interval:
    low, rest = divmod(x.numerator << w, x.denominator)
    return low, low + (rest > 0)


def times(a: Interval, b: Interval, w: int) -> Interval:
    """Product of intervals of non-negative numbers."""
    return a[0] * b[0] >> w, -(-a[1] * b[1] >> w)


def over(a: Interval, b: Interval, w: int) -> Interval:
    """Quotient of intervals of non-negative numbers."""
    return (a[0] << w) // b[1], -((-a[1] << w) // b[0])


def rational(v: Interval, w: int, bits: int) -> tuple[Fraction, Fraction]:
    """Strict ends with `bits` bits below the point."""
    drop = w - bits
    return Fraction((v[0] >> drop) - 1, 1 << bits), Fraction(-(-v[1] >> drop) + 1, 1 << bits)


def atanh(z: Interval, w: int) -> Interval:
    """Of 0 <= z <= 1/3: z + z**3 / 3 + z**5 / 5 + ..., and what follows a term is less than the term."""
    square = times(z, z, w)
    power, total, k = z, z, 1
    while power[1] > 1:
        power, k = times(power, square, w), k + 2
        total = total[0] + power[0] // k, total[1] + power[1] // k + 1
    return total[0], total[1] + 2


@cache
def log2(w: int) -> Interval:
    lo, hi = atanh(scaled(Fraction(1, 3), w), w)
    return 2 * lo, 2 * hi


@cache
def pi(w: int) -> Interval:
    """16 atan(1/5) - 4 atan(1/239) (J. Machin, 1706)."""
    (a, b), (c, d) = atan_inverse(5, w), atan_inverse(239, w)
    return 16 * a - 4 * d, 16 * b - 4 * c


def atan_inverse(n: int, w: int) -> Interval:
    """atan(1/n) as its alternating series: off by less than the first term left out and one unit a term."""
    power, total, k, sign = (1 << w) // n, 0, 1, 1
    while power:
        total += sign * (power // k)
        power, k, sign = power // (n * n), k + 2, -sign
    return total - k, total + k


def exp(x: Fraction, w: int) -> Interval:
    """exp of x <= 0: 2**-n * exp(r) for 0 <= r < 1, and exp(r) = exp(r / 2**k)**(2**k)."""
    if -x > w:
        return 0, 1
    squarings = math.isqrt(w) // 2
    spare = squarings + 16  # every squaring doubles the error, and n log 2 has n times that of log 2
    w += spare
    ln2 = log2(w)
    lo, hi = scaled(x, w)
    n = -(lo // ln2[0])
    small = lo + n * ln2[0] >> squarings, (hi + n * ln2[1] >> squarings) + 1
    term = total = (1 << w, 1 << w)
    k = 0
    while term[1] > 1:
        term, k = times(term, small, w), k + 1
        term = term[0] // k, term[1] // k + 1
        total = total[0] + term[0], total[1] + term[1]
    total = total[0], total[1] + 2  # what is left out falls faster than by halves
    for _ in range(squarings):
        total = times(total, total, w)
    return total[0] >> n + spare, (total[1] >> n + spare) + 1


def log(x: Fraction, w: int) -> Interval:
    """log of x > 0: m log 2 + 2 atanh((y - 1) / (y + 1)) for x = y * 2**m and 2/3 <= y <= 4/3, or nearly."""
    m = x.numerator.bit_length() - x.denominator.bit_length()
    y = x / Fraction(2) ** m
    if y > Fraction(4, 3):
        m, y = m + 1, y / 2
    elif y < Fraction(2, 3):
        m, y = m - 1, y * 2
    z = (y - 1) / (y + 1)
    lo, hi = atanh(scaled(abs(z), w), w)
    lo, hi = (2 * lo, 2 * hi) if z >= 0 else (-2 * hi, -2 * lo)
    ends = [m * e for e in log2(w)]
    return lo + min(ends), hi + max(ends)


def erf(x: Fraction, w: int) -> Interval:
    """erf of x >= 0: 2 / sqrt(pi) * exp(-x**2) * (x + 2 x**3 / 3 + 4 x**5 / 15 + ...), all terms positive (Abramowitz and
    Stegun 7.1.6); beyond x**2 = w, 1 - erf(x) < exp(-x**2) < 2**-w."""
    if x * x >= w:
        return (1 << w) - 1, 1 << w
    spare = 2 * int(x * x) + 16  # the sum is as large as exp(x**2)
    w += spare
    square = scaled(2 * x * x, w)
    term = total = scaled(x, w)
    k = 1
    while term[1] > 1 or 2 * square[1] > k << w:
        term, k = times(term, square, w), k + 2
        term = term[0] // k, term[1] // k + 1
        total = total[0] + term[0], total[1] + term[1]
    total = total[0], total[1] + 2
    low, high = pi(w)
    lo, hi = over(times(total, exp(-x * x, w), w), (math.isqrt(low << w), math.isqrt(high << w) + 1), w)
    return 2 * lo >> spare, (2 * hi >> spare) + 1


# -- the functions -----------------------------------------------------------------------------------------------------


def enclose_exp(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    w = bits + GUARD
    if x <= 0:
        lo, hi = rational(exp(x, w), w, bits)
        return max(lo, Fraction(0)), hi
    w += 2 * (int(x) + 1) * 3 // 2  # the inverse of exp(-x) needs twice the bits of exp(x) below the point
    return rational(over((1 << w, 1 << w), exp(-x, w), w), w, bits)


def enclose_log(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    w = bits + GUARD
    return rational(log(x, w), w, bits)


def enclose_sigmoid(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    """exp(-|x|) / (1 + exp(-|x|)) for x < 0, and one minus that for x > 0."""
    w = bits + GUARD
    e = exp(-abs(x), w)
    lo, hi = rational(over(e, (e[0] + (1 << w), e[1] + (1 << w)), w), w, bits)
    lo = max(lo, Fraction(0))
    return (lo, hi) if x < 0 else (1 - hi, 1 - lo)


def enclose_tanh(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    lo, hi = enclose_sigmoid(2 * x, bits + 1)
    return 2 * lo - 1, 2 * hi - 1


def enclose_gelu_tanh(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    """tanh(sqrt(2 / pi) * x), the gate of the tanh form of Gelu."""
    w = bits + GUARD + int(abs(x)).bit_length()
    low, high = pi(w)
    factors = (Fraction(math.isqrt((2 << 3 * w) // high), 1 << w), Fraction(math.isqrt((2 << 3 * w) // low) + 1, 1 << w))
    ends = sorted(f * x for f in factors)
    return enclose_tanh(ends[0], bits)[0], enclose_tanh(ends[1], bits)[1]


def enclose_erf(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    w = bits + GUARD
    lo, hi = rational(erf(abs(x), w), w, bits)
    hi = min(hi, Fraction(1))
    return (lo, hi) if x >= 0 else (-hi, -lo)


def enclose_softplus(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    """max(x, 0) + log(1 + e) for e = exp(-|x|), and log(1 + e) = 2 atanh(e / (2 + e))."""
    w = bits + GUARD
    e = exp(-abs(x), w)
    half = atanh(over(e, (e[0] + (2 << w), e[1] + (2 << w)), w), w)
    lo, hi = rational((2 * half[0], 2 * half[1]), w, bits)
    zero = Fraction(0)
    return max(x, zero) + max(lo, zero), max(x, zero) + hi


def enclose_sqrt(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    w = bits + GUARD
    lo, hi = scaled(max(x, Fraction(0)), 2 * w)
    low, high = rational((math.isqrt(lo), math.isqrt(hi) + 1), w, bits)
    return max(low, Fraction(0)), high


def enclose_reciprocal(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    step = Fraction(1, 1 << bits)
    return 1 / x - step, 1 / x + step


def only(point: int, value: Fraction | int) -> Callable[[Real], Real | None]:
    """One rational value at one rational point."""
    return lambda x: Fraction(value) if isinstance(x, Fraction) and x == point else None


FUNCTIONS: dict[str, Function] = {f.name: f for f in (
    Function("exp", enclose_exp, only(0, 1), outside=lambda lo, hi: hi > MAX_EXPONENT,
             remedy=f"Clip or quantise it: no type holds the exponential of more than {MAX_EXPONENT}"),
    Function("log", enclose_log, only(1, 0), outside=lambda lo, hi: lo <= 0, remedy="Clip it to positive numbers"),
    Function("sigmoid", enclose_sigmoid, only(0, Fraction(1, 2))),
    Function("tanh", enclose_tanh, only(0, 0)),
    Function("gelu_tanh", enclose_gelu_tanh, only(0, 0)),
    Function("erf", enclose_erf, only(0, 0)),
    Function("softplus", enclose_softplus),
    Function("sqrt", enclose_sqrt, lambda x: sqrt(x) if isinstance(x, Fraction) else None,
             outside=lambda lo, hi: lo < 0, remedy="Clip it to non-negative numbers"),
    Function("reciprocal", enclose_reciprocal, inverse, slope=-1,
             outside=lambda lo, hi: lo <= 0 <= hi, remedy="Clip it to numbers on one side of zero"),
)}
"""The functions that expressions know, by the name that the text form uses."""
