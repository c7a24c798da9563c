"""LUTs of one sum as `lower/trees.py` builds it, for searches that ask a million times: compiled, no rows are made."""

from __future__ import annotations

import math
from typing import Any

import numba

NODE, SHIFT, NEGATIVE, LOW, HIGH, LEVEL, KEY = range(7)
COLUMNS = 7
"""Of a term: its node (-1 for a sum of the tree), shift, whether it is subtracted, the bounds of its bits read as an unsigned number,
the level of additions at which it is there, and its place in the order."""
_SMALL = 6


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def tree_luts(terms: Any, count: int, constant: int, arity: int) -> Any:
    """LUTs of the sum of the first `count` columns of `terms` int64[COLUMNS, ...], which are overwritten.

    `constant`: 1 where something is added that is not 0. Sums of three operands (`arity` 3) are those of LUTs with two outputs, in
    which sums of few bits take no chain.
    """
    luts, level = 0, 0
    while count + constant > arity:
        there = 0
        for i in range(count):
            there += terms[LEVEL, i] <= level
        _sort(terms, count, level)
        groups = there // arity
        pair = arity == 3 and there - groups * arity == 2 and (count + constant) % 2 == 0
        left, i = 0, 0
        while i < count:
            size = arity if i < groups * arity else 2 if pair and i == groups * arity else 1
            if size > 1:
                luts += _join(terms, i, size, left, True, arity == 3)
                terms[LEVEL, left] = level + 1
            else:
                terms[:, left] = terms[:, i]
            left, i = left + 1, i + size
        count, level = left, level + 1
    if constant:
        return luts + _with_constant(terms, count)
    return luts + (_join(terms, 0, count, 0, False, arity == 3) if count > 1 else 0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _sort(terms: Any, count: int, level: int) -> None:
    """Those that are there first, then by their middle."""
    for i in range(count):
        middle = 2 * terms[SHIFT, i] + bits(terms[HIGH, i])
        terms[KEY, i] = (((terms[LEVEL, i] > level) * 1024 + middle) * 128 + terms[SHIFT, i]) * 4096 + i
    for i in range(1, count):
        j = i
        while j > 0 and terms[KEY, j - 1] > terms[KEY, j]:
            for column in range(COLUMNS):
                terms[column, j - 1], terms[column, j] = terms[column, j], terms[column, j - 1]
            j -= 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def bits(most: int) -> Any:
    """Bits of the numbers 0..most, most < 2**62."""
    if most <= 0:
        return 0
    count = math.frexp(float(most))[1]  # one too many where the float is rounded up to a power of two
    return count if most >> count - 1 else count - 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _join(terms: Any, first: int, size: int, to: int, flips: bool, pairs_luts: bool) -> Any:
    """LUTs of the unsigned sum of `size` terms, which is written to column `to`. `flips`: so that the lowest is not subtracted."""
    lowest = first
    for k in range(first + 1, first + size):
        if terms[SHIFT, k] < terms[SHIFT, lowest]:
            lowest = k
    base, flip = terms[SHIFT, lowest], terms[NEGATIVE, lowest] if flips else 0
    low, high, start, inputs, end, next_end = 0, 0, 62, 0, 0, 0
    for k in range(first, first + size):
        up, own, twice = terms[SHIFT, k] - base, bits(terms[HIGH, k]), False
        if terms[NEGATIVE, k] ^ flip:
            low, high = low + ((1 << own) - 1 - terms[HIGH, k] << up), high + ((1 << own) - 1 - terms[LOW, k] << up)
        else:
            low, high = low + (terms[LOW, k] << up), high + (terms[HIGH, k] << up)
        if k != lowest or terms[NEGATIVE, k] ^ flip:
            start = min(start, up)
        next_end = max(next_end, min(end, up + own))
        end = max(end, up + own)
        for other in range(first, k):
            twice |= terms[NODE, k] >= 0 and terms[NODE, other] == terms[NODE, k]
        inputs += 0 if twice else own
    width = bits(high)
    luts = width - start - (end < width and (size == 2 or next_end < width - 1))
    inputs -= start
    if pairs_luts and inputs < _SMALL:
        luts = min(luts, (width - start + 1) // 2)
    elif pairs_luts and inputs == _SMALL:
        last = max(end - 1, start)
        luts = min(luts, (last - start + 1) // 2 + width - last)
    terms[NODE, to], terms[SHIFT, to], terms[NEGATIVE, to], terms[LOW, to], terms[HIGH, to] = -1, base, flip, low, high
    return max(luts, 0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _with_constant(terms: Any, count: int) -> Any:
    """LUTs of the last sum of a tree, to which a constant is added."""
    base, reach = terms[SHIFT, 0], 0
    for k in range(1, count):
        base = min(base, terms[SHIFT, k])
    for k in range(count):
        reach += terms[HIGH, k] - terms[LOW, k] << terms[SHIFT, k] - base
    return bits(reach)
