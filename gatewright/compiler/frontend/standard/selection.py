"""Comparisons and choices: what is element-wise between tensors on any scales. Truth is 1, falsehood 0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from onnx import TensorProto

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import aligned, broadcast, together
from gatewright.compiler.frontend.standard.elementwise import linear, mul, one_function, reach_of
from gatewright.compiler.frontend.standard.shape import from_axis
from gatewright.compiler.frontend.values import QUANTISE_BEFORE, Builder, Const, Data, Handler, Value, unsupported
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, elementwise, exacts, inverse
from gatewright.ir.graph import Op
from gatewright.ir.ops import Combine, Extremum, Select

MINUS = exacts(-1)
WIDE_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


def like(x: Data, e: ex.Expr) -> Data:
    return Data(e, x.shape, x.batched)


def rounded(x: Value, mode: str) -> Value:
    """Rounded to integers without becoming a tensor of its own."""
    if isinstance(x, Const):
        return Const(exacts(elementwise(ROUND_NUMBER[mode], x.value).astype(object)), True)
    return like(x, ex.Round(x.expr, mode))


def limited(x: Value, lo: int, hi: int) -> Value:
    if isinstance(x, Const):
        return Const(np.asarray(np.minimum(np.maximum(x.value, exacts(lo)), exacts(hi)), object), x.integer)
    return like(x, ex.Clip(x.expr, exacts(lo), exacts(hi)))


def sign(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return limited(rounded(inputs[0], "UP"), -1, 1)


def comparison(b: Builder, node: Node, inputs: list[Any], swap: bool, strict: bool) -> Value:
    """x - y > 0 (`strict`) or >= 0; y - x with `swap`: the ceiling, or the floor plus one, limited to 0..1."""
    first, second = inputs[::-1] if swap else inputs
    difference = linear(b, node, [first, second], -1)
    if strict:
        return limited(rounded(difference, "CEIL"), 0, 1)
    return limited(rounded(linear(b, node, [difference, Const(ex.ONE)], 1), "FLOOR"), 0, 1)


def equal(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """(x >= y) - (x > y), which is 0 or 1 though intervals do not show it."""
    at_least, above = (comparison(b, node, inputs, False, strict) for strict in (False, True))
    return limited(linear(b, node, [at_least, above], -1), 0, 1)


def negation(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return linear(b, node, [Const(ex.ONE), inputs[0]], -1)


def conjunction(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return limited(linear(b, node, [linear(b, node, inputs, 1), Const(ex.ONE)], -1), 0, 1)


def disjunction(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return limited(linear(b, node, inputs, 1), 0, 1)


def remainder(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """x - y * floor(x / y), or with fmod = 1 the quotient rounded toward zero; y constant."""
    x, y = inputs
    if not isinstance(y, Const) or (y.value == 0).any():
        raise unsupported(node, "needs a constant divisor other than 0", "Use a constant")
    quotient = mul(b, node, [x, Const(elementwise(inverse, y.value))])
    turns = rounded(quotient, "DOWN" if node.attributes.get("fmod", 0) else "FLOOR")
    return linear(b, node, [x, mul(b, node, [turns, y])], -1)


def cast_data(b: Builder, node: Node, x: Data, to: int) -> Data:
    """To an integer type toward zero, to bool "not zero", to a wide float type as it is: the arithmetic is exact."""
    if to in WIDE_FLOATS:
        return x
    if to == TensorProto.BOOL:
        is_zero = equal(b, node, [x, Const(ex.ZERO)])
        result = negation(b, node, [is_zero])
        assert isinstance(result, Data)
        return result
    name = TensorProto.DataType.Name(to).lower() if to in TensorProto.DataType.values() else str(to)
    limits = re.fullmatch(r"(u?)int(\d+)", name)
    if limits is None:
        raise unsupported(node, f"of a tensor to {name} would round it to a grid that depends on its values",
                          "Export the model in float32, or put a quantiser there")
    bits = int(limits[2])
    lo, hi = (0, (1 << bits) - 1) if limits[1] else (-(1 << bits - 1), (1 << bits - 1) - 1)
    codes = ex.Round(x.expr, "DOWN")
    if all(isinstance(b.leaves[i], Op) for i in ex.leaves(codes)):
        ends = reach_of(b, codes)
        if (ends[0] < lo).any() or (ends[1] > hi).any():
            raise unsupported(node, f"to {name} would overflow: its operand reaches {float(ends[0].min()):g}.."
                              f"{float(ends[1].max()):g}", "Clip or quantise it before")
    return like(x, codes)


# -- choices between tensors -------------------------------------------------------------------------------------------


def where(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """One function where it is one (a constant for each case, or all functions of one tensor), else a selection between
    codes on one grid."""
    condition, x, y = inputs
    if isinstance(condition, Const) or (isinstance(x, Const) and isinstance(y, Const)):
        factor = linear(b, node, [x, y], -1)
        return linear(b, node, [y, mul(b, node, [condition, factor])], 1)
    data = batch_alike(b, node, [v for v in inputs if isinstance(v, Data)])
    name, values = node.outputs[0], iter(data)
    condition, x, y = (next(values) if isinstance(v, Data) else v for v in inputs)
    if joint(b, data):
        return chosen(node, condition, x, y)
    shape = broadcast(node, *(v.shape if isinstance(v, Data) else aligned(v, condition, node).shape for v in (condition, x, y)))
    choice, *_ = b.integer(condition, name + ".c", node.name)
    (first, second), scale = one_grid(b, node, [x, y], condition, choice)
    result = b.emit(Select, name, [choice, first, second], node.name, scale, ex.ZERO)
    return Data(ex.affine(result, scale), shape, condition.batched)


def chosen(node: Node, condition: Data, x: Value, y: Value) -> Data:
    """c * x + (1 - c) * y as one expression: what is not chosen is multiplied by an exact zero."""
    parts, shape = [], condition.shape
    for v, c in ((x, condition.expr), (y, ex.affine(condition.expr, MINUS, ex.ONE))):
        a = aligned(v, condition, node) if isinstance(v, Const) else ex.ONE
        shape = broadcast(node, shape, a.shape if isinstance(v, Const) else v.shape)
        parts.append((c, a) if isinstance(v, Const) else (ex.Product(c, v.expr), a))
    return Data(ex.add(parts), shape, condition.batched)


def batch_alike(b: Builder, node: Node, data: Sequence[Data]) -> list[Data]:
    """All with the same idea of the batch dimension."""
    first = data[0]
    rest = [together(b, node, first, x) for x in data[1:]]
    return [rest[0][0] if rest else first, *(x for _, x in rest)]


def joint(b: Builder, data: Sequence[Data]) -> bool:
    """Whether functions of one tensor, or real functions of the same tensors, are best taken as one function."""
    used = [ex.leaves(x.expr) for x in data]
    if any(u != used[0] for u in used):
        return False
    return any(ex.functions(x.expr) for x in data) or any(one_function(b, data[0], x) for x in data[1:])


def one_grid(b: Builder, node: Node, values: Sequence[Value], alike: Data, anchor: Op) -> tuple[list[Op], Exacts]:
    """Integer tensors of one scale and offset 0 that the values are codes of; `anchor` is any tensor."""
    steps = []
    for v in values:
        step = ex.unit(v.expr) if isinstance(v, Data) else aligned(v, alike, node)
        if step is None:
            raise unsupported(node, "has an operand without exact integer codes (a real function's values, or parts whose "
                              "scales have no common unit)", QUANTISE_BEFORE)
        steps.append(step)
    scale = ex.units(steps)
    if any(s is None for s in scale.reshape(-1)):
        raise unsupported(node, "has operands whose scales have no common unit", "Quantise them with commensurable scales")
    per_code = elementwise(inverse, scale)
    ops = []
    for v in values:
        name = node.outputs[0] + ".x"
        if isinstance(v, Data):
            shape = broadcast(node, v.shape, scale.shape)
            leaf = b.region(ex.affine(v.expr, per_code), shape, name, node.name, scale, ex.ZERO)
        else:
            codes = elementwise(int, np.asarray(aligned(v, alike, node) * per_code, object)).astype(np.int64)
            leaf = b.emit(Combine, name, [anchor], node.name, scale, ex.ZERO, scales=(np.zeros((), np.int64),), offset=codes)
        ops.append(b.operand(leaf.index))
    return ops, scale


def extremum(b: Builder, node: Node, inputs: list[Any], largest: bool) -> Value:
    """Max and Min: constants limit; of two tensors x + max(y - x, 0) where that is one function, else a selection."""
    data = batch_alike(b, node, [v for v in inputs if isinstance(v, Data)]) if any(isinstance(v, Data) for v in inputs) else []
    combine = np.maximum if largest else np.minimum
    constants = [v for v in inputs if isinstance(v, Const)]
    if not data:
        whole = reduce(lambda p, q: np.asarray(combine(p, q), object), (v.value for v in constants))
        return Const(whole, all(v.integer for v in constants))
    result = reduce(lambda x, y: larger(b, node, x, y, largest), data)
    for v in constants:
        a = aligned(v, result, node)
        result = Data(ex.Clip(result.expr, a if largest else None, None if largest else a),
                      broadcast(node, result.shape, a.shape), result.batched)
    return result


def larger(b: Builder, node: Node, x: Data, y: Data, largest: bool) -> Data:
    shape = broadcast(node, x.shape, y.shape)
    if joint(b, [x, y]) and (ex.functions(x.expr) or ex.functions(y.expr)):
        above = comparison(b, node, [x, y], swap=not largest, strict=False)
        assert isinstance(above, Data)
        return chosen(node, above, x, y)
    if ex.leaves(x.expr) == ex.leaves(y.expr) and len(ex.leaves(x.expr)) == 1:
        difference = ex.add([(y.expr, ex.ONE), (x.expr, MINUS)])
        bent = ex.Clip(difference, ex.ZERO if largest else None, None if largest else ex.ZERO)
        return Data(ex.add([(x.expr, ex.ONE), (bent, ex.ONE)]), shape, x.batched)
    (first, second), scale = one_grid(b, node, [x, y], x, b.operand(min(ex.leaves(x.expr))))
    leaf = b.emit(Extremum, node.outputs[0], [first, second], node.name, scale, ex.ZERO, largest=int(largest))
    return Data(ex.affine(leaf, scale), shape, x.batched)


HANDLERS: dict[str, Handler] = {
    "Sign": sign,
    "Greater": from_axis(lambda b, n, i: comparison(b, n, i, swap=False, strict=True)),
    "GreaterOrEqual": lambda b, n, i: comparison(b, n, i, swap=False, strict=False),
    "Less": from_axis(lambda b, n, i: comparison(b, n, i, swap=True, strict=True)),
    "LessOrEqual": lambda b, n, i: comparison(b, n, i, swap=True, strict=False),
    "Equal": from_axis(equal),
    "Not": negation,
    "And": from_axis(conjunction),
    "Or": from_axis(disjunction),
    "Mod": remainder,
    "Where": where,
    "Max": lambda b, n, i: extremum(b, n, i, True),
    "Min": lambda b, n, i: extremum(b, n, i, False),
}
