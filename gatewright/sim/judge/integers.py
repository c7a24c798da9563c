"""Exact integer arrays: int64 where bounds prove that nothing overflows, arrays of Python integers otherwise."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.sim.judge.numbers import floor_root

IntArray = NDArray[Any]
"""dtype int64, or object holding Python integers."""

INT64 = 1 << 63
FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53
"""Floats hold every integer up to this size, so sums of integers that stay below it are exact in any order."""
WINDOW_ELEMENTS = 1 << 20
"""Of a convolution or pooling at a time, per pass over the samples."""


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
    for x, y in ((a, b), (b, a)):
        if y.size == 1 and x.ndim >= y.ndim and y.item() == 1:
            return x
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
    count = prod(a.shape[axis] for axis in axes)
    if a.dtype == np.int64 and span(a) * count < INT64:
        return np.asarray(a.sum(axis=axes, keepdims=True))
    return settle(np.asarray(_python(a).sum(axis=axes, keepdims=True)))


def matmul(a: IntArray, b: IntArray) -> IntArray:
    """The matrix product of the last two axes; in floats (BLAS) or int64 only where no sum leaves the exact range."""
    if a.shape[0] > 1 and b.shape[0] == 1 and b.ndim == 3:  # one matrix for all samples: one large product
        product = matmul(a.reshape(1, -1, a.shape[-1]), b)
        return product.reshape(*a.shape[:-1], b.shape[-1])
    if a.dtype == b.dtype == np.int64:
        dtype = _dtype_for(min(span(a) * _largest_sum(b, -2), span(b) * _largest_sum(a, -1)))
        if dtype is not None:
            return np.asarray(np.matmul(a.astype(dtype), b.astype(dtype)).astype(np.int64))
    return _matmul_in_limbs(a, b)


def matmul_windows(a: IntArray, b: IntArray, windows: Callable[[IntArray], IntArray], groups: int) -> IntArray:
    """`matmul(a, windows(b))`, a few samples (axis 0 of b) and groups (axis 2 of a) at a time, because the windows take much memory.

    `windows` moves and repeats elements. Every sum takes one row of a, so its bound needs no windows. The channels (axis 2
    of b) are as many for every group.
    """
    dtype = None
    if a.dtype == b.dtype == np.int64:
        dtype = _dtype_for(span(b) * _largest_sum(a, -1))
    if dtype is not None:
        a, b = a.astype(dtype), b.astype(dtype)
    channels = b.shape[2] // groups
    sample = windows(b[:1, :, :channels]).size * groups + 1
    count, some = max(1, WINDOW_ELEMENTS // sample), min(groups, max(1, WINDOW_ELEMENTS * groups // sample))
    parts = []
    for start in range(0, b.shape[0], count):
        left, right = a if a.shape[0] == 1 else a[start:start + count], b[start:start + count]
        products = []
        for g in range(0, groups, some):
            x, y = left[:, :, g:g + some], windows(right[:, :, g * channels:(g + some) * channels])
            products.append(matmul(x, y) if dtype is None else np.matmul(x, y))
        parts.append(_joined(products, 2))
    return settle(_joined(parts, 0)) if dtype is None else _joined(parts, 0).astype(np.int64)


def _joined(parts: list[IntArray], axis: int) -> IntArray:
    if any(part.dtype == object for part in parts):
        parts = [_python(part) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


def _dtype_for(bound: int) -> type | None:
    """The fastest type that holds every integer up to the bound, so that sums below it are exact in any order."""
    return (np.float32 if bound < FLOAT32_EXACT else np.float64 if bound < FLOAT64_EXACT
            else np.int64 if bound < INT64 else None)


def _matmul_in_limbs(a: IntArray, b: IntArray) -> IntArray:
    """Cut into limbs of which every product sum is exact in float64."""
    bits = (52 - a.shape[-1].bit_length()) // 2
    total = np.zeros((), object)
    lefts, rights = _limbs(a, bits), _limbs(b, bits)
    for i, left in enumerate(lefts):
        for j, right in enumerate(rights):
            total = total + (np.matmul(left, right).astype(np.int64).astype(object) << bits * (i + j))
    return settle(np.asarray(total, object))


def _limbs(a: IntArray, bits: int) -> list[NDArray[np.float64]]:
    """float64 arrays whose sum, weighted with powers of `2**bits`, is `a`; the last one carries the sign."""
    limbs = []
    while span(a) >= 1 << bits:
        limbs.append((a & (1 << bits) - 1).astype(np.float64))
        a = settle(np.asarray(a >> bits))
    return [*limbs, a.astype(np.float64)]


def _largest_sum(a: IntArray, axis: int) -> int:
    """An upper bound of the sums of absolute values along the axis."""
    coarse = span(a) * a.shape[axis]
    return int(np.abs(a).sum(axis=axis).max()) if a.size and coarse < INT64 else coarse


def distinct(a: IntArray) -> tuple[IntArray, IntArray]:
    """The different elements in order, and by element the place of its value among these; by counting where they lie close."""
    if a.dtype == np.int64 and a.size and span(a) < a.size:
        low = int(a.min())
        place = a - low
        present = np.zeros(int(place.max()) + 1, np.bool_)
        present[place] = True
        return np.flatnonzero(present) + low, (np.cumsum(present) - 1)[place]
    values, where = np.unique(a, return_inverse=True)
    return values, where.reshape(a.shape)


def common_divisor(a: IntArray) -> int:
    """The greatest common divisor of all elements; 1 where all are zero."""
    if a.dtype == np.int64 and span(a) < INT64:
        return abs(int(np.gcd.reduce(a, axis=None))) or 1 if a.size else 1
    return gcd(*a.ravel().tolist()) or 1
