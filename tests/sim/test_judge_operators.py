"""Every operator of the judge over its attributes, against onnxruntime on values that float32 holds exactly."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from models import Array
from onnx import TensorProto, helper, numpy_helper

from gatewright.sim.judge import Judge

F, I8, U8, I64 = np.float32, np.int8, np.uint8, np.int64
MICROSOFT = "com.microsoft"


def ints(*shape: int, low: int = -3, high: int = 4, seed: int = 1) -> Array:
    return np.random.RandomState(seed).randint(low, high, shape)


def model_of(kind: str, x: Array, constants: list[Any], attributes: dict[str, Any], opset: int, outputs: int = 1,
             domain: str = "") -> onnx.ModelProto:
    """One node on x and constants; None is an omitted input."""
    names = ["" if c is None else f"c{i}" for i, c in enumerate(constants)]
    node = helper.make_node(kind, ["x", *names], [f"y{i}" for i in range(outputs)], "subject", domain=domain, **attributes)
    stored = [numpy_helper.from_array(np.asarray(c), n) for n, c in zip(names, constants, strict=True) if c is not None]
    declared = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape[1:])
    graph = helper.make_graph([node], "g", [declared], [onnx.ValueInfoProto(name=o) for o in node.output], stored)
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def onnxruntime_says(model: onnx.ModelProto, x: Array) -> list[list[Array]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return [session.run(None, {"x": sample}) for sample in x]


def compare(model: onnx.ModelProto, x: Array) -> None:
    """Every output, every sample, every element; shapes too."""
    trace = Judge(model).run({"x": x})
    for number, sample in enumerate(onnxruntime_says(model, x)):
        for output, want in zip(model.graph.output, sample, strict=True):
            got = trace.float32(output.name)[number]
            dropped = want.shape[:1] == (1,)
            assert got.shape == (want.shape[1:] if dropped else want.shape)
            np.testing.assert_array_equal(got, want.astype(F).reshape(got.shape))


Case = tuple[str, tuple[int, ...], list[Any], dict[str, Any], int]
"""Operator, shape of x in the model, further inputs, attributes, operator set."""
W = ints(4, 3, 3, 2)
IMAGE, LINE, ROW = (1, 3, 6, 7), (1, 3, 9), (1, 12)
CASES: dict[str, Case] = {
    "conv": ("Conv", IMAGE, [W.astype(F)], {}, 20),
    "conv_bias_pads": ("Conv", IMAGE, [W.astype(F), ints(4).astype(F)],
                       {"pads": [1, 0, 2, 1], "strides": [2, 1], "kernel_shape": [3, 2]}, 11),
    "conv_dilated": ("Conv", IMAGE, [W.astype(F)], {"dilations": [2, 3], "pads": [1, 2, 1, 2]}, 20),
    "conv_same_upper": ("Conv", IMAGE, [W.astype(F)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 20),
    "conv_same_lower": ("Conv", IMAGE, [W.astype(F)], {"auto_pad": "SAME_LOWER", "strides": [1, 3]}, 20),
    "conv_valid": ("Conv", IMAGE, [W.astype(F)], {"auto_pad": "VALID"}, 20),
    "conv_groups": ("Conv", (1, 4, 5, 5), [ints(6, 2, 2, 2).astype(F)], {"group": 2}, 20),
    "conv_depthwise": ("Conv", IMAGE, [ints(6, 1, 3, 3).astype(F)], {"group": 3, "pads": [1, 1, 1, 1]}, 20),
    "conv_1d": ("Conv", LINE, [ints(2, 3, 4).astype(F), ints(2).astype(F)], {"pads": [1, 2], "strides": [2]}, 20),
    "conv_3d": ("Conv", (1, 2, 4, 3, 4), [ints(3, 2, 2, 2, 2).astype(F)], {}, 20),
    "transposed": ("ConvTranspose", IMAGE, [ints(3, 4, 3, 2).astype(F), ints(4).astype(F)], {}, 20),
    "transposed_strides": ("ConvTranspose", IMAGE, [ints(3, 4, 3, 2).astype(F)],
                           {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 2], "dilations": [2, 1]}, 20),
    "transposed_groups": ("ConvTranspose", (1, 4, 5), [ints(4, 3, 2).astype(F)], {"group": 2, "strides": [2]}, 20),
    "transposed_wide_pads": ("ConvTranspose", (1, 3, 5), [ints(3, 2, 2).astype(F)], {"pads": [2, 3]}, 20),
    "transposed_shape": ("ConvTranspose", (1, 3, 5), [ints(3, 2, 3).astype(F)],
                         {"strides": [2], "output_shape": [10], "auto_pad": "SAME_UPPER"}, 20),
    "transposed_same": ("ConvTranspose", (1, 3, 5), [ints(3, 2, 4).astype(F)], {"strides": [3], "auto_pad": "SAME_LOWER"}, 20),
    "max_pool": ("MaxPool", IMAGE, [], {"kernel_shape": [2, 3], "strides": [2, 2]}, 20),
    "max_pool_pads": ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "dilations": [2, 1]}, 20),
    "max_pool_ceil": ("MaxPool", IMAGE, [], {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}, 20),
    "max_pool_ceil_ends": ("MaxPool", (1, 3, 5), [], {"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}, 20),
    "max_pool_same": ("MaxPool", LINE, [], {"kernel_shape": [4], "strides": [2], "auto_pad": "SAME_LOWER"}, 20),
    "average_pool": ("AveragePool", IMAGE, [], {"kernel_shape": [2, 4], "strides": [2, 1]}, 20),
    "average_pool_pads": ("AveragePool", IMAGE, [], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 1]}, 20),
    "average_pool_counted": ("AveragePool", IMAGE, [], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 1],
                                                        "count_include_pad": 1}, 20),
    "average_pool_ceil": ("AveragePool", (1, 2, 7, 7), [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 20),
    "average_pool_ceil_counted": ("AveragePool", (1, 2, 6, 6), [], {
        "kernel_shape": [4, 4], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1}, 20),
    "average_pool_dilated": ("AveragePool", (1, 2, 7, 7), [], {"kernel_shape": [2, 2], "dilations": [3, 2]}, 20),
    "average_pool_same": ("AveragePool", LINE, [], {"kernel_shape": [2], "strides": [2], "auto_pad": "SAME_UPPER"}, 20),
    "global_average": ("GlobalAveragePool", (1, 3, 4, 4), [], {}, 20),
    "global_max": ("GlobalMaxPool", IMAGE, [], {}, 20),
    "reduce_mean": ("ReduceMean", (1, 3, 4, 8), [I64([2, -1])], {"keepdims": 0}, 18),
    "reduce_mean_attribute": ("ReduceMean", (1, 3, 8), [], {"axes": [2]}, 13),
    "reduce_max": ("ReduceMax", IMAGE, [I64([1, 3])], {}, 18), "reduce_min": ("ReduceMin", IMAGE, [I64([2])], {}, 18),
    "reduce_product": ("ReduceProd", (1, 3, 4), [], {"axes": [2]}, 13),
    "reduce_squares": ("ReduceSumSquare", (1, 3, 4), [], {"axes": [1, 2]}, 13),
    "pad": ("Pad", IMAGE, [I64([0, 1, 2, 0, 0, 0, 1, 3]), F(1.5)], {}, 18),
    "pad_crop": ("Pad", IMAGE, [I64([0, 0, -1, 2, 0, -1, -2, 0])], {}, 18),
    "pad_axes": ("Pad", IMAGE, [I64([1, 2, 3, 4]), F(-2), I64([-1, 1])], {}, 18),
    "pad_attribute": ("Pad", LINE, [], {"pads": [0, 0, 1, 0, 0, 2], "value": 0.5}, 10),
    "pad_edge": ("Pad", IMAGE, [I64([0, 0, 2, 1, 0, 0, 1, 2])], {"mode": "edge"}, 18),
    "pad_reflect": ("Pad", IMAGE, [I64([0, 0, 2, 1, 0, 0, 1, 2])], {"mode": "reflect"}, 18),
    "slice": ("Slice", IMAGE, [I64([1, -2]), I64([3, 2**40]), I64([1, -1])], {}, 13),
    "slice_back": ("Slice", IMAGE, [I64([-1, 5]), I64([-100, 0]), I64([2, 3]), I64([-2, -1])], {}, 13),
    "slice_attributes": ("Slice", LINE, [], {"starts": [0, 2], "ends": [1, -1], "axes": [0, 2]}, 9),
    "gather_1d": ("Gather", IMAGE, [I64([2, -1, 0])], {"axis": 1}, 13),
    "expand": ("Expand", (1, 3, 1), [I64([2, 1, 5])], {}, 13), "tile": ("Tile", (1, 3, 2), [I64([1, 2, 3])], {}, 13),
    "depth_to_space": ("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2}, 13),
    "depth_to_space_crd": ("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}, 13),
    "space_to_depth": ("SpaceToDepth", (1, 2, 4, 6), [], {"blocksize": 2}, 13),
    **{f"resize_{place}_{nearest}": ("Resize", IMAGE, [None, F([1, 1, 2, 1.5])], {
        "coordinate_transformation_mode": place, "nearest_mode": nearest}, 13)
       for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
       for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")},
    "resize_sizes": ("Resize", IMAGE, [None, None, I64([1, 3, 3, 14])], {"nearest_mode": "floor",
                     "coordinate_transformation_mode": "asymmetric"}, 13),
    "upsample": ("Upsample", IMAGE, [F([1, 1, 2, 3])], {}, 9),
    "leaky_relu": ("LeakyRelu", IMAGE, [], {"alpha": 0.125}, 16), "abs": ("Abs", ROW, [], {}, 13),
    "prelu": ("PRelu", IMAGE, [F([0.5, -0.25, 2]).reshape(3, 1, 1)], {}, 16),
    "thresholded_relu": ("ThresholdedRelu", ROW, [], {"alpha": 0.5}, 10), "sign": ("Sign", ROW, [], {}, 13),
    "hard_sigmoid": ("HardSigmoid", ROW, [], {"alpha": 0.25, "beta": 0.5}, 6),
    "mod": ("Mod", ROW, [F([1.5])], {"fmod": 1}, 13), "sum": ("Sum", ROW, [F([1]), F([2])], {}, 13),
    "greater": ("Greater", ROW, [F(0.25)], {}, 13), "less": ("Less", ROW, [F(0.25)], {}, 13),
    "greater_equal": ("GreaterOrEqual", ROW, [F(0.25)], {}, 16), "less_equal": ("LessOrEqual", ROW, [F(0.25)], {}, 16),
    "equal": ("Equal", ROW, [F(0.25)], {}, 13), "cast_bool": ("Cast", ROW, [], {"to": TensorProto.BOOL}, 13),
    **{f"{kind}_{last}_{keep}": (kind, (1, 9, 2), [], {"axis": 1, "select_last_index": last, "keepdims": keep}, 13)
       for kind in ("ArgMax", "ArgMin") for last in (0, 1) for keep in (0, 1)},
    "einsum": ("Einsum", (2, 3, 4), [ints(4, 5, 2).astype(F)], {"equation": "abc, cda -> adb"}, 13),
    "einsum_sum": ("Einsum", (2, 3), [], {"equation": "ij->j"}, 13),
    "einsum_dots": ("Einsum", (2, 3, 4), [ints(1, 4, 5).astype(F), ints(5).astype(F)], {"equation": "...ij,...jk,k->...ki"}, 13),
    "einsum_dots_implicit": ("Einsum", (2, 3, 4), [ints(4, 5).astype(F)], {"equation": "...j,jk"}, 13),
    "einsum_implicit": ("Einsum", (2, 3), [ints(3, 4).astype(F), ints(4).astype(F)], {"equation": "ij,jk,k"}, 13),
}


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str) -> None:
    kind, shape, constants, attributes, opset = CASES[name]
    x = (ints(3, *shape, low=-12, high=13, seed=4) / 4).astype(F)
    compare(model_of(kind, x, constants, attributes, opset), x)


@pytest.mark.parametrize(("kind", "constants", "attributes", "opset", "outputs"), [
    ("Split", [], {"axis": 1}, 13, 2), ("Split", [I64([1, 6, 0])], {"axis": -1}, 13, 3),
    ("Split", [], {"axis": 1, "split": [1, 3]}, 11, 2), ("Split", [], {"axis": 2, "num_outputs": 3}, 18, 3),
    ("TopK", [I64([3])], {"axis": 2}, 11, 2), ("TopK", [I64([2])], {"axis": 1, "largest": 0}, 11, 2)])
def test_several_outputs(kind: str, constants: list[Any], attributes: dict[str, Any], opset: int, outputs: int) -> None:
    x = (ints(3, 1, 4, 7, low=-6, high=7) / 2).astype(F)
    compare(model_of(kind, x, constants, attributes, opset, outputs), x)


@pytest.mark.parametrize(("kind", "attributes"), [("Mod", {}), ("Mod", {"fmod": 1}), ("Div", {})])
def test_integers(kind: str, attributes: dict[str, Any]) -> None:
    x = ints(3, 1, 9, low=-20, high=21).astype(np.int32)
    compare(model_of(kind, x, [np.int32([3, -4, 5, -7, 1, 2, -2, 9, 6])], attributes, 14), x)


@pytest.mark.parametrize("shape", [(1, 4), (2, 1)])
def test_where_with_computed_conditions(shape: tuple[int, ...]) -> None:
    nodes = [helper.make_node("Greater", ["x", "c"], ["t"]), helper.make_node("Where", ["t", "x", "d"], ["y"])]
    stored = [numpy_helper.from_array(F(0), "c"), numpy_helper.from_array(F([[1, 2, 3, 4], [5, 6, 7, 8]]), "d")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [onnx.ValueInfoProto(name="y")], stored)
    x = ints(4, *shape).astype(F)
    compare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=10), x)


# Quantisation


TIES = (np.arange(-200, 200, dtype=F) / 4).reshape(1, 1, 100, 4)


@pytest.mark.parametrize("zero", [U8(3), I8(-3), np.uint16(5), np.int16(-5), None])
def test_quantize_linear_rounds_before_the_zero_point(zero: Any) -> None:
    compare(model_of("QuantizeLinear", TIES, [F(0.5), zero], {}, 21), TIES)


def test_quantize_linear_per_axis_and_by_output_type() -> None:
    compare(model_of("QuantizeLinear", TIES, [F([0.5, 0.25, 1, 2]), I8([0, 1, -2, 3])], {"axis": -1}, 13), TIES)
    compare(model_of("QuantizeLinear", TIES, [F(0.5)], {"output_dtype": TensorProto.INT16}, 21), TIES)
    compare(model_of("QuantizeLinear", TIES, [F(0.5), np.int16(3)], {}, 20, domain=MICROSOFT), TIES)
    scales = F(2.0) ** -ints(50, 4, low=0, high=3).astype(F)
    compare(model_of("QuantizeLinear", TIES[0], [scales, I8(ints(50, 4))], {"axis": 0, "block_size": 2}, 21), TIES[0])


@pytest.mark.parametrize("zero", [ml_dtypes.int4(3), ml_dtypes.uint4(5)])
def test_four_bits(zero: Any) -> None:
    """numpy has no such type, so onnxruntime has to dequantise again."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in (("s", F(0.5)), ("z", zero))]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, TIES.shape[1:])],
                              [onnx.ValueInfoProto(name="y")], stored)
    compare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), TIES)


@pytest.mark.parametrize(("scale", "zero", "attributes", "domain"), [
    (F(0.5), I8(-3), {}, ""), (F(0.5), None, {}, ""), (F([0.5, 0.25, 2]), I8([1, 2, 3]), {"axis": 1}, ""),
    (F([0.5, 0.25, 2, 1]), I8([1, 2, 3, 4]), {"axis": -1}, MICROSOFT)])
def test_dequantize_linear(scale: Any, zero: Any, attributes: dict[str, Any], domain: str) -> None:
    x = ints(2, 1, 3, 4, low=-128, high=128).astype(I8)
    compare(model_of("DequantizeLinear", x, [scale, zero], attributes, 20, domain=domain), x)


# Odd zero points: halves tell whether they are added before or after the rounding.
XS, WS, YS = F(0.5), F(0.25), F(2)
Q: dict[str, tuple[str, tuple[int, ...], list[Any], dict[str, Any], str]] = {
    "conv": ("QLinearConv", (1, 3, 5, 5), [XS, U8(7), ints(4, 3, 2, 2).astype(I8), F([0.25, 0.5, 1, 0.125]),
             I8([0, 0, 0, 0]), YS, U8(9), np.int32([4, -8, 12, 3])], {"pads": [1, 1, 0, 0]}, ""),
    "matmul": ("QLinearMatMul", (2, 4), [XS, U8(7), ints(4, 3).astype(I8), WS, I8(1), YS, U8(9)], {}, ""),
    "gemm": ("QGemm", (2, 4), [XS, U8(7), ints(3, 4).astype(I8), F([0.25, 0.5, 1]), I8([0, 0, 0]), np.int32([5, -6, 7]), YS,
             U8(9)], {"transB": 1}, MICROSOFT),
    "gemm_real": ("QGemm", (2, 4), [XS, U8(7), ints(4, 3).astype(I8), WS, I8(0), np.int32([5, -6, 7])], {}, MICROSOFT),
    "add": ("QLinearAdd", (2, 4), [XS, U8(7), ints(2, 4, low=0).astype(U8), WS, U8(1), F(1), U8(9)], {}, MICROSOFT),
    "mul": ("QLinearMul", (2, 4), [XS, U8(7), ints(2, 4, low=0).astype(U8), WS, U8(1), YS, U8(9)], {}, MICROSOFT),
    "leaky": ("QLinearLeakyRelu", (2, 4), [XS, U8(99), F(0.25), U8(9)], {"alpha": 0.5}, MICROSOFT),
    "average": ("QLinearAveragePool", (1, 2, 4, 4), [XS, U8(7), F(0.25), U8(9)], {"kernel_shape": [2, 2]}, MICROSOFT),
    "average_last": ("QLinearAveragePool", (1, 4, 4, 2), [XS, U8(7), F(0.25), U8(9)],
                     {"kernel_shape": [2, 2], "channels_last": 1}, MICROSOFT),
    "global": ("QLinearGlobalAveragePool", (1, 2, 4, 4), [XS, U8(7), F(0.25), U8(9)], {"channels_last": 0}, MICROSOFT),
    "matmul_integer": ("MatMulInteger", (2, 4), [ints(4, 3).astype(I8), U8(7), I8([1, 2, 3])], {}, ""),
    "conv_integer": ("ConvInteger", (1, 3, 5, 5), [ints(4, 3, 2, 2).astype(U8), U8(7), U8(2)], {"strides": [2, 1]}, ""),
}


@pytest.mark.parametrize("name", Q)
def test_operators_on_quantised_tensors(name: str) -> None:
    kind, shape, constants, attributes, domain = Q[name]
    x = ints(4, *shape, low=0, high=256).astype(U8)
    compare(model_of(kind, x, constants, attributes, 20, domain=domain), x)


def test_quantised_concat() -> None:
    node = helper.make_node("QLinearConcat", ["ys", "yz", "x", "as", "az", "b", "bs", "bz"], ["y"], axis=1, domain=MICROSOFT)
    values = {"ys": F(0.5), "yz": U8(3), "as": F(0.25), "az": U8(4), "b": U8([[1, 2], [200, 3]]), "bs": F(1), "bz": U8(7)}
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in values.items()]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, [2, 3])],
                              [onnx.ValueInfoProto(name="y")], stored)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
    compare(helper.make_model(graph, opset_imports=imports, ir_version=10), ints(3, 2, 3, low=0, high=256).astype(U8))
