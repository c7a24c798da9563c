"""Integer functions of one tensor, element by element: the exact forms that hardware builds.

Rounding and overflow live in `Requant` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.ir.fixed import FixedArray, Ints
from gatewright.ir.graph import OBJECT, Codes, Op, as_python

SATURATE, WRAP = "SAT", "WRAP"


def round_shift(v: Codes, shift: Ints, mode: str) -> Codes:
    """v / 2**shift rounded to an integer by `mode` (names as in exact.ROUND_NUMBER); int64, exact, shift >= 0."""
    if not shift.any():
        return v
    if mode == "FLOOR":
        return v >> shift
    one = np.int64(1)
    unit = (one << shift) - 1
    half = np.where(shift > 0, one << np.maximum(shift - 1, 0), 0)
    negative = (v < 0).astype(np.int64)
    fraction = shift > 0
    rules: dict[str, Callable[[], Any]] = {
        "CEIL": lambda: unit,
        "DOWN": lambda: negative * unit,
        "UP": lambda: (1 - negative) * unit,
        "ROUND": lambda: half - fraction + ((v >> shift) & fraction),
        "HALF_UP": lambda: half - (negative & fraction),
        "HALF_DOWN": lambda: half - fraction + (negative & fraction),
        "HALF_CEIL": lambda: half,
        "HALF_FLOOR": lambda: half - fraction,
    }
    return np.asarray((v + rules[mode]()) >> shift)


@dataclass(frozen=True, eq=False, kw_only=True)
class Requant(Op):
    """y = limit(round((mul * x + add) / 2**shift)) with int64 constants per tensor, channel or element.

    `overflow` SAT: limit clips to `lo..hi`. WRAP: limit reduces modulo `hi - lo + 1`, a power of two, into `lo..hi`.
    """

    mul: Ints
    add: Ints
    shift: Ints
    rounding: str
    lo: Ints
    hi: Ints
    overflow: str
    kind = "requant"

    def _inner(self, x: FixedArray) -> tuple[OBJECT, OBJECT]:
        a, b = (as_python(self.mul) * as_python(v) + as_python(self.add) for v in (x.lo, x.hi))
        ends = []
        for v in (np.minimum(a, b), np.maximum(a, b)):
            v, shift = np.broadcast_arrays(np.asarray(v, object), as_python(self.shift))
            # the interpreter works in int64; element_type has refused anything near that limit
            ends.append(round_shift(v.astype(np.int64), shift.astype(np.int64), self.rounding).astype(object))
        return ends[0], ends[1]

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        lo, hi = self._inner(types[0])
        low, high = as_python(self.lo), as_python(self.hi)
        if self.overflow == SATURATE:
            return (np.asarray(np.minimum(np.maximum(lo, low), high), object),
                    np.asarray(np.minimum(np.maximum(hi, low), high), object))
        fits = (lo >= low) & (hi <= high)
        return np.asarray(np.where(fits, lo, low), object), np.asarray(np.where(fits, hi, high), object)

    def compute(self, operands: list[Codes]) -> Codes:
        x, = operands
        v = x
        if (self.mul != 1).any():
            v = v * self.mul
        if self.add.any():
            v = v + self.add
        v = round_shift(v, self.shift, self.rounding)
        if self.overflow == SATURATE:
            return np.clip(v, self.lo, self.hi)
        return ((v - self.lo) & (self.hi - self.lo)) + self.lo

    def show_form(self) -> str:
        steps = []
        if (self.mul != 1).any():
            steps.append("multiply")
        if self.add.any():
            steps.append("add")
        if self.shift.any():
            steps.append("shift" if self.rounding == "FLOOR" else f"shift ({self.rounding})")
        return ", ".join([*steps, "wrap" if self.overflow == WRAP else "clip"])


@dataclass(frozen=True, eq=False, kw_only=True)
class Thresholds(Op):
    """y = base + number of k with sign * x >= levels[..., k].

    `levels` int64 [*tensor shape or (), K], ascending along K; an unreachable level lies above every sign * x. `sign`
    is +1 or -1 and `base` an integer, per tensor, channel or element.
    """

    sign: Ints
    levels: Ints
    base: Ints
    kind = "thresholds"

    def _count(self, x: OBJECT | Codes) -> OBJECT:
        return np.asarray(((x * self.sign)[..., None] >= self.levels).sum(axis=-1), object) + as_python(self.base)

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        ends = [self._count(b) for b in (types[0].lo, types[0].hi)]
        return np.asarray(np.minimum(*ends), object), np.asarray(np.maximum(*ends), object)

    def compute(self, operands: list[Codes]) -> Codes:
        x, = operands
        x = x * self.sign if (self.sign != 1).any() else x
        if self.levels.ndim == 1:
            return np.asarray(np.searchsorted(self.levels, x, side="right") + self.base)
        total = np.broadcast_to(self.base, x.shape).copy()
        for k in range(self.levels.shape[-1]):
            total += x >= self.levels[..., k]
        return total

    def show_form(self) -> str:
        return f"{self.levels.shape[-1]} thresholds"


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Op):
    """y = values[..., x - first]; `values` int64 [*tensor shape or (), entries], `first` the lowest code of x."""

    first: int
    values: Ints
    kind = "table"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        values = np.broadcast_to(self.values, (*x.shape, self.values.shape[-1]))
        codes = self.first + np.arange(values.shape[-1])
        reached = (codes >= x.lo[..., None]) & (codes <= x.hi[..., None])
        big = np.iinfo(np.int64)
        return (np.where(reached, values, big.max).min(axis=-1).astype(object),
                np.where(reached, values, big.min).max(axis=-1).astype(object))

    def compute(self, operands: list[Codes]) -> Codes:
        x, = operands
        if self.values.ndim == 1:
            return self.values[x - self.first]
        values = np.broadcast_to(self.values, (*x.shape, self.values.shape[-1]))
        return np.take_along_axis(values, (x - self.first)[..., None], axis=-1)[..., 0]

    def show_form(self) -> str:
        return f"table of {self.values.shape[-1]}"
