"""What gatewright makes of public models, bit for bit: writes docs/compatibility.md. Usage: python -m benchmarks.compatibility [FILE ...]

Every ONNX file in ../shared/models, or the files named (like zoo/TFC_2W2A.onnx; `--fast`: the subset that the tests repeat), is imported,
compared with the independent judge, lowered and compared again, simulated (one file per family), run on its golden vectors and on the
public executors. Rows are kept in benchmarks/results/compatibility.json; `--document` only writes the document from them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx

from benchmarks.rows import Row, read_rows, write_rows
from gatewright.compiler import verify as levels
from gatewright.compiler.data import DataFile, decode, encode
from gatewright.compiler.driver import GRAPH_PASSES, compile_model
from gatewright.compiler.frontend.importer import Imported, import_model
from gatewright.compiler.options import Options
from gatewright.compiler.project import write
from gatewright.errors import InternalError, UserError
from gatewright.ir.exact import elementwise, exacts
from gatewright.ir.graph import Graph
from gatewright.sim.boundaries import split
from gatewright.sim.directed import work
from gatewright.sim.executors import compare_with_qonnx
from gatewright.sim.vectors import random_vectors

ROOT = Path(__file__).parents[1]
MODELS = ROOT.parent / "shared" / "models"
STORED = ROOT / "benchmarks" / "results" / "compatibility.json"
DOCUMENT = ROOT / "docs" / "compatibility.md"
FAMILIES = {"cms": "Networks of the CMS Level-1 trigger, with golden vectors of their own emulators",
            "zoo": "QONNX model zoo (QKeras, FINN)", "hls4ml_examples": "hls4ml's example models",
            "exported": "Exports of today's Brevitas, torch, Keras and onnxruntime"}
TYPES = {"zoo/unsw_nb15-mlp-w2a2.onnx": "ufixed<1,1>"}
"""Input types of files that leave them open, where OTHERWISE is not meant; those of `cms` are in the golden vectors."""
OTHERWISE = "fixed<16,6>"
RTL = ("cms/axol1tl_v3/model.onnx", "zoo/qkeras_jettagging.onnx", "hls4ml_examples/bnn_model_fc_1layer.onnx",
       "exported/brevitas_mlp4_qonnx.onnx", "exported/brevitas_mlp4_qcdq.onnx", "exported/brevitas_conv1d6_mean_qcdq.onnx",
       "exported/brevitas_res4_qonnx_ts.onnx", "exported/ortq_mlp_bn_sigmoid_softmax_qdq_s8s8_pc.onnx",
       "exported/ortq_mlp_bn_sigmoid_softmax_qop_u8s8.onnx", "exported/torch_pt2e_cnn_res_avg_hardtanh.onnx")
"""One file of every family and exporter, also simulated by Verilator."""
FAST = ("cms/axol1tl_v3/model_with_input_scaling.onnx", "cms/cicada_v1p1p2/model.onnx", "zoo/unsw_nb15-mlp-w2a2.onnx",
        "hls4ml_examples/three_layer_keras.onnx", "exported/brevitas_bnn_qonnx.onnx", "exported/brevitas_mlp4_qcdq_ts.onnx",
        "exported/brevitas_res4_qcdq_ts.onnx",
        "exported/ortq_mlp_bn_sigmoid_softmax_qop_u8s8.onnx", "exported/torch_gru_ts.onnx")
VECTORS = 88
"""Corners (at most a quarter) and random vectors, at least 64 of these."""
DIRECTED = 256
"""Directed vectors, at most, the best first, of networks with scales that are no powers of two, where exact numbers are slow; of
large networks so few that the judge's work stays within ..."""
DIRECTED_CODES = 1 << 23
"""... this, in codes; 64 at least."""
EXECUTED = 64
"""Samples for the public executors, at most: those that came with the model, ..."""
EXECUTED_RANDOM = 16
"""... else random codes; ..."""
EXECUTED_CODES = 1 << 27
"""... so few that the codes of all tensors, which are all remembered, are not more than these; one at least."""
TIES, TIED = 16, 1 << 20
"""Vectors of ties at the input, so few that their elements, which are exact numbers, are not more than this; one at least."""
NETLIST_WORK = 40_000
"""Networks with more work per sample than this are compared up to the Graph."""


def names() -> list[str]:
    """All files, as paths in the folder of models, by family."""
    return [p.relative_to(MODELS).as_posix() for family in FAMILIES for p in sorted((MODELS / family).rglob("*.onnx"))]


def examine(name: str) -> Row:
    """All that the document says of a file; CPU seconds besides."""
    path, start = MODELS / name, time.process_time()
    row: Row = {"file": name}
    try:
        imported, row["input_type"] = opened(path, name)
        graph = imported.graph
        for step in GRAPH_PASSES:
            graph = step.run(graph).graph
    except UserError as error:
        return row | {"refused": str(error)}
    row |= {"graph_cpu_s": round(time.process_time() - start, 1), "quantisers": len(imported.quantisers)}
    folder = SimpleNamespace(  # what verification asks of an output folder, for networks of any size
        model=SimpleNamespace(path=path), options=Options(), model_graph=imported.graph, graph=graph, quantisers=imported.quantisers,
        input_casts=imported.input_casts, output_casts=imported.output_casts,
        algorithms={k: a.parameters for k, a in imported.approximations.items()},
        manifest={"logits": dict(imported.logits), "approximations": {
            k: {"parameters": a.parameters, "readers": a.readers, "steps": str(a.error * a.slope)}
            for k, a in imported.approximations.items()}})
    row["executors"] = executed(path, imported)
    row |= compared(folder, imported, name, row["input_type"])
    if expected := golden(path, imported.graph):
        with tempfile.TemporaryDirectory() as work_folder:
            np.savez(f"{work_folder}/golden.npz", **expected)
            data = levels.stimulus(folder, None, f"{work_folder}/golden.npz")
        failure = levels._specification(folder, data, "golden")[1]
        row["golden"] = {"vectors": len(data), "outputs": sorted(data.data.outputs), "equal": failure is None}
    return row


def compared(folder: Any, imported: Imported, name: str, kind: str | None) -> Row:
    """On our vectors: judge and Graph, and, where that is not too large, the netlist."""
    given = vectors(folder)
    row = {"vectors": given.kinds, "boundaries": list(met(folder.graph, given)), "judge": outcome(levels._reference(folder, given, None))}
    if ties := on_ties(imported):
        row["ties"] = outcome(levels._reference(folder, ties, None))
    return row | (hardware(folder.model.path, name, kind, given) if work(folder.graph) <= NETLIST_WORK else {})


def opened(path: Path, name: str) -> tuple[Imported, str | None]:
    """The model, with the input type that it needs, if any."""
    stored = path.with_name("golden.npz")
    kind = TYPES.get(name)
    if stored.exists():
        with np.load(stored) as arrays:
            width, integer, signed = arrays["emu_unscaled_type" if "scaling" in name else "x_type"]
        kind = f"{'' if signed else 'u'}fixed<{width},{integer}>"
    for choice in (None, kind or OTHERWISE):
        try:
            return import_model(path, Options(input_type=choice).types()), choice
        except UserError as error:
            if choice or "has no type" not in str(error):
                raise
    raise AssertionError


def vectors(folder: Any) -> levels.Stimulus:
    """Corners, random and directed vectors."""
    given = levels.stimulus(folder, None, None, VECTORS)
    scales = [scale for meaning in folder.model_graph.meanings.values() for scale in meaning.scale.reshape(-1)[:1]]
    dyadic = all(isinstance(s, Fraction) and s.denominator & (s.denominator - 1) == 0 and s.numerator == 1 for s in scales)
    most = VECTORS + max(64, min(len(given) if dyadic else DIRECTED, DIRECTED_CODES // work(folder.graph)))
    kept = given.first(most)
    return replace(kept, kinds=given.kinds | {"directed": len(kept) - VECTORS})


def met(graph: Graph, given: levels.Stimulus) -> tuple[int, int]:
    found = levels.coverage(graph, given.codes)
    return found.met, found.known


def on_ties(imported: Imported) -> levels.Stimulus | None:
    """Real inputs exactly between two codes of the quantiser at the input, where the host applies that; None where none does."""
    graph = imported.graph
    if not all(getattr(op, "encoding", None) for op in graph.input_ops):
        return None
    lo, hi = (np.concatenate([getattr(op.type, end).reshape(-1) for op in graph.input_ops]) for end in ("lo", "hi"))
    codes = split(graph, random_vectors(lo - 1, hi, max(1, min(TIES, TIED // lo.size)), seed=4))
    try:
        values = {op.name: decode(op, elementwise(lambda v: v + Fraction(1, 2), exacts(codes[op.name]))) for op in graph.input_ops}
        return levels.Stimulus(encode(graph, imported.input_casts, values), DataFile(values, {}, frozenset(), ()))
    except (UserError, TypeError):  # no real numbers for these codes, or irrational ones
        return None


def outcome(result: Any) -> str:
    return "equal" if result.status == "passed" else f"{result.status}: {result.reason}"


def hardware(path: Path, name: str, kind: str | None, given: levels.Stimulus) -> Row:
    """Netlist and, for some, RTL."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            project = write(compile_model(path, Options(input_type=kind, effort=0)), Path(folder) / "out")
        except UserError as error:
            return {"netlist": f"refused: {error}"}
        found = {"netlist": outcome(levels._netlist(project, given, None))}
        if name in RTL:
            found["rtl"] = outcome(levels._rtl(project, given, None))
        return found


def golden(path: Path, graph: Graph) -> Mapping[str, Any] | None:
    """The file's golden vectors as data for its inputs and outputs; the whole emulator's have names of their own."""
    stored = path.with_name("golden.npz")
    if not stored.exists():
        return None
    with np.load(stored) as file:
        arrays = dict(file)
    if "scaling" in path.name:
        arrays |= {"unscaled_raw": arrays["emu_unscaled_raw"], "unscaled_type": arrays["emu_unscaled_type"],
                   "scaled_input_raw": arrays["emu_scaled_raw"], "scaled_input_type": arrays["emu_scaled_type"],
                   "y_raw": arrays["emu_y_raw"], "score_raw": arrays["emu_score_raw"]}
    known = {*(op.name for op in graph.input_ops), *(o.name for o in graph.outputs)}
    return {k: v for k, v in arrays.items() if k.rsplit("_", 1)[0] in known}


def executed(path: Path, imported: Imported) -> Row:
    """The public executors beside the judge: nodes and counts of differences, by cause."""
    try:
        found = compare_with_qonnx(onnx.load(path), samples(path, imported))
    except (UserError, InternalError) as error:
        return {"refused": str(error).split("\n")[0][:160]}
    nodes = Counter((d.node, d.cause) for d in found.differences)
    return {"codes": found.codes, "different": sorted([node, cause, count] for (node, cause), count in nodes.items()),
            "values": found.values, "different_values": found.different_values, "unproven": list(found.unproven)}


def samples(path: Path, imported: Imported) -> dict[str, Any]:
    """Real inputs, float32: those that came with the model, else random codes' values."""
    ops = imported.graph.input_ops
    most = max(1, EXECUTED_CODES // sum(op.type.size for op in imported.graph.ops))
    if path.with_suffix(".npz").exists():
        with np.load(path.with_suffix(".npz")) as stored:
            return {ops[0].name: stored["x"][:min(most, EXECUTED)].astype(np.float32)}
    lo, hi = (np.concatenate([getattr(op.type, end).reshape(-1) for op in ops]) for end in ("lo", "hi"))
    codes = split(imported.graph, random_vectors(lo, hi, min(most, EXECUTED_RANDOM), seed=5))
    values = levels.feeds(SimpleNamespace(model_graph=imported.graph), levels.Stimulus(codes))
    return {name: np.asarray(v, np.float64).astype(np.float32) for name, v in values.items()}


# -- the document --------------------------------------------------------------------------------------------------------


def document(rows: list[Row]) -> str:
    """docs/compatibility.md."""
    by_family = {family: [r for r in rows if r["file"].startswith(f"{family}/")] for family in FAMILIES}
    parts = [HEAD, table(("family", "files", "exact", "refused", "netlist", "RTL", "golden vectors", "executors: codes that differ"),
                         [summary(family, found) for family, found in by_family.items()]), EXPLANATION]
    for family, found in by_family.items():
        parts.append(f"## {FAMILIES[family]}\n")
        if kept := [r for r in found if "refused" not in r]:
            parts.append(table(("file", "input", "judge = Graph, on", "boundaries met", "netlist", "RTL", "golden", "executors"),
                               [details(r) for r in kept]))
        if refused := [r for r in found if "refused" in r]:
            parts.append("Refused:\n\n" + table(("file", "message"), [(short(r), escape(r["refused"])) for r in refused]))
    parts.append(EXECUTORS + table(("file", "quantiser", "codes that differ", "cause"), [
        (short(r), f"`{node}`", count, cause or "**not proven**") for r in rows if "executors" in r
        for node, cause, count in r["executors"].get("different", [])]))
    return "\n".join(parts)


def summary(family: str, rows: list[Row]) -> tuple[Any, ...]:
    exact = [r for r in rows if r.get("judge") == "equal" and r.get("ties", "equal") == "equal"]
    refused = [r for r in rows if "refused" in r]
    counts = [sum(r.get(level) == "equal" for r in rows) for level in ("netlist", "rtl")]
    vectors = sum(r["golden"]["vectors"] for r in rows if r.get("golden", {}).get("equal"))
    done = [r["executors"] for r in rows if "codes" in r.get("executors", {})]
    different = sum(count for e in done for *_, count in e["different"])
    proven = sum(count for e in done for _, cause, count in e["different"] if cause)
    share = f"{different:,} of {sum(e['codes'] for e in done):,}, {proven:,} proven float32's" if done else ""
    return f"`{family}`", len(rows), len(exact), len(refused), counts[0], counts[1], f"{vectors:,}" if vectors else "", share


def details(r: Row) -> tuple[Any, ...]:
    kinds, e = r["vectors"], r["executors"]
    judge = f"{sum(kinds.values()):,} vectors ({kinds['directed']:,} directed)" if r["judge"] == "equal" else f"**{r['judge']}**"
    if r.get("ties", "equal") != "equal":
        judge += f"; ties at the input: **{r['ties']}**"
    met, known = r["boundaries"]
    gold = f"{r['golden']['vectors']:,} equal" if r.get("golden", {}).get("equal") else "**differ**" if "golden" in r else ""
    if "refused" in e:
        public = escape(e["refused"])
    else:
        public = f"{sum(d[2] for d in e['different']):,} of {e['codes']:,} codes"
        public += f"; {e['different_values']:,} of {e['values']:,} values" if e["values"] else ""
        public += f"; **not proven: {', '.join(e['unproven'])}**" if e["unproven"] else ""
    return (short(r), f"`{r['input_type']}`" if r["input_type"] else "", judge, f"{met:,} of {known:,}" if known else "not searched",
            escape(r.get("netlist", "")), r.get("rtl", ""), gold, public)


def short(row: Row) -> str:
    return f"`{row['file'].split('/', 1)[1]}`"


def escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "\\<")


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


HEAD = """# Compatibility

What gatewright makes of public models, generated by `python -m benchmarks.compatibility` from files that are not in this repository
(their licences differ); the tests repeat a part of it. Every file either gives the exact bits, or is refused with a message that says
why.

"""

EXPLANATION = """
- **exact**: every code of every quantiser, and every output, equals what the independent [judge](exactness.md) computes from the ONNX
  file, on corners, at least 64 random vectors and [directed vectors](usage.md#directed-vectors), which meet rounding and limiting
  boundaries on both sides; where a quantiser stands at the input, also on real inputs exactly between two of its codes.
  The three largest image networks get no directed vectors, since a search takes too long; every random image shows the
  first filters 65,536 windows or more.
- **refused**: mostly float models without quantisers.
- **netlist**: the lowered netlist gives the same bits on the same vectors; networks too large for one parallel kernel are compared up to
  the Graph. **RTL**: so does the simulated Verilog, for one file of every family and exporter.
- **golden vectors**: inputs and outputs from the C++ emulators of the trigger networks, all equal. `model_with_input_scaling.onnx` is the
  whole trigger function, from unscaled integers to the score.
- **executors**: qonnx and onnxruntime (without optimisations) compute in float32, which rounds; where their codes differ from exact
  arithmetic, that this is float32's doing [is proven](#where-the-public-executors-differ), code by code.
"""

EXECUTORS = """## Where the public executors differ

Every quantiser is compared on what the executor's earlier ones gave, so one difference does not spread. For each code that differs, every
node in front of the quantiser is computed again, exactly, from the float32 operands that the executor had, and its result lies within the
error bound of that operator in float32 arithmetic. Then the cause is `sum` where the exact quantiser, on the float32 operand that reached
the executor's, gives the executor's code: rounding of sums and products moved the value across the boundary. It is `division` where that
operand, with the zero point that is added, lies within two float32 roundings of the place where the two codes meet. Values of outputs
without a quantiser are compared with the exact value, rounded to float32 once; they differ in the last bits, within the same bounds.

"""


# -- running it ----------------------------------------------------------------------------------------------------------


def store(rows: list[Row]) -> None:
    """Replaces the rows of these files, and writes the document."""
    every = {r["file"]: r for r in read_rows(STORED)} | {r["file"]: r for r in rows}
    order = [n for n in names() if n in every]
    write_rows(STORED, (every[n] for n in order))
    DOCUMENT.write_text(document([every[n] for n in order]))


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--fast", action="store_true", help="the subset that the tests repeat")
    parser.add_argument("--document", action="store_true", help="only write the document")
    parser.add_argument("--row", action="store_true", help="print the row of one file as JSON, and store nothing")
    o = parser.parse_args()
    if o.row:
        with quiet():
            row = examine(o.files[0])
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps(row | {"cpu_s": round(time.process_time(), 1), "memory_mb": usage.ru_maxrss >> 10}))
        return
    for name in [] if o.document else o.files or (FAST if o.fast else names()):
        done = subprocess.run([sys.executable, "-m", "benchmarks.compatibility", "--row", name], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(name, "FAILED", file=sys.stderr)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        print(name, row.get("refused", "")[:60], row.get("judge", ""), f"{row['cpu_s']} s, {row['memory_mb']} MB", flush=True)
        store([row])
    store([])


if __name__ == "__main__":
    main()
