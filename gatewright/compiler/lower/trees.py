"""Sums as balanced trees of additions of two operands, or of three where the target has such adders: many at once, level by level."""

from __future__ import annotations

import numpy as np

from gatewright.compiler.arithmetic.depth import levels
from gatewright.compiler.arithmetic.digits import Bools
from gatewright.compiler.lower.terms import Rows, Terms, Wanted
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.netlist import NetlistBuilder, widths
from gatewright.ir.offsets import offsets


def signed_trees(b: NetlistBuilder, terms: Terms, sums: int, wanted: Wanted | None = None) -> tuple[Rows, Ints, Ints]:
    """`trees` of signed numbers."""
    return trees(b, terms, sums, wanted, unsigned=False)


def trees(b: NetlistBuilder, terms: Terms, sums: int, wanted: Wanted | None = None, unsigned: bool = True) -> tuple[Rows, Ints, Ints]:
    """Rows of the sums of their terms as trees of `b.arity`-operand sums, biases (how much larger than the sum every row is) and depths in
    additions.

    `unsigned`: inner sums are (ir/offsets.py), and so are all, with a bias each, where nothing else is `wanted`. They are narrower, but
    the last sum of a tree takes back a constant; where there is no other one, and sums are short, signed ones can be cheaper. In every
    round the terms that are there by then are added in groups of like places, low ones first. A constant takes the place of an operand
    where sums have three, and rides for free where they have two.
    """
    rows, bias = np.full(sums, -1, np.int64), np.zeros(sums, np.int64)
    depth = levels(np.maximum(np.bincount(terms.out, float(b.arity) ** terms.depth, minlength=sums), 1.0), b.arity).astype(np.int64)
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
    return rows.astype(np.int32), bias, depth


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
