"""Sums whose terms are heaps of bits, as chains of the three-operand adder (compiler/arithmetic/heap.py): sums of slices of rows.

All is unsigned, as in trees (ir/offsets.py): operands add what flips their bits, and the last chain of every sum takes that back. A row
that is cut in slices is the sum of these, each as far up as it lies; the highest one has the row's sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gatewright.compiler.arithmetic.depth import levels
from gatewright.compiler.arithmetic.digits import Bools
from gatewright.compiler.arithmetic.heap import CONSTANT, Chains, compress
from gatewright.compiler.lower.terms import Rows, Terms, Wanted
from gatewright.compiler.lower.trees import trees
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder, widths
from gatewright.ir.offsets import offsets

_TRIES = {1: 4, 2: 8, 3: 64}
"""How often a compressor tree is tried by every rule, by effort."""


class Trial:
    """Numbers in place of a netlist's rows, and the LUTs and levels of what adds them up: for a first look (`count_heaps`)."""

    def __init__(self, lo: Ints, hi: Ints, arity: int) -> None:
        self.lo, self.hi, self.arity, self.luts, self.levels = lo, hi, arity, 0, 0


@dataclass(frozen=True)
class _Planned:
    """Chains of the sums of `terms`, which are in order of these. `bias`: of the terms of every sum together; `moved`: that, and what makes
    operands unsigned; `reach`: the largest value of a sum without a constant; `limit`: the levels that sums may have."""

    terms: Terms
    chains: Chains
    bias: Ints
    moved: Ints
    reach: Ints
    limit: int

    @property
    def late(self) -> Bools:
        """Sums with more levels."""
        late = np.zeros(len(self.bias), np.bool_)
        late[self.chains.out[self.chains.level > self.limit]] = True
        return late


def heaps(b: NetlistBuilder, terms: Terms, sums: int, wanted: Wanted | None = None) -> tuple[Rows, Ints, Ints]:
    """Rows of the sums of their terms, their biases (how much larger than the sum every row is) and their depths in additions.

    With `wanted` the biases are 0; else all rows are unsigned numbers. No sum is deeper than the deepest tree of additions would be: the
    few that would be so are trees.
    """
    plan = _planned(b, terms, sums, wanted, _TRIES[b.effort])
    terms, late = plan.terms, plan.late
    rows, bias, depth = _built(b, plan, _without(plan.chains, late, len(terms.row)), wanted)
    if late.any():
        index = np.cumsum(late) - 1
        left = terms[late[terms.out]]
        left = replace(left, out=index[left.out])
        rows[late], bias[late], depth[late] = trees(b, left, int(late.sum()), wanted and wanted[late])
    return rows, bias, depth


def count_heaps(trial: Trial, terms: Terms, sums: int, wanted: Wanted | None = None) -> tuple[Rows, Ints, Ints]:
    """The same without rows, after a first look: counts LUTs and levels."""
    plan = _planned(trial, terms, sums, wanted, 0)
    rows = len(trial.lo) + np.arange(sums, dtype=np.int32)
    trial.luts += int(plan.chains.luts.sum())
    trial.lo, trial.hi = np.append(trial.lo, 0 * plan.reach), np.append(trial.hi, plan.reach)
    depth = np.zeros(sums, np.int64)
    np.maximum.at(depth, plan.chains.out, np.minimum(plan.chains.level, plan.limit))
    trial.levels = max(trial.levels, int(depth.max(initial=0)))
    return rows, 0 * plan.moved if wanted else plan.moved, depth


def _planned(b: NetlistBuilder | Trial, terms: Terms, sums: int, wanted: Wanted | None, tries: int) -> _Planned:
    terms = terms[np.argsort(terms.out, kind="stable")]
    low, high = b.lo[terms.row], b.hi[terms.row]
    width, sign = widths(low, high), np.where(terms.negative, -1, 1)
    offset = offsets(low < 0, width, terms.negative)
    most = np.where(terms.negative, -low, high) + offset
    bias, reach = np.zeros((2, sums), np.int64)
    np.add.at(bias, terms.out, sign * terms.bias << terms.shift)
    np.add.at(moved := bias.copy(), terms.out, offset << terms.shift)
    np.add.at(reach, terms.out, most << terms.shift)
    if wanted:
        constant, size = wanted.imm - moved, widths(wanted.lo, wanted.hi)
    else:
        constant, size = 0 * moved, widths(0 * reach, reach)
    first = np.searchsorted(terms.out, np.arange(sums + 1))
    load = np.bincount(terms.out, float(b.arity) ** terms.depth, minlength=sums) + (constant != 0)
    limit = int(levels(np.maximum(load, 1.0), b.arity).max(initial=0))
    chains = compress(first, terms.shift, width, most, terms.depth, constant & (np.int64(1) << size) - 1, size, limit, tries)
    return _Planned(terms, chains, bias, moved, reach, limit)


def _without(chains: Chains, late: Bools, terms: int) -> Chains:
    """Without the chains of sums that are `late`."""
    kept = ~late[chains.out]
    number, bit = np.cumsum(kept) - 1, kept[chains.chain]
    source = chains.source[bit]
    source = np.where(source < terms, source, terms + number[np.maximum(source - terms, 0)])
    return Chains(number[chains.chain[bit]], source, chains.column[bit], chains.out[kept], chains.level[kept], chains.place[kept],
                  chains.last[kept], np.where(late, 0, chains.luts))


def _built(b: NetlistBuilder, plan: _Planned, chains: Chains, wanted: Wanted | None) -> tuple[Rows, Ints, Ints]:
    """The chains' rows, level by level."""
    terms, sums, count = plan.terms, len(plan.bias), len(plan.terms.row)
    row = np.concatenate([terms.row, np.zeros(len(chains.out), np.int64)])
    place = np.concatenate([terms.shift, chains.place])
    negative = np.concatenate([terms.negative, np.zeros(len(chains.out), np.bool_)])
    ones = np.zeros(len(chains.out), np.int64)
    fixed = chains.source == CONSTANT
    np.add.at(ones, chains.chain[fixed], np.int64(1) << chains.column[fixed] - chains.place[chains.chain[fixed]])
    chain, source, begin, end = _slices(chains, place)
    rows, depth, bias = np.full(sums, -1), np.zeros(sums, np.int64), plan.bias.copy()
    for level, last in sorted(set(zip(chains.level.tolist(), chains.last.tolist(), strict=True))):
        which = np.flatnonzero((chains.level == level) & (chains.last == last))
        index = np.full(len(chains.out), -1)
        index[which] = np.arange(len(which))
        k = np.flatnonzero(index[chain] >= 0)
        operand, own = row[source[k]], widths(b.lo[row[source[k]]], b.hi[row[source[k]]])
        k, operand, own = (v[begin[k] < own] for v in (k, operand, own))  # a sum can be narrower than its chain
        low, stop, of = begin[k], np.minimum(end[k], own), index[chain[k]]
        signed = (b.lo[operand] < 0) & (stop == own)
        shift = place[source[k]] + low - chains.place[chain[k]]
        imm = ones[which]
        np.add.at(imm, of, offsets(signed, stop - low, negative[source[k]]) << shift)
        cut = np.flatnonzero((low > 0) | (stop < own))
        operand[cut] = b.bits(operand[cut], low[cut], (stop - low)[cut], signed[cut])
        out = chains.out[which]
        imm = wanted.imm[out] - bias[out] if last and wanted else imm
        made = np.zeros(len(which), np.int64)
        some = np.flatnonzero(np.bincount(of, minlength=len(which)))
        lo, hi = (wanted.lo, wanted.hi) if wanted else (0 * plan.reach, plan.reach)
        bounds = (lo[out[some]], hi[out[some]]) if last else None
        first = np.append(np.searchsorted(of, some), len(of))
        made[some] = b.sum(first, operand, shift, negative[source[k]], imm[some], bounds)
        none = np.delete(np.arange(len(which)), some)  # all operands have turned out to be nothing
        if len(none):
            made[none] = b.const(imm[none])
        if not (last and wanted):
            np.add.at(bias, out, imm << chains.place[which])
        row[count + which] = made
        if last:
            rows[out], depth[out] = made, level
    empty = np.flatnonzero(rows < 0)
    if len(empty):
        rows[empty] = b.const(wanted.imm[empty] if wanted else 0 * empty)
    return rows.astype(np.int32), bias if wanted is None else 0 * bias, depth


def _slices(chains: Chains, place: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """(chain, source, lowest bit, end) of the runs of bits that chains take of their sources, in order of the chains."""
    k = np.flatnonzero(chains.source != CONSTANT)
    chain, source, column = chains.chain[k], chains.source[k], chains.column[k]
    order = np.lexsort((column, source, chain))
    chain, source, bit = chain[order], source[order], (column - place[source])[order]
    starts = np.ones(len(k), np.bool_)
    starts[1:] = (chain[1:] != chain[:-1]) | (source[1:] != source[:-1]) | (bit[1:] != bit[:-1] + 1)
    begin = np.flatnonzero(starts)
    end = np.append(begin[1:], len(k))
    return chain[begin], source[begin], bit[begin], bit[end - 1] + 1 if len(k) else bit
