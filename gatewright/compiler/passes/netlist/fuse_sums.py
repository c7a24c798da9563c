"""Fuse sums: an addition that only other additions read joins them all, where a part adds three operands in one chain.

AMD's LUT6_2 adds three operands with one LUT per bit (backends/add3.py). A chain has two free ones, so a fused sum needs its
constant and the number of subtracted operands (-x = ~x + 1) to add up to 0, 1 or 2 at the chain's lowest bit, or its constant to be
the offset of its operands (ir/offsets.py).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gatewright.backends.add3 import FREE_UNITS, chain_start
from gatewright.compiler.arithmetic.chains import sum_luts
from gatewright.compiler.passes.netlist.dead_rows import dead_rows
from gatewright.compiler.passes.netlist.rebuild import with_operands
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.intervals import BEYOND, MAX_SHIFT, Bools, Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.offsets import offsets
from gatewright.ir.usage import constant, uses


def fuse_sums(netlist: Netlist) -> tuple[Netlist, Rows]:
    """Children are taken by the LUTs they save per sum that changes, most first; a sum takes part once."""
    user, place = _pairs(netlist)
    if not len(user):
        return netlist, np.arange(len(netlist), dtype=np.int32)
    child = netlist.arg[place].astype(np.int64)
    rows, shift, negative, imm = _operands(netlist, user, place, child)
    start = np.minimum(chain_start(shift, negative), netlist.widths[user])
    units = (imm >> start) + negative.sum(axis=1)
    fits = (imm & ((np.int64(1) << start) - 1) == 0) & (units >= 0) & (units <= FREE_UNITS)
    fits |= imm == (offsets(netlist.lo[rows] < 0, netlist.widths[rows], negative) << np.minimum(shift, MAX_WIDTH)).sum(axis=1)
    fits &= (shift.max(axis=1) <= MAX_SHIFT) & (np.abs(imm) < BEYOND)
    fits &= (rows[:, 0] != child) & (rows[:, 0] != rows[:, 1]) & (rows[:, 0] != rows[:, 2]) & (rows[:, 1] != rows[:, 2])
    reads = uses(netlist)
    everywhere = np.bincount(child[fits], minlength=len(netlist)) == reads
    luts = sum_luts(netlist, True)
    saved = np.bincount(child, luts[user] - netlist.widths[user] + start, minlength=len(netlist))
    candidates = np.unique(child[everywhere[child]])
    saved[candidates] += luts[candidates]
    candidates = candidates[saved[candidates] > 0]
    order = np.argsort(-saved[candidates] / (1 + reads[candidates]), kind="stable")
    by_child = np.argsort(child, kind="stable")
    begin = np.searchsorted(child[by_child], np.arange(len(netlist) + 1))
    chosen = by_child[_choose(candidates[order], begin, user[by_child], np.zeros(len(netlist), np.bool_))]
    arg, shift, negative = (v[chosen].reshape(-1) for v in (rows, shift, negative))
    return dead_rows(with_operands(netlist, user[chosen], np.full(len(chosen), 3), arg, shift, negative, imm[chosen]))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _choose(candidates: Any, begin: Any, user: Any, taken: Any) -> Any:
    """Places of the pairs of those candidates, in order, of which neither the child nor a user is taken already."""
    chosen, count = np.zeros(len(user), np.int64), 0
    for child in candidates:
        free = not taken[child]
        for k in range(begin[child], begin[child + 1]):
            free &= not taken[user[k]]
        if free:
            taken[child] = True
            for k in range(begin[child], begin[child + 1]):
                taken[user[k]] = True
                chosen[count] = k
                count += 1
    return chosen[:count]


def _pairs(netlist: Netlist) -> tuple[Ints, Ints]:
    """(user row, operand place) of every two-operand sum that reads another one."""
    count = np.diff(netlist.first)
    fixed = constant(netlist)
    plain: Bools = (netlist.op == Op.SUM) & (count == 2) & ~fixed
    operand = np.minimum(netlist.first[:-1], max(len(netlist.arg) - 1, 0))
    plain[plain] = ~fixed[netlist.arg[operand[plain]]] & ~fixed[netlist.arg[operand[plain] + 1]]
    owner = np.repeat(np.arange(len(netlist)), count)
    place = np.flatnonzero(plain[owner] & plain[netlist.arg])
    return owner[place], place


def _operands(netlist: Netlist, user: Ints, place: Ints, child: Ints) -> tuple[Ints, Ints, Bools, Ints]:
    """(rows, shifts, negated) [pairs, 3] and the constant of the three-operand sum that each pair makes."""
    start = netlist.first[user]
    other = np.where(place == start, start + 1, start)
    a = netlist.first[child]
    places = np.stack([other, a, a + 1], axis=1)
    outer_shift, outer_neg = netlist.shift[place].astype(np.int64), netlist.neg[place]
    shift, negative = netlist.shift[places].astype(np.int64), netlist.neg[places].copy()
    shift[:, 1:] += outer_shift[:, None]
    negative[:, 1:] ^= outer_neg[:, None]
    inner = np.where(outer_neg, -netlist.imm[child], netlist.imm[child]) << outer_shift
    return netlist.arg[places].astype(np.int64), shift, negative, netlist.imm[user] + inner
