"""The model for FINN: executed by qonnx, every code of many small Graphs; halves; folding; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import every_code, given, graph, op
from hls_graphs import HEADER, design_of_graph, every_operation, expected, flat, meant
from models import CASES
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul

import gatewright
from gatewright.backends import finn
from gatewright.backends.finn.folding import folded
from gatewright.backends.finn.nodes import Model, make_model
from gatewright.errors import UserError
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.graph import Graph
from gatewright.sim import finn as execution
from gatewright.sim.result import VerificationResult

ROW = given("a", "[3]", "[-33, -20, 0]..[34, 20, 9]")
IMAGE = given("a", "[4, 6, 6]", "0..7")
MODELS = [c for c in CASES if c.name in ("jet_tagger", "tfc", "one_bit", "per_channel_activation", "quant_ROUND_signed")]


def executed(g: Graph, model: Model, folder: Path) -> VerificationResult:
    file = folder / "model.onnx"
    file.write_bytes(model.onnx.SerializeToString())
    onnx.checker.check_model(onnx.load(file))
    x = every_code(g, 300)
    return execution.verify(file, design_of_graph(g), flat(x), expected(g, x))


def small_graphs() -> list[Graph]:
    requants = [op(f'requant {{mul = {mul}, add = {add}, shift = {shift}, rounding = "{mode}", lo = -4, hi = {hi}, overflow = "SAT"}}', ROW)
                for mode in ROUND_NUMBER for mul, add, shift, hi in ((1, 0, 2, 3), ([3, -5, 1], [1, 0, -7], [3, 2, 1], 2))]
    conv = ("conv {strides = [1, 2], pads = [1, 0, 1, 1], dilations = [1, 1], weight = "
            + str(np.random.default_rng(0).integers(-3, 4, (5, 4, 3, 2)).tolist()) + ", bias = [1, -2, 0, 4, 9], groups = 1, fill = 0}")
    return [*requants, op(conv, IMAGE), op("reduce_sum {axes = [1, 2], keepdims = 0}", IMAGE),
            op("extreme_pool {strides = [2, 2], pads = [0, 0, 0, 0], dilations = [1, 1], kernel = [2, 2], largest = 1}", IMAGE),
            op("thresholds {sign = [1, -1, 1], levels = [[-3, 0, 7], [-9, -9, 4], [5, 99, 99]], base = [0, -1, 2]}", ROW),
            op("table {first = -33, values = " + str([-(x // 9) for x in range(-33, 35)]) + "}", ROW)]


@pytest.mark.parametrize("g", [*small_graphs(), *every_operation()], ids=lambda g: g.ops[-1].kind)
def test_same_codes_or_refused(g: Graph, tmp_path: Path) -> None:
    g = meant(g)
    try:
        model = make_model(g, "m")
    except UserError as error:
        assert error.remedy  # noqa: PT017
        return
    result = executed(g, model, tmp_path)
    assert (result.status, result.reason) == ("passed", "")


def test_the_small_graphs_are_not_refused() -> None:
    for g in small_graphs():
        make_model(meant(g), "m")


@pytest.mark.parametrize("mode", ["ROUND", "HALF_UP", "HALF_CEIL", "FLOOR"])
def test_halves_go_where_the_model_says(mode: str, tmp_path: Path) -> None:
    """Rounding halves up gives other codes for ROUND and HALF_UP (away from zero), and the node is named for that."""
    def requant(rounding: str) -> Graph:
        return meant(op(f'requant {{mul = 1, add = 0, shift = 1, rounding = "{rounding}", lo = -8, hi = 7, overflow = "SAT"}}', ROW))

    g = requant(mode)
    model = make_model(g, "m")
    assert executed(g, model, tmp_path).status == "passed"
    assert model.ties == (["node"] if mode in ("ROUND", "HALF_UP") else [])
    upwards = executed(g, make_model(requant("HALF_CEIL"), "m"), tmp_path)
    assert upwards.status == ("failed" if mode != "HALF_CEIL" else "passed")


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_models_through_the_folder(case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    onnx.save(case.model(), tmp_path / "m.onnx")
    try:
        model = gatewright.compile(tmp_path / "m.onnx", tmp_path / "out", input_type=case.input_type, backend=("finn",), effort=0)
    except UserError as error:
        assert case.name == "per_channel_activation", error  # noqa: PT017
        return
    result = model.verify("finn", 300)
    assert (result.status, result.mismatching_vectors) == ("passed", 0)
    folder = tmp_path / "out" / "design" / "finn"
    compile((folder / "build.py").read_text(), "build.py", "exec")
    given_, wanted = (np.load(folder / f"{name}.npy") for name in ("input", "expected_output"))
    assert len(given_) == len(wanted) == 64


def test_qonnx_knows_the_types_and_lowers_convolutions(tmp_path: Path) -> None:
    """The transformations with which FINN begins leave types and results as they are."""
    g = meant(next(g for g in small_graphs() if g.ops[-1].kind == "conv"))
    made = make_model(g, "m")
    model = ModelWrapper(made.onnx).transform(InferShapes()).transform(FoldConstants()).transform(GiveUniqueNodeNames())
    model = model.transform(GiveReadableTensorNames()).transform(InferDataTypes()).transform(LowerConvsToMatMul())
    assert {n.op_type for n in model.graph.node} >= {"Im2Col", "MatMul"}
    assert model.get_tensor_datatype(model.graph.input[0].name).name == "UINT3"
    product = next(n for n in model.graph.node if n.op_type == "MatMul")
    assert model.get_tensor_datatype(product.input[1]).name == "INT3"


def test_folding() -> None:
    assert folded(32, 64, 1, 1) == (32, 64)
    assert folded(32, 64, 1, 16) == (2, 64)
    assert folded(6, 10, 4, 100) == (3, 1)
    assert folded(6, 10, 400, 100) == (6, 10)  # even all at once takes longer
    lines = ('%x = input() {encoding = none} : [4] -8..7 frac 0 @ "x"',
             '%d = dense(%x) {weight = [[1, -2], [3, 1], [0, 1], [1, 1]], bias = [0, 0]} : [2] [-39, -37]..[36, 37] frac 0 @ "dense"')
    g = meant(graph(*lines))
    for header, pe, simd in (({"reuse": 1}, 2, 4), ({"reuse": 4}, 1, 2), ({"layer_reuse": {"dense": 8}}, 1, 1)):
        files = finn.emit(design_of_graph(g), g, {**HEADER, **header})
        folding = json.loads(files["finn/folding.json"])
        assert folding["MVAU_hls_0"] == {"PE": pe, "SIMD": simd, "ram_style": "auto", "resType": "lut"}
    assert json.loads(files["finn/styles.json"])["MVAU_0"] == {"preferred_impl_style": "hls"}


@pytest.mark.parametrize(("text", "operand", "reason"), [
    ("top_k {axis = 0, count = 2, largest = 1, last = 0, index = 1}", given("a", "[5]", "-1..1"), "FINN has no layer that computes"),
    ("combine {scales = [4096], offset = 0}", given("a", "[2]", "0..8000"), "exact to 16777216"),
    ('requant {mul = 1, add = 0, shift = 1, rounding = "FLOOR", lo = -4, hi = 3, overflow = "WRAP"}', ROW, "it wraps"),
    ('requant {mul = 1, add = 0, shift = 1, rounding = "FLOOR", lo = -4096, hi = 4095, overflow = "SAT"}', given("a", "[2]", "-9000..9000"),
     "FINN would need 8191 thresholds"),
    ("table {first = -33, values = " + str([x * x for x in range(-33, 35)]) + "}", ROW, "neither rises nor falls"),
    ("reshape {shape = [3]}", ROW, "is the same tensor as an input")])
def test_what_has_no_layer_is_refused(text: str, operand: str, reason: str) -> None:
    g = meant(op(text, operand)) if "reshape" not in text else meant(graph(operand, 'output "y" = %a scale 1 offset 0'))
    with pytest.raises(UserError, match=reason) as error:
        make_model(g, "m")
    assert error.value.remedy
