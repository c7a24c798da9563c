"""The independent judge: evaluates an ONNX file in exact arithmetic. It shares no code with the IR or the compiler.

Initialisers are the exact values of their binary floats, every operator is computed without rounding, and rounding
happens only where the model says so: in quantisers. `numbers` are exact numbers, `integers` exact integer arrays,
`tensor` exact tensors, `operators` the meaning of each ONNX operator; here is the walk over the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gatewright.errors import UserError
from gatewright.sim.judge import tensor, types
from gatewright.sim.judge.integers import IntArray
from gatewright.sim.judge.numbers import FLOAT32, FLOAT64, Irrational, Number, Surd, nearest_float
from gatewright.sim.judge.operators import DOMAINS, Call, from_initializer, known_operators
from gatewright.sim.judge.reals import Real, Undecided
from gatewright.sim.judge.tensor import Tensor

__all__ = ["Irrational", "Judge", "Number", "Quantiser", "Real", "Surd", "Trace", "Undecided"]

Array = NDArray[Any]
See = Callable[[str, NDArray[np.int64]], None]
"""Receives a quantiser's tensor and its codes."""


class Quantiser(NamedTuple):
    """A tensor that a rounding node writes, and the node's name."""

    tensor: str
    node: str


class Trace:
    """The exact values of every tensor that a run evaluated.

    Arrays have the samples first; the model's own batch axis of length 1 is dropped where it leads. Tensors that depend
    on no input (weights) have their shape in the model and no sample axis. The output of a final Softmax refers to
    nothing; asking for it, or for anything that was not evaluated, raises UserError.
    """

    def __init__(self, samples: int, outputs: tuple[str, ...], nodes: Mapping[str, str]) -> None:
        self.samples = samples
        self.outputs = outputs
        """The tensors that were asked for: the graph's outputs, with the logits in place of a final Softmax."""
        self._nodes = nodes
        self._tensors: dict[str, Tensor] = {}
        self._types: dict[str, int | None] = {}
        self._rounded: dict[str, tuple[IntArray, Tensor]] = {}
        self._quantisers: dict[str, None] = {}
        """In order; `_rounded` forgets."""

    def _round(self, name: str, codes: IntArray, before: Tensor) -> None:
        self._rounded[name] = codes, before
        self._quantisers[name] = None

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._tensors.pop(name, None)
            self._rounded.pop(name, None)

    @property
    def quantisers(self) -> tuple[Quantiser, ...]:
        """Every quantiser, Floor, Ceil and Round that was evaluated, in the order of the file."""
        return tuple(Quantiser(name, self._nodes[name]) for name in self._quantisers)

    def node_of(self, name: str) -> str | None:
        """The name of the node that writes the tensor, or None."""
        return self._nodes.get(name)

    def codes(self, name: str) -> NDArray[np.int64]:
        """What a quantiser rounded to: for Quant before the zero point is subtracted, for BipolarQuant +1 or -1.

        For QuantizeLinear, Trunc and the QLinear operators: the integer with its zero point; for MultiThreshold: how many
        thresholds are reached.
        """
        codes, before = self._quantiser(name)
        if codes.dtype != np.int64:
            raise UserError(f"a code of '{name}' does not fit into 64 bits", node=self._nodes[name])
        return np.asarray(self._present(codes, before), np.int64)

    def before_rounding(self, name: str) -> Array:
        """What a quantiser rounded (dtype object): `x / scale + zero point`, before the clamp.

        QuantizeLinear adds the zero point after rounding, so at a tie an odd zero point decides differently than here.
        """
        before = self._quantiser(name)[1]
        return self._present(before.values, before)

    def exact(self, name: str) -> Array:
        """dtype object: every element a Fraction, or a Surd or Real where it is irrational."""
        value = self._value(name)
        return self._present(value.values, value)

    def distinct(self, name: str) -> tuple[Array, NDArray[np.int64]]:
        """Numbers as of `exact`, each once where they lie on a grid, and by element the place of its value among these."""
        value = self._value(name)
        numbers, where = tensor.distinct_values(value)
        return numbers, self._present(where, value)

    def float64(self, name: str) -> NDArray[np.float64]:
        """Correctly rounded from the exact value."""
        return self._nearest(self._value(name), FLOAT64)

    def float32(self, name: str) -> NDArray[np.float32]:
        """Correctly rounded from the exact value, once."""
        return self._nearest(self._value(name), FLOAT32).astype(np.float32)

    def is_constant(self, name: str) -> bool:
        """Whether the tensor depends on no input."""
        return self._value(name).constant

    def _value(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise UserError(f"the tensor '{name}' has no exact value in this run", node=self._nodes.get(name),
                            remedy=f"Evaluated outputs are {', '.join(self.outputs)}")
        return self._tensors[name]

    def _quantiser(self, name: str) -> tuple[IntArray, Tensor]:
        if name not in self._rounded:
            raise UserError(f"the tensor '{name}' is written by no quantiser in this run", node=self._nodes.get(name))
        return self._rounded[name]

    def _present(self, array: Array, value: Tensor) -> Array:
        if value.constant:
            return np.asarray(array[0])
        array = np.broadcast_to(array, (self.samples, *array.shape[1:]))
        return array[:, 0] if array.ndim > 1 and array.shape[1] == 1 else array

    def _nearest(self, value: Tensor, float_format: tuple[int, int, int]) -> NDArray[np.float64]:
        """In one exact multiplication where numerators and values are surely floats, else element by element."""
        bits, lowest, _ = float_format
        if value.grid is not None:
            num, scale = value.grid
            places = scale.denominator.bit_length() - 1
            if num.dtype == np.int64 and scale.denominator == 1 << places and places <= -lowest:
                largest = max(abs(int(num.min(initial=0))), abs(int(num.max(initial=0)))) * scale.numerator
                if largest < 1 << bits:
                    return self._present(np.ldexp((num * scale.numerator).astype(np.float64), -places), value)
        nearest = np.frompyfunc(lambda v: nearest_float(v, *float_format), 1, 1)
        return self._present(np.asarray(nearest(value.values)).astype(np.float64), value)


class Judge:
    """Evaluates one model, again and again. The model is not changed.

    Every sample is evaluated as the file says, with a batch of 1 whatever the file bakes in, and all samples at once.
    `algorithms` names tensors that Softmax, QLinearSoftmax and LayerNormalization write, and the parameters of the named
    algorithm (docs/exactness.md) with which they are computed; where it names none, they are the real functions.
    `quantisers` are types, as text, that the user gives to nodes' results and initialisers, which the file does not quantise.
    Raises UserError for a file that cannot be read.
    """

    def __init__(self, model: onnx.ModelProto | str | PathLike[str],
                 algorithms: Mapping[str, Mapping[str, int | str]] | None = None,
                 quantisers: Mapping[str, str] | None = None) -> None:
        self._algorithms = algorithms or {}
        self._quantisers = quantisers or {}
        self._model = model if isinstance(model, onnx.ModelProto) else _load(Path(model))
        graph = self._model.graph
        self._opset = max([o.version for o in self._model.opset_import if o.domain in ("", "ai.onnx")], default=1)
        self._initializers = {i.name: i for i in graph.initializer}
        if graph.sparse_initializer:
            name = graph.sparse_initializer[0].values.name
            raise UserError(f"the constant '{name}' is sparse", remedy="Store it as a dense tensor")
        self.inputs = tuple(i.name for i in graph.input if i.name not in self._initializers)
        """The names of the model's inputs."""
        self._declared = {v.name: _dims(v) for v in (*graph.value_info, *graph.output, *graph.input)}
        self._types = {v.name: v.type.tensor_type.elem_type or None for v in (*graph.value_info, *graph.input)}
        leading = {dims[0] for name in self.inputs if len(dims := self._declared[name] or ()) > 1}
        self._batch = leading.pop() if len(leading) == 1 else None
        self._producer = {name: node for node in graph.node for name in node.output if name}
        self._names = _names(graph)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None,
            keep: Collection[str] | None = None, see: See | None = None) -> Trace:
        """Evaluate what the outputs need (default: the graph's outputs; for a final Softmax its logits).

        `feeds` are arrays of floats or integers, taken as exact values, or of objects that Fraction accepts; axis 0
        counts the samples and stands for the model's batch axis (or precedes the whole shape of the tensor). They are
        named like inputs of the model or like any other tensor, which is then not evaluated. `keep`, where it is given,
        names the tensors that the trace has to remember besides the outputs: large networks need much memory for all. `see` is
        shown the codes of every quantiser of data as they come, which need not be remembered then.
        Raises UserError, naming the node, for what cannot be evaluated.
        """
        unknown = set(feeds) - set(self._producer) - set(self._declared) - set(self._initializers)
        if unknown:
            raise UserError(f"the model has no tensor '{min(unknown)}'",
                            remedy=f"Its inputs are {', '.join(self.inputs)}")
        if outputs is None:
            outputs = [self._logits(o.name) for o in self._model.graph.output]
        given = {name: self._feed(name, np.asarray(array)) for name, array in feeds.items()}
        return self._run(given, self._types, outputs, keep, see)

    def operand(self, name: str) -> str:
        """The first operand of the node that writes a tensor."""
        return str(self._producer[name].input[0])

    def real(self, trace: Trace, name: str, outputs: Sequence[str]) -> Trace:
        """The outputs evaluated again from what `trace` knows, with the real function in place of the algorithm of `name`."""
        others = {k: v for k, v in self._algorithms.items() if k != name}
        known = [self._producer[name].input[0], *(i for i in self.inputs if i in trace._tensors)]
        return Judge(self._model, others, self._quantisers)._run({k: trace._value(k) for k in known}, trace._types, outputs, None)

    def _run(self, given: Mapping[str, Tensor], types: Mapping[str, int | None], outputs: Sequence[str],
             keep: Collection[str] | None, see: See | None = None) -> Trace:
        counts = {name: value.shape[0] for name, value in given.items()}
        if len(set(counts.values())) > 1:
            raise UserError(f"the numbers of samples differ: {counts}")
        trace = Trace(next(iter(counts.values()), 1), tuple(outputs), self._names)
        trace._tensors.update(given)
        trace._types.update(types)
        needed = self._needed(outputs, given)
        nodes = [node for node in self._model.graph.node if needed.intersection(node.output)]
        last = {name: number for number, node in enumerate(nodes) for name in node.input}
        for number, node in enumerate(nodes):
            self._evaluate(node, trace)
            for name in set(node.output) & trace._rounded.keys() if see else ():
                assert see is not None
                if not trace._rounded[name][1].constant:
                    see(name, trace.codes(name))
                if keep is not None and name not in keep:
                    del trace._rounded[name]
            if keep is not None:
                done = [n for n in (*node.input, *node.output) if last.get(n, number) <= number]
                trace._forget({n for n in done if n not in keep and n not in outputs})
        for name in outputs:
            self._fetch(name, trace, None)
        return trace

    def _needed(self, outputs: Sequence[str], given: Mapping[str, Tensor]) -> set[str]:
        """The outputs and all tensors that they are computed from, up to what is given."""
        needed: set[str] = set()
        waiting = [name for name in outputs if name not in given]
        while waiting:
            name = waiting.pop()
            if name not in needed and name in self._producer:
                needed.add(name)
                waiting += [i for i in self._producer[name].input if i and i not in given]
        return needed

    def _logits(self, output: str) -> str:
        """The tensor to evaluate for an output of the graph."""
        node = self._producer.get(output)
        read = any(output in other.input for other in self._model.graph.node)
        cut = node is not None and node.op_type == "Softmax" and not read and output not in self._quantisers
        return self._producer[output].input[0] if cut else output

    def _evaluate(self, node: onnx.NodeProto, trace: Trace) -> None:
        name = self._names[next(o for o in node.output if o)]
        known = DOMAINS.get(node.domain, {})
        if node.op_type not in known:
            domain = f" of domain '{node.domain}'" if node.domain else ""
            raise UserError(f"the operator {node.op_type}{domain} has no exact meaning here", node=name,
                            remedy=f"Known are {', '.join(known_operators())}")
        inputs = [self._fetch(i, trace, name) if i else None for i in node.input]
        types = [trace._types.get(i) for i in node.input]
        call = Call(node, name, self._opset, self._batch, inputs, types, self._algorithms.get(node.output[0]))
        if node.op_type in ("ArgMax", "ArgMin"):
            call.inputs[0] = self._ordered(node, trace)
        try:
            result = known[node.op_type](call)
        except (Undecided, OverflowError, ZeroDivisionError) as error:
            raise call.refuse(str(error)) from None
        if call.attributes:
            raise call.refuse(f"the attribute '{min(call.attributes)}' is not known")
        values = result if isinstance(result, tuple) else (result,)
        for output, value in zip(node.output, values, strict=False):
            trace._tensors[output], trace._types[output] = value, call.type
        if call.codes is not None and call.before is not None:
            trace._round(node.output[0], call.codes, call.before)
        for output in node.output:
            self._quantise(output, trace)

    def _ordered(self, node: onnx.NodeProto, trace: Trace) -> Tensor:
        """The operand of ArgMax or ArgMin. Where a Softmax along the same axis writes it, what that reads: it has the same order,
        and equal elements where it has."""
        value, source = trace._value(node.input[0]), self._producer.get(node.input[0])
        if source is None or source.op_type != "Softmax" or node.input[0] in self._quantisers:
            return value
        given = [next((a.i for a in n.attribute if a.name == "axis"), None) for n in (source, node)]
        by_axis = self._opset >= 13
        start = (given[0] if given[0] is not None else -1 if by_axis else 1) % value.rank
        axis = (given[1] or 0) % value.rank
        return trace._value(source.input[0]) if axis == start or (axis > start and not by_axis) else value

    def _quantise(self, name: str, trace: Trace) -> None:
        """Puts the user's quantiser behind the tensor, if there is one."""
        if name in self._quantisers:
            codes, before, trace._tensors[name] = types.quantised(self._quantisers[name], trace._tensors[name], name)
            if not before.constant:
                trace._round(name, codes, before)

    def _fetch(self, name: str, trace: Trace, node: str | None) -> Tensor:
        if name not in trace._tensors:
            if name not in self._initializers:
                missing = "input has no data" if name in self.inputs else "tensor is written by no earlier node"
                raise UserError(f"'{name}': this {missing}", node=node)
            stored = self._initializers[name]
            trace._tensors[name] = from_initializer(numpy_helper.to_array(stored), name, node)
            trace._types[name] = stored.data_type
            self._quantise(name, trace)
        return trace._tensors[name]

    def _feed(self, name: str, array: Array) -> Tensor:
        declared = self._declared.get(name)
        whole = declared is not None and _fits(array.shape[1:], declared)
        if name not in self.inputs:
            declared = None  # files are often wrong about inner tensors
        if array.ndim == 0 or not (whole or declared is None or _fits(array.shape[1:], declared[1:])):
            want = ", ".join(["samples", *("?" if n is None else str(n) for n in (declared or ())[1:])])
            raise UserError(f"the data for '{name}' have shape {list(array.shape)}, but the model wants [{want}]")
        try:
            return tensor.of_array(array if whole else array[:, None], False)
        except (ValueError, TypeError) as error:
            raise UserError(f"the data for '{name}' cannot be used: {error}") from None


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf, the checker and the file system all have their own
        raise UserError(f"'{path}' cannot be read as an ONNX model: {error}") from None


def _names(graph: onnx.GraphProto) -> dict[str, str]:
    """By every tensor the name of the node that writes it, by the rule of docs/usage.md, "Names of nodes"."""
    names: dict[str, str] = {}
    taken = {""}
    for node in graph.node:
        outputs = [name for name in node.output if name]
        called = f"{node.op_type}({outputs[0]})" if node.name in taken and outputs else node.name
        taken.add(called)
        names |= dict.fromkeys(outputs, called)
    return names


def _dims(info: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """The declared shape, None for open dimensions (some files write 0) and as a whole where the file says nothing."""
    if not info.type.tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value or None for d in info.type.tensor_type.shape.dim)


def _fits(actual: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(actual) == len(declared) and all(n is None or n == m for m, n in zip(actual, declared, strict=True))
