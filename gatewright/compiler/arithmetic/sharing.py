"""Shared two-term subexpressions of many sums: the adder graph of a constant matrix.

Every sum is a set of signed digits `±(node << shift)`. The pair of digits that saves most, over all sums together,
becomes a node of its own and replaces its occurrences; that repeats until no pair occurs twice. This is the greedy
two-term elimination of Hosangadi, Fallah and Kastner ("Common subexpression elimination of linear systems", 2005), with
pair counts kept in a hash table and updated as digits come and go, a heap that is corrected when an entry is popped
(never a rescan), pairs valued by the LUTs that their adder takes, and a bound on the depth of every sum: digits of
depth t fit into a tree of depth D while the sum of 2**t stays within 2**D (Kraft).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from gatewright.ir.fixed import Ints

Bools = NDArray[np.bool_]

MAX_NODES = 1 << 21
MAX_PAIRS = 30_000_000
"""Pairs of digits that are counted at most; larger problems are left unshared."""


@dataclass(frozen=True)
class Shared:
    """`nodes` new nodes, numbered from the number of operands on: `a + (±b << shift)`; and the digits that remain."""

    a: Ints
    b: Ints
    shift: Ints
    negative: Bools
    out: Ints
    """Of every remaining digit: the sum it belongs to, its node, shift and sign."""
    node: Ints
    node_shift: Ints
    node_negative: Bools


def signed_digits(out: Ints, row: Ints, weight: Ints) -> tuple[Ints, Ints, Ints, Bools]:
    """(out, row, shift, negative) of the canonical signed digits of every non-zero weight."""
    half = np.abs(weight) >> 1
    three = np.abs(weight) + half
    changed = half ^ three
    parts: list[tuple[Ints, Ints, Ints, Bools]] = []
    for bits, sign in ((three & changed, False), (half & changed, True)):
        for k in range(int(bits.max(initial=0)).bit_length()):
            i = np.flatnonzero(bits >> k & 1)
            parts.append((out[i], row[i], np.full(len(i), k), (weight[i] < 0) ^ sign))
    if not parts:
        return out[:0], row[:0], out[:0], out[:0] < 0
    columns = [np.concatenate(c) for c in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    return columns[0][order], columns[1][order], columns[2][order], columns[3][order]


def share(out: Ints, node: Ints, shift: Ints, negative: Bools, sums: int, lo: Ints, hi: Ints, slack: int) -> Shared:
    """Finds shared pairs. Digits in columns; `lo`, `hi`: bounds of the operands, which are nodes 0..len(lo)-1.

    `slack`: how much deeper than a balanced tree each sum may become, in additions.
    """
    count = np.bincount(out, minlength=sums)
    if int((count * (count - 1) // 2).sum()) > MAX_PAIRS or len(lo) + len(out) >= MAX_NODES or not len(out):
        empty = np.zeros(0, np.int64)
        return Shared(empty, empty, empty, empty < 0, out, node, shift, negative)
    a, b, d, n, o, m, s, g = _eliminate(out, node, shift, negative, sums, lo.astype(np.float64), hi.astype(np.float64), slack)
    return Shared(a, b, d, n, o, m, s, g)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _slot(keys: Any, key: int) -> Any:
    """Where the key is, or the empty place where it belongs."""
    mask = len(keys) - 1
    h = key * np.int64(-7046029254386353131)
    i = (h ^ (h >> 29)) & mask
    while keys[i] != -1 and keys[i] != key:
        i = (i + 1) & mask
    return i


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _key(n1: int, s1: int, g1: int, n2: int, s2: int, g2: int) -> int:
    """The pair without its position: nodes ordered by shift, their distance, and whether their signs differ."""
    if s1 > s2 or (s1 == s2 and n1 > n2):
        n1, s1, n2, s2 = n2, s2, n1, s1
    return (((n1 << 21) | n2) << 7) | ((s2 - s1) << 1) | (g1 ^ g2)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _value(key: int, times: int, lo: Any, hi: Any) -> Any:
    """LUTs that sharing a pair saves: those of its adder, for every occurrence but one."""
    n1, n2, d = key >> 28, (key >> 7) & 0x1FFFFF, (key >> 1) & 63
    low = lo[n1] + (-hi[n2] if key & 1 else lo[n2]) * 2.0**d
    high = hi[n1] + (-lo[n2] if key & 1 else hi[n2]) * 2.0**d
    width = np.log2(max(high, -low) + 1.0) + (1.0 if low < 0 else 0.0)
    return (times - 1) * max(width - d, 1.0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _push(scores: Any, items: Any, size: int, score: float, item: int) -> int:
    i = size
    while i > 0:
        p = (i - 1) >> 1
        if scores[p] > score or (scores[p] == score and items[p] <= item):
            break
        scores[i], items[i] = scores[p], items[p]
        i = p
    scores[i], items[i] = score, item
    return size + 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _pop(scores: Any, items: Any, size: int) -> int:
    """Removes the first entry, which the caller has read; returns the new size."""
    size -= 1
    score, item = scores[size], items[size]
    i = 0
    while True:
        c = 2 * i + 1
        if c >= size:
            break
        if c + 1 < size and (scores[c + 1] > scores[c] or (scores[c + 1] == scores[c] and items[c + 1] < items[c])):
            c += 1
        if score > scores[c] or (score == scores[c] and item <= items[c]):
            break
        scores[i], items[i] = scores[c], items[c]
        i = c
    scores[i], items[i] = score, item
    return size


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _eliminate(out_in: Any, node_in: Any, shift_in: Any, negative_in: Any, sums: int, lo_in: Any, hi_in: Any,
               slack: int) -> Any:
    n, operands = len(out_in), len(lo_in)
    out, node, shift = np.zeros(2 * n, np.int64), np.zeros(2 * n, np.int64), np.zeros(2 * n, np.int64)
    sign, alive = np.zeros(2 * n, np.int64), np.zeros(2 * n, np.bool_)
    out[:n], node[:n], shift[:n] = out_in, node_in, shift_in
    for i in range(n):
        sign[i], alive[i] = (1 if negative_in[i] else 0), True
    digits = n
    # nodes
    lo, hi = np.zeros(operands + n), np.zeros(operands + n)
    lo[:operands], hi[:operands] = lo_in, hi_in
    depth = np.zeros(operands + n, np.int64)
    na, nb, nd = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    ng = np.zeros(n, np.bool_)
    nodes = operands
    # digits of a sum: member[begin[c] : begin[c] + length[c]]; digits of a node: a linked list
    begin, length = np.zeros(sums + 1, np.int64), np.zeros(sums, np.int64)
    for i in range(n):
        begin[out[i] + 1] += 1
    begin = np.cumsum(begin)
    member, place = np.zeros(n, np.int64), np.zeros(2 * n, np.int64)
    head, following = np.full(operands + n, -1, np.int64), np.full(2 * n, -1, np.int64)
    for i in range(n):
        c = out[i]
        place[i] = begin[c] + length[c]
        member[place[i]] = i
        length[c] += 1
    for i in range(n - 1, -1, -1):
        following[i] = head[node[i]]
        head[node[i]] = i
    kraft, budget = np.zeros(sums), np.zeros(sums)
    for c in range(sums):
        kraft[c] = length[c]
        budget[c] = 2.0 ** (np.ceil(np.log2(max(length[c], 1))) + slack)
    # pair counts
    keys, counts = np.full(1 << 16, -1, np.int64), np.zeros(1 << 16, np.int32)
    used = 0
    for c in range(sums):
        for x in range(begin[c], begin[c] + length[c]):
            i = member[x]
            for y in range(x + 1, begin[c] + length[c]):
                j = member[y]
                k = _slot(keys, _key(node[i], shift[i], sign[i], node[j], shift[j], sign[j]))
                if keys[k] == -1:
                    keys[k] = _key(node[i], shift[i], sign[i], node[j], shift[j], sign[j])
                    used += 1
                counts[k] += 1
                if 2 * used > len(keys):
                    keys, counts = _grown(keys, counts)
    scores, items, size = np.zeros(1 << 16), np.zeros(1 << 16, np.int64), 0
    for k in range(len(keys)):
        if counts[k] > 1:
            if size + 1 >= len(scores):
                scores, items = np.append(scores, np.zeros_like(scores)), np.append(items, np.zeros_like(items))
            size = _push(scores, items, size, _value(keys[k], counts[k], lo, hi), keys[k])
    pushed = np.zeros(len(keys), np.int64)  # the new node for which a pair was last put into the heap
    found_x, found_y = np.zeros(n, np.int64), np.zeros(n, np.int64)
    while size:
        score, key = scores[0], items[0]
        size = _pop(scores, items, size)
        k = _slot(keys, key)
        if keys[k] != key or counts[k] < 2:
            continue
        now = _value(key, counts[k], lo, hi)
        if now < score:
            size = _push(scores, items, size, now, key)
            continue
        if now > score:
            continue
        n1, n2, d, differ = key >> 28, (key >> 7) & 0x1FFFFF, (key >> 1) & 63, key & 1
        deeper = max(depth[n1], depth[n2]) + 1
        growth = 2.0**deeper - 2.0 ** depth[n1] - 2.0 ** depth[n2]
        found = 0
        i = head[n1]
        while i != -1:
            c = out[i]
            if alive[i] and kraft[c] + growth <= budget[c]:
                for x in range(begin[c], begin[c] + length[c]):
                    j = member[x]
                    if node[j] == n2 and shift[j] == shift[i] + d and (sign[i] ^ sign[j]) == differ and j != i and alive[j]:
                        found_x[found], found_y[found] = i, j
                        found += 1
                        alive[i] = alive[j] = False
                        kraft[c] += growth
                        break
            i = following[i]
        if found < 2:
            for f in range(found):
                alive[found_x[f]] = alive[found_y[f]] = True
                kraft[out[found_x[f]]] -= growth
            counts[k] = -(1 << 30)  # cannot be used any more within the depth
            continue
        new = nodes
        nodes += 1
        na[new - operands], nb[new - operands], nd[new - operands], ng[new - operands] = n1, n2, d, differ == 1
        depth[new] = deeper
        lo[new] = lo[n1] + (-hi[n2] if differ else lo[n2]) * 2.0**d
        hi[new] = hi[n1] + (-lo[n2] if differ else hi[n2]) * 2.0**d
        for f in range(found):
            i, j = found_x[f], found_y[f]
            c = out[i]
            for gone in (i, j):  # take the digit out of its sum, then uncount its pairs with what is left
                last = begin[c] + length[c] - 1
                member[place[gone]] = member[last]
                place[member[last]] = place[gone]
                length[c] -= 1
                for x in range(begin[c], begin[c] + length[c]):
                    z = member[x]
                    counts[_slot(keys, _key(node[gone], shift[gone], sign[gone], node[z], shift[z], sign[z]))] -= 1
            t = digits
            digits += 1
            out[t], node[t], shift[t], sign[t], alive[t] = c, new, shift[i], sign[i], True
            following[t] = head[new]
            head[new] = t
            for x in range(begin[c], begin[c] + length[c]):
                z = member[x]
                pair = _key(new, shift[t], sign[t], node[z], shift[z], sign[z])
                q = _slot(keys, pair)
                if keys[q] == -1:
                    keys[q] = pair
                    used += 1
                counts[q] += 1
                if 2 * used > len(keys):
                    keys, counts = _grown(keys, counts)
                    pushed = np.zeros(len(keys), np.int64)
            place[t] = begin[c] + length[c]
            member[place[t]] = t
            length[c] += 1
        for t in range(digits - found, digits):  # only now are the counts of the new node's pairs known
            c = out[t]
            for x in range(begin[c], begin[c] + length[c]):
                z = member[x]
                pair = _key(new, shift[t], sign[t], node[z], shift[z], sign[z])
                q = _slot(keys, pair)
                if z != t and counts[q] > 1 and pushed[q] != new:
                    pushed[q] = new
                    if size + 1 >= len(scores):
                        scores, items = np.append(scores, np.zeros_like(scores)), np.append(items, np.zeros_like(items))
                    size = _push(scores, items, size, _value(pair, counts[q], lo, hi), pair)
    left = np.flatnonzero(alive)
    made = nodes - operands
    return na[:made], nb[:made], nd[:made], ng[:made], out[left], node[left], shift[left], sign[left] == 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _grown(keys: Any, counts: Any) -> Any:
    """The hash table in twice the space."""
    new_keys, new_counts = np.full(2 * len(keys), -1, np.int64), np.zeros(2 * len(keys), np.int32)
    for k in range(len(keys)):
        if keys[k] != -1:
            i = _slot(new_keys, keys[k])
            new_keys[i], new_counts[i] = keys[k], counts[k]
    return new_keys, new_counts
