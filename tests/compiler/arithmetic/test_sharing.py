"""Sharing: the digits and nodes that come out are the weights that went in, exactly, and no deeper than allowed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from gatewright.compiler.arithmetic import sharing
from gatewright.compiler.arithmetic.sharing import Shared, share, signed_digits

Matrix = np.ndarray


def shared(weight: Matrix, slack: int = 1, lo: int = -128, hi: int = 127) -> Shared:
    """The digits of a matrix [operands, sums], shared."""
    row, out = np.indices(weight.shape)
    digits = signed_digits(*(v.reshape(-1)[weight.reshape(-1) != 0] for v in (out, row, weight)))
    operands, sums = weight.shape
    return share(*digits, sums, np.full(operands, lo), np.full(operands, hi), slack)


def linear_forms(result: Shared, operands: int, sums: int) -> Matrix:
    """What the adder graph computes, as a matrix [operands, sums] of exact coefficients."""
    nodes = [*np.eye(operands, dtype=object)]
    for a, b, shift, negative in zip(result.a, result.b, result.shift, result.negative, strict=True):
        nodes.append(nodes[a] + (-1 if negative else 1) * nodes[b] * 2 ** int(shift))
    forms = np.zeros((sums, operands), object)
    for out, node, shift, negative in zip(result.out, result.node, result.node_shift, result.node_negative, strict=True):
        forms[out] += (-1 if negative else 1) * nodes[node] * 2 ** int(shift)
    return forms.T


def depths(result: Shared, operands: int, sums: int) -> list[int]:
    """Additions one after another that every sum needs: of a tree whose leaves are as deep as their nodes."""
    depth = [0] * operands
    for a, b in zip(result.a, result.b, strict=True):
        depth.append(max(depth[a], depth[b]) + 1)
    load = [0] * sums
    for out, node in zip(result.out, result.node, strict=True):
        load[out] += 2 ** depth[node]
    return [math.ceil(math.log2(v)) if v else 0 for v in load]


def additions(result: Shared, sums: int) -> int:
    left = np.bincount(result.out, minlength=sums)
    return len(result.a) + int(np.maximum(left - 1, 0).sum())


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


@pytest.mark.parametrize("slack", [0, 1, 4])
@pytest.mark.parametrize("name", MATRICES)
def test_the_graph_is_the_matrix(name: str, slack: int) -> None:
    weight = MATRICES[name]
    operands, sums = weight.shape
    result = shared(weight, slack)
    assert (linear_forms(result, operands, sums) == weight).all()
    count = np.array([np.count_nonzero(d) for d in _digits(weight)])
    balanced = [math.ceil(math.log2(c)) if c else 0 for c in count]
    assert all(d <= b + slack for d, b in zip(depths(result, operands, sums), balanced, strict=True))
    assert additions(result, sums) <= np.maximum(count - 1, 0).sum()
    again = shared(weight, slack)
    for field in Shared.__dataclass_fields__:
        assert np.array_equal(getattr(result, field), getattr(again, field))


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
    result = shared(weight, int(rng.integers(0, 3)), -int(rng.integers(0, 200)), int(rng.integers(0, 200)))
    assert (linear_forms(result, *weight.shape) == weight).all()


def test_signed_digits_are_the_non_adjacent_form() -> None:
    weight = np.concatenate([np.arange(-600, 601), [2**40 - 1, -(2**40) + 1, 2**45]])
    weight = weight[weight != 0]
    out, row, shift, negative = signed_digits(np.arange(len(weight)), np.zeros(len(weight), np.int64), weight)
    total = np.zeros(len(weight), np.int64)
    np.add.at(total, out, np.where(negative, -1, 1) << shift)
    assert (total == weight).all()
    assert (np.diff(shift)[np.diff(out) == 0] > 1).all()
    assert (row == 0).all()


@pytest.mark.parametrize(("weight", "expected"), [
    (np.tile([[3], [5], [-7]], 10), 5),                     # six digits, once
    ([[1, 1], [1, 1]], 1), ([[1, 2], [1, 2]], 1), ([[1, -1], [1, -1]], 1), ([[1, -4], [-1, 4]], 1), ([[5], [5]], 2),
    ([[1, 1], [1, -1]], 2),                                 # a + b and a - b share nothing
    ([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1]], 5),      # a + b twice: one addition fewer than six
])
def test_pairs_that_occur_twice_are_built_once(weight: Matrix, expected: int) -> None:
    weight = np.asarray(weight)
    assert additions(shared(weight), weight.shape[1]) == expected


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
    """`linear_forms` in int64, which this matrix fits."""
    nodes = np.zeros((operands + len(result.a), operands), np.int64)
    nodes[:operands] = np.eye(operands, dtype=np.int64)
    for k, (a, b, shift, negative) in enumerate(zip(result.a, result.b, result.shift, result.negative, strict=True)):
        nodes[operands + k] = nodes[a] + (-1 if negative else 1) * (nodes[b] << shift)
    forms = np.zeros((sums, operands), np.int64)
    signs = np.where(result.node_negative, -1, 1)[:, None]
    np.add.at(forms, result.out, signs * (nodes[result.node] << result.node_shift[:, None]))
    return forms.T


def test_too_many_pairs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_PAIRS", 10)
    weight = matrix(6, 6, 6, 3)
    result = shared(weight)
    assert len(result.a) == 0
    assert (linear_forms(result, 6, 6) == weight).all()
