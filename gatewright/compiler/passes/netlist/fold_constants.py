"""Constant folding: every row that can have only one value becomes a constant. Input rows stay inputs: they are the
interface, and their users fold.

1. a row with `lo == hi` -> `const`
2. a constant operand of a sum -> part of `imm`, where that stays a code; a sum of nothing else -> `const` (by 1)
3. a condition of `select` that is constant -> a sum of one operand
4. a table that hands on the one bit it reads -> a sum of one operand
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gatewright.ir.intervals import BEYOND, Bools, Rows, of_sum
from gatewright.ir.netlist import Netlist, Op


def fold_constants(netlist: Netlist) -> tuple[Netlist, Rows]:
    moved = np.arange(len(netlist), dtype=np.int32)
    return _fold_operands(_fold_tables(_fold_selects(_fold_rows(netlist)))), moved


def _without(netlist: Netlist, gone: Bools) -> Netlist:
    """Without the operands marked in `gone`, bool[operands]."""
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    count = np.bincount(owner[~gone], minlength=len(netlist))
    return dataclasses.replace(netlist, first=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
                               arg=netlist.arg[~gone], shift=netlist.shift[~gone], neg=netlist.neg[~gone])


def _fold_rows(netlist: Netlist) -> Netlist:
    fixed = (netlist.lo == netlist.hi) & (netlist.op != Op.INPUT)
    op = np.where(fixed, Op.CONST, netlist.op).astype(np.uint8)
    folded = dataclasses.replace(netlist, op=op, imm=np.where(fixed, netlist.lo, netlist.imm),
                                 aux=np.where(fixed, 0, netlist.aux))
    return _without(folded, np.repeat(fixed, np.diff(netlist.first)))


def _fold_selects(netlist: Netlist) -> Netlist:
    selects = np.flatnonzero(netlist.op == Op.SELECT)
    place = netlist.first[selects]
    condition = netlist.arg[place]
    decided = netlist.lo[condition] == netlist.hi[condition]
    selects, place, taken = selects[decided], place[decided], netlist.lo[condition][decided] == 1
    op, gone = netlist.op.copy(), np.zeros(len(netlist.arg), np.bool_)
    op[selects] = Op.SUM
    gone[place] = True
    gone[place + np.where(taken, 2, 1)] = True
    return _without(dataclasses.replace(netlist, op=op), gone)


def _fold_tables(netlist: Netlist) -> Netlist:
    rows = np.flatnonzero(netlist.op == Op.TABLE)
    place = netlist.first[rows]
    x = netlist.arg[place]
    bit = (netlist.lo[x] == 0) & (netlist.hi[x] == 1) & (netlist.shift[place] == 0)
    rows = rows[bit]
    begin = np.cumsum([0, *(len(t) for t in netlist.tables)])[netlist.imm[rows]] - netlist.aux[rows]
    entries = np.concatenate([np.zeros(0, np.int64), *netlist.tables])
    rows = rows[(entries[begin] == 0) & (entries[begin + 1] == 1)]
    op, imm, aux = netlist.op.copy(), netlist.imm.copy(), netlist.aux.copy()
    op[rows], imm[rows], aux[rows] = Op.SUM, 0, 0
    return dataclasses.replace(netlist, op=op, imm=imm, aux=aux)


def _fold_operands(netlist: Netlist) -> Netlist:
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    constant = (netlist.lo[netlist.arg] == netlist.hi[netlist.arg]) & (netlist.op[owner] == Op.SUM)
    count = np.bincount(owner[constant], minlength=len(netlist))
    rows = np.flatnonzero((count > 0) & (count < np.diff(netlist.first)))
    constant &= np.isin(owner, rows)
    first = np.concatenate([[0], np.cumsum(count[rows])])
    total, _ = of_sum(netlist.lo, netlist.lo, first, netlist.arg[constant], netlist.shift[constant],
                      netlist.neg[constant], netlist.imm[rows])
    fits = np.abs(total) < BEYOND
    imm = netlist.imm.copy()
    imm[rows[fits]] = total[fits]
    return _without(dataclasses.replace(netlist, imm=imm), constant & np.isin(owner, rows[fits]))
