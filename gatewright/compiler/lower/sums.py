"""Weighted sums with integer weights, as shifts and two-operand additions.

Pairs of digits that several sums need are built once (compiler/arithmetic/sharing.py); what remains of every sum is a
balanced tree. Many sums are built at once, level by level, without a loop over outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.compiler.arithmetic.sharing import Shared, share, signed_digits
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder

Rows = NDArray[np.int32]

SLACK = 1
"""Additions by which a sum may be deeper than a balanced tree for the sake of sharing."""


def weighted_sums(b: NetlistBuilder, out: Any, row: Any, weight: Any, imm: Any, lo: Any, hi: Any) -> Rows:
    """rows[k] = sum of weight * row over the terms with out == k, plus imm[k]; within lo[k]..hi[k].

    `out`, `row`, `weight`: int64[terms]; `imm`, `lo`, `hi`: int64[outputs].
    """
    out, row, weight, imm, lo, hi = (np.asarray(v, np.int64).reshape(-1) for v in (out, row, weight, imm, lo, hi))
    used = weight != 0
    operands, operand = np.unique(row[used], return_inverse=True)
    digits = signed_digits(out[used], operand.reshape(-1), weight[used])
    shared = share(*digits, len(imm), b.lo[operands], b.hi[operands], SLACK)
    rows, depth = _build(b, operands, shared)
    return trees(b, shared.out, rows[shared.node], shared.node_shift, shared.node_negative, depth[shared.node], imm, lo, hi)


def _build(b: NetlistBuilder, operands: Ints, shared: Shared) -> tuple[Ints, Ints]:
    """Rows and depths of operands and shared nodes, all nodes of a depth at once."""
    first = len(operands)
    depth = np.zeros(first + len(shared.a), np.int64)
    for k, (x, y) in enumerate(zip(shared.a.tolist(), shared.b.tolist(), strict=True)):
        depth[first + k] = max(depth[x], depth[y]) + 1
    rows = np.concatenate([operands, np.zeros(len(shared.a), np.int64)])
    for level in range(1, int(depth.max(initial=0)) + 1):
        k = np.flatnonzero(depth[first:] == level)
        rows[first + k] = b.sum2(rows[shared.a[k]], 0, False, rows[shared.b[k]], shared.shift[k], shared.negative[k])
    return rows, depth


def trees(b: NetlistBuilder, out: Ints, row: Ints, shift: Ints, neg: Any, depth: Ints, imm: Ints, lo: Ints,
          hi: Ints) -> Rows:
    """rows[k] = sum of ±(row << shift) over the terms with out == k, plus imm[k], as trees of two-operand sums.

    In every round, the terms that are there by then (`depth`) are added in pairs, low ones first.
    """
    neg = np.asarray(neg, bool)
    result = np.full(len(imm), -1, np.int32)
    level = 0
    while len(out):
        waits = depth > level
        order = np.lexsort((row, shift, waits, out))
        out, row, shift, neg, depth, waits = (v[order] for v in (out, row, shift, neg, depth, waits))
        count = np.bincount(out, minlength=len(imm))
        there = np.bincount(out[~waits], minlength=len(imm))
        position = np.arange(len(out)) - (np.cumsum(count) - count)[out]
        ready = count[out] <= 2
        _finish(b, result, out[ready], row[ready], shift[ready], neg[ready], imm, lo, hi)
        i = np.flatnonzero(~ready & (position % 2 == 0) & (position + 1 < there[out]))
        j = i + 1
        common = np.minimum(shift[i], shift[j])
        both = neg[i] & neg[j]
        added = b.sum2(row[i], shift[i] - common, neg[i] & ~both, row[j], shift[j] - common, neg[j] & ~both)
        alone = ~ready
        alone[i] = alone[j] = False
        out, row, shift, neg, depth = (np.concatenate(p) for p in (
            (out[i], out[alone]), (added, row[alone]), (common, shift[alone]), (both, neg[alone]),
            (np.full(len(i), level + 1), depth[alone])))
        level += 1
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
