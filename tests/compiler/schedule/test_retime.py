"""Retiming: never more registers, never a longer path, and as few registers as trying everything finds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from netlists import random_netlist

from gatewright.backends.part import load_part
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.estimate.estimate import registers
from gatewright.compiler.schedule import retime as module
from gatewright.compiler.schedule.pipeline import arrivals, pipeline
from gatewright.compiler.schedule.retime import retime
from gatewright.ir.design import Kernel
from gatewright.ir.netlist import Netlist, NetlistBuilder, Op, widths
from gatewright.ir.usage import constant

PART = load_part()


def bits(netlist: Netlist, stage: np.ndarray) -> int:
    return int(registers(Kernel(netlist, np.asarray(stage, np.int32)))[0].sum())


def legal(netlist: Netlist, stage: np.ndarray, delay: np.ndarray, budget: float) -> bool:
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    computed = ~constant(netlist)[owner] & ~constant(netlist)[netlist.arg]
    costs = replace(row_costs(netlist, PART), delay_ns=np.minimum(delay, budget))  # longer than a stage: a stage of its own
    ends = arrivals(Kernel(netlist, np.asarray(stage, np.int32)), costs, 0.0)
    return bool((stage[netlist.arg] <= stage[owner])[computed].all() and (ends <= budget + 1e-9).all()
                and (stage[netlist.op == Op.INPUT] == 0).all())


@pytest.mark.parametrize("clock", [1.2, 2.0, 4.0])
@pytest.mark.parametrize("seed", range(12))
def test_fewer_registers_in_as_many_stages(seed: int, clock: float) -> None:
    netlist = random_netlist(seed, rows=120)
    costs = row_costs(netlist, PART)
    early = pipeline(netlist, PART, clock, registers=False)[0]
    late = pipeline(netlist, PART, clock)[0]
    assert late.segments == early.segments
    assert bits(netlist, late.stage) <= bits(netlist, early.stage)
    budget = clock - PART.delay["clk_to_q"] - PART.delay["setup"] + 1e-9
    assert legal(netlist, late.stage, costs.delay_ns, budget)
    assert np.array_equal(late.stage, pipeline(netlist, PART, clock)[0].stage)


def counted(netlist: Netlist, stage: np.ndarray, outputs: list[int]) -> int:
    """Registers of inputs, sums and slices, bit by bit: every bit of a row is kept until the last row that reads it, or a slice of it."""
    segments, sums, total = int(stage.max()) + 1, netlist.op == Op.SUM, 0
    until = [[segments if row in outputs else -1] * width for row, width in enumerate(netlist.widths.tolist())]
    for row in reversed(range(len(netlist))):
        for place in range(netlist.first[row], netlist.first[row + 1]):
            kept = until[netlist.arg[place]]
            for bit in range(len(kept)):
                if sums[row] and bit + netlist.shift[place] < len(until[row]):
                    kept[bit] = max(kept[bit], stage[row])
                if not sums[row] and 0 <= bit - netlist.imm[row] < len(until[row]):
                    kept[bit] = max(kept[bit], stage[row] if row in outputs else until[row][bit - netlist.imm[row]])
        if netlist.op[row] != Op.BITS or row in outputs:
            rank_0 = netlist.op[row] == Op.INPUT
            total += sum(end - int(stage[row]) + rank_0 for end in until[row] if end >= 0)
    return total


def small(seed: int) -> tuple[Netlist, list[int]]:
    """Sums of inputs, of sums and of slices, and slices of slices; and the outputs."""
    rng = np.random.default_rng(seed)
    b = NetlistBuilder("small")
    b.origin("o")
    rows = b.input("x", [0, 0, -100], [63, 200, 100]).tolist()
    for _ in range(5):
        x, y = (rng.choice(rows[-6:]) for _ in range(2))
        for _ in range(rng.integers(3)):
            if widths(b.lo[[x]], b.hi[[x]])[0] > 2:
                x = b.bits(x, int(rng.integers(2)), int(rng.integers(2, widths(b.lo[[x]], b.hi[[x]])[0])), False)[0]
                rows.append(x)
        rows += b.sum2(x, 0, False, y, 1, False).tolist()
    outputs = [*rows[-2:], rows[4]]
    b.output("y", outputs)
    return b.build(), outputs


@pytest.mark.parametrize("seed", range(20))
def test_no_schedule_has_fewer(seed: int) -> None:
    netlist, outputs = small(seed)
    delay, budget = row_costs(netlist, PART).delay_ns, 1.3
    kernel = pipeline(netlist, PART, budget + PART.delay["clk_to_q"] + PART.delay["setup"])[0]
    placed = (netlist.op == Op.SUM) | np.isin(np.arange(len(netlist)), outputs)
    least = None
    for stages in itertools.product(range(kernel.segments), repeat=int(placed.sum())):
        stage = np.zeros(len(netlist), np.int32)
        stage[placed] = stages
        for row in np.flatnonzero((netlist.op == Op.BITS) & ~placed):
            stage[row] = stage[netlist.arg[netlist.first[row]]]
        if stage.max() + 1 == kernel.segments and legal(netlist, stage, delay, budget):
            number = counted(netlist, stage, outputs)
            least = number if least is None else min(least, number)
    assert bits(netlist, kernel.stage) == counted(netlist, kernel.stage, outputs) == least


def test_slices_are_in_the_first_stage_that_reads_them() -> None:
    b = NetlistBuilder("kernel")
    b.origin("o")
    x = b.input("x", [0], [255])
    s, t = b.bits(x[0], 0, 4, False), b.bits(x[0], 4, 4, False)   # 1, 2
    u = b.sum2(s, 0, False, s, 1, False)                          # 3
    v = b.sum2(u, 0, False, b.bits(t, 1, 2, False), 0, False)     # 4: the slice, 5
    b.output("y", b.sum2(v, 0, False, s, 0, False))               # 6
    kernel = pipeline(b.build(), PART, 0.8)[0]
    assert kernel.stage.tolist() == [0, 0, 1, 0, 1, 1, 2]
    assert bits(kernel.netlist, kernel.stage) == 4 + 2 + (4 + 2 + 6) + (4 + 6) + 6


def test_no_register_comes_between_selects_that_share_luts() -> None:
    """Limits at 0 and 3: the value between them has 2 bits, what goes into them 8, but their LUT does both."""
    b = NetlistBuilder("kernel")
    b.origin("o")
    x = b.input("x", [-100, 0], [100, 1])
    wide = b.sum2(x[0], 0, False, x[0], 1, False)
    low = b.select(b.ge(wide, b.const(0)), wide, b.const(0), bounds=(0, 300))
    inner = b.select(b.ge(b.const(3), wide), b.bits(low, 0, 2, False), b.const(3))
    late = b.sum2(x[1], 0, False, b.sum2(x[1], 0, False, b.sum2(x[1], 0, False, x[1], 1, False), 0, False), 1, False)
    outer = b.select(b.ge(late, b.const(5)), inner, b.const(1))
    b.output("y", b.sum2(outer, 0, False, x[1], 0, False))
    netlist = b.build()
    costs = row_costs(netlist, PART)
    assert costs.within[inner] == outer
    kernel = pipeline(netlist, PART, 1.0)[0]
    assert kernel.stage[inner] == kernel.stage[outer] > kernel.stage[wide] + 1


def test_a_kernel_too_large_keeps_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    netlist = random_netlist(3, rows=120)
    stage = pipeline(netlist, PART, 1.2, registers=False)[0].stage
    costs = row_costs(netlist, PART)
    assert not np.array_equal(retime(netlist, stage, int(stage.max()) + 1, costs, 1.09), stage)
    monkeypatch.setattr(module, "MAX_CONSTRAINTS", 50)
    assert np.array_equal(retime(netlist, stage, int(stage.max()) + 1, costs, 1.09), stage)
