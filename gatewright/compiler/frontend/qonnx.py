"""QONNX quantisers (domains qonnx.custom_op.general, finn.custom_op.general, onnx.brevitas): Quant and BipolarQuant."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard import aligned, broadcast
from gatewright.compiler.frontend.values import Builder, Const, Data, Handler, Quantised, Value, unsupported
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, Number, Surd, elementwise, exacts, inverse
from gatewright.ir.fixed import MAX_WIDTH

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")

ROUNDING_MODES = {"ROUND": "ROUND", "HALF_EVEN": "ROUND", "CEIL": "CEIL", "FLOOR": "FLOOR", "UP": "UP", "DOWN": "DOWN",
                  "HALF_UP": "HALF_UP", "HALF_DOWN": "HALF_DOWN"}


def quant(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """codes = round(clip(x / scale + zero_point)); value = (codes - zero_point) * scale. One signed bit is -1 or +1."""
    x, *parameters = inputs
    if len(parameters) != 3 or not all(isinstance(p, Const) for p in parameters):
        raise unsupported(node, "needs constant scale, zero point and bit width", "Export the model with fixed quantisers")
    signed, narrow = (bool(node.attributes.get(k, 1)) for k in ("signed", "narrow"))
    bits = bit_width(parameters[2], node)
    scale, zero = (aligned(p, x, node) if isinstance(x, Data) else p.value for p in parameters[:2])
    if any(isinstance(v, Surd) or v <= 0 for v in scale.reshape(-1)):
        raise unsupported(node, "has a scale that is not positive", "Mend the quantiser's scale and export again")
    if signed and bits == 1:
        return bipolar(b, node, x, elementwise(inverse, scale), zero, scale, np.asarray(-scale * zero, object))
    mode = ROUNDING_MODES.get(str(node.attributes.get("rounding_mode", "ROUND")).upper())
    if mode is None:
        raise unsupported(node, f"has the unknown rounding mode '{node.attributes['rounding_mode']}'",
                          f"Use one of {', '.join(ROUNDING_MODES)}")
    lo = narrow - (1 << bits - 1) if signed else 0
    hi = (1 << bits - 1) - 1 if signed else (1 << bits) - 1 - narrow
    offset = np.asarray(-scale * zero, object)
    if isinstance(x, Const):
        return Const(np.asarray(quantise_constant(x.value, scale, zero, lo, hi, mode) * scale + offset, object))
    shape = broadcast(node, x.shape, scale.shape, zero.shape)
    grid = ex.affine(x.expr, elementwise(inverse, scale), zero)
    codes = ex.Round(ex.Clip(grid, exacts(lo), exacts(hi)), mode)
    return quantised(b, node, codes, shape, x.batched, scale, offset, (1, 0))


def quantised(b: Builder, node: Node, codes: ex.Expr, shape: tuple[int, ...], batched: bool, scale: Exacts,
              offset: Exacts, model_code: tuple[int, int]) -> Data:
    """Emits the quantiser's codes as a tensor named like the ONNX tensor, and remembers it for verification."""
    leaf = b.region(codes, shape, node.outputs[0], node.name, scale, offset)
    b.quantisers[node.outputs[0]] = Quantised(b.operand(leaf.index).name, *model_code)
    return Data(ex.affine(leaf, scale, offset), shape, batched)


def quantise_constant(x: Exacts, scale: Exacts, zero: Exacts, lo: int, hi: int, mode: str) -> Exacts:
    """The codes of constants: object array of Fraction. Weights repeat, so each different value is rounded once."""
    rounding: Callable[[Number], int] = ROUND_NUMBER[mode]
    done: dict[tuple[Any, Any, Any], Fraction] = {}

    def code(v: Number, s: Number, z: Number) -> Fraction:
        key = (v, s, z)
        if key not in done:
            y = v / s + z
            done[key] = Fraction(lo if y <= lo else hi if y >= hi else rounding(y))
        return done[key]

    return elementwise(code, x, scale, zero)


def bipolar_quant(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """value = scale where x >= 0, else -scale."""
    x, parameter = inputs
    if not isinstance(parameter, Const):
        raise unsupported(node, "needs a constant scale", "Export the model with fixed quantisers")
    scale = aligned(parameter, x, node) if isinstance(x, Data) else parameter.value
    return bipolar(b, node, x, ex.ONE, ex.ZERO, scale, ex.ZERO)


def bipolar(b: Builder, node: Node, x: Value, factor: Exacts, shift: Exacts, scale: Exacts, offset: Exacts) -> Value:
    """value = scale * c + offset with c = +1 where factor * x + shift >= 0, else -1; the hardware's bit is (c + 1) / 2."""
    if isinstance(x, Const):
        sign = elementwise(lambda v: Fraction(1 if v >= 0 else -1), np.asarray(x.value * factor + shift, object))
        return Const(np.asarray(sign * scale + offset, object))
    shape = broadcast(node, x.shape, factor.shape, shift.shape, scale.shape)
    # floor(y + 1), clipped to 0..1, is 1 exactly where y >= 0
    step = ex.Clip(ex.Round(ex.affine(x.expr, factor, np.asarray(shift + 1, object)), "FLOOR"), ex.ZERO, ex.ONE)
    return quantised(b, node, step, shape, x.batched, np.asarray(scale * 2, object), np.asarray(offset - scale, object),
                     (2, -1))


def bit_width(parameter: Const, node: Node) -> int:
    values = set(parameter.value.reshape(-1))
    bits = values.pop() if len(values) == 1 else None
    if bits is None or isinstance(bits, Surd) or bits.denominator != 1 or not 1 <= bits <= MAX_WIDTH:
        shown = "several widths" if bits is None else f"a width of {float(bits):g} bits"
        raise unsupported(node, f"has {shown}", f"Use one whole number of bits from 1 to {MAX_WIDTH}")
    return int(bits.numerator)


HANDLERS: dict[str, Handler] = {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant}
