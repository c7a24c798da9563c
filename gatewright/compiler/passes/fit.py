"""Exact forms of integer functions with arbitrary (also irrational) scales, found and proven by breakpoints.

A rounded affine function needs none: its shortest line comes from Euclid's algorithm (arithmetic/lines.py), whatever its
range and the number of its levels.

Any other monotone function of an integer x with K steps is given by its K breakpoints: the lowest x at which each value is
reached. `floor((m * x + a) / 2**s)`, clipped, is the same function exactly if it takes the right value at every
breakpoint and one below it, which for a given m and s leaves an interval for a (possibly empty).

Of other functions the breakpoints are found by interval arithmetic: where the ends of the function on an interval of x
round to one value, it is constant there; elsewhere the interval is halved.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewright.compiler.arithmetic.lines import Line, Stair, narrowest, stair
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts
from gatewright.ir.fixed import MAX_WIDTH, FixedArray, Ints, bits_for
from gatewright.ir.graph import Op
from gatewright.ir.ops import Combine, Requant, Table, Thresholds
from gatewright.ir.ops.function import SATURATE

MAX_STEPS = 1 << 12
MAX_TABLE = 1 << 12
MAX_MEMORY = 1 << 16
"""Entries of a table where there is no other form: a memory, as large as block RAM has it."""
MAX_SHIFT = 26
SMALL = 4
"""Intervals of so few codes are computed code by code: cheaper than by their ends."""
SAMPLES = 64
"""Parts of a range, whose ends give a first idea of how many steps a function takes in it."""
MAX_HALVINGS = 1 << 15
"""Of ranges, in the search for the steps of a function; each takes about a millisecond."""


@dataclass(frozen=True)
class Form:
    """An operation's class and attributes. `operands`: 0 is the function's operand, k the result of the k-th form."""

    op_class: type[Op]
    attributes: dict[str, Any]
    operands: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Steps:
    """A monotone function on lo..hi: value `base` at the low end of sign * x, plus one at every breakpoint of sign * x."""

    sign: int
    base: int
    breakpoints: Ints
    reach: int
    """Largest magnitude of x."""


def fit(f: ex.Expr, x: FixedArray, shape: tuple[int, ...], node: str, within: tuple[Ints, Ints] | None = None) -> list[Form]:
    """The cheapest exact form of f(Leaf(0)) for x within its type, or within a part of that: a chain of operations.

    Raises UserError where there is none.
    """
    groups = Groups.of(f, x, shape, within)
    slopes = ex.slope(f)
    small = within is None and x.common.hi - x.common.lo < MAX_TABLE  # a table holds every code of its operand
    lines = rounded_lines(f, groups, x)
    if lines is None and small and (slopes is None or steep(f, groups)):
        return [table(f, groups, x, node)]
    memory = within is None and x.common.hi - x.common.lo < MAX_MEMORY
    if slopes is None:
        try:
            return up_and_down(f, groups, node)
        except UserError:
            if memory:
                return [table(f, groups, x, node)]
            raise
    levels = [abs(at(hi) - at(lo)) for at, lo, hi in zip(groups.functions(f), groups.lo, groups.hi, strict=True)]
    width = x.common.width
    costs = {}
    if max(levels) <= MAX_STEPS:
        costs["thresholds"] = sum(k * ((width + 3) // 5 + 1) * n for k, n in zip(levels, groups.count, strict=True))
        lines = lines or lines_through(all_steps(f, groups, slopes, node), groups, x)
    if lines:
        costs["lines"] = lines.cost
    if small:
        costs["table"] = max(levels).bit_length() * max(1, x.common.hi - x.common.lo + 1 >> 6) * sum(groups.count) * 2
    if not costs and memory:
        return [table(f, groups, x, node)]
    if not costs:
        raise UserError(f"it has {max(levels)} output levels, more than {MAX_STEPS}, and its operand more than {MAX_MEMORY} codes",
                        node=node, remedy="Use fewer bits for this quantiser (of an output that has none: with --output-type), or quantise "
                                           "its operand")
    best = min(costs, key=lambda k: (costs[k], k))
    if best == "table":
        return [table(f, groups, x, node)]
    if best == "lines" and lines:
        return lines.forms
    return [thresholds(all_steps(f, groups, slopes, node), groups)]


def all_steps(f: ex.Expr, groups: Groups, slopes: Exacts, node: str) -> list[Steps]:
    """The breakpoints of every group."""
    signs = [-1 if np.broadcast_to(slopes, groups.shape)[i] < 0 else 1 for i in groups.index]
    return [breakpoints(at, lo, hi, sign, node)
            for at, lo, hi, sign in zip(groups.functions(f), groups.lo, groups.hi, signs, strict=True)]


def steep(f: ex.Expr, groups: Groups) -> bool:
    """Whether a monotone function has more levels than thresholds may have."""
    return any(abs(at(lo) - at(hi)) > MAX_STEPS for at, lo, hi in zip(groups.functions(f), groups.lo, groups.hi, strict=True))


def thresholds(steps: list[Steps], groups: Groups) -> Form:
    """Of every group, padded with levels that no x reaches."""
    most = max(len(s.breakpoints) for s in steps)
    never = 1 + max(s.reach for s in steps)
    levels = np.array([np.concatenate([s.breakpoints, np.full(most - len(s.breakpoints), never)]) for s in steps], np.int64)
    return Form(Thresholds, {"sign": groups.spread([s.sign for s in steps]), "base": groups.spread([s.base for s in steps]),
                             "levels": groups.spread(levels)})


def up_and_down(f: ex.Expr, groups: Groups, node: str) -> list[Form]:
    """Thresholds that count up and thresholds that count down."""
    halvings = 0
    for at, low, high in zip(groups.functions(f), groups.lo, groups.hi, strict=True):
        halvings += effort(at, low, high, node)
        if halvings > MAX_HALVINGS:
            raise too_many_steps(low, high, node)
    ups, downs = [], []
    for index, low, high in zip(groups.index, groups.lo, groups.hi, strict=True):
        runs = constant_runs(f, index, groups.shape, low, high, node)
        (_, base), reach = runs[0], max(abs(low), abs(high))
        steps = [(b, after - before) for (_, before), (b, after) in itertools.pairwise(runs)]
        rising = np.array([b for b, d in steps for _ in range(d)], np.int64)
        falling = np.array([1 - b for b, d in steps[::-1] for _ in range(-d)], np.int64)  # x < b is -x >= 1 - b
        ups.append(Steps(1, base - len(falling), rising, reach))
        downs.append(Steps(-1, 0, falling, reach))
    return [*(thresholds(s, groups) for s in (ups, downs)), added(1, 2)]


def added(*operands: int) -> Form:
    """The sum of results."""
    ones = (np.ones((), np.int64),) * len(operands)
    return Form(Combine, {"scales": ones, "offset": np.zeros((), np.int64)}, operands)


# -- lines ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lines:
    """Forms that multiply, add and shift, and what they cost (bits of adders)."""

    forms: list[Form]
    cost: int


def rounded_lines(f: ex.Expr, groups: Groups, x: FixedArray) -> Lines | None:
    """The lines of a clipped, rounded, affine function; None where it is none, or where a line would be too wide.

    Half-to-even with ties that go both ways is no line, but half the sum of two, rounded half to even: one that sends its
    ties up and one that sends them down.
    """
    parts = RoundedAffine.of(f)
    if parts is None:
        return None
    found = one_line_each(parts.stairs(groups, parts.mode), groups, x)
    if found or parts.mode != "ROUND":
        return found
    up, down = (one_line_each(parts.stairs(groups, mode), groups, x) for mode in ("HALF_CEIL", "HALF_FLOOR"))
    return mean(up, down, groups, x) if up and down else None


@dataclass(frozen=True)
class RoundedAffine:
    """clip(round(scale * Leaf + offset), lo, hi)"""

    scale: Exacts
    offset: Exacts
    mode: str
    lo: Exacts | None
    hi: Exacts | None

    @staticmethod
    def of(f: ex.Expr) -> RoundedAffine | None:
        """None where the expression is something else."""
        lo, hi = (f.lo, f.hi) if isinstance(f, ex.Clip) else (None, None)
        inner = f.x if isinstance(f, ex.Clip) else f
        mode = inner.mode if isinstance(inner, ex.Round) else "FLOOR"
        body = inner.x if isinstance(inner, ex.Round) else inner
        if not ex.integers(lo) or not ex.integers(hi):
            return None
        if isinstance(body, ex.Leaf):
            return RoundedAffine(ex.ONE, ex.ZERO, mode, lo, hi)
        if not isinstance(body, ex.Affine) or len(body.terms) > 1 or not all(isinstance(t, ex.Leaf) for t, _ in body.terms):
            return None
        return RoundedAffine(body.terms[0][1] if body.terms else ex.ZERO, body.offset, mode, lo, hi)

    def stairs(self, groups: Groups, mode: str) -> list[Limited | None]:
        """The function of every group, rounded by `mode`; None where that is no stair."""
        found = []
        for index, lo, hi in zip(groups.index, groups.lo, groups.hi, strict=True):
            scale, offset = (np.broadcast_to(a, groups.shape)[index] for a in (self.scale, self.offset))
            ends = [None if a is None else int(np.broadcast_to(a, groups.shape)[index]) for a in (self.lo, self.hi)]
            own = stair(scale, offset, mode, lo, hi)
            found.append(Limited(own, ends[0], ends[1]) if own else None)
        return found


@dataclass(frozen=True)
class Limited:
    """A stair, clipped."""

    stair: Stair
    lo: int | None
    hi: int | None

    def __call__(self, x: int) -> int:
        y = self.stair.at(x)
        y = y if self.lo is None else max(y, self.lo)
        return y if self.hi is None else min(y, self.hi)


def one_line_each(stairs: list[Limited | None], groups: Groups, x: FixedArray) -> Lines | None:
    """A line for every group, clipped to the values that it reaches."""
    lines, ends = [], []
    for f, lo, hi in zip(stairs, groups.lo, groups.hi, strict=True):
        reached = sorted((f(lo), f(hi))) if f else []
        line = narrowest(f.stair, lo, hi, *reached) if f else None
        if line is None:
            return None
        lines.append(line)
        ends.append(reached)
    return line_forms(lines, [e[0] for e in ends], [e[1] for e in ends], groups, x)


def line_forms(lines: list[Line], base: list[int], top: list[int], groups: Groups, x: FixedArray) -> Lines | None:
    """Multiply, add, shift and clip; where the product is wider than a code, in two parts:
    floor((2**k * u + v) / 2**s) = floor((u + floor(v / 2**k)) / 2**(s - k)). None where even those are too wide."""
    width = x.common.width
    cost = sum((digits(line.mul) * width + width) * n for line, n in zip(lines, groups.count, strict=True))
    end = {"rounding": "FLOOR", "lo": groups.spread(base), "hi": groups.spread(top), "overflow": SATURATE}
    if all(line_width(line, x) <= MAX_WIDTH for line in lines):
        return Lines([Form(Requant, {"mul": groups.spread([v.mul for v in lines]), "add": groups.spread([v.add for v in lines]),
                                     "shift": groups.spread([v.shift for v in lines]), **end})], cost)
    cut = [max(min(v.shift, MAX_WIDTH - 2 - width), 0) for v in lines]
    high = [Line(v.mul >> k, v.add >> k, v.shift - k) for v, k in zip(lines, cut, strict=True)]
    low = [Line(v.mul & (1 << k) - 1, v.add & (1 << k) - 1, k) for v, k in zip(lines, cut, strict=True)]
    if any(line_width(v, x) >= MAX_WIDTH for v in (*high, *low)):
        return None
    reach = 1 << width + 1  # of the low part, shifted
    one, zero = np.ones((), np.int64), np.zeros((), np.int64)
    first = Form(Requant, {"mul": groups.spread([v.mul for v in low]), "add": groups.spread([v.add for v in low]),
                           "shift": groups.spread(cut), "rounding": "FLOOR", "lo": one * -reach, "hi": one * reach,
                           "overflow": SATURATE})
    total = Form(Combine, {"scales": (groups.spread([v.mul for v in high]), one),
                           "offset": groups.spread([v.add for v in high])}, (0, 1))
    last = Form(Requant, {"mul": one, "add": zero, "shift": groups.spread([v.shift for v in high]), **end}, (2,))
    return Lines([first, total, last], cost + width * sum(groups.count))


def line_width(line: Line, x: FixedArray) -> int:
    """Bits that hold mul * x, and that plus add."""
    ends = [line.mul * v for v in (x.common.lo, x.common.hi)]
    ends += [v + line.add for v in ends]
    return bits_for(min(*ends, -1), max(*ends, 1 << line.shift))


def mean(up: Lines, down: Lines, groups: Groups, x: FixedArray) -> Lines:
    """Half the sum of two results, rounded half to even; it stays between them."""
    last = len(up.forms)
    moved = [replace(f, operands=tuple(k + last if k else 0 for k in f.operands)) for f in down.forms]
    one, zero = np.ones((), np.int64), np.zeros((), np.int64)
    half = Form(Requant, {"mul": one, "add": zero, "shift": one, "rounding": "ROUND", "lo": down.forms[-1].attributes["lo"],
                          "hi": up.forms[-1].attributes["hi"], "overflow": SATURATE}, (last + len(moved) + 1,))
    return Lines([*up.forms, *moved, added(last, last + len(moved)), half],
                 up.cost + down.cost + 2 * x.common.width * sum(groups.count))


def lines_through(steps: list[Steps], groups: Groups, x: FixedArray) -> Lines | None:
    """Lines with exactly these steps, if there are such."""
    lines = [found for found in map(line, steps) if found]
    if len(lines) < len(steps):
        return None
    return line_forms(lines, [s.base for s in steps], [s.base + len(s.breakpoints) for s in steps], groups, x)


# -- steps ---------------------------------------------------------------------------------------------------------------


def constant_runs(f: ex.Expr, index: tuple[int, ...], shape: tuple[int, ...], lo: int, hi: int, node: str
                  ) -> list[tuple[int, int]]:
    """(first x, value) of the longest intervals of lo..hi on which the function of one element is constant."""
    at = ex.scalar(f, index, shape)
    one = ex.element(f, index, shape)
    found: list[tuple[int, int]] = []
    pending = [(lo, hi)]
    while pending:
        found += [(x, at(x)) for a, b in pending if b - a <= SMALL for x in range(a, b + 1)]
        wide = [(a, b) for a, b in pending if b - a > SMALL]
        pending = []
        ends = ex.bounds(one, [(exacts([a for a, _ in wide]), exacts([b for _, b in wide]))]) if wide else ((), ())
        for (a, b), low, high in zip(wide, *(np.broadcast_to(e, len(wide)) for e in ends), strict=True):
            if low == high:
                found.append((a, int(low)))
            else:
                pending += [(a, (a + b) // 2), ((a + b) // 2 + 1, b)]
    found.sort()
    runs = [first for first, before in zip(found, [None, *found], strict=False) if before is None or before[1] != first[1]]
    if sum(abs(after - before) for (_, before), (_, after) in itertools.pairwise(runs)) > MAX_STEPS:
        raise too_many_steps(lo, hi, node)
    return runs


def effort(at: Callable[[int], int], lo: int, hi: int, node: str) -> int:
    """About how many halvings `constant_runs` takes, from a few values. Raises UserError where these say that the steps are too many."""
    values = [at(lo + (hi - lo) * k // SAMPLES) for k in range(SAMPLES + 1)]
    steps = sum(abs(b - a) for a, b in itertools.pairwise(values))
    if steps > MAX_STEPS:
        raise too_many_steps(lo, hi, node)
    return steps * ((hi - lo).bit_length() - steps.bit_length())


def too_many_steps(lo: int, hi: int, node: str) -> UserError:
    return UserError(f"it is not monotone, its operand has {hi - lo + 1} codes (a table holds {MAX_MEMORY}) and its result takes "
                     f"more steps than can be found (at most {MAX_STEPS})", node=node,
                     remedy="Quantise its operand to 16 bits or fewer, or the result to fewer bits")


@dataclass(frozen=True)
class Groups:
    """The elements of a tensor by the constants that they meet: everything is computed once for a group."""

    shape: tuple[int, ...]
    """Of the constants, with the tensor's rank: elements along an axis of length 1 share them. () for one group."""
    which: Ints
    """The group of every element of `shape`."""
    index: list[tuple[int, ...]]
    """An element of `shape` in every group."""
    lo: list[int]
    hi: list[int]
    """The operand's range in every group."""
    count: list[int]
    """Elements of the tensor in every group."""

    @staticmethod
    def of(f: ex.Expr, x: FixedArray, shape: tuple[int, ...], within: tuple[Ints, Ints] | None = None) -> Groups:
        arrays: list[Any] = []
        ex.transform(f, lambda a: arrays.append(a) or a, lambda leaf: leaf)  # type: ignore[func-returns-value]
        varied = [a for a in arrays if a.shape]
        own = np.broadcast_shapes((1,) * len(shape), *(a.shape for a in varied)) if varied else ()
        found: dict[Any, int] = {}
        keys = zip(*(np.broadcast_to(a, own).reshape(-1) for a in varied), strict=True) if varied else [()]
        which = np.array([found.setdefault(k, len(found)) for k in keys], np.int64).reshape(own)
        first = np.unique(which, return_index=True)[1]
        shared = tuple(k for k, d in enumerate(own) if d == 1) if varied else tuple(range(len(shape)))
        ends = [edge(np.broadcast_to(b, shape), axis=shared).reshape(-1)
                for b, edge in zip(within or (x.lo, x.hi), (np.min, np.max), strict=True)]
        flat = which.reshape(-1)
        size = math.prod(shape) // flat.size
        return Groups(own, which, [tuple(int(v) for v in np.unravel_index(i, own)) for i in first],
                      [int(ends[0][flat == k].min()) for k in range(len(first))],
                      [int(ends[1][flat == k].max()) for k in range(len(first))],
                      [size * int(n) for n in np.bincount(flat)])

    def functions(self, f: ex.Expr) -> list[Callable[[int], int]]:
        """The function of every group; stairs are faster than exact numbers."""
        parts = RoundedAffine.of(f)
        stairs = parts.stairs(self, parts.mode) if parts else [None] * len(self.index)
        return [own or ex.scalar(f, i, self.shape) for own, i in zip(stairs, self.index, strict=True)]

    def spread(self, values: Any) -> Ints:
        """Values per group (first axis) as an array of `shape`; of shape () where all elements have the same."""
        array = np.array(values, np.int64)
        return array[0] if (array == array[:1]).all() else array[self.which]


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


def table(f: ex.Expr, groups: Groups, x: FixedArray, node: str) -> Form:
    """Every value, by exact evaluation."""
    first, last = x.common.lo, x.common.hi
    values = [[at(v) for v in range(first, last + 1)] for at in groups.functions(f)]
    return Form(Table, {"first": first, "values": groups.spread(values)})
