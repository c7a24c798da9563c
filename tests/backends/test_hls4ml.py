"""The files of the target hls4ml: precisions, and what is refused. Whether hls4ml computes the right codes with them is
tests/sim/test_hls4ml_csim.py's question."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphs import given, graph, op
from hls_graphs import HEADER, design_of_graph, meant

from gatewright.backends import hls4ml
from gatewright.backends.hls4ml.layers import BUILDERS, make_model
from gatewright.errors import UserError
from gatewright.ir.graph import Graph
from gatewright.ir.ops import OPS as ALL
from gatewright.ir.ops import Divide, Input, Region, SquareRoot, TopK

SCALAR = given("a", "[]", "-33..34")


def files(g: Graph, **header: Any) -> dict[str, str]:
    g = meant(g)
    return {k.removeprefix("hls4ml/"): v for k, v in hls4ml.emit(design_of_graph(g), g, {**HEADER, **header}).items()}


def precisions(g: Graph) -> list[tuple[str, str]]:
    """Every layer behind the inputs: its class and its result's type."""
    model = make_model(meant(g), {o.name: o.name for o in g.input_ops})
    return [(layer.class_name, str(layer.precision["result"])) for layer in model.layers if layer.inputs]


def requant(limits: str, operand: str = SCALAR, shift: int = 0, rounding: str = "FLOOR") -> Graph:
    return op(f'requant {{mul = 1, add = 0, shift = {shift}, rounding = "{rounding}", {limits}}}', operand)


def test_every_operation_has_a_layer_or_is_refused() -> None:
    assert set(ALL.values()) - set(BUILDERS) == {Input, Region, Divide, SquareRoot, TopK}


def test_the_whole_of_a_dense_layer() -> None:
    lines = ('%x = input() {encoding = none} : [2] -8..7 frac 2 @ "x"',
             '%d = dense(%x) {weight = [[3, -2], [5, 1]], bias = [16, 0]} : [2] [-48, -22]..[72, 23] frac 4 @ "dense"',
             '%y = requant(%d) {mul = 1, add = 0, shift = 3, rounding = "ROUND", lo = 0, hi = 3, overflow = "SAT"} : [2] 0..3 '
             'frac 1 @ "relu"')
    written = files(graph(*lines))
    project = json.loads(written["layers.json"])
    assert project["ports"]["inputs"] == [{"tensor": "x", "layer": "in_x", "elements": 2, "frac": 2, "formula": "value = 1 * code"}]
    assert [layer["class_name"] for layer in project["layers"]] == ["InputLayer", "Dense"]
    assert project["layers"][1]["constants"] == {"weight": {"frac": 2, "codes": [[3, -2], [5, 1]]}, "bias": {"frac": 0, "codes": [1, 0]}}
    assert written["config.yml"].split("LayerName:\n")[1] == """\
    in_x:
      Precision:
        result: fixed<4,2>
    dense:
      Precision:
        result: ufixed<2,1,RND_CONV,SAT>
        accum: fixed<8,4>
        weight: fixed<4,2>
        bias: ufixed<1,1>
"""


@pytest.mark.parametrize(("limits", "layers"), [
    ('lo = 0, hi = 7, overflow = "SAT"', ["ufixed<3,3,TRN,SAT>"]), ('lo = -8, hi = 7, overflow = "SAT"', ["fixed<4,4,TRN,SAT>"]),
    ('lo = -7, hi = 7, overflow = "SAT"', ["fixed<4,4,TRN,SAT_SYM>"]), ('lo = -8, hi = 7, overflow = "WRAP"', ["fixed<4,4>"]),
    ('lo = -40, hi = 7, overflow = "SAT"', ["ufixed<7,7,TRN,SAT>", "ufixed<6,6,TRN,SAT>", "fixed<7,7>"]),
    ('lo = 0, hi = 6, overflow = "SAT"', ["ufixed<6,6,TRN,SAT>", "ufixed<3,3,TRN,SAT>", "ufixed<3,3>"])])
def test_limits_become_types(limits: str, layers: list[str]) -> None:
    """What is no type's own range is limited in steps."""
    assert [t for _, t in precisions(requant(limits))] == layers


@pytest.mark.parametrize(("text", "operand", "reason"), [
    ("top_k {axis = 0, count = 2, largest = 1, last = 0, index = 1}", given("a", "[5]", "-1..1"), "no layer that computes place"),
    ('requant {mul = 1, add = 0, shift = 3, rounding = "UP", lo = -8, hi = 7, overflow = "SAT"}', given("a", "[1]", "-70000..70000"),
     "it rounds by UP, which no conversion of ap_fixed does"),
    ("thresholds {sign = 1, levels = " + str(list(range(0, 9000, 300))) + ", base = 0}", given("a", "[1]", "-70000..70000"),
     "its table would be indexed by 18 bits"),
    ("reshape {shape = [1]}", SCALAR, "is the same tensor as an input"),
    ("multiply(%a, %a) {}", given("a", "[1]", f"0..{1 << 28}"), "needs 57 bits"),
    ("extreme_pool {strides = [1], pads = [0, 0], dilations = [2], kernel = [2], largest = 1}", given("a", "[1, 5]", "0..3"), "dilated"),
    ("take {indices = [" + str(list(range(600))[::-1]) + "]}", given("a", "[600]", "0..3"), "a matrix of 600 x 600")])
def test_what_has_no_layer_is_refused(text: str, operand: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        precisions(op(text, operand))
    assert error.value.remedy


def test_other_vendors_parts_are_refused() -> None:
    with pytest.raises(UserError, match="knows no part 'lfe5u-45f'"):
        files(requant('lo = 0, hi = 7, overflow = "SAT"'), part="lfe5u-45f")
