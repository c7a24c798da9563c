"""Geometry of sliding windows: which input elements each tap of a kernel meets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gatewright.ir.fixed import Ints


@dataclass(frozen=True)
class Window:
    """A kernel that slides over the spatial axes. `pads` are the begins of all axes, then the ends; negative pads crop."""

    size: tuple[int, ...]
    """Of the input, per spatial axis."""
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def out(self) -> tuple[int, ...]:
        """Positions per spatial axis."""
        n = len(self.size)
        return tuple((self.size[a] + self.pads[a] + self.pads[n + a] - (self.kernel[a] - 1) * self.dilations[a] - 1)
                     // self.strides[a] + 1 for a in range(n))

    def met(self, axis: int) -> Ints:
        """int64 [kernel, positions] along an axis: the input element that each tap meets at each position, -1 for padding."""
        o, k = np.arange(self.out[axis]), np.arange(self.kernel[axis])[:, None]
        i = o * self.strides[axis] - self.pads[axis] + k * self.dilations[axis]
        return np.where((i >= 0) & (i < self.size[axis]), i, -1).astype(np.int64)

    def taps(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
        """(tap, positions at which it meets the input, the elements that it meets there), for every tap that meets any."""
        axes = []
        for a in range(len(self.size)):
            met = self.met(a)
            found = []
            for k in range(self.kernel[a]):
                where = np.flatnonzero(met[k] >= 0)
                if len(where):
                    first, last = int(where[0]), int(where[-1])
                    found.append((k, slice(first, last + 1), slice(int(met[k, first]), int(met[k, last]) + 1, self.strides[a])))
            axes.append(found)
        for choice in itertools.product(*axes):
            yield tuple(c[0] for c in choice), tuple(c[1] for c in choice), tuple(c[2] for c in choice)

    def counts(self) -> Ints:
        """How many taps meet the input, int64 of the positions' shape."""
        total = np.ones((), np.int64)
        for a in range(len(self.size)):
            total = np.multiply.outer(total, (self.met(a) >= 0).sum(axis=0))
        return total

    def flat(self) -> Ints:
        """int64 [taps, positions]: the flat index of the element met, -1 for padding; both in C order."""
        index = np.zeros((1, 1), np.int64)
        for a, d in enumerate(self.size):
            met = self.met(a)
            both = index[:, None, :, None] * d + met[None, :, None, :]
            both = np.where((index[:, None, :, None] < 0) | (met[None, :, None, :] < 0), -1, both)
            index = both.reshape(index.shape[0] * met.shape[0], index.shape[1] * met.shape[1])
        return index
