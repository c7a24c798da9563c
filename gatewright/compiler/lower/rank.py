"""The best elements along an axis to rows.

One element is found by a balanced tournament of codes with their places. Several are found by a network that selects and sorts:
every element carries its place in bits below its code, so that no two of these keys are equal and their order is the whole rule,
ties included. Sorted lists, at first of one key each, are merged pairwise by Batcher's odd-even merge (Knuth, The Art of Computer
Programming 3, section 5.3.4), and only the best `count` of each result are kept. What nothing needs is removed with all other
dead rows.
"""

from __future__ import annotations

import numpy as np

from gatewright.compiler.lower.terms import Rows
from gatewright.compiler.lower.window import winner
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.ops import TopK
from gatewright.ir.ops.window import extreme


def top_k(op: TopK, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x = np.moveaxis(operands[0], op.axis, 0)
    candidates = x.reshape(len(x), -1).astype(np.int64)
    lo, hi = (np.moveaxis(e, op.axis, 0).reshape(-1) for e in (op.type.lo, op.type.hi))
    if op.count == 1:
        rows = tournament(b, candidates, op.largest, op.last)[op.index]
    else:
        widths = np.moveaxis(op.type.widths, op.axis, 0).reshape(-1)
        rows = several(b, candidates, op, widths, lo, hi)
    return np.moveaxis(rows.reshape(op.count, *x.shape[1:]), 0, op.axis)


def tournament(b: NetlistBuilder, codes: Ints, largest: int, last: int) -> tuple[Rows, Rows]:
    """The best of every column of `codes` [candidates, columns], and its place. Neighbours meet, so of two equal ones the
    places tell which is better."""
    rounds: list[Ints] = [codes, np.broadcast_to(b.const(np.arange(len(codes)))[:, None], codes.shape)]
    while (count := len(rounds[0])) > 1:
        first, second = ([v[i:count - count % 2:2].reshape(-1) for v in rounds] for i in (0, 1))
        x, y = (second, first) if last else (first, second)  # x wins where they are equal
        wins = b.ge(x[0], y[0]) if largest else b.ge(y[0], x[0])
        pick, _ = extreme(largest)
        bounds = pick(b.lo[x[0]], b.lo[y[0]]), pick(b.hi[x[0]], b.hi[y[0]])
        winners = b.select(wins, x[0], y[0], bounds=bounds), b.select(wins, x[1], y[1])
        rounds = [np.concatenate([w.reshape(count // 2, -1), v[count - count % 2:]])
                  for w, v in zip(winners, rounds, strict=True)]
    return np.asarray(rounds[0], np.int32), np.asarray(rounds[1], np.int32)


def several(b: NetlistBuilder, codes: Ints, op: TopK, widths: Ints, lo: Ints, hi: Ints) -> Rows:
    """Codes or places of the best `op.count` of every column, rank by rank, within lo..hi."""
    count = len(codes)
    bits, turned = (count - 1).bit_length(), bool(op.largest) != bool(op.last)
    places = np.arange(count)[::-1] if turned else np.arange(count)  # in a key, so that the better one wins
    keys = b.sum1(codes.reshape(-1), bits, False, np.repeat(places, codes.size // count)).reshape(count, -1)
    best = np.concatenate(selected(b, keys.astype(np.int64), op.count, op.largest))
    if not op.index:
        return b.bits(best, bits, widths, lo < 0, bounds=(lo, hi))
    if not turned:
        return b.bits(best, 0, bits, False, bounds=(lo, hi))
    return b.sum1(b.bits(best, 0, bits, False, bounds=(count - 1 - hi, count - 1 - lo)), 0, True, count - 1, bounds=(lo, hi))


def selected(b: NetlistBuilder, keys: Ints, count: int, largest: int) -> list[Ints]:
    """The best `count` of every column of `keys` [candidates, columns], best first, each [columns]."""
    lists = [keys]  # rank by rank: [lists, columns], -1 where a list has ended
    while len(lists[0]) > 1:
        if len(lists[0]) % 2:
            lists = [np.pad(v, ((0, 1), (0, 0)), constant_values=-1) for v in lists]
        lists = merged(b, [v[0::2] for v in lists], [v[1::2] for v in lists], largest)[:count]
    return [v[0] for v in lists]


def merged(b: NetlistBuilder, x: list[Ints], y: list[Ints], largest: int) -> list[Ints]:
    """Two sorted lists as one. The lists of even and of odd ranks are merged; then neighbours of the two are exchanged."""
    if not x or not y:
        return x + y
    if len(x) == len(y) == 1:
        return exchanged(b, x[0], y[0], largest)
    even, odd = merged(b, x[0::2], y[0::2], largest), merged(b, x[1::2], y[1::2], largest)
    pairs = [exchanged(b, v, w, largest) for v, w in zip(odd, even[1:], strict=False)]
    return [even[0], *(v for pair in pairs for v in pair), *odd[len(pairs):], *even[len(pairs) + 1:]]


def exchanged(b: NetlistBuilder, x: Ints, y: Ints, largest: int) -> list[Ints]:
    """The better and the worse of every pair of rows; -1 is worse than any."""
    better, worse = np.where(x < 0, y, x), np.where(x < 0, x, y)
    both = worse >= 0
    p, q = x[both], y[both]
    better[both], worse[both] = winner(b, p, q, largest), winner(b, p, q, 1 - largest)
    return [better, worse]
