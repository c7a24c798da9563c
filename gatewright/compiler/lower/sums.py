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
    operands, digits = _digits(out, row, weight)
    effort = b.effort if np.bincount(digits[0]).max(initial=0) > 1 else 0  # single digits share nothing
    low, high = b.lo[operands], b.hi[operands]
    tried = [share(*digits, len(imm), high - low, b.arity, plan) for plan in plans(effort, len(digits[0]), len(imm))]

    def luts(shared: Shared, unsigned: bool = True) -> int:
        return _luts(b, operands, shared, imm, lo, hi, unsigned)

    best, unsigned = tried[0], True
    if effort:
        least, _, best = min((luts(shared), k, shared) for k, shared in enumerate(tried))
        finer = refined(best, low, high, b.arity, effort)
        least, _, best = min((least, 0, best), (luts(finer), 1, finer))
        unsigned = least <= luts(best, False)
    return _build(b, operands, best, imm, lo, hi, unsigned)


def _digits(out: Ints, row: Ints, weight: Ints) -> tuple[Ints, tuple[Ints, Ints, Ints, Bools]]:
    """The rows that have weights, and the digits of these, as (out, place among the rows, shift, negative): no digit twice in a sum."""
    operands, place = np.unique(row[weight != 0], return_inverse=True)
    key, which = np.unique(out[weight != 0] * len(operands) + place.reshape(-1), return_inverse=True)
    total = np.zeros(len(key), np.int64)
    np.add.at(total, which.reshape(-1), weight[weight != 0])
    key, total = key[total != 0], total[total != 0]
    return operands, signed_digits(key // max(len(operands), 1), key % max(len(operands), 1), total)


def _luts(b: NetlistBuilder, operands: Ints, shared: Shared, imm: Ints, lo: Ints, hi: Ints, unsigned: bool) -> int:
    """LUTs of the additions, built for trial in a netlist of their own."""
    trial = NetlistBuilder(b.name, b.arity)
    trial.origin("trial")
    inputs = trial.input("x", b.lo[operands], b.hi[operands]).astype(np.int64)
    trial.output("y", _build(trial, inputs, shared, imm, lo, hi, unsigned))
    netlist = trial.build()
    if b.arity == 3:
        netlist, _ = fuse_sums(netlist)
    return int(sum_luts(netlist, b.arity == 3).sum())


def _build(b: NetlistBuilder, operands: Ints, shared: Shared, imm: Ints, lo: Ints, hi: Ints, unsigned: bool) -> Rows:
    """Rows of the sums: shared nodes first, all at once of which the digits are there. `unsigned`: see `trees`."""
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
        rows[first + nodes], bias[first + nodes] = trees(b, terms, len(nodes), unsigned)
    i = np.flatnonzero(shared.out < sums)
    node = shared.node[i]
    terms = Terms(shared.out[i], rows[node], shared.shift[i], shared.negative[i], depth[node], bias[node])
    return trees(b, terms, sums, unsigned, Wanted(imm, lo, hi))[0]


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

    def __getitem__(self, which: Any) -> Wanted:
        return Wanted(self.imm[which], self.lo[which], self.hi[which])


def trees(b: NetlistBuilder, terms: Terms, sums: int, unsigned: bool = True, wanted: Wanted | None = None) -> tuple[Rows, Ints]:
    """Rows of the sums of their terms as trees of `b.arity`-operand sums, and biases: how much larger than the sum every row is.

    `unsigned`: inner sums are (ir/offsets.py), and so are all, with a bias each, where nothing else is `wanted`. They are narrower, but
    the last sum of a tree takes back a constant; where there is no other one, and sums are short, signed ones can be cheaper. In every
    round the terms that are there by then are added in groups of like places, low ones first. A constant takes the place of an operand
    where sums have three, and rides for free where they have two.
    """
    rows, bias = np.full(sums, -1, np.int64), np.zeros(sums, np.int64)
    constant = np.zeros(sums, np.int64)
    if wanted and b.arity == 3:
        moved = unsigned & (terms.negative | (b.lo[terms.row] < 0)) | (terms.bias != 0)
        constant = ((wanted.imm != 0) | (np.bincount(terms.out, moved, sums) > 0)).astype(np.int64)
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
        ready = (count > 0) & (count + constant <= b.arity) & (positive | (count < 3) | (unsigned and wanted is None))
        for size in range(1, b.arity + 1):
            if len(k := np.flatnonzero(ready & (count == size))):
                rows[k], bias[k] = _last(b, terms, begin[k], size, unsigned, wanted and wanted[k])
        groups = there // b.arity
        grouped = groups * b.arity
        pairs = (b.arity == 3) & (there - grouped == 2) & ((count + constant) % 2 == 0)  # an even number of terms takes one pair
        heads = [np.flatnonzero(~ready[out] & (position < grouped[out]) & (position % b.arity == 0)),
                 np.flatnonzero((~ready & pairs)[out] & (position == grouped[out]))]
        alone = ~ready[out]
        made = []
        for i, size in ((i, size) for i, size in zip(heads, (b.arity, 2), strict=True) if len(i)):
            alone[(i[:, None] + np.arange(size)).reshape(-1)] = False
            made.append(_add(b, terms, i, size, level + 1, unsigned))
        terms = Terms.joined([*made, terms[alone]])
        level += 1
    empty = np.flatnonzero(rows < 0)
    if len(empty):
        rows[empty] = b.const(wanted.imm[empty] if wanted else 0 * empty)
    return rows.astype(np.int32), bias


def _add(b: NetlistBuilder, terms: Terms, head: Ints, size: int, depth: int, unsigned: bool) -> Terms:
    """Sums of `size` terms from each of `head` on. The lowest term is never subtracted."""
    members = head[:, None] + np.arange(size)
    members = np.take_along_axis(members, np.argsort(terms.shift[members], axis=1, kind="stable"), 1)
    low, flip = terms.shift[members[:, 0]], terms.negative[members[:, 0]]
    row, shift, negative = terms.row[members], terms.shift[members] - low[:, None], terms.negative[members] ^ flip[:, None]
    offset = _offset(b, row, shift, negative) * unsigned
    bias = offset + (np.where(negative, -1, 1) * terms.bias[members] << shift).sum(axis=1)
    rows = b.sum(np.arange(0, size * len(head) + 1, size), row.reshape(-1), shift.reshape(-1), negative.reshape(-1), offset)
    return Terms(terms.out[head], rows.astype(np.int64), low, flip, np.full(len(head), depth), bias)


def _last(b: NetlistBuilder, terms: Terms, begin: Ints, size: int, unsigned: bool, wanted: Wanted | None) -> tuple[Ints, Ints]:
    """Rows, and biases, of sums of `size` terms from each of `begin` on, the last ones of their trees."""
    members = begin[:, None] + np.arange(size)
    row, shift, negative = terms.row[members], terms.shift[members], terms.negative[members]
    biased = (np.where(negative, -1, 1) * terms.bias[members] << shift).sum(axis=1)
    if wanted:
        imm, bias, bounds = wanted.imm - biased, 0 * biased, (wanted.lo, wanted.hi)
    else:
        imm = _offset(b, row, shift, negative) * unsigned
        bias, bounds = biased + imm, None
    rows = row[:, 0].copy()
    k = np.flatnonzero((size > 1) | (shift[:, 0] != 0) | negative[:, 0] | (imm != 0))
    if len(k):
        bounds = (bounds[0][k], bounds[1][k]) if bounds else None
        rows[k] = b.sum(np.arange(0, size * len(k) + 1, size), row[k].reshape(-1), shift[k].reshape(-1), negative[k].reshape(-1), imm[k],
                        bounds)
    return rows, bias


def _offset(b: NetlistBuilder, row: Ints, shift: Ints, negative: Bools) -> Ints:
    """The offset of sums of `±(row << shift)` [sums, operands]; 0 where it comes near the widest numbers that there are."""
    width = widths(b.lo[row], b.hi[row])
    near = np.exp2(width + shift).sum(axis=1) > 2.0 ** (MAX_WIDTH - 2)
    return np.where(near, 0, (offsets(b.lo[row] < 0, width, negative) << shift).sum(axis=1))
