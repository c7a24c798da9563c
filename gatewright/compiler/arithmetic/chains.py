"""How long the carry chain of a sum is."""

from __future__ import annotations

import numpy as np

from gatewright.compiler.arithmetic.digits import Bools
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Netlist, Op


def chain_bits(width: Ints, shift: Ints, negative: Bools) -> Ints:
    """Bits of the chain of a sum [rows, operands]: below the second lowest operand, an un-negated lowest one is wires."""
    order = np.argsort(shift, axis=1, kind="stable")
    shift, negative = np.take_along_axis(shift, order, 1), np.take_along_axis(negative, order, 1)
    lowest = np.where(shift == shift[:, :1], negative, False).any(axis=1)
    return np.asarray(np.maximum(width - np.where(lowest, shift[:, 0], shift[:, 1]), 0))


def chains(netlist: Netlist, size: int) -> Ints:
    """Bits of the chains of all sums of `size` operands, int64[rows]; a constant beside others is not counted."""
    rows = np.flatnonzero((netlist.op == Op.SUM) & (np.diff(netlist.first) == size))
    if size == 1:
        return netlist.widths[rows]
    places = netlist.first[rows][:, None] + np.arange(size)
    return chain_bits(netlist.widths[rows], netlist.shift[places].astype(np.int64), netlist.neg[places])
