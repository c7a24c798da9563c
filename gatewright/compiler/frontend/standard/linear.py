"""Sums of products: MatMul and Gemm."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.elementwise import linear, mul
from gatewright.compiler.frontend.values import (
    MAX_SCALED_BITS,
    Builder,
    Const,
    Data,
    Handler,
    Value,
    integer_constant,
    unsupported,
)
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts, unit
from gatewright.ir.ops import Dense


def matmul(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(np.asarray(x.value @ y.value, object))
    if isinstance(x, Data) and isinstance(y, Const):
        return dense(b, node, x, y.value)
    if isinstance(x, Const) and isinstance(y, Data):
        return left_dense(b, node, x.value, y)
    raise unsupported(node, "of two tensors is not supported", "Give one operand as a constant")


def dense(b: Builder, node: Node, x: Data, w: Exacts) -> Data:
    """x @ w over the last axis: integer weights from the exact product of x's scale and w, one unit per column if need be."""
    name = node.outputs[0]
    if w.ndim == 1:
        y = dense(b, node, x, w.reshape(-1, 1))
        return b.reshape(y, ((b.batch,) if y.batched else ()) + y.shape[:-1], name, node.name)
    if w.ndim != 2 or not x.shape or x.shape[-1] != w.shape[0]:
        raise unsupported(node, f"has operands of shapes {list(x.shape)} (one sample) and {list(w.shape)}",
                          "Use a constant matrix whose rows match the tensor's last axis")
    leading = tuple(range(len(x.shape) - 1))
    op, s, o = b.uniform(x, leading, name + ".x", node.name) if leading else b.integer(x, name + ".x", node.name)
    rows = np.broadcast_to(s, x.shape)[(0,) * len(leading)] if s.shape else s
    weights = np.asarray((rows[:, None] if rows.shape else rows) * w, object)
    scale = column_units(weights, node)
    integer_constant(np.asarray(w / column_units(w, node), object), "its weights", node.name)  # refuses float weights
    integers = integer_constant(np.asarray(weights / scale, object), "its weights, with its operand's scales,", node.name,
                                MAX_SCALED_BITS)
    offset = np.asarray(np.broadcast_to(o, x.shape) @ w, object) if (o != 0).any() else ex.ZERO
    bias = np.zeros(w.shape[1], np.int64)
    leaf = b.emit(Dense, name, [op], node.name, scale, ex.ZERO, weight=integers, bias=bias)
    return Data(ex.affine(leaf, scale, offset), (*x.shape[:-1], w.shape[1]), x.batched)


def column_units(weights: Exacts, node: Node) -> Exacts:
    """A unit for all weights where that costs no more than a few bits, else one per column."""
    columns = [unit(weights[:, j]) if (weights[:, j] != 0).any() else 0 for j in range(weights.shape[1])]
    used = [u for u in columns if u != 0]
    if any(u is None for u in used):
        raise unsupported(node, "has an operand whose elements have scales without a common unit (a batch normalisation "
                          "per input channel without a quantiser after it, for example)",
                          "Quantise the tensor before this node")
    common = unit(np.array([*used, None], object)[:-1])
    if common is not None and max((u / common for u in used if u is not None), default=1) <= 256:
        return exacts(common)
    return np.array([*(u or Fraction(1) for u in columns), None], object)[:-1]


def left_dense(b: Builder, node: Node, w: Exacts, x: Data) -> Data:
    """w @ x = transpose(transpose(x) @ transpose(w))."""
    name = node.outputs[0]
    if len(x.shape) == 1:
        x = b.unbatch(x, name, node.name)
    if len(x.shape) < 2 or w.ndim != 2:
        raise unsupported(node, f"has operands of shapes {list(w.shape)} and {list(x.shape)} (one sample)",
                          "Use a constant matrix")
    swap = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
    flipped = b.transpose(x, swap, name + ".t", node.name)
    return b.transpose(dense(b, node, flipped, w.T), swap, name, node.name)


def gemm(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """alpha * A' @ B' + beta * C."""
    a, w, *rest = inputs
    alpha, beta = (exacts(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))

    def transposed(v: Value, flag: str) -> Value:
        if not node.attributes.get(flag, 0):
            return v
        return Const(v.value.T) if isinstance(v, Const) else b.transpose(v, (1, 0), node.outputs[0] + ".t", node.name)

    y = matmul(b, node, [transposed(a, "transA"), transposed(w, "transB")])
    y = mul(b, node, [y, Const(alpha)])
    if rest and rest[0] is not None and (beta != 0).any():
        y = linear(b, node, [y, mul(b, node, [rest[0], Const(beta)])], 1)
    return y


HANDLERS: dict[str, Handler] = {
    "MatMul": matmul,
    "Gemm": gemm,
}
