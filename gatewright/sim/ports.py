"""The RTL under test, and its ports packed: element i (C order) lies at bits `[i * width +: width]` of the bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import InternalError
from gatewright.ir.fixed import MAX_WIDTH, Ints

Words = NDArray[np.uint32]
_CHUNK = 1 << 24
"""Bits that `pack` and `unpack` spread out at a time, one byte each: a bound on the memory."""


class RtlPort(Protocol):
    """What the simulators ask of a port: tensor, Verilog identifier, number of elements, their width and sign."""

    @property
    def name(self) -> str: ...
    @property
    def rtl(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def signed(self) -> bool: ...
    @property
    def elements(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SimPort:
    """The smallest `RtlPort`."""

    name: str
    rtl: str
    width: int
    signed: bool
    elements: int


@dataclass(frozen=True, slots=True)
class Rtl:
    """A design under test: Verilog module `top` of `sources`, its ports, its latency in cycles (None: any will do)."""

    top: str
    sources: tuple[Path, ...]
    inputs: tuple[RtlPort, ...]
    outputs: tuple[RtlPort, ...]
    latency_cycles: int | None = None


def bus_words(port: RtlPort) -> int:
    """32-bit words that hold the bus of `port`."""
    return -(-port.width * port.elements // 32)


def pack(port: RtlPort, values: Ints) -> Words:
    """Codes int64[n, elements] to buses uint32[n, words], lowest word first, unused high bits zero.

    >>> [hex(word) for word in pack(SimPort("x", "x", 12, True, 3), np.array([[-1, 2, -3]]))[0]]
    ['0xfd002fff', '0xf']

    Raises InternalError on a code that the port cannot carry.
    """
    if values.ndim != 2 or values.shape[1] != port.elements:
        raise InternalError(f"port '{port.name}' has {port.elements} elements, the data have shape {values.shape}")
    if not 1 <= port.width <= MAX_WIDTH:
        raise InternalError(f"port '{port.name}' is {port.width} bits wide, not 1..{MAX_WIDTH}")
    lo, hi = (-(1 << port.width - 1), (1 << port.width - 1) - 1) if port.signed else (0, (1 << port.width) - 1)
    if values.size and not (lo <= values.min() and values.max() <= hi):
        raise InternalError(f"port '{port.name}' cannot carry codes {values.min()}..{values.max()}, only {lo}..{hi}")
    words = np.zeros((len(values), bus_words(port)), "<u4")
    used, taken = -(-port.width * port.elements // 8), -(-port.width // 8)
    for rows in _chunks(len(values), port):
        octets = values[rows].astype("<i8")[:, :, None].view(np.uint8)[:, :, :taken]
        bits = np.unpackbits(octets, axis=2, count=port.width, bitorder="little")
        words.view(np.uint8)[rows, :used] = np.packbits(bits.reshape(len(bits), -1), axis=1, bitorder="little")
    return words


def unpack(port: RtlPort, words: Words) -> Ints:
    """The inverse of `pack`: buses uint32[n, words] to codes int64[n, elements]."""
    values = np.zeros((len(words), port.elements), "<i8")
    taken = -(-port.width // 8)
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8)
    for rows in _chunks(len(words), port):
        bits = np.unpackbits(octets[rows], axis=1, count=port.width * port.elements, bitorder="little")
        elements = bits.reshape(len(bits), port.elements, port.width)
        values[rows][:, :, None].view(np.uint8)[:, :, :taken] = np.packbits(elements, axis=2, bitorder="little")
    if port.signed:
        sign = np.int64(1) << np.int64(port.width - 1)
        values = (values ^ sign) - sign
    return values.astype(np.int64, copy=False)


def check_names(ports: Sequence[RtlPort], what: str, names: Sequence[str]) -> None:
    """Raises InternalError unless there are data for every port of `ports` and for nothing else."""
    if sorted(names) != sorted(port.name for port in ports):
        raise InternalError(f"{what} are {sorted(port.name for port in ports)}, the data are for {sorted(names)}")


def _chunks(n: int, port: RtlPort) -> list[slice]:
    rows = max(1, _CHUNK // (port.elements * (port.width + 8)))
    return [slice(start, start + rows) for start in range(0, n, rows)]
