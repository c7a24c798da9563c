"""Linear operations with integer constants: dense, reduce-sum, element-wise combination, product of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.ir.fixed import FixedArray, Ints
from gatewright.ir.graph import OBJECT, Codes, Op, as_python, element_by_element

EXACT_FLOAT64 = 1 << 53


def _interval(scale: Any, x: FixedArray) -> tuple[OBJECT, OBJECT]:
    a, b = scale * as_python(x.lo), scale * as_python(x.hi)
    return np.minimum(a, b), np.maximum(a, b)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Op):
    """y[..., j] = sum_i x[..., i] * weight[i, j] + bias[j]; weight int64 [in, out], bias int64 [out]."""

    weight: Ints
    bias: Ints
    kind = "dense"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        w = as_python(self.weight)
        positive, negative = np.maximum(w, 0), np.minimum(w, 0)
        lo, hi = as_python(x.lo), as_python(x.hi)
        bias = as_python(self.bias)
        return lo @ positive + hi @ negative + bias, hi @ positive + lo @ negative + bias

    def compute(self, operands: list[Codes]) -> Codes:
        x, = operands
        # float64 products and sums of integers are exact while every partial sum stays below 2**53, and BLAS is fast
        bound = int(np.abs(x).max(initial=0)) * int(np.abs(self.weight).sum(axis=0).max(initial=0))
        if bound < EXACT_FLOAT64:
            return (x.astype(np.float64) @ self.weight.astype(np.float64)).astype(np.int64) + self.bias
        return np.asarray(x @ self.weight + self.bias)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReduceSum(Op):
    """Sum over `axes` (of the tensor, samples not counted); the axes are dropped unless `keepdims`."""

    axes: tuple[int, ...]
    keepdims: int = 0
    kind = "reduce_sum"

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        x, = types
        return tuple(np.asarray(as_python(b).sum(axis=self.axes, keepdims=bool(self.keepdims)), object)
                     for b in (x.lo, x.hi))  # type: ignore[return-value]

    def compute(self, operands: list[Codes]) -> Codes:
        x, = operands
        return np.asarray(x.sum(axis=tuple(a % (x.ndim - 1) + 1 for a in self.axes), keepdims=bool(self.keepdims)))


def with_samples(x: Codes, rank: int) -> Codes:
    """`x` with ones inserted after the sample axis, so that it broadcasts against tensors of `rank` dimensions."""
    return x.reshape(x.shape[0], *(1,) * (rank + 1 - x.ndim), *x.shape[1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class Combine(Op):
    """y = sum_k scales[k] * x_k + offset, element-wise with broadcasting; integer constants of the result's shape or less."""

    scales: tuple[Ints, ...]
    offset: Ints
    kind = "combine"

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        lo = hi = as_python(self.offset)
        for scale, x in zip(self.scales, types, strict=True):
            a, b = _interval(as_python(scale), x)
            lo, hi = lo + a, hi + b
        return np.asarray(lo, object), np.asarray(hi, object)

    def compute(self, operands: list[Codes]) -> Codes:
        rank = len(self.type.shape)
        total = np.asarray(self.offset)
        for scale, x in zip(self.scales, operands, strict=True):
            total = total + scale * with_samples(x, rank)
        return np.ascontiguousarray(np.broadcast_to(total, (operands[0].shape[0], *self.type.shape)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiply(Op):
    """Element-wise product of two tensors, with broadcasting; a tensor with itself gives squares."""

    kind = "multiply"

    @element_by_element
    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        a, b = types
        ends = [as_python(x) * as_python(y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
        if self.inputs[0] == self.inputs[1]:
            ends = [ends[0], ends[3]]
            crosses = (a.lo <= 0) & (a.hi >= 0)
            return (np.asarray(np.where(crosses, 0, np.minimum(*ends)), object),
                    np.asarray(np.maximum(*ends), object))
        return (np.asarray(np.minimum.reduce(ends), object), np.asarray(np.maximum.reduce(ends), object))

    def compute(self, operands: list[Codes]) -> Codes:
        rank = len(self.type.shape)
        return np.asarray(with_samples(operands[0], rank) * with_samples(operands[1], rank))
