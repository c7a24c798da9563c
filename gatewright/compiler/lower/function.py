"""Requant, thresholds and tables to rows. Rows that an element does not need (a clip that cannot act) are not built."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.lower.terms import Rows
from gatewright.ir.fixed import Ints, trailing_zeros
from gatewright.ir.netlist import NetlistBuilder, widths
from gatewright.ir.ops import Requant, Table, Thresholds
from gatewright.ir.ops.function import WRAP, half_of, round_shift

TABLE_BITS = 6
"""Inputs of a table that is one LUT per bit."""

DIRECT_BITS = 5
"""Bits below the point up to which one table tells a half: with the bit above, a LUT's six inputs."""


def flat(values: Any, shape: tuple[int, ...]) -> Ints:
    return np.array(np.broadcast_to(values, shape), np.int64).reshape(-1)


def requant(op: Requant, operands: list[Rows], b: NetlistBuilder) -> Rows:
    """limit(round((mul * x + add) / 2**shift))"""
    shape = op.type.shape
    x = np.array(np.broadcast_to(operands[0], shape)).reshape(-1)
    mul, add, shift, lo, hi = (flat(v, shape) for v in (op.mul, op.add, op.shift, op.lo, op.hi))
    rows = rounded(b, x, mul, add, shift, op.rounding)
    limit = wrapped if op.overflow == WRAP else clipped
    return limit(b, rows, lo, hi).reshape(shape)


def affine(b: NetlistBuilder, x: Rows, mul: Ints, add: Ints) -> Rows:
    """mul * x + add, with exact bounds."""
    a, c = mul * b.lo[x] + add, mul * b.hi[x] + add
    return weighted_sums(b, np.arange(len(x)), x, mul, add, np.minimum(a, c), np.maximum(a, c))


def rounded(b: NetlistBuilder, x: Rows, mul: Ints, add: Ints, shift: Ints, mode: str) -> Rows:
    """round((mul * x + add) / 2**shift): every mode is a floor after adding a constant and perhaps one bit."""
    half = half_of(shift)
    unit = (np.int64(1) << shift) - 1
    act = shift > 0
    constant = {"FLOOR": 0 * half, "CEIL": unit, "HALF_CEIL": half, "HALF_FLOOR": half - act}
    if mode in constant:
        return shifted(b, affine(b, x, mul, add + constant[mode]), shift)
    if mode == "ROUND":
        return half_even(b, affine(b, x, mul, add + half), shift)
    v = affine(b, x, mul, add)
    rows = v.copy()
    i = np.flatnonzero(act)  # without a shift there is nothing to round
    rows[i] = sign_dependent(b, v[i], half[i], unit[i], mode)
    return shifted(b, rows, shift)


def half_even(b: NetlistBuilder, v: Rows, shift: Ints) -> Rows:
    """round(x / 2**shift), halves to even, of v = x + half: the floor, with its last bit cleared where x was at a half.

    There v has no bits below the point. A table of those and the one above makes the last bit; many are first reduced
    to "any of them".
    """
    rows = shifted(b, v, shift)
    for s in np.unique(shift[shift > 0]).tolist():
        i = np.flatnonzero(shift == s)
        if s > DIRECT_BITS:
            rest = b.ge(b.bits(v[i], 0, s, False), b.const(np.ones(len(i), np.int64)))
            low, known = b.sum2(rest, 0, False, b.bits(v[i], s, 1, False), 1, False), 1
        else:
            low, known = b.bits(v[i], 0, s + 1, False), s
        codes = np.arange(1 << known + 1)
        last = b.table(low, [(codes >> known) & (codes & (1 << known) - 1 > 0)], 0)
        lo, hi = (round_shift(bound[v[i]] - (1 << s - 1), shift[i], "ROUND") for bound in (b.lo, b.hi))
        above = shifted(b, rows[i], np.ones(len(i), np.int64))
        rows[i] = b.sum2(last, 0, False, above, 1, False, bounds=(lo, hi))
    return rows


def sign_dependent(b: NetlistBuilder, v: Rows, half: Ints, unit: Ints, mode: str) -> Rows:
    """v plus what DOWN, UP, HALF_UP or HALF_DOWN adds before the floor, which depends on the sign of v."""
    if_negative, if_positive = {"DOWN": (unit, 0 * unit), "UP": (0 * unit, unit),
                                "HALF_UP": (half - 1, half), "HALF_DOWN": (half, half - 1)}[mode]
    lo, hi = b.lo[v], b.hi[v]
    rows = v.copy()
    known = (lo >= 0) | (hi < 0)
    rows[known] = affine(b, v[known], np.ones(int(known.sum()), np.int64), np.where(lo >= 0, if_positive, if_negative)[known])
    i = np.flatnonzero(~known)
    if len(i):
        positive = b.ge(v[i], b.const(np.zeros(len(i), np.int64)))
        step = if_positive[i] - if_negative[i]
        if mode in ("HALF_UP", "HALF_DOWN"):  # the two differ by one: the comparison itself is added
            rows[i] = b.sum2(v[i], 0, False, positive, 0, step < 0, if_negative[i])
        else:
            ones = np.ones(len(i), np.int64)
            rows[i] = b.select(positive, affine(b, v[i], ones, if_positive[i]), affine(b, v[i], ones, if_negative[i]))
    return rows


def shifted(b: NetlistBuilder, v: Rows, shift: Ints) -> Rows:
    """floor(v / 2**shift)"""
    rows = v.copy()
    i = np.flatnonzero(shift)
    if len(i):
        width = np.maximum(widths(b.lo[v[i]], b.hi[v[i]]) - shift[i], 1)
        rows[i] = b.bits(v[i], shift[i], width, b.lo[v[i]] < 0)
    return rows


def clipped(b: NetlistBuilder, v: Rows, lo: Ints, hi: Ints) -> Rows:
    """v limited to lo..hi: its low bits where it lies between, both comparisons beside them, a LUT per bit of the result."""
    rows = v.copy()
    low, high = b.lo[v] < lo, b.hi[v] > hi
    i = np.flatnonzero(low | high)
    x, lo, hi, low, high = v[i], lo[i], hi[i], low[i], high[i]
    least, most = np.clip(b.lo[x], lo, hi), np.clip(b.hi[x], lo, hi)
    result = b.bits(x, 0, widths(least, most), least < 0)
    k = np.flatnonzero(low)
    reach = (np.where(high[k], b.lo[result[k]], least[k]), np.where(high[k], b.hi[result[k]], most[k]))
    reach = (np.minimum(reach[0], lo[k]), np.maximum(reach[1], lo[k]))
    result[k] = b.select(at_least(b, x[k], lo[k]), result[k], b.const(lo[k]), bounds=reach)
    k = np.flatnonzero(high)
    result[k] = b.select(at_least(b, x[k], hi[k] + 1), b.const(hi[k]), result[k], bounds=(least[k], most[k]))
    rows[i] = result
    return rows


def at_least(b: NetlistBuilder, v: Rows, constant: Ints) -> Rows:
    """v >= constant, without the bits of v below the constant's lowest one: they cannot decide."""
    width = widths(b.lo[v], b.hi[v])
    skip = np.minimum(trailing_zeros(constant), width - 1)
    return b.ge(shifted(b, v, skip), b.const(constant >> skip))


def wrapped(b: NetlistBuilder, v: Rows, lo: Ints, hi: Ints) -> Rows:
    """v reduced modulo hi - lo + 1, a power of two, into lo..hi: a slice where the range is a type's own."""
    width = np.round(np.log2((hi - lo + 1).astype(np.float64))).astype(np.int64)
    natural = np.where((lo == 0) | (lo == -(hi + 1)), 0, lo)
    rows = v.copy()
    i = np.flatnonzero((b.lo[v] < lo) | (b.hi[v] > hi))
    if len(i):
        ones = np.ones(len(i), np.int64)
        moved = affine(b, v[i], ones, -natural[i])
        cut = b.bits(moved, 0, width[i], (natural[i] == 0) & (lo[i] < 0))
        rows[i] = affine(b, cut, ones, natural[i])
    return rows


def thresholds(op: Thresholds, operands: list[Rows], b: NetlistBuilder) -> Rows:
    """base + number of levels reached: comparisons, their count read off as a binary number, and a small table.

    For sign -1, -x >= t is not (x >= 1 - t), so the levels that are *not* reached are counted, from the last one on.
    """
    shape = op.type.shape
    x = np.array(np.broadcast_to(operands[0], shape)).reshape(-1)
    sign, base = flat(op.sign, shape), flat(op.base, shape)
    levels = np.broadcast_to(op.levels, (*shape, op.levels.shape[-1])).reshape(len(x), -1)
    count = levels.shape[1]
    if not count:
        return b.const(base).reshape(shape)
    up = np.where(sign[:, None] > 0, levels, 1 - levels[:, ::-1])  # ascending either way
    reached = np.where(up <= b.lo[x][:, None], 1, 0)
    element, k = np.nonzero((up > b.lo[x][:, None]) & (up <= b.hi[x][:, None]))
    bits = b.const(reached.reshape(-1)).reshape(reached.shape)
    if len(element):
        bits[element, k] = at_least(b, x[element], up[element, k])
    code, width = binary(b, bits)
    lo, hi = op.type.lo.reshape(-1), op.type.hi.reshape(-1)
    if width > TABLE_BITS:
        imm = np.where(sign > 0, base, base + count)
        rows = weighted_sums(b, np.arange(len(x)), code, sign, imm, lo, hi)
    else:
        codes = np.minimum(np.arange(1 << width), count)
        ids = np.array([b.intern(v + (codes if s > 0 else count - codes)) for v, s in zip(base, sign, strict=True)], np.int64)
        rows = b.table(code, ids, 0, bounds=(lo, hi))
    return rows.reshape(shape)


def binary(b: NetlistBuilder, bits: Rows) -> tuple[Rows, int]:
    """The number of ones in `bits` [elements, count], which come before the zeros, and its width: halving by selection."""
    width = int(bits.shape[1]).bit_length()
    zeros = b.const(np.zeros(bits.shape[0] * ((1 << width) - 1 - bits.shape[1]), np.int64)).reshape(bits.shape[0], -1)
    left = np.concatenate([bits, zeros], axis=1)
    digits = []
    for half in (1 << k for k in reversed(range(width))):
        middle, below, above = left[:, half - 1], left[:, :half - 1], left[:, half:]
        digits.append(middle)
        if half > 1:
            left = b.select(np.repeat(middle, half - 1), above.reshape(-1), below.reshape(-1)).reshape(below.shape)
    code = digits[0]
    for digit in digits[1:]:
        code = b.sum2(code, 1, False, digit, 0, False)
    return code, width


def table(op: Table, operands: list[Rows], b: NetlistBuilder) -> Rows:
    shape = op.type.shape
    x = np.array(np.broadcast_to(operands[0], shape)).reshape(-1)
    values = np.broadcast_to(op.values, (*shape, op.values.shape[-1])).reshape(len(x), -1)
    # a row's bounds may be wider than the tensor's: entries that are never looked up repeat the ends
    ids = np.array([b.intern(v[np.clip(np.arange(i, j + 1), 0, len(v) - 1)])
                    for v, i, j in zip(values, b.lo[x] - op.first, b.hi[x] - op.first, strict=True)], np.int64)
    return b.table(x, ids, b.lo[x], bounds=(op.type.lo.reshape(-1), op.type.hi.reshape(-1))).reshape(shape)
