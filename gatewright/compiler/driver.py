"""model.onnx to Design: the passes in order, each one checked as it runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from gatewright import __version__
from gatewright.backends.identifiers import identifiers
from gatewright.backends.part import Part, load_part
from gatewright.compiler.calibration import calibrated
from gatewright.compiler.frontend import hls4ml
from gatewright.compiler.frontend.importer import Imported, import_model
from gatewright.compiler.frontend.onnx_file import Model, load
from gatewright.compiler.frontend.user_types import Types
from gatewright.compiler.lower import lower
from gatewright.compiler.lower.size import check_size
from gatewright.compiler.options import Options
from gatewright.compiler.passes.absorb_bias import AbsorbBias
from gatewright.compiler.passes.align_levels import AlignLevels
from gatewright.compiler.passes.base import GraphPass
from gatewright.compiler.passes.dead_ops import DeadOps
from gatewright.compiler.passes.exact_ranges import ExactRanges
from gatewright.compiler.passes.fuse_regions import FuseRegions
from gatewright.compiler.passes.integer_functions import IntegerFunctions
from gatewright.compiler.passes.netlist.common_rows import common_rows
from gatewright.compiler.passes.netlist.dead_rows import dead_rows
from gatewright.compiler.passes.netlist.fold_constants import fold_constants
from gatewright.compiler.passes.netlist.fuse_sums import fuse_sums
from gatewright.compiler.passes.netlist.sink_constants import sink_constants
from gatewright.compiler.proof import Places, Proof, prove
from gatewright.compiler.schedule.dsp import products_in_dsps
from gatewright.compiler.schedule.pipeline import pipeline
from gatewright.errors import InternalError
from gatewright.ir import design as designs
from gatewright.ir import graph as graphs
from gatewright.ir import netlist as netlists
from gatewright.ir.correspondence import Correspondence, Rows
from gatewright.ir.design import Design, Kernel, Port
from gatewright.ir.exact import Surd
from gatewright.ir.fixed import Cast, Ints
from gatewright.ir.graph import Codes, Graph, Meaning
from gatewright.ir.netlist import Netlist
from gatewright.ir.netlist_eval import evaluate, evaluate_rows
from gatewright.ir.netlist_text import show as show_netlist
from gatewright.ir.ops import Input
from gatewright.ir.text import show as show_graph
from gatewright.ir.text import show_expr
from gatewright.sim.vectors import corner_vectors, random_vectors

GRAPH_PASSES: tuple[GraphPass, ...] = (FuseRegions(), IntegerFunctions(), AbsorbBias(), AlignLevels(), DeadOps(), ExactRanges())
"""All passes on the Graph, in order. Each keeps every output bit."""

NetlistPass = Callable[[Netlist], tuple[Netlist, Rows]]
NETLIST_PASSES: tuple[tuple[str, NetlistPass], ...] = (
    ("fold-constants", fold_constants), ("common-rows", common_rows), ("dead-rows", dead_rows),
    ("sink-constants", sink_constants))
"""All passes on the Netlist, in order. Each returns the new Netlist and the new row of every old one."""
PART_PASSES: tuple[tuple[str, NetlistPass, Callable[[Part], bool]], ...] = (
    ("fuse-sums", fuse_sums, lambda part: part.adds_three),)
"""Passes that follow on parts which have what they use."""

CHECK_VECTORS = 40
"""Vectors, a few of them corners, on which the driver checks what every pass promises, ..."""
CHECK_CODES = 1 << 27
"""... fewer, but two, where the tensors have more codes than this together: there, every position is a case of its own."""

Dump = Callable[[str, str], None]
"""Receives the name of a step and the text form of the IR after it."""


@dataclass(frozen=True)
class Compilation:
    """A compiled model: the specification (`imported.graph`), the optimised Graph, the Design, the map between them, and what is
    proven of it."""

    options: Options
    part: Part
    imported: Imported
    graph: Graph
    design: Design
    correspondence: Correspondence
    notes: tuple[str, ...]
    proof: Proof
    sha256: str


def compile_model(path: str | Path, options: Options | None = None, dump: Dump | None = None) -> Compilation:
    """Compiles a model. Pure: no file is written. Raises UserError where the model or the options cannot be used."""
    options = options or Options()
    options.check()
    part = load_part(options.part)

    def say(step: str, ir: Graph | Netlist) -> None:
        """The text is made only where somebody wants it: a large netlist takes longer to write than to compile."""
        if dump:
            dump(step, show_graph(ir) if isinstance(ir, Graph) else show_netlist(ir))

    source = opened(path, options)
    options = source.options
    imported, graph, correspondence, checker = exact_graph(source, say)
    check_size(graph)
    netlist, places, correspondence = _netlist(graph, part, options.effort, correspondence, say)
    proof = checker.proof(graph, netlist, places)
    checker.netlist("netlist passes", netlist, correspondence)
    dsp_notes: tuple[str, ...] = ()
    if options.dsp:
        netlist, note = products_in_dsps(netlist, part, options.dsp)
        dsp_notes = (note,)
        say("products-in-dsps", netlist)
    kernel, notes = pipeline(netlist, part, options.clock_ns, registers=options.effort > 0, latency=options.latency)
    name = identifiers([options.name or graph.name])[0]
    design = Design.single(name, kernel, *ports(graph))
    designs.verify(design)
    return Compilation(options, part, imported, graph, design, correspondence, (*options.notes, *imported.notes, *dsp_notes, *notes), proof,
                       fingerprint(imported.model.sha256, options))


def _netlist(graph: Graph, part: Part, effort: int, correspondence: Correspondence, say: Callable[[str, Netlist], None],
             signed: bool = False) -> tuple[Netlist, Places, Correspondence]:
    """The kernel after all passes, every step checked, and where the Graph's elements are in it."""
    netlist, rows = lower(graph, 3 if part.adds_three else 2, effort, signed)
    correspondence, places = correspondence.lowered(rows), Places.lowered(graph, rows)
    netlists.verify(netlist)
    say("lower", netlist)
    for name, netlist_pass in (*NETLIST_PASSES, *((name, step) for name, step, applies in PART_PASSES if applies(part))):
        before = netlist
        netlist, moved = netlist_pass(before)
        correspondence, places = correspondence.moved(moved), places.moved(before, moved)
        netlists.verify(netlist)
        say(name, netlist)
    return netlist, places, correspondence


def software_design(design: Design, graph: Graph, options: Options) -> Design:
    """The same function, for processors and C++ compilers: sums of signed numbers, no slices, and one stage. Raises InternalError where the
    proof, or one of the check vectors, finds it different from the Graph."""
    part = load_part(options.part)
    netlist, places, _ = _netlist(graph, part, options.effort, Correspondence({}, {}, {}), lambda step, ir: None, signed=True)
    prove(graph, netlist, places)
    vectors = check_vectors(graph)
    expected, got = graph.evaluate(vectors), evaluate(netlist, {k: v.reshape(len(v), -1) for k, v in vectors.items()})
    for o in graph.outputs:
        if not np.array_equal(got[o.name], expected[o.value].reshape(got[o.name].shape)):
            raise InternalError(f"output '{o.name}' of the software's adder graph differs from the Graph")
    if options.dsp:  # of the same products: HLS tools bind them as the Verilog does
        netlist, _ = products_in_dsps(netlist, part, options.dsp)
    return Design.single(design.name, Kernel(netlist, np.zeros(len(netlist), np.int32)), design.inputs, design.outputs)


def exact_graph(source: Opened, say: Callable[[str, Graph], None] = lambda step, graph: None
                ) -> tuple[Imported, Graph, Correspondence, Checker]:
    """The model, and its Graph after all Graph passes, every step checked. Raises UserError like compile_model."""
    imported = source.imported()
    checker = Checker(imported.graph)
    graphs.verify(imported.graph)
    say("import", imported.graph)
    graph, correspondence = imported.graph, Correspondence.identity([op.name for op in imported.graph.ops])
    for step in GRAPH_PASSES:
        result = step.run(graph)
        graph, correspondence = result.graph, correspondence.after(result.renamed, result.gone)
        graphs.verify(graph)
        checker.graph(step.name, graph, correspondence)
        say(step.name, graph)
    return imported, graph, correspondence, checker


@dataclass(frozen=True)
class Opened:
    """A model with the casts of hls4ml's configuration where the options have one, the options with the types that their data choose,
    all types, and notes."""

    model: Model
    options: Options
    types: Types
    notes: tuple[str, ...]

    def imported(self) -> Imported:
        """The model as a Graph. Raises UserError where it cannot be one."""
        imported = import_model(self.model, self.types, self.options.outputs or None, self.options.softmax)
        return replace(imported, notes=(*imported.notes, *self.notes))


def opened(path: str | Path, options: Options) -> Opened:
    """Reads the model, once. Raises UserError for a file that cannot be read, and options that it cannot have."""
    model, types, notes = _with_casts(path, options)
    if options.data:
        options = calibrated(options, model, types)
        types = replace(types, inputs={**types.inputs, **options.types().inputs})
    return Opened(model, options, types, notes)


def _with_casts(path: str | Path, options: Options) -> tuple[Model, Types, tuple[str, ...]]:
    types = options.types()
    if not options.hls4ml:
        return load(path), types, ()
    found: list[hls4ml.Applied] = []

    def edit(proto: onnx.ModelProto) -> onnx.ModelProto:
        found.append(hls4ml.apply(proto, options.hls4ml))
        return found[0].model

    model, applied = load(path, edit), found[0]
    if types.input is None:
        types = replace(types, inputs={**{k: Cast.parse(v) for k, v in applied.input_types.items()}, **types.inputs})
    return model, types, applied.notes


class Checker:
    """Holds vectors and what the specification makes of them; checks each later form of the model against that."""

    def __init__(self, graph: Graph) -> None:
        self.specification = graph
        self.inputs = check_vectors(graph)
        self.formulas: dict[Any, Any] = {}
        self.known: dict[Any, bytes] = {}
        self.expected = self.digests(graph, [op.name for op in graph.ops])
        self.outputs = {o.name: self.expected[o.value] for o in graph.outputs}

    def graph(self, step: str, graph: Graph, correspondence: Correspondence) -> None:
        """Raises InternalError unless outputs, and all tensors that the correspondence says are there, have equal codes."""
        now = self.digests(graph, [*correspondence.tensors.values(), *(o.value for o in graph.outputs)])
        for output in graph.outputs:
            if now[output.value] != self.outputs[output.name]:
                raise InternalError(f"pass {step} changes output '{output.name}'")
        for name, current in correspondence.tensors.items():
            if now[current] != self.expected[name]:
                raise InternalError(f"pass {step} says that '{name}' is '{current}', but their codes differ")

    def digests(self, graph: Graph, names: list[str]) -> dict[str, bytes]:
        """Digests of tensors on the vectors; what is the same formula of the inputs as before is not evaluated again."""
        formula: dict[str, Any] = {}
        for op in graph.ops:
            attributes = tuple(v if isinstance(v := getattr(op, f.name), int | str) else id(v) for f in fields(op)
                               if f.name not in ("name", "inputs", "node", "type"))
            own = (type(op), op.name if op.kind == "input" else "", op.type.shape, attributes, *(formula[i] for i in op.inputs))
            formula[op.name], _ = self.formulas.setdefault(own, (len(self.formulas), op))  # the op keeps its attributes alive
        new = graph.digests(self.inputs, [n for n in names if formula[n] not in self.known])
        self.known |= {formula[n]: digest for n, digest in new.items()}
        return {n: self.known[formula[n]] for n in names}

    def proof(self, graph: Graph, netlist: Netlist, places: Places) -> Proof:
        """Proves the Netlist equal to the Graph. Where it is not, the message has an input that shows it, if one is at hand."""
        try:
            return prove(graph, netlist, places)
        except InternalError as error:
            raise InternalError(f"{error}{self.counterexample(netlist)}") from error

    def counterexample(self, netlist: Netlist) -> str:
        """The first vector on which an output is wrong, as text; empty if there is none."""
        try:
            now = evaluate(netlist, {k: v.reshape(len(v), -1) for k, v in self.inputs.items()})
        except InternalError as error:
            return f"; {error}"
        expected = self.specification.evaluate(self.inputs, [o.value for o in self.specification.outputs])
        for output in self.specification.outputs:
            want = expected[output.value].reshape(len(now[output.name]), -1)
            wrong = np.argwhere(now[output.name] != want)
            if len(wrong):
                sample, element = wrong[0].tolist()
                given = "; ".join(f"{k} = {v[sample].reshape(-1).tolist()}" for k, v in self.inputs.items())
                return (f"; output '{output.name}', element {element}, is {now[output.name][sample, element]}, not "
                        f"{want[sample, element]}, for {given}")
        return ""

    def netlist(self, step: str, netlist: Netlist, correspondence: Correspondence) -> None:
        """The same for a Netlist."""
        inputs = {k: v.reshape(len(v), -1) for k, v in self.inputs.items()}
        now = evaluate(netlist, inputs)
        expected = self.specification.evaluate(self.inputs, [op.name for op in self.specification.ops])
        for output in self.specification.outputs:
            want = expected[output.value]
            if not np.array_equal(now[output.name], want.reshape(len(want), -1)):
                raise InternalError(f"{step} change output '{output.name}'")
        wrong = first_difference(netlist, correspondence, inputs, expected)
        if wrong:
            raise InternalError(f"{step} say where '{wrong}' is, but its codes differ there")


def first_difference(netlist: Netlist, correspondence: Correspondence, inputs: Mapping[str, Ints],
                     expected: Mapping[str, Codes]) -> str | None:
    """The first tensor, in the Graph's order, whose rows do not carry its expected codes on these inputs."""
    places = [(name, correspondence.rows[name]) for name in expected if name in correspondence.rows]
    rows = np.concatenate([r for _, r in places]) if places else np.zeros(0, np.int32)
    values = evaluate_rows(netlist, inputs, np.maximum(rows, 0))
    at = 0
    for name, r in places:
        there = r >= 0
        got = values[:, at:at + len(r)]
        want = expected[name].reshape(len(got), -1)
        if (got[:, there] != want[:, there]).any():
            return name
        at += len(r)
    return None


def check_vectors(graph: Graph) -> dict[str, Codes]:
    """Corners and random codes for every input, from a fixed seed."""
    count = min(max(CHECK_CODES // sum(op.type.size for op in graph.ops), 2), CHECK_VECTORS)
    vectors = {}
    for op in graph.input_ops:
        lo, hi = op.type.lo.reshape(-1), op.type.hi.reshape(-1)
        corners = corner_vectors(lo, hi, limit=4, most=max(count // 5, 1))
        codes = np.concatenate([corners, random_vectors(lo, hi, count - len(corners), seed=1)])
        vectors[op.name] = codes.reshape(-1, *op.type.shape)
    return vectors


# -- ports ---------------------------------------------------------------------------------------------------------------


def ports(graph: Graph) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The design's input and output ports: one type per port, Verilog identifiers that say the direction."""
    names = identifiers([f"in_{op.name}" for op in graph.input_ops] + [f"out_{o.name}" for o in graph.outputs])
    inputs = tuple(Port(op.name, rtl, op.type.common, op.type.shape, input_formula(op, graph))
                   for op, rtl in zip(graph.input_ops, names, strict=False))
    outputs = tuple(Port(o.name, rtl, graph.by_name[o.value].type.common, graph.by_name[o.value].type.shape,
                         formula(o.meaning)) for o, rtl in zip(graph.outputs, names[len(inputs):], strict=True))
    return inputs, outputs


def formula(meaning: Meaning) -> str:
    """What the codes stand for, in one line: exact, with a decimal where the exact number is unwieldy."""
    scale, offset = (a.reshape(-1)[0] for a in (meaning.scale, meaning.offset))
    if any(a.size > 1 and (a != a.reshape(-1)[0]).any() for a in (meaning.scale, meaning.offset)):
        return "value = scale * code + offset, by element: see model.txt"
    plus = f" + {number(offset)}" if offset != 0 else ""
    return f"value = {number(scale)} * code{plus}"


def number(x: object) -> str:
    text = str(x)
    return f"({text}, about {float(x):.9g})" if isinstance(x, Surd) or len(text) > 12 else text  # type: ignore[arg-type]


def input_formula(op: graphs.Op, graph: Graph) -> str:
    encoding = op.encoding if isinstance(op, Input) else None
    if encoding is None:
        return formula(graph.meanings[op.name])
    text = show_expr(encoding.expr).replace("$0", op.name)
    return f"code = {text}" if len(text) < 200 else "code = the quantiser's code: see model.txt"


# -- identity ------------------------------------------------------------------------------------------------------------


def fingerprint(model: str, options: Options) -> str:
    """SHA-256 of model, options and compiler: what firmware, emulator and report share."""
    text = json.dumps([model, options.to_json(), __version__, compiler_digest()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def compiler_digest() -> str:
    """SHA-256 of gatewright's own sources, templates and part data."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts
                       and re.fullmatch(r"\.(py|j2|toml|cpp|css|js)", p.suffix)):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
