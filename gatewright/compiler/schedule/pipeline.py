"""Pipelining: cuts a Netlist into segments that fit the clock, by the delay model of a Part.

Every row is computed as soon as it can be: in the segment of its latest operand if the path up to it still fits the
clock, else at the start of the next.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gatewright.backends.part import Part
from gatewright.compiler.estimate.cost import Floats, RowCosts, row_costs
from gatewright.compiler.schedule.retime import retime
from gatewright.errors import UserError
from gatewright.ir.design import Kernel
from gatewright.ir.netlist import Netlist
from gatewright.ir.usage import constant


def pipeline(netlist: Netlist, part: Part, clock_ns: float | None, registers: bool = True) -> tuple[Kernel, tuple[str, ...]]:
    """The kernel, and notes for the user. `clock_ns` None makes one combinational segment.

    As few segments as the clock allows; of the schedules that have no more, one with few registers where `registers`.

    No segment is longer than the clock unless a single row is: such a row starts a segment, and a note names it.
    """
    if clock_ns is not None and not clock_ns > 0:
        raise UserError(f"a clock period of {clock_ns} ns", remedy="Give a positive period in ns, for example 5")
    costs = row_costs(netlist, part)
    budget = np.inf if clock_ns is None else clock_ns - part.delay["setup"] + 1e-9
    stage = np.zeros(len(netlist), np.int32)
    _assign(netlist.first, netlist.arg, constant(netlist), costs.delay_ns, part.delay["clk_to_q"], budget, stage,
            np.zeros(len(netlist)))
    if clock_ns is not None and registers:
        stage = retime(netlist, stage, costs.delay_ns, budget - part.delay["clk_to_q"])
    too_long = np.flatnonzero((costs.delay_ns > 0) & (costs.delay_ns + part.delay["clk_to_q"] > budget))
    notes: tuple[str, ...] = ()
    if len(too_long):
        row = int(too_long[np.argmax(costs.delay_ns[too_long])])
        needed = costs.delay_ns[row] + part.delay["clk_to_q"] + part.delay["setup"]
        notes = (f"{len(too_long)} operations alone are longer than the clock of {clock_ns:g} ns; the longest, in node "
                 f"'{netlist.origins[netlist.origin[row]]}', needs {needed:.2f} ns ({part.delay_model})",)
    return Kernel(netlist, stage), notes


def arrivals(kernel: Kernel, costs: RowCosts, clk_to_q: float) -> Floats:
    """When every row's value is there, in ns after the clock edge that starts its stage; 0 for constants."""
    netlist, ends = kernel.netlist, np.zeros(len(kernel.netlist))
    _arrive(netlist.first, netlist.arg, constant(netlist), costs.delay_ns, clk_to_q, kernel.stage, ends)
    return ends


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _assign(first: Any, arg: Any, fixed: Any, delay: Any, clk_to_q: float, budget: float, stage: Any,
            ends: Any) -> None:
    for r in range(len(stage)):
        if fixed[r]:
            continue
        at = 0
        for k in range(first[r], first[r + 1]):
            at = max(at, stage[arg[k]])
        start = clk_to_q
        for k in range(first[r], first[r + 1]):
            if stage[arg[k]] == at:
                start = max(start, ends[arg[k]])
        if start + delay[r] > budget and start > clk_to_q and delay[r] > 0:
            at, start = at + 1, clk_to_q
        stage[r], ends[r] = at, start + delay[r]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _arrive(first: Any, arg: Any, fixed: Any, delay: Any, clk_to_q: float, stage: Any, ends: Any) -> None:
    for r in range(len(stage)):
        if fixed[r]:
            continue
        start = clk_to_q
        for k in range(first[r], first[r + 1]):
            if stage[arg[k]] == stage[r]:
                start = max(start, ends[arg[k]])
        ends[r] = start + delay[r]
