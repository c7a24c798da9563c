"""Moves the constant that a layer's activation adds (bias, batch norm) into the dense layer's or convolution's own bias.

A constant rides for free in the last addition of a sum; behind it, it would be an adder of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph, Op, element_type
from gatewright.ir.ops import Conv, Dense, Requant


@dataclass(frozen=True)
class AbsorbBias:
    """Case: a Dense or Conv that only one Requant reads, with mul = 1 and an `add` that is the same along all axes but that of
    the bias."""

    name: ClassVar[str] = "absorb-bias"

    def run(self, graph: Graph) -> PassResult:
        kept = {o.value for o in graph.outputs}
        done: dict[str, Op] = {}
        gone: dict[str, str] = {}
        for op in graph.ops:
            source = done.get(op.inputs[0]) if isinstance(op, Requant) else None
            if (isinstance(op, Requant) and isinstance(source, Dense | Conv) and source.name not in kept
                    and len(graph.users[source.name]) == 1 and (op.mul == 1).all() and op.add.any()
                    and op.type.shape == source.type.shape and (add := per_output(source, op.add)) is not None):
                done[source.name] = with_bias(source, source.bias + add, [done[i] for i in source.inputs])
                gone[source.name] = f"carries the constant of '{op.name}'"
                op = replace(op, add=np.zeros((), np.int64))
            done[op.name] = op
        meanings = {k: v for k, v in graph.meanings.items() if k not in gone}
        return PassResult(replace(graph, meanings=meanings).with_ops(done.values()), gone=gone)


def per_output(layer: Dense | Conv, add: Ints) -> Ints | None:
    """One constant per column of a Dense (last axis) or channel of a Conv (first axis), None where others differ."""
    channels = np.moveaxis(np.broadcast_to(add, layer.type.shape), 0 if isinstance(layer, Conv) else -1, -1)
    first: Ints = channels[(0,) * (channels.ndim - 1)]
    return first if (channels == first).all() else None


def with_bias(layer: Dense | Conv, bias: Ints, operands: list[Op]) -> Op:
    """The layer with another bias, its type derived again."""
    changed = replace(layer, bias=bias)
    lo, hi = changed.bounds([o.type for o in operands])
    return replace(changed, type=element_type(lo, hi, layer.type.frac, layer.node))
