"""hls4ml's own C simulation of a design: the project of `backends/hls4ml`, written, compiled and run by hls4ml."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gatewright.errors import ToolMissing
from gatewright.ir.design import Design
from gatewright.ir.fixed import Ints
from gatewright.sim.csim import INPUTS, OUTPUTS, vector_files
from gatewright.sim.result import VerificationResult, compare
from gatewright.sim.toolchain import find_compiler

Progress = Callable[[str, float], None]


def find_hls4ml() -> None:
    """Raises ToolMissing unless hls4ml, with what it needs itself, and a compiler are here."""
    find_compiler()
    done = subprocess.run([sys.executable, "-c", "import hls4ml.model, yaml"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        raise ToolMissing(f"hls4ml cannot be imported ({reason})", remedy="Install it with all that it needs: pip install hls4ml")


def verify(folder: Path, design: Design, data: Mapping[str, Ints], expected: Mapping[str, Ints], work_dir: Path, *,
           progress: Progress | None = None) -> VerificationResult:
    """Does the project in `folder` give the `expected` codes, int64[vectors, elements] by output name? Raises ToolMissing."""
    find_hls4ml()
    start, vectors, work = time.monotonic(), len(next(iter(expected.values()))), work_dir.resolve()
    (work / INPUTS).write_text(vector_files(design, data, expected)[INPUTS])
    if progress:
        progress("hls4ml compiles its C simulation", 0.1)
    command = [sys.executable, str(folder.resolve() / "build.py"), "csim", INPUTS, OUTPUTS, "project"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=work, check=False)
    seconds = time.monotonic() - start
    if done.returncode:
        reason = f"hls4ml ended with status {done.returncode}: {done.stderr.strip()[-500:]}"
        return VerificationResult("hls4ml", "failed", reason, vectors, seconds=seconds)
    codes = np.array((work / OUTPUTS).read_text().split(), np.int64).reshape(vectors, -1)
    ends = np.cumsum([p.elements for p in design.outputs])
    got = {p.name: codes[:, end - p.elements:end] for p, end in zip(design.outputs, ends, strict=True)}
    return replace(compare("hls4ml", expected, got), seconds=seconds)
