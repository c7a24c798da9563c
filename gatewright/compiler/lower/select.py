"""Choices to rows: a comparison and a selection."""

from __future__ import annotations

from gatewright.compiler.lower.linear import spread
from gatewright.compiler.lower.terms import Rows
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.ops import Extremum, Select


def select(op: Select, operands: list[Rows], b: NetlistBuilder) -> Rows:
    condition, x, y = (spread(v, op.type.shape).reshape(-1) for v in operands)
    bounds = op.type.lo.reshape(-1), op.type.hi.reshape(-1)
    return b.select(condition, x, y, bounds=bounds).reshape(op.type.shape)


def extremum(op: Extremum, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x, y = (spread(v, op.type.shape).reshape(-1) for v in operands)
    first, second = (x, y) if op.largest else (y, x)
    bounds = op.type.lo.reshape(-1), op.type.hi.reshape(-1)
    return b.select(b.ge(first, second), x, y, bounds=bounds).reshape(op.type.shape)
