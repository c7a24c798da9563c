"""ArgMax, ArgMin and TopK over their attributes, beside the judge and onnxruntime: data with many ties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from judged import differing
from models import Net
from onnx import helper
from onnx_ops import compiled, model_of, random_inputs, same_as_judge, same_as_onnxruntime

from gatewright.compiler.driver import Compilation
from gatewright.errors import UserError

FEW = "fixed<3,2>"


def both(nodes: list[onnx.NodeProto], shape: tuple[int, ...], outputs: list[str], constants: dict[str, Any], folder: Path,
         opset: int = 20) -> Compilation:
    model = model_of(nodes, {"x": (1, *shape)}, outputs, constants, opset)
    same_as_onnxruntime(model, folder, FEW)
    return same_as_judge(model, folder, FEW)


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize(("shape", "attributes"), [
    ((7,), {"axis": 1}), ((7,), {"axis": -1, "keepdims": 0}), ((3, 4), {"axis": 1}), ((3, 4), {"axis": -1, "keepdims": 0}),
    ((3,), {}), ((3,), {"keepdims": 0}), ((1, 3), {"axis": 1}), ((2, 5, 3), {"axis": 2, "keepdims": 0})])
def test_place_of_the_extreme(kind: str, last: int, shape: tuple[int, ...], attributes: dict[str, Any], tmp_path: Path) -> None:
    node = helper.make_node(kind, ["x"], ["y"], select_last_index=last, **attributes)
    both([node], shape, ["y"], {}, tmp_path)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(("shape", "k", "axis"), [((6,), 1, -1), ((6,), 3, 1), ((4, 3), 2, 1), ((4, 3), 3, -1), ((9,), 9, 1)])
def test_top_k(shape: tuple[int, ...], k: int, axis: int, largest: int, tmp_path: Path) -> None:
    node = helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=axis, largest=largest)
    both([node], shape, ["v", "i"], {"k": np.array([k], np.int64)}, tmp_path)


def test_top_k_of_operator_set_1(tmp_path: Path) -> None:
    both([helper.make_node("TopK", ["x"], ["v", "i"], k=2)], (5,), ["v", "i"], {}, tmp_path, 9)


def test_one_of_the_outputs(tmp_path: Path) -> None:
    k = {"k": np.array([2], np.int64)}
    for output in ("v", "i"):
        c = both([helper.make_node("TopK", ["x", "k"], ["v", "i"])], (5,), [output], k, tmp_path)
        assert [op.kind for op in c.graph.ops] == ["input", "top_k"]


def test_values_and_places_share_their_network(tmp_path: Path) -> None:
    k = {"k": np.array([3], np.int64)}
    rows = [len(both([helper.make_node("TopK", ["x", "k"], ["v", "i"])], (8,), outputs, k, tmp_path).design.kernels[0].netlist)
            for outputs in (["v", "i"], ["i"])]
    assert rows[0] - rows[1] <= 3  # the slices that are the values


PENDING: dict[str, tuple[list[tuple[str, Any]], tuple[int, ...], int]] = {
    "bias per class": ([("Add", [0.25, 0.0, -0.25, 0.5])], (4,), 1),
    "float bias per class": ([("Add", [0.1, 0.0, -0.3, 0.5])], (4,), 1),
    "falling": ([("Mul", -0.5)], (4,), 1),
    "falling with bias": ([("Mul", -0.5), ("Add", [0.3, 0.1, -0.2, 0.0])], (4,), 1),
    "rising and falling": ([("Mul", [1.0, -0.5, 0.25, -1.0])], (4,), 1),
    "rising, falling and constant rows": ([("Mul", [[1.0], [-0.5], [0.0]])], (3, 4), 2),
    "rising, falling and constant rows with bias": ([("Mul", [[1.0], [-0.5], [0.0]]), ("Add", [0.5, 0.3, -2.0])], (3, 3), 2),
    "rising and falling rows with bias": ([("Mul", [[1.0], [-0.5]]), ("Add", [0.5, 0.25, 0.0])], (2, 3), 2),
    "rectified": ([("Sub", 0.5), ("Relu", None)], (4,), 1),
    "thirds": ([("Mul", [[0.5], [3.0]]), ("Add", [1.0, 2.0, 4.0])], (2, 3), 1),
}


@pytest.mark.parametrize("kind", ["ArgMax", "TopK"])
@pytest.mark.parametrize("name", PENDING)
def test_what_is_pending_counts(name: str, kind: str, tmp_path: Path) -> None:
    """Scales and offsets before the node, ties after a ReLU. The judge decides: float32 is not exact for all of them."""
    steps, shape, axis = PENDING[name]
    constants: dict[str, Any] = {"k": np.array([2], np.int64)}
    nodes, x = [], "x"
    for number, (op, value) in enumerate(steps):
        constants |= {} if value is None else {f"c{number}": np.array(value, np.float32)}
        nodes.append(helper.make_node(op, [x] if value is None else [x, f"c{number}"], [x := f"t{number}"]))
    outputs = ["v", "i"] if kind == "TopK" else ["i"]
    operands = [x, "k"] if kind == "TopK" else [x]
    nodes.append(helper.make_node(kind, operands, outputs, axis=axis))
    same_as_judge(model_of(nodes, {"x": (1, *shape)}, outputs, constants), tmp_path, FEW)


def test_float_biases_cost_few_bits(tmp_path: Path) -> None:
    """Only their order counts: two bits for four rests, not the two dozen of their common unit."""
    nodes = [helper.make_node("Add", ["x", "c"], ["t"]), helper.make_node("ArgMax", ["t"], ["y"], axis=1)]
    constants = {"c": np.array([0.1, 0.017, -0.3, 0.5], np.float32)}
    c = same_as_judge(model_of(nodes, {"x": (1, 4)}, ["y"], constants), tmp_path, FEW)
    source = c.graph.by_name[c.graph.ops[-1].inputs[0]]
    assert source.type.widths.max() <= 3 + 2 + 1


def test_of_constants(tmp_path: Path) -> None:
    """Folded: the places and the values become an offset."""
    table = np.array([[3, 1, 3, 0], [2, 2, 5, 5]], np.float32)
    nodes = [helper.make_node("ArgMax", ["t"], ["a"], axis=1, select_last_index=1), helper.make_node("ArgMin", ["t"], ["b"], axis=1),
             helper.make_node("TopK", ["t", "k"], ["v", "i"], axis=1, largest=0),
             *(helper.make_node("Cast", [n], [f"{n}f"], to=1) for n in "abi"),
             helper.make_node("Add", ["x", "af"], ["p"]), helper.make_node("Add", ["p", "bf"], ["q"]),
             helper.make_node("Add", ["q", "v"], ["r"]), helper.make_node("Add", ["r", "if"], ["y"])]
    both(nodes, (2, 3), ["y"], {"t": table, "k": np.array([3], np.int64)}, tmp_path)


@pytest.mark.parametrize(("node", "words"), [
    (helper.make_node("ArgMax", ["x"], ["y"], "subject", axis=2), "axis 2"),
    (helper.make_node("TopK", ["x", "k"], ["y", "i"], "subject"), "9 of 4"),
    (helper.make_node("TopK", ["x", "x"], ["y", "i"], "subject"), "its k"),
])
def test_refusals(node: onnx.NodeProto, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as error:
        compiled(model_of([node], {"x": (1, 4)}, ["y"], {"k": np.array([9], np.int64)}), tmp_path, input_type=FEW)
    assert error.value.node == "subject"


SOFTMAXES = [(13, (5,), {}, {"axis": -1}), (13, (3, 4), {"axis": 2}, {"axis": -1, "keepdims": 0}), (13, (3, 4), {"axis": -2}, {"axis": 1}),
             (11, (3, 2), {}, {"axis": 2}), (11, (4,), {}, {"axis": 1})]


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(("opset", "shape", "inner", "outer"), SOFTMAXES, ids=str)
def test_of_a_softmax(kind: str, opset: int, shape: tuple[int, ...], inner: dict[str, Any], outer: dict[str, Any], tmp_path: Path) -> None:
    """Along its axis it is that of the logits: nothing else is computed."""
    nodes = [helper.make_node("Softmax", ["x"], ["p"], **inner), helper.make_node(kind, ["p"], ["y"], **outer)]
    c = both(nodes, shape, ["y"], {}, tmp_path, opset)
    assert "top_k" in [op.kind for op in c.graph.ops]
    assert len(c.graph.ops) <= 3
    assert not c.imported.approximations


def test_of_a_softmax_that_others_read(tmp_path: Path) -> None:
    """Its codes tie where the logits do not; the place is that of the largest logit."""
    net = Net(seed=2)
    p = net.op("Softmax", "x")
    net.quant(p, 0.25, 3, signed=False, out="codes")
    net.op("ArgMax", p, axis=1, out="y")
    c = same_as_judge(net.model({"x": ["N", 4]}, {"codes": ["N", 4], "y": ["N", 1]}), tmp_path, "fixed<8,2>")
    x = np.array([[1, 2, 3, 4]])
    values = c.graph.evaluate({"x": x})
    found = {o.name: values[o.value] for o in c.graph.outputs}
    assert len(set(found["codes"][0].tolist())) == 1
    assert found["y"].item() == 3


def test_of_a_softmax_along_another_axis(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["p"], axis=2), helper.make_node("ArgMax", ["p"], ["y"], axis=1)]
    with pytest.raises(UserError, match="no quantiser follows"):
        compiled(model_of(nodes, {"x": (1, 3, 4)}, ["y"], {}), tmp_path, input_type=FEW)


def test_of_a_softmax_with_a_type(tmp_path: Path) -> None:
    """Then its codes count."""
    nodes = [helper.make_node("Softmax", ["x"], ["p"]), helper.make_node("ArgMax", ["p"], ["y"], axis=1)]
    types = {"p": "ufixed<2,0,TRN,SAT>"}
    model = model_of(nodes, {"x": (1, 4)}, ["y"], {})
    c = compiled(model, tmp_path, input_type="fixed<8,2>", tensor_types=types)
    assert differing(c.imported, model, random_inputs(c.imported.graph)[1], types) == []
    place, = c.graph.evaluate({"x": np.array([[1, 2, 3, 4]])}).values()
    assert place.item() == 2  # the first of the two with the largest code
