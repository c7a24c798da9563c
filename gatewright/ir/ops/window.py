"""Operations with a sliding window: convolution, sums and extremes of windows. Tensors are [channels, *spatial]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.ir.fixed import FixedArray, Ints
from gatewright.ir.graph import OBJECT, Codes, Op
from gatewright.ir.uniform import compact, spread
from gatewright.ir.windows import Window

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53
EXACT_INT64 = 1 << 62
CACHED = 1 << 17
"""Elements of a depthwise convolution's result that are computed at a time."""
MANY = 1 << 12
"""Above so many elements, windows over a tensor with one type per channel share the bounds of all positions."""


def last(index: tuple[Any, ...]) -> Any:
    """Indices of the last axes."""
    return (..., *index)


Ends = tuple[OBJECT, OBJECT]


def by_channel(x: FixedArray, positions: int) -> Ends | None:
    """The bounds per channel, [channels, 1, ...], of a tensor that has one type at all positions; None where it has not, or
    where it and the result (of `positions` elements) are so small that each position may have bounds of its own."""
    if max(x.size, positions) <= MANY:
        return None
    ends = compact(x.lo, x.hi)
    lo, hi = (b[last((slice(0, 1),) * (b.ndim - 1))] for b in ends)
    return (lo, hi) if all(bool((b == e).all()) for b, e in zip(ends, (lo, hi), strict=True)) else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Windowed(Op):
    """An operation on windows: `kernel`, `strides`, `dilations` per spatial axis, `pads` begins then ends."""

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def taps_shape(self) -> tuple[int, ...]:
        """The kernel's size per spatial axis."""
        raise NotImplementedError

    def window(self, shape: tuple[int, ...]) -> Window:
        """The geometry on an operand of `shape`, channels first."""
        return Window(shape[1:], self.taps_shape(), self.strides, self.dilations, self.pads)


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Windowed):
    """y[o, p] = sum over i, k of x[i, p * strides - pads + k * dilations] * weight[o, i, k] + bias[o]; padding counts as `fill`,
    the code of the real number 0.

    `weight` int64 [out channels, in channels / groups, *kernel], `bias` int64 [out channels]; group g of the outputs
    reads group g of the inputs (depthwise: as many groups as input channels).
    """

    weight: Ints
    bias: Ints
    groups: int = 1
    fill: int = 0
    kind = "conv"

    def taps_shape(self) -> tuple[int, ...]:
        return self.weight.shape[2:]

    def gain(self) -> int:
        """The largest sum of an output's absolute weights."""
        return int(np.abs(self.weight).reshape(len(self.weight), -1).sum(axis=1).max(initial=0))

    def constant(self, spatial: int) -> Ints:
        """What is added to sums over codes less `fill`: then padding counts 0."""
        total = self.bias + self.fill * self.weight.reshape(len(self.weight), -1).sum(axis=1)
        return np.asarray(total.reshape(-1, *(1,) * spatial))

    def sums(self, x: OBJECT, weight: OBJECT) -> OBJECT:
        """The sums of products for samples x [samples, channels, *spatial], in the arithmetic of its type."""
        window = self.window(x.shape[1:])
        samples, (out, inner) = len(x), weight.shape[:2]
        g = self.groups
        if inner == 1 and out == g:
            return _depthwise(x, weight, window)
        y = np.zeros((samples, out, *window.out), x.dtype)
        for tap, positions, elements in window.taps():
            part, w = x[last(elements)], weight[last(tap)]
            if not w.any():
                continue
            columns = part.reshape(samples, g, inner, -1)
            if inner == 1:
                products = columns * w.reshape(g, out // g, 1)
            else:
                products = w.reshape(g, out // g, inner) @ columns
            y[last(positions)] += products.reshape(samples, out, *part.shape[2:])
        return y

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        out = (len(self.weight), *self.window(x.shape).out)
        shared = by_channel(x, math.prod(out))
        lo, hi = shared or (x.lo, x.hi)
        lo, hi = _arithmetic((lo - self.fill, hi - self.fill), self.gain())
        w, bias = self.weight.astype(lo.dtype), self.constant(x.lo.ndim - 1).astype(lo.dtype)
        if shared:
            lo, hi = self._anywhere(x.shape, (lo, hi), w)
        else:
            pair = np.stack([lo, hi])
            up, down = self.sums(pair, np.maximum(w, 0)), self.sums(pair, np.minimum(w, 0))
            lo, hi = up[0] + down[1], up[1] + down[0]
        return spread(lo + bias, out), spread(hi + bias, out)

    def _anywhere(self, shape: tuple[int, ...], ends: Ends, w: OBJECT) -> Ends:
        """Bounds over all positions of a channel: a tap that some position pads may also count 0."""
        window = self.window(shape)
        lo = hi = np.zeros((len(w), 1), w.dtype)
        per_group = len(w) // self.groups
        flat = [np.broadcast_to(e.reshape(-1), shape[:1]).reshape(self.groups, 1, -1) for e in ends]
        for tap, positions, _ in window.taps():
            always = all(p.stop - p.start == n for p, n in zip(positions, window.out, strict=True))
            a, b = flat if always else (np.minimum(flat[0], 0), np.maximum(flat[1], 0))
            v = w[last(tap)].reshape(self.groups, per_group, -1)
            low, high = (np.where(v > 0, v * p, v * q).sum(axis=2).reshape(-1, 1) for p, q in ((a, b), (b, a)))
            lo, hi = lo + low, hi + high
        rest = (1,) * (len(shape) - 1)
        return lo.reshape(-1, *rest), hi.reshape(-1, *rest)

    def compute(self, operands: list[Codes]) -> Codes:
        x = operands[0] - self.fill
        reach = int(np.abs(x).max(initial=0)) * self.gain()
        kind = np.float32 if reach < EXACT_FLOAT32 else np.float64 if reach < EXACT_FLOAT64 else np.int64
        y = self.sums(x.astype(kind), self.weight.astype(kind)).astype(np.int64)
        return np.asarray(y + self.constant(x.ndim - 2))

    def show_form(self) -> str:
        depthwise = self.groups > 1 and self.weight.shape[1] == 1
        return ("depthwise " if depthwise else "") + "conv " + "x".join(map(str, self.taps_shape()))


def _depthwise(x: OBJECT, weight: OBJECT, window: Window) -> OBJECT:
    """One filter per channel; a few channels at a time, so that what lies between stays in the cache."""
    x = np.ascontiguousarray(x)
    y = np.zeros((*x.shape[:2], *window.out), x.dtype)
    step, taps = max(1, CACHED * len(weight) // max(y.size, 1)), list(window.taps())
    for first in range(0, len(weight), step):
        some = slice(first, first + step)
        for tap, positions, elements in taps:
            y[:, some][last(positions)] += x[:, some][last(elements)] * weight[last(tap)][some].reshape(-1, *(1,) * (x.ndim - 2))
    return y


def _arithmetic(ends: Ends, gain: int) -> Ends:
    """int64 where sums with weights of this total cannot overflow, else Python integers."""
    lo, hi = ends
    reach = max(abs(int(lo.min(initial=0))), abs(int(hi.max(initial=0)))) * max(gain, 1)
    return (lo, hi) if reach < EXACT_INT64 else (lo.astype(object), hi.astype(object))


@dataclass(frozen=True, eq=False, kw_only=True)
class SumPool(Windowed):
    """Sum of every window of every channel; padding counts 0."""

    kernel: tuple[int, ...]
    kind = "sum_pool"

    def taps_shape(self) -> tuple[int, ...]:
        return self.kernel

    def sums(self, x: OBJECT) -> OBJECT:
        window = self.window(x.shape[1:])
        y = np.zeros((*x.shape[:2], *window.out), x.dtype)
        for _, positions, elements in window.taps():
            y[last(positions)] += x[last(elements)]
        return y

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        counts = self.window(x.shape).counts()
        shared = by_channel(x, x.shape[0] * counts.size)
        lo, hi = _arithmetic(shared or (x.lo, x.hi), math.prod(self.kernel))
        if not shared:
            lo, hi = self.sums(np.stack([lo, hi]))
            return lo, hi
        few, many, shape = int(counts.min(initial=0)), int(counts.max(initial=0)), (x.shape[0], *counts.shape)
        return spread(np.minimum(lo * few, lo * many), shape), spread(np.maximum(hi * few, hi * many), shape)

    def compute(self, operands: list[Codes]) -> Codes:
        return self.sums(operands[0])

    def show_form(self) -> str:
        return "sum of " + "x".join(map(str, self.kernel))


@dataclass(frozen=True, eq=False, kw_only=True)
class ExtremePool(Windowed):
    """The largest element of every window of every channel, or the smallest; padding does not count."""

    kernel: tuple[int, ...]
    largest: int = 1
    kind = "extreme_pool"

    def taps_shape(self) -> tuple[int, ...]:
        return self.kernel

    def extremes(self, x: Codes) -> Codes:
        window = self.window(x.shape[1:])
        pick, worst = extreme(self.largest)
        y = np.full((*x.shape[:2], *window.out), worst, np.int64)
        for _, positions, elements in window.taps():
            at = last(positions)
            y[at] = pick(y[at], x[last(elements)])
        return y

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        shape = (x.shape[0], *self.window(x.shape).out)
        shared = by_channel(x, math.prod(shape))
        if shared:
            return spread(shared[0], shape), spread(shared[1], shape)
        lo, hi = self.extremes(np.stack([x.lo, x.hi]))
        return lo, hi

    def compute(self, operands: list[Codes]) -> Codes:
        return self.extremes(operands[0])

    def show_form(self) -> str:
        return ("max" if self.largest else "min") + " of " + "x".join(map(str, self.kernel))


def extreme(largest: int) -> tuple[np.ufunc, int]:
    """The function of two, and the number that never wins."""
    info = np.iinfo(np.int64)
    return (np.maximum, info.min) if largest else (np.minimum, info.max)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReduceExtreme(Op):
    """The largest (or smallest) element over `axes` (samples not counted); the axes are dropped unless `keepdims`."""

    axes: tuple[int, ...]
    keepdims: int = 0
    largest: int = 1
    kind = "reduce_extreme"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        pick, _ = extreme(self.largest)
        return tuple(pick.reduce(b, axis=self.axes, keepdims=bool(self.keepdims))
                     for b in (x.lo, x.hi))

    def compute(self, operands: list[Codes]) -> Codes:
        pick, _ = extreme(self.largest)
        return np.asarray(pick.reduce(operands[0], axis=tuple(a + 1 for a in self.axes), keepdims=bool(self.keepdims)))

    def show_form(self) -> str:
        return "max" if self.largest else "min"
