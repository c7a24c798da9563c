"""Moves the constant that a dense layer's activation adds (bias, batch norm) into the dense layer's own bias.

A constant rides for free in the last addition of a sum; behind it, it would be an adder of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.graph import Graph, Op, typed
from gatewright.ir.ops import Dense, Requant


@dataclass(frozen=True)
class AbsorbBias:
    """Case: a Dense that only one Requant reads, with mul = 1 and an `add` that is the same along all leading axes."""

    name: ClassVar[str] = "absorb-bias"

    def run(self, graph: Graph) -> PassResult:
        kept = {o.value for o in graph.outputs}
        done: dict[str, Op] = {}
        gone: dict[str, str] = {}
        for op in graph.ops:
            source = done.get(op.inputs[0]) if isinstance(op, Requant) else None
            if (isinstance(op, Requant) and isinstance(source, Dense) and source.name not in kept and (op.mul == 1).all()
                    and op.add.any() and op.add.ndim <= 1 and op.type.shape == source.type.shape
                    and len(graph.users[source.name]) == 1):
                bias = source.bias + np.broadcast_to(op.add, source.bias.shape)
                done[source.name] = typed(Dense, source.name, [done[i] for i in source.inputs], source.node,
                                          source.type.frac, weight=source.weight, bias=bias)
                gone[source.name] = f"carries the constant of '{op.name}'"
                op = replace(op, add=np.zeros((), np.int64))
            done[op.name] = op
        meanings = {k: v for k, v in graph.meanings.items() if k not in gone}
        return PassResult(replace(graph, meanings=meanings).with_ops(done.values()), gone=gone)
