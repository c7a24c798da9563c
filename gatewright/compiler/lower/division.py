"""Quotients and square roots to rows: digit by digit, a subtraction and a selection each (restoring, radix 2; Ercegovac and
Lang, Digital Arithmetic, 2004, sections 5.1 and 6.2)."""

from __future__ import annotations

import numpy as np

from gatewright.compiler.lower.function import clipped, flat
from gatewright.compiler.lower.linear import spread
from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.lower.terms import Rows
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder, widths
from gatewright.ir.ops import Divide, SquareRoot

NEAREST = ("ROUND", "HALF_UP", "HALF_DOWN", "HALF_CEIL", "HALF_FLOOR")


def divide(op: Divide, operands: list[Rows], b: NetlistBuilder) -> Rows:
    """clip(round((mul * n + add * d) / (div * d))): every rounding is a floor of (a + what the mode adds) / c for c = div * d
    or twice that, and perhaps one cleared bit. The floor is taken from `base` on, in as many bits as the range has."""
    shape = op.type.shape
    n, d = (spread(x, shape).reshape(-1) for x in operands)
    mul, add, div, lo, hi = (flat(v, shape) for v in (op.mul, op.add, op.div, op.lo, op.hi))
    lo, hi = np.maximum(lo, op.type.lo.reshape(-1)), np.minimum(hi, op.type.hi.reshape(-1))
    twice = np.where((div & 1 == 1) & (op.rounding in NEAREST), 2, 1)
    a = linear(b, n, d, twice * mul, twice * add)
    unit = twice * div
    base = lo & -2 if op.rounding == "ROUND" else lo  # even: the parity of the code is the lowest bit of the quotient
    total = biased(b, a, d, unit, op.rounding)
    rest = linear(b, total, d, np.ones_like(unit), -base * unit)
    divisor = linear(b, d, d, unit, np.zeros_like(unit))
    bits = int((hi - base).max()).bit_length()
    quotient, remainder = long_division(b, rest, divisor, bits)
    if op.rounding == "ROUND" and bits:  # exactly between two codes: the even one
        tie = b.eq(remainder, b.const(np.zeros(len(n), np.int64)))
        zeros = b.const(np.zeros(len(n), np.int64))
        quotient[0] = b.select(tie, zeros, quotient[0])
    code = joined(b, quotient, base)
    beyond = linear(b, rest, d, np.ones_like(unit), -(hi + 1 - base) * unit)
    code = overridden(b, code, beyond, hi, above=True)
    code = overridden(b, code, rest, lo, above=False)
    return clipped(b, code, lo, hi).reshape(shape)


def linear(b: NetlistBuilder, x: Rows, y: Rows, p: Ints, q: Ints) -> Rows:
    """p * x + q * y"""
    ends = [(s * b.lo[rows], s * b.hi[rows]) for s, rows in ((p, x), (q, y))]
    lo, hi = (sum(pick(*e) for e in ends) for pick in (np.minimum, np.maximum))
    return weighted_sums(b, np.tile(np.arange(len(x)), 2), np.concatenate([x, y]), np.concatenate([p, q]), 0 * p, lo, hi)


def biased(b: NetlistBuilder, a: Rows, d: Rows, unit: Ints, mode: str) -> Rows:
    """a plus what turns the floor of the quotient by unit * d into its rounding; at ties, ROUND is left to round up."""
    ones, minus = np.ones_like(unit), np.full_like(unit, -1)
    up = linear(b, a, d, ones, unit // 2 if mode in NEAREST else unit)
    if mode in ("ROUND", "HALF_CEIL"):
        return up
    if mode == "FLOOR":
        return a
    down = b.sum1(up, 0, False, minus)
    if mode in ("CEIL", "HALF_FLOOR"):
        return down
    positive = b.ge(a, b.const(np.zeros(len(a), np.int64)))
    above, below = {"HALF_UP": (up, down), "HALF_DOWN": (down, up), "UP": (down, a), "DOWN": (a, down)}[mode]
    return b.select(positive, above, below)


def long_division(b: NetlistBuilder, x: Rows, y: Rows, bits: int) -> tuple[list[Rows], Rows]:
    """The bits of floor(x / y), lowest first, and the remainder, for 0 <= x < y << bits. Other x give bits without a meaning:
    remainders are cut to the width of y."""
    wide = widths(b.lo[y], b.hi[y])
    rest = b.bits(x, bits, wide, False)
    quotient: list[Rows] = []
    for k in reversed(range(bits)):
        rest = b.sum2(rest, 1, False, b.bits(x, k, 1, False), 0, False)
        less = b.sum2(rest, 0, False, y, 0, True)
        fits = b.ge(less, b.const(np.zeros(len(x), np.int64)))
        rest = b.select(fits, b.bits(less, 0, wide, False), b.bits(rest, 0, wide, False))
        quotient.insert(0, fits)
    return quotient, rest


def joined(b: NetlistBuilder, bits: list[Rows], base: Ints) -> Rows:
    """The number with these bits, lowest first, plus base."""
    count = len(base)
    out = np.tile(np.arange(count), len(bits))
    weight = np.repeat(1 << np.arange(len(bits)), count)
    rows = np.concatenate(bits) if bits else np.zeros(0, np.int32)
    return weighted_sums(b, out, rows, weight, base, base, base + (1 << len(bits)) - 1)


def overridden(b: NetlistBuilder, code: Rows, sign: Rows, value: Ints, above: bool) -> Rows:
    """`code`, or `value` where `sign` is not negative (`above`), or where it is negative."""
    rows = code.copy()
    i = np.flatnonzero(b.hi[sign] >= 0 if above else b.lo[sign] < 0)
    if len(i):
        at_least = b.ge(sign[i], b.const(np.zeros(len(i), np.int64)))
        other = b.const(value[i])
        rows[i] = b.select(at_least, other, rows[i]) if above else b.select(at_least, rows[i], other)
    return rows


def square_root(op: SquareRoot, operands: list[Rows], b: NetlistBuilder) -> Rows:
    """floor(sqrt(x)), two bits of x at a time: after m digits the remainder is at most twice the root."""
    x = operands[0].reshape(-1)
    bits = int(op.type.hi.max()).bit_length()
    zero = b.const(np.zeros(len(x), np.int64))
    root = rest = zero
    for m, k in enumerate(reversed(range(bits)), 1):
        rest = b.sum2(rest, 2, False, b.bits(x, 2 * k, 2, False), 0, False)
        less = b.sum2(rest, 0, False, root, 2, True, -1)
        fits = b.ge(less, zero)
        rest = b.select(fits, less, rest, bounds=(0, 2 * ((1 << m) - 1)))
        root = b.sum2(root, 1, False, fits, 0, False)
    bounds = op.type.lo.reshape(-1), op.type.hi.reshape(-1)
    return b.sum1(root, bounds=bounds).reshape(op.type.shape)
