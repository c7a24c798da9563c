"""Functions of all elements along an axis: Softmax and LayerNormalization, as the named algorithms of docs/exactness.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.activations import number
from gatewright.compiler.frontend.standard.elementwise import linear, mul
from gatewright.compiler.frontend.values import (
    FUNCTION_STEP,
    QUANTISE_BEFORE,
    Approximation,
    Builder,
    Const,
    Data,
    Handler,
    Value,
    across_batch,
    same_along,
    unsupported,
)
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Number, Surd, exacts, inverse
from gatewright.ir.fixed import MAX_WIDTH, Ints
from gatewright.ir.graph import Op
from gatewright.ir.ops import Combine, Multiply, ReduceExtreme, ReduceSum, Requant, SquareRoot, Take
from gatewright.ir.ops.function import SATURATE, WRAP
from gatewright.ir.reals import FUNCTIONS

PRECISION = 8
"""An approximated value is off by less than 2**-PRECISION of a step of the quantiser behind it."""
MAX_TABLE = 1 << 12
MAX_CODES = 1 << 20
MAX_PRODUCT = 30
"""Bits of the two tables whose product is an exponential."""
ABOVE_LOG_2 = Fraction(7, 10)
ZERO, ONE = np.zeros((), np.int64), np.ones((), np.int64)


def softmax(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Over one axis; before opset 13, over all from `axis` on."""
    x: Value = inputs[0]
    if isinstance(x, Const):
        raise unsupported(node, "of a constant has no exact value", "Put its values into the model")
    opset = node.attributes.get("opset", b.opset)  # an attribute of QLinearSoftmax
    axis = node.attributes.get("axis", -1 if opset >= 13 else 1) % x.rank
    x, axes = along(b, node, x, (axis,) if opset >= 13 else tuple(range(axis, x.rank)))
    count = math.prod(x.shape[a] for a in axes)
    codes, scale = row_codes(b, node, x, axes)
    if count == 2 and len(axes) == 1:
        return two_way(b, node, x, codes, scale, axes[0])
    reach = int(codes.type.hi.max() - codes.type.lo.min())
    parameters, last = tables(node, scale, reach, fraction_bits(b, node, count - 1))
    bits = parameters["bits"]
    below = beneath_the_largest(b, node, codes, scale, axes, last)
    grid = exacts(Fraction(1, 1 << bits))
    if "inner" in parameters:
        exponential = exponential_of_two(b, node, below, scale, parameters)
    else:
        exponential = b.region(rounded_exp(b.leaf_of(below), scale, bits), below.type.shape, node.outputs[0] + ".exp", node.name,
                               grid, ex.ZERO)
    total = b.emit(ReduceSum, node.outputs[0] + ".sum", [b.operand(exponential.index)], node.name, grid, ex.ZERO, axes=axes,
                   keepdims=1)
    b.narrow(total, lo=1 << bits)  # the largest element's own is 1
    approximate(b, node, exponential, Fraction(count - 1, 1 << bits), parameters)
    return Data(ex.Product(exponential, ex.Func("reciprocal", total)), x.shape, x.batched)


def two_way(b: Builder, node: Node, x: Data, codes: Op, scale: Number, axis: int) -> Data:
    """sigmoid(x - y): a function of one difference, which the quantiser behind it rounds correctly."""
    turned = tuple(np.arange(n)[::-1] if k == axis else np.arange(n) for k, n in enumerate(x.shape))
    other = b.emit(Take, node.outputs[0] + ".other", [codes], node.name, exacts(scale), ex.ZERO, indices=turned)
    apart = b.emit(Combine, node.outputs[0] + ".difference", [codes, b.operand(other.index)], node.name, exacts(scale), ex.ZERO,
                   scales=(ONE, -ONE), offset=ZERO)
    return Data(ex.Func("sigmoid", ex.affine(apart, exacts(scale))), x.shape, x.batched)


def along(b: Builder, node: Node, x: Data, axes: tuple[int, ...]) -> tuple[Data, tuple[int, ...]]:
    """Axes of the ONNX tensor as axes of the sample."""
    if x.batched and 0 in axes:
        if b.batch != 1:
            raise across_batch(node.name, b.batch)
        x = b.unbatch(x, node.outputs[0], node.name)
    return x, tuple(a - x.batched for a in axes)


def row_codes(b: Builder, node: Node, x: Data, axes: tuple[int, ...]) -> tuple[Op, Number]:
    """Integer codes with one positive scale; what the value has besides is the same along `axes`, where it cancels."""
    name = node.outputs[0] + ".x"
    codes, scales, offset = b.uniform(x, tuple(range(len(x.shape))), name, node.name)
    scale = scales.reshape(-1)[0]
    if scale < 0 or not same_along(offset, len(x.shape), axes):
        step = ex.unit_of_all(x.expr)
        if step is None:
            raise UserError("its operand's elements have offsets without a common unit", node=node.name,
                            remedy=QUANTISE_BEFORE)
        leaf = b.region(ex.affine(x.expr, exacts(inverse(step))), x.shape, name, node.name, exacts(step), ex.ZERO)
        codes, scale = b.operand(leaf.index), step
    return codes, scale


def fraction_bits(b: Builder, node: Node, units: int) -> int:
    """p for an error of less than units * 2**-p, or as many bits as an exact division has room for."""
    slope = b.slopes.get(node.name, 1 / FUNCTION_STEP)
    bits = max(math.ceil(units * slope * (1 << PRECISION)) - 1, 1).bit_length()
    dyadic = slope.numerator & (slope.numerator - 1) == 0 == slope.denominator & (slope.denominator - 1)
    wide = (math.ceil(slope) - 1).bit_length() + (units + 1).bit_length() + 3
    return max(min(bits, MAX_WIDTH - 1 - wide if dyadic else (MAX_WIDTH - 1 - wide) // 2, MAX_PRODUCT - 4), 1)


def approximate(b: Builder, node: Node, leaf: ex.Leaf, error: Fraction, parameters: dict[str, Any]) -> None:
    b.approximations[node.name] = Approximation(parameters, error)
    b.approximated[b.operand(leaf.index).name] = node.name


# -- exponentials --------------------------------------------------------------------------------------------------------


def tables(node: Node, scale: Number, reach: int, bits: int) -> tuple[dict[str, Any], int]:
    """Parameters of one table of exponentials of d = 0..reach, or of two, with at most `bits` bits; and the last d that
    matters: beyond, 2**bits * exp(-scale * d) < 1/2."""
    for p in range(bits, 0, -1):
        last = min(-math.floor(-((p + 1) * ABOVE_LOG_2 / scale)), reach)
        if last < MAX_TABLE:
            return {"bits": p}, last
        low = (last.bit_length() + 1) // 2
        inner = table_bits(scale, last, low, p) if last < MAX_CODES else None
        if inner is not None:
            return {"bits": p, "step": str(scale), "last": last, "low": low, "inner": inner}, last
    raise UserError(f"its operand has {reach + 1} codes, too many of which matter for tables", node=node.name,
                    remedy="Quantise its operand to 16 bits or fewer")


def beneath_the_largest(b: Builder, node: Node, codes: Op, scale: Number, axes: tuple[int, ...], last: int) -> Op:
    """How far every code is below the largest along the axes, at most `last`."""
    name, s = node.outputs[0], exacts(scale)
    largest = b.emit(ReduceExtreme, name + ".max", [codes], node.name, s, ex.ZERO, axes=axes, keepdims=1)
    below = b.narrow(b.emit(Combine, name + ".below", [b.operand(largest.index), codes], node.name, s, ex.ZERO,
                            scales=(ONE, -ONE), offset=ZERO), lo=0)
    if int(below.type.hi.max()) > last:
        limited = requant(b, node, below, ".near", s, 0, last, SATURATE)
        below = b.operand(limited.index)
    return below


def requant(b: Builder, node: Node, x: Op, suffix: str, scale: Any, shift: int, hi: int, overflow: str,
            rounding: str = "FLOOR") -> ex.Leaf:
    return b.emit(Requant, node.outputs[0] + suffix, [x], node.name, scale, ex.ZERO, mul=ONE, add=ZERO,
                  shift=np.array(shift, np.int64), rounding=rounding, lo=ZERO, hi=np.array(hi, np.int64), overflow=overflow)


def rounded_exp(d: ex.Leaf, step: Number, bits: int) -> ex.Expr:
    """round(2**bits * exp(-step * d))"""
    return ex.Round(ex.affine(ex.Func("exp", ex.affine(d, exacts(-step))), exacts(1 << bits)), "ROUND")


def exponential_of_two(b: Builder, node: Node, below: Op, scale: Number, parameters: Mapping[str, Any]) -> ex.Leaf:
    """Of many codes d = high * 2**low + rest: the product of two tables of `inner` bits, rounded (halves up) to `bits` bits."""
    bits, last, low, inner = (parameters[k] for k in ("bits", "last", "low", "inner"))
    name, s = node.outputs[0], exacts(scale)
    grid = exacts(Fraction(1, 1 << inner))
    factors = []
    for suffix, shift, hi, overflow, step in ((".high", low, last >> low, SATURATE, scale * (1 << low)),
                                              (".low", 0, (1 << low) - 1, WRAP, scale)):
        part = requant(b, node, below, suffix, s, shift, hi, overflow)
        table = b.region(rounded_exp(part, step, inner), below.type.shape, name + suffix + ".exp", node.name, grid, ex.ZERO)
        factors.append(b.operand(table.index))
    both = b.emit(Multiply, name + ".product", factors, node.name, exacts(Fraction(1, 1 << 2 * inner)), ex.ZERO)
    return requant(b, node, b.operand(both.index), ".exp", exacts(Fraction(1, 1 << bits)), 2 * inner - bits, 1 << bits, SATURATE,
                   "HALF_CEIL")


def table_bits(scale: Number, last: int, low: int, bits: int) -> int | None:
    """The fewest bits of the two tables, from bits + 2 on, for which the rounded product never rises with d; None up to
    MAX_PRODUCT."""
    d = np.arange(last + 1)
    for inner in range(bits + 2, MAX_PRODUCT + 1):
        high, rest = (table(scale * step, count, inner) for step, count in ((1 << low, (last >> low) + 1), (1, 1 << low)))
        shift = 2 * inner - bits
        values = high[d >> low] * rest[d & (1 << low) - 1] + (1 << shift - 1) >> shift
        if (np.diff(values) <= 0).all():
            return inner
    return None


def table(step: Number, count: int, bits: int) -> Ints:
    """round(2**bits * exp(-step * d)) for d = 0..count - 1"""
    exp, rounding = FUNCTIONS["exp"], ROUND_NUMBER["ROUND"]
    return np.array([rounding(exp(-step * d) * (1 << bits)) for d in range(count)], np.int64)


# -- layer normalisation -------------------------------------------------------------------------------------------------


def layer_normalization(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Exact sums; the standard deviation is a square root rounded down to `bits` bits; the division is exact again.

    For n codes c of scale s: (x - mean) / sqrt(variance + epsilon) = t / sqrt(v + e) with t = n c - sum(c),
    v = n sum(c**2) - sum(c)**2 and e = epsilon * (n / s)**2.
    """
    x, gain, *rest = inputs
    if not isinstance(x, Data) or any(node.outputs[1:]):
        raise unsupported(node, "is supported for a tensor of data, with one result", "Export the model for inference")
    x, axes = along(b, node, x, tuple(range(node.attributes.get("axis", -1) % x.rank, x.rank)))
    count, name = math.prod(x.shape[a] for a in axes), node.outputs[0]
    codes, scale = row_codes(b, node, x, axes)
    if isinstance(scale, Surd):
        raise unsupported(node, "has an operand with an irrational scale", QUANTISE_BEFORE)
    epsilon = number(node, "epsilon", 1e-5).item() * count**2 / scale**2
    if epsilon <= 0:
        raise unsupported(node, "has an epsilon that is not positive, so it may divide by zero", "Use a positive epsilon")
    centred, spread = moments(b, node, codes, scale, axes, count)
    bits = min(fraction_bits(b, node, 2), (MAX_WIDTH - 2 - int(spread.type.hi.max()).bit_length()) // 2)
    offset = max(math.floor(epsilon * (1 << 2 * bits)), 1) if bits >= 0 else 0
    if bits < 0 or offset.bit_length() > MAX_WIDTH - 2:
        raise unsupported(node, "has a variance, in units of its operand's codes, too wide for exact arithmetic",
                          "Quantise its operand to fewer bits")
    square = exacts(Fraction(scale, count << bits) ** 2)
    radicand = b.emit(Combine, name + ".variance", [spread], node.name, square, ex.ZERO,
                      scales=(np.array(1 << 2 * bits, np.int64),), offset=np.array(offset, np.int64))
    deviation = b.emit(SquareRoot, name + ".deviation", [b.operand(radicand.index)], node.name,
                       exacts(Fraction(scale, count << bits)), ex.ZERO)
    approximate(b, node, deviation, Fraction(2, 1 << bits), {"step": str(Fraction(scale, count << bits))})
    quotient = ex.Product(ex.affine(b.leaf_of(centred), exacts(1 << bits)), ex.Func("reciprocal", deviation))
    most = exacts(2 * (math.isqrt(count) + 1))  # |t| <= sqrt((n - 1) v), and a root of at least 1 is halved at most
    y: Value = Data(ex.Clip(quotient, np.asarray(-most, object), most), x.shape, x.batched)
    bias = rest[0] if rest else None
    if not isinstance(gain, Const) or not isinstance(bias, Const | None):
        raise unsupported(node, "needs a constant scale and bias", "Export the model for inference")
    y = mul(b, node, [y, gain])
    return y if bias is None else linear(b, node, [y, bias], 1)


def moments(b: Builder, node: Node, codes: Op, scale: Number, axes: tuple[int, ...], count: int) -> tuple[Op, Op]:
    """t = n c - sum(c) and v = n sum(c**2) - sum(c)**2, which is at most (n * range / 2)**2 (T. Popoviciu, 1935)."""
    name, s, square = node.outputs[0], exacts(scale), exacts(scale * scale)
    n = np.array(count, np.int64)

    def total(x: Op, suffix: str, unit: Any) -> Op:
        return b.operand(b.emit(ReduceSum, name + suffix, [x], node.name, unit, ex.ZERO, axes=axes, keepdims=1).index)

    def squared(x: Op, suffix: str) -> Op:
        return b.operand(b.emit(Multiply, name + suffix, [x, x], node.name, square, ex.ZERO).index)

    plain = total(codes, ".sum", s)
    squares = total(squared(codes, ".square"), ".squares", square)
    centred = b.emit(Combine, name + ".centred", [codes, plain], node.name, exacts(scale / count), ex.ZERO, scales=(n, -ONE),
                     offset=ZERO)
    spread = b.emit(Combine, name + ".spread", [squares, squared(plain, ".sum_square")], node.name,
                    exacts(scale * scale / count**2), ex.ZERO, scales=(n, -ONE), offset=ZERO)
    reach = count * int(codes.type.hi.max() - codes.type.lo.min())
    return b.operand(centred.index), b.narrow(spread, lo=0, hi=reach * reach // 4)


HANDLERS: dict[str, Handler] = {"Softmax": softmax, "LayerNormalization": layer_normalization}
