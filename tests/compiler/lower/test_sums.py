"""Trees of two-operand sums: the right value, additions in pairs, and late terms added late."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright.compiler.lower.sums import Terms, Wanted, trees, weighted_sums
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
    y, _ = trees(b, terms_, sums, Wanted(imm, -reach, reach))
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
        rows, _ = trees(b, Terms(zeros, x[:terms].astype(np.int64), zeros, zeros > 0, at, zeros), 1, Wanted(zero, -reach, reach))
        return depth_of(b.build(), int(rows[0]))

    assert [depth(0, n) for n in (1, 2, 3, 4, 5, 8, 9)] == [0, 1, 2, 2, 3, 3, 4]
    # a term of depth 3 is added last, to a tree of the eight others that is as deep by then
    zeros = np.zeros(9, np.int64)
    rows, _ = trees(b, Terms(zeros, x.astype(np.int64), zeros, zeros > 0, np.array([3] + [0] * 8), zeros), 1, Wanted(zero, -reach, reach))
    assert x[0] in b.build().arg[b.build().first[rows[0]]:b.build().first[rows[0] + 1]]


@pytest.mark.parametrize("seed", range(12))
def test_weighted_sums_of_random_matrices(seed: int) -> None:
    """Terms that repeat a row, zero weights, outputs without terms, operands of different ranges."""
    rng = np.random.default_rng(seed)
    b = NetlistBuilder("n")
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
