"""How many LUTs a sum takes."""

from __future__ import annotations

import numpy as np

from gatewright.backends.small_sums import chain_luts, small_sums
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import Netlist, Op


def sum_luts(netlist: Netlist, pairs_luts: bool) -> Ints:
    """LUTs of every sum of up to three operands, int64[rows]; 0 for other rows. `pairs_luts`: small ones need no chain."""
    luts = np.zeros(len(netlist), np.int64)
    rows = np.flatnonzero(netlist.op == Op.SUM)
    luts[rows] = chain_luts(netlist, rows)
    if pairs_luts:
        small = small_sums(netlist)
        luts[small.rows] = small.luts
    return luts
