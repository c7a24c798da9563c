"""How long gatewright takes: compile, evaluate, verify, synthesise. Usage: python -m benchmarks.speed [MODEL.onnx [TYPE]]

CPU seconds of this process and its children. Without a model it measures the digits example; figures in the documentation
name the command that made them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gatewright

HERE = Path(__file__).parent
DIGITS = HERE.parent / "examples" / "digits" / "digits.onnx"
SAMPLES = 200_000


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of `work`, children included, and its result."""
    def used() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in usages)

    before = used()
    result = work()
    return round(used() - before, 2), result


def measure(path: Path, input_type: str | None) -> dict[str, Any]:
    """One row of figures for a model."""
    command = [sys.executable, "-m", "gatewright.compiler.cli", "compile", str(path)]
    command += ["--input-type", input_type] if input_type else []
    with tempfile.TemporaryDirectory() as folder:
        process, _ = cpu_seconds(lambda: subprocess.run([*command, "-o", f"{folder}/out"], check=True, capture_output=True))
    gatewright.compile(path, input_type=input_type)
    warm, model = cpu_seconds(lambda: gatewright.compile(path, input_type=input_type))
    graph = model.project.graph
    rng = np.random.default_rng(0)
    codes = {op.name: rng.integers(op.type.lo, op.type.hi + 1, (SAMPLES, *op.type.shape)) for op in graph.input_ops}
    graph.evaluate(codes)
    evaluation, _ = cpu_seconds(lambda: graph.evaluate(codes))
    rtl, result = cpu_seconds(lambda: model.verify("rtl", 10_000))
    return {"model": path.name, "input_type": input_type, "rows": len(model.project.design.kernels[0].netlist),
            "compile_process_cpu_s": process, "compile_warm_cpu_s": warm,
            "graph_samples_per_cpu_s": round(SAMPLES / max(evaluation, 0.01)), "verify_rtl_10000_cpu_s": rtl,
            "verify_rtl": result.status}


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DIGITS
    print(json.dumps(measure(path, sys.argv[2] if len(sys.argv) > 2 else None), indent=1))


if __name__ == "__main__":
    main()
