"""What sums are made of, in columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.compiler.arithmetic.digits import Bools
from gatewright.ir.fixed import Ints

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Terms:
    """Of sums, in columns: `±((row - bias) << shift)` belongs to sum `out`, and is there after `depth` additions."""

    out: Ints
    row: Ints
    shift: Ints
    negative: Bools
    depth: Ints
    bias: Ints

    def __getitem__(self, which: Any) -> Terms:
        return Terms(*(getattr(self, f.name)[which] for f in fields(self)))

    @staticmethod
    def joined(parts: list[Terms]) -> Terms:
        return Terms(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Terms)))


@dataclass(frozen=True)
class Wanted:
    """What sums must be: their constants and bounds."""

    imm: Ints
    lo: Ints
    hi: Ints

    def __getitem__(self, which: Any) -> Wanted:
        return Wanted(self.imm[which], self.lo[which], self.hi[which])
