"""Trees of two-operand sums: the right value, additions in pairs, and late terms added late."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from gatewright.compiler.lower.sums import weighted_sums
from gatewright.compiler.lower.terms import Terms, Wanted
from gatewright.compiler.lower.trees import trees
from gatewright.errors import UserError
from gatewright.ir.netlist import Netlist, NetlistBuilder, Op, verify
from gatewright.ir.netlist_eval import evaluate


def depth_of(netlist: Netlist, row: int) -> int:
    """Sums of two operands, one after another, above the inputs."""
    operands = netlist.arg[netlist.first[row]:netlist.first[row + 1]].tolist()
    return (len(operands) > 1) + max((depth_of(netlist, r) for r in operands), default=0)


def builder(inputs: int) -> tuple[NetlistBuilder, np.ndarray]:
    b = NetlistBuilder("n")
    b.origin("o")
    return b, b.input("x", [-9] * inputs, [11] * inputs)


@pytest.mark.parametrize("seed", range(20))
def test_trees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms, sums, inputs = int(rng.integers(0, 60)), int(rng.integers(1, 7)), 12
    b, x = builder(inputs)
    out, row = rng.integers(0, sums, terms), rng.integers(0, inputs, terms)
    shift, neg, depth = rng.integers(0, 5, terms), rng.random(terms) < 0.5, rng.integers(0, 4, terms)
    imm = rng.integers(-20, 20, sums)
    reach = np.full(sums, 11 * 16 * terms + 20)
    terms_ = Terms(out, x[row].astype(np.int64), shift, neg, depth, np.zeros(terms, np.int64))
    y, _, _ = trees(b, terms_, sums, Wanted(imm, -reach, reach), unsigned=seed % 2 > 0)
    b.output("y", y)
    netlist = b.build()
    verify(netlist)
    codes = rng.integers(-9, 12, (40, inputs))
    expected = np.tile(imm, (40, 1))
    np.add.at(expected, (slice(None), out), np.where(neg, -1, 1) * (codes[:, row] << shift))
    assert (evaluate(netlist, {"x": codes})["y"] == expected).all()
    assert (np.diff(netlist.first)[netlist.op == Op.SUM] <= 2).all()
    used = np.bincount(out, minlength=sums)
    assert (np.diff(netlist.first) == 2).sum() == np.maximum(used - 1, 0).sum()


def test_a_balanced_tree_and_a_late_term() -> None:
    b, x = builder(9)
    zero, reach = np.zeros(1, np.int64), np.full(1, 10_000)

    def depth(late: int, terms: int) -> int:
        at = np.zeros(terms, np.int64)
        at[0] = late
        zeros = np.zeros(terms, np.int64)
        rows, _, _ = trees(b, Terms(zeros, x[:terms].astype(np.int64), zeros, zeros > 0, at, zeros), 1, wanted=Wanted(zero, -reach, reach))
        return depth_of(b.build(), int(rows[0]))

    assert [depth(0, n) for n in (1, 2, 3, 4, 5, 8, 9)] == [0, 1, 2, 2, 3, 3, 4]
    # a term of depth 3 is added last, to a tree of the eight others that is as deep by then
    zeros = np.zeros(9, np.int64)
    terms = Terms(zeros, x.astype(np.int64), zeros, zeros > 0, np.array([3] + [0] * 8), zeros)
    rows, _, _ = trees(b, terms, 1, wanted=Wanted(zero, -reach, reach))
    assert x[0] in b.build().arg[b.build().first[rows[0]]:b.build().first[rows[0] + 1]]


@pytest.mark.parametrize(("arity", "effort"), [(2, 0), (3, 0), (2, 2), (3, 2)])
@pytest.mark.parametrize("seed", range(12))
def test_weighted_sums_of_random_matrices(seed: int, arity: int, effort: int) -> None:
    """Terms that repeat a row, zero weights, outputs without terms, operands of different ranges."""
    rng = np.random.default_rng(seed)
    b = NetlistBuilder("n", arity, effort)
    b.origin("o")
    lo = rng.integers(-40, 1, 8)
    hi = lo + rng.integers(0, 50, 8)
    x = b.input("x", lo, hi)
    terms, sums = int(rng.integers(1, 90)), 9
    out, row = rng.integers(0, sums - 1, terms), rng.integers(0, 8, terms)
    weight = rng.integers(-9, 10, terms) << rng.integers(0, 8, terms)
    imm, reach = rng.integers(-99, 99, sums), np.full(sums, 1 << 40)
    b.output("y", weighted_sums(b, out, x[row], weight, imm, -reach, reach))
    netlist = b.build()
    verify(netlist)
    codes = rng.integers(lo, hi, (30, 8), endpoint=True)
    expected = np.tile(imm, (30, 1))
    np.add.at(expected, (slice(None), out), codes[:, row] * weight)
    assert (evaluate(netlist, {"x": codes})["y"] == expected).all()


WIDE = [([(-(1 << 59) - 1, (1 << 59) - 1)] * 3, [1, 1, 1], 0, 3), ([(0, 7)] * 2, [3, 5], (1 << 61) - 60, 3),
        ([(0, (1 << 58) - 1), (-1 << 57, 0)], [-3, 3], 1 << 59, 2), ([(-1 << 59, (1 << 59) - 1), (-1, 0), (-4, -1)], [-3, 3, 3], 0, 3)]
"""Ranges of operands, weights, constant and operands of an addition, near the widest numbers that there are: of the last one's orders of
additions some have too wide numbers in between."""
TOO_WIDE = [([(-4, 3), (-3 << 58, 0)], [-3, 3], 1 << 60, 2)]
"""Sums that fit by a bit or two, but not on the way."""


@pytest.mark.parametrize(("ranges", "weight", "imm", "arity"), TOO_WIDE)
def test_sums_that_do_not_fit_on_the_way_are_refused(ranges: list[tuple[int, int]], weight: list[int], imm: int, arity: int) -> None:
    with pytest.raises(UserError, match="at most 62 are supported"):
        test_sums_near_62_bits(ranges, weight, imm, arity, 0)


@pytest.mark.parametrize("effort", [0, 1])
@pytest.mark.parametrize(("ranges", "weight", "imm", "arity"), WIDE)
def test_sums_near_62_bits(ranges: list[tuple[int, int]], weight: list[int], imm: int, arity: int, effort: int) -> None:
    b = NetlistBuilder("n", arity, effort)
    b.origin("o")
    x = b.input("x", [lo for lo, _ in ranges], [hi for _, hi in ranges])
    ends = [[w * v for v in bounds] for bounds, w in zip(ranges, weight, strict=True)]
    lo, hi = (imm + sum(end(e) for e in ends) for end in (min, max))
    twice = np.repeat([0, 1], len(weight))  # of two equal outputs, what they share is searched
    b.output("y", weighted_sums(b, twice, np.tile(x, 2), weight * 2, [imm] * 2, [lo] * 2, [hi] * 2))
    netlist = b.build()
    verify(netlist)
    codes = np.array(list(product(*ranges)))
    expected = [imm + sum(w * v for w, v in zip(weight, row, strict=True)) for row in codes.tolist()]
    assert evaluate(netlist, {"x": codes})["y"].T.tolist() == [expected] * 2


@pytest.mark.parametrize("seed", range(20))
def test_constant_operands(seed: int) -> None:
    """They join the constants, also where they would lie above the sum's highest bit."""
    rng = np.random.default_rng(seed)
    n, sums = int(rng.integers(1, 5)), int(rng.integers(2, 9))
    weight, low = rng.integers(-30, 31, (sums, n)), rng.integers(0, 5, n)
    high = low + (rng.random(n) < 0.4) * 3
    b = NetlistBuilder("n", 3, 1)
    b.origin("o")
    x = b.input("x", low, high).astype(np.int64)
    i, j = np.indices(weight.shape)
    ends = np.stack([weight * low, weight * high])
    y = weighted_sums(b, i, x[j], weight, np.zeros(sums), ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1))
    b.output("y", y)
    codes = rng.integers(low, high + 1, (30, n))
    assert (evaluate(b.build(), {"x": codes})["y"] == codes @ weight.T).all()
