"""The three-operand adder: which sums fit it, and that its cells compute the plain sum, for all inputs."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from netlists import design_of, random_heaps, random_inputs, random_netlist
from yosys_child import run_yosys

from gatewright.backends.add3 import FREE_UNITS, NONE, WORDS, Add3, chain_start, three_words
from gatewright.backends.part import DEFAULT_PART, load_part
from gatewright.backends.verilog import emit, sources
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.errors import ToolMissing
from gatewright.ir.design import Design
from gatewright.ir.netlist import Netlist, NetlistBuilder
from gatewright.ir.netlist_eval import evaluate_rows
from gatewright.ir.offsets import offsets, operand_flips
from gatewright.sim.ports import Rtl
from gatewright.sim.toolchain import find_verilator
from gatewright.sim.verilator import verify as simulate
from gatewright.synth.yosys import synthesise

HEADER = {"model": "model.onnx", "gatewright": "0.1.0", "sha256": "ab" * 32, "part": DEFAULT_PART, "clock_ns": 2.5}


def some_sums() -> Netlist:
    b = NetlistBuilder("kernel")
    b.origin("node")
    x = b.input("x", [-8, -8, 0], [7, 7, 15])
    rows = [b.sum([0, 3], x, [0, 1, 2], [False] * 3), b.sum([0, 3], x, [3, 1, 2], [False, True, True]),
            b.sum2(x[0], 2, False, x[1], 0, True, 7), b.sum([0, 3], x, 0, [True] * 3)]
    rows.append(b.select(b.ge(rows[0], rows[1]), rows[2], b.table(x[2], [np.arange(16) ** 2 % 11], 0)))
    b.output("y", np.concatenate(rows))
    return b.build()


# -- which sums ----------------------------------------------------------------------------------------------------------


def plan_of(shift: list[int], neg: list[bool], imm: int, operands: int = 3) -> tuple[int, int] | None:
    """(start, units) of the sum of this many operands with these shifts, signs and constant; None where it does not fit."""
    b = NetlistBuilder("n")
    b.origin("o")
    x = b.input("x", [-8] * operands, [7] * operands)
    b.output("y", b.sum([0, operands], x, shift, neg, imm))
    plan = three_words(b.build())
    return (int(plan.start[0]), int(plan.units[0])) if len(plan.rows) else None


@pytest.mark.parametrize(("shift", "neg", "imm", "expected"), [
    ([0, 0, 0], [False] * 3, 0, (0, 0)),
    ([0, 2, 1], [False] * 3, 0, (1, 0)),                    # below the second lowest operand: wires
    ([0, 2, 1], [True, False, False], 0, (0, 1)),           # ... unless the lowest one is negated
    ([3, 2, 1], [True, True, False], 0, (2, 2)),
    ([1, 1, 1], [True] * 3, 0, None),                       # three ones are one too many
    ([1, 1, 1], [True] * 3, -2, (1, 2)),                    # ... which a constant may take away
    ([0, 0, 0], [False] * 3, 2, (0, 2)),
    ([0, 0, 0], [False] * 3, 3, None),
    ([0, 0, 0], [True, True, False], 1, None),
    ([0, 2, 1], [False] * 3, 4, (1, 2)),
    ([0, 2, 1], [False] * 3, 1, None),                      # a constant below the chain
    ([0, 0, 0], [False] * 3, -1, None),
])
def test_which_sums_of_three_fit(shift: list[int], neg: list[bool], imm: int, expected: tuple[int, int] | None) -> None:
    assert plan_of(shift, neg, imm) == expected


def test_sums_of_two_take_any_constant_and_no_other_sum_fits() -> None:
    assert plan_of([0, 3], [False, False], -77, 2) == (0, 0)
    assert plan_of([2, 3], [True, True], 16, 2) == (2, 2)
    assert plan_of([0, 1], [False, False], 0, 2) is None
    assert plan_of([0], [False], 3, 1) is None
    assert plan_of([0] * 4, [False] * 4, 0, 4) is None


@pytest.mark.parametrize("seed", range(30))
def test_the_plan_is_the_sum(seed: int) -> None:
    """What chain and wires compute, by Python integers, is the row's value."""
    plain = random_netlist(seed, rows=200, inputs=4)
    assert sum(check_plan(netlist, seed) for netlist in (plain, fuse_sums(plain)[0])) > 0


Bit = tuple[int, int, bool]
"""A slice of a heap: its lowest column, how many bits it has, and whether it is negated."""


Heap = tuple[list[Bit], int, int, bool]
"""Slices, constant ones, the width of the result, and whether the slices are signed."""


def netlist_of(*heaps: Heap) -> Netlist:
    """The sums of slices and constant ones, unsigned; every slice is an input."""
    b = NetlistBuilder("heap")
    b.origin("node")
    rows = []
    for k, (slices, ones, result, signed) in enumerate(heaps):
        shift, own, negative = (np.array(v) for v in zip(*slices, strict=True))
        half = (1 << own - 1) * signed
        x = b.input(f"x{k}", -half, (1 << own) - 1 - half)
        imm = int((offsets(b.lo[x] < 0, own, negative) << shift).sum()) + ones
        rows.append(b.sum([0, len(x)], x, shift, negative, imm, (0, (1 << result) - 1)))
    b.output("y", np.concatenate(rows))
    return b.build()


ADD, SUB = False, True
HEAPS: list[tuple[Heap, tuple[int, int, int, bool] | None]] = [  # LUTs, start, units, whether a fourth bit is added
    (([(0, 3, ADD)] * 3, 0, 5, False), (4, 0, 0, False)),
    (([(0, 1, ADD)] * 4 + [(1, 2, ADD)] * 3, 0, 5, False), (4, 0, 0, True)),  # four bits, three, three
    (([(0, 1, ADD)] * 4 + [(1, 2, ADD)] * 3, 1, 5, False), (4, 0, 1, True)),  # ... and a one
    (([(0, 1, ADD)] * 4 + [(1, 2, ADD)] * 3, 2, 5, False), None),  # ... and two
    (([(0, 1, ADD)] * 3 + [(1, 2, ADD)] * 3, 2, 5, False), (4, 0, 2, False)),  # two ones for one too many above
    (([(0, 1, ADD)] * 5, 0, 3, False), None),
    (([(0, 4, ADD), (1, 2, ADD), (2, 1, ADD)], 0, 5, False), (3, 1, 0, False)),  # the highest bit is the carry
    (([(0, 4, ADD), (1, 3, ADD), (2, 1, ADD), (3, 1, ADD)], 0, 6, False), (4, 1, 0, False)),  # ... out of a saved one
    (([(0, 4, ADD), (1, 2, ADD), (2, 1, ADD), (2, 2, ADD)], 0, 6, False), None),  # four bits inside
    (([(0, 2, ADD), (2, 2, ADD), (4, 3, ADD)], 0, 7, False), (0, 7, 0, False)),  # side by side
    (([(0, 2, SUB), (2, 2, ADD), (2, 3, ADD), (2, 1, ADD)], 0, 6, False), (2 + 3, 2, 0, False)),  # inverters below
    (([(0, 1, SUB)] * 4 + [(1, 4, ADD)] * 3, 0, 7, False), (6 + 1, 0, 0, True)),  # the fourth bit inverted
    (([(0, 3, ADD), (0, 3, SUB), (0, 3, ADD), (3, 3, SUB)], 2, 7, True), (6, 0, 2, False)),
    (([(0, 3, ADD), (0, 3, SUB), (0, 3, ADD), (3, 3, SUB)], 9, 7, True), (6, 0, 1, False)),
]


@pytest.mark.parametrize(("heap", "expected"), HEAPS)
def test_which_heaps_fit(heap: Heap, expected: tuple[int, int, int, bool] | None) -> None:
    netlist = netlist_of(heap)
    plan = three_words(netlist)
    found = [(int(plan.lut[0]), int(plan.start[0]), int(plan.units[0]), plan.extra[0] >= 0)] if len(plan.rows) else [None]
    assert found == [expected]
    check_plan(netlist, 0)


def test_heaps_take_the_luts_that_they_are_counted_as() -> None:
    """All that fit and need no inverter, which synthesis does not count."""
    pytest.importorskip("pyosys")
    netlist = netlist_of(*(heap for heap, expected in HEAPS if expected and not any(neg for _, _, neg in heap[0])))
    files = emit(design_of(netlist, 100.0), HEADER)
    assert len(three_words(netlist).rows) == 7
    found = synthesise({Path(name).name: files[name] for name in sources("dut", files)}, "dut", load_part())
    assert int(row_costs(netlist, load_part()).lut.sum()) == found.lut


@pytest.mark.parametrize("tallest", [3, 4])
@pytest.mark.parametrize("seed", range(20))
def test_the_plan_of_a_heap_is_the_sum(seed: int, tallest: int) -> None:
    netlist = random_heaps(seed, tallest=tallest)
    assert check_plan(netlist, seed) > (35 if tallest == 3 else 5)


def check_plan(netlist: Netlist, seed: int) -> int:
    """Asserts that every sum that fits is the adder's; returns how many do."""
    plan, rng = three_words(netlist), np.random.default_rng(seed)
    inputs = random_inputs(netlist, 5, seed)
    values = evaluate_rows(netlist, inputs, np.arange(len(netlist)))[rng.integers(5)].tolist()
    for k, row in enumerate(plan.rows.tolist()):
        start, width = int(plan.start[k]), int(netlist.widths[row])
        words, below, used = chain_of(netlist, plan, k, values)
        chain = sum(words) + int(plan.units[k])
        if plan.carry_out[k]:
            assert sum(taken >> width - 2 - start & 1 for taken in used) <= 1
            assert not any(taken >> width - 1 - start for taken in used)
        assert 0 <= plan.units[k] <= FREE_UNITS - (plan.extra[k] != NONE)
        assert ((chain << start) + below - values[row]) % (1 << width) == 0
    return len(plan.rows)


def chain_of(netlist: Netlist, plan: Add3, k: int, values: list[int]) -> tuple[list[int], int, list[int]]:
    """The three words of a chain and the extra bit, and the bits below it, of these values of all rows; the words' bits in use."""
    start, width = int(plan.start[k]), int(netlist.widths[plan.rows[k]])
    flips, places = operand_flips(netlist).tolist(), range(plan.first[k], plan.first[k + 1])
    words, below, extra = [0] * WORDS, 0, 0
    taken = [0] * (WORDS + 1)
    for p in places:
        place, word = int(plan.place[p]), int(plan.word[p])
        arg, shift = netlist.arg[place], int(netlist.shift[place])
        own = int(netlist.widths[arg])
        value, mask = values[arg] << shift & (1 << width) - 1, (1 << min(own + shift, width)) - (1 << shift)
        if plan.offset[k]:  # extended by zeros, with bits flipped
            value = (value ^ flips[place] << shift) & mask
        elif netlist.neg[place]:
            value, mask = value ^ (1 << width) - (1 << start), (1 << width) - (1 << start)
        below |= value & (1 << start) - 1
        assert not taken[WORDS] & mask & (1 << start) - 1
        taken[WORDS] |= mask & (1 << start) - 1
        if place == plan.extra[k]:
            extra, value, mask = value >> start & 1, value & ~(1 << start), mask & ~(1 << start)
        assert not taken[word] & mask >> start
        taken[word] |= mask >> start
        words[word] |= value >> start
    for n, constant in enumerate(plan.constant[k].tolist()):
        constant &= (1 << width - start) - 1
        assert not taken[n] & constant
        taken[n] |= constant
        words[n] += constant
    assert not taken[WORDS] & int(plan.below[k])
    return [*words, extra], below | int(plan.below[k]), taken[:WORDS]


# -- the cells -----------------------------------------------------------------------------------------------------------


Case = tuple[int, int, int, int, int]
"""Width, which of a, b and c have their bits flipped (a bit mask), units, and whether the highest bit is a carry out and d is added."""


def prove(folder: Path, adder: str, cases: list[Case], unit: str = "CARRY8") -> bool:
    """Whether `adder`, as Yosys reads it, is the plain sum in every case, by SAT over all inputs. `unit`: of its chains, if it has any."""
    ports, cells, sums = [], [], []
    for k, (width, flipped, units, carry_out, extra) in enumerate(cases):
        own = [width - 2 * carry_out, width - 2 * carry_out, width - carry_out]
        flips = [(1 << bits) - 1 if flipped >> n & 1 else 0 for n, bits in enumerate(own)]
        ports += [f"input [{bits - 1}:0] {x}{k}" for x, bits in zip("abcd", [*own, 1], strict=True)] + [f"output [{width - 1}:0] y{k}"]
        settings = "".join(f", .FLIP_{x}({width}'d{flip})" for x, flip in zip("ABC", flips, strict=True))
        cells.append(f"  dut_add3 #(.WIDTH({width}){settings}, .UNITS({units}), .CARRY_OUT({carry_out}), .EXTRA({extra})) u{k} "
                     f"(.a(a{k}), .b(b{k}), .c(c{k}), .d(d{k}), .y(y{k}));")
        a, b, c = (f"{'~' if flip else ''}{x}{k}" for x, flip in zip("abc", flips, strict=True))
        sums.append(f"  assign y{k} = {{{a}}} + {{{b}}} + {{{c}}} + {units}{f' + d{k}' if extra else ''};")
    for name, body in (("cells", cells), ("sums", sums)):
        (folder / f"{name}.v").write_text("\n".join([f"module {name}({', '.join(ports)});", *body, "endmodule", ""]))
    (folder / "add3.v").write_text(adder)
    done = run_yosys([
        "read_verilog +/xilinx/cells_sim.v", f"read_verilog {folder}/add3.v {folder}/cells.v", "hierarchy -check -top cells",
        *([f"select -assert-min 1 t:*{cell}*" for cell in ("LUT6_2", unit)] if unit else ["select -assert-none t:*CARRY*"]),
        "proc", "flatten", "opt", "design -stash cells",
        f"read_verilog {folder}/sums.v", "hierarchy -top sums", "proc", "opt", "design -copy-from cells -as cells cells",
        "miter -equiv -flatten -make_assert sums cells both", "sat -prove-asserts -verify both"])
    assert done.returncode == 0 or "proof did fail" in done.stdout + done.stderr, (done.stdout + done.stderr)[-1500:]
    return done.returncode == 0


UNITS = {"CARRY8": (DEFAULT_PART, "`define GATEWRIGHT_CARRY8\n"), "CARRY4": ("xc7a100tcsg324-1", ""),
         "CARRY4 for open synthesis": (DEFAULT_PART, "")}
"""What chains are made of: the part, and what stands in front of the text."""


def adder_text(unit: str = "CARRY8") -> str:
    part, defined = UNITS[unit]
    text = emit(design_of(some_sums()), HEADER | {"part": part})["rtl/dut_add3.v"]
    assert f"{unit[:6]} unit (" in text
    return defined + text


CASES = [*product([2], range(8), [0, 1, 2], [0], [0]), *product([2], range(8), [0, 1], [0], [1]),
         *product([1, 4, 5, 9], [0b000, 0b110], [2], [0], [0]), *product([1, 4, 5, 9], [0b000, 0b110], [1], [0], [1]),
         *product([3, 4, 5, 6, 9], [0b000, 0b011, 0b101], [0], [1], [0, 1])]


@pytest.mark.parametrize("unit", UNITS)
def test_the_cells_are_the_sum_for_all_inputs(unit: str, tmp_path: Path) -> None:
    """Every table and every carry in at two bits; chains of one to three units at the other widths."""
    assert prove(tmp_path, adder_text(unit), CASES, unit[:6])


def test_the_sum_for_other_tools_is_the_sum(tmp_path: Path) -> None:
    assert prove(tmp_path, "`define GATEWRIGHT_PLAIN\n" + adder_text("CARRY4 for open synthesis"), CASES, "")


@pytest.mark.slow
@pytest.mark.parametrize("width", range(1, 10))
def test_the_cells_are_the_sum_in_every_case(width: int, tmp_path: Path) -> None:
    assert prove(tmp_path, adder_text(), [
        (width, flipped, units, carry_out, extra) for flipped, units, carry_out, extra in product(range(8), [0, 1, 2], [0, 1], [0, 1])
        if carry_out <= (width > 2) and extra + units < 3])


@pytest.mark.parametrize(("right", "wrong"), [("TA & TB", "TA | TB"), ("32'hFF00FF00", "32'hFF00FF01"),
                                              ("UNITS > 1;", "UNITS > 0;"), ("carry[8*i]),", "carry[0]),"),
                                              ("carry[CHAIN]", "carry[CHAIN-1]"), ("FLIP_B[i]", "FLIP_A[i]"),
                                              ("EXTRA ? d", "EXTRA ? !d")])
def test_the_proof_finds_wrong_cells(right: str, wrong: str, tmp_path: Path) -> None:
    assert right in adder_text()
    assert not prove(tmp_path, adder_text().replace(right, wrong), [(2, 0b001, 1, 0, 0), (9, 0, 2, 0, 0), (6, 0b010, 0, 1, 1)])


# -- the kernel on cells -------------------------------------------------------------------------------------------------


def written(design: Design, folder: Path) -> list[Path]:
    files = emit(design, HEADER)
    for name in sources("dut", files):
        (folder / Path(name).name).write_text(files[name])
    return [folder / Path(name).name for name in sources("dut", files)]


@pytest.mark.parametrize(("netlist", "sums", "cells"), [(some_sums(), 3, 12), (random_heaps(7, sums=10), 10, 60)])
def test_the_mapped_kernel_has_the_same_bits(netlist: Netlist, sums: int, cells: int, tmp_path: Path) -> None:
    """What synthesis makes of a whole pipelined kernel, cells and all, simulated against the netlist."""
    try:
        find_verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert len(three_words(netlist).rows) == sums
    design = design_of(netlist, 1.5)
    files = " ".join(map(str, written(design, tmp_path)))
    mapped = tmp_path / "mapped.v"
    done = run_yosys([f"read_verilog {files}", "synth_xilinx -family xcup -flatten -noiopad -noclkbuf -nodsp -top dut",
                      f"select -assert-min {cells} t:LUT6_2", f"write_verilog -noattr {mapped}", "design -reset",
                      "read_verilog +/xilinx/cells_sim.v", f"read_verilog {mapped}", "hierarchy -check -top dut", "proc",
                      "flatten", "opt_clean", f"write_verilog -noattr {mapped}"])
    assert done.returncode == 0, done.stdout[-1500:]
    rtl = Rtl("dut", (mapped,), design.inputs, design.outputs, design.latency_cycles)
    inputs = random_inputs(netlist, 500, 1)
    result = simulate(rtl, inputs, design.evaluate(inputs), tmp_path / "work")
    assert (result.status, result.reason) == ("passed", "")


@pytest.mark.parametrize(("shift", "negative", "start"), [
    ([0, 3], [False, False], 3), ([3, 0], [False, False], 3), ([0, 3], [True, False], 0), ([0, 3], [False, True], 3),
    ([0, 0], [False, True], 0), ([4, 2, 3], [False, False, True], 3), ([4, 2, 3], [False, True, False], 2)])
def test_chains_begin_where_operands_meet(shift: list[int], negative: list[bool], start: int) -> None:
    assert chain_start(np.array([shift]), np.array([negative])).tolist() == [start]
