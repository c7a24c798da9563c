"""The two-operand adder of the ECP5: which sums it does, and that its cells compute the plain sum, for all inputs."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from netlists import design_of, random_inputs, random_netlist
from yosys_child import run_yosys

from gatewright.backends.add2 import NONE, SHORTEST, two_operands
from gatewright.backends.part import load_part
from gatewright.backends.verilog import emit, sources
from gatewright.errors import ToolMissing
from gatewright.ir.netlist import Netlist, NetlistBuilder
from gatewright.ir.netlist_eval import evaluate_rows
from gatewright.ir.offsets import flipped
from gatewright.sim.ports import Rtl
from gatewright.sim.toolchain import find_verilator
from gatewright.sim.verilator import verify as simulate
from gatewright.synth.yosys import DEFINES, NETLIST, find_yosys, synthesise

PART = "lfe5u-45f"
HEADER = {"model": "model.onnx", "gatewright": "0.1.0", "sha256": "ab" * 32, "part": PART, "clock_ns": 10.0}
CELLS = ["read_verilog -nooverwrite +/ecp5/cells_sim.v"]
ENDS = """
module dut_add2_{0} #(parameter INIT0 = 0, INIT1 = 0, INJECT1_0 = "", INJECT1_1 = "") (
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, {1} COUT);
  CCU2C #(.INIT0(INIT0), .INIT1(INIT1), .INJECT1_0(INJECT1_0), .INJECT1_1(INJECT1_1)) unit (.CIN(CIN), .A0(A0), .B0(B0), .C0(C0),
    .D0(D0), .A1(A1), .B1(B1), .C1(C1), .D1(D1), {2}.S0(S0), .S1(S1));
endmodule
"""
"""The ends of a chain as the cells that they become after mapping: the last one's COUT is an open pin."""


def some_sums() -> Netlist:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-32, -32, 0], [31, 31, 31])
    rows = [b.sum2(x[0], 0, False, x[1], 2, False), b.sum2(x[0], 1, True, x[1], 0, False, 5), b.sum2(x[0], 3, False, x[2], 0, True, -7),
            b.sum2(x[0], 2, False, x[1], 5, False, 9), b.sum1(x[2], 1, True, 11), b.sum1(x[0], 0, False, 12),
            b.sum2(x[0], 2, False, x[1], 3, True, -64)]
    rows.append(b.select(b.ge(rows[0], b.const(3)), rows[2], b.sum2(rows[3], 0, True, rows[4], 0, True)))
    b.output("y", np.concatenate(rows))
    return b.build()


# -- which sums ----------------------------------------------------------------------------------------------------------


def plan_of(shift: list[int], neg: list[bool], imm: int) -> tuple[int, int, int] | None:
    """(start, addend, LUTs) of the sum of operands of 8 bits with these shifts, signs and constant; None where it is plain."""
    b = NetlistBuilder("n")
    b.origin("o")
    x = b.input("x", [-128] * len(shift), [127] * len(shift))
    b.output("y", b.sum([0, len(shift)], x, shift, neg, imm))
    plan = two_operands(b.build())
    return (int(plan.start[0]), int(plan.addend[0]), int(plan.lut[0])) if len(plan.rows) else None


@pytest.mark.parametrize(("shift", "neg", "imm", "expected"), [
    ([0, 0], [False, False], 0, (0, 0, 10)),
    ([0, 2], [False, False], 0, (2, 0, 10)),               # below the second operand: wires
    ([0, 2], [True, False], 0, (0, 1, 12)),                # ... unless the lowest one is negated
    ([0, 2], [False, True], 0, (2, 1, 10)),                # a constant one is a carry in
    ([0, 2], [False, False], 4, (2, 1, 10)),
    ([0, 2], [False, False], 2, (1, 1, 11)),               # ... but it may lie below
    ([0, 2], [False, False], 8, (2, 2, 10 + 7)),           # any other constant is saved, from the bit above it on
    ([0, 2], [False, False], 1 << 8, (2, 1 << 6, 10 + 2)),
    ([2, 2], [False, True], 3, (2, 1, 10)),                # a constant below both: wires
    ([2, 2], [False, True], -1, (2, 0, 10)),
    ([0], [False], 8, (3, 1, 7)),
    ([0], [True], 0, (0, 1, 10)),
    ([0], [False], 0, None),
    ([0, 6], [False, False], 0, (6, 0, 10)),
    ([0, 0, 0], [False] * 3, 0, None),
])
def test_which_sums_it_does(shift: list[int], neg: list[bool], imm: int, expected: tuple[int, int, int] | None) -> None:
    assert plan_of(shift, neg, imm) == expected


def test_short_sums_and_operands_side_by_side_stay_plain() -> None:
    b = NetlistBuilder("n")
    b.origin("o")
    x = b.input("x", [0, 0, 0], [3, 7, 255])
    b.output("y", np.concatenate([b.sum2(x[0], 0, False, x[0], 0, False), b.sum2(x[2], 0, False, x[1], 8, False),
                                  b.sum2(x[1], 0, False, x[0], 0, False), b.sum2(x[2], 0, False, x[1], 7, False)]))
    plan = two_operands(b.build())
    assert plan.rows.tolist() == [5, 6]
    assert plan.bits.tolist() == [SHORTEST, SHORTEST]


@pytest.mark.parametrize("seed", range(30))
def test_the_plan_is_the_sum(seed: int) -> None:
    """What chain and wires compute, by Python integers, is the row's value."""
    netlist = random_netlist(seed, rows=200, inputs=4)
    plan = two_operands(netlist)
    values = evaluate_rows(netlist, random_inputs(netlist, 5, seed), np.arange(len(netlist)))[seed % 5].tolist()
    for k, row in enumerate(plan.rows.tolist()):
        start, low, width = int(plan.start[k]), int(plan.low[k]), int(netlist.widths[row])
        places = [p for p in plan.place[k].tolist() if p != NONE]
        operands = [values[netlist.arg[p]] << int(netlist.shift[p]) for p in places]
        if plan.offset[k]:
            own = netlist.widths[netlist.arg]
            flip = flipped(netlist.lo[netlist.arg] < 0, own, netlist.neg)
            operands = [((values[netlist.arg[p]] & (1 << int(own[p])) - 1) ^ int(flip[p])) << int(netlist.shift[p]) for p in places]
        chain = sum(~(x >> start) if n else x >> start for x, n in zip(operands, plan.negative[k].tolist(), strict=False))
        below = operands[0] & (1 << start) - 1
        assert low <= start
        assert not below & (1 << low) - 1
        assert 0 <= plan.constant[k] < 1 << low
        assert not any(x & (1 << start) - 1 for x in operands[1:])
        assert ((chain + int(plan.addend[k]) << start) + below + int(plan.constant[k]) - values[row]) % (1 << width) == 0
    assert len(plan.rows)


# -- the cells -----------------------------------------------------------------------------------------------------------


def prove(folder: Path, adder: str, cases: list[tuple[int, int, int, int]]) -> bool:
    """Whether `adder`, as Yosys reads it, is the plain sum for every (width, operands, invert, addend), by SAT over all inputs."""
    ports, cells, sums = [], [], []
    for k, (width, operands, invert, addend) in enumerate(cases):
        a, b = (f"{'~' if invert >> n & 1 else ''}{x}{k}" for n, x in enumerate("ab"))
        ports.append(f"input [{width - 1}:0] a{k}, b{k}, output [{width - 1}:0] y{k}")
        flips = "".join(f".FLIP_{x}({{{width}{{1'b1}}}}), " for n, x in enumerate("AB") if invert >> n & 1)
        cells.append(f"  dut_add2 #(.WIDTH({width}), .OPERANDS({operands}), {flips}.ADDEND({width}'d{addend})) u{k} (a{k}, b{k}, y{k});")
        sums.append(f"  assign y{k} = ({a}) + ({b if operands == 2 else 0}) + {width}'d{addend};")
    for name, body in (("cells", cells), ("sums", sums)):
        (folder / f"{name}.v").write_text("\n".join([f"module {name}({', '.join(ports)});", *body, "endmodule", ""]))
    (folder / "add2.v").write_text(adder[:adder.index("`ifdef GATEWRIGHT_CCU2C\n//")] + "".join(ENDS.format(*end) for end in (
        ("first", "output", ".COUT(COUT), "), ("last", "input", ""))))
    done = run_yosys([
        *CELLS, f"read_verilog {DEFINES['add2']} {folder}/add2.v {folder}/cells.v", "hierarchy -check -top cells",
        "select -assert-min 1 t:*CCU2C*", "proc", "flatten", "opt", "design -stash cells",
        f"read_verilog {folder}/sums.v", "hierarchy -top sums", "proc", "opt",
        "design -copy-from cells -as cells cells",
        "miter -equiv -flatten -make_assert sums cells both", "sat -prove-asserts -verify both"])
    assert done.returncode == 0 or "proof did fail" in done.stdout + done.stderr, (done.stdout + done.stderr)[-1500:]
    return done.returncode == 0


def adder_text() -> str:
    return emit(design_of(some_sums()), HEADER)["rtl/dut_add2.v"]


def test_the_cells_are_the_sum_for_all_inputs(tmp_path: Path) -> None:
    """Both parities of the width, every inversion and every constant."""
    cases = [(w, 2, invert, k) for w, invert in product((3, 4), range(4)) for k in range(1 << w)]
    cases += [(w, 1, invert, k) for w, invert in product((3, 4), range(2)) for k in range(1 << w)]
    assert prove(tmp_path, adder_text(), [*cases, (7, 2, 1, 0x35), (8, 2, 2, 0xa4), (9, 2, 3, 0x100), (10, 1, 1, 0xff)])


@pytest.mark.parametrize(("right", "wrong"), [
    ("GA | GB", "GA & GB"), ("8'h0A}", "8'h0C}"), ("{4{CARRY}}", "4'h0"), ("REST[i-1] ?", "REST[i] ?"), (": GA & GB", ": GA | GB"),
    ("REST[i] ? 4'h0 :", "REST[i] ? 4'hA :")])
def test_the_proof_finds_wrong_cells(right: str, wrong: str, tmp_path: Path) -> None:
    assert right in adder_text()
    cases = [(w, 2, invert, k) for w in (3, 4) for invert, k in ((1, 1), (0, 0), (2, 2), (1, 6))]
    assert not prove(tmp_path, adder_text().replace(right, wrong), cases)


def test_the_mapped_kernel_has_the_same_bits(tmp_path: Path) -> None:
    """What synthesis makes of a whole pipelined kernel, cells and all, simulated against the netlist; chains have open ends."""
    try:
        find_verilator()
        find_yosys()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    netlist = some_sums()
    assert len(two_operands(netlist).rows) == 8
    design = design_of(netlist, 6.0, PART)
    files = emit(design, HEADER)
    result = synthesise({name: files[name] for name in sources("dut", files)}, "dut", load_part(PART), tmp_path / "yosys")
    assert (result.carry_unit, result.route_through) == ("CCU2C", 0)
    assert result.carry > 8
    mapped = tmp_path / "mapped.v"
    assert run_yosys([f"read_json {tmp_path}/yosys/{NETLIST}", f"write_verilog -noattr {mapped}"]).returncode == 0
    mapped.write_text(mapped.read_text().replace(".COUT(1'hx)", ".COUT()"))
    done = run_yosys([*CELLS, f"read_verilog -overwrite {mapped}", "hierarchy -check -top dut", "proc", "flatten", "opt_clean",
                      f"write_verilog -noattr {mapped}"])
    assert done.returncode == 0, (done.stdout + done.stderr)[-1500:]
    rtl = Rtl("dut", (mapped,), design.inputs, design.outputs, design.latency_cycles)
    inputs = random_inputs(netlist, 500, 1)
    simulated = simulate(rtl, inputs, design.evaluate(inputs), tmp_path / "work")
    assert (simulated.status, simulated.reason) == ("passed", "")
