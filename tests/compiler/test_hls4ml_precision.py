"""hls4ml's precision configuration for a float model: the same bits as hls4ml's own layers, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import gatewright
from gatewright.compiler.cli import main
from gatewright.compiler.driver import exact_graph, opened
from gatewright.compiler.options import Options, hls4ml_configuration, with_config
from gatewright.errors import ToolMissing, UserError
from gatewright.sim import hls4ml

RNG = np.random.default_rng(0)
W1, B1, W2, B2 = (RNG.normal(0, s, shape).astype(np.float32) for s, shape in ((0.7, (6, 8)), (0.5, 8), (0.7, (8, 3)), (0.5, 3)))

PLAIN = {"Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"}}
MIXED = {"Model": {"Precision": {"default": "ap_fixed<12,5>", "result": "fixed<10,4,AP_RND,AP_SAT>"}, "ReuseFactor": 1},
         "LayerName": {
             "dense": {"Precision": {"weight": "ap_fixed<8,2,RND_CONV>", "bias": "fixed<6,2>", "accum": "fixed<11,4>",
                                     "result": "fixed<9,4,AP_RND,AP_WRAP>"}},
             "dense_relu": {"Precision": {"result": "ap_ufixed<6,2,AP_RND_CONV,AP_SAT>"}},
             "out": {"Precision": {"accum": "fixed<24,10>", "result": "fixed<9,4,RND_CONV,SAT_SYM>"}}}}
WIDE = {"Model": {"Precision": "ap_fixed<8,3,AP_RND,AP_SAT>"},
        "LayerType": {"Dense": {"Precision": {"accum": "fixed<28,14>", "result": "fixed<9,5>"}}}}


def mlp(opset: int = 13, activation: str = "Relu") -> ModelProto:
    """As exporters write a network of Keras: nodes called after layers."""
    nodes = [helper.make_node("MatMul", ["x", "W1"], ["a"], name="m/dense/MatMul"),
             helper.make_node("Add", ["a", "b1"], ["c"], name="m/dense/BiasAdd"),
             helper.make_node(activation, ["c"], ["d"], name="m/dense/Relu"),
             helper.make_node("Gemm", ["d", "W2T", "b2"], ["y"], name="m/out/Gemm", transB=1)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 6])], [helper.make_tensor_value_info("y", 1, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in {"W1": W1, "b1": B1, "W2T": np.ascontiguousarray(W2.T), "b2": B2}.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(mlp(), tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


def inputs(frac: int, lo: int, hi: int) -> Any:
    codes = np.random.default_rng(1).integers(lo, hi + 1, (400, 6))
    codes[200:] >>= 3
    return codes, codes * 2.0**-frac


def evaluated(path: Path, configuration: dict[str, Any]) -> tuple[Any, Any]:
    """Inputs and outputs as real values."""
    _, graph, _, _ = exact_graph(opened(path, Options(hls4ml=configuration)))
    t = graph.input_ops[0].type
    codes, x = inputs(t.frac, t.common.lo, t.common.hi)
    output = graph.outputs[0]
    y = graph.evaluate({"x": codes})[output.value]
    return x, y * float(output.meaning.scale.item()) + float(output.meaning.offset.item())


def of_hls4ml(configuration: dict[str, Any], x: Any, folder: Path) -> Any:
    from hls4ml.backends import get_backend
    from hls4ml.model import ModelGraph

    layers = [{"class_name": "InputLayer", "name": "x", "input_shape": [6]},
              {"class_name": "Dense", "name": "dense", "n_in": 6, "n_out": 8, "weight_data": W1, "bias_data": B1},
              {"class_name": "Activation", "name": "dense_relu", "activation": "relu", "n_in": 8},
              {"class_name": "Dense", "name": "out", "n_in": 8, "n_out": 3, "weight_data": W2, "bias_data": B2}]
    own = {**configuration, "Model": {"ReuseFactor": 1, **configuration["Model"]}}
    config = {**get_backend("Vitis").create_initial_config(), "Backend": "Vitis", "ProjectName": "p", "OutputDir": str(folder),
              "HLSConfig": own}
    model = ModelGraph.from_layer_list(config, layers, ["x"], ["out"])
    model.compile()
    return model.predict(x)


@pytest.mark.parametrize("configuration", [PLAIN, MIXED, WIDE], ids=["plain", "mixed", "wide"])
def test_same_bits_as_hls4ml(configuration: dict[str, Any], path: Path, tmp_path: Path) -> None:
    try:
        hls4ml.find_hls4ml()
    except ToolMissing:
        pytest.skip("hls4ml, with all that it needs, is not here")
    x, y = evaluated(path, configuration)
    assert (of_hls4ml(configuration, x, tmp_path / "project") == y).all()


def test_truncation_and_wrap_of_every_product(path: Path) -> None:
    """`ap_fixed<16,6>` everywhere, in plain integers."""
    def wrap(v: Any) -> Any:
        return (v + 32768) % 65536 - 32768

    def dense(x: Any, w: Any, b: Any) -> Any:
        codes, bias = (np.floor(v.astype(np.float64) * 1024).astype(np.int64) for v in (w, b))
        return wrap((x[:, :, None] * codes >> 10).sum(axis=1) + bias)

    x, y = evaluated(path, PLAIN)
    hidden = np.maximum(dense((x * 1024).astype(np.int64), W1, B1), 0)
    assert (dense(hidden, W2, B2) / 1024 == y).all()
    assert len(np.unique(y)) > 400


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("configuration", [PLAIN, MIXED, WIDE], ids=["plain", "mixed", "wide"])
def test_what_is_stored_says_it_by_itself(configuration: dict[str, Any], opset: int, tmp_path: Path) -> None:
    """The judge walks the stored ONNX file, which has the casts; it knows nothing of the configuration."""
    onnx.save(mlp(opset), tmp_path / "float.onnx")
    model = gatewright.compile(tmp_path / "float.onnx", tmp_path / "out", hls4ml=configuration, effort=0)
    assert model.verify("reference", 60).status == "passed"
    assert model.project.options.hls4ml == configuration
    notes = " ".join(model.project.manifest["notes"])
    assert ("without effect here: ReuseFactor" in notes) == ("ReuseFactor" in configuration["Model"])


def test_auto_is_exact(path: Path) -> None:
    """hls4ml makes accumulators wide enough where it may choose."""
    auto = {"Model": {"Precision": {"default": "fixed<8,3,RND,SAT>", "accum": "auto", "result": "auto"}}}
    x, y = evaluated(path, auto)

    def cast(v: Any) -> Any:
        return np.clip(np.floor(v.astype(np.float64) * 32 + 0.5), -128, 127) / 32

    assert (y == np.maximum(x @ cast(W1) + cast(B1), 0) @ cast(W2) + cast(B2)).all()


@pytest.mark.parametrize(("change", "reason"), [
    ({"LayerName": {"dens": {"Precision": "fixed<8,4>"}}}, "names the layer 'dens', which the model does not have"),
    ({"LayerName": {"dense": {"table_t": "fixed<8,4>"}}}, "has 'table_t', which gatewright does not take over"),
    ({"LayerName": {"dense": {"Precision": {"accum": "fixed<8,4,TRN,SAT>"}}}}, "saturates"),
    ({"LayerName": {"dense": {"Precision": "fixed<8>"}}}, "'fixed<8>' is not a type"),
    ({"Model": {"Precision": "auto"}}, "needs a default precision"), ({"Model": None}, "has no 'Model'")])
def test_what_is_not_taken_over_is_refused(change: dict[str, Any], reason: str, path: Path) -> None:
    with pytest.raises(UserError, match=reason) as error:
        exact_graph(opened(path, Options(hls4ml={**PLAIN, **change})))
    assert error.value.remedy


def test_a_table_function_is_refused(tmp_path: Path) -> None:
    onnx.save(mlp(activation="Sigmoid"), tmp_path / "float.onnx")
    with pytest.raises(UserError, match="the precision that hls4ml gives Sigmoid is not taken over") as error:
        exact_graph(opened(tmp_path / "float.onnx", Options(hls4ml=PLAIN)))
    assert error.value.node == "m/dense/Relu"


def test_a_convolution_with_a_coarse_accumulator_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "W"], ["y"], name="conv")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, ["N", 1, 4, 4])],
                              [helper.make_tensor_value_info("y", 1, ["N", 2, 3, 3])],
                              [numpy_helper.from_array(RNG.normal(0, 1, (2, 1, 2, 2)).astype(np.float32), "W")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "c.onnx")
    with pytest.raises(UserError, match=r"accumulator fixed<16,6,TRN,WRAP> is too coarse"):
        exact_graph(opened(tmp_path / "c.onnx", Options(hls4ml=PLAIN)))
    wide = {"Model": {"Precision": {"default": "fixed<16,6>", "accum": "fixed<36,16>"}}}
    model = gatewright.compile(tmp_path / "c.onnx", tmp_path / "out", hls4ml=wide, effort=0)
    assert model.verify("reference", 60).status == "passed"


def test_from_a_file(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is YAML."""
    pytest.importorskip("yaml")
    (tmp_path / "hls.yml").write_text("HLSConfig:\n  Model:\n    Precision: ap_fixed<16,6>\n    ReuseFactor: 4\n")
    (tmp_path / "own.toml").write_text('hls4ml = "hls.yml"\n')
    assert with_config(Options(), tmp_path / "own.toml").hls4ml == hls4ml_configuration(tmp_path / "hls.yml")
    assert main(["inspect", str(path), "--hls4ml", str(tmp_path / "hls.yml"), "--effort", "0"]) == 0
    assert "ReuseFactor" in capsys.readouterr().out
    for text, reason in (("a: [", "is not YAML"), ("3", "is no table")):
        (tmp_path / "bad.yml").write_text(text)
        with pytest.raises(UserError, match=reason):
            hls4ml_configuration(tmp_path / "bad.yml")
    with pytest.raises(UserError, match="cannot read"):
        hls4ml_configuration(tmp_path / "missing.yml")
