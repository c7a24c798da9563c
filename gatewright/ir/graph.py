"""The tensor dataflow IR: an immutable, single-assignment, typed list of operations on integer codes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import InternalError, UserError
from gatewright.ir.exact import Exacts
from gatewright.ir.expr import Expr
from gatewright.ir.fixed import MAX_WIDTH, FixedArray, Ints, bits_for
from gatewright.ir.uniform import compact, spread

Codes = NDArray[np.int64]
"""Integer codes of a tensor: int64, the samples first, then the tensor's shape."""

OBJECT = NDArray[Any]

BLOCK = 1 << 14
"""Codes of the widest tensor that are evaluated at a time: they stay in the cache, and matrix products are too small for
BLAS to start threads, which cost more than they bring (measured: 0.9M samples per CPU second on the jet tagger)."""

FEW = 16
"""Samples that are evaluated at a time also where they are more than a BLOCK, ..."""
MUCH = 1 << 22
"""... unless they are more codes than this."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One operation. Its result carries the op's `name`, unique in the Graph.

    A subclass adds its attributes as fields (integers, strings, tuples, integer or exact arrays, expressions), which
    is all that the text form needs, and defines `bounds` and `compute`.
    """

    name: str
    inputs: tuple[str, ...]
    node: str
    """The ONNX node that the op came from."""
    type: FixedArray
    """Exact bounds of the result, per element."""

    kind: ClassVar[str]

    def bounds(self, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        """Interval of the result per element (object arrays of Python integers) from the operands' types."""
        raise NotImplementedError

    def compute(self, operands: list[Codes]) -> Codes:
        """The result's codes; exact. Operands and result have the samples as first axis."""
        raise NotImplementedError

    def show_form(self) -> str:
        """How the report names this operation, in a few words."""
        return self.kind


Bounds = Callable[[Any, list[FixedArray]], tuple[OBJECT, OBJECT]]


def element_by_element(bounds: Bounds) -> Bounds:
    """The `bounds` of an element-wise operation, computed once where the operands' types and the constants repeat."""
    @wraps(bounds)
    def once(op: Any, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
        lo, hi = bounds(op, [t.compact for t in types])
        shape = np.broadcast_shapes(lo.shape, hi.shape, *(t.shape for t in types))
        return spread(lo, shape), spread(hi, shape)

    return once


def element_type(lo: OBJECT, hi: OBJECT, frac: int, node: str) -> FixedArray:
    """The type with these bounds; refuses what is wider than MAX_WIDTH bits, naming the node."""
    shape = lo.shape
    lo, hi = compact(lo, hi)
    refuse_wide(lo, hi, "its result", node)
    return FixedArray(spread(lo.astype(np.int64), shape), spread(hi.astype(np.int64), shape), frac)


def refuse_wide(lo: OBJECT, hi: OBJECT, what: str, node: str) -> None:
    """Raises UserError where an element of `lo..hi` is wider than MAX_WIDTH bits."""
    limit = 1 << MAX_WIDTH - 1
    if not lo.size or (lo.min() >= -limit and hi.max() < limit):
        return
    widest = max(bits_for(int(a), int(b)) for a, b in zip(lo.reshape(-1), hi.reshape(-1), strict=True))
    if widest > MAX_WIDTH:
        raise UserError(f"{what} needs {widest} bits, more than the {MAX_WIDTH} that a code can have", node=node,
                        remedy="Quantise its inputs or weights to fewer bits")


def typed(op_class: type[Op], name: str, operands: Iterable[Op], node: str, frac: int = 0, **attributes: Any) -> Op:
    """Builds an op and derives its type from the operands: the one way to create a computed tensor."""
    operands = list(operands)
    probe = op_class(name=name, inputs=tuple(o.name for o in operands), node=node,
                     type=FixedArray(np.zeros(0, np.int64), np.zeros(0, np.int64), frac), **attributes)
    lo, hi = probe.bounds([o.type for o in operands])
    return replace(probe, type=element_type(lo, hi, frac, node))


@dataclass(frozen=True, eq=False)
class Meaning:
    """What codes stand for: real value = scale * code + offset, exact, per tensor, channel or element."""

    scale: Exacts
    offset: Exacts


@dataclass(frozen=True, eq=False)
class Encoding:
    """How the host makes a port's codes from the model's real input: a quantiser that stays outside the hardware."""

    expr: Expr
    """Of Leaf(0), the real value, in the port's shape."""


@dataclass(frozen=True, eq=False)
class Output:
    """A result of the model: `name` is the model's tensor, `value` the op whose codes the port carries."""

    name: str
    value: str
    meaning: Meaning


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations in topological order. `inputs` of the model are ops of kind "input"."""

    name: str
    ops: tuple[Op, ...]
    outputs: tuple[Output, ...]
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    """The exact meaning of every tensor that has one; of inputs and outputs always."""

    @cached_property
    def by_name(self) -> dict[str, Op]:
        return {op.name: op for op in self.ops}

    @cached_property
    def users(self) -> dict[str, list[Op]]:
        """The ops that read each tensor."""
        found: dict[str, list[Op]] = {op.name: [] for op in self.ops}
        for op in self.ops:
            for i in dict.fromkeys(op.inputs):
                found[i].append(op)
        return found

    @property
    def input_ops(self) -> list[Op]:
        return [op for op in self.ops if op.kind == "input"]

    def evaluate(self, inputs: Mapping[str, Codes], keep: Iterable[str] | None = None) -> dict[str, Codes]:
        """Codes of the outputs' tensors by name, or of the tensors in `keep`; `inputs` by input name.

        Samples are processed in blocks that fit the cache. Raises UserError where an input leaves its type.
        """
        wanted = list(dict.fromkeys(keep if keep is not None else [o.value for o in self.outputs]))
        parts: dict[str, list[Codes]] = {name: [np.zeros((0, *self.by_name[name].type.shape), np.int64)] for name in wanted}
        self.walk(inputs, wanted, lambda name, codes: parts[name].append(codes))
        return {name: np.concatenate(blocks) for name, blocks in parts.items()}

    def digests(self, inputs: Mapping[str, Codes], names: Iterable[str]) -> dict[str, bytes]:
        """A digest of every tensor's codes, samples in order: whether tensors are equal, without room for their codes."""
        found = {name: hashlib.blake2b() for name in names}
        self.walk(inputs, list(found), lambda name, codes: found[name].update(np.ascontiguousarray(codes).data))
        return {name: digest.digest() for name, digest in found.items()}

    def walk(self, inputs: Mapping[str, Codes], wanted: list[str], see: Callable[[str, Codes], None]) -> None:
        """Evaluates block by block and shows the codes of the wanted tensors as they come."""
        samples = self._check_inputs(inputs)
        ops = self._needed(wanted)
        widest = max((op.type.size for op in ops), default=1)
        block = max(BLOCK // max(widest, 1), min(FEW, MUCH // max(widest, 1)), 1)
        for i in range(0, samples, block):
            self._walk_block(ops, {k: v[i:i + block] for k, v in inputs.items()}, frozenset(wanted), see)

    def _check_inputs(self, inputs: Mapping[str, Codes]) -> int:
        samples = set()
        for op in self.input_ops:
            if op.name not in inputs:
                raise UserError(f"no data for input '{op.name}'", remedy="Give an array of that name")
            x = inputs[op.name]
            if x.dtype != np.int64 or x.shape[1:] != op.type.shape:
                raise UserError(f"input '{op.name}' needs int64 codes of shape (samples, "
                                f"{', '.join(map(str, op.type.shape))}), got {x.dtype} of shape {x.shape}")
            outside = (x < op.type.lo) | (x > op.type.hi)
            if outside.any():
                where = tuple(int(i) for i in np.argwhere(outside)[0])
                raise UserError(f"input '{op.name}': code {x[where]} at sample {where[0]}, element {where[1:]} is "
                                f"outside its type {op.type!r}")
            samples.add(len(x))
        if len(samples) > 1:
            raise UserError(f"the inputs have different numbers of samples: {sorted(samples)}")
        return samples.pop() if samples else 0

    def _needed(self, wanted: list[str]) -> list[Op]:
        """The operations that the wanted tensors depend on, in order."""
        needed = set(wanted)
        for op in reversed(self.ops):
            if op.name in needed:
                needed.update(op.inputs)
        return [op for op in self.ops if op.name in needed]

    @staticmethod
    def _walk_block(ops: list[Op], inputs: dict[str, Codes], wanted: frozenset[str], see: Callable[[str, Codes], None]) -> None:
        values: dict[str, Codes] = {}
        last = {name: i for i, op in enumerate(ops) for name in (op.name, *op.inputs)}
        for i, op in enumerate(ops):
            values[op.name] = inputs[op.name] if op.kind == "input" else op.compute([values[n] for n in op.inputs])
            if op.name in wanted:
                see(op.name, values[op.name])
            for name in {op.name, *op.inputs}:
                if last[name] == i:
                    del values[name]

    def with_ops(self, ops: Iterable[Op], rename: Mapping[str, str] | None = None) -> Graph:
        """The same model with other operations; `rename` says which tensor replaces an output's."""
        rename = rename or {}
        ops = tuple(ops)
        names = {op.name for op in ops}
        meanings = {k: v for k, v in self.meanings.items() if k in names}  # a renamed tensor may stand for other values
        return Graph(self.name, ops, tuple(replace(o, value=rename.get(o.value, o.value)) for o in self.outputs), meanings)


def rename_inputs(op: Op, names: Mapping[str, str]) -> Op:
    """The op reading other tensors."""
    return replace(op, inputs=tuple(names.get(i, i) for i in op.inputs)) if any(i in names for i in op.inputs) else op


def verify(graph: Graph) -> None:
    """Raises InternalError unless the Graph keeps every rule of the IR."""
    seen: dict[str, Op] = {}
    for op in graph.ops:
        if op.name in seen:
            raise InternalError(f"{graph.name}: tensor '{op.name}' is assigned twice")
        for name in op.inputs:
            if name not in seen:
                raise InternalError(f"{graph.name}: '{op.name}' reads '{name}' before it is assigned")
        if op.type.widths.max(initial=0) > MAX_WIDTH:
            raise InternalError(f"{graph.name}: '{op.name}' is wider than {MAX_WIDTH} bits")
        if (op.kind == "input") == bool(op.inputs):
            raise InternalError(f"{graph.name}: '{op.name}' ({op.kind}) has {len(op.inputs)} operands")
        if op.inputs:
            lo, hi = _bounds(graph, op, [seen[i].type for i in op.inputs])
            if lo.shape != op.type.shape:
                raise InternalError(f"{graph.name}: '{op.name}' has shape {op.type.shape}, its operands give {lo.shape}")
            own_lo, own_hi, lo, hi = compact(op.type.lo, op.type.hi, lo, hi)
            if (own_lo < lo).any() or (own_hi > hi).any():
                raise InternalError(f"{graph.name}: '{op.name}' claims {op.type!r}, wider than its operands give")
        seen[op.name] = op
    if len({o.name for o in graph.outputs}) != len(graph.outputs):
        raise InternalError(f"{graph.name}: two outputs have one name")
    for name in graph.meanings:
        if name not in seen:
            raise InternalError(f"{graph.name}: a meaning for '{name}', which does not exist")
    for output in graph.outputs:
        if output.value not in seen:
            raise InternalError(f"{graph.name}: output '{output.name}' has no value '{output.value}'")


def _bounds(graph: Graph, op: Op, types: list[FixedArray]) -> tuple[OBJECT, OBJECT]:
    try:
        return op.bounds(types)
    except (ValueError, LookupError, TypeError) as error:
        raise InternalError(f"{graph.name}: '{op.name}' ({op.kind}) does not fit its operands: {error}") from error


def as_python(array: Ints) -> OBJECT:
    """An object array of Python integers, for arithmetic that must not overflow."""
    return array.astype(object)
