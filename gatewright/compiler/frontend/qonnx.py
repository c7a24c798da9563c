"""QONNX quantisers (domains qonnx.custom_op.general, finn.custom_op.general, onnx.brevitas): Quant and BipolarQuant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend import standard
from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard import aligned, broadcast
from gatewright.compiler.frontend.values import Builder, Const, Data, Handler, Quantised, Value, unsupported
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER, Exacts, Number, Surd, elementwise, exacts, inverse, plus, times
from gatewright.ir.fixed import MAX_WIDTH
from gatewright.ir.ops import Thresholds

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")

PARAMETERS = {"Quant": ("data", "scale", "zero point", "bit width"), "BipolarQuant": ("data", "scale")}
"""What the operands are, for messages."""

MAX_THRESHOLDS = 1 << 16
ROUNDING_MODES = {"ROUND": "ROUND", "HALF_EVEN": "ROUND", "CEIL": "CEIL", "FLOOR": "FLOOR", "UP": "UP", "DOWN": "DOWN",
                  "HALF_UP": "HALF_UP", "HALF_DOWN": "HALF_DOWN"}


def quant(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """codes = round(clip(x / scale + zero_point)); value = (codes - zero_point) * scale. One signed bit is -1 or +1."""
    x, *parameters = inputs
    if len(parameters) != 3 or not all(isinstance(p, Const) for p in parameters):
        raise unsupported(node, "needs constant scale, zero point and bit width", "Export the model with fixed quantisers")
    missing = [k for k in ("signed", "narrow") if k not in node.attributes]
    if missing:
        raise unsupported(node, f"has no attribute '{missing[0]}'", "QONNX requires it: export the model again")
    signed, narrow = (bool(node.attributes[k]) for k in ("signed", "narrow"))
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
    lo, hi = code_range(bits, signed, narrow)
    offset = np.asarray(-scale * zero, object)
    if isinstance(x, Const):
        return Const(plus(times(quantise_constant(x.value, scale, zero, lo, hi, mode), scale), offset))
    shape = broadcast(node, x.shape, scale.shape, zero.shape)
    grid = ex.affine(x.expr, elementwise(inverse, scale), zero)
    codes = ex.Round(ex.Clip(grid, exacts(lo), exacts(hi)), mode)
    return quantised(b, node, codes, shape, x.batched, scale, offset, (1, 0))


def code_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    return ((narrow - (1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1 - narrow))


def quantised(b: Builder, node: Node, codes: ex.Expr, shape: tuple[int, ...], batched: bool, scale: Exacts,
              offset: Exacts, model_code: tuple[int, int]) -> Data:
    """Emits the quantiser's codes as a tensor named like the ONNX tensor, and remembers it for verification."""
    leaf = b.region(codes, shape, node.outputs[0], node.name, scale, offset)
    b.quantisers[node.outputs[0]] = Quantised(b.operand(leaf.index).name, *model_code)
    return Data(ex.affine(leaf, scale, offset), shape, batched)


def quantise_constant(x: Exacts, scale: Exacts, zero: Exacts, lo: int, hi: int, mode: str) -> Exacts:
    """The codes of constants: object array of Fraction, one object per code."""
    rounding: Callable[[Number], int] = ROUND_NUMBER[mode]
    codes: dict[int, Fraction] = {}

    def code(v: Number, s: Number, z: Number) -> Fraction:
        y = v / s + z
        c = lo if y <= lo else hi if y >= hi else rounding(y)
        return codes.setdefault(c, Fraction(c))

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


# -- requantisers --------------------------------------------------------------------------------------------------------


def trunc(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Drops low bits of codes. Version 1 (5 operands) keeps the scale and says both widths; version 2 (6) says the new
    scale, and clamps to the new width before it rounds."""
    x, *parameters = inputs
    if not isinstance(x, Data) or len(parameters) not in (4, 5) or not all(isinstance(p, Const) for p in parameters):
        raise unsupported(node, "needs a tensor, constant scales, zero point and bit widths", "Export the model again")
    mode = ROUNDING_MODES.get(str(node.attributes.get("rounding_mode", "FLOOR")).upper())
    if mode is None:
        raise unsupported(node, f"has the unknown rounding mode '{node.attributes['rounding_mode']}'",
                          f"Use one of {', '.join(ROUNDING_MODES)}")
    scale, zero = (aligned(p, x, node) for p in parameters[:2])
    bits_in = bit_width(parameters[2], node)
    codes: ex.Expr = ex.Round(ex.affine(x.expr, elementwise(inverse, scale), zero), "ROUND")
    if len(parameters) == 4:
        factor, new_scale, new_zero = exacts(Fraction(2) ** (bits_in - bit_width(parameters[3], node))), scale, zero
        codes = ex.affine(codes, elementwise(inverse, factor))
    else:
        new_scale = aligned(parameters[3], x, node)
        factor = elementwise(nearest_power_of_two, np.asarray(new_scale / scale, object))
        new_zero = np.asarray(zero / factor, object)
        lo, hi = code_range(bit_width(parameters[4], node), bool(node.attributes.get("signed", 1)),
                            bool(node.attributes.get("narrow", 0)))
        codes = ex.Clip(ex.affine(codes, elementwise(inverse, factor)), exacts(lo), exacts(hi))
    shape = broadcast(node, x.shape, scale.shape, zero.shape, new_scale.shape)
    return quantised(b, node, ex.Round(codes, mode), shape, x.batched, new_scale, np.asarray(-new_scale * new_zero, object),
                     (1, 0))


def nearest_power_of_two(ratio: Number) -> Fraction:
    """2**round(log2(ratio)), exactly: half to even in the exponent cannot occur for rational ratios."""
    low = Fraction(1)
    while low * low * 2 > ratio * ratio:
        low /= 2
    while low * low * 2 <= ratio * ratio:  # sqrt(2) * low <= ratio: the next power is nearer
        low *= 2
    return low


def multi_threshold(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """value = out_scale * (number of thresholds <= x) + out_bias; thresholds [channels or 1, count]."""
    x, parameter = inputs
    if not isinstance(x, Data) or not isinstance(parameter, Const) or parameter.value.ndim != 2:
        raise unsupported(node, "needs a tensor and constant thresholds [channels, count]", "Export the model again")
    if parameter.value.shape[1] > MAX_THRESHOLDS:
        raise unsupported(node, f"has {parameter.value.shape[1]} thresholds, more than {MAX_THRESHOLDS}",
                          "Use a quantiser of fewer bits")
    layout = str(node.attributes.get("data_layout", "")) or {2: "NC", 3: "NWC", 4: "NCHW"}.get(x.rank, "NC")
    axis = (layout.index("C") if "C" in layout else 1) - x.batched
    name = node.outputs[0]
    op, scale, offset = b.integer(x, name + ".x", node.name)
    t = parameter.value
    if not 0 <= axis < len(x.shape) or len(t) not in (1, x.shape[axis]):
        raise unsupported(node, f"has thresholds for {len(t)} channels on a tensor of shape {list(x.shape)}", "Export it again")
    along = t[0] if len(t) == 1 else t.reshape(-1, *(1,) * (len(x.shape) - axis - 1), t.shape[1])
    levels = elementwise(lambda v, s, o: -math.floor(-((v - o) / abs(s))) if s > 0 else -math.floor(-((v - o) / -s)),
                         along, scale[..., None], offset[..., None])
    reach = 1 + max(abs(int(op.type.lo.min())), abs(int(op.type.hi.max())))
    levels = np.sort(np.clip(levels, -reach, reach).astype(np.int64), axis=-1)
    sign = np.asarray(elementwise(lambda s: 1 if s > 0 else -1, scale), np.int64)
    factor, bias = (exacts(node.attributes.get(k, d)) for k, d in (("out_scale", 1.0), ("out_bias", 0.0)))
    leaf = b.emit(Thresholds, name, [op], node.name, factor, bias, sign=sign, levels=levels, base=np.zeros((), np.int64))
    b.quantisers[name] = Quantised(b.operand(leaf.index).name, 1, 0)
    return Data(ex.affine(leaf, factor, bias), x.shape, x.batched)


# -- channels last -------------------------------------------------------------------------------------------------------


def channels_last(op_type: str) -> Handler:
    """The ONNX operator between transposes; a Conv's weights are channels last too."""
    def handler(b: Builder, node: Node, inputs: list[Any]) -> Value:
        def moved(v: Any, suffix: str, first: bool) -> Any:
            if not isinstance(v, Const | Data):
                return v
            rank = v.value.ndim if isinstance(v, Const) else v.rank
            perm = (0, rank - 1, *range(1, rank - 1)) if first else (0, *range(2, rank), 1)
            return standard.transposed(b, replace(node, outputs=(node.outputs[0] + suffix,)), v, perm)

        operands = [moved(v, ".x", True) if k < (2 if op_type == "Conv" else 1) else v for k, v in enumerate(inputs)]
        inner = replace(node, domain="", outputs=(node.outputs[0] + ".first", *node.outputs[1:]))
        return moved(standard.HANDLERS[op_type](b, inner, operands), "", False)  # type: ignore[no-any-return]
    return handler


CHANNELS_LAST = "qonnx.custom_op.channels_last"
CHANNELS_LAST_HANDLERS = {name: channels_last(name) for name in ("Conv", "MaxPool", "BatchNormalization")}

HANDLERS: dict[str, Handler] = {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant, "Trunc": trunc,
                                "MultiThreshold": multi_threshold}
