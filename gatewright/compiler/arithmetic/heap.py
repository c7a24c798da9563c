"""Compressor trees: the bits of all terms of a sum are a heap, which chains of the three-operand adder make smaller, level by level.

A chain takes from neighbouring columns up to three bits each, from its lowest one four and a one of the constant, and gives one bit per
column and the carries (backends/add3.py says which heaps fit). It may take the upper half of one term beside the lower half of another
one, so that its columns are full; a tree of whole terms leaves about a fifth of the places empty. Which chain is built next is decided
as in a Dadda tree ("Some schemes for parallel multipliers", 1965): enough of them that the levels that are left suffice, those first
that remove most bits per LUT, as Parandeh-Afshar, Brisk and Ienne choose counters ("Efficient synthesis of compressor trees on FPGAs",
2008), or, so that chains are long and few, per LUT and a few more. That is tried several times, by such rules and with noise.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numba
import numpy as np

from gatewright.compiler.arithmetic.chance import below
from gatewright.compiler.arithmetic.tree_luts import bits
from gatewright.ir.fixed import Ints

CONSTANT = -1
COLUMNS = 64
_LOWEST, _OTHER = 4, 3
"""Bits that a chain takes from its lowest column and from any other one."""
_TALLEST = np.array([[1, 3, 8, 20, 50, 120, 300, 800, 2000, 5000] + 10 * [20000],
                     [1, 3, 4, 6, 9, 13, 19, 28, 42, 63, 94, 141, 211, 316, 474, 711, 1066, 1599, 2398, 20000]])
"""Bits in a column that so many levels add up, if all goes well; and those that they always do, even in one column (Dadda's numbers)."""
_RULES = np.array([(10, 0, 12), (3, 0, 15), (6, 1, 22), (2, 0, 18), (10, 0, 17), (0, 0, 12), (6, 0, 13), (6, 0, 22), (4, 0, 12),
                   (10, 1, 15), (1, 1, 13), (1, 0, 12)])
"""How chains are chosen, all of which is tried: LUTs that every chain is thought to take in addition (the more, the longer are chains);
row of _TALLEST; tenths of bits per LUT from which on a chain is built before it must be. Of 160 rules, those that together give the
fewest LUTs for 800 sums of five networks, the best one first."""
_FIRST_RULES = 4
"""Of these, so many for a first look."""
_NOISE = 400
"""In thousandths: by how much a chain may seem better than it is."""
_MORE = 4
"""How many times more trees are tried before a sum gets more levels than it may have, if it is more than one."""
_MOST_LEVELS = 40
"""Where so many levels do not suffice, the last sum takes all that is left, in as many chains as it needs."""
_LOOKED_AT = 32
"""Bits of a column among which a chain chooses."""

_Heap = namedtuple("_Heap", (
    "place", "width", "most", "level", "begin", "seen",  # of sources: the terms, then the chains
    "source", "later_source",  # of columns, the bits that are there, and those that will be
    "height", "later", "one", "own",  # how many these are, whether the constant has a one, and how many bits the latest chain took
    "chain", "of", "column", "random"))  # of the bits that chains take


class Chains(NamedTuple):
    """Chains of many sums. Bits, in columns: chain `chain` takes bit `column - place[source]` of `source` (CONSTANT: a one).

    Sources are the terms, in order, and behind them the chains. Of chains: `out`, the sum; `level`, by when it is there, in additions;
    `place`, the column of its bit 0; whether it is the `last` one of its sum. `luts`: of every sum.
    """

    chain: Ints
    source: Ints
    column: Ints
    out: Ints
    level: Ints
    place: Ints
    last: Any
    luts: Ints


def compress(first: Ints, place: Ints, width: Ints, most: Ints, level: Ints, constant: Ints, size: Ints, limit: int,
             tries: int) -> Chains:
    """Chains of the sums of the terms first[i]:first[i+1], plus constant[i] >= 0, modulo 2**size[i]: as few levels as can be, and
    of `tries` trees by every rule the one with the fewest LUTs (0: of one tree by each of the first rules); where that would be more
    than `limit` levels, more trees are tried.

    Terms are unsigned numbers of `width` bits up to `most`, `place` places up, below bit COLUMNS, there after `level` additions.
    """
    terms, known = np.stack([place, width, most, level]), dict[tuple[bytes, int, int], int]()
    keys = [(terms[:, first[i]:first[i + 1]].tobytes(), int(constant[i]), int(size[i])) for i in range(len(size))]
    alike = np.array([known.setdefault(key, i) for i, key in enumerate(keys)], np.int64)
    return Chains(*_compress(first, *terms, constant, size, alike, limit, tries))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def rough_luts(terms: int, width: int, columns: int) -> float:
    """About how many LUTs a compressor tree takes, for searches: of so many terms, which have `width` bits together and lie in so many
    columns. Least squares on 5,000 sums of seven networks, 2.2 LUTs off (root mean square)."""
    return 0.1 + 0.39 * terms + 0.535 * width - 0.22 * columns


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _compress(first: Any, place: Any, width: Any, most: Any, level: Any, constant: Any, size: Any, alike: Any,
              limit: int, tries: int) -> Any:
    terms, plan, luts = len(place), np.zeros((len(size), 3), np.int64), np.zeros(len(size), np.int64)
    of_bits, taken, of_chains, made = np.zeros((3, 1024), np.int64), 0, np.zeros((4, 256), np.int64), 0
    for i in range(len(size)):
        at, count = slice(first[i], first[i + 1]), first[i + 1] - first[i]
        if count == 0:
            continue
        own = place[at], width[at], most[at], level[at]
        plan[i] = plan[alike[i]] if alike[i] < i else _planned(own[0], own[1], own[2], own[3], constant[i], size[i], limit, tries)
        h = _room(own[0], own[1], own[2], own[3], plan[i, 0])
        luts[i], chains, bits_taken = _build(h, count, constant[i], size[i], plan[i])
        of_bits, of_chains = _grown(of_bits, taken + bits_taken), _grown(of_chains, made + chains)
        to, source = slice(taken, taken + bits_taken), h.of[:bits_taken]
        of_bits[0, to], of_bits[2, to] = made + h.chain[:bits_taken], h.column[:bits_taken]
        of_bits[1, to] = np.where(source == CONSTANT, CONSTANT, source + np.where(source < count, first[i], terms + made - count))
        to = slice(made, made + chains)
        of_chains[0, to], of_chains[1, to] = i, h.level[count:count + chains]
        of_chains[2, to], of_chains[3, made + chains - 1] = h.place[count:count + chains], 1
        taken, made = taken + bits_taken, made + chains
    of_bits, of_chains = of_bits[:, :taken].copy(), of_chains[:, :made].copy()
    return of_bits[0], of_bits[1], of_bits[2], of_chains[0], of_chains[1], of_chains[2], of_chains[3] == 1, luts


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _grown(columns: Any, length: int) -> Any:
    """The same columns, with room for at least `length` rows."""
    if length <= columns.shape[1]:
        return columns
    more = np.zeros((len(columns), max(length, 2 * columns.shape[1])), np.int64)
    more[:, :columns.shape[1]] = columns
    return more


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _planned(place: Any, width: Any, most: Any, level: Any, constant: int, size: int, limit: int, tries: int) -> Any:
    """(levels, row of _RULES, seed) of the cheapest tree of one sum, of as few levels as there can be."""
    levels, least, best = int(level.max()), -1, np.zeros(3, np.int64)
    while least < 0:
        levels += 1
        heap = _room(place, width, most, level, levels)
        for attempt in range(_MORE * tries if levels == limit and tries > 1 else max(tries, 1)):
            if least >= 0 and attempt >= tries:
                break
            for rule in range(len(_RULES) if tries else _FIRST_RULES):
                plan = np.array([levels, rule, attempt])
                luts = _build(heap, len(place), constant, size, plan)[0]
                if luts >= 0 and (least < 0 or luts < least):
                    least, best = luts, plan
    return best


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _room(place: Any, width: Any, most: Any, level: Any, levels: int) -> Any:
    """Room for as many chains as there are bits, of which every one is taken once a level at most."""
    terms, room = len(place), int(width.sum()) + COLUMNS
    sources, columns = np.zeros((6, terms + room), np.int64), np.zeros((2, COLUMNS, terms + room), np.int64)
    sources[0, :terms], sources[1, :terms], sources[2, :terms], sources[3, :terms] = place, width, most, level
    counts, taken = np.zeros((4, COLUMNS), np.int64), np.zeros((3, levels * room), np.int64)
    return _Heap(sources[0], sources[1], sources[2], sources[3], sources[4], sources[5], columns[0], columns[1],
                 counts[0], counts[1], counts[2], counts[3], taken[0], taken[1], taken[2], np.zeros(1, np.uint64))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _build(h: Any, terms: int, constant: int, size: int, plan: Any) -> Any:
    """(LUTs, chains, bits that they take) of the tree that `plan` gives; -1 LUTs where its levels do not suffice."""
    levels, (overhead, table, worth) = plan[0], _RULES[plan[1]]
    limits = _TALLEST[table]
    h.height[:], h.later[:], h.seen[:], h.random[0] = 0, 0, -2, plan[2]
    for t in range(terms):
        _enter(h, t)
    for c in range(COLUMNS):
        h.one[c] = constant >> c & 1 if c < size else 0
    luts, chains, taken = 0, 0, 0
    for now in range(levels):
        _arrive(h, now)
        start = _last_start(h, size)
        if start < 0 and now + 1 == levels > h.level[:terms].max() + _MOST_LEVELS:
            start = 0
        if start >= 0:
            luts += _luts(h.height, h.one, start, size)
            for c in range(COLUMNS):
                taken = _take_all(h, c, chains, taken)
            h.place[terms + chains], h.level[terms + chains] = 0, now + 1
            return luts, chains + 1, taken
        tallest = limits[min(levels - now - 1, len(limits) - 1)]
        while now < levels - 1:
            lowest, highest, top = _best(h, size, tallest, overhead, worth)
            if lowest < 0:
                break
            taken = _take_chain(h, terms, lowest, highest, top, chains, taken)
            source = terms + chains
            h.level[source] = now + 1
            _enter(h, source)
            end = min(lowest + h.width[source], size)
            luts += _luts(h.own, 0 * h.own, lowest, end)
            chains += 1
    return -1, chains, taken


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _luts(height: Any, one: Any, start: int, end: int) -> int:
    """LUTs of the chain over the columns start..end-1: but for the highest bit where that is the carry of the one below; of six bits or
    fewer, those of LUTs with two outputs (backends/small_sums.py)."""
    luts, inputs, last = end - start, 0, start
    if luts > 2 and height[end - 1] + one[end - 1] == 0 and height[end - 2] + one[end - 2] <= 1:
        luts -= 1
    for c in range(start, end):
        inputs += height[c]
        last = c if height[c] else last
    if inputs < 6:
        return min(luts, (end - start + 1) // 2)
    return min(luts, (last - start + 1) // 2 + end - last) if inputs == 6 else luts


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _enter(h: Any, source: int) -> None:
    """The bits of a source, for later."""
    for c in range(h.place[source], h.place[source] + h.width[source]):
        h.later_source[c, h.later[c]] = source
        h.later[c] += 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _arrive(h: Any, now: int) -> None:
    """The bits that are there after `now` additions."""
    for c in range(COLUMNS):
        left = 0
        for k in range(h.later[c]):
            source = h.later_source[c, k]
            if h.level[source] <= now:
                h.source[c, h.height[c]] = source
                h.height[c] += 1
            else:
                h.later_source[c, left] = source
                left += 1
        h.later[c] = left


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _last_start(h: Any, size: int) -> int:
    """The lowest column of a chain that adds up all that is left; -1 where none can, `size` where none is needed."""
    start = size
    if h.later.any():
        return -1
    for c in range(size):
        there = h.height[c] + h.one[c]
        if start < size and there > _OTHER:
            return -1
        if start == size and there > 1:
            start = c
            if h.height[c] > _LOWEST:
                return -1
    return start


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _best(h: Any, size: int, tallest: int, overhead: int, worth: int) -> Any:
    """(lowest column, highest column, bits from the highest one) of the chain that removes most bits per LUT; of equals the one that
    takes most. It is worth it, or lowers a column that is too high for the levels that are left. -1: there is none."""
    bottom = 0
    while bottom < size and h.height[bottom] + h.later[bottom] + h.one[bottom] <= 1:
        bottom += 1
    best, best_gain, best_luts, best_taken, noisy = (-1, 0, 0), 0, 1, 0, h.random[0] != 0
    for lowest in range(size):
        if h.height[lowest] + h.one[lowest] < 2:
            continue
        under, value, high = 0, np.int64(0), False
        for c in range(lowest, size):
            there = min(h.height[c], _LOWEST) + h.one[c] if c == lowest else min(h.height[c] + h.one[c], _OTHER)
            if there == 0:
                break
            limit = _LOWEST + h.one[c] if tallest == _OTHER and c <= bottom else tallest
            high |= h.height[c] + h.later[c] + h.one[c] > limit
            for top in (there, 1):
                if top == 1 and (c == lowest or there == 1):
                    continue
                taken = under + top
                left = min(bits(value + (np.int64(top) << (c - lowest))), size - lowest)
                luts = min(c - lowest + (1 if top == 1 else 2), size - lowest)
                if taken <= 5:
                    luts = min(luts, (left + 1) // 2)
                gain = taken - left
                if gain <= 0 or (10 * gain < worth * luts and not high):
                    continue
                gain *= 1000 + (below(h.random, _NOISE) if noisy else 0)
                better = gain * (best_luts + overhead) - best_gain * (luts + overhead)
                if better > 0 or (better == 0 and taken > best_taken):
                    best, best_gain, best_luts, best_taken = (lowest, c, top), gain, luts, taken
            under += there
            value += np.int64(there) << (c - lowest)
    return best


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _take_chain(h: Any, terms: int, lowest: int, highest: int, top: int, chain: int, taken: int) -> int:
    """Takes the bits of a chain, whose place, width and largest value it sets; returns how many bits all chains have."""
    value = np.int64(0)
    h.own[:] = 0
    for c in range(lowest, highest + 1):
        more = min(h.height[c], _LOWEST) if c == lowest else top if c == highest else min(h.height[c] + h.one[c], _OTHER)
        if h.one[c] and (c == lowest or more > h.height[c]):
            taken = _take_one(h, c, chain, taken)
            value += np.int64(1) << (c - lowest)
            h.own[c], more = 1, more - (c > lowest)
        h.own[c] += more
        for _ in range(more):
            at = _choice(h, c, chain)
            source = h.source[c, at]
            taken = _take(h, c, at, chain, taken)
            value += np.int64(1) << (c - lowest)
            if c == h.place[source] + h.width[source] - 1:
                begin = h.begin[source]
                most = h.most[source] >> (begin - h.place[source])
                value -= ((np.int64(1) << (c + 1 - begin)) - 1 - most) << (begin - lowest)
    h.place[terms + chain], h.width[terms + chain], h.most[terms + chain] = lowest, bits(value), value
    return taken


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _choice(h: Any, c: int, chain: int) -> Any:
    """The place in column c of the bit to take: the next one of a source of which the chain has the one below, else one of the source
    that goes on highest; so that there are few slices."""
    best, best_end = h.height[c] - 1, -1
    for at in range(h.height[c] - 1, max(h.height[c] - 1 - _LOOKED_AT, -1), -1):
        source = h.source[c, at]
        end = h.place[source] + h.width[source]
        if h.seen[source] == chain * COLUMNS + c - 1:
            end += COLUMNS
        if end > best_end:
            best, best_end = at, end
    return best


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _take(h: Any, c: int, at: int, chain: int, taken: int) -> int:
    """Moves a bit from its column to the chain; returns how many bits all chains have."""
    source = h.source[c, at]
    if h.seen[source] != chain * COLUMNS + c - 1:
        h.begin[source] = c
    h.seen[source] = chain * COLUMNS + c
    h.chain[taken], h.of[taken], h.column[taken] = chain, source, c
    h.height[c] -= 1
    h.source[c, at] = h.source[c, h.height[c]]
    return taken + 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _take_one(h: Any, c: int, chain: int, taken: int) -> int:
    """The same for a one of the constant."""
    h.chain[taken], h.of[taken], h.column[taken] = chain, CONSTANT, c
    h.one[c] = 0
    return taken + 1


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _take_all(h: Any, c: int, chain: int, taken: int) -> int:
    """All that column c has."""
    if h.one[c]:
        taken = _take_one(h, c, chain, taken)
    while h.height[c]:
        taken = _take(h, c, h.height[c] - 1, chain, taken)
    return taken
