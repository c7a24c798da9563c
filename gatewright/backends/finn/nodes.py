"""A Graph as an ONNX model in FINN's dialect: integers in float32 tensors with annotated types, products, MultiThreshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import StringStringEntryProto, TensorAnnotation, TensorProto, helper, numpy_helper

from gatewright.backends.finn.steps import StepOp, Steps, steps_of
from gatewright.backends.identifiers import identifiers
from gatewright.errors import UserError
from gatewright.ir.fixed import FixedArray, Ints, bits_for
from gatewright.ir.graph import Graph, Op
from gatewright.ir.ops import (
    Combine,
    Concat,
    Conv,
    Dense,
    ExtremePool,
    Input,
    ReduceSum,
    Requant,
    Reshape,
    SumPool,
    Table,
    Thresholds,
    Transpose,
)

DOMAIN = "qonnx.custom_op.general"
EXACT = 1 << 24
"""Integers up to this are exact in float32, in which FINN and qonnx compute what the hardware does in integers."""
OPSET, IR_VERSION = 13, 8


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor of integers within `type`. `bias`, by channel (the first axis), is still to be added; `sign`, by channel: what
    the tensor holds is sign times the Graph's codes."""

    name: str
    type: FixedArray
    bias: Ints | None = None
    sign: Ints | None = None


@dataclass(frozen=True)
class Product:
    """What FINN folds: a matrix of `height` x `width` weights, applied to `positions` vectors per inference."""

    node: str
    kind: str
    height: int
    width: int
    positions: int


@dataclass
class Model:
    """What is written: the ONNX file, the layers to fold, and the nodes where rounding halves up would change a code."""

    onnx: onnx.ModelProto
    products: list[Product] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)


def make_model(graph: Graph, name: str) -> Model:
    """Raises UserError, naming the node, for what FINN has no layer for."""
    return _Maker(graph, name).make()


class _Maker:
    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.annotations: dict[str, str] = {}
        self.taken: list[str] = [*(op.name for op in graph.input_ops), *(o.name for o in graph.outputs)]
        self.tensors: dict[str, Tensor] = {}
        self.products: list[Product] = []
        self.ties: list[str] = []
        self.given: list[str] = []

    def make(self) -> Model:
        for op in self.graph.ops:
            if isinstance(op, Input):
                self.tensors[op.name] = self.typed(op.name, op.type, op.node)
                continue
            build = BUILDERS.get(type(op))
            if build is None:
                raise UserError(f"FINN has no layer that computes {op.show_form()}", node=op.node,
                                remedy="Choose outputs before it with --outputs, or the target hls")
            self.tensors[op.name] = build(self, op, *(self.tensors[i] for i in op.inputs))
        outputs = [self.output(o.name, self.plain(self.tensors[o.value], o.name)) for o in self.graph.outputs]
        inputs = [self.info(op.name, op.type.shape) for op in self.graph.input_ops]
        annotations = [TensorAnnotation(tensor_name=tensor, quant_parameter_tensor_names=[
            StringStringEntryProto(key="finn_datatype", value=value)]) for tensor, value in self.annotations.items()]
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, self.constants)
        graph.quantization_annotation.extend(annotations)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="gatewright")
        return Model(model, self.products, list(dict.fromkeys(self.ties)))

    # -- parts of an ONNX file -----------------------------------------------------------------------------------------

    @staticmethod
    def info(name: str, shape: Sequence[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])

    def typed(self, name: str, t: FixedArray, node: str) -> Tensor:
        """An ONNX tensor with its integer type annotated."""
        if max(abs(t.common.lo), abs(t.common.hi)) > EXACT:
            raise UserError(f"its codes have {t.common.width} bits, and FINN computes in float32, which is exact to {EXACT}", node=node,
                            remedy="Quantise to fewer bits, or give the input a narrower type")
        self.annotations[name] = datatype(t.common.lo, t.common.hi)
        return Tensor(name, t)

    def output(self, name: str, tensor: Tensor) -> Any:
        """Gives a tensor the name of the model's output."""
        maker = next((n for n in self.nodes if tensor.name in n.output), None)
        if maker is None or tensor.name in self.given:
            raise UserError(f"output '{name}' is the same tensor as an input or another output, and FINN has no layer that copies one",
                            remedy="Choose other outputs with --outputs")
        self.given.append(name)
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [name if n == tensor.name else n for n in names]
        self.annotations[name] = self.annotations.pop(tensor.name)
        return self.info(name, tensor.type.shape)

    def unique(self, wanted: str) -> str:
        name, = identifiers([wanted], self.taken)
        self.taken.append(name)
        return name

    def constant(self, name: str, values: Ints, kind: str | None = None) -> str:
        """Integers as a float32 initialiser with a type."""
        name = self.unique(name)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        self.annotations[name] = kind or datatype(int(values.min(initial=0)), int(values.max(initial=0)))
        return name

    def add(self, op_type: str, node: str, inputs: Sequence[str], t: FixedArray, domain: str = "", **attributes: Any) -> Tensor:
        name = self.unique(node)
        result = self.typed(self.unique(f"{name}_out"), t, node)
        self.nodes.append(helper.make_node(op_type, list(inputs), [result.name], name=name, domain=domain, **attributes))
        return result

    def plain(self, x: Tensor, node: str) -> Tensor:
        """The tensor with nothing left to add."""
        if x.bias is None or not x.bias.any():
            return replace(x, bias=None)
        shape = self.channels(x.type.shape)
        return self.add("Add", node, [x.name, self.constant(f"{node}_bias", x.bias.reshape(shape))], x.type)

    @staticmethod
    def channels(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, -1, *(1,) * (len(shape) - 1))

    # -- layers --------------------------------------------------------------------------------------------------------

    def steps(self, op: StepOp, x: Tensor) -> Tensor:
        operand = self.graph.by_name[op.inputs[0]].type
        if isinstance(op, Requant) and linear(op, operand):
            return self.combine(Combine(name=op.name, inputs=op.inputs, node=op.node, type=op.type, scales=(op.mul,), offset=op.add), x)
        if op.type.shape != operand.shape:
            raise UserError("its operand is broadcast, for which FINN has no layer", node=op.node, remedy="Choose the target hls")
        s = steps_of(op, operand)
        if s.ties:
            self.ties.append(op.node)
        levels = s.levels
        if x.sign is None and (s.sign < 0).any():
            bounds = np.stack([operand.lo, operand.hi])
            own = s.sign.reshape([-1 if a == s.axis else 1 for a in range(max(len(operand.shape), 1))])
            turned = FixedArray((bounds * own).min(axis=0), (bounds * own).max(axis=0), operand.frac)
            x = self.plain(x, op.node)
            x = self.add("Mul", op.node, [x.name, self.constant(f"{op.node}_sign", own[None])], turned)
        if s.axis:
            x = self.plain(x, op.node)
        elif x.bias is not None:
            levels = levels - (x.bias if x.sign is None else x.bias * x.sign).reshape(-1, 1)
        if (levels == levels[:1]).all():
            levels = levels[:1]
        if np.abs(levels).max(initial=0) > EXACT:
            raise UserError(f"a threshold is beyond {EXACT}, to which float32 is exact", node=op.node, remedy="Quantise to fewer bits")
        last = s.first + levels.shape[1]
        kind = datatype(s.first, last)
        layout = {1: "NC", 2: ("NCW", "NWC")[s.axis], 3: ("NCHW", "", "NHWC")[s.axis]}.get(len(op.type.shape), "")
        if not layout:
            raise UserError("FINN knows no channels along this axis", node=op.node, remedy="Choose the target hls")
        result = self.add("MultiThreshold", op.node, [x.name, self.constant(f"{op.node}_thresholds", levels)], op.type, DOMAIN,
                          out_dtype=kind, out_scale=1.0, out_bias=float(s.first), data_layout=layout)
        self.annotations[result.name] = kind
        return result

    def turned(self, op: Dense | Conv) -> Ints | None:
        """The sign by output channel that the only reader's thresholds want, where they are thresholds."""
        readers = self.graph.users[op.name]
        reader = readers[0] if len(readers) == 1 else None
        if not isinstance(reader, Requant | Thresholds | Table) or any(o.value == op.name for o in self.graph.outputs):
            return None
        if reader.type.shape != op.type.shape or (isinstance(reader, Requant) and linear(reader, op.type)):
            return None
        s: Steps = steps_of(reader, op.type)
        return s.sign if s.axis == 0 and len(s.sign) == op.type.shape[0] else None

    def dense(self, op: Dense, x: Tensor) -> Tensor:
        x = self.plain(x, op.node)
        sign = self.turned(op) if len(op.type.shape) == 1 else None
        weight: Ints = op.weight if sign is None else np.asarray(op.weight * sign)
        n_in, n_out = weight.shape
        self.products.append(Product(op.node, "MVAU", n_out, n_in, op.type.size // n_out))
        return self.product(op, "MatMul", [x.name, self.constant(f"{op.node}_weight", weight, weights(weight))], sign,
                            op.bias if len(op.type.shape) == 1 else np.broadcast_to(op.bias, op.type.shape))

    def product(self, op: Op, op_type: str, inputs: Sequence[str], sign: Ints | None, bias: Ints, **attributes: Any) -> Tensor:
        """Sums of products, whose type is that before the bias; a bias that is not by channel is added at once."""
        by_channel = bias.ndim == 1
        own = bias.reshape(self.channels(op.type.shape)[1:]) if by_channel else bias
        bounds = np.stack([op.type.lo - own, op.type.hi - own])
        if sign is not None:
            bounds = bounds * sign.reshape(self.channels(op.type.shape)[1:])
        raw = FixedArray(bounds.min(axis=0), bounds.max(axis=0), op.type.frac)
        y = self.add(op_type, op.node, inputs, raw, **attributes)
        if by_channel or not bias.any():
            return Tensor(y.name, op.type, bias if by_channel else None, sign)
        return self.add("Add", op.node, [y.name, self.constant(f"{op.node}_bias", bias[None])], op.type)

    def conv(self, op: Conv, x: Tensor) -> Tensor:
        if op.fill and any(op.pads):
            raise UserError(f"it pads with {op.fill}, and FINN pads with 0", node=op.node, remedy="Quantise its input without a zero point")
        if min(op.pads) < 0:
            raise UserError("FINN has no negative padding", node=op.node, remedy="Choose the target hls")
        x, sign = self.plain(x, op.node), self.turned(op)
        weight: Ints = op.weight if sign is None else np.asarray(op.weight * sign.reshape(-1, *(1,) * (op.weight.ndim - 1)))
        depthwise, taps = op.groups == x.type.shape[0] and op.groups > 1, math.prod(op.weight.shape[2:])
        if op.groups > 1 and not (depthwise and len(weight) == op.groups):
            raise UserError("FINN has convolutions in one group, or in one for each channel", node=op.node, remedy="Choose the target hls")
        self.products.append(Product(op.node, "VVAU" if depthwise else "MVAU", len(weight), taps * weight.shape[1],
                                     math.prod(op.type.shape[1:])))
        constant = self.constant(f"{op.node}_weight", weight, weights(weight))
        return self.product(op, "Conv", [x.name, constant], sign, op.bias, strides=op.strides, pads=op.pads,
                            dilations=op.dilations, group=op.groups, kernel_shape=op.taps_shape())

    def reduce_sum(self, op: ReduceSum, x: Tensor) -> Tensor:
        """Over all positions: as a sum over one window of their size."""
        size = x.type.shape[1:]
        if not size or sorted(a % len(x.type.shape) for a in op.axes) != list(range(1, len(x.type.shape))):
            raise UserError("FINN has sums over all positions of a channel only", node=op.node, remedy="Choose the target hls")
        one = (x.type.shape[0], *(1,) * len(size))
        t = FixedArray(op.type.lo.reshape(one), op.type.hi.reshape(one), op.type.frac)
        y = self.sum_pool(SumPool(name=op.name, inputs=op.inputs, node=op.node, type=t, kernel=size, strides=(1,) * len(size),
                                  pads=(0, 0) * len(size), dilations=(1,) * len(size)), x)
        flat = Reshape(name=op.name, inputs=op.inputs, node=op.node, type=op.type, shape=op.type.shape)
        return y if op.keepdims else self.reshape(flat, y)

    def sum_pool(self, op: SumPool, x: Tensor) -> Tensor:
        """As a convolution of every channel by itself, with ones."""
        channels = x.type.shape[0]
        return self.conv(Conv(name=op.name, inputs=op.inputs, node=op.node, type=op.type, strides=op.strides, pads=op.pads,
                              dilations=op.dilations, weight=np.ones((channels, 1, *op.kernel), np.int64),
                              bias=np.zeros(channels, np.int64), groups=channels), x)

    def max_pool(self, op: ExtremePool, x: Tensor) -> Tensor:
        if not op.largest:
            raise UserError("FINN has no minimum", node=op.node, remedy="Choose the target hls")
        x = self.plain(x, op.node)
        return self.add("MaxPool", op.node, [x.name], op.type, kernel_shape=op.kernel, strides=op.strides, pads=op.pads,
                        dilations=op.dilations)

    def combine(self, op: Combine, *operands: Tensor) -> Tensor:
        """Products with constants, which FINN applies by channel, and sums of two streams."""
        total: Tensor | None = None
        rank = len(op.type.shape)
        lo = hi = np.zeros((), np.int64)
        for scale, x in zip(op.scales, operands, strict=True):
            x = self.plain(x, op.node)
            if len(x.type.shape) != rank:
                raise UserError("its operands are broadcast, for which FINN has no layer", node=op.node, remedy="Choose the target hls")
            bounds = np.stack([scale * x.type.lo, scale * x.type.hi])
            scaled = FixedArray(bounds.min(axis=0), bounds.max(axis=0), 0)
            if (scale != 1).any():
                factor = scale.reshape((1,) * (rank + 1 - scale.ndim) + scale.shape)
                x = self.add("Mul", op.node, [x.name, self.constant(f"{op.node}_scale", factor)], scaled)
            lo, hi = lo + scaled.lo, hi + scaled.hi
            total = x if total is None else self.add("Add", op.node, [total.name, x.name], FixedArray(lo, hi, 0))
        assert total is not None
        if not op.offset.any():
            return replace(total, type=op.type)
        offset = op.offset.reshape((1,) * (rank + 1 - op.offset.ndim) + op.offset.shape)
        return self.add("Add", op.node, [total.name, self.constant(f"{op.node}_offset", offset)], op.type)

    # -- shape ---------------------------------------------------------------------------------------------------------

    def reshape(self, op: Reshape, x: Tensor) -> Tensor:
        """The first length 0 is the operand's: the batch."""
        x = self.plain(x, op.node)
        if len(op.shape) == 1:
            return self.add("Flatten", op.node, [x.name], op.type, axis=1)
        name = self.unique(f"{op.node}_shape")
        self.constants.append(numpy_helper.from_array(np.array([0, *op.shape], np.int64), name))
        return self.add("Reshape", op.node, [x.name, name], op.type)

    def transpose(self, op: Transpose, x: Tensor) -> Tensor:
        x = self.plain(x, op.node)
        return self.add("Transpose", op.node, [x.name], op.type, perm=[0, *(p + 1 for p in op.perm)])

    def concat(self, op: Concat, *operands: Tensor) -> Tensor:
        names = [self.plain(x, op.node).name for x in operands]
        return self.add("Concat", op.node, names, op.type, axis=op.axis % len(op.type.shape) + 1)


BUILDERS: Mapping[type[Op], Callable[..., Tensor]] = {
    Requant: _Maker.steps, Thresholds: _Maker.steps, Table: _Maker.steps, Dense: _Maker.dense, Conv: _Maker.conv,
    SumPool: _Maker.sum_pool, ReduceSum: _Maker.reduce_sum, ExtremePool: _Maker.max_pool, Combine: _Maker.combine, Reshape: _Maker.reshape,
    Transpose: _Maker.transpose, Concat: _Maker.concat}


def linear(op: Requant, operand: FixedArray) -> bool:
    """Whether it neither rounds nor limits."""
    ends = [op.mul * end + op.add for end in (operand.lo, operand.hi)]
    return not op.shift.any() and bool((np.minimum(*ends) >= op.lo).all() and (np.maximum(*ends) <= op.hi).all())


def datatype(lo: int, hi: int) -> str:
    """QONNX's name of the smallest type that holds lo..hi."""
    bits = bits_for(lo, hi)
    return f"INT{bits}" if lo < 0 else "BINARY" if bits == 1 else f"UINT{bits}"


def weights(values: Ints) -> str | None:
    """Weights of -1 and 1 have a type of their own."""
    return "BIPOLAR" if (np.abs(values) == 1).all() else None
