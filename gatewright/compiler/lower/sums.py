"""Weighted sums with integer weights, as shifts and additions of two operands, or of three where the target has such adders.

What several sums need is built once (compiler/arithmetic/sharing.py); what remains of every sum is a balanced
tree. Many sums are built at once, level by level, without a loop over outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.compiler.arithmetic.chains import sum_luts
from gatewright.compiler.arithmetic.depth import levels
from gatewright.compiler.arithmetic.digits import Bools, signed_digits
from gatewright.compiler.arithmetic.sharing import Shared, plans, refined, share
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.netlist import NetlistBuilder, widths
from gatewright.ir.offsets import offsets

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
    reach = b.hi[operands] - b.lo[operands]
    tried = [share(*digits, len(imm), reach, b.arity, plan) for plan in plans(effort, len(digits[0]), len(imm))]
    best = _cheapest(b, operands, tried, imm)
    if effort:
        width = widths(b.lo[operands], b.hi[operands])
        unsigned = b.lo[operands] + offsets(b.lo[operands] < 0, width, np.zeros(len(width), np.bool_))
        best = _cheapest(b, operands, [best, refined(best, unsigned, np.ones(len(imm), np.bool_), b.arity, effort)], imm)
    return _build(b, operands, best, imm, lo, hi)


def _cheapest(b: NetlistBuilder, operands: Ints, tried: list[Shared], imm: Ints) -> Shared:
    return min(tried, key=lambda shared: _luts(b, operands, shared, imm)) if len(tried) > 1 else tried[0]


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
    return int(sum_luts(netlist, b.arity == 3).sum())


def _build(b: NetlistBuilder, operands: Ints, shared: Shared, imm: Ints, lo: Ints, hi: Ints) -> Rows:
    """Rows of the sums: shared nodes first, all at once of which the digits are there."""
    first, sums = len(operands), len(imm)
    step, depth = _steps(shared, first, sums, b.arity)
    rows = np.concatenate([operands, np.zeros(shared.nodes, np.int64)])
    bias = np.zeros(len(rows), np.int64)
    for k in range(1, int(step.max(initial=0)) + 1):
        nodes = np.flatnonzero(step == k)
        index = np.full(sums + shared.nodes, -1)
        index[sums + nodes] = np.arange(len(nodes))
        i = np.flatnonzero(index[shared.out] >= 0)
        node = shared.node[i]
        terms = Terms(index[shared.out[i]], rows[node], shared.shift[i], shared.negative[i], depth[node], bias[node])
        rows[first + nodes], bias[first + nodes] = trees(b, terms, len(nodes))
    i = np.flatnonzero(shared.out < sums)
    node = shared.node[i]
    terms = Terms(shared.out[i], rows[node], shared.shift[i], shared.negative[i], depth[node], bias[node])
    return trees(b, terms, sums, Wanted(imm, lo, hi))[0]


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


@dataclass(frozen=True)
class Terms:
    """Of sums, in columns: `±((row - bias) << shift)` belongs to sum `out`, and is there after `depth` additions."""

    out: Ints
    row: Ints
    shift: Ints
    negative: Bools
    depth: Ints
    bias: Ints

    def __getitem__(self, which: Any) -> Terms:
        return Terms(*(getattr(self, f.name)[which] for f in fields(self)))

    @staticmethod
    def joined(parts: list[Terms]) -> Terms:
        return Terms(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Terms)))


@dataclass(frozen=True)
class Wanted:
    """What sums must be: their constants and bounds."""

    imm: Ints
    lo: Ints
    hi: Ints


def trees(b: NetlistBuilder, terms: Terms, sums: int, wanted: Wanted | None = None) -> tuple[Rows, Ints]:
    """Rows of the sums of their terms as trees of `b.arity`-operand sums, and biases: how much larger than the sum every row is.

    Inner sums are unsigned (ir/offsets.py), and so are all, with a bias each, where nothing else is `wanted`. In every round the terms
    that are there by then are added in groups of like places, low ones first. A constant takes the place of an operand where sums
    have three, and rides for free where they have two.
    """
    rows, bias = np.full(sums, -1, np.int64), np.zeros(sums, np.int64)
    constant = np.zeros(sums, np.int64)
    if wanted and b.arity == 3:
        offset = offsets(b.lo[terms.row] < 0, widths(b.lo[terms.row], b.hi[terms.row]), terms.negative) | terms.bias
        constant = ((wanted.imm != 0) | (np.bincount(terms.out, offset != 0, sums) > 0)).astype(np.int64)
    level = 0
    while len(terms.out):
        own = widths(b.lo[terms.row], b.hi[terms.row])
        waits = terms.depth > level
        order = np.lexsort((terms.row, terms.shift, 2 * terms.shift + own, waits, terms.out))
        terms, waits = terms[order], waits[order]
        out = terms.out
        count, there = np.bincount(out, minlength=sums), np.bincount(out[~waits], minlength=sums)
        begin = np.cumsum(count) - count
        position = np.arange(len(out)) - begin[out]
        positive = np.bincount(out[~terms.negative], minlength=sums) > 0
        ready = (count > 0) & (count + constant <= b.arity) & (positive | (count < 3) | (wanted is None))
        for size in range(1, b.arity + 1):
            k = np.flatnonzero(ready & (count == size))
            rows[k], bias[k] = _last(b, terms, begin[k], size, Wanted(wanted.imm[k], wanted.lo[k], wanted.hi[k]) if wanted else None)
        groups = there // b.arity
        grouped = groups * b.arity
        pairs = (b.arity == 3) & (there - grouped == 2) & ((count + constant) % 2 == 0)  # an even number of terms takes one pair
        heads = [np.flatnonzero(~ready[out] & (position < grouped[out]) & (position % b.arity == 0)),
                 np.flatnonzero((~ready & pairs)[out] & (position == grouped[out]))]
        alone = ~ready[out]
        made = []
        for i, size in zip(heads, (b.arity, 2), strict=True):
            alone[(i[:, None] + np.arange(size)).reshape(-1)] = False
            made.append(_add(b, terms, i, size, level + 1))
        terms = Terms.joined([*made, terms[alone]])
        level += 1
    empty = np.flatnonzero(rows < 0)
    if len(empty):
        rows[empty] = b.const(wanted.imm[empty] if wanted else 0 * empty)
    return rows.astype(np.int32), bias


def _add(b: NetlistBuilder, terms: Terms, head: Ints, size: int, depth: int) -> Terms:
    """Unsigned sums of `size` terms from each of `head` on. The lowest term is never subtracted."""
    members = head[:, None] + np.arange(size)
    members = np.take_along_axis(members, np.argsort(terms.shift[members], axis=1, kind="stable"), 1)
    low, flip = terms.shift[members[:, 0]], terms.negative[members[:, 0]]
    row, shift, negative = terms.row[members], terms.shift[members] - low[:, None], terms.negative[members] ^ flip[:, None]
    offset = (offsets(b.lo[row] < 0, widths(b.lo[row], b.hi[row]), negative) << shift).sum(axis=1)
    bias = offset + (np.where(negative, -1, 1) * terms.bias[members] << shift).sum(axis=1)
    rows = b.sum(np.arange(0, size * len(head) + 1, size), row.reshape(-1), shift.reshape(-1), negative.reshape(-1), offset)
    return Terms(terms.out[head], rows.astype(np.int64), low, flip, np.full(len(head), depth), bias)


def _last(b: NetlistBuilder, terms: Terms, begin: Ints, size: int, wanted: Wanted | None) -> tuple[Ints, Ints]:
    """Rows, and biases, of sums of `size` terms from each of `begin` on, the last ones of their trees."""
    members = begin[:, None] + np.arange(size)
    row, shift, negative = terms.row[members], terms.shift[members], terms.negative[members]
    biased = (np.where(negative, -1, 1) * terms.bias[members] << shift).sum(axis=1)
    if wanted:
        imm, bias, bounds = wanted.imm - biased, 0 * biased, (wanted.lo, wanted.hi)
    else:
        imm = (offsets(b.lo[row] < 0, widths(b.lo[row], b.hi[row]), negative) << shift).sum(axis=1)
        bias, bounds = biased + imm, None
    rows = row[:, 0].copy()
    k = np.flatnonzero((size > 1) | (shift[:, 0] != 0) | negative[:, 0] | (imm != 0))
    if len(k):
        bounds = (bounds[0][k], bounds[1][k]) if bounds else None
        rows[k] = b.sum(np.arange(0, size * len(k) + 1, size), row[k].reshape(-1), shift[k].reshape(-1), negative[k].reshape(-1), imm[k],
                        bounds)
    return rows, bias
