"""What stands between a model and its hardware, all of it: a walk that goes on behind every problem.

A tensor without a quantiser is taken as if it had one, a node that cannot be imported as if its results were quantised tensors of
the shapes that ONNX's shape inference gives; so what comes after them is examined too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from gatewright.compiler.frontend.onnx_file import Model, Node
from gatewright.compiler.frontend.standard.common import onnx_shape
from gatewright.compiler.frontend.user_types import Types, constant_on_grid
from gatewright.compiler.frontend.values import MAX_DATA, Const, Data, MissingType, Value
from gatewright.compiler.frontend.walk import Walk
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, exacts, unit
from gatewright.ir.fixed import Cast, FixedArray
from gatewright.ir.graph import Graph, Op, Output
from gatewright.ir.ops import Input

CONTRACTIONS = {"MatMul": (0, 1), "Gemm": (0, 1), "Conv": (1,), "ConvTranspose": (1,), "Einsum": (0, 1, 2, 3)}
"""Operators that multiply by weights, and which operands these may be."""
KEEPING = frozenset((
    "DequantizeLinear", "Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace", "SpaceToDepth",
    "Slice", "Split", "Gather", "Pad", "Expand", "Tile", "Resize", "Upsample", "Concat", "MaxPool", "GlobalMaxPool", "ReduceMax",
    "ReduceMin", "Max", "Min", "Relu", "Neg", "Abs", "TopK", "Cast"))
"""Operators whose result has codes, in its operands' steps, where all of these have."""
CODED = frozenset(("Sign", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "ArgMax", "ArgMin"))
"""Operators whose result has codes always."""
MOST_PROBLEMS = 20
"""Problems after which the rest of a model is left unexamined."""
QUANTISED_BITS = 18
"""Weights that need wider integers have no quantiser; random floats of a small range may need as few as 20."""
INPUT, WEIGHTS, ACTIVATION = "input", "weights", "activation"
EXAMPLES = {INPUT: "fixed<16,6>", ACTIVATION: "fixed<8,3,RND_CONV,SAT>"}
"""Types to begin with; those of weights follow from the largest one."""


@dataclass(frozen=True)
class Open:
    """A tensor without a quantiser, the first node that needs its codes, and a type that it could have."""

    tensor: str
    role: str
    node: str
    example: str

    @property
    def option(self) -> str:
        return f"--{'input' if self.role == INPUT else 'tensor'}-type '{self.tensor}={self.example}'"

    @property
    def toml(self) -> str:
        return f"[{'input' if self.role == INPUT else 'tensor'}.\"{self.tensor}\"]\ntype = \"{self.example}\""


@dataclass(frozen=True)
class Findings:
    """Everything that a model lacks. `problems` are those that no type solves, with node, reason and remedy."""

    open: tuple[Open, ...]
    problems: tuple[UserError, ...]
    graph: Graph
    """All of the model that could be imported, with tensors of codes in place of what could not."""
    logits: Mapping[str, str]
    """As in `Imported`."""
    unexamined: Mapping[str, str]
    """By node: why nothing can be said of it."""

    @property
    def unquantised(self) -> bool:
        """Whether it is a float model: there are weights without a quantiser."""
        return any(t.role == WEIGHTS for t in self.open)

    def with_examples(self, types: Types) -> Types:
        """The types, with an example for every tensor that has none."""
        casts = {role: {t.tensor: Cast.parse(t.example) for t in self.open if (t.role == INPUT) == (role == INPUT)}
                 for role in (INPUT, WEIGHTS)}
        return replace(types, inputs={**types.inputs, **casts[INPUT]}, tensors={**types.tensors, **casts[WEIGHTS]})

    def refusal(self, first: UserError) -> UserError:
        """What to tell the user who wants to compile it, where `first` is the first problem that came up."""
        if not self.unquantised:
            return first
        said = []
        for role, words in ((INPUT, "the input"), (WEIGHTS, "the weights"), (ACTIVATION, "the activation")):
            names = [f"'{t.tensor}'" + (f" (node '{t.node}')" if role != INPUT else "") for t in self.open if t.role == role]
            said += [f"{words}{'s' * (role != WEIGHTS and len(names) > 1)} {', '.join(names)}"] * bool(names)
        besides = "".join(f"; besides, node '{p.node}': {p.reason}" if p.node else f"; besides, {p.reason}" for p in self.problems)
        examples = {t.role: t for t in self.open}.values()
        return UserError(
            f"the model is not quantised: {'; '.join(said)} have no quantiser{besides}",
            node=self.open[0].node if len(self.open) == 1 else None,
            remedy="Quantise it in training (QKeras, Brevitas, HGQ), or give every one of them a type, for example "
                   f"{', '.join(t.option for t in examples)}, or in a TOML file; 'gatewright inspect' writes that file's lines")


def survey(model: Model, types: Types, wanted: Sequence[str], nodes: Sequence[Node], softmax: str) -> Findings:
    """Examines the whole model. Never raises for what is in it, except where an initialiser cannot be read."""
    inputs: list[Open] = []
    while True:
        found = Survey(model, types, wanted, nodes, softmax)
        try:
            found.run()
            graph = found.builder.graph(found.examine_outputs())
            return Findings((*inputs, *found.open.values()), tuple(found.problems), graph, found.logits, found.unexamined)
        except MissingType as missing:
            if missing.tensor in types.inputs:
                raise
            inputs.append(Open(missing.tensor, INPUT, missing.node or missing.tensor, EXAMPLES[INPUT]))
            types = replace(types, inputs={**types.inputs, missing.tensor: Cast.parse(EXAMPLES[INPUT])})


@dataclass
class Survey(Walk):
    """A walk that collects problems instead of raising them, except that of an input without a type."""

    problems: list[UserError] = field(default_factory=list)
    open: dict[str, Open] = field(default_factory=dict)
    """By tensor."""
    unexamined: dict[str, str] = field(default_factory=dict)
    """By node: why it is left out."""
    coded: set[str] = field(default_factory=set)
    """Tensors of data that are codes times a scale, as a quantiser or the user's type makes them."""

    def run(self) -> None:
        self.coded |= {i.name for i in self.model.inputs}
        proto = onnx.load_model_from_string(self.model.files[self.model.path.name])
        infos = (*proto.graph.value_info, *proto.graph.output)
        self.declared = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in infos}
        super().run()

    def step(self, node: Node) -> None:
        if len(self.problems) >= MOST_PROBLEMS:
            self.unexamined[node.name] = f"not examined: {MOST_PROBLEMS} problems come before it"
            return
        if unknown := [i for i in node.inputs if i and i not in self.values]:
            self.unexamined[node.name] = f"not examined: the shape of its operand '{unknown[0]}' is not known"
            return
        if node.op_type in CONTRACTIONS:
            self.quantise_layer(node)
        try:
            super().step(node)
        except MissingType:
            raise
        except UserError as error:
            self.go_on(node, error)
        data = [i for i in node.inputs if isinstance(self.values.get(i), Data)]
        if node.op_type in CODED or (node.op_type in KEEPING and self.coded.issuperset(data)):
            self.coded |= set(node.outputs)
        self.coded |= set(node.outputs) & {*self.builder.quantisers, *self.types.tensors}

    def examine_outputs(self) -> list[Output]:
        """Those that there are."""
        outputs = []
        for name in self.wanted:
            try:
                if name in self.values:
                    outputs.append(self.output(name))
            except MissingType:
                raise
            except UserError as error:
                self.problems.append(error)
        return outputs

    def quantise_layer(self, node: Node) -> None:
        """A layer with float weights: these, and what it reads, need quantisers."""
        weights = [node.inputs[k] for k in CONTRACTIONS[node.op_type] if k < len(node.inputs)]
        weights = [w for w in weights if isinstance(value := self.values[w], Const) and has_no_quantiser(node, value.value)]
        for name in weights:
            values = self.values[name]
            assert isinstance(values, Const)
            self.open[name] = Open(name, WEIGHTS, node.name, example_for(values.value))
            self.values[name] = Const(constant_on_grid(name, values.value, Cast.parse(self.open[name].example)))
        if any(t.role == WEIGHTS for t in self.open.values()):
            lacking = self.without_codes(node)
            self.values |= self.as_if_coded(lacking)
            self.note(lacking, node)

    def without_codes(self, node: Node) -> list[str]:
        """Its operands that are data, but no codes."""
        return [i for i in dict.fromkeys(node.inputs) if isinstance(self.values.get(i), Data) and i not in self.coded]

    def note(self, tensors: Iterable[str], node: Node) -> None:
        for name in tensors:
            self.open[name] = Open(name, ACTIVATION, node.name, EXAMPLES[ACTIVATION])
            self.coded.add(name)

    def as_if_coded(self, tensors: Iterable[str]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name in tensors:
            x = self.values[name]
            assert isinstance(x, Data)
            found[name] = self.stand_in(name, x.shape, x.batched)
        return found

    def stand_in(self, name: str, shape: tuple[int, ...], batched: bool) -> Data:
        """A tensor of codes in place of one that has none."""
        kind = Cast.parse(EXAMPLES[ACTIVATION]).type
        op: Op = Input(name=self.builder.unique(name), inputs=(), node=name, type=FixedArray.full(shape, kind))
        scale = exacts(Fraction(1, 1 << kind.frac))
        return Data(ex.affine(self.builder.append(op, scale, ex.ZERO), scale), shape, batched)

    # -- nodes that cannot be imported -----------------------------------------------------------------------------

    def go_on(self, node: Node, error: UserError) -> None:
        """Its operands as if they had quantisers, where that helps; else its results as if they had."""
        lacking = self.without_codes(node)
        before = {name: self.values[name] for name in lacking}
        if lacking:
            self.values |= self.as_if_coded(lacking)
            try:
                super().step(node)
            except MissingType:
                raise
            except UserError:
                self.values |= before
            else:
                self.note(lacking, node)
                return
        self.problems.append(error)
        data = [x for i in node.inputs if isinstance(x := self.values.get(i), Data)]
        for name, shape in self.shapes(node).items():
            batched = any(x.batched for x in data) and shape[:1] == (self.builder.batch,)
            self.values[name] = self.stand_in(name, shape[batched:], batched) if data else Const(np.full(shape, ex.ONE.item(), object))
            self.coded.add(name)

    def shapes(self, node: Node) -> dict[str, tuple[int, ...]]:
        """The shapes of its results, batch included, as far as the file or ONNX's shape inference know them."""
        inferred = self.inferred(node)
        known = {}
        for name in filter(None, node.outputs):
            dims = inferred.get(name) or self.declared.get(name) or []
            if dims and all(dims[1:]) and math.prod(dims) <= MAX_DATA:
                known[name] = (dims[0] or self.builder.batch, *dims[1:])
        return known

    def inferred(self, node: Node) -> dict[str, list[int]]:
        operands = {i: self.values[i] for i in node.inputs if i}
        infos, constants = [], []
        for name, value in operands.items():
            if isinstance(value, Const) and value.integer:
                constants.append(numpy_helper.from_array(value.value.astype(np.int64), name))
            else:
                shape = onnx_shape(self.builder, value)
                infos.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        try:
            proto = helper.make_node(node.op_type, node.inputs, node.outputs, domain=node.domain, **attributes(node))
            graph = helper.make_graph([proto], "one", infos, [helper.make_value_info(n, onnx.TypeProto()) for n in node.outputs if n],
                                      constants)
            done = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.model.opset)]))
        except Exception:  # the operator is unknown, or its attributes are no attributes
            return {}
        return {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in done.graph.output}


def attributes(node: Node) -> dict[str, Any]:
    return {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in node.attributes.items()}


def has_no_quantiser(node: Node, weights: Exacts) -> bool:
    """Whether weights need integers wider than a quantiser's, in one unit and in one per output channel."""
    if weights.ndim < 2 or node.op_type == "Einsum":
        return wide(weights)
    by_row = node.op_type == "Conv" or bool(node.attributes.get("transB", 0))
    axis = 0 if by_row else 1 if node.op_type == "ConvTranspose" else weights.ndim - 1
    return wide(weights) and any(wide(channel) for channel in np.moveaxis(weights, axis, 0))


def wide(values: Exacts) -> bool:
    step = unit(values) if (values != 0).any() else exacts(1).item()
    return step is None or max(abs(v) for v in values.reshape(-1)) / step >= 1 << QUANTISED_BITS


def example_for(weights: Exacts) -> str:
    """Eight bits that hold the largest one."""
    integer = math.frexp(float(max(abs(v) for v in weights.reshape(-1))))[1] + 1
    return f"fixed<8,{integer},RND_CONV,SAT>"
