"""model.onnx to Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from gatewright.compiler.frontend.onnx_file import Model, Node, load
from gatewright.compiler.frontend.survey import Findings, survey
from gatewright.compiler.frontend.user_types import Types
from gatewright.compiler.frontend.values import Approximation, Quantised
from gatewright.compiler.frontend.walk import CUT, Walk
from gatewright.errors import UserError
from gatewright.ir.fixed import Cast
from gatewright.ir.graph import Graph


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
    request = requested(model, types, outputs, softmax)
    try:
        found = _import(request, {})
    except UserError as error:
        raise survey(*request).refusal(error) from None
    if not found.approximations:
        return found
    by_node = {n.name: found.approximations[n.outputs[0]] for n in request.nodes if n.outputs[0] in found.approximations}
    return _import(request, {name: a.slope for name, a in by_node.items()})


def examine(model: Model, types: Types, outputs: Sequence[str] | None = None, softmax: str = CUT) -> Findings:
    """Everything that stands between the model, or the part of it that computes `outputs`, and its import."""
    return survey(*requested(model, types, outputs, softmax))


class Request(NamedTuple):
    """What a walk goes through: the arguments of `Walk`."""

    model: Model
    types: Types
    wanted: Sequence[str]
    nodes: Sequence[Node]
    softmax: str


def requested(model: Model, types: Types | None, outputs: Sequence[str] | None, softmax: str) -> Request:
    """Raises UserError where names in it are not the model's."""
    types = types or Types()
    wanted = list(outputs) if outputs else list(dict.fromkeys(model.outputs))
    if not wanted:
        raise UserError("the graph has no outputs", remedy="Select tensors with --outputs, or export the model again")
    nodes = _needed(model, wanted)
    _check_names(types, model, nodes, wanted)
    return Request(model, types, wanted, nodes, softmax)


def _import(request: Request, slopes: Mapping[str, Fraction]) -> Imported:
    walk = Walk(*request, slopes)
    walk.run()
    results, b = [walk.output(name) for name in request.wanted], walk.builder
    approximations = {n.outputs[0]: b.approximations[n.name] for n in request.nodes if n.name in b.approximations}
    notes = [f"{n.op_type} '{n.name}' is computed by the algorithm in docs/exactness.md: {b.approximations[n.name].text}."
             for n in request.nodes if n.name in b.approximations]
    return Imported(b.graph(results), request.model, (*b.notes, *notes), b.quantisers, walk.casts, walk.grids, walk.logits,
                    approximations)


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
    for kind, given, known in (("input", types.inputs, inputs), ("output", types.outputs, wanted)):
        for name in given:
            if name not in known:
                raise UserError(f"the model has no {kind} '{name}'", remedy=f"Its {kind}s are {', '.join(known)}")
    for name, cast in types.tensors.items():
        if name in inputs:
            raise UserError(f"'{name}' is an input", remedy=f"Give its type with --input-type '{name}={cast}'")
        if name not in inside:
            raise UserError(f"the model has no tensor '{name}'", remedy="Give the name of an initialiser or of a node's result")
