"""What an hls4ml project is made of: types of `ap_fixed`, exact constants, layers, and the tensors between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatewright.ir.fixed import Ints, bits_for


@dataclass(frozen=True)
class Type:
    """The integers lo..hi times 2**-frac, and how hls4ml makes them of other numbers (modes of `ap_fixed`)."""

    lo: int
    hi: int
    frac: int
    rounding: str = "TRN"
    overflow: str = "WRAP"

    @property
    def width(self) -> int:
        return bits_for(self.lo, self.hi)

    def __str__(self) -> str:
        modes = "" if (self.rounding, self.overflow) == ("TRN", "WRAP") else f",{self.rounding},{self.overflow}"
        return f"{'' if self.lo < 0 else 'u'}fixed<{self.width},{self.width - self.frac}{modes}>"


@dataclass(frozen=True)
class Constant:
    """codes * 2**-frac."""

    codes: Ints
    frac: int

    @property
    def type(self) -> Type:
        return Type(int(self.codes.min(initial=0)), int(self.codes.max(initial=0)), self.frac)

    def reduced(self) -> Constant:
        """The same values with the fewest bits behind the point."""
        bits = int(np.bitwise_or.reduce(self.codes.reshape(-1), initial=0))
        zeros = (bits & -bits).bit_length() - 1 if bits else 0
        return Constant(self.codes >> zeros, self.frac - zeros if bits else 0)


@dataclass
class Layer:
    """One of hls4ml's layers; `attributes`, `constants` and `precision` by hls4ml's names."""

    name: str
    class_name: str
    node: str
    inputs: list[str]
    attributes: dict[str, Any]
    constants: dict[str, Constant]
    precision: dict[str, Type]


@dataclass(frozen=True)
class Tensor:
    """What a layer gives: the Graph's codes times 2**-type.frac, of the Graph's `shape`. `last`: hls4ml's own order, channels
    last, where the Graph has them first."""

    layer: str
    type: Type
    shape: tuple[int, ...]
    last: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass
class Model:
    """The layers in order, and the tensors at the ports by the Graph's names."""

    layers: list[Layer] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
