"""Weighted sums with integer weights, as shifts and additions of two operands, or of three where the target has such adders.

What several sums need is built once (compiler/arithmetic/sharing.py); what remains of every sum is a balanced
tree. Many sums are built at once, level by level, without a loop over outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.compiler.arithmetic.chains import chains
from gatewright.compiler.arithmetic.depth import levels
from gatewright.compiler.arithmetic.digits import signed_digits
from gatewright.compiler.arithmetic.sharing import Shared, plans, share
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.netlist import NetlistBuilder, widths

Rows = NDArray[np.int32]


def weighted_sums(b: NetlistBuilder, out: Any, row: Any, weight: Any, imm: Any, lo: Any, hi: Any) -> Rows:
    """rows[k] = sum of weight * row over the terms with out == k, plus imm[k]; within lo[k]..hi[k].

    `out`, `row`, `weight`: int64[terms]; `imm`, `lo`, `hi`: int64[outputs].
    """
    out, row, weight, imm, lo, hi = (np.asarray(v, np.int64).reshape(-1) for v in (out, row, weight, imm, lo, hi))
    used = weight != 0
    operands, operand = np.unique(row[used], return_inverse=True)
    digits = signed_digits(out[used], operand.reshape(-1), weight[used])
    effort = b.effort if np.bincount(digits[0]).max(initial=0) > 1 else 0  # single digits share nothing
    tried = [share(*digits, len(imm), b.lo[operands], b.hi[operands], b.arity, plan)
             for plan in plans(effort, len(digits[0]), len(imm))]
    best = min(tried, key=lambda shared: _luts(b, operands, shared, imm)) if len(tried) > 1 else tried[0]
    return _build(b, operands, best, imm, lo, hi)


def _luts(b: NetlistBuilder, operands: Ints, shared: Shared, imm: Ints) -> int:
    """LUTs of the additions, built for trial in a netlist of their own."""
    trial = NetlistBuilder(b.name, b.arity)
    trial.origin("trial")
    inputs = trial.input("x", b.lo[operands], b.hi[operands]).astype(np.int64)
    limit = np.full(len(imm), 1 << MAX_WIDTH - 1)
    trial.output("y", _build(trial, inputs, shared, imm, -limit, limit - 1))
    netlist = trial.build()
    if b.arity == 3:
        netlist, _ = fuse_sums(netlist)
    return int(sum(chains(netlist, size).sum() for size in (1, 2, 3)))


def _build(b: NetlistBuilder, operands: Ints, shared: Shared, imm: Ints, lo: Ints, hi: Ints) -> Rows:
    """Rows of the sums: shared nodes first, all at once of which the digits are there."""
    first, sums = len(operands), len(imm)
    step, depth = _steps(shared, first, sums, b.arity)
    rows = np.concatenate([operands, np.zeros(shared.nodes, np.int64)])
    limit = 1 << MAX_WIDTH - 1
    for k in range(1, int(step.max(initial=0)) + 1):
        nodes = np.flatnonzero(step == k)
        index = np.full(sums + shared.nodes, -1)
        index[sums + nodes] = np.arange(len(nodes))
        i = np.flatnonzero(index[shared.out] >= 0)
        node = shared.node[i]
        rows[first + nodes] = trees(b, index[shared.out[i]], rows[node], shared.shift[i], shared.negative[i], depth[node],
                                    np.zeros(len(nodes), np.int64), np.full(len(nodes), -limit), np.full(len(nodes), limit - 1))
    i = np.flatnonzero(shared.out < sums)
    node = shared.node[i]
    return trees(b, shared.out[i], rows[node], shared.shift[i], shared.negative[i], depth[node], imm, lo, hi)


def _steps(shared: Shared, operands: int, sums: int, arity: int) -> tuple[Ints, Ints]:
    """Of every shared node: by when it can be built (1, 2, ...), and of every node its depth in additions."""
    step, depth = np.zeros(shared.nodes, np.int64), np.zeros(operands + shared.nodes, np.int64)
    i = np.flatnonzero(shared.out >= sums)
    user, node = shared.out[i] - sums, shared.node[i]
    inner = node >= operands
    changed = shared.nodes > 0
    while changed:
        new = np.ones_like(step)
        np.maximum.at(new, user[inner], step[node[inner] - operands] + 1)
        changed, step = bool((new != step).any()), new
    for k in range(1, int(step.max(initial=0)) + 1):
        terms = np.flatnonzero(step[user] == k)
        load = np.bincount(user[terms], float(arity) ** depth[node[terms]], minlength=shared.nodes)
        nodes = np.flatnonzero(step == k)
        depth[operands + nodes] = levels(load[nodes], arity).astype(np.int64)
    return step, depth


def trees(b: NetlistBuilder, out: Any, row: Any, shift: Any, neg: Any, depth: Any, imm: Ints, lo: Ints,
          hi: Ints) -> Rows:
    """rows[k] = sum of ±(row << shift) over the terms with out == k, plus imm[k], as trees of `b.arity`-operand sums.

    In every round the terms that are there by then (`depth`) are added in groups of like places, low ones first. A constant takes the
    place of an operand where sums have three, and rides for free where they have two.
    """
    neg = np.asarray(neg, bool)
    result = np.full(len(imm), -1, np.int32)
    extra = (imm != 0) & (b.arity == 3)
    level = 0
    while len(out):
        waits = depth > level
        middle = 2 * shift + widths(b.lo[row], b.hi[row])
        order = np.lexsort((row, shift, middle, waits, out))
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
    members = np.take_along_axis(members, np.argsort(shift[members], axis=1, kind="stable"), 1)
    low, flip = shift[members[:, 0]], neg[members[:, 0]]
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
