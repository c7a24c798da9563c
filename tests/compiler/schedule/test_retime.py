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
from gatewright.ir.netlist import Netlist, NetlistBuilder, Op
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


def small(seed: int) -> Netlist:
    rng = np.random.default_rng(seed)
    b = NetlistBuilder("small")
    b.origin("o")
    rows = b.input("x", [-8, 0, -100], [7, 200, 100]).tolist()
    for _ in range(5):
        x, y = rng.choice(rows, 2, replace=False).tolist()
        rows += (b.bits(x, 1, 3, False) if rng.random() < 0.3 else b.sum2(x, 0, False, y, 1, False)).tolist()
    b.output("y", rows[-2:])
    return b.build()


@pytest.mark.parametrize("seed", range(10))
def test_no_schedule_has_fewer(seed: int) -> None:
    netlist = small(seed)
    delay, budget = row_costs(netlist, PART).delay_ns, 1.3
    clock = budget + PART.delay["clk_to_q"] + PART.delay["setup"]
    kernel = pipeline(netlist, PART, clock)[0]
    inputs = int((netlist.op == Op.INPUT).sum())
    schedules = (np.array([0] * inputs + list(rest)) for rest in
                 itertools.product(range(kernel.segments), repeat=len(netlist) - inputs))
    least = min(bits(netlist, s) for s in schedules if s.max() + 1 == kernel.segments and legal(netlist, s, delay, budget))
    assert bits(netlist, kernel.stage) == least


def test_a_kernel_too_large_keeps_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    netlist = random_netlist(3, rows=120)
    stage = pipeline(netlist, PART, 1.2, registers=False)[0].stage
    delay = row_costs(netlist, PART).delay_ns
    assert not np.array_equal(retime(netlist, stage, int(stage.max()) + 1, delay, 1.09), stage)
    monkeypatch.setattr(module, "MAX_CONSTRAINTS", 50)
    assert np.array_equal(retime(netlist, stage, int(stage.max()) + 1, delay, 1.09), stage)
