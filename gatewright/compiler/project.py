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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gatewright import __version__
from gatewright.backends import emulator, finn, hls, hls4ml, verilog
from gatewright.backends.part import Part, load_part
from gatewright.backends.targets import SOFTWARE, TARGETS
from gatewright.compiler.driver import Compilation, software_design
from gatewright.compiler.frontend.onnx_file import Model, load
from gatewright.compiler.frontend.values import Quantised
from gatewright.compiler.options import Options
from gatewright.errors import ToolMissing, UserError
from gatewright.ir import design as designs
from gatewright.ir.correspondence import Correspondence
from gatewright.ir.design import Design
from gatewright.ir.fixed import Cast, Ints
from gatewright.ir.graph import Graph
from gatewright.ir.npz import npz_arrays, npz_bytes
from gatewright.ir.text import parse as parse_graph
from gatewright.ir.text import show as show_graph
from gatewright.sim import cocotb, csim
from gatewright.sim import finn as finn_sim
from gatewright.sim.ports import Rtl
from gatewright.sim.vectors import stimulus

MANIFEST = "manifest.json"
TESTBENCH_VECTORS = 64


def design_files(c: Compilation) -> dict[str, bytes]:
    """All files of `design/`, by path: the same bytes for the same model, options and compiler."""
    casts = {k: str(v) for k, v in c.imported.input_casts.items()}
    header = _header(c.imported.model.path.name, c.sha256, c.options, casts, c.design)
    texts: dict[str, str | bytes] = {}
    software = software_design(c.design, c.graph, c.options) if SOFTWARE & set(c.options.backend) else c.design
    for name in c.options.backend:
        texts |= TARGETS[name](software if name in SOFTWARE else c.design, c.graph, header)
    sources: tuple[str, ...] = ()
    if "verilog" in c.options.backend:
        sources = verilog.sources(c.design.name, texts)
        texts |= _testbench(c, sources)
    for name in set(c.options.backend) & {*hls.DIALECTS, hls4ml.FOLDER}:
        vectors = _vectors(c)
        texts |= {f"{name}/{file}": text for file, text in csim.vector_files(c.design, vectors, c.design.evaluate(vectors)).items()}
    if finn.FOLDER in c.options.backend:
        vectors = _vectors(c)
        arrays = finn_sim.vector_files(c.design, vectors, c.design.evaluate(vectors))
        texts |= {f"{finn.FOLDER}/{file}": data for file, data in arrays.items()}
    texts |= {"model.txt": show_graph(c.imported.graph), "graph.txt": show_graph(c.graph), MANIFEST: _manifest(c, sources),
              "correspondence.json": json.dumps({"tensors": dict(c.correspondence.tensors),
                                                 "gone": dict(c.correspondence.gone)}, indent=1) + "\n"}
    files = {path: text.encode() if isinstance(text, str) else text for path, text in texts.items()}
    files |= designs.to_files(c.design)
    files["correspondence.npz"] = npz_bytes({str(i): r for i, r in enumerate(c.correspondence.rows.values())} | {
        "names": np.array(list(c.correspondence.rows), np.str_)})
    return files | {f"model/{name}": data for name, data in c.imported.model.files.items()}


def _header(model: str, sha256: str, options: Options, input_casts: Mapping[str, str], design: Design) -> dict[str, Any]:
    """What every target is told (`backends/targets.py`)."""
    return {"gatewright": __version__, "model": model, "sha256": sha256, "part": load_part(options.part).name,
            "clock_ns": options.clock_ns, "input_casts": input_casts, "kernel": options.kernel, "reuse": options.reuse,
            "layer_reuse": options.layer_reuse, "latency_cycles": design.latency_cycles}


def _vectors(c: Compilation) -> dict[str, Ints]:
    """Vectors to ship with a test bench, by input."""
    vectors = stimulus(c.design.inputs, TESTBENCH_VECTORS, seed=1)
    return {op.name: np.clip(vectors[op.name], op.type.lo.reshape(-1), op.type.hi.reshape(-1)) for op in c.graph.input_ops}


def _testbench(c: Compilation, sources: Sequence[str]) -> dict[str, str]:
    """`cocotb/`, with vectors in it."""
    vectors = _vectors(c)
    rtl = Rtl(c.design.name, tuple(Path(p) for p in sources), c.design.inputs, c.design.outputs, c.design.latency_cycles)
    return cocotb.testbench(rtl, vectors, c.design.evaluate(vectors))


def _manifest(c: Compilation, sources: Sequence[str]) -> str:
    values = {
        "gatewright": __version__, "sha256": c.sha256,
        "model": {"file": c.imported.model.path.name, "sha256": c.imported.model.sha256, "producer": c.imported.model.producer},
        "options": c.options.to_json(), "notes": list(c.notes), "proof": str(c.proof),
        "input_casts": {k: str(v) for k, v in c.imported.input_casts.items()},
        "output_casts": {k: str(v) for k, v in c.imported.output_casts.items()},
        "quantisers": {k: [q.tensor, q.factor, q.shift] for k, q in c.imported.quantisers.items()},
        "logits": dict(c.imported.logits),
        "approximations": {k: {"parameters": a.parameters, "readers": a.readers, "steps": str(a.error * a.slope)}
                           for k, a in c.imported.approximations.items()},
        "sources": list(sources)}
    return json.dumps(values, indent=1) + "\n"


def check_target(folder: Path) -> None:
    """Raises UserError unless `folder` may be written: new, empty, or an earlier output of gatewright."""
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UserError(f"the folder '{folder}' is the current one or contains it, so it cannot be replaced as a whole",
                        remedy="Give another folder with -o")
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not there.is_dir():
        raise UserError(f"'{there}' is a file", remedy="Give another folder with -o")
    if not os.access(there, os.W_OK):
        raise UserError(f"'{there}' may not be written to", remedy="Give another folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "design" / MANIFEST).is_file():
        raise UserError(f"the folder '{folder}' is in use and was not made by gatewright", remedy="Give another folder with -o")


def write(c: Compilation, folder: str | Path) -> Project:
    """Writes the output folder, replacing an earlier one as a whole."""
    folder = Path(folder)
    check_target(folder)
    files = design_files(c)
    try:
        _write_whole(files, folder)
    except OSError as error:
        raise UserError(f"cannot write '{error.filename or folder}': {error.strerror}",
                        remedy="Give another folder with -o") from None
    return Project(folder)


def _write_whole(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes beside the folder first, so that it appears, or is replaced, in one step."""
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


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that readers see the old content or the new one, never a part. Raises UserError where it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}", remedy="Give another path, or make room") from None


T = TypeVar("T")


class Damaged(UserError):
    """An output folder does not hold what gatewright wrote."""


def stored(read: Callable[[Project], T]) -> cached_property[T]:
    """A cached property of a Project, read from disk: whatever is raised on missing or damaged files becomes Damaged."""
    def checked(project: Project) -> T:
        try:
            return read(project)
        except (Damaged, ToolMissing):
            raise
        except Exception as error:  # json, numpy, zipfile and the parsers of the IR raise many kinds
            raise Damaged(f"'{project.design_folder}' is damaged, or made by another version of gatewright "
                          f"({str(error).rstrip('.')})", remedy="Compile the model again into this folder") from error

    checked.__doc__ = read.__doc__
    return cached_property(checked)


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
        return (self.design_folder / name).read_bytes()

    @stored
    def manifest(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self._read(MANIFEST))
        return values

    @stored
    def options(self) -> Options:
        return Options.from_json(self.manifest["options"])

    @stored
    def part(self) -> Part:
        return load_part(self.options.part)

    @stored
    def model_graph(self) -> Graph:
        """The model as written: the specification."""
        return parse_graph(self._read("model.txt").decode())

    @stored
    def graph(self) -> Graph:
        """The optimised Graph."""
        return parse_graph(self._read("graph.txt").decode())

    @stored
    def design(self) -> Design:
        names = json.loads(self._read("design.json"))["kernels"]
        files = ["design.json", *(f"{n}{suffix}" for n in names for suffix in (".npz", ".stage.npy"))]
        return designs.from_files({name: self._read(name) for name in files})

    @stored
    def software(self) -> Design:
        """The design as the targets in SOFTWARE have it."""
        return software_design(self.design, self.graph, self.options)

    @stored
    def correspondence(self) -> Correspondence:
        values, arrays = json.loads(self._read("correspondence.json")), npz_arrays(self._read("correspondence.npz"))
        rows = {str(name): arrays[str(i)] for i, name in enumerate(arrays["names"])}
        return Correspondence(values["tensors"], values["gone"], rows)

    @stored
    def input_casts(self) -> Mapping[str, Cast]:
        return {k: Cast.parse(v) for k, v in self.manifest["input_casts"].items()}

    @stored
    def output_casts(self) -> Mapping[str, Cast]:
        return {k: Cast.parse(v) for k, v in self.manifest["output_casts"].items()}

    @stored
    def quantisers(self) -> Mapping[str, Quantised]:
        return {k: Quantised(*v) for k, v in self.manifest["quantisers"].items()}

    @property
    def algorithms(self) -> dict[str, dict[str, Any]]:
        """What is computed by a named algorithm, by ONNX tensor, and its parameters, as the judge takes them."""
        return {k: v["parameters"] for k, v in self.manifest["approximations"].items()}

    @property
    def model_path(self) -> Path:
        return self.design_folder / "model" / str(self.manifest["model"]["file"])

    @stored
    def model(self) -> Model:
        """The ONNX model, checked to be the one that was compiled."""
        model = load(self.model_path)
        if model.sha256 != self.manifest["model"]["sha256"]:
            raise ValueError(f"'{self.model_path}' is not the model that was compiled")
        return model

    def require(self, target: str) -> None:
        """Raises ToolMissing unless the folder was compiled with this target among `--backend`."""
        if target not in self.options.backend:
            raise ToolMissing(f"'{self.folder}' has no files of the target '{target}'",
                              remedy=f"Compile again with: --backend {','.join((*self.options.backend, target))}")

    @stored
    def rtl(self) -> Rtl:
        """The Verilog in the folder, as the simulators take it. Raises ToolMissing where none was asked for."""
        self.require("verilog")
        sources = tuple(self.design_folder / p for p in self.manifest["sources"])
        for source in sources:
            source.stat()
        return Rtl(self.design.name, sources, self.design.inputs, self.design.outputs, self.design.latency_cycles)

    def _header(self) -> dict[str, Any]:
        m = self.manifest
        return _header(m["model"]["file"], m["sha256"], self.options, m["input_casts"], self.design)

    @stored
    def emulator(self) -> dict[str, str]:
        """The files of the emulator: those in the folder, or, where it was compiled without, what they would be."""
        if "emulator" in self.options.backend:
            paths = sorted((self.design_folder / emulator.FOLDER).iterdir())
            return {f"{emulator.FOLDER}/{p.name}": p.read_text(encoding="utf-8") for p in paths}
        return emulator.emit(self.software, self.graph, self._header())

    def hls(self, target: str) -> csim.Sources:
        """The C++ of an HLS target in the folder. Raises ToolMissing where it was not asked for."""
        self.require(target)
        return csim.Sources(hls.DIALECTS[target], self.design_folder / target, self.software, self.graph, self._header())

    @property
    def hls4ml(self) -> Path:
        """The folder of the hls4ml project. Raises ToolMissing where it was not asked for."""
        self.require(hls4ml.FOLDER)
        return self.design_folder / hls4ml.FOLDER

    @property
    def finn(self) -> Path:
        """The model for FINN. Raises ToolMissing where it was not asked for."""
        self.require(finn.FOLDER)
        return self.design_folder / finn.FOLDER / finn.MODEL

    def results(self, kind: str) -> list[dict[str, Any]]:
        """What `DIR/results/` holds of a kind, "verify", "synth" or "vendor", in the order of the file names."""
        found = []
        for file in sorted((self.folder / "results").glob(f"{kind}-*.json")):
            try:
                found.append(json.loads(file.read_text(encoding="utf-8")))
            except ValueError:
                raise UserError(f"'{file}' is damaged", remedy="Remove it, and verify or synthesise again") from None
        return found

    def add_result(self, kind: str, name: str, values: Mapping[str, Any]) -> None:
        write_atomically(self.folder / "results" / f"{kind}-{name}.json", json.dumps(values, indent=1) + "\n")
