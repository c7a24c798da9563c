"""Integer functions as FINN's MultiThreshold: how many thresholds a code reaches, plus a constant.

FINN makes thresholds of a quantiser's scale and rounds halves up; here they come from the Graph's exact function, by bisection, so
that a half goes where the model says.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gatewright.errors import UserError
from gatewright.ir.fixed import FixedArray, Ints, bits_for
from gatewright.ir.ops import Requant, Table, Thresholds
from gatewright.ir.ops.function import WRAP, round_shift

StepOp = Requant | Thresholds | Table
MOST_BITS = 10
"""Of the result of a MultiThreshold, which has a threshold for every code but one."""


@dataclass(frozen=True)
class Steps:
    """y = first + number of k with sign[c] * x >= levels[c, k]; `axis` is the tensor's axis of the channels c."""

    sign: Ints
    levels: Ints
    first: int
    axis: int
    ties: bool
    """Whether rounding halves up would give another code for some operand."""


def steps_of(op: StepOp, operand: FixedArray) -> Steps:
    """The thresholds of a function of one tensor. Raises UserError, naming the node, where it has none: it does not rise or fall
    all along, differs within a channel, or has too many codes."""
    one, lo, hi, axis = by_channel(op, operand)
    sign = rising(one, lo, hi)
    t = op.type.common
    bits = bits_for(t.lo, t.hi)
    if bits > MOST_BITS:
        raise UserError(f"its result has {bits} bits; FINN would need {2**bits - 1} thresholds for each channel", node=op.node,
                        remedy=f"Quantise to at most {MOST_BITS} bits, or choose the tensor before it with --outputs")
    first = -(1 << bits - 1) if t.lo < 0 else 0
    values = np.arange(first + 1, first + (1 << bits)).reshape(-1, *(1,) * lo.ndim)
    levels = bisected(one, sign, lo, hi, values)
    ties = False
    if isinstance(one, Requant) and one.rounding not in ("FLOOR", "CEIL", "HALF_CEIL"):
        ties = bool((bisected(replace(one, rounding="HALF_CEIL"), sign, lo, hi, values) != levels).any())
    channels = levels.reshape(len(values), -1).T
    return Steps(sign.reshape(-1), np.ascontiguousarray(channels), first, axis, ties)


def by_channel(op: StepOp, operand: FixedArray) -> tuple[StepOp, Ints, Ints, int]:
    """The operation on one element of every channel, the operand's bounds there, and the axis of the channels: the first along
    which alone the constants differ."""
    shape, rank = op.type.shape, len(op.type.shape)
    lo, hi = (np.broadcast_to(b.reshape((1,) * (rank - b.ndim) + b.shape), shape) for b in (operand.lo, operand.hi))
    arrays = {f.name: v for f in fields(op) if isinstance(v := getattr(op, f.name), np.ndarray)}
    for axis in range(max(rank, 1)):
        others = tuple(a for a in range(rank) if a != axis)
        cut: dict[str, Any] = {name: _cut(v, shape, others, name in ("levels", "values")) for name, v in arrays.items()}
        if all(v is not None for v in cut.values()):
            low, high = lo.min(axis=others, keepdims=True), hi.max(axis=others, keepdims=True)
            return replace(op, **cut, type=FixedArray(low, high, op.type.frac)), low, high, axis
    raise UserError("its constants differ within a channel, which FINN's thresholds do not", node=op.node,
                    remedy="Quantise with one scale for each channel")


def _cut(v: Ints, shape: tuple[int, ...], others: tuple[int, ...], listed: bool) -> Ints | None:
    """A constant with length 1 along the axes `others`, None where it differs along them. `listed`: it has one more axis."""
    whole = np.broadcast_to(v, (*shape, v.shape[-1]) if listed else shape)
    first = whole[tuple(slice(0, 1) if a in others else slice(None) for a in range(len(shape)))]
    return np.asarray(first) if (whole == first).all() else None


def rising(op: StepOp, lo: Ints, hi: Ints) -> Ints:
    """+1 where the function rises with the operand, -1 where it falls; int64 of the shape of `lo`."""
    if isinstance(op, Thresholds):
        return np.broadcast_to(op.sign, lo.shape)
    if isinstance(op, Requant):
        ends = [round_shift(np.asarray(op.mul * end + op.add), op.shift, op.rounding) for end in (lo, hi)]
        if op.overflow == WRAP and ((np.minimum(*ends) < op.lo) | (np.maximum(*ends) > op.hi)).any():
            raise UserError("it wraps, and FINN's thresholds only rise", node=op.node, remedy="Clip instead, or choose the target hls")
        return np.broadcast_to(np.where(op.mul < 0, -1, 1), lo.shape)
    span = np.arange(int((hi - lo).max()) + 1).reshape(-1, *(1,) * lo.ndim)
    change = np.diff(op.compute([np.minimum(lo + span, hi)]), axis=0)
    if ((change > 0).any(axis=0) & (change < 0).any(axis=0)).any():
        raise UserError("it neither rises nor falls all along, as FINN's thresholds do", node=op.node, remedy="Choose the target hls")
    return np.asarray(np.where((change < 0).any(axis=0), -1, 1))


def bisected(op: StepOp, sign: Ints, lo: Ints, hi: Ints, values: Ints) -> Ints:
    """For every value the least sign * x at which the function is at least that; one above the largest where it never is."""
    least = np.minimum(sign * lo, sign * hi) + np.zeros_like(values)
    above = np.maximum(sign * lo, sign * hi) + 1 + np.zeros_like(values)
    end = above.copy()
    while (least < above).any():
        middle = (least + above) >> 1
        reached = op.compute([np.where(middle < end, middle, end - 1) * sign]) >= values
        above = np.where(reached & (least < above), middle, above)
        least = np.where(reached, least, np.minimum(middle + 1, above))
    return np.asarray(above)
