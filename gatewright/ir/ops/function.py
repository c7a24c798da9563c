"""Integer functions of one tensor, element by element: the exact forms that hardware builds.

Rounding and overflow live in `Requant` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.fixed import FixedArray, Ints
from gatewright.ir.graph import OBJECT, Codes, Op, as_python, element_by_element, refuse_wide
from gatewright.ir.ops.linear import with_samples

SATURATE, WRAP = "SAT", "WRAP"


def half_of(shift: Ints) -> Ints:
    """Half of 2**shift; 0 where nothing is shifted."""
    return np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)


def round_shift(v: Codes, shift: Ints, mode: str) -> Codes:
    """v / 2**shift rounded to an integer by `mode` (names as in exact.ROUND_NUMBER); int64, exact, shift >= 0."""
    if not shift.any():
        return v
    if mode == "FLOOR":
        return v >> shift
    one = np.int64(1)
    unit = (one << shift) - 1
    half = half_of(shift)
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
        """Bounds before the limit. Refuses what int64 and the hardware's 62 bits could not compute on the way."""
        a, b = (as_python(self.mul) * as_python(v) + as_python(self.add) for v in (x.lo, x.hi))
        lo, hi, shift, add = np.broadcast_arrays(*(np.asarray(v, object) for v in (
            np.minimum(a, b), np.maximum(a, b), as_python(self.shift), as_python(self.add))))
        most = np.maximum(hi if self.rounding == "FLOOR" else hi + (1 << shift) - 1, 1 << shift)
        least, most = (np.asarray(v, object) for v in (np.minimum(lo, lo - add), np.maximum(most, hi - add)))
        refuse_wide(least, most, "multiplying, adding and rounding", self.node)
        lo, hi = (round_shift(v.astype(np.int64), shift.astype(np.int64), self.rounding) for v in (lo, hi))
        return lo.astype(object), hi.astype(object)

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        span = np.asarray(self.hi - self.lo)
        if self.rounding not in ROUND_NUMBER or (self.shift < 0).any() or (span < 0).any() or (
                self.overflow == WRAP and (span & (span + 1)).any()):
            raise ValueError("an unknown rounding mode, a negative shift, or an impossible range")
        x, = types
        lo, hi = self._inner(x)
        low, high = as_python(self.lo), as_python(self.hi)
        if self.overflow == SATURATE:
            return (np.asarray(np.minimum(np.maximum(lo, low), high), object),
                    np.asarray(np.minimum(np.maximum(hi, low), high), object))
        fits = (lo >= low) & (hi <= high)
        return np.asarray(np.where(fits, lo, low), object), np.asarray(np.where(fits, hi, high), object)

    def compute(self, operands: list[Codes]) -> Codes:
        v = with_samples(operands[0], len(self.type.shape))
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

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        if (np.abs(self.sign) != 1).any() or (np.diff(self.levels) < 0).any():
            raise ValueError("a sign that is not 1 or -1, or levels that do not ascend")
        ends = [self._count(b) for b in (types[0].lo, types[0].hi)]
        return np.asarray(np.minimum(*ends), object), np.asarray(np.maximum(*ends), object)

    def compute(self, operands: list[Codes]) -> Codes:
        x = with_samples(operands[0], len(self.type.shape))
        x = x * self.sign if (self.sign != 1).any() else x
        if self.levels.ndim == 1:
            return np.asarray(np.searchsorted(self.levels, x, side="right") + self.base)
        levels = self.levels.reshape(-1, self.levels.shape[-1])
        row = np.broadcast_to(np.arange(len(levels)).reshape(self.levels.shape[:-1]), self.type.shape).reshape(-1)
        x = np.broadcast_to(x, (len(x), *self.type.shape))
        return np.asarray(_reached(np.ascontiguousarray(x).reshape(len(x), -1), levels, row).reshape(x.shape) + self.base)

    def show_form(self) -> str:
        return f"{self.levels.shape[-1]} thresholds"


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _reached(x: Ints, levels: Ints, row: Ints) -> Ints:
    """How many of the ascending levels[row[i]] element i of every sample reaches."""
    result = np.empty_like(x)
    for sample in range(x.shape[0]):
        for i in range(x.shape[1]):
            lo, hi = 0, levels.shape[1]
            while lo < hi:
                middle = (lo + hi) // 2
                if levels[row[i], middle] <= x[sample, i]:
                    lo = middle + 1
                else:
                    hi = middle
            result[sample, i] = lo
    return result


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Op):
    """y = values[..., x - first]; `values` int64 [*tensor shape or (), entries], `first` the lowest code of x."""

    first: int
    values: Ints
    kind = "table"

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        if (x.lo < self.first).any() or (x.hi >= self.first + self.values.shape[-1]).any():
            raise ValueError("the table does not hold every code of its operand")
        codes = self.first + np.arange(self.values.shape[-1])
        reached = (codes >= x.lo[..., None]) & (codes <= x.hi[..., None])
        big = np.iinfo(np.int64)
        return (as_python(np.asarray(np.where(reached, self.values, big.max).min(axis=-1))),
                as_python(np.asarray(np.where(reached, self.values, big.min).max(axis=-1))))

    def compute(self, operands: list[Codes]) -> Codes:
        x = with_samples(operands[0], len(self.type.shape))
        if self.values.ndim == 1:
            return self.values[x - self.first]
        shape = (len(x), *self.type.shape)
        values = np.broadcast_to(self.values, (*shape, self.values.shape[-1]))
        return np.take_along_axis(values, np.broadcast_to(x - self.first, shape)[..., None], axis=-1)[..., 0]

    def show_form(self) -> str:
        return f"table of {self.values.shape[-1]}"
