"""Convolutions, window sums and extremes to rows."""

from __future__ import annotations

import math

import numpy as np

from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.lower.terms import Rows
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.ops import Conv, ExtremePool, ReduceExtreme, SumPool
from gatewright.ir.ops.window import extreme


def conv(op: Conv, operands: list[Rows], b: NetlistBuilder) -> Rows:
    """One weighted sum per output element, over the taps that meet the input and have a weight."""
    x, = operands
    met = op.window(x.shape).flat()
    out, inner = op.weight.shape[:2]
    positions = met.shape[1]
    weight = op.weight.reshape(out, inner, -1)
    o, i, k = np.nonzero(weight)
    channel = o // (out // op.groups) * inner + i
    element = met[k]  # [terms of one position, positions]
    there = element >= 0
    row = x.reshape(len(x), -1)[channel[:, None], np.maximum(element, 0)][there]
    target = (o[:, None] * positions + np.arange(positions))[there]
    value = np.broadcast_to(weight[o, i, k][:, None], there.shape)
    padding = weight.sum(axis=1) @ (met < 0) * op.fill  # [outputs, positions]
    imm = op.bias[:, None] + padding
    return weighted_sums(b, target, row, value[there], imm, op.type.lo, op.type.hi).reshape(op.type.shape)


def sum_pool(op: SumPool, operands: list[Rows], b: NetlistBuilder) -> Rows:
    rows, target = windows(op, operands[0])
    there = rows >= 0
    rows, target = rows[there], np.broadcast_to(target, there.shape)[there]
    return weighted_sums(b, target, rows, np.ones(len(rows)), np.zeros(op.type.size), op.type.lo, op.type.hi).reshape(
        op.type.shape)


def windows(op: SumPool | ExtremePool, x: Rows) -> tuple[Ints, Ints]:
    """Rows that every window meets, [taps, outputs], -1 for padding; and the outputs' numbers."""
    met = op.window(x.shape).flat()
    rows = np.where(met[:, None] >= 0, x.reshape(len(x), -1)[:, np.maximum(met, 0)].transpose(1, 0, 2), -1)
    return rows.reshape(len(met), -1).astype(np.int64), np.arange(len(x) * met.shape[1])


def extreme_pool(op: ExtremePool, operands: list[Rows], b: NetlistBuilder) -> Rows:
    rows, _ = windows(op, operands[0])
    return tournament(b, rows, op.largest).reshape(op.type.shape)


def reduce_extreme(op: ReduceExtreme, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x, = operands
    last = np.moveaxis(x, op.axes, tuple(range(len(op.axes))))
    count = math.prod(x.shape[a] for a in op.axes)
    return tournament(b, last.reshape(count, -1).astype(np.int64), op.largest).reshape(op.type.shape)


def tournament(b: NetlistBuilder, rows: Ints, largest: int) -> Rows:
    """The extreme of every column of `rows` [candidates, columns], -1 for none, by rounds of pairs."""
    rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=0, kind="stable"), axis=0)  # candidates first
    while len(rows) > 1:
        half = (len(rows) + 1) // 2
        first, second = rows[:half].copy(), rows[half:]
        match = second >= 0
        a, c = first[:len(second)][match], second[match]
        first[:len(second)][match] = winner(b, a, c, largest)
        rows = first
    return np.asarray(rows[0], np.int32)


def winner(b: NetlistBuilder, a: Ints, c: Ints, largest: int) -> Ints:
    """The larger (or smaller) of two rows; where their ranges decide, no hardware."""
    a_wins = b.lo[a] >= b.hi[c] if largest else b.hi[a] <= b.lo[c]
    c_wins = b.lo[c] >= b.hi[a] if largest else b.hi[c] <= b.lo[a]
    result = np.where(a_wins, a, c)
    contested = np.flatnonzero(~(a_wins | c_wins))
    if len(contested):
        p, q = a[contested], c[contested]
        pick, _ = extreme(largest)
        bounds = pick(b.lo[p], b.lo[q]), pick(b.hi[p], b.hi[q])
        result[contested] = b.select(b.ge(p, q), *((p, q) if largest else (q, p)), bounds=bounds)
    return result
