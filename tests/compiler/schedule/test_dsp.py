"""Products in DSP blocks: which ones, what the RTL says of them, what they cost, and that synthesis uses as many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import given, op
from hls_graphs import design_of_graph, meant
from netlists import design_of, random_inputs
from yosys_child import run_yosys

from gatewright.backends.part import DEFAULT_PART, load_part
from gatewright.backends.verilog import emit, sources
from gatewright.compiler.driver import software_design
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.estimate.estimate import estimate
from gatewright.compiler.options import Options
from gatewright.compiler.schedule.dsp import products_in_dsps
from gatewright.errors import ToolMissing, UserError
from gatewright.ir.netlist import IN_DSP, Netlist, NetlistBuilder, Op, verify
from gatewright.ir.netlist_text import parse, show
from gatewright.sim.ports import Rtl
from gatewright.sim.toolchain import find_verilator
from gatewright.sim.verilator import verify as simulate
from gatewright.synth.yosys import synthesise

PART = load_part()
HEADER = {"model": "model.onnx", "gatewright": "0.1.0", "sha256": "ab" * 32, "part": DEFAULT_PART, "clock_ns": 5.0}


def some_products() -> Netlist:
    """By LUTs: 9 x 12 signed (row 6), 9 bits squared (7), 4 x 9 unsigned with a shift (8), 1 x 12, by a constant, 30 x 9."""
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-256, -2048, 0, 0, -(1 << 29)], [255, 2047, 15, 1, (1 << 29) - 1])
    seven = b.const(7)
    rows = [b.mul(x[0], x[1]), b.mul(x[0], x[0]), b.mul(x[2], x[0], 1, 0), b.mul(x[3], x[1]), b.mul(x[1], seven), b.mul(x[4], x[0])]
    b.output("y", np.concatenate(rows))
    return b.build()


@pytest.mark.parametrize(("limit", "chosen"), [(1, [6]), (2, [6, 7]), (3, [6, 7, 8]), (9, [6, 7, 8, 9])])
def test_the_largest_that_fit(limit: int, chosen: list[int]) -> None:
    netlist, note = products_in_dsps(some_products(), PART, limit)
    assert np.flatnonzero((netlist.op == Op.MUL) & (netlist.imm == IN_DSP)).tolist() == chosen
    assert note.startswith(f"{len(chosen)} of the {limit} DSP blocks asked for are used, for 4 products")
    verify(netlist)
    assert parse(show(netlist)) == netlist
    assert "mul %0, %1 in dsp : " in show(netlist)
    costs, before = row_costs(netlist, PART), row_costs(some_products(), PART)
    assert not costs.lut[chosen].any()
    assert costs.delay_ns[chosen].tolist() == [PART.delay["net"] + PART.delay["dsp"]] * len(chosen)
    result = estimate(design_of(netlist), PART)
    assert (result.dsp, [layer["dsp"] for layer in result.layers]) == (len(chosen), [len(chosen)])
    assert estimate(design_of(some_products()), PART).lut - result.lut == before.lut[chosen].sum()


def test_more_than_the_part_has() -> None:
    with pytest.raises(UserError, match=r"73 DSP blocks are asked for, and the part lfe5u-45f has 72. Ask for fewer"):
        products_in_dsps(some_products(), load_part("lfe5u-45f"), 73)
    with pytest.raises(UserError, match="has 0"):
        products_in_dsps(some_products(), replace(PART, totals={**PART.totals, "dsp": 0}), 1)


@pytest.mark.parametrize(("part", "module", "row"), [
    (DEFAULT_PART, '(* use_dsp = "no" *)', '(* use_dsp = "yes" *)'),
    ("10ax115n2f45e1sg", '(* multstyle = "logic" *)', '(* multstyle = "dsp" *)'),
    ("lfe5u-45f", '(* syn_multstyle = "logic" *)', '(* syn_multstyle = "block_mult" *)')])
def test_the_vendors_attributes(part: str, module: str, row: str) -> None:
    netlist, _ = products_in_dsps(some_products(), load_part(part), 3)
    text = emit(design_of(netlist), HEADER | {"part": part})["rtl/dut_kernel.v"]
    assert f"{module}\nmodule dut_kernel (" in text
    assert f"  {row} wire [20:0] v6 = $signed(v0_0) * $signed(v1_0); // -524032..524288\n" in text
    assert f"  {row} wire [13:0] v8 = $signed({{1'd0, v2_0, 1'd0}}) * $signed(v0_0);" in text
    assert text.count(row) == 3
    assert emit(design_of(some_products()), HEADER | {"part": part})["rtl/dut_kernel.v"].count(row) == 0


@pytest.mark.parametrize("part", [DEFAULT_PART, "xc7a100tcsg324-1", "lfe5u-45f"])
def test_synthesis_uses_as_many(part: str) -> None:
    run_yosys([])  # skips without Yosys
    netlist, _ = products_in_dsps(some_products(), load_part(part), 2)
    files = emit(design_of(netlist), HEADER | {"part": part})
    texts = {name: files[name] for name in sources("dut", files)}
    found, delay = synthesise(texts, "dut", load_part(part), dsps=True), load_part(part).delay
    assert found.dsp == 2
    assert found.critical_path_ns is not None
    assert found.critical_path_ns >= round(delay["clk_to_q"] + delay["net"] + delay["dsp"] + delay["net"] + delay["setup"], 3)
    assert synthesise(texts, "dut", load_part(part)).dsp == 0


@pytest.mark.parametrize("limit", [0, 2])
def test_the_design_of_the_hls_targets_has_the_same_products_in_blocks(limit: int) -> None:
    g = meant(op("multiply(%a, %b) {}", given("a", "[3]", "-8..7"), given("b", "[3]", "[-2, -99, -400]..[1, 99, 400]")))
    design = design_of_graph(g, limit)
    software = software_design(design, g, Options(dsp=limit))
    for netlist in (design.kernels[0].netlist, software.kernels[0].netlist):
        assert (netlist.imm[netlist.op == Op.MUL] == IN_DSP).tolist() == [False, limit > 0, limit > 0]


def test_the_rtl_has_the_same_bits(tmp_path: Path) -> None:
    try:
        find_verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    netlist, _ = products_in_dsps(some_products(), PART, 4)
    design = design_of(netlist)
    files, paths = emit(design, HEADER), []
    for name in sources("dut", files):
        paths.append(tmp_path / Path(name).name)
        paths[-1].write_text(files[name])
    inputs = random_inputs(netlist, 500, 1)
    result = simulate(Rtl("dut", tuple(paths), design.inputs, design.outputs, design.latency_cycles), inputs, design.evaluate(inputs),
                      tmp_path / "work")
    assert (result.status, result.reason) == ("passed", "")
