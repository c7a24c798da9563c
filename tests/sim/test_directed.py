"""Boundaries against brute force, and that the search meets those that can be met."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from graphs import given, graph, op, retyped

from gatewright.ir.graph import Graph
from gatewright.sim.boundaries import joined, on_grid, places, split
from gatewright.sim.directed import directed, packed

ROUNDED = '{mul = 1, add = 3, shift = 2, rounding = "ROUND", lo = -4, hi = 5, overflow = "SAT"}'


def every(g: Graph) -> np.ndarray:
    """All vectors of a small Graph, int64[n, inputs]."""
    ranges = [range(int(a), int(b) + 1) for i in g.input_ops for a, b in zip(i.type.lo.flat, i.type.hi.flat, strict=True)]
    return np.array(list(itertools.product(*ranges)), np.int64)


def found(g: Graph) -> list[tuple[int, int, int]]:
    b = on_grid(g, places(g), places(g).observe(g, every(g)))
    return list(zip(b.column.tolist(), b.below.tolist(), b.above.tolist(), strict=True))


def test_requant_where_the_unlimited_value_steps() -> None:
    """floor((x + 3) / 4) with halves to even reaches -4, ..., 5 and, limited, 6."""
    g = op(f"requant {ROUNDED}", given("a", "[1]", "-40..40"))
    wide = op("requant " + ROUNDED.replace("-4", "-99").replace("5,", "99,"), given("a", "[1]", "-40..40"))
    x = every(g)
    y = wide.evaluate({"a": x})["y"][:, 0]
    steps = [(0, int(x[k, 0]), int(x[k, 0]) + 1) for k in np.flatnonzero(np.diff(y)) if -5 <= y[k] <= 5]
    assert found(g) == steps
    assert len(steps) == 11


def test_without_rounding_only_the_limits_count() -> None:
    text = 'requant {mul = -2, add = 1, shift = 0, rounding = "FLOOR", lo = -6, hi = 7, overflow = "SAT"}'
    assert found(op(text, given("a", "[1]", "-40..40"))) == [(0, -4, -3), (0, 3, 4)]  # 1 - 2x >= 8 and >= -6


def test_wraps() -> None:
    text = 'requant {mul = 1, add = 0, shift = 0, rounding = "FLOOR", lo = -8, hi = 7, overflow = "WRAP"}'
    assert found(op(text, given("a", "[1]", "-30..20"))) == [(0, -25, -24), (0, -9, -8), (0, 7, 8)]


def test_thresholds_and_tables() -> None:
    falling = op("thresholds {sign = -1, levels = [-3, 2, 99], base = 0}", given("a", "[1]", "-8..7"))
    assert found(falling) == [(0, -2, -1), (0, 3, 4)]
    table = op("table {first = -2, values = [5, 5, 1, 1, 5]}", given("a", "[1]", "-2..2"))
    assert found(table) == [(0, -1, 0), (0, 1, 2)]


def test_sides_lie_on_the_grid_of_the_operand() -> None:
    """Sums of +-3 and +-3 are -6, 0 and 6."""
    g = graph(given("a", "[2]", "0..1"), "%s = dense(%a) {weight = [[6], [6]], bias = [-6]} : [1] -6..6 frac 0 @ \"s\"",
              '%y = thresholds(%s) {sign = 1, levels = [-5, -4, 2], base = 0} : [1] 0..3 frac 0 @ "y"')
    assert found(g) == [(0, -6, 0), (0, 0, 6)]


def test_squares() -> None:
    g = graph(given("a", "[1]", "-5..4"), '%s = multiply(%a, %a) {} : [1] 0..25 frac 0 @ "s"',
              '%y = thresholds(%s) {sign = 1, levels = [2, 3, 17], base = 0} : [1] 0..3 frac 0 @ "y"')
    assert found(g) == [(0, 1, 4), (0, 16, 25)]


def test_shared_operand_counts_once_and_broadcast_constants_by_element() -> None:
    g = graph(given("a", "[2]", "-8..7"), '%p = thresholds(%a) {sign = 1, levels = [1], base = 0} : [2] 0..1 frac 0 @ "p"',
              '%q = thresholds(%a) {sign = 1, levels = [[1], [4]], base = 0} : [2] 0..1 frac 0 @ "q"',
              'output "p" = %p scale 1 offset 0', 'output "q" = %q scale 1 offset 0')
    assert found(g) == [(0, 0, 1), (1, 0, 1), (1, 3, 4)]


@pytest.fixture(scope="module")
def network() -> Graph:
    """Sixteen inputs of 16 bits, two layers; random vectors meet hardly a boundary of the first."""
    random = np.random.RandomState(0)
    first, second = random.randint(-31, 32, (16, 6)).tolist(), random.randint(-7, 8, (6, 3)).tolist()
    limit = 'rounding = "ROUND", lo = 0, hi = 63, overflow = "SAT"}'
    return retyped(graph(
        given("x", "[16]", "-32768..32767"),
        f'%d = dense(%x) {{weight = {first}, bias = [0, 1, 2, 3, 4, 5]}} : [6] -99999999..99999999 frac 0 @ "d"',
        f'%r = requant(%d) {{mul = 1, add = 0, shift = 14, {limit} : [6] 0..63 frac 0 @ "r"',
        f'%e = dense(%r) {{weight = {second}, bias = [0, 0, 0]}} : [3] -9999..9999 frac 0 @ "e"',
        f'%y = requant(%e) {{mul = 1, add = 0, shift = 3, {limit} : [3] 0..63 frac 0 @ "y"'))


def test_search_meets_what_random_vectors_do_not(network: Graph) -> None:
    made = directed(network)
    b = made.boundaries
    met = b.on_both_sides(b.met(network, made.vectors))
    first = b.column < 6
    assert first.sum() > 150
    assert met[first].all()
    assert met[~first].mean() > 0.9
    random = np.random.default_rng(0).integers(-32768, 32768, (2000, 16))
    assert b.on_both_sides(b.met(network, random))[first].mean() < 0.01
    directed.cache_clear()
    again = directed(network)
    assert (again.vectors == made.vectors).all()
    assert (joined(network, split(network, made.vectors)) == made.vectors).all()


def test_met_is_exact(network: Graph) -> None:
    """One below a side is not the side."""
    made = directed(network)
    b = made.boundaries
    first, codes, _, _ = b.sides
    seen = b.observe(network, made.vectors[:50])
    expected = [bool((seen[:, c] == code).any()) for c in range(len(first) - 1) for code in codes[first[c]:first[c + 1]]]
    assert b.met(network, made.vectors[:50]).tolist() == expected


def test_windows_share_a_vector() -> None:
    x = np.array([[1, 2, 0, 0], [0, 0, 3, 4], [0, 5, 6, 0]])
    assert packed(x, x != 0).tolist() == [[1, 2, 3, 4], [0, 5, 6, 0]]


def test_a_graph_without_boundaries() -> None:
    g = graph(given("a", "[2]", "-8..7"))
    assert len(directed(g).boundaries) == 0
    assert directed(g).vectors.shape == (0, 2)
