"""Removes operations that no output depends on. Model inputs stay: they are ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.graph import Graph


@dataclass(frozen=True)
class DeadOps:
    """Cases: an operation whose result no kept operation reads."""

    name: ClassVar[str] = "dead-ops"

    def run(self, graph: Graph) -> PassResult:
        needed = {o.value for o in graph.outputs}
        for op in reversed(graph.ops):
            if op.name in needed or op.kind == "input":
                needed |= {op.name, *op.inputs}
        gone = {op.name: "no output depends on it" for op in graph.ops if op.name not in needed}
        return PassResult(graph.with_ops(op for op in graph.ops if op.name in needed), gone=gone)
