"""Exact integer arrays: int64 where bounds prove that nothing overflows, arrays of Python integers otherwise."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.sim.judge.numbers import floor_root

IntArray = NDArray[Any]
"""dtype int64, or object holding Python integers."""

INT64 = 1 << 63
FLOAT64_EXACT = 1 << 53
"""float64 holds every integer up to this size, so sums of integers that stay below it are exact in any order."""


def settle(array: IntArray) -> IntArray:
    """The same integers as int64 where they fit, else as Python integers."""
    if array.dtype == np.int64 or span(array) >= INT64:
        return array
    return array.astype(np.int64)


def span(array: IntArray) -> int:
    """The largest absolute value; 0 for an empty array."""
    return max(abs(int(array.min())), abs(int(array.max()))) if array.size else 0


def _python(array: IntArray) -> IntArray:
    return array.astype(object)


def add(a: IntArray, b: IntArray) -> IntArray:
    if a.dtype == b.dtype == np.int64 and span(a) + span(b) < INT64:
        return np.asarray(a + b)
    return settle(np.asarray(_python(a) + _python(b)))


def multiply(a: IntArray, b: IntArray) -> IntArray:
    if a.dtype == b.dtype == np.int64 and span(a) * span(b) < INT64:
        return np.asarray(a * b)
    return settle(np.asarray(_python(a) * _python(b)))


def scale(a: IntArray, factor: int) -> IntArray:
    return a if factor == 1 else multiply(a, whole(factor, a.ndim))


def whole(value: int, rank: int) -> IntArray:
    """One integer as an array of this rank."""
    return settle(np.full((1,) * rank, value, object))


def floor_divide(a: IntArray, divisor: IntArray) -> IntArray:
    """floor(a / divisor); every divisor is positive."""
    if a.dtype == divisor.dtype == np.int64:
        return np.asarray(a // divisor)
    return settle(np.asarray(_python(a) // _python(divisor)))


def clip(a: IntArray, low: int, high: int) -> IntArray:
    if a.dtype == np.int64:  # bounds beyond int64 cannot bite
        return np.clip(a, max(low, -INT64), min(high, INT64 - 1))
    return settle(np.clip(a, low, high))


def floor_roots(y: IntArray, radicand: IntArray) -> IntArray:
    """floor(y * sqrt(radicand)), element by element; radicands are not negative."""
    return settle(np.asarray(np.frompyfunc(floor_root, 2, 1)(_python(y), _python(radicand)), dtype=object))


def total(a: IntArray, axes: tuple[int, ...]) -> IntArray:
    """Sum over the axes, which are kept with length 1."""
    count = int(np.prod([a.shape[axis] for axis in axes]))
    if a.dtype == np.int64 and span(a) * count < INT64:
        return np.asarray(a.sum(axis=axes, keepdims=True))
    return settle(np.asarray(_python(a).sum(axis=axes, keepdims=True)))


def matmul(a: IntArray, b: IntArray) -> IntArray:
    """The matrix product of the last two axes; float64 (BLAS) or int64 only where no sum can leave the exact range."""
    if a.shape[0] > 1 and b.shape[0] == 1 and b.ndim == 3:  # one matrix for all samples: one large product
        product = matmul(a.reshape(1, -1, a.shape[-1]), b)
        return product.reshape(*a.shape[:-1], b.shape[-1])
    if a.dtype == b.dtype == np.int64:
        bound = min(span(a) * _largest_sum(b, -2), span(b) * _largest_sum(a, -1))
        if bound < FLOAT64_EXACT:
            return np.asarray(np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64))
        if bound < INT64:
            return np.asarray(np.matmul(a, b))
    return settle(np.asarray(np.matmul(_python(a), _python(b))))


def _largest_sum(a: IntArray, axis: int) -> int:
    """An upper bound of the sums of absolute values along the axis."""
    coarse = span(a) * a.shape[axis]
    return int(np.abs(a).sum(axis=axis).max()) if a.size and coarse < INT64 else coarse


def common_divisor(a: IntArray) -> int:
    """The greatest common divisor of all elements; 1 where all are zero."""
    if a.dtype == np.int64 and span(a) < INT64:
        return abs(int(np.gcd.reduce(a, axis=None))) or 1 if a.size else 1
    return gcd(*a.ravel().tolist()) or 1
