"""Which sums fit the three-operand adder of AMD's 6-input LUTs (templates/verilog/add3.v.j2), and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import Ints, trailing_zeros
from gatewright.ir.intervals import Bools
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.offsets import added, carries_out, offset_form
from gatewright.ir.usage import constant

CONSTANT = -1
FREE_UNITS = 2
"""Ones that a chain takes for free: its carry in, and the saved carry of its first bit."""


@dataclass(frozen=True)
class Add3:
    """One sum as the adder does it: arrays [rows] and [rows, 3].

    From bit `start` up, the chain adds the operands (places in the netlist's operand columns; CONSTANT: `total`) and
    `units`; the bits below are those of the first operand, which is the lowest one. Where `offset`, operands are unsigned numbers with
    flipped bits (ir/offsets.py), and `negative` says nothing; else all bits of a `negative` one are flipped. Where `carry_out`, the
    highest bit is the carry out of the one below.
    """

    rows: Ints
    place: Ints
    negative: Bools
    start: Ints
    units: Ints
    total: Ints
    offset: Bools
    carry_out: Bools


def three_operands(netlist: Netlist) -> Add3:
    """The sums of three operands, or of two and a constant, whose constant and negations the chain's free inputs hold, or whose constant
    is the offset of three operands."""
    fixed, width = constant(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    known = fixed[netlist.arg]
    total = added(netlist)
    live = np.bincount(owner[~known], minlength=len(netlist))
    unsigned = offset_form(netlist)
    rows = np.flatnonzero((netlist.op == Op.SUM) & ~fixed & ((live == 3) | ((live == 2) & (total != 0) & ~unsigned)))
    place = np.full((len(rows), 3), CONSTANT)
    index = np.full(len(netlist), -1)
    index[rows] = np.arange(len(rows))
    for_rows = np.flatnonzero(~known & (index[owner] >= 0))
    which = index[owner[for_rows]]
    rank = np.arange(len(for_rows)) - np.searchsorted(which, which)
    place[which, rank] = for_rows
    constant_shift = trailing_zeros(total[rows])
    is_constant = place == CONSTANT
    shift = np.where(is_constant, constant_shift[:, None], netlist.shift[place].astype(np.int64))
    negative = np.where(is_constant, False, netlist.neg[place])
    order = np.lexsort((negative, shift), axis=1)
    place, shift, negative = (np.take_along_axis(v, order, 1) for v in (place, shift, negative))
    offset = unsigned[rows]
    start = np.where(negative[:, 0], shift[:, 0], shift[:, 1])
    own = np.where((place == CONSTANT).any(axis=1) | offset, 0, total[rows])
    units = np.where(offset, 0, (own >> start) + negative.sum(axis=1))
    good = (own & ((np.int64(1) << start) - 1) == 0) & (units >= 0) & (units <= FREE_UNITS) & (start < width[rows])
    carry_out = carries_out(netlist)[rows] & (start < width[rows] - 1)
    return Add3(*(v[good] for v in (rows, place, negative, start, units, total[rows], offset, carry_out)))
