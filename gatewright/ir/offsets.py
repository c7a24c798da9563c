"""Sums in offset form: every operand an unsigned number, some of its bits flipped, and nothing else to add.

A signed operand of n bits plus 2**(n-1) is its own bits with the highest one flipped; 2**n - 1 minus an unsigned one is its bits, all
flipped. What a sum adds to its operands so is its offset. Such a sum needs no sign extension and is as narrow as its range allows.
"""

from __future__ import annotations

import numpy as np

from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Bools
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.usage import constant


def offsets(signed: Bools, width: Ints, negative: Bools) -> Ints:
    """What makes operands of `width` bits unsigned by flipping bits: for ±x, an int64 to be shifted as x is."""
    half = np.int64(1) << np.maximum(width - 1, 0)
    return np.asarray(np.where(signed, half - negative, np.where(negative, 2 * half - 1, 0)), np.int64)


def flipped(signed: Bools, width: Ints, negative: Bools) -> Ints:
    """Those bits, as a mask."""
    half = np.int64(1) << np.maximum(width - 1, 0)
    return np.asarray(np.where(signed, half, 0) ^ np.where(negative, 2 * half - 1, 0), np.int64)


def operand_flips(netlist: Netlist) -> Ints:
    """The bits to flip of every operand of sums in offset form, int64[operands], from the operand's own bit 0 up."""
    return flipped(netlist.lo[netlist.arg] < 0, netlist.widths[netlist.arg], netlist.neg)


def added(netlist: Netlist) -> Ints:
    """What every sum adds to its operands that vary, int64[rows]: its own constant, and those among its operands."""
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    known = np.flatnonzero(constant(netlist)[netlist.arg])
    total = netlist.imm.copy()
    values = netlist.lo[netlist.arg[known]] << netlist.shift[known].astype(np.int64)
    np.add.at(total, owner[known], np.where(netlist.neg[known], -values, values))
    return total


def rest(netlist: Netlist) -> Ints:
    """What every sum adds besides its operands in offset form, int64[rows]."""
    owner, arg = np.repeat(np.arange(len(netlist)), np.diff(netlist.first)), netlist.arg
    live = np.flatnonzero(~constant(netlist)[arg])
    offset = offsets(netlist.lo[arg[live]] < 0, netlist.widths[arg[live]], netlist.neg[live]) << netlist.shift[live].astype(np.int64)
    left = added(netlist)
    np.subtract.at(left, owner[live], offset)
    return left


def offset_form(netlist: Netlist) -> Bools:
    """The sums, bool[rows], whose constant is just the offset of their operands."""
    return np.asarray((netlist.op == Op.SUM) & (rest(netlist) == 0))


def carries_out(netlist: Netlist) -> Bools:
    """Sums in offset form, of two or three operands, of which the highest bit is the carry out of the chain of those below: no operand
    reaches it, and of three at most one the bit below, so that nothing is carried past that but by the chain."""
    count, own = np.diff(netlist.first), netlist.widths[netlist.arg] + netlist.shift
    owner = np.repeat(np.arange(len(netlist)), count)
    below = netlist.widths[owner] - 1 - own  # places below the highest bit that an operand leaves free
    highest, next_highest = (np.bincount(owner, below < n, minlength=len(netlist)) for n in (0, 1))
    carried: Bools = offset_form(netlist) & (highest == 0) & ((count == 2) | ((count == 3) & (next_highest <= 1)))
    return carried
