"""Exact integer intervals of Netlist operations, vectorised: the one place where the bounds of a row are computed.

An interval is a pair of int64 arrays. Bounds whose magnitude reaches `BEYOND` are saturated there: they mean
"wider than any code may be", and only ever meet a check that refuses them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import MAX_WIDTH, Ints

Rows = NDArray[np.int32]
Bools = NDArray[np.bool_]
Interval = tuple[Ints, Ints]

BEYOND = 1 << MAX_WIDTH
"""Saturation value of bounds: no code of at most MAX_WIDTH bits reaches it."""
MAX_SHIFT = MAX_WIDTH - 1
"""Largest left shift of an operand: `1 << MAX_SHIFT` is still a code."""
_LIMB = 31
_MASK = (1 << _LIMB) - 1


def too_wide(lo: Ints, hi: Ints) -> Bools:
    """Where `lo..hi` needs more than MAX_WIDTH bits."""
    half = 1 << MAX_WIDTH - 1
    return (lo < -half) | (hi >= np.where(lo < 0, half, BEYOND))


def product(a: Ints, b: Ints) -> Ints:
    """`a * b`, saturated at ±BEYOND; exact below. Magnitudes of a and b are at most BEYOND."""
    over = np.abs(b) > (BEYOND - 1) // np.maximum(np.abs(a), 1)
    return np.where(over & (a != 0), np.where((a < 0) == (b < 0), BEYOND, -BEYOND), a * b)


def _segment_sums(values: Ints, starts: Ints, extra: Ints | int = 0) -> Ints:
    """Sum of every segment (none empty) plus `extra`, saturated at ±BEYOND; two limbs, so that nothing can overflow."""
    high = np.add.reduceat(values >> _LIMB, starts) + (np.asarray(extra) >> _LIMB)
    low = np.add.reduceat(values & _MASK, starts) + (np.asarray(extra) & _MASK)
    high, low = high + (low >> _LIMB), low & _MASK
    limit = BEYOND >> _LIMB
    exact = (np.clip(high, -limit, limit - 1) << _LIMB) | low
    return np.where(high >= limit, BEYOND, np.where(high < -limit, -BEYOND, exact))


def _coefficients(first: Ints, arg: Rows, shift: NDArray[np.uint8], neg: Bools) -> tuple[Ints, Rows, Ints]:
    """Operands as (segment starts, row, coefficient), every row at most once a segment: x<<2 - x is 3x, exactly."""
    sign: Ints = 1 - 2 * neg.astype(np.int64)
    coefficient: Ints = sign << shift.astype(np.int64)
    segment: Ints = np.repeat(np.arange(len(first) - 1, dtype=np.int64), np.diff(first))
    key = segment << 32 | arg
    in_order = np.sort(key)
    if not (in_order[1:] == in_order[:-1]).any():
        return first[:-1], arg, coefficient
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    coefficient = _segment_sums(coefficient[order], starts)
    owner = key[starts] >> 32
    first_of_owner: Ints = np.searchsorted(owner, np.arange(len(first) - 1)).astype(np.int64)
    return first_of_owner, arg[order][starts], coefficient


def of_sum(lo: Ints, hi: Ints, first: Ints, arg: Rows, shift: NDArray[np.uint8], neg: Bools, imm: Ints) -> Interval:
    """Sums in CSR form (operands `first[i]:first[i+1]`, at least one each); `lo`, `hi` are the bounds of all rows."""
    if len(imm) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts, row, coefficient = _coefficients(first, arg, shift, neg)
    one, other = product(coefficient, lo[row]), product(coefficient, hi[row])
    least, most = np.minimum(one, other), np.maximum(one, other)
    beyond = np.logical_or.reduceat((least <= -BEYOND) | (most >= BEYOND), starts)
    return (np.where(beyond, -BEYOND, _segment_sums(least, starts, imm)),
            np.where(beyond, BEYOND, _segment_sums(most, starts, imm)))


def shifted(lo: Ints, hi: Ints, shift: Ints | int) -> Interval:
    """`x << shift`."""
    factor = np.int64(1) << np.asarray(shift, np.int64)
    return product(np.broadcast_to(factor, lo.shape), lo), product(np.broadcast_to(factor, hi.shape), hi)


def of_bits(x: Interval, low: Ints, width: Ints, signed: Bools) -> Interval:
    """`width` bits from bit `low` up: x's shifted range where the slice does not wrap inside it, else the full one."""
    least, most = x[0] >> low, x[1] >> low
    floor = np.where(signed, -(np.int64(1) << (width - 1)), 0)
    period = (least - floor) >> width
    whole = period == (most - floor) >> width
    span = (np.int64(1) << width) - 1
    offset = period << width
    return np.where(whole, least - offset, floor), np.where(whole, most - offset, floor + span)


def of_ge(a: Interval, b: Interval, same: Bools) -> Interval:
    """a >= b; `same` marks where both operands are one value."""
    return (same | (a[0] >= b[1])).astype(np.int64), (a[1] >= b[0]).astype(np.int64)


def of_eq(a: Interval, b: Interval, same: Bools) -> Interval:
    """a == b; `same` marks where both operands are one value."""
    always = same | ((a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0]))
    return always.astype(np.int64), ((a[0] <= b[1]) & (b[0] <= a[1])).astype(np.int64)


def of_select(c: Interval, a: Interval, b: Interval) -> Interval:
    least = np.where(c[0] == 1, a[0], np.where(c[1] == 0, b[0], np.minimum(a[0], b[0])))
    most = np.where(c[0] == 1, a[1], np.where(c[1] == 0, b[1], np.maximum(a[1], b[1])))
    return least, most


def of_mul(a: Interval, b: Interval, same: Bools) -> Interval:
    """a * b; `same` marks where both operands are one value."""
    corners = np.stack([product(x, y) for x in a for y in b])
    least = np.where(same, np.where((a[0] <= 0) & (a[1] >= 0), 0, np.minimum(corners[0], corners[3])), corners.min(0))
    return least, corners.max(0)


def of_table(x: Interval, table: Ints, base: Ints, tables: list[Ints] | tuple[Ints, ...]) -> Interval:
    """`tables[table][x - base]` over the entries that x reaches (they must exist)."""
    reach, place = np.unique(np.stack([table, x[0] - base, x[1] - base]), axis=1, return_inverse=True)
    pieces = [tables[t][i:j + 1] for t, i, j in reach.T.tolist()]
    least = np.array([p.min() for p in pieces], np.int64)
    most = np.array([p.max() for p in pieces], np.int64)
    return least[place.ravel()], most[place.ravel()]
