"""hls4ml's precision configuration for a float model: every cast that hls4ml would make, written into the ONNX model.

The result is an ordinary ONNX file of products, `Floor`, `Clip` and QONNX's `Quant`, which says by itself what is computed; it is
what is compiled, verified and stored. What the casts are follows hls4ml 1.3 (`nnet_dense_latency.h`, `nnet_activation.h`): constants
are cast to their types, products to the accumulator's before they are added, sums to the result's. Defaults are truncation and wrap.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gatewright.compiler.frontend.onnx_file import node_names
from gatewright.errors import UserError
from gatewright.ir.exact import ROUND_NUMBER
from gatewright.ir.fixed import ROUNDING, Cast, Fixed

Array = NDArray[Any]
AUTO = "auto"
NO_EFFECT = ("ReuseFactor", "Strategy", "TargetCycles", "BramFactor", "ConvImplementation", "ParallelizationFactor", "Compression", "Trace",
             "TraceOutput", "PipelineStyle", "PipelineInterval", "ChannelsLastConversion", "TransposeOutputs", "TableSize", "BitExact")
"""Keys that are about hls4ml's hardware; gatewright has options of its own."""
LAYERS = {"MatMul": "Dense", "Gemm": "Dense", "Conv": "Conv", "Relu": "Activation", "Add": "Merge", "Sub": "Merge", "Mul": "Merge",
          "MaxPool": "MaxPooling", "Concat": "Concatenate", "Softmax": "Softmax"}
"""ONNX operators by the beginning of hls4ml's names of layer types."""
MOVES = ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout")


@dataclass(frozen=True)
class Applied:
    """The model with its casts, the types of its inputs as text, and what the user should know."""

    model: onnx.ModelProto
    input_types: Mapping[str, str]
    notes: tuple[str, ...]


def apply(model: onnx.ModelProto, configuration: Mapping[str, Any]) -> Applied:
    """Raises UserError, naming the node, for what gatewright does not compute as hls4ml does, and for names that are no layer's."""
    return _Writer(model, _Configuration.read(configuration)).write()


def cast_of(text: Any, where: str) -> Cast:
    """A type in hls4ml's notation, modes filled in."""
    plain = re.sub(r"^\s*(ap_|ac_)", "", str(text))
    plain = re.sub(r",\s*0\s*>", ">", plain) if plain.count(",") == 4 else plain
    whole = re.fullmatch(r"(u?)int\s*<\s*(\d+)\s*>\s*", plain)
    try:
        if whole:
            return Cast(Fixed.of(int(whole[2]), int(whole[2]), not whole[1]), "TRN", "WRAP")
        cast = Cast.parse(plain)
    except ValueError as error:
        raise UserError(f"{where} in the hls4ml configuration: {error}",
                        remedy="Write ap_fixed<width,integer bits,rounding,overflow>") from None
    return replace(cast, rounding=cast.rounding or "TRN", overflow=cast.overflow or "WRAP")


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: multiples of 2**-frac, within lo..hi where it was cast."""

    frac: int
    lo: Fraction | None = None
    hi: Fraction | None = None

    @staticmethod
    def of(cast: Cast) -> Value:
        unit = Fraction(2) ** -cast.type.frac
        return Value(cast.type.frac, cast.type.lo * unit, cast.type.hi * unit)

    def fits(self, cast: Cast) -> bool:
        """Whether a cast changes nothing."""
        other = Value.of(cast)
        low = -other.hi if cast.overflow == "SAT_SYM" and cast.type.signed and other.hi is not None else other.lo
        if self.lo is None or self.hi is None or low is None or other.hi is None:
            return False
        return self.frac <= other.frac and self.lo >= low and self.hi <= other.hi


@dataclass
class _Configuration:
    """Precisions as text: for the model, by layer type, by layer name; each by variable, `default` for the others."""

    model: dict[str, str]
    types: dict[str, dict[str, str]]
    names: dict[str, dict[str, str]]
    idle: set[str]

    @staticmethod
    def read(values: Mapping[str, Any]) -> _Configuration:
        own = values.get("HLSConfig", values)
        idle: set[str] = set()

        def precisions(entry: Any, where: str) -> dict[str, str]:
            if not isinstance(entry, Mapping):
                raise UserError(f"{where} in the hls4ml configuration is no table", remedy="Mend the file")
            for key in entry:
                if key in NO_EFFECT:
                    idle.add(key)
                elif key != "Precision":
                    raise UserError(f"{where} in the hls4ml configuration has '{key}', which gatewright does not take over",
                                    remedy="Remove it, or quantise that layer in the model")
            precision = entry.get("Precision", {})
            return {str(k): str(v) for k, v in precision.items()} if isinstance(precision, Mapping) else {"default": str(precision)}

        if not isinstance(own, Mapping) or not isinstance(own.get("Model"), Mapping):
            raise UserError("the hls4ml configuration has no 'Model'", remedy="Give a file as hls4ml.utils.config_from_... makes it")
        model = precisions(own["Model"], "Model")
        if "default" not in model or model["default"] == AUTO or "maximum" in model:
            raise UserError("gatewright needs a default precision of the model in the hls4ml configuration, and takes no 'maximum'",
                            remedy="Write Model: {Precision: {default: 'ap_fixed<16,6>'}}")
        tables = [{str(name): precisions(entry, f"{kind} '{name}'") for name, entry in (own.get(kind) or {}).items()}
                  for kind in ("LayerType", "LayerName")]
        return _Configuration(model, tables[0], tables[1], idle)


class _Writer:
    def __init__(self, model: onnx.ModelProto, configuration: _Configuration) -> None:
        self.source, self.configuration = model, configuration
        graph = model.graph
        self.own = list(graph.node)  # protobuf makes new objects at every look, and nodes are told apart by theirs
        self.names = dict(zip(map(id, self.own), node_names(graph), strict=True))
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.constants |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node
                           if n.op_type == "Constant" and n.attribute and n.attribute[0].name == "value"}
        self.readers: dict[str, list[Any]] = {}
        for n in self.own:
            for name in n.input:
                self.readers.setdefault(name, []).append(n)
        self.outputs = {o.name for o in graph.output}
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.nodes: list[Any] = []
        self.added: dict[str, Array] = {}
        self.values: dict[str, Value] = {}
        self.shapes = {i.name: len(i.type.tensor_type.shape.dim) for i in graph.input}
        self.done: set[int] = set()
        self.used: set[str] = set()
        self.layers = {part for n in self.own if n.op_type in ("MatMul", "Gemm", "Conv") for part in self.names[id(n)].split("/")}

    def write(self) -> Applied:
        graph, input_types = self.source.graph, {}
        if self.opset < 7:
            raise UserError(f"the model has opset {self.opset}; hls4ml's casts are written for 7 and above", remedy="Export it again")
        for info in graph.input:
            if info.name not in self.constants:
                cast = self.cast(info.name, "Input", [info.name], "result") or cast_of(self.configuration.model["default"], "Model")
                input_types[info.name], self.values[info.name] = str(cast), Value.of(cast)
        for n in self.own:
            if id(n) not in self.done and n.op_type != "Constant":
                self.node(n)
        unknown = self.configuration.names.keys() - self.used
        if unknown:
            raise UserError(f"the hls4ml configuration names the layer '{min(unknown)}', which the model does not have",
                            remedy=f"Its nodes are {', '.join(self.names.values())}; a part of such a name between slashes will do")
        model = copy.deepcopy(self.source)
        del model.graph.node[:], model.graph.value_info[:]
        model.graph.node.extend([n for n in self.own if n.op_type == "Constant"] + self.nodes)
        model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self.added.items())
        if not any(o.domain == "qonnx.custom_op.general" for o in model.opset_import):
            model.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
        idle = sorted(self.configuration.idle)
        notes = (f"Keys of the hls4ml configuration without effect here: {', '.join(idle)}.",) if idle else ()
        return Applied(model, input_types, notes)

    # -- precisions ----------------------------------------------------------------------------------------------------

    def entries(self, node: Any) -> list[str]:
        """The names under which a configuration may know a node, the best first."""
        name = self.names[id(node)]
        parts = [p for p in reversed(name.split("/")) if p]
        if node.op_type == "Relu":
            return [name, *(f"{p}_relu" for p in parts), *(p for p in parts if p not in self.layers)]
        return [name, *parts]

    def cast(self, name: str, kind: str, entries: Sequence[str], variable: str) -> Cast | None:
        """The type of a layer's variable, by the most special entry that has one; None for `auto`."""
        c = self.configuration
        own = next((e for e in entries if e in c.names), None)
        if own is not None:
            self.used.add(own)
        of_type = next((t for t in c.types if t.startswith(kind)), None)
        tables = [c.names.get(own or "", {}), c.types.get(of_type or "", {}), c.model]
        text = next(v for t in tables for v in (t.get(variable), t.get("default")) if v is not None)
        return None if text.strip().lower() == AUTO else cast_of(text, f"the {variable} of '{name}'")

    def known(self, node: Any, variable: str) -> Cast | None:
        return self.cast(self.names[id(node)], LAYERS[node.op_type], self.entries(node), variable)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def node(self, n: Any) -> None:
        name = self.names[id(n)]
        data = [i for i in n.input if i and i not in self.constants]
        if not data:
            self.nodes.append(n)
            return
        if n.op_type in MOVES:
            self.nodes.append(n)
            self.values[n.output[0]] = self.values[data[0]]
        elif n.op_type in ("MatMul", "Gemm", "Conv"):
            self.product(n, name)
        elif n.op_type in ("Relu", "MaxPool", "Concat") or (n.op_type in ("Add", "Sub", "Mul") and len(data) == 2):
            self.element_wise(n, data)
        elif n.op_type == "Softmax" and n.output[0] in self.outputs and n.output[0] not in self.readers:
            self.known(n, "result")
            self.nodes.append(n)
        elif "Quant" in n.op_type:
            raise UserError("the model has quantisers of its own, whose precisions hls4ml takes", node=name,
                            remedy="Leave --hls4ml away, or give the float model")
        else:
            raise UserError(f"the precision that hls4ml gives {n.op_type} is not taken over", node=name,
                            remedy="Choose outputs before it with --outputs, fold it into the layer before, or quantise it in the model")

    def element_wise(self, n: Any, data: Sequence[str]) -> None:
        """The operator exactly, then the cast to the result's type."""
        given = [self.values[i] for i in data]
        frac = sum(v.frac for v in given) if n.op_type == "Mul" else max(v.frac for v in given)
        result = self.known(n, "result")
        own = helper.make_node(n.op_type, list(n.input), [n.output[0]], name=n.name)
        own.attribute.extend(n.attribute)
        self.nodes.append(own)
        value = Value(frac)
        if n.op_type in ("Relu", "MaxPool"):
            low, high = given[0].lo, given[0].hi
            value = given[0] if low is None or high is None or n.op_type == "MaxPool" else Value(frac, max(low, Fraction(0)), high)
        self.finish(n.output[0], value, [result])

    def finish(self, output: str, value: Value, casts: Sequence[Cast | None]) -> None:
        """The last node writes `output`; casts behind it, as far as they change anything, so that the last of them writes it."""
        needed = []
        for cast in casts:
            if cast and not value.fits(cast):
                needed.append((cast, value.frac))
                value = Value.of(cast)
        self.values[output] = value
        if not needed:
            return
        names = [f"{output}_exact", *(f"{output}_cast{k}" for k in range(1, len(needed))), output]
        self.nodes[-1].output[0] = names[0]
        for (cast, frac), source, to in zip(needed, names, names[1:], strict=False):
            self.converted(source, to, cast, frac)

    def product(self, n: Any, name: str) -> None:
        """A layer with weights: hls4ml casts each product to the accumulator's type, adds them to the bias, and casts the sum."""
        weight, bias, output = self.parameters(n, name)
        types = {v: self.known(n, v) or cast_of(self.configuration.model["default"], "Model") for v in ("weight", "bias")}
        accum, result = self.known(n, "accum"), self.known(n, "result")
        frac = exact = self.values[n.input[0]].frac + types["weight"].type.frac
        if accum and accum.overflow != "WRAP":
            raise UserError(f"its accumulator {accum} saturates, so that the result depends on the order of the additions", node=name,
                            remedy="Give accum a type that wraps (the default), or auto")
        w, b = constant(weight, types["weight"], name), constant(bias, types["bias"], name)
        if accum:
            b = constant(b, accum, name)
        inner = f"{output}_sum"
        if accum and accum.type.frac < frac:
            self.truncated(n, name, w, accum, inner)
            frac = accum.type.frac
        else:
            op_type = "Conv" if n.op_type == "Conv" else "MatMul"
            own = helper.make_node(op_type, [n.input[0], self.constant(f"{name}_weight", w)], [inner], name=n.name)
            own.attribute.extend(n.attribute if op_type == "Conv" else [])
            self.nodes.append(own)
        shape = b.reshape(-1, *(1,) * (w.ndim - 2)) if n.op_type == "Conv" else b
        linear = next((p for p in self.entries(n) if f"{p}_linear" in self.configuration.names), None)
        last = self.cast(name, "Activation", [f"{linear}_linear"], "result") if linear else None
        self.op("Add", [inner, self.constant(f"{name}_bias", shape)], output)
        columns = w.reshape(len(w), -1).T if n.op_type == "Conv" else w
        sums = Value(max(frac, accum.type.frac if accum else types["bias"].type.frac))
        if not (accum and accum.type.frac < exact):
            sums = self.reach(self.values[n.input[0]], columns, b, sums.frac)
        self.finish(output, sums, [accum, result, last])

    @staticmethod
    def reach(x: Value, weight: Array, bias: Array, frac: int) -> Value:
        """Sums of products, [in, out], within what the operand's range gives; padding may count 0."""
        if x.lo is None or x.hi is None:
            return Value(frac)
        w, b = (np.asarray(np.frompyfunc(Fraction, 1, 1)(v.astype(np.float64)), object) for v in (weight, bias))
        up, down = np.maximum(w, 0).sum(axis=0), np.minimum(w, 0).sum(axis=0)
        low, high = min(x.lo, Fraction(0)), max(x.hi, Fraction(0))
        return Value(frac, min(up * low + down * high + b), max(up * high + down * low + b))

    def parameters(self, n: Any, name: str) -> tuple[Array, Array, str]:
        """Weights, [in, out] of a dense layer; bias; and the tensor that carries the layer's result, which is that of an addition of
        constants behind it."""
        a = {x.name: helper.get_attribute_value(x) for x in n.attribute}
        if n.input[0] in self.constants or n.input[1] not in self.constants:
            raise UserError(f"{n.op_type} without constant weights on the right is not taken over", node=name,
                            remedy="Quantise it in the model")
        if n.op_type == "Gemm" and (a.get("transA") or a.get("alpha", 1) != 1 or a.get("beta", 1) != 1):
            raise UserError("Gemm with transA, alpha or beta is not taken over", node=name, remedy="Export a plain dense layer")
        weight, output = self.constants[n.input[1]], n.output[0]
        weight = weight.T if a.get("transB") else weight
        outputs = weight.shape[0] if n.op_type == "Conv" else weight.shape[-1]
        bias = self.constants.get(n.input[2]) if len(n.input) > 2 else None
        readers = self.readers.get(output, [])
        if bias is None and len(readers) == 1 and readers[0].op_type == "Add" and output not in self.outputs:
            other = [i for i in readers[0].input if i != output]
            value = self.constants.get(other[0]) if other else None
            if value is not None and value.size in (1, outputs):
                self.done.add(id(readers[0]))
                bias, output = value, readers[0].output[0]
        bias = np.zeros(1, np.float32) if bias is None else bias
        return weight, np.broadcast_to(bias.reshape(-1), (outputs,)), output

    def truncated(self, n: Any, name: str, weight: Array, accum: Cast, output: str) -> None:
        """Each product cast to the accumulator's grid by itself, then the sum: [.., in, 1] * [in, out], rounded, over in."""
        if n.op_type == "Conv" or weight.ndim != 2:
            raise UserError(f"its accumulator {accum} is too coarse for its products, so that hls4ml rounds each of them, which is not "
                            f"taken over for {n.op_type}", node=name, remedy="Give accum: auto, or more fractional bits")
        x, grid = f"{output}_column", 2.0**accum.type.frac
        self.op("Reshape", [n.input[0], self.constant(f"{name}_column", np.array([0, len(weight), 1], np.int64))], x)
        self.op("Mul", [x, self.constant(f"{name}_weight", float32(weight * grid, "weights", name))], f"{output}_products")
        self.rounded(f"{output}_products", f"{output}_rounded", str(accum.rounding))
        if self.opset >= 13:
            axes = [self.constant(f"{name}_axes", np.array([1], np.int64))]
            self.op("ReduceSum", [f"{output}_rounded", *axes], f"{output}_codes", keepdims=0)
        else:
            self.op("ReduceSum", [f"{output}_rounded"], f"{output}_codes", axes=[1], keepdims=0)
        self.op("Mul", [f"{output}_codes", self.constant(f"{name}_unit", np.array(1 / grid, np.float32))], output)

    # -- casts as nodes ------------------------------------------------------------------------------------------------

    def op(self, op_type: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=f"{output}_{op_type}", domain=domain, **attributes))

    def constant(self, name: str, value: Array) -> str:
        name = f"{name}_hls4ml"
        self.added[name] = np.ascontiguousarray(value)
        return name

    def scalar(self, value: float) -> str:
        """A number as a constant, once."""
        name = f"hls4ml_{value!r}"
        self.added[name] = float32(np.array(value), "the limits of a type")
        return name

    def converted(self, value: str, output: str, cast: Cast, frac: int) -> None:
        """A multiple of 2**-frac as a number of a type."""
        t, grid = cast.type, 2.0**cast.type.frac
        if frac > t.frac:
            self.op("Mul", [value, self.scalar(grid)], f"{output}_scaled")
            self.rounded(f"{output}_scaled", f"{output}_rounded", str(cast.rounding))
        else:
            self.op("Mul", [value, self.scalar(grid)], f"{output}_rounded")
        if cast.overflow == "WRAP":
            span = float(t.hi - t.lo + 1)
            self.op("Sub", [f"{output}_rounded", self.scalar(float(t.lo))], f"{output}_above")
            self.op("Mul", [f"{output}_above", self.scalar(1 / span)], f"{output}_part")
            self.op("Floor", [f"{output}_part"], f"{output}_turns")
            self.op("Mul", [f"{output}_turns", self.scalar(span)], f"{output}_whole")
            self.op("Sub", [f"{output}_rounded", f"{output}_whole"], f"{output}_codes")
        else:
            low = -t.hi if cast.overflow == "SAT_SYM" and t.signed else t.lo
            limits = [self.scalar(float(low)), self.scalar(float(t.hi))]
            if self.opset < 11:
                self.op("Clip", [f"{output}_rounded"], f"{output}_codes", min=float(low), max=float(t.hi))
            else:
                self.op("Clip", [f"{output}_rounded", *limits], f"{output}_codes")
        self.op("Mul", [f"{output}_codes", self.scalar(1 / grid)], output)

    def rounded(self, value: str, output: str, mode: str) -> None:
        """A whole number."""
        if mode == "TRN":
            self.op("Floor", [value], output)
        elif mode == "RND_CONV" and self.opset >= 11:
            self.op("Round", [value], output)
        elif mode in ("RND", "RND_MIN_INF"):
            up = mode == "RND"
            self.op("Add", [value, self.scalar(0.5 if up else -0.5)], f"{output}_shifted")
            self.op("Floor" if up else "Ceil", [f"{output}_shifted"], output)
        else:
            parameters = [self.scalar(1.0), self.scalar(0.0), self.scalar(40.0)]
            self.op("Quant", [value, *parameters], output, "qonnx.custom_op.general", signed=1, narrow=0, rounding_mode=ROUNDING[mode])


def constant(values: Array, cast: Cast, node: str) -> Array:
    """Constants as numbers of a type, exactly, as float32. Raises UserError where float32 does not hold them."""
    t = cast.type
    unique, place = np.unique(values.astype(np.float64), return_inverse=True)
    codes = [limited(ROUND_NUMBER[ROUNDING[str(cast.rounding)]](Fraction(v) * Fraction(2)**t.frac), cast) for v in unique.tolist()]
    return float32(np.array(codes, np.float64)[place].reshape(values.shape) * 2.0**-t.frac, f"constants of the type {cast}", node)


def float32(values: Array, what: str, node: str | None = None) -> Array:
    """The same numbers as float32. Raises UserError where it does not hold them."""
    single = np.asarray(values, np.float32)
    if (single != values).any():
        raise UserError(f"{what} need more bits than float32 has", node=node, remedy="Give a narrower type")
    return single


def limited(code: int, cast: Cast) -> int:
    t = cast.type
    if cast.overflow == "WRAP":
        return (code - t.lo) % (t.hi - t.lo + 1) + t.lo
    return min(max(code, -t.hi if cast.overflow == "SAT_SYM" and t.signed else t.lo), t.hi)
