"""Operators that reshape and permute."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from gatewright.compiler.frontend.onnx_file import Node
from gatewright.compiler.frontend.standard.common import axes_of, integers, onnx_shape
from gatewright.compiler.frontend.values import Builder, Const, Data, Handler, Value, unsupported


def reshaped(b: Builder, node: Node, x: Value, full: tuple[int, ...]) -> Value:
    if isinstance(x, Const):
        return Const(x.value.reshape(full), x.integer, x.dtype)
    return b.reshape(x, full, node.outputs[0], node.name)


def reshape(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x = inputs[0]
    target = (tuple(node.attributes["shape"]) if "shape" in node.attributes
              else integers(inputs[1], node, "its target shape"))
    old = onnx_shape(b, x)
    if not node.attributes.get("allowzero", 0):
        target = tuple(old[i] if d == 0 and i < len(old) else d for i, d in enumerate(target))
    known = math.prod(d for d in target if d != -1)
    if -1 in target and known and math.prod(old) % known == 0:
        target = tuple(math.prod(old) // known if d == -1 else d for d in target)
    if math.prod(target) != math.prod(old):
        raise unsupported(node, f"cannot turn the shape {list(old)} into {list(target)}",
                          "Export the model with a symbolic batch dimension or a batch of 1")
    return reshaped(b, node, x, target)


def from_axis(handler: Handler) -> Handler:
    """Before operator set 7, the axes of the second operand are those of the first from the attribute `axis` on."""
    def run(b: Builder, node: Node, inputs: list[Any]) -> Value | list[Value]:
        axis = node.attributes.get("axis")
        if b.opset < 7 and axis is not None:
            x, y = inputs
            own, rank = onnx_shape(b, y), len(onnx_shape(b, x))
            named = replace(node, outputs=(node.outputs[0] + ".y",))
            inputs = [x, reshaped(b, named, y, (*own, *(1,) * (rank - axis % rank - len(own))))]
        return handler(b, node, inputs)
    return run


def flatten(b: Builder, node: Node, inputs: list[Any]) -> Value:
    old = onnx_shape(b, inputs[0])
    axis = node.attributes.get("axis", 1)
    axis = axis + len(old) if axis < 0 else axis
    return reshaped(b, node, inputs[0], (math.prod(old[:axis]), math.prod(old[axis:])))


def squeeze(b: Builder, node: Node, inputs: list[Any]) -> Value:
    old = onnx_shape(b, inputs[0])
    axes = axes_of(node, inputs)
    drop = {a % len(old) for a in axes} if axes is not None else {i for i, d in enumerate(old) if d == 1}
    if isinstance(inputs[0], Data) and inputs[0].batched and axes is None:
        drop.discard(0)
    return reshaped(b, node, inputs[0], tuple(d for i, d in enumerate(old) if i not in drop))


def unsqueeze(b: Builder, node: Node, inputs: list[Any]) -> Value:
    old = list(onnx_shape(b, inputs[0]))
    axes = axes_of(node, inputs) or ()
    rank = len(old) + len(axes)
    for a in sorted(a % rank for a in axes):
        old.insert(a, 1)
    return reshaped(b, node, inputs[0], tuple(old))


def transposed(b: Builder, node: Node, x: Value, perm: tuple[int, ...]) -> Value:
    if isinstance(x, Const):
        return Const(x.value.transpose(perm), x.integer, x.dtype)
    return b.transpose(x, perm, node.outputs[0], node.name)


def transpose(b: Builder, node: Node, inputs: list[Any]) -> Value:
    x, = inputs
    return transposed(b, node, x, tuple(node.attributes.get("perm", reversed(range(len(onnx_shape(b, x)))))))


def identity(b: Builder, node: Node, inputs: list[Any]) -> Value:
    return inputs[0]  # type: ignore[no-any-return]


HANDLERS: dict[str, Handler] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Identity": identity,
    "Dropout": identity,
}
