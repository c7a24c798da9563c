"""Builds one model with one tool, in a process of its own: python -m benchmarks.peers.build '{...}'

The argument is JSON: tool, model (the name of a description, or for gatewright FILE.onnx or FILE.onnx=TYPE OF THE INPUT),
models_dir, folder, clock_ns, stages, part, vectors, effort, behavioural. Verilog goes to `folder`;
standard output is one JSON object: cycles, build_cpu_s, memory_mb, mismatches, vectors, version. CPU seconds are those of the second
build in the process, from integer weights to pipelined kernel: imports, just-in-time compilation and writing text are left out.

`cycles` counts the stages of combinational logic; all tools have a register in front of the first and behind the last.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.description import Activation, Description, Grid, Ints, load

TOP = "top"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the second of two runs, and its result."""
    work()
    start = time.process_time()
    result = work()
    return round(time.process_time() - start, 3), result


def build_gatewright(model: Description, job: dict[str, Any]) -> dict[str, Any]:
    """Judged by the description: the Graph and the pipelined kernel both."""
    import onnx

    from benchmarks.peers.to_onnx import to_onnx

    file = Path(job["folder"]) / f"{model.name}.onnx"
    onnx.save(to_onnx(model), file)
    compiled, facts = compiled_by_gatewright(file, None, job)
    codes = model.random_inputs(job["vectors"])
    expected, frac = model.evaluate(codes)
    port, = compiled.imported.graph.outputs
    wrong = 0
    specified = compiled.imported.graph.evaluate({"x": codes.reshape(-1, *compiled.design.inputs[0].shape)})[port.value]
    built = compiled.design.evaluate({"x": codes})[port.name]
    for got in (specified, built):
        wrong += int((integers(got.reshape(len(codes), -1), port.meaning, frac) != expected).sum())
    return facts | {"mismatches": wrong}


def build_file(file: Path, input_type: str | None, job: dict[str, Any]) -> dict[str, Any]:
    """An ONNX model as it is, with gatewright; the kernel is judged by the model's exact Graph."""
    from gatewright.sim.vectors import random_vectors

    compiled, facts = compiled_by_gatewright(file, input_type, job)
    graph, design = compiled.imported.graph, compiled.design
    codes = {op.name: random_vectors(op.type.lo.reshape(-1), op.type.hi.reshape(-1), job["vectors"], 1) for op in graph.input_ops}
    expected = graph.evaluate({op.name: codes[op.name].reshape(-1, *op.type.shape) for op in graph.input_ops})
    built = design.evaluate(codes)
    return facts | {"mismatches": sum(
        int((built[o.name] != expected[o.value].reshape(job["vectors"], -1)).sum()) for o in graph.outputs)}


def compiled_by_gatewright(file: Path, input_type: str | None, job: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The compilation, of which the Verilog is written to the job's folder, and the facts of a row but for mismatches."""
    import gatewright
    from gatewright.backends.verilog import emit, sources
    from gatewright.compiler.driver import compile_model, compiler_digest
    from gatewright.compiler.estimate.estimate import estimate
    from gatewright.compiler.options import Options

    folder = Path(job["folder"])
    options = Options(input_type=input_type, part=job["part"], clock_ns=job["clock_ns"], effort=job["effort"], name=TOP)
    cpu, compiled = timed(lambda: compile_model(file, options))
    header = {"gatewright": gatewright.__version__, "model": file.name, "sha256": compiled.sha256, "part": compiled.part.name,
              "clock_ns": options.clock_ns}
    files = emit(compiled.design, header)
    plain = "`define GATEWRIGHT_PLAIN\n" if job["behavioural"] else ""
    for name in sources(TOP, files):
        (folder / Path(name).name).write_text(plain + files[name], encoding="utf-8")
    guess = estimate(compiled.design, compiled.part, options.clock_ns)
    return compiled, {"version": gatewright.__version__, "code": compiler_digest()[:12], "cycles": compiled.design.latency_cycles - 1,
                      "build_cpu_s": cpu, "estimated_lut": guess.lut, "estimated_ns": guess.critical_path_ns}


def integers(codes: Ints, meaning: Any, frac: int) -> Ints:
    """The integers with `frac` fraction bits that codes mean. Raises ValueError where they mean other numbers."""
    scale, offset = (Fraction(str(np.asarray(v).reshape(-1)[0])) * Fraction(2) ** frac for v in (meaning.scale, meaning.offset))
    if np.size(meaning.scale) > 1 or np.size(meaning.offset) > 1 or scale.denominator != 1 or offset.denominator != 1:
        raise ValueError(f"codes mean {scale} * code + {offset} steps, which are not integers")
    return codes * int(scale) + int(offset)


ROUNDING = {"floor": "TRN", "half_up": "RND", "half_even": "RND_CONV"}


def kif(grid: Grid) -> tuple[int, int, int]:
    """(signed, integer bits without the sign, fraction bits)"""
    return int(grid.signed), grid.bits - grid.signed - grid.frac, grid.frac


def traced(x: Any, model: Description) -> Any:
    """The layers applied to a symbolic array of alkaid or da4ml, whose interfaces agree here."""
    def through(x: Any, activation: Activation) -> Any:
        grid = activation.grid
        if activation.relu and grid.signed:
            x = x.relu()  # saturation to an unsigned type cuts negative values off by itself
        overflow = "WRAP" if not activation.saturate else "SAT_SYM" if grid.narrow else "SAT"
        return x.quantize(*kif(grid), overflow, ROUNDING[activation.rounding])

    for layer in model.layers:
        x = x @ (layer.weight * 2.0**-layer.weight_frac)
        if layer.bias.any():
            x = x + layer.bias * 2.0**-layer.bias_frac
        if layer.activation:
            x = through(x, layer.activation)
    return x


def symbols(array: Any, config: Any, model: Description) -> Any:
    """Inputs for tracing: exact bounds, so that narrow types keep theirs."""
    step = 2.0**-model.input.frac
    bounds = (np.full(model.size, v) for v in (model.input.lo * step, model.input.hi * step, step))
    return array.from_lhs(*bounds, config(1, -1, -1), 0.0, {"hard_dc": depth_of(array)})


def depth_of(array: Any) -> int:
    """How much deeper than a balanced tree the tool may build: 5 is the default of alkaid's command line, 2 da4ml's."""
    return 5 if array.__module__.startswith("alkaid") else 2


def wrong_values(program: Any, model: Description, vectors: int) -> int:
    """How many outputs of the tool's own software model differ."""
    codes = model.random_inputs(vectors)
    expected, frac = model.evaluate(codes)
    got = program.predict(codes * 2.0**-model.input.frac, n_threads=1).reshape(expected.shape)
    return int((got != expected * 2.0**-frac).sum())


def build_alkaid(model: Description, job: dict[str, Any]) -> dict[str, Any]:
    import alkaid._version
    from alkaid.codegen.rtl import RTLModel
    from alkaid.trace import FVArray, HWConfig, trace

    def build() -> Any:
        x = symbols(FVArray, HWConfig, model)
        return trace(x, traced(x, model))

    cpu, program = timed(build)
    with contextlib.redirect_stdout(sys.stderr):
        rtl = RTLModel(program, Path(job["folder"]), TOP, n_stages=job["stages"])
        rtl.write()
    return {"version": alkaid._version.__version__, "cycles": int(rtl.latency or 0), "build_cpu_s": cpu,
            "mismatches": wrong_values(program, model, job["vectors"])}


def build_da4ml(model: Description, job: dict[str, Any]) -> dict[str, Any]:
    import da4ml
    from da4ml.codegen import VerilogModel
    from da4ml.trace import FixedVariableArray, HWConfig, comb_trace

    if any(layer.activation and layer.activation.rounding == "half_even" for layer in model.layers):
        return {"version": da4ml.__version__, "skipped": "da4ml has no rounding half to even"}

    def build() -> Any:
        x = symbols(FixedVariableArray, HWConfig, model)
        return comb_trace(x, traced(x, model))

    cpu, program = timed(build)
    depth = max(program.latency) if isinstance(program.latency, tuple) else program.latency
    with contextlib.redirect_stdout(sys.stderr):
        rtl = VerilogModel(program, TOP, Path(job["folder"]), latency_cutoff=math.ceil(depth / job["stages"]))
        rtl.write()
    return {"version": da4ml.__version__, "cycles": len(rtl._pipe.solutions), "build_cpu_s": cpu,
            "mismatches": wrong_values(program, model, job["vectors"])}


BUILDERS = {"gatewright": build_gatewright, "alkaid": build_alkaid, "da4ml": build_da4ml}
"""`clock_ns` says to gatewright how to pipeline, `stages` to the others. `effort` and `behavioural` are for gatewright; it is the yardstick
that leaves other tools' sums as they are."""


def main() -> None:
    job = json.loads(sys.argv[1])
    file, _, input_type = job["model"].partition("=")
    if not file.endswith(".onnx"):
        result = BUILDERS[job["tool"]](load(file, Path(job["models_dir"])), job)
    elif job["tool"] == "gatewright":
        result = build_file(Path(file), input_type.replace(";", ",") or None, job)
    else:
        result = {"skipped": "not a description: layers that are more than weights, biases and activations"}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result | {"memory_mb": round(memory), "vectors": job["vectors"]}))


if __name__ == "__main__":
    main()
