"""The proof of the best of several elements: of whatever ranges and repetitions, and of any network; and no other is taken for one."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
from graphs import given, graph, op, retyped

from gatewright.compiler.driver import NETLIST_PASSES
from gatewright.compiler.lower import lower
from gatewright.compiler.proof import Places, prove
from gatewright.compiler.proof.ranks import LARGER, SMALLER, Network
from gatewright.errors import InternalError
from gatewright.ir.graph import Graph
from gatewright.ir.netlist import Netlist, NetPort, Op
from gatewright.ir.netlist_eval import evaluate

RULES = list(itertools.product((0, 1), repeat=3))
"""largest, last, index"""


def text(count: int, largest: int, last: int, index: int) -> str:
    return f"{{axis = 0, count = {count}, largest = {largest}, last = {last}, index = {index}}}"


def optimised(g: Graph) -> tuple[Netlist, Places]:
    netlist, rows = lower(g, 3)
    places = Places.lowered(g, rows)
    for _, step in NETLIST_PASSES:
        after, moved = step(netlist)
        netlist, places = after, places.moved(netlist, moved)
    return netlist, places


def whole(g: Graph, netlist: Netlist, places: Places) -> bool:
    try:
        return prove(g, netlist, places).whole
    except InternalError:
        return False


# -- what lowering makes -------------------------------------------------------------------------------------------------


def any_ranges(rng: random.Random, n: int) -> str:
    lo = [rng.choice((-8, 0, rng.randrange(-20, 5))) for _ in range(n)]
    return f"{lo}..{[x + rng.choice((0, 15, rng.randrange(30))) for x in lo]}"


@pytest.mark.parametrize("seed", range(60))
def test_any_ranges(seed: int) -> None:
    """Where these decide, there is less hardware."""
    rng = random.Random(seed)
    n = rng.randrange(1, 14)
    g = op(f"top_k {text(rng.choice((1, rng.randrange(1, n + 1))), *RULES[seed % 8])}", given("a", f"[{n}]", any_ranges(rng, n)))
    assert whole(g, *optimised(g))


@pytest.mark.parametrize("seed", range(60))
def test_repeated_and_constant_elements(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randrange(2, 10)
    count = rng.choice((1, rng.randrange(1, n + 1)))
    g = retyped(graph(given("a", f"[{n}]", any_ranges(rng, n)),
                      f'%t = take(%a) {{indices = [{[rng.randrange(-1, n) for _ in range(n)]}], fill = {rng.choice((0, 7, -20))}}} : '
                      f'[{n}] -9000..9000 frac 0 @ "t"',
                      f'%y = top_k(%t) {text(count, *RULES[seed % 8])} : [{count}] -9000..9000 frac 0 @ "y"'))
    assert whole(g, *optimised(g))


def test_behind_and_before_sums() -> None:
    g = retyped(graph(given("a", "[3]", "-9..8"),
                      '%d = dense(%a) {weight = [[3, 1, 0, -5], [1, 7, 2, 2], [0, -1, 9, 4]], bias = [1, 0, -4, 4]} : '
                      '[4] -9000..9000 frac 0 @ "d"',
                      f'%k = top_k(%d) {text(2, 1, 0, 1)} : [2] -9000..9000 frac 0 @ "k"',
                      f'%t = top_k(%d) {text(2, 1, 0, 0)} : [2] -9000..9000 frac 0 @ "t"',
                      '%y = combine(%k, %t) {scales = [5, 1], offset = 3} : [2] -9000..9000 frac 0 @ "y"'))
    assert whole(g, *optimised(g))


@pytest.mark.parametrize("rule", RULES)
def test_of_many(rule: tuple[int, int, int]) -> None:
    """All 0-1 inputs are far too many: 2**40."""
    for count in (1, 9):
        g = op(f"top_k {text(count, *rule)}", given("a", "[40]", "-128..127"))
        assert whole(g, *optimised(g))


def test_of_many_columns() -> None:
    g = op("top_k {axis = 1, count = 2, largest = 1, last = 0, index = 1}", given("a", "[3, 5, 2]", "-9..8"))
    assert whole(g, *optimised(g))


# -- mutants -------------------------------------------------------------------------------------------------------------


def mutants(netlist: Netlist) -> Iterator[Netlist]:
    """With one comparison turned (a tie goes to the other side), one choice turned, both, or one choice missing; or another slice."""
    place = {r: int(netlist.first[r]) for r in range(len(netlist))}
    for r in np.flatnonzero(netlist.op == Op.GE).tolist():
        users = [s for s in np.flatnonzero(netlist.op == Op.SELECT).tolist() if netlist.arg[place[s]] == r]
        for choices in ([], users):
            arg = netlist.arg.copy()
            for k in (place[r], *(place[s] + 1 for s in choices)):
                arg[[k, k + 1]] = arg[[k + 1, k]]
            yield dataclasses.replace(netlist, arg=arg)
    for r in np.flatnonzero(netlist.op == Op.SELECT).tolist():
        arg, k = netlist.arg.copy(), place[r]
        arg[[k + 1, k + 2]] = arg[[k + 2, k + 1]]
        yield dataclasses.replace(netlist, arg=arg)
        for other in netlist.arg[k + 1:k + 3].tolist():
            outputs = tuple(NetPort(p.name, np.where(p.rows == r, other, p.rows).astype(np.int32)) for p in netlist.outputs)
            yield dataclasses.replace(netlist, arg=np.where(netlist.arg == r, other, netlist.arg).astype(np.int32), outputs=outputs)


    for r in np.flatnonzero(netlist.op == Op.BITS).tolist():
        for more, wider in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1)):
            imm, aux = netlist.imm.copy(), netlist.aux.copy()
            imm[r], aux[r] = max(imm[r] + more, 0), max(aux[r] + wider, 1)
            yield dataclasses.replace(netlist, imm=imm, aux=aux)


def alike(g: Graph, netlist: Netlist) -> bool:
    """On all codes."""
    source, = g.input_ops
    codes = np.array(list(itertools.product(*(range(a, b + 1) for a, b in zip(source.type.lo, source.type.hi, strict=True)))))
    try:
        got = evaluate(netlist, {source.name: codes})
    except InternalError:
        return False
    return bool((got["out"] == g.evaluate({source.name: codes})["y"]).all())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("count", "bounds"), [(1, "0..2"), (2, "0..2"), (5, "0..1"), (1, "[0, -1, 1, 0, 0]..[2, 1, 3, 2, 0]"),
                                               (3, "[0, -1, 1, 0, 0]..[2, 1, 3, 2, 0]"), (1, "[0, 2, 0, 1, 2]..[2, 3, 1, 2, 4]")])
def test_mutants_are_told_from_netlists_that_are_right(rule: tuple[int, int, int], count: int, bounds: str) -> None:
    g = op(f"top_k {text(count, *rule)}", given("a", "[5]", bounds))
    netlist, places = optimised(g)
    wrong = 0
    for mutant in mutants(netlist):
        right = alike(g, mutant)
        wrong += not right
        assert right or not whole(g, mutant, places)
    assert wrong >= 4


def test_a_place_below_zero_is_no_place() -> None:
    """Keys 4 * a + (3 - place) less one, and places of one less: right for all places but the last."""
    g = op(f"top_k {text(2, 1, 0, 1)}", given("a", "[4]", "0..1"))
    netlist, places = optimised(g)
    for less, right in ((0, True), (1, False)):
        down = np.isin(netlist.op, (Op.SUM, Op.SELECT)) * less
        lower_keys = dataclasses.replace(netlist, imm=netlist.imm - less * (netlist.op == Op.SUM), lo=netlist.lo - 4 * down,
                                         hi=netlist.hi + down)
        assert alike(g, lower_keys) == right
        assert whole(g, lower_keys, places) == right


@pytest.mark.parametrize("count", [1, 2, 4])
def test_one_rule_is_not_taken_for_another(count: int) -> None:
    graphs = {rule: op(f"top_k {text(count, *rule)}", given("a", "[4]", "-8..7")) for rule in RULES}
    for rule, g in graphs.items():
        netlist, places = optimised(g)
        for other in RULES:
            same = rule == other or (rule[0] == other[0] and rule[2] == other[2] == 0)  # equal codes are equal codes
            assert whole(graphs[other], netlist, places) == same


def test_ties_between_equal_codes_do_not_matter() -> None:
    """A comparison with all its choices turned gives the same code."""
    g = op(f"top_k {text(1, 1, 0, 0)}", given("a", "[4]", "-8..7"))
    netlist, places = optimised(g)
    assert sum(whole(g, m, places) for m in mutants(netlist)) == (netlist.op == Op.GE).sum()


# -- networks ------------------------------------------------------------------------------------------------------------


def network(n: int, pairs: list[tuple[int, int]], lo: list[int] | None = None, hi: list[int] | None = None) -> Network:
    """Of wires 0..n - 1, of which every pair (a, b) gets the smaller key on a, the larger on b; in the end they are sorted."""
    rows: list[tuple[int, ...]] = [(k,) for k in range(n)]
    wires = list(range(n))
    for a, b in pairs:
        x, y = wires[a], wires[b]
        rows += [(SMALLER, x, y), (LARGER, x, y)]
        wires[a], wires[b] = len(rows) - 2, len(rows) - 1
    return Network(tuple(rows), tuple((wires[k], n - k) for k in range(n)), tuple(lo or [0] * n), tuple(hi or [9] * n))


def bubbles(n: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for end in range(n - 1, 0, -1) for i in range(end)]


NETWORKS = {
    "bubbles": (7, bubbles(7)),
    "odd_even": (6, [(i, i + 1) for turn in range(6) for i in range(turn % 2, 5, 2)]),
    "green": (4, [(0, 2), (1, 3), (0, 1), (2, 3), (1, 2)]),
    "five": (5, [(0, 3), (1, 4), (0, 2), (1, 3), (0, 1), (2, 4), (1, 2), (3, 4), (2, 3)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_lowering_does_not_make(name: str) -> None:
    """They sort, and with one comparator less they do what all 0-1 inputs say."""
    n, pairs = NETWORKS[name]
    assert all(network(n, pairs).proven())
    for k in range(len(pairs)):
        fewer = pairs[:k] + pairs[k + 1:]
        inputs = np.array(list(itertools.product((0, 1), repeat=n)))
        wires = inputs.copy()
        for a, b in fewer:
            wires[:, a], wires[:, b] = np.minimum(wires[:, a], wires[:, b]), np.maximum(wires[:, a], wires[:, b])
        assert network(n, fewer).proven() == tuple((wires == np.sort(inputs, axis=1)).all(axis=0))


def test_a_comparator_may_be_missing_where_ranges_decide() -> None:
    assert network(3, [(0, 1)], [0, 0, 9], [9, 8, 20]).proven() == (True, True, True)
    assert network(3, [(0, 1)], [0, 0, 9], [9, 10, 20]).proven() == (True, False, False)
    assert network(3, [(0, 1)]).proven() == (False, False, False)


def test_keys_that_are_not_read() -> None:
    """The largest of two keys is the largest of all if the third cannot be larger."""
    rows = ((0,), (1,), (LARGER, 0, 1))
    assert Network(rows, ((2, 1),), (0, 3, 0), (9, 9, 3)).proven() == (True,)
    assert Network(rows, ((2, 1),), (0, 3, 0), (9, 9, 4)).proven() == (False,)


def test_a_proof_with_too_many_cases_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.compiler.proof.ranks.CASES", 8)
    assert network(7, bubbles(7)).proven() != (True,) * 7
    g = op(f"top_k {text(4, 1, 0, 0)}", given("a", "[9]", "-8..7"))
    assert "not covered, checked on vectors: node 'node', top_k" in str(prove(g, *optimised(g)))
