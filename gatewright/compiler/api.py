"""The Python interface, the command line's twin: `gatewright.compile(...)`, then methods of what it returns.

>>> import gatewright
>>> model = gatewright.compile("examples/digits/digits.onnx")       # doctest: +SKIP
>>> model.verify(vectors=1000).status                               # doctest: +SKIP
'passed'
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike, NDArray

from gatewright.compiler.data import warn
from gatewright.compiler.driver import compile_model
from gatewright.compiler.estimate.estimate import estimate
from gatewright.compiler.options import Options, with_config
from gatewright.compiler.project import Project, check_target, write
from gatewright.compiler.report import write_report
from gatewright.compiler.run import run
from gatewright.compiler.synthesis import synthesise_project
from gatewright.compiler.vendor import add_vendor_reports
from gatewright.compiler.verify import verify, verify_all
from gatewright.sim.emulator import Emulator, build
from gatewright.sim.result import VerificationResult
from gatewright.synth.result import Resources


def compile(model: str | Path, folder: str | Path | None = None, *, config: str | Path | None = None,
            **options: Any) -> CompiledModel:
    """Compiles `model` into `folder` (None: a temporary one, which lives as long as the result).

    `options` are the fields of `Options`: part, clock_ns, latency, effort, dsp, input_type, output_type, input_types, output_types,
    tensor_types, data, outputs, backend, softmax, name, kernel, reuse, layer_reuse, hls4ml (a dictionary); `config` is a TOML file
    with the same. Raises UserError where the model or an option cannot be used.
    """
    base = Options() if config is None else with_config(Options(), config)
    chosen = Options(**{**{f: getattr(base, f) for f in Options.__dataclass_fields__}, **options})
    if folder is not None:
        check_target(Path(folder))
    compiled = compile_model(model, chosen)
    if folder is not None:
        return _opened(write(compiled, folder), None)
    keep = tempfile.TemporaryDirectory(prefix="gatewright-")
    return _opened(write(compiled, Path(keep.name) / "design"), keep)


def open(folder: str | Path) -> CompiledModel:
    """The compiled model in an output folder. Raises UserError where it is none."""
    return CompiledModel(Project(Path(folder)), None)


def _opened(project: Project, keep: tempfile.TemporaryDirectory[str] | None) -> CompiledModel:
    model = CompiledModel(project, keep)
    model.report()
    return model


class CompiledModel:
    """A compiled model in its output folder. `project` gives the Graph, the Design and everything else that lies there."""

    def __init__(self, project: Project, keep: tempfile.TemporaryDirectory[str] | None) -> None:
        self.project = project
        self._keep = keep

    @property
    def folder(self) -> Path:
        return self.project.folder

    def verify(self, level: str = "rtl", vectors: int | None = None,
               data: str | Path | None = None) -> VerificationResult:
        """Compares every output bit with the model: level reference, netlist, emulator, rtl, cocotb or csim."""
        result = verify(self.project, level, vectors, data)
        self.report()
        return result

    def verify_all(self, vectors: int | None = None, data: str | Path | None = None) -> list[VerificationResult]:
        """Every level; one whose tool is missing is skipped."""
        results = verify_all(self.project, vectors, data)
        self.report()
        return results

    def run(self, data: str | Path | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs for an .npz file or for arrays by input name: real values as NAME, integer codes as NAME_code."""
        results = run(self.project, data)
        warn(results.warnings)
        return results.outputs

    def emulator(self) -> Emulator:
        """The emulator, built or from the cache: codes or real values in and out, several threads. Needs a C++ compiler."""
        return build(self.project.design.name, self.project.emulator)

    def estimate(self) -> Resources:
        """Resources and latency without synthesis."""
        return estimate(self.project.design, self.project.part, self.project.options.clock_ns)

    def synth(self, part: str | None = None) -> Resources:
        """Resources from Yosys, for the design's part or another one."""
        result = synthesise_project(self.project, part)
        self.report()
        return result

    def report(self, vendor: Sequence[str | Path] = ()) -> dict[str, Any]:
        """Writes report.json and report.html; returns the content of report.json. `vendor`: reports of vendors' tools, to be kept."""
        add_vendor_reports(self.project, vendor)
        return write_report(self.project)
