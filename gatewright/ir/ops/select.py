"""Choices between tensors: by a condition, the larger or smaller one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import OBJECT, Codes, Op, as_python, element_by_element
from gatewright.ir.ops.linear import with_samples


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Op):
    """y = a where c is 1, b where c is 0; inputs c, a, b, element-wise with broadcasting."""

    kind = "select"

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        condition, a, b = types
        if (condition.lo < 0).any() or (condition.hi > 1).any():
            raise ValueError("a condition that is not 0 or 1")
        lo = np.where(condition.hi < 1, b.lo, np.where(condition.lo > 0, a.lo, np.minimum(a.lo, b.lo)))
        hi = np.where(condition.hi < 1, b.hi, np.where(condition.lo > 0, a.hi, np.maximum(a.hi, b.hi)))
        return as_python(np.asarray(lo)), as_python(np.asarray(hi))

    def compute(self, operands: list[Codes]) -> Codes:
        condition, a, b = (with_samples(x, len(self.type.shape)) for x in operands)
        return np.asarray(np.where(condition == 1, a, b))


@dataclass(frozen=True, eq=False, kw_only=True)
class Extremum(Op):
    """The largest (`largest` = 1) or smallest (0) of two tensors, element by element, with broadcasting."""

    largest: int
    kind = "extremum"

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        a, b = types
        return as_python(np.asarray(self.choice(a.lo, b.lo))), as_python(np.asarray(self.choice(a.hi, b.hi)))

    def choice(self, a: Codes, b: Codes) -> Codes:
        return np.maximum(a, b) if self.largest else np.minimum(a, b)

    def compute(self, operands: list[Codes]) -> Codes:
        a, b = (with_samples(x, len(self.type.shape)) for x in operands)
        return self.choice(a, b)

    def show_form(self) -> str:
        return "max" if self.largest else "min"
