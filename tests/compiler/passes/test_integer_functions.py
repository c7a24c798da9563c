"""Regions become the cheapest integer form there is, and every form keeps every bit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from expressions import SHAPE, random_expr
from graphs import given, graph, lines, lowered_alike, op, retyped, same_bits

from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.graph import Graph, verify
from gatewright.ir.text import show_expr

A, B = given("a", "[3]", "-40..39"), given("b", "[3]", "-8..7")


def region(expr: str, *inputs: str, shape: str = "[3]") -> Graph:
    return op(f"region {{expr = {expr}, shape = {shape}}}", *inputs)


def realised(g: Graph, most: int = 2000) -> Graph:
    """After the pass; nothing changed, and the netlist agrees."""
    new = IntegerFunctions().run(g).graph
    assert all(o.kind != "region" for o in new.ops)
    same_bits(g, new, most)
    lowered_alike(new, most)
    return new


def forms(g: Graph, inputs: Sequence[str]) -> list[str]:
    return [line.split(" : ")[0] for line in lines(g) if " = input(" not in line or not inputs]


SHIFT = '%y = requant(%a) {{mul = {}, add = {}, shift = {}, rounding = "{}", lo = {}, hi = {}, overflow = "SAT"}}'


@pytest.mark.parametrize(("expr", "expected"), [
    # power-of-two scales: shift and clip
    ("clip(round(ROUND, affine(1/4, $0, 0)), -4, 3)", [SHIFT.format(1, 0, 2, "ROUND", -4, 3)]),
    ("clip(round(FLOOR, affine(-3/8, $0, 1/2)), 0, 7)", [SHIFT.format(-3, 4, 3, "FLOOR", 0, 7)]),
    ("clip($0, 0, none)", [SHIFT.format(1, 0, 0, "FLOOR", 0, 39)]),
    ("affine(0, $0, 5)", [SHIFT.format(0, 5, 0, "FLOOR", 5, 5)]),
    ("clip(affine([1, 2, -1], $0, [0, 1, 0]), -8, 7)", [SHIFT.format("[1, 2, -1]", "[0, 1, 0]", 0, "FLOOR", -8, 7)]),
    ("round(HALF_UP, affine([1/2, 1, 1/4], $0, 0))",
     [SHIFT.format(1, 0, "[1, 0, 2]", "HALF_UP", -40, 39)]),
    # wraps
    ("affine(1, $0, -16, round(FLOOR, affine(1/16, $0, 1/2)), 0)", [SHIFT.format(1, 0, 0, "FLOOR", -8, 7)[:-5] + 'WRAP"}']),
    ("affine(1, $0, -16, round(FLOOR, affine(1/16, $0, 1/2)), -8)", [SHIFT.format(1, -8, 0, "FLOOR", -16, -1)[:-5] + 'WRAP"}']),
    ("affine(1, $0, [-16, -8, -4], round(FLOOR, affine([1/16, 1/8, 1/4], $0, 0)), 0)",
     [SHIFT.format(1, 0, 0, "FLOOR", 0, "[15, 7, 3]")[:-5] + 'WRAP"}']),
    ("affine(1, round(FLOOR, affine(1/2, $0, 0)), -8, round(FLOOR, affine(1/16, $0, 1/2)), 0)",
     [SHIFT.format(1, 0, 1, "FLOOR", -20, 19).replace("%y =", "%y.1 ="),
      SHIFT.format(1, 0, 0, "FLOOR", -4, 3)[:-5].replace("(%a)", "(%y.1)") + 'WRAP"}']),
    # nothing to do, but a tensor of its own
    ("$0", ["%y = combine(%a) {scales = [[1, 1, 1]], offset = 0}"]),
])
def test_forms_of_one_tensor(expr: str, expected: list[str]) -> None:
    assert forms(realised(region(expr, A)), [A]) == expected


@pytest.mark.parametrize("expr", [
    "round(ROUND, affine(1, clip(affine(1/3, $0, 0), 0, none), 1/5, $1, 0))",          # a clip that is no integer, and more
    "round(ROUND, affine(1, clip(affine(1/4, $0, 1/8), -1/2, 7/4), 1/8, $1, 0))",
    "round(FLOOR, affine(1, clip(affine(1/3*sqrt(2), $0, 0), 0, none), 1*sqrt(2), $1, 1/2))",
    "clip(round(HALF_UP, affine([1/3, 1/2, 1/7], $0, [2/3, 1/2, 1/14], $1, [0, 1/4, 0])), -5, 5)",
    "clip(round(HALF_UP, affine([1/3*sqrt(2), 1/2, 1*sqrt(3)], $0, [2/3*sqrt(2), 1/2, 2*sqrt(3)], $1, 0)), -5, 5)",
    "clip(affine(1, clip($0, -3, 3), 1, round(ROUND, affine(1/3, $1, 0)), 0), -2, none)",
    "affine(1, $0, 2, $1, -8, round(FLOOR, affine(1/8, $0, 1/4, $1, 1/2)), 0)",
])
def test_several_tensors(expr: str) -> None:
    realised(region(expr, A, B))


@pytest.mark.parametrize("expr", [
    "round(ROUND, affine([1, -1, 2], clip(affine(1/3, $0, 0), -3/2, 7/4), 0))",        # turned round in one channel only
    "round(ROUND, affine([1, -1, 0], clip(affine(1/4, $0, 0), -3/2, 7/4), 0))",
    "round(ROUND, affine([1/3, -1*sqrt(2), 0], clip(affine(1/2*sqrt(3), $0, 1), 0, none), 0))",
    "affine(1, $0, -3, round(FLOOR, affine(1/3, $0, 1/3)), 0)",                       # modulo a number that is no power of two
    "affine(1, $0, [-3, -4, -8], round(FLOOR, affine([1/3, 1/4, 1/8], $0, 0)), 0)",
    "affine(1, $0, 1, clip($0, 0, none), 0)",
    "clip(affine(1, $0, -8, round(FLOOR, affine(1/8, $0, 1/2)), 0), -2, 2)",
    "round(CEIL, affine([1/3, 1/2, 1/5], affine(1, $0, -16, round(FLOOR, affine(1/16, $0, 1/2)), 0), [0, 0, 1/3]))",
    "clip(affine(1, $0, 0), 5, 3)",
])
def test_functions_of_one_tensor(expr: str) -> None:
    realised(region(expr, A))
    if "[" not in expr:
        realised(region(expr, given("a", "[]", "-20..21"), shape="[]"))


@pytest.mark.parametrize("expr", [
    "clip(affine([[1, 2, 3], [4, 5, 6]], $0, 0), -9, 9)", "clip($0, -2, 3)", "$0", "affine(0, $0, 3)",
    "clip(round(ROUND, affine([[1/3, 2/3, 3/5], [4/7, 5/7, 6/7]], $0, 0)), -9, 9)",
    "affine(1, clip($0, 0, none), 2, round(FLOOR, affine([[-1/3], [-1/5]], $0, 0)), 0)",
    "affine(1, $0, -8, round(FLOOR, affine(1/8, $0, 1/2)), [[1], [0]])",
])
def test_a_region_may_be_larger_than_its_operand(expr: str) -> None:
    realised(region(expr, A, shape="[2, 3]"))
    realised(region(expr, given("a", "[1, 3]", "-40..39"), shape="[2, 3]"))


def test_operands_of_different_rank() -> None:
    wide, narrow = given("a", "[2, 3]", "-4..3"), given("b", "[]", "-3..3")
    realised(region("clip(round(ROUND, affine(1/3, $0, 1/2, $1, 0)), -2, 2)", wide, narrow, shape="[2, 3]"))
    realised(region("clip(round(ROUND, affine(1/3, $0, 1/2, clip($1, 0, none), 0)), -2, 2)", given("a", "[2, 1]", "-4..3"),
                    given("b", "[3]", "-2..5"), shape="[2, 3]"))


@pytest.mark.parametrize("mode", ROUND_NUMBER)
@pytest.mark.parametrize("scale", ["1/4", "-1/8", "[3/4, -1/2, 1]", "1/3", "[-2/7, 1/9, 5/3]", "1/3*sqrt(2)", "-1/5*sqrt(3)"])
def test_every_rounding_of_every_kind_of_scale(scale: str, mode: str) -> None:
    """Over every code of the operand; 1/2 and odd multiples of 1/8 make ties."""
    for offset in ("0", "1/2", "[1/8, -1/3, -1/2]"):
        realised(region(f"clip(round({mode}, affine({scale}, $0, {offset})), -9, 10)", A))


@pytest.mark.parametrize("seed", range(150))
def test_random_regions(seed: int) -> None:
    rng = random.Random(seed)
    leaves = rng.choice([1, 1, 2])
    e = ex.Round(random_expr(rng, rng.randint(1, 4), leaves, irrational=seed % 5 == 0), rng.choice(list(ROUND_NUMBER)))
    inputs = [given(name, f"[{SHAPE[0]}]", f"[{rng.randint(-9, 0)}, {rng.randint(-9, 0)}]..[{rng.randint(0, 9)}, 9]")
              for name in "ab"[:leaves]]
    g = region(show_expr(e), *inputs, shape=f"[{SHAPE[0]}]")
    try:
        IntegerFunctions().run(g)
    except UserError as refused:
        reason = str(refused)
    else:
        realised(g)
        return
    assert reason.startswith("node 'node': ")
    assert "sqrt" in show_expr(e) or leaves == 2


def test_helpers_never_take_the_name_of_another_tensor() -> None:
    g = retyped(graph(
        A, B, '%t.2 = combine(%a) {scales = [7], offset = 0} : [3] 0..0 frac 0 @ "x"',
        '%t = region(%a, %b) {expr = clip(affine(2, clip($0, 0, none), 1, clip(affine(3, $1, 0), -5, none), 0), 0, 20), '
        'shape = [3]} : [3] 0..0 frac 0 @ "x"',
        '%u = combine(%t.2, %t) {scales = [1, 1], offset = 0} : [3] 0..0 frac 0 @ "x"'))
    new = realised(g)
    assert [o.name for o in new.ops] == ["a", "b", "t.2", "t.1", "t.3", "t.4", "t", "u"]


def test_a_wide_constant_that_no_shift_can_hold_takes_another_form() -> None:
    """A float's 53 bits times a wide operand do not fit into 62 bits; a few levels do not need them."""
    wide = given("a", "[1]", "-800000..799999")
    scale = f"{10**17 + 1}/{1 << 73}"
    realised(region(f"clip(round(ROUND, affine({scale}, $0, 1/2)), -7, 7)", wide, shape="[1]"))
    tiny = realised(region(f"clip(round(CEIL, affine(1/{1 << 90}, $0, 0)), -7, 7)", wide, shape="[1]"))
    assert tiny.evaluate({"a": np.array([[-1], [0], [1]])})["y"].tolist() == [[0], [0], [1]]


@pytest.mark.parametrize(("expr", "reason"), [
    ("round(ROUND, affine(1, $0, 1*sqrt(2), $1, 0))", "scales have no common unit"),
    ("round(ROUND, affine(1, clip(affine(1*sqrt(2), $0, 1), 0, none), 1, $1, 0))", "scales have no common unit"),
    (f"round(ROUND, affine(1/{3**29}, $0, 1/{5**20}, $1, 0))", "common unit with 47-bit factors"),
])
def test_what_has_no_exact_form_is_refused_with_its_node(expr: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"node 'node': .*{reason}") as refused:
        IntegerFunctions().run(region(expr, A, B))
    assert refused.value.remedy


def test_too_many_levels_are_refused_with_the_node() -> None:
    wide = given("a", "[1]", f"{-(1 << 40)}..{1 << 40}")
    with pytest.raises(UserError, match=r"node 'node': .*output levels, more than 4096"):
        IntegerFunctions().run(region("round(ROUND, affine(1/3, $0, 0))", wide, shape="[1]"))


def test_users_of_a_region_whose_form_is_narrower_are_narrowed() -> None:
    """A table knows which values occur; the interval of a sum of two functions of one tensor does not."""
    g = retyped(graph(
        given("a", "[2]", "-8..7"), '%y = region(%a) {expr = affine(1, clip($0, 0, none), 2, round(FLOOR, '
        'affine(-1/3, $0, 0)), 0), shape = [2]} : [2] 0..0 frac 0 @ "y"',
        '%d = dense(%y) {weight = [[1], [3]], bias = [0]} : [1] 0..0 frac 0 @ "d"'))
    realised(g)


def test_other_operations_stay() -> None:
    g = graph(A, '%y = reshape(%a) {shape = [3, 1]} : [3, 1] -40..39 frac 0 @ "r"')
    new = IntegerFunctions().run(g).graph
    verify(new)
    assert lines(new) == lines(g)
