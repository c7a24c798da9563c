"""Rounded lines as the cheapest shifts of a product: floor((p * x + c) / q) = (mul * x + add) >> shift on a range of integers.

Division by invariant integers (Granlund and Montgomery, 1994) for any rational line, exact for the very range: the slopes
mul / 2**shift that give the same integers form an interval around p / q, since they are the slopes of the lines that pass on
or above all points (x, f(x)) and below all points (x, f(x) + 1). So the least shift has its slope next to p / q, a slope that
fits at one shift fits at the next, and the extremes of f(x) * 2**shift - mul * x over the range decide whether one fits. These
come from Euclid's algorithm in as many steps as the numbers have digits: no point of the range is visited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from gatewright.ir.exact import ROUND_NUMBER, Number, Surd

MAX_LINE_BITS = 256
"""Shifts up to this are tried."""
MAX_ROOT_BITS = 1 << 12
"""Binary digits of an irrational line up to which it is told from a rational one."""


@dataclass(frozen=True)
class Stair:
    """floor((p * x + c) / q), q > 0."""

    p: int
    c: int
    q: int

    def at(self, x: int) -> int:
        return (self.p * x + self.c) // self.q

    def first(self, value: int) -> int:
        """The lowest x at which a rising stair (p > 0) has `value` or more."""
        return -((self.c - value * self.q) // self.p)

    @property
    def mirrored(self) -> Stair:
        """The same values at -x."""
        return Stair(-self.p, self.c, self.q)


@dataclass(frozen=True)
class Line:
    """(mul * x + add) >> shift"""

    mul: int
    add: int
    shift: int


# -- from a rounding to a floor ------------------------------------------------------------------------------------------


def stair(scale: Number, offset: Number, mode: str, lo: int, hi: int) -> Stair | None:
    """The stair that equals round(scale * x + offset) at every integer x in lo..hi; None where there is none.

    There is none where DOWN or UP meets both signs, and where half-to-even meets more than two ties that go different ways.
    """
    if isinstance(scale, Surd) or isinstance(offset, Surd):
        return _irrational(scale, offset, mode, lo, hi)
    q = math.lcm(scale.denominator, offset.denominator)
    p, c = int(scale * q), int(offset * q)
    if mode in ("DOWN", "UP"):
        ends = p * lo + c, p * hi + c
        if min(ends) < 0 < max(ends):
            return None
        mode = "FLOOR" if (min(ends) >= 0) == (mode == "DOWN") else "CEIL"
    if mode == "FLOOR":
        return Stair(p, c, q)
    if mode == "CEIL":
        return Stair(p, c + q - 1, q)
    p, c, q = 2 * p, 2 * c + q, 2 * q  # floor((p * x + c) / q) sends all ties up
    if mode == "HALF_CEIL":
        return Stair(p, c, q)
    tilt = _tilt(p, c, q, mode, lo, hi)
    if tilt is None:
        return None
    # less than 1 / q, so that ties alone feel it
    factor = 2 * max(abs(tilt[0] * x + tilt[1]) for x in (lo, hi)) + 1
    return Stair(p * factor + tilt[0], c * factor + tilt[1], q * factor)


def _tilt(p: int, c: int, q: int, mode: str, lo: int, hi: int) -> tuple[int, int] | None:
    """(a, b) with a * x + b >= 0 at ties that go up and < 0 at those that go down; ties are where q divides p * x + c."""
    if mode == "HALF_FLOOR":
        return 0, -1
    if mode in ("HALF_UP", "HALF_DOWN"):  # by the sign of the value, 2 * p * x + 2 * c - q over 2 * q, never zero at a tie
        return (2 * p, 2 * c - q) if mode == "HALF_UP" else (-2 * p, q - 2 * c)
    ties = multiples(p, c, q, lo, hi)
    up = [(p * x + c) // q % 2 == 0 for x in ties[:2]]
    if all(up) or not any(up) or (p * ties.step // q) % 2 == 0:
        return (0, 0) if not up or up[0] else (0, -1)
    if len(ties) > 2:
        return None
    middle = ties[0] + ties[1]
    return (-2, middle) if up[0] else (2, -middle)


def multiples(p: int, c: int, q: int, lo: int, hi: int) -> range:
    """The x in lo..hi at which q divides p * x + c."""
    g = math.gcd(p, q)
    if c % g:
        return range(0)
    step = q // g
    x = -(c // g) * pow(p // g, -1, step) % step if step > 1 else 0
    return range(lo + (x - lo) % step, hi + 1, step)


def _irrational(scale: Number, offset: Number, mode: str, lo: int, hi: int) -> Stair | None:
    """The stair of a rational line so close that no x in lo..hi tells them apart.

    Only one x can have a rational value (a tie, say): the rational line goes through that point. To its left and right the
    line lies between two rational ones; where the sums of their floors are equal, so is every floor.
    """
    pivot, value = _pivot(scale, offset) or (0, offset)
    ends = [scale * x + offset for x in (lo, hi)]
    if mode in ("DOWN", "UP"):
        if min(ends) < 0 < max(ends):
            return None
        mode = "FLOOR" if (min(ends) >= 0) == (mode == "DOWN") else "CEIL"
    up = {"FLOOR": Fraction(0), "CEIL": Fraction(1)}.get(mode, Fraction(1, 2))
    at_pivot = ROUND_NUMBER[mode](value)
    bits = 64
    while bits <= MAX_ROOT_BITS:
        slopes, heights = _ends(scale, bits), _ends(value, bits)
        slope, height = slopes[0], heights[0] + up
        if isinstance(value, Fraction) and math.floor(height) != at_pivot:
            height -= Fraction(1, 1 << bits)  # a tie that goes down
        low, high = min(heights[0] + up, height), max(heights[1] + up, height)
        right = (slopes[0], low, slopes[1], high, max(lo - pivot, 1), hi - pivot)
        left = (-slopes[1], low, -slopes[0], high, max(pivot - hi, 1), pivot - lo)
        here = math.floor(height) == at_pivot if isinstance(value, Fraction) else math.floor(low) == math.floor(high)
        if here and all(_same_floors(*side) for side in (right, left)):
            q = math.lcm(slope.denominator, height.denominator)
            return Stair(int(slope * q), int((height - slope * pivot) * q), q)
        bits *= 2
    return None


def _pivot(scale: Number, offset: Number) -> tuple[int, Number] | None:
    """The integer x at which scale * x + offset is rational, and that value; None where there is none."""
    if not isinstance(offset, Surd):
        return 0, offset
    if not isinstance(scale, Surd):
        return None
    radicand, coefficient = next((r, s) for r, s in scale.terms.items() if r != 1)
    x = -offset.terms.get(radicand, Fraction(0)) / coefficient
    value = scale * x + offset
    return (int(x), value) if x.denominator == 1 and isinstance(value, Fraction) else None


def _ends(x: Number, bits: int) -> tuple[Fraction, Fraction]:
    """Rationals with denominator 2**bits on both sides of x."""
    if not isinstance(x, Surd):
        return x, x
    lo, hi = x.bounds(bits)
    return Fraction(math.floor(lo * (1 << bits)), 1 << bits), Fraction(-math.floor(-hi * (1 << bits)), 1 << bits)


def _same_floors(slope: Fraction, height: Fraction, upper_slope: Fraction, upper_height: Fraction, first: int, last: int) -> bool:
    """Whether slope * d + height and the line above it have the same floors for all d in first..last (d >= 0)."""
    if first > last:
        return True
    sums = []
    for a, b in ((slope, height), (upper_slope, upper_height)):
        q = math.lcm(a.denominator, b.denominator)
        p = int(a * q)
        sums.append(floor_sum(last - first + 1, p, int(b * q) + p * first, q))
    return sums[0] == sums[1]


# -- sums and extremes over a range --------------------------------------------------------------------------------------


def floor_sum(n: int, p: int, c: int, q: int) -> int:
    """sum of (p * i + c) // q for i in 0..n-1, q > 0."""
    total, sign = 0, 1
    while n > 0:
        k, p = divmod(p, q)
        total += sign * k * (n * (n - 1) // 2)
        k, c = divmod(c, q)
        total += sign * k * n
        last = p * (n - 1) + c
        if last < q:
            break
        # 0 <= p, c < q: count the points below the line by rows: row y has those i with i >= (y * q - c) / p
        rows = last // q
        total += sign * rows * n
        sign = -sign
        n, p, c, q = rows, q, q - c + p - 1, p
    return total


def highest(n: int, a: int, b: int, p: int, c: int, q: int) -> int:
    """max of a * i + b * ((p * i + c) // q) for i in 0..n-1; n > 0, q > 0.

    Where a and b pull the same way an end is the best; else the best lies where a row of the stair begins (b > 0) or ends,
    and rows are counted by the inverse stair: Euclid's algorithm on p and q.
    """
    base, best = 0, None
    while True:
        k, p = divmod(p, q)
        a += b * k
        k, c = divmod(c, q)
        base += b * k
        rows = (p * (n - 1) + c) // q
        found = max(base, base + a * (n - 1) + b * rows)
        best = found if best is None else max(best, found)
        if not rows or a == 0 or b == 0 or (a > 0) == (b > 0):
            return best
        if b > 0:  # rows 1..rows begin at (y * q - c + p - 1) // p
            base += b
            c = q - c + p - 1
        else:  # rows 0..rows-1 end at ((y + 1) * q - c - 1) // p
            c = q - c - 1
        n, a, b, p, q = rows, b, a, q, p


# -- the narrowest line --------------------------------------------------------------------------------------------------


def narrowest(f: Stair, lo: int, hi: int, least: int, most: int) -> Line | None:
    """The line with the least shift that equals f, clipped to least..most, at every x in lo..hi once it is clipped alike."""
    if f.p < 0:
        line = narrowest(f.mirrored, -hi, -lo, least, most)
        return Line(-line.mul, line.add, line.shift) if line else None
    least, most = (min(max(f.at(x), least), most) for x in (lo, hi))
    if least == most:
        return Line(0, least, 0)
    # what matters: f(start) is no more than `least`, f(end) no less than `most`, and all between
    start, end = f.first(least + 1) - 1, f.first(most)

    def adds(shift: int, mul: int) -> tuple[int, int]:
        """The least and the most that `add` can be; empty where the slope does not fit."""
        low, high = (most << shift) - mul * end, (least + 1 << shift) - mul * start - 1
        n = end - start - 1
        if n > 0:
            c = f.p * (start + 1) + f.c
            shifted = mul * (start + 1)
            low = max(low, highest(n, -mul, 1 << shift, f.p, c, f.q) - shifted)
            high = min(high, -highest(n, mul, -(1 << shift), f.p, c, f.q) - shifted + (1 << shift) - 1)
        return low, high

    def fitting(shift: int) -> Line | None:
        below = (f.p << shift) // f.q
        for mul in (below, below + 1):
            low, high = adds(shift, mul)
            if low <= high:
                return Line(mul, roundest(low, high), shift)
        return None

    bad, good = -1, 0
    found = fitting(good)
    while found is None:
        bad, good = good, 2 * good + 1
        if good > MAX_LINE_BITS:
            return None
        found = fitting(good)
    while good - bad > 1:
        middle = (bad + good) // 2
        line = fitting(middle)
        if line:
            good, found = middle, line
        else:
            bad = middle
    return found


def roundest(low: int, high: int) -> int:
    """The number in low..high with the most trailing zeros."""
    if low <= 0 <= high:
        return 0
    k = (high - low).bit_length()
    while k and -(-low >> k) << k > high:
        k -= 1
    return -(-low >> k) << k
