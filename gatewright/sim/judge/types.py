"""Types that the user gives to tensors inside, as the judge reads them: `fixed<8,2,RND_CONV,SAT>` is a quantiser.

The names are those of `ap_fixed`. Without modes nothing may be lost, which is an error here as it is everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from gatewright.errors import UserError
from gatewright.sim.judge import integers, tensor
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.tensor import Tensor


def _by_sign(below: Callable[[Tensor], IntArray], above: Callable[[Tensor], IntArray]) -> Callable[[Tensor], IntArray]:
    return lambda x: np.where(tensor.floor(x) < 0, below(x), above(x))


def _half_ceil(x: Tensor) -> IntArray:
    return tensor.floor(tensor.plus_number(x, Fraction(1, 2)))


def _half_floor(x: Tensor) -> IntArray:
    return tensor.ceil(tensor.plus_number(x, Fraction(-1, 2)))


ROUNDING: dict[str, Callable[[Tensor], IntArray]] = {
    "TRN": tensor.floor, "TRN_ZERO": _by_sign(tensor.ceil, tensor.floor), "RND": _half_ceil, "RND_MIN_INF": _half_floor,
    "RND_INF": _by_sign(_half_floor, _half_ceil), "RND_ZERO": _by_sign(_half_ceil, _half_floor), "RND_CONV": tensor.halves_to_even}
OVERFLOW = ("SAT", "SAT_SYM", "WRAP")


def quantised(text: str, x: Tensor, name: str) -> tuple[IntArray, Tensor, Tensor]:
    """The codes of a tensor on a type, what was rounded (in steps of the type), and the codes' value."""
    match = re.fullmatch(r"(u?)fixed<(\d+),(-?\d+)((?:,\w+)*)>", text.replace(" ", "").replace("AP_", ""))
    modes = match[4].split(",")[1:] if match else []
    if match is None or any(m not in {*ROUNDING, *OVERFLOW} for m in modes):
        raise UserError(f"'{text}' of the tensor '{name}' is no type")
    width, frac = int(match[2]), int(match[2]) - int(match[3])
    low, high = (0, (1 << width) - 1) if match[1] else (-(1 << width - 1), (1 << width - 1) - 1)
    rounding, overflow = (next((m for m in modes if m in known), None) for known in (ROUNDING, OVERFLOW))
    step = Fraction(1, 2) ** frac
    before = tensor.by_number(x, 1 / step)
    codes = ROUNDING[rounding or "TRN"](before)
    if rounding is None and not tensor.subtract(before, tensor.on_grid(codes, Fraction(1), x.constant)).is_zero:
        raise UserError(f"a value of the tensor '{name}' is not on the grid of {text}")
    if overflow is None and codes.size and (codes.min() < low or codes.max() > high):
        raise UserError(f"a value of the tensor '{name}' is outside {text}")
    if overflow == "WRAP":
        span = np.asarray(high - low + 1, object)
        codes = integers.settle(np.asarray((codes.astype(object) - low) % span + low, object))
    elif overflow:
        codes = integers.clip(codes, -high if overflow == "SAT_SYM" and low else low, high)
    return codes, before, tensor.on_grid(codes, step, x.constant)
