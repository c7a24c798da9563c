"""Moves the bias of a layer in front of thresholds to where comparing takes the fewest LUTs.

x >= t reads the bits of x from the lowest one of t up. A constant added to x and t alike rides for free in the sum x, so one level can
always become 0, which the sign alone tells, or a power of two, which the highest bit of an unsigned x tells. A neuron of one bit needs
no comparison then, nor the table that a narrow sum would have, nor an inverter: where -x >= t is asked, the weights change their signs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.compiler.passes.absorb_bias import common, per_output, with_bias, with_biases
from gatewright.compiler.passes.base import PassResult
from gatewright.ir.fixed import MAX_WIDTH, Ints, trailing_zeros
from gatewright.ir.graph import Graph, Op
from gatewright.ir.netlist import widths
from gatewright.ir.ops import Conv, Dense, Table, Thresholds

MOST_LEVELS = 64
"""Where there are more, that one of them is cheaper is next to nothing."""

NEVER = 1 << 40
"""The price of sums that are too wide for a code."""


@dataclass(frozen=True)
class AlignLevels:
    """Case: a Dense or Conv that only one Thresholds reads, or one Table that is a step of one for every element, with the same levels
    along all axes but that of the bias."""

    name: ClassVar[str] = "align-levels"

    def run(self, graph: Graph) -> PassResult:
        return with_biases(graph, aligned)


def aligned(op: Op, source: Dense | Conv, operands: list[Op]) -> tuple[Dense | Conv, Op] | None:
    """The layer with the bias for which its levels are cheapest, and these moved with it; None where they are so already."""
    steps = one_step(op, source) if isinstance(op, Table) else op
    if not isinstance(steps, Thresholds):
        return None
    layer, steps = turned(steps, source, operands)
    add = best_constant(steps, layer)
    if layer is source and not add.any():
        return None
    return with_bias(layer, layer.bias + add, operands), moved(steps, layer, add)


def one_step(op: Table, source: Op) -> Op:
    """The table as one threshold, or as it is where an element takes other than two neighbouring values, or changes more than once."""
    if (op.type.hi - op.type.lo > 1).any():
        return op
    count = op.values.shape[-1]
    changed = np.where(np.diff(op.values, axis=-1) != 0, np.arange(1, count), count)
    nearest = np.minimum.accumulate(changed[..., ::-1], axis=-1)[..., ::-1]
    following = np.concatenate([nearest, np.full((*op.values.shape[:-1], 1), count)], axis=-1)  # entry that differs from the one before it

    def of(table: Ints, entry: Ints) -> Ints:
        wide = np.broadcast_to(table, (*op.type.shape, count))
        return np.take_along_axis(wide, np.minimum(entry, count - 1)[..., None], axis=-1)[..., 0]

    first, last = source.type.lo - op.first, source.type.hi - op.first
    at = of(following, first)
    if (of(following, at)[at <= last] <= last[at <= last]).any():
        return op
    before, behind = of(op.values, first), of(op.values, last)
    falls, at = behind < before, np.minimum(at, last + 1) + op.first
    return Thresholds(name=op.name, inputs=op.inputs, node=op.node, type=op.type, sign=common(np.where(falls, -1, 1)),
                      levels=np.where(falls, 1 - at, at)[..., None], base=common(np.minimum(before, behind)))


def turned(op: Thresholds, source: Dense | Conv, operands: list[Op]) -> tuple[Dense | Conv, Thresholds]:
    """The layer with the opposite weights where its one level falls: a sum flips its operands for nothing, and the bit is no inverter."""
    sign = per_output(source, np.broadcast_to(op.sign, op.type.shape))
    if sign is None or op.levels.shape[-1] != 1 or (sign > 0).all() or widths(-source.type.hi, -source.type.lo).max() > MAX_WIDTH:
        return source, op
    factor = sign.reshape(-1, *(1,) * (source.weight.ndim - 1)) if isinstance(source, Conv) else sign
    layer = with_bias(replace(source, weight=source.weight * factor), source.bias * sign, operands)
    return layer, replace(op, sign=np.ones((), np.int64))


def moved(op: Thresholds, source: Dense | Conv, add: Ints) -> Thresholds:
    """The same function of x + add."""
    constant = add.reshape(-1, *(1,) * (len(op.type.shape) - 1)) if isinstance(source, Conv) else add
    return replace(op, levels=op.levels + np.broadcast_to(op.sign * constant, op.type.shape)[..., None])


def best_constant(op: Thresholds, source: Dense | Conv) -> Ints:
    """What to add to the bias of every output; 0 where its levels are not the same everywhere, or many."""
    none = np.zeros_like(source.bias)
    shape, count = op.type.shape, op.levels.shape[-1]
    levels = np.broadcast_to(op.levels, (*shape, count))
    up = np.where(np.broadcast_to(op.sign, shape)[..., None] > 0, levels, 1 - levels[..., ::-1])  # -x >= t is not (x >= 1 - t)
    same = [per_output(source, up[..., k]) for k in range(count)]
    level = np.array([v for v in same if v is not None])
    if not 0 < count <= MOST_LEVELS or len(level) < count:
        return none
    others = tuple(range(1, len(shape))) if isinstance(source, Conv) else tuple(range(len(shape) - 1))
    lo, hi = source.type.lo.min(axis=others), source.type.hi.max(axis=others)
    reached = (level > lo) & (level <= hi)
    best, least = none, price(lo, hi, level, reached)
    for k in range(count):
        highest = np.int64(1) << widths(none, np.maximum(level[k] - 1 - lo, hi - level[k]))  # bit of an unsigned x
        for place in (highest, none):
            constant = np.where(reached[k], place - level[k], 0)
            cost = price(lo + constant, hi + constant, level + constant, reached)
            best, least = np.where(cost < least, constant, best), np.minimum(cost, least)
    return best


def price(lo: Ints, hi: Ints, level: Ints, reached: Ints) -> Ints:
    """Twice the LUTs of sums of lo..hi [n] and of their comparisons with levels [count, n]; one less of unsigned sums, of which the highest
    bit may be the carry out of the others' chain."""
    width = widths(lo, hi)
    inputs = np.maximum(width - trailing_zeros(level), 1)
    luts = 2 * (width + (reached * ((inputs + 3) // 5)).sum(axis=0)) - (lo >= 0)
    return np.where(width > MAX_WIDTH, NEVER, luts)
