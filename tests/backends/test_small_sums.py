"""Sums without a carry chain: which ones, in how many LUTs, and that the LUTs compute them."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from netlists import design_of, random_inputs, random_netlist
from yosys_child import run_yosys

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


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "shift", "neg"), [(3, [0, 1], [False, True]), (2, [1, 0, 0], [True, False, True]), (5, [2], [True])])
def test_a_small_sum_on_all_codes(bits: int, shift: list[int], neg: list[bool], signed: bool) -> None:
    netlist = of(bits, shift, neg, 3, -(1 << bits - 1) if signed else 0)
    found = small_sums(netlist)
    assert len(found.rows) == 1
    codes = np.array(list(product(*(range(lo, hi + 1) for lo, hi in zip(netlist.lo[:-1].tolist(), netlist.hi[:-1].tolist(), strict=True)))))
    taken = [i for i in range(INPUTS) if found.source[0, i] >= 0]
    code = sum((codes[:, found.source[0, i]] >> found.bit[0, i] & 1) << i for i in taken)
    value = (codes * np.where(neg, -1, 1) << np.array(shift)).sum(axis=1) + 3
    for bit in range(int(netlist.widths[-1])):
        assert ((int(found.function[0, bit]) >> code.astype(object) & 1) == (value >> bit & 1)).all()


@pytest.mark.parametrize(("init", "same"), [("64'h0123456789abcdef", True), ("64'hf731000080000001", True), (None, False)])
def test_the_cells_are_the_functions(init: str | None, same: bool, tmp_path: Path) -> None:
    """LUT6_2, as Yosys reads it, and what other tools read, by SAT over all inputs; and with another table, which is told apart."""
    text = emit(design_of(of(3, [0, 1], [False] * 2)), HEADER)["rtl/dut_lut5.v"]
    for name, defined in (("cells", ""), ("plain", "`define GATEWRIGHT_PLAIN\n")):
        value = init or ("64'd5" if defined else "64'd7")
        module = f"module {name}(input [4:0] x, output [1:0] y); dut_lut5 #(.INIT({value})) u (.x(x), .y(y)); endmodule\n"
        (tmp_path / f"{name}.v").write_text("`undef GATEWRIGHT_PAIRS\n" + defined + text + module)
    done = run_yosys([
        "read_verilog +/xilinx/cells_sim.v", f"read_verilog {tmp_path}/cells.v", "hierarchy -check -top cells",
        "select -assert-min 1 t:*LUT6_2*", "proc", "flatten", "opt", "design -stash cells",
        f"read_verilog {tmp_path}/plain.v", "hierarchy -top plain", "proc", "flatten", "opt", "design -copy-from cells -as cells cells",
        "miter -equiv -flatten -make_assert plain cells both", "sat -prove-asserts -verify both"])
    assert done.returncode == 0 or "proof did fail" in done.stdout + done.stderr, (done.stdout + done.stderr)[-1500:]
    assert (done.returncode == 0) == same
