"""Quotients and square roots of integers: exact, rounded where the model says so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gatewright.ir.exact import ROUND_NUMBER, elementwise
from gatewright.ir.expr_int64 import round_ratio
from gatewright.ir.fixed import FixedArray, Ints
from gatewright.ir.graph import OBJECT, Codes, Op, as_python, refuse_wide
from gatewright.ir.ops.linear import with_samples


@dataclass(frozen=True, eq=False, kw_only=True)
class Divide(Op):
    """y = clip(round((mul * n + add * d) / (div * d)), lo, hi) of two tensors n and d > 0, element-wise with broadcasting.

    int64 constants per tensor, channel or element, `div` > 0; `rounding` as in exact.ROUND_NUMBER.
    """

    mul: Ints
    add: Ints
    div: Ints
    rounding: str
    lo: Ints
    hi: Ints
    kind = "divide"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        n, d = types
        if self.rounding not in ROUND_NUMBER or (self.div <= 0).any() or (self.lo > self.hi).any() or (d.lo <= 0).any():
            raise ValueError("an unknown rounding mode, an impossible range, or a divisor that is not positive")
        mul, add, div = (as_python(v) for v in (self.mul, self.add, self.div))
        reach = np.maximum(np.abs(as_python(self.lo)), np.abs(as_python(self.hi))) + 2
        wide = 2 * (np.abs(mul) * np.maximum(np.abs(as_python(n.lo)), np.abs(as_python(n.hi)))
                    + (np.abs(add) + div * reach) * as_python(d.hi))
        refuse_wide(-wide, wide, "dividing exactly, with its scales taken in,", self.node)
        rounding = ROUND_NUMBER[self.rounding]

        def code(a: int, b: int, lo: int, hi: int) -> int:
            return min(max(rounding(Fraction(a, b)), lo), hi)

        ends = [elementwise(code, mul * x + add * y, div * y, as_python(self.lo), as_python(self.hi))
                for x in (as_python(n.lo), as_python(n.hi)) for y in (as_python(d.lo), as_python(d.hi))]
        return np.asarray(np.minimum.reduce(ends), object), np.asarray(np.maximum.reduce(ends), object)

    def compute(self, operands: list[Codes]) -> Codes:
        n, d = (with_samples(x, len(self.type.shape)) for x in operands)
        return np.asarray(np.clip(round_ratio((self.mul * n + self.add * d, self.div * d), self.rounding), self.lo, self.hi), np.int64)

    def show_form(self) -> str:
        return f"divide ({self.rounding}), clip"


@dataclass(frozen=True, eq=False, kw_only=True)
class SquareRoot(Op):
    """y = floor(sqrt(x)) of x >= 0."""

    kind = "square_root"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        if (x.lo < 0).any():
            raise ValueError("the square root of a negative number")
        return elementwise(math.isqrt, as_python(x.lo)), elementwise(math.isqrt, as_python(x.hi))

    def compute(self, operands: list[Codes]) -> Codes:
        x, = operands
        # too high by one at most, and never too low: float64 is closer to a root of 31 bits than the next root
        root = np.sqrt(x.astype(np.float64)).astype(np.int64)
        return np.asarray(root - (root * root > x))

    def show_form(self) -> str:
        return "square root"
