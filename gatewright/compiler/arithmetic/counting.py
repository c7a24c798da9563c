"""How often something occurs, by a 63-bit key: a hash table with open addressing, for compiled loops."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

EMPTY = -1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def table(size: int) -> Any:
    """(keys, counts), both empty."""
    return np.full(size, EMPTY, np.int64), np.zeros(size, np.int32)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def slot(keys: Any, key: int) -> Any:
    """Where the key is, or the empty place where it belongs."""
    mask = len(keys) - 1
    i = mixed(key) & mask
    while keys[i] != EMPTY and keys[i] != key:
        i = (i + 1) & mask
    return i


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def mixed(key: int) -> Any:
    """A number in which every bit of the key matters."""
    h = key * np.int64(-7046029254386353131)
    return h ^ (h >> 29)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def doubled(keys: Any, counts: Any) -> Any:
    """The same in twice the space: before the table is more than half full."""
    new_keys, new_counts = table(2 * len(keys))
    for k in range(len(keys)):
        if keys[k] != EMPTY:
            i = slot(new_keys, keys[k])
            new_keys[i], new_counts[i] = keys[k], counts[k]
    return new_keys, new_counts


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def counted(key: int, keys: Any, counts: Any, filled: int) -> Any:
    """The table, of which `filled` places are taken, with one more of the key: the same arrays or, grown, new ones."""
    k = slot(keys, key)
    if keys[k] == EMPTY:
        keys[k] = key
        filled += 1
    counts[k] += 1
    if 2 * filled > len(keys):
        keys, counts = doubled(keys, counts)
    return keys, counts, filled


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def noise(key: int, seed: int) -> Any:
    """A number from 0 to 1 for every key and seed; 0 for seed 0."""
    if seed == 0:
        return 0.0
    return (mixed(mixed(key) ^ mixed(seed)) >> 20 & 0xFFFF) / 65536.0
