"""One way through the nodes of a model, in order: gives each to the handler of its type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from gatewright.compiler.frontend import qdq, qonnx, standard
from gatewright.compiler.frontend.onnx_file import Model, Node, TensorInfo
from gatewright.compiler.frontend.outputs import output
from gatewright.compiler.frontend.user_types import Types, with_type
from gatewright.compiler.frontend.values import MAX_DEPTH, Builder, Const, Data, Handler, Host, Value
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import exacts
from gatewright.ir.fixed import Cast, FixedArray
from gatewright.ir.graph import Op, Output
from gatewright.ir.ops import Input

CUT, KEEP = "cut", "keep"
"""What to do with a Softmax at the very end."""
STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass
class Walk:
    """What is known after the nodes so far, by ONNX tensor. `nodes` are those that `wanted` depends on; `slopes` are what an
    earlier walk has found of approximations."""

    model: Model
    types: Types
    wanted: Sequence[str]
    nodes: Sequence[Node]
    softmax: str
    slopes: Mapping[str, Fraction] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    casts: dict[str, Cast] = field(default_factory=dict)
    """Of inputs: how data become codes."""
    grids: dict[str, Cast] = field(default_factory=dict)
    """Of outputs on a grid that is not the model's own."""
    logits: dict[str, str] = field(default_factory=dict)
    """Outputs whose final Softmax is cut, and the tensor that each carries instead."""

    def __post_init__(self) -> None:
        self.builder = Builder(re.sub(r"\W", "_", self.model.path.stem) or "model", opset=self.model.opset, slopes=self.slopes)

    def run(self) -> None:
        """Inputs, initialisers and all nodes."""
        read = {name for n in self.nodes for name in n.inputs} | set(self.wanted)
        self.builder.batch = _batch(self.model, read)
        for info in self.model.inputs:
            if info.name in read:
                self.values[info.name] = _input(self.builder, info, self.types, self.casts)
        for name, array in self.model.constants.items():
            if name in read:
                self.values[name] = with_type(self.builder, name, name, _constant(name, array, self.nodes), self.types)
        inside = {name for n in self.nodes for name in n.inputs} | set(self.types.tensors)
        for node in self.nodes:
            if self.softmax == CUT and node.op_type == "Softmax" and node.outputs[0] in set(self.wanted) - inside:
                self.cut(node)
            elif node.op_type == "Softmax" and node.outputs[0] not in self.wanted and self.only_ranked(node):
                self.values[node.outputs[0]] = self.values[node.inputs[0]]
            else:
                source = self.ranked(node)
                self.step(replace(node, inputs=(source.inputs[0],)) if source else node)

    def cut(self, node: Node) -> None:
        """A Softmax at the very end."""
        name = node.outputs[0]
        self.values[name] = self.values[node.inputs[0]]
        self.logits[name] = node.inputs[0]
        self.builder.notes.append(f"The final Softmax '{node.name}' is cut: output '{name}' carries the logits, "
                                  f"whose order is the same. With --softmax keep it is computed.")

    def ranked(self, node: Node) -> Node | None:
        """The Softmax of which an ArgMax or ArgMin reads the result: along its own axis, the order is that of its operand."""
        if node.op_type not in ("ArgMax", "ArgMin"):
            return None
        source = next((n for n in self.nodes if n.op_type == "Softmax" and n.outputs[0] in node.inputs), None)
        if source is None or source.outputs[0] in self.types.tensors:
            return None
        x = self.values.get(source.inputs[0])
        if not isinstance(x, Data):
            return None
        newer = self.model.opset >= 13
        first, axis = (n.attributes.get("axis", default) % x.rank for n, default in ((source, -1 if newer else 1), (node, 0)))
        return source if axis == first or (axis > first and not newer) else None

    def only_ranked(self, node: Node) -> bool:
        return all(self.ranked(n) for n in self.nodes if node.outputs[0] in n.inputs)

    def step(self, node: Node) -> None:
        """One node: adds its results to `values`. Raises UserError with the node's name."""
        _import_node(self.builder, node, self.values)
        for name in node.outputs:
            if name in self.types.tensors and name in self.values:
                self.values[name] = with_type(self.builder, name, node.name, self.values[name], self.types)

    def output(self, name: str) -> Output:
        return output(self.builder, name, self.values, self.types, self.grids)


def _constant(name: str, array: Any, nodes: Sequence[Node]) -> Const:
    """An initialiser; where it cannot be used, the message names the first node that reads it, and what as."""
    try:
        return standard.as_const(array, name)
    except UserError as error:
        reader = next((n for n in nodes if name in n.inputs), None)
        if reader is None:
            raise
        place = reader.inputs.index(name)
        roles = qonnx.PARAMETERS.get(reader.op_type, ())
        role = f" ({roles[place]})" if place < len(roles) else ""
        raise UserError(f"its operand '{name}'{role} contains NaN or infinity", node=reader.name, remedy=error.remedy) from None


def handler_of(node: Node) -> Handler | None:
    """The handler of a node's type, None where gatewright has none."""
    if node.domain in STANDARD_DOMAINS:
        return standard.HANDLERS.get(node.op_type) or qdq.HANDLERS.get(node.op_type)
    if node.domain == qdq.DOMAIN:
        return qdq.MICROSOFT.get(node.op_type)
    if node.domain == qonnx.CHANNELS_LAST:
        return qonnx.CHANNELS_LAST_HANDLERS.get(node.op_type)
    return qonnx.HANDLERS.get(node.op_type) if node.domain in qonnx.DOMAINS else None


def _batch(model: Model, read: set[str]) -> int:
    """The batch size that the file bakes in: the first dimension that its inputs share, 1 where it is symbolic."""
    sizes = {i.dims[0] or 1 for i in model.inputs if i.name in read and len(i.dims) > 1}
    return sizes.pop() if len(sizes) == 1 else 1


def _input(b: Builder, info: TensorInfo, types: Types, casts: dict[str, Cast]) -> Data:
    batched = len(info.dims) > 1 and (info.dims[0] or 1) == b.batch
    dims = info.dims[1:] if batched else info.dims
    if any(not d for d in dims):
        raise UserError(f"input '{info.name}' has the shape {info.shown}: a dimension besides the batch is not fixed",
                        remedy="Export the model with fixed sizes; hardware has no dynamic shapes")
    shape = tuple(int(d) for d in dims if d)
    if np.prod(shape, dtype=object) > 1 << 20:
        raise UserError(f"input '{info.name}' has the shape {list(shape)}: more than a million elements per sample",
                        remedy="Export a smaller model")
    if b.batch != 1:
        b.notes.append(f"Input '{info.name}' has a batch of {b.batch} baked in; the hardware takes one sample at a time.")
    cast = types.inputs.get(info.name, types.input)
    if cast is None:
        b.leaves.append(Host(info.name, shape, np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)))
        return Data(ex.Leaf(len(b.leaves) - 1), shape, batched)
    casts[info.name] = cast
    scale = exacts(Fraction(2) ** -cast.type.frac)
    op: Op = Input(name=b.unique(info.name), inputs=(), node=info.name, type=FixedArray.full(shape, cast.type))
    return Data(ex.affine(b.append(op, scale, ex.ZERO), scale), shape, batched)


def _import_node(b: Builder, node: Node, values: dict[str, Value]) -> None:
    handler = handler_of(node)
    if handler is None:
        domain = f" of domain '{node.domain}'" if node.domain not in STANDARD_DOMAINS else ""
        raise UserError(f"the operator {node.op_type}{domain} is not supported", node=node.name,
                        remedy="'gatewright inspect' lists every node of the model with what is supported")
    inputs = [values[name] if name else None for name in node.inputs]
    while inputs and inputs[-1] is None:
        inputs.pop()
    try:
        result = handler(b, node, inputs)
    except UserError as error:
        error.node = error.node or node.name
        raise
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{node.op_type} cannot be read: {error}", node=node.name,
                        remedy="Check the node's operands and attributes; export the model again") from error
    for name, value in zip(node.outputs, result if isinstance(result, list) else [result], strict=False):
        if isinstance(value, Data) and ex.depth(value.expr) > MAX_DEPTH:
            raise UserError(f"it is the last of more than {MAX_DEPTH} operations, one on the other, without a quantiser between",
                            node=node.name, remedy="Quantise activations in between")
        values[name] = value
