"""The Verilog target: text, lint, and the same bits as the netlist through simulation."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from netlists import design_of, random_heaps, random_inputs, random_netlist
from yosys_child import run_yosys

from gatewright.backends.part import DEFAULT_PART
from gatewright.backends.verilog import emit, sources
from gatewright.backends.verilog_kernel import fit
from gatewright.errors import InternalError, ToolMissing
from gatewright.ir.design import Design
from gatewright.ir.netlist import NetlistBuilder
from gatewright.sim.ports import Rtl
from gatewright.sim.toolchain import Verilator, find_verilator
from gatewright.sim.verilator import verify as simulate

HEADER = {"model": "model.onnx", "gatewright": "0.1.0", "sha256": "ab" * 32, "part": DEFAULT_PART, "clock_ns": 2.5}


@pytest.fixture(scope="module")
def verilator() -> Verilator:
    try:
        return find_verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))


def small(stages: int = 1) -> Design:
    """One stage, or two: the last select in the second."""
    b = NetlistBuilder("kernel")
    b.origin("dense_1")
    x = b.input("x", [-8, 0, 0], [7, 15, 3])
    s = b.sum2(x[0], 2, False, x[1], 0, True, 7)
    b.origin("relu\nsynthesis translate_off")
    m = b.select(b.ge(s, b.const(0)), b.bits(s, 1, 4, False), b.const(0))
    t = b.table(x[2], [[5, 5, -3, 5]], 0)
    b.output("y", np.concatenate([m, t, b.const(-2)]))
    return design_of(b.build(), stage=[0] * 7 + [stages - 1, 0, 0])


def write(design: Design, folder: Path) -> list[str]:
    for path, text in emit(design, HEADER).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return [str(folder / s) for s in sources(design.name, [p.relative_to(folder).as_posix() for p in folder.rglob("*.v")])]


@pytest.mark.parametrize(("own", "signed", "low", "width", "expected"), [
    (4, True, 0, 4, "v"), (4, True, 0, 6, "{{2{v[3]}}, v}"), (4, False, 0, 6, "{2'd0, v}"), (4, True, 0, 2, "v[1:0]"),
    (4, True, -2, 6, "{v, 2'd0}"), (4, True, -2, 8, "{{2{v[3]}}, v, 2'd0}"), (4, True, -5, 4, "4'd0"),
    (4, True, -3, 4, "{v[0], 3'd0}"), (4, True, 2, 2, "v[3:2]"), (4, True, 3, 3, "{{2{v[3]}}, v[3]}"),
    (4, True, 6, 3, "{{3{v[3]}}}"), (4, False, 6, 3, "3'd0"), (1, True, 0, 62, "{{61{v[0]}}, v}"),
])
def test_operands_are_fitted_in_so_many_words(own: int, signed: bool, low: int, width: int, expected: str) -> None:
    assert fit("v", own, signed, low, width) == expected


KERNEL = """  // table 0: 4 entries
  function [3:0] t0;
    input [1:0] t0_x;
    case (t0_x)
      2'd2: t0 = 4'd13;
      default: t0 = 4'd5;
    endcase
  endfunction

  // node dense_1
  reg [3:0] v0_0;
  reg [3:0] v1_0;
  reg [1:0] v2_0;
  wire [6:0] v3 = {{1{v0_0[3]}}, v0_0, 2'd0} - {3'd0, v1_0} + 7'd7; // -40..35
  reg [6:0] v3_1;
  always @(posedge clk) begin
    v0_0 <= x[3:0];
    v1_0 <= x[8:5];
    v2_0 <= x[11:10];
    v3_1 <= v3;
  end

  // node relu synthesis translate_off
  wire [0:0] v5 = ~v3[6]; // 0..1
  reg [0:0] v5_1;
  wire [3:0] v6_1 = v3_1[4:1]; // 0..15
  wire [3:0] v7 = v5_1 ? v6_1 : 4'd0; // 0..15
  reg [3:0] v7_2;
  wire [3:0] v8 = t0(v2_0); // -3..5
  reg [3:0] v8_1, v8_2;
  always @(posedge clk) begin
    v5_1 <= v5;
    v7_2 <= v7;
    v8_1 <= v8;
    v8_2 <= v8_1;
  end

  assign y = {
    5'd30,
    {{1{v8_2[3]}}, v8_2},
    {1'd0, v7_2}
  };

  // bits that nothing reads; synthesis removes them
  wire _unused_ok = &{1'b0,
    x[4:4], x[9:9], x[14:12], v3_1[0:0], v3_1[6:5],
    1'b0};
endmodule

`default_nettype wire
"""
PLAIN_SUM = "  wire [6:0] v3 = {{1{v0_0[3]}}, v0_0, 2'd0} - {3'd0, v1_0} + 7'd7; // -40..35\n"
ADDER = """  wire [6:0] v3; // -40..35
  dut_add3 #(.WIDTH(7), .FLIP_B(7'd127), .UNITS(1)) v3_sum (.a(7'd7), .b({3'd0, v1_0}), .c({{1{v0_0[3]}}, v0_0, 2'd0}), .d(1'd0), .y(v3));
"""


ADDER_OF_TWO = """  wire [6:0] v3; // -40..35
  dut_add2 #(.WIDTH(7), .FLIP_A(7'd127), .ADDEND(7'd8)) v3_sum (.a({3'd0, v1_0}), .b({{1{v0_0[3]}}, v0_0, 2'd0}), .y(v3));
"""


@pytest.mark.parametrize(("part", "instead"), [("10ax115n2f45e1sg", PLAIN_SUM), (DEFAULT_PART, ADDER), ("lfe5u-45f", ADDER_OF_TWO)])
def test_kernel_text(part: str, instead: str) -> None:
    """Sums are instances of an adder on AMD parts, where they have constants or three operands, and on ECP5."""
    text = emit(small(2), HEADER | {"part": part})["rtl/dut_kernel.v"]
    assert PLAIN_SUM in KERNEL
    assert text[text.index("  // table 0"):] == KERNEL.replace(PLAIN_SUM, instead)


def test_bits_below_the_adder_of_two_are_copied() -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-8, -8], [7, 7])
    b.output("y", np.concatenate([b.sum2(x[0], 1, False, x[1], 3, True, 1), b.sum1(x[0], 2, False, 9)]))
    text = emit(design_of(b.build()), HEADER | {"part": "lfe5u-45f"})["rtl/dut_kernel.v"]
    assert """  wire [7:0] v2; // -71..79
  dut_add2 #(.WIDTH(5), .FLIP_B(5'd31), .ADDEND(5'd1)) v2_sum (.a({{3{v0_0[3]}}, v0_0[3:2]}), \
.b({{1{v1_0[3]}}, v1_0}), .y(v2[7:3]));
  assign v2[2:0] = {v0_0[1:0], 1'd1};
""" in text
    assert """  dut_add2 #(.WIDTH(4), .OPERANDS(1), .ADDEND(4'd1)) v3_sum (.a({{1{v0_0[3]}}, v0_0[3:1]}), \
.b(4'd0), .y(v3[6:3]));
  assign v3[2:0] = {v0_0[0], 2'd1};
""" in text


def test_bits_below_the_adder_are_copied() -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-8, -8, 0], [7, 7, 15])
    b.output("y", b.sum([0, 3], x, [4, 1, 3], [True, False, False]))
    assert """  wire [9:0] v3; // -128..262
  dut_add3 #(.WIDTH(7), .FLIP_C(7'd127), .UNITS(1)) v3_sum (.a({{5{v1_0[3]}}, v1_0[3:2]}), .b({3'd0, v2_0}), \
.c({{2{v0_0[3]}}, v0_0, 1'd0}), .d(1'd0), .y(v3[9:3]));
  assign v3[2:0] = {v1_0[1:0], 1'd0};
""" in emit(design_of(b.build()), HEADER)["rtl/dut_kernel.v"]


@pytest.mark.parametrize(("constant", "expected"), [
    (5, " = {v0_0, 3'd5};"), (8, " = {{1{v0_0[3]}}, v0_0, 3'd0} + 8'd8;")])
def test_a_constant_below_the_operand_is_appended(constant: int, expected: str) -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-8], [7])
    b.output("y", b.sum1(x, 3, False, constant))
    assert expected in emit(design_of(b.build()), HEADER | {"part": "10ax115n2f45e1sg"})["rtl/dut_kernel.v"]


@pytest.mark.parametrize(("lo", "hi", "expected"), [
    (0, 15, "$signed({{1{v0_0[3]}}, v0_0}) >= $signed({1'd0, v1_0})"),
    (-4, 3, "$signed(v0_0) >= $signed({{1{v1_0[2]}}, v1_0})"),
])
def test_comparisons_have_room_for_both_sides(lo: int, hi: int, expected: str) -> None:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-8, lo], [7, hi])
    b.output("y", b.ge(x[0], x[1]))
    assert f" = {expected};" in emit(design_of(b.build()), HEADER)["rtl/dut_kernel.v"]


def test_no_bits_are_read_of_an_operand_above_the_sum() -> None:
    """Where bounds are known to be tighter than those of the operands, an operand may not reach the result; it has no register then."""
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-2, 0, -1], [1, 3, 1])
    b.output("y", b.sum([0, 3], x, [0, 0, 2], bounds=(0, 3)))
    assert "v2_0" not in emit(design_of(b.build()), HEADER)["rtl/dut_kernel.v"]


def test_top_text() -> None:
    text = emit(small(2), HEADER)["rtl/dut.v"]
    for expected in ("made by gatewright 0.1.0 from model.onnx", "ab" * 32, "carries no licence obligation",
                     "Latency 3 cycles, initiation interval 1", "after edge t + 2",
                     "// input x: tensor x, 3 elements of fixed<5,5> (5 bits, two's complement)",
                     "x[5*i +: 5]. code of x",
                     "output wire [14:0] y", "if (rst) valid <= 3'd0;", "assign out_valid = valid[2];"):
        assert expected.lower() in text.lower()
    assert "initial " not in text.replace("initial interval", "")


def test_files_for_each_vendor() -> None:
    common = {"rtl/dut.v", "rtl/dut_kernel.v", "rtl/dut_shell.v", "constraints.xdc", "constraints.sdc"}
    files = without_projects(emit(small(), HEADER))
    assert set(files) == common | {"rtl/dut_add3.v"}
    assert "dut_add3" in sources("dut", files)[1]
    assert "create_clock -name clk -period 2.500 [get_ports clk]" in files["constraints.xdc"]
    assert set(without_projects(emit(small(), HEADER | {"part": "lfe5u-45f", "clock_ns": None}))) == common | {"rtl/dut_add2.v"}
    assert set(without_projects(emit(small(), HEADER | {"part": "10ax115n2f45e1sg"}))) == common
    assert without_projects(emit(small(), HEADER)) == files


def without_projects(files: dict[str, str]) -> dict[str, str]:
    """Those that tests/backends/test_projects.py does not look at."""
    return {path: text for path, text in files.items() if path != "component.xml" and not path.startswith("projects/")}


def test_what_cannot_be_written_is_refused() -> None:
    design = small()
    port = dataclasses.replace(design.inputs[0], rtl="wire")
    with pytest.raises(InternalError, match=r"'wire'.*cannot be Verilog identifiers"):
        emit(dataclasses.replace(design, inputs=(port,)), HEADER)
    with pytest.raises(InternalError, match="one kernel"):
        emit(dataclasses.replace(design, instances=design.instances * 2), HEADER)


@pytest.mark.parametrize("seed", range(10))
def test_lint_is_clean(seed: int, verilator: Verilator, tmp_path: Path) -> None:
    netlist = random_netlist(seed, rows=100, width=30 if seed == 3 else 8) if seed < 8 else random_heaps(seed)
    design = design_of(netlist, [None, 1.0][seed % 2])
    files = write(design, tmp_path)
    for top, extra in (("dut", []), ("dut_shell", [str(tmp_path / "rtl" / "dut_shell.v")])):
        done = subprocess.run([verilator.program, "--lint-only", "-Wall", "--top-module", top, *files, *extra],
                              env={**os.environ, "VERILATOR_ROOT": str(verilator.root)}, capture_output=True, text=True)
        assert done.stderr == ""
        assert done.returncode == 0
    assert "lint_off" not in "".join(Path(f).read_text() for f in files)


def test_yosys_reads_it(tmp_path: Path) -> None:
    files = write(design_of(random_netlist(5, rows=100), 1.0), tmp_path)
    done = run_yosys(["read_verilog -lib +/xilinx/cells_sim.v", f"read_verilog {' '.join(files)}", "hierarchy -check -top dut",
                      "proc", "check -assert"])
    assert done.returncode == 0, done.stdout[-1000:]


@pytest.mark.parametrize(("seed", "clock_ns"), [(11, 1.0), (3, None)])
def test_rtl_equals_the_netlist(seed: int, clock_ns: float | None, verilator: Verilator, tmp_path: Path) -> None:
    """Every row is an output; in the second netlist they are up to 62 bits wide."""
    netlist = random_netlist(seed, rows=90, every=True, width=30 if clock_ns is None else 8)
    design = design_of(netlist, clock_ns)
    rtl = Rtl("dut", tuple(map(Path, write(design, tmp_path))), design.inputs, design.outputs, design.latency_cycles)
    inputs = random_inputs(netlist, 500, seed)
    result = simulate(rtl, inputs, design.evaluate(inputs), tmp_path / "work")
    assert (result.status, result.reason, result.latency_cycles) == ("passed", "", design.latency_cycles)


@pytest.mark.parametrize(("seed", "clock_ns"), [(0, None), (1, 1.0)])
def test_rtl_of_heaps_equals_the_netlist(seed: int, clock_ns: float | None, verilator: Verilator, tmp_path: Path) -> None:
    """Slices of inputs, of sums, and of what registers hold of both."""
    netlist = random_heaps(seed, tallest=4 - seed)
    design = design_of(netlist, clock_ns)
    rtl = Rtl("dut", tuple(map(Path, write(design, tmp_path))), design.inputs, design.outputs, design.latency_cycles)
    inputs = random_inputs(netlist, 500, seed)
    result = simulate(rtl, inputs, design.evaluate(inputs), tmp_path / "work")
    assert (result.status, result.reason) == ("passed", "")
