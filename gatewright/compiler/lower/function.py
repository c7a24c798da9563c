"""Requant, thresholds and tables to rows. Rows that an element does not need (a clip that cannot act) are not built."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.compiler.lower.sums import Rows, weighted_sums
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder, widths
from gatewright.ir.ops import Requant, Table, Thresholds
from gatewright.ir.ops.function import WRAP


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
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    unit = (np.int64(1) << shift) - 1
    act = shift > 0
    constant = {"FLOOR": 0 * half, "CEIL": unit, "HALF_CEIL": half, "HALF_FLOOR": half - act}
    if mode in constant:
        return shifted(b, affine(b, x, mul, add + constant[mode]), shift)
    v = affine(b, x, mul, add)
    rows = v.copy()
    i = np.flatnonzero(act)  # without a shift there is nothing to round
    v, half, unit = v[i], half[i], unit[i]
    if mode == "ROUND":  # + half - 1 + the bit that says whether the result would be odd
        odd = b.bits(v, shift[i], 1, False)
        rows[i] = b.sum2(v, 0, False, odd, 0, False, half - 1)
    else:
        rows[i] = sign_dependent(b, v, half, unit, mode)
    return shifted(b, rows, shift)


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
    rows = v.copy()
    i = np.flatnonzero(b.hi[rows] > hi)
    if len(i):
        over = b.ge(rows[i], b.const(hi[i] + 1))
        rows[i] = b.select(over, b.const(hi[i]), rows[i], bounds=(np.minimum(b.lo[rows[i]], hi[i]), hi[i]))
    i = np.flatnonzero(b.lo[rows] < lo)
    if len(i):
        inside = b.ge(rows[i], b.const(lo[i]))
        rows[i] = b.select(inside, rows[i], b.const(lo[i]), bounds=(lo[i], np.maximum(b.hi[rows[i]], lo[i])))
    return rows


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
    """base + number of levels reached. For sign -1, -x >= t is not (x >= 1 - t): one minus that comparison."""
    shape = op.type.shape
    x = np.array(np.broadcast_to(operands[0], shape)).reshape(-1)
    sign, base = flat(op.sign, shape), flat(op.base, shape)
    levels = np.broadcast_to(op.levels, (*shape, op.levels.shape[-1])).reshape(len(x), -1)
    reach_lo, reach_hi = np.minimum(sign * b.lo[x], sign * b.hi[x]), np.maximum(sign * b.lo[x], sign * b.hi[x])
    always = (levels <= reach_lo[:, None]).sum(axis=1)
    element, k = np.nonzero((levels > reach_lo[:, None]) & (levels <= reach_hi[:, None]))
    s = sign[element]
    level = np.where(s > 0, levels[element, k], 1 - levels[element, k])
    bit = b.ge(x[element], b.const(level)) if len(element) else np.zeros(0, np.int32)
    imm = base + always + np.bincount(element[s < 0], minlength=len(x))
    return weighted_sums(b, element, bit, s, imm, op.type.lo, op.type.hi).reshape(shape)


def table(op: Table, operands: list[Rows], b: NetlistBuilder) -> Rows:
    shape = op.type.shape
    x = np.array(np.broadcast_to(operands[0], shape)).reshape(-1)
    values = np.broadcast_to(op.values, (*shape, op.values.shape[-1])).reshape(len(x), -1)
    first, last = b.lo[x] - op.first, b.hi[x] - op.first
    ids = np.array([b.intern(v[i:j + 1]) for v, i, j in zip(values, first, last, strict=True)], np.int64)
    return b.table(x, ids, b.lo[x], bounds=(op.type.lo.reshape(-1), op.type.hi.reshape(-1))).reshape(shape)
