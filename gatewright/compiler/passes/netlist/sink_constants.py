"""Sink constants: a row that only adds a constant to a sum which nothing else reads joins that sum.

A bias or the half of a rounding rides for free in the addition in front of it; behind it, it is an adder of its own.
"""

from __future__ import annotations

import numpy as np

from gatewright.compiler.passes.netlist.dead_rows import dead_rows
from gatewright.compiler.passes.netlist.rebuild import with_operands
from gatewright.ir.intervals import BEYOND, Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.usage import constant, uses

MOST_OPERANDS = 2
"""Operands of a sum that takes a constant at no cost: in one carry chain, the constant is the third."""


def sink_constants(netlist: Netlist) -> tuple[Netlist, Rows]:
    """Of a chain of such rows, the first joins the sum."""
    count, fixed = np.diff(netlist.first), constant(netlist)
    first = np.minimum(netlist.first[:-1], max(len(netlist.arg) - 1, 0))
    single = (netlist.op == Op.SUM) & (count == 1) & ~fixed
    single[single] = (netlist.shift[first[single]] == 0) & ~netlist.neg[first[single]]
    rows = np.flatnonzero(single)
    source = netlist.arg[first[rows]].astype(np.int64)
    takes = (netlist.op[source] == Op.SUM) & (uses(netlist)[source] == 1) & (count[source] <= MOST_OPERANDS) & ~fixed[source]
    takes &= ~single[source] & (np.abs(netlist.imm[source]) + np.abs(netlist.imm[rows]) < BEYOND)
    rows, source = rows[takes], source[takes]
    size = count[source]
    place = np.repeat(netlist.first[source] - (np.cumsum(size) - size), size) + np.arange(size.sum())
    joined = with_operands(netlist, rows, size, netlist.arg[place], netlist.shift[place], netlist.neg[place],
                           netlist.imm[source] + netlist.imm[rows])
    return dead_rows(joined)
