"""MatMul and Einsum: data by constants, data by data, over shapes and equations, beside the judge and onnxruntime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_ops import compiled, model_of, same_as_judge, same_as_onnxruntime

from gatewright.compiler.driver import Compilation
from gatewright.errors import UserError

Shape = tuple[int, ...]


def both(model: onnx.ModelProto, folder: Path) -> Compilation:
    same_as_onnxruntime(model, folder)
    return same_as_judge(model, folder)


def weights(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).integers(-5, 6, shape).astype(np.float32) / 4


def kinds(c: Compilation) -> Counter[str]:
    return Counter(op.kind for op in c.graph.ops)


def fed(shapes: dict[str, Shape]) -> tuple[list[onnx.NodeProto], dict[str, Shape], dict[str, Any]]:
    """Tensors of these shapes from inputs with a batch of 1: nodes, inputs, constants."""
    inputs = {f"in_{name}": shape if shape[:1] == (1,) else (1, *shape) for name, shape in shapes.items()}
    nodes = [helper.make_node("Reshape", [f"in_{name}", f"{name}_shape"], [name]) for name in shapes]
    return nodes, inputs, {f"{name}_shape": np.array(shape, np.int64) for name, shape in shapes.items()}


def data_by_data(node: onnx.NodeProto, x: Shape, y: Shape, offsets: bool = False) -> onnx.ModelProto:
    """The node reads p and q: the inputs as they are, or with an offset each, as zero points leave them."""
    nodes, inputs, constants = fed({"x": x, "y": y})
    if offsets:
        constants |= {"ox": np.float32(0.75), "oy": np.float32(-2.5)}
    nodes += [helper.make_node("Add", [n, f"o{n}"], [p]) if offsets else helper.make_node("Identity", [n], [p])
              for n, p in (("x", "p"), ("y", "q"))]
    return model_of([*nodes, node], inputs, ["z"], constants)


PRODUCTS: dict[str, tuple[Shape, Shape]] = {
    "batch": ((1, 3, 4), (1, 4, 2)),
    "heads": ((1, 2, 3, 4), (1, 2, 4, 2)),
    "one matrix for all heads": ((1, 2, 3, 4), (1, 1, 4, 2)),
    "lower rank": ((1, 2, 3, 4), (1, 4, 3)),
    "higher rank": ((1, 2, 4), (1, 3, 4, 2)),
    "heads against the batch": ((1, 3, 4), (3, 4, 2)),
    "matrices": ((1, 4), (4, 3)),
    "outer": ((1, 1), (1, 3)),
    "row by matrices": ((4,), (1, 2, 4, 3)),
    "matrices by column": ((1, 2, 3, 4), (4,)),
    "vectors": ((4,), (4,)),
    "matrix by column": ((1, 4), (4,)),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("offsets", [False, True])
def test_matmul_of_two_tensors(name: str, offsets: bool, tmp_path: Path) -> None:
    both(data_by_data(helper.make_node("MatMul", ["p", "q"], ["z"]), *PRODUCTS[name], offsets), tmp_path)


def test_offsets_are_added_once_per_row_and_column(tmp_path: Path) -> None:
    """(c + o)(d + p) summed: products of codes, and sums of the rows and columns; no addition per product."""
    c = both(data_by_data(helper.make_node("MatMul", ["p", "q"], ["z"]), (1, 3, 4), (1, 4, 2), True), tmp_path)
    tensors = {op.name: op for op in c.graph.ops if op.kind == "reduce_sum"}
    assert sorted(op.type.size for op in tensors.values()) == [2, 3, 6]
    assert [op.type.size for op in c.graph.ops if op.kind == "multiply"] == [24]


def test_a_tensor_by_itself(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    both(model_of(nodes, {"x": (1, 3, 2)}, ["y"], {}), tmp_path)


CONSTANTS: dict[str, tuple[Shape, Shape, bool]] = {
    "matrix": ((1, 3, 4), (4, 2), False),
    "column": ((1, 3, 4), (4,), False),
    "left": ((1, 4, 3), (2, 4), True),
    "left row": ((1, 4, 3), (4,), True),
    "left of a vector": ((4,), (3, 4), True),
    "matrices": ((1, 3, 2, 4), (3, 4, 2), False),
    "matrices with a batch of one": ((1, 3, 2, 4), (1, 3, 4, 2), False),
    "one matrix with a batch of one": ((1, 2, 4), (1, 4, 2), False),
    "data repeated": ((1, 2, 4), (3, 4, 2), False),
    "matrices on the left": ((1, 3, 4, 2), (3, 2, 4), True),
    "two batch axes": ((1, 2, 3, 2, 3), (2, 1, 3, 2), False),
    "vector": ((4,), (2, 4, 3), False),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_matmul_by_a_constant(name: str, tmp_path: Path) -> None:
    shape, constant, left = CONSTANTS[name]
    nodes, inputs, constants = fed({"x": shape})
    nodes += [helper.make_node("Add", ["x", "o"], ["p"]), helper.make_node("MatMul", ["w", "p"] if left else ["p", "w"], ["y"])]
    c = both(model_of(nodes, inputs, ["y"], constants | {"o": np.float32(0.5), "w": weights(*constant)}), tmp_path)
    assert kinds(c)["dense"] + kinds(c)["conv"] == 1


def test_several_matrices_are_one_convolution_with_groups(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    c = both(model_of(nodes, {"x": ("N", 3, 2, 4)}, ["y"], {"w": weights(3, 4, 2)}), tmp_path)
    assert [op.groups for op in c.graph.ops if op.kind == "conv"] == [3]  # type: ignore[attr-defined]


EQUATIONS: dict[str, list[Shape]] = {
    "bij,bjk->bik": [(1, 3, 4), (1, 4, 2)],
    "bij,bkj->bik": [(1, 3, 4), (1, 2, 4)],
    "bhqd,bhkd->bhqk": [(1, 2, 3, 2), (1, 2, 2, 2)],
    "bij,bij->b": [(1, 3, 2), (1, 3, 2)],
    "bi,bj->bij": [(1, 3), (1, 2)],
    "bi , bi -> bi": [(1, 3), (1, 3)],
    "bij,bjk": [(1, 3, 4), (1, 4, 2)],
    "...ij,...jk->...ik": [(1, 2, 3, 4), (1, 1, 4, 2)],
    "i...,i...->...": [(3, 1, 2), (3, 4, 1)],
    "bij->bji": [(1, 3, 4)],
    "bij->bi": [(1, 3, 4)],
    "b...->...": [(1, 3, 4)],
    "bij,bik,bjk->bi": [(1, 2, 2), (1, 2, 3), (1, 2, 3)],
    "bijc,bkc->bcjk": [(1, 2, 3, 2), (1, 4, 2)],
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_of_data(equation: str, tmp_path: Path) -> None:
    shapes = EQUATIONS[equation]
    names = ["x", "y", "z"][:len(shapes)]
    nodes, inputs, constants = fed(dict(zip(names, shapes, strict=True)))
    both(model_of([*nodes, helper.make_node("Einsum", names, ["r"], equation=equation)], inputs, ["r"], constants), tmp_path)


BY_CONSTANT: dict[str, tuple[Shape, Shape]] = {
    "bij,jk->bik": ((1, 3, 4), (4, 2)),
    "bij,jk->bki": ((1, 3, 4), (4, 2)),
    "bij,kij->bk": ((1, 3, 2), (4, 3, 2)),
    "bij,ijk->bik": ((1, 3, 4), (3, 4, 2)),
    "bhij,hjk->bhik": ((1, 2, 3, 4), (2, 4, 2)),
    "bhij,jhk->bkih": ((1, 2, 3, 4), (4, 2, 2)),
    "bij,ij->bij": ((1, 3, 4), (3, 4)),
    "bij,ij->b": ((1, 3, 4), (3, 4)),
    "bij,ij->bi": ((1, 3, 4), (3, 4)),
    "bi,k->bik": ((1, 3), (2,)),
    "...i,ij->...j": ((1, 3, 4), (4, 2)),
    "bij,kj->bi": ((1, 3, 4), (2, 4)),
    "bij,bjk->bik": ((1, 3, 4), (1, 4, 2)),
}


@pytest.mark.parametrize("equation", BY_CONSTANT)
def test_einsum_by_a_constant(equation: str, tmp_path: Path) -> None:
    shape, constant = BY_CONSTANT[equation]
    c = both(model_of([helper.make_node("Einsum", ["x", "w"], ["y"], equation=equation)], {"x": shape}, ["y"],
                      {"w": weights(*constant)}), tmp_path)
    assert not kinds(c)["multiply"]


def test_einsum_of_constants_is_a_constant(tmp_path: Path) -> None:
    nodes = [helper.make_node("Einsum", ["v", "w", "u"], ["m"], equation="ij,jk,k->ik"),
             helper.make_node("MatMul", ["x", "m"], ["y"])]
    both(model_of(nodes, {"x": (1, 3)}, ["y"], {"v": weights(3, 2), "w": weights(2, 4), "u": weights(4)}), tmp_path)


def test_a_batch_that_the_file_bakes_in(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "y"], ["m"]), helper.make_node("Einsum", ["m", "w"], ["z"], equation="nij,ijk->nik")]
    c = compiled(model_of(nodes, {"x": (7, 3, 4), "y": (7, 4, 2)}, ["z"], {"w": weights(3, 2, 5)}), tmp_path,
                 input_type="fixed<4,4>")
    assert c.graph.by_name[c.graph.outputs[0].value].type.shape == (3, 5)


def refused(nodes: list[onnx.NodeProto], inputs: dict[str, Any], constants: dict[str, Any], words: str, folder: Path) -> None:
    with pytest.raises(UserError, match=words) as error:
        compiled(model_of(nodes, inputs, ["z"], constants), folder, input_type="fixed<4,4>")
    assert error.value.node == "subject"
    assert error.value.remedy


@pytest.mark.parametrize(("equation", "shapes", "words"), [
    ("bii->bi", [(1, 2, 2)], "letters of an operand are different"),
    ("bij,jk->bik", [(1, 2, 2)], "for 1 operands"),
    ("bij->bik", [(1, 2, 2)], "other axes"),
    ("...i->i", [(1, 2, 2)], "other axes"),
    ("bi->b", [(1, 2, 2)], "rank 3"),
    ("b1->b", [(1, 2)], "rank 2"),
    ("bij,bjk->bik", [(1, 2, 2), (1, 3, 2)], "axes do not match"),
])
def test_equations_that_are_refused(equation: str, shapes: list[Shape], words: str, tmp_path: Path) -> None:
    names = ["x", "y"][:len(shapes)]
    refused([helper.make_node("Einsum", names, ["z"], "subject", equation=equation)], dict(zip(names, shapes, strict=True)), {},
            words, tmp_path)


def test_products_that_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "y"], ["z"], "subject")
    refused([node], {"x": (1, 3, 4), "y": (1, 3, 4)}, {}, "do not multiply", tmp_path)
    refused([helper.make_node("Einsum", ["x", "y"], ["z"], "subject", equation="bi,bj->ij")], {"x": (7, 4), "y": (7, 2)}, {},
            "batch of 7", tmp_path)
    refused([node], {"x": (1, 128, 128), "y": (1, 128, 128)}, {}, "2097152 multipliers", tmp_path)
    refused([helper.make_node("Exp", ["x"], ["e"]), helper.make_node("MatMul", ["e", "y"], ["z"], "subject")],
            {"x": (1, 3, 4), "y": (1, 4, 3)}, {}, "exp", tmp_path)
