"""Counts what a synthesised netlist really takes: live cells only, and the LUTs that the netlist does not show.

Xilinx (7-series to UltraScale+)
    lut_logic      LUT1..LUT6 cells, and LUT6_2 once.
    route_through  S pins of carry lanes that need a LUT of their own: only the LUT in front of a lane reaches its pin,
                   so a pin driven by a register, a port, an inverter, a carry output or the O5 output of a LUT costs
                   one, and a LUT that drives n of these pins serves one of them and costs n - 1 more.
    srl            shift-register LUTs.
    An inverter costs nothing: it moves into the LUT or register beside it (route_through counts it in front of S).
ECP5
    lut_logic      LUT4 cells, and two for each CCU2C, which is a slice in carry mode: both of its LUTs are taken.
    route_through  two for each CCU2C that place and route must add to a chain: one in front of a chain whose CIN is not
                   left open (a constant too comes in this way), one where COUT goes anywhere else than to the next CIN.
                   (nextpnr adds one also behind a last COUT that nothing reads; those are not counted.)
MUXF*, PFUMX and L6MUX21 sit beside the LUTs and take none. A net is live if it reaches a register, a memory, a
multiplier or an output port; a cell, if one of its outputs is; an S pin counts if its unit and its net are live
(constants cost nothing).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import Ints
from gatewright.synth.mapped import CONSTANTS, OPEN, Block, Bools, Kind, Mapped, Pin

CARRY_IN = ("CI", "CI_TOP", "CIN")
"""Pins that take the carry of the unit below; a fabric net can enter a chain there too."""


@dataclass(frozen=True, slots=True)
class Arcs:
    """The combinational way from one pin to another in the cells `rows` of a block."""

    block: Block
    source: Pin
    target: Pin
    rows: Ints

    @property
    def sources(self) -> Ints:
        return self.block.net_on(self.source, self.rows)

    @property
    def targets(self) -> Ints:
        return self.block.net_on(self.target, self.rows)

    @property
    def cells(self) -> Ints:
        return self.rows + self.block.first


@dataclass(frozen=True, slots=True)
class Counts:
    """Live cells of a module, as this file's first lines define them.

    `bram` counts blocks, as parts do: two RAMB18 share one block of 36 Kb; a block of the ECP5 has 18 Kb.
    """

    lut_logic: int
    route_through: int
    srl: int
    carry: int
    carry_unit: str | None
    ff: int
    dsp: int
    bram: int
    uram: int

    @property
    def lut(self) -> int:
        return self.lut_logic + self.route_through + self.srl


class Adjacency:
    """Edges grouped by one of their ends: `of(nodes)` are the numbers of all edges at these nodes."""

    def __init__(self, ends: Ints, nodes: int) -> None:
        self.order = np.argsort(ends, kind="stable")
        self.first = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=nodes))])

    def of(self, nodes: Ints) -> Ints:
        counts = self.first[nodes + 1] - self.first[nodes]
        before = np.repeat(self.first[nodes] - (np.cumsum(counts) - counts), counts)
        edges: Ints = self.order[before + np.arange(counts.sum())]
        return edges


def lane_of(block: Block, pin: Pin) -> int:
    """The lane of a carry unit that a pin belongs to: the carry into the unit belongs to the first, out to the last."""
    if block.type == "CCU2C":
        return 1 if pin.name == "COUT" else int(pin.name[-1]) if pin.name[-1].isdigit() else 0
    return 4 if pin.name == "CI_TOP" else pin.lane


def leaves_chain(block: Block, pin: Pin) -> bool:
    """Is this output the carry that the next unit takes on a dedicated wire?"""
    return pin.name == "COUT" or (pin.name == "CO" and pin.lane == (7 if block.type == "CARRY8" else 3))


def is_clock(block: Block, pin: Pin) -> bool:
    return pin.name.startswith("CLK") or pin.name.endswith("CLK") or (block.kind == Kind.FF and pin.name == "C")


def is_o5(block: Block, pin: Pin) -> bool:
    """Is this the second output of a LUT6_2? It cannot reach an S pin, but the DI pin beside it."""
    return block.type == "LUT6_2" and pin.name == "O5"


def arcs_of(mapped: Mapped) -> list[Arcs]:
    """All combinational ways from net to net, pin pair by pin pair."""
    found = []
    for block in mapped.blocks:
        if not block.kind.sequential:
            for target in block.outputs:
                for source in block.inputs:
                    through = _through(block, source, target) & (block.bits[:, source.column] >= 0)
                    rows = np.flatnonzero(through & (block.bits[:, target.column] >= 0))
                    if rows.size:
                        found.append(Arcs(block, source, target, rows))
    return found


def _through(block: Block, source: Pin, target: Pin) -> Bools:
    """In which cells of the block does this output depend on this input? bool[cells]"""
    if block.type == "LUT6_2":
        top = block.columns(p for p in block.inputs if p.name == "I5").max(axis=1, initial=OPEN)
        cells = zip(block.init, top, strict=True)
        return np.array([source.name in _support(init, target.name, i5) for init, i5 in cells])
    depends = True
    if block.kind == Kind.CARRY:
        reach = lane_of(block, target) - lane_of(block, source)
        depends = reach > 0 or (reach == 0 and not (source.name == "DI" and target.name == "O"))
    return np.full(len(block.bits), depends)


@functools.lru_cache(maxsize=4096)
def _support(init: str, output: str, i5: int) -> frozenset[str]:
    """The inputs that an output of a LUT6_2 depends on. O5 = INIT[31:0] at I4..I0, O6 = INIT[63:0] at I5..I0."""
    table = init[::-1]
    if output == "O5" or i5 == CONSTANTS["0"]:
        table = table[:32]
    elif i5 < 0:
        table = table[32:]
    return frozenset(f"I{n}" for n in range(6) if any(
        table[index] != table[index ^ 1 << n] for index in range(len(table)) if index ^ 1 << n < len(table)))


def live_nets(mapped: Mapped, arcs: list[Arcs]) -> Bools:
    """Nets that reach a register, memory, multiplier (on any pin but its clock) or an output port. bool[nets]"""
    live = mapped.read_by(lambda block, pin: block.kind.sequential and not is_clock(block, pin))
    live[mapped.output_nets] = True
    sources, targets = joined(a.sources for a in arcs), joined(a.targets for a in arcs)
    into = Adjacency(targets, mapped.nets)
    frontier = np.flatnonzero(live)
    while frontier.size:
        reached = np.unique(sources[into.of(frontier)])
        frontier = reached[~live[reached]]
        live[frontier] = True
    return live


def joined(arrays: Iterable[Ints]) -> Ints:
    """One array of all; empty int64 if there are none."""
    return np.concatenate([np.zeros(0, np.int64), *arrays])


@dataclass(frozen=True, slots=True)
class SPins:
    """The live S pins of live Xilinx carry units: four int64 arrays of one length, in the order of the netlist.

    `home` is the LUT in front of the lane: one whose O or O6 output drives this pin, and no earlier one; otherwise -1.
    """

    cell: Ints
    lane: Ints
    net: Ints
    home: Ints


def s_pins(mapped: Mapped, live: Bools) -> SPins:
    """Find the S pins that count, and give each LUT that drives some of them to the first of these."""
    cells, lanes, nets = [], [], []
    for block in mapped.blocks:
        alive = any_live(block.columns(block.outputs), live)
        for pin in block.inputs if block.kind == Kind.CARRY else ():
            if pin.name == "S":
                rows = np.flatnonzero(alive & any_live(block.columns([pin]), live))
                cells.append(rows + block.first)
                lanes.append(np.full(len(rows), pin.lane))
                nets.append(block.bits[rows, pin.column])
    cell, lane, net = joined(cells), joined(lanes), joined(nets)
    order = np.lexsort([lane, cell])
    cell, lane, net = cell[order], lane[order], net[order]
    from_o5 = mapped.driven_by(is_o5)
    candidates = np.flatnonzero((mapped.driver_kind[net] == Kind.LUT) & ~from_o5[net])
    luts, first = np.unique(mapped.driver[net[candidates]], return_index=True)
    home = np.full(len(net), -1)
    home[candidates[first]] = luts
    return SPins(cell, lane, net, home)


def any_live(nets: Ints, live: Bools) -> Bools:
    """Is one of the nets on a row live? Both int64[cells, pins] and bool[nets] in, bool[cells] out."""
    return np.asarray((live[nets] & (nets >= 0)).any(axis=1))


def count(mapped: Mapped, live: Bools, pins: SPins) -> Counts:
    """Count a module's cells. `live` from `live_nets`, `pins` from `s_pins`."""
    total = dict.fromkeys(Kind, 0)
    per_type: dict[str, int] = {}
    for block in mapped.blocks:
        alive = len(block.bits) if block.kind.sequential else int(any_live(block.columns(block.outputs), live).sum())
        total[block.kind] += alive
        per_type[block.type] = alive
    units = [t for t in ("CARRY4", "CARRY8", "CCU2C") if per_type.get(t)]
    ccu2c = per_type.get("CCU2C", 0)
    half_blocks = sum(number for cell_type, number in per_type.items() if cell_type.startswith("RAMB18"))
    return Counts(lut_logic=total[Kind.LUT] + 2 * ccu2c,
                  route_through=int((pins.home < 0).sum()) + 2 * _chain_ends(mapped, live),
                  srl=total[Kind.SRL], carry=total[Kind.CARRY], carry_unit="+".join(units) or None,
                  ff=total[Kind.FF], dsp=total[Kind.DSP], bram=total[Kind.BRAM] - half_blocks // 2,
                  uram=total[Kind.URAM])


def to_fabric(mapped: Mapped) -> Bools:
    """Nets read by anything but the carry input of a unit. bool[nets]"""
    fabric = mapped.read_by(lambda block, pin: pin.name not in CARRY_IN or block.kind != Kind.CARRY)
    fabric[mapped.output_nets] = True
    return fabric


def _chain_ends(mapped: Mapped, live: Bools) -> int:
    """CCU2C cells that place and route adds where an ECP5 chain meets the fabric."""
    chained, fabric, added = mapped.driven_by(leaves_chain), to_fabric(mapped), 0
    for block in mapped.blocks:
        if block.type == "CCU2C":
            alive = any_live(block.columns(block.outputs), live)
            carry_in = block.columns(p for p in block.inputs if p.name == "CIN")[alive].max(axis=1, initial=OPEN)
            carry_out = block.columns(p for p in block.outputs if p.name == "COUT").max(axis=1, initial=OPEN)
            added += int(((carry_in != OPEN) & ~((carry_in >= 0) & chained[carry_in])).sum())
            added += int(((carry_out >= 0) & live[carry_out] & fabric[carry_out]).sum())
    return added
