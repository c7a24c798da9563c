"""Dense layers: products with a constant matrix."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.values import (
    MAX_SCALED_BITS,
    QUANTISE_BEFORE,
    Builder,
    Data,
    check_data,
    integer_constant,
    unsupported,
)
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts, over, times, unit
from gatewright.ir.ops import Dense


def dense(b: Builder, node: Node, x: Data, w: Exacts) -> Data:
    """x @ w over the last axis, w [in, out]: integer weights from the exact product of x's scale and w, one unit per column if
    need be."""
    name = node.outputs[0]
    check_data((*x.shape[:-1], w.shape[1]), node.name)
    leading = tuple(range(len(x.shape) - 1))
    op, s, o = b.uniform(x, leading, name + ".x", node.name) if leading else b.integer(x, name + ".x", node.name)
    rows = np.broadcast_to(s, x.shape)[(0,) * len(leading)] if s.shape else s
    weights = times(rows[:, None] if rows.shape else rows, w)
    scale = column_units(weights, node)
    integer_constant(over(w, column_units(w, node)), "its weights", node.name)  # refuses float weights
    integers = integer_constant(over(weights, scale), "its weights, with its operand's scales,", node.name,
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
                          QUANTISE_BEFORE)
    common = unit(np.array([*used, None], object)[:-1])
    if common is not None and max((u / common for u in used if u is not None), default=1) <= 256:
        return exacts(common)
    return np.array([*(u or Fraction(1) for u in columns), None], object)[:-1]
