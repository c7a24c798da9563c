"""Small mapped netlists, one cell a line, `name TYPE inputs > outputs`, and what packing makes of them.

Nets are numbers, constants 0 and 1, pins in the order of PINS; nets 90 and above are output ports, and 2..9 input ports.
"""

import pytest

from gatewright.backends.part import load_part
from gatewright.synth.cells import Counts, arcs_of, count, live_nets, s_pins
from gatewright.synth.mapped import read_module
from gatewright.synth.packing import carry_sites, pack, pairs
from gatewright.synth.yosys import resources

USP, SERIES_7, ECP5 = (load_part(name) for name in ("xcvu13p-flga2577-2-e", "xc7a100tcsg324-1", "lfe5u-45f"))
PINS = {**{f"LUT{n}": ([f"I{i}" for i in range(n)], ["O"]) for n in range(1, 7)},
        "LUT6_2": ([f"I{i}" for i in range(6)], ["O6", "O5"]), "MUXF7": (["I0", "I1", "S"], ["O"]), "FDRE": (["C", "D"], ["Q"]),
        "SRL16E": (["CLK", "D"], ["Q"]), "CARRY4": (["CI", "S", "S", "S", "S"], ["O", "O", "O", "O", "CO", "CO", "CO", "CO"])}


def module(text):
    cells, nets = {}, set()
    for line in filter(None, map(str.strip, text.splitlines())):
        left, right = line.split(" > ")
        name, kind, *inputs = left.split()
        connections, directions = {}, {}
        for pins, bits, direction in zip(PINS[kind], (inputs, right.split()), ("input", "output"), strict=True):
            for pin, bit in zip(pins, bits, strict=True):
                connections.setdefault(pin, []).append(bit if bit in "01" else int(bit))
                directions[pin] = direction
        nets |= {bit for bits in connections.values() for bit in bits if isinstance(bit, int)}
        cells[name] = {"type": kind, "parameters": {"INIT": "0110" * 16}, "port_directions": directions, "connections": connections}
    ports = {f"p{net}": {"direction": "input" if net < 10 else "output", "bits": [net]} for net in nets if net < 10 or net >= 90}
    return {"ports": ports, "netnames": {}, "cells": cells}


def parts_of(text):
    mapped = read_module(module(text))
    live = live_nets(mapped, arcs_of(mapped))
    return mapped, live, s_pins(mapped, live)


@pytest.mark.parametrize(("text", "expected"), [
    pytest.param("a LUT3 2 3 4 > 90\nb LUT3 4 5 6 > 91", ["ab"], id="five nets, one shared"),
    pytest.param("a LUT3 2 3 4 > 90\nb LUT4 4 5 6 7 > 91", [], id="six nets"),
    pytest.param("a LUT2 2 3 > 90\nb LUT2 4 5 > 91", [], id="nothing shared"),
    pytest.param("a LUT5 2 3 4 5 6 > 90\nb LUT5 2 3 4 5 6 > 91", ["ab"], id="the same five"),
    pytest.param("a LUT5 2 3 0 1 3 > 90\nb LUT4 2 4 5 6 > 91", ["ba"], id="constants and repeated nets do not count"),
    pytest.param("a LUT2 2 0 > 90\nb LUT2 3 0 > 91", [], id="a constant is not shared"),
    pytest.param("a LUT6 2 3 2 2 2 2 > 90\nb LUT2 2 3 > 91\nc LUT6_2 2 3 0 0 0 1 > 92 93", [], id="LUT6 and LUT6_2 stay alone"),
    pytest.param("a LUT2 2 3 > 90\nb LUT2 2 3 > 50", [], id="a dead one"),
    pytest.param("a LUT2 2 3 > 10\nb LUT2 10 3 > 90", ["ab"], id="one behind the other"),
    pytest.param("a LUT2 2 3 > 10\nb LUT2 2 4 > 11\nc CARRY4 0 10 11 0 0 > 90 91 92 93 50 51 52 53", [], id="both in front of lanes"),
    pytest.param("a LUT2 2 3 > 10\nb LUT2 2 4 > 94\nc CARRY4 0 10 0 0 0 > 90 91 92 93 50 51 52 53", ["ab"], id="one in front of a lane"),
    pytest.param("a LUT2 2 3 > 10\nb LUT2 2 4 > 11\nm MUXF7 10 11 5 > 90", [], id="both in front of a multiplexer"),
    pytest.param("a LUT2 2 3 > 10\nb LUT2 2 4 > 11\nm MUXF7 10 5 11 > 90", ["ab"], id="one on its select pin"),
    pytest.param("a LUT3 2 3 4 > 90\nb LUT3 4 5 6 > 91\nc LUT2 2 3 > 92", ["ac"], id="who shares more is chosen"),
    pytest.param("a LUT2 2 3 > 90\nb LUT2 2 4 > 91\nc LUT3 2 5 6 > 92", ["ca"], id="more inputs choose first, of equals the first"),
    pytest.param("b LUT1 2 > 90\na LUT2 2 3 > 91\nc LUT2 2 4 > 92\nd LUT3 2 5 6 > 93", ["da", "cb"],
                 id="... and are chosen first"),
])
def test_pairs(text, expected):
    mapped, live, pins = parts_of(text)
    cells = [line.split()[:2] for line in text.splitlines()]
    types = [kind for _, kind in cells]
    numbered = [name for name, _ in sorted(cells, key=lambda cell: types.index(cell[1]))]
    found = [numbered[one] + numbered[other] for one, other in pairs(mapped, live, pins).tolist()]
    assert sorted(found) == sorted(expected)


CARRY = "CARRY4 {} 2 2 2 2 > {} 51 52 53 54 55 56 {}"


@pytest.mark.parametrize(("chains", "carry4", "carry8"), [
    ([("0", 90, 57)], 1, 1),
    ([("0", 90, 10), ("10", 91, 57)], 2, 1),
    ([("0", 90, 10), ("10", 91, 11), ("11", 92, 57)], 3, 2),
    ([("10", 91, 57), ("0", 90, 10)], 2, 1),                                     # in any order
    ([("0", 90, 57), ("0", 91, 57)], 2, 2),                                      # two chains
    ([("3", 90, 57), ("2", 91, 57)], 2, 2),                                      # their carry inputs come from the fabric
    ([("0", 90, 10), ("10", 91, 57), ("10", 92, 57), ("10", 93, 57)], 4, 3),     # the carry goes on in the first only
    ([("0", 90, 10), ("10", 50, 57), ("10", 92, 57)], 2, 1),                     # ... that is live
])
def test_carry_sites(chains, carry4, carry8):
    mapped, live, _ = parts_of("\n".join(f"c{i} {CARRY.format(*chain)}" for i, chain in enumerate(chains)))
    assert (carry_sites(mapped, live, 4), carry_sites(mapped, live, 8)) == (carry4, carry8)


@pytest.mark.parametrize(("part", "lut", "ff", "clb"), [
    (USP, 16, 0, 2), (USP, 17, 0, 3), (USP, 0, 32, 2), (USP, 0, 33, 3), (USP, 16, 33, 3), (USP, 0, 0, 0),
    (SERIES_7, 8, 0, 2), (SERIES_7, 9, 0, 3), (SERIES_7, 0, 17, 3), (ECP5, 5, 0, 3), (ECP5, 0, 5, 3)])
def test_logic_blocks(part, lut, ff, clb):
    mapped, live, pins = parts_of("")
    counts = Counts(lut_logic=lut, route_through=0, srl=0, carry=0, carry_unit=None, ff=ff, dsp=0, bram=0, uram=0)
    packing = pack(mapped, live, pins, counts, part)
    assert (packing.lut_paired, packing.carry_sites, packing.clb) == (None if part is ECP5 else lut, 0, clb)


def test_a_module_packed_for_two_parts():
    """Six physical LUTs: three of logic, two that only lead a register to a lane, a shift register; two of them become one."""
    text = "\n".join(["a LUT2 2 3 > 10", "b LUT2 2 4 > 90", "c LUT6 2 3 4 5 6 7 > 91", "s SRL16E 9 8 > 92", "f FDRE 9 2 > 11",
                      "k CARRY4 0 10 11 11 0 > 51 52 53 54 55 56 57 12", "l CARRY4 12 0 0 0 0 > 93 94 95 96 50 50 50 50"])
    mapped, live, pins = parts_of(text)
    assert count(mapped, live, pins).lut == 6
    found = {part.name: resources(module(text), part, "t") for part in (USP, SERIES_7)}
    packed = [(r.lut, r.lut_paired, r.carry, r.carry_sites, r.clb, r.clb_unit) for r in found.values()]
    assert packed == [(6, 5, 2, 1, 1, "CLB"), (6, 5, 2, 2, 2, "slice")]
