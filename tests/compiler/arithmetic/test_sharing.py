"""Sharing: the digits and nodes that come out are the weights that went in, exactly, and no deeper than allowed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gatewright.compiler.arithmetic import sharing
from gatewright.compiler.arithmetic.chains import sum_luts
from gatewright.compiler.arithmetic.digits import signed_digits
from gatewright.compiler.arithmetic.pairs import pairs
from gatewright.compiler.arithmetic.sharing import EFFORTS, Plan, Shared, plans, refined, share
from gatewright.compiler.lower.sums import weighted_sums
from gatewright.ir.netlist import NetlistBuilder

Matrix = np.ndarray


PLANS = {"pairs": Plan((("pairs", 2),)), "patterns": Plan((("patterns", 3),)),
         "both": Plan((("pairs", 4), ("patterns", 3), ("pairs", 2))), "both, seed 5": Plan((("patterns", 3), ("pairs", 2)), 5)}


def shared(weight: Matrix, slack: int = 1, lo: int = -128, hi: int = 127, plan: Plan = PLANS["both"], arity: int = 2) -> Shared:
    """The digits of a matrix [operands, sums], shared."""
    row, out = np.indices(weight.shape)
    digits = signed_digits(*(v.reshape(-1)[weight.reshape(-1) != 0] for v in (out, row, weight)))
    operands, sums = weight.shape
    return share(*digits, sums, np.full(operands, hi - lo), arity, plan, slack)


def terms(result: Shared, sums: int) -> list[list[tuple[int, int]]]:
    """Of every sum: its (node, weight) pairs."""
    lists: list[list[tuple[int, int]]] = [[] for _ in range(sums + result.nodes)]
    for out, node, shift, negative in zip(result.out.tolist(), result.node.tolist(), result.shift.tolist(),
                                          result.negative.tolist(), strict=True):
        lists[out].append((node, (-1 if negative else 1) << shift))
    return lists


def linear_forms(result: Shared, operands: int, sums: int) -> Matrix:
    """What the adder graph computes, as a matrix [operands, sums] of exact coefficients."""
    lists, nodes = terms(result, sums), dict(enumerate(np.eye(operands, dtype=object)))

    def form(out: int) -> Matrix:
        total = np.zeros(operands, object)
        for node, weight in lists[out]:
            if node not in nodes:
                nodes[node] = form(sums + node - operands)
            total += nodes[node] * weight
        return total

    return np.array([form(out) for out in range(sums)], object).reshape(sums, operands).T


def depths(result: Shared, operands: int, sums: int, arity: int) -> list[int]:
    """Additions one after another that every sum needs: of a tree whose leaves are as deep as their nodes."""
    lists, depth = terms(result, sums), dict.fromkeys(range(operands), 0)

    def of(out: int) -> int:
        load = 0
        for node, _ in lists[out]:
            if node not in depth:
                depth[node] = of(sums + node - operands)
            load += arity ** depth[node]
        return ceil_log(load, arity)

    return [of(out) for out in range(sums)]


def ceil_log(value: int, base: int) -> int:
    power = 0
    while base**power < value:
        power += 1
    return power


def additions(result: Shared, sums: int) -> int:
    return int(np.maximum(np.bincount(result.out, minlength=sums + result.nodes) - 1, 0).sum())


def matrix(operands: int, sums: int, bits: int, seed: int, density: float = 1.0) -> Matrix:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-(1 << bits - 1), 1 << bits - 1, (operands, sums), endpoint=True)
    return np.where(rng.random(weight.shape) < density, weight, 0)


MATRICES = {
    "one column": matrix(20, 1, 8, 0), "one row": matrix(1, 20, 8, 1), "one weight": np.array([[-93]]),
    "1-bit": matrix(24, 24, 1, 2), "3-bit": matrix(16, 40, 3, 3), "6-bit": matrix(16, 16, 6, 4), "12-bit": matrix(12, 9, 12, 5),
    "30-bit": matrix(5, 4, 30, 6), "sparse": matrix(30, 30, 6, 7, 0.1), "zero": np.zeros((4, 5), np.int64),
    "zero columns": matrix(10, 12, 6, 8) * (np.arange(12) % 3 > 0),
    "zero rows": matrix(12, 10, 6, 8) * (np.arange(12) % 3 > 0)[:, None],
    "repeated columns": np.tile(matrix(12, 4, 6, 9), 5), "repeated rows": np.tile(matrix(4, 9, 6, 12), (3, 1)),
    "opposite columns": np.hstack([matrix(12, 6, 6, 10), -matrix(12, 6, 6, 10)]),
    "shifted columns": np.hstack([matrix(12, 4, 4, 11) << k for k in range(4)]),
    "all equal": np.full((9, 9), 45), "powers of two": 1 << np.arange(30).reshape(5, 6) % 8,
}


@pytest.mark.parametrize("arity", [2, 3])
@pytest.mark.parametrize("slack", [0, 1, 4])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", MATRICES)
def test_the_graph_is_the_matrix(name: str, plan: str, slack: int, arity: int) -> None:
    weight = MATRICES[name]
    operands, sums = weight.shape
    result = shared(weight, slack, plan=PLANS[plan], arity=arity)
    assert (linear_forms(result, operands, sums) == weight).all()
    count = np.array([np.count_nonzero(d) for d in _digits(weight)])
    allowed = [ceil_log(c, arity) + slack for c in count.tolist()]
    assert all(d <= most for d, most in zip(depths(result, operands, sums, arity), allowed, strict=True))
    assert additions(result, sums) <= np.maximum(count - 1, 0).sum()
    again = shared(weight, slack, plan=PLANS[plan], arity=arity)
    assert all(np.array_equal(a, b) for a, b in zip(result.state, again.state, strict=True))


@pytest.mark.parametrize(("arity", "heaps"), [(2, False), (3, False), (3, True)])
@pytest.mark.parametrize("name", MATRICES)
def test_a_refined_graph_is_the_matrix(name: str, arity: int, heaps: bool) -> None:
    """And the searches before, on its state, again."""
    weight, slack = MATRICES[name], 1
    operands, sums = weight.shape
    before = shared(weight, slack, arity=arity)
    result = refined(before, np.zeros(operands, np.int64), np.full(operands, 255), arity, 2, heaps)
    assert (linear_forms(result, operands, sums) == weight).all()
    assert linear_forms(Shared(operands, pairs(*result.state, arity, 2, 0)), operands, sums).tolist() == weight.tolist()
    count = np.array([np.count_nonzero(d) for d in _digits(weight)])
    allowed = [ceil_log(c, arity) + slack for c in count.tolist()]
    assert all(d <= most for d, most in zip(depths(result, operands, sums, arity), allowed, strict=True))


def test_refinement_saves_luts() -> None:
    """And counts them as they are built (test_tree_luts.py)."""
    luts = []
    for effort in (0, 2):
        b = NetlistBuilder("n", 3, effort)
        b.origin("o")
        x = b.input("x", np.zeros(24, np.int64), np.full(24, 63)).astype(np.int64)
        weight = matrix(24, 24, 6, 3)
        row, out = np.indices(weight.shape)
        b.output("y", weighted_sums(b, out.reshape(-1), x[row.reshape(-1)], weight.reshape(-1), np.zeros(24), np.full(24, -1 << 30),
                                    np.full(24, 1 << 30)))
        luts.append(int(sum_luts(b.build(), True).sum()))
    assert luts[1] < 0.98 * luts[0]


def _digits(weight: Matrix) -> list[list[int]]:
    """The non-adjacent form of every column, by the textbook's loop."""
    columns = []
    for column in weight.T.tolist():
        digits = []
        for w in column:
            while w:
                digit = (2 - w % 4) if w % 2 else 0
                digits.append(digit)
                w = (w - digit) // 2
        columns.append(digits)
    return columns


@pytest.mark.parametrize("seed", range(40))
def test_random_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = matrix(*rng.integers(1, 12, 2), int(rng.integers(1, 10)), seed, rng.random())
    plan = list(PLANS.values())[seed % len(PLANS)]
    result = shared(weight, int(rng.integers(0, 3)), -int(rng.integers(0, 200)), int(rng.integers(0, 200)), plan)
    assert (linear_forms(result, *weight.shape) == weight).all()


def test_signed_digits_are_as_few_as_can_be_and_rarely_negative() -> None:
    weight = np.concatenate([np.arange(-600, 601), [2**40 - 1, -(2**40) + 1, 2**45]])
    weight = weight[weight != 0]
    out, row, shift, negative = signed_digits(np.arange(len(weight)), np.zeros(len(weight), np.int64), weight)
    total = np.zeros(len(weight), np.int64)
    np.add.at(total, out, np.where(negative, -1, 1) << shift)
    assert (total == weight).all()
    assert np.bincount(out).tolist() == [np.count_nonzero(d) for d in _digits(weight[None])]
    assert (np.diff(shift)[np.diff(out) == 0] > 0).all()
    assert (row == 0).all()
    small = {int(w): negative[out == k].tolist() for k, w in enumerate(weight)}
    assert small[3] == [False, False]   # 2 + 1, not 4 - 1
    assert small[-3] == [True, True]
    assert small[7] == [True, False]
    assert small[11] == [False, False, False] or sum(small[11]) == 1


@pytest.mark.parametrize(("weight", "expected"), [
    (np.tile([[3], [5], [-7]], 10), 5),                     # six digits, once
    ([[1, 1], [1, 1]], 1), ([[1, 2], [1, 2]], 1), ([[1, -1], [1, -1]], 1), ([[1, -4], [-1, 4]], 1), ([[5], [5]], 2),
    ([[1, 1], [1, -1]], 2),                                 # a + b and a - b share nothing
    ([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1]], 5),      # a + b twice: one addition fewer than six
])
def test_pairs_that_occur_twice_are_built_once(weight: Matrix, expected: int) -> None:
    weight = np.asarray(weight)
    assert additions(shared(weight, plan=PLANS["pairs"]), weight.shape[1]) == expected


@pytest.mark.parametrize(("weight", "expected"), [
    ([[1, 1], [1, 1], [4, 4]], 2), ([[1, 2], [1, 2], [1, 2]], 2), ([[1, -1], [1, -1], [-2, 2]], 2),
    ([[1, 1], [1, 1], [1, 0], [0, 1]], 4),                  # two digits in common are too few
    ([[1, 1], [1, 1], [1, 1], [0, 1]], 3),
])
def test_patterns_of_two_sums_are_built_once(weight: Matrix, expected: int) -> None:
    weight = np.asarray(weight)
    assert additions(shared(weight, plan=PLANS["patterns"]), weight.shape[1]) == expected


def test_efforts_try_more_and_more() -> None:
    counts = [len(plans(effort, 1000, 30)) for effort in EFFORTS]
    assert counts == sorted(counts)
    assert counts[0] == len(plans(3, 100_000, 30)) == 1


def test_sharing_pays() -> None:
    """Fewer than two thirds of the additions of a random matrix, and the deeper the fewer."""
    weight = matrix(32, 32, 6, 3)
    plain = sum(np.count_nonzero(d) - 1 for d in _digits(weight))
    counts = [additions(shared(weight, slack), 32) for slack in (0, 1, 3)]
    assert counts[1] < 0.67 * plain
    assert counts == sorted(counts, reverse=True)


def test_a_large_matrix_takes_seconds() -> None:
    shared(matrix(4, 4, 4, 0))
    weight = matrix(128, 128, 6, 1)
    start = time.process_time()
    result = shared(weight)
    assert time.process_time() - start < 20
    assert (linear_forms_fast(result, *weight.shape) == weight).all()


def linear_forms_fast(result: Shared, operands: int, sums: int) -> Matrix:
    """`linear_forms` in int64, which this matrix fits: from sums to operands, until no shared node is left."""
    forms = np.zeros((sums + result.nodes, operands + result.nodes), np.int64)
    np.add.at(forms, (result.out, result.node), np.where(result.negative, -1, 1) << result.shift)
    while forms[:sums, operands:].any():
        forms[:sums] = np.hstack([forms[:sums, :operands], np.zeros((sums, result.nodes), np.int64)]) \
            + forms[:sums, operands:] @ forms[sums:]
    return forms[:sums, :operands].T


def test_too_many_pairs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_PAIRS", 10)
    weight = matrix(6, 6, 6, 3)
    result = shared(weight)
    assert result.nodes == 0
    assert (linear_forms(result, 6, 6) == weight).all()


def test_too_many_digits_of_one_operand_are_not_searched_for_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operands of 40 sums: few pairs in every sum, but many sums to compare with one another."""
    weight = matrix(2, 40, 6, 3)
    assert all(shared(weight, plan=PLANS[name]).nodes for name in PLANS)
    monkeypatch.setattr(sharing, "MAX_PAIRS", 1000)
    assert [bool(shared(weight, plan=PLANS[name]).nodes) for name in PLANS] == [True, False, True, True]
