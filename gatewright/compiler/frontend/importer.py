"""model.onnx to Graph: walks the nodes in order and gives each to the handler of its type."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.compiler.frontend import qdq, qonnx, standard
from gatewright.compiler.frontend.onnx_file import Model, Node, TensorInfo, load
from gatewright.compiler.frontend.values import (
    FUNCTION_STEP,
    MAX_DEPTH,
    Approximation,
    Builder,
    Const,
    Data,
    Handler,
    Host,
    Quantised,
    Value,
    cast_expr,
    single_leaf,
)
from gatewright.errors import UserError
from gatewright.ir import expr as ex
from gatewright.ir.exact import Exacts, Surd, exacts, inverse, times
from gatewright.ir.fixed import MAX_WIDTH, ROUNDING, Cast, Fixed, FixedArray, bits_for
from gatewright.ir.graph import Graph, Meaning, Op, Output
from gatewright.ir.ops import Input

CUT, KEEP = "cut", "keep"
"""What to do with a Softmax at the very end."""
STANDARD_DOMAINS = ("", "ai.onnx")
MAX_OUTPUT_BITS = 32
"""Codes of an output without a quantiser are widened up to this to stay exact; beyond, the default grid rounds."""


@dataclass(frozen=True)
class Types:
    """What the user says of types: a default and per tensor, for inputs and for outputs; of tensors inside by name."""

    input: Cast | None = None
    inputs: Mapping[str, Cast] = field(default_factory=dict)
    output: Cast | None = None
    outputs: Mapping[str, Cast] = field(default_factory=dict)
    tensors: Mapping[str, Cast] = field(default_factory=dict)
    """Of a node's results and of initialisers: a quantiser that the file does not have."""


@dataclass(frozen=True)
class Imported:
    """The model as a Graph, as written: regions are still exact expressions."""

    graph: Graph
    model: Model
    notes: tuple[str, ...]
    quantisers: Mapping[str, Quantised]
    input_casts: Mapping[str, Cast]
    """How data for an input with a type becomes codes."""
    output_casts: Mapping[str, Cast]
    """How exact results become codes, for outputs on a grid that is not the model's own."""
    logits: Mapping[str, str]
    """Outputs whose final Softmax is cut, and the tensor that each carries instead."""
    approximations: Mapping[str, Approximation]
    """By the ONNX tensor that the operator writes."""


def import_model(model: Model | str | Path, types: Types | None = None, outputs: Sequence[str] | None = None,
                 softmax: str = CUT) -> Imported:
    """Imports the model, or the part of it that computes `outputs`. Raises UserError with node, reason and remedy.

    `softmax`: "cut" leaves one at the very end away, "keep" computes it; one inside the network is always computed. How
    many bits an approximation needs is known once the quantisers behind it are: such models are imported twice.
    """
    model = model if isinstance(model, Model) else load(model)
    types = types or Types()
    wanted = list(outputs) if outputs else list(dict.fromkeys(model.outputs))
    if not wanted:
        raise UserError("the graph has no outputs", remedy="Select tensors with --outputs, or export the model again")
    nodes = _needed(model, wanted)
    _check_names(types, model, nodes, wanted)
    found = _import(model, types, wanted, nodes, softmax, {})
    if not found.approximations:
        return found
    by_node = {n.name: found.approximations[n.outputs[0]] for n in nodes if n.outputs[0] in found.approximations}
    return _import(model, types, wanted, nodes, softmax, {name: a.slope for name, a in by_node.items()})


def _import(model: Model, types: Types, wanted: Sequence[str], nodes: Sequence[Node], softmax: str,
            slopes: Mapping[str, Fraction]) -> Imported:
    builder = Builder(re.sub(r"\W", "_", model.path.stem) or "model", opset=model.opset, slopes=slopes)
    values: dict[str, Value] = {}
    casts: dict[str, Cast] = {}
    read = {name for n in nodes for name in n.inputs} | set(wanted)
    builder.batch = _batch(model, read)
    for info in model.inputs:
        if info.name in read:
            values[info.name] = _input(builder, info, types, casts)
    for name, array in model.constants.items():
        if name in read:
            values[name] = _with_type(builder, name, name, _constant(name, array, nodes), types)
    users: dict[str, list[Node]] = {}
    for n in nodes:
        for name in n.inputs:
            users.setdefault(name, []).append(n)
    logits: dict[str, str] = {}
    for node in nodes:
        if softmax == CUT and node.op_type == "Softmax" and node.outputs[0] in wanted and node.outputs[0] not in (*users, *types.tensors):
            values[node.outputs[0]] = values[node.inputs[0]]
            logits[node.outputs[0]] = node.inputs[0]
            builder.notes.append(f"The final Softmax '{node.name}' is cut: output '{node.outputs[0]}' carries the logits, "
                                 f"whose order is the same. With --softmax keep it is computed.")
        else:
            _import_node(builder, node, values)
            values |= {n: _with_type(builder, n, node.name, values[n], types) for n in node.outputs if n in types.tensors}
    grids: dict[str, Cast] = {}
    results = [_output(builder, name, values, types, grids) for name in wanted]
    approximations = {n.outputs[0]: builder.approximations[n.name] for n in nodes if n.name in builder.approximations}
    notes = [f"{n.op_type} '{n.name}' is computed by the algorithm in docs/exactness.md: {builder.approximations[n.name].text}."
             for n in nodes if n.name in builder.approximations]
    return Imported(builder.graph(results), model, (*builder.notes, *notes), builder.quantisers, casts, grids, logits,
                    approximations)


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


def _needed(model: Model, wanted: Sequence[str]) -> list[Node]:
    """The nodes that the wanted tensors depend on."""
    known = {name for n in model.nodes for name in n.outputs} | {i.name for i in model.inputs}
    for name in wanted:
        if name not in known:
            raise UserError(f"the model has no tensor '{name}'",
                            remedy=f"Choose from its outputs {', '.join(model.outputs)} or any node's result")
    needed, kept = set(wanted), []
    for n in reversed(model.nodes):
        if needed & set(n.outputs):
            needed |= set(n.inputs)
            kept.append(n)
    return kept[::-1]


def _check_names(types: Types, model: Model, nodes: Sequence[Node], wanted: Sequence[str]) -> None:
    inputs = [i.name for i in model.inputs]
    inside = {name for n in nodes for name in (*n.inputs, *n.outputs) if name and name not in inputs}
    for kind, given, known in (("input", types.inputs, inputs), ("output", types.outputs, wanted), ("tensor", types.tensors, inside)):
        for name in given:
            if kind == "tensor" and name in inputs:
                raise UserError(f"'{name}' is an input", remedy=f"Give its type with --input-type '{name}={given[name]}'")
            if name not in known:
                names = f"Its {kind}s are {', '.join(known)}" if kind != "tensor" else "It is an initialiser or a node's result, by its name"
                raise UserError(f"the model has no {kind} '{name}'", remedy=names)


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
        if error.node:
            raise
        raise UserError(error.reason, node=node.name, remedy=error.remedy) from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{node.op_type} cannot be read: {error}", node=node.name,
                        remedy="Check the node's operands and attributes; export the model again") from error
    for name, value in zip(node.outputs, result if isinstance(result, list) else [result], strict=False):
        if isinstance(value, Data) and ex.depth(value.expr) > MAX_DEPTH:
            raise UserError(f"it is the last of more than {MAX_DEPTH} operations, one on the other, without a quantiser between",
                            node=node.name, remedy="Quantise activations in between")
        values[name] = value


# -- outputs -------------------------------------------------------------------------------------------------------------


def _output(b: Builder, name: str, values: Mapping[str, Value], types: Types, grids: dict[str, Cast]) -> Output:
    value = values[name]
    if isinstance(value, Const):
        raise UserError(f"output '{name}' does not depend on the inputs: it is a constant",
                        remedy="Select other tensors with --outputs")
    cast = types.outputs.get(name, types.output)
    if cast is not None:
        grids[name] = cast
        return _cast_output(b, name, value, cast)
    term = single_leaf(value.expr)
    if term and _same_everywhere(term[1]) and _same_everywhere(term[2]):
        op, scale, offset = b.integer(value, name, name)
        return Output(name, op.name, Meaning(_first(scale), _first(offset)))
    # one scale and one offset for all elements where there are such: first with offset 0, then with one element's
    offsets = [ex.ZERO, _first(value.expr.offset)] if isinstance(value.expr, ex.Affine) else [ex.ZERO]
    for offset in offsets:
        above = ex.affine(value.expr, ex.ONE, np.asarray(-offset, object))
        step = ex.unit_of_all(above)
        if step is None or _code_bits(b, codes := ex.affine(above, exacts(inverse(step)))) > MAX_OUTPUT_BITS:
            continue
        leaf = b.region(codes, value.shape, name, name, exacts(step), offset)
        return Output(name, b.operand(leaf.index).name, Meaning(exacts(step), offset))
    grids[name] = _default_grid(b, name, value)
    return _cast_output(b, name, value, grids[name])


def _same_everywhere(a: Exacts) -> bool:
    return bool((a == a.reshape(-1)[0]).all())


def _first(a: Exacts) -> Exacts:
    return exacts(a.reshape(-1)[0])


def _code_bits(b: Builder, expr: ex.Expr) -> int:
    lo, hi = b.bounds(expr)
    return max(int(abs(v)).bit_length() for v in (*lo.reshape(-1), *hi.reshape(-1))) + 1


def _default_grid(b: Builder, name: str, value: Data) -> Cast:
    """No common scale and no type given: the nearest point of a power-of-two grid, the bound stated."""
    steps = [v for e in ex.parts(value.expr) for v in _scales(e)]
    finest = min(abs(float(s)) for s in steps)
    frac = int(-np.floor(np.log2(finest)))
    lo, hi = b.bounds(value.expr)
    low, high = (math.floor(end * Fraction(2) ** frac) for end in (lo.min(), hi.max()))
    width = bits_for(low, high + 1)
    if width > MAX_WIDTH:
        raise UserError(f"output '{name}' has no quantiser and its elements have no common scale; to tell its values apart "
                        f"takes {width} bits, more than {MAX_WIDTH}", remedy="Choose a type with --output-type")
    why = "holds values of " + " and ".join(names) if (names := b.functions(value.expr)) else "has no common scale"
    b.notes.append(f"Output '{name}' has no quantiser and {why}: it is rounded (half to even) to "
                   f"multiples of 2^{-frac}, so it is off by at most 2^{-frac - 1}; choose a type with --output-type.")
    return Cast(Fixed.of(width, width - frac, low < 0), "RND_CONV")


def _scales(e: ex.Expr) -> list[Any]:
    """The steps that a node of an expression brings."""
    if isinstance(e, ex.Affine):
        return [v for _, s in e.terms for v in s.reshape(-1) if v != 0]
    if isinstance(e, ex.Func):
        return [FUNCTION_STEP]
    return [Fraction(1)] if isinstance(e, ex.Leaf) else []


def _cast_output(b: Builder, name: str, value: Data, cast: Cast) -> Output:
    leaf, scale = _on_grid(b, name, name, f"output '{name}'", value, cast)
    return Output(name, b.operand(leaf.index).name, Meaning(scale, ex.ZERO))


# -- types that the user gives -------------------------------------------------------------------------------------------


def _with_type(b: Builder, name: str, node: str, value: Value, types: Types) -> Value:
    """The tensor behind the quantiser that the user gives it, if any."""
    cast = types.tensors.get(name)
    if cast is None:
        return value
    if isinstance(value, Const):
        return Const(_constant_on_grid(name, value.value, cast))
    if name in b.quantisers:
        raise UserError(f"the tensor '{name}' has a quantiser in the model", node=node, remedy="Leave its type away")
    leaf, scale = _on_grid(b, name, node, f"the tensor '{name}'", value, cast)
    b.quantisers[name] = Quantised(b.operand(leaf.index).name, 1, 0)
    return Data(ex.affine(leaf, scale), value.shape, value.batched)


def _on_grid(b: Builder, name: str, node: str, what: str, value: Data, cast: Cast) -> tuple[ex.Leaf, Exacts]:
    """A tensor on the user's grid, and its step. Without modes, a cast that could lose a bit or overflow is refused."""
    t, scale = cast.type, exacts(Fraction(2) ** -cast.type.frac)
    low, high = Fraction(t.lo) * scale.item(), Fraction(t.hi) * scale.item()
    if cast.overflow is None:
        lo, hi = b.bounds(value.expr)
        if (lo < low).any() or (hi > high).any():
            raise UserError(f"{what} reaches {float(lo.min()):g}..{float(hi.max()):g}, which {cast} does not hold",
                            remedy=f"Widen the type, or say what overflow does: {repr(t)[:-1]},RND_CONV,SAT>")
    step = ex.unit_of_all(value.expr)
    exact = step is not None and not isinstance(step, Surd) and (step / scale.item()).denominator == 1
    if cast.rounding is None and not exact:
        raise _off_grid(what, cast)
    codes = cast_expr(value.expr, cast, ROUNDING[cast.rounding or "TRN"])
    return b.region(codes, value.shape, name, node, scale, ex.ZERO), scale


def _off_grid(what: str, cast: Cast) -> UserError:
    return UserError(f"{what} is not on the grid of {cast}: bits would be lost",
                     remedy=f"Use more fractional bits, or say how to round: {repr(cast.type)[:-1]},RND_CONV,SAT>")


def _constant_on_grid(name: str, values: Exacts, cast: Cast) -> Exacts:
    """The same for a constant."""
    t, scale = cast.type, exacts(Fraction(2) ** -cast.type.frac)
    steps = np.asarray(values * inverse(scale.item()), object)
    if cast.rounding is None and not ex.integers(steps):
        raise _off_grid(f"the tensor '{name}'", cast)
    if cast.overflow is None and ((steps < t.lo).any() or (steps > t.hi).any()):
        raise UserError(f"the tensor '{name}' has values of {float(values.min()):g}..{float(values.max()):g}, which {cast} does not hold",
                        remedy=f"Widen the type, or say what overflow does: {repr(t)[:-1]},RND_CONV,SAT>")
    return times(ex.evaluate(cast_expr(ex.Leaf(0), cast, ROUNDING[cast.rounding or "TRN"]), [values]), scale)
