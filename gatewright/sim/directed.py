"""Directed vectors: inputs that bring the operands of rounding and limiting functions exactly to both sides of boundaries.

Random vectors meet most boundaries in the middle of a range. For what they miss: where the operand is a linear function
of the inputs, the equation is solved, one input at a time; elsewhere inputs are changed at random, a few at a time, and
what comes nearer is kept. What is claimed to be met was seen in the Graph's own evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph, Op
from gatewright.ir.ops import Combine, Concat, Conv, Dense, Input, ReduceSum, Reshape, SumPool, Take, Transpose
from gatewright.sim.boundaries import Boundaries, find, mark, on_grid, places
from gatewright.sim.vectors import corner_vectors, random_vectors

LINEAR = (Input, Dense, Conv, Combine, ReduceSum, SumPool, Reshape, Transpose, Take, Concat)
"""Operations on linear functions whose result is one."""
WORK = 120_000_000
"""What a search may cost, in codes computed: a few seconds."""
POOL = 4096
"""Random vectors to begin with, at most."""
LARGEST = 1_000_000
"""Networks with a greater cost per sample, in codes, are not searched."""
MOST = 16_384
"""Directed vectors, at most; a large network gets fewer (`WORK // 4` codes)."""
STEPS = 24
"""Inputs that a solution may change one after the other, and changes of a vector before another one is taken."""
ATTEMPTS = 3
"""How often a solution is begun anew."""
CANDIDATES = 8
"""Changed vectors that are tried for a side at a time."""
WORTH = 50
"""The search goes on while a round over all missing sides finds at least one in so many."""
TOGETHER = 256
"""Sides that are searched at a time."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Directed:
    """Boundaries of a Graph, and vectors that meet many of them: int64[n, elements of all inputs], the best first."""

    boundaries: Boundaries
    vectors: Ints


@lru_cache(maxsize=2)
def directed(graph: Graph) -> Directed:
    """Always the same for a Graph. Takes some seconds at most; nothing for networks beyond `LARGEST`."""
    lo, hi = (np.concatenate([getattr(op.type, end).reshape(-1) for op in graph.input_ops]) for end in ("lo", "hi"))
    if work(graph) > LARGEST:
        return Directed(Boundaries({}, *(np.zeros(0, np.int64),) * 3), np.zeros((0, lo.size), np.int64))
    every = places(graph)
    cost = work(graph) + 4 * sum(len(e) for e in every.tensors.values())
    pool = np.concatenate([corner_vectors(lo, hi, limit=64),
                           random_vectors(lo, hi, max(64, min(POOL, WORK // 4 // cost)), seed=2)])
    observed = every.observe(graph, pool)
    search = Search(graph, on_grid(graph, every, observed), lo, hi, WORK // cost)
    search.mark(pool, observed)
    search.solve()
    search.climb(pool, observed)
    return Directed(search.boundaries, search.chosen(max(64, min(MOST, WORK // 4 // cost))))


def work(graph: Graph) -> int:
    """The cost of a sample, in codes."""
    def codes(op: Op) -> int:
        products = op.weight[0].size if isinstance(op, Conv) else len(op.weight) if isinstance(op, Dense) else 0
        return (1 + products // 8) * op.type.size

    return sum(codes(op) for op in graph.ops)


class Search:
    """What is met so far, and the vectors that first met something."""

    def __init__(self, graph: Graph, boundaries: Boundaries, lo: Ints, hi: Ints, samples: int) -> None:
        self.graph, self.boundaries, self.lo, self.hi = graph, boundaries, lo, hi
        self.first, self.codes, _, _ = boundaries.sides
        self.column = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        self.met = np.zeros(len(self.codes), np.bool_)
        self.kept = [np.zeros((0, lo.size), np.int64)]
        self.left = samples
        """Samples that may still be evaluated."""
        self.random = np.random.default_rng(3)

    def add(self, vectors: Ints) -> Ints:
        """Evaluates vectors and marks what they meet; returns what was observed."""
        observed = self.boundaries.observe(self.graph, vectors)
        self.mark(vectors, observed)
        return observed

    def mark(self, vectors: Ints, observed: Ints) -> None:
        self.kept.append(vectors[mark(observed, self.first, self.codes, self.met)])
        self.left -= len(vectors)

    def chosen(self, most: int) -> Ints:
        """At most so many of the kept vectors, each time the one that meets most of what those before it do not."""
        vectors = np.concatenate(self.kept)
        sample, side = hits(self.boundaries.observe(self.graph, vectors), self.first, self.codes)
        order = np.argsort(side, kind="stable")
        rows, sides = np.arange(len(vectors) + 1), np.arange(len(self.codes) + 1)
        picked: Ints = greedy(np.searchsorted(sample, rows), side, np.searchsorted(side[order], sides), sample[order], most)
        return vectors[picked]

    # -- operands that are linear in the inputs

    def solve(self) -> None:
        """All missing sides of such operands, or as many as the work allows."""
        columns, gain = self.gains()
        row = np.cumsum(columns) - 1
        missing = np.flatnonzero(~self.met & columns[self.column])
        sides = np.concatenate([self.random.permutation(missing) for _ in range(ATTEMPTS)])
        enough, most = self.left // 2, WORK // 4 // (STEPS * self.lo.size)
        for at in range(0, min(len(sides), most), TOGETHER):
            some = sides[at:at + TOGETHER]
            some = np.unique(some[~self.met[some]])
            if self.left < enough:
                return
            gains = gain[row[self.column[some]]]
            self.add(packed(self.solved(self.codes[some], gains), gains[:, :-1] != 0))

    def gains(self) -> tuple[Flags, Ints]:
        """Which columns are linear in the inputs; of those what an input's step adds, and, last, the value where all inputs
        are lowest: int64[columns, inputs + 1]."""
        linear: set[str] = set()
        for op in self.graph.ops:
            if isinstance(op, LINEAR) and linear.issuperset(op.inputs):
                linear.add(op.name)
        tensors = {name: e for name, e in self.boundaries.tensors.items() if name in linear}
        columns = np.concatenate([np.zeros(0, np.bool_), *(
            np.full(len(e), name in linear) for name, e in self.boundaries.tensors.items())])
        if not tensors or columns.sum() * self.lo.size > WORK // 16:
            return np.zeros_like(columns), np.zeros((0, self.lo.size + 1), np.int64)
        steps = np.concatenate([self.lo[None], self.lo + np.diag((self.hi > self.lo).astype(np.int64))])
        values = Boundaries(tensors, *(np.zeros(0, np.int64),) * 3).observe(self.graph, steps)
        return columns, np.concatenate([values[1:] - values[0], values[:1]]).T

    def solved(self, codes: Ints, gain: Ints) -> Ints:
        """Vectors of which sum(gain * (x - lo)) + gain[-1] is the code, where that is found.

        Starts on the way from the vector with the lowest sum to that with the highest; then the input that brings the
        sum nearest moves, again and again; where none does, two move at random.
        """
        gain, offset = gain[:, :-1], gain[:, -1]
        rows, up = np.arange(len(codes)), gain > 0
        span = (self.hi - self.lo) * gain
        least, most = np.minimum(span, 0).sum(axis=1), np.maximum(span, 0).sum(axis=1)
        way = ((codes - offset - least) / np.maximum(most - least, 1))[:, None]  # decides only where the search begins
        part = np.floor((self.hi - self.lo) * np.where(up, way, 1 - way) + self.random.random(gain.shape)).astype(np.int64)
        x: Ints = np.clip(self.lo + part, self.lo, self.hi)
        rest = codes - offset - ((x - self.lo) * gain).sum(axis=1)
        divisor = np.where(gain == 0, 1, gain)
        for _ in range(STEPS):
            step = np.clip((rest[:, None] + divisor // 2) // divisor, self.lo - x, self.hi - x)
            best = np.abs(rest[:, None] - step * gain).argmin(axis=1)
            moved = step[rows, best]
            nearer = np.abs(rest - moved * gain[rows, best]) < np.abs(rest)
            x[rows, best] += np.where(nearer, moved, 0)
            stuck = np.flatnonzero(~nearer & (rest != 0))
            for _ in range(2 if stuck.size else 0):
                at = (self.random.random((len(stuck), self.lo.size)) * (gain[stuck] != 0)).argmax(axis=1)
                x[stuck, at] = self.random.integers(self.lo[at], self.hi[at], endpoint=True)
            rest = codes - offset - ((x - self.lo) * gain).sum(axis=1)
            if not rest.any():
                break
        return x

    # -- all others

    def climb(self, pool: Ints, observed: Ints) -> None:
        """Every missing side in turn, from the vectors nearest to it; again, as long as a round finds one in `WORTH`."""
        found = worth = 0
        while found >= worth and self.left > 0:
            sides, before = np.flatnonzero(~self.met), self.met.sum()
            for at in range(0, len(sides), TOGETHER):
                some = sides[at:at + TOGETHER]
                start = nearest(observed, self.column[some], self.codes[some], self.random.integers(0, len(pool), len(some)))
                self.climb_to(some, pool[start])
            found, worth = self.met.sum() - before, max(1, len(sides) // WORTH)

    def climb_to(self, sides: Ints, x: Ints) -> None:
        distance = np.full(len(sides), np.iinfo(np.int64).max)
        for _ in range(STEPS):
            far = np.flatnonzero(~self.met[sides])
            if not far.size or self.left <= 0:
                return
            rows = np.arange(len(far))
            tried = self.changed(np.repeat(x[far], CANDIDATES, axis=0))
            observed = self.add(tried).reshape(len(far), CANDIDATES, -1)
            off = np.abs(observed[rows, :, self.column[sides[far]]] - self.codes[sides[far]][:, None])
            best = off.argmin(axis=1)
            nearer = off[rows, best] <= distance[far]
            x[far[nearer]] = tried.reshape(len(far), CANDIDATES, -1)[rows[nearer], best[nearer]]
            distance[far[nearer]] = off[rows[nearer], best[nearer]]

    def changed(self, x: Ints) -> Ints:
        """One to four inputs of every vector changed, by small steps or to any value."""
        for k in range(4):
            rows = np.flatnonzero(self.random.random(len(x)) < 0.5**k)
            at = self.random.integers(0, self.lo.size, len(rows))
            near = np.clip(x[rows, at] + self.random.integers(-2, 3, len(rows)), self.lo[at], self.hi[at])
            anywhere = self.random.integers(self.lo[at], self.hi[at], endpoint=True)
            x[rows, at] = np.where(self.random.random(len(rows)) < 0.5, near, anywhere)
        return x


def packed(x: Ints, used: Flags) -> Ints:
    """Vectors of which the elements `used` matter, several in one where they use different elements (windows of an image)."""
    vectors, taken = np.zeros((0, x.shape[1]), np.int64), np.zeros((0, x.shape[1]), np.bool_)
    for row, where in zip(x, used, strict=True):
        free = np.flatnonzero(~(taken[:, where]).any(axis=1))
        if free.size:
            vectors[free[0], where] = row[where]
            taken[free[0]] |= where
        else:
            vectors, taken = np.concatenate([vectors, row[None]]), np.concatenate([taken, where[None]])
    return vectors


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def nearest(observed: Ints, column: Ints, code: Ints, start: Ints) -> Ints:
    """By side the sample whose element is nearest to the code; of equal ones the first from sample `start` on."""
    best = start.copy()
    for k in range(len(column)):
        least = abs(observed[start[k], column[k]] - code[k])
        for i in range(start[k], start[k] + len(observed)):
            row = i % len(observed)
            off = abs(observed[row, column[k]] - code[k])
            if off < least:
                least, best[k] = off, row
    return best


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def hits(observed: Ints, first: Ints, codes: Ints) -> tuple[Ints, Ints]:
    """Pairs of a sample and a side that it meets, the samples in order."""
    pairs = [(0, 0) for _ in range(0)]
    for row in range(len(observed)):
        for column in range(observed.shape[1]):
            at = find(codes, first[column], first[column + 1], observed[row, column])
            if at >= 0:
                pairs.append((row, at))
    found = np.empty((2, len(pairs)), np.int64)
    for k in range(len(pairs)):
        found[0, k], found[1, k] = pairs[k]
    return found[0], found[1]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def greedy(start: Ints, side: Ints, start_of_side: Ints, sample: Ints, most: int) -> Ints:
    """Samples in the order in which each meets the most new sides; sample i meets side[start[i]:start[i + 1]], and side j
    is met by sample[start_of_side[j]:start_of_side[j + 1]]."""
    new = start[1:] - start[:-1]
    met = np.zeros(len(start_of_side) - 1, np.bool_)
    picked = np.empty(min(most, len(new)), np.int64)
    for k in range(len(picked)):
        best = new.argmax()
        if new[best] == 0:
            return picked[:k]
        picked[k] = best
        for j in side[start[best]:start[best + 1]]:
            if not met[j]:
                met[j] = True
                for i in sample[start_of_side[j]:start_of_side[j + 1]]:
                    new[i] -= 1
    return picked
