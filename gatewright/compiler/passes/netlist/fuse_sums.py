"""Fuse sums: an addition that only one other addition reads joins it, where a part adds three operands in one chain.

AMD's LUT6_2 adds three operands with one LUT per bit (backends/add3.py). A chain has two free ones, so a fused sum needs its
constant and the number of subtracted operands (-x = ~x + 1) to add up to 0, 1 or 2 at the chain's lowest bit.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gatewright.backends.add3 import FREE_UNITS
from gatewright.compiler.passes.netlist.dead_rows import dead_rows
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Bools, Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.usage import constant


def fuse_sums(netlist: Netlist) -> tuple[Netlist, Rows]:
    """Pairs are taken by the LUTs they save, most first; every sum takes part in one pair at most."""
    user, place = _pairs(netlist)
    if not len(user):
        return netlist, np.arange(len(netlist), dtype=np.int32)
    child = netlist.arg[place].astype(np.int64)
    rows, shift, negative, imm = _operands(netlist, user, place, child)
    saved = (_chain(netlist, user) + _chain(netlist, child)
             - chain_bits(netlist.widths[user], shift, negative))
    start = netlist.widths[user] - chain_bits(netlist.widths[user], shift, negative)
    units = (imm >> start) + negative.sum(axis=1)
    fits = (imm & ((np.int64(1) << start) - 1) == 0) & (units >= 0) & (units <= FREE_UNITS)
    distinct = (rows[:, 0] != rows[:, 1]) & (rows[:, 0] != rows[:, 2]) & (rows[:, 1] != rows[:, 2])
    good = np.flatnonzero(fits & distinct & (saved > 0) & (shift.max(axis=1) < 64))
    taken = np.zeros(len(netlist), np.bool_)
    chosen = []
    for k in good[np.argsort(-saved[good], kind="stable")].tolist():
        p, c = int(user[k]), int(child[k])
        if not (taken[p] or taken[c]):
            taken[p] = taken[c] = True
            chosen.append(k)
    return dead_rows(_rebuilt(netlist, user[chosen], rows[chosen], shift[chosen], negative[chosen], imm[chosen]))


def _pairs(netlist: Netlist) -> tuple[Ints, Ints]:
    """(user row, operand place) of every two-operand sum that reads a two-operand sum which nothing else reads."""
    count = np.diff(netlist.first)
    fixed = constant(netlist)
    uses = np.bincount(netlist.arg, minlength=len(netlist))
    for port in netlist.outputs:
        uses[port.rows] += 1
    plain: Bools = (netlist.op == Op.SUM) & (count == 2) & ~fixed
    operand = np.minimum(netlist.first[:-1], max(len(netlist.arg) - 1, 0))
    plain[plain] = ~fixed[netlist.arg[operand[plain]]] & ~fixed[netlist.arg[operand[plain] + 1]]
    owner = np.repeat(np.arange(len(netlist)), count)
    place = np.flatnonzero(plain[owner] & plain[netlist.arg] & (uses[netlist.arg] == 1))
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


def chain_bits(width: Ints, shift: Ints, negative: Bools) -> Ints:
    """Bits of the chain of a sum [rows, operands]: below the second lowest operand, an un-negated lowest one is wires."""
    order = np.argsort(shift, axis=1, kind="stable")
    shift, negative = np.take_along_axis(shift, order, 1), np.take_along_axis(negative, order, 1)
    lowest = np.where(shift == shift[:, :1], negative, False).any(axis=1)
    return np.asarray(np.maximum(width - np.where(lowest, shift[:, 0], shift[:, 1]), 0))


def _chain(netlist: Netlist, rows: Ints) -> Ints:
    places = netlist.first[rows][:, None] + np.arange(2)
    bits = chain_bits(netlist.widths[rows], netlist.shift[places].astype(np.int64), netlist.neg[places])
    return np.where(netlist.imm[rows] == 0, bits, netlist.widths[rows])


def _rebuilt(netlist: Netlist, rows: Ints, arg: Ints, shift: Ints, negative: Bools, imm: Ints) -> Netlist:
    """The netlist with the operands of `rows` replaced by three each."""
    count = np.diff(netlist.first)
    wide = count.copy()
    wide[rows] = 3
    first = np.concatenate([[0], np.cumsum(wide)]).astype(np.int64)
    owner = np.repeat(np.arange(len(netlist)), count)
    target = np.arange(len(netlist.arg)) + (first[:-1] - netlist.first[:-1])[owner]
    columns = []
    places = first[rows][:, None] + np.arange(3)
    for old, new in ((netlist.arg, arg), (netlist.shift, shift), (netlist.neg, negative)):
        column = np.zeros(int(first[-1]), old.dtype)
        column[target] = old
        column[places] = new
        columns.append(column)
    constants = netlist.imm.copy()
    constants[rows] = imm
    return dataclasses.replace(netlist, first=first, arg=columns[0], shift=columns[1], neg=columns[2], imm=constants)
