"""Costs of rows, and the estimate that adds them up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from netlists import design_of, random_netlist

from gatewright.backends.part import load_part
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.estimate.estimate import estimate, registers
from gatewright.ir.netlist import NetlistBuilder, Op
from gatewright.ir.usage import used_bits

PART = load_part()
ADD = 0.30 + 0.10 + 0.10 + 0.10
"""ns of an addition of at most four bits."""


def builder() -> NetlistBuilder:
    b = NetlistBuilder("kernel")
    b.origin("dense")
    b.input("x", [-128, -128, 0, 0], [127, 127, 255, 1])
    return b


@pytest.mark.parametrize(("row", "lut", "adders", "delay"), [
    (lambda b: b.sum2(0, 0, False, 1, 0, False), 9, 1, ADD + 0.30),          # 8 + 8 bits, both signs twice at the top
    (lambda b: b.sum2(0, 0, False, 2, 0, False), 10, 1, ADD + 0.04),         # only one of the two has a sign
    (lambda b: b.sum2(0, 0, False, 1, 3, False), 9, 1, ADD + 0.30),          # the three lowest bits are wires
    (lambda b: b.sum2(0, 0, True, 1, 3, False), 12, 1, ADD + 0.28),          # ... but not of a negated operand
    (lambda b: b.sum2(0, 0, False, 1, 3, False, 4), 10, 1, ADD + 0.44),      # a constant is a third operand of the chain
    (lambda b: b.sum([0, 3], [0, 1, 2], [0, 1, 3]), 12, 2, ADD + 0.44),      # three operands, the lowest bit a wire
    (lambda b: b.sum([0, 3], [0, 1, 2], [0, 1, 3], [True, False, True]), 13, 2, ADD + 0.46),
    (lambda b: b.sum([0, 3], [0, 1, 2], [0, 1, 3], [True] * 3), 18, 2, 2 * (ADD + 0.06)),    # three ones: two additions
    (lambda b: b.sum2(2, 0, False, 1, 8, False), 0, 0, 0.0),                 # side by side
    (lambda b: b.sum1(0, 3), 0, 0, 0.0),
    (lambda b: b.sum1(0, 3, True), 9, 1, ADD + 0.04),
    (lambda b: b.sum1(2, 0, False, 4), 7, 1, ADD + 0.02),
    (lambda b: b.sum1(0, 3, False, 7), 0, 0, 0.0),                           # a constant below the lowest bit
    (lambda b: b.sum1(0, 3, False, 8), 9, 1, ADD + 0.04),
    (lambda b: b.sum1(0, 3, True, 7), 12, 1, ADD + 0.04),
    (lambda b: b.sum([0, 4], [0, 1, 2, 2], [0, 0, 0, 9]), 18, 2, ADD + 0.48),                # no column has more than three bits
    (lambda b: b.sum([0, 4], [0, 1, 2, 2], [0, 0, 0, 3]), 27, 3, 2 * (ADD + 0.06)),          # three additions
    (lambda b: b.bits(0, 2, 4, True), 0, 0, 0.0),
    (lambda b: b.ge(0, b.const(0)), 0, 0, 0.0),                              # the sign
    (lambda b: b.ge(0, b.const(32)), 1, 0, 0.4),                             # three bits matter
    (lambda b: b.ge(b.const(31), 0), 1, 0, 0.4),
    (lambda b: b.ge(2, b.const(3)), 2, 0, 0.8),
    (lambda b: b.ge(0, 1), 8, 1, ADD + 0.02),
    (lambda b: b.eq(2, b.const(3)), 2, 0, 0.8),
    (lambda b: b.eq(0, 1), 3, 0, 0.8),
    (lambda b: b.select(3, 0, 1), 8, 0, 0.4),
    (lambda b: b.mul(3, 3), 1, 0, 0.4),
    (lambda b: b.mul(0, b.const(6)), 9, 1, ADD + 0.04),
    (lambda b: b.mul(0, 2), 2 * 6 * 10 + 16, 7, 6 * 0.4 + ADD + 0.06),
    (lambda b: b.table(3, [[4, 5]], 0), 3, 0, 0.4),
    (lambda b: b.table(2, [np.arange(256)], 0), 8 * 4, 0, 0.4 + 0.1),
])
def test_costs_of_rows(row: Callable[[NetlistBuilder], np.ndarray], lut: int, adders: int, delay: float) -> None:
    b = builder()
    r = int(row(b)[0])
    b.output("y", [r])
    costs = row_costs(b.build(), PART)
    assert (costs.lut[r], costs.adders[r], round(costs.delay_ns[r], 6)) == (lut, adders, round(delay, 6))
    assert costs.lut[:4].sum() == 0


ECP5_ADD = 1.10 + 0.45 + 0.45
"""ns of an addition of two bits on ECP5: the LUT is in the carry cell."""


@pytest.mark.parametrize(("row", "lut", "delay"), [
    (lambda b: b.sum2(0, 0, False, 1, 3, False), 10, ECP5_ADD + 4 * 0.07),                   # and one for the first carry
    (lambda b: b.sum2(0, 0, True, 1, 3, False), 13, ECP5_ADD + 5 * 0.07),
    (lambda b: b.sum2(0, 0, False, 1, 3, False, 16), 10 + 7, ECP5_ADD + 4 * 0.07 + 1.35),    # carries that a constant saves
    (lambda b: b.sum1(2, 0, False, 4), 8, ECP5_ADD + 3 * 0.07),
    (lambda b: b.mul(0, 1), 5 * 6 * 10 + 16, 6 * 1.35 + 0.25 + ECP5_ADD + 7 * 0.07),
    (lambda b: b.mul(0, 0), 3.5 * 6 * 10 + 16, 6 * 1.35 + 0.25 + ECP5_ADD + 7 * 0.07),       # half of its gates are the same
])
def test_costs_on_ecp5(row: Callable[[NetlistBuilder], np.ndarray], lut: int, delay: float) -> None:
    b = builder()
    r = int(row(b)[0])
    b.output("y", [r])
    costs = row_costs(b.build(), load_part("lfe5u-45f"))
    assert (costs.lut[r], round(costs.delay_ns[r], 6)) == (lut, round(delay, 6))


def test_without_chains_of_three_operands_sums_are_trees() -> None:
    b = builder()
    rows = np.concatenate([b.sum2(0, 0, False, 1, 3, False, 4), b.sum([0, 3], [0, 1, 2], [0, 1, 3])])
    b.output("y", rows)
    costs = row_costs(b.build(), dataclasses.replace(PART, vendor="other"))
    assert costs.lut[rows].tolist() == [10, 18]
    assert costs.delay_ns[rows].round(6).tolist() == [round(ADD + 0.30, 6), round(2 * (ADD + 0.06), 6)]


def test_registers_follow_live_values() -> None:
    b = builder()
    s = b.sum2(0, 0, False, 1, 0, False)              # 9 bits
    b.origin("out")
    t = b.sum2(s, 0, False, 2, 0, False)              # 10 bits
    b.output("y", np.concatenate([t, b.bits(s, 2, 3, False), b.const(7)]))
    design = design_of(b.build(), 0.8)
    kernel = design.kernels[0]
    assert kernel.stage.tolist() == [0, 0, 0, 0, 0, 1, 1, 0]
    # x[0], x[1] rank 0; x[2] ranks 0, 1; x[3] nowhere; s rank 1; t rank 2; slice rank 2; the constant nowhere
    assert registers(kernel)[0].tolist() == [8, 8, 16, 0, 9, 10, 3, 0]
    result = estimate(design, PART, 0.8)
    assert result.ff == 54 + 3
    assert (result.lut, result.latency_cycles, result.latency_ns, result.ii) == (9 + 10, 3, 2.4, 1)
    assert [(layer["name"], layer["lut"], layer["ff"], layer["adders"], layer["bits"], layer["first_cycle"],
             layer["last_cycle"]) for layer in result.layers] == [("dense", 9, 41, 1, 8 + 8 + 8 + 1 + 9, 1, 1),
                                                                  ("out", 10, 13, 1, 10 + 3, 2, 2)]
    assert result.critical_path_ns == round(0.08 + ADD + 0.30 + 0.03, 3)
    assert result.stages == ({"stage": 1, "critical_path_ns": 1.01, "slack_ns": -0.21, "ff": 8 + 9 + 1},    # x[2], s, valid
                             {"stage": 2, "critical_path_ns": 0.75, "slack_ns": 0.05, "ff": 10 + 3 + 1})
    assert [stage["slack_ns"] for stage in estimate(design, PART).stages] == [None, None]


def test_a_stage_without_logic_is_a_way_from_register_to_register() -> None:
    b = builder()
    b.output("y", b.sum2(0, 0, False, 1, 0, False))
    result = estimate(design_of(b.build(), stage=[0, 0, 0, 0, 2]), PART, 5.0)
    assert [(stage["critical_path_ns"], stage["ff"]) for stage in result.stages] == [
        (0.11, 8 + 8 + 1), (0.11, 8 + 8 + 1), (1.01, 9 + 1)]


@pytest.mark.parametrize("part", ["lfe5u-45f", "xc7a100tcsg324-1"])
@pytest.mark.parametrize("seed", range(8))
def test_layers_add_up_and_segments_fit(seed: int, part: str) -> None:
    design = design_of(random_netlist(seed), 6.0, part)
    result = estimate(design, load_part(part))
    assert result.lut == sum(layer["lut"] for layer in result.layers)
    assert result.ff == sum(layer["ff"] for layer in result.layers) + design.latency_cycles
    assert result.latency_ns is None
    kernel, = design.kernels
    first_rank = np.bitwise_count(used_bits(kernel.netlist))[kernel.netlist.op == Op.INPUT].sum()
    assert result.ff == sum(stage["ff"] for stage in result.stages) + first_rank + 1
    assert result.critical_path_ns == max(stage["critical_path_ns"] for stage in result.stages)
    alone = row_costs(design.kernels[0].netlist, load_part(part)).delay_ns.max()
    ends = load_part(part).delay["clk_to_q"] + load_part(part).delay["setup"]
    assert result.critical_path_ns is not None
    assert result.critical_path_ns <= max(6.0, round(alone + ends, 3))
