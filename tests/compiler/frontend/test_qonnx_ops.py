"""Trunc, MultiThreshold and the channels-last operators of QONNX, beside qonnx's executor, on dyadic data."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_ops import compiled, model_of, real_outputs
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

GENERAL, LAST = "qonnx.custom_op.general", "qonnx.custom_op.channels_last"
VECTORS = 6


def same_as_qonnx(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], folder: Path, input_type: str,
                  version: int = 1) -> Any:
    """`shapes` of all tensors that qonnx has to know."""
    for entry in model.opset_import:
        if entry.domain == GENERAL:
            entry.version = version
    graph = compiled(model, folder, input_type=input_type).imported.graph
    port, = graph.input_ops
    rng = np.random.default_rng(3)
    codes = rng.integers(port.type.lo, port.type.hi, (VECTORS, *port.type.shape), endpoint=True)
    got = real_outputs(graph, {port.name: codes})["y"]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, shapes["y"]))
    wrapped = ModelWrapper(model)
    for name, shape in shapes.items():
        wrapped.set_tensor_shape(name, list(shape))
    for k in range(VECTORS):
        x = (codes[k:k + 1] * 2.0 ** -port.type.frac).astype(np.float32)
        with patch.object(onnx, "IR_VERSION", 10):  # for the one-node models that qonnx makes
            want = execute_onnx(wrapped, {"x": x})["y"]
        assert np.array_equal(got[k].reshape(-1), want.astype(np.float32).reshape(-1))
    return graph


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "CEIL"])
@pytest.mark.parametrize("zero", [0, 4])
def test_trunc_version_1(mode: str, zero: int, tmp_path: Path) -> None:
    constants = {"s": np.float32(0.5), "z": np.float32(zero), "i": np.float32(8), "o": np.float32(5)}
    node = helper.make_node("Trunc", ["x", *constants], ["y"], domain=GENERAL, rounding_mode=mode)
    model = model_of([node], {"x": (1, 40)}, ["y"], constants, 20, [GENERAL])
    same_as_qonnx(model, {"y": (1, 40)}, tmp_path, "fixed<9,7>")


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND"])
@pytest.mark.parametrize(("signed", "narrow"), [(1, 0), (1, 1), (0, 0)])
def test_trunc_version_2(mode: str, signed: int, narrow: int, tmp_path: Path) -> None:
    constants = {"s": np.float32(0.5), "z": np.float32(8), "i": np.float32(8), "t": np.float32(4.5), "o": np.float32(4)}
    node = helper.make_node("Trunc", ["x", *constants], ["y"], domain=GENERAL, rounding_mode=mode, signed=signed, narrow=narrow)
    model = model_of([node], {"x": (1, 40)}, ["y"], constants, 20, [GENERAL])
    same_as_qonnx(model, {"y": (1, 40)}, tmp_path, "fixed<9,7>", version=2)


@pytest.mark.parametrize("shape", [(3,), (3, 2, 4)])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("scale", [1.0, -2.0])
def test_multi_threshold(shape: tuple[int, ...], per_channel: bool, scale: float, tmp_path: Path) -> None:
    """Thresholds on values of the tensor count; behind a falling scale too."""
    rng = np.random.default_rng(1)
    thresholds = np.sort(rng.integers(-20, 20, (3 if per_channel else 1, 7)) / 2, axis=1).astype(np.float32)
    nodes = [helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node(
        "MultiThreshold", ["a", "t"], ["y"], domain=GENERAL, out_scale=0.5, out_bias=-1.0, out_dtype="INT4")]
    model = model_of(nodes, {"x": (1, *shape)}, ["y"], {"s": np.float32(scale), "t": thresholds}, 20, [GENERAL])
    same_as_qonnx(model, {"a": (1, *shape), "y": (1, *shape)}, tmp_path, "fixed<5,4>")


def test_channels_last_conv_and_pool(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    constants = {"w": rng.integers(-5, 5, (4, 3, 2, 1)).astype(np.float32), "b": np.arange(4, dtype=np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], domain=LAST, kernel_shape=[3, 2], strides=[1, 2],
                              dilations=[1, 1], pads=[1, 0, 1, 1], group=2),
             helper.make_node("MaxPool", ["c"], ["y"], domain=LAST, kernel_shape=[2, 2], strides=[2, 1], pads=[0, 0, 0, 0])]
    model = model_of(nodes, {"x": (1, 6, 5, 2)}, ["y"], constants, 20, [LAST])
    graph = same_as_qonnx(model, {"c": (1, 6, 3, 4), "y": (1, 3, 2, 4)}, tmp_path, "fixed<4,3>")
    assert graph.by_name[graph.outputs[0].value].type.shape == (3, 2, 4)


def test_weights_that_are_graph_inputs_too(tmp_path: Path) -> None:
    """Old files list initialisers among the inputs; they stay constants."""
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    model = model_of([node], {"x": (1, 1, 4)}, ["y"], {"w": np.ones((1, 1, 2), np.float32)})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (1, 1, 2)))
    graph = compiled(model, tmp_path, input_type="fixed<4,3>").imported.graph
    assert [op.name for op in graph.input_ops] == ["x"]
