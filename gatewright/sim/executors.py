"""The second judge: the public executors (qonnx, onnxruntime) beside the exact one; they differ where float32 rounds.

That a difference is float32's own is proven, not assumed. Every node that the executor computed between the earlier
quantisers and the one that differs is computed again, exactly, from the same float32 operands: its result lies within the
error bound of that operator in float32 arithmetic (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section
3.1: a sum of n products, in any order, is off by at most gamma_n = n u / (1 - n u) times the sum of their magnitudes).
And the quantiser itself gives, exactly, the executor's code on the float32 operand that reached it, or that operand lies so
near to where the two codes meet that the float32 division decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gatewright.errors import InternalError, UserError
from gatewright.sim.judge import Judge, Number, Trace

Array = NDArray[Any]

QONNX = "qonnx.custom_op.general"
ALIASES = ("onnx.brevitas", "finn.custom_op.general")
"""Domains in which QONNX's operators also come; qonnx itself does not know them all."""
CHANNELS_LAST = "qonnx.custom_op.channels_last"
FOUR_BITS = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
"""numpy has no such type, so onnxruntime takes them only as constants in the file."""
EXECUTOR_IR_VERSION = 10
"""onnx writes newer files than onnxruntime reads."""


UNIT = 2.0**-24
"""Float32's unit roundoff."""
FUNCTIONS = {"Sigmoid", "Tanh", "Exp", "Log", "Erf", "Softplus", "Softsign", "Elu", "Selu", "Celu", "Gelu", "Mish", "Softmax",
             "LayerNormalization", "Swish"}
"""Approximated by polynomials, for which no bound is published; ..."""
FUNCTION_ERROR = 2.0**-18
"""... this is what they are held to, of the value or of 1."""
SUMS = {"MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "Add", "Sub", "BatchNormalization", "ReduceSum", "ReduceMean",
        "AveragePool", "GlobalAveragePool"}
"""Operators whose terms may cancel, so that the error is relative to the terms' magnitudes."""


@dataclass(frozen=True)
class Difference:
    """A code in which the executor and exact arithmetic differ, given the executor's codes of all earlier quantisers.

    The evidence: `exact` is the value before rounding, `executor_before` the same computed exactly from the float32
    number that reached the executor's quantiser. Both count steps of the quantiser (for BipolarQuant they are plain).
    """

    tensor: str
    node: str
    index: tuple[int, ...]
    """Sample (batch of the model), then the element in the model's shape; for a constant the element only."""
    exact: Number
    code: int
    executor_code: int
    executor_before: Number
    cause: str
    """`sum`: float32 moved the operand of the quantiser across the boundary; `division`: the quantiser's own division did;
    empty: neither is proven."""

    @property
    def float32_error(self) -> Number:
        """What float32 had lost before the quantiser; where it is 0, the quantiser's own division lost it."""
        difference = self.executor_before - self.exact
        return difference if difference >= 0 else -difference


@dataclass(frozen=True)
class Comparison:
    """Differences in codes, and how much was compared."""

    differences: list[Difference]
    codes: int
    """Of all quantisers, for all samples."""
    values: int
    """Elements of outputs that no quantiser writes."""
    different_values: int
    """Those of them that are not the exact value, rounded to float32 once."""
    unproven: tuple[str, ...]
    """Nodes in front of differing values whose float32 result lies outside its error bound."""


def compare_with_qonnx(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Comparison:
    """Compare every quantiser's codes with those of qonnx's executor, quantiser by quantiser, and outputs without one.

    `feeds` are float32 arrays named like the model's inputs, axis 0 the samples (few: the executor takes 10 to 500 ms
    for each). One early difference does not spread: every quantiser is judged on what the executor's earlier ones gave.
    Raises UserError where the model or the executor refuses.
    """
    prepared = _prepare(model)
    batch = _batch(prepared)
    if any(len(array) % batch for array in feeds.values()):
        raise UserError(f"the model computes {batch} samples at a time; the number given is no multiple of that")
    known: dict[str, Array] = {
        name: np.asarray(array, np.float32).reshape(-1, batch, *array.shape[1:]) for name, array in feeds.items()}
    contexts = _execute(prepared, known)
    _declare_shapes(prepared, contexts)
    judge, steps = Judge(prepared), Steps(prepared, contexts)
    differences: list[Difference] = []
    compared = 0
    quantised = {q.tensor: q.node for q in judge.run(known, keep=()).quantisers}
    for tensor, name in quantised.items():
        node = _node(prepared, tensor)
        given = {i: known[i] for i in steps.needed(tensor, known)}
        trace = judge.run(given, outputs=[tensor])
        first = 0 if trace.is_constant(tensor) else slice(None)  # constants come out the same for every sample
        codes = _codes(node, trace, contexts[tensor][first])
        compared += codes.size
        if (trace.codes(tensor).reshape(codes.shape) != codes).any():
            read = {i: contexts[i] for i in node.input if i in contexts}
            sound = not steps.unproven(node.input[0])
            differences += _differences(node, name, trace, codes, judge.run({**given, **read}, outputs=[tensor]), sound)
        scale, zero = _grid(node, trace)
        value = _values(codes, scale, zero)
        steps.quantised(tensor, value)
        if not trace.is_constant(tensor):  # mostly the executor's own array, which is there anyway
            known[tensor] = contexts[tensor] if value.dtype != object and np.array_equal(value, contexts[tensor]) else value
    values = different = 0
    unproven: set[str] = set()
    for tensor in {o.name for o in prepared.graph.output} - known.keys():
        exact = judge.run({i: known[i] for i in steps.needed(tensor, known)}, outputs=[tensor]).float32(tensor)
        wrong = int((exact.reshape(contexts[tensor].shape) != contexts[tensor]).sum())
        values, different = values + exact.size, different + wrong
        unproven |= steps.unproven(tensor) if wrong else set()
    return Comparison(differences, compared, values, different, tuple(sorted(unproven)))


def _grid(node: onnx.NodeProto, trace: Trace) -> tuple[Array, Array]:
    """Scale and zero point (dtype object) by which the output of a quantiser is `(code - zero point) * scale`."""
    one, none = np.array(Fraction(1), object), np.array(Fraction(0), object)
    if node.domain != QONNX:
        return one, none
    if node.op_type == "MultiThreshold":
        attributes = {a.name: Fraction(a.f) for a in node.attribute}
        step, bias = attributes.get("out_scale", Fraction(1)), attributes.get("out_bias", Fraction(0))
        return np.array(step, object), np.array(-bias / step, object)
    scale = trace.exact(node.input[1])
    zero = trace.exact(node.input[2]) if len(node.input) > 2 else none
    if node.op_type == "Trunc" and len(node.input) > 5:
        out_scale = trace.exact(node.input[4])
        return out_scale, np.asarray(zero * scale / out_scale, object)
    return scale, zero


def _values(codes: NDArray[np.int64], scale: Array, zero: Array) -> Array:
    """(codes - zero) * scale, exact: float64 where that surely holds it, else exact numbers."""
    if all(isinstance(v, Fraction) and v == float(v) for v in (*scale.flat, *zero.flat)):
        digits = max((abs(v.numerator).bit_length() for v in scale.flat), default=0)
        ends = (int(codes.min(initial=0)), int(codes.max(initial=0)))
        largest = max((abs(end - v) for end in ends for v in zero.flat), default=Fraction(0))
        if all(v.denominator == 1 for v in zero.flat) and digits + int(largest).bit_length() <= 53:
            return np.asarray((codes - zero.astype(np.int64)) * scale.astype(np.float64))
    return np.asarray((codes.astype(object) - zero) * scale, object)


def _codes(node: onnx.NodeProto, trace: Trace, output: Array) -> NDArray[np.int64]:
    """The executor's codes from its output; float32 keeps it close enough to the grid to see which code is meant."""
    scale, zero = _grid(node, trace)
    steps = output / scale.astype(np.float64) + zero.astype(np.float64)
    codes = np.rint(steps)
    if (np.abs(steps - codes) > 2.0**-6).any():
        raise InternalError(f"the executor's output of '{node.output[0]}' is not on the grid of its quantiser")
    return codes.astype(np.int64)


def _differences(node: onnx.NodeProto, name: str, trace: Trace, codes: NDArray[np.int64], read: Trace,
                 sound: bool) -> list[Difference]:
    """`read` is the exact quantiser on what the executor's quantiser read; `sound`: all nodes in front are proven."""
    want, own = (t.codes(node.output[0]).reshape(codes.shape) for t in (trace, read))
    exact, before = (t.before_rounding(node.output[0]).reshape(codes.shape) for t in (trace, read))
    zero = _largest_zero_point(node, trace)
    found = []
    for at in map(tuple, np.argwhere(want != codes).tolist()):
        code, got = int(want[at]), int(codes[at])
        near = abs(int(own[at]) - got) == 1 and isinstance(before[at], Fraction) and _on_the_edge(before[at], zero)
        cause = "" if not sound else "sum" if own[at] == got else "division" if near else ""
        found.append(Difference(node.output[0], name, at, exact[at], code, got, before[at], cause))
    return found


def _on_the_edge(steps: Fraction, zero: Fraction) -> bool:
    """Whether a float32 division, and the addition of a zero point before or after it, may take a value across the place where
    its code changes: an integer or half of one, in every rounding mode."""
    return abs(steps - Fraction(round(steps * 2), 2)) <= (abs(steps) + abs(zero) + 1) * Fraction(1, 1 << 23)


def _largest_zero_point(node: onnx.NodeProto, trace: Trace) -> Fraction:
    """The magnitude of the zero point that the quantiser adds; 0 where it has none."""
    place = 2 if node.op_type in ("Quant", "IntQuant", "QuantizeLinear", "Trunc") else -1 if node.op_type.startswith("Q") else None
    if place is None or len(node.input) <= abs(place) or not node.input[place]:
        return Fraction(0)
    return max(abs(Fraction(v)) for v in np.asarray(trace.exact(node.input[place]), object).reshape(-1))


class Steps:
    """The executor's nodes one by one: is each result float32's own for the float32 operands that it had?"""

    def __init__(self, model: onnx.ModelProto, contexts: Mapping[str, Array]) -> None:
        self._model, self._contexts = model, contexts
        self._producer = {name: node for node in model.graph.node for name in node.output if name}
        self._stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self._data = contexts.keys() - self._producer.keys()
        for node in model.graph.node:
            if self._data.intersection(node.input):
                self._data |= set(node.output)
        self._sound: dict[str, bool] = {}
        self._quantised: set[str] = set()

    def quantised(self, tensor: str, exact: Array) -> None:
        """Checks what the executor made of a quantiser's codes: code times scale, in float32."""
        self._quantised.add(tensor)
        exact = exact.astype(np.float64)
        error = np.abs(self._contexts[tensor].astype(np.float64) - exact)
        self._sound[tensor] = bool((error <= 4 * UNIT * np.abs(exact)).all())

    def needed(self, tensor: str, known: Mapping[str, Array]) -> set[str]:
        """The known tensors that this one is computed from, up to the nearest."""
        waiting, seen = list(self._producer[tensor].input), set()
        while waiting:
            name = waiting.pop()
            if name not in seen and name not in known and name in self._producer:
                waiting += self._producer[name].input
            seen.add(name)
        return seen & known.keys()

    def unproven(self, tensor: str) -> set[str]:
        """The nodes in front of a tensor, up to quantisers and they included, whose results are outside the bounds."""
        waiting, seen, found = [tensor], set(), set()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self._producer:
                continue
            seen.add(name)
            node = self._producer[name]
            if name not in self._sound:
                self._sound[name] = self._within(name, node)
            if name not in self._quantised:
                waiting += [i for i in node.input if i]
            if not self._sound[name]:
                found.add(node.name or name)
        return found

    def _within(self, name: str, node: onnx.NodeProto) -> bool:
        exact, got = self._exactly(name, node), self._contexts[name].astype(np.float64)
        if node.op_type in FUNCTIONS:
            bound = FUNCTION_ERROR * np.maximum(np.abs(exact), 1)
        else:
            operations = self._terms(name, node) + 8
            size = self._exactly(name, node, np.abs) if node.op_type in SUMS else exact
            bound = operations * UNIT / (1 - operations * UNIT) * np.abs(size)
        return bool((np.abs(got - exact) <= bound).all())

    def _terms(self, name: str, node: onnx.NodeProto) -> int:
        """How many products are added up in an element of the result, at most."""
        shapes = [self._one(i).shape for i in node.input if i]
        if node.op_type in ("Conv", "ConvTranspose"):
            return int(np.prod(shapes[1]))
        if node.op_type in ("MatMul", "Gemm"):
            return int(max(shapes[0]))
        return int(np.prod(shapes[0])) if node.op_type in SUMS - {"Add", "Sub", "BatchNormalization"} else 2

    def _one(self, name: str) -> Array:
        """What the executor read, for the first sample."""
        return np.asarray(self._contexts[name][0] if name in self._contexts else self._stored[name])

    def _exactly(self, name: str, node: onnx.NodeProto, of: Callable[[Array], Array] = lambda x: x) -> Array:
        """In float64, correctly rounded, what exact arithmetic makes of the executor's operands, or of their magnitudes."""
        single = _single(node, self._model, {i: self._one(i) for i in node.input if i})
        if of is np.abs and node.op_type == "Sub":
            single.graph.node[0].op_type = "Add"
        feeds = {}
        for given in list(single.graph.input):
            sign = -1 if of is np.abs and node.op_type == "BatchNormalization" and given.name == node.input[3] else 1
            array = self._contexts[given.name] if given.name in self._data else self._one(given.name)
            array = sign * of(array) if array.dtype.kind == "f" else array
            if given.name in self._data:
                feeds[given.name] = array
            else:
                single.graph.initializer.append(numpy_helper.from_array(array, given.name))
                single.graph.input.remove(given)
        got = self._contexts[name]
        exact = Judge(single).run(feeds, outputs=[name]).float64(name)
        return exact.reshape(got.shape) if feeds else np.broadcast_to(exact, got.shape)


def _node(model: onnx.ModelProto, tensor: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if tensor in node.output)


def _prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with QONNX's operators in the one domain that qonnx always knows."""
    copy = deepcopy(model)
    for node in copy.graph.node:
        node.domain = QONNX if node.domain in ALIASES else node.domain
    return copy


def _batch(model: onnx.ModelProto) -> int:
    """How many samples the file bakes in; 1 where it leaves that open."""
    constants = {i.name for i in model.graph.initializer}
    shapes = [i.type.tensor_type.shape.dim for i in model.graph.input if i.name not in constants]
    return max([1, *(int(dims[0].dim_value) for dims in shapes if dims)])


def _declare_shapes(model: onnx.ModelProto, contexts: Mapping[str, Array]) -> None:
    """Give every tensor the shape that it really has: what files say about inner tensors is often wrong."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        for name in node.output:
            if name:
                shape = contexts[name].shape[1:]
                model.graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))


def _execute(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor that the executor computed, [runs, shape in the model], node after node as qonnx does it."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    steps = [_executable(node, model) for node in model.graph.node]
    runs = []
    for number in range(min(len(array) for array in feeds.values())):
        context = {**constants, **{name: array[number] for name, array in feeds.items()}}
        for step in steps:
            step(context)
        runs.append(context)
    return {name: np.stack([run.pop(name) for run in runs]) for name in runs[0].keys() - constants.keys()}


def _executable(node: onnx.NodeProto, model: onnx.ModelProto) -> Callable[[dict[str, Array]], None]:
    """Executes one node in a context of tensors: with qonnx where the operator is QONNX's, else with onnxruntime."""
    if node.domain == CHANNELS_LAST:
        return _channels_first(node, model)
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
    from qonnx.core.execute_custom_node import execute_custom_node
    narrow = {i.name: i for i in model.graph.initializer if i.data_type in FOUR_BITS}
    inputs = [name for name in node.input if name and name not in narrow]
    session: Any = None

    def run(context: dict[str, Array]) -> None:
        nonlocal session
        if node.domain == QONNX:
            version = 2 if node.op_type == "Trunc" and len(node.input) > 5 else 1
            execute_custom_node(node, context, model.graph, onnx_opset_version=version)
            return
        if session is None:
            options = SessionOptions()
            options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
            session = InferenceSession(_single(node, model, context).SerializeToString(), options)
        outputs = [name for name in node.output if name]
        context.update(zip(outputs, session.run(outputs, {name: context[name] for name in inputs}), strict=True))

    def refusing(context: dict[str, Array]) -> None:
        try:
            run(context)
        except Exception as error:  # qonnx and onnxruntime raise their own and plain exceptions
            raise UserError(f"the executor cannot compute {node.op_type}: {error}", node=node.name) from None
    return refusing


def _channels_first(node: onnx.NodeProto, model: onnx.ModelProto) -> Callable[[dict[str, Array]], None]:
    """As ONNX's own operator on transposed tensors, which is what qonnx does with onnxruntime's optimisations."""
    plain = deepcopy(node)
    plain.domain = ""
    inner = _executable(plain, model)
    images = node.input[:2] if node.op_type == "Conv" else node.input[:1]

    def run(context: dict[str, Array]) -> None:
        moved = {name: np.ascontiguousarray(np.moveaxis(context[name], -1, 1)) for name in images}
        turned = {**context, **moved}
        inner(turned)
        context[node.output[0]] = np.ascontiguousarray(np.moveaxis(turned[node.output[0]], 1, -1))
    return run


def _single(node: onnx.NodeProto, model: onnx.ModelProto, context: Mapping[str, Array]) -> onnx.ModelProto:
    """A model of one node, for inputs like those in the context."""
    stored = [i for i in model.graph.initializer if i.data_type in FOUR_BITS and i.name in node.input]
    given = {name: context[name] for name in node.input if name and name not in [i.name for i in stored]}
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
              for name, array in given.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    opset = [o for o in model.opset_import if o.domain in ("", node.domain)]
    if node.domain and node.domain not in [o.domain for o in opset]:
        opset.append(helper.make_opsetid(node.domain, 1))
    return helper.make_model(helper.make_graph([node], "node", inputs, outputs, stored), opset_imports=opset,
                             ir_version=EXECUTOR_IR_VERSION)
