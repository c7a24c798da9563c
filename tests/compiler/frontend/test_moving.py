"""Operators that move elements, over their attributes, beside onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_ops import compiled, model_of, same_as_onnxruntime

from gatewright.errors import UserError


def i64(*values: int) -> Any:
    return np.array(values, np.int64)


MOVES: dict[str, tuple[str, tuple[int, ...], list[Any], dict[str, Any]]] = {
    "slice": ("Slice", (5, 6), [i64(1, -4), i64(4, 2**62), i64(1, 2)], {}),
    "slice backwards": ("Slice", (5, 6), [i64(-1, 4), i64(-(2**62), 0), i64(1, -1), i64(-2, -1)], {}),
    "slice without axes": ("Slice", (3, 4), [i64(0, 1, 2), i64(1, 3, 4)], {}),
    "pad": ("Pad", (2, 3), [i64(0, 1, 0, 0, 0, 2)], {}),
    "pad with a value": ("Pad", (2, 3), [i64(0, 1, 2, 0, 0, 1), np.float32(2.5)], {}),
    "pad with no code for the value": ("Pad", (2, 3), [i64(0, 1, 2, 0, 0, 1), np.float32(0.3125)], {}),
    "pad some axes": ("Pad", (2, 3), [i64(1, 2), np.float32(1), i64(-1)], {}),
    "pad crops": ("Pad", (4, 3), [i64(0, -1, 1, 0, -2, -1)], {}),
    "pad edge": ("Pad", (2, 3), [i64(0, 2, 1, 0, 0, 4)], {"mode": "edge"}),
    "pad reflect": ("Pad", (3, 4), [i64(0, 2, 3, 0, 1, 2)], {"mode": "reflect"}),
    "pad wrap": ("Pad", (3, 4), [i64(0, 2, 3, 0, 1, 2)], {"mode": "wrap"}),
    "gather": ("Gather", (3, 5), [i64(4, 0, -1, 0)], {"axis": 2}),
    "gather one": ("Gather", (3, 5), [np.array(2, np.int64)], {"axis": 1}),
    "gather a table of indices": ("Gather", (3, 5), [np.array([[0, 1], [2, 4]], np.int64)], {"axis": -1}),
    "gather over the batch": ("Gather", (3, 5), [np.array(0, np.int64)], {"axis": 0}),
    "expand": ("Expand", (3, 1), [i64(1, 3, 4)], {}),
    "expand rank": ("Expand", (3, 2), [i64(2, 1, 1, 2)], {}),
    "tile": ("Tile", (2, 3), [i64(1, 2, 3)], {}),
    "depth to space": ("DepthToSpace", (8, 2, 3), [], {"blocksize": 2}),
    "depth to space, columns first": ("DepthToSpace", (8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}),
    "space to depth": ("SpaceToDepth", (2, 4, 6), [], {"blocksize": 2}),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_elements(name: str, tmp_path: Path) -> None:
    kind, shape, operands, attributes = MOVES[name]
    constants = {f"c{k}": v for k, v in enumerate(operands)}
    node = helper.make_node(kind, ["x", *constants], ["y"], "move", **attributes)
    same_as_onnxruntime(model_of([node], {"x": (1, *shape)}, ["y"], constants), tmp_path, "fixed<5,3>")


@pytest.mark.parametrize("name", ["slice backwards", "pad with a value", "gather", "expand", "tile"])
def test_commutes_with_what_is_pending(name: str, tmp_path: Path) -> None:
    """A scale and an offset per channel and a ReLU move with their elements, and padding is not touched by them."""
    kind, shape, operands, attributes = MOVES[name]
    rng = np.random.default_rng(7)
    constants = {f"c{k}": v for k, v in enumerate(operands)}
    own = {"s": rng.integers(1, 5, (1, shape[0], 1)).astype(np.float32), "o": rng.integers(-9, 9, shape).astype(np.float32)}
    nodes = [helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node("Add", ["a", "o"], ["b"]),
             helper.make_node("Relu", ["b"], ["r"]), helper.make_node(kind, ["r", *constants], ["y"], **attributes)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, *shape)}, ["y"], constants | own), tmp_path)


def test_moves_a_tensor_that_is_broadcast(tmp_path: Path) -> None:
    """An operand of a sum may be smaller than the sum."""
    nodes = [helper.make_node("ReduceMax", ["x", "last"], ["m"]), helper.make_node("Sub", ["x", "m"], ["d"]),
             helper.make_node("Slice", ["d", "start", "end", "last"], ["y"])]
    constants = {"last": i64(-1), "start": i64(1), "end": i64(3)}
    same_as_onnxruntime(model_of(nodes, {"x": (1, 3, 4)}, ["y"], constants), tmp_path)


def test_the_sum_of_a_tensor_that_is_broadcast(tmp_path: Path) -> None:
    """It counts as often as it is repeated, and is added up once."""
    nodes = [helper.make_node("ReduceMax", ["x", "last"], ["m"]), helper.make_node("Mul", ["m", "s"], ["t"]),
             helper.make_node("Add", ["x", "t"], ["d"]), helper.make_node("ReduceSum", ["d", "axes"], ["y"], keepdims=0)]
    constants = {"last": i64(-1), "axes": i64(1, 2), "s": np.array([[[2], [1], [-3]]], np.float32)}
    same_as_onnxruntime(model_of(nodes, {"x": (1, 3, 4)}, ["y"], constants), tmp_path)


SPLITS = [((2, 1, 3), 1, 3, 6), ((2, 1), -1, 2, 4), (None, 1, 3, 6), (None, 1, 4, 7)]


@pytest.mark.parametrize(("split", "axis", "outputs", "size"), SPLITS)
def test_split(split: tuple[int, ...] | None, axis: int, outputs: int, size: int, tmp_path: Path) -> None:
    constants = {"sizes": i64(*split)} if split else {}
    names = [f"y{k}" for k in range(outputs)]
    attributes = {"axis": axis} if split else {"axis": axis, "num_outputs": outputs}
    node = helper.make_node("Split", ["x", *constants], names, **attributes)
    same_as_onnxruntime(model_of([node], {"x": (1, size, 3)}, names, constants), tmp_path)


RESIZE = [("asymmetric", "floor", (2.0, 2.0)), ("asymmetric", "round_prefer_ceil", (0.5, 1.5)), ("half_pixel", "floor", (2.0, 3.0)),
          ("half_pixel", "round_prefer_floor", (2.5, 2.0)), ("align_corners", "ceil", (2.0, 1.5)),
          ("pytorch_half_pixel", "round_prefer_ceil", (0.25, 2.0))]


@pytest.mark.parametrize(("coordinates", "nearest", "scales"), RESIZE)
def test_resize(coordinates: str, nearest: str, scales: tuple[float, float], tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], coordinate_transformation_mode=coordinates,
                            nearest_mode=nearest)
    constants = {"scales": np.array([1, 1, *scales], np.float32)}
    same_as_onnxruntime(model_of([node], {"x": (1, 2, 4, 4)}, ["y"], constants), tmp_path)


def test_resize_to_sizes_along_axes(tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], axes=[2, 3], coordinate_transformation_mode="asymmetric")
    same_as_onnxruntime(model_of([node], {"x": (1, 2, 3, 4)}, ["y"], {"sizes": i64(6, 8)}), tmp_path)


def test_upsample_of_an_old_opset(tmp_path: Path) -> None:
    node = helper.make_node("Upsample", ["x", "scales"], ["y"])
    constants = {"scales": np.array([1, 1, 2, 3], np.float32)}
    same_as_onnxruntime(model_of([node], {"x": (1, 2, 3, 2)}, ["y"], constants, opset=9), tmp_path)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat_of_tensors_with_other_scales_and_constants(axis: int, tmp_path: Path) -> None:
    constants = {"s": np.array([[[0.5], [-3]]], np.float32), "o": np.float32(0.25),
                 "k": np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 8}
    nodes = [helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node("Add", ["x", "o"], ["b"]),
             helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Concat", ["a", "k", "b", "r"], ["y"], axis=axis)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 2, 3)}, ["y"], constants), tmp_path)


def test_concat_over_the_batch(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Concat", ["x", "n"], ["c"], axis=0),
             helper.make_node("ReduceSum", ["c", "first"], ["y"], keepdims=1)]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 4)}, ["y"], {"first": i64(0)}), tmp_path)


def test_shapes_are_computed(tmp_path: Path) -> None:
    """A flatten as exporters write it, with what they compute it from."""
    nodes = [helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
             helper.make_node("ConstantOfShape", ["one"], ["rest"],
                              value=helper.make_tensor("v", TensorProto.INT64, [1], [-1])),
             helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
             helper.make_node("Reshape", ["x", "target"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    constants = {"zero": i64(0), "one": i64(1), "w": np.arange(12, dtype=np.float32).reshape(6, 2)}
    same_as_onnxruntime(model_of(nodes, {"x": ("batch", 2, 3)}, ["y"], constants), tmp_path)


REDUCTIONS = [(kind, axes, keep) for kind in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare")
              for axes, keep in (([1], 1), ([2, -1], 0), ([1, 2, 3], 1))]


@pytest.mark.parametrize(("kind", "axes", "keep"), REDUCTIONS)
def test_reductions(kind: str, axes: list[int], keep: int, tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node("Add", ["a", "o"], ["b"]),
             helper.make_node(kind, ["b", "axes"], ["y"], keepdims=keep)]
    constants = {"axes": i64(*axes), "s": np.array([1, -2], np.float32).reshape(1, 2, 1, 1), "o": np.float32(0.5)}
    same_as_onnxruntime(model_of(nodes, {"x": (1, 2, 4, 2)}, ["y"], constants), tmp_path, "fixed<5,4>")


@pytest.mark.parametrize("kind", ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"])
def test_reductions_of_all_axes_and_of_none(kind: str, tmp_path: Path) -> None:
    nodes = [helper.make_node(kind, ["x"], ["a"], keepdims=0), helper.make_node(kind, ["x"], ["n"], noop_with_empty_axes=1),
             helper.make_node("Add", ["a", "n"], ["y"])]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 4, 2)}, ["y"], {}), tmp_path)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(kind: str, tmp_path: Path) -> None:
    node = helper.make_node(kind, ["x"], ["y"])
    same_as_onnxruntime(model_of([node], {"x": (1, 3, 4, 3)}, ["y"], {}), tmp_path)


def test_wrapped_convolution_and_batch_norm(tmp_path: Path) -> None:
    """Unsqueeze-Conv-Squeeze, and batch norm between transposes, as exporters write them."""
    rng = np.random.default_rng(2)
    constants = {"one": i64(2), "w": rng.integers(-3, 4, (5, 4, 1)).astype(np.float32), "g": np.array([1, 2, -1, 3, 0.5], np.float32),
                 "b": np.zeros(5, np.float32), "m": np.arange(5, dtype=np.float32), "v": np.full(5, 4, np.float32)}
    nodes = [helper.make_node("Unsqueeze", ["x", "one"], ["u"]), helper.make_node("Conv", ["u", "w"], ["c"]),
             helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]), helper.make_node("Transpose", ["t"], ["n"], perm=[0, 2, 1]),
             helper.make_node("BatchNormalization", ["n", "g", "b", "m", "v"], ["z"], epsilon=0.0),
             helper.make_node("Squeeze", ["z", "one"], ["y"])]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 4)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_a_table_at_a_computed_index(scale: float, tmp_path: Path) -> None:
    """exp, sigmoid and the like, as trigger firmware has them; negative indices count from the end."""
    constants = {"table": (np.arange(16) ** 2 / 4).astype(np.float32), "s": np.float32(scale)}
    nodes = [helper.make_node("Floor", ["x"], ["f"]), helper.make_node("Mul", ["f", "s"], ["m"]),
             helper.make_node("Cast", ["m"], ["i"], to=TensorProto.INT64), helper.make_node("Gather", ["table", "i"], ["y"])]
    same_as_onnxruntime(model_of(nodes, {"x": (1, 20)}, ["y"], constants), tmp_path, "fixed<6,4>")


def test_an_index_beyond_the_table_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Floor", ["x"], ["f"]), helper.make_node("Cast", ["f"], ["i"], to=TensorProto.INT64),
             helper.make_node("Gather", ["table", "i"], ["y"], "lookup")]
    with pytest.raises(UserError, match="indices from -8 to 7") as error:
        compiled(model_of(nodes, {"x": (1, 2)}, ["y"], {"table": np.ones(5, np.float32)}), tmp_path, input_type="fixed<6,4>")
    assert error.value.node == "lookup"
