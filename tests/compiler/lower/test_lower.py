"""Lowering: the netlist of every operation carries what the Graph computes, for every code where ranges allow."""

from __future__ import annotations

import random

import numpy as np
import pytest
from graphs import given, graph, lowered_alike, op

from gatewright.compiler.lower import LOWERINGS, lower
from gatewright.compiler.lower.sums import weighted_sums
from gatewright.errors import InternalError, UserError
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.netlist import NetlistBuilder, verify
from gatewright.ir.netlist_eval import evaluate
from gatewright.ir.ops import OPS

A = given("a", "[2, 3]", "[[-8, 0, -3], [2, -7, -1]]..[[7, 5, -3], [9, 6, 0]]")
SCALAR = given("a", "[]", "-33..34")


def requant(mul: object, add: object, shift: object, mode: str, lo: object, hi: object, overflow: str) -> str:
    return (f'requant {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{mode}", lo = {lo}, hi = {hi}, '
            f'overflow = "{overflow}"}}')


@pytest.mark.parametrize("overflow", ["SAT", "WRAP"])
@pytest.mark.parametrize("mode", ROUND_NUMBER)
def test_requant(mode: str, overflow: str) -> None:
    """Every rounding with every overflow: constants alike or one each, ranges on one side of zero, ties, offsets."""
    lows = ([-3, 0, -4], [4, 1, 3]) if overflow == "WRAP" else ([-3, 0, -20], [4, 1, 20])
    for mul, add, shift, lo, hi in ((1, 0, 2, -2, 1), (3, 5, 1, 0, 7), (-3, 1, 3, 1, 4), (1, 0, 4, -100, 155),
                                    (0, 3, 1, 0, 1), (1, 0, 9, 0, 3)):
        lowered_alike(op(requant(mul, add, shift, mode, lo, hi, overflow), SCALAR))
        for bounds in ("3..40", "-40..-3", "0..0", "-1..0"):
            lowered_alike(op(requant(mul, add, shift, mode, lo, hi, overflow), given("a", "[1]", bounds)))
    lowered_alike(op(requant([1, -3, 2], [[4], [-1]], [0, 1, 3], mode, *lows, overflow), A))
    lowered_alike(op(requant([[1, 2], [3, -4]], 0, [[0, 1], [2, 3]], mode, -4, 3, overflow), given("a", "[2]", "-30..30")))


def test_wide_codes() -> None:
    rng = np.random.default_rng(0)
    for mode in ROUND_NUMBER:
        for shift in (1, 30, 57):
            lo, hi = sorted(int(v) for v in rng.integers(-(1 << 58), 1 << 58, 2))
            lowered_alike(op(requant(1, 0, shift, mode, -(1 << 60), 1 << 60, "SAT"), given("a", "[1]", f"{lo}..{hi}")), 200)
            lowered_alike(op(requant(1, 3, shift, mode, -8, 7, "WRAP"), given("a", "[1]", f"{lo}..{hi}")), 200)


@pytest.mark.parametrize("text", [
    "thresholds {sign = 1, levels = [-40, -5, 0, 0, 3, 34, 100], base = -3}",
    "thresholds {sign = -1, levels = [-100, -34, -5, 0, 3, 33, 100], base = 2}",
    "thresholds {sign = 1, levels = [], base = 4}", "thresholds {sign = -1, levels = [99], base = 0}",
    "thresholds {sign = -1, levels = [-99], base = 0}",
    "table {first = -33, values = " + str([x * x % 17 - 8 for x in range(68)]) + "}",
    "table {first = -50, values = " + str([x * x % 17 - 8 for x in range(100)]) + "}",
])
def test_functions_of_a_scalar(text: str) -> None:
    lowered_alike(op(text, SCALAR))


@pytest.mark.parametrize("text", [
    "thresholds {sign = [1, -1, 1], levels = [-2, 2], base = [[0], [5]]}",
    "thresholds {sign = [[1], [-1]], levels = [[[0, 1], [2, 3], [-9, -8]], [[4, 4], [99, 99], [0, 99]]], base = 0}",
    "table {first = -9, values = [" + ", ".join(str([[x * k % 7 for x in range(20)]]) for k in (3, 5)) + "]}",
    "dense {weight = [[1, 0, 0], [-2, 5, 0], [7, -64, 0]], bias = [3, 0, -9]}",
    *(f"reduce_sum {{axes = {axes}, keepdims = {k}}}" for axes in ("[0]", "[1]", "[-1]", "[0, 1]", "[-2, 1]") for k in (0, 1)),
    "combine {scales = [[[3, 0, -1], [1, 7, 100]]], offset = [[1], [0]]}", "multiply(%a, %a) {}",
    "reshape {shape = [3, 2, 1]}", "transpose {perm = [1, 0]}"])
def test_operations_on_a_tensor(text: str) -> None:
    lowered_alike(op(text, A))


def test_operands_that_broadcast() -> None:
    b, c = given("b", "[3]", "-1..2"), given("c", "[]", "0..1")
    small = given("a", "[2, 1]", "-1..1")
    lowered_alike(op("combine {scales = [2, [1, -1, 0], [[3], [0]]], offset = [[0], [7]]}", small, b, c))
    lowered_alike(op("multiply {}", small, b))
    lowered_alike(op("combine {scales = [[[1, 1, 1], [1, 1, 1]]], offset = 0}", b))
    lowered_alike(op("thresholds {sign = 1, levels = [[[0, 1]], [[1, 2]]], base = 0}", b))
    lowered_alike(op("dense {weight = [[1, 2], [3, 4], [-5, 6]], bias = [0, 1]}", b))


def test_a_table_behind_a_range_that_only_the_graph_knows() -> None:
    """The rows' bounds are wider than the tensor's type, on both sides: what they never look up does not matter."""
    g = graph(given("x", "[1]", "-8..7"),
              '%c = combine(%x, %x) {scales = [2, -1], offset = 0} : [1] -8..7 frac 0 @ "c"',
              '%q = requant(%c) {mul = 1, add = 0, shift = 0, rounding = "FLOOR", lo = -20, hi = 20, overflow = "SAT"} '
              ': [1] -8..7 frac 0 @ "q"',
              "%t = table(%q) {first = -8, values = " + str([v * v for v in range(16)]) + '} : [1] 0..225 frac 0 @ "t"')
    lowered_alike(g)
    b = NetlistBuilder("wide")
    b.origin("o")
    x = b.input("x", [-20], [20])
    narrow = op("table {first = -3, values = [5, 6, 7, 8]}", given("a", "[1]", "-3..0")).ops[1]
    rows = LOWERINGS["table"](narrow, [x], b)
    b.output("y", rows)
    codes = np.arange(-3, 1)[:, None]
    assert evaluate(b.build(), {"x": codes})["y"].tolist() == [[5], [6], [7], [8]]


def test_ports_origins_and_rows() -> None:
    g = graph(given("x", "[2]", "0..3"), given("unused", "[1]", "0..1"),
              '%s = combine(%x) {scales = [3], offset = 1} : [2] 1..10 frac 0 @ "Mul 1"',
              '%r = reshape(%s) {shape = [1, 2]} : [1, 2] 1..10 frac 0 @ "Reshape"',
              'output "out" = %r scale 1 offset 0', 'output "in" = %x scale 1 offset 0')
    netlist, rows = lower(g)
    verify(netlist)
    assert [(p.name, len(p.rows)) for p in netlist.inputs] == [("x", 2), ("unused", 1)]
    assert [p.name for p in netlist.outputs] == ["out", "in"]
    assert rows["r"].shape == (1, 2)
    assert rows["r"].reshape(-1).tolist() == rows["s"].tolist() == netlist.outputs[0].rows.tolist()
    assert rows["x"].tolist() == netlist.outputs[1].rows.tolist() == netlist.inputs[0].rows.tolist()
    assert {netlist.origins[o] for o in netlist.origin[rows["s"]]} == {"Mul 1"}


def test_an_output_has_the_width_of_its_type() -> None:
    """Where only the Graph knows the range, the rows are cut to it."""
    q = ('%q = requant(%x) {mul = 1, add = 0, shift = 0, rounding = "FLOOR", lo = -20, hi = 20, overflow = "SAT"} : [2] '
         '[-3, 0]..[3, 5] frac 0 @ "q"')
    netlist, _ = lower(graph(given("x", "[2]", "-8..7"), q))
    verify(netlist)
    rows = netlist.outputs[0].rows
    assert (netlist.lo[rows].tolist(), netlist.hi[rows].tolist()) == ([-3, 0], [3, 5])
    assert evaluate(netlist, {"x": np.array([[-3, 0], [3, 5]])})["out"].tolist() == [[-3, 0], [3, 5]]


def test_a_region_has_no_lowering() -> None:
    g = op("region {expr = $0, shape = [2, 3]}", A)
    with pytest.raises(InternalError, match="'y': no lowering for region"):
        lower(g)
    assert set(OPS) - set(LOWERINGS) == {"input", "region"}


# -- sums ----------------------------------------------------------------------------------------------------------------


def check_sums(weight: np.ndarray, imm: np.ndarray, lo: np.ndarray, hi: np.ndarray, seed: int = 0) -> None:
    """weighted_sums of a matrix equals the product in Python integers."""
    b = NetlistBuilder("sums")
    b.origin("node")
    x = b.input("x", lo, hi)
    inner, outer = weight.shape
    positive, negative = np.maximum(weight, 0).astype(object), np.minimum(weight, 0).astype(object)
    least = lo.astype(object) @ positive + hi.astype(object) @ negative + imm
    most = hi.astype(object) @ positive + lo.astype(object) @ negative + imm
    row, out = np.broadcast_to(x[:, None], weight.shape), np.broadcast_to(np.arange(outer), weight.shape)
    b.output("y", weighted_sums(b, out, row, weight, imm, least.astype(np.int64), most.astype(np.int64)))
    netlist = b.build()
    verify(netlist)
    data = np.random.default_rng(seed).integers(lo, hi, (64, inner), endpoint=True)
    data[:2] = [lo, hi]
    assert evaluate(netlist, {"x": data})["y"].tolist() == (data.astype(object) @ weight.astype(object) + imm).tolist()


@pytest.mark.parametrize("seed", range(40))
def test_random_sums(seed: int) -> None:
    rng, r = random.Random(seed), np.random.default_rng(seed)
    inner, outer = rng.randint(1, 12), rng.randint(1, 9)
    bits = rng.choice([1, 2, 4, 8, 20])
    weight = r.integers(-(1 << bits), 1 << bits, (inner, outer), endpoint=True)
    weight[r.random(weight.shape) < rng.choice([0, 0.3, 0.9])] = 0
    if seed % 4 == 0:
        weight <<= rng.randint(0, 30)
    imm = r.integers(-9, 9, outer) * rng.choice([0, 1, 1 << 20])
    lo = r.integers(-200, 100, inner)
    check_sums(weight, imm, lo, lo + r.integers(0, 300, inner), seed)


@pytest.mark.parametrize(("weight", "imm"), [
    ([[0, 0], [0, 0]], [0, 7]),                          # no terms: constants
    ([[1, 0], [0, 1]], [0, 0]),                          # the operand itself
    ([[-1, -4], [0, -8]], [0, 0]),                       # only negative terms
    ([[-3, -5, -7], [-9, -11, -13]], [1, -1, 0]),
    ([[1 << 50, -(1 << 49)], [3 << 48, 1]], [0, 5]),      # large shifts
    ([[(1 << 40) - 1], [-(1 << 40) + 1]], [0]),
    ([[5, 5, -5, 10]] * 3, [0, 1, 0, 0]),                # the same multiples everywhere
    ([[1], [1]], [-(1 << 40)]),
])
def test_sums_at_the_edges(weight: list[list[int]], imm: list[int]) -> None:
    w = np.array(weight)
    check_sums(w, np.array(imm), np.full(len(w), -8), np.full(len(w), 7))
    check_sums(w, np.array(imm), np.full(len(w), 3), np.full(len(w), 9))


def test_a_sum_that_is_too_wide_names_its_node() -> None:
    b = NetlistBuilder("wide")
    b.origin("the node")
    x = b.input("x", [-(1 << 40)] * 2, [1 << 40] * 2)
    limit = (1 << 61) - 1
    with pytest.raises(UserError, match="the node"):
        weighted_sums(b, [0, 0], x, [1 << 22, 3], [0], [-limit << 1], [limit << 1])


def test_choices() -> None:
    condition = given("c", "[3]", "0..1")
    lowered_alike(op("select {}", condition, given("a", "[2, 3]", "-3..1"), given("b", "[]", "-1..4")))
    lowered_alike(op("select {}", given("c", "[]", "1..1"), given("a", "[2]", "-3..1"), given("b", "[2]", "-1..4")))
    for largest in (0, 1):
        operands = given("a", "[2, 3]", "-9..5"), given("b", "[3]", "[-2, 6, -20]..[7, 9, -10]")
        lowered_alike(op(f"extremum {{largest = {largest}}}", *operands))
    with pytest.raises(ValueError, match="not 0 or 1"):
        op("select {}", given("c", "[3]", "0..2"), given("a", "[3]", "-3..1"), given("b", "[3]", "-1..4"))


@pytest.mark.parametrize("mode", ROUND_NUMBER)
def test_divide(mode: str) -> None:
    """Every rounding, with ties, both signs, ranges that clip on either side or not at all, constants alike or one each."""
    n, d = given("a", "[2]", "-21..20"), given("b", "[]", "1..9")
    for mul, add, div, lo, hi in ((1, 0, 1, -64, 63), (3, -1, 2, -5, 4), (-2, 5, 3, 0, 7), (1, 0, 4, 1, 1), (5, 0, 2, -7, -3),
                                  (1, 3, 1, 100, 200), ("[2, -7]", "[0, 9]", "[6, 5]", "[-3, 0]", "[4, 1]")):
        text = f'divide {{mul = {mul}, add = {add}, div = {div}, rounding = "{mode}", lo = {lo}, hi = {hi}}}'
        lowered_alike(op(text, n, d))
    text = f'divide {{mul = 1, add = 0, div = 2, rounding = "{mode}", lo = -9, hi = 8}}'
    lowered_alike(op(text, given("a", "[2, 1]", "0..15"), given("b", "[3]", "3..4")))


def test_square_root() -> None:
    for bounds in ("0..300", "5..5", "200..1023", "0..0"):
        lowered_alike(op("square_root {}", given("a", "[1]", bounds)), 1024)
    lowered_alike(op("square_root {}", given("a", "[2]", f"0..{(1 << 61) - 1}")), 200)
