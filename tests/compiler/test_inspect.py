"""What inspect says: forms and types node by node, all reasons at once, and what a float model lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import Net, residual, unquantised
from onnx_ops import compiled

from gatewright.compiler.cli import main
from gatewright.compiler.frontend.importer import import_model
from gatewright.compiler.inspect import Inspection, inspect_model
from gatewright.compiler.options import Options, with_config
from gatewright.errors import UserError

Capture = pytest.CaptureFixture[str]
MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
FLOATS = sorted([*MODELS.glob("hls4ml_examples/t[hw]*_layer*.onnx"),
                 *MODELS.glob("exported/torch_[cd]*_ts.onnx"), *MODELS.glob("exported/keras_m*.onnx")])


def inspected(model: onnx.ModelProto, folder: Path, **options: Any) -> Inspection:
    onnx.save(model, folder / "m.onnx")
    return inspect_model(folder / "m.onnx", Options(**options))


def becomes(found: Inspection) -> dict[str, str]:
    return {n["node"]: n["becomes"] for n in found.nodes}


def config_of(found: Inspection, folder: Path) -> Options:
    file = folder / "types.toml"
    file.write_text("\n".join(t.toml for t in found.open))
    return with_config(Options(), file)


def test_a_float_model_is_refused_with_all_that_it_lacks(tmp_path: Path, capsys: Capture) -> None:
    found = inspected(unquantised(), tmp_path)
    assert [(t.tensor, t.role, t.node) for t in found.open] == [
        ("x", "input", "first"), ("w1", "weights", "first"), ("w2", "weights", "second"), ("hidden", "activation", "second")]
    assert main(["compile", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    for word in ("not quantised", "'x'", "'w1' (node 'first')", "'w2' (node 'second')", "'hidden' (node 'second')", "--input-type 'x=",
                 "--tensor-type 'w2=", "TOML", "gatewright inspect"):
        assert word in said
    assert found.problem is not None
    assert found.problem in said


def test_the_file_that_inspect_writes_compiles(tmp_path: Path, capsys: Capture) -> None:
    found = inspected(unquantised(), tmp_path)
    options = config_of(found, tmp_path)
    assert main(["compile", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out"), "--config", str(tmp_path / "types.toml")]) == 0
    again = inspect_model(tmp_path / "m.onnx", options)
    assert (again.problems, again.open) == ((), ())
    assert again.nodes == found.nodes  # what they become with the examples
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 2
    said = capsys.readouterr().out
    assert all(t.toml in said for t in found.open)
    assert main(["inspect", str(tmp_path / "m.onnx"), "--json"]) == 2
    assert {t["tensor"] for t in json.loads(capsys.readouterr().out)["open"]} == {"x", "w1", "w2", "hidden"}


def test_what_has_types_is_not_asked_for(tmp_path: Path) -> None:
    found = inspected(unquantised(), tmp_path, input_type="fixed<8,4>", tensor_types={"w2": "fixed<4,1,TRN,SAT>"})
    assert [t.tensor for t in found.open] == ["w1", "hidden"]
    found = inspected(unquantised(), tmp_path, input_type="fixed<8,4>", tensor_types={"w1": "fixed<4,1,TRN,SAT>"})
    assert [t.tensor for t in found.open] == ["w2", "hidden"]


@pytest.mark.parametrize("case", [([[0.3, 0.7], [0.1, -0.4]], True), ([[2.0**-17 - 1, 0.5], [1, 2]], False),
                                  ([[0.3, 1.0], [0.6, 2.0]], False), ([[1.125], [0.5]], False), ([[0.3], [0.5]], True)], ids=str)
def test_which_weights_have_no_quantiser(case: tuple[list[list[float]], bool], tmp_path: Path) -> None:
    """Those that need integers of more than 18 bits in their output channel's own unit."""
    net = Net()
    net.op("Frobnicate", net.op("MatMul", "x", net.const(case[0], name="w")), out="y")
    found = inspected(net.model({"x": ["N", 2]}, {"y": ["N", len(case[0][0])]}), tmp_path, input_type="fixed<4,4>")
    assert ([t.tensor for t in found.open] == ["w"]) is case[1]


def test_all_reasons_at_once(tmp_path: Path) -> None:
    """Two operators that are not there, one that is wrong behind them, and a function that has no form in the end."""
    net = Net()
    a = net.op("Frobnicate", net.quant("x", 0.25, 4), name="first_bad")
    b = net.op("Relu", net.op("Erfinv", net.quant("x", 0.25, 5), name="second_bad"), name="relu")
    net.op("Reshape", b, net.const([5, 5], np.int64), name="third_bad", out="z")
    net.quant(net.op("Sin", a, name="lost"), 1, 4, out="y")
    model = net.model({"x": ["N", 4]}, {"y": ["N", 4], "z": [5, 5]})
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("second_bad_out", 1, ["N", 4]))
    found = inspected(model, tmp_path)
    assert [p.node for p in found.problems] == ["first_bad", "second_bad", "third_bad"]
    assert all(p.remedy for p in found.problems)
    rows = becomes(found)
    assert rows["first_bad"] == "the operator Frobnicate is not supported"
    assert rows["lost"].startswith("not examined")
    assert rows["third_bad"].startswith("Reshape cannot turn")


def test_functions_without_a_form_are_all_named(tmp_path: Path) -> None:
    """They can be imported, but a pass finds nothing that computes them."""
    net = Net()
    a, b = (net.op("Sigmoid", net.quant(x, 0.25, 4)) for x in "ab")
    for k in range(2):
        both = net.op("Add", a, b)
        net.quant(both, 0.25, 4, name=f"q{k}", out=f"y{k}", mode=("ROUND", "FLOOR")[k])
    found = inspected(net.model({"a": ["N", 1], "b": ["N", 1]}, {"y0": ["N", 1], "y1": ["N", 1]}), tmp_path)
    assert [p.node for p in found.problems] == ["q0", "q1"]
    assert all("joins non-linear functions" in p.reason and p.remedy for p in found.problems)


def test_an_operand_that_lacks_a_quantiser_is_named(tmp_path: Path) -> None:
    """In a model that is quantised otherwise: the operator needs codes, and none of its operand's makers rounds."""
    net = Net()
    x = net.op("Sigmoid", net.quant("x", 0.25, 4), name="sigmoid", out="s")
    net.op("TopK", x, net.const([2], np.int64), name="best", out="y")
    found = inspected(net.model({"x": ["N", 4]}, {"y": ["N", 2]}), tmp_path)
    assert [(t.tensor, t.node) for t in found.open] == [("s", "best")]
    assert "no quantiser follows" in (found.problem or "")
    assert "--tensor-type" in (found.problem or "")
    assert import_model(tmp_path / "m.onnx", config_of(found, tmp_path).types()).quantisers.keys() >= {"s"}


def test_forms_and_ports(tmp_path: Path) -> None:
    found = inspected(residual(), tmp_path)
    assert {p["direction"] for p in found.ports} == {"input", "output"}
    assert all("fixed<" in p["type"] for p in found.ports)
    assert not found.problems
    assert any("as adder graph" in v for v in becomes(found).values())


def test_parameters_of_a_batch_norm_suit_its_channels(tmp_path: Path) -> None:
    """They broadcast, but mean nothing: onnxruntime refuses them too."""
    net = Net()
    turned = net.op("Transpose", net.quant("x", 0.25, 4))
    net.op("BatchNormalization", turned, *[net.const([0.5, 1, 2])] * 4, name="norm", out="y")
    with pytest.raises(UserError, match=r"node 'norm': .* for 1 channels"):
        compiled(net.model({"x": [1, 3]}, {"y": [3, 1]}), tmp_path)


@pytest.mark.skipif(not MODELS.is_dir(), reason="the models in ../shared/models are not here")
@pytest.mark.parametrize("path", FLOATS, ids=lambda p: p.stem)
def test_float_files(path: Path, tmp_path: Path) -> None:
    """What is said to be missing is enough for the import, unless another problem is named besides."""
    with pytest.raises(UserError, match="the model is not quantised"):
        import_model(path)
    found = inspect_model(path, Options())
    assert {"weights", "input"} <= {t.role for t in found.open}
    imported = not any(p for p in found.problems[1:] if "levels" not in p.reason and "steps" not in p.reason)
    if imported:
        import_model(path, config_of(found, tmp_path).types())
    else:
        with pytest.raises(UserError):
            import_model(path, config_of(found, tmp_path).types())
