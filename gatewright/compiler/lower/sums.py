"""Weighted sums with integer weights, as shifts and additions of two operands, or of three where the target has such adders.

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

SLACK = 2
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
        i = np.flatnonzero(depth[first:] == level)
        rows[first + i] = b.sum2(rows[shared.a[i]], 0, False, rows[shared.b[i]], shared.shift[i], shared.negative[i])
    return rows, depth


def trees(b: NetlistBuilder, out: Any, row: Any, shift: Any, neg: Any, depth: Any, imm: Ints, lo: Ints,
          hi: Ints) -> Rows:
    """rows[k] = sum of ±(row << shift) over the terms with out == k, plus imm[k], as trees of `b.arity`-operand sums.

    In every round the terms that are there by then (`depth`) are added in groups, low ones first. A constant takes the
    place of an operand where sums have three, and rides for free where they have two.
    """
    neg = np.asarray(neg, bool)
    result = np.full(len(imm), -1, np.int32)
    extra = (imm != 0) & (b.arity == 3)
    level = 0
    while len(out):
        waits = depth > level
        order = np.lexsort((row, shift, waits, out))
        out, row, shift, neg, depth, waits = (v[order] for v in (out, row, shift, neg, depth, waits))
        count = np.bincount(out, minlength=len(imm))
        there = np.bincount(out[~waits], minlength=len(imm))
        begin = np.cumsum(count) - count
        position = np.arange(len(out)) - begin[out]
        positive = np.bincount(out[~neg], minlength=len(imm)) > 0
        ready = (count + extra <= b.arity) & (positive | (count < 3))
        _finish(b, result, ready, begin, count, row, shift, neg, imm, lo, hi)
        open_ = ~ready[out]
        groups = there // b.arity
        rest = there - groups * b.arity
        pairs = (b.arity == 3) & (rest == 2) & ((count + extra) % 2 == 0)  # an even number of terms takes one pair
        grouped = groups * b.arity
        heads = [np.flatnonzero(open_ & (position < grouped[out]) & (position % b.arity == 0))]
        heads.append(np.flatnonzero(open_ & pairs[out] & (position == grouped[out])))
        parts = [_add(b, i, size, row, shift, neg) for i, size in zip(heads, (b.arity, 2), strict=True)]
        alone = open_.copy()
        for i, size in zip(heads, (b.arity, 2), strict=True):
            for k in range(size):
                alone[i + k] = False
        made = [(out[i], *p, np.full(len(i), level + 1)) for i, p in zip(heads, parts, strict=True)]
        kept = tuple(v[alone] for v in (out, row, shift, neg, depth))
        out, row, shift, neg, depth = (np.concatenate(c) for c in zip(*made, kept, strict=True))
        level += 1
    empty = np.flatnonzero(result < 0)
    if len(empty):
        result[empty] = b.const(imm[empty])
    return result


def _add(b: NetlistBuilder, head: Ints, size: int, row: Any, shift: Any, neg: Any) -> tuple[Rows, Ints, Any]:
    """Sums of `size` terms from each of `head` on: rows, shifts and signs. The lowest term is never subtracted."""
    members = head[:, None] + np.arange(size)
    low, flip = shift[head], neg[head]
    rows = b.sum(np.arange(0, size * len(head) + 1, size), row[members].reshape(-1),
                 (shift[members] - low[:, None]).reshape(-1), (neg[members] ^ flip[:, None]).reshape(-1))
    return rows, low, flip


def _finish(b: NetlistBuilder, result: Rows, ready: Any, begin: Ints, count: Ints, row: Any, shift: Any, neg: Any,
            imm: Ints, lo: Ints, hi: Ints) -> None:
    """Writes the rows of the outputs whose last terms fit one sum."""
    for size in range(1, b.arity + 1):
        k = np.flatnonzero(ready & (count == size))
        if size == 1:
            first = begin[k]
            plain = (shift[first] == 0) & ~neg[first] & (imm[k] == 0)
            result[k[plain]] = row[first[plain]]
            k = k[~plain]
        if len(k):
            members = (begin[k][:, None] + np.arange(size)).reshape(-1)
            result[k] = b.sum(np.arange(0, size * len(k) + 1, size), row[members], shift[members], neg[members], imm[k],
                              bounds=(lo[k], hi[k]))
