"""The constant that follows a dense layer or a convolution becomes its bias, where it is the same for all rows and nobody else looks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from graphs import given, lines, op, passed

from gatewright.compiler.passes.absorb_bias import AbsorbBias, on_grid
from gatewright.ir.graph import Graph
from gatewright.ir.ops import Requant

X = given("x", "[2]", "-8..7")
DENSE = '%d = dense(%x) {weight = [[1, -2, 0], [3, 1, 0]], bias = [0, 5, 1]} : [3] 0..0 frac 0 @ "dense"'


def requant(mul: str = "1", add: str = "[4, -1, 0]", shift: str = "2", name: str = "q", rounding: str = "FLOOR") -> str:
    return (f'%{name} = requant(%d) {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{rounding}", lo = -8, hi = 7, '
            f'overflow = "SAT"}} : [3] 0..0 frac 0 @ "quant"')


def absorbed(*text: str) -> tuple[Graph, Graph, dict[str, str]]:
    return passed(AbsorbBias(), *text)


@pytest.mark.parametrize(("add", "bias"), [("[4, -1, 0]", "[4, 4, 1]"), ("6", "[6, 11, 7]"), ("[7]", "[7, 12, 8]")])
def test_it_is_added_to_the_bias(add: str, bias: str) -> None:
    _, g, gone = absorbed(X, DENSE, requant(add=add), "meaning %d scale 1 offset 0", "meaning %q scale 1 offset 0",
                          'output "q" = %q scale 1 offset 0')
    assert [line.split(" : ")[0] for line in lines(g)[1:]] == [
        f"%d = dense(%x) {{weight = [[1, -2, 0], [3, 1, 0]], bias = {bias}}}",
        '%q = requant(%d) {mul = 1, add = 0, shift = 2, rounding = "FLOOR", lo = -8, hi = 7, overflow = "SAT"}']
    assert gone == {"d": "carries the constant of 'q'"}
    assert set(g.meanings) == {"q"}  # d's codes stand for something else now


@pytest.mark.parametrize(("text", "bias", "left"), [
    (requant(add="0", rounding="HALF_CEIL"), "[2, 7, 3]", 'mul = 1, add = 0, shift = 2, rounding = "FLOOR"'),
    (requant(add="0", rounding="ROUND"), "[2, 7, 3]", 'mul = 1, add = -2, shift = 2, rounding = "ROUND"'),
    (requant(mul="[4, 1, 2]", shift="[4, 2, 3]", rounding="ROUND"), "[3, 6, 3]", 'mul = 1, add = -2, shift = 2, rounding = "ROUND"'),
    (requant(mul="[4, 2, 1]", add="[9, -1, 0]", shift="[4, 3, 2]", rounding="ROUND"), "[4, 6, 3]",
     'mul = [2, 2, 1], add = [-3, -3, -2], shift = [3, 3, 2], rounding = "ROUND"'),
    (requant(mul="4", add="[9, -1, 0]", shift="4"), "[2, 4, 1]", 'mul = 1, add = 0, shift = 2, rounding = "FLOOR"'),
], ids=["half up", "half to even", "factors", "between two codes", "floor"])
def test_the_half_of_a_rounding_goes_with_it(text: str, bias: str, left: str) -> None:
    """9 / 4 is between two codes: a bit below them keeps it off the tie."""
    _, g, gone = absorbed(X, DENSE, text)
    assert f"bias = {bias}}}" in lines(g)[1]
    assert f"{{{left}, lo" in lines(g)[2]
    assert list(gone) == ["d"]


@pytest.mark.parametrize("rounding", ["FLOOR", "CEIL", "ROUND", "HALF_CEIL", "HALF_FLOOR", "HALF_UP", "DOWN"])
def test_a_constant_on_the_grid_of_the_sum_is_the_same_function(rounding: str) -> None:
    """All sums, all powers of two, and every constant beside a tie."""
    x = np.broadcast_to(np.arange(-70, 71)[:, None], (141, 81))
    for places, shift in itertools.product(range(4), range(6)):
        old = op(f'requant {{mul = {1 << places}, add = {list(range(-40, 41))}, shift = {shift}, rounding = "{rounding}", lo = -999, '
                 'hi = 999, overflow = "SAT"}', given("a", "[81]", "-70..70")).ops[-1]
        assert isinstance(old, Requant)
        new = on_grid(old)
        assert (new.compute([x]) == old.compute([x])).all()
        if rounding == "FLOOR" and shift >= places:
            assert (new.mul == 1).all()


@pytest.mark.parametrize("text", [
    (X, DENSE, requant(mul="[1, 3, 1]")),
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
