"""The proof: it holds for what lowering makes of every operation, and every mutant that changes a value is caught."""

from __future__ import annotations

import dataclasses
import random
from functools import cache, partial

import numpy as np
import pytest
from graphs import given, graph, op, retyped

from gatewright.compiler.driver import NETLIST_PASSES
from gatewright.compiler.lower import lower
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.compiler.proof import Places, Proof, prove
from gatewright.errors import InternalError
from gatewright.ir.graph import Graph
from gatewright.ir.netlist import Netlist, NetPort, Op
from gatewright.ir.netlist_eval import evaluate
from gatewright.ir.ops import OPS

A = given("a", "[3]", "[-40, 0, -9]..[37, 60, 8]")
B = given("b", "[3]", "[-3, -20, 2]..[9, 20, 12]")
C = given("c", "[3]", "0..1")
IMAGE = given("a", "[2, 4, 4]", "-9..8")
WIDE = given("a", "[2]", "[-5000, 0]..[9000, 70000]")


def requant(mul: object, add: object, shift: object, mode: str, lo: object, hi: object, overflow: str = "SAT") -> str:
    return (f'requant {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{mode}", lo = {lo}, hi = {hi}, '
            f'overflow = "{overflow}"}}')


def divide(mode: str, div: int, lo: int, hi: int) -> Graph:
    return op(f'divide {{mul = 2, add = 1, div = {div}, rounding = "{mode}", lo = {lo}, hi = {hi}}}',
              given("n", "[1]", "-30..40"), given("d", "[1]", "1..6"))


def layers(bias: str = "[17, -9, 4]") -> Graph:
    """Two dense layers with a rounding that no clip follows between them: passes merge its last sum into the next layer."""
    return retyped(graph(
        A, f'%d = dense(%a) {{weight = [[3, -2, 7], [5, 1, 11], [-13, 2, 9]], bias = {bias}}} : [3] -9000..9000 frac 0 @ "d"',
        '%r = requant(%d) {mul = 1, add = 3, shift = 3, rounding = "ROUND", lo = -4000, hi = 4000, overflow = "SAT"} : '
        '[3] -9000..9000 frac 0 @ "r"',
        '%e = dense(%r) {weight = [[1, 2], [-7, 3], [5, 0]], bias = [1, 0]} : [2] -90000..90000 frac 0 @ "e"',
        '%y = requant(%e) {mul = 1, add = 0, shift = 2, rounding = "HALF_UP", lo = -31, hi = 31, overflow = "SAT"} : '
        '[2] -9000..9000 frac 0 @ "y"'))


def top(count: int, largest: int, last: int, index: int, bounds: str = "-2..2") -> Graph:
    return op(f"top_k {{axis = 0, count = {count}, largest = {largest}, last = {last}, index = {index}}}", given("a", "[5]", bounds))


CASES = {
    "dense": lambda: op("dense {weight = [[3, -2], [5, 1], [-13, 44]], bias = [7, -1]}", A),
    "reduce_sum": lambda: op("reduce_sum {axes = [1, 2], keepdims = 0}", IMAGE),
    "combine": lambda: op("combine {scales = [3, [1, -2, 5]], offset = [0, 4, -1]}", A, B),
    "conv": lambda: op("conv {weight = [[[[1, -2], [3, 0]], [[5, 1], [0, -7]]], [[[0, 0], [9, 1]], [[2, 2], [1, 4]]]], bias = [3, -8], "
                       "strides = [1, 1], pads = [1, 0, 0, 1], dilations = [1, 1], groups = 1, fill = 2}", IMAGE),
    "depthwise": lambda: op("conv {weight = [[[[1, -2], [3, 0]]], [[[0, 5], [9, 1]]]], bias = [3, -8], strides = [2, 1], "
                            "pads = [0, 0, 0, 0], dilations = [1, 2], groups = 2, fill = 0}", IMAGE),
    "sum_pool": lambda: op("sum_pool {kernel = [2, 2], strides = [2, 2], pads = [0, 1, 0, 1], dilations = [1, 1]}", IMAGE),
    "extreme_pool": lambda: op("extreme_pool {kernel = [2, 2], strides = [1, 1], pads = [0, 1, 0, 1], dilations = [1, 1], "
                               "largest = 0}", IMAGE),
    "reduce_extreme": lambda: op("reduce_extreme {axes = [1, 2], keepdims = 0, largest = 1}", IMAGE),
    "transpose": lambda: op("transpose {perm = [2, 0, 1]}", IMAGE),
    "reshape": lambda: op("reshape {shape = [32]}", IMAGE),
    "take": lambda: op("take {indices = [[1, 0], [-1, 2, 2], [0]], fill = 5}", IMAGE),
    "concat": lambda: op("concat {axis = 0}", A, B),
    "requant_clip": lambda: op(requant(1, [5, 8], 7, "ROUND", 0, 63), WIDE),
    "requant_away": lambda: op(requant([3, -1], 5, [4, 9], "HALF_UP", -31, 31), WIDE),
    "requant_wrap": lambda: op(requant(1, 2, [3, 5], "UP", -32, 31, "WRAP"), WIDE),
    "requant_moved": lambda: op(requant(1, 2, [3, 0], "CEIL", -3, 4, "WRAP"), WIDE),
    "requant_scaled": lambda: op(requant([12253, -4711, 12253], [5, -900, 7], [14, 12, 16], "ROUND", -20, 23), A),
    "requant_scaled_wrap": lambda: op(requant([999, -5, 7], 5, [7, 2, 3], "HALF_CEIL", -8, 7, "WRAP"), A),
    "thresholds": lambda: op("thresholds {sign = [1, -1], levels = [[-300, 5, 64, 700], [-60000, -4097, -1, 100000]], "
                             "base = [-2, 0]}", WIDE),
    "table": lambda: op("table {first = -40, values = " + str([x * x % 23 - 9 for x in range(101)]) + "}", A),
    "multiply": lambda: op("multiply {}", A, B),
    "moved": lambda: retyped(graph(A, B, '%m = multiply(%a, %b) {} : [3] -9000..9000 frac 0 @ "m"',
                                   '%y = reshape(%m) {shape = [3, 1]} : [3, 1] -9000..9000 frac 0 @ "y"')),
    "square": lambda: op("multiply(%a, %a) {}", A),
    "select": lambda: op("select(%c, %a, %b) {}", A, B, C),
    "extremum": lambda: op("extremum {largest = 0}", A, B),
    **{f"divide_{mode}": partial(divide, mode, div, -9, hi) for mode, div, hi in (
        ("FLOOR", 3, 20), ("CEIL", 4, 7), ("HALF_CEIL", 3, 100), ("HALF_FLOOR", 1, 20), ("ROUND", 3, 20), ("HALF_UP", 4, 20),
        ("HALF_DOWN", 3, 8), ("UP", 3, 20), ("DOWN", 4, 20))},
    "divide_even": lambda: divide("ROUND", 4, -8, 7),
    "divide_apart": lambda: op('divide {mul = [2, -3], add = [1, 0], div = 3, rounding = "ROUND", lo = -9, hi = 20}',
                               given("n", "[2]", "[-10, 0]..[20, 70]"), given("d", "[2]", "[1, 5]..[6, 7]")),
    "square_root": lambda: op("square_root {}", given("x", "[2]", "[3, 0]..[100, 700]")),
    "distance": lambda: retyped(graph(A, '%m = reduce_extreme(%a) {axes = [0], keepdims = 0, largest = 1} : [] -9000..9000 frac 0 @ "m"',
                                      '%d = combine(%m, %a) {scales = [2, -2], offset = 1} : [3] -9000..9000 frac 0 @ "d"',
                                      '%y = reshape(%d) {shape = [3, 1]} : [3, 1] -9000..9000 frac 0 @ "y"')),
    "layers": layers,
    **{f"top_{name}": partial(top, count, largest, last, index) for name, count, largest, last, index in (
        ("place", 1, 1, 0, 1), ("last_place", 1, 0, 1, 1), ("code", 1, 0, 0, 0), ("places", 3, 1, 0, 1), ("last_places", 4, 1, 1, 1),
        ("lowest_places", 2, 0, 0, 1), ("codes", 3, 1, 0, 0), ("lowest_codes", 5, 0, 1, 0))},
    "top_apart": lambda: top(3, 1, 0, 1, "[-3, 0, 2, -9, 2]..[1, 6, 2, 5, 4]"),
}


@cache
def optimised(name: str) -> tuple[Graph, Netlist, Places]:
    g = CASES[name]()
    netlist, rows = lower(g, 3)
    places = Places.lowered(g, rows)
    for _, step in (*NETLIST_PASSES, ("fuse", fuse_sums)):
        after, moved = step(netlist)
        netlist, places = after, places.moved(netlist, moved)
    return g, netlist, places


def test_every_operation_has_a_case() -> None:
    kinds = {o.kind for name in CASES for o in optimised(name)[0].ops}
    assert kinds == set(OPS) - {"region"}


@pytest.mark.parametrize("name", CASES)
def test_what_lowering_makes_is_proven(name: str) -> None:
    proof = prove(*optimised(name))
    assert proof.whole, str(proof)
    assert str(proof).startswith("proved: every output bit")


def test_merged_elements_are_found_as_sums() -> None:
    g, netlist, places = optimised("layers")
    count = np.diff(places.first)
    start = places.start["r"]
    assert (count[start:start + 3] > 1).any()
    assert not places.gone[start:start + 3].any()
    assert prove(g, netlist, places).whole


def test_nothing_is_further_from_the_largest_than_it_is_low() -> None:
    """A largest element less one of its own is not negative, which the two ranges do not tell."""
    g, netlist, _ = optimised("distance")
    ranges = [dataclasses.replace(o, type=dataclasses.replace(o.type, lo=np.full_like(o.type.lo, 1))) if o.name in "dy" else o
              for o in g.ops]
    netlist, rows = lower(narrow := g.with_ops(ranges), 3)
    assert prove(narrow, netlist, Places.lowered(narrow, rows)).whole
    below = g.with_ops([dataclasses.replace(o, type=dataclasses.replace(o.type, lo=np.full_like(o.type.lo, 2))) if o.name == "d"
                        else o for o in g.ops])
    netlist, rows = lower(below, 3)
    assert "range of combine" in str(prove(below, netlist, Places.lowered(below, rows)))


def test_a_proof_ends_and_says_what_it_has_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.compiler.proof.WORK", 30)
    proof = prove(*optimised("layers"))
    assert not proof.whole
    assert "not covered, checked on vectors: node 'r', requant" in str(proof)


def test_codes_of_a_long_scale_are_no_breakpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale of many bits gives every code its own distance to the next; there are 65,536 here."""
    a = given("a", "[2]", "-1000000..1000000")
    g = op(requant(12253418161, 4987027456, 37, "ROUND", -32768, 32767), a)
    netlist, rows = lower(g, 3)
    monkeypatch.setattr("gatewright.compiler.proof.WORK", 20000)
    assert prove(g, netlist, Places.lowered(g, rows)).whole


# -- mutations -----------------------------------------------------------------------------------------------------------


def mutants(netlist: Netlist, seed: int, count: int = 40) -> list[Netlist]:
    """Netlists with one thing changed: a shift, a sign, a constant, an operand, a slice, a table entry, a condition, an output."""
    rng = random.Random(seed)
    made = []
    rows = [r for r in range(len(netlist)) if netlist.op[r] not in (Op.INPUT, Op.CONST)]
    while len(made) < count:
        made.append(mutant(netlist, rng, rows))
    return [m for m in made if m is not None]


def mutant(netlist: Netlist, rng: random.Random, rows: list[int]) -> Netlist | None:
    columns = {k: getattr(netlist, k).copy() for k in ("imm", "aux", "arg", "shift", "neg", "lo", "hi")}
    tables, outputs = [t.copy() for t in netlist.tables], netlist.outputs
    if not rows or rng.random() < 0.1:
        port = rng.randrange(len(outputs))
        moved = outputs[port].rows.copy()
        moved[rng.randrange(len(moved))] = rng.randrange(len(netlist))
        outputs = (*outputs[:port], NetPort(outputs[port].name, moved), *outputs[port + 1:])
        return dataclasses.replace(netlist, outputs=outputs)
    r = rng.choice(rows)
    k = rng.randrange(netlist.first[r], netlist.first[r + 1])
    what = rng.choice(["shift", "neg", "arg", "imm", "aux", "table", "swap"])
    if what == "shift":
        columns["shift"][k] = max(0, int(columns["shift"][k]) + rng.choice([-1, 1]))
    elif what == "neg" and netlist.op[r] == Op.SUM:
        columns["neg"][k] ^= True
    elif what == "arg":
        columns["arg"][k] = rng.randrange(r)
    elif what == "imm" and netlist.op[r] in (Op.SUM, Op.BITS):
        columns["imm"][r] = max(0, columns["imm"][r] + rng.choice([-1, 1, 4])) if netlist.op[r] == Op.BITS else (
            columns["imm"][r] + rng.choice([-1, 1, 8]))
    elif what == "aux" and netlist.op[r] in (Op.BITS, Op.TABLE):
        columns["aux"][r] = max(1, columns["aux"][r] + rng.choice([-1, 1]))
    elif what == "table" and netlist.op[r] == Op.TABLE:
        entries = tables[netlist.imm[r]]
        entries[rng.randrange(len(entries))] += rng.choice([-1, 1])
    elif what == "swap" and netlist.first[r + 1] - netlist.first[r] == 3:
        columns["arg"][k], columns["arg"][netlist.first[r] + 1] = columns["arg"][netlist.first[r] + 1], columns["arg"][k]
    return dataclasses.replace(netlist, tables=tuple(tables), **columns)


def unlike(g: Graph, netlist: Netlist) -> bool:
    """Whether an output differs on random codes, or a row leaves its bounds; nothing is known of a netlist that is not valid."""
    rng = np.random.default_rng(1)
    inputs = {o.name: rng.integers(o.type.lo, o.type.hi, (3000, *o.type.shape), endpoint=True) for o in g.input_ops}
    expected = g.evaluate(inputs)
    try:
        got = evaluate(netlist, {k: v.reshape(len(v), -1) for k, v in inputs.items()})
    except InternalError:
        return True
    return any((got[o.name] != expected[o.value].reshape(len(got[o.name]), -1)).any() for o in g.outputs)


@pytest.mark.parametrize("name", CASES)
def test_mutants_are_caught(name: str) -> None:
    g, netlist, places = optimised(name)
    caught = named = 0
    for m in mutants(netlist, sum(map(ord, name))):
        try:
            proof: Proof | None = prove(g, m, places)
            message = ""
        except InternalError as error:
            proof, message = None, str(error)
        if unlike(g, m):
            caught += 1
            assert proof is None or not proof.whole, f"{m} is taken for {name}"
        named += "node '" in message and "element" in message
    assert caught >= 3
    assert named >= 1 or name.startswith(("divide", "top"))  # of digits and ranks, a change is seen and not named


@pytest.mark.parametrize("name", CASES)
def test_bounds_that_a_value_leaves_are_caught(name: str) -> None:
    """Hardware is as wide as a row's bounds."""
    g, netlist, places = optimised(name)
    for r in np.flatnonzero((netlist.op != Op.INPUT) & (netlist.lo < netlist.hi)).tolist()[::2 if len(netlist) < 50 else 5]:
        hi = netlist.hi.copy()
        hi[r] -= 1
        narrow = dataclasses.replace(netlist, hi=hi)
        try:
            whole = prove(g, narrow, places).whole
        except InternalError:
            whole = False
        assert not whole or not unlike(g, narrow), f"row {r}"


@pytest.mark.parametrize("name", CASES)
def test_no_row_has_one_value_because_it_is_declared_so(name: str) -> None:
    g, netlist, places = optimised(name)
    for r in np.flatnonzero((netlist.op != Op.INPUT) & (netlist.lo < netlist.hi)).tolist()[::1 if len(netlist) < 50 else 5]:
        for value in {0, int(netlist.lo[r]), int(netlist.hi[r])}:
            lo, hi = netlist.lo.copy(), netlist.hi.copy()
            lo[r] = hi[r] = value
            fixed = dataclasses.replace(netlist, lo=lo, hi=hi)
            try:
                whole = prove(g, fixed, places).whole
            except InternalError:
                whole = False
            assert not whole or not unlike(g, fixed), f"row {r} is {value}"


def test_a_proof_does_not_fail_where_nothing_changes() -> None:
    """Mutants that no code tells from the netlist may be proven, and must not be refuted if they are on all codes alike."""
    g, netlist, places = optimised("dense")
    first = int(np.flatnonzero(netlist.op == Op.SUM)[0])
    begin, end = netlist.first[first], netlist.first[first + 1]
    order = np.arange(len(netlist.arg))
    order[begin:end] = order[begin:end][::-1]
    swapped = dataclasses.replace(netlist, arg=netlist.arg[order], shift=netlist.shift[order], neg=netlist.neg[order])
    assert prove(g, swapped, places).whole
