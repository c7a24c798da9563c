"""Sums of so few bits that LUTs with two outputs compute them directly, without a carry chain, and how (templates/verilog/lut5.v.j2).

AMD's LUT6_2 computes two functions of the same five inputs, so a + 2 * b of three bits each is two LUTs instead of a chain of four.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.backends.add3 import three_words
from gatewright.ir.fixed import Ints, trailing_zeros
from gatewright.ir.intervals import Bools
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.offsets import added, carries_out, offset_form
from gatewright.ir.usage import Masks, constant, used_bits

INPUTS = 6
_COMBINATIONS = np.arange(1 << INPUTS)
_ASSIGNMENT = _COMBINATIONS >> np.arange(INPUTS)[:, None] & 1  # [inputs, combinations]
_IDENTITY: Masks = (_ASSIGNMENT.astype(np.uint64) << _COMBINATIONS.astype(np.uint64)).sum(axis=1, dtype=np.uint64)
_WIRES: Masks = np.append(_IDENTITY, [np.uint64(0), ~np.uint64(0)])
"""What a LUT would hold that hands on one of its inputs, or is always 0, or 1."""


@dataclass(frozen=True, eq=False, slots=True)
class SmallSums:
    """`rows` of a netlist, int64[k]. Input i of sum k is bit `bit[k, i]` of the row `source[k, i]` (-1: none). `function[k, b]`: output
    bit b for every combination of the inputs. `needs[k, b]`: 0 where that bit is a wire or read by nothing, 5 where it does without the
    last input, else 6.
    """

    rows: Ints
    source: Ints
    bit: Ints
    function: Masks
    needs: Ints

    @property
    def luts(self) -> Ints:
        """LUTs of every sum, int64[k]."""
        return np.asarray(((self.needs == INPUTS - 1).sum(axis=1) + 1) // 2 + (self.needs == INPUTS).sum(axis=1), np.int64)

    def pairs(self, k: int) -> list[tuple[int, int]]:
        """The output bits of sum k that share a LUT, two by two."""
        alike = np.flatnonzero(self.needs[k] == INPUTS - 1).tolist()
        return list(zip(alike[::2], alike[1::2], strict=False))

    def wire(self, k: int, bit: int) -> int | None:
        """The input that an output bit of sum k hands on, INPUTS for a 0 and INPUTS + 1 for a 1; None for any other function."""
        same = np.flatnonzero(self.function[k, bit] == _WIRES)
        return int(same[0]) if len(same) else None


def small_sums(netlist: Netlist) -> SmallSums:
    """The sums of at most six bits of operands that take no more LUTs so than with a carry chain, and not only wires."""
    rows, source, bit, weight, base = _inputs(netlist)
    bits = int(netlist.widths[rows].max(initial=1))
    read = (used_bits(netlist)[rows, None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)) != 0
    function, reads = _functions(base, weight, bits)
    logic = read & ~np.isin(function, _WIRES)
    last = np.argmin((logic[:, :, None] & reads).sum(axis=1), axis=1)  # the input that the fewest bits need
    k = np.arange(len(rows))
    for column in (source, bit, weight):
        column[k, last], column[:, -1] = column[:, -1].copy(), column[k, last]
    function, reads = _functions(base, weight, bits)
    needs = np.where(logic, np.where(reads[:, :, -1], INPUTS, INPUTS - 1), 0)
    luts = SmallSums(rows, source, bit, function, needs).luts
    better = (luts > 0) & (luts <= chain_luts(netlist, rows))
    return SmallSums(rows[better], source[better], bit[better], function[better], needs[better])


def _functions(base: Ints, weight: Ints, bits: int) -> tuple[Masks, Bools]:
    """The lowest `bits` bits of base + a sum of weights: what a LUT of each holds [k, bits], which inputs it reads [k, bits, INPUTS]."""
    value = (base[:, None] + weight @ _ASSIGNMENT)[:, None, :] >> np.arange(bits)[:, None] & 1
    function: Masks = (value.astype(np.uint64) << _COMBINATIONS.astype(np.uint64)).sum(axis=2, dtype=np.uint64)
    step = np.uint64(1) << np.arange(INPUTS, dtype=np.uint64)
    return function, ((function[:, :, None] >> step ^ function[:, :, None]) & ~_IDENTITY) != 0


def _inputs(netlist: Netlist) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Sums of at most INPUTS bits: rows [k], their inputs' rows, bits and weights [k, INPUTS], and what they add to these [k]."""
    fixed, widths = constant(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    known = fixed[netlist.arg]
    out_of_reach = netlist.shift >= widths[owner]  # arithmetic is modulo the width of the result
    arg, factor = netlist.arg.astype(np.int64), np.where(netlist.neg, -1, 1) << netlist.shift.astype(np.int64)
    order = np.lexsort((arg, owner))
    order = order[~(known | out_of_reach)[order]]
    owner, arg, factor = owner[order], arg[order], factor[order]
    first = np.ones(len(owner), np.bool_)  # of a row that is an operand twice
    first[1:] = (owner[1:] != owner[:-1]) | (arg[1:] != arg[:-1])
    begins = np.flatnonzero(first)
    factor = np.add.reduceat(factor, begins) if len(begins) else factor
    owner, arg = owner[first], arg[first]
    bits = np.bincount(owner, widths[arg], minlength=len(netlist)).astype(np.int64)
    few = (netlist.op == Op.SUM) & ~fixed & (bits > 0) & (bits <= INPUTS)
    few[owner[np.abs(factor) >= 1 << 40]] = False
    rows = np.flatnonzero(few)
    index = np.full(len(netlist), -1)
    index[rows] = np.arange(len(rows))
    taken = few[owner]
    owner, arg, factor = index[owner[taken]], arg[taken], factor[taken]
    count = widths[arg]
    bit = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    owner, arg, factor = (np.repeat(v, count) for v in (owner, arg, factor))
    sign = (bit == widths[arg] - 1) & (netlist.lo[arg] < 0)
    weight = np.where(sign, -factor, factor) << bit
    order = np.lexsort((np.abs(weight), owner))
    owner, arg, bit, weight = (v[order] for v in (owner, arg, bit, weight))
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    columns = np.zeros((3, len(rows), INPUTS), np.int64)
    columns[0] = -1
    columns[:, owner, place] = arg, bit, weight
    return rows, *columns, added(netlist)[rows]


def chain_luts(netlist: Netlist, rows: Ints) -> Ints:
    """LUTs of the sums `rows` as one carry chain each, int64[rows]: as the three-operand adder, or the bits from where two operands
    overlap, or a constant, or from a subtracted one; but for the highest bit where that is a carry alone."""
    count = np.diff(netlist.first)[rows]
    place = np.repeat(netlist.first[rows] - (np.cumsum(count) - count), count) + np.arange(count.sum())
    owner, shift = np.repeat(np.arange(len(rows)), count), netlist.shift[place].astype(np.int64)
    order = np.lexsort((~netlist.neg[place], shift, owner))
    shift, negative = shift[order], netlist.neg[place][order]
    begin = np.cumsum(count) - count
    second = np.where(count > 1, shift[np.minimum(begin + 1, len(shift) - 1)], 63) if len(rows) else count
    added = np.where(offset_form(netlist)[rows], 63, trailing_zeros(netlist.imm[rows]))
    start = np.where(negative[begin], shift[begin], np.minimum(second, added))
    luts = np.zeros(len(netlist), np.int64)
    luts[rows] = np.maximum(netlist.widths[rows] - start - carries_out(netlist)[rows], 0)
    plan = three_words(netlist)
    luts[plan.rows] = plan.lut
    return luts[rows]
