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
    """Rows that are bits of another row, and no port's: wires, in every stage that reads them."""
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


def reads(netlist: Netlist) -> tuple[Ints, Ints, Masks]:
    """Who reads what: (row, reader, bits of the row, possibly none). Readers are rows that are no slices, and `len(netlist)` stands for
    the output ports, which read whole rows; who reads a slice reads those bits of its row, too. Constants neither read nor are read."""
    sliced, fixed, read, width = slices(netlist), constant(netlist), operand_bits(netlist), netlist.widths
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    place = np.flatnonzero(~(fixed | sliced)[owner] & ~fixed[netlist.arg])
    ports = np.unique(np.concatenate([np.zeros(0, np.int64), *(port.rows for port in netlist.outputs)]))
    ports = ports[~fixed[ports]]
    row, reader = np.concatenate([netlist.arg[place], ports]), np.concatenate([owner[place], np.full(len(ports), len(netlist))])
    found = [(row, reader, np.concatenate([read[place], ones(width[ports])]))]
    while len(cut := np.flatnonzero(sliced[row])):
        row, reader, bits = (column[cut] for column in found[-1])
        place = netlist.first[row]
        up = netlist.imm[row] - netlist.shift[place]
        apart = (up < 0) | (width[row] + up > width[netlist.arg[place]])  # bits below the row, or copies of its sign
        bits = np.where(apart & (bits != 0), read[place], bits << np.maximum(up, 0).astype(np.uint64) & read[place])
        row = netlist.arg[place].astype(np.int64)
        found.append((row, reader, bits))
    row, reader, bits = (np.concatenate(column) for column in zip(*found, strict=True))
    return row, reader, bits


def last_use(netlist: Netlist, stage: Rows, segments: int) -> Rows:
    """The last stage in which every row's value is needed: `segments` for outputs, its own where nothing needs it."""
    last, (row, reader, bits) = stage.copy(), reads(netlist)
    row, reader = row[bits != 0], reader[bits != 0]
    np.maximum.at(last, row, np.append(stage, np.int32(segments))[reader])
    return last


def used_bits(netlist: Netlist) -> Masks:
    """The bits of every row that anything reads, uint64[rows]. Outputs read all bits of their rows."""
    used, (row, _, bits) = np.zeros(len(netlist), np.uint64), reads(netlist)
    np.bitwise_or.at(used, row, bits)
    return used


def held_bits(netlist: Netlist, stage: Rows, segments: int) -> Iterator[Ints]:
    """For every stage, how many bits of every row are read in later ones, int64[rows]: those in registers behind it. Slices need none:
    they are cut from their row's."""
    row, reader, bits = reads(netlist)
    until = np.append(stage, np.int32(segments))[reader]
    late = np.flatnonzero((until > stage[row]) & ~slices(netlist)[row])
    row, until, bits = row[late], until[late], bits[late]
    for k in range(segments):
        mask, later = np.zeros(len(netlist), np.uint64), until > k
        np.bitwise_or.at(mask, row[later], bits[later])
        yield np.where(stage <= k, np.bitwise_count(mask), 0).astype(np.int64)
