"""How few sites of the device a mapped netlist can be packed into: LUTs after pairing, carry sites, logic blocks.

lut_paired   `lut` less one for each pair. A LUT6 of AMD's devices has two outputs: as O5 and O6 it computes any two functions of
             together at most five inputs. Two live cells LUT1..LUT5 make a pair if
             - they read at least one net in common, and at most five distinct nets together (constants are no nets);
             - at most one of the two needs the O6 output: it is the LUT in front of a carry lane (`SPins.home`), or it drives a data
               pin of a MUXF, which no O5 output reaches.
             LUT6 and LUT6_2 cells, route-throughs and shift registers stay alone. The pairs are chosen greedily: cells with more
             inputs first, then by cell number; each takes, of the free cells that can pair with it, one that shares most nets, of
             these one with most inputs, of these the first. Nothing knows of placement: cells far apart pair as well, and whether
             O5 and a lane's sum want the same output of the slice is not asked, as it is not for LUT6_2 cells.
             Unknown (None) for devices whose LUTs have one output.
carry_sites  Carry units of the device, which may have more lanes than those in the netlist: a chain of n CARRY4 takes n sites of
             a device with CARRY4, and ceil(n / 2) with CARRY8. A chain goes on where the carry out of a live unit meets the carry
             input of another; where it meets several, to the first of them only. A site holds one chain.
clb          The least number of the device's logic blocks (`Part.clb`): the largest of LUTs / LUTs of a block, registers /
             registers of a block, and carry sites / carry sites of a block, rounded up. The LUTs are `lut_paired`, or `lut` where that
             is unknown. It is a bound: control sets and routing leave blocks partly empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from gatewright.backends.part import Part
from gatewright.ir.fixed import Ints
from gatewright.synth.cells import CARRY_IN, Adjacency, Counts, SPins, any_live, joined, leaves_chain
from gatewright.synth.mapped import Bools, Kind, Mapped

PAIRED_INPUTS = 5
SMALL = tuple(f"LUT{inputs}" for inputs in range(1, PAIRED_INPUTS + 1))
LANES = {"CARRY4": 4, "CARRY8": 8, "CCU2C": 2}


@dataclass(frozen=True, slots=True)
class Packing:
    """Sites of the device, as this file's first lines define them."""

    lut_paired: int | None
    carry_sites: int
    clb: int


def pack(mapped: Mapped, live: Bools, pins: SPins, counts: Counts, part: Part) -> Packing:
    """Pack a module. `live` from `live_nets`, `pins` from `s_pins`, `counts` from `count`, all in `cells`."""
    paired = counts.lut - len(pairs(mapped, live, pins)) if part.pairs_luts else None
    sites = carry_sites(mapped, live, part.carry_bits)
    needed = {"lut": counts.lut if paired is None else paired, "ff": counts.ff, "carry": sites}
    return Packing(paired, sites, max(-(-number // part.clb[name]) for name, number in needed.items()))


def pairs(mapped: Mapped, live: Bools, pins: SPins) -> Ints:
    """The LUTs that become one: cell numbers, int64[pairs, 2], the one that chose first."""
    cell, inputs = _small_luts(mapped, live)
    size = (inputs >= 0).sum(axis=1)
    row, _ = np.nonzero(inputs >= 0)
    readers = Adjacency(inputs[inputs >= 0], mapped.nets)
    partner = np.full(len(cell), -1)
    order = np.argsort(-size, kind="stable")
    _match(order, inputs, size, _needs_o6(mapped, pins)[cell], readers.first, row[readers.order], partner)
    chose = np.flatnonzero(partner >= 0)
    return np.stack([cell[chose], cell[partner[chose]]], axis=1)


def _small_luts(mapped: Mapped, live: Bools) -> tuple[Ints, Ints]:
    """Live LUT1..LUT5 in the netlist's order: their numbers, and the nets that they read, each once, -1 in empty places."""
    cells, nets = [], []
    for block in mapped.blocks:
        if block.type in SMALL:
            rows = np.flatnonzero(any_live(block.columns(block.outputs), live))
            read = np.full((len(rows), PAIRED_INPUTS), -1)
            own = np.sort(block.columns(block.inputs)[rows], axis=1)
            own[:, 1:][own[:, 1:] == own[:, :-1]] = -1
            read[:, :own.shape[1]] = np.maximum(own, -1)
            cells.append(rows + block.first)
            nets.append(read)
    return joined(cells), np.concatenate([np.zeros((0, PAIRED_INPUTS), np.int64), *nets])


def _needs_o6(mapped: Mapped, pins: SPins) -> Bools:
    """Cells from whose output a wire leads on that only O6 reaches. bool[cells]"""
    needs = np.zeros(sum(len(block.bits) for block in mapped.blocks), bool)
    needs[pins.home[pins.home >= 0]] = True
    to_mux = mapped.read_by(lambda block, pin: block.kind == Kind.MUX and pin.name in ("I0", "I1"))
    needs[mapped.driver[to_mux & (mapped.driver >= 0)]] = True
    return needs


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _match(order: Any, inputs: Any, size: Any, needs_o6: Any, first: Any, readers: Any, partner: Any) -> None:
    """Fills `partner`: of the LUT that chose, the one it took; -2 of one that was taken; -1 of one that is alone."""
    for lut in order:
        best, most = -1, (0, 0, 0)
        if partner[lut] != -1:
            continue
        for net in inputs[lut]:
            if net < 0:
                continue
            for other in readers[first[net]:first[net + 1]]:
                if other == lut or partner[other] != -1 or (needs_o6[lut] and needs_o6[other]):
                    continue
                shared = 0
                for a in inputs[lut]:
                    for b in inputs[other]:
                        shared += a == b and a >= 0
                rank = (shared, size[other], -other)
                if size[lut] + size[other] - shared <= PAIRED_INPUTS and rank > most:
                    best, most = other, rank
        if best >= 0:
            partner[lut], partner[best] = best, -2


def carry_sites(mapped: Mapped, live: Bools, bits: int) -> int:
    """Carry units of `bits` lanes that the live chains take."""
    before = np.full(sum(len(block.bits) for block in mapped.blocks), -1)
    lanes = np.zeros(len(before), np.int64)
    for block in mapped.blocks:
        if block.kind == Kind.CARRY:
            alive = any_live(block.columns(block.outputs), live)
            lanes[block.numbers[alive]] = LANES[block.type]
            carry = block.columns(p for p in block.inputs if p.name in CARRY_IN).max(axis=1, initial=-1)
            chained = alive & (carry >= 0) & mapped.driven_by(leaves_chain)[carry]
            before[block.numbers[chained]] = mapped.driver[carry[chained]]
    units = np.flatnonzero(before >= 0)
    _, goes_on = np.unique(before[units], return_index=True)
    head = np.arange(len(before))
    head[units[goes_on]] = before[units[goes_on]]
    for _ in range(len(head).bit_length()):  # twice as far back every time
        head = head[head]
    length = np.bincount(head, lanes, minlength=1).astype(np.int64)
    return int((-(-length // bits)).sum())
