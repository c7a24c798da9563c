"""Operations that move elements and compute nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.ir.fixed import FixedArray, Ints
from gatewright.ir.graph import OBJECT, Codes, Op
from gatewright.ir.uniform import compact, spread


class Move(Op):
    """An operation whose result elements are elements of its operand."""

    def move(self, x: OBJECT) -> OBJECT:
        """The result for one sample."""
        raise NotImplementedError

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        return self.move(x.lo), self.move(x.hi)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Move):
    """The same elements in C order, in another shape (samples not counted)."""

    shape: tuple[int, ...]
    kind = "reshape"

    def move(self, x: OBJECT) -> OBJECT:
        return x.reshape(self.shape)

    def compute(self, operands: list[Codes]) -> Codes:
        return operands[0].reshape(operands[0].shape[0], *self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Move):
    """Axes permuted (samples not counted)."""

    perm: tuple[int, ...]
    kind = "transpose"

    def move(self, x: OBJECT) -> OBJECT:
        return x.transpose(self.perm)

    def compute(self, operands: list[Codes]) -> Codes:
        return np.ascontiguousarray(operands[0].transpose(0, *(p + 1 for p in self.perm)))


def taken(x: OBJECT, indices: tuple[Ints, ...], fill: Any, lead: int = 0) -> OBJECT:
    """x[:, ..., indices[0][:, None, ...], indices[1], ...] after `lead` axes; `fill` where an index is -1."""
    shape = (*x.shape[:lead], *(len(i) for i in indices))
    kept = np.ones((1,) * len(shape), bool)
    x, = compact(x)
    for axis, index in enumerate(indices, lead):
        if x.shape[axis] > 1:  # else all elements along the axis are the same
            x = x.take(np.maximum(index, 0), axis=axis)
        if (index < 0).any():
            kept = kept & (index >= 0).reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return spread(x if kept.all() else np.where(kept, x, fill), shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Take(Op):
    """y[i, j, ...] = x[indices[0][i], indices[1][j], ...], and the code `fill` where an index is -1.

    Slices, splits, pads, gathers along an axis and nearest-neighbour resizing; one vector of indices per axis.
    """

    indices: tuple[Ints, ...]
    fill: int = 0
    kind = "take"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        return taken(x.lo, self.indices, self.fill), taken(x.hi, self.indices, self.fill)

    def compute(self, operands: list[Codes]) -> Codes:
        return np.ascontiguousarray(taken(operands[0], self.indices, self.fill, lead=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Op):
    """The operands one after the other along `axis` (samples not counted)."""

    axis: int
    kind = "concat"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        return tuple(concatenated([getattr(t, end) for t in types], self.axis)
                     for end in ("lo", "hi"))  # type: ignore[return-value]

    def compute(self, operands: list[Codes]) -> Codes:
        return np.concatenate(operands, axis=self.axis + 1)


def concatenated(parts: list[OBJECT], axis: int) -> OBJECT:
    """np.concatenate that keeps other axes along which all parts repeat."""
    if not any(p.strides[k] == 0 for p in parts for k in range(p.ndim) if k != axis):
        return np.concatenate(parts, axis=axis)
    whole = (*parts[0].shape[:axis], sum(p.shape[axis] for p in parts), *parts[0].shape[axis + 1:])
    slabs = compact(*(np.moveaxis(p, axis, 0)[k] for p in parts for k in range(p.shape[axis])))
    return spread(np.stack(slabs, axis=axis), whole)
