"""Operations that move elements and compute nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import OBJECT, Codes, Op, as_python


class Move(Op):
    """An operation whose result elements are elements of its operand."""

    def move(self, x: OBJECT) -> OBJECT:
        """The result for one sample."""
        raise NotImplementedError

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        return self.move(as_python(x.lo)), self.move(as_python(x.hi))


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
