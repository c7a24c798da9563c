"""Types that users give: quantisers for tensors that the file leaves open, and input types from calibration data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from judged import differing
from models import Net, unquantised
from onnx_ops import compiled, random_inputs

from gatewright.compiler.cli import main
from gatewright.compiler.driver import Compilation
from gatewright.compiler.options import Options, with_config
from gatewright.compiler.project import write
from gatewright.compiler.verify import verify
from gatewright.errors import UserError
from gatewright.ir.fixed import OVERFLOW, ROUNDING

Capture = pytest.CaptureFixture[str]
TYPES = {"w1": "fixed<6,1,RND,SAT>", "hidden": "ufixed<5,2,RND_CONV,SAT>", "w2": "fixed<5,1,RND_CONV,SAT>"}


def checked(model: onnx.ModelProto, folder: Path, types: dict[str, str], **options: Any) -> Compilation:
    """Compiled with these types (which compares Graph, passes and netlist), every code equal to the judge's."""
    c = compiled(model, folder, input_type="fixed<6,3>", tensor_types=types, **options)
    assert differing(c.imported, model, random_inputs(c.imported.graph)[1], types) == []
    return c


def test_a_unquantised_with_types(tmp_path: Path) -> None:
    c = checked(unquantised(), tmp_path, TYPES)
    assert c.imported.quantisers.keys() == {"hidden"}
    assert repr(c.graph.by_name["hidden"].type.common) == "ufixed<5,2>"


@pytest.mark.parametrize("overflow", OVERFLOW)
@pytest.mark.parametrize("rounding", ROUNDING)
def test_every_mode(rounding: str, overflow: str, tmp_path: Path) -> None:
    """On weights and on an inner tensor that is rounded and overflows; another mode is another function."""
    types = {**TYPES, "w2": f"fixed<4,0,{rounding},{overflow}>", "bias_out": f"fixed<4,2,AP_{rounding},AP_{overflow}>"}
    c = checked(unquantised(), tmp_path, types)
    other = {**types, "bias_out": f"fixed<4,2,{'TRN' if rounding != 'TRN' else 'RND'},{overflow}>"}
    assert differing(c.imported, tmp_path / "model.onnx", random_inputs(c.imported.graph)[1], other) != []


def test_without_modes_nothing_may_be_lost(tmp_path: Path) -> None:
    for name, kind, said in (("w1", "fixed<6,1>", "the tensor 'w1' is not on the grid"), ("w1", "fixed<40,0,RND>", "which fixed"),
                             ("first_out", "fixed<30,2,TRN>", "which fixed<30,2,TRN> does not hold"),
                             ("bias_out", "fixed<30,10>", "is not on the grid of fixed<30,10>")):
        with pytest.raises(UserError, match=said) as raised:
            compiled(unquantised(), tmp_path, input_type="fixed<6,3>", tensor_types={"w1": TYPES["w1"], **{name: kind}})
        assert "SAT" in str(raised.value.remedy)
    c = checked(unquantised(), tmp_path, {**TYPES, "first_out": "fixed<16,8>"})  # wide enough: nothing is lost
    assert {q.tensor for q in c.imported.quantisers.values()} >= {"first_out.2"}


def test_a_typed_softmax_at_the_end_is_computed(tmp_path: Path) -> None:
    net = Net(seed=6)
    net.op("Softmax", net.op("MatMul", "x", net.weight(3, 3)), name="soft", out="y")
    model, types = net.model({"x": ["N", 3]}, {"y": ["N", 3]}), {"y": "ufixed<8,0,RND_CONV,SAT>"}
    c = checked(model, tmp_path, types)
    assert not c.imported.logits
    assert verify(write(c, tmp_path / "out"), "reference", 60).status == "passed"


@pytest.mark.parametrize(("name", "said"), [
    ("x", "'x' is an input.*--input-type 'x="), ("nothing", "no tensor 'nothing'"), ("quantised", "has a quantiser in the model")])
def test_tensors_that_cannot_take_a_type(name: str, said: str, tmp_path: Path) -> None:
    net = Net()
    net.op("Relu", net.quant("x", 0.25, 4, out="quantised"), out="y")
    with pytest.raises(UserError, match=said):
        compiled(net.model({"x": ["N", 2]}, {"y": ["N", 2]}), tmp_path, tensor_types={name: "fixed<4,2,TRN,SAT>"})


def test_by_option_and_by_file(tmp_path: Path, capsys: Capture) -> None:
    """The same bytes; the folder knows the types and verifies with them; a wrong one is found."""
    model, config = tmp_path / "m.onnx", tmp_path / "types.toml"
    onnx.save(unquantised(), model)
    config.write_text("input_type = 'fixed<6,3>'\n" + "".join(f"[tensor.{k}]\ntype = '{v}'\n" for k, v in TYPES.items()))
    options = [a for k, v in TYPES.items() for a in ("--tensor-type", f"{k}={v}")]
    for folder, given in (("a", [*options, "--input-type", "fixed<6,3>"]), ("b", ["--config", str(config)])):
        assert main(["compile", str(model), "-o", str(tmp_path / folder), *given]) == 0
    assert (tmp_path / "a/design/manifest.json").read_bytes() == (tmp_path / "b/design/manifest.json").read_bytes()
    assert main(["verify", str(tmp_path / "a"), "--level", "reference", "--vectors", "100"]) == 0
    manifest = tmp_path / "a/design/manifest.json"
    manifest.write_text(manifest.read_text().replace(TYPES["hidden"], "ufixed<5,2,TRN,SAT>"))
    assert main(["verify", str(tmp_path / "a"), "--level", "reference", "--vectors", "100"]) == 1
    assert main(["compile", str(model), "-o", str(tmp_path / "c"), "--tensor-type", "fixed<6,3>"]) == 2
    assert "NAME=TYPE" in capsys.readouterr().err
    assert with_config(Options(), config).tensor_types == TYPES
    assert json.loads(manifest.read_text())["options"]["tensor_types"].keys() == TYPES.keys()
