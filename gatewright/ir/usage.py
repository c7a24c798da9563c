"""Which bits of a row are read, and until when: what registers, estimates and lint-clean RTL rest on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Bools, Rows
from gatewright.ir.netlist import Netlist, Op

Masks = NDArray[np.uint64]


def constant(netlist: Netlist) -> Bools:
    """Rows with one possible value: they cost nothing and need no register."""
    return np.equal(netlist.lo, netlist.hi)


def slices(netlist: Netlist) -> Bools:
    """Rows that are bits of another row, and no port's: wires, wherever their readers are."""
    sliced: Bools = (netlist.op == Op.BITS) & ~constant(netlist)
    for port in netlist.outputs:
        sliced[port.rows] = False
    return sliced


def ones(width: Ints) -> Masks:
    """Masks of the lowest `width` bits, none where width <= 0."""
    mask: Masks = (np.uint64(1) << np.clip(width, 0, 63).astype(np.uint64)) - np.uint64(1)
    return mask


def operand_bits(netlist: Netlist) -> Masks:
    """The bits of its row that every operand reads, uint64[operands]; none where the user or the row is constant.

    Arithmetic is modulo the width of the result, so higher bits of an operand are not read.
    """
    fixed, width = constant(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    op, own, shift = netlist.op[owner], width[netlist.arg], netlist.shift.astype(np.int64)
    modular = (op == Op.SUM) | (op == Op.MUL) | ((op == Op.SELECT) & (np.arange(len(owner)) > netlist.first[owner]))
    top = np.where(modular, np.minimum(own, width[owner] - shift), own)
    low = np.where(op == Op.BITS, netlist.imm[owner] - shift, 0)
    end = np.where(op == Op.BITS, low + width[owner], top)
    beyond = (op == Op.BITS) & (end > own) & (netlist.lo[netlist.arg] < 0)
    low = np.where(beyond, np.minimum(low, own - 1), low)
    mask = ones(np.minimum(end, own)) & ~ones(low)
    return np.where(fixed[owner] | fixed[netlist.arg], np.uint64(0), mask)


def uses(netlist: Netlist) -> Ints:
    """How often every row is read, by other rows or as an output port's; several elements of one port count once."""
    count: Ints = np.bincount(netlist.arg, minlength=len(netlist)).astype(np.int64)
    for port in netlist.outputs:
        count[port.rows] += 1
    return count


def last_use(netlist: Netlist, stage: Rows, segments: int) -> Rows:
    """The last stage in which every row's value is needed: `segments` for outputs, its own where nothing needs it."""
    last = stage.copy()
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    reads = operand_bits(netlist) != 0
    np.maximum.at(last, netlist.arg[reads], stage[owner[reads]])
    for port in netlist.outputs:
        last[port.rows] = segments
    return np.where(constant(netlist), stage, last)


def used_bits(netlist: Netlist, among: Bools | None = None) -> Masks:
    """The bits of every row that anything reads, uint64[rows]; of the operands in `among` only, where given.

    Outputs read all bits of their rows.
    """
    read, used = operand_bits(netlist), _output_bits(netlist)
    np.bitwise_or.at(used, netlist.arg, read if among is None else np.where(among, read, np.uint64(0)))
    return used


def _output_bits(netlist: Netlist) -> Masks:
    """The bits of every row that outputs read."""
    used = np.zeros(len(netlist), np.uint64)
    for port in netlist.outputs:
        used[port.rows] = ones(netlist.widths[port.rows])
    used[constant(netlist)] = 0
    return used


def held_bits(netlist: Netlist, stage: Rows, segments: int) -> Iterator[Ints]:
    """For every stage, how many bits of every row are read in later ones, int64[rows]: those in registers behind it."""
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    late = np.flatnonzero(stage[owner] > stage[netlist.arg])
    arg, until, read = netlist.arg[late], stage[owner[late]], operand_bits(netlist)[late]
    outputs = _output_bits(netlist)
    for k in range(segments):
        mask, later = outputs.copy(), until > k
        np.bitwise_or.at(mask, arg[later], read[later])
        yield np.where(stage <= k, np.bitwise_count(mask), 0).astype(np.int64)
