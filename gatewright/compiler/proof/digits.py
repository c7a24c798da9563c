"""Quotients and square roots that are made digit by digit, proven by induction over the rows.

Every row of the cone of such an element is an exact polynomial of few *atoms*: the operands, single bits of sliced rows, and the
truths of comparisons; a selection is else + c * (then - else). Beside it stand two more polynomials, between which it lies. A
selection by a comparison e >= 0 may use that e is at least 0 in one branch and at most -1 in the other: so from a remainder
r <= u and a digit's bits follows that the next remainder is at most d - 1, whatever the divisor d is, or at most twice the root.
By the same means a slice is found to cut nothing.

At the end a row p is the quotient if what it leaves over, a - p * d say, lies within what the rounding allows, for both
truths of a last comparison. That is so where it is a multiple of the comparison's e but for what has known signs: the polynomials
must agree, product by product. No row is trusted to be a step of a division. Values beyond the clip are told from the others by
what the Graph's definition says of the operands, case by case.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gatewright.compiler.proof.blocks import AUX, CODE, END, FIRST, HI, IMM, LEAF, LO, ROW, Programs
from gatewright.ir.netlist import Op

Number = int | Fraction
Poly = dict[tuple[int, ...], Number]
"""Coefficients of products of atoms, ascending; () is the constant. No coefficient is zero."""

LARGEST, DEGREE = 2000, 3
"""Most products of a polynomial, and most factors of one; a row that has more is an atom."""

DECIDED = 4
"""Comparisons with a known result, the last ones, from which a quotient may follow."""

SIGNED = {"DOWN": ("FLOOR", "CEIL"), "UP": ("CEIL", "FLOOR"), "HALF_UP": ("HALF_CEIL", "HALF_FLOOR"),
          "HALF_DOWN": ("HALF_FLOOR", "HALF_CEIL")}
"""Modes that look at the sign: the mode from 0 on, and below."""


class Quotient(NamedTuple):
    """clip(round((mul * n + add * d) / (div * d)), lo, hi) of two operands, which is in least..most by its type."""

    mul: int
    add: int
    div: int
    lo: int
    hi: int
    least: int
    most: int
    rounding: str


class Root(NamedTuple):
    """floor(sqrt(x)), in least..most."""

    least: int
    most: int


class Value(NamedTuple):
    """What is known of a row: it is `is_`, at least `low` and at most `high`, and within least..most."""

    is_: Poly
    low: Poly
    high: Poly
    least: int
    most: int


class Comparison(NamedTuple):
    """A row that is 1 where `e` >= 0 (or, an equality, where `e` = 0)."""

    e: Value
    equality: bool

    def where(self, truth: int) -> tuple[Poly, Poly, Poly]:
        """What e is, and its bounds, where the comparison is true or false."""
        is_, low, high = self.e[:3]
        if self.equality:
            return is_, {} if truth else constant(1) if self.e.least == 0 else low, {} if truth else high
        return is_, {} if truth else low, high if truth else constant(-1)


class Unproven(Exception):
    """The rows are not seen to be what they should be."""


# -- polynomials ---------------------------------------------------------------------------------------------------------


def constant(c: Number) -> Poly:
    return {(): c} if c else {}


def leaf(line: Any) -> Poly:
    """A program's line that is a multiple of a variable, which is an atom, and a constant."""
    return plus(constant(int(line[AUX])), {(int(line[FIRST]),): int(line[IMM])})


def plus(p: Poly, q: Poly, factor: Number = 1) -> Poly:
    """p + factor * q"""
    total = dict(p)
    for k, c in q.items():
        new = total.get(k, 0) + factor * c
        if new:
            total[k] = new
        else:
            total.pop(k, None)
    return total


def scaled(p: Poly, factor: Number) -> Poly:
    return {k: factor * c for k, c in p.items()} if factor else {}


def fixed(p: Poly, atom: int, truth: int) -> Poly:
    """p where the truth of a comparison is known."""
    total: Poly = {}
    for k, c in p.items():
        if atom not in k:
            total = plus(total, {k: c})
        elif truth:
            total = plus(total, {tuple(a for a in k if a != atom): c})
    return total


def divided(p: Poly, shift: int) -> Poly | None:
    """p / 2**shift, if its coefficients are whole."""
    if any(c != int(c) or int(c) % (1 << shift) for c in p.values()):
        return None
    return {k: int(c) >> shift for k, c in p.items()}


def rounded_down(p: Poly) -> Poly:
    """An upper bound of integers with a whole constant, where all else is whole."""
    c = p.get((), 0)
    if all(isinstance(v, int) or v.denominator == 1 for k, v in p.items() if k):
        return plus({k: int(v) for k, v in p.items() if k}, constant(math.floor(c)))
    return p


# -- rows ----------------------------------------------------------------------------------------------------------------


class Case:
    """The rows of one element for some of its operands' values: those with all of `given` at least 0."""

    def __init__(self, element: Element, given: list[Poly], goal: Goal | None) -> None:
        self.lines, self.arg, self.shift, self.neg, self.count = element.lines, element.arg, element.shift, element.neg, element.size
        self.given, self.goal = given, goal
        self.main = next((k for p in element.operands for k in p if k), ())
        self.ranges = [(v[0], v[0] + v[2] - 1) for v in element.variables.tolist()]
        self.result: Poly = {}
        if goal:
            self.result = {(self.atom(goal.lo, goal.hi),): 1} if goal.lo < goal.hi else constant(goal.lo)
        self.truths: dict[int, Comparison] = {}
        self.comparisons: dict[int, Comparison] = {}
        self.decided: list[tuple[Comparison, int]] = []
        self.bits: dict[tuple[tuple[int, int], int], Poly] = {}
        self.reach = element.reach()
        self.values: dict[int, Value] = {}

    @property
    def possible(self) -> bool:
        """Whether there may be such operands: none where two conditions contradict each other."""
        pairs = [(p, q, Fraction(p[self.main], -q[self.main])) for p in self.given for q in self.given if self.main in p and self.main in q]
        return all(self.most(p) >= 0 for p in [*self.given, *(plus(p, q, f) for p, q, f in pairs if f > 0)])

    def run(self) -> Poly | None:
        """The value of the element's line; none where there are no such operands."""
        for k in self.needed():
            value = self.values.get(k) or self.row(k)
            if self.goal and self.lines[k][CODE] in (Op.SUM, Op.SELECT) and self.goal.met(self, value.is_):
                if set(value.is_) <= {()}:
                    self.result = value.is_
                value = self.exactly(self.result)
            self.values[k] = value
            if value.least > value.most:
                return None
        return self.values[self.count - 1].is_

    def needed(self) -> list[int]:
        """The lines that decide the element, where some comparisons of sums of the operands are known."""
        for k, line in enumerate(self.lines[:self.count]):
            if line[CODE] in (LEAF, Op.SUM, Op.GE) and all(a in self.values for a in self.arguments(k)):
                self.values[k] = self.row(k)
        reads, lines = {self.count - 1}, []
        for k in reversed(range(self.count)):
            if k in reads:
                lines.append(k)
                operands = self.arguments(k)
                if self.lines[k][CODE] == Op.SELECT and (c := self.values.get(operands[0])) and c.least == c.most:
                    operands = [operands[0], operands[1 if c.least else 2]]
                reads.update(operands)
        return lines[::-1]

    def arguments(self, k: int) -> list[int]:
        code, first, end = (int(self.lines[k][c]) for c in (CODE, FIRST, END))
        return [] if code == LEAF else self.arg[first:end].tolist()

    def fits(self, k: int) -> bool:
        """Whether a row is known to be within its declared bounds."""
        value = self.values.get(k)
        return value is not None and bool(value.least >= self.lines[k][LO] and value.most <= self.lines[k][HI])

    def row(self, k: int) -> Value:
        line = self.lines[k]
        code, at = line[CODE], line[FIRST]
        if code == LEAF:
            p = leaf(line)
            return self.bounded(p, p, p)
        if code == Op.SUM:
            return self.sum(line)
        if code == Op.BITS:
            return self.slice((int(self.arg[at]), int(self.shift[at])), self.operand(at), int(line[IMM]), int(line[AUX]), line[LO] < 0)
        if code in (Op.GE, Op.EQ):
            a, b = self.operand(at), self.operand(at + 1)
            return self.comparison(k, Comparison(self.added([(a, 1), (b, -1)]), code == Op.EQ))
        if code == Op.SELECT:
            return self.selection(line)
        raise Unproven

    def operand(self, k: int) -> Value:
        return self.added([(self.values[self.arg[k]], 1 << int(self.shift[k]))])

    def added(self, terms: list[tuple[Value, int]], more: int = 0) -> Value:
        """The sum of value * factor over the terms, plus a constant."""
        is_ = low = high = constant(more)
        least = most = more
        for v, c in terms:
            below, above = (v.low, v.high) if c > 0 else (v.high, v.low)
            is_, low, high = plus(is_, v.is_, c), plus(low, below, c), plus(high, above, c)
            least, most = least + c * (v.least if c > 0 else v.most), most + c * (v.most if c > 0 else v.least)
        return self.bounded(is_, low, high, least, most)

    def sum(self, line: Any) -> Value:
        return self.added([(self.values[self.arg[k]], (-1 if self.neg[k] else 1) << int(self.shift[k]))
                           for k in range(line[FIRST], line[END])], int(line[IMM]))

    def slice(self, x: tuple[int, int], v: Value, low: int, width: int, signed: bool) -> Value:
        """Bits low, low + 1, ... of a shifted row x, which is v."""
        floor = -(1 << width - 1) if signed else 0
        lowest, highest = v.least >> low, v.most >> low
        ceiling = floor + (1 << width) - 1
        whole = floor <= lowest and highest <= ceiling
        exact = divided(v.is_, low) if whole else None
        if not whole:
            lowest, highest = floor, ceiling
        if exact is None and signed:
            return self.exactly({(self.atom(lowest, highest),): 1})
        if exact is None:
            exact = {}
            for j in range(width):
                exact = plus(exact, self.bit(x, v, low + j), 1 << j)
        below = divided(v.low, low) if whole else None
        above = self.floor(v.high, low) if whole and self.main not in v.high else None
        return self.value(exact, constant(floor) if below is None else below, constant(ceiling) if above is None else above,
                          lowest, highest)

    def floor(self, p: Poly, low: int) -> Poly | None:
        """At least floor(x / 2**low) for all integers x <= p: with x + 1 <= 2**low * z, it is z - 1."""
        rest = math.ceil(p.get((), 0)) + 1
        total: Poly = {}
        for k, c in p.items():
            least, most = self.product(k)
            if least < 0 < most:
                return None
            if k and least > 0 and rest > 0 and -(-math.ceil(c) >> low) == -(-math.ceil(c + rest) >> low):
                c, rest = c + rest, 0  # rest is at most rest times the product
            if k:
                total = plus(total, {k: -(-math.ceil(c) >> low) if most > 0 else math.floor(c) >> low})
        return plus({k: c for k, c in total.items() if c}, constant(-(-rest >> low) - 1))

    def bit(self, x: tuple[int, int], v: Value, j: int) -> Poly:
        """Bit j of a shifted row x, which is v. The lowest one is what the others leave over."""
        if (x, j) not in self.bits:
            reach = self.reach[x]
            if j == 0 and v.least >= 0 and v.most < 1 << reach:
                rest = v.is_
                for i in range(1, reach):
                    rest = plus(rest, self.bit(x, v, i), -(1 << i))
                self.bits[x, j] = rest
            else:
                self.bits[x, j] = {(self.atom(0, 1),): 1}
        return self.bits[x, j]

    def comparison(self, k: int, c: Comparison) -> Value:
        self.comparisons[k] = c
        if c.e.least > 0 or c.e.most < 0 or (c.e.least == 0 and (c.e.most == 0 or not c.equality)):
            truth = c.e.least <= 0 <= c.e.most or (c.e.least > 0 and not c.equality)
            self.decided.append((c, int(truth)))
            return self.exactly(constant(int(truth)))
        atom = self.atom(0, 1)
        self.truths[atom] = c
        return self.exactly({(atom,): 1})

    def selection(self, line: Any) -> Value:
        at = line[FIRST]
        condition = self.values[self.arg[at]].is_
        comparison = self.comparisons.get(int(self.arg[at]))
        if set(condition) <= {()}:
            return self.arm(at + (1 if condition else 2), comparison, 1 if condition else 0)
        (key, factor), = condition.items() if len(condition) == 1 else ((((), 0)),)
        if factor != 1 or len(key) != 1 or key[0] not in self.truths:
            raise Unproven
        truth, = key
        a, b = self.arm(at + 1, self.truths[truth], 1), self.arm(at + 2, self.truths[truth], 0)
        if a.least > a.most or b.least > b.most:  # no such operands
            return b if a.least > a.most else a
        is_, low, high = (plus(q, self.times({(truth,): 1}, plus(p, q, -1))) for p, q in zip(a[:3], b[:3], strict=True))
        low = scaled(self.either(scaled(a.low, -1), scaled(b.low, -1), -a.least, -b.least, scaled(low, -1)), -1)
        high = self.either(a.high, b.high, a.most, b.most, high)
        least, most = min(a.least, b.least), max(a.most, b.most)
        if len(is_) > LARGEST or max(map(len, is_), default=0) > DEGREE:
            return self.exactly({(self.atom(least, most),): 1})
        return self.value(is_, low, high, least, most)

    def either(self, a: Poly, b: Poly, most_a: int, most_b: int, chosen: Poly) -> Poly:
        """An upper bound of both branches: one of theirs where that holds for both, else the one that is chosen."""
        more = plus(a, b, -1)
        if self.most(more) <= 0:
            return b
        if set(more) == {()}:
            return chosen
        if most_a <= self.least(b):
            return b
        return a if self.least(more) >= 0 or most_b <= self.least(a) else chosen

    def arm(self, k: int, c: Comparison | None, truth: int) -> Value:
        """An operand of a selection, where its condition is known."""
        line = self.lines[self.arg[k]]
        if line[CODE] == Op.BITS and line[IMM] == 0 and line[LO] >= 0:
            inner = self.known(self.operand(line[FIRST]), c, truth)
            if inner.least >= 0 and inner.most < 1 << int(line[AUX]):
                return self.added([(inner, 1 << int(self.shift[k]))])
        return self.known(self.operand(k), c, truth)

    def known(self, v: Value, c: Comparison | None, truth: int) -> Value:
        """v where the comparison is true or false: e >= 0, so v >= v - e; or e <= -1, so v <= v - e - 1."""
        if c and not c.equality:
            apart = plus(v.is_, c.e.is_, -1)
            if truth and self.least(apart) > self.least(v.low):
                v = v._replace(low=apart)
            if not truth and self.most(apart) - 1 < self.most(v.high):
                v = v._replace(high=plus(apart, {(): -1}))
        return self.value(*v)

    # -- values ----------------------------------------------------------------------------------------------------------

    def atom(self, lo: int, hi: int) -> int:
        self.ranges.append((lo, hi))
        return len(self.ranges) - 1

    def value(self, is_: Poly, low: Poly, high: Poly, least: int | None = None, most: int | None = None) -> Value:
        """With the ends that follow from the polynomials."""
        return Value(is_, low, high,
                     max(math.ceil(self.least(low)), math.ceil(self.least(is_)), *([] if least is None else [least])),
                     min(math.floor(self.most(high)), math.floor(self.most(is_)), *([] if most is None else [most])))

    def exactly(self, p: Poly) -> Value:
        return self.value(p, p, p)

    def bounded(self, p: Poly, low: Poly, high: Poly, least: int | None = None, most: int | None = None) -> Value:
        """With what is given: p <= p + f * g and p >= p - f * g for g >= 0 and the f > 0 that leaves out the first operand."""
        for g in self.given if self.main in p and max(map(len, p)) < 2 else []:
            if self.main in g:
                factor = Fraction(p[self.main], g[self.main])
                other = plus(p, g, -factor)
                if factor < 0 and (self.main in high or self.most(other) < self.most(high)):
                    high = other
                if factor > 0 and (self.main in low or self.least(other) > self.least(low)):
                    low = other
        return self.value(p, scaled(rounded_down(scaled(low, -1)), -1), rounded_down(high), least, most)

    def times(self, p: Poly, q: Poly) -> Poly:
        """p * q; a truth times itself is itself."""
        total: Poly = {}
        for j, a in p.items():
            for k, b in q.items():
                key = tuple(sorted((*j, *(i for i in k if i not in j or i not in self.truths))))
                new = total.get(key, 0) + a * b
                total[key] = new
        return {k: c for k, c in total.items() if c}

    def product(self, key: tuple[int, ...]) -> tuple[int, int]:
        lo = hi = 1
        for atom in key:
            a, b = self.ranges[atom]
            ends = (lo * a, lo * b, hi * a, hi * b)
            lo, hi = min(ends), max(ends)
        return lo, hi

    def least(self, p: Poly) -> Number:
        return sum(c * self.product(k)[0 if c > 0 else 1] for k, c in p.items())

    def most(self, p: Poly) -> Number:
        return -self.least(scaled(p, -1))


# -- what is to be shown -------------------------------------------------------------------------------------------------


class Goal(ABC):
    """The rounded quotient, or the root, lo..hi: a row p is it where `left`(p) lies within `allowed`(p)."""

    def __init__(self, lo: int, hi: int) -> None:
        self.lo, self.hi = lo, hi

    @abstractmethod
    def left(self, case: Case, p: Poly) -> Poly:
        """What p leaves over."""

    @abstractmethod
    def allowed(self, p: Poly) -> tuple[Poly, Poly]:
        """The least and the most that it may leave over."""

    def met(self, case: Case, p: Poly) -> bool:
        """Whether p is the result, for both truths of the last comparison in it, and of an equality."""
        met = sorted({a for k in p for a in k})
        if not all(a in case.truths for a in met):
            return False
        split = [a for a in met if not case.truths[a].equality][-1:] + [a for a in met if case.truths[a].equality]
        return len(split) < 3 and all(self.within(case, p, list(zip(split, truths, strict=True)))
                                      for truths in np.ndindex(*(2,) * len(split)))

    def within(self, case: Case, p: Poly, truths: list[tuple[int, int]]) -> bool:
        """The same where truths are known: what p leaves over is a multiple of what was compared, and bounded as that is."""
        def now(q: Poly) -> Poly:
            for atom, truth in truths:
                q = fixed(q, atom, truth)
            return q
        p = now(p)
        left = self.left(case, p)
        low, high = self.allowed(p)
        above = below = False
        for comparison, truth in [*((case.truths[a], t) for a, t in truths), *case.decided[-DECIDED:]]:
            is_, least, most = (now(q) for q in comparison.where(truth))
            key = max((k for k in is_ if k in left), key=len, default=())
            factor = Fraction(left[key], is_[key]) if key else Fraction(0)
            if factor > 0:
                rest = plus(left, is_, -factor)
                above |= case.least(plus(plus(rest, least, factor), low, -1)) >= 0
                below |= case.least(plus(high, plus(rest, most, factor), -1)) >= 0
        return above and below


class RootGoal(Goal):
    """x - p * p lies in 0..2 * p."""

    def __init__(self, x: Poly, lo: int, hi: int) -> None:
        super().__init__(lo, hi)
        self.x = x

    def left(self, case: Case, p: Poly) -> Poly:
        return plus(self.x, case.times(p, p), -1)

    def allowed(self, p: Poly) -> tuple[Poly, Poly]:
        return {}, scaled(p, 2)


class QuotientGoal(Goal):
    """2 * a - 2 * p * d lies in what the mode allows, for the rounded a / d."""

    def __init__(self, a: Poly, d: Poly, mode: str, lo: int, hi: int) -> None:
        super().__init__(lo, hi)
        self.a, self.d, self.mode = a, d, mode

    def left(self, case: Case, p: Poly) -> Poly:
        return plus(scaled(self.a, 2), case.times(p, self.d), -2)

    def allowed(self, p: Poly) -> tuple[Poly, Poly]:
        exact = self.mode in ("FLOOR", "HALF_CEIL"), self.mode in ("CEIL", "HALF_FLOOR")
        if self.mode == "ROUND":
            exact = (all(c % 2 == 0 for c in p.values()),) * 2
        low = {"FLOOR": 0, "CEIL": -2}.get(self.mode, -1)
        ends = scaled(self.d, low), scaled(self.d, low + 2)
        return plus(ends[0], constant(0 if exact[0] else 1)), plus(ends[1], constant(0 if exact[1] else -1))

    def reached(self, code: int) -> Poly:
        """At least 0 where the result is `code` or more."""
        return plus(plus(scaled(self.a, 2), self.d, -2 * code), self.allowed(constant(code))[0], -1)


# -- elements ------------------------------------------------------------------------------------------------------------


class Element(NamedTuple):
    """An element's program: its lines up to the element's own, and its operands as polynomials."""

    lines: Any
    arg: Any
    shift: Any
    neg: Any
    variables: Any
    size: int
    operands: list[Poly]

    def reach(self) -> dict[tuple[int, int], int]:
        """Up to which bit a line, shifted, is sliced."""
        found: dict[tuple[int, int], int] = {}
        for line in self.lines[:self.size]:
            if line[CODE] == Op.BITS:
                at = int(self.arg[line[FIRST]]), int(self.shift[line[FIRST]])
                found[at] = max(found.get(at, 0), int(line[IMM] + line[AUX]))
        return found

    def key(self) -> bytes:
        """Equal for elements that differ in their rows only."""
        return b"".join(np.ascontiguousarray(x).tobytes() for x in (
            self.lines[:, :ROW], self.arg, self.shift, self.neg, self.variables, np.array(self.size)))


def element(programs: Programs, i: int) -> Element | None:
    """Element i, where it has a program."""
    lines = programs.lines[programs.first[i]:programs.first[i + 1]]
    if len(lines) == 0:
        return None
    args = slice(programs.arg_first[i], programs.arg_first[i + 1])
    variables = programs.variables[programs.variable_first[i]:programs.variable_first[i + 1]]
    operands = [leaf(lines[at]) for at in programs.operands[i] if at >= 0]
    return Element(lines, programs.arg[args], programs.shift[args], programs.neg[args], variables, int(programs.root[i]) + 1, operands)


def cases(e: Element, wanted: Quotient | Root) -> Iterator[tuple[Case, Poly | None]]:
    """All values of the operands, and what the element must be there; None: what the case looks for."""
    if isinstance(wanted, Root):
        yield Case(e, [], RootGoal(e.operands[0], wanted.least, wanted.most)), None
    else:
        yield from quotient_cases(e, wanted)


def quotient_cases(e: Element, q: Quotient) -> Iterator[tuple[Case, Poly | None]]:
    """Numerators of either sign, where the mode looks at it; and codes below, within and above the range."""
    n, d = e.operands
    a, divisor = plus(scaled(n, q.mul), d, q.add), scaled(d, q.div)
    signs = zip(([a], [plus(scaled(a, -1), constant(-1))]), SIGNED[q.rounding], strict=True) if q.rounding in SIGNED else (
        [([], q.rounding)])
    for sign, mode in signs:
        goal = QuotientGoal(a, divisor, mode, q.least, q.most)
        # a tie may be told from the even code beside it, which the clip makes the same
        even, tie = goal.reached(q.least - q.least % 2), QuotientGoal(a, divisor, "HALF_CEIL", 0, 0).reached(q.most + 1)
        first, beyond = goal.reached(q.least), goal.reached(q.most + 1)
        yield Case(e, [*sign, below(even)], None), constant(q.lo)
        if even != first:
            yield Case(e, [*sign, even, below(first)], QuotientGoal(a, divisor, mode, q.least - 1, q.least - 1)), constant(q.lo)
        yield Case(e, [*sign, first, below(tie if mode == "ROUND" else beyond)], goal), None
        if mode == "ROUND" and tie != beyond:
            yield Case(e, [*sign, tie, below(beyond)], None), constant(q.most)
        yield Case(e, [*sign, beyond], None), constant(q.hi)


def below(p: Poly) -> Poly:
    """At least 0 where p is negative."""
    return plus(scaled(p, -1), constant(-1))


def proven(e: Element, wanted: Quotient | Root) -> Any:
    """Whether the element is what it should be in every case: its lines that are within their bounds; or None."""
    fits = np.ones(e.size, np.bool_)
    try:
        for case, result in cases(e, wanted):
            value = case.run() if case.possible else None
            if value not in (None, case.result if result is None else result):
                return None
            if value is not None:
                fits &= [case.fits(k) for k in range(e.size)]
    except Unproven:
        return None
    return fits
