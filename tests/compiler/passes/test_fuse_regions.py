"""Element-wise regions become one, where that adds no operand; and the correspondence stays true."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import every_code, given, graph, lines, retyped, same_bits

from gatewright.compiler.passes.dead_ops import DeadOps
from gatewright.compiler.passes.fuse_regions import FuseRegions
from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.ir.correspondence import Correspondence
from gatewright.ir.graph import Graph

A, B = given("a", "[2]", "-8..7"), given("b", "[2]", "-4..3")


def region(name: str, inputs: str, expr: str, shape: str = "[2]") -> str:
    return f'%{name} = region({inputs}) {{expr = {expr}, shape = {shape}}} : {shape} 0..0 frac 0 @ "node {name}"'


def fused(*text: str) -> tuple[Graph, dict[str, str], dict[str, str]]:
    """After the pass; outputs and all tensors that the correspondence still knows have the same codes."""
    old = retyped(graph(*text))
    result = FuseRegions().run(old)
    same_bits(old, result.graph)
    inputs = every_code(old)
    before = old.evaluate(inputs, [o.name for o in old.ops])
    where = Correspondence.identity([o.name for o in old.ops]).after(result.renamed, result.gone)
    assert set(where.tensors) | set(where.gone) == {o.name for o in old.ops}
    after = result.graph.evaluate(inputs, where.tensors.values())
    for name, now in where.tensors.items():
        assert np.array_equal(before[name], after[now]), name
    final = DeadOps().run(IntegerFunctions().run(result.graph).graph).graph
    same_bits(old, final)
    return result.graph, dict(result.renamed), dict(result.gone)


def body(g: Graph) -> list[str]:
    return [line.split(" : ")[0] for line in lines(g) if "input()" not in line]


def test_a_chain_becomes_one_region() -> None:
    g, renamed, gone = fused(
        A, region("r", "%a", "affine(3, $0, 1)"), region("s", "%r", "clip($0, 0, none)"),
        region("t", "%s", "clip(round(ROUND, affine(1/4, $0, 0)), 0, 3)"))
    assert body(g) == ["%t = region(%a) {expr = clip(round(ROUND, affine(3/4, $0, 1/4)), 0, 3), shape = [2]}"]
    assert (renamed, gone) == ({}, {"r": "computed inside 's'", "s": "computed inside 't'"})


def test_an_output_stays_and_so_does_what_others_read() -> None:
    g, _, gone = fused(
        A, region("r", "%a", "affine(3, $0, 1)"), region("s", "%r", "clip($0, 0, none)"),
        'output "r" = %r scale 1 offset 0', 'output "s" = %s scale 1 offset 0')
    assert [line.split(" {")[0] for line in body(g)] == ["%r = region(%a)", "%s = region(%r)"]
    assert gone == {}
    g, _, gone = fused(
        A, region("r", "%a", "affine(3, $0, 1)"), region("s", "%r", "clip($0, 0, none)"),
        '%t = reshape(%r) {shape = [1, 2]} : [1, 2] 0..0 frac 0 @ "t"', 'output "t" = %t scale 1 offset 0',
        'output "s" = %s scale 1 offset 0')
    assert (len(body(g)), gone) == (3, {})


def test_one_that_two_read_goes_into_both() -> None:
    g, _, gone = fused(
        A, region("r", "%a", "affine(3, $0, 1)"), region("s", "%r", "clip($0, 0, none)"),
        region("t", "%r", "clip($0, none, 0)"), 'output "s" = %s scale 1 offset 0', 'output "t" = %t scale 1 offset 0')
    assert body(g) == ["%s = region(%a) {expr = clip(affine(3, $0, 1), 0, none), shape = [2]}",
                       "%t = region(%a) {expr = clip(affine(3, $0, 1), none, 0), shape = [2]}"]
    assert list(gone) == ["r"]


def test_one_that_is_read_twice_by_the_same() -> None:
    g, _, gone = fused(
        A, region("r", "%a", "round(FLOOR, affine(1/2, $0, 0))"), region("i", "%r", "$0"),
        region("s", "%r, %i", "affine(2, $0, 1, clip($1, 0, none), 0)"))
    assert body(g) == ["%s = region(%a) {expr = affine(2, round(FLOOR, affine(1/2, $0, 0)), 1, "
                       "clip(round(FLOOR, affine(1/2, $0, 0)), 0, none), 0), shape = [2]}"]
    assert list(gone) == ["r", "i"]


def test_nothing_is_joined_that_would_add_an_operand() -> None:
    text = (A, B, given("c", "[2]", "0..1"), region("r", "%a, %b", "clip(affine(1, $0, 1, $1, 0), 0, 3)"),
            region("s", "%r", "affine(2, $0, 0)"), region("t", "%r, %c", "affine(1, $0, 4, $1, 0)"),
            'output "s" = %s scale 1 offset 0', 'output "t" = %t scale 1 offset 0')
    g, _, gone = fused(*text)
    assert (len(body(g)), gone) == (3, {})
    # into one of two users only: the other still reads it
    g, _, gone = fused(*(t.replace("%r, %c", "%r, %a") for t in text))
    assert [line.split(")")[0] for line in body(g)] == ["%r = region(%a, %b", "%s = region(%r", "%t = region(%a, %b"]
    assert gone == {}


def test_the_identity_takes_the_name_of_its_operand_but_not_its_meaning() -> None:
    g, renamed, gone = fused(
        A, region("i", "%a", "$0"), region("s", "%i", "$0"),
        '%t = reshape(%s) {shape = [2, 1]} : [2, 1] 0..0 frac 0 @ "t"',
        "meaning %a scale 1/4 offset 0", "meaning %i scale 1/2 offset 0", "meaning %s scale 1 offset 3",
        'output "t" = %t scale 1 offset 0', 'output "i" = %i scale 1/2 offset 0')
    assert body(g)[-1:] == ["%t = reshape(%a) {shape = [2, 1]}"]
    assert renamed["s"] == "a"
    assert gone == {}
    assert str(g.meanings["a"].scale.item()) == "1/4"


@pytest.mark.parametrize("shape", ["[1, 2]", "[3, 2]"])
def test_an_identity_that_broadcasts_is_no_renaming(shape: str) -> None:
    g, renamed, _ = fused(A, region("i", "%a", "$0", shape))
    assert (len(body(g)), renamed) == (1, {})


def test_the_identity_of_a_tensor_that_goes_itself() -> None:
    g, renamed, gone = fused(
        A, B, region("t", "%a, %b", "affine(1, $0, 1, $1, 0)"), region("i", "%t", "$0"),
        region("e", "%i, %a", "clip(affine(1, $0, 2, $1, 0), -20, 20)"))
    assert body(g) == ["%e = region(%a, %b) {expr = clip(affine(3, $0, 1, $1, 0), -20, 20), shape = [2]}"]
    assert (renamed, gone) == ({}, {"t": "computed inside 'e'", "i": "computed inside 'e'"})


def test_operands_are_counted_once() -> None:
    """The sum of two functions of the same tensor is a function of one."""
    g, _, _ = fused(A, region("r", "%a", "clip($0, 0, none)"), region("s", "%a", "clip($0, none, 0)"),
                    region("t", "%r, %s", "affine(1, $0, -1, $1, 0)"))
    assert [line.split(")")[0] for line in body(g)] == ["%t = region(%a"]


def test_shapes_broadcast_through_both() -> None:
    fused(given("a", "[1, 2]", "-3..3"), given("b", "[3, 1]", "-3..3"),
          region("r", "%b", "clip(affine([[1], [2], [-1]], $0, 0), -2, 2)", "[3, 1]"),
          region("s", "%a, %r", "affine([1, 2], $0, 1, $1, 0)", "[3, 2]"))


def test_users_of_a_region_that_turns_out_narrower_are_narrowed() -> None:
    """r - a is a itself, which interval arithmetic on r and a cannot know."""
    g, _, _ = fused(A, region("r", "%a", "affine(2, $0, 0)"), region("s", "%r, %a", "affine(1, $0, -1, $1, 1)"),
                    '%d = dense(%s) {weight = [[1], [3]], bias = [0]} : [1] 0..0 frac 0 @ "d"')
    assert [line.split(" : ")[1].split(" frac")[0] for line in lines(g)[1:]] == ["[2] -7..8", "[1] -28..32"]


def test_a_narrower_type_is_kept() -> None:
    """What the model says of a region's range stays true of the joined one."""
    g = graph(A, '%r = region(%a) {expr = affine(1, $0, 8), shape = [2]} : [2] 0..15 frac 0 @ "r"',
              '%s = region(%r) {expr = affine(2, $0, 0), shape = [2]} : [2] 0..21 frac 0 @ "s"')
    assert lines(FuseRegions().run(g).graph)[1].endswith(': [2] 0..21 frac 0 @ "s"')
