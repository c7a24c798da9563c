"""Element-wise arithmetic, clips, roundings, batch normalisation."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import aligned, broadcast, together
from gatewright.compiler.frontend.standard.shape import from_axis
from gatewright.compiler.frontend.values import (
    Builder,
    Const,
    Data,
    Handler,
    Quantised,
    Value,
    single_leaf,
    unsupported,
)
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Enclosed, Exacts, Surd, elementwise, exacts, inverse, sqrt
from gatewright.ir.graph import Op
from gatewright.ir.ops import Multiply
from gatewright.ir.ops.region import exact_ends
from gatewright.ir.reals import FUNCTIONS

MAX_TABLE = 1 << 12
"""Codes up to which a product of two functions of one tensor is one function of it rather than a multiplier."""
MAX_PRODUCT = 40
"""Bits up to which it is a multiplier where there are more codes."""
MAX_POWER = 8


def linear(b: Builder, node: Node, inputs: list[Any], sign: int) -> Value:
    """Add and Sub."""
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(np.asarray(x.value + sign * y.value, object), x.integer and y.integer)
    if isinstance(x, Const) or isinstance(y, Const):
        data, const = (y, x) if isinstance(x, Const) else (x, y)
        a = aligned(const, data, node)
        shape = broadcast(node, data.shape, a.shape)
        if data is x:
            return Data(ex.affine(data.expr, ex.ONE, np.asarray(sign * a, object)), shape, data.batched)
        return Data(ex.affine(data.expr, exacts(sign), a), shape, data.batched)
    x, y = together(b, node, x, y)
    return Data(ex.add([(x.expr, ex.ONE), (y.expr, exacts(sign))]), broadcast(node, x.shape, y.shape), x.batched)


def scaled(data: Data, factor: Exacts, node: Node) -> Data:
    return Data(ex.affine(data.expr, factor), broadcast(node, data.shape, factor.shape), data.batched)


def mul(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(np.asarray(x.value * y.value, object), x.integer and y.integer)
    if isinstance(x, Const):
        return scaled(y, aligned(x, y, node), node)
    if isinstance(y, Const):
        return scaled(x, aligned(y, x, node), node)
    return product(b, node, x, y)


def product(b: Builder, node: Node, x: Data, y: Data) -> Data:
    """Two tensors: (s c + o)(t d + p) = s t (c d) + s p c + t o d + o p, with the integer product c d.

    Functions of the same tensors, as in x * sigmoid(x), stay an expression: together they are a function of these tensors.
    So do quotients.
    """
    x, y = together(b, node, x, y)
    name, shape = node.outputs[0], broadcast(node, x.shape, y.shape)
    if "reciprocal" in ex.functions(x.expr) | ex.functions(y.expr):
        return Data(ex.Product(x.expr, y.expr), shape, x.batched)
    if ex.leaves(x.expr) == ex.leaves(y.expr) and (ex.functions(x.expr) or ex.functions(y.expr) or one_function(b, x, y)):
        return Data(ex.Product(x.expr, y.expr), shape, x.batched)
    (c, s, o), (d, t, p) = b.integer(x, name + ".a", node.name), b.integer(y, name + ".b", node.name)
    st, op = np.asarray(s * t, object), np.asarray(o * p, object)
    both = b.emit(Multiply, name, [c, d], node.name, st, ex.ZERO)
    terms = [(both, st), (b.leaf_of(c), np.asarray(s * p, object)), (b.leaf_of(d), np.asarray(t * o, object))]
    return Data(ex.add(terms, op), shape, x.batched)


def one_table(b: Builder, x: Data) -> bool:
    """Whether it is a function of one tensor of few codes."""
    used = ex.leaves(x.expr)
    source = b.leaves[min(used)]
    return len(used) == 1 and isinstance(source, Op) and int((source.type.hi - source.type.lo).max(initial=0)) < MAX_TABLE


def one_function(b: Builder, x: Data, y: Data) -> bool:
    """Whether the product of two functions of one tensor, not both linear, is one function rather than a multiplier: the
    tensor has few codes, or the factors have codes that are too wide."""
    if (single_leaf(x.expr) and single_leaf(y.expr)) or len(used := ex.leaves(x.expr)) > 1:
        return False
    if one_table(b, x):
        return True
    if not isinstance(b.leaves[min(used)], Op):
        return False
    steps = [ex.unit_of_all(v.expr) for v in (x, y)]
    reach = [max(abs(end) for ends in reach_of(b, v.expr) for end in ends.reshape(-1)) for v in (x, y)]
    return any(s is None for s in steps) or math.prod(reach) >= (1 << MAX_PRODUCT) * math.prod(s for s in steps if s)


def div(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(y, Data):
        try:
            return mul(b, node, [x, apply(b, node, y, "reciprocal")])
        except UserError as error:
            if error.node:
                raise
            raise UserError(error.reason.replace("the operand of reciprocal", "its divisor"), node=node.name,
                            remedy=error.remedy) from None
    if (y.value == 0).any():
        raise unsupported(node, "divides by zero", "Mend the constant")
    if isinstance(x, Const):
        if x.integer and y.integer:  # ONNX integer division truncates
            return Const(elementwise(lambda p, q: Fraction(ROUND_NUMBER["DOWN"](p / q)), x.value, y.value), True)
        return Const(np.asarray(x.value * elementwise(inverse, y.value), object))
    return scaled(x, elementwise(inverse, aligned(y, x, node)), node)


def neg(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, = inputs
    return Const(np.asarray(-x.value, object), x.integer) if isinstance(x, Const) else scaled(x, exacts(-1), node)


def power(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, y = inputs
    if isinstance(x, Const) and isinstance(y, Const):
        return Const(elementwise(lambda p, q: exact_power(p, q, node), x.value, y.value), x.integer and y.integer)
    exponents = set(y.value.reshape(-1)) if isinstance(y, Const) else set()
    if isinstance(x, Data) and len(exponents) == 1:
        exponent = exponents.pop()
        if exponent in (Fraction(1, 2), -1):
            return apply(b, node, x, "sqrt" if exponent > 0 else "reciprocal")
        if exponent.denominator == 1 and 1 <= exponent <= MAX_POWER:
            result, whole = x, exponent > 2 and one_table(b, x)
            for _ in range(int(exponent) - 1):
                result = replace(x, expr=ex.Product(result.expr, x.expr)) if whole else product(b, node, result, x)
            return result
    raise unsupported(node, f"is supported for constants, and of a tensor for the exponents 1 to {MAX_POWER}, 0.5 and -1",
                      "Replace it by products")


def exact_power(base: Any, exponent: Any, node: Node) -> Any:
    if exponent == Fraction(1, 2):
        return exact_sqrt(base, node)
    if exponent.denominator != 1 or abs(exponent) > 64:
        raise unsupported(node, f"with the exponent {exponent} has no exact value", "Use an integer or 0.5 as exponent")
    result: Any = Fraction(1)
    for _ in range(abs(exponent.numerator)):
        result = result * base
    return result if exponent >= 0 else inverse(result)


def exact_sqrt(x: Any, node: Node) -> Any:
    if isinstance(x, Surd) or x < 0:
        raise unsupported(node, f"of {x} has no exact value", "Take the root of a non-negative rational constant")
    return sqrt(x)


def apply(b: Builder, node: Node, x: Any, name: str) -> Value:
    """A real function of reals.FUNCTIONS. Raises UserError where the operand can leave its domain."""
    if isinstance(x, Const):
        values = elementwise(FUNCTIONS[name], x.value)
        if any(isinstance(v, Enclosed) for v in values.reshape(-1)):
            raise unsupported(node, "of a constant has no exact value", "Put its value, or a quantiser, into the model")
        return Const(values)
    result = ex.Func(name, x.expr)
    if all(isinstance(b.leaves[i], Op) for i in ex.leaves(result)):
        reach_of(b, result)
    return Data(result, x.shape, x.batched)


def reach_of(b: Builder, e: ex.Expr) -> ex.Bounds:
    """The interval of an expression of typed tensors."""
    ends = {i: exact_ends(b.operand(i).type) for i in ex.leaves(e)}
    return ex.bounds(e, [ends.get(i, (ex.ZERO, ex.ZERO)) for i in range(max(ends, default=-1) + 1)])


def limit(b: Builder, node: Node, x: Any, lo: Exacts | None, hi: Exacts | None) -> Value:
    if isinstance(x, Const):
        v = x.value if lo is None else np.asarray(np.maximum(x.value, lo), object)
        return Const(v if hi is None else np.asarray(np.minimum(v, hi), object), x.integer)
    return Data(ex.Clip(x.expr, lo, hi), x.shape, x.batched)


def clip(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    given = [*inputs[1:], None, None][:2]
    ends: list[Exacts | None] = []
    for name, value in zip(("min", "max"), given, strict=True):
        if value is None and name in node.attributes:
            value = Const(exacts(node.attributes[name]))
        if value is not None and (not isinstance(value, Const) or value.value.size != 1):
            raise unsupported(node, "needs constant scalar bounds", "Use constants for min and max")
        ends.append(None if value is None else value.value.reshape(()))
    lo, hi = ends
    if lo is not None and hi is not None and (lo > hi).all():  # ONNX: the upper bound wins
        lo = hi
    return limit(b, node, x, lo, hi)


def relu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return limit(b, node, inputs[0], ex.ZERO, None)


def rounding(b: Builder, node: Node, inputs: list[Any], mode: str) -> Value:
    """Floor, Ceil, Round: integers, so a tensor of their own."""
    x, = inputs
    if isinstance(x, Const):
        return Const(elementwise(lambda v: Fraction(ROUND_NUMBER[mode](v)), x.value), x.integer)
    leaf = b.region(ex.Round(x.expr, mode), x.shape, node.outputs[0], node.name, ex.ONE, ex.ZERO)
    b.quantisers[node.outputs[0]] = Quantised(b.operand(leaf.index).name, 1, 0)
    return Data(leaf, x.shape, x.batched)


def batch_normalization(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, *constants = inputs
    training = not node.attributes.get("is_test", 0) if b.opset < 7 else node.attributes.get("training_mode", 0)
    if training or len(node.outputs) > 1:
        raise unsupported(node, "is in training mode", "Export the model for inference (model.eval())")
    if not node.attributes.get("spatial", 1):
        raise unsupported(node, "has statistics for every element", "Export the model with statistics per channel (spatial = 1)")
    if not isinstance(x, Data) or not all(isinstance(c, Const) for c in constants) or len(constants) != 4:
        raise unsupported(node, "needs constant parameters", "Export the model for inference")
    gamma, beta, mean, var = (c.value for c in constants)
    epsilon = Fraction(float(np.float32(node.attributes.get("epsilon", 1e-5))))
    if x.rank < 2:
        raise unsupported(node, f"needs a channel axis, its operand has rank {x.rank}", "Export the model again")
    channels = x.shape[1 - x.batched]
    if any(c.value.shape != (channels,) for c in constants):
        raise unsupported(node, f"has parameters of shapes {[list(c.value.shape) for c in constants]} for {channels} channels",
                          "Export the model again: its channels are the second dimension of the operand")
    if (np.asarray(var + epsilon, object) <= 0).any():
        raise unsupported(node, "has a channel whose variance plus epsilon is not positive", "Mend the parameters")
    factor = np.asarray(gamma * elementwise(lambda v: inverse(sqrt(v + epsilon)), var), object)
    shift = np.asarray(beta - mean * factor, object)
    trailing = (1,) * (x.rank - 2)
    factor, shift = (a.reshape(-1, *trailing) if a.size > 1 else a.reshape(()) for a in (factor, shift))
    return Data(ex.affine(x.expr, factor, shift), broadcast(node, x.shape, factor.shape), x.batched)


HANDLERS: dict[str, Handler] = {
    "Add": from_axis(lambda b, n, i: linear(b, n, i, 1)),
    "Sub": from_axis(lambda b, n, i: linear(b, n, i, -1)),
    "Mul": from_axis(mul),
    "Div": from_axis(div),
    "Neg": neg,
    "Pow": from_axis(power),
    "Relu": relu,
    "Clip": clip,
    "Floor": lambda b, n, i: rounding(b, n, i, "FLOOR"),
    "Ceil": lambda b, n, i: rounding(b, n, i, "CEIL"),
    "Round": lambda b, n, i: rounding(b, n, i, "ROUND"),
    "BatchNormalization": batch_normalization,
}
