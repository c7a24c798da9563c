"""What the Graph says, element by element: the terms of linear operations, the constants of functions.

Written from the definitions in ir/ops, not from how lowering builds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.compiler.proof.blocks import CLIP, COUNT, MODES, ROUND, WRAP
from gatewright.compiler.proof.digits import Quotient, Root
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Op
from gatewright.ir.netlist import Op as Row
from gatewright.ir.ops import Combine, Conv, Dense, Divide, ReduceSum, Requant, SquareRoot, SumPool, Table, Thresholds, TopK
from gatewright.ir.ops.function import SATURATE
from gatewright.ir.ops.window import last

Shapes = list[tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Terms:
    """y[out] = const[out] + sum of weight * x[element] over the terms; elements of all operands one after the other."""

    out: Ints
    element: Ints
    weight: Ints
    const: Ints

    def by_output(self) -> tuple[Ints, Ints, Ints]:
        """(first, element, weight): output i has the terms first[i]:first[i + 1]."""
        first = np.concatenate([[0], np.cumsum(np.bincount(self.out, minlength=len(self.const)))])
        order = slice(None) if (np.diff(self.out) >= 0).all() else np.argsort(self.out, kind="stable")
        return first, np.array(self.element[order]), np.array(self.weight[order])  # neither read-only nor strided


def numbered(shape: tuple[int, ...], start: int = 0) -> Ints:
    """The elements' numbers, in the tensor's shape."""
    return np.arange(start, start + math.prod(shape)).reshape(shape)


def spread(x: Any, shape: tuple[int, ...]) -> Ints:
    """An element-wise operand in the result's shape, flat."""
    return np.array(np.broadcast_to(x, shape), np.int64).reshape(-1)


def operands(op: Op, shapes: Shapes) -> list[Ints]:
    """The element of each operand that an element-wise operation reads, int64[elements of the result]."""
    starts = np.cumsum([0, *(math.prod(s) for s in shapes)]).tolist()
    return [spread(numbered(s, b), op.type.shape) for s, b in zip(shapes, starts, strict=False)]


def dense(op: Dense, shapes: Shapes) -> Terms:
    inner, outer = op.weight.shape
    j, i = np.nonzero(op.weight.T)
    lead = np.arange(math.prod(shapes[0]) // inner)[:, None]
    weight = np.broadcast_to(op.weight[i, j], (len(lead), len(i)))
    return Terms((lead * outer + j).reshape(-1), (lead * inner + i).reshape(-1), weight.reshape(-1), np.tile(op.bias, len(lead)))


def reduce_sum(op: ReduceSum, shapes: Shapes) -> Terms:
    target = numbered(op.type.shape)
    if not op.keepdims:
        target = np.expand_dims(target, op.axes)
    out = spread(target, shapes[0])
    return Terms(out, np.arange(len(out)), np.ones_like(out), np.zeros(op.type.size, np.int64))


def combine(op: Combine, shapes: Shapes) -> Terms:
    shape, size = op.type.shape, op.type.size
    return Terms(np.tile(np.arange(size), len(shapes)), np.concatenate(operands(op, shapes)),
                 np.concatenate([spread(s, shape) for s in op.scales]), spread(op.offset, shape))


def conv(op: Conv, shapes: Shapes) -> Terms:
    """Padding counts `fill`: the bias, and of every tap that meets padding its weight times `fill`."""
    x, y = numbered(shapes[0]), numbered(op.type.shape)
    outer, inner = op.weight.shape[:2]
    const = np.zeros(op.type.shape, np.int64) + (op.bias + op.fill * op.weight.reshape(outer, -1).sum(axis=1)).reshape(
        -1, *(1,) * (y.ndim - 1))
    parts = []
    for tap, positions, elements in op.window(shapes[0]).taps():
        weight = op.weight[last(tap)]
        const[last(positions)] -= op.fill * weight.sum(axis=1).reshape(-1, *(1,) * (y.ndim - 1))
        o, i = np.nonzero(weight)
        read = x[last(elements)][o // (outer // op.groups) * inner + i]
        parts.append((y[last(positions)][o].reshape(-1), read.reshape(-1), np.repeat(weight[o, i], math.prod(read.shape[1:]))))
    return Terms(*_joined(parts), const.reshape(-1))


def sum_pool(op: SumPool, shapes: Shapes) -> Terms:
    x, y = numbered(shapes[0]), numbered(op.type.shape)
    parts = []
    for _, positions, elements in op.window(shapes[0]).taps():
        read = x[last(elements)].reshape(-1)
        parts.append((y[last(positions)].reshape(-1), read, np.ones_like(read)))
    return Terms(*_joined(parts), np.zeros(op.type.size, np.int64))


def move(op: Op, shapes: Shapes) -> Terms:
    """An operation that moves elements, found from its own meaning: what it makes of the elements' numbers, and of other
    numbers where it fills in a constant."""
    starts = np.cumsum([0, *(math.prod(s) for s in shapes)]).tolist()
    here, there = (op.compute([numbered(s, b + far)[None] for s, b in zip(shapes, starts, strict=False)]).reshape(-1)
                   for far in (0, starts[-1]))
    out = np.flatnonzero(here != there)
    return Terms(out, here[out], np.ones_like(out), np.where(here == there, here, 0))


def columns(op: TopK, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """What is ranked, elements of the operand in the order of their places, [columns, elements], and the results, best first,
    [columns, ranks]."""
    x, y = (np.moveaxis(numbered(s), op.axis, -1) for s in (shape, op.type.shape))
    return x.reshape(-1, x.shape[-1]), y.reshape(-1, op.count)


def _joined(parts: list[tuple[Ints, Ints, Ints]]) -> tuple[Ints, Ints, Ints]:
    out, element, weight = (np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*parts, strict=True)) if parts else (
        np.zeros((3, 0), np.int64))
    return out, element, weight


LINEAR: dict[str, Callable[[Any, Shapes], Terms]] = {
    "dense": dense, "conv": conv, "reduce_sum": reduce_sum, "sum_pool": sum_pool, "combine": combine,
    "reshape": move, "transpose": move, "take": move, "concat": move,
}
"""Operations that are linear in their operands."""


def steps(op: Requant | Thresholds | Table, table: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """A function of x as steps behind scale * x + offset, all per element: (scale, offset, steps, tables).

    `steps` int64[elements, steps, 4]: what to do and its constants, as `blocks` knows them. Tables and levels follow `table`.
    """
    shape, size = op.type.shape, op.type.size
    zero, one = np.zeros(size, np.int64), np.ones(size, np.int64)
    if isinstance(op, Requant):
        lo, hi = spread(op.lo, shape), spread(op.hi, shape)
        rounding = [one * ROUND, spread(op.shift, shape), one * MODES.index(op.rounding), zero]
        width = np.bitwise_count((hi - lo).astype(np.uint64)).astype(np.int64)
        limit = [one * CLIP, lo, hi, zero] if op.overflow == SATURATE else [one * WRAP, lo, width, zero]
        return spread(op.mul, shape), spread(op.add, shape), np.stack([np.stack(s, 1) for s in (rounding, limit)], 1), table
    held = op.levels if isinstance(op, Thresholds) else op.values
    count = held.shape[-1]
    start = len(table) + count * spread(numbered(held.shape[:-1]), shape)
    tables = np.concatenate([table, held.reshape(-1)])
    if isinstance(op, Thresholds):
        return spread(op.sign, shape), zero, np.stack([one * COUNT, start, spread(op.base, shape), one * count], 1)[:, None], tables
    return one, zero, np.stack([one * Row.TABLE, start, one * op.first, one * count], 1)[:, None], tables


def digits(op: Divide | SquareRoot, lo: Ints, hi: Ints) -> Sequence[Quotient | Root | None]:
    """What every element of an operation is that is made digit by digit; lo..hi: the range of its first operand, as far as it is known.
    None: a root of what may be negative."""
    shape = op.type.shape
    if isinstance(op, SquareRoot):
        return [Root(math.isqrt(a), math.isqrt(b)) if a >= 0 else None for a, b in zip(lo.tolist(), hi.tolist(), strict=True)]
    columns = [spread(c, shape).tolist() for c in (op.mul, op.add, op.div, op.lo, op.hi, op.type.lo, op.type.hi)]
    return [Quotient(mul, add, div, low, high, max(low, least), min(high, most), op.rounding)
            for mul, add, div, low, high, least, most in zip(*columns, strict=True)]
