"""Integer test vectors: corners and random codes, and the pattern of `in_valid` with which they are driven."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Fixed, Ints

FIRST_BURST = 64
"""Vectors that `traffic` drives back to back before the first bubble."""


class TypedPort(Protocol):
    """What `stimulus` asks of a port; `gatewright.ir.design.Port` has it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Fixed: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def corner_vectors(lo: Ints, hi: Ints, limit: int = 256, most: int | None = None) -> Ints:
    """The edges of a range: all minimum, all maximum, all zero, alternating, and one-hot maximum and minimum.

    `lo`, `hi` int64[elements] are the inclusive bounds. Zero means the value of the range that is nearest to it. Where
    there are more than `limit // 2` elements, that many of them, evenly spaced, are hot. Result: int64[k, elements], no
    vector twice; only the first `most` are made.
    """
    zero = np.clip(np.zeros_like(lo), lo, hi)

    def every() -> Iterator[Ints]:
        even = np.arange(lo.size) % 2 == 0
        yield from (lo, hi, zero, np.where(even, lo, hi), np.where(even, hi, lo))
        for extreme in (hi, lo):
            for k in np.unique(np.linspace(0, lo.size - 1, min(lo.size, limit // 2)).astype(np.int64)):
                vector = zero.copy()
                vector[k] = extreme[k]
                yield vector

    found: dict[bytes, Ints] = {}
    for vector in every():
        if len(found) == most:
            break
        found.setdefault(hashlib.sha256(vector.tobytes()).digest(), vector)
    return np.array(list(found.values()), np.int64).reshape(-1, lo.size)


def random_vectors(lo: Ints, hi: Ints, n: int, seed: int) -> Ints:
    """`n` vectors, int64[n, elements], every element uniform over its range `lo..hi` (int64[elements], inclusive)."""
    return np.random.default_rng(seed).integers(lo, hi, size=(n, lo.size), dtype=np.int64, endpoint=True)


def stimulus(ports: Sequence[TypedPort], n: int, seed: int) -> dict[str, Ints]:
    """`n` vectors over the types of all `ports`, int64[n, elements] by name: corners (at most half), then random."""
    sizes = [math.prod(port.shape) for port in ports]
    lo = np.repeat(np.array([port.type.lo for port in ports], np.int64), sizes)
    hi = np.repeat(np.array([port.type.hi for port in ports], np.int64), sizes)
    corners = corner_vectors(lo, hi, most=(n + 1) // 2)
    vectors = np.concatenate([corners, random_vectors(lo, hi, n - len(corners), seed)])
    ends = np.cumsum(sizes)
    return {port.name: vectors[:, end - size:end] for port, size, end in zip(ports, sizes, ends, strict=True)}


def traffic(n: int, seed: int) -> NDArray[np.bool_]:
    """`in_valid` over time, with `n` cycles true: a burst of `FIRST_BURST`, then random bursts between random bubbles.

    Bursts are 1 to 64 cycles, bubbles 1 to 8, and one bubble in 32 is so long (100) that a usual pipeline runs empty.
    """
    rng = np.random.default_rng(seed)
    bursts = np.where(rng.random(n) < 0.5, rng.integers(1, 5, n), rng.integers(1, 65, n))
    bubbles = np.where(rng.random(n) < 1 / 32, 100, rng.integers(1, 9, n))
    lengths = np.empty(2 * n, np.int64)
    lengths[0::2], lengths[1::2] = bursts, bubbles
    lengths[:1] = FIRST_BURST
    valid = np.repeat(np.arange(2 * n) % 2 == 0, lengths)
    return valid[:np.searchsorted(np.cumsum(valid), n, side="left") + 1] if n else valid
