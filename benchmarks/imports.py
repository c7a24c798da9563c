"""What it takes to bring models in: CPU seconds and peak memory up to the exact Graph, one process a file.

Usage: python -m benchmarks.imports [--input-type TYPE] [--json] MODEL.onnx...

A type may follow a file, as in MODEL.onnx=fixed<16,6>. Files whose input needs a type and that have none given take
`--input-type` (default fixed<16,6>). Figures include the start of the process (about a second).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from gatewright.compiler.driver import exact_graph, opened
from gatewright.compiler.options import Options
from gatewright.errors import UserError

COLUMNS = ("cpu_s", "import", "peak_mb", "ops", "elements")


def measure(path: str, input_type: str | None) -> dict[str, Any]:
    """One file, in this process: figures after every step and the Graph's size, or the message with which it is refused."""
    steps: dict[str, float] = {}
    row: dict[str, Any] = {"model": path, "input_type": input_type, "cpu_s_after": steps}
    try:
        _, graph, _, _ = exact_graph(opened(path, Options(input_type=input_type)),
                                     lambda step, _: steps.update({step: round(time.process_time(), 2)}))
        row |= {"ops": len(graph.ops), "elements": sum(op.type.size for op in graph.ops)}
    except UserError as error:
        row["refused"] = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return row | {"cpu_s": round(time.process_time(), 2), "peak_mb": peak // 1024}


def apart(path: str, input_type: str | None) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.imports", "--here", path]
    command += ["--input-type", input_type] if input_type else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"model": path, "input_type": input_type, "failed": (done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]}
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def line(row: dict[str, Any]) -> str:
    """A row of the table: CPU seconds in all and after the import, peak memory, the Graph's size, file, what went wrong."""
    row = {**row, "import": row.get("cpu_s_after", {}).get("import", "")}
    figures = [f"{row.get(k, ''):>8}" for k in COLUMNS]
    problem = row.get("refused") or row.get("failed") or ""
    return " ".join([*figures, " ", row["model"], row["input_type"] or "", problem])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--input-type", default=None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", metavar="MODEL", help="measure one model in this process, with this very type")
    given = parser.parse_args(arguments)
    if given.here:
        print(json.dumps(measure(given.here, given.input_type)))
        return
    if not given.json:
        print(" ".join(f"{k:>8}" for k in COLUMNS), "  model")
    rows = []
    for model in given.models:
        path, _, own = model.partition("=")
        row = apart(path, own or None)
        if not own and "has no type" in row.get("refused", ""):
            row = apart(path, given.input_type or "fixed<16,6>")
        rows.append(row)
        if not given.json:
            print(line(row), flush=True)
    if given.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
