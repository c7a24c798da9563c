"""Patterns: digits that two sums have in common, the most first.

Sums c and d have a pattern in common at a distance: for every digit of the pattern in c, d has one of the same node, so
many places higher and of the same sign (or, all of them, of the opposite sign). Such patterns are counted over all pairs
of sums by going through the digits of every node, and kept up to date as digits move. A pattern of m digits spares one
of its two sums m - 1 digits.
"""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np

from gatewright.compiler.arithmetic.counting import EMPTY, counted, noise, slot, table
from gatewright.compiler.arithmetic.depth import places

NOISE = 0.4


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _key(c: int, s: int, g: int, d: int, t: int, h: int) -> int:
    """What digits (sum, shift, sign) of the same node stand for: their sums in order, distance, and whether signs differ."""
    if c > d:
        c, s, g, d, t, h = d, t, h, c, s, g
    return (((((c << 22) | d) << 8) | (t - s + 128)) << 1) | (g ^ h)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _matches(c: int, d: int, distance: int, differ: int, digit: Any, alive: Any, of_sum: Any, next_of_sum: Any, of_node: Any,
             next_of_node: Any, x: Any, y: Any) -> int:
    """Writes the digits of the pattern, those in c to `x`, those in d to `y`; returns how many. No digit is taken twice."""
    out, node, shift, sign = digit
    found, i = 0, of_sum[c]
    while i != EMPTY:
        if alive[i]:
            j = of_node[node[i]]
            while j != EMPTY:
                if alive[j] and out[j] == d and shift[j] == shift[i] + distance and (sign[i] ^ sign[j]) == differ:
                    x[found], y[found] = i, j
                    alive[j] = False
                    found += 1
                    break
                j = next_of_node[j]
        i = next_of_sum[i]
    for f in range(found):
        alive[y[f]] = True
    return found


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _enter(i: int, digit: Any, alive: Any, of_sum: Any, next_of_sum: Any, of_node: Any, next_of_node: Any, keys: Any, counts: Any,
           filled: int) -> Any:
    """Puts a digit into the lists, and counts it with all others of its node. Returns the table, which may have grown."""
    out, node, shift, sign = digit
    j = of_node[node[i]]
    while j != EMPTY:
        if alive[j] and out[j] != out[i]:
            keys, counts, filled = counted(_key(out[i], shift[i], sign[i], out[j], shift[j], sign[j]), keys, counts, filled)
        j = next_of_node[j]
    next_of_node[i], of_node[node[i]] = of_node[node[i]], i
    next_of_sum[i], of_sum[out[i]] = of_sum[out[i]], i
    alive[i] = True
    return keys, counts, filled


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _leave(i: int, digit: Any, alive: Any, of_node: Any, next_of_node: Any, keys: Any, counts: Any) -> None:
    """Takes a digit out of its sum, and out of the counts."""
    out, node, shift, sign = digit
    alive[i] = False
    j = of_node[node[i]]
    while j != EMPTY:
        if alive[j] and out[j] != out[i]:
            counts[slot(keys, _key(out[i], shift[i], sign[i], out[j], shift[j], sign[j]))] -= 1
        j = next_of_node[j]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _worth(count: int, key: int, seed: int) -> Any:
    """Heaps give the smallest first."""
    return -count - NOISE * noise(key, seed)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def patterns(out_in: Any, node_in: Any, shift_in: Any, sign_in: Any, reach_in: Any, load_in: Any, budget_in: Any,
             arity: int, least: int, seed: int) -> Any:
    """Takes out patterns of at least `least` digits, 3 or more. Arguments and result are the state of `sharing.share`."""
    n, nodes, sums = len(out_in), len(reach_in), len(budget_in)
    room = 6 * n  # a pattern of m digits adds m + 2 and takes 2 m away: at most n patterns
    out, node, shift, sign = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    out[:n], node[:n], shift[:n], sign[:n] = out_in, node_in, shift_in, sign_in
    digit, alive = (out, node, shift, sign), np.zeros(room, np.bool_)
    reach, load = np.zeros(nodes + n), np.ones(nodes + n)
    reach[:nodes], load[:nodes] = reach_in, load_in
    used, budget = np.zeros(sums + n), np.zeros(sums + n)
    budget[:sums] = budget_in
    of_sum, next_of_sum = np.full(sums + n, EMPTY, np.int64), np.full(room, EMPTY, np.int64)
    of_node, next_of_node = np.full(nodes + n, EMPTY, np.int64), np.full(room, EMPTY, np.int64)
    keys, counts = table(1 << 16)
    filled = 0
    for i in range(n):
        keys, counts, filled = _enter(i, digit, alive, of_sum, next_of_sum, of_node, next_of_node, keys, counts, filled)
        used[out[i]] += load[node[i]]
    heap = [(_worth(counts[k], keys[k], seed), keys[k]) for k in range(len(keys)) if counts[k] >= least]
    heapq.heapify(heap)
    x, y, digits = np.zeros(n, np.int64), np.zeros(n, np.int64), n
    while len(heap):
        score, key = heapq.heappop(heap)
        k = slot(keys, key)
        now = _worth(counts[k], key, seed)
        if counts[k] < least or now < score:  # in the second case a better entry is there too
            continue
        if now > score:
            heapq.heappush(heap, (now, key))
            continue
        c, d, distance, differ = key >> 31, (key >> 9) & 0x3FFFFF, ((key >> 1) & 255) - 128, key & 1
        found = _matches(c, d, distance, differ, digit, alive, of_sum, next_of_sum, of_node, next_of_node, x, y)
        taken, lowest = 0.0, x[0]
        for i in x[:found]:
            taken += load[node[i]]
            if shift[i] < shift[lowest]:
                lowest = i
        needed = places(max(taken, 1.0), arity)
        if found < least or max(used[c] - budget[c], used[d] - budget[d]) + needed - taken > 0:
            counts[k] = -(1 << 30)  # never again
            continue
        base, flip, begin = shift[lowest], sign[lowest], digits
        for f in range(found):
            i = x[f]
            _leave(i, digit, alive, of_node, next_of_node, keys, counts)
            _leave(y[f], digit, alive, of_node, next_of_node, keys, counts)
            out[digits], node[digits], shift[digits], sign[digits] = sums, node[i], shift[i] - base, sign[i] ^ flip
            reach[nodes] += reach[node[i]] * 2.0 ** shift[digits]
            digits += 1
        for s, up, opposite in ((c, base, flip), (d, base + distance, flip ^ differ)):
            out[digits], node[digits], shift[digits], sign[digits] = s, nodes, up, opposite
            used[s] += needed - taken
            digits += 1
        load[nodes] = used[sums] = budget[sums] = needed
        nodes, sums = nodes + 1, sums + 1
        for i in range(begin, digits):
            keys, counts, filled = _enter(i, digit, alive, of_sum, next_of_sum, of_node, next_of_node, keys, counts, filled)
        for i in range(begin, digits):  # only now are the counts complete
            j = next_of_node[i]
            while j != EMPTY:
                if alive[j] and out[j] != out[i]:
                    key = _key(out[i], shift[i], sign[i], out[j], shift[j], sign[j])
                    count = counts[slot(keys, key)]
                    if count >= least:
                        heapq.heappush(heap, (_worth(count, key, seed), key))
                j = next_of_node[j]
    left = np.flatnonzero(alive)
    return out[left], node[left], shift[left], sign[left], reach[:nodes], load[:nodes], budget[:sums]
