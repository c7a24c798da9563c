"""A synthesised module bit by bit: Yosys JSON in, one numpy array per cell type out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints

Bools = NDArray[np.bool_]


class Kind(IntEnum):
    """What a cell is, as far as counting and timing care. PORT: no cell at all, an input of the module."""

    PORT = 0
    LUT = 1
    MUX = 2
    INV = 3
    CARRY = 4
    FF = 5
    SRL = 6
    DSP = 7
    BRAM = 8
    URAM = 9

    @property
    def sequential(self) -> bool:
        return self >= Kind.FF


CELLS = {
    r"LUT[1-6]|LUT6_2": Kind.LUT,
    r"MUXF[789]|PFUMX|L6MUX21": Kind.MUX,
    r"INV": Kind.INV,
    r"CARRY4|CARRY8|CCU2C": Kind.CARRY,
    r"FD[RSCP]E(_1)?|TRELLIS_FF": Kind.FF,
    r"SRL16E|SRLC16E|SRLC32E": Kind.SRL,
    r"DSP48E[12]|MULT18X18D|ALU54B": Kind.DSP,
    r"RAMB(18|36)E[12]|DP16KD|PDPW16KD": Kind.BRAM,
    r"URAM288(_BASE)?": Kind.URAM,
}
"""Cell types (whole-name patterns) of Xilinx 7-series to UltraScale+ and of Lattice ECP5."""

CONSTANTS = {"0": -1, "1": -2}
OPEN = -3
"""What stands in a pin that no net drives: a constant, or nothing (also for x and z)."""


def kind_of(cell_type: str) -> Kind:
    """The kind of a cell type. Raises InternalError for a type that nobody has described in CELLS."""
    for pattern, kind in CELLS.items():
        if re.fullmatch(pattern, cell_type):
            return kind
    raise InternalError(f"the synthesised netlist has a cell of type {cell_type}, which nobody has described in CELLS")


@dataclass(frozen=True, slots=True)
class Pin:
    """One bit of one pin of a cell type: column `column` of the block's `bits`."""

    name: str
    lane: int
    output: bool
    column: int


@dataclass(frozen=True, slots=True)
class Block:
    """All cells of one type. `bits` int64[cells, pins]: the net on each pin, or a negative number (CONSTANTS, OPEN).

    `first` is the number of the block's first cell, counting through all blocks; `init` holds the truth tables (highest
    bit first) of LUT6_2 cells and is empty for all other types.
    """

    type: str
    kind: Kind
    first: int
    pins: tuple[Pin, ...]
    bits: Ints
    init: tuple[str, ...]

    @property
    def numbers(self) -> Ints:
        """The numbers of the block's cells, int64[cells]."""
        return np.arange(self.first, self.first + len(self.bits))

    @property
    def inputs(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if not pin.output)

    @property
    def outputs(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if pin.output)

    def net_on(self, pin: Pin, rows: Ints) -> Ints:
        """The nets on one pin of some cells, int64[rows]."""
        nets: Ints = self.bits[rows, pin.column]
        return nets

    def columns(self, pins: Iterable[Pin]) -> Ints:
        """The nets on some pins, int64[cells, pins]."""
        return self.bits[:, [pin.column for pin in pins]]


PinRule = Callable[[Block, Pin], bool]


@dataclass(frozen=True)
class Mapped:
    """A flat module of mapped cells. Nets are numbers below `nets`."""

    blocks: tuple[Block, ...]
    nets: int
    ports: Mapping[str, Any]
    names: Mapping[str, Any]

    @cached_property
    def driver(self) -> Ints:
        """The number of the cell that drives each net, -1 for input ports. int64[nets]"""
        return self._on_outputs(lambda block: block.numbers, -1)

    @cached_property
    def driver_kind(self) -> Ints:
        """The `Kind` of what drives each net. int64[nets]"""
        return self._on_outputs(lambda block: np.full(len(block.bits), block.kind), Kind.PORT)

    def _on_outputs(self, value: Callable[[Block], Ints], default: int) -> Ints:
        result = np.full(self.nets, default, np.int64)
        for block in self.blocks:
            for pin in block.outputs:
                nets = block.bits[:, pin.column]
                result[nets[nets >= 0]] = value(block)[nets >= 0]
        return result

    def driven_by(self, wanted: PinRule) -> Bools:
        """Nets driven by pins for which `wanted(block, pin)` holds. bool[nets]"""
        return self._mark(wanted, output=True)

    def read_by(self, wanted: PinRule) -> Bools:
        """Nets read by pins for which `wanted(block, pin)` holds. bool[nets]"""
        return self._mark(wanted, output=False)

    def _mark(self, wanted: PinRule, output: bool) -> Bools:
        result = np.zeros(self.nets, bool)
        for block in self.blocks:
            for pin in block.outputs if output else block.inputs:
                if wanted(block, pin):
                    nets = block.bits[:, pin.column]
                    result[nets[nets >= 0]] = True
        return result

    @cached_property
    def output_nets(self) -> Ints:
        """The nets on the output ports, without constants."""
        found = [net for port in self.ports.values() if port["direction"] != "input" for net in port["bits"]]
        return np.array([net for net in found if isinstance(net, int)], np.int64)

    def name_of(self, net: int) -> str:
        """A net's name as the designer knows it: a port's, else the shortest public one, else the shortest of all."""
        found = [(name not in self.ports, bool(entry.get("hide_name")), len(name), _bit_name(name, entry, net))
                 for name, entry in self.names.items() if net in entry["bits"]]
        return min(found)[-1] if found else f"net {net}"


def _bit_name(name: str, entry: Mapping[str, Any], net: int) -> str:
    width, index = len(entry["bits"]), entry["bits"].index(net)
    if width == 1:
        return name
    return f"{name}[{entry.get('offset', 0) + (width - 1 - index if entry.get('upto') else index)}]"


def read_module(module: Mapping[str, Any]) -> Mapped:
    """The arrays of one module (an entry of "modules") of a JSON netlist as Yosys' `write_json` writes it."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for cell in module["cells"].values():
        if cell["type"] != "$scopeinfo":  # where a flattened instance was: not hardware
            groups.setdefault(cell["type"], []).append(cell)
    blocks: list[Block] = []
    for cell_type, cells in groups.items():
        blocks.append(_block(cell_type, cells, blocks[-1].first + len(blocks[-1].bits) if blocks else 0))
    bits = [net for entry in [*module["ports"].values(), *module["netnames"].values()] for net in entry["bits"]]
    highest = max([*(int(b.bits.max(initial=-1)) for b in blocks), *(net for net in bits if isinstance(net, int)), -1])
    return Mapped(tuple(blocks), highest + 1, module["ports"], module["netnames"])


def _block(cell_type: str, cells: list[Mapping[str, Any]], first: int) -> Block:
    kind = kind_of(cell_type)
    widths: dict[tuple[str, bool], int] = {}
    for cell in cells:
        for name, nets in cell["connections"].items():
            key = name, cell["port_directions"][name] == "output"
            widths[key] = max(widths.get(key, 0), len(nets))
    keys = [(name, lane, output) for (name, output), width in widths.items() for lane in range(width)]
    pins = tuple(Pin(*key, column) for column, key in enumerate(keys))
    start = {pin.name: pin.column for pin in pins if pin.lane == 0}
    rows = []
    for cell in cells:
        row = [OPEN] * len(pins)
        for name, nets in cell["connections"].items():
            if nets:
                row[start[name]:start[name] + len(nets)] = [
                    net if isinstance(net, int) else CONSTANTS.get(net, OPEN) for net in nets]
        rows.append(row)
    init = tuple(str(cell["parameters"]["INIT"]) for cell in cells) if cell_type == "LUT6_2" else ()
    return Block(cell_type, kind, first, pins, np.array(rows, np.int64), init)
