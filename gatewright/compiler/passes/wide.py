"""Rounded sums of integer tensors with constants so long that the exact sum is wider than a code: computed in two halves.

The exact sum is V = sum_j k_j * x_j, in a common unit, and the result floor((p * V + c) / q), clipped, for p, q > 0. With
blocks of 2**cut <= q / p codes there is at most one step of the result in a block. So with V = block * 2**cut + rest

    result = value[block] + (rest >= step[block])

where `value` is the result at the beginning of each block and `step` the place of the step in it. Block and rest come from sums
with the high and the low digits of the k_j, each of which fits a code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.compiler.arithmetic.lines import Stair, stair
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, as_integers, elementwise, over
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.graph import Op, as_python
from gatewright.ir.ops import Combine, Requant, Table, Thresholds
from gatewright.ir.ops.function import SATURATE, WRAP
from gatewright.ir.uniform import compact

MAX_BLOCKS = 1 << 12
BLOCK = 1 << MAX_WIDTH
"""No block is longer."""
SPARE = 4
"""Bits that the low sum may be wider than its digits, for terms and carries."""
ONE, ZERO = np.ones((), np.int64), np.zeros((), np.int64)

Emit = Callable[..., Op]


@dataclass(frozen=True)
class WideSum:
    """round(sum of scales[j] * parts[j], plus offset) by `mode`, clipped to lo..hi (None: no bound)."""

    parts: Sequence[Op]
    scales: Sequence[Exacts]
    offset: Exacts
    mode: str
    lo: Exacts | None
    hi: Exacts | None
    node: str

    def emit(self, emit: Emit) -> Op:
        """The operations. Raises UserError where the halves do not fit either."""
        unit = ex.units(self.scales)
        factors = [np.asarray(as_integers(over(s, unit)), object) for s in self.scales]
        low, high = self.reach(factors)
        stairs = self.stairs(unit, low, high)
        cut = min((f.up.q // f.up.p).bit_length() for f in stairs.reshape(-1)) - 1
        split = max(int(max(abs(low).max(), abs(high).max())).bit_length() - MAX_WIDTH + 2 * SPARE, 0)
        if not split < cut < MAX_WIDTH or int(((high >> cut) - (low >> cut)).max()) >= MAX_BLOCKS:
            widest = max(int(np.max(abs(k))) for k in factors).bit_length()
            raise UserError(f"it adds tensors whose scales need a common unit with {widest}-bit factors", node=self.node,
                            remedy="Use power-of-two scales, or equal scales, on both branches")
        block, rest = halves(emit, self.parts, factors, split, cut)
        return self.result(emit, block, rest, stairs, cut)

    def reach(self, factors: Sequence[Exacts]) -> tuple[Exacts, Exacts]:
        """The interval of the exact sum, per element; as small as the operands' types allow."""
        low: Any = np.zeros((), object)
        high: Any = np.zeros((), object)
        for k, part in zip(factors, self.parts, strict=True):
            ends = [k * as_python(b) for b in compact(part.type.lo, part.type.hi)]
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
        return np.asarray(low, object), np.asarray(high, object)

    def stairs(self, unit: Exacts, low: Exacts, high: Exacts) -> Exacts:
        """The result as a function of the exact sum, per element of the constants."""
        modes = ("HALF_CEIL", "HALF_FLOOR") if self.mode == "ROUND" else (self.mode, self.mode)

        def one(s: Any, o: Any, least: Any, most: Any, bottom: int, top: int) -> Steps:
            up, down = (stair(s, o, mode, bottom - BLOCK, top + BLOCK) for mode in modes)
            if up is None or down is None:
                raise UserError(f"it adds tensors whose scales need long factors, and rounds by {self.mode}", node=self.node,
                                remedy="Use power-of-two scales, or equal scales, on both branches")
            free = Steps(up, down, down.at(bottom), up.at(top))
            return Steps(up, down, *(min(max(free.at(v), free.least if least is None else int(least)),
                                         free.most if most is None else int(most)) for v in (bottom, top)))

        nothing = np.asarray(None, object)
        constants = np.broadcast_shapes(unit.shape, self.offset.shape, *(b.shape for b in (self.lo, self.hi) if b is not None))
        shared = tuple(a for a in range(low.ndim) if low.ndim - a > len(constants) or constants[a - low.ndim] == 1)
        bottom, top = low.min(axis=shared, keepdims=True), high.max(axis=shared, keepdims=True)
        limits = [nothing if b is None else b for b in (self.lo, self.hi)]
        return elementwise(one, unit, self.offset, *limits, bottom, top)

    def result(self, emit: Emit, block: Op, rest: Op, stairs: Exacts, cut: int) -> Op:
        first, last = int(block.type.lo.min()), int(block.type.hi.max())
        rows = [f.blocks(first, last, cut) for f in stairs.reshape(-1)]
        values, places = (np.array([r[k] for r in rows], np.int64).reshape(*stairs.shape, -1) for k in range(2))
        at, place = (emit(Table, [block], first=first, values=table) for table in (values, places))
        short = emit(Combine, [rest, place], scales=(ONE, -ONE), offset=ZERO)
        beyond = emit(Thresholds, [short], sign=ONE, levels=np.zeros(1, np.int64), base=ZERO)
        return emit(Combine, [at, beyond], scales=(ONE, ONE), offset=ZERO)


@dataclass(frozen=True)
class Steps:
    """A function of an integer that rises by steps: a stair, or two where ties go to the even of both, clipped."""

    up: Stair
    down: Stair
    least: int
    most: int

    def at(self, v: int) -> int:
        values = self.down.at(v), self.up.at(v)
        return min(max(next((y for y in values if y % 2 == 0), values[0]), self.least), self.most)

    def first(self, value: int) -> int:
        """The lowest number at which the function has `value` or more."""
        return (self.down if value % 2 else self.up).first(value)

    def blocks(self, first: int, last: int, cut: int) -> tuple[list[int], list[int]]:
        """The value at the beginning of every block, and the place of the step in it (beyond it where none is)."""
        values = [self.at(b << cut) for b in range(first, last + 1)]
        places = [self.first(y + 1) - (b << cut) if y < self.most else 1 << cut for b, y in enumerate(values, first)]
        return values, [min(place, 1 << cut) for place in places]


def halves(emit: Emit, parts: Sequence[Op], factors: Sequence[Exacts], split: int, cut: int) -> tuple[Op, Op]:
    """The exact sum over 2**cut, and what is left of it, in 0..2**cut-1."""
    def of(k: Any) -> Ints:
        return np.asarray(k, object).astype(np.int64)

    low = emit(Combine, parts, scales=tuple(of(k & (1 << split) - 1) for k in factors), offset=ZERO)
    high = emit(Combine, parts, scales=tuple(of(k >> split) for k in factors), offset=ZERO)
    carry, digits = shifted(emit, low, split)
    total = emit(Combine, [high, carry], scales=(ONE, ONE), offset=ZERO)
    block, middle = shifted(emit, total, cut - split)
    return block, emit(Combine, [middle, digits], scales=(ONE << split, ONE), offset=ZERO)


def shifted(emit: Emit, x: Op, shift: int) -> tuple[Op, Op]:
    """x >> shift, and the digits that it drops."""
    least, most = int(x.type.lo.min()), int(x.type.hi.max())
    kept = emit(Requant, [x], mul=ONE, add=ZERO, shift=shift * ONE, rounding="FLOOR", lo=(least >> shift) * ONE,
                hi=(most >> shift) * ONE, overflow=SATURATE)
    dropped = emit(Requant, [x], mul=ONE, add=ZERO, shift=ZERO, rounding="FLOOR", lo=ZERO, hi=((1 << shift) - 1) * ONE,
                   overflow=WRAP)
    return kept, dropped
