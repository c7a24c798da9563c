"""The LUTs of a tree, told without building it, are those of the rows that are built, or nearly so."""

from __future__ import annotations

import numpy as np
import pytest

from gatewright.compiler.arithmetic.chains import sum_luts
from gatewright.compiler.arithmetic.tree_luts import COLUMNS, HIGH, LEVEL, LOW, NEGATIVE, NODE, SHIFT, bits, tree_luts
from gatewright.compiler.lower.terms import Terms
from gatewright.compiler.lower.trees import trees
from gatewright.ir.netlist import NetlistBuilder


@pytest.mark.parametrize("arity", [2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_of_random_terms(seed: int, arity: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 30))
    b = NetlistBuilder("n", arity)
    b.origin("o")
    high = (1 << rng.integers(1, 9, count)) - 1 - (rng.random(count) < 0.3)
    x = b.input("x", np.zeros(count, np.int64), high).astype(np.int64)
    shift, negative, depth = rng.integers(0, 5, count), rng.random(count) < 0.5, rng.integers(0, 3, count)
    zeros = np.zeros(count, np.int64)
    rows, _, _ = trees(b, Terms(zeros, x, shift, negative, depth, zeros), 1)
    b.output("y", rows)
    terms = np.zeros((COLUMNS, count), np.int64)
    for column, v in ((NODE, x), (SHIFT, shift), (NEGATIVE, negative), (LOW, zeros), (HIGH, high), (LEVEL, depth)):
        terms[column] = v
    built = int(sum_luts(b.build(), arity == 3).sum())
    assert abs(tree_luts(terms, count, 0, arity) - built) <= max(2, built // 12)  # terms of like places may meet in another order


def test_bits_are_exact() -> None:
    """Also where a float is rounded up to the next power of two."""
    assert [bits(x) for k in range(1, 62) for x in ((1 << k) - 1, 1 << k)] == [n for k in range(1, 62) for n in (k, k + 1)]
    assert bits(0) == 0
