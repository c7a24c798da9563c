"""The number type of hardware: `Fixed`, and `FixedArray`, one `Fixed` per element of a tensor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.uniform import compact, spread

MAX_WIDTH = 62
"""Widest code in bits: sums and differences of two codes still fit into int64."""

Ints = NDArray[np.int64]


def bits_for(lo: int, hi: int) -> int:
    """Bits of the narrowest integer type that holds `lo..hi`: two's complement where `lo < 0`, at least 1."""
    return max(-lo - 1, hi).bit_length() + 1 if lo < 0 else max(hi.bit_length(), 1)


def trailing_zeros(values: Ints) -> Ints:
    """The number of low zero bits of every element; 63 for zero."""
    lowest = (values & -values).astype(np.uint64)
    return np.where(values == 0, 63, np.bitwise_count(lowest - np.uint64(1)).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Fixed:
    """The integers `lo..hi` (codes) times `2**-frac`; width and sign follow from the bounds.

    >>> Fixed(-128, 127, 4)
    fixed<8,4>
    >>> Fixed(0, 5, 0).width, Fixed(0, 5, 0).signed
    (3, False)
    """

    lo: int
    hi: int
    frac: int

    def __post_init__(self) -> None:
        if self.lo > self.hi:
            raise ValueError(f"empty range {self.lo}..{self.hi}")

    @property
    def signed(self) -> bool:
        return self.lo < 0

    @property
    def width(self) -> int:
        return bits_for(self.lo, self.hi)

    @property
    def full(self) -> Fixed:
        """The whole range of this width and sign: what a wire of this type can carry."""
        return Fixed.of(self.width, self.width - self.frac, self.signed)

    @staticmethod
    def of(width: int, integer: int, signed: bool) -> Fixed:
        """The field's notation: `width` bits in all, `integer` of them (sign included) before the point."""
        if not 1 <= width <= MAX_WIDTH:
            raise ValueError(f"a width of {width} bits is not in 1..{MAX_WIDTH}")
        lo, hi = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        return Fixed(lo, hi, width - integer)

    def __repr__(self) -> str:
        return f"{'fixed' if self.signed else 'ufixed'}<{self.width},{self.width - self.frac}>"


ROUNDING = {"TRN": "FLOOR", "TRN_ZERO": "DOWN", "RND_CONV": "ROUND", "RND_INF": "HALF_UP", "RND_ZERO": "HALF_DOWN",
            "RND": "HALF_CEIL", "RND_MIN_INF": "HALF_FLOOR"}
"""ap_fixed quantisation modes and the rounding mode (QONNX's names where it has one) that each is."""
OVERFLOW = ("SAT", "SAT_SYM", "WRAP")

_TYPE = re.compile(r"\s*(u?)fixed\s*<\s*(\d+)\s*,\s*(-?\d+)\s*(?:,\s*(\w+)\s*)?(?:,\s*(\w+)\s*)?>\s*")


@dataclass(frozen=True, slots=True)
class Cast:
    """A type as users write it: `fixed<8,6>` or `fixed<8,6,RND_CONV,SAT>`. Without modes nothing may be lost."""

    type: Fixed
    rounding: str | None = None
    overflow: str | None = None

    @staticmethod
    def parse(text: str) -> Cast:
        """Raises ValueError, saying what is wrong with `text`."""
        match = _TYPE.fullmatch(text)
        if not match:
            raise ValueError(f"'{text}' is not a type; write fixed<width,integer bits>, for example fixed<16,6> or "
                             f"ufixed<8,0,RND_CONV,SAT>")
        unsigned, width, integer, rounding, overflow = match.groups()
        rounding, overflow = ((m.removeprefix("AP_") if m else None) for m in (rounding, overflow))
        if rounding is not None and rounding not in ROUNDING:
            raise ValueError(f"'{rounding}' in '{text}' is no rounding mode; there are {', '.join(ROUNDING)}")
        if overflow is not None and overflow not in OVERFLOW:
            raise ValueError(f"'{overflow}' in '{text}' is no overflow mode; there are {', '.join(OVERFLOW)}")
        return Cast(Fixed.of(int(width), int(integer), not unsigned), rounding, overflow)

    def __str__(self) -> str:
        modes = [m for m in (self.rounding, self.overflow) if m]
        return ",".join([repr(self.type)[:-1], *modes]) + ">"


@dataclass(frozen=True, eq=False, slots=True)
class FixedArray:
    """A type per element: `lo` and `hi` are int64 arrays of the tensor's shape (samples not counted), `frac` is common.

    A common `frac` keeps element-wise sums free of alignment; a scale per element belongs to the tensor's meaning.
    """

    lo: Ints
    hi: Ints
    frac: int

    def __post_init__(self) -> None:
        for bound in ("lo", "hi"):  # numpy's arithmetic makes scalars of arrays of shape ()
            object.__setattr__(self, bound, np.asarray(getattr(self, bound)))
        if self.lo.shape != self.hi.shape or self.lo.dtype != np.int64 or self.hi.dtype != np.int64:
            raise ValueError("lo and hi must be int64 arrays of one shape")
        if (self.lo > self.hi).any():
            raise ValueError("an element has an empty range")
        self.lo.setflags(write=False)
        self.hi.setflags(write=False)

    @staticmethod
    def full(shape: tuple[int, ...], element: Fixed) -> FixedArray:
        lo, hi = (np.broadcast_to(np.int64(b), shape) for b in (element.lo, element.hi))
        return FixedArray(lo, hi, element.frac)

    def cut(self, lo: NDArray[Any], hi: NDArray[Any]) -> FixedArray:
        """This type within other bounds of its shape (int64, or Python integers)."""
        own_lo, own_hi, lo, hi = compact(self.lo, self.hi, lo, hi)
        lo, hi = (spread(np.asarray(b, object).astype(np.int64), self.shape)
                  for b in (np.maximum(own_lo, lo), np.minimum(own_hi, hi)))
        return FixedArray(lo, hi, self.frac)

    @property
    def compact(self) -> FixedArray:
        """With length 1 along every axis on which the bounds repeat."""
        lo, hi = compact(self.lo, self.hi)
        return FixedArray(lo, hi, self.frac)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lo.shape

    @property
    def size(self) -> int:
        return self.lo.size

    @property
    def common(self) -> Fixed:
        """The narrowest single type that holds every element."""
        return Fixed(int(self.lo.min(initial=0)) if self.size == 0 else int(self.lo.min()),
                     int(self.hi.max(initial=0)) if self.size == 0 else int(self.hi.max()), self.frac)

    @property
    def widths(self) -> Ints:
        """Bits of every element, int64 of the tensor's shape."""
        def length(x: Ints) -> Ints:  # bit_length of non-negative int64: frexp's exponent, of limbs that float64 holds
            high, low = (np.frexp(limb.astype(np.float64))[1].astype(np.int64) for limb in (x >> 31, x & (1 << 31) - 1))
            return np.where(high > 0, high + 31, low)
        lo, hi = compact(self.lo, self.hi)
        magnitude = np.maximum(length(np.maximum(-lo - 1, 0)), length(np.maximum(hi, 0)))
        return spread(np.maximum(magnitude + (lo < 0), 1), self.shape)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, FixedArray) and self.frac == other.frac and self.shape == other.shape
                and bool((self.lo == other.lo).all() and (self.hi == other.hi).all()))

    def __repr__(self) -> str:
        return f"{list(self.shape)}{self.common!r}"
