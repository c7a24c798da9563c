"""The best elements along an axis, in order: their codes or their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import OBJECT, Codes, Op


@dataclass(frozen=True, eq=False, kw_only=True)
class TopK(Op):
    """The `count` largest (or smallest) elements along `axis` (samples not counted), best first: their codes, or with `index`
    their places 0, 1, ... along the axis. Of equal elements the one with the lower place is better, or with `last` the other."""

    axis: int
    count: int
    largest: int = 1
    last: int = 0
    index: int = 0
    kind = "top_k"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        """A place is possible where the element's range meets the range of the value that is in this rank."""
        x, = types
        lo, hi = (np.moveaxis(b, self.axis, -1) for b in (x.lo, x.hi))
        low, high = (self.best(np.sort(b, axis=-1)) for b in (lo, hi))
        if self.index:
            possible = (hi[..., None, :] >= low[..., None]) & (lo[..., None, :] <= high[..., None])
            low, high = possible.argmax(axis=-1), possible.shape[-1] - 1 - possible[..., ::-1].argmax(axis=-1)
        low, high = (np.moveaxis(b, -1, self.axis) for b in (low, high))
        return low, high

    def best(self, rising: Codes) -> Codes:
        """The first `count` of what is sorted along the last axis."""
        return (rising[..., ::-1] if self.largest else rising)[..., :self.count]

    def compute(self, operands: list[Codes]) -> Codes:
        x = np.moveaxis(operands[0], self.axis + 1, -1)
        if not self.index:
            return np.ascontiguousarray(np.moveaxis(self.best(np.sort(x, axis=-1)), -1, self.axis + 1))
        turned = bool(self.largest) != bool(self.last)  # a stable sort puts the better of equal elements where it belongs
        places = np.argsort(x[..., ::-1] if turned else x, axis=-1, kind="stable")
        places = self.best(x.shape[-1] - 1 - places if turned else places)
        return np.ascontiguousarray(np.moveaxis(places, -1, self.axis + 1))

    def show_form(self) -> str:
        best = "largest" if self.largest else "smallest"
        return ("place of " if self.index else "") + (best if self.count == 1 else f"the {self.count} {best}")
