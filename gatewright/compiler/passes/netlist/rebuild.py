"""What Netlist passes end with: a new Netlist of some of the old rows, or of all with other operands."""

from __future__ import annotations

import dataclasses

import numpy as np

from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Bools, Rows
from gatewright.ir.netlist import Netlist, NetPort, Op


def keep_rows(netlist: Netlist, keep: Bools, stand_in: Rows | None = None) -> tuple[Netlist, Rows]:
    """The rows where `keep` is true, and `moved`, int32[old rows].

    `stand_in`, int32[old rows], names the old row that takes over from each row (itself where nothing does). Operands
    and outputs follow it; those of kept rows must end at kept rows. Tables that nothing uses any more are dropped.
    """
    stand_in = np.arange(len(netlist), dtype=np.int32) if stand_in is None else stand_in
    moved = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)[stand_in]
    count = np.diff(netlist.first)
    operand = np.repeat(keep, count)
    arg = moved[netlist.arg[operand]]
    if (arg < 0).any() or any((moved[p.rows] < 0).any() for p in netlist.inputs + netlist.outputs):
        raise InternalError(f"netlist '{netlist.name}': a row that is still used was removed")
    op, imm = netlist.op[keep], netlist.imm[keep].copy()
    used, place = np.unique(imm[op == Op.TABLE], return_inverse=True)
    imm[op == Op.TABLE] = place
    result = dataclasses.replace(
        netlist, op=op, imm=imm, aux=netlist.aux[keep], lo=netlist.lo[keep], hi=netlist.hi[keep],
        origin=netlist.origin[keep], first=np.concatenate([[0], np.cumsum(count[keep])]).astype(np.int64), arg=arg,
        shift=netlist.shift[operand], neg=netlist.neg[operand], tables=tuple(netlist.tables[t] for t in used.tolist()),
        inputs=_ports(netlist.inputs, moved), outputs=_ports(netlist.outputs, moved))
    return result, moved


def _ports(ports: tuple[NetPort, ...], moved: Rows) -> tuple[NetPort, ...]:
    return tuple(NetPort(p.name, moved[p.rows]) for p in ports)


def with_operands(netlist: Netlist, rows: Ints, count: Ints, arg: Ints, shift: Ints, neg: Bools, imm: Ints) -> Netlist:
    """The netlist with other operands and constants for `rows`: `count` operands each, one after the other in the columns."""
    old = np.diff(netlist.first)
    size = old.copy()
    size[rows] = count
    first = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    owner = np.repeat(np.arange(len(netlist)), old)
    stays = np.flatnonzero(~np.isin(owner, rows))
    target = stays + (first[:-1] - netlist.first[:-1])[owner[stays]]
    places = np.repeat(first[rows] - (np.cumsum(count) - count), count) + np.arange(len(arg))
    columns = []
    for before, new in ((netlist.arg, arg), (netlist.shift, shift), (netlist.neg, neg)):
        column = np.zeros(int(first[-1]), before.dtype)
        column[target], column[places] = before[stays], new
        columns.append(column)
    constants = netlist.imm.copy()
    constants[rows] = imm
    return dataclasses.replace(netlist, first=first, arg=columns[0], shift=columns[1], neg=columns[2], imm=constants)
