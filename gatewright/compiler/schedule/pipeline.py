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
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.usage import constant, reads, slices

PRECISION_NS = 0.005
"""To which the shortest stages of a given number of them are found."""


def pipeline(netlist: Netlist, part: Part, clock_ns: float | None, registers: bool = True, latency: int | None = None,
             ) -> tuple[Kernel, tuple[str, ...]]:
    """The kernel, and notes for the user. `clock_ns` None makes one combinational segment.

    As few segments as the clock allows, or for a `latency` of so many cycles one segment less than that, as short as they can
    be; of the schedules that have as many, one with few registers where `registers`.

    No segment is longer than the clock unless a single row is: such a row starts a segment, and a note names it. Raises UserError
    where the clock takes more cycles.
    """
    if clock_ns is not None and not clock_ns > 0:
        raise UserError(f"a clock period of {clock_ns} ns", remedy="Give a positive period in ns, for example 5")
    costs = row_costs(netlist, part)
    limit = budget = np.inf if clock_ns is None else clock_ns - part.delay["setup"] + 1e-9
    stage = earliest(netlist, costs, part, budget)
    segments = int(stage.max(initial=0)) + 1
    if latency is not None:
        fewest, segments = segments, latency - 1
        if segments < fewest:
            raise UserError(f"a latency of {latency} cycles", remedy=f"At this clock it takes {fewest + 1} cycles: ask for as many "
                            "or more, or for a longer clock period")
        stage, budget = _shortest(netlist, costs, part, budget, segments)
    if clock_ns is not None and registers:
        stage = retime(netlist, stage, segments, costs, budget - part.delay["clk_to_q"])
    stage = _with_readers(netlist, _filled(netlist, stage, segments), costs.within)
    too_long = np.flatnonzero((costs.delay_ns > 0) & (costs.delay_ns + part.delay["clk_to_q"] > limit))
    notes: tuple[str, ...] = ()
    if len(too_long):
        row = int(too_long[np.argmax(costs.delay_ns[too_long])])
        needed = costs.delay_ns[row] + part.delay["clk_to_q"] + part.delay["setup"]
        notes = (f"{len(too_long)} operations alone are longer than the clock of {clock_ns:g} ns; the longest, in node "
                 f"'{netlist.origins[netlist.origin[row]]}', needs {needed:.2f} ns ({part.delay_model})",)
    return Kernel(netlist, stage), notes


def earliest(netlist: Netlist, costs: RowCosts, part: Part, budget: float) -> Rows:
    """Every row's stage, int32[rows], as early as it can be where a path in a stage takes `budget` ns at most, clk_to_q included."""
    stage = np.zeros(len(netlist), np.int32)
    _assign(netlist.first, netlist.arg, constant(netlist), costs.delay_ns, part.delay["clk_to_q"], budget, stage,
            np.zeros(len(netlist)))
    return stage


def _shortest(netlist: Netlist, costs: RowCosts, part: Part, budget: float, segments: int) -> tuple[Rows, float]:
    """The schedule of at most so many segments with the shortest ones, and how long these are: by bisection from `budget` down."""
    low, high = 0.0, min(budget, part.delay["clk_to_q"] + float(costs.delay_ns.sum()))
    while high - low > PRECISION_NS:
        middle = (low + high) / 2
        low, high = (low, middle) if earliest(netlist, costs, part, middle).max(initial=0) < segments else (middle, high)
    return earliest(netlist, costs, part, high), high


def _filled(netlist: Netlist, stage: Rows, segments: int) -> Rows:
    """With a row in the last segment, where no path is as long as that: one that no other row reads."""
    live = np.flatnonzero((stage == stage.max(initial=0)) & ~(constant(netlist) | slices(netlist) | (netlist.op == Op.INPUT)))
    if int(stage.max(initial=0)) + 1 == segments:
        return stage
    if not len(live):
        raise UserError(f"a latency of {segments + 1} cycles", remedy="Every output is a constant or bits of an input, which takes 2")
    filled = stage.copy()
    filled[live[-1]] = segments - 1
    return filled


def _with_readers(netlist: Netlist, stage: Rows, within: Ints) -> Rows:
    """Rows whose logic is another's in its stage, and slices, which are wires in every stage that reads them, in the first one."""
    stage, (row, reader, _) = stage[within], reads(netlist)
    end = stage.max(initial=0)
    first = np.full(len(netlist), end)
    np.minimum.at(first, row, np.append(stage, end)[reader])
    return np.where(slices(netlist), first, stage)


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
