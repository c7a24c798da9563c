"""Which sums the two-operand adder of the ECP5's carry cells does (templates/verilog/add2.v.j2), and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import Ints, trailing_zeros
from gatewright.ir.intervals import Bools
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.offsets import added, offset_form
from gatewright.ir.usage import constant, operand_bits

NONE = -1
SHORTEST = 4
"""Bits from which on a chain is smaller than LUTs alone."""


@dataclass(frozen=True)
class Add2:
    """One sum as the adder does it: arrays [rows] and [rows, 2].

    From bit `start` up, the chain adds the operands (places in the netlist's operand columns; NONE: there is no second one) and
    `addend`, which is modulo 2**`bits`. The bits below are those of the first operand above `low`, where it begins, and those of
    `constant`, which is less than 2**`low`. With `offset` operands are unsigned numbers with flipped bits (ir/offsets.py), and `negative`
    says nothing.
    """

    rows: Ints
    place: Ints
    negative: Bools
    start: Ints
    bits: Ints
    addend: Ints
    low: Ints
    constant: Ints
    offset: Bools

    @property
    def lut(self) -> Ints:
        """One LUT a bit, one for the first carry, and one for every carry that a constant makes two operands save."""
        rest = np.where(self.place[:, 1] == NONE, 0, self.addend & ~np.int64(1))
        saved = np.where(rest == 0, 0, self.bits - 1 - trailing_zeros(rest))
        return self.bits + 1 + saved


def two_operands(netlist: Netlist) -> Add2:
    """The sums of two operands, or one and a constant, whose chains have SHORTEST bits or more."""
    fixed, width = constant(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    known = fixed[netlist.arg]
    total = added(netlist)
    read = ~known & (operand_bits(netlist) != 0)
    live, unread = (np.bincount(owner[which], minlength=len(netlist)) for which in (read, ~known & ~read))
    rows = np.flatnonzero((netlist.op == Op.SUM) & ~fixed & (unread == 0) & ((live == 2) | (live == 1)))
    first = np.concatenate([np.flatnonzero(read), [0]])
    begin = (np.cumsum(live) - live)[rows]
    place = np.stack([first[begin], np.where(live[rows] == 2, first[np.minimum(begin + 1, len(first) - 1)], NONE)], axis=1)
    none = place == NONE
    shift = np.where(none, 63, netlist.shift[place].astype(np.int64))
    negative = ~none & netlist.neg[place]
    order = np.lexsort((negative, shift), axis=1)
    place, shift, negative = (np.take_along_axis(v, order, 1) for v in (place, shift, negative))
    offset = offset_form(netlist)[rows]
    low = shift[:, 0]
    below, total = total[rows] & ((np.int64(1) << low) - 1), total[rows] >> low
    below, total = np.where(offset, 0, below), np.where(offset, 0, total)
    negative &= ~offset[:, None]
    start = np.where(negative[:, 0], low, np.minimum(shift[:, 1], low + trailing_zeros(total)))
    bits = width[rows] - start
    addend = (total >> np.minimum(start - low, 63)) + negative.sum(axis=1)
    operand = netlist.arg[place[:, 0]]
    apart = (total == 0) & ~negative.any(axis=1) & ((netlist.lo[operand] >= 0) | offset) & (low + width[operand] <= shift[:, 1])
    good = (bits >= SHORTEST) & ~apart & ~(offset & none[:, 1])
    modulus = (np.int64(1) << np.clip(bits, 0, 62)) - 1
    return Add2(*(v[good] for v in (rows, place, negative, start, bits, addend & modulus, low, below, offset)))
