"""Minimum-register retiming: of all schedules with as many stages that meet the clock, one with the fewest register bits.

Leiserson and Saxe ("Retiming synchronous circuitry", 1991), for a pipeline: every row r has a stage s(r), and every group of its bits that
the same rows read a stage e up to which it is kept, one of the paper's mirror vertices. Slices are wires wherever they are read: who reads
one reads those bits of its row. Rows that share LUTs are one row. Users come no earlier than what they read, rows at the two ends of a path
that is too long for one stage lie in different stages, and the bits in registers, the sum of bits * (e - s), are to be few. All
constraints are differences of two variables, so this is an L-natural convex function, and steepest descent from its lowest point finds a
minimum in as many steps as there are stages at most (Murota, "Discrete convex analysis", 2003): each step delays those rows by a stage
that save most together, which a maximum flow tells.
"""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np

from gatewright.compiler.estimate.cost import Floats, RowCosts
from gatewright.ir.fixed import Ints
from gatewright.ir.intervals import Bools, Rows
from gatewright.ir.netlist import Netlist, Op
from gatewright.ir.usage import Masks, constant, reads, slices

MAX_CONSTRAINTS = 6_000_000
"""Constraints from which on this would take more than some seconds: such kernels keep the schedule they have."""

ROUNDING = 1e-6
"""Sums of delays, in ns, that differ by less are equal."""

_ALWAYS = 1 << 28
"""A flow that no cut can hold back."""


def retime(netlist: Netlist, stage: Rows, segments: int, costs: RowCosts, budget: float) -> Rows:
    """The earliest schedule of `segments` stages with the fewest register bits; of slices, which hold none, it says nothing.

    `stage`: int32[rows], the earliest one that meets the clock: returned where the problem is too large. `budget`: ns that a path in one
    stage may take.
    """
    budget = max(budget, 1e3 * ROUNDING)  # a clock that no row fits: every row takes a stage of its own
    n, (source, user, bits) = len(netlist), _reads(netlist, costs.within)
    if segments == 1 or len(source) >= MAX_CONSTRAINTS:
        return stage
    reader, group, size, live = _groups(n, source, user, bits)
    pairs = np.unique((source << 32 | user)[user < n])
    source, user = pairs >> 32, pairs & (1 << 32) - 1
    far = _too_far(n, source, user, np.minimum(costs.delay_ns, budget), budget, MAX_CONSTRAINTS)
    if len(pairs) + len(group) + len(far[0]) >= MAX_CONSTRAINTS:
        return stage
    early = np.concatenate([source, reader, far[0]])   # at[late] - at[early] >= gap
    late = np.concatenate([user, n + group, far[1]])
    gap = np.repeat([0, 1], [len(pairs) + len(group), len(far[0])])
    at = np.concatenate([stage[costs.within].astype(np.int64), np.zeros(len(size), np.int64)])
    np.maximum.at(at, n + group, at[reader])
    saved = np.concatenate([live, -size])              # by one more stage before it
    tied = np.concatenate([(netlist.op == Op.INPUT) | constant(netlist), np.zeros(len(size), np.bool_)])
    row = np.arange(len(at)) < n
    while len(later := _delayed(saved, early, late, at[late] - at[early] == gap, tied | row & (at == segments - 1))):
        at[later] += 1
    return np.asarray(at[costs.within], np.int32)


def _reads(netlist: Netlist, within: Ints) -> tuple[Ints, Ints, Masks]:
    """What is read of rows that are no slices, and by whom, as `usage.reads` says; rows that are `within` another are that one."""
    row, reader, bits = reads(netlist)
    reader = np.append(within, len(netlist))[reader]
    own = ~slices(netlist)[row] & (reader != within[row])
    return row[own], reader[own], bits[own]


def _groups(rows: int, source: Ints, user: Ints, bits: Masks) -> tuple[Ints, Ints, Ints, Ints]:
    """Bits of a row that the same rows read are a group: (reader, group) of all readers, the bits of every group, and of every row. Bits
    of outputs are kept to the end, whoever reads them, and are in none."""
    used, kept, port = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64), user == rows
    np.bitwise_or.at(used, source, bits)
    np.bitwise_or.at(kept, source[port], bits[port])
    inner = (bits & ~kept[source]).astype("<u8")
    read, bit = np.nonzero(np.unpackbits(inner.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"))
    key, which = np.unique(source[read] << 6 | bit, return_inverse=True)
    readers = np.zeros(len(key), np.uint64)
    code = np.random.default_rng(0).integers(0, 1 << 63, rows, np.uint64)
    np.add.at(readers, which, code[user[read]])  # readers that are mistaken for the same would only make a group too large
    _, of_key, size = np.unique(np.stack([(key >> 6).astype(np.uint64), readers]), axis=1, return_inverse=True, return_counts=True)
    pairs = np.unique(of_key.reshape(-1)[which] << 32 | user[read])
    return pairs & (1 << 32) - 1, pairs >> 32, size, np.bitwise_count(used).astype(np.int64)


def _delayed(saved: Ints, early: Ints, late: Ints, tight: Bools, tied: Bools) -> Ints:
    """The fewest variables that save most together where they are delayed by one: none that is `tied`, and with every one those that a
    `tight` constraint holds behind it. A closure of greatest weight is a minimum cut (Picard, 1976)."""
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    n = len(saved)
    gains, costs = np.flatnonzero((saved > 0) & ~tied), np.flatnonzero(tied | (saved < 0))
    tail = np.concatenate([np.full(len(gains), n), costs, early[tight]])
    head = np.concatenate([gains, np.full(len(costs), n + 1), late[tight]])
    most = np.concatenate([saved[gains], np.where(tied[costs], _ALWAYS, -saved[costs]), np.full(int(tight.sum()), _ALWAYS)])
    network = csr_array(coo_array((most.astype(np.int32), (tail, head)), (n + 2, n + 2)))
    flow = maximum_flow(network, n, n + 1)
    left = network - flow.flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    reached = breadth_first_order(left, n, return_predecessors=False)
    return np.asarray(reached[reached < n], np.int64)


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
    a, b, count = np.empty(most, np.int64), np.empty(most, np.int64), 0
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
