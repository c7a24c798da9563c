"""The constant that follows a dense layer or a convolution becomes its bias, where it is the same for all rows and nobody else looks."""

from __future__ import annotations

import pytest
from graphs import given, graph, lines, lowered_alike, retyped, same_bits

from gatewright.compiler.passes.absorb_bias import AbsorbBias
from gatewright.ir.graph import Graph

X = given("x", "[2]", "-8..7")
DENSE = '%d = dense(%x) {weight = [[1, -2, 0], [3, 1, 0]], bias = [0, 5, 1]} : [3] 0..0 frac 0 @ "dense"'


def requant(mul: str = "1", add: str = "[4, -1, 0]", shift: str = "2", name: str = "q") -> str:
    return (f'%{name} = requant(%d) {{mul = {mul}, add = {add}, shift = {shift}, rounding = "ROUND", lo = -8, hi = 7, '
            f'overflow = "SAT"}} : [3] 0..0 frac 0 @ "quant"')


def absorbed(*text: str) -> tuple[Graph, Graph, dict[str, str]]:
    old = retyped(graph(*text))
    result = AbsorbBias().run(old)
    same_bits(old, result.graph)
    lowered_alike(result.graph, 500)
    return old, result.graph, dict(result.gone)


@pytest.mark.parametrize(("add", "bias"), [("[4, -1, 0]", "[4, 4, 1]"), ("6", "[6, 11, 7]"), ("[7]", "[7, 12, 8]")])
def test_it_is_added_to_the_bias(add: str, bias: str) -> None:
    _, g, gone = absorbed(X, DENSE, requant(add=add), "meaning %d scale 1 offset 0", "meaning %q scale 1 offset 0",
                          'output "q" = %q scale 1 offset 0')
    assert [line.split(" : ")[0] for line in lines(g)[1:]] == [
        f"%d = dense(%x) {{weight = [[1, -2, 0], [3, 1, 0]], bias = {bias}}}",
        '%q = requant(%d) {mul = 1, add = 0, shift = 2, rounding = "ROUND", lo = -8, hi = 7, overflow = "SAT"}']
    assert gone == {"d": "carries the constant of 'q'"}
    assert set(g.meanings) == {"q"}  # d's codes stand for something else now


@pytest.mark.parametrize("text", [
    (X, DENSE, requant(mul="[1, 2, 1]")),
    (X, DENSE, requant(add="0")),
    (X, DENSE, requant(), 'output "q" = %q scale 1 offset 0', 'output "d" = %d scale 1 offset 0'),
    (X, DENSE, requant(), requant(name="p"), 'output "q" = %q scale 1 offset 0', 'output "p" = %p scale 1 offset 0'),
    (X, DENSE.replace("dense(%x) {weight = [[1, -2, 0], [3, 1, 0]], bias = [0, 5, 1]}", "combine(%x, %x) {scales = [1, 2], "
                      "offset = 0}").replace("[3] 0", "[2] 0"), requant(add="1")),
    (given("x", "[2, 2]", "-8..7"), DENSE.replace("[3] 0", "[2, 3] 0"), requant(add="[[1], [2]]")),
    (X, '%d = dense(%x) {weight = [[1], [3]], bias = [0]} : [1] 0..0 frac 0 @ "dense"', requant(add="[1, 2, 3]")),
], ids=["scaled", "nothing to add", "output", "two users", "not dense", "differs by row", "broadcast"])
def test_it_stays_where_it_is(text: tuple[str, ...]) -> None:
    old, g, gone = absorbed(*text)
    assert lines(g) == lines(old)
    assert gone == {}


def test_leading_axes_share_the_bias() -> None:
    _, g, gone = absorbed(given("x", "[2, 2]", "-4..3"), DENSE.replace("[3] 0", "[2, 3] 0"), requant())
    assert "bias = [4, 4, 1]" in lines(g)[1]
    assert list(gone) == ["d"]


IMAGE = given("x", "[1, 3]", "-4..3")
CONV = ('%d = conv(%x) {strides = [1], pads = [0, 0], dilations = [1], weight = [[[1, -2]], [[3, 1]]], bias = [0, 5], groups = 1, '
        'fill = 0} : [2, 2] 0..0 frac 0 @ "conv"')


@pytest.mark.parametrize(("add", "bias"), [("[[4], [-1]]", "[4, 4]"), ("6", "[6, 11]"), ("[[4, 4], [0, 0]]", "[4, 5]")])
def test_a_convolution_takes_one_per_channel(add: str, bias: str) -> None:
    _, g, gone = absorbed(IMAGE, CONV, requant(add=add).replace("[3] 0", "[2, 2] 0"))
    assert f"bias = {bias}," in lines(g)[1]
    assert "add = 0," in lines(g)[2]
    assert list(gone) == ["d"]


@pytest.mark.parametrize("add", ["[4, -1]", "[[4, -1], [4, 4]]"])
def test_but_not_one_per_position(add: str) -> None:
    old, g, gone = absorbed(IMAGE, CONV, requant(add=add).replace("[3] 0", "[2, 2] 0"))
    assert lines(g) == lines(old)
    assert gone == {}
