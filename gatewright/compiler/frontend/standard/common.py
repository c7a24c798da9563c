"""What several families share: constants against data, ONNX shapes, axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import MAX_ELEMENTS, Node
from gatewright.compiler.frontend.values import Builder, Const, Data, Value, check_data, unsupported
from gatewright.errors import UserError
from gatewright.ir.exact import Exacts, exacts
from gatewright.ir.ops import Reshape

SMALL_INTEGERS = ("int4", "uint4", "int2", "uint2")
"""Types that numpy knows through ml_dtypes only."""


def aligned(const: Const, data: Data, node: Node) -> Exacts:
    """The constant's array against one sample of the data: a leading batch dimension of 1 is dropped."""
    a = const.value
    if a.ndim == data.rank and data.batched and a.ndim:
        if a.shape[0] != 1:
            raise unsupported(node, f"has a constant of shape {list(a.shape)} with values per sample of the batch",
                              "Export the model with batch-independent constants")
        a = a.reshape(a.shape[1:])
    if a.ndim > len(data.shape) and all(d == 1 for d in a.shape[:a.ndim - len(data.shape)]):
        a = a.reshape(a.shape[a.ndim - len(data.shape):])
    return a.reshape(()) if a.size == 1 else a


def broadcast(node: Node, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise unsupported(node, f"has operands of shapes {[list(s) for s in shapes]}, which do not broadcast",
                          "Export the model again") from None
    check_data(shape, node.name)
    return shape


def together(b: Builder, node: Node, x: Data, y: Data) -> tuple[Data, Data]:
    """Two data operands with the same idea of the batch dimension."""
    if x.batched != y.batched:
        x, y = b.unbatch(x, node.outputs[0], node.name), b.unbatch(y, node.outputs[0], node.name)
    return x, y


def onnx_shape(b: Builder, x: Value) -> tuple[int, ...]:
    if isinstance(x, Const):
        return x.value.shape
    return ((b.batch,) if x.batched else ()) + x.shape


def integers(value: Value | None, node: Node, what: str) -> tuple[int, ...]:
    if not isinstance(value, Const):
        raise unsupported(node, f"needs {what} at compile time", "Export the model with constant shapes")
    return tuple(int(v) for v in value.value.reshape(-1))


def check_elements(node: Node, elements: int) -> None:
    """Refuses a constant that is too large to hold, before any memory is taken."""
    if elements > MAX_ELEMENTS:
        raise unsupported(node, f"makes a constant of {elements} elements, more than {MAX_ELEMENTS}", "Export a smaller model")


def axes_of(node: Node, inputs: list[Any]) -> tuple[int, ...] | None:
    """`axes` as attribute (older opsets) or as second operand."""
    if "axes" in node.attributes:
        return tuple(node.attributes["axes"])
    return integers(inputs[1], node, "its axes") if len(inputs) > 1 and inputs[1] is not None else None


def as_const(array: Any, what: str) -> Const:
    """Exact values of an ONNX tensor; refuses NaN and infinity, naming the node or initialiser."""
    name = array.dtype.name
    if array.dtype.kind == "b" or name in SMALL_INTEGERS:
        array = array.astype(np.int64)
    try:
        return Const(exacts(array), array.dtype.kind in "iub", name)
    except ValueError:
        raise UserError("its value contains NaN or infinity", node=what, remedy="Mend the weights and export again") from None


def rebatched(b: Builder, node: Node, x: Data) -> Data:
    """The data with its first ONNX dimension as the batch, where that is one."""
    if x.batched:
        return x
    if b.batch != 1 or not x.shape or x.shape[0] != 1:
        raise unsupported(node, f"has an operand of shape {list(x.shape)}, whose first dimension is no batch of 1",
                          "Export the model with the batch as first dimension")
    return b.move(x, Reshape, {"shape": x.shape[1:]}, node.outputs[0] + ".x", node.name, batched=True)
