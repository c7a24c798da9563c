"""Dense, reduce-sum, combinations and products to rows."""

from __future__ import annotations

import numpy as np

from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.lower.terms import Rows
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.ops import Combine, Dense, Multiply, ReduceSum


def spread(rows: Rows, shape: tuple[int, ...]) -> Rows:
    """Operand rows broadcast to the result's shape, as element-wise operations do."""
    return np.broadcast_to(rows.reshape((1,) * (len(shape) - rows.ndim) + rows.shape), shape)


def dense(op: Dense, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x = operands[0].reshape(-1, operands[0].shape[-1])
    count, (inner, outer) = len(x), op.weight.shape
    sample, i, j = np.broadcast_arrays(*np.ogrid[:count, :inner, :outer])
    rows = weighted_sums(b, sample * outer + j, x[sample, i], np.broadcast_to(op.weight, sample.shape),
                         np.tile(op.bias, count), op.type.lo, op.type.hi)
    return rows.reshape(op.type.shape)


def reduce_sum(op: ReduceSum, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x, = operands
    target = np.arange(op.type.size).reshape(op.type.shape)
    if not op.keepdims:
        target = np.expand_dims(target, op.axes)
    out, ones = np.broadcast_to(target, x.shape), np.ones(x.size)
    rows = weighted_sums(b, out, x, ones, np.zeros(op.type.size), op.type.lo, op.type.hi)
    return rows.reshape(op.type.shape)


def combine(op: Combine, operands: list[Rows], b: NetlistBuilder) -> Rows:
    shape, size = op.type.shape, op.type.size
    rows = np.concatenate([spread(x, shape).reshape(-1) for x in operands])
    weights = np.concatenate([np.broadcast_to(s, shape).reshape(-1) for s in op.scales])
    out = np.tile(np.arange(size), len(operands))
    return weighted_sums(b, out, rows, weights, np.broadcast_to(op.offset, shape), op.type.lo, op.type.hi).reshape(shape)


def multiply(op: Multiply, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x, y = (spread(v, op.type.shape).reshape(-1) for v in operands)
    return b.mul(x, y, bounds=(op.type.lo.reshape(-1), op.type.hi.reshape(-1))).reshape(op.type.shape)
