"""Sums without a carry chain: which ones, in how many LUTs, and that the LUTs compute them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from netlists import design_of, random_inputs, random_netlist

from gatewright.backends.part import DEFAULT_PART
from gatewright.backends.small_sums import INPUTS, chain_luts, small_sums
from gatewright.backends.verilog import emit
from gatewright.ir.netlist import Netlist, NetlistBuilder
from gatewright.ir.netlist_eval import evaluate_rows

HEADER = {"model": "model.onnx", "gatewright": "0.1.0", "sha256": "ab" * 32, "part": DEFAULT_PART, "clock_ns": 2.5}


def of(bits: int, shift: list[int], neg: list[bool], imm: int = 0, lo: int = 0) -> Netlist:
    b = NetlistBuilder("n")
    b.origin("o")
    x = b.input("x", [lo] * len(shift), [lo + (1 << bits) - 1] * len(shift))
    b.output("y", b.sum([0, len(shift)], x, shift, neg, imm))
    return b.build()


@pytest.mark.parametrize(("netlist", "luts", "chain"), [
    (of(3, [0, 1], [False] * 2), 2, 3),          # a + 2 b: four functions of five bits
    (of(3, [0, 2], [False] * 2), 2, 3),          # ... of four bits
    (of(3, [0, 0], [False] * 2), 3, 3),          # two of four bits, two of six
    (of(3, [0, 1], [False, True]), 2, 4),
    (of(1, [0, 0, 0], [False] * 3), 1, 2),
    (of(2, [0, 0, 0], [False] * 3), None, 3),    # the chain needs no LUT for its highest bit
    (of(3, [0], [True]), 2, 4),
    (of(4, [0, 0], [False] * 2), None, 4),       # eight bits
    (of(3, [0], [False], 8), None, 1)])          # wires
def test_which_sums_are_small(netlist: Netlist, luts: int | None, chain: int) -> None:
    found, row = small_sums(netlist), len(netlist) - 1
    assert found.luts.tolist() == ([] if luts is None else [luts])
    assert chain_luts(netlist, np.array([row])).tolist() == [chain]


@pytest.mark.parametrize("seed", range(20))
def test_the_functions_are_the_sums(seed: int) -> None:
    netlist = random_netlist(seed, rows=150, width=3, inputs=6)
    found = small_sums(netlist)
    assert len(found.rows)
    values = evaluate_rows(netlist, random_inputs(netlist, 40, seed), np.arange(len(netlist)))
    for k, row in enumerate(found.rows.tolist()):
        taken = [i for i in range(INPUTS) if found.source[k, i] >= 0]
        code: np.ndarray = sum((values[:, found.source[k, i]] >> found.bit[k, i] & 1) << i for i in taken)
        for bit in range(int(netlist.widths[row])):
            assert ((int(found.function[k, bit]) >> code.astype(object) & 1) == (values[:, row] >> bit & 1)).all()
            if found.needs[k, bit] == INPUTS - 1:
                low = int(found.function[k, bit]) & (1 << 32) - 1
                assert low == int(found.function[k, bit]) >> 32
        luts = len(found.pairs(k)) + int((found.needs[k] > 0).sum()) - 2 * len(found.pairs(k))
        assert luts == found.luts[k]


def test_a_pair_and_a_single_in_verilog() -> None:
    netlist = of(3, [0, 0], [False] * 2)
    text = emit(design_of(netlist), HEADER)
    assert {"rtl/dut_lut5.v", "rtl/dut_lut6.v"} <= set(text)
    assert len(re.findall(r"dut_lut5 #\(\.INIT\(64'h[0-9a-f]{16}\)\)", text["rtl/dut_kernel.v"])) == 1
    assert text["rtl/dut_kernel.v"].count("dut_lut6 #(") == 2
    assert "rtl/dut_lut5.v" not in emit(design_of(netlist), HEADER | {"part": "lfe5u-45f"})
