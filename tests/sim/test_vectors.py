import numpy as np
import pytest

from gatewright.ir.design import Port
from gatewright.ir.fixed import Fixed
from gatewright.sim.vectors import FIRST_BURST, corner_vectors, random_vectors, stimulus, traffic


def ints(*values):
    return np.array(values, np.int64)


def test_corners_of_a_small_range():
    assert corner_vectors(ints(-4, 0, 2), ints(3, 7, 5)).tolist() == [
        [-4, 0, 2], [3, 7, 5], [0, 0, 2],  # minimum, maximum, zero clipped
        [-4, 7, 2], [3, 0, 5],  # alternating
        [3, 0, 2], [0, 7, 2], [0, 0, 5],  # one-hot maximum
    ]  # one-hot minimum is the same as one of them here, except the first: it is below


def test_one_hot_minimum():
    vectors = corner_vectors(ints(-4, -1), ints(3, 0)).tolist()
    assert [-4, 0] in vectors
    assert [0, -1] in vectors


def test_corners_are_bounded_in_number_and_reach_both_ends():
    lo, hi = np.full(5000, -(1 << 61), np.int64), np.full(5000, (1 << 61) - 1, np.int64)
    vectors = corner_vectors(lo, hi, limit=64)
    assert len(vectors) == 5 + 64
    assert (vectors[5:37].argmax(axis=1) == np.linspace(0, 4999, 32).astype(int)).all()


@pytest.mark.parametrize("most", [0, 1, 4, 9, 1000])
def test_the_first_corners(most):
    lo, hi = ints(-4, 0, 2, -1), ints(3, 7, 5, 0)
    assert corner_vectors(lo, hi, most=most).tolist() == corner_vectors(lo, hi)[:most].tolist()


def test_random_codes_reach_the_whole_range_exactly():
    lo, hi = ints(-(1 << 61), -1, 5, 0), ints((1 << 61) - 1, 1, 5, (1 << 62) - 1)
    vectors = random_vectors(lo, hi, 4000, seed=3)
    assert vectors.dtype == np.int64
    assert ((lo <= vectors) & (vectors <= hi)).all()
    assert set(vectors[:, 1].tolist()) == {-1, 0, 1}
    assert len(set((vectors[:, 0] & 7).tolist())) == 8  # the low bits live: no float has been here
    assert (random_vectors(lo, hi, 4000, seed=3) == vectors).all()
    assert (random_vectors(lo, hi, 4000, seed=4) != vectors).any()


@pytest.mark.parametrize("n", [0, 1, 7, 500])
def test_stimulus_covers_all_ports(n):
    ports = [Port("a", "a", Fixed(-8, 7, 2), (2, 3)), Port("b", "b", Fixed(0, 5, 0), (1,))]
    vectors = stimulus(ports, n, seed=1)
    assert {name: values.shape for name, values in vectors.items()} == {"a": (n, 6), "b": (n, 1)}
    if n == 500:
        assert vectors["a"][:2].tolist() == [[-8] * 6, [7] * 6]
        assert set(vectors["b"].ravel().tolist()) == set(range(6))
        one_hot = (vectors["a"] == 0).all(axis=1) & (vectors["b"][:, 0] == 5)
        assert one_hot.any()


@pytest.mark.parametrize("n", [0, 1, 64, 65, 3000])
def test_traffic_has_n_vectors_in_bursts_and_bubbles(n):
    valid = traffic(n, seed=5)
    assert np.count_nonzero(valid) == n
    assert valid[:min(n, FIRST_BURST)].all()
    assert (traffic(n, seed=5) == valid).all()
    if n == 3000:
        lengths = np.diff(np.flatnonzero(np.diff(valid.astype(int)) != 0))
        assert {1, 2, 8, 100} <= set(lengths.tolist())
        assert len(valid) < 1.6 * n
