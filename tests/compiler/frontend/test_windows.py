"""Convolutions and pools over their attributes, beside onnxruntime, on data where float32 is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_ops import model_of, same_as_onnxruntime

CONV = {
    "plain": ((3, 6, 5), (4, 3, 3, 2), {}),
    "1d": ((3, 9), (4, 3, 3), {}),
    "1d strided": ((3, 9), (4, 3, 3), {"strides": [2], "pads": [2, 1]}),
    "strides": ((2, 7, 6), (3, 2, 3, 3), {"strides": [2, 3]}),
    "dilations": ((2, 7, 7), (3, 2, 3, 2), {"dilations": [2, 3]}),
    "pads": ((2, 4, 5), (3, 2, 3, 3), {"pads": [1, 2, 0, 1]}),
    "pads wider than the input": ((1, 2, 2), (2, 1, 3, 3), {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    "same upper": ((2, 5, 6), (3, 2, 2, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    "same lower": ((2, 5, 6), (3, 2, 2, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "valid": ((2, 5, 6), (3, 2, 2, 4), {"auto_pad": "VALID", "strides": [2, 2]}),
    "groups": ((4, 5, 5), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ((4, 5, 5), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "depthwise multiplier": ((3, 5), (6, 1, 2), {"group": 3}),
    "pointwise": ((4, 3, 3), (5, 4, 1, 1), {}),
    "all at once": ((4, 9, 8), (4, 2, 3, 2), {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}),
}


@pytest.mark.parametrize("name", CONV)
@pytest.mark.parametrize("bias", [False, True])
def test_conv(name: str, bias: bool, tmp_path: Path) -> None:
    shape, weights, attributes = CONV[name]
    rng = np.random.default_rng(len(name))
    constants: dict[str, Any] = {"w": rng.integers(-7, 8, weights).astype(np.float32) / 4}
    if bias:
        constants["b"] = rng.integers(-9, 9, weights[0]).astype(np.float32) / 8
    node = helper.make_node("Conv", ["x", *constants], ["y"], "conv", **attributes)
    same_as_onnxruntime(model_of([node], {"x": (1, *shape)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 0]])
def test_conv_of_a_tensor_with_scale_and_offset_per_channel(pads: list[int], tmp_path: Path) -> None:
    """Padding is the real 0, so the offset counts only where a tap meets the input."""
    rng = np.random.default_rng(3)
    constants = {"s": np.array([0.5, -2, 3], np.float32).reshape(3, 1, 1), "o": np.array([1, 0.25, -3], np.float32).reshape(
        1, 3, 1, 1), "w": rng.integers(-3, 4, (2, 3, 2, 3)).astype(np.float32)}
    nodes = [helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node("Add", ["a", "o"], ["c"]),
             helper.make_node("Conv", ["c", "w"], ["y"], pads=pads)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 3, 4, 4)}, ["y"], constants), tmp_path)


def test_conv_of_a_tensor_with_an_offset_per_element(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    constants = {"o": rng.integers(-9, 9, (1, 2, 4, 4)).astype(np.float32) / 4,
                 "w": rng.integers(-3, 4, (2, 1, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Add", ["x", "o"], ["c"]), helper.make_node("Conv", ["c", "w"], ["y"], pads=[1, 1, 1, 1], group=2)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 2, 4, 4)}, ["y"], constants), tmp_path)


CONV_TRANSPOSE = {
    "plain": ((3, 4, 3), (3, 2, 3, 2), {}),
    "1d": ((3, 5), (3, 2, 3), {"strides": [2]}),
    "strides and pads": ((2, 4, 4), (2, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 0, 1], "output_padding": [1, 0]}),
    "groups": ((4, 3, 3), (4, 1, 2, 2), {"group": 2, "strides": [2, 1]}),
    "dilations": ((2, 4, 4), (2, 2, 3, 2), {"dilations": [2, 1], "strides": [1, 2]}),
    "output shape": ((2, 4, 4), (2, 2, 3, 3), {"strides": [2, 2], "output_shape": [8, 8]}),
    "same upper": ((2, 4, 4), (2, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
}


@pytest.mark.parametrize("name", CONV_TRANSPOSE)
def test_conv_transpose(name: str, tmp_path: Path) -> None:
    shape, weights, attributes = CONV_TRANSPOSE[name]
    rng = np.random.default_rng(len(name))
    constants = {"w": rng.integers(-7, 8, weights).astype(np.float32) / 4}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **attributes)
    same_as_onnxruntime(model_of([node], {"x": (1, *shape)}, ["y"], constants), tmp_path)


POOL = {
    "plain": ((2, 6, 4), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "1d": ((2, 9), {"kernel_shape": [3], "strides": [2]}),
    "overlapping": ((2, 5, 5), {"kernel_shape": [3, 2]}),
    "pads": ((2, 5, 5), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "ceil": ((2, 6, 5), {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    "ceil and pads": ((1, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    "ceil drops a window": ((1, 4, 4), {"kernel_shape": [1, 1], "strides": [2, 3], "ceil_mode": 1}),
    "same upper": ((2, 5, 4), {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((2, 5, 4), {"kernel_shape": [2, 3], "strides": [2, 1], "auto_pad": "SAME_LOWER"}),
    "dilations": ((2, 7, 7), {"kernel_shape": [2, 3], "dilations": [3, 2]}),
}


@pytest.mark.parametrize("name", POOL)
def test_max_pool(name: str, tmp_path: Path) -> None:
    shape, attributes = POOL[name]
    node = helper.make_node("MaxPool", ["x"], ["y"], "pool", **attributes)
    same_as_onnxruntime(model_of([node], {"x": (1, *shape)}, ["y"], {}), tmp_path)


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("padding_counts", [0, 1])
def test_average_pool(name: str, padding_counts: int, tmp_path: Path) -> None:
    shape, attributes = POOL[name]
    node = helper.make_node("AveragePool", ["x"], ["y"], "pool", count_include_pad=padding_counts, **attributes)
    same_as_onnxruntime(model_of([node], {"x": (1, *shape)}, ["y"], {}), tmp_path)


def test_average_pool_of_a_tensor_with_an_offset(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "o"], ["c"]),
             helper.make_node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 2, 3, 3)}, ["y"], {"o": np.float32(0.5)}), tmp_path)


@pytest.mark.parametrize("scales", [[1, 1], [-1, -2], [0.5, -1]])
def test_max_pool_of_a_function_that_rises_or_falls(scales: list[float], tmp_path: Path) -> None:
    """Per channel: where the function falls, the largest value comes from the smallest code. It stays pending."""
    s = np.array(scales, np.float32).reshape(1, 2, 1, 1)
    nodes = [helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2])]
    c = same_as_onnxruntime(model_of(nodes, {"x": (1, 2, 4, 4)}, ["y"], {"s": s}), tmp_path)
    pool = next(op for op in c.imported.graph.ops if op.kind == "extreme_pool")
    assert pool.largest == (0 if max(scales) < 0 else 1)  # type: ignore[attr-defined]
