"""Constants and what folds to them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import as_const, onnx_shape
from gatewright.compiler.frontend.standard.selection import cast_data
from gatewright.compiler.frontend.values import Builder, Const, Handler, Value, unsupported
from gatewright.ir.exact import ROUND_NUMBER, elementwise, exacts


def constant(b: Builder, node: Node, inputs: list[Any]) -> Value:
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if key in node.attributes:
            array = np.asarray(node.attributes[key])
            return as_const(array, node.name)
    raise unsupported(node, "has no numeric value", "Export the model again")


def shape(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return Const(exacts(np.array(onnx_shape(b, inputs[0]), np.int64)), True)


def cast(b: Builder, node: Node, inputs: list[Any]) -> Value:
    """Constants: to an integer type truncates, to a float type keeps what that type holds."""
    x, = inputs
    floats: dict[int, Any] = {1: np.float32, 10: np.float16, 11: np.float64}
    to = node.attributes["to"]
    if not isinstance(x, Const):
        return cast_data(b, node, x, to)
    if to in floats:
        return Const(elementwise(lambda v: Fraction(float(floats[to](float(v)))), x.value))
    return Const(elementwise(lambda v: Fraction(ROUND_NUMBER["DOWN"](v)), x.value), True)


HANDLERS: dict[str, Handler] = {
    "Constant": constant,
    "Shape": shape,
    "Cast": cast,
}
