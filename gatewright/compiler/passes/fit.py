"""Exact forms of integer functions with arbitrary (also irrational) scales, found and proven by breakpoints.

A monotone function of an integer x with K steps is given by its K breakpoints: the lowest x at which each value is
reached. `floor((m * x + a) / 2**s)`, clipped, is the same function exactly if it takes the right value at every
breakpoint and one below it, which for a given m and s leaves an interval for a (possibly empty).

Of other functions the breakpoints are found by interval arithmetic: where the ends of the function on an interval of x
round to one value, it is constant there; elsewhere the interval is halved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import exacts
from gatewright.ir.fixed import MAX_WIDTH, FixedArray, Ints
from gatewright.ir.graph import Op
from gatewright.ir.ops import Requant, Table, Thresholds
from gatewright.ir.ops.function import SATURATE

MAX_STEPS = 1 << 12
MAX_TABLE = 1 << 12
MAX_SHIFT = 26
SMALL = 4
"""Intervals of so few codes are computed code by code: cheaper than by their ends."""


@dataclass(frozen=True)
class Form:
    """An operation's class and attributes."""

    op_class: type[Op]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Steps:
    """A monotone function on lo..hi: value `base` at the low end of sign * x, plus one at every breakpoint of sign * x."""

    sign: int
    base: int
    breakpoints: Ints
    reach: int
    """Largest magnitude of x."""


@dataclass(frozen=True)
class Line:
    """floor((mul * x + add) / 2**shift)"""

    mul: int
    add: int
    shift: int


def fit(f: ex.Expr, x: FixedArray, shape: tuple[int, ...], node: str, within: tuple[Ints, Ints] | None = None) -> list[Form]:
    """The cheapest exact form of f(Leaf(0)) for x within its type, or within a part of that: forms to be added up.

    Raises UserError where there is none.
    """
    groups, members = grouped(f, x, shape)
    slopes = ex.slope(f)
    lo, hi = (np.broadcast_to(b, shape) for b in within or (x.lo, x.hi))
    span = x.common.hi - x.common.lo + 1
    if span <= MAX_TABLE and (slopes is None or (within is None and steep(f, x, groups, shape))):
        lowest, highest = (np.broadcast_to(b, shape) for b in (x.lo, x.hi))  # a table holds every code of its operand
        return [table(f, groups, members, lowest, highest, shape, node)]
    if slopes is None:
        return up_and_down(f, groups, members, lo, hi, shape, node)
    slopes = np.broadcast_to(slopes, shape)
    steps = []
    for index, where in zip(groups, members, strict=True):
        low, high = int(lo.reshape(-1)[where].min()), int(hi.reshape(-1)[where].max())
        steps.append(breakpoints(ex.scalar(f, index, shape), low, high, -1 if slopes[index] < 0 else 1, node))
    width = x.common.width
    counts = [len(m) for m in members]
    lines = [line(s) for s in steps]
    costs = {"thresholds": sum(len(s.breakpoints) * (width // 2 + 1) * n for s, n in zip(steps, counts, strict=True))}
    if all(v is not None for v in lines):
        costs["line"] = sum((digits(v.mul) * width + width) * n for v, n in zip(lines, counts, strict=True) if v)
    if span <= MAX_TABLE and within is None:
        bits = max(len(s.breakpoints).bit_length() for s in steps)
        costs["table"] = bits * max(1, span >> 6) * sum(counts) * 2
    best = min(costs, key=lambda k: (costs[k], k))
    if best == "table":
        return [table(f, groups, members, lo, hi, shape, node)]
    spread = Spread(shape, members, len(groups) == 1)
    base, top = spread([s.base for s in steps]), spread([s.base + len(s.breakpoints) for s in steps])
    if best == "line":
        return [Form(Requant, {"mul": spread([v.mul for v in lines if v]), "add": spread([v.add for v in lines if v]),
                               "shift": spread([v.shift for v in lines if v]), "rounding": "FLOOR", "lo": base, "hi": top,
                               "overflow": SATURATE})]
    return [thresholds(steps, spread)]


def steep(f: ex.Expr, x: FixedArray, groups: list[tuple[int, ...]], shape: tuple[int, ...]) -> bool:
    """Whether a monotone function has more levels than thresholds or a line may have."""
    ends = x.common.lo, x.common.hi
    return any(abs(at(ends[0]) - at(ends[1])) > MAX_STEPS for at in (ex.scalar(f, i, shape) for i in groups))


def thresholds(steps: list[Steps], spread: Spread) -> Form:
    """Of every group, padded with levels that no x reaches."""
    most = max(len(s.breakpoints) for s in steps)
    never = 1 + max(s.reach for s in steps)
    levels = np.array([np.concatenate([s.breakpoints, np.full(most - len(s.breakpoints), never)]) for s in steps], np.int64)
    return Form(Thresholds, {"sign": spread([s.sign for s in steps]), "base": spread([s.base for s in steps]),
                             "levels": levels[0] if spread.single else levels[spread.group]})


def up_and_down(f: ex.Expr, groups: list[tuple[int, ...]], members: list[Ints], lo: Ints, hi: Ints,
                shape: tuple[int, ...], node: str) -> list[Form]:
    """Thresholds that count up and thresholds that count down."""
    ups, downs = [], []
    for index, where in zip(groups, members, strict=True):
        low, high = int(lo.reshape(-1)[where].min()), int(hi.reshape(-1)[where].max())
        runs = constant_runs(f, index, shape, low, high, node)
        (_, base), reach = runs[0], max(abs(low), abs(high))
        steps = [(b, after - before) for (_, before), (b, after) in itertools.pairwise(runs)]
        rising = np.array([b for b, d in steps for _ in range(d)], np.int64)
        falling = np.array([1 - b for b, d in steps[::-1] for _ in range(-d)], np.int64)  # x < b is -x >= 1 - b
        ups.append(Steps(1, base - len(falling), rising, reach))
        downs.append(Steps(-1, 0, falling, reach))
    spread = Spread(shape, members, len(groups) == 1)
    return [thresholds(s, spread) for s in (ups, downs)]


def constant_runs(f: ex.Expr, index: tuple[int, ...], shape: tuple[int, ...], lo: int, hi: int, node: str
                  ) -> list[tuple[int, int]]:
    """(first x, value) of the longest intervals of lo..hi on which the function of one element is constant."""
    at = ex.scalar(f, index, shape)
    runs: list[tuple[int, int]] = []
    total = 0

    def found(x: int, value: int) -> None:
        nonlocal total
        if not runs or runs[-1][1] != value:
            total += abs(value - runs[-1][1]) if runs else 0
            runs.append((x, value))
        if total > MAX_STEPS:
            raise UserError(f"it is not monotone, its operand has {hi - lo + 1} codes (a table holds {MAX_TABLE}) and its "
                            f"result takes more than {MAX_STEPS} steps", node=node,
                            remedy="Quantise its operand to 12 bits or fewer, or the result to fewer bits")

    one = ex.element(f, index, shape)
    stack = [(lo, hi)]
    while stack:
        a, b = stack.pop()
        ends = [int(e.item()) for e in ex.bounds(one, [(exacts(a), exacts(b))])] if b - a > SMALL else []
        if ends and ends[0] == ends[1]:
            found(a, ends[0])
        elif ends:
            mid = (a + b) // 2
            stack += [(mid + 1, b), (a, mid)]
        else:
            for x in range(a, b + 1):
                found(x, at(x))
    return runs


@dataclass(frozen=True)
class Spread:
    """Values per group to an int64 array of the tensor's shape, or of shape () where there is one group."""

    shape: tuple[int, ...]
    members: list[Ints]
    single: bool

    @property
    def group(self) -> Ints:
        """The group of every element."""
        out = np.empty(int(np.prod(self.shape, dtype=np.int64)), np.int64)
        for k, where in enumerate(self.members):
            out[where] = k
        return out.reshape(self.shape)

    def __call__(self, values: list[int]) -> Ints:
        array = np.array(values, np.int64)
        return array.reshape(()) if self.single else array[self.group]


def grouped(f: ex.Expr, x: FixedArray, shape: tuple[int, ...]) -> tuple[list[tuple[int, ...]], list[Ints]]:
    """Elements with the same constants: a representative index and the flat indices of each group."""
    arrays: list[Any] = []
    ex.transform(f, lambda a: arrays.append(a) or a, lambda leaf: leaf)  # type: ignore[func-returns-value]
    varied = [np.broadcast_to(a, shape).reshape(-1) for a in arrays if a.shape]
    size = int(np.prod(shape, dtype=np.int64))
    if not varied:
        return [(0,) * len(shape)], [np.arange(size)]
    found: dict[Any, list[int]] = {}
    for i, key in enumerate(zip(*varied, strict=True)):
        found.setdefault(key, []).append(i)
    return ([tuple(int(v) for v in np.unravel_index(m[0], shape)) for m in found.values()],
            [np.array(m, np.int64) for m in found.values()])


def breakpoints(f: Callable[[int], int], lo: int, hi: int, sign: int, node: str) -> Steps:
    """All steps of a monotone function on lo..hi, by bisection from both ends: exact evaluation decides every one."""
    def g(u: int) -> int:
        return f(sign * u)

    low, high = (lo, hi) if sign > 0 else (-hi, -lo)
    base, top = g(low), g(high)
    if top - base > MAX_STEPS:
        raise UserError(f"its scale is no small power of two and it has {top - base} output levels, more than {MAX_STEPS}",
                        node=node, remedy="Use a power-of-two scale, or fewer bits, for this quantiser")
    found = np.empty(top - base, np.int64)
    stack = [(low, base, high, top)]
    while stack:  # g(a) = va, g(b) = vb: all breakpoints of values va+1..vb lie in a+1..b
        a, va, b, vb = stack.pop()
        if va == vb:
            continue
        if b - a == 1:
            found[va - base:vb - base] = b
            continue
        mid = (a + b) // 2
        vm = g(mid)
        stack += [(a, va, mid, vm), (mid, vm, b, vb)]
    return Steps(sign, base, found, max(abs(lo), abs(hi)))


def line(steps: Steps) -> Line | None:
    """The line with the smallest shift that has exactly these steps; None if none is found up to MAX_SHIFT."""
    t = steps.breakpoints
    if not len(t):
        return Line(0, steps.base, 0)
    k = np.arange(1, len(t) + 1) + steps.base
    if len(t) == 1:
        return Line(steps.sign, int(k[0] - t[0]), 0)
    slope = (len(t) - 1) / max(int(t[-1] - t[0]), 1)
    highest = int(np.abs(k).max())
    for shift in range(MAX_SHIFT):
        for mul in sorted({max(round(slope * (1 << shift)) + d, 1) for d in (-1, 0, 1)}):
            if (highest << shift) + 2 * mul * steps.reach >= 1 << MAX_WIDTH - 1:
                return None  # mul * x + add could be too wide
            low = int(((k << shift) - mul * t).max())
            high = int(((k << shift) - mul * (t - 1)).min()) - 1
            if low <= high:
                return Line(steps.sign * mul, (low + high) // 2, shift)
    return None


def digits(m: int) -> int:
    """Non-zero digits of the canonical signed-digit form: additions that a product with m takes, plus one."""
    m = abs(m)
    return ((m >> 1) ^ (m + (m >> 1))).bit_count()


def table(f: ex.Expr, groups: list[tuple[int, ...]], members: list[Ints], lo: Ints, hi: Ints, shape: tuple[int, ...],
          node: str) -> Form:
    """Every value, by exact evaluation."""
    first, last = int(lo.min()), int(hi.max())
    if last - first >= MAX_TABLE:
        raise UserError(f"it is not monotone and its operand has {last - first + 1} codes, a table at most {MAX_TABLE}",
                        node=node, remedy="Quantise its operand to 12 bits or fewer")
    rows = []
    for index in groups:
        at = ex.scalar(f, index, shape)
        rows.append([at(x) for x in range(first, last + 1)])
    values = np.array(rows, np.int64)
    spread = Spread(shape, members, len(groups) == 1)
    return Form(Table, {"first": first, "values": values[0] if spread.single else values[spread.group]})
