"""Numbers known by enclosures: exact sums of rationals times values of exp, log, erf, ..., evaluated as far as needed.

A `Real` is never rounded: floors and comparisons refine its enclosure until it decides. Values that are rational, as
sigmoid(0), never become a Real, and equal terms cancel, so refinement ends; where it does not (nobody can decide in
general whether two such numbers are equal), it gives up with `Undecided`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, isqrt, lcm
from typing import Any

from gatewright.sim.judge import series
from gatewright.sim.judge.numbers import Irrational, Number, Surd, floor_of, is_zero, parts_of, square_root, sum_of_roots
from gatewright.sim.judge.series import Enclosure

FIRST_BITS, LAST_BITS = 64, 1 << 13
"""Of enclosures: the first attempt and the last one."""

MANY = 16
"""Products of sums with more terms are not multiplied out."""


class Undecided(ValueError):
    """A floor or a comparison that no enclosure of LAST_BITS decides."""


class Atom(ABC):
    """An irrational number. Compared by identity."""

    __slots__ = ("_bits", "_known")

    def __init__(self) -> None:
        self._bits, self._known = 0, (0, 0)

    def enclose(self, bits: int) -> Enclosure:
        """`low < value * 2**bits < high`, both strictly."""
        if self._bits < bits:
            self._bits, self._known = bits, self._enclose(bits)
        low, high = self._known
        return low >> self._bits - bits, -(-high >> self._bits - bits)

    @abstractmethod
    def _enclose(self, bits: int) -> Enclosure: ...


class Real(Irrational):
    """A rational plus a sum of rationals times atoms."""

    __slots__ = ("_whole", "constant", "parts")

    def __init__(self, constant: Fraction, parts: Mapping[Atom, Fraction]) -> None:
        self.constant, self.parts = constant, parts
        self._whole: tuple[int, int, list[tuple[Atom, int]]] | None = None  # the same over one denominator

    def __add__(self, other: Any) -> Number:
        if not isinstance(other, int | Fraction | Irrational):
            return NotImplemented
        right = as_real(other)
        parts = dict(self.parts)
        for atom, coefficient in right.parts.items():
            parts[atom] = parts.get(atom, Fraction(0)) + coefficient
        return _tidy(self.constant + right.constant, parts)

    def __neg__(self) -> Number:
        return Real(-self.constant, {atom: -c for atom, c in self.parts.items()})

    def __mul__(self, other: Any) -> Number:
        if isinstance(other, int | Fraction):
            return _tidy(self.constant * other, {atom: c * other for atom, c in self.parts.items()})
        if not isinstance(other, Irrational):
            return NotImplemented
        right = as_real(other)
        if len(self.parts) * len(right.parts) > MANY:
            return Real(Fraction(0), {_product(Sum(self), Sum(right)): Fraction(1)})
        parts = {a: c * right.constant for a, c in self.parts.items()}
        for b, d in right.parts.items():
            parts[b] = parts.get(b, Fraction(0)) + d * self.constant
            for a, c in self.parts.items():
                product = _product(*sorted((a, b), key=id))
                parts[product] = parts.get(product, Fraction(0)) + c * d
        return _tidy(self.constant * right.constant, parts)

    def reciprocal(self) -> Number:
        return Real(Fraction(0), {Reciprocal(self): Fraction(1)})

    def is_zero(self) -> bool:
        bits = FIRST_BITS
        while True:
            low, high = self.bounds(bits)
            if low >= 0 or high <= 0:
                return False
            bits = _more(bits)

    def floor(self) -> int:
        bits = FIRST_BITS
        while True:
            low, high = self.bounds(bits)
            below, above = floor(low), ceil(high) - 1  # the value is strictly between
            if below == above:
                return below
            bits = _more(bits)

    def bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        """The value lies strictly between; every atom is known to 2**-bits."""
        if self._whole is None:
            unit = lcm(self.constant.denominator, *(c.denominator for c in self.parts.values()))
            self._whole = unit, int(self.constant * unit), [(atom, int(c * unit)) for atom, c in self.parts.items()]
        unit, constant, parts = self._whole
        low = high = constant << bits
        for atom, n in parts:
            a, b = atom.enclose(bits)
            low, high = (low + n * a, high + n * b) if n > 0 else (low + n * b, high + n * a)
        return Fraction(low, unit << bits), Fraction(high, unit << bits)

    def __repr__(self) -> str:
        return f"about {float(sum(self.bounds(FIRST_BITS)) / 2)!r}"


def _more(bits: int) -> int:
    if bits >= LAST_BITS:
        raise Undecided(f"{LAST_BITS} binary places do not decide a comparison of irrational numbers; they may be equal")
    return 2 * bits


def _tidy(constant: Fraction, parts: Mapping[Atom, Fraction]) -> Number:
    kept = {atom: c for atom, c in parts.items() if c}
    return Real(constant, kept) if kept else constant


def as_real(value: Number | int) -> Real:
    if isinstance(value, Real):
        return value
    return Real(Fraction(0), {Root(value): Fraction(1)}) if isinstance(value, Surd) else Real(Fraction(value), {})  # type: ignore[arg-type]


def enclosure_of(value: Number, bits: int) -> tuple[Fraction, Fraction]:
    """Bounds that both hold with equality for a rational and strictly else."""
    return (value, value) if isinstance(value, Fraction) else as_real(value).bounds(bits)


def dot(xs: Iterable[Number], ys: Iterable[Number]) -> Number:
    """The sum of the products."""
    constant, roots, atoms = Fraction(0), dict[int, Fraction](), dict[Atom, Fraction]()
    for x, y in zip(xs, ys, strict=True):
        product = x * y if x and y else Fraction(0)
        if isinstance(product, Real):
            constant += product.constant
            for atom, c in product.parts.items():
                atoms[atom] = atoms.get(atom, Fraction(0)) + c
        else:
            for radicand, c in parts_of(product).items():  # type: ignore[arg-type]
                roots[radicand] = roots.get(radicand, Fraction(0)) + c
    return _tidy(constant, atoms) + sum_of_roots(roots)


# ---- atoms

class Root(Atom):
    """A sum of square roots."""

    __slots__ = ("surd",)

    def __init__(self, surd: Surd) -> None:
        super().__init__()
        self.surd = surd

    def _enclose(self, bits: int) -> Enclosure:
        below = floor_of(self.surd * Fraction(1 << bits))
        return below - 1, below + 1


class Sum(Atom):
    """A sum of many atoms as one."""

    __slots__ = ("value",)

    def __init__(self, value: Real) -> None:
        super().__init__()
        self.value = value

    def _enclose(self, bits: int) -> Enclosure:
        low, high = self.value.bounds(bits)
        return floor(low * (1 << bits)), ceil(high * (1 << bits))


class Product(Atom):
    __slots__ = ("a", "b")

    def __init__(self, a: Atom, b: Atom) -> None:
        super().__init__()
        self.a, self.b = a, b

    def _enclose(self, bits: int) -> Enclosure:
        ends = [x * y for x in self.a.enclose(bits) for y in self.b.enclose(bits)]
        return min(ends) >> bits, -(-max(ends) >> bits)


@lru_cache(maxsize=1 << 16)
def _product(a: Atom, b: Atom) -> Product:
    return Product(a, b)


class Reciprocal(Atom):
    """1 / value. ZeroDivisionError, when it is asked for, where the value may be zero."""

    __slots__ = ("value",)

    def __init__(self, value: Real) -> None:
        super().__init__()
        self.value = value

    def _enclose(self, bits: int) -> Enclosure:
        work = bits
        low, high = self.value.bounds(work)
        while low <= 0 <= high or (high - low) * (1 << bits - 1) > min(abs(low), abs(high)) ** 2:
            work = _more(work)
            low, high = self.value.bounds(work)
        return floor((1 << bits) / high), ceil((1 << bits) / low)


class RootOfReal(Atom):
    """The square root of a positive number that is itself irrational."""

    __slots__ = ("value",)

    def __init__(self, value: Real) -> None:
        super().__init__()
        self.value = value

    def _enclose(self, bits: int) -> Enclosure:
        low, high = self.value.bounds(2 * bits)
        if low < 0:
            raise ValueError("the square root of a negative number is not real")
        return isqrt(floor(low * (1 << 2 * bits))) - 1, isqrt(ceil(high * (1 << 2 * bits))) + 1


class Pi(Atom):
    __slots__ = ()

    def _enclose(self, bits: int) -> Enclosure:
        return series.pi(bits)


class Value(Atom):
    """A rising function of a number that is not rational at that number."""

    __slots__ = ("argument", "function", "name")

    def __init__(self, name: str, argument: Number) -> None:
        super().__init__()
        self.name, self.function, self.argument = name, FUNCTIONS[name], argument

    def _enclose(self, bits: int) -> Enclosure:
        low, high = enclosure_of(self.argument, bits)
        below = self.function(low, bits)
        above = below if low == high else self.function(high, bits)
        bottom, top = RANGES.get(self.name, (None, None))
        least = below[0] - 1 if bottom is None else max(below[0] - 1, bottom << bits)  # it never reaches its limits
        return least, above[1] + 1 if top is None else min(above[1] + 1, top << bits)


# ---- functions of rationals: `low <= f(x) * 2**bits <= high`

def _sigmoid(x: Fraction, bits: int) -> Enclosure:
    one = 1 << bits
    low, high = series.exp(-abs(x), bits)
    if x >= 0:
        return one * one // (one + high), -(-one * one // (one + low))
    return one * low // (one + low), -(-one * high // (one + high))


def _tanh(x: Fraction, bits: int) -> Enclosure:
    low, high = _sigmoid(2 * x, bits)
    return 2 * low - (1 << bits), 2 * high - (1 << bits)


def _erf(x: Fraction, bits: int) -> Enclosure:
    return _odd(x, series.erf_of_root(x * x, bits))


def _normal(x: Fraction, bits: int) -> Enclosure:
    """The distribution function of the normal distribution, `(1 + erf(x / sqrt(2))) / 2`."""
    low, high = _odd(x, series.erf_of_root(x * x / 2, bits))
    return ((1 << bits) + low) // 2, -(-((1 << bits) + high) // 2)


def _odd(x: Fraction, positive: Enclosure) -> Enclosure:
    return positive if x > 0 else (-positive[1], -positive[0]) if x < 0 else (0, 0)


def _softplus(x: Fraction, bits: int) -> Enclosure:
    low, high = series.exp(-abs(x), bits)
    one = 1 << bits
    base = max(x, Fraction(0)) * one
    return (floor(base) + series.log(Fraction(one + low, one), bits)[0],
            ceil(base) + series.log(Fraction(one + high, one), bits)[1])


FUNCTIONS: dict[str, Callable[[Fraction, int], Enclosure]] = {
    "exp": series.exp, "log": series.log, "sigmoid": _sigmoid, "tanh": _tanh, "erf": _erf, "normal": _normal,
    "softplus": _softplus}
RANGES: dict[str, tuple[int | None, int | None]] = {
    "exp": (0, None), "sigmoid": (0, 1), "tanh": (-1, 1), "erf": (-1, 1), "normal": (0, 1), "softplus": (0, None)}
"""Limits that the functions do not reach."""
RATIONAL: dict[tuple[str, int], Fraction] = {
    ("exp", 0): Fraction(1), ("log", 1): Fraction(0), ("sigmoid", 0): Fraction(1, 2), ("tanh", 0): Fraction(0),
    ("erf", 0): Fraction(0), ("normal", 0): Fraction(1, 2)}
"""All rational values at rational (for exp, log, sigmoid, tanh, softplus: at algebraic) arguments, by Lindemann and
Weierstrass (1885)."""
SUM_WITH_MIRROR: dict[str, int] = {"sigmoid": 1, "normal": 1, "tanh": 0, "erf": 0}
"""f(x) + f(-x), so that mirrored values cancel."""


def apply(name: str, x: Number) -> Number:
    """The exact value of a function in FUNCTIONS. ValueError where it is not defined, or far too large."""
    if isinstance(x, Surd) and is_zero(x):
        x = Fraction(0)
    if name == "log" and x <= 0:
        raise ValueError("the logarithm of a number that is not positive is not real")
    if name == "exp" and x > series.LARGEST_EXPONENT:
        raise ValueError("the exponential is far too large")
    if isinstance(x, Irrational):
        return Real(Fraction(0), {Value(name, x): Fraction(1)})
    if x.denominator == 1 and (name, x.numerator) in RATIONAL:
        return RATIONAL[name, x.numerator]
    if name == "softplus" and x > 0:  # log(1 + e^x) = x + log(1 + e^-x)
        return x + apply(name, -x)
    if x < 0 and name in SUM_WITH_MIRROR:
        return SUM_WITH_MIRROR[name] - Real(Fraction(0), {_value(name, -x): Fraction(1)})
    return Real(Fraction(0), {_value(name, x): Fraction(1)})


@lru_cache(maxsize=1 << 18)
def _value(name: str, x: Fraction) -> Value:
    """One atom for equal values, so that they cancel."""
    return Value(name, x)


PI = Real(Fraction(0), {Pi(): Fraction(1)})


def root_of(value: Number) -> Number:
    """The square root. ValueError where it is not real."""
    if isinstance(value, Fraction):
        return square_root(value)
    if value < 0:
        raise ValueError("the square root of a negative number is not real")
    return Real(Fraction(0), {RootOfReal(as_real(value)): Fraction(1)})
