"""Every twin of tests/models.py from the ONNX file to the netlist: the judge, the imported Graph, the optimised Graph and
the netlist have the same bits, and a slightly wrong model has not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from judged import differing
from models import CASES, Case, Net, mutate, samples
from onnx import ModelProto

from gatewright.compiler import data
from gatewright.compiler.data import encode
from gatewright.compiler.driver import compile_model
from gatewright.compiler.frontend.importer import Imported, import_model
from gatewright.compiler.options import Options
from gatewright.compiler.project import Project, write
from gatewright.compiler.verify import verify
from gatewright.errors import UserError
from gatewright.ir.graph import Codes

BY_NAME = {case.name: case for case in CASES}
VECTORS = 40


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "twin.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def imported(model: ModelProto, folder: Path, **options: object) -> Imported:
    return import_model(saved(model, folder), Options(**options).types())  # type: ignore[arg-type]


def project(model: ModelProto, folder: Path, **options: object) -> Project:
    return write(compile_model(saved(model, folder), Options(**options)), folder / "out")  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_judge_graphs_and_netlist_are_equal(case: Case, tmp_path: Path) -> None:
    feeds = samples(case, VECTORS)
    compiled = compile_model(saved(case.model(), tmp_path), Options(input_type=case.input_type))
    twin = compiled.imported
    assert differing(twin, case.model(), feeds) == []
    codes: dict[str, Codes] = encode(twin.graph, twin.input_casts, feeds)
    specified, optimised = twin.graph.evaluate(codes), compiled.graph.evaluate(codes)
    netlist = compiled.design.evaluate({name: c.reshape(VECTORS, -1) for name, c in codes.items()})
    for before, after in zip(twin.graph.outputs, compiled.graph.outputs, strict=True):
        assert np.array_equal(specified[before.value], optimised[after.value])
        assert np.array_equal(specified[before.value].reshape(VECTORS, -1), netlist[before.name])


@pytest.mark.parametrize(("name", "what", "node"), [
    ("jet_tagger", "weight", "Quant_0"), ("jet_tagger", "rounding", None), ("axol1tl_v1", "weight", None),
    ("axol1tl_v1", "rounding", "Quant_2"), ("axol1tl_v3", "weight", "Quant_5"), ("axol1tl_v3", "rounding", "Quant_9"),
    ("tfc", "weight", None), ("tfc", "rounding", None), ("one_bit", "weight", None), ("per_channel", "weight", None),
    ("per_channel_activation", "rounding", None), ("quant_FLOOR_signed", "rounding", None),
    ("quant_HALF_UP_unsigned", "rounding", None), ("gemm_alpha_float", "weight", None), ("residual", "weight", None),
    ("attention", "weight", None), ("attention", "rounding", None),
    ("softmax_last", "rounding", "Quant_1"), ("layer_norm_floats", "rounding", None), ("quotient_ROUND", "rounding", None)])
def test_mutants_are_told_apart(name: str, what: str, node: str | None, tmp_path: Path) -> None:
    case = BY_NAME[name]
    wrong = imported(mutate(case.model(), what, node), tmp_path, input_type=case.input_type)
    assert differing(wrong, case.model(), samples(case, VECTORS))


@pytest.mark.parametrize("name", ["jet_tagger", "axol1tl_v1", "tfc", "per_channel", "attention", "two_inputs",
                                  "quant_HALF_UP_zero_point", "softmax_last", "softmax_wide", "layer_norm_floats",
                                  "quotient_ROUND"])
def test_rtl_is_equal(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]
    result = verify(project(case.model(), tmp_path, input_type=case.input_type), "rtl", 300)
    assert (result.status, result.vectors, result.ii) == ("passed", 300, 1)


@pytest.mark.parametrize("name", ["jet_tagger", "axol1tl_v3", "tfc", "one_bit", "one_bit_quant", "per_channel", "attention", "two_inputs",
                                  "duplicate_output", "output_is_input", "passthrough", "batch_seven_reshape",
                                  "softmax_float_scales", "layer_norm_axes", "quotient_float_scales"])
def test_reference_level_without_data(name: str, tmp_path: Path) -> None:
    """Where the host quantises, the judge starts from real numbers that give the codes."""
    case = BY_NAME[name]
    assert verify(project(case.model(), tmp_path, input_type=case.input_type), "reference", 100).status == "passed"


# -- types of inputs and outputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [
    ("tfc", "fixed<8,4,RND_CONV,SAT>"), ("tfc", "fixed<6,3,RND_INF,SAT_SYM>"), ("tfc", "fixed<5,2,TRN_ZERO,WRAP>"),
    ("per_channel", "fixed<8,1,RND>"), ("per_channel", "ufixed<6,0,RND_ZERO,SAT>"),
    ("jet_tagger", "fixed<5,3,RND_MIN_INF,SAT>"), ("passthrough", "fixed<8,4>")])
def test_output_types(name: str, kind: str, tmp_path: Path) -> None:
    """The judge's exact result, brought onto the grid as the modes say."""
    case = BY_NAME[name]
    made = project(case.model(), tmp_path, input_type=case.input_type, output_type=kind)
    assert [verify(made, level, 100).status for level in ("reference", "netlist")] == ["passed", "passed"]


@pytest.mark.parametrize("kind", ["fixed<20,10>", "fixed<8,0,RND>"])
def test_output_type_that_would_lose_something_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bits would be lost|does not hold"):
        imported(BY_NAME["per_channel"].model(), tmp_path, output_type=kind)


@pytest.mark.parametrize("kind", ["fixed<8,4,RND_CONV,SAT>", "fixed<7,3,TRN,WRAP>", "fixed<7,3,RND_ZERO,SAT_SYM>"])
def test_data_is_quantised_by_the_modes_of_the_input(kind: str, tmp_path: Path) -> None:
    case = BY_NAME["jet_tagger"]
    feeds = {name: x * 1.37 for name, x in samples(case, VECTORS).items()}
    made, file = project(case.model(), tmp_path, input_type=kind), tmp_path / "data.npz"
    np.savez(file, **feeds)
    assert verify(made, "reference", data=file).status == "passed"


@pytest.mark.parametrize("tensors", [("score", "Floor_1_out"), ("MatMul_0_out",), ("x", "y")])
def test_any_tensor_can_be_an_output(tensors: tuple[str, ...], tmp_path: Path) -> None:
    name = "axol1tl_v3" if tensors[0] == "MatMul_0_out" else "axol1tl_v1"
    made = project(BY_NAME[name].model(), tmp_path, input_type="fixed<8,6>", outputs=tensors)
    assert [o.name for o in made.graph.outputs] == list(tensors)
    assert [verify(made, level, 100).status for level in ("reference", "netlist")] == ["passed", "passed"]


def test_softmax_output_carries_the_logits_and_says_so(tmp_path: Path) -> None:
    made = project(BY_NAME["jet_tagger"].model(), tmp_path, input_type="fixed<8,4>", outputs=("global_out",))
    assert any("Softmax_0" in note and "logits" in note for note in made.manifest["notes"])
    assert verify(made, "reference", 50).status == "passed"


# -- inputs without a type -----------------------------------------------------------------------------------------------


def quantised_input(before: str, **attributes: object) -> ModelProto:
    """An operator, a quantiser and a layer on an input [N, 2, 3]."""
    net = Net(seed=30)
    x = net.op(before, "x", *([net.const(3.0)] if before in ("Mul", "Sub") else []), **attributes)
    net.quant(net.op("Flatten", net.quant(x, 0.25, 4)), 0.5, 3, out="y")
    return net.model({"x": ["N", 2, 3]}, {"y": ["N", 6]})


def unbatched_input() -> ModelProto:
    """The batch axis is moved away before the quantiser."""
    net = Net(seed=31)
    x = net.quant(net.op("Transpose", "x", perm=[1, 0]), 0.25, 4)
    net.op("Transpose", x, perm=[1, 0], out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 4]})


def floored_input() -> ModelProto:
    """No Quant, but Clip and Floor make codes of the input."""
    net = Net(seed=32)
    x = net.op("Floor", net.op("Clip", "x", net.const(-3.5), net.const(6.0)))
    net.op("MatMul", x, net.weight(4, 3), out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


@pytest.mark.parametrize("model", [
    quantised_input("Mul"), quantised_input("Sub"), quantised_input("Relu"), quantised_input("Transpose", perm=[0, 2, 1]),
    unbatched_input(), floored_input()], ids=["mul", "sub", "relu", "transpose", "unbatched", "floor"])
def test_host_quantises_what_comes_before_the_port(model: ModelProto, tmp_path: Path) -> None:
    made, file = project(model, tmp_path), tmp_path / "data.npz"
    (op,) = made.graph.input_ops
    np.savez(file, x=np.random.RandomState(0).uniform(-4, 8, (VECTORS, *op.type.shape)))
    for given in ({"vectors": VECTORS}, {"data": file}):
        for level in ("reference", "netlist"):
            assert verify(made, level, **given).status == "passed"  # type: ignore[arg-type]


def test_host_that_quantises_wrongly_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, data_file = project(quantised_input("Mul"), tmp_path), tmp_path / "data.npz"
    np.savez(data_file, x=np.random.RandomState(0).uniform(-4, 8, (VECTORS, 2, 3)))
    right = data._encoded
    monkeypatch.setattr(data, "_encoded", lambda expr, x: right(expr, x - 0.05))
    result = verify(made, "reference", data=data_file)
    assert (result.status, result.first_mismatch and result.first_mismatch.node) == ("failed", "Quant_0")


def clipped_input() -> ModelProto:
    net = Net(seed=33)
    net.op("MatMul", net.op("Clip", "x", net.const(0.0), net.const(6.0)), net.weight(4, 3), out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


def two_quantisers() -> ModelProto:
    net = Net(seed=34)
    net.op("Add", net.quant("x", 0.25, 4), net.quant("x", 0.125, 6), out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 4]})


@pytest.mark.parametrize("model", [clipped_input(), two_quantisers()], ids=["clip", "two quantisers"])
def test_input_without_one_quantiser_needs_a_type(model: ModelProto, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"input 'x' has no type.*--input-type"):
        imported(model, tmp_path)
    made = project(model, tmp_path, input_type="fixed<9,4>")
    assert verify(made, "reference", VECTORS).status == "passed"


# -- what is refused -----------------------------------------------------------------------------------------------------


def float_weights() -> ModelProto:
    net = Net(seed=35)
    net.op("MatMul", net.quant("x", 0.25, 4), net.const(net.random.randn(4, 3)), out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


def softmax_inside() -> ModelProto:
    net = Net(seed=36)
    net.op("MatMul", net.op("Softmax", net.quant("x", 0.25, 4), axis=1), net.weight(4, 3), out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


def batch_norm_before_layer() -> ModelProto:
    net = Net(seed=37)
    net.op("MatMul", net.batch_norm(net.quant("x", 0.25, 4), 4, "bn", 1.0), net.weight(4, 3), out="y")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]})


@pytest.mark.parametrize(("model", "node", "words"), [
    (float_weights(), "MatMul_0", "no quantiser"), (softmax_inside(), "MatMul_0", "'Softmax_0'"),
    (batch_norm_before_layer(), "MatMul_0", "without a common unit")], ids=["float weights", "softmax", "batch norm"])
def test_refusals_name_node_and_remedy(model: ModelProto, node: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        imported(model, tmp_path)
    assert caught.value.node == node
    assert words in caught.value.reason
    assert caught.value.remedy
