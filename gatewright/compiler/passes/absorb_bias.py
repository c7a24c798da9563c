"""Moves the constants that a layer's activation adds (bias, batch norm, the half of a rounding) into the dense layer's or
convolution's own bias.

A constant mostly rides for free in one of the additions of a sum; behind them, it is an adder of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.compiler.passes.base import PassResult
from gatewright.ir.fixed import Ints
from gatewright.ir.graph import Graph, Op, element_type
from gatewright.ir.ops import Conv, Dense, Requant
from gatewright.ir.ops.function import half_of


@dataclass(frozen=True)
class AbsorbBias:
    """Case: a Dense or Conv that only one Requant reads, with a power of two as `mul` and an `add` that is the same along all axes
    but that of the bias."""

    name: ClassVar[str] = "absorb-bias"

    def run(self, graph: Graph) -> PassResult:
        return with_biases(graph, absorbed)


def absorbed(op: Op, source: Dense | Conv, operands: list[Op]) -> tuple[Dense | Conv, Op] | None:
    """The layer with the constant of its Requant, and that without it; None where there is none to be taken."""
    if not isinstance(op, Requant):
        return None
    short = on_grid(op)
    constant = taken(short)
    add = per_output(source, constant)
    if add is None or not add.any():
        return None
    return (with_bias(source, source.bias + add, operands),
            replace(short, mul=common(short.mul), add=common(short.add - short.mul * constant), shift=common(short.shift)))


def with_biases(graph: Graph, change: Callable[[Op, Dense | Conv, list[Op]], tuple[Dense | Conv, Op] | None]) -> PassResult:
    """The graph with other biases. `change` is asked for every operation that alone reads a layer, with the layer and its operands, and
    answers with both of them anew, or None."""
    kept = {o.value for o in graph.outputs}
    done: dict[str, Op] = {}
    gone: dict[str, str] = {}
    for op in graph.ops:
        source = layer_in_front(op, done, graph, kept)
        if source and (changed := change(op, source, [done[i] for i in source.inputs])):
            done[source.name], op = changed
            gone[source.name] = f"carries the constant of '{op.name}'"
        done[op.name] = op
    meanings = {k: v for k, v in graph.meanings.items() if k not in gone}
    return PassResult(replace(graph, meanings=meanings).with_ops(done.values()), gone=gone)


def layer_in_front(op: Op, done: Mapping[str, Op], graph: Graph, kept: Container[str]) -> Dense | Conv | None:
    """The Dense or Conv whose elements are this operation's operands and nobody else's; `done`: the operations as they are by now."""
    source = done.get(op.inputs[0]) if op.inputs else None
    if not isinstance(source, Dense | Conv) or source.name in kept or len(graph.users[source.name]) > 1:
        return None
    return source if op.type.shape == source.type.shape else None


def on_grid(op: Requant) -> Requant:
    """The same function with mul = 1, or 2, where every `mul` is a power of two: an `add` between two codes of mul * x decides no
    more than which side of the lower one the sum is on."""
    places = np.bitwise_count(np.maximum(op.mul, 1) - 1).astype(np.int64)
    if (op.mul != np.int64(1) << places).any():
        return op
    half = half_of(op.shift)
    whole = {"FLOOR": 0 * half, "HALF_CEIL": half, "HALF_FLOOR": half - (op.shift > 0), "CEIL": (np.int64(1) << op.shift) - 1}
    if op.rounding in whole and (op.shift >= places).all():
        return replace(op, mul=np.ones((), np.int64), add=op.add + whole[op.rounding] >> places, shift=op.shift - places,
                       rounding="FLOOR")
    if op.rounding != "ROUND" or ((op.shift <= places) & (places > 0)).any():
        return op
    between = (op.add & (np.int64(1) << places) - 1 != 0).astype(np.int64)
    return replace(op, mul=1 + between, add=(op.add >> places) * (1 + between) + between, shift=op.shift - places + between)


def common(values: Ints) -> Ints:
    """One number for all elements, where they have the same."""
    return values.reshape(-1)[:1].reshape(()) if (values == values.reshape(-1)[0]).all() else values


def taken(op: Requant) -> Ints:
    """The constant that a layer in front can take: all of a floor's, and of a rounding half to even with its half, so that lowering
    needs to add none."""
    if op.rounding == "ROUND" and ((op.mul == 1) | (op.mul == 2) & (op.shift > 1)).all():
        return (op.add + half_of(op.shift)) // op.mul
    return op.add if (op.mul == 1).all() else np.zeros((), np.int64)


def per_output(layer: Dense | Conv, add: Ints) -> Ints | None:
    """One constant per column of a Dense (last axis) or channel of a Conv (first axis), None where others differ."""
    channels = np.moveaxis(np.broadcast_to(add, layer.type.shape), 0 if isinstance(layer, Conv) else -1, -1)
    first: Ints = channels[(0,) * (channels.ndim - 1)]
    return first if (channels == first).all() else None


def with_bias(layer: Dense | Conv, bias: Ints, operands: list[Op]) -> Dense | Conv:
    """The layer with another bias, its type derived again."""
    changed = replace(layer, bias=bias)
    lo, hi = changed.bounds([o.type for o in operands])
    return replace(changed, type=element_type(lo, hi, layer.type.frac, layer.node))
