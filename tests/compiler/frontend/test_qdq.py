"""QuantizeLinear, DequantizeLinear and the operators on quantised tensors, beside onnxruntime, on dyadic scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_ops import compiled, model_of, onnxruntime_outputs, real_outputs, same_as_onnxruntime

from gatewright.errors import UserError

MS = "com.microsoft"
TYPES = ["uint8", "int8", "uint16", "int16", "uint4", "int4"]


def integer(kind: str, values: Any) -> onnx.TensorProto:
    values = np.asarray(values)
    return helper.make_tensor(kind, getattr(TensorProto, kind.upper()), values.shape, values.reshape(-1).tolist())


def quantised(kind: str, scale: float, zero: int, prefix: str) -> dict[str, Any]:
    return {f"{prefix}s": np.float32(scale), f"{prefix}z": integer(kind, zero)}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("domain", ["", MS])
def test_quantise_and_dequantise(kind: str, domain: str, tmp_path: Path) -> None:
    """Ties go to even before the zero point is added, an odd one; both ends saturate."""
    if domain and kind.endswith("4"):
        pytest.skip("com.microsoft has QuantizeLinear of 4 bits in newer onnxruntime only")
    zero, scale = (3, 0.5) if "4" in kind or "8" in kind else (1001, 2.0**-7)
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"], domain=domain),
             helper.make_node("DequantizeLinear", ["q", "as", "az"], ["y"], domain=domain)]
    model = model_of(nodes, {"x": (1, 40)}, ["y"], quantised(kind, scale, zero, "a"), 21, [MS])
    same_as_onnxruntime(model, tmp_path, "fixed<12,9>" if scale > 0.1 else "fixed<18,10>")


def test_without_zero_point_the_type_is_uint8(tmp_path: Path) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s"], ["y"])]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 40)}, ["y"], {"s": np.float32(0.5)}), tmp_path, "fixed<12,9>")


def test_one_scale_and_zero_point_per_channel(tmp_path: Path) -> None:
    constants = {"s": np.array([0.5, 2, 0.25], np.float32), "z": integer("int8", [1, -3, 0])}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=-2)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 3, 5)}, ["y"], constants), tmp_path, "fixed<10,7>")


def test_clip_between_narrows_the_range(tmp_path: Path) -> None:
    constants = quantised("int8", 0.5, 0, "a") | {"lo": integer("int8", -7), "hi": integer("int8", 7)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]), helper.make_node("Clip", ["q", "lo", "hi"], ["c"]),
             helper.make_node("DequantizeLinear", ["c", "as", "az"], ["y"])]
    c = same_as_onnxruntime(model_of(nodes, {"x": (1, 30)}, ["y"], constants), tmp_path, "fixed<10,7>")
    assert c.graph.by_name[c.graph.outputs[0].value].type.common.width == 4


def test_the_port_carries_the_codes_of_a_first_quantiser(tmp_path: Path) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "as", "az"], ["d"]), helper.make_node("Neg", ["d"], ["y"])]
    model = model_of(nodes, {"x": (1, 9)}, ["y"], quantised("uint8", 0.5, 7, "a"))
    graph = compiled(model, tmp_path).imported.graph
    port, = graph.input_ops
    assert (port.type.common.lo, port.type.common.hi) == (0, 255)
    codes = np.arange(0, 252, 9).reshape(-1, 1) + np.arange(9)
    x = ((codes - 7) * 0.5).astype(np.float32)
    assert np.array_equal(real_outputs(graph, {"x": codes})["y"], onnxruntime_outputs(model, {"x": x})["y"])


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 1, 1, 1]}, {"pads": [2, 0, 1, 1], "dilations": [2, 1], "strides": [1, 2]}])
@pytest.mark.parametrize("per_channel", [False, True])
def test_conv_between_quantisers(attributes: dict[str, Any], per_channel: bool, tmp_path: Path) -> None:
    """uint8 data with a zero point: padding is the zero point's code; the weights are int8, per channel or not."""
    rng = np.random.default_rng(4)
    weights = {"w": integer("int8", rng.integers(-9, 9, (3, 2, 3, 3))),
               "ws": np.array([0.5, 0.25, 1], np.float32) if per_channel else np.float32(0.25),
               "wz": integer("int8", [0, 0, 0] if per_channel else 0)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "as", "az"], ["d"]),
             helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["k"], axis=0),
             helper.make_node("Conv", ["d", "k"], ["c"], **attributes),
             helper.make_node("QuantizeLinear", ["c", "bs", "bz"], ["r"]),
             helper.make_node("DequantizeLinear", ["r", "bs", "bz"], ["y"])]
    constants = weights | quantised("uint8", 0.5, 5, "a") | quantised("int8", 4, -3, "b")
    same_as_onnxruntime(model_of(nodes, {"x": (1, 2, 5, 5)}, ["y"], constants), tmp_path, "fixed<6,5>")


def around(nodes: list[onnx.NodeProto], result: str, constants: dict[str, Any], shape: tuple[int, ...], folder: Path,
           kind: str = "uint8") -> None:
    """The nodes read `q`, codes of the input, and give codes `result` of the scale and zero point `bs`, `bz`."""
    whole = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]), *nodes,
             helper.make_node("DequantizeLinear", [result, "bs", "bz"], ["y"])]
    constants = constants | quantised(kind, 0.5, 9, "a") | quantised(kind, 4, 3, "b")
    same_as_onnxruntime(model_of(whole, {"x": (1, *shape)}, ["y"], constants, 20, [MS]), folder, "fixed<6,5>")


def test_qlinear_conv(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    constants = {"w": integer("int8", rng.integers(-9, 9, (3, 2, 2, 2))), "ws": np.array([0.5, 0.25, 1], np.float32),
                 "wz": integer("int8", [0, 0, 0]), "bias": integer("int32", [100, -70, 3])}
    node = helper.make_node("QLinearConv", ["q", "as", "az", "w", "ws", "wz", "bs", "bz", "bias"], ["r"], pads=[1, 0, 0, 1])
    around([node], "r", constants, (2, 4, 4), tmp_path)


def test_qlinear_matmul(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    constants = {"w": integer("int8", rng.integers(-9, 9, (5, 3))), "ws": np.float32(0.5), "wz": integer("int8", 2)}
    node = helper.make_node("QLinearMatMul", ["q", "as", "az", "w", "ws", "wz", "bs", "bz"], ["r"])
    around([node], "r", constants, (5,), tmp_path)


@pytest.mark.parametrize("final", ["codes", "real"])
def test_qgemm(final: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    constants = {"w": integer("int8", rng.integers(-9, 9, (3, 5))), "ws": np.array([0.5, 2, 0.25], np.float32),
                 "wz": integer("int8", [0, 0, 0]), "bias": integer("int32", [10, -7, 3])}
    operands = ["q", "as", "az", "w", "ws", "wz", "bias"]
    if final == "codes":
        around([helper.make_node("QGemm", [*operands, "bs", "bz"], ["r"], domain=MS, transB=1)], "r", constants, (5,), tmp_path)
        return
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]),
             helper.make_node("QGemm", operands, ["y"], domain=MS, transB=1, alpha=0.5)]
    constants |= quantised("uint8", 0.5, 9, "a")
    same_as_onnxruntime(model_of(nodes, {"x": (1, 5)}, ["y"], constants, 20, [MS]), tmp_path, "fixed<6,5>")


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_qlinear_of_two(kind: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "cs", "cz"], ["p"]),
             helper.make_node(f"QLinear{kind}", ["q", "as", "az", "p", "cs", "cz", "bs", "bz"], ["r"], domain=MS)]
    around(nodes, "r", quantised("uint8", 0.25, 100, "c"), (8,), tmp_path)


def test_qlinear_pools_and_concat(tmp_path: Path) -> None:
    nodes = [helper.make_node("QLinearAveragePool", ["q", "as", "az", "bs", "bz"], ["p"], domain=MS, kernel_shape=[2, 2]),
             helper.make_node("QLinearConcat", ["bs", "bz", "p", "bs", "bz", "p", "as", "az"], ["r"], domain=MS, axis=1)]
    around(nodes, "r", {}, (2, 4, 4), tmp_path)


def test_matmul_integer(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    constants = quantised("uint8", 0.5, 9, "a") | {"w": integer("int8", rng.integers(-9, 9, (5, 3))), "wz": integer("int8", 1)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["q"]),
             helper.make_node("MatMulInteger", ["q", "w", "az", "wz"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=1)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 5)}, ["y"], constants), tmp_path, "fixed<6,5>")


def test_weights_in_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    constants = {"w": integer("int4", rng.integers(-8, 8, (6, 3))), "ws": 2.0 ** rng.integers(-2, 2, (3, 3)).astype(np.float32)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "ws"], ["k"], axis=0, block_size=2),
             helper.make_node("MatMul", ["x", "k"], ["y"])]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 6)}, ["y"], {**constants, "ws": constants["ws"].astype(np.float32)}, 21), tmp_path)


def test_a_scale_of_zero_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "as", "az"], ["y"], "quantise")]
    with pytest.raises(UserError, match="scale that is not positive") as error:
        compiled(model_of(nodes, {"x": (1, 3)}, ["y"], quantised("int8", 0, 0, "a")), tmp_path)
    assert error.value.node == "quantise"
