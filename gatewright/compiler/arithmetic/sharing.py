"""Sharing: what many sums have in common is built once. The adder graph of a constant matrix.

Sums are sets of signed digits `±(node << shift)`. Two searches take turns, each greedy, each with counts that follow
every change: `pairs.py` finds two digits that occur together in many sums, `patterns.py` many digits that two sums have
in common. What they find becomes a sum of its own, a shared node, which takes part from then on. Which turns are best
differs from matrix to matrix, so several plans are tried (compiler/lower/sums.py); the cheapest is then refined (`refine.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.compiler.arithmetic.depth import places
from gatewright.compiler.arithmetic.digits import Bools
from gatewright.compiler.arithmetic.pairs import pairs
from gatewright.compiler.arithmetic.patterns import patterns
from gatewright.compiler.arithmetic.refine import refine, sharing_luts
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import widths
from gatewright.ir.offsets import offsets

MAX_NODES = 1 << 21
MAX_PAIRS = 30_000_000
"""Pairs of digits that are counted at most, of one sum (by `pairs`) or of one node (by `patterns`); larger problems do without."""

LARGE = 3_000_000
"""Pairs of digits from which on a search is costly: such problems get one plan, whatever the effort."""

SLACK = 1
"""Levels by which a sum may be deeper than a balanced tree for the sake of sharing."""


@dataclass(frozen=True)
class Plan:
    """Searches in order: ("pairs", n) for pairs that occur at least n times, ("patterns", n) for at least n digits.

    `seed`: decides between equals, and a little beyond; 0 for no such noise.
    """

    steps: tuple[tuple[str, int], ...]
    seed: int = 0


_STEPS = (
    (("patterns", 5), ("pairs", 6), ("patterns", 3), ("pairs", 2)),
    (("patterns", 9), ("pairs", 10), ("patterns", 5), ("pairs", 5), ("patterns", 3), ("pairs", 2)),
    (("pairs", 8), ("patterns", 7), ("pairs", 6), ("patterns", 5), ("pairs", 4), ("patterns", 3), ("pairs", 2)),
    (("pairs", 10), ("patterns", 5), ("pairs", 6), ("patterns", 3), ("pairs", 2)),
    (("pairs", 2),),
    ())
"""Of twenty orders tried on eight networks: the best single one, and four that are best where it is not; and none, which is best where
wide weights meet operands of one bit."""

_SEEDS = {0: 1, 1: 1, 2: 1, 3: 6}
_WORK = {0: 0, 1: 100, 2: 1000, 3: 10_000}
"""Steps of refinement per digit, about ten million a second."""
_HEAT = 1.0
EFFORTS = tuple(_SEEDS)


def plans(effort: int, digits: int, sums: int) -> tuple[Plan, ...]:
    """What is tried for `digits` digits in `sums` sums at an effort of 0..3: one plan, several, several with noise."""
    if effort == 0 or digits * digits // max(sums, 1) > 2 * LARGE:
        return (Plan(_STEPS[0]),)
    return tuple(Plan(steps, seed) for seed in range(_SEEDS[effort]) for steps in _STEPS)


@dataclass(frozen=True, eq=False)
class Shared:
    """Digits of the sums, in columns: `±(node << shift)` belongs to sum `out`.

    Nodes below `operands` are the operands. Node `operands + k`, `k < nodes`, is shared: it is the sum `sums + k`. `state` is what the
    searches take and give: out, node, shift, sign (1: negative), reach and load of the nodes, budget of the sums.
    """

    operands: int
    state: tuple[Any, ...]

    @property
    def nodes(self) -> int:
        return len(self.state[4]) - self.operands

    @property
    def out(self) -> Ints:
        return np.asarray(self.state[0])

    @property
    def node(self) -> Ints:
        return np.asarray(self.state[1])

    @property
    def shift(self) -> Ints:
        return np.asarray(self.state[2])

    @property
    def reach(self) -> Any:
        """Highest minus lowest value of every node, float64[nodes]."""
        return self.state[4]

    @property
    def negative(self) -> Bools:
        return np.asarray(self.state[3] == 1)


def share(out: Ints, node: Ints, shift: Ints, negative: Bools, sums: int, reach: Ints, arity: int,
          plan: Plan = Plan(_STEPS[0]), slack: int = SLACK) -> Shared:
    """Finds what the sums share. Digits in columns; `reach`: highest minus lowest value of every operand; these are nodes
    0..len(reach)-1.

    `arity`: operands of one addition. The depth of every sum is bounded: terms of depth t fit into a tree of depth D
    while the sum of arity**t stays within arity**D (Kraft's inequality).
    """
    count = np.bincount(out, minlength=sums)
    state: tuple[Any, ...] = (out, node, shift, negative.astype(np.int64), reach.astype(np.float64), np.ones(len(reach)),
                              places(np.maximum(count, 1), arity) * float(arity) ** slack)
    few = {"pairs": _pairs_of(count) <= MAX_PAIRS, "patterns": _pairs_of(np.bincount(node)) <= MAX_PAIRS}
    if few["pairs"] and len(reach) + len(out) < MAX_NODES and len(out):
        for search, least in plan.steps:
            if few[search]:
                state = {"pairs": pairs, "patterns": patterns}[search](*state, arity, least, plan.seed)
    return Shared(len(reach), state)


def _pairs_of(count: Ints) -> int:
    return int((count * (count - 1) // 2).sum())


def refined(shared: Shared, lo: Ints, hi: Ints, arity: int, effort: int, heaps: bool) -> Shared:
    """The same sums from a longer search on; `lo`, `hi`: bounds of the operands. Where sums have three operands, one of every output's is
    its constant."""
    work = _WORK[effort] * len(shared.out)
    if not work or not len(shared.out):
        return shared
    return Shared(shared.operands, refine(*shared.state, _unsigned(lo, hi), arity, heaps, work, _HEAT, 1))


def count_trees(shared: Shared, lo: Ints, hi: Ints, arity: int) -> int:
    """LUTs of all sums as trees of additions; `lo`, `hi`: bounds of the operands."""
    return round(sharing_luts(*shared.state, _unsigned(lo, hi), arity)) if len(shared.out) else 0


def _unsigned(lo: Ints, hi: Ints) -> Ints:
    """The least values of operands' bits, read as unsigned numbers."""
    return lo + offsets(lo < 0, widths(lo, hi), np.zeros(len(lo), np.bool_))
