"""Narrows every tensor's bounds to what its operands can produce."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.fixed import FixedArray
from gatewright.ir.graph import Graph, Op


@dataclass(frozen=True)
class ExactRanges:
    """One sweep in order of dependence: interval analysis of the actual weights, per element."""

    name: ClassVar[str] = "exact-ranges"

    def run(self, graph: Graph) -> PassResult:
        done: dict[str, Op] = {}
        for op in graph.ops:
            if op.inputs:
                lo, hi = (b.astype(np.int64) for b in op.bounds([done[i].type for i in op.inputs]))
                op = replace(op, type=FixedArray(np.maximum(lo, op.type.lo), np.minimum(hi, op.type.hi), op.type.frac))
            done[op.name] = op
        return PassResult(graph.with_ops(done.values()))
