"""Reductions along axes: sums, means and extremes, the global pools."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import axes_of, rebatched
from gatewright.compiler.frontend.standard.elementwise import mul
from gatewright.compiler.frontend.standard.windows import extreme
from gatewright.compiler.frontend.values import (
    Builder,
    Const,
    Data,
    Handler,
    Value,
    across_batch,
    cut,
    single_leaf,
    unsupported,
)
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts
from gatewright.ir.ops import ReduceExtreme, ReduceSum


def reduced_axes(b: Builder, node: Node, inputs: list[Any]) -> tuple[Value, tuple[int, ...] | None, bool]:
    """The operand, the axes of its value or sample that are reduced (None: none at all), and whether they are kept."""
    x: Value = inputs[0]
    rank = x.value.ndim if isinstance(x, Const) else x.rank
    axes = axes_of(node, inputs)
    keep = bool(node.attributes.get("keepdims", 1))
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return x, None, keep
        axes = tuple(range(rank))
    axes = tuple(sorted({a % rank for a in axes}))
    if isinstance(x, Const):
        return x, axes, keep
    if x.batched and 0 in axes:
        if b.batch != 1:
            raise across_batch(node.name, b.batch)
        x = b.unbatch(x, node.outputs[0], node.name)
    return x, tuple(a - x.batched for a in axes), keep


def reduce_sum(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, axes, keep = reduced_axes(b, node, inputs)
    if axes is None:
        return x
    if isinstance(x, Const):
        return Const(np.asarray(x.value.sum(axis=axes, keepdims=keep), object), x.integer)
    terms = x.expr.terms if isinstance(x.expr, ex.Affine) else ((x.expr, ex.ONE),)
    plain = [[t] for t in terms if isinstance(t[0], ex.Leaf)]
    bent = [t for t in terms if not isinstance(t[0], ex.Leaf)]
    sums = [part_sum(b, node, x, ex.add(part), axes, keep) for part in [*plain, bent] if part]
    o = x.expr.offset if isinstance(x.expr, ex.Affine) else ex.ZERO
    offset = np.asarray(np.broadcast_to(o, x.shape).sum(axis=axes, keepdims=keep), object) if (o != 0).any() else ex.ZERO
    return Data(ex.add(sums, offset), np.empty(x.shape, bool).sum(axis=axes, keepdims=keep).shape, x.batched)


def part_sum(b: Builder, node: Node, x: Data, part: ex.Expr, axes: tuple[int, ...], keep: bool) -> tuple[ex.Expr, Exacts]:
    """The sum of a term of x (the sum of all the terms that are no tensors), and what it counts: a tensor that is broadcast
    along an axis counts as often as it is repeated."""
    rank = len(x.shape)
    own = x.shape
    if (term := single_leaf(part)) is not None:
        own = np.broadcast_shapes((1,) * rank, b.shape_of(term[0].index), term[1].shape)
    op, s, _ = b.uniform(replace(x, expr=part, shape=own), axes, node.outputs[0] + ".x", node.name)
    if s.shape:
        s = cut(s.reshape((1,) * (rank - s.ndim) + s.shape), rank, axes)
        s = s if keep else np.asarray(np.squeeze(s, axis=axes), object)
    leaf = b.emit(ReduceSum, node.outputs[0], [op], node.name, s, ex.ZERO, axes=axes, keepdims=int(keep))
    return leaf, np.asarray(s * math.prod(x.shape[a] // own[a] for a in axes), object)


def reduce_mean(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """The exact sum; the division stays in the pending expression."""
    x, axes, _ = reduced_axes(b, node, inputs)
    if axes is None:
        return x
    shape = x.value.shape if isinstance(x, Const) else x.shape
    share = exacts(Fraction(1, math.prod(shape[a] for a in axes)))
    total = reduce_sum(b, node, inputs)
    if isinstance(total, Const):
        return Const(np.asarray(total.value * share, object))
    return replace(total, expr=ex.affine(total.expr, share))


def reduce_extreme(b: Builder, node: Node, inputs: list[Any], largest: bool) -> Value:
    x, axes, keep = reduced_axes(b, node, inputs)
    if axes is None:
        return x
    if isinstance(x, Const):
        pick = np.max if largest else np.min
        return Const(np.asarray(pick(x.value, axis=axes, keepdims=keep), object), x.integer)
    kept = tuple(1 if k in axes else d for k, d in enumerate(x.shape))
    y = extreme(b, node, x, largest, ReduceExtreme, axes, kept, axes=axes, keepdims=1)
    if keep:
        return y
    batch = (b.batch,) if y.batched else ()
    return b.reshape(y, batch + tuple(d for k, d in enumerate(kept) if k not in axes), node.outputs[0], node.name)


def global_pool(b: Builder, node: Node, inputs: list[Any], kind: str) -> Value:
    """ReduceMean or ReduceMax over all spatial axes, kept."""
    x, = inputs
    if not isinstance(x, Data):
        raise unsupported(node, "of a constant is not supported", "Fold it before the export")
    x = rebatched(b, node, x)
    reduce = replace(node, op_type=kind, attributes={"axes": tuple(range(2, x.rank)), "keepdims": 1})
    return HANDLERS[kind](b, reduce, [x])  # type: ignore[return-value]


def reduce_sum_square(b: Builder, node: Node, inputs: list[Any]) -> Value:
    square = replace(node, op_type="Mul", outputs=(node.outputs[0] + ".square",))
    return reduce_sum(b, node, [mul(b, square, [inputs[0], inputs[0]]), *inputs[1:]])


def reduce_prod(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Of shapes, mostly."""
    x, axes, keep = reduced_axes(b, node, inputs)
    if not isinstance(x, Const):
        raise unsupported(node, "is supported for constants", "Replace it by products")
    return x if axes is None else Const(np.asarray(x.value.prod(axis=axes, keepdims=keep), object), x.integer)


HANDLERS: dict[str, Handler] = {
    "ReduceSum": reduce_sum,
    "ReduceMean": reduce_mean,
    "ReduceMax": lambda b, n, i: reduce_extreme(b, n, i, True),
    "ReduceMin": lambda b, n, i: reduce_extreme(b, n, i, False),
    "ReduceSumSquare": reduce_sum_square,
    "ReduceProd": reduce_prod,
    "GlobalAveragePool": lambda b, n, i: global_pool(b, n, i, "ReduceMean"),
    "GlobalMaxPool": lambda b, n, i: global_pool(b, n, i, "ReduceMax"),
}
