"""Weighted sums with integer weights, as shifts and two-operand additions.

Plain by design: products are canonical signed digits, shared between all outputs that need the same odd multiple of an
operand, and every output is a balanced tree. Many sums are built at once, level by level, without a loop over outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder

Rows = NDArray[np.int32]


def weighted_sums(b: NetlistBuilder, out: Any, row: Any, weight: Any, imm: Any, lo: Any, hi: Any) -> Rows:
    """rows[k] = sum of weight * row over the terms with out == k, plus imm[k]; within lo[k]..hi[k].

    `out`, `row`, `weight`: int64[terms]; `imm`, `lo`, `hi`: int64[outputs].
    """
    out, row, weight, imm, lo, hi = (np.asarray(v, np.int64).reshape(-1) for v in (out, row, weight, imm, lo, hi))
    used = weight != 0
    out, row, weight = out[used], row[used], weight[used]
    zeros = trailing_zeros(weight)
    odd = np.abs(weight) >> zeros
    return trees(b, out, multiples(b, row, odd), zeros, weight < 0, imm, lo, hi)


def trailing_zeros(x: Ints) -> Ints:
    """The number of low zero bits of non-zero integers."""
    lowest = x & -x
    return np.round(np.log2(lowest.astype(np.float64))).astype(np.int64)


def multiples(b: NetlistBuilder, row: Ints, odd: Ints) -> Ints:
    """Rows for odd * row; every different product is built once."""
    pairs, place = np.unique(np.stack([row, odd]), axis=1, return_inverse=True)
    base, factor = pairs
    product = base.copy()
    todo = np.flatnonzero(factor > 1)
    if len(todo):
        half = factor[todo] >> 1
        sum3 = factor[todo] + half
        changed = half ^ sum3
        groups, shifts, signs = [], [], []
        for bits, negative in ((sum3 & changed, False), (half & changed, True)):
            for k in range(int(bits.max(initial=0)).bit_length()):
                which = np.flatnonzero(bits >> k & 1)
                groups.append(which)
                shifts.append(np.full(len(which), k))
                signs.append(np.full(len(which), negative))
        group = np.concatenate(groups)
        source = base[todo]
        lo, hi = (bound[source] * factor[todo] for bound in (b.lo, b.hi))
        product[todo] = trees(b, group, source[group], np.concatenate(shifts), np.concatenate(signs),
                              np.zeros(len(todo), np.int64), lo, hi)
    return np.asarray(product[place.reshape(-1)], np.int64)


def trees(b: NetlistBuilder, out: Ints, row: Ints, shift: Ints, neg: Any, imm: Ints, lo: Ints, hi: Ints) -> Rows:
    """rows[k] = sum of ±(row << shift) over the terms with out == k, plus imm[k], as balanced trees of two-operand sums."""
    order = np.lexsort((row, shift, out))
    out, row, shift, neg = out[order], row[order], shift[order], np.asarray(neg, bool)[order]
    result = np.full(len(imm), -1, np.int32)
    while True:
        count = np.bincount(out, minlength=len(imm))
        first = np.cumsum(count) - count
        position = np.arange(len(out)) - first[out]
        ready = count[out] <= 2
        _finish(b, result, out[ready], row[ready], shift[ready], neg[ready], imm, lo, hi)
        if ready.all():
            break
        left = ~ready & (position % 2 == 0) & (position + 1 < count[out])
        i = np.flatnonzero(left)
        j = i + 1
        common = np.minimum(shift[i], shift[j])
        both = neg[i] & neg[j]
        added = b.sum2(row[i], shift[i] - common, neg[i] & ~both, row[j], shift[j] - common, neg[j] & ~both)
        alone = np.flatnonzero(~ready & (position % 2 == 0) & (position + 1 == count[out]))
        out, row, shift, neg = (np.concatenate(p) for p in (
            (out[i], out[alone]), (added, row[alone]), (common, shift[alone]), (both, neg[alone])))
        order = np.lexsort((shift, out))
        out, row, shift, neg = out[order], row[order], shift[order], neg[order]
    empty = np.flatnonzero(result < 0)
    if len(empty):
        result[empty] = b.const(imm[empty])
    return result


def _finish(b: NetlistBuilder, result: Rows, out: Ints, row: Ints, shift: Ints, neg: Any, imm: Ints, lo: Ints,
            hi: Ints) -> None:
    """Writes the rows of the outputs that have one or two terms left."""
    if not len(out):
        return
    starts = np.flatnonzero(np.r_[True, out[1:] != out[:-1]])
    lengths = np.diff(np.r_[starts, len(out)])
    one, two = starts[lengths == 1], starts[lengths == 2]
    plain = (shift[one] == 0) & ~neg[one] & (imm[out[one]] == 0)
    result[out[one[plain]]] = row[one[plain]]
    one = one[~plain]
    k = out[one]
    if len(k):
        result[k] = b.sum1(row[one], shift[one], neg[one], imm[k], bounds=(lo[k], hi[k]))
    k = out[two]
    if len(k):
        result[k] = b.sum2(row[two], shift[two], neg[two], row[two + 1], shift[two + 1], neg[two + 1], imm[k],
                           bounds=(lo[k], hi[k]))
