"""The best elements along an axis to rows: a network that selects and sorts.

Every element carries its place in bits below its code, so that no two of these keys are equal and their order is the whole
rule, ties included. Sorted lists, at first of one key each, are merged pairwise by Batcher's odd-even merge (Knuth, The Art of
Computer Programming 3, section 5.3.4), and only the best `count` of each result are kept: for one element that is a balanced
tournament. What the kept ones do not need is removed with all other dead rows.
"""

from __future__ import annotations

import numpy as np

from gatewright.compiler.lower.sums import Rows
from gatewright.compiler.lower.window import winner
from gatewright.ir.fixed import Ints
from gatewright.ir.netlist import NetlistBuilder
from gatewright.ir.ops import TopK


def top_k(op: TopK, operands: list[Rows], b: NetlistBuilder) -> Rows:
    x = np.moveaxis(operands[0], op.axis, 0)
    count = len(x)
    bits, turned = (count - 1).bit_length(), bool(op.largest) != bool(op.last)
    places = np.arange(count)[::-1] if turned else np.arange(count)  # as keys, so that the better one wins
    keys = b.sum1(x.reshape(-1), bits, False, np.repeat(places, x.size // count)).reshape(count, -1)
    best = np.stack(selected(b, keys.astype(np.int64), op.count, op.largest))
    lo, hi = (np.moveaxis(e, op.axis, 0).reshape(-1) for e in (op.type.lo, op.type.hi))
    if not op.index:
        widths = np.moveaxis(op.type.widths, op.axis, 0).reshape(-1)
        rows = b.bits(best.reshape(-1), bits, widths, lo < 0, bounds=(lo, hi))
    elif not bits:
        rows = b.const(np.zeros(best.size, np.int64))
    elif turned:
        codes = b.bits(best.reshape(-1), 0, bits, False, bounds=(count - 1 - hi, count - 1 - lo))
        rows = b.sum1(codes, 0, True, count - 1, bounds=(lo, hi))
    else:
        rows = b.bits(best.reshape(-1), 0, bits, False, bounds=(lo, hi))
    return np.moveaxis(rows.reshape(op.count, *x.shape[1:]), 0, op.axis)


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
