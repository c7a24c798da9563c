"""Activation functions: what is piecewise linear as clips, the rest by the real functions of ir/reals.py.

Attributes are the exact values of their float32; constants of a definition (1/6 in HardSwish, sqrt(2 / pi) in Gelu) are the
numbers that the standard writes, not floats near them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import aligned, broadcast
from gatewright.compiler.frontend.standard.elementwise import apply, limit, product
from gatewright.compiler.frontend.values import Builder, Const, Data, Handler, Value, unsupported
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts, inverse, sqrt

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
ONE_SIXTH, GELU_CUBE = Fraction(1, 6), Fraction(44715, 10**6)


def number(node: Node, name: str, default: float) -> Exacts:
    """A float attribute: the exact value of the float32."""
    return exacts(np.float32(node.attributes.get(name, default)))


def only_data(node: Node, x: Value) -> Data:
    if isinstance(x, Const):
        raise unsupported(node, "of a constant is not supported", "Run a constant-folding tool on the model")
    return x


def like(x: Data, expr: ex.Expr) -> Data:
    return Data(expr, x.shape, x.batched)


def positive(x: Data) -> ex.Expr:
    return ex.Clip(x.expr, ex.ZERO, None)


def negative(x: Data) -> ex.Expr:
    return ex.Clip(x.expr, None, ex.ZERO)


def shifted(data: Data, scale: Any, offset: Any) -> Data:
    """scale * data + offset"""
    return like(data, ex.affine(data.expr, exacts(scale), exacts(offset)))


def absolute(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, = inputs
    if isinstance(x, Const):
        return Const(np.asarray(np.maximum(x.value, -x.value), object), x.integer)
    return like(x, ex.add([(positive(x), ex.ONE), (negative(x), exacts(-1))]))


def leaky(x: Data, slope: Exacts, node: Node) -> Data:
    return Data(ex.add([(positive(x), ex.ONE), (negative(x), slope)]), broadcast(node, x.shape, slope.shape), x.batched)


def leaky_relu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return leaky(only_data(node, inputs[0]), number(node, "alpha", 0.01), node)


def p_relu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, slope = inputs
    if not isinstance(slope, Const):
        raise unsupported(node, "needs a constant slope", "Export the model for inference")
    x = only_data(node, x)
    if b.opset < 7 and slope.value.ndim == 1 and slope.value.size > 1:  # one per channel
        slope = Const(slope.value.reshape(-1, *(1,) * (x.rank - 2)))
    return leaky(x, aligned(slope, x, node), node)


def exponential_unit(b: Builder, node: Node, x: Value, alpha: Exacts, gamma: Exacts, inside: Exacts) -> Data:
    """gamma * x for x >= 0, gamma * alpha * (exp(inside * x) - 1) below: Elu, Selu, Celu."""
    x = only_data(node, x)
    falling = apply(b, node, like(x, ex.affine(negative(x), inside)), "exp")
    assert isinstance(falling, Data)
    depth = np.asarray(alpha * gamma, object)
    return like(x, ex.add([(positive(x), gamma), (falling.expr, depth)], np.asarray(-depth, object)))


def elu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return exponential_unit(b, node, inputs[0], number(node, "alpha", 1.0), ex.ONE, ex.ONE)


def selu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return exponential_unit(b, node, inputs[0], number(node, "alpha", SELU_ALPHA), number(node, "gamma", SELU_GAMMA), ex.ONE)


def celu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    alpha = number(node, "alpha", 1.0)
    return exponential_unit(b, node, inputs[0], alpha, ex.ONE, exacts(inverse(alpha.item())))


def threshold_relu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """x where x > alpha, else 0."""
    x, alpha = only_data(node, inputs[0]), number(node, "alpha", 1.0)
    above = ex.Clip(ex.Round(ex.affine(x.expr, ex.ONE, -alpha), "CEIL"), ex.ZERO, ex.ONE)
    return product(b, node, x, like(x, above))


def hard_sigmoid_of(b: Builder, node: Node, x: Data, alpha: Exacts, beta: Exacts) -> Data:
    result = limit(b, node, shifted(x, alpha, beta), ex.ZERO, ex.ONE)
    assert isinstance(result, Data)
    return result


def hard_sigmoid(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return hard_sigmoid_of(b, node, only_data(node, inputs[0]), number(node, "alpha", 0.2), number(node, "beta", 0.5))


def hard_swish(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = only_data(node, inputs[0])
    return product(b, node, x, hard_sigmoid_of(b, node, x, exacts(ONE_SIXTH), exacts(0.5)))


def function_of(b: Builder, node: Node, x: Data, name: str) -> Data:
    result = apply(b, node, x, name)
    assert isinstance(result, Data)
    return result


def swish(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """x * sigmoid(alpha * x)"""
    x = only_data(node, inputs[0])
    return product(b, node, x, function_of(b, node, shifted(x, number(node, "alpha", 1.0), 0), "sigmoid"))


def mish(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """x * tanh(softplus(x))"""
    x = only_data(node, inputs[0])
    return product(b, node, x, function_of(b, node, function_of(b, node, x, "softplus"), "tanh"))


def gelu(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """x / 2 * (1 + erf(x / sqrt(2))), or with approximate = "tanh": x / 2 * (1 + tanh(sqrt(2 / pi) * (x + c * x**3)))."""
    x = only_data(node, inputs[0])
    kind = node.attributes.get("approximate", "none")
    if kind not in ("none", "tanh"):
        raise unsupported(node, f"has the unknown approximation '{kind}'", "Use none or tanh")
    if kind == "none":
        inner = function_of(b, node, like(x, ex.affine(x.expr, exacts(sqrt(Fraction(1, 2))))), "erf")
    else:
        cube = ex.Product(ex.Product(x.expr, x.expr), x.expr)
        inner = function_of(b, node, like(x, ex.add([(x.expr, ex.ONE), (cube, exacts(GELU_CUBE))])), "gelu_tanh")
    half = Fraction(1, 2)
    return product(b, node, x, shifted(inner, half, half))


def softsign(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """x / (1 + |x|), as the monotone 1 / (1 - min(x, 0)) - 1 / (1 + max(x, 0))."""
    x = only_data(node, inputs[0])
    below, above = (function_of(b, node, like(x, ex.affine(part, exacts(sign), ex.ONE)), "reciprocal")
                    for part, sign in ((negative(x), -1), (positive(x), 1)))
    return like(x, ex.add([(below.expr, ex.ONE), (above.expr, exacts(-1))]))


def real_function(name: str) -> Handler:
    return lambda b, node, inputs: apply(b, node, inputs[0], name)


HANDLERS: dict[str, Handler] = {
    "Abs": absolute,
    "LeakyRelu": leaky_relu,
    "PRelu": p_relu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "ThresholdedRelu": threshold_relu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Swish": swish,
    "Mish": mish,
    "Gelu": gelu,
    "Softsign": softsign,
    "Sigmoid": real_function("sigmoid"),
    "Tanh": real_function("tanh"),
    "Softplus": real_function("softplus"),
    "Exp": real_function("exp"),
    "Log": real_function("log"),
    "Erf": real_function("erf"),
    "Sqrt": real_function("sqrt"),
    "Reciprocal": real_function("reciprocal"),
}
