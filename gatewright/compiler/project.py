"""The output folder: everything needed to verify, synthesise and ship a design, written whole or not at all.

    DIR/design/     the model, both Graphs as text, the netlist, the correspondence, RTL, constraints, test bench
    DIR/results/    what verify and synth found, one JSON file each
    DIR/report.json, DIR/report.html
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gatewright import __version__
from gatewright.backends import verilog
from gatewright.backends.part import Part, load_part
from gatewright.compiler.driver import Compilation
from gatewright.compiler.frontend.values import Quantised
from gatewright.compiler.options import Options
from gatewright.errors import UserError
from gatewright.ir import design as designs
from gatewright.ir.correspondence import Correspondence
from gatewright.ir.design import Design
from gatewright.ir.fixed import Cast
from gatewright.ir.graph import Graph
from gatewright.ir.npz import npz_arrays, npz_bytes
from gatewright.ir.text import parse as parse_graph
from gatewright.ir.text import show as show_graph
from gatewright.sim import cocotb
from gatewright.sim.ports import Rtl
from gatewright.sim.vectors import stimulus

MANIFEST = "manifest.json"
TESTBENCH_VECTORS = 64


def design_files(c: Compilation) -> dict[str, bytes]:
    """All files of `design/`, by path: the same bytes for the same model, options and compiler."""
    header = {"gatewright": __version__, "model": c.imported.model.path.name, "sha256": c.sha256, "part": c.part.name,
              "clock_ns": c.options.clock_ns}
    texts = verilog.emit(c.design, header)
    vectors = stimulus(c.design.inputs, TESTBENCH_VECTORS, seed=1)
    vectors = {op.name: np.clip(vectors[op.name], op.type.lo.reshape(-1), op.type.hi.reshape(-1)) for op in c.graph.input_ops}
    rtl = Rtl(c.design.name, tuple(Path(p) for p in verilog.sources(c.design)), c.design.inputs, c.design.outputs,
              c.design.latency_cycles)
    texts |= cocotb.testbench(rtl, vectors, c.design.evaluate(vectors))
    texts |= {"model.txt": show_graph(c.imported.graph), "graph.txt": show_graph(c.graph), MANIFEST: _manifest(c),
              "correspondence.json": json.dumps({"tensors": dict(c.correspondence.tensors),
                                                 "gone": dict(c.correspondence.gone)}, indent=1) + "\n"}
    files = {path: text.encode() for path, text in texts.items()}
    files |= designs.to_files(c.design)
    files["correspondence.npz"] = npz_bytes({str(i): r for i, r in enumerate(c.correspondence.rows.values())} | {
        "names": np.array(list(c.correspondence.rows), np.str_)})
    return files | {f"model/{name}": data for name, data in c.imported.model.files.items()}


def _manifest(c: Compilation) -> str:
    values = {
        "gatewright": __version__, "sha256": c.sha256,
        "model": {"file": c.imported.model.path.name, "sha256": c.imported.model.sha256, "producer": c.imported.model.producer},
        "options": c.options.to_json(), "notes": list(c.notes),
        "input_casts": {k: str(v) for k, v in c.imported.input_casts.items()},
        "output_casts": {k: str(v) for k, v in c.imported.output_casts.items()},
        "quantisers": {k: [q.tensor, q.factor, q.shift] for k, q in c.imported.quantisers.items()},
        "logits": dict(c.imported.logits)}
    return json.dumps(values, indent=1) + "\n"


def check_target(folder: Path) -> None:
    """Raises UserError unless `folder` may be written: new, empty, or an earlier output of gatewright."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file", remedy="Give another folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "design" / MANIFEST).is_file():
        raise UserError(f"the folder '{folder}' is in use and was not made by gatewright", remedy="Give another folder with -o")


def write(c: Compilation, folder: str | Path) -> Project:
    """Writes the output folder, replacing an earlier one as a whole."""
    folder = Path(folder)
    check_target(folder)
    files = design_files(c)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        partial.chmod(0o755)
        for path, data in files.items():
            target = partial / "design" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            os.replace(folder, old / "was")
            os.replace(partial, folder)
            shutil.rmtree(old)
        else:
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Project(folder)


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that readers see the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)


@dataclass(frozen=True)
class Project:
    """An output folder, read as needed. Raises UserError where it is not one, or is damaged."""

    folder: Path

    def __post_init__(self) -> None:
        if not (self.design_folder / MANIFEST).is_file():
            raise UserError(f"'{self.folder}' is not an output folder of gatewright",
                            remedy="Make one with: gatewright compile MODEL.onnx -o DIR")

    @property
    def design_folder(self) -> Path:
        return self.folder / "design"

    def _read(self, name: str) -> bytes:
        try:
            return (self.design_folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"'{self.design_folder / name}' cannot be read: {error.strerror}",
                            remedy="Compile the model again into this folder") from None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        try:
            values: dict[str, Any] = json.loads(self._read(MANIFEST))
        except ValueError:
            raise UserError(f"'{self.design_folder / MANIFEST}' is damaged",
                            remedy="Compile the model again into this folder") from None
        return values

    @cached_property
    def options(self) -> Options:
        return Options.from_json(self.manifest["options"])

    @cached_property
    def part(self) -> Part:
        return load_part(self.options.part)

    @cached_property
    def model_graph(self) -> Graph:
        """The model as written: the specification."""
        return parse_graph(self._read("model.txt").decode())

    @cached_property
    def graph(self) -> Graph:
        """The optimised Graph."""
        return parse_graph(self._read("graph.txt").decode())

    @cached_property
    def design(self) -> Design:
        names = json.loads(self._read("design.json"))["kernels"]
        files = ["design.json", *(f"{n}{suffix}" for n in names for suffix in (".npz", ".stage.npy"))]
        return designs.from_files({name: self._read(name) for name in files})

    @cached_property
    def correspondence(self) -> Correspondence:
        values, arrays = json.loads(self._read("correspondence.json")), npz_arrays(self._read("correspondence.npz"))
        rows = {str(name): arrays[str(i)] for i, name in enumerate(arrays["names"])}
        return Correspondence(values["tensors"], values["gone"], rows)

    @cached_property
    def input_casts(self) -> Mapping[str, Cast]:
        return {k: Cast.parse(v) for k, v in self.manifest["input_casts"].items()}

    @cached_property
    def output_casts(self) -> Mapping[str, Cast]:
        return {k: Cast.parse(v) for k, v in self.manifest["output_casts"].items()}

    @cached_property
    def quantisers(self) -> Mapping[str, Quantised]:
        return {k: Quantised(*v) for k, v in self.manifest["quantisers"].items()}

    @property
    def model_path(self) -> Path:
        return self.design_folder / "model" / str(self.manifest["model"]["file"])

    @property
    def rtl(self) -> Rtl:
        """The Verilog in the folder, as the simulators take it."""
        sources = tuple(self.design_folder / p for p in verilog.sources(self.design))
        return Rtl(self.design.name, sources, self.design.inputs, self.design.outputs, self.design.latency_cycles)

    def results(self, kind: str) -> list[dict[str, Any]]:
        """What `DIR/results/` holds of a kind, "verify" or "synth", in the order of the file names."""
        return [json.loads(f.read_text()) for f in sorted((self.folder / "results").glob(f"{kind}-*.json"))]

    def add_result(self, kind: str, name: str, values: Mapping[str, Any]) -> None:
        write_atomically(self.folder / "results" / f"{kind}-{name}.json", json.dumps(values, indent=1) + "\n")
