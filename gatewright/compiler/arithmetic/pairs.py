"""Pairs: two digits that occur together in many sums, the most LUTs first.

The greedy two-term elimination of Hosangadi, Fallah and Kastner ("Common subexpression elimination of linear systems",
2005), with counts in a hash table that follow every digit, a heap that is corrected when an entry is popped (never a
rescan), and pairs valued by the LUTs of their adder.
"""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np

from gatewright.compiler.arithmetic.counting import EMPTY, counted, noise, slot, table
from gatewright.compiler.arithmetic.depth import places

NOISE = 0.1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _key(n: int, s: int, g: int, m: int, t: int, h: int) -> int:
    """Two digits (node, shift, sign) without their position: nodes ordered by shift, distance, and whether signs differ."""
    if s > t or (s == t and n > m):
        n, s, m, t = m, t, n, s
    return (((n << 21) | m) << 7) | ((t - s) << 1) | (g ^ h)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _reach(key: int, reach: Any) -> Any:
    """Of the sum that the pair is: `first + (±second << distance)`."""
    return reach[key >> 28] + reach[(key >> 7) & 0x1FFFFF] * 2.0 ** ((key >> 1) & 63)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _worth(key: int, times: int, reach: Any, seed: int) -> Any:
    """Minus the LUTs that sharing a pair saves, those of its adder for every occurrence but one: heaps give the smallest."""
    width = np.log2(_reach(key, reach) + 1.0)
    return (1 - times) * max(width - ((key >> 1) & 63), 1.0) * (1.0 + NOISE * noise(key, seed))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _count(i: int, digit: Any, members: Any, keys: Any, counts: Any, filled: int) -> Any:
    """Counts a digit with each of `members`. Returns the table, which may have grown."""
    node, shift, sign = digit
    for j in members:
        keys, counts, filled = counted(_key(node[i], shift[i], sign[i], node[j], shift[j], sign[j]), keys, counts, filled)
    return keys, counts, filled


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def pairs(out_in: Any, node_in: Any, shift_in: Any, sign_in: Any, reach_in: Any, load_in: Any, budget_in: Any,
          arity: int, least: int, seed: int) -> Any:
    """Takes out pairs that occur at least `least` times, 2 or more. Arguments and result are the state of `sharing.share`."""
    n, nodes, sums = len(out_in), len(reach_in), len(budget_in)
    room = 3 * n  # a pair takes two digits away and adds one, at least twice, and has two digits of its own
    out, node, shift, sign = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    out[:n], node[:n], shift[:n], sign[:n] = out_in, node_in, shift_in, sign_in
    digit, alive, digits = (node, shift, sign), np.zeros(room, np.bool_), n
    alive[:n] = True
    reach, load = np.zeros(nodes + n), np.ones(nodes + n)
    reach[:nodes], load[:nodes] = reach_in, load_in
    # digits of a sum: member[begin[c] : begin[c] + length[c]]; digits of a node: a linked list
    begin, length = np.zeros(sums + 1, np.int64), np.zeros(sums, np.int64)
    for i in range(n):
        begin[out[i] + 1] += 1
    begin = np.cumsum(begin)
    member, place = np.zeros(n, np.int64), np.zeros(room, np.int64)
    of_node, next_of_node = np.full(nodes + n, EMPTY, np.int64), np.full(room, EMPTY, np.int64)
    used = np.zeros(sums)
    keys, counts = table(1 << 16)
    filled = 0
    for i in range(n):
        c = out[i]
        keys, counts, filled = _count(i, digit, member[begin[c]:begin[c] + length[c]], keys, counts, filled)
        place[i] = begin[c] + length[c]
        member[place[i]] = i
        length[c] += 1
        used[c] += load[node[i]]
        next_of_node[i], of_node[node[i]] = of_node[node[i]], i
    heap = [(_worth(keys[k], counts[k], reach, seed), keys[k]) for k in range(len(keys)) if counts[k] >= least]
    heapq.heapify(heap)
    x, y = np.zeros(n, np.int64), np.zeros(n, np.int64)
    made_a, made_b, made_shift, made_sign = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    made = 0
    while len(heap):
        score, key = heapq.heappop(heap)
        k = slot(keys, key)
        now = _worth(key, counts[k], reach, seed)
        if counts[k] < least or now < score:  # in the second case a better entry is there too
            continue
        if now > score:
            heapq.heappush(heap, (now, key))
            continue
        a, b, distance, differ = key >> 28, (key >> 7) & 0x1FFFFF, (key >> 1) & 63, key & 1
        needed = places(load[a] + load[b], arity)
        growth = needed - load[a] - load[b]
        found, i = 0, of_node[a]
        while i != EMPTY:
            c = out[i]
            if alive[i] and used[c] + growth <= budget_in[c]:
                for j in member[begin[c]:begin[c] + length[c]]:
                    if node[j] == b and shift[j] == shift[i] + distance and (sign[i] ^ sign[j]) == differ and j != i and alive[j]:
                        x[found], y[found] = i, j
                        found += 1
                        alive[i] = alive[j] = False
                        used[c] += growth
                        break
            i = next_of_node[i]
        if found < least:
            for f in range(found):
                alive[x[f]] = alive[y[f]] = True
                used[out[x[f]]] -= growth
            counts[k] = -(1 << 30)  # never again within the depth
            continue
        new = nodes
        reach[new] = _reach(key, reach)
        load[new] = needed
        made_a[made], made_b[made], made_shift[made], made_sign[made] = a, b, distance, differ
        nodes, made = nodes + 1, made + 1
        for f in range(found):
            i, j, t = x[f], y[f], digits
            c = out[i]
            for gone in (i, j):  # out of the sum, then out of the counts with what is left
                last = member[begin[c] + length[c] - 1]
                member[place[gone]], place[last] = last, place[gone]
                length[c] -= 1
                for z in member[begin[c]:begin[c] + length[c]]:
                    counts[slot(keys, _key(node[gone], shift[gone], sign[gone], node[z], shift[z], sign[z]))] -= 1
            digits += 1
            out[t], node[t], shift[t], sign[t], alive[t] = c, new, shift[i], sign[i], True
            next_of_node[t], of_node[new] = of_node[new], t
            keys, counts, filled = _count(t, digit, member[begin[c]:begin[c] + length[c]], keys, counts, filled)
            place[t] = begin[c] + length[c]
            member[place[t]] = t
            length[c] += 1
        pushed = {np.int64(-1)}
        for t in range(digits - found, digits):  # only now are the counts of the new node's pairs complete
            c = out[t]
            for z in member[begin[c]:begin[c] + length[c]]:
                if z != t:
                    pair = _key(new, shift[t], sign[t], node[z], shift[z], sign[z])
                    count = counts[slot(keys, pair)]
                    if count >= least and pair not in pushed:
                        pushed.add(pair)
                        heapq.heappush(heap, (_worth(pair, count, reach, seed), pair))
    for m in range(made):  # a pair is a sum of two digits, as deep as it is
        for which, up, opposite in ((made_a[m], 0, 0), (made_b[m], made_shift[m], made_sign[m])):
            out[digits], node[digits], shift[digits], sign[digits], alive[digits] = sums + m, which, up, opposite, True
            digits += 1
    left = np.flatnonzero(alive)
    budget = np.concatenate((budget_in, load[nodes - made:nodes]))
    return out[left], node[left], shift[left], sign[left], reach[:nodes], load[:nodes], budget
