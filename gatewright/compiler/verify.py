"""Are the bits the same? Every level against the Graph's integer evaluation, the Graph against the judge."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.backends.hls import DIALECTS
from gatewright.compiler.data import (
    DataFile,
    decode,
    encode,
    expected_codes,
    floats,
    load_data,
    real_values,
    scaled,
    steps,
    warn,
)
from gatewright.compiler.driver import first_difference
from gatewright.compiler.project import Project
from gatewright.errors import InternalError, ToolMissing, UserError
from gatewright.ir.exact import Enclosed, Surd, elementwise
from gatewright.ir.fixed import Cast, Ints
from gatewright.ir.graph import Codes, Graph, Output
from gatewright.ir.netlist_eval import evaluate_rows
from gatewright.ir.ops import Input
from gatewright.sim import cocotb, csim, emulator, finn, hls4ml, verilator
from gatewright.sim.boundaries import joined, split
from gatewright.sim.directed import directed
from gatewright.sim.judge import Judge, Trace
from gatewright.sim.judge import Real as JudgeReal
from gatewright.sim.judge import Surd as JudgeSurd
from gatewright.sim.probe import probe, visible
from gatewright.sim.result import Coverage, Mismatch, VerificationResult, compare
from gatewright.sim.vectors import corner_vectors, random_vectors

TOGETHER = 1 << 24
"""Codes of all tensors that the judge computes at a time: some hundred megabytes."""

Progress = Callable[[str, float], None]

LEVELS = ("reference", "netlist", "emulator", "rtl", "cocotb", "csim", "hls4ml", "finn")
DEFAULT_VECTORS = {"reference": 256, "netlist": 10_000, "emulator": 10_000, "rtl": 10_000, "cocotb": 1_000, "csim": 10_000,
                   "hls4ml": 1_000, "finn": 1_000}
"""Corner and random vectors of a level where the user does not say how many; directed ones come on top."""
MOST_DIRECTED = {"reference": 4096}
"""Directed vectors at most, where the user does not say how many vectors: exact numbers are slow if scales are no powers of two."""


@dataclass(frozen=True)
class Stimulus:
    """Codes of every input, int64[samples, *shape], and the data file that they came from, if any."""

    codes: Mapping[str, Codes]
    data: DataFile | None = None
    kinds: Mapping[str, int] | None = None
    """How many vectors are corner, random and directed ones, in this order; of data nothing is known."""

    @property
    def flat(self) -> dict[str, Ints]:
        return {k: v.reshape(len(v), -1) for k, v in self.codes.items()}

    def __len__(self) -> int:
        return len(next(iter(self.codes.values())))

    def first(self, count: int) -> Stimulus:
        return self.part(0, count)

    def part(self, start: int, stop: int) -> Stimulus:
        data = self.data and replace(self.data, inputs={k: v[start:stop] for k, v in self.data.inputs.items()},
                                     outputs={k: v[start:stop] for k, v in self.data.outputs.items()})
        return Stimulus({k: v[start:stop] for k, v in self.codes.items()}, data)


def stimulus(project: Project, vectors: int | None, data: str | Path | None, default: int = 256, seed: int = 1,
             most: int | None = None) -> Stimulus:
    """The user's data, or codes over the whole type of every input: `vectors` of them, a quarter corners and half directed
    at boundaries (at most), the rest random; or, None, `default` corners and random ones and all directed ones, or `most`."""
    graph = project.graph
    if data is not None:
        file = load_data(data, graph)
        warn(file.warnings)
        return Stimulus(encode(graph, project.input_casts, file.inputs), file)
    lo = np.concatenate([op.type.lo.reshape(-1) for op in graph.input_ops])
    hi = np.concatenate([op.type.hi.reshape(-1) for op in graph.input_ops])
    aimed = directed(graph).vectors[:most if vectors is None else vectors // 2]
    total = len(aimed) + default if vectors is None else vectors
    corners = corner_vectors(lo, hi, most=((vectors or default) + 3) // 4)
    parts = {"corner": corners, "random": random_vectors(lo, hi, total - len(corners) - len(aimed), seed), "directed": aimed}
    return Stimulus(split(graph, np.concatenate(list(parts.values()))), kinds={k: len(v) for k, v in parts.items()})


def verify(project: Project, level: str, vectors: int | None = None, data: str | Path | None = None, *, seed: int = 1,
           progress: Progress | None = None) -> VerificationResult:
    """Verifies one level and stores the result in the folder. Missing tools: a UserError (ToolMissing)."""
    if level not in LEVELS:
        raise UserError(f"there is no verification level '{level}'", remedy=f"Choose from {', '.join(LEVELS)}, all")
    if vectors is not None and vectors < 1:
        raise UserError(f"{vectors} vectors verify nothing", remedy="Give at least 1 with --vectors")
    given = stimulus(project, vectors, data, DEFAULT_VECTORS[level], seed, MOST_DIRECTED.get(level))
    if level == "cocotb" and data is not None and vectors is None:
        given = given.first(DEFAULT_VECTORS[level])
    start = time.monotonic()
    result = _LEVELS[level](project, given, progress)
    result = replace(result, seconds=round(result.seconds or time.monotonic() - start, 3))
    result = replace(result, stimulus=given.kinds, boundaries=coverage(project.graph, given.codes))
    project.add_result("verify", level, result.to_json())
    return result


def coverage(graph: Graph, codes: Mapping[str, Codes]) -> Coverage:
    """How many boundaries of rounding and limiting the inputs meet on both sides."""
    places = directed(graph).boundaries
    if not len(places):
        return Coverage(0, 0)
    return Coverage(len(places), int(places.on_both_sides(places.met(graph, joined(graph, codes))).sum()))


def verify_all(project: Project, vectors: int | None = None, data: str | Path | None = None, *,
               progress: Progress | None = None) -> list[VerificationResult]:
    """Every level; one whose tool is missing is skipped, with the reason."""
    results = []
    for level in LEVELS:
        try:
            results.append(verify(project, level, vectors, data, progress=progress))
        except ToolMissing as error:
            results.append(VerificationResult(level, "skipped", str(error)))
            project.add_result("verify", level, results[-1].to_json())
    return results


# -- levels --------------------------------------------------------------------------------------------------------------


def _specification(project: Project, given: Stimulus, level: str) -> tuple[dict[str, Ints], VerificationResult | None]:
    """The Graph's codes at the ports, and a failure where the data's own expected results differ from them."""
    graph = project.graph
    values = graph.evaluate(given.codes)
    expected = {o.name: values[o.value].reshape(len(given), -1) for o in graph.outputs}
    return expected, _against_data(project, given, expected, level)


def _against_data(project: Project, given: Stimulus, expected: Mapping[str, Ints], level: str) -> VerificationResult | None:
    """Compares the Graph with the expected results in the user's data; None where all are equal or there are none."""
    if given.data is None:
        return None
    for output in project.graph.outputs:
        if output.name not in given.data.outputs:
            continue
        if output.name in project.manifest["logits"]:
            warn([f"the expected '{output.name}' is not compared: the model's final Softmax is cut"])
            continue
        values = given.data.outputs[output.name].reshape(len(given), -1)
        got = expected[output.name]
        want = expected_codes(output, values, project.output_casts.get(output.name))
        if want is None:
            exact = real_values(got, output.meaning)
            if output.name in given.data.inexact:
                exact, values = floats(exact, np.float32), values.astype(np.float32)
            wrong = exact != values
            if not wrong.any():
                continue
            vector, element = (int(i) for i in np.argwhere(wrong)[0])
            bad = int(wrong.any(axis=1).sum())
            return VerificationResult(
                level, "failed", f"the model gives {float(exact[vector, element])!r} where the data's '{output.name}' is "
                f"{float(values[vector, element])!r} (vector {vector}, element {element})", len(given), bad, int(wrong.sum()))
        result = compare(level, {output.name: want}, {output.name: got})
        if result.status == "failed":
            return replace(result, reason=f"the data's expected '{output.name}' differs from the model: {result.reason}")
    return None


def _reference(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    """The judge on the ONNX file against the Graph: every quantiser's code, and every output."""
    judge = Judge(project.model.path, project.algorithms, project.options.tensor_types)
    if given.data is not None and given.data.outputs and (failure := _specification(project, given, "reference")[1]):
        return failure
    found, real = Differences(len(given)), RealCodes(project, judge)
    step = max(1, TOGETHER // sum(op.type.size for op in project.model_graph.ops))
    for at in range(0, len(given), step):
        if progress:
            progress("judge", at / len(given))
        trace = _judge(project, judge, given.part(at, at + step), at, found)
        if not found.values:
            real.count(trace)
    bad = int(found.vectors.sum())
    first = next((found.first[name] for name in found.names if name in found.first), None)
    if first is not None:
        name = first.output.removeprefix("output ")
        first = replace(first, output=name, node=trace.node_of(name))
    return VerificationResult("reference", "failed" if bad else "passed", f"{bad} of {len(given)} vectors differ" if bad else str(real),
                              len(given), bad, found.values, first_mismatch=first)


def _judge(project: Project, judge: Judge, given: Stimulus, start: int, found: Differences) -> Trace:
    """The same for some of the vectors, which count from `start` on."""
    graph = project.model_graph
    at_ports = {f"output {name}": codes for name, codes in _specification(project, given, "reference")[0].items()}
    asked = [project.manifest["logits"].get(o.name, o.name) for o in graph.outputs]
    judged: dict[str, Ints] = {}
    """Codes of the quantisers, in as few bytes as they take: those of a large network are most of what is remembered."""
    trace = judge.run(feeds(project, given), asked, needed_again(project, judge),
                      lambda name, codes: judged.update({name: small(codes)} if name in project.quantisers else {}))
    for output, name in zip(graph.outputs, asked, strict=True):
        judged[f"output {output.name}"] = judged_codes(trace, name, output, project.output_casts.get(output.name))
    found.names |= dict.fromkeys(judged)
    readers: dict[str, list[tuple[str, int, int]]] = {}
    for name, q in project.quantisers.items():
        readers.setdefault(q.tensor, []).extend([(name, q.factor, q.shift)] * (name in judged))
    for output in graph.outputs:
        readers.setdefault(output.value, []).append((f"output {output.name}", 1, 0))
    seen = dict.fromkeys(readers, 0)

    def compare_block(tensor: str, codes: Codes) -> None:
        at, seen[tensor] = seen[tensor], seen[tensor] + len(codes)
        for name, factor, shift in readers[tensor]:
            ours = factor * codes.reshape(len(codes), -1) + shift
            found.note(name, start + at, judged[name].reshape(len(given), -1)[at:at + len(codes)], ours)
            if name in at_ports:
                found.note(name, start + at, ours, at_ports[name][at:at + len(codes)])

    graph.walk(given.codes, list(readers), compare_block)
    return trace


def needed_again(project: Project, judge: Judge) -> set[str]:
    """The tensors that `RealCodes` asks for, after the run."""
    found = project.manifest["approximations"]
    return {*judge.inputs, *(n for a in found.values() for n in a["readers"]), *(judge.operand(name) for name in found)} if found else set()


def small(codes: Ints) -> Ints:
    """The same numbers in the smallest integer type that holds them."""
    ends = (int(codes.min(initial=0)), int(codes.max(initial=0)))
    return codes.astype(np.result_type(*(np.min_scalar_type(end) for end in ends)))


class Differences:
    """Which vectors differ, in how many values, and where first, by tensor."""

    def __init__(self, vectors: int) -> None:
        self.vectors = np.zeros(vectors, bool)
        self.values = 0
        self.first: dict[str, Mismatch] = {}
        self.names: dict[str, None] = {}
        """All that were compared, in the order of the model."""

    def note(self, name: str, at: int, want: Any, got: Any) -> None:
        """Vectors from `at` on: [vectors, elements]."""
        wrong = want != got
        self.vectors[at:at + len(wrong)] |= wrong.any(axis=1)
        self.values += int(wrong.sum())
        if wrong.any() and name not in self.first:
            vector, element = (int(i) for i in np.argwhere(wrong)[0])
            self.first[name] = Mismatch(at + vector, name, element, _plain(want[vector, element]), _plain(got[vector, element]))


class RealCodes:
    """How many codes behind each Softmax and LayerNormalization are not those of the real function; as text, in words."""

    def __init__(self, project: Project, judge: Judge) -> None:
        self.project, self.judge = project, judge
        self.counts = dict.fromkeys(project.manifest["approximations"], (0, 0))

    def count(self, trace: Trace) -> None:
        """Raises InternalError where a code is further away than the algorithm's bound allows."""
        outputs = {o.name: o for o in self.project.graph.outputs}
        rounded = {q.tensor for q in trace.quantisers}
        for tensor, (other, total) in self.counts.items():
            approximation = self.project.manifest["approximations"][tensor]
            readers = [n for n in approximation["readers"] if n in rounded or n in outputs]
            real = self.judge.real(trace, tensor, readers)
            for name in readers:
                near, exact = (t.codes(name) if name in rounded else judged_codes(t, name, outputs[name],
                               self.project.output_casts.get(name)) for t in (trace, real))
                off = np.abs(near - exact)
                if off.size and off.max() > math.ceil(Fraction(approximation["steps"])):
                    raise InternalError(f"'{tensor}' is off by {off.max()} codes in '{name}', more than its bound allows")
                other, total = other + int((off > 0).sum()), total + off.size
            self.counts[tensor] = other, total

    def __str__(self) -> str:
        return "; ".join(f"'{tensor}': {other} of {total} codes are not the real function's own"
                         for tensor, (other, total) in self.counts.items())


def feeds(project: Project, given: Stimulus) -> dict[str, Any]:
    """What the judge gets: the values of the codes; where a port carries a quantiser's codes, the data that they were made
    of, or without data real numbers that the quantiser takes to them."""
    values: dict[str, Any] = {}
    for op in project.model_graph.input_ops:
        if not isinstance(op, Input) or op.encoding is None:
            values[op.name] = scaled(given.codes[op.name], op.type.frac)
        elif given.data is not None:
            values[op.name] = given.data.inputs[op.name]
        else:
            values[op.name] = np.frompyfunc(_judged, 1, 1)(decode(op, given.codes[op.name]))
    return values


def judged_codes(trace: Trace, tensor: str, output: Output, cast: Cast | None) -> Any:
    """The codes that the judge's exact values are for an output; those values in steps where they lie between codes."""
    values, where = trace.distinct(tensor)
    exact = elementwise(_number, values)
    codes = expected_codes(output, exact, cast)
    return (steps(exact, output.meaning) if codes is None else codes)[where]


def _plain(value: Any) -> Any:
    """A code, or a value between two, for JSON."""
    return int(value) if value == int(value) else float(value)


def _number(value: Any) -> Any:
    """The judge's exact number as the IR's."""
    if isinstance(value, JudgeReal):
        return Enclosed(value.bounds)
    return Surd.of(value.parts.items()) if isinstance(value, JudgeSurd) else value


def _judged(value: Any) -> Any:
    """The IR's exact number as the judge's."""
    return JudgeSurd(value.terms) if isinstance(value, Surd) else value


def _netlist(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    expected, failure = _specification(project, given, "netlist")
    if failure:
        return failure
    try:
        return diagnosed(project, given, compare("netlist", expected, project.design.evaluate(given.flat)))
    except InternalError as error:  # a row leaves its bounds, say: a wrong netlist, not a defect of this check
        return VerificationResult("netlist", "failed", str(error), len(given))


def _emulator(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    expected, failure = _specification(project, given, "emulator")
    if failure:
        return failure
    built = emulator.build(project.design.name, project.emulator, progress=progress)
    return diagnosed(project, given, emulator.verify(built, given.flat, expected))


def _rtl(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    expected, failure = _specification(project, given, "rtl")
    if failure:
        return failure
    with tempfile.TemporaryDirectory(prefix="gatewright-rtl-") as work:
        return diagnosed(project, given, verilator.verify(project.rtl, given.flat, expected, Path(work), progress=progress))


def _cocotb(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    expected, failure = _specification(project, given, "cocotb")
    if failure:
        return failure
    with tempfile.TemporaryDirectory(prefix="gatewright-cocotb-") as work:
        return diagnosed(project, given, cocotb.run(project.design_folder, project.rtl, given.flat, expected, Path(work)))


def _csim(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    """Every HLS target of the folder; the first that differs ends it."""
    expected, failure = _specification(project, given, "csim")
    if failure:
        return failure
    seconds = 0.0
    for target in [t for t in project.options.backend if t in DIALECTS] or list(DIALECTS)[:1]:
        sources = project.hls(target)
        with tempfile.TemporaryDirectory(prefix="gatewright-csim-") as work:
            result = csim.verify(sources, given.flat, expected, Path(work), progress=progress)
        seconds += result.seconds
        if result.status == "failed":
            return diagnosed(project, given, replace(result, reason=f"{target}: {result.reason}"), sources)
    return replace(result, seconds=seconds)


def _hls4ml(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    expected, failure = _specification(project, given, "hls4ml")
    if failure:
        return failure
    folder = project.hls4ml
    with tempfile.TemporaryDirectory(prefix="gatewright-hls4ml-") as work:
        return hls4ml.verify(folder, project.design, given.flat, expected, Path(work), progress=progress)


def _finn(project: Project, given: Stimulus, progress: Progress | None) -> VerificationResult:
    expected, failure = _specification(project, given, "finn")
    return failure or finn.verify(project.finn, project.design, given.flat, expected, progress=progress)


_LEVELS: Mapping[str, Callable[[Project, Stimulus, Progress | None], VerificationResult]] = {
    "reference": _reference, "netlist": _netlist, "emulator": _emulator, "rtl": _rtl, "cocotb": _cocotb, "csim": _csim,
    "hls4ml": _hls4ml, "finn": _finn}


def diagnosed(project: Project, given: Stimulus, result: VerificationResult,
              sources: csim.Sources | None = None) -> VerificationResult:
    """The result with the first ONNX node whose value differs, found through the correspondence on the failing vector.

    First in the netlist; where that is right, in the RTL itself, by reading its signals. With `sources` in their C++.
    """
    if result.first_mismatch is None:
        return result
    graph, vector = project.model_graph, result.first_mismatch.vector
    codes = {k: v[vector:vector + 1] for k, v in given.codes.items()}
    values = graph.evaluate(codes, [op.name for op in graph.ops])
    flat = {k: v.reshape(1, -1) for k, v in codes.items()}
    if sources and (node := _first_wrong_layer(project, sources, codes)):
        return replace(result, first_mismatch=replace(result.first_mismatch, node=node))
    netlist = project.design.kernels[0].netlist
    name = first_difference(netlist, project.correspondence, flat, values)
    if name is None and result.level in ("rtl", "cocotb"):
        name = _first_wrong_signal(project, flat)
    if name is None:
        name = next(o.value for o in graph.outputs if o.name == result.first_mismatch.output)
    return replace(result, first_mismatch=replace(result.first_mismatch, node=graph.by_name[name].node))


def _first_wrong_signal(project: Project, vector: Mapping[str, Ints]) -> str | None:
    """The first tensor, in the Graph's order, of which a signal in the RTL differs from its row of the netlist."""
    kernel = project.design.kernels[0]
    rows = visible(kernel)
    expected = evaluate_rows(kernel.netlist, vector, rows)[0]
    with tempfile.TemporaryDirectory(prefix="gatewright-probe-") as work:
        got = probe(project.rtl, kernel, rows, vector, Path(work))
    if got is None:
        return None
    wrong = set(rows[got != expected].tolist())
    places = project.correspondence.rows
    tensors = (op.name for op in project.model_graph.ops if op.name in places)
    return next((name for name in tensors if wrong & set(places[name].tolist())), None)


def _first_wrong_layer(project: Project, sources: csim.Sources, codes: Mapping[str, Codes]) -> str | None:
    """The node of the first layer of the C++ that hands on other codes than its tensor, or its rows of the netlist, have."""
    flat = {k: v.reshape(1, -1) for k, v in codes.items()}
    with tempfile.TemporaryDirectory(prefix="gatewright-probe-") as work:
        found = csim.probe(sources, flat, Path(work))
    tensors = project.graph.evaluate(codes, [a.tensor for a, *_ in found if a.tensor])
    rows = np.array([r for a, *_ in found for r in a.rows], np.int32)
    values = dict(zip(rows.tolist(), evaluate_rows(sources.design.kernels[0].netlist, flat, rows)[0].tolist(), strict=True))
    for array, node, got in found:
        want = tensors[array.tensor].reshape(-1).tolist() if array.tensor else [values[r] for r in array.rows]
        if got.tolist() != want:
            return node
    return None


def passed(results: Sequence[VerificationResult]) -> bool:
    """True where nothing failed."""
    return all(r.status != "failed" for r in results)
