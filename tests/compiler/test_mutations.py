"""One wrong weight, scale or rounding mode in a model of every family: verification fails, and names the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import CASES, Net, mutate, weight_quantizers
from onnx import ModelProto, NodeProto, numpy_helper

from gatewright.compiler import verify
from gatewright.compiler.driver import compile_model
from gatewright.compiler.options import Options
from gatewright.compiler.project import write
from gatewright.sim.judge import Judge

VECTORS = 200
QUANTISERS = ("Quant", "BipolarQuant", "Trunc", "MultiThreshold", "QuantizeLinear", "QLinearConv", "QLinearMatMul", "Floor", "ArgMax",
              "TopK")


def linear(net: Net, x: str, scale: float, zero: int) -> str:
    """QuantizeLinear and DequantizeLinear of one tensor."""
    parameters = net.const(scale), net.const(zero, np.uint8)
    return net.op("DequantizeLinear", net.op("QuantizeLinear", x, *parameters), *parameters)


def qdq_conv() -> ModelProto:
    """What onnxruntime's static quantisation writes: int8 weights per channel, a convolution, a pool."""
    net = Net(seed=50)
    stored = net.const(net.integers(-60, 60, 3, 2, 2, 2), np.int8)
    weight = net.op("DequantizeLinear", stored, net.const([0.01, 0.02, 0.015]), net.const([0, 0, 0], np.int8), axis=0)
    x = net.op("MaxPool", net.op("Conv", linear(net, "x", 0.05, 120), weight), kernel_shape=[2, 2])
    net.op("Flatten", linear(net, x, 0.04, 90), out="y")
    return net.model({"x": ["N", 2, 4, 4]}, {"y": ["N", 12]})


def qlinear() -> ModelProto:
    """Operators on quantised tensors."""
    net = Net(seed=51)
    parameters = net.const(0.05), net.const(120, np.uint8)
    codes = net.op("QuantizeLinear", "x", *parameters)
    weight = net.const(net.integers(-60, 60, 6, 4), np.int8), net.const(0.01), net.const(0, np.int8)
    result = net.const(0.02), net.const(99, np.uint8)
    net.op("DequantizeLinear", net.op("QLinearMatMul", codes, *parameters, *weight, *result), *result, out="y")
    return net.model({"x": ["N", 6]}, {"y": ["N", 4]})


def channels_last() -> ModelProto:
    """QONNX's channels-last convolution and thresholds."""
    net = Net(seed=52)
    weight = net.quant(net.const(net.integers(-3, 3, 3, 2, 2, 2) / 4), 0.25, 3)
    x = net.op("Conv", net.quant("x", 0.25, 4), weight, domain="qonnx.custom_op.channels_last")
    net.op("MultiThreshold", x, net.const([[-2, -0.5, 0.25, 1.5]]), domain=net.domain, out_dtype="INT4", data_layout="NHWC", out="y")
    model = net.model({"x": ["N", 3, 3, 2]}, {"y": ["N", 2, 2, 3]})
    model.opset_import.append(onnx.helper.make_opsetid("qonnx.custom_op.channels_last", 1))
    return model


TWINS = {case.name: case for case in CASES}
FAMILIES: dict[str, tuple[Callable[[], ModelProto], str | None]] = {
    **{name: (TWINS[name].model, TWINS[name].input_type) for name in (
        "jet_tagger", "axol1tl_v1", "axol1tl_v3", "tfc", "one_bit", "per_channel", "residual", "attention", "gemm_alpha_float",
        "softmax_last", "layer_norm_plain", "quotient_ROUND")},
    "qdq_conv": (qdq_conv, None), "qlinear": (qlinear, None), "channels_last": (channels_last, "fixed<6,2>")}


ROUNDED = {"axol1tl_v1": "Quant_2", "axol1tl_v3": "Quant_9"}
"""The quantiser of a product, and one whose operands tie: the last ones cut what is cut already."""


def changed(model: ModelProto, name: str, change: Callable[[Any], Any]) -> ModelProto:
    """A copy with another initialiser."""
    copy = ModelProto.FromString(model.SerializeToString())
    stored = next(i for i in copy.graph.initializer if i.name == name)
    values = numpy_helper.to_array(stored)
    stored.CopyFrom(numpy_helper.from_array(np.asarray(change(values), values.dtype).reshape(values.shape), name))
    return copy


def wrong_weight(model: ModelProto) -> tuple[ModelProto, NodeProto] | None:
    """The first element of the first stored matrix by one code; the node that reads it."""
    matrices = [i.name for i in model.graph.initializer if len(i.dims) >= 2 and "MultiThreshold" not in reader(model, i.name).op_type]
    if weight_quantizers(model):
        node = next(n for n in model.graph.node if n.name == weight_quantizers(model)[0])
        return mutate(model, "weight", node.name), node
    if not matrices:
        return None

    def one_more(values: Any) -> Any:
        values = values.copy()
        values.flat[0] += 1
        return values
    return changed(model, matrices[0], one_more), reader(model, matrices[0])


def reader(model: ModelProto, name: str) -> NodeProto:
    return next(n for n in model.graph.node if name in n.input)


def of_data(model: ModelProto) -> set[str]:
    """Tensors that depend on the inputs."""
    stored = {i.name for i in model.graph.initializer}
    found = {i.name for i in model.graph.input} - stored
    for n in model.graph.node:
        if found & set(n.input):
            found |= set(n.output)
    return found


def wrong_scale(model: ModelProto) -> tuple[ModelProto, NodeProto] | None:
    """Twice the scale of the first quantiser of data behind another operator."""
    data = of_data(model)
    inputs = {i.name for i in model.graph.input}
    nodes = [n for n in model.graph.node if n.op_type in ("Quant", "QuantizeLinear") and n.input[0] in data - inputs]
    return (changed(model, nodes[0].input[1], lambda v: 2 * v), nodes[0]) if nodes else None


def wrong_rounding(model: ModelProto, name: str | None = None) -> tuple[ModelProto, NodeProto] | None:
    """Another rounding mode in that quantiser, or in the last one of data."""
    data = of_data(model)
    nodes = [n for n in model.graph.node if n.op_type == "Quant" and n.input[0] in data and n.name == (name or n.name)]
    return (mutate(model, "rounding", nodes[-1].name), nodes[-1]) if nodes else None


def first_seen(model: ModelProto, node: NodeProto) -> set[str]:
    """Nodes in which the difference may be seen first: the quantisers of data behind it, or what writes an output."""
    data, outputs = of_data(model), {o.name for o in model.graph.output}
    seen, waiting = set(), [node]
    while waiting:
        n = waiting.pop()
        codes = n.op_type in QUANTISERS and n.output[0] in data
        if codes or outputs & set(n.output):
            seen.add(n.name)
        if not codes:
            waiting += [m for m in model.graph.node if set(n.output) & set(m.input)]
    return seen


def wrong(name: str, kind: str, model: ModelProto) -> tuple[ModelProto, NodeProto] | None:
    if kind == "rounding":
        return wrong_rounding(model, ROUNDED.get(name))
    return wrong_weight(model) if kind == "weight" else wrong_scale(model)


MUTATIONS = [(name, kind) for name, (build, _) in FAMILIES.items() for kind in ("weight", "scale", "rounding")
             if wrong(name, kind, build())]
"""Not all families have rounding modes, or quantisers behind the first operator."""


@pytest.mark.parametrize(("name", "kind"), MUTATIONS)
def test_a_mutation_is_detected_and_named(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, input_type = FAMILIES[name]
    model = build()
    mutation = wrong(name, kind, model)
    assert mutation is not None
    mutant, node = mutation
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    project = write(compile_model(path, Options(input_type=input_type)), tmp_path / "out")
    assert verify.verify(project, "reference", VECTORS).status == "passed"
    monkeypatch.setattr(verify, "Judge", lambda _, *rest: Judge(mutant, *rest))
    result = verify.verify(project, "reference", VECTORS)
    assert result.status == "failed"
    assert result.first_mismatch is not None
    assert result.first_mismatch.node in first_seen(model, node)
