"""Enclosures of elementary functions of rationals, in integers: `low <= f(x) * 2**bits <= high`, as tight as asked for.

Every step rounds outwards and every series is cut with a proven bound of its tail, so no rounding analysis is needed to
trust a result; the guard bits only make it tight.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, isqrt

Enclosure = tuple[int, int]

LARGEST_EXPONENT = 1 << 16
"""Above it exp(x) is refused: nobody computes with such numbers."""


def exp(x: Fraction, bits: int) -> Enclosure:
    """OverflowError where x is beyond LARGEST_EXPONENT."""
    if x < -bits - 1:  # exp(x) < 2**x
        return 0, 1
    if x > LARGEST_EXPONENT:
        raise OverflowError(f"exp({float(x):.3g}) is too large")
    size = abs(x)
    halvings = max(0, ceil(size).bit_length() + 5)
    work = bits + halvings + 3 * ceil(size) + 10
    low, high = _exp_small(size / (1 << halvings), work)
    for _ in range(halvings):
        low, high = low * low >> work, _up(high * high, work)
    if x < 0:
        low, high = (1 << 2 * work) // high, -(-(1 << 2 * work) // low)
    return low >> work - bits, _up(high, work - bits)


def _exp_small(x: Fraction, bits: int) -> Enclosure:
    """For 0 <= x <= 1/16: the tail after a term t is below t / 8."""
    low = high = term_low = term_high = 1 << bits
    n = 0
    while term_high > 1:
        n += 1
        term_low, term_high = _times(term_low, x / n), _times_up(term_high, x / n)
        low, high = low + term_low, high + term_high
    return low, high + 1


def log(x: Fraction, bits: int) -> Enclosure:
    """The natural logarithm of a positive number: x = m * 2**k with 2/3 < m <= 4/3."""
    k = x.numerator.bit_length() - x.denominator.bit_length()
    m = x / Fraction(2) ** k
    while m > Fraction(4, 3):
        k, m = k + 1, m / 2
    while m <= Fraction(2, 3):
        k, m = k - 1, m * 2
    work = bits + abs(k).bit_length() + 10
    low, high = _log_near_one(m, work)
    two_low, two_high = log_two(work)
    low, high = (low + k * two_low, high + k * two_high) if k >= 0 else (low + k * two_high, high + k * two_low)
    return low >> work - bits, _up(high, work - bits)


@lru_cache(maxsize=64)
def log_two(bits: int) -> Enclosure:
    return _log_near_one(Fraction(2), bits)


def _log_near_one(m: Fraction, bits: int) -> Enclosure:
    """For 1/2 <= m <= 2: log(m) = 2 artanh(z), z = (m - 1) / (m + 1), |z| <= 1/3; the tail is below a term / 8."""
    if m < 1:
        low, high = _log_near_one(1 / m, bits)
        return -high, -low
    z = (m - 1) / (m + 1)
    power_low, power_high = _times(1 << bits, 2 * z), _times_up(1 << bits, 2 * z)
    low, high, n = power_low, power_high, 1
    while power_high > 1:
        n += 2
        power_low, power_high = _times(power_low, z * z), _times_up(power_high, z * z)
        low, high = low + power_low // n, high - (-power_high // n)
    return low, high + 1


@lru_cache(maxsize=64)
def pi(bits: int) -> Enclosure:
    """J. Machin, 1706: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    a_low, a_high = _arctan_inverse(5, bits + 8)
    b_low, b_high = _arctan_inverse(239, bits + 8)
    return (16 * a_low - 4 * b_high) >> 8, _up(16 * a_high - 4 * b_low, 8)


def _arctan_inverse(n: int, bits: int) -> Enclosure:
    """arctan(1/n): the terms fall and alternate; each is off by less than 2."""
    term, total, k = (1 << bits) // n, 0, 0
    while term:
        total += (-term if k % 2 else term) // (2 * k + 1)
        term, k = term // (n * n), k + 1
    return total - 2 * k - 2, total + 2 * k + 2


def erf_of_root(q: Fraction, bits: int) -> Enclosure:
    """erf(sqrt(q)) for q > 0, as `2 sqrt(q / pi) exp(-q)` times the sum of `(2q)**n / (1 * 3 * .. * (2n + 1))`.

    The terms are positive (M. Abramowitz, I. Stegun, Handbook of Mathematical Functions, 7.1.6), so nothing cancels.
    """
    if q > bits + 1:  # 1 - erf(sqrt(q)) < exp(-q)
        return (1 << bits) - 1, 1 << bits
    work = bits + 4 * ceil(q) + 20
    low = high = term_low = term_high = 1 << work
    n = 0
    while term_high > 1 or 4 * q > 2 * n + 1:  # from then on every term is below half of the one before
        n += 1
        factor = 2 * q / (2 * n + 1)
        term_low, term_high = _times(term_low, factor), _times_up(term_high, factor)
        low, high = low + term_low, high + term_high
    high += 2
    pi_low, pi_high = pi(work)
    for a_low, a_high in (exp(-q, work), (isqrt(floor(4 * q * (1 << 3 * work) / pi_high)),
                                          isqrt(ceil(4 * q * (1 << 3 * work) / pi_low)) + 1)):
        low, high = low * a_low >> work, _up(high * a_high, work)
    return low >> work - bits, _up(high, work - bits)


def _times(a: int, x: Fraction) -> int:
    return a * x.numerator // x.denominator


def _times_up(a: int, x: Fraction) -> int:
    return -(-a * x.numerator // x.denominator)


def _up(a: int, shift: int) -> int:
    return -(-a >> shift)
