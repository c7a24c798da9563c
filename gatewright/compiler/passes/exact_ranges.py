"""Narrows every tensor's bounds to what its operands can produce."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.graph import Graph, Op


def narrowed(op: Op, operands: list[Op]) -> Op:
    """The op with bounds cut to what these operands give: what a pass that narrows a tensor owes to its users."""
    if not operands:
        return op
    return replace(op, type=op.type.cut(*op.bounds([o.type for o in operands])))


@dataclass(frozen=True)
class ExactRanges:
    """One sweep in order of dependence: interval analysis of the actual weights, per element."""

    name: ClassVar[str] = "exact-ranges"

    def run(self, graph: Graph) -> PassResult:
        done: dict[str, Op] = {}
        for op in graph.ops:
            done[op.name] = narrowed(op, [done[i] for i in op.inputs])
        return PassResult(graph.with_ops(done.values()))
