"""Arrays that repeat along an axis (stride 0): large tensors whose elements share one type are stored and computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def compact(*arrays: Array) -> tuple[Array, ...]:
    """Views of arrays of one shape, cut to length 1 along every axis on which all of them repeat; they broadcast back."""
    shape = arrays[0].shape
    index = tuple(slice(0, 1) if d > 1 and all(a.strides[k] == 0 for a in arrays) else slice(None)
                  for k, d in enumerate(shape))
    return tuple(a[(*index, ...)] for a in arrays)  # the ellipsis keeps arrays of shape () arrays


def along(shape: tuple[int, ...], axis: int, values: Array) -> Array:
    """A vector as an array that varies along one axis of `shape` only, with length 1 on all others."""
    return values.reshape((1,) * axis + (-1,) + (1,) * (len(shape) - axis - 1))


def spread(a: Array, shape: tuple[int, ...]) -> Array:
    """`a` broadcast to `shape` without a copy, read-only."""
    return np.broadcast_to(a, shape)
