"""Operations that move elements: rearranged elements are the same rows."""

from __future__ import annotations

import numpy as np

from gatewright.compiler.lower.terms import Rows
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.ops import Concat, Take
from gatewright.ir.ops.shape import Move, taken


def move(op: Move, operands: list[Rows], b: NetlistBuilder) -> Rows:
    return op.move(operands[0])


def take(op: Take, operands: list[Rows], b: NetlistBuilder) -> Rows:
    rows = taken(operands[0], op.indices, -1)
    if (rows < 0).any():
        rows = np.where(rows < 0, b.const(np.array([op.fill], np.int64)), rows)
    return rows


def concat(op: Concat, operands: list[Rows], b: NetlistBuilder) -> Rows:
    return np.concatenate(operands, axis=op.axis)
