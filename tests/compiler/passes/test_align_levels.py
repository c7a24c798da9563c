"""The bias in front of thresholds moves to where the comparisons take the fewest LUTs, and the function stays."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from graphs import given, graph, lines, passed, retyped, same_bits

from gatewright.backends.part import load_part
from gatewright.compiler.estimate.cost import row_costs
from gatewright.compiler.lower import lower
from gatewright.compiler.passes.align_levels import AlignLevels
from gatewright.compiler.passes.netlist.fold_constants import fold_constants
from gatewright.ir.graph import Graph
from gatewright.ir.netlist import Op as Row

X = given("x", "[2]", "-8..7")
DENSE = '%d = dense(%x) {weight = [[1, -2, 0], [3, 1, 1]], bias = [0, 5, 1]} : [3] 0..0 frac 0 @ "dense"'
"""Ranges [-32, -17, -7]..[28, 28, 8]."""
WIDE = given("x", "[2]", f"{-1 << 60}..{(1 << 60) - 1}")
SUM = '%d = dense(%x) {weight = [[1], [1]], bias = [0]} : [1] 0..0 frac 0 @ "dense"'
"""62 bits, as wide as codes can be."""


def thresholds(levels: str, sign: str = "1", base: str = "0", name: str = "q") -> str:
    return f'%{name} = thresholds(%d) {{sign = {sign}, levels = {levels}, base = {base}}} : [3] 0..0 frac 0 @ "quant"'


def table(values: list[list[int]]) -> str:
    return f'%q = table(%d) {{first = -32, values = {values}}} : [3] 0..0 frac 0 @ "quant"'


def steps(*at: int, low: int = 0, high: int = 1) -> list[list[int]]:
    """A table of the codes -32..28 for every output, with a step at a code."""
    return [[high if x >= t else low for x in range(-32, 29)] for t in at]


def aligned(*text: str) -> tuple[Graph, Graph, dict[str, str]]:
    return passed(AlignLevels(), *text)


@pytest.mark.parametrize(("text", "bias", "left"), [
    (thresholds("[[3], [4], [1]]"), "[61, 33, 8]", "sign = 1, levels = [[64], [32], [8]]"),
    (thresholds("[[3], [4], [0]]", sign="[1, -1, 1]"), "[61, 23, 17]", "sign = 1, levels = [[64], [32], [16]]"),
    (thresholds("[[3], [99], [-99]]"), "[61, 5, 1]", "sign = 1, levels = [[64], [99], [-99]]"),
    (thresholds("[[-9, 3], [-8, 4], [-3, 0]]", base="-1"), "[73, 33, 20]", "sign = 1, levels = [[64, 76], [20, 32], [16, 19]]"),
    (table(steps(3, 4, 1)), "[61, 33, 8]", "sign = 1, levels = [[64], [32], [8]]"),
    (table([steps(3)[0], steps(4, low=1, high=0)[0], [-2] * 61]), "[61, 30, 1]", "sign = 1, levels = [[64], [32], [9]]"),
], ids=["rising", "falling", "out of reach", "two levels", "table", "tables that fall or stay"])
def test_a_level_becomes_the_highest_bit_or_the_sign(text: str, bias: str, left: str) -> None:
    _, g, gone = aligned(X, DENSE, text, "meaning %d scale 1 offset 0", "meaning %q scale 1 offset 0", 'output "q" = %q scale 1 offset 0')
    assert f"bias = {bias}}}" in lines(g)[1]
    assert f"thresholds(%d) {{{left}, base" in lines(g)[2]
    assert gone == {"d": "carries the constant of 'q'"}
    assert set(g.meanings) == {"q"}  # d's codes stand for something else now


@pytest.mark.parametrize("text", [
    (X, DENSE.replace("[0, 5, 1]", "[61, 33, 8]"), thresholds("[[64], [32], [8]]")),
    (X, DENSE, thresholds("[[3], [4], [1]]"), 'output "q" = %q scale 1 offset 0', 'output "d" = %d scale 1 offset 0'),
    (X, DENSE, thresholds("[3]"), thresholds("[4]", name="p"), 'output "q" = %q scale 1 offset 0',
     'output "p" = %p scale 1 offset 0'),
    (X, DENSE, table(steps(3, 4, 1, high=2))),
    (X, DENSE, table([[int(-9 <= x < 9) for x in range(-32, 29)]])),
    (given("x", "[2, 2]", "-8..7"), DENSE.replace("[3] 0", "[2, 3] 0"), thresholds("[[[3]], [[4]]]").replace("[3] 0", "[2, 3] 0")),
    (X, thresholds("[[3], [4]]").replace("%d", "%x").replace("[3] 0", "[2] 0")),
    (X, DENSE, thresholds("[]", sign="-1")),
    (WIDE, SUM, thresholds("[5]").replace("[3] 0", "[1] 0")),
    (WIDE, SUM, thresholds("[5]", sign="-1").replace("[3] 0", "[1] 0")),
], ids=["aligned", "output", "two users", "step of two", "two steps", "differs by row", "no layer", "no levels", "would be too wide",
        "would be too wide with the opposite weights"])
def test_it_stays_where_it_is(text: tuple[str, ...]) -> None:
    old, g, gone = aligned(*text)
    assert lines(g) == lines(old)
    assert gone == {}


IMAGE = given("x", "[1, 3]", "-4..3")
CONV = ('%d = conv(%x) {strides = [1], pads = [0, 0], dilations = [1], weight = [[[1, -2]], [[3, 1]]], bias = [0, 5], groups = 1, '
        'fill = 0} : [2, 2] 0..0 frac 0 @ "conv"')


def test_a_convolution_has_one_constant_per_channel() -> None:
    _, g, gone = aligned(IMAGE, CONV, thresholds("[[[3]], [[4]]]").replace("[3] 0", "[2, 2] 0"))
    assert "bias = [13, 17]," in lines(g)[1]
    assert "levels = [[[16], [16]], [[16], [16]]]" in lines(g)[2]
    assert list(gone) == ["d"]


def test_leading_axes_share_the_bias() -> None:
    _, g, gone = aligned(given("x", "[2, 2]", "-8..7"), DENSE.replace("[3] 0", "[2, 3] 0"),
                         thresholds("[[3], [4], [1]]").replace("[3] 0", "[2, 3] 0"))
    assert "bias = [61, 33, 8]" in lines(g)[1]
    assert list(gone) == ["d"]


def test_a_long_table_takes_no_more_room_for_many_elements() -> None:
    values = [int(x >= 7) for x in range(-4096, 4096)]
    old = retyped(graph(given("x", "[500, 1]", "-1024..1023"), DENSE.replace("[[1, -2, 0], [3, 1, 1]]", "[[4, -2, 1]]").replace(
        "[3] 0", "[500, 3] 0"), f'%q = table(%d) {{first = -4096, values = {values}}} : [500, 3] 0..0 frac 0 @ "quant"'))
    tracemalloc.start()
    new = AlignLevels().run(old).graph
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert new.ops[-1].kind == "thresholds"
    assert peak < 50e6
    same_bits(old, new, 50)


def test_the_bits_of_such_neurons_are_wires() -> None:
    old, g, _ = aligned(X, DENSE, thresholds("[[3], [4], [1]]", sign="[1, -1, 1]"))

    def behind_sums(graph: Graph) -> int:
        netlist, _ = fold_constants(lower(graph, 3)[0])
        return int(row_costs(netlist, load_part()).lut[netlist.op != Row.SUM].sum())
    assert (behind_sums(old), behind_sums(g)) == (4, 0)


def test_a_neuron_that_falls_gets_the_opposite_weights() -> None:
    _, g, _ = aligned(X, DENSE, thresholds("[[3], [4], [0]]", sign="[1, -1, 1]"))
    assert "weight = [[1, 2, 0], [3, -1, 1]]," in lines(g)[1]
    _, g, _ = aligned(IMAGE, CONV, thresholds("[[[3]], [[4]]]", sign="[[1], [-1]]").replace("[3] 0", "[2, 2] 0"))
    assert "weight = [[[1, -2]], [[-3, -1]]]," in lines(g)[1]
    _, g, _ = aligned(X, DENSE, thresholds("[[3, 4], [4, 9], [0, 1]]", sign="-1"))
    assert "weight = [[1, -2, 0], [3, 1, 1]]," in lines(g)[1]  # the code of several levels is a table anyway


def test_random_levels_keep_the_function() -> None:
    """Of one to four levels, some of them out of reach, some equal, rising and falling."""
    rng = np.random.default_rng(1)
    for count in (1, 2, 4) * 4:
        levels, sign = np.sort(rng.integers(-34, 35, (3, count))).tolist(), rng.choice([-1, 1], 3).tolist()
        _, g, gone = aligned(X, DENSE, thresholds(str(levels), sign=str(sign), base=str(int(rng.integers(-3, 3)))))
        assert list(gone) == ["d"]
        assert g.ops[-1].kind == "thresholds"
