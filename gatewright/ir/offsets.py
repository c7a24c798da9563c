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


def offset_form(netlist: Netlist) -> Bools:
    """The sums, bool[rows], whose constant is just the offset of their operands."""
    fixed, is_sum = constant(netlist), netlist.op == Op.SUM
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    arg, shift = netlist.arg, netlist.shift.astype(np.int64)
    offset = offsets(netlist.lo[arg] < 0, netlist.widths[arg], netlist.neg)
    known = np.where(netlist.neg, 1, -1) * netlist.lo[arg]
    rest = netlist.imm.copy()
    operands = is_sum[owner]
    np.subtract.at(rest, owner[operands], (np.where(fixed[arg], known, offset) << shift)[operands])
    return np.asarray(is_sum & (rest == 0))
