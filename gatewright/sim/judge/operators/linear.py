"""ONNX's own quantisation: QuantizeLinear, DequantizeLinear, and the operators on quantised tensors.

The latter (QLinear..., QGemm, ..., also those of onnxruntime) mean dequantise, compute, quantise, without any rounding
in between. QuantizeLinear rounds to even before it adds the zero point, then saturates; onnxruntime's QLinearAdd, QLinearMul
and QLinearAveragePool add the zero point first, which differs at halves where it is odd (docs/exactness.md).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import onnx

from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.operators.activations import LEAKY_ALPHA, leaky, softmax_over
from gatewright.sim.judge.operators.arithmetic import inverse
from gatewright.sim.judge.operators.call import Call, Operator, number, reshaped
from gatewright.sim.judge.operators.casts import INTEGER_RANGES
from gatewright.sim.judge.operators.contractions import general_product, product
from gatewright.sim.judge.operators.convolutions import average_pool, channels_last, convolution
from gatewright.sim.judge.operators.reductions import mean, reduced
from gatewright.sim.judge.reals import apply
from gatewright.sim.judge.tensor import Tensor, concatenate


def quantize_linear(call: Call) -> Tensor:
    x, scale = call.input(0), call.input(1)
    axis, block = call.attribute("axis", 1), call.attribute("block_size", 0)
    for unused in ("saturate", "precision"):
        call.attribute(unused)
    declared = call.attribute("output_dtype", 0)
    zero = call.optional(2)
    given = call.types[2] if zero is not None else None
    scale, zero = (_along(call, x, p, axis, block) for p in (scale, number(0) if zero is None else zero))
    return quantised(call, x, scale, zero, given or declared or onnx.TensorProto.UINT8)


def dequantize_linear(call: Call) -> Tensor:
    x, scale, zero = call.input(0), call.input(1), call.optional(2)
    axis, block, declared = call.attribute("axis", 1), call.attribute("block_size", 0), call.attribute("output_dtype", 0)
    call.type = declared or call.types[1]
    scale, zero = (_along(call, x, p, axis, block) for p in (scale, number(0) if zero is None else zero))
    return tensor.multiply(tensor.subtract(x, zero), scale)


def _along(call: Call, x: Tensor, parameter: Tensor, axis: int, block: int = 0) -> Tensor:
    """A scale or zero point: one for the tensor, one per element of an axis, or one per block along it."""
    if block:
        at, count = call.axis(axis, x.rank), x.dims[call.axis(axis, x.rank)]
        return tensor.restructure(parameter, lambda v: v.repeat(block, at + 1).take(range(count), at + 1))
    if parameter.dims in ((), (1,)):
        return reshaped(parameter)
    at = call.axis(axis, x.rank)
    if parameter.dims != (x.dims[at],):
        raise call.refuse(f"parameters {list(parameter.dims)} do not suit axis {axis} of {list(x.dims)}")
    return reshaped(parameter, *(n if a == at else 1 for a, n in enumerate(x.dims)))


def quantised(call: Call, x: Tensor, scale: Tensor, zero: Tensor, to: int | None, zero_first: bool = False) -> Tensor:
    """The code as a tensor of this type; scale and zero point broadcast against x. `zero_first`: added before rounding."""
    if to not in INTEGER_RANGES:
        raise call.refuse(f"the type {onnx.TensorProto.DataType.Name(to or 0)} is not known")
    call.check_broadcast(x, scale, zero)
    call.type = to
    steps = tensor.multiply(x, inverse(call, scale))
    zeros = call.as_integers(tensor.lift(zero, steps.rank))
    before = steps if zero.is_zero else tensor.add(steps, zero)
    codes = tensor.halves_to_even(before) if zero_first else integers.add(tensor.halves_to_even(steps), zeros)
    return call.quantised(integers.clip(codes, *INTEGER_RANGES[to]), before)


# ---- operators on quantised tensors: x, scale, zero point are inputs in this order

def _real(call: Call, first: int, axis: int | None = None) -> Tensor:
    """The value of input `first`, whose scale and zero point follow."""
    x, scale, zero = call.input(first), call.input(first + 1), call.optional(first + 2)
    scale, zero = (_along(call, x, p, 0 if axis is None else axis) for p in (scale, number(0) if zero is None else zero))
    return tensor.multiply(tensor.subtract(x, zero), scale)


def _code(call: Call, y: Tensor, first: int, zero_first: bool = False) -> Tensor:
    """y as codes by the scale at input `first` and the zero point that follows."""
    zero = call.optional(first + 1)
    to = call.types[0] if zero is None else call.types[first + 1]
    scale, zero = (reshaped(p) for p in (call.input(first), number(0) if zero is None else zero))
    return quantised(call, y, scale, zero, to, zero_first)


def q_conv(call: Call) -> Tensor:
    """x, w and y with scale and zero point each, then a bias in units of x's scale times w's."""
    bias = call.optional(8)
    if bias is not None:
        bias = tensor.multiply(tensor.multiply(bias, reshaped(call.input(1))), call.input(4))
    return _code(call, convolution(call, _real(call, 0), _real(call, 3, 0), bias), 6)


def q_matmul(call: Call) -> Tensor:
    """Scales may be one for each row of a and each column of b."""
    return _code(call, product(call, _real(call, 0, -2), _real(call, 3, -1)), 6)


def q_gemm(call: Call) -> Tensor:
    """onnxruntime's: A and B with scale and zero point, C in units of both scales, then scale and zero point of Y.

    Without these the output is real. alpha scales C too.
    """
    transposed = call.attributes.get("transB", 0)
    c = call.optional(6)
    if c is not None:
        alpha = Fraction(call.attributes.get("alpha", 1.0))
        c = tensor.by_number(tensor.multiply(tensor.multiply(c, reshaped(call.input(1))), call.input(4)), alpha)
    y = general_product(call, _real(call, 0), _real(call, 3, 0 if transposed else 1), c)
    if call.optional(7) is not None:
        return _code(call, y, 7)
    call.type = onnx.TensorProto.FLOAT
    return y


def q_binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def apply(call: Call) -> Tensor:
        a, b = _real(call, 0), _real(call, 3)
        call.check_broadcast(a, b)
        return _code(call, function(a, b), 6, zero_first=True)
    return apply


def q_sigmoid(call: Call) -> Tensor:
    return _code(call, tensor.each(lambda x: apply("sigmoid", x), _real(call, 0)), 3)


def q_leaky_relu(call: Call) -> Tensor:
    return _code(call, leaky(_real(call, 0), Fraction(call.attribute("alpha", LEAKY_ALPHA))), 3)


def q_softmax(call: Call) -> Tensor:
    """Up to operator set 12 (an attribute here) over all axes from `axis` on."""
    x, opset = _real(call, 0), call.attribute("opset", 13)
    axis = call.axis(call.attribute("axis", -1), x.rank) + 1
    return _code(call, softmax_over(call, x, (axis,) if opset >= 13 else tuple(range(axis, x.rank + 1))), 3)


def q_average_pool(call: Call) -> Tensor:
    return _pooled(call, average_pool, zero_first=True)


def q_global_average_pool(call: Call) -> Tensor:
    return _pooled(call, lambda inner: mean(inner.input(0), tuple(range(3, inner.input(0).rank + 1))))


def q_reduce_mean(call: Call) -> Tensor:
    return _pooled(call, reduced(mean))


def _pooled(call: Call, pool: Operator, zero_first: bool = False) -> Tensor:
    last, quantised_inputs = call.attribute("channels_last", 0), list(call.inputs)
    call.inputs = [_real(call, 0)]
    y = (channels_last(pool) if last else pool)(call)
    assert isinstance(y, Tensor)
    call.inputs = quantised_inputs
    return _code(call, y, 3, zero_first)


def q_concat(call: Call) -> Tensor:
    """Scale and zero point of the output come first."""
    parts = [_real(call, i) for i in range(2, len(call.inputs), 3)]
    axis = call.axis(call.attribute("axis", 1), parts[0].rank)
    zero = call.input(1)
    return quantised(call, concatenate(parts, axis + 1), reshaped(call.input(0)), reshaped(zero), call.types[1])


def matmul_integer(call: Call) -> Tensor:
    """Zero points may be one for each row of a and each column of b."""
    a, b = (_without_zero(call, i, axis) for i, axis in ((0, -2), (1, -1)))
    call.type = onnx.TensorProto.INT32
    return product(call, a, b)


def conv_integer(call: Call) -> Tensor:
    x, weight = _without_zero(call, 0, 0), _without_zero(call, 1, 0)
    call.type = onnx.TensorProto.INT32
    return convolution(call, x, weight, None)


def _without_zero(call: Call, index: int, axis: int) -> Tensor:
    x, zero = call.input(index), call.optional(index + 2)
    return x if zero is None else tensor.subtract(x, _along(call, x, zero, axis))
