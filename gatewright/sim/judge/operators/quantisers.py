"""Rounding, and the quantisers of QONNX."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.numbers import Number, ceil_of
from gatewright.sim.judge.operators.arithmetic import inverse
from gatewright.sim.judge.operators.call import Call, Operator
from gatewright.sim.judge.operators.convolutions import averaged, channels_last
from gatewright.sim.judge.operators.windows import Windows
from gatewright.sim.judge.tensor import Tensor

Rounding = Callable[[Tensor], IntArray]


def _half_up(x: Tensor) -> IntArray:
    return tensor.floor(tensor.plus_number(x, Fraction(1, 2)))


def _half_down(x: Tensor) -> IntArray:
    return tensor.ceil(tensor.plus_number(x, Fraction(-1, 2)))


def _by_sign(positive: Rounding, negative: Rounding) -> Rounding:
    return lambda x: np.where(tensor.floor(x) >= 0, positive(x), negative(x))


ROUNDING: dict[str, Rounding] = {
    "ROUND": tensor.halves_to_even,
    "HALF_EVEN": tensor.halves_to_even,
    "FLOOR": tensor.floor,
    "CEIL": tensor.ceil,
    "UP": _by_sign(tensor.ceil, tensor.floor),  # away from zero
    "DOWN": _by_sign(tensor.floor, tensor.ceil),  # towards zero
    "HALF_UP": _by_sign(_half_up, _half_down),  # halves away from zero
    "HALF_DOWN": _by_sign(_half_down, _half_up),  # halves towards zero
}
"""QONNX's rounding modes. All keep order and integers, so a clamp to integers gives the same after as before."""


def rounded(function: Rounding) -> Operator:
    return lambda call: call.quantised(function(call.input(0)), call.input(0))


def quant(call: Call) -> Tensor:
    """QONNX Quant: `(round(clamp(x / scale + zero point)) - zero point) * scale`; one signed bit means +1 and -1."""
    x, scale, zero = call.input(0), call.input(1), call.input(2)
    bits, signed, narrow = _width(call, 3), bool(call.attribute("signed", 1)), bool(call.attribute("narrow", 0))
    rounding = _mode(call, "ROUND")
    call.check_broadcast(x, scale, zero)
    before = _steps(call, x, scale, zero)
    if signed and bits == 1:
        codes = 2 * tensor.at_least_zero(before) - 1
    else:
        codes = integers.clip(rounding(before), *quant_range(bits, signed, narrow))
    return tensor.multiply(tensor.subtract(call.quantised(codes, before), zero), scale)


def _width(call: Call, index: int) -> int:
    width = call.integers(index)
    if width is None or len(width) != 1 or width[0] < 1:
        raise call.refuse("the bit width must be one positive integer")
    return width[0]


def _mode(call: Call, default: str) -> Rounding:
    mode = call.text("rounding_mode", default).upper()
    if mode not in ROUNDING:
        raise call.refuse(f"'{mode}' is no rounding mode", f"There are {', '.join(ROUNDING)}")
    return ROUNDING[mode]


def _steps(call: Call, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """x / scale + zero point"""
    steps = tensor.multiply(x, inverse(call, scale))
    return steps if zero.is_zero and prod(zero.dims) == 1 else tensor.add(steps, zero)


def quant_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The smallest and the largest code."""
    if signed:
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def bipolar_quant(call: Call) -> Tensor:
    """QONNX BipolarQuant: the scale where x >= 0, else minus the scale."""
    x, scale = call.input(0), call.input(1)
    call.check_broadcast(x, scale)
    return tensor.multiply(call.quantised(2 * tensor.at_least_zero(x) - 1, x), scale)


def trunc(call: Call) -> Tensor:
    """QONNX Trunc: drops low bits of a code. Version 1 has 5 inputs, version 2 has 6 and clamps."""
    x, scale, zero = call.input(0), call.input(1), call.input(2)
    call.check_broadcast(x, scale, zero)
    code = tensor.on_grid(tensor.halves_to_even(_steps(call, x, scale, zero)), Fraction(1), x.constant)
    rounding = _mode(call, "FLOOR")
    if len(call.inputs) < 6:
        before = tensor.by_number(code, Fraction(1, 2) ** (_width(call, 3) - _width(call, 4)))
        return tensor.multiply(tensor.subtract(call.quantised(rounding(before), before), zero), scale)
    out_scale, bits = call.input(4), _width(call, 5)
    low, high = quant_range(bits, bool(call.attribute("signed", 1)), bool(call.attribute("narrow", 0)))
    shrink = tensor.each(_power_of_two, tensor.multiply(scale, inverse(call, out_scale)))
    before = tensor.multiply(code, shrink)
    codes = call.quantised(integers.clip(rounding(before), low, high), before)
    return tensor.multiply(tensor.subtract(codes, tensor.multiply(zero, shrink)), out_scale)


def _power_of_two(ratio: Number) -> Fraction:
    """The one that is nearest on a logarithmic scale."""
    if not isinstance(ratio, Fraction) or ratio <= 0:
        raise ValueError("the scales must be positive and rational")
    square, exponent = ratio * ratio, 0
    while square >= 2:
        square, exponent = square / 4, exponent + 1
    while 2 * square < 1:
        square, exponent = square * 4, exponent - 1
    return Fraction(2) ** exponent


LAYOUTS = {2: "NC", 3: "NWC", 4: "NCHW"}
"""What QONNX assumes of tensors without data_layout, by their rank."""


def multi_threshold(call: Call) -> Tensor:
    """QONNX MultiThreshold: how many of its channel's thresholds an element reaches, times out_scale plus out_bias."""
    x, thresholds = call.input(0), call.input(1)
    scale, bias = Fraction(call.attribute("out_scale", 1.0)), Fraction(call.attribute("out_bias", 0.0))
    call.attribute("out_dtype")
    layout = call.text("data_layout", "") or LAYOUTS.get(x.rank, "")
    axis = call.axis(layout.index("C") if "C" in layout else 1, x.rank) + 1
    if not thresholds.constant or thresholds.rank != 2 or thresholds.dims[0] not in (1, x.shape[axis]):
        raise call.refuse(f"thresholds {list(thresholds.dims)} do not suit {x.shape[axis]} channels")
    if x.grid is not None and thresholds.grid is not None:
        counts = _reached_on_grid(*x.grid, thresholds.values[0], axis)
    else:
        counts = np.zeros(x.shape, np.int64)
        for step in range(thresholds.dims[1]):
            column = tensor.restructure(thresholds, lambda v, s=step: np.moveaxis(  # type: ignore[misc]
                v[:, :, s].reshape(1, -1, *(1,) * (x.rank - 1)), 1, axis))
            counts = counts + tensor.at_least_zero(tensor.subtract(x, column))
    return tensor.plus_number(tensor.by_number(call.quantised(counts, x), scale), bias)


def _reached_on_grid(num: IntArray, unit: Fraction, thresholds: NDArray[Any], axis: int) -> IntArray:
    """x >= t where num >= ceil(t / unit)"""
    counts = np.zeros(num.shape, np.int64)
    for channel in range(num.shape[axis]):
        row = thresholds[channel if len(thresholds) > 1 else 0]
        steps = np.sort(np.array([ceil_of(t / unit) for t in row], object))
        at = (slice(None),) * axis + (channel,)
        counts[at] = np.searchsorted(integers.settle(steps), num[at], side="right")
    return counts


def quant_average_pool(call: Call) -> Tensor:
    """QONNX QuantAvgPool2d: the sum over a window without its lowest bits."""
    k, s, bits = call.attribute("kernel", 1), call.attribute("stride", 1), call.attribute("ibits", 1)
    shift = max((((1 << bits) - 1) * k * k).bit_length() - call.attribute("obits", 1), 0)
    call.attribute("signed")
    def pooled(call: Call) -> Tensor:
        none = (0, 0)
        average = averaged(call.input(0), Windows((k, k), (s, s), (1, 1), none, none, none), 1)
        codes = tensor.halves_to_even(tensor.by_number(average, k * k))
        total = tensor.on_grid(codes, Fraction(1, 1 << shift), average.constant)
        return tensor.on_grid(tensor.floor(total), Fraction(1), total.constant)
    return channels_last(pooled)(call) if call.text("data_layout", "NCHW") == "NHWC" else pooled(call)  # type: ignore[return-value]
