"""Pipelining: stage order, segments that fit the clock, and the note where one row does not."""

from __future__ import annotations

import numpy as np
import pytest
from netlists import random_netlist

from gatewright.backends.part import load_part
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.schedule.pipeline import arrivals, pipeline
from gatewright.errors import UserError
from gatewright.ir.netlist import NetlistBuilder, Op
from gatewright.ir.usage import constant

PART = load_part()


@pytest.mark.parametrize("clock", [0.9, 1.5, 3.0, None])
@pytest.mark.parametrize("seed", range(12))
def test_stages_are_in_order_and_fit_the_clock(seed: int, clock: float | None) -> None:
    netlist = random_netlist(seed, rows=120)
    kernel, notes = pipeline(netlist, PART, clock)
    owner = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))
    computed = ~constant(netlist)[owner]
    assert (kernel.stage[netlist.arg] <= kernel.stage[owner])[computed].all()
    assert (kernel.stage[netlist.op == Op.INPUT] == 0).all()
    costs = row_costs(netlist, PART)
    if clock is None:
        assert kernel.segments == 1
        assert notes == ()
        return
    late = arrivals(kernel, costs, 0.08) + 0.03 > clock + 1e-6
    alone = costs.delay_ns + 0.08 + 0.03 > clock + 1e-6
    assert bool(notes) == bool(alone.any())
    assert (costs.delay_ns[late] > 0).any() == late.any()
    assert not (late & ~alone & (costs.delay_ns > 0)).any()


def test_adders_share_a_segment_as_long_as_they_fit() -> None:
    b = NetlistBuilder("kernel")
    b.origin("dense")
    x = b.input("x", [0, 0], [15, 15])
    for _ in range(6):
        x = b.sum2(x[:1], 0, False, 1, 0, False, bounds=(0, 15)).repeat(2)
    b.output("y", x[:1])
    netlist = b.build()                                                  # six adders of 0.6 ns
    assert pipeline(netlist, PART, 0.12 + 3 * 0.6, False)[0].stage.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert pipeline(netlist, PART, 0.10 + 3 * 0.6, False)[0].stage.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    kernel, notes = pipeline(netlist, PART, 0.5)
    assert kernel.stage.tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert notes == ("6 operations alone are longer than the clock of 0.5 ns; the longest, in node 'dense', needs "
                     "0.71 ns (gatewright-simple-1)",)


CLOCK = 2.5


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("latency", range(4, 12))
def test_a_latency_is_met_with_short_stages(latency: int, registers: bool) -> None:
    netlist = random_netlist(3, rows=120)
    fewest = pipeline(netlist, PART, CLOCK)[0].segments + 1
    assert fewest == 4
    kernel, notes = pipeline(netlist, PART, CLOCK, registers, latency)
    costs = row_costs(netlist, PART)
    longest = float(arrivals(kernel, costs, 0.08).max())
    assert kernel.segments + 1 == latency
    assert notes == ()
    assert longest + 0.03 <= CLOCK
    alone = costs.delay_ns.max() + 0.08
    tighter = pipeline(netlist, PART, max(longest, alone) + 0.03 - 0.02, False)[0]
    assert tighter.segments + 1 > latency or longest < alone + 0.01


def test_a_latency_below_the_clock_s_is_refused() -> None:
    with pytest.raises(UserError, match="a latency of 3 cycles") as refusal:
        pipeline(random_netlist(3, rows=120), PART, CLOCK, latency=3)
    assert "it takes 4 cycles" in str(refusal.value.remedy)


def test_wires_have_no_other_latency() -> None:
    b = NetlistBuilder("kernel")
    b.origin("Reshape")
    b.output("y", b.input("x", [0], [15]))
    assert pipeline(b.build(), PART, 5.0, latency=2)[0].segments == 1
    with pytest.raises(UserError, match="a latency of 4 cycles"):
        pipeline(b.build(), PART, 5.0, latency=4)


def test_a_clock_must_be_positive() -> None:
    with pytest.raises(UserError, match="clock period of 0"):
        pipeline(random_netlist(0), PART, 0)
