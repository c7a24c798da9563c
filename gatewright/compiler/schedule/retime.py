"""Minimum-register retiming: of all schedules with as many stages that meet the clock, one with the fewest register bits.

Leiserson and Saxe ("Retiming synchronous circuitry", 1991), for a pipeline: every row r has a stage s(r) and a stage e(r)
up to which its value is kept. Users come no earlier than what they read, rows at the two ends of a path that is too long
for one stage lie in different stages, and the bits in registers, the sum of width * (e - s), are to be few. All
constraints are differences of two variables, so the linear program has whole solutions.
"""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np

from gatewright.compiler.estimate.cost import Floats
from gatewright.errors import InternalError
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.usage import constant, operand_bits, used_bits

MAX_CONSTRAINTS = 150_000
"""Constraints from which on the linear program would take minutes: such kernels keep the schedule they have."""

ROUNDING = 1e-6
"""Sums of delays, in ns, that differ by less are equal."""


def retime(netlist: Netlist, stage: Rows, segments: int, delay: Floats, budget: float) -> Rows:
    """A schedule of `segments` stages with the fewest register bits.

    `stage`: int32[rows], one that meets the clock: returned where the problem is too large. `delay`: ns of every
    row; `budget`: ns that a path in one stage may take.
    """
    from scipy.optimize import linprog  # here, because it takes longer to import than the other commands take
    from scipy.sparse import coo_array, vstack

    budget = max(budget, 1e3 * ROUNDING)  # a clock that no row fits: every row takes a stage of its own
    fixed = constant(netlist)
    edge = np.flatnonzero(operand_bits(netlist) != 0)
    source = netlist.arg[edge].astype(np.int64)
    user = np.repeat(np.arange(len(netlist)), np.diff(netlist.first))[edge]
    far = _too_far(len(netlist), source, user, np.minimum(delay, budget), budget, MAX_CONSTRAINTS)
    if segments == 1 or 2 * len(edge) + len(far[0]) >= MAX_CONSTRAINTS:
        return stage
    n = len(netlist)
    reads, rows = np.arange(len(edge)), np.arange(n)
    later = np.concatenate([user, user, far[1]])               # later - earlier >= gap
    earlier = np.concatenate([source, source, far[0]])
    later[reads], earlier[reads] = n + source, user            # e(source) - s(user) >= 0
    gap = np.repeat([0.0, 1.0], [2 * len(edge), len(far[0])])
    at = np.arange(len(gap))
    matrix = coo_array((np.repeat([-1.0, 1.0], len(gap)), (np.tile(at, 2), np.concatenate([later, earlier]))), (len(gap), 2 * n))
    low, high = np.zeros(2 * n), np.full(2 * n, segments - 1.0)
    high[:n][(netlist.op == Op.INPUT) | fixed] = 0
    for port in netlist.outputs:
        kept = port.rows[~fixed[port.rows]]
        low[n + kept] = high[n + kept] = segments
    width = np.where(fixed, 0, np.bitwise_count(used_bits(netlist))).astype(np.float64)
    cost = np.concatenate([-width, width])
    cost[:n] += 1e-4 / (1 + rows)                              # among equals the earliest
    ends = coo_array((np.repeat([-1.0, 1.0], n), (np.tile(rows, 2), np.concatenate([n + rows, rows]))), (n, 2 * n))
    found = linprog(cost, A_ub=vstack([matrix, ends]).tocsr(), b_ub=np.concatenate([-gap, np.zeros(n)]), bounds=np.stack([low, high], 1),
                    method="highs-ds")
    if found.x is None:
        raise InternalError(f"kernel '{netlist.name}': no schedule of {segments} stages, though there is one: {found.message}")
    schedule: Rows = np.round(found.x[:n]).astype(np.int32)
    return schedule


def _too_far(rows: int, source: Ints, user: Ints, delay: Floats, budget: float, most: int) -> tuple[Ints, Ints]:
    """Pairs of rows such that a path from the first to the second takes longer than one stage, both included, and would
    not without either of them: of the pairs that are too far apart, those that no other one implies. At most `most`.
    """
    order = np.argsort(source, kind="stable")
    first = np.searchsorted(source[order], np.arange(rows + 1))
    pairs: tuple[Ints, Ints] = _walk(first, user[order], delay, budget, most)
    return pairs


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _walk(first: Any, user: Any, delay: Any, budget: float, most: int) -> Any:
    """From every row, its users in order of their numbers, as far as the longest path to them fits one stage."""
    n = len(first) - 1
    longest, begun_from = np.zeros(n), np.full(n, -1, np.int64)
    a, b, count = np.zeros(most, np.int64), np.zeros(most, np.int64), 0
    for u in range(n):
        if delay[u] <= 0:
            continue
        longest[u] = delay[u]
        todo = [np.int64(u)]
        while len(todo):
            v = heapq.heappop(todo)
            if longest[v] > budget + ROUNDING:
                if longest[v] - delay[u] <= budget + ROUNDING:
                    a[count], b[count] = u, v
                    count += 1
                    if count == most:
                        return a, b
                continue
            for k in range(first[v], first[v + 1]):
                w = user[k]
                path = longest[v] + delay[w]
                if begun_from[w] != u:
                    begun_from[w], longest[w] = u, path
                    heapq.heappush(todo, w)
                else:
                    longest[w] = max(longest[w], path)
    return a[:count], b[:count]
