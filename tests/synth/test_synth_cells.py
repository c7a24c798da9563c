"""Small mapped netlists (mapped/*.json), each with what it must count and where its longest path runs.

Each delay has a digit of its own, so that a sum shows how often each was met: 6221.12 ns is clock to register and
setup, two nets, two LUTs, one way into a carry chain, one out of it, and two carry units between.
"""

import json
from pathlib import Path

import pytest

from gatewright.errors import InternalError
from gatewright.synth.cells import arcs_of, count, live_nets, s_pins
from gatewright.synth.mapped import read_module
from gatewright.synth.timing import longest_path

CASES = sorted((Path(__file__).parent / "mapped").glob("*.json"))
DELAY = {"clk_to_q": 1000.0, "setup": 5000.0, "net": 100.0, "lut": 10.0, "carry_in": 1.0, "carry_out": 0.1,
         "carry_group": 0.01, "muxf": 0.001, "dsp": 20000.0}


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request):
    return json.loads(request.param.read_text())


def test_counts(case):
    mapped = read_module(case)
    live = live_nets(mapped, arcs_of(mapped))
    counts = count(mapped, live, s_pins(mapped, live))
    assert {name: getattr(counts, name) for name in case["counts"]} == case["counts"]


def test_longest_path(case):
    mapped = read_module(case)
    arcs = arcs_of(mapped)
    path = longest_path(mapped, arcs, live_nets(mapped, arcs), DELAY)
    assert (path and [path.ns, path.start, path.end]) == case["critical_path"]


def load(name):
    return json.loads((Path(__file__).parent / "mapped" / f"{name}.json").read_text())


def test_a_multiplier_with_a_clock_has_no_times():
    module = load("multiplier")
    module["cells"]["d"]["connections"]["CLK"] = [2]
    mapped = read_module(module)
    arcs = arcs_of(mapped)
    assert longest_path(mapped, arcs, live_nets(mapped, arcs), DELAY) is None


def test_unknown_cell_is_named():
    module = load("luts")
    module["cells"]["l0"]["type"] = "GTYE4_CHANNEL"
    with pytest.raises(InternalError, match="GTYE4_CHANNEL"):
        read_module(module)


def test_scopes_of_flattened_instances_are_no_cells():
    module = load("luts")
    module["cells"]["u0"] = {"type": "$scopeinfo", "parameters": {}, "port_directions": {}, "connections": {}}
    assert sum(len(block.bits) for block in read_module(module).blocks) == 4


def test_loop_is_refused():
    module = load("luts")
    module["cells"]["l0"]["connections"]["I1"] = module["cells"]["l1"]["connections"]["O"]
    mapped = read_module(module)
    arcs = arcs_of(mapped)
    with pytest.raises(InternalError, match="loop"):
        longest_path(mapped, arcs, live_nets(mapped, arcs), DELAY)


def test_empty_module():
    mapped = read_module({"ports": {}, "netnames": {}, "cells": {}})
    live = live_nets(mapped, [])
    assert count(mapped, live, s_pins(mapped, live)).lut == 0
    assert longest_path(mapped, [], live, DELAY) is None


@pytest.mark.parametrize(("entry", "expected"), [
    ({"bits": [7]}, "v"),
    ({"bits": [5, 6, 7, 8]}, "v[2]"),
    ({"bits": [5, 6, 7, 8], "offset": 4}, "v[6]"),
    ({"bits": [5, 6, 7, 8], "offset": 4, "upto": 1}, "v[5]"),
])
def test_net_names(entry, expected):
    mapped = read_module({"ports": {}, "netnames": {"h": {"bits": [7], "hide_name": 1}, "v": entry}, "cells": {}})
    assert mapped.name_of(7) == expected


@pytest.mark.parametrize(("i5", "lut_depends_on_r"), [("1", False), ("0", True), (9, True)])
def test_i5_of_a_lut6_2_selects_the_half(i5, lut_depends_on_r):
    """O6 is I0 in the lower half of the table and I1 in the upper one; I0 comes from the register r, net 9."""
    module = load("unused_inputs")
    lut = module["cells"]["l"]
    lut["parameters"]["INIT"] = "1100" * 8 + "1010" * 8
    lut["connections"] |= {"I5": [i5], "O6": lut["connections"].pop("O5")}
    lut["port_directions"]["O6"] = lut["port_directions"].pop("O5")
    arcs = arcs_of(read_module(module))
    assert (9 in [net for arc in arcs for net in arc.sources if arc.source.name == "I0"]) == lut_depends_on_r
