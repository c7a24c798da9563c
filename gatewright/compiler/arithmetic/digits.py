"""Signed digits: integer weights as few powers of two, added or subtracted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints

Bools = NDArray[np.bool_]


def digit_count(weight: Ints) -> Ints:
    """How many digits each weight takes."""
    half = np.abs(weight) >> 1
    return np.asarray(np.bitwise_count(half ^ (np.abs(weight) + half)), np.int64)


def signed_digits(out: Ints, row: Ints, weight: Ints) -> tuple[Ints, Ints, Ints, Bools]:
    """(out, row, shift, negative) of every non-zero weight's digits, in the order of out, row and shift.

    The fewest digits there can be (as many as in the non-adjacent form, Reitwieser 1960), and of those forms one with
    few subtractions: 3 is 2 + 1, not 4 - 1, which makes sums narrower.
    """
    half = np.abs(weight) >> 1
    three = np.abs(weight) + half
    changed = half ^ three
    parts: list[tuple[Ints, Ints, Ints, Bools]] = []
    for bits, sign in ((three & changed, False), (half & changed, True)):
        for k in range(int(bits.max(initial=0)).bit_length()):
            i = np.flatnonzero(bits >> k & 1)
            parts.append((out[i], row[i], np.full(len(i), k), (weight[i] < 0) ^ sign))
    if not parts:
        return out[:0], row[:0], out[:0], out[:0] < 0
    columns = [np.concatenate(c) for c in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    return _fewer_subtractions(columns[0][order], columns[1][order], columns[2][order], columns[3][order])


def _fewer_subtractions(out: Ints, row: Ints, shift: Ints, negative: Bools) -> tuple[Ints, Ints, Ints, Bools]:
    """Rewrites 4 - 1 as 2 + 1 and 1 - 4 as -2 - 1, from the lowest digit of a weight on, no digit twice."""
    apart = np.zeros(len(out), np.bool_)  # this digit and the next: two places apart, of opposite signs
    apart[:-1] = ((out[1:] == out[:-1]) & (row[1:] == row[:-1]) & (shift[1:] == shift[:-1] + 2)
                  & (negative[1:] != negative[:-1]))
    begins = apart & ~np.concatenate([[False], apart[:-1]])
    position = np.arange(len(out))
    position = position - np.maximum.accumulate(np.where(begins, position, 0))
    low = np.flatnonzero(apart & (position % 2 == 0))
    shift[low + 1] -= 1
    negative[low] = negative[low + 1]
    return out, row, shift, negative
