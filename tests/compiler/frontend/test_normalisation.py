"""Softmax, LayerNormalization and divisions of tensors: what is computed, how close, what is kept or cut, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from judged import differing
from models import MODES, Array, Net, jet_tagger, layer_norm, quotient, softmax
from onnx import ModelProto, TensorProto, helper
from onnx_ops import compiled, model_of

from gatewright.compiler import verify as levels
from gatewright.compiler.driver import Compilation
from gatewright.compiler.frontend.standard import normalisation
from gatewright.compiler.project import write
from gatewright.compiler.verify import RealCodes, verify
from gatewright.errors import InternalError, UserError
from gatewright.sim.judge import Judge
from gatewright.sim.result import VerificationResult

VECTORS = 50


def feeds(c: Compilation, seed: int = 0, scale: float = 0.125) -> dict[str, Array]:
    """All lowest, all highest, then random real inputs on a fine grid, somewhat beyond the quantisers' ranges."""
    rng, result = np.random.RandomState(seed), {}
    for op in c.imported.graph.input_ops:
        x = rng.randint(-60, 61, (VECTORS, *op.type.shape)) * scale
        x[0], x[1], x[2] = -1000, 1000, 0
        result[op.name] = x.astype(np.float32)
    return result


def exact(model: ModelProto, folder: Path, **options: Any) -> Compilation:
    """Compiles; the judge computes the same codes."""
    c = compiled(model, folder, **options)
    assert differing(c.imported, model, feeds(c)) == []
    return c


# -- softmax -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "opset", "attributes"), [
    ((3,), 13, {}), ((3, 2), 13, {"axis": -2}), ((3, 2), 17, {"axis": 1}), ((2, 3), 13, {}), ((2, 3), 12, {}), ((2, 3), 12, {"axis": 2}),
    ((2, 3), 6, {"axis": -1}), ((1,), 13, {}), ((1, 3), 12, {"axis": 2})])
def test_softmax_axes(shape: tuple[int, ...], opset: int, attributes: Mapping[str, int], tmp_path: Path) -> None:
    """One axis; before opset 13 all axes from `axis` on, which is 1 unless given."""
    exact(softmax(opset, shape, **attributes), tmp_path)


def test_softmax_is_close_and_keeps_the_order(tmp_path: Path) -> None:
    """The proven bound, and never a larger code for a smaller operand."""
    for k, (step, bits, scale) in enumerate(((2.0**-8, 6, 0.25), (0.0039, 8, 0.0731), (2.0**-10, 14, 2.0**-10))):
        folder = tmp_path / str(k)
        folder.mkdir()
        c = exact(softmax(shape=(5,), bits=bits, scale=scale, step=step), folder)
        a, = c.imported.approximations.values()
        assert a.error * a.slope <= Fraction(1, 256)
        assert ("inner" in a.parameters) == (bits == 14)
        x = feeds(c, 3, scale)
        codes = Judge(folder / "model.onnx", {"Softmax_0_out": a.parameters}).run(x).codes("Quant_1_out")
        logits = Judge(folder / "model.onnx").run(x, ["Quant_0_out"]).codes("Quant_0_out")
        order = np.argsort(logits, axis=1, kind="stable")
        assert (np.diff(np.take_along_axis(codes, order, 1), axis=1) >= 0).all()
        assert (codes.max(axis=1) == np.take_along_axis(codes, logits.argmax(1)[:, None], 1)[:, 0]).all()
        real = np.exp(logits * np.float32(scale).astype(float))
        real /= real.sum(axis=1, keepdims=True)
        assert (np.abs(codes - np.minimum(real / np.float32(step), 255)) < 0.51).all()


def test_the_product_of_two_tables_never_rises(tmp_path: Path) -> None:
    """With the fewest bits for which that is so."""
    c = compiled(softmax(shape=(3,), bits=14, scale=2.0**-10), tmp_path)
    a, = c.imported.approximations.values()
    d = np.arange(1 << 13)
    x = np.stack([d, 0 * d + d[-1], 0 * d], axis=1)
    name = next(op.name for op in c.imported.graph.ops if op.name.endswith("out.exp"))
    powers = c.imported.graph.evaluate({"x": x}, [name])[name]
    assert (np.diff(powers[:, 0]) >= 0).all()
    assert powers[-1, 0] == 1 << a.parameters["bits"]
    with patch.object(normalisation, "MAX_PRODUCT", a.parameters["inner"] - 1):
        c = compiled(softmax(shape=(3,), bits=14, scale=2.0**-10), tmp_path)
    fewer, = c.imported.approximations.values()
    assert fewer.parameters["bits"] < a.parameters["bits"]


@pytest.mark.parametrize(("scale", "step"), [(1.3e-5, 1 / 65535), (3e-4, 1 / 65535), (3e-4, 2.0**-16)])
def test_sixteen_bits(scale: float, step: float, tmp_path: Path) -> None:
    """As many bits as tables and division have room for: a code is off by one at most."""
    net = Net()
    net.quant(net.op("Softmax", net.quant("x", scale, 16)), step, 16, signed=False, out="y")
    c = exact(net.model({"x": ["N", 5]}, {"y": ["N", 5]}), tmp_path)
    a, = c.imported.approximations.values()
    assert a.error * a.slope < 1


def test_bits_follow_from_the_quantiser(tmp_path: Path) -> None:
    """error * slope is just below 1 / 256 for every step; the import is done again for that."""
    for step, bits in ((2.0**-4, 14), (2.0**-8, 18), (2.0**-12, 22)):
        c = compiled(softmax(shape=(5,), step=step), tmp_path)
        a, = c.imported.approximations.values()
        assert a.parameters == {"bits": bits}
        assert a.error * a.slope == Fraction(1, 256)


def test_softmax_of_two_is_correctly_rounded(tmp_path: Path) -> None:
    c = exact(softmax(shape=(2,), bits=8), tmp_path)
    assert c.imported.approximations == {}


def test_equal_elements_share_alike_to_the_tie(tmp_path: Path) -> None:
    """1 / 4 of steps of 1 / 2: exactly half a step, which goes to the even code."""
    net = Net()
    net.quant(net.op("Softmax", net.quant("x", 0.25, 6)), 0.5, 4, out="y", name="q")
    c = exact(net.model({"x": ["N", 4]}, {"y": ["N", 4]}), tmp_path)
    port, = c.imported.graph.outputs
    assert c.imported.graph.evaluate({"x": np.full((1, 4), 7)})[port.value].tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("bias", [0, [0.125, -1, 0.5, 2]])
def test_offsets_along_the_axis(bias: Any, tmp_path: Path) -> None:
    """A bias without a quantiser behind it, and falling logits."""
    net = Net(seed=1)
    x = net.op("Add", net.op("Neg", net.quant("x", 0.25, 6)), net.const(bias))
    net.quant(net.op("Softmax", x), 2.0**-6, 6, signed=False, out="y")
    exact(net.model({"x": ["N", 4]}, {"y": ["N", 4]}), tmp_path)


def test_moved_before_its_quantisers(tmp_path: Path) -> None:
    """The finer one of two quantisers decides."""
    net = Net(seed=2)
    p = net.op("Softmax", net.quant("x", 0.25, 6), axis=1)
    net.quant(net.op("Transpose", p, perm=[0, 2, 1]), 2.0**-6, 6, signed=False, out="y")
    net.quant(net.op("Reshape", p, net.const([-1, 6], np.int64)), 2.0**-9, 9, signed=False, out="z")
    c = exact(net.model({"x": ["N", 3, 2]}, {"y": ["N", 2, 3], "z": ["N", 6]}), tmp_path)
    a, = c.imported.approximations.values()
    assert (a.slope, sorted(a.readers)) == (512, ["y", "z"])


@pytest.mark.parametrize("swap", [1, -1])
def test_weighted_by_a_tensor(swap: int, tmp_path: Path) -> None:
    """A product with a tensor of up to 2 takes one bit more."""
    net = Net(seed=6)
    x = net.quant("x", 0.25, 4)
    net.quant(net.op("Mul", *(net.op("Softmax", x), x)[::swap]), 2.0**-6, 8, out="y")
    c = exact(net.model({"x": ["N", 3]}, {"y": ["N", 3]}), tmp_path)
    a, = c.imported.approximations.values()
    assert a.slope == 128


@pytest.mark.parametrize("opset", [12, 13])
def test_qlinear_softmax(opset: int, tmp_path: Path) -> None:
    """Its opset is an attribute."""
    codes = {"z": helper.make_tensor("z", TensorProto.UINT8, [], [3]), "yz": helper.make_tensor("yz", TensorProto.INT8, [], [-128]),
             "s": np.float32(0.1), "ys": np.float32(1 / 256)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("QLinearSoftmax", ["q", "s", "z", "ys", "yz"], ["p"], "soft", domain="com.microsoft", axis=1, opset=opset),
             helper.make_node("DequantizeLinear", ["p", "ys", "yz"], ["y"])]
    model = model_of(nodes, {"x": (1, 3, 2)}, ["y"], codes, domains=["com.microsoft"])
    c = exact(model, tmp_path)
    assert list(c.imported.approximations) == ["p"]
    made = write(c, tmp_path / "out")
    assert verify(made, "reference", 60).reason == "'p': 0 of 360 codes are not the real function's own"


# -- cut or keep ---------------------------------------------------------------------------------------------------------


def test_the_last_softmax_is_kept_where_asked(tmp_path: Path) -> None:
    c = compiled(jet_tagger(), tmp_path, input_type="fixed<8,4>", softmax="keep", output_type="ufixed<8,0,RND_CONV,SAT>")
    assert c.imported.logits == {}
    assert [n for n in c.notes if "Softmax_0" in n and "algorithm" in n]
    result = verify(write(c, tmp_path / "out"), "reference", 60)
    assert (result.status, result.reason) == ("passed", "'global_out': 0 of 180 codes are not the real function's own")


def test_without_a_type_the_output_has_a_grid(tmp_path: Path) -> None:
    c = compiled(jet_tagger(), tmp_path, input_type="fixed<8,4>", softmax="keep")
    assert any("'Softmax_0'" in n and "2^-16" in n for n in c.notes)
    assert verify(write(c, tmp_path / "out"), "reference", 40).status == "passed"


def test_it_is_cut_by_default_and_other_words_are_refused(tmp_path: Path) -> None:
    assert compiled(jet_tagger(), tmp_path, input_type="fixed<8,4>").imported.logits.keys() == {"global_out"}
    with pytest.raises(UserError, match="maybe"):
        compiled(jet_tagger(), tmp_path, input_type="fixed<8,4>", softmax="maybe")


def test_verification_holds_the_bound(tmp_path: Path) -> None:
    """An algorithm that claims to be closer than it is: the codes are as specified, and still it is told."""
    made = write(compiled(softmax(shape=(5,), bits=8, scale=1 / 16), tmp_path), tmp_path / "out")
    made.manifest["approximations"]["Softmax_0_out"]["steps"] = "0"
    assert "0 of 300" in verify(made, "reference", 60).reason
    other = {"bits": 3}
    coarse = Judge(made.model.path, {"Softmax_0_out": other})
    made.manifest["approximations"]["Softmax_0_out"]["parameters"] = other
    assert verify(made, "reference", 60).status == "failed"
    trace = coarse.run({"x": np.random.RandomState(0).randint(-99, 99, (20, 5)) / 16})
    with pytest.raises(InternalError, match="more than its bound"):
        RealCodes(made, coarse).count(trace)


def test_verification_goes_in_pieces(tmp_path: Path) -> None:
    """What is found does not depend on how many vectors fit the memory."""
    made = write(compiled(softmax(shape=(5,), bits=8, scale=1 / 16), tmp_path), tmp_path / "out")

    def found(together: int) -> list[VerificationResult]:
        with patch.object(levels, "TOGETHER", together):
            return [replace(verify(made, "reference", count), seconds=0) for count in (60, 7)]
    right = found(1 << 24)
    assert found(1) == found(200) == right
    made.manifest["approximations"]["Softmax_0_out"]["parameters"] = {"bits": 3}
    wrong = found(1 << 24)
    assert wrong[0].status == "failed"
    assert wrong[0].first_mismatch
    assert found(1) == found(200) == wrong


# -- layer normalisation and division ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "attributes"), [
    ((6,), {}), ((2, 3), {"axis": -1}), ((2, 3), {"axis": 1}), ((2, 3), {"axis": -2, "epsilon": 0.5}), ((1,), {}), ((2,), {}),
    ((6,), {"scale": 0.0731}), ((6,), {"floats": False, "epsilon": 1e-12})])
def test_layer_normalisation(shape: tuple[int, ...], attributes: Mapping[str, Any], tmp_path: Path) -> None:
    c = exact(layer_norm(shape, **attributes), tmp_path)
    a, = c.imported.approximations.values()
    assert a.error * a.slope <= Fraction(1, 128)


def test_irrational_scales(tmp_path: Path) -> None:
    net = Net(seed=7)
    x = net.op("LayerNormalization", net.quant("x", 0.25, 5), net.const([1, -2, 0.5]))
    root = net.op("Sqrt", net.const([2, 3, 4]))
    net.quant(net.op("Mul", x, root), 2.0**-4, 8, out="y")
    net.quant(net.op("Div", net.op("Mul", net.quant("a", 0.25, 5), root), net.op("Add", net.quant("b", 0.5, 3, signed=False),
                                                                              net.const(0.25))), 0.125, 7, out="z")
    exact(net.model({"x": ["N", 3], "a": ["N", 3], "b": ["N", 3]}, {"y": ["N", 3], "z": ["N", 3]}, opset=17), tmp_path)


def test_division_of_wide_functions_of_one_tensor(tmp_path: Path) -> None:
    """Both quantisers read one sum of many codes; fused they are one function of it, which no table holds."""
    net = Net(seed=3)
    total = net.op("MatMul", net.quant("x", 2.0**-8, 12), net.weight(4, 4, 8, 2.0**-7))
    below = net.op("Add", net.quant(net.op("Relu", total), 0.25, 6, signed=False), net.const(1.0))
    net.quant(net.op("Div", net.quant(total, 0.125, 8), below), 0.25, 6, out="y")
    exact(net.model({"x": ["N", 4]}, {"y": ["N", 4]}), tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_constant_by_a_tensor_and_ratios_to_a_sum(mode: str, tmp_path: Path) -> None:
    net = Net(seed=4)
    x = net.op("Add", net.quant("x", 0.25, 5, signed=False), net.const(0.25))
    share = net.op("Div", x, net.op("ReduceSum", x, net.const([1], np.int64), keepdims=1))
    net.quant(share, 2.0**-5, 5, signed=False, mode=mode, out="y")
    net.quant(net.op("Div", net.const(3.0), x), 0.125, 6, mode=mode, out="z")
    exact(net.model({"x": ["N", 3]}, {"y": ["N", 3], "z": ["N", 3]}), tmp_path)


def unquantised(kind: str) -> ModelProto:
    net = Net(seed=5)
    x = net.quant("x", 0.25, 4)
    extra = [net.const(np.ones(4))] if kind == "LayerNormalization" else [net.op("Abs", x, name="above")] if kind == "Div" else []
    y = net.op(kind, x, *extra, name="node")
    net.op("MatMul", y, net.weight(4, 3), out="y", name="layer")
    return net.model({"x": ["N", 4]}, {"y": ["N", 3]}, opset=17)


@pytest.mark.parametrize(("kind", "node", "words"), [
    ("Softmax", "layer", "'node' that no quantiser follows"), ("LayerNormalization", "layer", "'node' that no quantiser follows"),
    ("Div", "node", r"its divisor can lie anywhere in 0\.\.")])
def test_refusals(kind: str, node: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        compiled(unquantised(kind), tmp_path)
    assert caught.value.node == node
    assert caught.value.remedy


def test_refused_parameters(tmp_path: Path) -> None:
    for attributes, words in (({"epsilon": 0.0}, "epsilon"), ({"scale": 2.0**40}, None), ({"scale": 2.0**-40}, "too wide")):
        if words is None:
            exact(layer_norm(**attributes), tmp_path)
        else:
            with pytest.raises(UserError, match=words):
                compiled(layer_norm(**attributes), tmp_path)
    with pytest.raises(UserError, match="too many of which matter"):
        compiled(softmax(bits=40, scale=2.0**-30), tmp_path)
    assert exact(quotient(), tmp_path).imported.approximations == {}
