"""How long the carry chain of a sum is, and how many LUTs it takes."""

from __future__ import annotations

import numpy as np

from gatewright.backends.small_sums import chain_luts, small_sums
from gatewright.compiler.arithmetic.digits import Bools
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Netlist, Op


def chain_bits(width: Ints, shift: Ints, negative: Bools) -> Ints:
    """Bits of the chain of a sum [rows, operands]: below the second lowest operand, an un-negated lowest one is wires."""
    order = np.argsort(shift, axis=1, kind="stable")
    shift, negative = np.take_along_axis(shift, order, 1), np.take_along_axis(negative, order, 1)
    lowest = np.where(shift == shift[:, :1], negative, False).any(axis=1)
    return np.asarray(np.maximum(width - np.where(lowest, shift[:, 0], shift[:, 1]), 0))


def sum_luts(netlist: Netlist, pairs_luts: bool) -> Ints:
    """LUTs of every sum of up to three operands, int64[rows]; 0 for other rows. `pairs_luts`: small ones need no chain."""
    luts = np.zeros(len(netlist), np.int64)
    rows = np.flatnonzero(netlist.op == Op.SUM)
    luts[rows] = chain_luts(netlist, rows)
    if pairs_luts:
        small = small_sums(netlist)
        luts[small.rows] = small.luts
    return luts
