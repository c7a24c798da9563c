"""Element types and casts between them."""

from __future__ import annotations

from fractions import Fraction

import onnx

from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.numbers import FLOAT16, FLOAT32, FLOAT64, nearest_float
from gatewright.sim.judge.operators.call import Call
from gatewright.sim.judge.operators.comparisons import is_equal
from gatewright.sim.judge.operators.quantisers import ROUNDING, quant_range
from gatewright.sim.judge.tensor import Tensor

FLOATS: dict[int | None, tuple[int, int, int]] = {
    onnx.TensorProto.DOUBLE: FLOAT64, onnx.TensorProto.FLOAT: FLOAT32, onnx.TensorProto.FLOAT16: FLOAT16}
"""Formats by type."""
INTEGER_RANGES: dict[int | None, tuple[int, int]] = {
    getattr(onnx.TensorProto, f"{sign}INT{bits}"): quant_range(bits, not sign, False)
    for sign in ("", "U") for bits in (4, 8, 16, 32, 64)}
"""Smallest and largest value by type."""


def cast(call: Call) -> Tensor:
    """To integers: towards zero. To a float type: what comes from a type that it holds stays exact, else it must fit."""
    x, to = call.input(0), call.attribute("to")
    for unused in ("saturate", "round_mode"):  # of 8-bit floats
        call.attribute(unused)
    source, call.type = call.type, to
    if to == onnx.TensorProto.BOOL:
        return tensor.on_grid(1 - is_equal(x), Fraction(1), x.constant)
    if to in FLOATS:
        held = source in FLOATS and FLOATS[source] <= FLOATS[to]
        if not held and not _representable(x, FLOATS[to]):
            raise call.refuse(f"a value does not fit into {onnx.TensorProto.DataType.Name(to)} without rounding",
                              "Quantise before the cast, or cast to a wider type")
        return x
    if to not in INTEGER_RANGES:
        raise call.refuse(f"the type {onnx.TensorProto.DataType.Name(to)} is not known")
    codes, (low, high) = ROUNDING["DOWN"](x), INTEGER_RANGES[to]
    if codes.size and not low <= int(codes.min()) <= int(codes.max()) <= high:
        raise call.refuse(f"a value is too large for {onnx.TensorProto.DataType.Name(to)}")
    return tensor.on_grid(integers.settle(codes), Fraction(1), x.constant)


def cast_like(call: Call) -> Tensor:
    if call.types[1] is None:
        raise call.refuse("the type to cast to is not known")
    call.attributes["to"] = call.types[1]
    return cast(call)


def _representable(x: Tensor, float_format: tuple[int, int, int]) -> bool:
    bits, lowest, top = float_format
    if x.grid is None:
        return False
    num, scale = x.grid
    places = scale.denominator.bit_length() - 1
    on_binary_grid = scale.denominator == 1 << places and places <= -lowest
    if on_binary_grid and integers.span(num) * scale.numerator < 1 << min(bits, top):
        return True
    return all(Fraction(nearest_float(v, *float_format)) == v for v in set(x.values.flat))
