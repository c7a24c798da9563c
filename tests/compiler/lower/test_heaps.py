"""Compressor trees: the right value, and every sum one chain of the three-operand adder."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright.compiler.lower.heaps import Trial, count_heaps, heaps
from gatewright.compiler.lower.terms import Terms, Wanted
from gatewright.ir.netlist import Netlist, NetlistBuilder, Op, verify
from gatewright.ir.netlist_eval import evaluate
from gatewright.ir.offsets import added, offsets
from gatewright.ir.usage import constant


def heights(netlist: Netlist, row: int) -> list[int]:
    """Bits in every column of a sum, ones of its constant among them."""
    places = [p for p in range(netlist.first[row], netlist.first[row + 1]) if not constant(netlist)[netlist.arg[p]]]
    width = int(netlist.widths[row])
    rest, column = int(added(netlist)[row]), [0] * width
    for p in places:
        a = netlist.arg[p]
        own = netlist.widths[a:a + 1]
        rest -= int(offsets(netlist.lo[a:a + 1] < 0, own, netlist.neg[p:p + 1])[0]) << int(netlist.shift[p])
        for c in range(int(netlist.shift[p]), min(int(netlist.shift[p]) + int(own[0]), width)):
            column[c] += 1
    return [n + (rest >> c & 1) for c, n in enumerate(column)]


@pytest.mark.parametrize("seed", range(40))
def test_heaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms, sums, inputs = int(rng.integers(0, 90)), int(rng.integers(1, 7)), 12
    b = NetlistBuilder("n", 3, 1)
    b.origin("o")
    low = -rng.integers(0, 1 << rng.integers(1, 8), inputs) * (rng.random(inputs) < 0.5)
    high = rng.integers(1, 1 << rng.integers(1, 8), inputs)
    x = b.input("x", low, high)
    key = rng.permutation(sums * inputs * 5)[:terms]
    out, row, shift = key // (inputs * 5), key % inputs, key // inputs % 5
    terms = len(key)
    neg, depth, imm = rng.random(terms) < 0.5, rng.integers(0, 4, terms), rng.integers(-20, 20, sums)
    sign, bias = np.where(neg, -1, 1), rng.integers(0, 3, terms)
    codes = np.concatenate([rng.integers(low, high + 1, (40, inputs)), low[None], high[None]])
    expected = np.tile(imm, (len(codes), 1)) * (seed % 2)
    np.add.at(expected, (slice(None), out), sign * (codes[:, row] - bias << shift))
    wanted = None
    if seed % 2:
        ends = np.stack([sign * (v[row] - bias << shift) for v in (low, high)])
        lo, hi = imm.copy(), imm.copy()
        np.add.at(lo, out, ends.min(axis=0))
        np.add.at(hi, out, ends.max(axis=0))
        wanted = Wanted(imm, lo, hi)
    made = Terms(out, x[row].astype(np.int64), shift, neg, depth, bias)
    _, counted_bias, counted_depth = count_heaps(trial := Trial(low, high, 3), made, sums, wanted)
    y, moved, levels = heaps(b, made, sums, wanted)
    b.output("y", y)
    netlist = b.build()
    verify(netlist)
    assert (evaluate(netlist, {"x": codes})["y"] - moved == expected).all()
    for sum_row in np.flatnonzero(netlist.op == Op.SUM).tolist():
        column = heights(netlist, sum_row)
        above = [n for n in column if n > 1]
        assert not above or (above[0] <= 5 and max(above[1:] or [0]) <= 3)
    assert (moved == counted_bias).all()
    assert (levels <= counted_depth).all()
    if not wanted:
        assert (netlist.hi[y] <= trial.hi[inputs:]).all()
