"""Narrows every tensor's bounds to what its operands can produce."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import Graph, Op
from gatewright.ir.uniform import compact, spread


def narrowed(op: Op, operands: list[Op]) -> Op:
    """The op with bounds cut to what these operands give: what a pass that narrows a tensor owes to its users."""
    if not operands:
        return op
    lo, hi, low, high = compact(*op.bounds([o.type for o in operands]), op.type.lo, op.type.hi)
    lo, hi = (spread(np.asarray(e, object).astype(np.int64), op.type.shape)
              for e in (np.maximum(lo, low), np.minimum(hi, high)))
    return replace(op, type=FixedArray(lo, hi, op.type.frac))


@dataclass(frozen=True)
class ExactRanges:
    """One sweep in order of dependence: interval analysis of the actual weights, per element."""

    name: ClassVar[str] = "exact-ranges"

    def run(self, graph: Graph) -> PassResult:
        done: dict[str, Op] = {}
        for op in graph.ops:
            done[op.name] = narrowed(op, [done[i] for i in op.inputs])
        return PassResult(graph.with_ops(done.values()))
