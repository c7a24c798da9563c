"""ONNX's own quantisation: QuantizeLinear, DequantizeLinear, and the operators that carry quantised tensors (QLinear...).

QuantizeLinear rounds half to even before it adds the zero point, then saturates to its integer type. An operator on
quantised tensors is what it says: dequantise, operate, quantise.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from gatewright.compiler.frontend import standard
from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import broadcast
from gatewright.compiler.frontend.values import Builder, Const, Data, Handler, Quantised, Value, unsupported
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, Surd, elementwise, exacts, inverse, times

DOMAIN = "com.microsoft"

RANGES = {f"{'' if signed else 'u'}int{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
          for bits in (2, 4, 8, 16, 32) for signed in (True, False)}
"""Lowest and highest value of every integer type."""


def parameter(node: Node, value: Value | None, x: Value, axis: int, what: str) -> Exacts:
    """A scale or zero point as it meets `x`: one number, a vector along `axis`, or blocks along it."""
    if not isinstance(value, Const):
        raise unsupported(node, f"needs a constant {what}", "Export the model with static quantisation")
    a = value.value
    if a.size == 1:
        return a.reshape(())
    rank = x.value.ndim if isinstance(x, Const) else x.rank
    axis = axis % rank
    size = x.value.shape[axis] if isinstance(x, Const) else x.shape[axis - x.batched]
    if a.ndim == 1 and not node.attributes.get("block_size", 0):
        if len(a) != size or (isinstance(x, Data) and x.batched and axis == 0):
            raise unsupported(node, f"has {len(a)} values of {what} for axis {axis} of {size} elements", "Export it again")
        return a.reshape(-1, *(1,) * (rank - axis - 1))
    block = node.attributes.get("block_size", 0)
    if not isinstance(x, Const) or a.ndim != rank or block < 1 or a.shape[axis] != -(-size // block):
        raise unsupported(node, f"has a {what} of shape {list(a.shape)}", "Use one per tensor or per axis; blocks for weights")
    return np.repeat(a, block, axis=axis).take(np.arange(size), axis=axis)


def quantize_linear(b: Builder, node: Node, inputs: list[Any], zero_first: bool = False) -> Value:
    """`zero_first`: the zero point is added before rounding (QLinearAdd, QLinearMul, QLinearAveragePool; docs/exactness.md)."""
    x, scale, *rest = inputs
    zero = rest[0] if rest else None
    axis = node.attributes.get("axis", 1)
    s = parameter(node, scale, x, axis, "scale")
    if any(isinstance(v, Surd) or v <= 0 for v in s.reshape(-1)):
        raise unsupported(node, "has a scale that is not positive", "Mend the quantiser's scale and export again")
    z = ex.ZERO if zero is None else parameter(node, zero, x, axis, "zero point")
    kind = zero.dtype if isinstance(zero, Const) and zero.dtype else integer_type(node)
    if kind not in RANGES:
        raise unsupported(node, f"to {kind or 'an unknown type'} is not supported", f"Use one of {', '.join(RANGES)}")
    lo, hi = RANGES[kind]
    if isinstance(x, Const):
        rounding = ROUND_NUMBER["ROUND"]
        steps = elementwise(lambda v, t: type(t)(rounding(v / t)), x.value, s)
        return Const(np.asarray(np.minimum(np.maximum(steps + z, lo), hi), object), True, kind)
    shape = broadcast(node, x.shape, s.shape, z.shape)
    inside, after = (z, ex.ZERO) if zero_first else (ex.ZERO, z)
    steps_of = ex.Round(ex.affine(x.expr, elementwise(inverse, s), inside), "ROUND")
    codes = ex.Clip(ex.affine(steps_of, ex.ONE, after), exacts(lo), exacts(hi))
    leaf = b.region(codes, shape, node.outputs[0], node.name, ex.ONE, ex.ZERO)
    b.quantisers[node.outputs[0]] = Quantised(b.operand(leaf.index).name, 1, 0)
    return Data(leaf, shape, x.batched)


def integer_type(node: Node) -> str:
    """Without a zero point: the attribute `output_dtype`, or uint8."""
    kind = node.attributes.get("output_dtype", 0)
    return onnx.TensorProto.DataType.Name(kind).lower() if kind else "uint8"


def dequantize_linear(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, scale, *rest = inputs
    axis = node.attributes.get("axis", 1)
    s = parameter(node, scale, x, axis, "scale")
    z = ex.ZERO if not rest or rest[0] is None else parameter(node, rest[0], x, axis, "zero point")
    if isinstance(x, Const):
        return Const(times(elementwise(operator.sub, x.value, z), s))
    return Data(ex.affine(x.expr, s, np.asarray(-s * z, object)), broadcast(node, x.shape, s.shape, z.shape), x.batched)


# -- operators on quantised tensors --------------------------------------------------------------------------------------


def part(node: Node, op_type: str, suffix: str, **attributes: Any) -> Node:
    """A node that a composed operator consists of; the last one has no suffix and gives the node's own result."""
    outputs = (node.outputs[0] + suffix, *node.outputs[1:])
    return replace(node, op_type=op_type, domain="", outputs=outputs, attributes=attributes)


def real(b: Builder, node: Node, x: Any, scale: Any, zero: Any, axis: int = 1) -> Value:
    return dequantize_linear(b, part(node, "DequantizeLinear", ".real", axis=axis), [x, scale, zero])


def codes(b: Builder, node: Node, x: Value, scale: Any, zero: Any) -> Value:
    return quantize_linear(b, part(node, "QuantizeLinear", ""), [x, scale, zero])


def run(b: Builder, node: Node, op_type: str, inputs: list[Any], **attributes: Any) -> Value:
    """The real-valued operator inside."""
    handler = standard.HANDLERS.get(op_type)
    if handler is None:
        raise unsupported(node, f"needs {op_type}, which is not supported", "Remove it")
    return handler(b, part(node, op_type, ".value", **attributes), inputs)  # type: ignore[return-value]


def padded(inputs: list[Any], count: int) -> list[Any]:
    """The operands, with None for those left out at the end."""
    return [*inputs, *[None] * (count - len(inputs))]


def qlinear_conv(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, xs, xz, w, ws, wz, ys, yz, bias = padded(inputs, 9)
    operands = [real(b, node, x, xs, xz), real(b, node, w, ws, wz, axis=0), product_scale(node, bias, xs, ws)]
    return codes(b, node, run(b, node, "Conv", operands, **node.attributes), ys, yz)


def product_scale(node: Node, bias: Any, xs: Any, ws: Any) -> Const | None:
    """An integer bias, whose scale is the product of the operands' scales."""
    if bias is None:
        return None
    if not all(isinstance(v, Const) for v in (bias, xs, ws)):
        raise unsupported(node, "needs constant scales and bias", "Export the model with static quantisation")
    return Const(np.asarray(bias.value * xs.value.reshape(-1) * ws.value.reshape(-1), object))


def qlinear_matmul(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, xs, xz, w, ws, wz, ys, yz = padded(inputs, 8)
    product = run(b, node, "MatMul", [real(b, node, x, xs, xz, axis=-2), real(b, node, w, ws, wz, axis=-1)])
    return codes(b, node, product, ys, yz)


def qgemm(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """com.microsoft: the bias has the scale alpha * a_scale * b_scale; without y_scale the result is real."""
    x, xs, xz, w, ws, wz, bias, ys, yz = padded(inputs, 9)
    a = node.attributes
    axis = 0 if a.get("transB", 0) else 1
    y = run(b, node, "Gemm", [real(b, node, x, xs, xz), real(b, node, w, ws, wz, axis=axis), product_scale(node, bias, xs, ws)],
            transA=a.get("transA", 0), transB=a.get("transB", 0))
    alpha = a.get("alpha", 1.0)
    if alpha != 1.0:
        y = run(b, node, "Mul", [y, Const(exacts(alpha))])
    return y if ys is None else codes(b, node, y, ys, yz)


def integer_product(b: Builder, node: Node, inputs: list[Any], op_type: str) -> Value:
    """MatMulInteger and ConvInteger: int32 sums of products of codes less their zero points."""
    x, w, xz, wz = padded(inputs, 4)
    one = Const(exacts(1))
    axes = (1, 0) if op_type == "Conv" else (-2, -1)
    return run(b, node, op_type, [real(b, node, x, one, xz, axes[0]), real(b, node, w, one, wz, axes[1])], **node.attributes)


def qlinear_binary(op_type: str) -> Handler:
    def handler(b: Builder, node: Node, inputs: list[Any]) -> Value:
        x, xs, xz, y, ys, yz, zs, zz = padded(inputs, 8)
        result = run(b, node, op_type, [real(b, node, x, xs, xz), real(b, node, y, ys, yz)])
        return quantize_linear(b, part(node, "QuantizeLinear", ""), [result, zs, zz], zero_first=True)
    return handler


def qlinear_unary(op_type: str) -> Handler:
    def handler(b: Builder, node: Node, inputs: list[Any]) -> Value:
        x, xs, xz, ys, yz = padded(inputs, 5)
        attributes = {k: v for k, v in node.attributes.items() if k != "channels_last" and (k != "opset" or op_type == "Softmax")}
        if node.attributes.get("channels_last", 0):
            raise unsupported(node, "with channels last is not supported", "Export it with channels first")
        result = run(b, node, op_type, [real(b, node, x, xs, xz)], **attributes)
        return quantize_linear(b, part(node, "QuantizeLinear", ""), [result, ys, yz], zero_first=op_type == "AveragePool")
    return handler


def qlinear_concat(b: Builder, node: Node, inputs: list[Any]) -> Value:
    ys, yz, *rest = inputs
    parts = [real(b, node, *rest[k:k + 3]) for k in range(0, len(rest), 3)]
    return codes(b, node, run(b, node, "Concat", parts, **node.attributes), ys, yz)


HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "MatMulInteger": lambda b, n, i: integer_product(b, n, i, "MatMul"),
    "ConvInteger": lambda b, n, i: integer_product(b, n, i, "Conv"),
}
"""Of the standard domain."""

MICROSOFT: dict[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QGemm": qgemm,
    "QLinearAdd": qlinear_binary("Add"),
    "QLinearMul": qlinear_binary("Mul"),
    "QLinearConcat": qlinear_concat,
    **{f"QLinear{name}": qlinear_unary(name)
       for name in ("Sigmoid", "LeakyRelu", "Softmax", "AveragePool", "GlobalAveragePool", "ReduceMean")},
}
"""Of the domain com.microsoft."""
