"""A Graph as hls4ml's layers, with a fixed precision for everything that hls4ml would otherwise choose.

A tensor's codes become values code * 2**-frac, which `ap_fixed` holds exactly. Sums are formed in types that hold them exactly;
one rounding and limiting is one conversion to a type with modes, as hls4ml's users write it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gatewright.backends.hls4ml.model import Constant, Layer, Model, Tensor, Type
from gatewright.backends.identifiers import identifiers
from gatewright.errors import UserError
from gatewright.ir.fixed import MAX_WIDTH, ROUNDING, Fixed, Ints, bits_for
from gatewright.ir.graph import Graph, Op
from gatewright.ir.ops import (
    Combine,
    Concat,
    Conv,
    Dense,
    ExtremePool,
    Extremum,
    Input,
    Multiply,
    ReduceExtreme,
    ReduceSum,
    Requant,
    Reshape,
    Select,
    SumPool,
    Table,
    Take,
    Thresholds,
    Transpose,
)
from gatewright.ir.ops.function import WRAP, round_shift
from gatewright.ir.ops.shape import taken
from gatewright.ir.ops.window import last
from gatewright.ir.windows import Window

FLOAT64_BITS = 53
"""hls4ml hands constants and the codes of ports over as float64, which holds integers of so many bits."""
FEW_TABLE_BITS, MOST_TABLE_BITS = 12, 16
"""A table has an entry for every code of its operand's width: preferred up to the first, refused above the second."""
MOST_STEPS = 16
"""Thresholds that are built as one saturating layer each."""
MOST_WEIGHTS = 1 << 18
"""Of a layer that selects or adds elements as a product with a matrix."""
MODES = {ours: theirs for theirs, ours in ROUNDING.items()}


def make_model(graph: Graph, ports: Mapping[str, str]) -> Model:
    """The layers of an optimised Graph; `ports` gives the inputs' identifiers.

    Raises UserError, naming the node, for what no layer of hls4ml computes with the same bits.
    """
    return _Maker(graph, ports).make()


class _Maker:
    def __init__(self, graph: Graph, ports: Mapping[str, str]) -> None:
        self.graph, self.ports = graph, ports
        self.model = Model()
        self.taken = ["input", graph.name, *ports.values()]
        self.tensors: dict[str, Tensor] = {}
        self.layers: dict[str, Layer] = {}

    def make(self) -> Model:
        for op in self.graph.ops:
            if isinstance(op, Input):
                self.tensors[op.name] = self.model.inputs[op.name] = self.input(op)
                continue
            build = BUILDERS.get(type(op))
            if build is None:
                raise UserError(f"hls4ml has no layer that computes {op.show_form()} with the same bits", node=op.node,
                                remedy="Choose outputs before it with --outputs, or the target hls")
            self.tensors[op.name] = build(self, op, *(self.tensors[i] for i in op.inputs))
        for output in self.graph.outputs:
            tensor = self.first(self.tensors[output.value], output.name)
            if self.source(tensor) in map(self.source, (*self.model.inputs.values(), *self.model.outputs.values())):
                raise UserError(f"output '{output.name}' is the same tensor as an input or another output, and hls4ml has no layer "
                                f"that copies one", remedy="Choose other outputs with --outputs")
            self.small(tensor.type, f"output '{output.name}'", None)
            self.model.outputs[output.name] = tensor
        return self.model

    def input(self, op: Input) -> Tensor:
        t = op.type.common
        tensor = Tensor(self.ports[op.name], Type(t.lo, t.hi, t.frac), op.type.shape)
        self.small(tensor.type, f"input '{op.name}'", None)
        layer = Layer(tensor.layer, "InputLayer", op.node, [], {"input_shape": list(op.type.shape) or [1]}, {},
                      {"result": tensor.type})
        self.model.layers.append(layer)
        self.layers[layer.name] = layer
        return tensor

    def source(self, x: Tensor) -> str:
        """The layer that made the array: hls4ml removes a `Reshape` at the end."""
        layer = self.layers[x.layer]
        while layer.class_name == "Reshape":
            layer = self.layers[layer.inputs[0]]
        return layer.name

    def small(self, t: Type, what: str, node: str | None) -> None:
        """Refuses what float64 does not hold."""
        if t.width > FLOAT64_BITS:
            raise UserError(f"{what} needs {t.width} bits; hls4ml takes numbers as float64, which holds {FLOAT64_BITS}", node=node,
                            remedy="Quantise to fewer bits, or choose the target hls")

    def add(self, class_name: str, node: str, operands: Sequence[Tensor], result: Tensor, attributes: Mapping[str, Any] | None = None,
            constants: Mapping[str, Constant] | None = None, **precision: Type) -> Tensor:
        """A layer behind `operands` that gives `result`, whose name it chooses."""
        name, = identifiers([node], self.taken)
        self.taken.append(name)
        constants = {k: c.reduced() for k, c in (constants or {}).items()}
        for k, c in constants.items():
            self.small(c.type, f"its {k}", node)
        types = {"result": result.type, **precision, **{k: c.type for k, c in constants.items()}}
        layer = Layer(name, class_name, node, [t.layer for t in operands], dict(attributes or {}), constants, types)
        self.model.layers.append(layer)
        self.layers[name] = layer
        return replace(result, layer=name)

    def only_reader(self, name: str) -> bool:
        """True where one operation reads a tensor, and no output carries it."""
        return len(self.graph.users[name]) == 1 and all(o.value != name for o in self.graph.outputs)

    # -- order and shape -----------------------------------------------------------------------------------------------

    def first(self, x: Tensor, node: str) -> Tensor:
        """The tensor in the Graph's order."""
        n = len(x.shape)
        return self.permuted(x, (n - 1, *range(n - 1)), node, replace(x, last=False)) if x.last else x

    def last(self, x: Tensor, node: str) -> Tensor:
        """The tensor with its channels last."""
        return x if x.last else self.permuted(x, (*range(1, len(x.shape)), 0), node, replace(x, last=True))

    def permuted(self, x: Tensor, perm: Sequence[int], node: str, result: Tensor) -> Tensor:
        """By hls4ml's `Transpose`, unless it leaves all elements where they are."""
        lengths = (*x.shape[1:], x.shape[0]) if x.last else x.shape
        moving = [p for p in perm if lengths[p] > 1]
        if moving == sorted(moving) and not x.last and not result.last:
            return self.reshaped(x, result.shape, node)
        return self.add("Transpose", node, [x], result, {"perm": list(perm)})

    def reshaped(self, x: Tensor, shape: tuple[int, ...], node: str) -> Tensor:
        x = self.first(x, node)
        if (shape or (1,)) == (x.shape or (1,)):
            return replace(x, shape=shape)
        return self.add("Reshape", node, [x], replace(x, shape=shape), {"target_shape": list(shape) or [1]})

    def spread(self, x: Tensor, shape: tuple[int, ...], node: str) -> Tensor:
        """The tensor broadcast to `shape`."""
        if x.shape == shape:
            return x
        if x.size == math.prod(shape):
            return self.reshaped(x, shape, node)
        aligned = np.arange(x.size).reshape((1,) * (len(shape) - len(x.shape)) + x.shape)
        return self.selected(x, np.broadcast_to(aligned, shape), 0, node)

    def selected(self, x: Tensor, index: Ints, fill: int, node: str) -> Tensor:
        """Elements of `x` by their place, or `fill` where that is -1: a product with a matrix of zeros and ones."""
        shape, index = index.shape, index.reshape(-1)
        if shape and x.size == len(index) and (index == np.arange(x.size)).all():
            return self.reshaped(x, shape, node)
        weight = (index == np.arange(self.sized(x.size, len(index), node))[:, None]).astype(np.int64)
        t = replace(x.type, lo=min(x.type.lo, fill), hi=max(x.type.hi, fill)) if (index < 0).any() else x.type
        return self.matrix(x, weight, np.where(index < 0, fill, 0), replace(t, rounding="TRN", overflow="WRAP"), shape, node)

    @staticmethod
    def sized(rows: int, columns: int, node: str) -> int:
        if rows * columns > MOST_WEIGHTS:
            raise UserError(f"hls4ml would select or add its elements by a product with a matrix of {rows} x {columns}", node=node,
                            remedy="Choose the target hls, or a smaller model")
        return rows

    def matrix(self, x: Tensor, weight: Ints, bias: Ints, result: Type, shape: tuple[int, ...], node: str) -> Tensor:
        """All elements of `x` in the Graph's order times an integer matrix [in, out]."""
        x = self.reshaped(x, (x.size,), node)
        y = self.dense(x, Constant(weight, result.frac - x.type.frac), Constant(bias, result.frac), result, node)
        return self.reshaped(y, shape, node)

    def dense(self, x: Tensor, weight: Constant, bias: Constant, result: Type, node: str) -> Tensor:
        n_in, n_out = weight.codes.shape
        return self.add("Dense", node, [x], Tensor("", result, (n_out,)), {"n_in": n_in, "n_out": n_out},
                        {"weight": weight, "bias": bias}, accum=result)

    # -- element by element --------------------------------------------------------------------------------------------

    def affine(self, x: Tensor, mul: Any, add: Any, shift: Any, result: Type, shape: tuple[int, ...], node: str) -> Tensor:
        """(mul * code + add) / 2**shift as codes of `result`, converted once: hls4ml's `BatchNormalization`, or no more than the
        conversion where it neither scales nor adds."""
        x = self.spread(x, shape, node)
        mul, add, shift = (np.asarray(v, np.int64) for v in (mul, add, shift))
        most = int(shift.max(initial=0))
        scale = Constant(mul << (most - shift), most + result.frac - x.type.frac).reduced()
        bias = Constant(add << (most - shift), most + result.frac)
        if not add.any() and scale.frac == 0 and (scale.codes == 1).all():
            if (x.type.lo, x.type.hi, x.type.frac) == (result.lo, result.hi, result.frac):
                return x
            return self.add("Activation", node, [x], replace(x, type=result), {"activation": "linear"})
        constants = {name: replace(c, codes=self.arranged(c.codes, x)) for name, c in (("scale", scale), ("bias", bias))}
        return self.add("BatchNormalization", node, [x], replace(x, type=result), {"n_in": x.size, "n_filt": -1}, constants)

    @staticmethod
    def arranged(a: Ints, x: Tensor) -> Ints:
        """A constant for every element of `x`, in its order."""
        whole = np.broadcast_to(a, x.shape)
        return np.ascontiguousarray(np.moveaxis(whole, 0, -1) if x.last else whole).reshape(-1)

    def aligned(self, x: Tensor, frac: int, node: str) -> Tensor:
        """The same codes, as multiples of 2**-frac."""
        return self.affine(x, 1, 0, 0, Type(x.type.lo, x.type.hi, frac), x.shape, node)

    def requant(self, op: Requant, x: Tensor) -> Tensor:
        frac, shape = op.type.frac, op.type.shape
        mul, add, shift, rounding = op.mul, op.add, op.shift, op.rounding
        if rounding == "CEIL":
            add, rounding = add + (1 << shift) - 1, "FLOOR"
        lengths = set(np.asarray(op.hi - op.lo).reshape(-1).tolist())
        if rounding not in MODES or (op.overflow == WRAP and len(lengths) > 1):
            return self.requant_table(op, x)
        operand = self.graph.by_name[op.inputs[0]].type
        ends = [round_shift(np.asarray(op.mul * end + op.add), op.shift, op.rounding) for end in (operand.lo, operand.hi)]
        lo, hi = np.broadcast_to(np.minimum(*ends), shape), np.broadcast_to(np.maximum(*ends), shape)
        result = direct_type(op, lo, hi)
        if result is None:
            wide = Type(int(lo.min()), int(hi.max()), frac, MODES[rounding])
            return self.limited(op, self.affine(x, mul, add, shift, wide, shape, op.node))
        result = replace(result, rounding=MODES[rounding] if shift.any() else "TRN")
        # a conversion alone needs no layer of its own: the layer before makes the result's type of what it computes
        layer = self.layers[x.layer]
        plain = (mul == 1).all() and not add.any() and (shift == x.type.frac - frac).all() and x.shape == shape
        if plain and layer.class_name in CONVERTING and self.only_reader(op.inputs[0]):
            layer.precision["result"] = result
            return replace(x, type=result)
        return self.affine(x, mul, add, shift, result, shape, op.node)

    def requant_table(self, op: Requant, x: Tensor) -> Tensor:
        """A rounding, or ranges, that no conversion of `ap_fixed` has."""
        own = np.broadcast_shapes(*(v.shape for v in (op.mul, op.add, op.shift, op.lo, op.hi)))
        rows = np.stack([np.broadcast_to(v, own) for v in (op.mul, op.add, op.shift, op.lo, op.hi)], axis=-1)
        if lookup_bits(x, rows) > MOST_TABLE_BITS:
            what = f"it rounds by {op.rounding}" if op.rounding not in MODES else "its elements wrap in ranges of different lengths"
            raise UserError(f"{what}, which no conversion of ap_fixed does, and its operand is too wide for a table", node=op.node,
                            remedy="Choose another quantiser in the model, or the target hls")

        def function(row: Ints, codes: Ints) -> Ints:
            mul, add, shift, lo, hi = row
            v = round_shift(codes * mul + add, np.full_like(codes, shift), op.rounding)
            return (v - lo & hi - lo) + lo if op.overflow == WRAP else np.clip(v, lo, hi)

        return self.lookup(op, x, rows, function)

    def limited(self, op: Requant, x: Tensor) -> Tensor:
        """Limits that are not those of a type: the distance to each end as an unsigned number, which ends at zero."""
        lo, hi, frac, node = op.lo, op.hi, op.type.frac, op.node
        t = op.type.common
        if op.overflow == WRAP:
            x = self.affine(x, 1, -lo, 0, Type(0, int((hi - lo).max()), frac), x.shape, node)
            return self.affine(x, 1, lo, 0, Type(t.lo, t.hi, frac), x.shape, node)
        above = Type(0, max(int((x.type.hi - lo).max()), 0), frac, overflow="SAT")
        x = self.affine(x, 1, -lo, 0, above, x.shape, node)
        x = self.affine(x, -1, hi - lo, 0, Type(0, int((hi - lo).max()), frac, overflow="SAT"), x.shape, node)
        return self.affine(x, -1, hi, 0, Type(t.lo, t.hi, frac), x.shape, node)

    def thresholds(self, op: Thresholds, x: Tensor) -> Tensor:
        count = op.levels.shape[-1]
        own = np.broadcast_shapes(op.sign.shape, op.base.shape, op.levels.shape[:-1])
        rows = np.concatenate([np.broadcast_to(op.sign, own)[..., None], np.broadcast_to(op.base, own)[..., None],
                               np.broadcast_to(op.levels, (*own, count))], axis=-1)
        if lookup_bits(x, rows) <= FEW_TABLE_BITS or count > MOST_STEPS:
            return self.lookup(op, x, rows, lambda row, codes: np.searchsorted(row[2:], codes * row[0], side="right") + row[1])
        x = self.spread(x, op.type.shape, op.node)
        one, steps = Type(0, 1, op.type.frac, overflow="SAT"), []
        ends = [np.broadcast_to(op.sign, op.type.shape) * end for end in (x.type.lo, x.type.hi)]
        lo, hi = np.minimum(*ends), np.maximum(*ends)
        for k in range(count):
            level = np.clip(np.broadcast_to(op.levels[..., k], op.type.shape), lo, hi + 1)
            steps.append(self.affine(x, op.sign, 1 - level, 0, one, op.type.shape, op.node))
        t, total = op.type.common, self.summed(steps, op.node)
        return self.affine(total, 1, op.base, 0, Type(t.lo, t.hi, op.type.frac), op.type.shape, op.node) if op.base.any() else total

    def table(self, op: Table, x: Tensor) -> Tensor:
        last = op.values.shape[-1] - 1
        return self.lookup(op, x, op.values, lambda row, codes: row[np.clip(codes - op.first, 0, last)])

    def lookup(self, op: Op, x: Tensor, rows: Ints, function: Callable[[Ints, Ints], Ints]) -> Tensor:
        """hls4ml's `UnaryLUT`, which has the bits of its operand as index. Elements that have functions of their own, `function(row,
        codes)` for the last axis of `rows`, find them one behind the other in one table: each adds the place of its own."""
        width = lookup_bits(x, rows)
        if width > MOST_TABLE_BITS:
            raise UserError(f"its table would be indexed by {width} bits; {MOST_TABLE_BITS} are the most", node=op.node,
                            remedy="Quantise its operand to fewer bits, or choose scales that are powers of two, or the target hls")
        kinds, kind = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True)
        index, lo, hi = np.arange(1 << width), x.type.lo, x.type.hi
        if len(kinds) == 1:
            x = self.spread(x, op.type.shape, op.node)
            codes = np.where(index >> (width - 1), index - (1 << width), index) if lo < 0 else index
            values = function(kinds[0], np.clip(codes, lo, hi))
        else:
            span = hi - lo + 1
            index = np.minimum(index, len(kinds) * span - 1)
            place = kind.reshape(rows.shape[:-1]) * span - lo
            x = self.affine(x, 1, place, 0, Type(0, len(kinds) * span - 1, x.type.frac), op.type.shape, op.node)
            values = np.concatenate([function(row, np.arange(lo, hi + 1)) for row in kinds])[index]
        entries = Constant(np.asarray(values, np.int64), op.type.frac)
        return self.add("UnaryLUT", op.node, [x], replace(x, type=entries.type), {"activation": "unary_lut"},
                        {"table": entries})

    # -- several tensors -----------------------------------------------------------------------------------------------

    def merged(self, kind: str, x: Tensor, y: Tensor, result: Type, node: str) -> Tensor:
        if x.last != y.last:
            x, y = self.first(x, node), self.first(y, node)
        return self.add("Merge", node, [x, y], replace(x, type=result), {"op": kind})

    def summed(self, parts: Sequence[Tensor], node: str) -> Tensor:
        """The sum of tensors of one shape and one frac."""
        total = parts[0]
        for part in parts[1:]:
            t = Type(total.type.lo + part.type.lo, total.type.hi + part.type.hi, part.type.frac)
            total = self.merged("add", total, part, t, node)
        return total

    def combine(self, op: Combine, *operands: Tensor) -> Tensor:
        parts, add, shape = [], op.offset, op.type.shape
        for scale, x in zip(op.scales, operands, strict=True):
            whole = np.broadcast_to(scale, shape)
            ends = np.stack([whole * x.type.lo + add, whole * x.type.hi + add])
            t = Type(int(ends.min()), int(ends.max()), op.type.frac)
            parts.append(self.affine(x, scale, add, 0, t, shape, op.node))
            add = np.zeros((), np.int64)
        return self.summed(parts, op.node)

    def multiply(self, op: Multiply, x: Tensor, y: Tensor) -> Tensor:
        t = op.type.common
        result = Type(t.lo, t.hi, x.type.frac + y.type.frac)
        return self.merged("multiply", self.spread(x, op.type.shape, op.node), self.spread(y, op.type.shape, op.node), result, op.node)

    def extremum(self, op: Extremum, x: Tensor, y: Tensor) -> Tensor:
        t, shape = op.type.common, op.type.shape
        y = self.aligned(y, x.type.frac, op.node)
        return self.merged("maximum" if op.largest else "minimum", self.spread(x, shape, op.node), self.spread(y, shape, op.node),
                           Type(t.lo, t.hi, x.type.frac), op.node)

    def select(self, op: Select, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """y + condition * (x - y)."""
        node, t, frac = op.node, op.type.common, x.type.frac
        condition, x, y = (self.spread(v, op.type.shape, node) for v in (self.aligned(condition, 0, node), x, self.aligned(y, frac, node)))
        most = Type(x.type.lo - y.type.hi, x.type.hi - y.type.lo, frac)
        chosen = Type(min(most.lo, 0), max(most.hi, 0), frac)
        change = self.merged("multiply", condition, self.merged("subtract", x, y, most, node), chosen, node)
        return self.merged("add", change, y, Type(t.lo, t.hi, frac), node)

    def concat(self, op: Concat, *operands: Tensor) -> Tensor:
        """As matrices of what is before and behind the axis."""
        before = math.prod(op.type.shape[:op.axis % len(op.type.shape)])
        frac = operands[0].type.frac
        total: Tensor | None = None
        for x in operands:
            x = self.reshaped(self.aligned(x, frac, op.node), (before, x.size // before), op.node)
            if total is None:
                total = x
                continue
            t = Type(min(total.type.lo, x.type.lo), max(total.type.hi, x.type.hi), frac)
            shape = (before, total.shape[1] + x.shape[1])
            total = self.add("Concatenate", op.node, [total, x], Tensor("", t, shape), {"axis": 2, "op": "concatenate2d"})
        assert total is not None
        return self.reshaped(total, op.type.shape, op.node)

    # -- sums and windows ----------------------------------------------------------------------------------------------

    def dense_op(self, op: Dense, x: Tensor) -> Tensor:
        t = op.type.common
        result = Type(t.lo, t.hi, op.type.frac)
        weight, bias = Constant(op.weight, result.frac - x.type.frac), Constant(op.bias, result.frac)
        if len(x.shape) == 1:
            return self.dense(x, weight, bias, result, op.node)
        rows = x.size // x.shape[-1]
        x = replace(self.reshaped(x, (rows, x.shape[-1]), op.node), shape=(x.shape[-1], rows), last=True)
        y = self.convolved(x, op.weight.T[..., None], op.bias, (1,), (0, 0), result, op.node)
        return self.reshaped(replace(y, shape=(rows, len(op.bias)), last=False), op.type.shape, op.node)

    def conv(self, op: Conv, x: Tensor) -> Tensor:
        t, spatial = op.type.common, len(x.shape) - 1
        if op.fill:
            x = self.affine(x, 1, -op.fill, 0, Type(x.type.lo - op.fill, x.type.hi - op.fill, x.type.frac), x.shape, op.node)
        per_group = len(op.weight) // op.groups
        weight = np.zeros((len(op.weight), x.shape[0], *op.weight.shape[2:]), np.int64)
        for o, w in enumerate(op.weight):
            first = o // per_group * len(w)
            weight[o, first:first + len(w)] = w
        return self.convolved(x, dilated(weight, op.dilations), op.constant(spatial).reshape(-1), op.strides, op.pads,
                              Type(t.lo, t.hi, op.type.frac), op.node)

    def sum_pool(self, op: SumPool, x: Tensor) -> Tensor:
        t, channels = op.type.common, x.shape[0]
        weight = np.multiply.outer(np.eye(channels, dtype=np.int64), np.ones(op.kernel, np.int64))
        return self.convolved(x, dilated(weight, op.dilations), np.zeros(channels, np.int64), op.strides, op.pads,
                              Type(t.lo, t.hi, op.type.frac), op.node)

    def convolved(self, x: Tensor, weight: Ints, bias: Ints, strides: Sequence[int], pads: Sequence[int], result: Type,
                  node: str) -> Tensor:
        """`weight` [out, in, *kernel]."""
        x = self.last(x, node)
        attributes, out = geometry(x.shape[1:], weight.shape[2:], strides, pads, "filt", node)
        attributes |= {"n_chan": x.shape[0], "n_filt": len(weight)}
        own = np.ascontiguousarray(np.moveaxis(weight, (0, 1), (-1, -2)))
        return self.add(f"Conv{len(out)}D", node, [x], Tensor("", result, (len(weight), *out), last=True), attributes,
                        {"weight": Constant(own, result.frac - x.type.frac), "bias": Constant(bias, result.frac)}, accum=result)

    def extreme_pool(self, op: ExtremePool, x: Tensor) -> Tensor:
        if any(d != 1 for d in op.dilations):
            raise UserError("hls4ml has no dilated pooling", node=op.node, remedy="Choose the target hls")
        return self.pooled(x, op.kernel, op.strides, op.pads, op.largest, op.node)

    def pooled(self, x: Tensor, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], largest: int, node: str) -> Tensor:
        """The largest of every window; the smallest is the largest of the negated codes."""
        if not largest:
            x = self.affine(x, -1, 0, 0, Type(-x.type.hi, -x.type.lo, x.type.frac), x.shape, node)
        if any(pads) and x.type.lo >= 0:  # hls4ml pads with the number whose highest bit alone is set: the lowest, if signed
            x = self.affine(x, 1, 0, 0, Type(-1, x.type.hi, x.type.frac), x.shape, node)
        x = self.last(x, node)
        attributes, out = geometry(x.shape[1:], kernel, strides, pads, "pool", node)
        attributes["n_filt"] = x.shape[0]
        if len(out) == 1:
            attributes |= {"n_in": attributes.pop("in_width"), "n_out": attributes.pop("out_width")}
        t = replace(x.type, rounding="TRN", overflow="WRAP")
        y = self.add(f"MaxPooling{len(out)}D", node, [x], Tensor("", t, (x.shape[0], *out), last=True), attributes, accum=t)
        return y if largest else self.affine(y, -1, 0, 0, Type(-t.hi, -t.lo, t.frac), y.shape, node)

    def reduce_extreme(self, op: ReduceExtreme, x: Tensor) -> Tensor:
        """As pooling over all elements of the axes."""
        axes = [a % len(x.shape) for a in op.axes]
        kept = [a for a in range(len(x.shape)) if a not in axes]
        x = self.first(x, op.node)
        moved = self.permuted(x, [*kept, *axes], op.node, replace(x, shape=tuple(x.shape[a] for a in (*kept, *axes))))
        count = math.prod(x.shape[a] for a in axes)
        matrix = self.reshaped(moved, (x.size // count, count), op.node)
        y = self.pooled(matrix, (count,), (1,), (0, 0), op.largest, op.node)
        return self.reshaped(y, op.type.shape, op.node)

    def reduce_sum(self, op: ReduceSum, x: Tensor) -> Tensor:
        t = op.type.common
        target = np.arange(op.type.size).reshape([1 if a in {b % len(x.shape) for b in op.axes} else n for a, n in enumerate(x.shape)])
        place = np.broadcast_to(target, x.shape).reshape(-1, 1)
        self.sized(x.size, op.type.size, op.node)
        return self.matrix(x, (place == np.arange(op.type.size)).astype(np.int64), np.zeros(op.type.size, np.int64),
                           Type(t.lo, t.hi, x.type.frac), op.type.shape, op.node)

    # -- shape ---------------------------------------------------------------------------------------------------------

    def reshape(self, op: Reshape, x: Tensor) -> Tensor:
        return self.reshaped(x, op.shape, op.node)

    def transpose(self, op: Transpose, x: Tensor) -> Tensor:
        x = self.first(x, op.node)
        return self.permuted(x, op.perm, op.node, replace(x, shape=op.type.shape))

    def take(self, op: Take, x: Tensor) -> Tensor:
        places = np.arange(x.size).reshape(x.shape)
        return self.selected(x, np.asarray(taken(places, op.indices, -1)), op.fill, op.node)


CONVERTING = ("Dense", "Conv1D", "Conv2D", "BatchNormalization", "Merge")
"""Layers that compute a result exactly and then convert it once."""
BUILDERS: Mapping[type[Op], Callable[..., Tensor]] = {
    Requant: _Maker.requant, Thresholds: _Maker.thresholds, Table: _Maker.table, Combine: _Maker.combine, Multiply: _Maker.multiply,
    Extremum: _Maker.extremum, Select: _Maker.select, Concat: _Maker.concat, Dense: _Maker.dense_op, Conv: _Maker.conv,
    SumPool: _Maker.sum_pool,
    ExtremePool: _Maker.extreme_pool, ReduceExtreme: _Maker.reduce_extreme, ReduceSum: _Maker.reduce_sum, Reshape: _Maker.reshape,
    Transpose: _Maker.transpose, Take: _Maker.take}


def lookup_bits(x: Tensor, rows: Ints) -> int:
    """The bits that index a table for `x`, where elements have the functions that `rows` say (parameters along the last axis)."""
    kinds = len(np.unique(rows.reshape(-1, rows.shape[-1]), axis=0))
    return x.type.width if kinds == 1 else bits_for(0, kinds * (x.type.hi - x.type.lo + 1) - 1)


def direct_type(op: Requant, lo: Ints, hi: Ints) -> Type | None:
    """The type whose own overflow is the operation's limit, for values in lo..hi before it; None where there is none."""
    t, frac = op.type.common, op.type.frac
    below, above = (set(np.broadcast_to(limit, lo.shape)[needed].tolist()) for limit, needed in ((op.lo, lo < op.lo), (op.hi, hi > op.hi)))
    if not below and not above:
        return Type(t.lo, t.hi, frac)
    if op.overflow == WRAP:
        ranges = {(int(a), int(b)) for a, b in np.broadcast(op.lo, op.hi)}
        first, end = ranges.pop()
        span = end - first + 1
        return Type(first, end, frac) if not ranges and first in (0, -span // 2) and span > 1 else None
    if len(below) > 1 or len(above) > 1:
        return None
    low, high = next(iter(below), None), next(iter(above), None)
    for width in range(1, MAX_WIDTH + 1):
        for signed in (False, True):
            whole = Fixed.of(width, width, signed)
            holds = whole.lo <= t.lo and t.hi <= whole.hi and high in (None, whole.hi)
            if holds and low in (None, whole.lo):
                return Type(whole.lo, whole.hi, frac, overflow="SAT")
            if holds and signed and width > 1 and low == -whole.hi and t.lo >= low:
                return Type(whole.lo, whole.hi, frac, overflow="SAT_SYM")
    return None


def dilated(weight: Ints, dilations: Sequence[int]) -> Ints:
    """The kernel with zeros between its taps."""
    if all(d == 1 for d in dilations):
        return weight
    sizes = [(n - 1) * d + 1 for n, d in zip(weight.shape[2:], dilations, strict=True)]
    spread = np.zeros((*weight.shape[:2], *sizes), np.int64)
    spread[last(tuple(slice(None, None, d) for d in dilations))] = weight
    return spread


def geometry(size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], what: str,
             node: str) -> tuple[dict[str, Any], tuple[int, ...]]:
    """hls4ml's attributes of a layer with windows, and its positions per axis."""
    n = len(size)
    if n not in (1, 2) or min(pads) < 0:
        raise UserError(f"hls4ml has no windows over {n} axes" if n not in (1, 2) else "hls4ml has no negative padding", node=node,
                        remedy="Choose the target hls")
    window = Window(tuple(size), tuple(kernel), tuple(strides), (1,) * n, tuple(pads)).out
    axes = (("width", "left", "right"),) if n == 1 else (("height", "top", "bottom"), ("width", "left", "right"))
    attributes: dict[str, Any] = {"data_format": "channels_last"}
    for a, (axis, begin, end) in enumerate(axes):
        attributes |= {f"in_{axis}": size[a], f"out_{axis}": window[a], f"{what}_{axis}": kernel[a], f"stride_{axis}": strides[a],
                       f"pad_{begin}": pads[a], f"pad_{end}": pads[n + a]}
    return attributes, window
