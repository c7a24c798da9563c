"""The side-by-side benchmark: descriptions mean the same to the reference and to gatewright; rows, search and plot."""

from __future__ import annotations

import argparse
import itertools
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers.build import build_file, build_gatewright
from benchmarks.peers.describe import described as describe
from benchmarks.peers.description import Activation, Description, Grid, Layer, activated, from_json, load, random_matrix, rounded
from benchmarks.peers.plot import svg
from benchmarks.peers.table import PAGE, alone, table
from benchmarks.peers.to_onnx import to_onnx
from benchmarks.rows import read_rows
from gatewright.compiler.driver import exact_graph, opened
from gatewright.compiler.options import Options
from gatewright.errors import UserError

ROUNDINGS = ("floor", "half_up", "half_even")

HERE = Path(__file__).parents[1]


def described(activation: Activation | None, seed: int = 0, narrow: bool = False, signed: bool = True) -> Description:
    rng = np.random.default_rng(seed)
    first = Layer(rng.integers(-7, 8, (4, 3)), 2, rng.integers(-9, 10, 3), 3, activation)
    second = Layer(rng.integers(-3, 4, (3, 2)), 1, np.zeros(2, np.int64), 0, None)
    return Description("small", Grid(signed, 4, 1, narrow), (first, second))


@pytest.mark.parametrize(("relu", "signed", "rounding", "saturate", "narrow"), [
    *((relu, signed, rounding, True, False) for relu, signed, rounding in itertools.product((True, False), (True, False), ROUNDINGS)),
    *((False, True, rounding, True, True) for rounding in ROUNDINGS), *((True, True, rounding, False, False) for rounding in ROUNDINGS),
    *((False, signed, rounding, False, False) for signed in (True, False) for rounding in ROUNDINGS)])
def test_gatewright_builds_what_is_described(relu: bool, signed: bool, rounding: str, saturate: bool, narrow: bool,
                                             tmp_path: Path) -> None:
    activation = Activation(Grid(signed, 3, 0, narrow), relu, rounding, saturate)
    job = {"folder": str(tmp_path), "part": "xcvu13p-flga2577-2-e", "clock_ns": 3.0, "vectors": 400, "effort": 1, "behavioural": False}
    built = build_gatewright(described(activation, narrow=narrow), job)
    assert built["mismatches"] == 0
    assert built["cycles"] >= 1
    assert (tmp_path / "top.v").exists()


def test_a_file_is_built_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(to_onnx(described(Activation(Grid(False, 3, 0, False), True, "half_up", True))), file)
    job = {"folder": str(tmp_path), "part": "xcvu13p-flga2577-2-e", "clock_ns": 3.0, "vectors": 400, "effort": 1, "behavioural": False}
    built = build_file(file, "fixed<6,4>", job)
    assert (built["mismatches"], built["cycles"] >= 1, (tmp_path / "top.v").exists()) == (0, True, True)
    assert [peers.name_of(n) for n in ("jet8", "x/tfc.onnx", "x/axol/model.onnx=fixed<8;6>")] == ["jet8", "tfc", "axol"]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_layers_of_a_file_are_described(rounding: str, tmp_path: Path) -> None:
    model = described(Activation(Grid(False, 3, 0, False), True, rounding, True))
    file = tmp_path / "model.onnx"
    onnx.save(to_onnx(model), file)
    graph = exact_graph(opened(file, Options()))[1]
    first, last = (op.node for op in graph.ops if op.kind == "dense")
    cut = from_json(json.loads(json.dumps(describe(graph, first, last, "cut"))))
    codes = cut.random_inputs(200)
    (got, at), (expected, frac) = cut.evaluate(codes), model.evaluate(codes)
    steps = (expected * 2.0**-frac)[got != 0] / (got * 2.0**-at)[got != 0]
    assert len(steps) > 100
    assert np.unique(steps).size == 1
    assert ((got == 0) == (expected == 0)).all()
    with pytest.raises(ValueError, match="there are"):
        describe(graph, "nothing", last, "cut")


def test_a_wrong_build_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = described(Activation(Grid(True, 3, 0, False), False, "half_even", True))
    other = described(Activation(Grid(True, 3, 0, False), False, "half_up", True))
    monkeypatch.setattr("benchmarks.peers.to_onnx.to_onnx", lambda _: to_onnx(other))
    job = {"folder": str(tmp_path), "part": "xcvu13p-flga2577-2-e", "clock_ns": 3.0, "vectors": 400, "effort": 1, "behavioural": False}
    assert build_gatewright(model, job)["mismatches"] > 0


def test_rounding_and_limits_by_hand() -> None:
    x = np.array([-7, -6, -5, -2, -1, 0, 1, 2, 3, 6, 10])                  # quarters
    assert rounded(x, 2, "floor").tolist() == [-2, -2, -2, -1, -1, 0, 0, 0, 0, 1, 2]
    assert rounded(x, 2, "half_up").tolist() == [-2, -1, -1, 0, 0, 0, 0, 1, 1, 2, 3]
    assert rounded(x, 2, "half_even").tolist() == [-2, -2, -1, 0, 0, 0, 0, 0, 1, 2, 2]
    assert rounded(x, -1, "floor").tolist() == (2 * x).tolist()
    narrow = Activation(Grid(True, 2, 0, True), False, "floor", True)
    assert activated(x, 2, narrow).tolist() == [-1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1]
    wraps = Activation(Grid(False, 1, 0, False), False, "floor", False)
    assert activated(x, 2, wraps).tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]


def test_a_description_by_hand(tmp_path: Path) -> None:
    text = {"name": "n", "input": {"size": 2, "signed": True, "bits": 4, "frac": 1},
            "layers": [{"w": [[3, -1], [2, 5]], "w_frac": 2, "b": [1, -2], "b_frac": 0, "act": None}]}
    (tmp_path / "n.json").write_text(json.dumps(text))
    codes, frac = load("n", tmp_path).evaluate(np.array([[1, -2], [7, 7]]))
    assert (codes.tolist(), frac) == ([[7, -27], [43, 12]], 3)
    text["layers"][0]["act"] = {"relu": True, "signed": False, "bits": 3, "frac": 0, "rounding": "up", "saturate": True}
    with pytest.raises(ValueError, match="'up' is none of the roundings"):
        from_json(text)
    assert load("cmvm5", tmp_path).layers[0].weight.tolist() == random_matrix(5).layers[0].weight.tolist()
    assert random_matrix(40).layers[0].weight.min() == -32
    assert random_matrix(40).layers[0].weight.max() == 31


def test_what_onnx_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="narrow range"):
        to_onnx(described(Activation(Grid(True, 3, 0, True), False, "floor", False)))
    layer = Layer(np.array([[2**25 + 1]]), 0, np.zeros(1, np.int64), 0, None)
    with pytest.raises(ValueError, match="no float32"):
        to_onnx(Description("wide", Grid(True, 4, 0, False), (layer,)))
    onnx.checker.check_model(to_onnx(described(None)))


@pytest.mark.parametrize("behavioural", [False, True])
def test_plain_sums_are_asked_for_in_front_of_every_file(behavioural: bool, tmp_path: Path) -> None:
    job = {"folder": str(tmp_path), "part": "xcvu13p-flga2577-2-e", "clock_ns": 3.0, "vectors": 9, "effort": 1, "behavioural": behavioural}
    build_gatewright(described(None), job)
    first = {file.read_text().splitlines()[0] for file in tmp_path.glob("*.v")}
    assert (first == {"`define GATEWRIGHT_PLAIN"}) == behavioural


def test_effort_reaches_the_compiler(tmp_path: Path) -> None:
    job = {"folder": str(tmp_path), "part": "xcvu13p-flga2577-2-e", "clock_ns": 3.0, "vectors": 9, "behavioural": False}
    with pytest.raises(UserError, match="an effort of 7"):
        build_gatewright(described(None), job | {"effort": 7})


def test_packing_of_a_netlist(tmp_path: Path) -> None:
    module = json.loads((Path(__file__).parent / "synth" / "mapped" / "carry_chain.json").read_text())
    (tmp_path / "net.json").write_text(json.dumps({"modules": {"top": module}}))
    assert peers.packed(tmp_path / "net.json", "xcvu13p-flga2577-2-e") == {"lut_paired": 2, "carry_sites": 2, "clb": 2}
    assert peers.packed(tmp_path / "net.json", "xc7a100tcsg324-1") == {"lut_paired": 2, "carry_sites": 3, "clb": 3}


def test_questions_of_a_row() -> None:
    options = argparse.Namespace(effort=3, behavioural=True)
    assert peers.question("m", "alkaid", 5.0, options)["effort"] is None
    asked = peers.question("m", "gatewright", 5.0, options)
    assert peers.key_of(row() | asked) == ("m", "gatewright", 5.0, 3, True)
    assert peers.key_of(row("alkaid")) == ("m", "alkaid", 5.0, None, False)  # an older row


def row(tool: str = "gatewright", **values: Any) -> dict[str, Any]:
    return {"model": "m", "tool": tool, "clock_ns": 5.0, "lut": 100, "ff": 10, "latency_ns": 30.5, "crude_ns": 5.1} | values


def test_rows_are_kept_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "results" / "rows.json"
    for new in (row(), row("alkaid"), row(lut=90), row(clock_ns=None), row(behavioural=True), row(effort=2), row(effort=2, lut=80)):
        peers.merge(file, new)
    assert [(r["tool"], r["clock_ns"], r["lut"]) for r in read_rows(file)] == [
        ("gatewright", None, 100), ("alkaid", 5.0, 100), ("gatewright", 5.0, 90), ("gatewright", 5.0, 80), ("gatewright", 5.0, 100)]


@pytest.mark.parametrize("enough", [2, 3, 7, 19, 20, 99])
def test_fewest_stages(enough: int) -> None:
    tried = []

    def build(stages: int) -> dict[str, Any]:
        tried.append(stages)
        return {"cycles": stages, "meets": stages >= enough}

    assert peers.fewest_stages(build, 20)["cycles"] == min(enough, 20)
    assert len(tried) <= 6


def test_plot_shows_what_can_be_compared() -> None:
    rows = [row(), row("alkaid", lut=200, source="stored"), row(model="alone"), row("da4ml", model="m", clock_ns=2.5, skipped="no")]
    drawing = svg(rows)
    ElementTree.fromstring(drawing)
    assert "m, 5 ns" in drawing
    assert "alone" not in drawing
    plain = svg([row(), row(behavioural=True), row("da4ml", behavioural=True)])
    assert "m, 5 ns, plain Verilog<" in plain
    assert "m, 5 ns<" not in plain
    assert drawing == svg([*rows, row("alkaid", lut=999)])  # the first answer to a question counts
    assert drawing.count("<title>") == 6
    assert drawing.count('fill-opacity="0.45"') == 3


def test_the_page_shows_the_stored_results() -> None:
    rows = [row for name in ("gatewright", "stored") for row in json.loads(
        (HERE / "benchmarks" / "results" / f"peers-{name}.json").read_text(encoding="utf-8"))]
    page = (HERE / "docs" / "peers.md").read_text(encoding="utf-8")
    assert page == PAGE.format(table=table(rows), alone=alone(rows)), "write it again: the last command on the page"
