"""The longest path of a synthesised netlist, before placement: for comparing designs, not for signing them off.

The delays come from the part (`backends/part.py`), in ns; a path adds up
    net          for every net that runs through the fabric
    lut, muxf    through a LUT, through a multiplexer behind LUTs; an inverter is free
    carry_in     from a pin of a carry unit into its chain (ECP5: through the unit's own LUT)
    carry_group  for every further carry unit on the way
    carry_out    from the chain to an output that the fabric can see
    dsp          through a multiplier that has no registers of its own
    clk_to_q     out of a register, setup into a register or an output port.
Dedicated wires have no net: from a LUT to the S pin of its own lane (`SPins.home`) and from its O5 output to the DI pin
there, from carry unit to carry unit, from LUT or multiplexer to the data pins of a multiplexer, from anything but a
register to a register's data pin, and to output ports. An input port counts as a register without its clk_to_q.
Memories, and multipliers with registers, have no times in this model: with one of them in the design the longest path is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints
from gatewright.synth.cells import (
    CARRY_IN,
    Adjacency,
    Arcs,
    SPins,
    is_clock,
    is_o5,
    joined,
    leaves_chain,
    s_pins,
    to_fabric,
)
from gatewright.synth.mapped import Block, Bools, Kind, Mapped

SELECTS = ("S", "C0", "SD")
"""Select pins of multiplexers: reached through the fabric."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Path:
    """A path: its delay in ns (rounded to 1 ps), and the ports or registers (by the net they drive) at its ends."""

    ns: float
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Ends:
    """Where paths end: nets, the time from there to the end (ns), and the cell that takes the net (-1: output port)."""

    net: Ints
    delay: Floats
    cell: Ints


def longest_path(mapped: Mapped, arcs: list[Arcs], live: Bools, delay: Mapping[str, float]) -> Path | None:
    """The longest path between registers and ports. None: there is no path, or the model has no times for it.

    `arcs` from `cells.arcs_of`, `live` from `cells.live_nets`; `delay` as in `Part`, in ns.
    Raises InternalError if live logic forms a loop.
    """
    ends = _ends(mapped, delay)
    if not ends.net.size or any(block.kind > Kind.SRL and not _is_product(block) for block in mapped.blocks):
        return None
    arcs = [*arcs, *_product_arcs(mapped)]
    sources, targets = joined(a.sources for a in arcs), joined(a.targets for a in arcs)
    times = np.concatenate([np.zeros(0), *_arc_delays(mapped, arcs, live, delay)])
    used = live[targets]
    sources, targets, times = sources[used], targets[used], times[used]
    arrival = _arrivals(mapped, sources, targets, times, delay["clk_to_q"])
    total = arrival[ends.net] + ends.delay
    worst = int(total.argmax())
    start = _origin(int(ends.net[worst]), Adjacency(targets, mapped.nets), sources, times, arrival)
    return Path(round(float(total[worst]), 3), mapped.name_of(start),
                _end_name(mapped, int(ends.net[worst]), int(ends.cell[worst])))


def _is_product(block: Block) -> bool:
    """Are these multipliers without registers? Yosys connects the clock of others only."""
    clocks = block.columns(pin for pin in block.inputs if is_clock(block, pin))
    return block.kind == Kind.DSP and bool((clocks < 0).all())


def _product_arcs(mapped: Mapped) -> list[Arcs]:
    """From every input of a multiplier to every output."""
    found = []
    for block in filter(_is_product, mapped.blocks):
        driven = block.bits >= 0
        for source in block.inputs:
            for target in block.outputs:
                rows = np.flatnonzero(driven[:, source.column] & driven[:, target.column])
                if rows.size:
                    found.append(Arcs(block, source, target, rows))
    return found


def _ends(mapped: Mapped, delay: Mapping[str, float]) -> Ends:
    ports = mapped.output_nets
    nets, delays, cells = [ports], [np.zeros(len(ports))], [np.full(len(ports), -1)]
    from_register = mapped.driver_kind >= Kind.FF
    for block in mapped.blocks:
        for pin in block.inputs if block.kind.sequential and not _is_product(block) else ():
            if not is_clock(block, pin):
                rows = np.flatnonzero(block.bits[:, pin.column] >= 0)
                found = block.bits[rows, pin.column]
                dedicated = ~from_register[found] & (pin.name in ("D", "DI"))
                nets.append(found)
                delays.append(np.where(dedicated, 0.0, delay["net"]))
                cells.append(rows + block.first)
    return Ends(joined(nets), np.concatenate(delays) + delay["setup"], joined(cells))


def _arc_delays(mapped: Mapped, arcs: list[Arcs], live: Bools, delay: Mapping[str, float]) -> Iterator[Floats]:
    """The delay of every arc, net in front of it included: one array per element of `arcs`."""
    wires = _Wires.of(mapped, s_pins(mapped, live))
    for arc in arcs:
        if arc.block.kind == Kind.INV:
            yield np.zeros(len(arc.rows))
        elif arc.block.kind == Kind.LUT:
            yield np.full(len(arc.rows), delay["net"] + delay["lut"])
        elif arc.block.kind == Kind.DSP:
            yield np.full(len(arc.rows), delay["net"] + delay["dsp"])
        elif arc.block.kind == Kind.MUX:
            near = np.isin(mapped.driver_kind[arc.sources], (Kind.LUT, Kind.MUX)) & (arc.source.name not in SELECTS)
            yield np.where(near, 0.0, delay["net"]) + delay["muxf"]
        else:
            yield _entry(arc, mapped, wires, delay) + np.where(
                wires.fabric[arc.targets] | (not leaves_chain(arc.block, arc.target)), delay["carry_out"], 0.0)


@dataclass(frozen=True, slots=True)
class _Wires:
    """The dedicated wires at carry chains. `lane_of_lut` int64[cells]: the lane that a LUT is in front of, or -1.
    bool[nets]: driven by an O5 output, driven by the carry that leaves a unit, read by anything but a carry input."""

    lane_of_lut: Ints
    from_o5: Bools
    chained: Bools
    fabric: Bools

    @staticmethod
    def of(mapped: Mapped, pins: SPins) -> _Wires:
        lane_of_lut = np.full(1 + int(mapped.driver.max(initial=-1)), -1)
        own = pins.home >= 0
        lane_of_lut[pins.home[own]] = _lane_number(pins.cell, pins.lane)[own]
        return _Wires(lane_of_lut, mapped.driven_by(is_o5), mapped.driven_by(leaves_chain), to_fabric(mapped))


def _entry(arc: Arcs, mapped: Mapped, wires: _Wires, delay: Mapping[str, float]) -> Floats:
    """The time from a net into a carry chain, for the cells of one arc."""
    sources, fabric = arc.sources, delay["net"] + delay["carry_in"]
    if arc.source.name in CARRY_IN:
        return np.where(wires.chained[sources], delay["carry_group"], fabric)
    dedicated = np.zeros(len(sources), bool)
    if arc.source.name in ("S", "DI"):
        own_lut = wires.lane_of_lut[mapped.driver[sources]] == _lane_number(arc.cells, arc.source.lane)
        right_output = wires.from_o5[sources] | (arc.source.name == "S")
        dedicated = (mapped.driver_kind[sources] == Kind.LUT) & own_lut & right_output
    return np.where(dedicated, delay["carry_in"], fabric)


def _lane_number(cell: Ints, lane: Ints | int) -> Ints:
    """One number for a lane of a carry unit; a unit has at most eight lanes."""
    return cell * 8 + lane


def _arrivals(mapped: Mapped, sources: Ints, targets: Ints, times: Floats, clk_to_q: float) -> Floats:
    """The latest time at which each net changes, in ns after the clock: a net is done when all arcs into it are."""
    arrival = np.where(mapped.driver_kind >= Kind.FF, clk_to_q, 0.0)
    waiting = np.bincount(targets, minlength=mapped.nets)
    out_of, done = Adjacency(sources, mapped.nets), 0
    ready = np.flatnonzero(waiting == 0)
    while ready.size:
        edges = out_of.of(ready)
        reached = targets[edges]
        np.maximum.at(arrival, reached, arrival[sources[edges]] + times[edges])
        np.subtract.at(waiting, reached, 1)
        done += edges.size
        reached = np.unique(reached)
        ready = reached[waiting[reached] == 0]
    if done != len(sources):
        raise InternalError(f"the synthesised netlist has a loop of logic at {mapped.name_of(int(waiting.argmax()))}")
    return arrival


def _origin(net: int, into: Adjacency, sources: Ints, times: Floats, arrival: Floats) -> int:
    """The net at which the longest path to this one starts."""
    while (edges := into.of(np.array([net]))).size:
        net = int(sources[edges[np.argmax(arrival[sources[edges]] + times[edges])]])
    return net


def _end_name(mapped: Mapped, net: int, cell: int) -> str:
    """An output port's name, or that of the first net that the register drives."""
    if cell < 0:
        return mapped.name_of(net)
    block = next(b for b in mapped.blocks if b.first <= cell < b.first + len(b.bits))
    driven = block.columns(block.outputs)[cell - block.first]
    driven = driven[driven >= 0]
    return mapped.name_of(int(driven[0]) if driven.size else net)
