"""Exact tensors: sums of integer arrays times exact coefficients, and the arithmetic on them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from math import gcd, lcm, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.sim.judge import integers
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.numbers import Irrational, Number, Surd, floor_of, parts_of, reciprocal
from gatewright.sim.judge.reals import dot

Exacts = NDArray[Any]
"""dtype object: Fractions and irrational numbers."""

UNIT_BITS = 64
"""Rational coefficients go over one denominator where it has at most so many bits, or is a power of two."""
FEW = 64
"""Elements that are not worth a first look in float64."""


@dataclass(frozen=True, eq=False)
class Term:
    """`num * coef`, broadcast against each other; both have the same rank."""

    num: IntArray
    coef: Exacts

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.num.shape, self.coef.shape)

    @property
    def single(self) -> Number | None:
        """The coefficient where it is one for all elements."""
        return self.coef.flat[0] if self.coef.size == 1 else None


@dataclass(frozen=True, eq=False)
class Tensor:
    """The exact value of a tensor: the sum of its terms.

    Axis 0 counts the samples (length 1 where the value does not depend on them), the other axes are the shape in the
    model. `constant` says that no input takes part. A tensor on a grid has one term with one rational coefficient:
    integers times a scale. Coefficients per channel appear where scales or roots differ by channel, and in the general
    case the coefficients are the values and `num` is 1.
    """

    terms: tuple[Term, ...]
    constant: bool

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """With the sample axis."""
        return np.broadcast_shapes(*(term.shape for term in self.terms))

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape in the model."""
        return self.shape[1:]

    @property
    def rank(self) -> int:
        return len(self.shape) - 1

    @cached_property
    def grid(self) -> tuple[IntArray, Fraction] | None:
        """`(numerators of the full shape, scale)` where every coefficient is rational, else None."""
        unit = _unit(self.terms)
        if unit is None:
            return None
        return np.broadcast_to(_numerators(self.terms, unit), self.shape), unit

    @cached_property
    def values(self) -> Exacts:
        """Every element as a Number; slow, for the cases that have no integer form."""
        total = reduce(_plus, [_times(term.num.astype(object), term.coef) for term in self.terms])
        return np.broadcast_to(np.asarray(total, dtype=object), self.shape)

    @property
    def is_zero(self) -> bool:
        return all(not term.num.any() for term in self.terms)


# ---- exact numbers in arrays

def _shared(function: Callable[[Number], Number], values: Exacts) -> Exacts:
    """A function of one number for all elements, computed once per object: tables leave few objects."""
    if values.size < 16:
        return np.asarray(np.frompyfunc(function, 1, 1)(values), dtype=object)
    objects, where = _objects(values)
    results = np.empty(objects.size, object)
    results[:] = [function(v) for v in objects]
    return results[where]


def _objects(values: Exacts) -> tuple[Exacts, NDArray[np.int64]]:
    """The different objects (not: the different numbers) in an array, and by element which one it is."""
    keys = np.asarray(np.frompyfunc(id, 1, 1)(values)).astype(np.int64).ravel()
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    return values.ravel()[first], where.reshape(values.shape)


def _times(a: Exacts, b: Exacts) -> Exacts:
    return _joined(operator.mul, a, b)


def _plus(a: Exacts, b: Exacts) -> Exacts:
    return _joined(operator.add, a, b)


def _joined(function: Callable[[Any, Any], Any], a: Exacts, b: Exacts) -> Exacts:
    """Element by element with broadcasting; once per object where one side is a single number."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    if b.size == 1:
        return _shared(lambda v: function(v, b.flat[0]), a).reshape(shape)
    if a.size == 1:
        return _shared(lambda v: function(a.flat[0], v), b).reshape(shape)
    return np.asarray(function(a, b), dtype=object)


# ---- making tensors

def on_grid(num: IntArray, scale: Number, constant: bool) -> Tensor:
    """Integers times one scale."""
    return Tensor((Term(num, _one_coefficient(scale, num.ndim)),), constant)


def of_values(values: Exacts, constant: bool) -> Tensor:
    """Any exact numbers, axis 0 the samples. Put on a grid where the denominators allow it."""
    objects, where = _objects(values)
    if 2 * objects.size < values.size:
        return _looked_up(objects, where, constant)
    return combine([Term(integers.whole(1, values.ndim), values)], constant)


def _looked_up(table: Exacts, where: NDArray[np.int64], constant: bool) -> Tensor:
    """`table[where]`"""
    short = combine([Term(integers.whole(1, 1), table)], True)
    def spread(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape((1,) * where.ndim) if array.size == 1 else array[where]
    return restructure(Tensor(tuple(Term(spread(t.num), spread(t.coef)) for t in short.terms), constant),
                       lambda v: np.broadcast_to(v, where.shape))


def of_array(array: NDArray[Any], constant: bool) -> Tensor:
    """The exact values of floats, integers, booleans or objects that Fraction accepts. ValueError for NaN, infinity."""
    if array.dtype.kind == "O":
        return of_values(_shared(_exact, array), constant)
    if array.dtype.kind in "iub":
        num = array.astype(np.int64) if array.dtype != np.uint64 else integers.settle(array.astype(object))
        return on_grid(num, Fraction(1), constant)
    real = array.astype(np.float64)
    if not np.isfinite(real).all():
        raise ValueError("NaN or infinity")
    num, scale = _dyadic(real)
    return on_grid(num, scale, constant)


def _exact(value: Any) -> Number:
    return value if isinstance(value, Irrational) else Fraction(value)


def _dyadic(real: NDArray[np.float64]) -> tuple[IntArray, Fraction]:
    """Integers and their scale, whose product is the array exactly. The integers have no common factor."""
    fraction, exponent = np.frexp(real)
    num = (fraction * 2.0**53).astype(np.int64)  # exact: a float64 has 53 bits
    zeros = np.frexp((num & -num).astype(np.float64))[1] - 1  # trailing zeros; the argument is a power of two or 0
    zeros = np.where(num == 0, 0, zeros)
    num, exponent = num >> zeros, exponent - 53 + zeros
    lowest = int(exponent[num != 0].min()) if num.any() else 0
    shift = np.where(num == 0, 0, exponent - lowest)
    if int(shift.max(initial=0)) + 53 < 63:
        num = num << shift
    else:
        num = integers.settle(np.asarray(num.astype(object) << shift.astype(object), dtype=object))
    divisor = integers.common_divisor(num)
    return num // divisor, Fraction(2) ** lowest * divisor


# ---- units and terms

def _one_coefficient(value: Number, rank: int) -> Exacts:
    coef = np.empty((1,) * rank, object)
    coef.fill(value)
    return coef


def _unit(terms: Sequence[Term]) -> Fraction | None:
    """The largest rational of which all coefficients are integer multiples; None where a coefficient is irrational."""
    flat = [c for term in terms for c in term.coef.flat]
    return None if any(isinstance(c, Irrational) for c in flat) else common_unit(flat)


def common_unit(numbers: Sequence[Fraction]) -> Fraction:
    """The largest rational of which all are integer multiples; 1 over the common denominator where all are zero."""
    return Fraction(gcd(*(c.numerator for c in numbers)) or 1, lcm(*(c.denominator for c in numbers)))


def _numerators(terms: Sequence[Term], unit: Fraction) -> IntArray:
    """The sum of rational terms in multiples of `unit`, not yet broadcast to the full shape."""
    def whole(coef: Exacts) -> IntArray:
        return integers.settle(np.asarray(np.frompyfunc(lambda c: int(c / unit), 1, 1)(coef), dtype=object))
    parts = [term.num if term.single == unit else integers.multiply(term.num, whole(term.coef)) for term in terms]
    return reduce(integers.add, parts)


def combine(terms: Sequence[Term], constant: bool) -> Tensor:
    """A tensor of these terms (all of one rank), the rational ones on one grid where their denominators allow it."""
    simple = [term for term in terms if _unit([term]) is not None]
    other = [term for term in terms if _unit([term]) is None]
    unit = _unit(simple) if simple else None
    denominator = unit.denominator if unit is not None else 0
    if unit is not None and (denominator.bit_length() <= UNIT_BITS or denominator & (denominator - 1) == 0):
        num = _numerators(simple, unit)
        simple = [Term(num, _one_coefficient(unit, num.ndim))]
    return Tensor((*simple, *other), constant)


def lift(tensor: Tensor, rank: int) -> Tensor:
    """The same tensor with axes of length 1 put after the samples, as broadcasting wants them."""
    if tensor.rank == rank:
        return tensor
    def longer(a: NDArray[Any]) -> NDArray[Any]:
        return a.reshape(a.shape[0], *(1,) * (rank - tensor.rank), *a.shape[1:])
    return Tensor(tuple(Term(longer(t.num), longer(t.coef)) for t in tensor.terms), tensor.constant)


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, bool]:
    rank = max(a.rank, b.rank)
    return lift(a, rank), lift(b, rank), a.constant and b.constant


# ---- arithmetic

def add(a: Tensor, b: Tensor) -> Tensor:
    a, b, constant = _pair(a, b)
    return combine((*a.terms, *b.terms), constant)


def negate(a: Tensor) -> Tensor:
    return Tensor(tuple(Term(t.num, _shared(operator.neg, t.coef)) for t in a.terms), a.constant)


def subtract(a: Tensor, b: Tensor) -> Tensor:
    return add(a, negate(b))


def multiply(a: Tensor, b: Tensor) -> Tensor:
    a, b, constant = _pair(a, b)
    return combine([Term(integers.multiply(x.num, y.num), _times(x.coef, y.coef)) for x in a.terms for y in b.terms], constant)


def by_number(a: Tensor, factor: Number | int) -> Tensor:
    return Tensor(tuple(Term(t.num, _shared(lambda c: c * factor, t.coef)) for t in a.terms), a.constant) if factor != 1 else a


def plus_number(a: Tensor, number: Fraction | int) -> Tensor:
    return add(a, on_grid(integers.whole(1, a.rank + 1), Fraction(number), True)) if number else a


def invert(a: Tensor) -> Tensor:
    """1 / a. ZeroDivisionError where an element is zero, ValueError where it is a sum of several roots."""
    return each(reciprocal, a)


def each(function: Callable[[Number], Number], a: Tensor) -> Tensor:
    """A function of one number applied to every element, once for all equal elements where they lie on a grid."""
    if a.grid is None:
        return of_values(_shared(function, a.values), a.constant)
    if not a.grid[0].size:
        return on_grid(a.grid[0], Fraction(1), a.constant)
    distinct, where = distinct_values(a)
    results = np.empty(distinct.size, object)
    results[:] = [function(v) for v in distinct]
    return _looked_up(results, where, a.constant)


def distinct_values(a: Tensor) -> tuple[Exacts, NDArray[np.int64]]:
    """A few exact numbers, among them all that occur, and by element which one it is: each once for a tensor on a grid."""
    if a.grid is None:
        return _objects(a.values)
    num, unit = a.grid
    distinct, where = integers.distinct(num)
    values = np.empty(distinct.size, object)
    values[:] = [int(n) * unit for n in distinct]
    return values, where


def masked(a: Tensor, mask: IntArray) -> Tensor:
    """`a` times small integers (0, 1, -1) of the full shape."""
    return Tensor(tuple(Term(integers.multiply(t.num, mask), t.coef) for t in a.terms), a.constant)


def choose(mask: IntArray, a: Tensor, b: Tensor) -> Tensor:
    """`a` where the mask is 1, `b` where it is 0; the mask has the full shape."""
    a, b, constant = _pair(a, b)
    if a.grid is not None and b.grid is not None:
        unit = common_unit([a.grid[1], b.grid[1]])
        x, y = (integers.scale(num, int(scale / unit)) for num, scale in (a.grid, b.grid))
        return on_grid(np.where(mask == 1, x, y), unit, constant)
    return combine((*masked(a, mask).terms, *masked(b, 1 - mask).terms), constant)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of the last two axes; both have the same rank, at least 2 in the model."""
    constant = a.constant and b.constant
    a, b = _contractible(a, -1), _contractible(b, -2)
    terms = []
    for x in a.terms:
        for y in b.terms:
            if x.coef.shape[-1] == 1 and y.coef.shape[-2] == 1:
                terms.append(Term(integers.matmul(_full(x.num, a), _full(y.num, b)), _times(x.coef, y.coef)))
            else:
                values = _matmul_of_numbers(_products(x, a), _products(y, b))
                terms.append(Term(integers.whole(1, values.ndim), values))
    return combine(terms, constant)


def _matmul_of_numbers(a: Exacts, b: Exacts) -> Exacts:
    """Element by element, each sum in one go: adding one irrational after the other copies what is there every time."""
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, (*outer, *a.shape[-2:])), np.broadcast_to(b, (*outer, *b.shape[-2:]))
    result = np.empty((*outer, a.shape[-2], b.shape[-1]), object)
    for at in np.ndindex(result.shape):
        result[at] = dot(a[at[:-1]], b[(*at[:-2], slice(None), at[-1])])
    return result


def matmul_windows(a: Tensor, b: Tensor, windows: Callable[[NDArray[Any]], NDArray[Any]], groups: int) -> Tensor:
    """`matmul(a, restructure(b, windows))` without holding all windows at a time, where coefficients allow it."""
    single = all(t.single is not None for t in b.terms)
    terms = []
    for x in a.terms:
        for y in b.terms:
            if not single or x.coef.shape[-1] != 1:
                return matmul(a, restructure(b, windows))
            num = integers.matmul_windows(_full(x.num, a), _full(y.num, b), windows, groups)
            terms.append(Term(num, _times(x.coef, _one_coefficient(y.coef.flat[0], num.ndim))))
    return combine(terms, a.constant and b.constant)


def total(a: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The sum over axes (counted with the sample axis), which stay with length 1."""
    a = _contractible(a, *axes)
    terms = []
    for t in a.terms:
        if all(t.coef.shape[axis] == 1 for axis in axes):
            terms.append(Term(integers.total(_full(t.num, a), axes), t.coef))
        else:
            values = _products(t, a).sum(axis=axes, keepdims=True)
            terms.append(Term(integers.whole(1, values.ndim), values))
    return combine(terms, a.constant)


def _contractible(a: Tensor, *axes: int) -> Tensor:
    """On a grid where coefficients vary along the axes but are rational."""
    varies = any(t.coef.shape[axis] != 1 for t in a.terms for axis in axes)
    return on_grid(*a.grid, a.constant) if varies and a.grid is not None else a


def _full(array: NDArray[Any], of: Tensor) -> NDArray[Any]:
    """Broadcast to the shape in the model; the sample axis stays as it is."""
    return np.broadcast_to(array, (array.shape[0], *of.dims))


def _products(term: Term, of: Tensor) -> Exacts:
    return _full(_times(term.num.astype(object), term.coef), of)


# ---- shape

def restructure(a: Tensor, move: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
    """Apply a function that moves elements and leaves axis 0 alone."""
    terms = []
    for t in a.terms:
        num = move(_full(t.num, a))
        same = t.single
        coef = _slim(move(_full(t.coef, a))) if same is None else _one_coefficient(same, num.ndim)
        terms.append(Term(num, coef))
    return Tensor(tuple(terms), a.constant)


def _slim(coef: Exacts) -> Exacts:
    """Without repetition: length 1 along every axis along which the objects are the same."""
    keys = np.asarray(np.frompyfunc(id, 1, 1)(coef)).astype(np.int64)
    for axis in range(coef.ndim):
        if coef.shape[axis] > 1 and (keys == keys.take([0], axis)).all():
            coef, keys = coef.take([0], axis), keys.take([0], axis)
    return coef


def largest(a: Tensor, axis: int) -> Tensor:
    """The largest element along an axis (counted with the sample axis), which stays with length 1."""
    if a.grid is not None:
        num, unit = a.grid
        return on_grid(num.max(axis=axis, keepdims=True), unit, a.constant)
    slices = [restructure(a, lambda v, i=i: v.take([i], axis)) for i in range(a.shape[axis])]  # type: ignore[misc]
    return reduce(larger, slices)


def concatenate(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Joined along an axis (counted with the sample axis)."""
    samples, constant = max(p.shape[0] for p in parts), all(p.constant for p in parts)
    def join(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([np.broadcast_to(x, (samples, *x.shape[1:])) for x in arrays], axis=axis)
    pieces = [p.grid for p in parts if p.grid is not None]
    if len(pieces) < len(parts):
        return of_values(join([p.values for p in parts]), constant)
    unit = common_unit([scale for _, scale in pieces])
    return on_grid(join([integers.scale(num, int(scale / unit)) for num, scale in pieces]), unit, constant)


# ---- deciding

def floor(a: Tensor) -> IntArray:
    """The floor of every element, decided exactly. Full shape."""
    unit = a.terms[0].single if len(a.terms) == 1 else None
    if isinstance(unit, Fraction):
        num = a.terms[0].num
        if num.dtype == np.int64 and integers.span(num) * abs(unit.numerator) < integers.INT64:
            num = integers.scale(num, unit.numerator)
            return np.broadcast_to(integers.floor_divide(num, integers.whole(unit.denominator, num.ndim)), a.shape)
    if prod(a.shape) < FEW or sum(t.coef.size for t in a.terms) * 4 > prod(a.shape):
        return _exact_floor(a)
    result, open_ = _floor_by_floats(a)
    if open_.any():
        rest = Tensor(tuple(Term(np.broadcast_to(t.num, a.shape)[open_],
                                 t.coef.reshape(1) if t.coef.size == 1 else np.broadcast_to(t.coef, a.shape)[open_])
                            for t in a.terms), a.constant)
        exact = _exact_floor(rest)
        result = result if exact.dtype == np.int64 else result.astype(object)
        result[open_] = exact
    return result


def _floor_by_floats(a: Tensor) -> tuple[IntArray, NDArray[np.bool_]]:
    """Floors from float64 with a bound of its error, and where that bound does not decide.

    Numerators, coefficients, products and sums are each off by at most half a unit in the last place; the margin below
    is more than twice the sum of all that.
    """
    try:
        parts = [t.num.astype(np.float64) * _shared(float, t.coef).astype(np.float64) for t in a.terms]  # type: ignore[arg-type]
    except OverflowError:
        return np.zeros(a.shape, np.int64), np.ones(a.shape, np.bool_)
    about = reduce(np.add, parts)
    margin = reduce(np.add, [np.abs(part) for part in parts]) * ((len(parts) + 6) * 2.0**-52) + 2.0**-1000
    below, above = np.floor(about - margin), np.floor(about + margin)
    decided = (below == above) & (np.abs(below) < 2.0**62)
    decided, below = np.broadcast_to(decided, a.shape), np.broadcast_to(below, a.shape)
    return np.where(decided, below, 0).astype(np.int64), ~decided


def _exact_floor(a: Tensor) -> IntArray:
    unit = a.terms[0].single if len(a.terms) == 1 else None
    if isinstance(unit, Fraction):
        num = integers.scale(a.terms[0].num, unit.numerator)
        return np.broadcast_to(integers.floor_divide(num, integers.whole(unit.denominator, num.ndim)), a.shape)
    split = _one_root(a.terms)
    if split is None:
        floors: Any = floor_of
        return integers.settle(_shared(floors, a.values))
    rational, rooted, radicand, denominator = split
    x = reduce(integers.add, [integers.multiply(t.num, p) for t, p in zip(a.terms, rational, strict=True)])
    if radicand.any():
        y = reduce(integers.add, [integers.multiply(t.num, q) for t, q in zip(a.terms, rooted, strict=True)])
        x = integers.add(x, integers.floor_roots(y, radicand))  # floor((x + z) / d) = floor((x + floor(z)) / d)
    return np.broadcast_to(integers.floor_divide(x, denominator), a.shape)


def _one_root(terms: Sequence[Term]) -> tuple[list[IntArray], list[IntArray], IntArray, IntArray] | None:
    """Write coefficient t as `(p_t + q_t * sqrt(r)) / d` with integers and, at each element, one r and d for all terms.

    Returns (p, q, r, d), or None where an element has several roots or is no sum of roots.
    """
    if not all(isinstance(c, Fraction | Surd) for t in terms for c in t.coef.flat):
        return None
    coefs: tuple[Any, ...] = np.broadcast_arrays(*(t.coef for t in terms))
    shape = coefs[0].shape
    p, q = ([np.zeros(shape, object) for _ in terms] for _ in range(2))
    r, d = np.zeros(shape, object), np.ones(shape, object)
    for at in np.ndindex(shape):
        parts = [parts_of(c[at]) for c in coefs]
        roots = {radicand for part in parts for radicand in part} - {1}
        if len(roots) > 1:
            return None
        r[at] = root = roots.pop() if roots else 0
        d[at] = common = lcm(*(c.denominator for part in parts for c in part.values()))
        for i, part in enumerate(parts):
            p[i][at], q[i][at] = (int(part.get(key, 0) * common) for key in (1, root))
    return [integers.settle(x) for x in p], [integers.settle(x) for x in q], integers.settle(r), integers.settle(d)


def ceil(a: Tensor) -> IntArray:
    return integers.scale(floor(negate(a)), -1)


def halves_to_even(a: Tensor) -> IntArray:
    """The nearest integer of every element, the even one at a tie. Full shape."""
    unit = a.terms[0].single if len(a.terms) == 1 else None
    if isinstance(unit, Fraction) and a.terms[0].num.dtype == np.int64:
        num, p, q = a.terms[0].num, unit.numerator, unit.denominator
        if 2 * integers.span(num) * abs(p) + q < integers.INT64 and 2 * q < integers.INT64:
            if q == 1:
                return np.broadcast_to(integers.scale(num, p), a.shape)
            return np.broadcast_to(_halves_to_even(integers.scale(num, p), q), a.shape)
    up = floor(plus_number(a, Fraction(1, 2)))
    down = ceil(plus_number(a, Fraction(-1, 2)))  # differs from `up` at a tie, and there only
    return np.where(up % 2 == 0, up, down)


def _halves_to_even(num: IntArray, divisor: int) -> IntArray:
    """num / divisor, at least 2, rounded; 2 * num and 2 * divisor fit into int64."""
    if divisor & (divisor - 1):
        up, rest = np.divmod(2 * num + divisor, 2 * divisor)
        return np.asarray(up - ((rest == 0) & (up & 1 == 1)))
    places = divisor.bit_length() - 1
    result = num >> places  # just below half a step, and one more where that is odd; in place, since memory is what costs time
    result &= 1
    result += num
    result += divisor // 2 - 1
    result >>= places
    return result


def at_least_zero(a: Tensor) -> IntArray:
    """1 where an element is not negative, else 0."""
    unit = a.terms[0].single if len(a.terms) == 1 else None
    if isinstance(unit, Fraction):
        num = a.terms[0].num
        return np.broadcast_to(np.asarray(num >= 0 if unit > 0 else num <= 0 if unit else num == num).astype(np.int64), a.shape)
    return np.asarray((floor(a) >= 0).astype(np.int64))


def larger(a: Tensor, b: Tensor) -> Tensor:
    return choose(at_least_zero(subtract(a, b)), a, b)


def smaller(a: Tensor, b: Tensor) -> Tensor:
    return choose(at_least_zero(subtract(b, a)), a, b)
